-- What a node holds in a room, written again: Redis may have come back empty or older.
-- KEYS: room
-- ARGV: 1 node 2 capacity or '' 3 '1': the node holds nobody else 4 node key prefix 5 short grace, ms
--       6.. per member: peer role dialect generation authorised
local now = now_ms()
local room = load_room(KEYS[1])
if ARGV[2] ~= '' and not room.cap then
  room.cap = tonumber(ARGV[2])
  redis.call('HSET', room.key, 'cap', room.cap)
end
local mine = {}
for i = 6, #ARGV, 5 do
  local peer, gen = ARGV[i], tonumber(ARGV[i + 3])
  mine[peer] = true
  local m = room.members[peer]
  if not m or m.gen < gen then
    local known, before = m ~= nil, m and m.node or ''
    m = {node = ARGV[1], role = ARGV[i + 1], dialect = ARGV[i + 2], gen = gen, lost = 0,
         auth = ARGV[i + 4]}
    put(room, peer, m)
    change(room, now, known and 'moved' or 'joined', peer, m, before)
  elseif m.node == ARGV[1] and m.gen == gen and m.lost > 0 then
    m.lost = 0
    put(room, peer, m)
  end
end
if ARGV[3] == '1' then
  for peer, m in pairs(room.members) do
    if m.node == ARGV[1] and m.lost == 0 and not mine[peer] then remove(room, now, peer, 'lost') end
  end
end
local reaped = reap(room, now, ARGV[1], ARGV[4], tonumber(ARGV[5]))
redis.call('EXPIRE', room.key, TTL_S)
return answer(room, 'ok', reaped)
