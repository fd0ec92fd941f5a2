#!/bin/sh
# What the image's build does inside Debian, as root. The Containerfile runs it; so does a test, in a chroot, where no engine is needed.
#
#   build-root.sh packages          restic, ssh and what Python needs, from Debian; the user; the volumes
#   build-root.sh program WHEEL     failsafe and its Python packages, into /opt/failsafe
#   build-root.sh check             what the finished image must show; fails where it does not
set -eu

USER_ID=8025 # fixed, so that the owner of a volume stays the same from image to image; compose's `user:` may say another
VOLUMES='/config /state /backup'

packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends ca-certificates openssh-client python3 python3-venv restic tzdata
    rm -rf /var/lib/apt/lists/*
    groupadd --system --gid "$USER_ID" failsafe
    useradd --system --uid "$USER_ID" --gid failsafe --home-dir /state --no-create-home --shell /usr/sbin/nologin failsafe
    for folder in $VOLUMES; do
        mkdir -p "$folder"
        chown failsafe:failsafe "$folder"
        chmod 700 "$folder"
    done
}

program() {
    python3 -m venv /opt/failsafe
    /opt/failsafe/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-input "$1"
    ln -sf /opt/failsafe/bin/failsafe /usr/local/bin/failsafe
}

check() {
    fault() { echo "build-root: $*" >&2; exit 1; }
    failsafe --version
    restic version
    failsafe licences >/dev/null || fault "a package names no licence"
    [ "$(id -u failsafe)" = "$USER_ID" ] || fault "the user is not $USER_ID"
    for folder in $VOLUMES; do
        [ "$(stat -c '%U %a' "$folder")" = 'failsafe 700' ] || fault "$folder is not the user's alone"
    done
    writable=$(find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune -o -type f -perm -0002 -print | head -n 5)
    [ -z "$writable" ] || fault "everybody may write: $writable"
    secret=$(find / -xdev \( -name 'id_ed25519' -o -name 'id_rsa' -o -name '*.password' -o -name 'restic.env' \) -print 2>/dev/null | head -n 5)
    [ -z "$secret" ] || fault "a secret is in the image: $secret"
}

case "${1:-}" in
packages) packages ;;
program) program "$2" ;;
check) check ;;
*) echo "usage: build-root.sh packages | program WHEEL | check" >&2; exit 2 ;;
esac
