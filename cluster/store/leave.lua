-- ARGV: 5 peer 6 generation 7 'bye', or 'lost': keep the place 8 for how long, ms
-- A member that has moved on since (another node or generation) is left alone.
local peer, grace_ms = ARGV[5], tonumber(ARGV[8])
local room = load_room()
local m = room.members[peer]
if m and m.node == NODE and m.gen == tonumber(ARGV[6]) then
  if ARGV[7] == 'lost' and grace_ms > 0 then
    m.lost = NOW + grace_ms
    put(room, peer, m)
  else
    remove(room, peer, ARGV[7])
  end
end
return answer(room, 'ok')
