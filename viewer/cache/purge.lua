-- Remove the pages that were made from what has one of these tags, and refuse those that are being made.
--
-- KEYS[1]  the state
-- KEYS[2]  the purges: tags by the number of their last purge
-- KEYS[3]  what the names of the tags' sets begin with
-- ARGV[1]  how many pages at most: the server does nothing else meanwhile
-- ARGV[2]  1: hand over what was on them
-- ARGV[3]  how many purges are remembered
-- ARGV[4…] tags
--
-- Answers {1 if there is more to do, keys of the pages that went, what was on each of them}. Call again while there is more.
local call = redis.call
local left, wanted = tonumber(ARGV[1]), ARGV[2] == '1'
local more, keys, pages = 0, {}, {}

-- Before all that needs memory: once a script has written, Redis lets it end although memory is full.
for i = 4, #ARGV do
  local set = KEYS[3] .. ARGV[i]
  local found = call('SPOP', set, left)
  left = left - #found
  if call('EXISTS', set) == 1 then more = 1 end
  for _, key in ipairs(found) do
    local page = wanted and redis.pcall('GET', key) or ''
    if call('UNLINK', key) == 1 then
      keys[#keys + 1] = key
      pages[#pages + 1] = type(page) == 'string' and page or ''
    end
  end
end

local run = string.match(call('INFO', 'server'), 'run_id:(%x+)')
if call('HGET', KEYS[1], 'server') == run then
  local number = call('HINCRBY', KEYS[1], 'purges', 1)
  for i = 4, #ARGV do call('ZADD', KEYS[2], number, ARGV[i]) end
  local over = call('ZCARD', KEYS[2]) - tonumber(ARGV[3])
  if over > 0 then
    call('HSET', KEYS[1], 'horizon', call('ZRANGE', KEYS[2], over - 1, over - 1, 'WITHSCORES')[2])
    call('ZREMRANGEBYRANK', KEYS[2], 0, over - 1)
  end
end
return {more, keys, pages}
