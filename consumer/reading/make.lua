-- Make a group, and the stream if there is none.
--
-- KEYS[1]  the stream
-- ARGV[1]  the group
-- ARGV[2]  the position to go on after
-- ARGV[3]  1 if whoever begins there holds all that came before, so that nothing can be missing
--
-- Where the stream ends at that position or before, all its entries count as read: else the first one to come would look
-- like what is left after others were trimmed. Redis before 7 does not count.
local key, call = KEYS[1], redis.call
local made = redis.pcall('XGROUP', 'CREATE', key, ARGV[1], ARGV[2], 'MKSTREAM')
if made.err or ARGV[3] ~= '1' then return made end
local stream, flat = {}, call('XINFO', 'STREAM', key)
for i = 1, #flat, 2 do stream[flat[i]] = flat[i + 1] end
local function place(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local last_ms, last_seq = place(stream['last-generated-id'])
local ms, seq = place(ARGV[2])
if stream['entries-added'] and (last_ms < ms or (last_ms == ms and last_seq <= seq)) then
  call('XGROUP', 'SETID', key, ARGV[1], ARGV[2], 'ENTRIESREAD', stream['entries-added'])
end
return made
