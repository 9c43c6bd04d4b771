-- Remove the members of a group that have nothing pending and have not asked for anything for long.
--
-- KEYS[1]  the stream
-- KEYS[2]  the lease
-- ARGV[1]  the group
-- ARGV[2]  the member that asks
-- ARGV[3]  what its lease holds
-- ARGV[4]  milliseconds
--
-- Answers {entries that are pending on others, each name that was removed…}; nothing at all to whoever has lost the lease.
local key, call = KEYS[1], redis.call
-- Nobody's is ours as well: we would know if we had let it end.
if (call('GET', KEYS[2]) or ARGV[3]) ~= ARGV[3] then return {} end
local answer, strays = {0}, 0
for _, flat in ipairs(call('XINFO', 'CONSUMERS', key, ARGV[1])) do
  local member = {}
  for i = 1, #flat, 2 do member[flat[i]] = flat[i + 1] end
  if member['name'] ~= ARGV[2] then
    strays = strays + member['pending']
    if member['pending'] == 0 and member['idle'] > tonumber(ARGV[4]) then
      call('XGROUP', 'DELCONSUMER', key, ARGV[1], member['name'])
      answer[#answer + 1] = member['name']
    end
  end
end
answer[1] = strays
return answer
