-- Say how pages are made from now on.
--
-- KEYS[1]  the state
-- ARGV[1]  how the caller makes them
-- ARGV[2]  1: also if they are made otherwise until now
--
-- Answers how they were made until now; if nobody has said, as the caller makes them.
local before = redis.call('HGET', KEYS[1], 'maker')
if not before or ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'maker', ARGV[1]) end
return before or ARGV[1]
