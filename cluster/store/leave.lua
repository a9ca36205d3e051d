-- KEYS: room
-- ARGV: 1 peer 2 node 3 generation 4 'bye', or 'lost': keep the place 5 grace, ms
-- A member that has moved on since (another node or generation) is left alone.
local now = now_ms()
local room = load_room(KEYS[1])
local m = room.members[ARGV[1]]
if m and m.node == ARGV[2] and m.gen == tonumber(ARGV[3]) then
  if ARGV[4] == 'lost' and tonumber(ARGV[5]) > 0 then
    m.lost = now + tonumber(ARGV[5])
    put(room, ARGV[1], m)
  else
    remove(room, now, ARGV[1], ARGV[4])
  end
end
return answer(room, 'ok')
