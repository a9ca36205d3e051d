-- ARGV: 6 peer 7 generation 8 'bye', or 'lost': keep the place 9 for how long, ms
-- A member that has moved on since (another node or generation) is left alone.
local peer, grace_ms = ARGV[6], tonumber(ARGV[9])
local room = load_room()
local m = room.members[peer]
if m and m.node == NODE and m.gen == tonumber(ARGV[7]) then
  if ARGV[8] == 'lost' and grace_ms > 0 then
    m.lost = NOW + grace_ms
    put(room, peer, m)
  else
    remove(room, peer, ARGV[8])
  end
end
return answer(room, 'ok')
