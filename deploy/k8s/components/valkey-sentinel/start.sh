# Starts one of three Valkey servers. Whoever the sentinels call the primary is followed; when none answers, pod 0 is it.
set -eu
umask 077
me="$POD_NAME.valkey.tightbeam.svc"
first=valkey-0.valkey.tightbeam.svc
cat >/run/valkey/users.acl <<RULES
user default off
user tightbeam on >$VALKEY_PASSWORD ~tb:* &* -@all +ping +select +info|server +role +time +script|load +eval +evalsha +get +mget +set +del +expire +pttl +incr +hset +hdel +hgetall +publish +psubscribe
user tightbeam-exporter on >$EXPORTER_PASSWORD ~tb:host:* -@all +ping +select +info|server +role +scan +mget
user replica on >$SENTINEL_PASSWORD -@all +ping +psync +replconf
user sentinel on >$SENTINEL_PASSWORD &* -@all +multi +slaveof +replicaof +failover +ping +exec +subscribe +config|rewrite +role +publish +info +client|setname +client|kill +script|kill
RULES

primary=
for number in 0 1 2; do
    [ -n "$primary" ] || primary=$(
        REDISCLI_AUTH="$SENTINEL_PASSWORD" timeout 3 valkey-cli -h "valkey-$number.valkey.tightbeam.svc" -p 26379 \
            sentinel get-master-addr-by-name tightbeam 2>/dev/null | head -n 1 | grep '^valkey-' || true
    )
done
[ -n "$primary" ] || primary=$first
{
    cat /etc/valkey/valkey.conf
    echo "bind $POD_IP"
    echo "masterauth $SENTINEL_PASSWORD"
    echo "replica-announce-ip $me"
    [ "$primary" = "$me" ] || echo "replicaof $primary 6379"
} >/run/valkey/valkey.conf
unset VALKEY_PASSWORD EXPORTER_PASSWORD SENTINEL_PASSWORD
exec valkey-server /run/valkey/valkey.conf
