-- Let nobody read or write a page until whoever has closed last has emptied the cache.
--
-- KEYS[1]  the state
-- ARGV[1]  who closes
--
-- Answers which run of the server this is.
redis.call('HDEL', KEYS[1], 'server', 'life', 'purges', 'horizon')
redis.call('HSET', KEYS[1], 'closed', ARGV[1])
return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
