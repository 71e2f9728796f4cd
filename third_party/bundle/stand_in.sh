#!/usr/bin/env bash
# stand_in.sh LIBRARY NAME UNUSED... - makes the library NAME, which stands in for the libraries UNUSED.
#
# Of these it has only the functions that LIBRARY calls, and each of them does nothing and returns 0, which also is NULL:
# what has to open or to allocate something before it does anything else will say that this has failed.
set -euo pipefail
export LC_ALL=C
library=$1 name=$2
shift 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# NAME@VERSION, or NAME, of the symbols of libraries
symbols() {
    nm --dynamic --format=posix "$@" | awk 'NF > 1 { sub("@@", "@", $1); print $1 }' | sort -u
}

comm -12 <(symbols --undefined-only "$library") <(symbols --defined-only "$@") > "$work/called"
[ -s "$work/called" ] || { echo "bundle: $library calls nothing of $*" >&2; exit 1; }

awk -F@ '{ print "long " $1 "(void);\nlong " $1 "(void) { return 0; }" }' "$work/called" > "$work/stand_in.c"
sort -t@ -k2 "$work/called" | awk -F@ '
    $2 && $2 != version { printf "%s%s {", version ? " };\n" : "", version = $2 }
    $2                  { printf " %s;", $1 }
    END                 { if (version) print " };" }' > "$work/versions"
"${CC:-cc}" -O1 -fPIC -shared -nostdlib -s -Wl,-soname,"$(basename "$name")" -Wl,--version-script="$work/versions" \
    -o "$name" "$work/stand_in.c"
