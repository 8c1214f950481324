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
		version=$(($(stat -c %i $snap/one/.vecfs/ids) >> 4)) # one for all, whoever asks
		vec 40 4 >mnt/docs/plum
		[ $(($(stat -c %i $snap/one/.vecfs/vectors.npy) >> 4)) = "$version" ]
		[ $(($(stat -c %i $snap/one/.vecfs/ids0) >> 4)) = "$version" ]
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
	[ "$(stat -c %a $snap/one/.vecfs/schema)" = 444 ]
	run bash -c "echo metric=ip >$snap/one/.vecfs/schema"
	[ "$status" -ne 0 ]
	[[ $output == *Read-only* || $output == *"Permission denied"* ]] # the latter to others than root, who look at the mode
	holds $snap/one/apple 1
	[ ! -e $snap/one/.vecfs/tx ]
	[ ! -e $snap/one/.vecfs/snap ]
}

# many FROM TO: vectors of docs by their numbers.
many() {
	perl -e 'for my $i ($ARGV[0] .. $ARGV[1] - 1) {
		open my $f, ">", "mnt/docs/v$i" or die;
		print $f pack "f<*", map { $i * $i % 997 + $_ } 1 .. 4;
		close $f or die }' "$1" "$2"
}
state_is() { [ "$(cat "$1/.vecfs/state")" = "$2" ]; }

@test "a snapshot has the views of its collection: codes of then, read-only; those of rows that both have are used" {
	many 0 400
	for view in sq8 bit pq2; do mkdir mnt/docs/.vecfs/views/$view; done
	for view in sq8 bit pq2; do eventually state_is mnt/docs/.vecfs/views/$view ready; done
	mkdir $snap/one
	for view in sq8 bit pq2; do
		cat mnt/docs/.vecfs/views/$view/v7 >$view.code
		cat mnt/docs/.vecfs/views/$view/.vecfs/codes.npy >$view.npy
		cat mnt/docs/.vecfs/views/$view/.vecfs/decoded.npy >$view.decoded
	done
	many 300 500
	vec 4711 4 >mnt/docs/v7
	rm mnt/docs/v8
	[ "$(ls $snap/one/.vecfs/views)" = "$(ls mnt/docs/.vecfs/views)" ]
	for _ in 1 2; do
		for view in sq8 bit pq2; do
			view_dir=$snap/one/.vecfs/views/$view
			cmp $view_dir/v7 $view.code
			[ -e $view_dir/v8 ]
			[ ! -e $view_dir/v499 ]
			[ "$(ls $view_dir | wc -l)" = 402 ]
			cmp $view_dir/.vecfs/codes.npy $view.npy
			cmp $view_dir/.vecfs/decoded.npy $view.decoded
			cmp $view_dir/.vecfs/params mnt/docs/.vecfs/views/$view/.vecfs/params
			eventually state_is $view_dir ready
			grep -qx rows=402 $view_dir/.vecfs/info
			eventually grep -qx rows_encoded=300 $view_dir/.vecfs/info # 102 are the snapshot's alone
		done
		cmp $snap/one/.vecfs/views/pq2/.vecfs/codebook.npy mnt/docs/.vecfs/views/pq2/.vecfs/codebook.npy
		stop
		start
	done
	for change in "mkdir $snap/one/.vecfs/views/f16" "rmdir $snap/one/.vecfs/views/sq8" "rm $view_dir/v7" \
		"truncate -s 0 $view_dir/.vecfs/params"; do
		run $change
		[ "$status" -ne 0 ]
		[[ $output == *Read-only* || $output == *"not permitted"* || $output == *denied* ]] || { echo "$output"; false; }
	done
	run bash -c "echo seed=7 >$view_dir/.vecfs/params"
	[ "$status" -ne 0 ]
	grep -qx seed=0 mnt/docs/.vecfs/views/pq2/.vecfs/params
	rmdir mnt/docs/.vecfs/views/bit
	[ "$(ls $snap/one/.vecfs/views)" = $'pq2\nsq8' ]
	run cat $snap/one/.vecfs/views/bit/v7
	[[ $output == *"No such file"* ]]
}

@test "a snapshot's directory has the mode and times that the collection's had" {
	chmod 2750 mnt/docs
	touch -d '2001-02-03 04:05:06.789' mnt/docs
	mkdir $snap/one
	then=$(stat -c '%a %u %g %y' mnt/docs) taken=$(stat -c %z $snap/one)
	[ "$(stat -c '%a %u %g %y' $snap/one)" = "$then" ]
	vec 3 4 >mnt/docs/plum
	[ "$(stat -c '%a %u %g %y' $snap/one)" = "$then" ]
	stop
	start
	[ "$(stat -c '%a %u %g %y' $snap/one)" = "$then" ]
	[ "$(stat -c %z $snap/one)" = "$taken" ]
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

@test "a clone is a collection of its own, with a snapshot's ids, bytes and attributes" {
	chmod 640 mnt/docs/apple
	touch -d '2001-02-03 04:05:06.789' mnt/docs/pear
	chmod 750 mnt/docs
	mkdir $snap/one
	vec 10 4 >mnt/docs/apple
	vecfs clone $snap/one mnt/new
	diff -r $snap/one mnt/new
	[ "$(cd mnt/new && stat -c '%n %a %u %g %y' *)" = "$(cd $snap/one && stat -c '%n %a %u %g %y' *)" ]
	[ "$(stat -c '%a %u %g' mnt/new)" = "$(stat -c '%a %u %g' $snap/one)" ]
	vec 20 4 >mnt/new/apple # each side changes by itself,
	rm mnt/new/pear
	vec 5 4 >mnt/new/plum
	vec 30 4 >mnt/docs/pear
	mkdir mnt/new/.vecfs/snap/two # and has its own snapshots
	vecfs clone mnt/new/.vecfs/snap/two mnt/newer
	rm mnt/newer/plum
	for _ in 1 2; do
		[ "$(ls mnt)" = $'docs\nnew\nnewer' ]
		[ "$(ls mnt/new)" = $'apple\nplum' ]
		holds mnt/new/apple 20
		holds mnt/docs/apple 10
		holds mnt/docs/pear 30
		holds $snap/one/apple 1
		holds $snap/one/pear 2
		[ "$(ls mnt/newer)" = apple ]
		stop
		vecfs check store
		start
	done
	rmdir $snap/one # the clone keeps what it shares
	holds mnt/new/apple 20
	holds mnt/new/plum 5
}

@test "a clone is refused over what is there, elsewhere, or of no snapshot; nothing is left behind" {
	mkdir $snap/one mnt/other
	vec 7 4 >mnt/other/mine
	refused "mnt/other: is there already, and stays as it is" vecfs clone $snap/one mnt/other
	logged "docs/.vecfs/snap/one/.vecfs/clone: refused: 'other': there is a collection of that name, which stays as it is"
	refused "just below the mountpoint" vecfs clone $snap/one mnt/other/new
	refused "just below the mountpoint" vecfs clone $snap/one "$here/new"
	refused "no durable snapshot" vecfs clone $snap/two mnt/new
	refused "no durable snapshot" vecfs clone mnt/docs mnt/new
	refused "want a snapshot in a mount" vecfs clone store mnt/new
	refused "" vecfs clone $snap/one mnt/.vecfs
	run -2 vecfs clone $snap/one
	for name in '' . .. a/b "$(printf 'x%.0s' {1..256})"; do
		run bash -c 'printf "%s\n" "$1" >"$2"' - "$name" $snap/one/.vecfs/clone
		[ "$status" -ne 0 ]
	done
	run cat $snap/one/.vecfs/clone
	[ "$status" -ne 0 ]
	[ ! -e mnt/docs/.vecfs/clone ]
	[ "$(ls -A mnt)" = $'docs\nother' ]
	[ "$(ls mnt/other)" = mine ]
	printf 'by hand\n' >$snap/one/.vecfs/clone
	diff -r $snap/one 'mnt/by hand'
}

@test "a clone and a rollback work through bind mounts" {
	need_root
	mkdir $snap/one whole renamed
	mount --bind mnt whole
	mount --bind mnt/docs renamed
	vecfs clone renamed/.vecfs/snap/one whole/new
	cmp mnt/docs/pear mnt/new/pear
	refused "just below the mountpoint" vecfs clone renamed/.vecfs/snap/one renamed/new
	echo 1234123412341234 | head -c 16 >mnt/docs/pear
	vecfs clone whole/docs/.vecfs/snap/one renamed
	cmp mnt/docs/pear mnt/new/pear
	rm mnt/docs/pear
	vecfs clone mnt/docs/.vecfs/snap/one whole/docs
	cmp mnt/docs/pear mnt/new/pear
	umount renamed whole
}

@test "a clone is durable when vecfs clone returns" {
	mkdir $snap/one
	vec 10 4 >mnt/docs/apple
	vecfs clone $snap/one mnt/new
	crash
	start
	[ "$(ls mnt/new)" = $'apple\npear' ]
	holds mnt/new/apple 1
	vec 20 4 >mnt/new/apple
	holds $snap/one/apple 1
}

@test "clones of one name at once, and of a snapshot that is just dropped: one is made, or none" {
	local i k of made
	for i in 1 2 3 4 5 6; do
		mkdir $snap/s$i
		of=()
		for k in 1 2 3; do
			vecfs clone $snap/s$i mnt/c$i &
			of+=($!)
		done
		((i % 2)) || rmdir $snap/s$i
		made=0
		for k in "${of[@]}"; do ! wait "$k" || made=$((made + 1)); done
		[ $made -le 1 ]
		[ $made = 1 ] || ((i % 2 == 0))
		if [ $made = 1 ]; then holds mnt/c$i/apple 1; else [ ! -e mnt/c$i ]; fi
	done
	exec 7>$snap/s1/.vecfs/clone # open while it goes: ESTALE, and no word of what is not there
	rmdir $snap/s1
	run bash -c 'echo late >&7'
	[ "$status" -ne 0 ]
	exec 7>&-
	[ ! -e mnt/late ]
	not_logged late
}

# attributes DIR: names, modes, owners and mtimes in it.
attributes() { (cd "$1" && stat -c '%n %a %u %g %y' *); }

@test "vecfs clone over the snapshot's collection goes back: ids, bytes, order and attributes; views and snapshots stay" {
	for i in {1..40}; do vec $i 4 >mnt/docs/v$i; done
	chmod 640 mnt/docs/apple
	touch -d '2001-02-03 04:05:06.789' mnt/docs/pear
	mkdir mnt/docs/.vecfs/views/f16 $snap/one
	for i in {1..40..3}; do vec 9$i 4 >mnt/docs/v$i; done
	rm mnt/docs/v2* mnt/docs/apple
	mv mnt/docs/pear mnt/docs/quince
	vec 5 4 >mnt/docs/plum
	chmod 711 mnt/docs
	touch mnt/docs/v3
	mkdir $snap/two
	inode=$(stat -c %i mnt/docs)
	vecfs clone $snap/one mnt/docs
	for _ in 1 2; do
		diff -r $snap/one mnt/docs
		[ "$(attributes mnt/docs)" = "$(attributes $snap/one)" ]
		cmp $snap/one/.vecfs/ids mnt/docs/.vecfs/ids
		cmp $snap/one/.vecfs/vectors.npy mnt/docs/.vecfs/vectors.npy
		[ "$(stat -c '%a %i' mnt/docs)" = "711 $inode" ]
		[ "$(ls $snap)" = $'one\ntwo' ]
		[ "$(ls mnt/docs/.vecfs/views)" = f16 ]
		eventually grep -qx ready mnt/docs/.vecfs/views/f16/.vecfs/state
		[ "$(grep -c . mnt/docs/.vecfs/near@view=f16/v7)" = 10 ]
		stop
		vecfs check store
		start
	done
	vecfs clone $snap/two mnt/docs # and forward again
	holds mnt/docs/quince 2
	holds mnt/docs/plum 5
	[ ! -e mnt/docs/apple ]
	diff -r $snap/two mnt/docs
	vec 7 4 >mnt/docs/plum
	rmdir $snap/one $snap/two
	holds mnt/docs/plum 7
	holds mnt/docs/v40 940
	stop
	vecfs check store
	start
}

@test "through a going back open files keep what they have, names lead to what came, and a staged write goes as over a batch" {
	mkdir $snap/one
	vec 10 4 >mnt/docs/apple
	rm mnt/docs/pear
	vec 30 4 >mnt/docs/plum
	exec 7<mnt/docs/apple 8<mnt/docs/plum
	python3 - <<-'END' &
		import os, time
		fd = os.open('mnt/docs/apple', os.O_RDWR)
		os.pwrite(fd, b'half', 4)
		open('staged', 'w')
		while not os.path.exists('back'): time.sleep(0.01)
		try: os.close(fd)
		except OSError as e: print(e)
	END
	writer=$!
	eventually [ -e staged ]
	cat mnt/docs/apple mnt/docs/plum >/dev/null # so that the kernel has them
	vecfs clone $snap/one mnt/docs
	cmp <(vec 30 4) <(head -c 16 <&8)
	holds mnt/docs/apple 1
	holds mnt/docs/pear 2
	[ ! -e mnt/docs/plum ]
	touch back
	wait $writer
	exec 7<&- 8<&-
	[ "$(ls mnt/docs)" = $'apple\npear' ]
	holds mnt/docs/apple 1
	stop
	vecfs check store
	start
}

@test "a going back is durable when vecfs clone returns, and is refused where the name is another's" {
	mkdir $snap/one mnt/other
	vec 10 4 >mnt/docs/apple
	vec 30 4 >mnt/docs/plum
	refused "Invalid argument" bash -c "echo other >$snap/one/.vecfs/rollback"
	logged "docs/.vecfs/snap/one/.vecfs/rollback: refused: that is not the collection's name"
	holds mnt/docs/apple 10
	[ ! -e mnt/docs/.vecfs/rollback ]
	vecfs clone $snap/one mnt/docs
	crash
	start
	[ "$(ls mnt/docs)" = $'apple\npear' ]
	holds mnt/docs/apple 1
	holds $snap/one/apple 1
	echo docs >$snap/one/.vecfs/rollback
	[ "$(ls mnt/docs)" = $'apple\npear' ]
}

@test "an emptied collection takes another dim, and goes back to a snapshot of before once that is gone" {
	mkdir mnt/docs/.vecfs/views/sq8 $snap/four
	rm mnt/docs/*
	grep -qx dim=0 mnt/docs/.vecfs/schema
	vec 7 6 >mnt/docs/six
	grep -qx dim=6 mnt/docs/.vecfs/schema
	for _ in 1 2; do
		holds $snap/four/apple 1
		grep -qx dim=4 $snap/four/.vecfs/schema
		[ "$(grep -c . $snap/four/.vecfs/near/apple)" -ge 1 ]
		[ "$(vecfs search $snap/four <(vec 2 4) -k 1 | grep -v '^#' | cut -f 3)" = pear ]
		refused "has vectors of another dim, dtype or metric than the snapshot" vecfs clone $snap/four mnt/docs
		stop
		vecfs check store
		start
	done
	vecfs clone $snap/four mnt/copy
	holds mnt/copy/pear 2
	rm mnt/docs/six
	vecfs clone $snap/four mnt/docs
	holds mnt/docs/apple 1
	grep -qx dim=4 mnt/docs/.vecfs/schema
	stop
	vecfs check store
	start
	holds mnt/docs/pear 2
}

@test "a read-only mount clones nothing" {
	mkdir $snap/one
	stop
	start ro
	refused "Read-only" vecfs clone $snap/one mnt/new
	refused "Read-only" vecfs clone $snap/one mnt/docs
	holds $snap/one/apple 1
	[ "$(ls mnt)" = docs ]
}

# snapshots_of PATH: those that vecfs stat lists, as NAME VECTORS, and whether they hold anything alone.
snapshots_of() {
	vecfs stat --json "$1" | python3 -c 'import json, sys
for s in json.load(sys.stdin)["snapshots"]: print(s["name"], s["vectors"], s["alone_bytes"] > 0)'
}

@test "vecfs stat lists a collection's snapshots, with vectors and the bytes that each alone holds" {
	[ -z "$(snapshots_of mnt/docs)" ]
	mkdir $snap/one
	vec 30 4 >mnt/docs/plum
	mkdir "$snap/and two"
	[ "$(snapshots_of mnt/docs)" = $'one 2 False\nand two 3 False' ]
	rm mnt/docs/*
	vec 1 4 >mnt/docs/other
	rmdir $snap/one
	vecfs stat mnt/docs >listed
	cat listed
	grep -q 'and two' listed
	[ "$(snapshots_of mnt/docs | cut -d' ' -f1-3)" = 'and two 3' ]
	[ -z "$(snapshots_of "$snap/and two")" ]
	stop
	vecfs stat store
	[ "$(vecfs stat --json store | python3 -c 'import json, sys; print(*(s["collection"] + s["name"] for s in json.load(sys.stdin)["snapshots"]))')" = 'docsand two' ]
	start
}
