#!/usr/bin/env bash
# Throw-away PostgreSQL and RabbitMQ (and Redis) for development and tests: this checkout's own, as an
# ordinary user, in a temporary folder, on free ports of 127.0.0.1. A system's instances are never
# touched. Called by ./dev services, which installs the packages.
set -euo pipefail
# What runs on keeps nothing of the caller's open: a lock, or a pipe at whose end somebody waits.
for fd in /proc/$$/fd/*; do
  fd=${fd##*/}
  ((fd <= 2 || fd == 255)) || eval "exec $fd>&-"  # 255: this script
done
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

One set for each checkout. OPSCORE_SERVICES names another folder for what they write. With
OPSCORE_SERVICES_ROOT the first start takes the programs from the root of another Debian, such as
sudo tools/debian_root.sh trixie FOLDER postgresql rabbitmq-server makes.
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
# Of the programs; what the settings say counts.
ROOT=${OPSCORE_SERVICES_ROOT:+$(readlink -f "$OPSCORE_SERVICES_ROOT")}
# Of everything that is started, so that it is found whatever became of its pid file.
mark=OPSCORE_STARTED_FOR=$folder

# PostgreSQL does not run as root. With a ROOT, its programs and settings are seen instead of this
# system's; network, processes and temporary files are shared.
as_user() {
  local command=(env "$mark" "$@")
  if [[ -n $ROOT ]]; then
    command=(bwrap --ro-bind "$ROOT/usr" /usr --symlink usr/bin /bin --symlink usr/sbin /sbin
      --symlink usr/lib /lib --symlink usr/lib64 /lib64 --ro-bind "$ROOT/etc" /etc
      --ro-bind /etc/passwd /etc/passwd --dev-bind /dev /dev --ro-bind /proc /proc --tmpfs /tmp
      --bind "${TMPDIR:-/tmp}" "${TMPDIR:-/tmp}" --bind "$folder" "$folder" "${command[@]}")
  fi
  if [[ $owner -eq 0 ]]; then
    command=(setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs "${command[@]}")
  fi
  "${command[@]}"
}

# Whatever of ours runs: also what an interrupted start has left behind. A PostgreSQL that is killed
# leaves shared memory: it is asked first, and initdb, which runs some, is let come to its end.
end_all() {
  local pids comms signal=TERM began=$SECONDS
  while :; do
    mapfile -t pids < <(grep -lsxzF "$mark" /proc/[0-9]*/environ | cut -d/ -f3)
    [[ ${#pids[@]} -gt 0 ]] || return 0
    ((SECONDS - began < 10)) || signal=KILL
    comms=("${pids[@]/#//proc/}")
    comms=("${comms[@]/%//comm}")
    if [[ $signal == KILL ]] || ! grep -qsx initdb "${comms[@]}"; then
      kill -s "$signal" "${pids[@]}" 2>/dev/null || true
    fi
    sleep 0.05
  done
}

# Named, free, different ports of 127.0.0.1. None that the kernel gives to outgoing connections: while
# a service is halted, one that tries to reach it could be given its port, and reach itself.
free_ports() {
  /usr/bin/python3 - "$@" <<'PY'
import random, socket, sys
with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
    first, last = map(int, file.read().split())
ports = [port for port in range(10000, 65536) if not first <= port <= last]
random.shuffle(ports)
held = []
for name in sys.argv[1:]:
    while True:
        try:
            held.append(socket.create_server(("127.0.0.1", ports.pop())))
            break
        except OSError:
            pass
    print(f"{name}={held[-1].getsockname()[1]}")
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

# What has ended and was not reaped yet does not count: in a container that can take seconds.
alive() {  # PID_FILE
  local pid
  pid=$(head -n 1 "$1" 2>/dev/null) && [[ -n $pid ]] &&
    grep -q '^State:[[:space:]]*[^XZ]' "/proc/$pid/status" 2>/dev/null
}

# ---------------------------------------------------------------- PostgreSQL

postgres_bin() {
  local found=("$ROOT"/usr/lib/postgresql/*/bin/postgres)
  [[ -x ${found[-1]} ]] || die "PostgreSQL is not installed${ROOT:+ in '$ROOT'}; run ./dev services start"
  dirname "${found[-1]#"$ROOT"}"
}

# The password as PostgreSQL stores it, hashed once instead of 4,096 times: it is random anyway, and
# that would be most of the time that tests take to connect, which they do thousands of times.
scram_secret() {
  /usr/bin/python3 - "$PASSWORD" <<'PY'
import base64, hashlib, hmac, os, sys
salt = os.urandom(16)
salted = hashlib.pbkdf2_hmac("sha256", sys.argv[1].encode(), salt, 1)
client, server = (hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key"))
salt, stored, server = (
    base64.b64encode(each).decode() for each in (salt, hashlib.sha256(client).digest(), server)
)
print(f"SCRAM-SHA-256$1:{salt}${stored}:{server}")
PY
}

start_postgres() {
  alive "$folder/postgres/data/postmaster.pid" && return
  local bin log=$folder/postgres/log new=$folder/postgres/new.$$
  bin=$(postgres_bin)
  if [[ ! -d $folder/postgres/data ]]; then
    as_user mkdir -p "$folder/postgres"
    scram_secret | as_user tee "$folder/postgres/password" >/dev/null
    as_user "$bin/initdb" -D "$new" -U opscore -A scram-sha-256 \
      --pwfile="$folder/postgres/password" -E UTF8 --locale=C.UTF-8 >"$folder/initdb.log" 2>&1 ||
      { cat "$folder/initdb.log" >&2 && die "initdb failed"; }
    as_user mv "$new" "$folder/postgres/data"  # whole, or not at all
  fi
  as_user "$bin/pg_ctl" -D "$folder/postgres/data" -l "$log" -w -t 90 \
    -o "-c listen_addresses=127.0.0.1 -c port=$POSTGRES_PORT -c unix_socket_directories='$folder/postgres' -c max_connections=200" \
    start </dev/null >"$folder/pg_ctl.log" 2>&1 ||
    { tail -n 20 "$log" >&2 && die "PostgreSQL did not start (above: the end of $log)"; }
}

stop_postgres() {
  alive "$folder/postgres/data/postmaster.pid" || return 0
  as_user "$(postgres_bin)/pg_ctl" -D "$folder/postgres/data" -m immediate -w stop >/dev/null 2>&1 ||
    true
}

# ---------------------------------------------------------------- RabbitMQ

# Not the wrapper in /usr/sbin, which insists on the system's user and cookie.
rabbit_server=/usr/lib/rabbitmq/bin/rabbitmq-server

rabbit_env() {
  local home=$folder/rabbitmq
  as_user env -i "$mark" PATH="$PATH" HOME="$home" LANG=C.UTF-8 RABBITMQ_NODENAME="opscore-$id@localhost" \
    RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" RABBITMQ_LOGS="$home/log/node.log" \
    RABBITMQ_CONFIG_FILE="$home/rabbitmq" RABBITMQ_ENABLED_PLUGINS_FILE="$home/plugins" \
    RABBITMQ_PID_FILE="$home/pid" RABBITMQ_DIST_PORT="$RABBITMQ_DIST_PORT" RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_FEATURE_FLAGS_FILE="$home/feature_flags" RABBITMQ_GENERATED_CONFIG_DIR="$home/generated" \
    ERL_EPMD_PORT="$EPMD_PORT" ERL_EPMD_ADDRESS=127.0.0.1 ERL_MAX_PORTS=4096 "$@"
}

start_rabbitmq() {
  local home=$folder/rabbitmq
  alive "$home/pid" && return
  [[ -x $ROOT$rabbit_server ]] ||
    die "RabbitMQ is not installed${ROOT:+ in '$ROOT'}; run ./dev services start"
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
  local home=$folder/rabbitmq
  if alive "$home/pid"; then
    # What it holds is thrown away, so it need not be asked.
    kill -9 "$(head -n 1 "$home/pid")" 2>/dev/null || true
    while alive "$home/pid"; do sleep 0.05; done
  fi
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
  [[ -x $ROOT/usr/bin/redis-server ]] ||
    die "Redis is not installed${ROOT:+ in '$ROOT'}; run ./dev services start redis"
  as_user mkdir -p "$folder/redis"
  as_user redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --requirepass "$PASSWORD" --daemonize yes \
    --dir "$folder/redis" --pidfile "$folder/redis/pid" --logfile "$folder/redis/log" --save "" >/dev/null
  await Redis "$folder/redis/log" env REDISCLI_AUTH="$PASSWORD" redis-cli -p "$REDIS_PORT" ping
}

stop_redis() {
  alive "$folder/redis/pid" || return 0
  kill -9 "$(cat "$folder/redis/pid")" 2>/dev/null || true
  while alive "$folder/redis/pid"; do sleep 0.05; done
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
      printf 'ROOT=%q\n' "$ROOT"
    } >"$settings.new"
    mv "$settings.new" "$settings"
  fi
  local wanted=$ROOT
  # shellcheck source=/dev/null
  source "$settings"
  [[ ${wanted:-$ROOT} == "$ROOT" ]] ||
    die "those of this checkout are of '${ROOT:-/}', not of '$wanted'; stop them first"
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
  end_all
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

# Read to its end before anything runs: whoever edits this file does not change a running command.
{
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
exit
}
