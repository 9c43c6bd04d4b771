-- Compare-and-append: bring the stream from a known position to the end of a batch, all or nothing.
--
-- KEYS[1]  the stream
-- KEYS[2]  the mark: the highest epoch that has appended to it, and the highest ID that was appended
-- ARGV[1]  the epoch of the caller's lease
-- ARGV[2]  the ID that the stream must have reached already
-- ARGV[3]  the batch: a MessagePack array, six values an event, see outbox.packed in schema.sql
-- ARGV[4…] which events they are, as runs: ms of the tick, number of the first, how many, a byte for each of those, and
--          the byte that those have which are meant; nothing at all for the bytes when all are
--
-- Answers {appended, last ID the stream had before}, or an error that has changed nothing:
--   FENCED <epoch>  somebody with a later lease has appended
--   BEHIND <id>   the stream ends at <id>, before ARGV[2]: it lost entries
--   FOREIGN <id>  the stream goes on to <id>, but does not hold this batch: other entries are in its place, or it was
--                 trimmed away already
local key, call = KEYS[1], redis.call
local floor, format = math.floor, string.format

local mark = call('GET', KEYS[2]) or '0'
local epoch, highest = tonumber(ARGV[1]), tonumber(string.match(mark, '^%d+') or '0')
if epoch < highest then return redis.error_reply('FENCED ' .. format('%.0f', highest)) end

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

local top = '0-0'
if call('EXISTS', key) == 1 then
  local info = call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = info[i + 1] end
  end
end
if before(top, ARGV[2]) then return redis.error_reply('BEHIND ' .. top) end

local batch = cmsgpack.unpack(ARGV[3])

-- The number of an event within its millisecond, and that millisecond.
local function place(ms, index)
  local over = floor(index / 1048576)
  return format('%.0f', ms + over), index - over * 1048576
end

-- Where each event joins right behind the one before, Redis numbers them as we would: building each ID here costs a
-- seventh of the whole append. (Redis before 7 cannot, and does not tell its version either.)
local numbered_by_redis = top == ARGV[2] and redis.REDIS_VERSION_NUM ~= nil
for r = 4, #ARGV, 5 do
  local ms, seq = place(tonumber(ARGV[r]), tonumber(ARGV[r + 1]))
  local joins = seq == 0 and before(top, ms .. '-0') or r == 4 and top == ms .. '-' .. (seq - 1)
  numbered_by_redis = numbered_by_redis and joins and ARGV[r + 3] == ''
end

local ids = {}
for r = 4, #ARGV, 5 do
  local ms, index, count, marked = tonumber(ARGV[r]), tonumber(ARGV[r + 1]), tonumber(ARGV[r + 2]), ARGV[r + 3]
  local wanted = string.char(ARGV[r + 4])
  local high, prefix
  local n = marked == '' and 1 or string.find(marked, wanted, 1, true)
  while n and n <= count do
    local i = index + n - 1
    local over = floor(i / 1048576)
    if over ~= high then
      high, prefix = over, place(ms, i) .. '-' .. (numbered_by_redis and '*' or '')
    end
    ids[#ids + 1] = numbered_by_redis and prefix or prefix .. (i - over * 1048576)
    n = marked == '' and n + 1 or string.find(marked, wanted, n + 1, true)
  end
end

-- Whether the stream's entry at event n of the batch is that event.
local function holds(n)
  local found = call('XRANGE', key, ids[n], ids[n])[1]
  if not found then return false end
  local fields, i = found[2], n * 6 - 5
  return fields[6] == batch[i + 1] and fields[8] == batch[i + 2] and fields[12] == batch[i + 5]
end

-- The common case has nothing to skip. Otherwise somebody appended meanwhile: another publisher, the same events.
local start = 1
if #ids > 0 and (top ~= ARGV[2] or not numbered_by_redis and not before(top, ids[1])) then
  while start <= #ids and not before(top, ids[start]) do start = start + 1 end
  if start > 1 and not holds(start - 1) then return redis.error_reply('FOREIGN ' .. top) end
  -- Nothing of this batch is here, so what is above is foreign: is what the batch builds on still there?
  if start == 1 and ARGV[2] ~= '0-0' and #call('XRANGE', key, ARGV[2], ARGV[2]) == 0 then
    return redis.error_reply('FOREIGN ' .. top)
  end
end

-- Milliseconds since 1970 as ISO 8601. The date is Howard Hinnant's civil_from_days ("chrono-compatible low-level date
-- algorithms"): scripts have no os.date.
local function timestamp(at)
  local days, second = floor(at / 86400000), floor(at / 1000) % 86400
  local z = days + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, doy - floor((153 * mp + 2) / 5) + 1,
    floor(second / 3600), floor(second / 60) % 60, second % 60, at % 1000)
end

local at, stamp, last
for n = start, #ids do
  local i = n * 6 - 5
  if batch[i + 3] ~= at then
    at = batch[i + 3]
    stamp = timestamp(at)
  end
  if batch[i + 4] == '' then
    last = call('XADD', key, ids[n], 'type', 'catalog.updated', 'entity', batch[i], 'entityId', batch[i + 1],
      'operation', batch[i + 2], 'timestamp', stamp, 'payload', batch[i + 5])
  else
    last = call('XADD', key, ids[n], 'type', 'catalog.updated', 'entity', batch[i], 'entityId', batch[i + 1],
      'operation', batch[i + 2], 'timestamp', stamp, 'payload', batch[i + 5], 'traceparent', batch[i + 4])
  end
end

-- While lost entries are put back the mark stays where it is: the stream has come that far before.
local reached = string.match(mark, ' (.+)$') or '0-0'
if last and before(reached, last) then
  call('SET', KEYS[2], ARGV[1] .. ' ' .. last)
elseif epoch > highest then
  call('SET', KEYS[2], ARGV[1] .. ' ' .. reached)
end
return {#ids - start + 1, top}
