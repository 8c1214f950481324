#!/usr/bin/env bats
# Batches: tx/B, commit/. All or nothing, durable when the rename returns. DESIGN 1.2, 1.4.
# sanitize: yes

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	tx=mnt/docs/.vecfs/tx commit=mnt/docs/.vecfs/commit
	for i in 1 2 3 4 5 6 7 8 9; do vec $i 100 >$i; done
	cp 1 mnt/docs/apple
	cp 2 mnt/docs/pear
}

ids() { ls mnt/docs | tr '\n' ' '; }

@test "a batch of vector files: nothing is seen before the commit, all of it after" {
	mkdir $tx/b
	cp 3 $tx/b/plum
	cp 4 $tx/b/apple
	[ "$(ls $tx/b | tr '\n' ' ')" = "apple plum " ]
	cmp 4 $tx/b/apple
	[ "$(ids)" = "apple pear " ]
	cmp 1 mnt/docs/apple
	mv $tx/b $commit/
	[ "$(ids)" = "apple pear plum " ]
	cmp 4 mnt/docs/apple
	cmp 2 mnt/docs/pear
	cmp 3 mnt/docs/plum
	[ -z "$(ls -A $tx)" ]
	[ -z "$(ls -A $commit)" ]
	[ ! -e $commit/b ]
	[ "$(metric batches_total)" = 1 ]
	restart
	[ "$(ids)" = "apple pear plum " ]
	cmp 4 mnt/docs/apple
}

@test "a batch of ids and vectors.npy, .f32, .fvecs and .fbin" {
	python3 - <<-'P'
		import numpy as np, struct
		rows = np.stack([np.fromfile(str(i), '<f4') for i in (3, 4, 5)])
		np.save('vectors.npy', rows)
		rows.tofile('vectors.f32')
		open('vectors.fvecs', 'wb').write(b''.join(struct.pack('<i', 100) + r.tobytes() for r in rows))
		open('vectors.fbin', 'wb').write(struct.pack('<II', 3, 100) + rows.tobytes())
	P
	for format in npy f32 fvecs fbin; do
		mkdir $tx/b
		printf '%s\n' $format-x $format-y $format-z >$tx/b/.vecfs/ids
		cp vectors.$format $tx/b/.vecfs/
		mv $tx/b $commit/
		cmp 3 mnt/docs/$format-x
		cmp 4 mnt/docs/$format-y
		cmp 5 mnt/docs/$format-z
	done
	[ "$(ls mnt/docs | wc -l)" = 14 ]
	restart
	cmp 5 mnt/docs/npy-z
}

@test "deletes: the ids of .vecfs/delete go; those that do not exist are no error" {
	mkdir $tx/b
	printf 'pear\nnever-was\n' >$tx/b/.vecfs/delete
	mv $tx/b $commit/
	[ "$(ids)" = "apple " ]
	restart
	[ "$(ids)" = "apple " ]
}

@test "upserts, deletes, files and rows in one batch" {
	cp 3 mnt/docs/old
	mkdir $tx/b
	cp 4 $tx/b/apple # over one that exists
	cp 5 $tx/b/new
	printf 'row1\npear\n' >$tx/b/.vecfs/ids
	cat 6 7 >$tx/b/.vecfs/vectors.f32
	echo old >$tx/b/.vecfs/delete
	mv $tx/b $commit/
	[ "$(ids)" = "apple new pear row1 " ]
	for pair in apple:4 new:5 row1:6 pear:7; do cmp ${pair#*:} mnt/docs/${pair%:*}; done
	[ "$(stats docs vectors)" = 4 ]
}

@test "ids missing: decimal row numbers" {
	mkdir $tx/b
	cat 3 4 5 >$tx/b/.vecfs/vectors.f32
	mv $tx/b $commit/
	[ "$(ids)" = "0 1 2 apple pear " ]
	for i in 0 1 2; do cmp $((i + 3)) mnt/docs/$i; done
}

@test "a batch fixes the dim of a collection that has none" {
	mkdir mnt/fresh mnt/fresh/.vecfs/tx/b
	python3 -c '
import numpy as np
np.save("rows.npy", np.ones((5, 7), "<f4"))'
	cp rows.npy mnt/fresh/.vecfs/tx/b/.vecfs/vectors.npy
	[ "$(head -n 1 mnt/fresh/.vecfs/schema)" = dim=0 ]
	mv mnt/fresh/.vecfs/tx/b mnt/fresh/.vecfs/commit/
	[ "$(head -n 1 mnt/fresh/.vecfs/schema)" = dim=7 ]
	[ "$(ls mnt/fresh | wc -l)" = 5 ]
}

@test "an empty batch commits, and changes nothing" {
	mkdir $tx/b
	mv $tx/b $commit/
	[ "$(ids)" = "apple pear " ]
	[ -z "$(ls $tx)" ]
}

@test "a refused batch says why with the row's number, and stays to be mended" {
	mkdir $tx/b
	printf 'x\ny\nx\n' >$tx/b/.vecfs/ids
	cat 3 4 5 >$tx/b/.vecfs/vectors.f32
	cp 6 $tx/b/plum
	refused "Operation canceled" mv $tx/b $commit/
	grep -E '^docs/\.vecfs/tx/b.*: refused: .*3' mnt/.vecfs/log
	[ "$(ids)" = "apple pear " ]
	[ "$(ls $tx)" = b ]
	cmp 6 $tx/b/plum
	printf 'x\ny\nz\n' >$tx/b/.vecfs/ids
	mv $tx/b $commit/
	[ "$(ids)" = "apple pear plum x y z " ]
	cmp 5 mnt/docs/z
}

@test "refused: an illegal id, more ids than rows, fewer ids than rows, an id as file and as row" {
	refuse() { # IDS WORDS
		printf "$1" >$tx/b/.vecfs/ids
		refused "Operation canceled" mv $tx/b $commit/
		tail -n 1 mnt/.vecfs/log | grep -F 'docs/.vecfs/tx/b' | grep -F 'refused: ' | grep -E "$2"
		[ "$(ids)" = "apple pear " ]
	}
	mkdir $tx/b
	cat 3 4 >$tx/b/.vecfs/vectors.f32
	refuse 'x\na/b\n' '2'
	refuse 'x\n\n' '2'
	refuse '.\ny\n' '1'
	refuse '.vecfs\ny\n' '1'
	refuse 'x\n'"$(printf 'y%.0s' {1..256})"'\n' '2'
	refuse 'x\ny\nz\n' '3.*2|2.*3'
	refuse 'x\n' '1.*2|2.*1'
	cp 5 $tx/b/y
	refuse 'x\ny\n' '2|y'
	rm $tx/b/y
	printf 'x\ny\n' >$tx/b/.vecfs/ids
	mv $tx/b $commit/
	[ "$(ids)" = "apple pear x y " ]
}

@test "refused: rows of another dim or dtype, a header that lies, a last row that is cut off" {
	mkdir $tx/b
	python3 - <<-'P'
		import numpy as np
		np.save('dim.npy', np.zeros((3, 99), '<f4'))
		np.save('dtype.npy', np.zeros((3, 100), '<f8'))
		np.save('half.npy', np.zeros((3, 100), '<f2'))
		np.save('fortran.npy', np.asfortranarray(np.zeros((3, 100), '<f4')))
		np.save('good.npy', np.zeros((3, 100), '<f4'))
		good = open('good.npy', 'rb').read()
		open('short.npy', 'wb').write(good[:-4])
		open('long.npy', 'wb').write(good + b'abcd')
		open('none.npy', 'wb').write(b'not an array at all, but long enough to be one' * 10)
	P
	for bad in dim dtype half fortran short long none; do
		refused "Invalid argument" cp $bad.npy $tx/b/.vecfs/vectors.npy
		tail -n 1 mnt/.vecfs/log | grep '^docs/\.vecfs/tx/b/\.vecfs/vectors\.npy: refused: '
		[ ! -e $tx/b/.vecfs/vectors.npy ]
	done
	head -c 410 /dev/zero >cut
	refused "Invalid argument" cp cut $tx/b/.vecfs/vectors.f32
	logged "docs/.vecfs/tx/b/.vecfs/vectors.f32: refused: got 410 bytes of rows, want a multiple of 400 (dim=100 dtype=f32)"
	head -c 100 3 >short
	refused "Invalid argument" cp short $tx/b/plum # as in any collection
	logged "docs/.vecfs/tx/b/plum: refused: got 100 bytes, want 400 (dim=100 dtype=f32)"
	mv $tx/b $commit/
	[ "$(ids)" = "apple pear " ]
}

@test "a batch's files can be changed before the commit: overwritten, renamed, removed" {
	mkdir $tx/b
	cp 3 $tx/b/x
	cp 4 $tx/b/x
	cp 5 $tx/b/y
	mv $tx/b/y $tx/b/z
	cp 6 $tx/b/w
	rm $tx/b/w
	cat 7 8 >$tx/b/.vecfs/vectors.f32
	cat 8 9 >$tx/b/.vecfs/vectors.f32
	printf 'old\nids\n' >$tx/b/.vecfs/ids
	printf 'r1\nr2\n' >$tx/b/.vecfs/ids
	echo pear >$tx/b/.vecfs/delete
	rm $tx/b/.vecfs/delete
	mv $tx/b $tx/c
	mv $tx/c $commit/c
	[ "$(ids)" = "apple pear r1 r2 x z " ]
	for pair in x:4 z:5 r1:8 r2:9 apple:1; do cmp ${pair#*:} mnt/docs/${pair%:*}; done
}

@test "rmdir of tx/B drops it, rm -r drops it with what is in it" {
	mkdir $tx/a $tx/b
	cat 3 4 >$tx/a/.vecfs/vectors.f32
	rmdir $tx/a
	cp 3 $tx/b/x
	rm -r $tx/b
	[ -z "$(ls -A $tx)" ]
	[ "$(ids)" = "apple pear " ]
	mkdir $tx/b # the name is free, and there is nothing in it
	[ -z "$(ls -A $tx/b)" ]
	[ ! -e $tx/b/.vecfs/vectors.f32 ]
	rmdir $tx/b
	stop
	[ "$(ls "$store/collections")" = 1 ]
}

@test "several batches are open at once, and independent" {
	mkdir $tx/a $tx/b
	cp 3 $tx/a/x
	cp 4 $tx/b/x
	mv $tx/b $commit/
	cmp 4 mnt/docs/x
	mv $tx/a $commit/
	cmp 3 mnt/docs/x
	[ "$(ids)" = "apple pear x " ]
}

@test "a batch that a dead client has left survives a remount and a crash, until it is committed or dropped" {
	mkdir $tx/a $tx/b
	cp 3 $tx/a/x
	cat 4 5 >$tx/a/.vecfs/vectors.f32
	printf 'y\nz\n' >$tx/a/.vecfs/ids
	cp 6 $tx/b/w
	restart
	[ "$(ls $tx | tr '\n' ' ')" = "a b " ]
	[ "$(ids)" = "apple pear " ]
	sync mnt/docs
	crash
	start
	[ "$(ls $tx | tr '\n' ' ')" = "a b " ]
	cmp 3 $tx/a/x
	rm -r $tx/b
	mv $tx/a $commit/
	[ "$(ids)" = "apple pear x y z " ]
	cmp 4 mnt/docs/y
}

@test "a commit is atomic for every observer" {
	cat >observe.py <<-'P'
		import os, sys
		# Batches move all of a and b from one generation to the next; an observer never sees two of them.
		def generation(name):
		    return int.from_bytes(open(f'mnt/docs/{name}', 'rb').read()[:4], 'little')
		print('observing', flush=True)
		seen = set()
		while not os.path.exists('enough'):
		    data = open('mnt/docs/.vecfs/vectors.f32', 'rb').read()
		    rows = {data[i:i + 4] for i in range(0, len(data), 400)}
		    assert len(rows) == 1 and len(data) == 40 * 400, (rows, len(data))
		    # Read one after the other, the second must not be older than the first.
		    first = generation('v0')
		    assert generation('v39') >= first
		    seen.add(first)
		assert len(seen) > 3, seen
	P
	rm mnt/docs/apple mnt/docs/pear
	python3 - <<-'P'
		import os
		for g in range(1):
		    for i in range(40):
		        open(f'mnt/docs/v{i}', 'wb').write(g.to_bytes(4, 'little') * 100)
	P
	background python3 observe.py >said
	observer=$!
	eventually grep -q observing said
	python3 - <<-'P'
		import os
		tx, commit = 'mnt/docs/.vecfs/tx/b', 'mnt/docs/.vecfs/commit/b'
		for g in range(1, 60):
		    os.mkdir(tx)
		    row = g.to_bytes(4, 'little') * 100
		    if g % 3 == 0: # half as files
		        for i in range(20):
		            open(f'{tx}/v{i}', 'wb').write(row)
		        ids = range(20, 40)
		    else:
		        ids = range(40)
		    open(f'{tx}/.vecfs/ids', 'w').writelines(f'v{i}\n' for i in ids)
		    open(f'{tx}/.vecfs/vectors.f32', 'wb').write(row * len(ids))
		    os.rename(tx, commit)
		open('enough', 'w')
	P
	finishes $observer
}

@test "a process that lives in the collection goes on there after a commit" {
	mkdir $tx/b
	cp 3 $tx/b/plum
	cd mnt/docs
	mv .vecfs/tx/b .vecfs/commit/
	ls "$here/mnt/docs" >/dev/null
	[ "$(/bin/pwd)" = "$here/mnt/docs" ]
	cmp "$here/3" plum
	cp "$here/4" quince
	cd "$here"
	[ "$(ids)" = "apple pear plum quince " ]
}

@test "open files of replaced and deleted vectors stay readable through a commit" {
	exec 8<mnt/docs/apple 9<mnt/docs/pear
	mkdir $tx/b
	cat 3 >$tx/b/.vecfs/vectors.f32
	echo apple >$tx/b/.vecfs/ids
	echo pear >$tx/b/.vecfs/delete
	mv $tx/b $commit/
	python3 - <<-'P'
		import os
		assert os.pread(9, 1000, 0) == open('2', 'rb').read()
		assert os.pread(8, 1000, 0) in (open('1', 'rb').read(), open('3', 'rb').read())
	P
	cmp 3 mnt/docs/apple
	exec 8<&- 9<&-
}

@test "SIGKILL around the commit: all of the batch or nothing, and all of it once the rename has returned" {
	python3 - <<-'P'
		open('rows', 'wb').write(b''.join((1000 + i).to_bytes(4, 'little') * 100 for i in range(3000)))
		open('ids', 'w').writelines(f'r{i}\n' for i in range(3000))
	P
	seen=()
	for round in 1 2 3 4 5 6 7 8; do
		mkdir $tx/b
		cp ids $tx/b/.vecfs/ids
		cp rows $tx/b/.vecfs/vectors.f32
		sync mnt/docs
		printf 'pear\n' >$tx/b/.vecfs/delete
		background python3 -c '
import os
open("going", "w")
os.rename("mnt/docs/.vecfs/tx/b", "mnt/docs/.vecfs/commit/b")
open("returned", "w")'
		client=$!
		eventually test -e going
		[ $round -le 6 ] || eventually test -e returned
		kill_daemon
		finishes $client || true
		start
		python3 - <<-'P'
			import os
			names = set(os.listdir('mnt/docs'))
			rows = {f'r{i}' for i in range(3000)}
			all = names == rows | {'apple'}
			none = names == {'apple', 'pear'}
			assert all or none, (len(names & rows), sorted(names - rows))
			assert all or not os.path.exists('returned')
			for i in range(0, 3000, 7):
			    if all:
			        assert open(f'mnt/docs/r{i}', 'rb').read() == (1000 + i).to_bytes(4, 'little') * 100
			print('all' if all else 'none')
			assert open('mnt/docs/apple', 'rb').read() == open('1', 'rb').read()
		P
		rm -rf going returned $tx/b # which may have survived
		rm -rf mnt/docs
		mkdir mnt/docs
		cp 1 mnt/docs/apple
		cp 2 mnt/docs/pear
	done
}

@test "batches from four processes at once: each is whole" {
	python3 - <<-'P'
		import os
		def work(p):
		    for k in range(15):
		        tx = f'mnt/docs/.vecfs/tx/p{p}'
		        os.mkdir(tx)
		        row = (100 * p + k).to_bytes(4, 'little') * 100
		        open(f'{tx}/.vecfs/ids', 'w').writelines(f'p{p}-{i}\n' for i in range(50))
		        open(f'{tx}/.vecfs/vectors.f32', 'wb').write(row * 50)
		        open(f'{tx}/extra{p}', 'wb').write(row)
		        os.rename(tx, f'mnt/docs/.vecfs/commit/p{p}')
		pids = []
		for p in range(4):
		    pid = os.fork()
		    if pid == 0:
		        work(p)
		        os._exit(0)
		    pids.append(pid)
		assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
		for p in range(4):
		    for name in [f'p{p}-{i}' for i in range(50)] + [f'extra{p}']:
		        assert open('mnt/docs/' + name, 'rb').read() == (100 * p + 14).to_bytes(4, 'little') * 100
	P
	[ "$(ls mnt/docs | wc -l)" = 206 ]
}

@test "what is in tx/ and commit/ is limited to batches" {
	refused "not permitted" cp 1 $tx/file
	refused "not permitted" mkdir $commit/b
	refused "not permitted" mv mnt/docs/apple $commit/
	mkdir $tx/b
	refused "not permitted" mkdir $tx/b/sub
	mkdir mnt/more
	refused "not permitted" mv $tx/b mnt/more/.vecfs/commit/ # of another collection
	refused "not permitted" cp 1 $tx/b/.vecfs/nonsense
	rmdir $tx/b
}

@test "a batch's result says what its commit did: added, replaced, deleted; or why it was refused" {
	cp 1 mnt/docs/gone
	mkdir $tx/b
	cp 3 4 5 $tx/b/
	cp 2 $tx/b/apple
	echo gone >$tx/b/.vecfs/delete
	[ "$(ls $tx/b/.vecfs)" = delete ]
	exec 7<$tx/b/.vecfs/result 8>$tx/b/.vecfs/result
	no bash -c 'echo nonsense >&8'
	echo replace=no >&8
	no python3 -c 'import os, sys; os.rename(*sys.argv[1:])' $tx/b $commit/b
	[ "$(cat <&7)" = "refused='apple' is there already" ]
	cmp mnt/docs/apple 1
	[ -e mnt/docs/gone ]
	exec 8>&- # with it goes the wish
	exec 7<$tx/b/.vecfs/result
	mv $tx/b $commit/
	[ "$(tr '\n' ' ' <&7)" = "added=3 replaced=1 deleted=1 " ]
	exec 7<&-
	cmp mnt/docs/apple 2
	[ "$(ls mnt/docs | tr '\n' ' ')" = "3 4 5 apple pear " ]
}
