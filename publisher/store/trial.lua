-- Tries each command of append.lua without changing anything: what is not refused for a missing right or for the state
-- that the server is in, is refused for its arguments.
--
-- KEYS  as of append.lua
--
-- Answers the name of each command that was refused, followed by what was said to it.
local stream, epoch = KEYS[1], KEYS[2]
local answers = {}

local function try(name, ...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    answers[#answers + 1] = name
    answers[#answers + 1] = answer.err
  end
end

try('exists', 'EXISTS', stream)
try('get', 'GET', epoch)
try('xinfo|stream', 'XINFO', 'STREAM', stream)
try('xrange', 'XRANGE', stream, '-', '-')
-- No entry can have this ID.
try('xadd', 'XADD', stream, '0-0', 'trial', '')
-- Only if it exists and only if it does not.
try('set', 'SET', epoch, '0', 'NX', 'XX')
return answers
