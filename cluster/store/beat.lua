-- The node lives for another while; which epoch is this; which of the other nodes are gone; whether this one
-- was gone itself.
-- KEYS: epoch
-- ARGV: 1 node key prefix 2 node 3 life, ms 4 an id for a new epoch 5 '1': nobody else can be there
--       6.. other nodes
-- The epoch is "<id> <since ms>"; since 0: joins need not wait.
local lapsed = redis.call('EXISTS', ARGV[1] .. ARGV[2]) == 0
redis.call('SET', ARGV[1] .. ARGV[2], '1', 'PX', ARGV[3])
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  local since = 0
  if ARGV[5] ~= '1' then
    local t = redis.call('TIME')
    since = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  end
  epoch = string.format('%s %.0f', ARGV[4], since)
  redis.call('SET', KEYS[1], epoch)
end
local gone = {}
for i = 6, #ARGV do
  if redis.call('EXISTS', ARGV[1] .. ARGV[i]) == 0 then gone[#gone + 1] = ARGV[i] end
end
return {string.match(epoch, '^(%S+)'), gone, lapsed and 1 or 0}
