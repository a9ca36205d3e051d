-- The node lives for another while; which epoch is this; which of the other nodes are gone; whether this one
-- was gone itself.
-- ARGV: 6 life, ms 7 an id for a new epoch 8 how long its nodes may come back, ms 9 this server 10.. other nodes
local lapsed = redis.call('GET', NODE_PREFIX .. NODE) ~= ARGV[9]
redis.call('SET', NODE_PREFIX .. NODE, ARGV[9], 'PX', ARGV[6])
local epoch = redis.call('GET', KEYS[1])
if not epoch or string.match(epoch, '(%S+)$') ~= ARGV[9] then
  local till, spared = NOW + tonumber(ARGV[8]), NOW + tonumber(ARGV[6])
  epoch = string.format('%s %.0f %.0f %.0f %s', ARGV[7], NOW, till, spared, ARGV[9])
  redis.call('SET', KEYS[1], epoch)
  EPOCH = load_epoch()
end
local gone = {}
for i = 10, #ARGV do
  if not lives(ARGV[i]) then gone[#gone + 1] = ARGV[i] end
end
return {string.match(epoch, '^(%S+)'), gone, lapsed and 1 or 0, EPOCH.wait}
