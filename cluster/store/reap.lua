-- KEYS: room
-- ARGV: 1 node key prefix 2 short grace, ms
local now = now_ms()
local room = load_room(KEYS[1])
local reaped = reap(room, now, ARGV[1], tonumber(ARGV[2]))
return answer(room, 'ok', reaped)
