-- KEYS: 3 pairing record (or '')
-- ARGV: 5 peer 6 role 7 dialect 8 default capacity 9 the host's capacity or '' 10 authorised
--       11 resumed peer or '' 12 its generation 13 room id
local peer, role, dialect, auth = ARGV[5], ARGV[6], ARGV[7], ARGV[10]
if EPOCH.wait > 0 then return {'wait', EPOCH.wait} end

local room = load_room()
reap(room)

local old = ARGV[11] ~= '' and room.members[ARGV[11]]
if old then
  -- The generation before is taken too: its holder never got the answer that carried the newer one.
  local gen = tonumber(ARGV[12])
  if gen ~= old.gen and gen ~= old.gen - 1 then return answer(room, 'unauthorized') end
  local m = {node = NODE, role = old.role, dialect = old.dialect, gen = old.gen + 1, lost = 0, auth = old.auth}
  put(room, ARGV[11], m)
  change(room, 'moved', ARGV[11], m, old.node)
  return answer(room, 'ok', {ARGV[11], m.gen, 1, m.role})
end

if KEYS[3] ~= '' then
  -- A record that another server wrote may have been used there: a replica that lagged does not know.
  local granted_room, granted_role, server =
    string.match(redis.call('GET', KEYS[3]) or '', '^(%S+) (%S+) (%S+)$')
  if server ~= EPOCH.server then return answer(room, 'unauthorized') end
  if granted_room ~= ARGV[13] then return answer(room, 'forbidden') end
  if granted_role == 'viewer' and role ~= 'viewer' then return answer(room, 'forbidden') end
  auth = '1'
end

local function find_host()
  for id, m in pairs(room.members) do
    if m.role == 'host' then return id, m end
  end
end

local hosted_by, host = find_host()
if role == 'host' then
  if host and host.lost == 0 then
    look_again(room)
    hosted_by, host = find_host()
  end
  if host and host.lost == 0 then return answer(room, 'host-present') end
  if host then remove(room, hosted_by, 'lost') end
  if ARGV[9] ~= '' then
    room.cap = tonumber(ARGV[9])
    redis.call('HSET', room.key, 'cap', room.cap)
  end
elseif dialect == 'plain' and host and auth ~= '1' then
  return answer(room, 'unauthorized')
end
local capacity = room.cap or tonumber(ARGV[8])
if role ~= 'host' then
  if room.count >= capacity then look_again(room) end
  if room.count >= capacity then return answer(room, 'room-full') end
end

local m = {node = NODE, role = role, dialect = dialect, gen = 1, lost = 0, auth = auth}
put(room, peer, m)
change(room, 'joined', peer, m, '')
if KEYS[3] ~= '' then redis.call('DEL', KEYS[3]) end
return answer(room, 'ok', {peer, 1, 0, role})
