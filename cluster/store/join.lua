-- KEYS: 3 pairing record 4 joins of the client's address 5 resumes of the peer; tb:none where there is none
-- ARGV: 6 peer 7 role 8 dialect 9 default capacity 10 the host's capacity or '' 11 authorised
--       12 resumed peer or '' 13 its generation 14 room id
--       15 joins that an address may make in a window 16 the window, ms 17 resumes that a peer may
local NONE = 'tb:none'
local peer, role, dialect, auth = ARGV[6], ARGV[7], ARGV[8], ARGV[11]
if EPOCH.wait > 0 then return {'wait', EPOCH.wait} end

-- Count one more; where that is too many: what is left of the window, ms.
local function over(key, most)
  local left, window = redis.call('PTTL', key), tonumber(ARGV[16])
  if left <= 0 or left > window then  -- a longer life: by a clock that was ahead of this one
    redis.call('SET', key, 0, 'PX', window)
    left = window
  end
  return redis.call('INCR', key) > tonumber(most) and left
end

local room = load_room()
reap(room)

local old = ARGV[12] ~= '' and room.members[ARGV[12]]
-- The generation before is taken too: its holder never got the answer that carried the newer one.
local gen = tonumber(ARGV[13])
local resumes = old and (gen == old.gen or gen == old.gen - 1)
-- Every join counts, refused ones too, but for members who come back: an office must be able to after a node's loss.
-- They are limited one by one: a peer may not come back in a loop.
if resumes then
  local left = over(KEYS[5], ARGV[17])
  if left then return answer(room, 'rate-limited', {'resumes', left}) end
elseif KEYS[4] ~= NONE then
  local left = over(KEYS[4], ARGV[15])
  if left then return answer(room, 'rate-limited', {'connections', left}) end
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

local hosted_by, host = find_host(room)
if role == 'host' then
  if host and host.lost == 0 then
    look_again(room)
    hosted_by, host = find_host(room)
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
