#!/bin/sh
# Signs a Windows program in place (Authenticode, SHA-256), by osslsigncode.
# usage: sh deploy/windows/sign.sh FILE      with these variables:
#   TIGHTBEAM_SIGN_CERTIFICATE  the certificate and those above it, PEM
#   TIGHTBEAM_SIGN_KEY          its private key, PEM; or a key in a token, as a PKCS#11 URI with TIGHTBEAM_SIGN_PKCS11
#   TIGHTBEAM_SIGN_PKCS11       that token's module, if it is in one
#   TIGHTBEAM_SIGN_TIMESTAMP    address of an RFC 3161 time stamp server; without it the signature ends with the certificate
set -eu

: "${TIGHTBEAM_SIGN_CERTIFICATE:?expected the path of a PEM certificate}"
: "${TIGHTBEAM_SIGN_KEY:?expected the path of its PEM key}"
set -- "$1" -certs "$TIGHTBEAM_SIGN_CERTIFICATE" -key "$TIGHTBEAM_SIGN_KEY" -h sha256 -n "Tightbeam host agent"
[ -z "${TIGHTBEAM_SIGN_PKCS11:-}" ] || set -- "$@" -pkcs11module "$TIGHTBEAM_SIGN_PKCS11"
[ -z "${TIGHTBEAM_SIGN_TIMESTAMP:-}" ] || set -- "$@" -ts "$TIGHTBEAM_SIGN_TIMESTAMP"
file=$1
shift
osslsigncode sign "$@" -in "$file" -out "$file.signed" >/dev/null
mv "$file.signed" "$file"
