#!/bin/bash
# PID 1 of one host. Arguments: NAME DISK [PATH_TO_BIND ...]
# Its root is a copy-on-write layer (DISK/upper, which survives a power-off) over the machine's own root, so the
# host has its own /etc, /var and users, and the machine's stay untouched.
# PATH_TO_BIND: folders that the host needs but that are on other file systems than the machine's root.
set -e
umask 022
name=$1 disk=$2 root=$2/root
shift 2
mkdir -p "$disk/upper" "$disk/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work,index=off,metacopy=off" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for path in "$@"; do
    mkdir -p "$root$path"
    mount --bind "$path" "$root$path"
    mount -o remount,bind,ro "$root$path"
done
cd "$root"
mkdir -p .old run/sshd run/lock
pivot_root . .old
umount -l /.old
hostname "$name"
: >/run/booted
trap 'exit 0' TERM
# bash as PID 1 also reaps orphans while it waits
while :; do
    sleep 3600 &
    wait $! || true
done
