-- Compare-and-append: bring the stream from a known position to the end of a batch, all or nothing.
--
-- KEYS[1]  the stream
-- ARGV[1]  the ID that the stream must have reached already
-- ARGV[2]  the batch: a MessagePack array, seven strings an event, IDs ascending
--
-- Answers {appended, last ID the stream had before}, or an error that has changed nothing:
--   BEHIND <id>   the stream ends at <id>, before ARGV[1]: it lost entries
--   FOREIGN <id>  the stream goes on to <id>, but does not hold this batch as it should
local key, call = KEYS[1], redis.call
local batch = cmsgpack.unpack(ARGV[2])

-- Numbers as text: IDs have 64 bits, Lua's numbers 53.
local function smaller(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return smaller(a_ms, b_ms) end
  return smaller(a_seq, b_seq)
end

-- Whether the stream's entry at event i of the batch is that event; true as well where it has been trimmed away.
local function holds(i)
  local id = batch[i]
  local found = call('XRANGE', key, id, id)[1]
  if found then
    local fields = found[2]
    return fields[6] == batch[i + 2] and fields[8] == batch[i + 3] and fields[12] == batch[i + 5]
  end
  local first = call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
  return first ~= nil and before(id, first[1])
end

local top = '0-0'
if call('EXISTS', key) == 1 then
  local info = call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = info[i + 1] end
  end
end

if before(top, ARGV[1]) then return redis.error_reply('BEHIND ' .. top) end

-- The common case has nothing to skip. Otherwise somebody appended meanwhile: another publisher, the same events.
local start = 1
if top ~= ARGV[1] then
  while start <= #batch and not before(top, batch[start]) do start = start + 7 end
  if start > 1 and not holds(start - 7) then return redis.error_reply('FOREIGN ' .. top) end
end

for i = start, #batch, 7 do
  if batch[i + 6] == '' then
    call('XADD', key, batch[i], 'type', 'catalog.updated', 'entity', batch[i + 1], 'entityId', batch[i + 2],
      'operation', batch[i + 3], 'timestamp', batch[i + 4], 'payload', batch[i + 5])
  else
    call('XADD', key, batch[i], 'type', 'catalog.updated', 'entity', batch[i + 1], 'entityId', batch[i + 2],
      'operation', batch[i + 3], 'timestamp', batch[i + 4], 'payload', batch[i + 5], 'traceparent', batch[i + 6])
  end
end

return {(#batch - start + 1) / 7, top}
