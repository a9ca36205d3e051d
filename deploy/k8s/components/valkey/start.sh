# Starts Valkey with the users that nodes and the fleet exporter need (the rules are those of docs/redis.md).
set -eu
umask 077
cat >/run/valkey/users.acl <<RULES
user default off
user tightbeam on >$VALKEY_PASSWORD ~tb:* &* -@all +ping +select +info|server +role +time +script|load +eval +evalsha +get +mget +set +del +expire +pttl +incr +hset +hdel +hgetall +publish +psubscribe
user tightbeam-exporter on >$EXPORTER_PASSWORD ~tb:host:* -@all +ping +select +info|server +role +scan +mget
RULES
unset VALKEY_PASSWORD EXPORTER_PASSWORD
exec valkey-server /etc/valkey/valkey.conf
