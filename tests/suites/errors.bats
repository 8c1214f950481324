#!/usr/bin/env bats
# Full disks, damaged bytes, failing syncs.

load helper

# A disk of its own for the store, at ./disk.
tmpfs_disk() {
	need_root
	mkdir -p disk
	mount -t tmpfs -o size="$1" none disk
	store=$here/disk/store
}

ext4_disk() {
	need_root
	mkdir -p disk
	truncate -s "$1" image
	mkfs.ext4 -q -m 0 -O ^resize_inode image
	mount -o loop image disk || skip "no loop devices here"
	store=$here/disk/store
}

# The disk goes at the end of the test; what is on it is checked before.
drop_disk() {
	stop
	vecfs check "$store"
	umount disk
}

fill_and_come_back() {
	start
	mkdir mnt/docs
	python3 "$tools/full.py" fill mnt/docs model
	restart
	python3 "$tools/full.py" verify mnt/docs model
	drop_disk
}

# flip FILE ID: flips a bit in the middle of what has that id's bytes (./ID has a copy) in a file.
flip() {
	chmod u+w "$1" # an ordinary user may not write to the engine's files by mistake
	python3 - "$1" "$2" <<-'P'
		import sys
		want = open(sys.argv[2], 'rb').read()
		with open(sys.argv[1], 'r+b') as f:
		    at = f.read().index(want) + len(want) // 2
		    f.seek(at)
		    byte = f.read(1)[0]
		    f.seek(at)
		    f.write(bytes([byte ^ 4]))
	P
}

# some COLLECTION: three vectors, and copies of them in the current directory.
some() {
	mkdir mnt/"$1"
	for id in a b c; do
		vec "$(printf '%d' "'$id")" 100 >$id
		cp $id mnt/"$1"/$id
	done
}

@test "no space on a tmpfs: ENOSPC, acknowledged data stays readable, deleting works, then writing again, no remount" {
	tmpfs_disk 64m
	fill_and_come_back
}

@test "no space on an ext4: ENOSPC, acknowledged data stays readable, deleting works, then writing again, no remount" {
	ext4_disk 64m
	fill_and_come_back
}

@test "no space for the log: a store on a disk that others have filled to the last block opens and reads; then writes" {
	tmpfs_disk 64m
	start
	some docs
	stop
	dd if=/dev/zero of=disk/filler bs=64k status=none || true
	start
	for id in a b c; do cmp $id mnt/docs/$id; done
	refused "No space left" cp a mnt/docs/d
	[ "$(ls mnt/docs | tr '\n' ' ')" = "a b c " ]
	rm disk/filler
	vec 9 100 >mnt/docs/d # without a remount
	sync mnt/docs/d
	rm mnt/docs/a
	restart
	[ "$(ls mnt/docs | tr '\n' ' ')" = "b c d " ]
	cmp b mnt/docs/b
	drop_disk
}

@test "no space for a batch: ENOSPC from write, close or commit; the collection is as before" {
	tmpfs_disk 64m
	start
	some docs
	mkdir mnt/docs/.vecfs/tx/b
	head -c 80000000 /dev/zero >rows
	run cp rows mnt/docs/.vecfs/tx/b/.vecfs/vectors.f32
	[ "$status" != 0 ]
	[[ $output == *"No space left"* ]]
	[ "$(ls mnt/docs | tr '\n' ' ')" = "a b c " ]
	for id in a b c; do cmp $id mnt/docs/$id; done
	rmdir mnt/docs/.vecfs/tx/b
	vec 9 100 >mnt/docs/d # there is space again
	refused "No space left" vecfs import -q mnt/docs --dim 100 --format f32 rows
	[ -z "$(ls mnt/docs/.vecfs/tx)" ]
	vec 9 100 >mnt/docs/e
	drop_disk
}

@test "checksum mismatch on read: EIO for that vector alone; counted, logged; everything else is served" {
	start
	some docs
	some more
	stop
	flip "$store"/collections/1/0.npy b
	expect_log 'docs/b: checksum mismatch'
	expect_log 'docs/\.vecfs/vectors: checksum mismatch'
	start
	refused "Input/output error" cat mnt/docs/b
	logged "docs/b: checksum mismatch"
	[ "$(metric checksum_errors_total)" -ge 1 ]
	for id in a c; do cmp $id mnt/docs/$id; done
	for id in a b c; do cmp $id mnt/more/$id; done
	[ "$(ls mnt/docs | tr '\n' ' ')" = "a b c " ]
	refused "Input/output error" cat mnt/docs/.vecfs/vectors.npy
	cmp mnt/more/.vecfs/vectors.f32 <(cat a b c)
	vec 9 100 >mnt/docs/d # writing goes on
	refused "Input/output error" dd if=mnt/docs/b bs=4 count=1 status=none # of any part of it
	expect_damage
	stop
	run vecfs check "$store"
	[ "$status" = 4 ]
	[[ $output == *docs/b* ]]
	start
	cp b mnt/docs/b # a whole overwrite heals it
	cmp b mnt/docs/b
	cat mnt/docs/.vecfs/vectors.npy >/dev/null
	stop
	vecfs check "$store"
}

@test "a damaged vector can be deleted and replaced by rename; a partial write does not hide the damage" {
	start
	some docs
	stop
	for id in a b c; do flip "$store"/collections/1/0.npy $id; done
	expect_log 'docs/[abc]: checksum mismatch'
	start
	refused "Input/output error" dd if=a of=mnt/docs/a bs=4 count=1 conv=notrunc status=none
	refused "Input/output error" cat mnt/docs/a
	rm mnt/docs/b
	cp c mnt/docs/new
	mv mnt/docs/new mnt/docs/c
	cmp c mnt/docs/c
	cp a mnt/docs/a
	[ "$(ls mnt/docs | tr '\n' ' ')" = "a c " ]
	cmp a mnt/docs/a
}

@test "a bit that flips on the disk while the mount serves is found by the next read that is not cached" {
	start
	some docs
	expect_log 'docs/b: checksum mismatch'
	cat mnt/docs/.vecfs/segments/0.npy >/dev/null # has everything written to the segment
	flip "$store"/collections/1/0.npy b
	[ "$(id -u)" != 0 ] || echo 3 >/proc/sys/vm/drop_caches
	python3 - <<-'P'
		import os
		f = os.open('mnt/docs/b', os.O_RDONLY)
		os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
	P
	refused "Input/output error" dd if=mnt/docs/b iflag=direct status=none
	cmp a mnt/docs/a
	cp b mnt/docs/b
	cmp b mnt/docs/b
}

@test "a damaged collection: the others mount and serve; the damaged one answers EIO and the log says why" {
	start
	some docs
	some more
	stop
	mv "$store"/collections/1/0.rows "$store"/collections/1/kept
	expect_log 'docs: damaged: .*'
	start
	for id in a b c; do cmp $id mnt/more/$id; done
	grep -q '^docs: damaged: ' mnt/.vecfs/log
	refused "Input/output error" cat mnt/docs/a
	refused "Input/output error" ls mnt/docs
	refused "Input/output error" cp a mnt/docs/new
	[ "$(ls mnt | tr '\n' ' ')" = "docs more " ]
	[ "$(stats docs damaged)" = 1 ]
	vecfs stat mnt | grep -q damaged
	cp a mnt/more/new
	stop
	expect_damage
	run vecfs check "$store"
	[ "$status" = 4 ]
	[[ $output == *docs* ]]
	mv "$store"/collections/1/kept "$store"/collections/1/0.rows # and all is well again
	start
	for id in a b c; do cmp $id mnt/docs/$id; done
	cmp a mnt/more/new
	stop
	vecfs check "$store"
}

@test "damage in the middle of the log is reported, not skipped over" {
	start commit=60000
	some docs
	sync mnt/docs
	vec 7 100 >mnt/docs/d
	sync mnt/docs
	vec 8 100 >mnt/docs/e
	sync mnt/docs
	crash
	vec 7 100 >d
	for file in "$store"/log.*; do flip "$file" d 2>/dev/null && break; done
	run vecfs mount -f -o $transport "$store" "$mnt"
	[ "$status" = 1 ]
	[[ $output == *"$store: "* ]]
	expect_damage
	run vecfs check "$store"
	[ "$status" = 4 ]
}

@test "fdatasync fails: never retried; the store turns read-only (EROFS), says so, and recovers on the next mount" {
	[ $slow = 1 ] || skip "nothing can be preloaded before a sanitizer"
	cc -shared -fPIC -o failsync.so "$tools/failsync.c" -ldl
	daemon_env=(LD_PRELOAD="$here/failsync.so" FAILSYNC_WHILE="$here/broken" FAILSYNC_LOG="$here/failures")
	expect_log '.*: Input/output error; the store is read-only until it is mounted again'
	expect_log '.*: not closed cleanly: .*'
	start commit=60000
	some docs
	sync mnt/docs
	touch broken
	cp b mnt/docs/a
	refused "Input/output error" sync mnt/docs/a
	rm broken
	failures=$(wc -l <failures)
	[ "$failures" -ge 1 ]
	[ "$(metric read_only)" = 1 ]
	grep -q 'the store is read-only until it is mounted again' mnt/.vecfs/log
	refused "Read-only file system" cp a mnt/docs/new
	refused "Read-only file system" rm mnt/docs/b
	refused "Read-only file system" mkdir mnt/more
	refused "Read-only file system" mv mnt/docs/b mnt/docs/x
	refused "" sync mnt/docs/a # not even now that it would work
	for id in b c; do cmp $id mnt/docs/$id; done
	cmp b mnt/docs/a || cmp a mnt/docs/a
	[ "$(wc -l <failures)" = "$failures" ]
	run vecfs umount "$mnt"
	[ "$status" = 1 ]
	wait "$daemon" || status=$?
	daemon=
	[ "$status" = 1 ]
	daemon_env=()
	start
	for id in b c; do cmp $id mnt/docs/$id; done
	cmp b mnt/docs/a || cmp a mnt/docs/a
	[ "$(ls mnt/docs | tr '\n' ' ')" = "a b c " ]
	cp a mnt/docs/new
	sync mnt/docs/new
	restart
	cmp a mnt/docs/new
}

@test "a batch's upload that finds no space is refused for that reason, and so is the commit, until there is space" {
	tmpfs_disk 96m
	start
	some docs
	batch=mnt/docs/.vecfs/tx/b
	mkdir $batch
	head -c 30000000 /dev/zero >large
	fallocate -l $((20 << 20)) disk/others
	fallocate -l $(($(stat -f -c '%a * %S' disk) - (12 << 20))) disk/more
	for order in in-order sparse; do
		if [ $order = in-order ]; then
			refused "No space left" cp large $batch/.vecfs/vectors.f32
		else
			refused "No space left" dd if=large of=$batch/.vecfs/vectors.f32 bs=1M seek=1 status=none
		fi
		logged "docs/.vecfs/tx/b/.vecfs/vectors.f32: refused: No space left on device"
		refused "Operation canceled" mv $batch mnt/docs/.vecfs/commit/
		tail -n 1 mnt/.vecfs/log | grep 'tx/b: refused: vectors.f32: No space left on device'
	done
	rm disk/others disk/more
	cp large $batch/.vecfs/vectors.f32
	mv $batch mnt/docs/.vecfs/commit/
	[ "$(ls mnt/docs | wc -l)" = 75003 ]
	drop_disk
}
