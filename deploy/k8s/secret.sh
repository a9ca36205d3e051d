#!/bin/sh
# Prints the Secrets of a new installation, each value from the system's random numbers; nothing is kept.
#     sh deploy/k8s/secret.sh | kubectl create -f -
# `create` refuses to replace what is there. REDIS_URL in the environment goes in, for components/external-redis.
# --turn prints those of components/coturn too, with the same TURN_SECRET in both namespaces.
set -eu

random() { od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'; }
base64_of() { printf %s "$1" | base64 | tr -d '\n'; }
turn=$(random)

secret() { # secret NAMESPACE NAME COMPONENT
    cat <<SECRET
apiVersion: v1
kind: Secret
metadata:
  name: tightbeam
  namespace: $1
  labels:
    app.kubernetes.io/name: $2
    app.kubernetes.io/component: $3
    app.kubernetes.io/part-of: tightbeam
type: Opaque
data:
SECRET
}

secret tightbeam tightbeam node
echo "  TIGHTBEAM_SECRET: $(base64_of "$(random)")"
echo "  VALKEY_PASSWORD: $(base64_of "$(random)")"
echo "  EXPORTER_PASSWORD: $(base64_of "$(random)")"
echo "  SENTINEL_PASSWORD: $(base64_of "$(random)")"
[ -z "${REDIS_URL:-}" ] || echo "  REDIS_URL: $(base64_of "$REDIS_URL")"
case "${1:-}" in
"") ;;
--turn)
    echo "  TURN_SECRET: $(base64_of "$turn")"
    echo "---"
    secret tightbeam-turn coturn relay
    echo "  TURN_SECRET: $(base64_of "$turn")"
    ;;
*)
    echo "usage: sh deploy/k8s/secret.sh [--turn]" >&2
    exit 2
    ;;
esac
