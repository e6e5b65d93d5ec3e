#!/usr/bin/env bash
# What tools/fresh.sh runs on the fresh machine: the commands of the README, timed and checked.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
api=http://localhost:8000
log=/tmp/up.log

die() {
  printf 'fresh: %s\n' "$*" >&2
  [[ ! -s $log ]] || { echo "-- the output of ./dev up:" && tail -n 60 "$log"; } >&2
  exit 1
}

from_readme() {  # the commands below are promises only as long as the README makes them
  grep -qF -- "$1" README.md || die "README.md does not contain: $1"
}

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

up_pid=
start_up() {  # SECONDS: ./dev up until it is ready; sets took_ms
  local limit=$1 began
  began=$(now_ms)
  ./dev up >"$log" 2>&1 </dev/null &
  up_pid=$!
  until curl -fs "$api/ready" >/dev/null 2>&1; do
    kill -0 "$up_pid" 2>/dev/null || die "./dev up ended before the API was ready"
    (($(now_ms) - began < limit * 1000)) || die "./dev up is not ready after $limit s"
    sleep 0.02
  done
  took_ms=$(($(now_ms) - began))
}

stop_up() {
  local status=0
  kill -TERM "$up_pid"
  wait "$up_pid" || status=$?
  [[ $status -eq 0 ]] || die "opscore up ended with exit code $status after SIGTERM"
}

submit_by_curl() {  # the main job of the README; sets task
  local answer
  answer=$(curl -sS -i -X POST "$api/api/v1/tasks/" -H "Content-Type: application/json" \
    -d '{"task_type": "agent_task", "input_data": {"prompt": "Manual debug test prompt"}}')
  grep -q '^HTTP/1.1 202' <<<"$answer" || die "submit answered: $answer"
  grep -qi '^location: ' <<<"$answer" || die "no Location header in: $answer"
  task=$(grep -oE '"task_id": ?"[^"]+"' <<<"$answer" | head -n 1 | cut -d'"' -f4)
  [[ -n $task ]] || die "no task_id in: $answer"
}

wait_for_result() {
  local answer
  for _ in {1..60}; do
    answer=$(curl -sS "$api/api/v1/tasks/$task?wait=1s")
    grep -qE '"status": ?"(completed|failed|cancelled)"' <<<"$answer" && break
  done
  grep -qE '"status": ?"completed"' <<<"$answer" || die "$task did not complete: $answer"
  grep -qE '"result": ?[^n ]' <<<"$answer" || die "$task has no result: $answer"
}

from_readme './dev up'
from_readme '"task_type": "agent_task"'
from_readme 'build/opscore submit shell.word_count --input @'
from_readme 'build/opscore explain task_'

echo "== ./dev up: packages, first build, start"
start_up 1800
grep -E '^(Installed|Built) ' "$log" || true
echo "== ./dev up on a bare machine: ready after $((took_ms / 1000)) s"

submit_by_curl
wait_for_result
echo "== $task by curl: completed"
build/opscore submit shell.word_count --input @README.md --wait
build/opscore tasks list --status failed
build/opscore explain "$task"
stop_up
echo "== SIGTERM: exit code 0"

start_up 30
echo "== ./dev up with nothing to build: ready after $took_ms ms"
stop_up

# Code, not a comment: ccache knows that a comment changes nothing.
echo "namespace opscore { int changed_at_$EPOCHSECONDS() { return 1; } }" \
  >>src/opscore/model/decide.cc
began=$(now_ms)
./dev build >/dev/null
echo "== rebuild after one changed file: $(($(now_ms) - began)) ms"
git checkout --quiet src/opscore/model/decide.cc

if [[ ${1:-} == --test ]]; then
  ./dev test
fi
