#!/usr/bin/env bash
# A small CephFS of real daemons on 127.0.0.1, in a folder: one monitor, three OSDs with files for disks, one MDS. No
# manager, so `df` of it says 0. About 0.5 GB of memory, ports 14300 (VECFS_CEPH_PORT), the next, and some from 6800 on.
#
#   cephcluster.sh install            the packages, if they are missing (apt-get, as root)
#   cephcluster.sh up FOLDER [GIB]    starts it, with disks of so many GiB (default 2)
#   cephcluster.sh mount FOLDER NAME  mounts it at FOLDER/NAME by a ceph-fuse of its own: a machine; its pid is in
#                                     FOLDER/run/NAME.pid
#   cephcluster.sh unmount FOLDER NAME  takes that away, whoever has files open there; its client has ended then
#   cephcluster.sh osd FOLDER N       starts OSD N again
#   cephcluster.sh signal FOLDER S    sends a signal to all servers: STOP and CONT are an outage
#   cephcluster.sh down FOLDER        ends what was started, by pid, and nothing else
set -eu
. "$(dirname "$0")/../../scripts/lib.sh"
packages=(ceph-mon ceph-osd ceph-mds ceph-fuse)
osds=3
port=${VECFS_CEPH_PORT:-14300} # of the monitor, and the next

config() {
	cat <<-C
		[global]
		fsid = $1
		mon initial members = a
		mon host = [v2:127.0.0.1:$port/0,v1:127.0.0.1:$((port + 1))/0]
		public addr = 127.0.0.1
		cluster addr = 127.0.0.1
		auth cluster required = none
		auth service required = none
		auth client required = none
		run dir = $dir/run
		admin socket = $dir/run/\$name.\$pid.asok
		pid file = $dir/run/\$name.pid
		log file = $dir/log/\$name.log
		crash dir = $dir/log
		mon data = $dir/mon
		osd data = $dir/osd\$id
		mds data = $dir/mds
		osd objectstore = bluestore
		bluestore block create = true
		bluestore block size = $2
		osd crush chooseleaf type = 0
		osd pool default size = 3
		osd pool default min size = 2
		osd pool default pg autoscale mode = off
		osd heartbeat interval = 1
		osd heartbeat grace = 6
		osd memory target = 939524096
		mon max pg per osd = 1000
		mon data avail crit = 1
		mon data avail warn = 2
		mon allow pool delete = true
		auth allow insecure global id reclaim = false
	C
}

# soon SECONDS COMMAND...
soon() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || die "cephcluster: waited for: $*"
		sleep 0.2
	done
}
answers() { timeout 10 ceph -s; }
osds_up() { timeout 10 ceph osd stat -f json | grep -q "\"num_up_osds\":$osds\b"; }
mds_active() { timeout 10 ceph mds stat | grep -q up:active; }

new_osd() { # N FSID
	local uuid
	uuid=$(printf '%s%02d' "${2:0:34}" "$1")
	ceph osd new "$uuid" >/dev/null
	mkdir -p "$dir/osd$1"
	ceph-osd -i "$1" --mkfs --osd-uuid "$uuid" >"$dir/log/mkfs.$1" 2>&1
}

up() {
	local gib=${1:-2} fsid i
	mkdir -p "$dir"/{mon,mds,run,log}
	fsid=$(</proc/sys/kernel/random/uuid)
	config "$fsid" $((gib << 30)) >"$CEPH_CONF"
	monmaptool --create --addv a "[v2:127.0.0.1:$port,v1:127.0.0.1:$((port + 1))]" --fsid "$fsid" "$dir/monmap" >/dev/null
	ceph-mon --mkfs -i a --monmap "$dir/monmap"
	ceph-mon -i a
	soon 60 answers
	for ((i = 0; i < osds; i++)); do
		new_osd $i "$fsid"
		ceph-osd -i $i >/dev/null 2>&1
	done
	soon 120 osds_up
	ceph osd pool create meta 8 8 replicated >/dev/null 2>&1
	ceph osd pool create data 16 16 replicated >/dev/null 2>&1
	ceph fs new fs meta data >/dev/null 2>&1
	ceph fs set fs session_timeout 30 >/dev/null 2>&1
	ceph fs set fs session_autoclose 40 >/dev/null 2>&1
	ceph-mds -i x >/dev/null 2>&1
	soon 60 mds_active
}

machine() {
	mkdir -p "$dir/$1"
	timeout 60 ceph-fuse -n client.admin --pid-file="$dir/run/$1.pid" --log-file="$dir/log/$1.log" "$dir/$1" >/dev/null 2>&1
	mountpoint -q "$dir/$1"
}

# A client that still runs has the lock of its pid file: no new one could be started.
machine_off() {
	local pid k
	pid=$(cat "$dir/run/$1.pid" 2>/dev/null) || pid=
	fusermount3 -uz "$dir/$1" 2>/dev/null || :
	for ((k = 0; k < 200 && pid; k++)); do
		[ -d "/proc/$pid" ] || return 0
		[ $k != 100 ] || kill -KILL "$pid" 2>/dev/null || :
		sleep 0.1
	done
}

# The servers and clients of this folder that run: "NAME PID".
running() {
	local file pid
	for file in "$dir"/run/*.pid; do
		pid=$(cat "$file" 2>/dev/null) || continue
		grep -qsz "^ceph" "/proc/$pid/cmdline" && grep -qszx "CEPH_CONF=$CEPH_CONF" "/proc/$pid/environ" || continue
		file=${file##*/}
		say "${file%.pid} $pid"
	done
}

signal() {
	local name pid
	while read -r name pid; do
		case $name in mon.* | osd.* | mds.*) kill "-$1" "$pid" ;; esac
	done < <(running)
}

down() {
	local k name pid
	signal CONT
	for ((k = 0; k < 100; k++)); do
		[ -n "$(running)" ] || return 0
		while read -r name pid; do
			case $k in 0) kill "$pid" ;; 50) kill -KILL "$pid" ;; esac
		done < <(running)
		sleep 0.1
	done
	return 1
}

command=${1:-} dir=${2:-}
if [ "$command" = install ]; then
	command -v ceph-mon ceph-osd ceph-mds ceph-fuse >/dev/null && exit
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${packages[@]}" >/dev/null
	exit
fi
[ -n "$dir" ] || die "usage: sed -n 2,15p $0"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
export CEPH_CONF=$dir/ceph.conf
case $command in
up) up "${3:-}" ;;
mount) machine "$3" ;;
unmount) machine_off "$3" ;;
osd) ceph-osd -i "$3" >/dev/null 2>&1 ;;
signal) signal "$3" ;;
down) down ;;
*) die "cephcluster: no $command" ;;
esac
