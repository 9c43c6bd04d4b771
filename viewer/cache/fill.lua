-- Cache a page, unless something that it was made from was purged after its loader took its place.
--
-- KEYS[1]  the page
-- KEYS[2]  the state
-- KEYS[3]  the purges: tags by the number of their last purge
-- KEYS[4]  the lock
-- KEYS[5]  what the names of the tags' sets begin with
-- ARGV[1]  who asks
-- ARGV[2]  the life that its place is of
-- ARGV[3]  its place: how many purges there had been
-- ARGV[4]  for how many milliseconds the page stays
-- ARGV[5]  for how many a set of a tag stays, which is longer than any page that is in it
-- ARGV[6]  the page; nothing to cache if it is empty
-- ARGV[7…] its tags
--
-- Answers 1 if the page is cached, 0 if it was refused.
local call = redis.call
local run = string.match(call('INFO', 'server'), 'run_id:(%x+)')
local state = call('HMGET', KEYS[2], 'server', 'life', 'purges', 'horizon')
local place = tonumber(ARGV[3])

-- Below the horizon purges are forgotten. If all are, somebody has evicted them.
local fresh = ARGV[6] ~= '' and state[1] == run and state[2] == ARGV[2] and place >= tonumber(state[4])
  and (state[3] == '0' or call('EXISTS', KEYS[3]) == 1)
for i = 7, #ARGV do
  if not fresh then break end
  local purged = call('ZSCORE', KEYS[3], ARGV[i])
  fresh = not (purged and tonumber(purged) > place)
end

if fresh then
  -- The sets first: where memory is full that fails, and a page in no set could never be purged.
  for i = 7, #ARGV do
    local set = KEYS[5] .. ARGV[i]
    call('SADD', set, KEYS[1])
    if call('PTTL', set) < tonumber(ARGV[5]) then call('PEXPIRE', set, ARGV[5]) end
  end
  call('SET', KEYS[1], ARGV[6], 'PX', ARGV[4])
end
if call('GET', KEYS[4]) == ARGV[1] then call('DEL', KEYS[4]) end
return fresh and 1 or 0
