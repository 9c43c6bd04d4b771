-- Look before a read whether anything may be missing, and note it: the read follows in the same transaction.
--
-- KEYS[1]  the stream
-- KEYS[2]  the lease
-- KEYS[3]  the note
-- ARGV[1]  the group
-- ARGV[2]  what the lease must hold
--
-- Answers LEASE if it holds something else, GAP if entries may be missing, else OK.
local key, call = KEYS[1], redis.call
local whose = call('GET', KEYS[2]) == ARGV[2] and 'OK' or 'LEASE'

local groups = redis.pcall('XINFO', 'GROUPS', key)
if groups.err then return whose end
local function fields(flat)
  local named = {}
  for i = 1, #flat, 2 do named[flat[i]] = flat[i + 1] end
  return named
end
for _, flat in ipairs(groups) do
  local group = fields(flat)
  if group['name'] == ARGV[1] then
    local delivered = group['last-delivered-id']
    -- As long as the stream holds anything that was delivered, all that comes after it is there; and who begins at the
    -- beginning takes what there is.
    if delivered == '0-0' or #call('XRANGE', key, '-', delivered, 'COUNT', 1) > 0 then return whose end
    local stream, first = fields(call('XINFO', 'STREAM', key)), call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
    local read, added, missed = group['entries-read'], stream['entries-added'], ''
    if read and added then missed = math.max(added - stream['length'] - read, 0) end
    call('SET', KEYS[3], table.concat({
      delivered, first and first[1] or '', stream['last-generated-id'], missed,
    }, ' '))
    return 'GAP'
  end
end
return whose
