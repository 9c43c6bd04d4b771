-- One event's effect, once: the mark and the score change together, or not at all.
--
-- KEYS[1]  the scores, a sorted set
-- KEYS[2]  the version of each entity that its score is of, a hash
-- ARGV[1]  the entity
-- ARGV[2]  the event's version, in digits that sort as the numbers do: Lua's own numbers end at 2^53
-- ARGV[3]  what the event adds; empty: the entity is gone
--
-- Answers 1, or 0 if this event, or a later one of the entity, is in the score already.
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known and known >= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZINCRBY', KEYS[1], ARGV[3], ARGV[1])
end
return 1
