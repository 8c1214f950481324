#!/usr/bin/env bats
# The power goes, at random moments under load: what is durable is there, the rest is a prefix.
# How: tools/powerloss.py. The long version takes 30 minutes.
# transports: none
# timeout: 240

BATS_TEST_TIMEOUT=120
[ "${VECFS_LONG:-0}" = 0 ] || BATS_TEST_TIMEOUT=1200
load helper

setup() {
	need_root
	why=$(python3 "$tools/powerloss.py" "$BATS_TEST_TMPDIR/probe" --probe) || skip "$why"
	cd "$BATS_TEST_TMPDIR" || return
	options=(--vecfs "$VECFS_BIN" --load 1.5)
	[ "$VECFS_LONG" = 0 ] || options=(--vecfs "$VECFS_BIN" --load 6 --cuts 6 --seconds 570)
	! have_io_uring || options+=(--uring)
}

# It cleans up after itself, unless it was killed.
teardown() {
	local path
	if [ -s pid ] && kill -TERM "$(<pid)" 2>/dev/null; then
		eventually no kill -0 "$(<pid)" 2>/dev/null || kill -KILL "$(<pid)"
	fi
	while read -r _ path; do umount -l "$path"; done < <(mounts_below "$BATS_TEST_TMPDIR")
}

# powerloss OPTION...
powerloss() {
	(
		echo "$BASHPID" >pid
		exec python3 "$tools/powerloss.py" work "${options[@]}" "$@" 3>&-
	)
}

@test "power loss, the store on ext4 data=ordered" {
	powerloss --disk ext4-ordered
}

@test "power loss, the store on ext4 data=writeback" {
	powerloss --disk ext4-writeback
}

@test "power loss, the store on XFS" {
	powerloss --disk xfs
}

@test "a daemon whose syncs do nothing is found out by a power loss" {
	need cc
	cc -shared -fPIC -o nosync.so "$tools/nosync.c"
	options=(--vecfs "$VECFS_BIN" --load 2 --sessions 1 --cuts 3 --dims 768)
	run powerloss --disk xfs --break-syncs "$PWD/nosync.so"
	echo "$output"
	[ "$status" = 1 ]
	[[ $output =~ "no prefix of its"|"unexpected messages"|"does not serve"|"No such file"|": gone" ]]
}
