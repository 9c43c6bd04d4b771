-- A stream and one of its groups, at one moment.
--
-- KEYS[1]  the stream
-- KEYS[2]  what check.lua has noted
-- ARGV[1]  the group
--
-- Answers {last delivered ID, first entry's ID, last ID given, lowest pending ID, entries pending, entries
-- missed, the note}; what is not known is an empty text. Nothing at all when there is no such group.
local function fields(flat)
  local named = {}
  for i = 1, #flat, 2 do named[flat[i]] = flat[i + 1] end
  return named
end

local key, call = KEYS[1], redis.call
local groups = redis.pcall('XINFO', 'GROUPS', key)
if groups.err then return {} end
local group
for _, flat in ipairs(groups) do
  local named = fields(flat)
  if named['name'] == ARGV[1] then group = named end
end
if not group then return {} end

local stream = fields(call('XINFO', 'STREAM', key))
local first = call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
local pending = call('XPENDING', key, ARGV[1])

-- Redis 7 and later number the entries: how many there were up to the last one that was delivered, and how many are gone.
local read, added, missed = group['entries-read'], stream['entries-added'], ''
if read and added then missed = math.max(added - stream['length'] - read, 0) end

return {
  group['last-delivered-id'], first and first[1] or '', stream['last-generated-id'], pending[2] or '', pending[1],
  tostring(missed),
  call('GET', KEYS[2]) or '',
}
