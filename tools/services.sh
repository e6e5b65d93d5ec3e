#!/usr/bin/env bash
# Throw-away PostgreSQL and RabbitMQ (and Redis) for development and tests: this checkout's own, as an
# ordinary user, in a temporary folder, on free ports of 127.0.0.1. A system's instances are never
# touched. Called by ./dev services, which installs the packages.
set -euo pipefail
checkout=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")

usage() {
  cat <<'TXT'
usage: ./dev services COMMAND

  start [NAME...] start those of postgres, rabbitmq and redis that are named, else PostgreSQL and
                  RabbitMQ; what runs already is left alone
  halt NAME...    end those that are named as a crash would; start takes up what they wrote
  stop            stop them all and remove everything they wrote
  status          what runs, where (exit code 1 when something that was started does not)
  env             KEY=value lines for the tests: DATABASE_URL, RABBITMQ_URL, RABBITMQ_MANAGEMENT_URL,
                  REDIS_URL; in a shell: export $(./dev services env)
  rabbitmqctl ... RabbitMQ's own tool, for this node

One set for each checkout. OPSCORE_SERVICES names another folder for what they write.
TXT
}

say() { printf '%s\n' "$*"; }
die() {
  printf 'services: %s\n' "$*" >&2
  exit 1
}

owner=$EUID
id=$(printf '%s %s' "$checkout" "$owner" | sha256sum | cut -c1-10)
folder=${OPSCORE_SERVICES:-${TMPDIR:-/tmp}/opscore-services-$id}
settings=$folder/settings

# PostgreSQL does not run as root.
as_user() {
  if [[ $owner -eq 0 ]]; then
    setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs "$@"
  else
    "$@"
  fi
}

# Named, free, different ports of 127.0.0.1.
free_ports() {
  /usr/bin/python3 - "$@" <<'PY'
import socket, sys
held = [(name, socket.create_server(("127.0.0.1", 0))) for name in sys.argv[1:]]
for name, port in held:
    print(f"{name}={port.getsockname()[1]}")
PY
}

await() {  # WHAT LOG COMMAND...: until the command succeeds, at most 90 s
  local what=$1 log=$2 began=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS - began > 90)); then
      tail -n 20 "$log" >&2 || true
      die "$what did not come up within 90 s (above: the end of $log)"
    fi
    sleep 0.1
  done
}

alive() {  # PID_FILE
  local pid
  pid=$(head -n 1 "$1" 2>/dev/null) && [[ -n $pid ]] && kill -0 "$pid" 2>/dev/null
}

# ---------------------------------------------------------------- PostgreSQL

postgres_bin() {
  local found=(/usr/lib/postgresql/*/bin/postgres)
  [[ -x ${found[-1]} ]] || die "PostgreSQL is not installed; run ./dev services start"
  dirname "${found[-1]}"
}

start_postgres() {
  alive "$folder/postgres/data/postmaster.pid" && return
  local bin log=$folder/postgres/log
  bin=$(postgres_bin)
  if [[ ! -f $folder/postgres/data/PG_VERSION ]]; then
    as_user mkdir -p "$folder/postgres"
    as_user sh -c "printf %s '$PASSWORD' >'$folder/postgres/password'"
    as_user "$bin/initdb" -D "$folder/postgres/data" -U opscore -A scram-sha-256 \
      --pwfile="$folder/postgres/password" -E UTF8 --locale=C.UTF-8 >"$folder/initdb.log" 2>&1 ||
      { cat "$folder/initdb.log" >&2 && die "initdb failed"; }
  fi
  as_user "$bin/pg_ctl" -D "$folder/postgres/data" -l "$log" -w -t 90 \
    -o "-c listen_addresses=127.0.0.1 -c port=$POSTGRES_PORT -c unix_socket_directories='$folder/postgres' -c max_connections=200" \
    start </dev/null >"$folder/pg_ctl.log" 2>&1 ||
    { tail -n 20 "$log" >&2 && die "PostgreSQL did not start (above: the end of $log)"; }
}

stop_postgres() {
  alive "$folder/postgres/data/postmaster.pid" || return 0
  as_user "$(postgres_bin)/pg_ctl" -D "$folder/postgres/data" -m immediate -w stop >/dev/null 2>&1 ||
    kill -9 "$(head -n 1 "$folder/postgres/data/postmaster.pid")" 2>/dev/null || true
}

# ---------------------------------------------------------------- RabbitMQ

# Not the wrapper in /usr/sbin, which insists on the system's user and cookie.
rabbit_server=/usr/lib/rabbitmq/bin/rabbitmq-server

rabbit_env() {
  local home=$folder/rabbitmq
  as_user env -i PATH="$PATH" HOME="$home" LANG=C.UTF-8 RABBITMQ_NODENAME="opscore-$id@localhost" \
    RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" RABBITMQ_LOGS="$home/log/node.log" \
    RABBITMQ_CONFIG_FILE="$home/rabbitmq" RABBITMQ_ENABLED_PLUGINS_FILE="$home/plugins" \
    RABBITMQ_PID_FILE="$home/pid" RABBITMQ_DIST_PORT="$RABBITMQ_DIST_PORT" RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_FEATURE_FLAGS_FILE="$home/feature_flags" RABBITMQ_GENERATED_CONFIG_DIR="$home/generated" \
    ERL_EPMD_PORT="$EPMD_PORT" ERL_EPMD_ADDRESS=127.0.0.1 ERL_MAX_PORTS=4096 "$@"
}

start_rabbitmq() {
  local home=$folder/rabbitmq
  alive "$home/pid" && return
  [[ -x $rabbit_server ]] || die "RabbitMQ is not installed; run ./dev services start"
  as_user mkdir -p "$home/log" "$home/mnesia" "$home/generated"
  as_user tee "$home/plugins" >/dev/null <<<'[rabbitmq_management].'
  as_user tee "$home/rabbitmq.conf" >/dev/null <<TXT
listeners.tcp.1 = 127.0.0.1:$RABBITMQ_PORT
management.tcp.ip = 127.0.0.1
management.tcp.port = $RABBITMQ_MANAGEMENT_PORT
default_user = opscore
default_pass = $PASSWORD
disk_free_limit.absolute = 100MB
TXT
  rabbit_env setsid "$rabbit_server" </dev/null >"$folder/rabbitmq.out" 2>&1 &
  await RabbitMQ "$folder/rabbitmq.out" curl -fsS -u "opscore:$PASSWORD" \
    "http://127.0.0.1:$RABBITMQ_MANAGEMENT_PORT/api/overview"
}

stop_rabbitmq() {
  local home=$folder/rabbitmq pid
  if alive "$home/pid"; then
    pid=$(head -n 1 "$home/pid")
    # What it holds is thrown away, so it need not be asked; its port helpers end with it.
    kill -9 "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  fi
  [[ -z ${EPMD_PORT:-} ]] || ! command -v epmd >/dev/null ||
    rabbit_env epmd -port "$EPMD_PORT" -kill >/dev/null 2>&1 || true
}

rabbitmqctl() {
  [[ -f $settings ]] || die "nothing was started here; run ./dev services start"
  # shellcheck source=/dev/null
  source "$settings"
  rabbit_env /usr/lib/rabbitmq/bin/rabbitmqctl "$@"
}

# ---------------------------------------------------------------- Redis

start_redis() {
  alive "$folder/redis/pid" && return
  command -v redis-server >/dev/null || die "Redis is not installed; run ./dev services start redis"
  as_user mkdir -p "$folder/redis"
  as_user redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --requirepass "$PASSWORD" --daemonize yes \
    --dir "$folder/redis" --pidfile "$folder/redis/pid" --logfile "$folder/redis/log" --save "" >/dev/null
  await Redis "$folder/redis/log" env REDISCLI_AUTH="$PASSWORD" redis-cli -p "$REDIS_PORT" ping
}

stop_redis() {
  alive "$folder/redis/pid" || return 0
  kill -9 "$(cat "$folder/redis/pid")" 2>/dev/null || true
}

# ---------------------------------------------------------------- commands

start() {
  if [[ ! -f $settings ]]; then
    mkdir -p "$folder"
    [[ $owner -ne 0 ]] || chown nobody:nogroup "$folder"
    chmod 700 "$folder"
    {
      free_ports POSTGRES_PORT RABBITMQ_PORT RABBITMQ_MANAGEMENT_PORT RABBITMQ_DIST_PORT EPMD_PORT REDIS_PORT
      printf 'PASSWORD=%s\n' "$(head -c 18 /dev/urandom | base64 | tr '+/' 'ab')"
    } >"$settings.new"
    mv "$settings.new" "$settings"
  fi
  # shellcheck source=/dev/null
  source "$settings"
  local name
  for name in "$@"; do "start_$name"; done
}

halt() {
  [[ -f $settings ]] || die "nothing was started here; run ./dev services start"
  # shellcheck source=/dev/null
  source "$settings"
  local name
  for name in "$@"; do "stop_$name"; done
}

stop() {
  [[ -d $folder ]] || return 0
  # shellcheck source=/dev/null
  [[ ! -f $settings ]] || source "$settings"
  stop_rabbitmq
  stop_postgres
  stop_redis
  rm -rf --one-file-system "$folder"
}

status() {
  [[ -f $settings ]] || { say "no services; start them with ./dev services start" && return 1; }
  # shellcheck source=/dev/null
  source "$settings"
  local failed=0
  report() {  # NAME FOLDER PID_FILE PORT: nothing about what was never started
    [[ -d $2 ]] || return 0
    if alive "$3"; then
      say "$1 runs: 127.0.0.1:$4, pid $(head -n 1 "$3")"
    else
      say "$1 does not run; see $folder"
      failed=1
    fi
  }
  report PostgreSQL "$folder/postgres" "$folder/postgres/data/postmaster.pid" "$POSTGRES_PORT"
  report RabbitMQ "$folder/rabbitmq" "$folder/rabbitmq/pid" "$RABBITMQ_PORT"
  report Redis "$folder/redis" "$folder/redis/pid" "$REDIS_PORT"
  say "folder: $folder"
  return "$failed"
}

print_env() {
  [[ -f $settings ]] || die "nothing was started here; run ./dev services start"
  # shellcheck source=/dev/null
  source "$settings"
  [[ ! -d $folder/postgres ]] ||
    say "DATABASE_URL=postgresql://opscore:$PASSWORD@127.0.0.1:$POSTGRES_PORT/postgres"
  if [[ -d $folder/rabbitmq ]]; then
    say "RABBITMQ_URL=amqp://opscore:$PASSWORD@127.0.0.1:$RABBITMQ_PORT/%2F"
    say "RABBITMQ_MANAGEMENT_URL=http://opscore:$PASSWORD@127.0.0.1:$RABBITMQ_MANAGEMENT_PORT"
  fi
  [[ ! -e $folder/redis/pid ]] || say "REDIS_URL=redis://:$PASSWORD@127.0.0.1:$REDIS_PORT/0"
}

command=${1:-}
[[ $# -eq 0 ]] || shift
check_names() {
  local name
  for name in "$@"; do
    [[ $name =~ ^(postgres|rabbitmq|redis)$ ]] || die "no service '$name'; there are postgres, rabbitmq and redis"
  done
}

case $command in
  start)
    check_names "$@"
    [[ $# -gt 0 ]] || set -- postgres rabbitmq
    start "$@" && { status || true; }  # others may have been halted
    ;;
  halt) check_names "$@" && halt "$@" ;;
  stop) stop ;;
  status) status ;;
  env) print_env ;;
  rabbitmqctl) rabbitmqctl "$@" ;;
  -h | --help | help) usage ;;
  *) usage >&2 && exit 2 ;;
esac
