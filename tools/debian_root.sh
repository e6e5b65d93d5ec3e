#!/usr/bin/env bash
# Makes a minimal Debian in a new folder, with packages; starts nothing of what they bring. Needs
# root.
set -euo pipefail

die() {
  printf 'debian_root: %s\n' "$*" >&2
  exit 1
}

[[ $# -ge 2 ]] || die "usage: tools/debian_root.sh RELEASE FOLDER [PACKAGE...]"
release=$1
root=$2
shift 2
[[ $EUID -eq 0 ]] || die "debootstrap and chroot need root"
command -v debootstrap >/dev/null || die "debootstrap is not installed: apt-get install debootstrap"
[[ ! -e $root ]] || die "'$root' exists already"

# The mirror this machine uses, so that proxies and caches of its network apply.
mirror_of() {  # WORD DEFAULT: the first URI of the host's apt sources that ends in /WORD
  local found
  found=$(grep -rhoE "https?://[^ ]+/$1/?( |\$)" /etc/apt/sources.list /etc/apt/sources.list.d \
    --include='*.list' --include='*.sources' --include=sources.list 2>/dev/null |
    tr -d ' ' | grep -v snapshot | sort -u) || true
  found=${found%%$'\n'*}
  echo "${found:-$2}"
}
mirror=$(mirror_of debian http://deb.debian.org/debian)
security=$(mirror_of debian-security http://deb.debian.org/debian-security)

quietly() {  # COMMAND...: its output only when it fails
  local log=$root.log
  "$@" >"$log" 2>&1 </dev/null || {
    tail -n 20 "$log" >&2
    die "'$1' failed for $release from $mirror (above: the end of $log)"
  }
  rm "$log"
}

quietly debootstrap --variant=minbase --include=ca-certificates "$release" "$root" "$mirror"
cat >"$root/etc/apt/sources.list" <<TXT
deb $mirror $release main
deb $mirror $release-updates main
deb $security $release-security main
TXT
# How this machine reaches the network: apt's proxy and checks, name servers, its own authorities.
apt-config dump | grep -E '^Acquire::(http|https|Check|Retries|ForceIPv4)' \
  >"$root/etc/apt/apt.conf.d/99-of-the-host" || true
cp /etc/resolv.conf /etc/hosts "$root/etc/"
if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
  cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
  chroot "$root" update-ca-certificates >/dev/null 2>&1
fi
[[ $# -gt 0 ]] || exit 0

install() {  # in namespaces of its own: what a package starts all the same ends with it
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  # shellcheck disable=SC2016  # the inner shell expands it
  unshare --mount --pid --fork --kill-child --propagation private bash -euc '
    mount -t proc proc "$1/proc"
    apt=(chroot "$1" env -i PATH="$PATH" DEBIAN_FRONTEND=noninteractive apt-get -q)
    shift
    "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends "$@"' inside "$root" "$@"
  rm "$root/usr/sbin/policy-rc.d"
}
quietly install "$@"
