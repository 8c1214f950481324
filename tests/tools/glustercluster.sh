#!/usr/bin/env bash
# A GlusterFS of three bricks on this machine, of which each file has a copy, in a folder; the commands of cephcluster.sh, as
# far as cephfs.bats's first test has need of them:
#
#   VECFS_CLUSTER=glustercluster.sh VECFS_LONG=1 bats -f '^works' tests/suites/cephfs.bats
#
#   glustercluster.sh install             the packages, if they are missing (apt-get, as root)
#   glustercluster.sh up FOLDER           starts it
#   glustercluster.sh mount FOLDER NAME   mounts it at FOLDER/NAME by a client of its own, whose pid is in FOLDER/run/NAME.pid
#   glustercluster.sh unmount FOLDER NAME
#   glustercluster.sh down FOLDER         ends what was started
set -eu
. "$(dirname "$0")/../../scripts/lib.sh"

command=${1:-} dir=${2:-}
if [ "$command" = install ]; then
	command -v glusterd glusterfs >/dev/null && exit
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install glusterfs-server glusterfs-client >/dev/null
	exit
fi
[ -n "$dir" ] || die "usage: sed -n 2,13p $0"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
address=$(hostname -I | cut -d' ' -f1) # no volume is made of 127.0.0.1
gluster() { timeout 120 gluster --mode=script --glusterd-sock="$dir/run/glusterd.socket" "$@"; }

up() {
	mkdir -p "$dir"/{run,glusterd,log,bricks}
	cat >"$dir/glusterd.vol" <<-V
		volume management
		    type mgmt/glusterd
		    option working-directory $dir/glusterd
		    option run-directory $dir/run
		    option glusterd-sockfile $dir/run/glusterd.socket
		    option transport-type socket
		    option transport.socket.listen-port 24007
		    option max-port 25000
		    option base-port 24100
		end-volume
	V
	glusterd --volfile="$dir/glusterd.vol" --pid-file="$dir/run/glusterd.pid" --log-file="$dir/log/glusterd.log"
	for _ in {1..50}; do gluster volume list >/dev/null 2>&1 && break || sleep 0.2; done
	gluster volume create v replica 3 "$address:$dir/bricks/1" "$address:$dir/bricks/2" "$address:$dir/bricks/3" force >/dev/null
	gluster volume set v network.ping-timeout 10 >/dev/null
	gluster volume start v >/dev/null
}

machine() {
	mkdir -p "$dir/$1"
	glusterfs --volfile-server="$address" --volfile-id=v --pid-file="$dir/run/$1.pid" --log-file="$dir/log/$1.log" "$dir/$1"
	for _ in {1..100}; do stat "$dir/$1/." >/dev/null 2>&1 && mountpoint -q "$dir/$1" && return || sleep 0.1; done
	return 1
}

machine_off() {
	local pid k
	pid=$(cat "$dir/run/$1.pid" 2>/dev/null) || pid=
	umount "$dir/$1" 2>/dev/null || umount -l "$dir/$1" 2>/dev/null || :
	for ((k = 0; k < 100 && pid; k++)); do
		[ -d "/proc/$pid" ] || return 0
		[ $k != 50 ] || kill -KILL "$pid" 2>/dev/null || :
		sleep 0.1
	done
}

down() {
	gluster volume stop v force >/dev/null || :
	kill "$(cat "$dir/run/glusterd.pid")"
}

case $command in
up) up ;;
mount) machine "$3" ;;
unmount) machine_off "$3" ;;
down) down ;;
*) die "glustercluster: no $command" ;;
esac
