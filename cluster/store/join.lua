-- KEYS: room, epoch, pairing record (or '')
-- ARGV: 1 peer 2 node 3 role 4 dialect 5 default capacity 6 the host's capacity or ''
--       7 authorised 8 resumed peer or '' 9 its generation 10 node key prefix 11 room id
--       12 how long joins wait after a new epoch, ms 13 short grace, ms
local now = now_ms()
local epoch = redis.call('GET', KEYS[2])
if not epoch then return {'wait', tonumber(ARGV[12])} end
local since = tonumber(string.match(epoch, ' (%d+)$'))
if now < since + tonumber(ARGV[12]) then return {'wait', since + tonumber(ARGV[12]) - now} end

local room = load_room(KEYS[1])
local reaped = reap(room, now, ARGV[2], ARGV[10], tonumber(ARGV[13]))
local peer, role = ARGV[1], ARGV[3]

local old = ARGV[8] ~= '' and room.members[ARGV[8]]
if old then
  -- The generation before is taken too: its holder never got the answer that carried the newer one.
  local gen = tonumber(ARGV[9])
  if gen ~= old.gen and gen ~= old.gen - 1 then return answer(room, 'unauthorized', reaped) end
  local m = {node = ARGV[2], role = old.role, dialect = old.dialect, gen = old.gen + 1, lost = 0,
             auth = old.auth}
  put(room, ARGV[8], m)
  change(room, now, 'moved', ARGV[8], m, old.node)
  return answer(room, 'ok', reaped, {ARGV[8], m.gen, 1, m.role})
end

local auth = ARGV[7]
if KEYS[3] ~= '' then
  local grant = redis.call('GET', KEYS[3])
  if not grant then return answer(room, 'unauthorized', reaped) end
  local granted_room, granted_role = string.match(grant, '^(%S+) (%S+)$')
  if granted_room ~= ARGV[11] then return answer(room, 'forbidden', reaped) end
  if granted_role == 'viewer' and role ~= 'viewer' then return answer(room, 'forbidden', reaped) end
  auth = '1'
end

local hosted, hosted_by = false, nil
for id, m in pairs(room.members) do
  if m.role == 'host' then hosted, hosted_by = true, id end
end
if role == 'host' then
  if hosted and room.members[hosted_by].lost == 0 then return answer(room, 'host-present', reaped) end
  if hosted then remove(room, now, hosted_by, 'lost') end
  hosted = true
  if ARGV[6] ~= '' then
    room.cap = tonumber(ARGV[6])
    redis.call('HSET', room.key, 'cap', room.cap)
  end
elseif ARGV[4] == 'plain' and hosted and auth ~= '1' then
  return answer(room, 'unauthorized', reaped)
end
local capacity = room.cap or tonumber(ARGV[5])
if role ~= 'host' then
  if room.count >= capacity then return answer(room, 'room-full', reaped) end
end

local m = {node = ARGV[2], role = role, dialect = ARGV[4], gen = 1, lost = 0, auth = auth}
put(room, peer, m)
change(room, now, 'joined', peer, m, '')
if KEYS[3] ~= '' then redis.call('DEL', KEYS[3]) end
return answer(room, 'ok', reaped, {peer, 1, 0, role})
