-- KEYS: room
-- ARGV: 1 node 2 node key prefix 3 short grace, ms
local now = now_ms()
local room = load_room(KEYS[1])
local reaped = reap(room, now, ARGV[1], ARGV[2], tonumber(ARGV[3]))
return answer(room, 'ok', reaped)
