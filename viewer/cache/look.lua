-- A page; or else the caller's place in the order of purges, which it must have before it reads the catalog.
--
-- KEYS[1]  the page
-- KEYS[2]  the state
-- KEYS[3]  the lock
-- ARGV[1]  who asks
-- ARGV[2]  for how many milliseconds others wait for it, if it is the one to load the page
-- ARGV[3]  how it makes pages; the state says how they are made now
--
-- Answers the page; {life, purges so far, whether the caller is the one}; or nothing: the cache is closed.
--
-- The state names the server's run. After a restart from a file, or a failover, it names another one: what is here then may
-- lack purges that were made, so the cache is closed until it has been emptied.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local state = redis.call('HMGET', KEYS[2], 'server', 'life', 'purges', 'maker')
if not run or state[1] ~= run or state[4] ~= ARGV[3] then return false end

local page = redis.pcall('GET', KEYS[1])
if type(page) == 'string' then return page end

local taken = redis.pcall('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2])
-- False: somebody has it, another request of the same caller perhaps. An error, as when memory is full: nobody waits.
if not taken and redis.call('GET', KEYS[3]) ~= ARGV[1] then return {state[2], state[3], 0} end
return {state[2], state[3], 1}
