#!/usr/bin/env bats
# Durable snapshots: .vecfs/snap.

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	snap=mnt/docs/.vecfs/snap
	vec 1 4 >mnt/docs/apple
	vec 2 4 >mnt/docs/pear
}

holds() { # FILE X
	cmp "$1" <(vec "$2" 4)
}

@test "a snapshot stays as it was while vectors change, come, go and are renamed; it survives a remount" {
	mkdir $snap/one
	inode=$(stat -c %i $snap/one/apple) then=$(stat -c '%a %Y' mnt/docs/apple)
	vec 10 4 >mnt/docs/apple
	vec 30 4 >mnt/docs/plum
	mv mnt/docs/pear mnt/docs/quince
	chmod 600 mnt/docs/apple
	holds mnt/docs/apple 10
	holds mnt/docs/quince 2
	for _ in 1 2; do
		[ "$(ls $snap)" = one ]
		[ "$(ls $snap/one)" = $'apple\npear' ]
		holds $snap/one/apple 1
		holds $snap/one/pear 2
		[ "$(stat -c %i $snap/one/apple)" = "$inode" ]
		[ "$(stat -c '%a %Y' $snap/one/apple)" = "$then" ]
		[ "$(sort $snap/one/.vecfs/ids)" = $'apple\npear' ]
		python3 -c "import numpy as np; assert sorted(np.load('$snap/one/.vecfs/vectors.npy')[:, 0]) == [1, 2]"
		python3 -c "import numpy as np; assert len(np.load('$snap/one/.vecfs/segments/0.npy')) == 2"
		[ "$(grep -c . $snap/one/.vecfs/near/apple)" -ge 1 ]
		grep -qx 'vectors=2' $snap/one/.vecfs/stats
		grep -q '^alone_bytes=' $snap/one/.vecfs/stats
		grep -qx 'snapshots=1' mnt/docs/.vecfs/stats
		stop
		vecfs check store
		start
	done
}

@test "nothing below a snapshot can be changed" {
	mkdir $snap/one
	run bash -c "echo 1234 >$snap/one/new"
	[ "$status" -ne 0 ]
	[[ $output == *Read-only* ]]
	for change in "cp $snap/one/pear $snap/one/apple" "rm -f $snap/one/apple" "mv $snap/one/apple $snap/one/x" \
		"chmod 600 $snap/one/apple" "touch $snap/one/apple" "mv $snap/one/apple mnt/docs/x" \
		"truncate -s 0 $snap/one/apple" "mkdir $snap/one/x" "chmod 700 $snap/one"; do
		run $change
		[ "$status" -ne 0 ]
		[[ $output == *Read-only* ]]
	done
	holds $snap/one/apple 1
	[ ! -e $snap/one/.vecfs/tx ]
	[ ! -e $snap/one/.vecfs/snap ]
}

@test "mv renames a snapshot, rmdir drops it and gives its space back; a collection with one stays" {
	mkdir $snap/one
	mv $snap/one $snap/two
	[ "$(ls $snap)" = two ]
	run mkdir $snap/two
	[ "$status" -ne 0 ]
	rm mnt/docs/*
	expect_log 'docs: not removed: it has snapshots, in docs/.vecfs/snap'
	run rmdir mnt/docs
	[ "$status" -ne 0 ]
	[[ $output == *"not empty"* ]]
	grep -q 'docs: not removed: it has snapshots' mnt/.vecfs/log
	holds $snap/two/apple 1
	rmdir $snap/two
	[ -z "$(ls $snap)" ]
	rmdir mnt/docs
	stop
	vecfs check store
	[ -z "$(ls store/collections)" ]
}

@test "a snapshot is durable when mkdir returns" {
	mkdir $snap/one
	vec 10 4 >mnt/docs/apple
	crash
	start
	holds $snap/one/apple 1
}
