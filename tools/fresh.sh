#!/usr/bin/env bash
# Proves the README on a machine that has nothing: a minimal Debian in a temporary folder, a clone
# of HEAD in it, the README's commands run there by tools/fresh_inside.sh. Needs root. All mounts
# and processes live in namespaces of their own and end with this script, however it ends.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

die() {
  printf 'fresh: %s\n' "$*" >&2
  exit 1
}

release=${1:-}
shift || true
[[ $release == bookworm || $release == trixie ]] || die "say which Debian: bookworm or trixie"
for argument in "$@"; do
  [[ $argument == --test ]] || die "unknown argument '$argument'; only --test exists"
done
[[ $EUID -eq 0 ]] || die "debootstrap and chroot need root; run: sudo ./dev fresh $release $*"
if (exec 3<>/dev/tcp/127.0.0.1/8000) 2>/dev/null; then
  die "port 8000 is in use on this machine, and the README's commands use it; free it first"
fi
[[ -z $(git status --porcelain --untracked-files=no) ]] ||
  echo "fresh: there are uncommitted changes; what is tested is HEAD, $(git rev-parse --short HEAD)"

folder=$(mktemp -d "${TMPDIR:-/var/tmp}/opscore-fresh-XXXXXX")
root=$folder/root
trap 'rm -rf --one-file-system "$folder"' EXIT

echo "== minimal Debian $release"
began=$SECONDS
tools/debian_root.sh "$release" "$root" git
git clone --quiet "file://$PWD" "$root/root/opscore"
echo "== minimal Debian $release: $((SECONDS - began)) s"

# shellcheck disable=SC2016  # the inner shell expands it
unshare --mount --pid --fork --kill-child --propagation private bash -euc '
  root=$1
  shift
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount --rbind /dev "$root/dev"
  exec chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin CI=true \
    bash /root/opscore/tools/fresh_inside.sh "$@"
' inside "$root" "$@" </dev/null
