#!/usr/bin/env bash
# Single submits over HTTP on this machine: wrk and the server share its cores. Five runs against a
# server of its own, whose data is below build/ (tmpfs would flatter the figure and is refused).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

folder=$(mktemp -d build/bench-http-XXXXXX)
server=
finish() {
  [[ -z $server ]] || { kill -TERM "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT

case $(stat -f -c %T "$folder") in
  tmpfs | ramfs) echo "bench: build/ is on tmpfs; acknowledged must mean on disk" >&2 && exit 1 ;;
esac

OPSCORE_LOG_LEVEL=warn build/opscore up --port 0 --data "$folder/opscore.db" \
  >"$folder/log" 2>&1 </dev/null &
server=$!
url=
for _ in {1..200}; do
  url=$(grep -oE 'http://(localhost|127\.0\.0\.1):[0-9]+' "$folder/log" | head -n 1 || true)
  [[ -z $url ]] || break
  kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2 && exit 1; }
  sleep 0.05
done
[[ -n $url ]] || { cat "$folder/log" >&2 && exit 1; }

echo "wrk $(wrk -v 2>&1 | head -n 1 | awk '{print $2}'), 64 connections, 2 threads, $(nproc) cores"
for _ in 1 2 3 4 5; do
  wrk -t2 -c64 -d10s --latency -s tools/submit.lua "$url" | grep '^single submit'
done
