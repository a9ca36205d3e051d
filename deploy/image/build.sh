#!/bin/sh
# Builds the image of a node from the wheel in dist/ with podman or docker. usage: sh deploy/image/build.sh VERSION
set -eu

image="localhost/tightbeam:$1"
for engine in podman docker; do
    if command -v "$engine" >/dev/null 2>&1; then
        "$engine" build --file Containerfile --tag "$image" .
        echo "Built $image. Load it into your cluster's machines (docs/kubernetes.md), for example:"
        echo "    kind load docker-image $image"
        echo "    minikube image load $image"
        exit 0
    fi
done
echo "There is neither podman nor docker here. Install one of them, then run make image again." >&2
exit 1
