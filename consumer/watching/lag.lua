-- How far a group is behind, counted one by one, a page at a time so that the server is not held up.
--
-- KEYS[1]  the stream
-- ARGV[1]  the group
-- ARGV[2]  count what stands after this ID; empty: after what was delivered to the group
-- ARGV[3]  how many to count at most
--
-- Answers {counted, ID of the last one counted, pending, oldest ID that is not acknowledged, what Redis thinks the lag is,
-- milliseconds now}; an unknown one is an empty text. Nothing at all when there is no such group.
local key, group, most, call = KEYS[1], ARGV[1], tonumber(ARGV[3]), redis.call

local groups = redis.pcall('XINFO', 'GROUPS', key)
if groups.err then return {} end
local found
for _, fields in ipairs(groups) do
  local about = {}
  for i = 1, #fields, 2 do about[fields[i]] = fields[i + 1] end
  if about['name'] == group then found = about end
end
if not found then return {} end

local after = ARGV[2] ~= '' and ARGV[2] or found['last-delivered-id']
-- The IDs alone cannot be had: of one entry more than is counted, only the ID is looked at.
local entries = call('XRANGE', key, '(' .. after, '+', 'COUNT', most)
local last = #entries > 0 and entries[#entries][1] or after
local pending = call('XPENDING', key, group)
local oldest = pending[2] or (ARGV[2] == '' and #entries > 0 and entries[1][1]) or ''
local time = call('TIME')
return {
  #entries, last, found['pending'], oldest, tostring(found['lag'] or ''),
  time[1] .. string.format('%03d', math.floor(tonumber(time[2]) / 1000)),
}
