#!/usr/bin/env bash
# An installation of roles on this machine, services beside it: bulk submits over HTTP and execution
# at the same time, and how soon a lone task is picked up. Medians of 3 runs. Data is below build/.
#   tools/bench_cluster.sh [postgres|rabbitmq] [WORKERS] [TASKS]
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
with=${1:-rabbitmq} workers=${2:-1} tasks=${3:-100000}

folder=$(mktemp -d "$PWD/build/bench-cluster-XXXXXX")
chmod 755 "$folder"
export OPSCORE_SERVICES=$folder/services
pids=()
finish() {
  [[ ${#pids[@]} -eq 0 ]] || { kill -TERM "${pids[@]}" && wait "${pids[@]}"; } 2>/dev/null || true
  tools/services.sh stop
  rm -rf "$folder"
}
trap finish EXIT

services=(postgres)
[[ $with == postgres ]] || services+=(rabbitmq)
tools/services.sh start "${services[@]}" >/dev/null
set -a
eval "$(tools/services.sh env)"
set +a
export OPSCORE_LOG_LEVEL=warn OPSCORE_STORE_EXPORTS=$folder/exports
build/opscore migrate >/dev/null

launch() {  # NAME ROLE [arguments]
  local name=$1
  shift
  (cd "$folder" && exec "$OLDPWD/build/opscore" "$@") >"$folder/$name.log" 2>&1 </dev/null &
  pids+=($!)
}
launch maintenance maintenance
for ((n = 0; n < workers; n++)); do launch "worker-$n" worker --slots "${SLOTS:-8}"; done
launch api api --port 0
url=
for _ in {1..200}; do
  url=$(grep -soE 'http://(localhost|127\.0\.0\.1):[0-9]+' "$folder/api.log" | head -n 1 || true)
  [[ -z $url ]] || break
  sleep 0.05
done
[[ -n $url ]] || { cat "$folder/api.log" >&2 && exit 1; }

echo "$with, $workers worker(s) of ${SLOTS:-8} slots, $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
/usr/bin/python3 tools/bench_cluster.py "$url" "$tasks"
