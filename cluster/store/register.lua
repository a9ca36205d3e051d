-- What a node holds in a room, written again: Redis may have come back empty or older.
-- ARGV: 6 capacity or '' 7 '1': the node holds nobody else
--       8.. per member: peer role dialect generation authorised, what is left of its grace, ms (0: connected),
--           '1': write it also where the record does not know it
local room = load_room()
if ARGV[6] ~= '' and not room.cap then
  room.cap = tonumber(ARGV[6])
  redis.call('HSET', room.key, 'cap', room.cap)
end

-- Whether a host that the record lost may have its place again: while its node was cut off another may have come,
-- and a room has one. While all nodes write again, who is in the record may be one who has left.
local function takes(peer, m, lost)
  if m.role ~= 'host' or EPOCH.wait > 0 then return true end
  local other, host = find_host(room)
  if not other or other == peer then return true end
  if lost > 0 or (host.lost == 0 and lives(host.node)) then return false end
  remove(room, other, 'lost')
  return true
end

local mine, displaced = {}, {}
for i = 8, #ARGV, 7 do
  local peer, gen, grace_ms = ARGV[i], tonumber(ARGV[i + 3]), tonumber(ARGV[i + 5])
  local lost = grace_ms > 0 and NOW + grace_ms or 0
  mine[peer] = true
  local m = room.members[peer]
  if not m or m.gen < gen then
    if ARGV[i + 6] == '1' then
      local known, before = m ~= nil, m and m.node or ''
      m = {node = NODE, role = ARGV[i + 1], dialect = ARGV[i + 2], gen = gen, lost = lost, auth = ARGV[i + 4]}
      if takes(peer, m, lost) then
        put(room, peer, m)
        change(room, known and 'moved' or 'joined', peer, m, before)
      elseif lost == 0 then
        displaced[#displaced + 1] = peer
      end
    end
  elseif m.node == NODE and m.gen == gen and (m.lost == 0) ~= (lost == 0) then
    m.lost = lost
    put(room, peer, m)
  end
end
if ARGV[7] == '1' then
  for peer, m in pairs(room.members) do
    if m.node == NODE and m.lost == 0 and not mine[peer] then remove(room, peer, 'lost') end
  end
end
reap(room)
redis.call('EXPIRE', room.key, TTL_S)
return answer(room, 'ok', displaced)
