-- Take or keep the right to read a stream.
--
-- KEYS[1]  the lease
-- KEYS[2]  the term: changes with each one that takes the lease, and fences off what those before have still under way
-- ARGV[1]  the member's name
-- ARGV[2]  what tells this process from another of the same name
-- ARGV[3]  milliseconds
-- ARGV[4]  keep; or take; or begin, for who has just started: what an earlier process of its name has left is its own
--
-- Answers whose it is then, as <name> <process>: a member that was killed need not wait for itself, and if it still lives
-- it is told.
local mine, held = ARGV[1] .. ' ' .. ARGV[2], redis.call('GET', KEYS[1])
if held and held ~= mine then
  local namesake = string.sub(held, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' and not string.find(held, ' ', #ARGV[1] + 2, true)
  if not (namesake and ARGV[4] == 'begin') then return held end
end
redis.call('SET', KEYS[1], mine, 'PX', ARGV[3])
if ARGV[4] ~= 'keep' then redis.call('SET', KEYS[2], mine) end
return mine
