-- Say that a member is there, and count those that are.
--
-- KEYS[1]  the members, each with the time at which it no longer counts
-- ARGV[1]  the member; ARGV[2]  milliseconds, 0 to leave
local key, call, time = KEYS[1], redis.call, redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '0' then return call('ZREM', key, ARGV[1]) end
call('ZADD', key, now + ARGV[2], ARGV[1])
call('ZREMRANGEBYSCORE', key, '-inf', now)
call('PEXPIRE', key, ARGV[2])
return call('ZCARD', key)
