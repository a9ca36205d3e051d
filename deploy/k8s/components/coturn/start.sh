# Starts coturn with its secret, which is on no command line.
set -eu
umask 077
{
    cat /etc/coturn/turnserver.conf
    echo "static-auth-secret=$TURN_SECRET"
} >/run/coturn/turnserver.conf
unset TURN_SECRET
exec turnserver -c /run/coturn/turnserver.conf
