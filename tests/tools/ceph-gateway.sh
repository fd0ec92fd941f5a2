#!/bin/sh
# A real S3 server for the long tests: one Ceph monitor, one OSD that keeps its objects in memory, and a RADOS gateway, all on loopback.
#
#   tests/tools/ceph-gateway.sh FOLDER MONITOR_PORT GATEWAY_PORT    starts it; prints "ready" and then waits until its stdin closes
#
# Needs the Debian packages radosgw, ceph-mon, ceph-osd and ceph-common, and root. Two users: owner (OWNERKEY) and writer (WRITERKEY).
set -eu

[ $# -eq 3 ] || { echo "usage: $0 FOLDER MONITOR_PORT GATEWAY_PORT" >&2; exit 2; }
folder=$1 monitor=$2 gateway=$3
mkdir -p "$folder/mon" "$folder/osd" "$folder/rgw"
cd "$folder"
export CEPH_CONF="$folder/ceph.conf" CEPH_ARGS="--conf $folder/ceph.conf"
cluster=$(cat /proc/sys/kernel/random/uuid)
disk=$(cat /proc/sys/kernel/random/uuid)

cat >ceph.conf <<CONF
[global]
fsid = $cluster
mon host = v2:127.0.0.1:$monitor/0
public network = 127.0.0.0/8
public addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = $folder/keyring
run dir = $folder
admin socket = $folder/\$name.asok
log file = $folder/\$name.log
mon data = $folder/mon
mon allow pool size one = true
mon max pg per osd = 1000
osd data = $folder/osd
osd objectstore = memstore
osd memory target = 1G
memstore device bytes = 2G
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
rgw data = $folder/rgw
rgw dynamic resharding = false
rgw run sync thread = false
rgw enable usage log = false
rgw lc debug interval = 0
CONF

pids=
finish() {
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
}
trap finish EXIT INT TERM

wait_for() { # SECONDS COMMAND…
    left=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "$0: not in time: $*" >&2; exit 1; }
        sleep 0.1
    done
}
osd_is_up() { ceph --connect-timeout 5 osd stat 2>/dev/null | grep -q '1 up'; }
gateway_answers() { python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$gateway', timeout=2)"; }

monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$monitor]" monmap >/dev/null 2>&1
ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *' >/dev/null
ceph-authtool keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' >/dev/null
ceph-mon --mkfs -i a --monmap monmap --keyring keyring >mon.out 2>&1
ceph-mon -i a --public-addr "v2:127.0.0.1:$monitor" -f >>mon.out 2>&1 </dev/null &
pids="$pids $!"
timeout 60 ceph --connect-timeout 50 osd new "$disk" >/dev/null
ceph auth get-or-create osd.0 mon 'allow profile osd' osd 'allow *' >osd.key
ceph auth get-or-create client.rgw mon 'allow rw' osd 'allow rwx' >rgw.key
ceph-authtool keyring --import-keyring osd.key >/dev/null
ceph-authtool keyring --import-keyring rgw.key >/dev/null
ceph osd crush add-bucket here host >/dev/null 2>&1
ceph osd crush move here root=default >/dev/null 2>&1
ceph osd crush add osd.0 1.0 host=here >/dev/null 2>&1
ceph-osd --mkfs -i 0 --osd-uuid "$disk" >osd.out 2>&1
ceph-osd -i 0 -f >>osd.out 2>&1 </dev/null &
pids="$pids $!"
wait_for 60 osd_is_up
radosgw -n client.rgw -f --rgw-frontends "beast endpoint=127.0.0.1:$gateway" >rgw.out 2>&1 </dev/null &
pids="$pids $!"
wait_for 90 gateway_answers
radosgw-admin user create --uid owner --display-name owner --access-key OWNERKEY --secret-key ownersecretownersecret >/dev/null 2>admin.err
radosgw-admin user create --uid writer --display-name writer --access-key WRITERKEY --secret-key writersecretwritersecret >/dev/null 2>>admin.err
echo ready
cat >/dev/null
