-- Shared by every script. KEYS[1] is the epoch, KEYS[2] the room. ARGV begins with
--   1 the node that asks 2 prefix of node keys 3 grace, ms 4 short grace, ms 5 life of a room's record, s
--
-- The epoch is "<id> <since ms> <until ms> <spared until ms> <server>". It is made anew when it is missing or
-- names another server: then Redis came back empty, or older, or with another clock. From `since` to `until` the
-- nodes write again what they hold; nobody is let in and nobody is given up. The same begins when no node was heard for
-- so long that their keys may have ended while they live: then it was Redis that was away.
-- A node lives while its key holds the id of this server. A key that a replica has kept says that the node lived
-- with the server before, and spares it for as long as a node may be silent.
--
-- A room is one hash:
--   v         version, rises by one with every change; starts at Redis's clock so that it rises over the
--             removal of an empty room too. Comparable within one epoch.
--   cap       how many members it takes
--   m:<peer>  "node role dialect generation lost_until_ms authorised"; lost_until_ms 0: connected
local STRIKE_MS, STRIKE_LIFE_MS = 1000, 10000
local NODE, NODE_PREFIX = ARGV[1], ARGV[2]
local GRACE_MS, SHORT_GRACE_MS, TTL_S = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local time = redis.call('TIME')
local NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Which server this epoch is of, and for how long its nodes still come back, ms.
local function load_epoch()
  local text = redis.call('GET', KEYS[1])
  if not text then return {server = '', wait = 100, spares = true} end
  local since, till, spared, server = string.match(text, '^%S+ (%d+) (%d+) (%d+) (%S+)$')
  since, till, spared = tonumber(since), tonumber(till), tonumber(spared)
  return {
    server = server,
    wait = (since <= NOW and NOW < till) and till - NOW or 0,
    spares = since <= NOW and NOW < spared,
  }
end

local EPOCH = load_epoch()

-- Whether the node lives whose key holds this.
local function is_alive(server)
  return server == EPOCH.server or (server and EPOCH.spares)
end

local function lives(node)
  return node == NODE or is_alive(redis.call('GET', NODE_PREFIX .. node))
end

-- A node whose mailbox nobody hears, twice with a second between, is taken for dead before its key ends.
-- Answers whether it was.
local function strike(node)
  if EPOCH.wait > 0 or node == NODE then return false end
  local server = redis.call('GET', NODE_PREFIX .. node)
  if server ~= EPOCH.server then return not is_alive(server) end
  local struck = NODE_PREFIX .. node .. ':struck'
  if redis.call('PUBLISH', node .. ':probe', '') > 0 then
    redis.call('DEL', struck)
    return false
  end
  local first = tonumber(redis.call('GET', struck) or NOW)
  if NOW - first < STRIKE_MS then
    redis.call('SET', struck, string.format('%.0f', first), 'PX', STRIKE_LIFE_MS)
    return false
  end
  redis.call('DEL', struck, NODE_PREFIX .. node)
  return true
end

local function pack_member(m)
  return string.format('%s %s %s %d %.0f %s', m.node, m.role, m.dialect, m.gen, m.lost, m.auth)
end

local function unpack_member(text)
  local node, role, dialect, gen, lost, auth =
    string.match(text, '^(%S+) (%S+) (%S+) (%d+) (%d+) (%S+)$')
  return {node = node, role = role, dialect = dialect, gen = tonumber(gen),
          lost = tonumber(lost), auth = auth}
end

local function load_room()
  local room = {key = KEYS[2], v = nil, cap = nil, members = {}, count = 0, changes = {}, reaped = 0}
  local flat = redis.call('HGETALL', room.key)
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    if name == 'v' then room.v = tonumber(value)
    elseif name == 'cap' then room.cap = tonumber(value)
    else
      room.members[string.sub(name, 3)] = unpack_member(value)
      room.count = room.count + 1
    end
  end
  return room
end

local function find_host(room)
  for peer, m in pairs(room.members) do
    if m.role == 'host' then return peer, m end
  end
end

-- The reason of 'left' is bye or lost, that of 'moved' the node before.
local function change(room, kind, peer, m, reason)
  room.v = (room.v or NOW) + 1
  room.changes[#room.changes + 1] = {room.v, kind, peer, m.node, m.role, m.dialect, reason}
end

local function put(room, peer, m)
  if not room.members[peer] then room.count = room.count + 1 end
  room.members[peer] = m
  redis.call('HSET', room.key, 'm:' .. peer, pack_member(m))
end

local function remove(room, peer, reason)
  local m = room.members[peer]
  room.members[peer] = nil
  room.count = room.count - 1
  redis.call('HDEL', room.key, 'm:' .. peer)
  change(room, 'left', peer, m, reason)
end

-- A member is gone when its grace is over. One whose node has stopped beating gets a last short grace,
-- so that with the node's own life it has at least the ten seconds that a lost socket has.
local function reap(room)
  if EPOCH.wait > 0 then return end
  for peer, m in pairs(room.members) do
    if m.lost == 0 and not lives(m.node) then
      if m.dialect == 'plain' then
        m.lost = 1
      else
        m.lost = NOW + SHORT_GRACE_MS
        put(room, peer, m)
      end
    elseif m.lost > NOW + GRACE_MS then  -- set by a clock that was ahead of this one
      m.lost = NOW + GRACE_MS
      put(room, peer, m)
    end
    if m.lost > 0 and NOW >= m.lost then
      remove(room, peer, 'lost')
      room.reaped = room.reaped + 1
    end
  end
end

-- Before somebody is refused for the sake of those who are here: are they?
local function look_again(room)
  local asked, found = {}, false
  for _, m in pairs(room.members) do
    if m.lost == 0 and not asked[m.node] then
      asked[m.node] = true
      found = strike(m.node) or found
    end
  end
  if found then reap(room) end
end

-- Write back what is not a member, and answer {status, version, members, changes, reaped, ...}.
local function answer(room, status, extra)
  if room.count == 0 then
    redis.call('DEL', room.key)
  elseif #room.changes > 0 then
    redis.call('HSET', room.key, 'v', string.format('%.0f', room.v))
    redis.call('EXPIRE', room.key, TTL_S)
  end
  local members = {}
  for peer, m in pairs(room.members) do
    members[#members + 1] = {peer, m.node, m.role, m.dialect, m.gen}
  end
  return {status, room.v or 0, members, room.changes, room.reaped, extra or {}}
end
