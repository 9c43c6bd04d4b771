-- Look before a read whether anything may be missing, and note it: the read follows in the same transaction.
--
-- KEYS[1]  the stream
-- KEYS[2]  the note
-- ARGV[1]  the group
--
-- Answers GAP if entries may be missing, else the last ID that the stream has given.
local key, call = KEYS[1], redis.call
local groups = redis.pcall('XINFO', 'GROUPS', key)
if groups.err then return '' end

local function fields(flat)
  local named = {}
  for i = 1, #flat, 2 do named[flat[i]] = flat[i + 1] end
  return named
end

local stream = fields(call('XINFO', 'STREAM', key))
for _, flat in ipairs(groups) do
  local group = fields(flat)
  local delivered = group['last-delivered-id']
  -- As long as the stream holds anything that was delivered, all that comes after it is there; and who begins at the
  -- beginning takes what there is.
  if group['name'] == ARGV[1] and delivered ~= '0-0' and #call('XRANGE', key, '-', delivered, 'COUNT', 1) == 0 then
    local first = call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    local read, added, missed = group['entries-read'], stream['entries-added'], ''
    if read and added then missed = math.max(added - stream['length'] - read, 0) end
    call('SET', KEYS[2], table.concat({
      delivered, first and first[1] or '', stream['last-generated-id'], missed,
    }, ' '))
    return 'GAP'
  end
end
return stream['last-generated-id']
