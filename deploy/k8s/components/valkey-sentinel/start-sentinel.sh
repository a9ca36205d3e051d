# Starts the sentinel beside a server. It begins with the primary that the server beside it has, or is.
set -eu
umask 077
primary=
while [ -z "$primary" ]; do
    role=$(REDISCLI_AUTH="$SENTINEL_PASSWORD" timeout 3 valkey-cli -h "$POD_IP" --user sentinel role 2>/dev/null || true)
    case "$role" in
    master*) primary="$POD_NAME.valkey.tightbeam.svc" ;;
    slave*) primary=$(echo "$role" | sed -n 2p) ;;
    *) sleep 1 ;;
    esac
done
{
    cat /etc/valkey/sentinel.conf
    echo "bind $POD_IP"
    echo "requirepass $SENTINEL_PASSWORD"
    echo "sentinel sentinel-pass $SENTINEL_PASSWORD"
    echo "sentinel announce-ip $POD_NAME.valkey.tightbeam.svc"
    echo "sentinel monitor tightbeam $primary 6379 2"
    echo "sentinel auth-user tightbeam sentinel"
    echo "sentinel auth-pass tightbeam $SENTINEL_PASSWORD"
    echo "sentinel down-after-milliseconds tightbeam 5000"
    echo "sentinel failover-timeout tightbeam 15000"
    echo "sentinel parallel-syncs tightbeam 2"
} >/run/valkey/sentinel.conf
unset SENTINEL_PASSWORD
exec valkey-server /run/valkey/sentinel.conf --sentinel
