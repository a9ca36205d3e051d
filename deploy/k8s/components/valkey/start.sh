# Starts Valkey with the one user that nodes need (the rule is that of docs/redis.md).
set -eu
umask 077
cat >/run/valkey/users.acl <<RULES
user default off
user tightbeam on >$VALKEY_PASSWORD ~tb:* &* -@all +ping +select +info|server +role +time +script|load +eval +evalsha +get +mget +set +del +expire +pttl +incr +hset +hdel +hgetall +publish +psubscribe
RULES
unset VALKEY_PASSWORD
exec valkey-server /etc/valkey/valkey.conf
