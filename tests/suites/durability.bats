#!/usr/bin/env bats
# What is durable survives SIGKILL; what is not is there whole or not at all, and is a prefix.

BATS_TEST_TIMEOUT=180
load helper

never=commit=60000 # nothing becomes durable by the passing of time

setup() {
	begin
	vec 1 768 >one
	vec 2 768 >two
}

# begin_with OPTIONS: a durable collection with a durable vector in it.
begin_with() {
	start "$1"
	mkdir mnt/docs
	cp one mnt/docs/apple
	sync mnt/docs
}

@test "durable after fsync of the file" {
	begin_with $never
	cp two mnt/docs/pear
	sync mnt/docs/pear
	crash
	start
	cmp two mnt/docs/pear
	cmp one mnt/docs/apple
}

@test "durable after fdatasync by the writer, before its close" {
	begin_with $never
	dd if=two of=mnt/docs/pear bs=1024 conv=fdatasync status=none
	dd if=two of=mnt/docs/apple bs=1024 conv=fsync,notrunc status=none
	crash
	start
	cmp two mnt/docs/pear
	cmp two mnt/docs/apple
}

@test "durable after fsync of the directory: creations, overwrites, partial writes, renames, removals, attributes" {
	begin_with $never
	for id in a b c d; do cp one mnt/docs/$id; done
	sync mnt/docs
	cp two mnt/docs/a
	printf wxyz | dd of=mnt/docs/b bs=4 seek=5 conv=notrunc status=none
	mv mnt/docs/c mnt/docs/e
	rm mnt/docs/d
	cp two mnt/docs/f
	chmod 600 mnt/docs/f
	touch -d '2001-02-03 04:05:06' mnt/docs/f
	chmod 750 mnt/docs
	sync mnt/docs
	crash
	start
	[ "$(ls mnt/docs | tr '\n' ' ')" = "a apple b e f " ]
	for pair in a:two apple:one e:one f:two; do cmp ${pair#*:} mnt/docs/${pair%:*}; done
	(head -c 20 one; printf wxyz; tail -c +25 one) | cmp - mnt/docs/b
	[ "$(stat -c '%a %y' mnt/docs/f | cut -c 1-23)" = "600 2001-02-03 04:05:06" ]
	[ "$(stat -c %a mnt/docs)" = 750 ]
}

@test "durable after fsync of the mount's root: mkdir, rmdir, mv of collections, schema" {
	begin_with $never
	mkdir mnt/gone mnt/old mnt/new
	sync mnt
	rmdir mnt/gone
	mv mnt/old mnt/renamed
	printf 'dim=8\ndtype=u8\n' >mnt/new/.vecfs/schema
	mkdir mnt/later
	sync mnt
	crash
	start
	[ "$(ls mnt | tr '\n' ' ')" = "docs later new renamed " ]
	[ "$(tr '\n' ' ' <mnt/new/.vecfs/schema)" = "dim=8 dtype=u8 metric=l2 " ]
}

@test "durable after msync of a mapping" {
	begin_with $never
	python3 - <<-'P'
		import numpy as np
		m = np.memmap('mnt/docs/apple', '<f4', 'r+')
		m[5] = 42
		m.flush() # msync(MS_SYNC)
	P
	crash
	start
	[ "$(od -An -t f4 -j 20 -N 4 mnt/docs/apple | tr -d ' ')" = 42 ]
}

@test "durable after close under -o sync" {
	start $never,sync
	mkdir mnt/docs
	cp one mnt/docs/apple
	crash
	start $never,sync
	cmp one mnt/docs/apple
	cp two mnt/docs/apple
	printf wxyz | dd of=mnt/docs/apple bs=4 conv=notrunc status=none
	crash
	start
	(printf wxyz; tail -c +5 two) | cmp - mnt/docs/apple
}

@test "durable after the commit of a batch" {
	begin_with $never
	mkdir mnt/docs/.vecfs/tx/b
	cp two mnt/docs/.vecfs/tx/b/pear
	mv mnt/docs/.vecfs/tx/b mnt/docs/.vecfs/commit/
	crash
	start
	cmp two mnt/docs/pear
}

@test "durable after vecfs umount, and after vecfs import" {
	begin_with $never
	cp two mnt/docs/pear
	stop
	start $never
	cmp two mnt/docs/pear
	cp two rows.f32
	vecfs import -q mnt/docs rows.f32
	crash
	start
	cmp two mnt/docs/0
}

@test "durable at most commit= ms later, without any sync" {
	begin_with commit=50
	cp two mnt/docs/pear
	sleep 1.5 # the promise is about time
	crash
	start
	cmp two mnt/docs/pear
}

@test "what an fsync makes durable includes all that was acknowledged before, of whatever file" {
	begin_with $never
	cp two mnt/docs/pear
	cp two mnt/docs/apple
	mkdir mnt/more
	cp one mnt/more/plum
	sync mnt/more/plum
	crash
	start
	cmp two mnt/docs/pear
	cmp two mnt/docs/apple
	cmp one mnt/more/plum
}

@test "what is not durable survives as a prefix of the acknowledged order, each change whole or not at all" {
	begin_with $never
	python3 - <<-'P'
		import whole
		for i in range(4000): # 12 MB: more than one frame of the log
		    open(f'mnt/docs/v{i:04}', 'wb').write(whole.make(i, 1, 0, 768))
	P
	crash
	start
	python3 - <<-'P'
		import os, whole
		names = sorted(n for n in os.listdir('mnt/docs') if n != 'apple')
		assert names == [f'v{i:04}' for i in range(len(names))], 'not a prefix'
		for i, n in enumerate(names):
		    assert whole.parse(open('mnt/docs/' + n, 'rb').read(), 768) == (i, 1, 0), n
		print(len(names), 'of 4000')
	P
	cmp one mnt/docs/apple
}

@test "a vector that is half written at the crash leaves no trace" {
	begin_with ''
	cat >half.py <<-'P'
		import os, signal
		two = open('two', 'rb').read()
		a = os.open('mnt/docs/pear', os.O_WRONLY | os.O_CREAT)
		b = os.open('mnt/docs/apple', os.O_WRONLY | os.O_TRUNC)
		os.write(a, two[:1000]); os.write(b, two[:1000])
		print('written', flush=True)
		signal.pause()
	P
	background python3 half.py >said
	eventually grep -q written said
	sync mnt/docs
	crash
	start
	[ "$(ls mnt/docs)" = apple ]
	cmp one mnt/docs/apple
}

@test "a crash right after a recovery, and one more, lose nothing" {
	begin_with $never
	for i in 1 2 3; do
		vec $i 768 >mnt/docs/v$i
		sync mnt/docs
		crash
		start $never
		for j in $(seq 1 $i); do vec "$j" 768 | cmp - mnt/docs/v"$j"; done
		crash
		start $never
	done
	[ "$(metric errors_total)" = 0 ]
}

@test "a recovered store replays its log once: after a clean unmount there is none" {
	begin_with ''
	crash
	start
	[ "$(metric replayed_records)" -ge 1 ]
	restart
	[ "$(metric replayed_records)" = 0 ]
	cmp one mnt/docs/apple
}

# synced FILE...: each has been since the last time, in the directory of the only batch; and so have the directories.
synced() {
	local file
	for file in "$@" collections; do
		[ $file = collections ] || file=collections/[0-9]*/upload.$file
		grep -qx "$store/$file" syncs || {
			echo "$file was not synced, but"
			cat syncs
			return 1
		}
	done
	grep -qx "$store/collections/[0-9]*" syncs
	: >syncs
}

# no power fails here: what a crash of the daemon leaves was the kernel's; so that the disk was asked is seen at the call.
spy_on_syncs() {
	[ $slow = 1 ] || skip "nothing can be preloaded before a sanitizer"
	cc -shared -fPIC -o spysync.so "$tools/spysync.c" -ldl
	daemon_env=(LD_PRELOAD="$here/spysync.so" SPYSYNC_LOG="$here/syncs")
	: >syncs
}

@test "durable after fsync of a file of an open batch, or of a directory of it" {
	spy_on_syncs
	begin_with $never
	batch=mnt/docs/.vecfs/tx/b
	mkdir $batch
	: >syncs
	printf 'x\ny\n' >$batch/.vecfs/ids
	no synced ids
	sync $batch/.vecfs/ids
	synced ids
	cat one two >rows
	cp rows $batch/.vecfs/vectors.f32
	no synced 0.npy
	sync -d $batch/.vecfs/vectors.f32
	synced ids 0.npy sums
	echo apple >$batch/.vecfs/delete
	sync $batch
	synced ids 0.npy sums delete
	printf 'apple\n' >$batch/.vecfs/.delete.k3Sdf1 # as rsync writes it
	sync $batch/.vecfs/.delete.k3Sdf1
	synced 'temporary.[0-9]*'
	mv $batch/.vecfs/.delete.k3Sdf1 $batch/.vecfs/delete
	sync $batch/.vecfs
	synced ids 0.npy sums delete
	crash
	start
	mv $batch mnt/docs/.vecfs/commit/
	[ "$(ls mnt/docs | tr '\n' ' ')" = "x y " ]
	cmp two mnt/docs/y
}

@test "… by its writer, before its close: it is whole after a crash" {
	begin_with $never
	batch=mnt/docs/.vecfs/tx/b
	mkdir $batch
	cat >writer.py <<-'P'
		import numpy as np, os, time
		files = [open(f'mnt/docs/.vecfs/tx/b/.vecfs/{name}', 'wb') for name in ('ids', 'vectors.npy', 'delete')]
		files[0].write(b'x\ny\n')
		np.save(files[1], np.ones((2, 768), 'f4'))
		files[2].write(b'apple\n')
		for file in files:
		    file.flush()
		    os.fsync(file.fileno())
		print('synced', flush=True)
		time.sleep(1000)
	P
	background python3 writer.py >said
	eventually grep -q synced said
	crash
	start
	[ "$(stat -c %s $batch/.vecfs/vectors.npy)" -gt 6144 ]
	mv $batch mnt/docs/.vecfs/commit/
	[ "$(ls mnt/docs | tr '\n' ' ')" = "x y " ]
}

@test "… but not what is written on after the fsync: that is torn, as ever" {
	begin_with $never
	batch=mnt/docs/.vecfs/tx/b
	mkdir $batch
	cat >writer.py <<-'P'
		import os, time
		file = open('mnt/docs/.vecfs/tx/b/.vecfs/vectors.f32', 'wb', buffering=0)
		file.write(bytes(3072 * 2))
		os.fsync(file.fileno())
		file.write(bytes(3072 * 1000 + 5))
		print('written', flush=True)
		time.sleep(1000)
	P
	background python3 writer.py >said
	eventually grep -q written said
	crash
	start
	refused "Operation canceled" mv $batch mnt/docs/.vecfs/commit/
	grep -q 'the vectors were not written to their end' mnt/.vecfs/log
	rm -r $batch
}

@test "… after a close under -o sync, and after vecfs umount" {
	spy_on_syncs
	begin_with $never,sync
	batch=mnt/docs/.vecfs/tx/b
	mkdir $batch
	: >syncs
	printf 'x\ny\n' >$batch/.vecfs/ids
	synced ids
	cat one two >$batch/.vecfs/vectors.f32
	synced ids 0.npy sums
	for row in 1 2; do # whoever it is, they are their own
		perl -e 'print pack "q<L<L<L<L<", 1000000000, 0, 0644, $>, $)'
	done >$batch/.vecfs/attributes
	synced attributes
	stop
	start $never
	echo apple >$batch/.vecfs/delete
	: >syncs
	stop
	synced ids 0.npy sums delete
	start
}

# is_one_version: what the mount shows is all of one of the two arrays, beside its ids; prints which.
is_one_version() {
	python3 - <<-'P'
		import numpy as np
		rows = np.load('mnt/docs/.vecfs/vectors.npy')
		ids = np.loadtxt('mnt/docs/.vecfs/ids', dtype='f4')
		which = rows[0, 0] % 2
		assert rows.shape == (20000, 100) and len(set(ids)) == 20000
		assert (rows == (2 * ids + which)[:, None]).all(), 'a mixture'
		print(int(which))
	P
}

@test "SIGKILL in a large import over existing ids: check, -o ro and the next mount find one version, whole" {
	python3 - <<-'P'
		import numpy as np
		for which in 0, 1:
		    np.save(f'{which}.npy', np.arange(which, 40000, 2, dtype='f4')[:, None] + np.zeros((1, 100), 'f4'))
	P
	start
	mkdir mnt/docs
	vecfs import -q mnt/docs 0.npy
	for delay in 0.02 0.05 0.1 0.2 over over; do
		background "$VECFS_BIN" import -q --replace mnt/docs 1.npy 2>/dev/null
		importer=$!
		if [ $delay = over ]; then finishes $importer; else sleep $delay; fi
		kill_daemon
		done=0
		finishes $importer || done=$?
		take_away "$mnt"
		vecfs check "$store"
		start ro
		which=$(is_one_version)
		[ $done != 0 ] || [ "$which" = 1 ]
		stop
		start
		[ "$(is_one_version)" = "$which" ]
		[ -z "$(ls mnt/docs/.vecfs/tx)" ]
		vecfs import -q --replace mnt/docs 0.npy
	done
}

@test "SIGKILL under load, again and again: all that is durable is there, the rest is a prefix" {
	start
	mkdir mnt/docs
	cp one mnt/docs/w0-0
	rm mnt/docs/w0-0
	for round in 1 2 3 4 5 6; do
		background python3 "$tools/crashload.py" run mnt/docs journal --seed $round >said
		load=$!
		eventually grep -q running said
		sleep "0.$((RANDOM % 6 + 2))" # any moment will do
		kill_daemon
		finishes $load
		start
		python3 "$tools/crashload.py" verify mnt/docs journal
	done
	stop
	vecfs check "$store"
}
