#!/bin/sh
# 推送一批办件事件 · Pushes a batch of case events.
#   sh push.sh https://接收地址/v1/senders/发送方/events 密钥文件 事件.json
# Needs curl, openssl, coreutils. The exit status is 0 when at least one event was stored: read `results` for each.
set -eu
url=$1 secret_file=$2 events=$3

# The same content has the same id, so that a repeat is known for one.
id="msg_$(sha256sum "$events" | cut -c1-32)"
timestamp=$(date +%s)
key=$(sed 's/^whsec_//' "$secret_file" | tr -d '\r\n ' | base64 -d | od -An -vtx1 | tr -d ' \n')
signature=$({ printf '%s.%s.' "$id" "$timestamp"; cat "$events"; } |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64 | tr -d '\n')

# 429, 503 and a refused connection: again, after the seconds that Retry-After asks for. The signature holds for 300 s.
curl --silent --show-error --fail-with-body --retry 8 --retry-connrefused --retry-max-time 240 \
  --header 'Content-Type: application/cloudevents-batch+json' \
  --header "webhook-id: $id" \
  --header "webhook-timestamp: $timestamp" \
  --header "webhook-signature: v1,$signature" \
  --data-binary "@$events" "$url"
