#!/bin/sh
# Fetches restic (or another package with a program of its name) of another Debian suite into a private folder, for the tests.
#
#   tests/tools/restic-from-suite.sh SUITE DIR [PACKAGE]      for example: trixie /tmp/restic-trixie
#
# Prints the path of the program. Uses the mirror that this machine's apt is configured with and verifies with Debian's
# keyring; the system's own apt lists, cache and package database are neither read nor written.
set -eu

[ $# -eq 2 ] || [ $# -eq 3 ] || { echo "usage: $0 SUITE DIR [PACKAGE]" >&2; exit 2; }
suite=$1 package=${3:-restic}
mkdir -p "$2"
folder=$(cd "$2" && pwd)
program=$folder/usr/bin/$package
if [ -x "$program" ] && "$program" --help >/dev/null 2>&1; then
    echo "$program"
    exit 0
fi

mirror=$(sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(sed -n 's/^deb[[:space:]].*\(https\{0,1\}:[^[:space:]]*\).*/\1/p' /etc/apt/sources.list 2>/dev/null | head -n 1)
[ -n "$mirror" ] || { echo "$0: no Debian mirror is configured in /etc/apt; mend: install $package of $suite by hand" >&2; exit 1; }

state=$folder/.apt
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/sources"
cat > "$state/sources/suite.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES

apt_private() {
    tool=$1
    shift
    "$tool" -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$state/sources" -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State::Lists="$state/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

apt_private apt-get update -qq >&2
(cd "$state" && rm -f "$package"_*.deb && apt_private apt-get download -qq "$package" >&2)
dpkg -x "$state/$package"_*.deb "$folder"
rm -rf "$state"
"$program" --help >/dev/null
echo "$program"
