#!/bin/sh
# Prints the paths, joined by ":", of restic from the other Debian suites, for $FAILSAFE_RESTICS. Fetches them once.
# A version that this machine's own restic has already is left out.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${FAILSAFE_RESTIC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/failsafe-tests/restic}
own=$(restic version 2>/dev/null | cut -d ' ' -f 2) || own=
found=
for suite in bookworm trixie sid; do
    program=$("$here/restic-from-suite.sh" "$suite" "$cache/$suite")
    version=$("$program" version | cut -d ' ' -f 2)
    [ "$version" = "$own" ] || found=${found:+$found:}$program
done
echo "$found"
