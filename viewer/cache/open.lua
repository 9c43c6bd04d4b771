-- Begin anew with an empty cache.
--
-- KEYS[1]  the state
-- KEYS[2]  the purges
-- ARGV[1]  who closed it
-- ARGV[2]  the run of the server in which it was emptied
-- ARGV[3]  the new life: places of an earlier one are good for nothing
--
-- Answers 1, or 0 if somebody has closed it since, or the server is another: then it must be emptied once more.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('HGET', KEYS[1], 'closed') ~= ARGV[1] or run ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'closed')
redis.call('HSET', KEYS[1], 'server', run, 'life', ARGV[3], 'purges', 0, 'horizon', 0)
return 1
