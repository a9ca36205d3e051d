-- Shared by every room script. A room is one hash:
--   v         version, rises by one with every change; starts at Redis's clock so that it rises
--             over the removal of an empty room too
--   cap       how many members it takes
--   m:<peer>  "node role dialect generation lost_until_ms authorised"; lost_until_ms 0: connected
local TTL_S = 3600

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
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

local function load_room(key)
  local room = {key = key, v = nil, cap = nil, members = {}, count = 0, changes = {}}
  local flat = redis.call('HGETALL', key)
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

-- The reason of 'left' is bye or lost, that of 'moved' the node before.
local function change(room, now, kind, peer, m, reason)
  room.v = (room.v or now) + 1
  room.changes[#room.changes + 1] = {room.v, kind, peer, m.node, m.role, m.dialect, reason}
end

local function put(room, peer, m)
  if not room.members[peer] then room.count = room.count + 1 end
  room.members[peer] = m
  redis.call('HSET', room.key, 'm:' .. peer, pack_member(m))
end

local function remove(room, now, peer, reason)
  local m = room.members[peer]
  room.members[peer] = nil
  room.count = room.count - 1
  redis.call('HDEL', room.key, 'm:' .. peer)
  change(room, now, 'left', peer, m, reason)
end

-- A member is gone when its grace is over. One whose node has stopped beating gets a last short grace,
-- so that with the node's own life it has at least the ten seconds that a lost socket has. The node that asks
-- lives, whatever its key says.
local function reap(room, now, node, node_prefix, short_grace_ms)
  local reaped = 0
  for peer, m in pairs(room.members) do
    if m.lost == 0 and m.node ~= node and redis.call('EXISTS', node_prefix .. m.node) == 0 then
      if m.dialect == 'plain' then
        m.lost = 1
      else
        m.lost = now + short_grace_ms
        put(room, peer, m)
      end
    end
    if m.lost > 0 and now >= m.lost then
      remove(room, now, peer, 'lost')
      reaped = reaped + 1
    end
  end
  return reaped
end

-- Write back what is not a member, and answer {status, version, members, changes, reaped, ...}.
local function answer(room, status, reaped, extra)
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
  return {status, room.v or 0, members, room.changes, reaped or 0, extra or {}}
end
