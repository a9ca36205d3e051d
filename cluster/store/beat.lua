-- The node lives for another while; which epoch is this; which of the other nodes are gone; whether this one
-- was gone itself.
-- ARGV: 6 life, ms 7 an id for a new epoch 8 how long its nodes may come back, ms 9 this server 10.. other nodes
local CHUNK = 1000  -- of what one call takes: Lua's stack is limited
local HEARD = KEYS[1] .. ':heard'

local lapsed = redis.call('GET', NODE_PREFIX .. NODE) ~= ARGV[9]
redis.call('SET', NODE_PREFIX .. NODE, ARGV[9], 'PX', ARGV[6])
local heard = redis.call('GET', HEARD)
redis.call('SET', HEARD, string.format('%.0f', NOW))
local id, server = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) .* (%S+)$')
local anew, silent = server ~= ARGV[9], heard and NOW - tonumber(heard) > tonumber(ARGV[6]) / 2
if anew or silent then
  local till, spared = NOW + tonumber(ARGV[8]), NOW + tonumber(ARGV[6])
  id = anew and ARGV[7] or id
  redis.call('SET', KEYS[1], string.format('%s %.0f %.0f %.0f %s', id, NOW, till, spared, ARGV[9]))
  EPOCH = load_epoch()
end
local gone = {}
for first = 10, #ARGV, CHUNK do
  local keys = {}
  for i = first, math.min(first + CHUNK - 1, #ARGV) do keys[#keys + 1] = NODE_PREFIX .. ARGV[i] end
  for i, server in ipairs(redis.call('MGET', unpack(keys))) do
    if not is_alive(server) then gone[#gone + 1] = ARGV[first + i - 1] end
  end
end
return {id, gone, lapsed and 1 or 0, EPOCH.wait}
