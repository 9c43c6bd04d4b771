-- Entries as the publisher's, of the size that they have.
--
-- KEYS[1]  the stream
-- ARGV[1]  the number of the first; ARGV[2]  how many; ARGV[3]  of how many entities
local first, count, entities = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local payload = '{"title":"A title of some length","slug":"a-title-of-some-length-%d",'
  .. '"categoryId":"5b7c8a52-9a0e-4a9f-8f43-000000000001"}'
for number = first, first + count - 1 do
  local entity = number * 7919 % entities
  redis.call('XADD', KEYS[1], (1795347471000 + math.floor(number / 1000)) .. '-' .. number % 1000 + 1,
    'type', 'catalog.updated', 'entity', 'series',
    'entityId', string.format('0a5d7a52-9a0e-4a9f-8f43-%012d', entity), 'operation', 'update',
    'timestamp', '2026-11-22T11:37:51.008Z', 'payload', string.format(payload, entity))
end
