-- KEYS: 3 pairing record 4 joins of the client's address; tb:none where there is none
-- ARGV: 6 peer 7 role 8 dialect 9 default capacity 10 the host's capacity or '' 11 authorised
--       12 resumed peer or '' 13 its generation 14 room id
--       15 joins that an address may make in a window 16 the window, ms
local NONE = 'tb:none'
local peer, role, dialect, auth = ARGV[6], ARGV[7], ARGV[8], ARGV[11]
if EPOCH.wait > 0 then return {'wait', EPOCH.wait} end

local room = load_room()
reap(room)

local old = ARGV[12] ~= '' and room.members[ARGV[12]]
-- The generation before is taken too: its holder never got the answer that carried the newer one.
local gen = tonumber(ARGV[13])
local resumes = old and (gen == old.gen or gen == old.gen - 1)
-- Every join counts, refused ones too, but for members who come back: an office must be able to after a node's loss.
if KEYS[4] ~= NONE and not resumes then
  local left, window = redis.call('PTTL', KEYS[4]), tonumber(ARGV[16])
  if left <= 0 or left > window then  -- a longer life: by a clock that was ahead of this one
    redis.call('SET', KEYS[4], 0, 'PX', window)
    left = window
  end
  if redis.call('INCR', KEYS[4]) > tonumber(ARGV[15]) then return answer(room, 'rate-limited', {left}) end
end
if old then
  if not resumes then return answer(room, 'unauthorized') end
  local m = {node = NODE, role = old.role, dialect = old.dialect, gen = old.gen + 1, lost = 0, auth = old.auth}
  put(room, ARGV[12], m)
  change(room, 'moved', ARGV[12], m, old.node)
  return answer(room, 'ok', {ARGV[12], m.gen, 1, m.role})
end

if KEYS[3] ~= NONE then
  -- A record that another server wrote may have been used there: a replica that lagged does not know.
  local granted_room, granted_role, server =
    string.match(redis.call('GET', KEYS[3]) or '', '^(%S+) (%S+) (%S+)$')
  if server ~= EPOCH.server then return answer(room, 'unauthorized') end
  if granted_room ~= ARGV[14] then return answer(room, 'forbidden') end
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
  if ARGV[10] ~= '' then
    room.cap = tonumber(ARGV[10])
    redis.call('HSET', room.key, 'cap', room.cap)
  end
elseif dialect == 'plain' and host and auth ~= '1' then
  return answer(room, 'unauthorized')
end
local capacity = room.cap or tonumber(ARGV[9])
if role ~= 'host' then
  if room.count >= capacity then look_again(room) end
  if room.count >= capacity then return answer(room, 'room-full') end
end

local m = {node = NODE, role = role, dialect = dialect, gen = 1, lost = 0, auth = auth}
put(room, peer, m)
change(room, 'joined', peer, m, '')
if KEYS[3] ~= NONE then redis.call('DEL', KEYS[3]) end
return answer(room, 'ok', {peer, 1, 0, role})
