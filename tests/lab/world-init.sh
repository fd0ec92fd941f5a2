#!/bin/bash
# PID 1 of a world: one bridge, one network namespace for each host, one tmpfs that holds the hosts' disks.
# Arguments: DISK_SIZE NAME=ADDRESS[,ADDRESS] ...
# Standard input is a pipe held open by whoever wants this world; when it ends, we end, and the kernel then
# kills every process in here and drops every mount, link and namespace.
set -e
umask 022
size=$1
shift
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lab
mount -t tmpfs -o "mode=755,size=$size" tmpfs /run/lab
ip link set lo up
ip link add br0 type bridge
ip link set br0 up

# Link addresses are made of the last number of the IP address, and every host knows all of them beforehand:
# to a peer, a host without power is silence (as behind a router), not "no route to host".
link_address() { printf '02:00:00:00:00:%02x' "${1##*.}"; }

for host in "$@"; do
    name=${host%%=*} addresses=${host#*=}
    ip netns add "$name"
    ip link add "v-$name" type veth peer name eth0 netns "$name"
    ip link set "v-$name" master br0
    ip netns exec "$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip -n "$name" link set eth0 address "$(link_address "${addresses%%,*}")"
    ip -n "$name" link set lo up
    for address in ${addresses//,/ }; do ip -n "$name" addr add "$address/24" dev eth0; done
    ip -n "$name" link set eth0 up
    for peer in "$@"; do
        [ "$peer" != "$host" ] || continue
        addresses=${peer#*=}
        for address in ${addresses//,/ }; do
            ip -n "$name" neigh add "$address" lladdr "$(link_address "${addresses%%,*}")" dev eth0 nud permanent
        done
    done
done
echo ready
while read -r _; do :; done
