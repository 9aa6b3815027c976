#!/bin/sh
# make-certificates.sh FOLDER HOST [OWNER]: a key and certificate for the database server HOST, and the authority that signed it.
#
#   FOLDER/ca.crt       what clients need (DATABASE_SSL_ROOT_CERT)
#   FOLDER/server.crt   what the server shows
#   FOLDER/server.key   for the server alone: owned by OWNER when that is given (a user id; only root may give files away)
#
# Does nothing while the certificate is good for 30 days more. The authority's own key is thrown away: nobody can sign a second server.
# Renewed certificates come with a new authority: restart the server and its clients then.
set -eu

if [ $# -lt 2 ]; then
    sed -n '2p' "$0" >&2
    exit 64
fi
folder="$1" host="$2" owner="${3:-}"
days=3650

if [ -s "$folder/server.key" ] && openssl x509 -in "$folder/server.crt" -noout -checkend $((30 * 86400)) >/dev/null 2>&1; then
    echo "$folder: the certificate is good"
    exit 0
fi

mkdir -p "$folder"
draft="$(mktemp -d "$folder/.draft.XXXXXX")"
trap 'rm -rf "$draft"' EXIT
umask 077

quietly() { "$@" 2>"$draft/errors" || { cat "$draft/errors" >&2; exit 1; }; }

quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" -subj "/CN=Bifrost database authority" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$draft/ca.key" -out "$draft/ca.crt"
quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" \
    -keyout "$draft/server.key" -out "$draft/server.csr"
printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n' "$host" >"$draft/extensions"
quietly openssl x509 -req -in "$draft/server.csr" -CA "$draft/ca.crt" -CAkey "$draft/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
    -days "$days" -extfile "$draft/extensions" -out "$draft/server.crt"

chmod 644 "$draft/ca.crt" "$draft/server.crt"
if [ -n "$owner" ]; then chown "$owner" "$draft/server.key"; fi
mv "$draft/ca.crt" "$draft/server.crt" "$draft/server.key" "$folder/"
chmod 755 "$folder"
echo "$folder: made a certificate for $host"
