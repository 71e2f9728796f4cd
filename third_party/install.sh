#!/usr/bin/env bash
# install.sh GROUP... - installs the packages of these groups (packages.txt) that are missing.
# Says nothing when all are there. Without network or rights it names the packages and fails; for the
# group `optional` it only names them.
set -euo pipefail
cd "$(dirname "$0")"

[ $# -gt 0 ] || { echo "usage: install.sh GROUP... (build, optional, test, lint, reference, fuzz, count or bundle)" >&2; exit 2; }
wanted_groups=$*
wanted=$(awk -v groups=" $* " '!/^#/ && NF && index(groups, " " $1 " ") { print $2 }' packages.txt)

if ! command -v dpkg-query > /dev/null; then
    echo "icot: this is no Debian or Ubuntu; the equivalents of these packages must be there:" $wanted >&2
    exit 0 # configure.sh says what it cannot find
fi

there=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $wanted 2> /dev/null | sed -n 's/^installed //p' || true)
missing=$(comm -23 <(sort -u <<< "$wanted") <(sort -u <<< "$there") | xargs)
[ -n "$missing" ] || exit 0

give_up() {
    if [ "$wanted_groups" = optional ]; then
        echo "icot: $1; going on without the optional packages: $missing" >&2
        exit 0
    fi
    echo "icot: $1; these packages are missing: $missing" >&2
    echo "icot: install them with: apt-get install $missing" >&2
    exit 1
}

as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || give_up "installing packages needs root or sudo"
    as_root="sudo"
fi

echo "icot: installing from the distribution's packages: $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_get() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" < /dev/null >> "$log" 2>&1
}
# A fresh machine has no package lists, an old one has stale ones; one broken source is no reason to stop.
apt_get update || true
apt_get install --yes --no-install-recommends $missing || {
    tail -n 15 "$log" >&2
    give_up "apt-get could not install everything"
}
