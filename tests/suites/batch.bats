#!/usr/bin/env bats
# Batches: tx/B, commit/. All or nothing, durable when the rename returns.
# sanitize: yes

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	tx=mnt/docs/.vecfs/tx commit=mnt/docs/.vecfs/commit
	for i in 1 2 3 4 5 6 7 8 9; do vec $i 100 >$i; done
	printf 'apple\na/b\n' >illegal
	echo pear >legal
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
		printf "$1" >$tx/b/.vecfs/ids || :
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
		refused "Operation canceled" mv $tx/b $commit/
		tail -n 1 mnt/.vecfs/log | grep '^docs/\.vecfs/tx/b: refused: vectors\.npy: '
	done
	head -c 410 /dev/zero >cut
	refused "Invalid argument" cp cut $tx/b/.vecfs/vectors.f32
	logged "docs/.vecfs/tx/b/.vecfs/vectors.f32: refused: got 410 bytes of rows, want a multiple of 400 (dim=100 dtype=f32)"
	head -c 100 3 >short
	refused "Invalid argument" cp short $tx/b/plum # as in any collection
	logged "docs/.vecfs/tx/b/plum: refused: got 100 bytes, want 400 (dim=100 dtype=f32)"
	refused "Operation canceled" mv $tx/b $commit/
	rm $tx/b/.vecfs/vectors.f32 $tx/b/plum
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

@test "a refused file keeps its batch from being committed until it is written anew or removed" {
	mkdir $tx/b
	python3 -c '
import numpy as np
np.save("good.npy", np.full((2, 100), 5, "<f4"))'
	head -c 700 good.npy >cut.npy
	head -c 100 3 >short
	cp 3 $tx/b/plum
	while read -r bad good file; do
		refused "Invalid argument" cp $bad $tx/b/$file
		refused "Operation canceled" mv $tx/b $commit/
		tail -n 1 mnt/.vecfs/log | grep "^docs/\.vecfs/tx/b: refused: ${file##*/}: "
		rm $tx/b/$file # it is there to be removed
		[ ! -e $tx/b/$file ]
		refused "Invalid argument" cp $bad $tx/b/$file
		cp $good $tx/b/$file
		printf 'r0\nr1\n' >$tx/b/.vecfs/ids
	done <<-'F'
		cut.npy good.npy .vecfs/vectors.npy
		illegal legal .vecfs/delete
		short 4 quince
		short 4 plum
	F
	[ "$(ids)" = "apple pear " ]
	mv $tx/b $commit/
	[ "$(ids)" = "apple plum quince r0 r1 " ]
	cmp 4 mnt/docs/plum
}

@test "a refusal survives a remount and a crash, and so does an upload that was cut off by it" {
	head -c 700 /dev/zero >cut
	for after in restart crash; do
		mkdir $tx/b $tx/c $tx/d
		refused "Invalid argument" cp cut $tx/b/.vecfs/vectors.f32
		refused "Invalid argument" cp illegal $tx/b/.vecfs/delete
		head -c 100 3 >short
		refused "Invalid argument" cp short $tx/c/x
		if [ $after = crash ]; then
			exec 8>$tx/d/.vecfs/vectors.f32 9>$tx/c/.vecfs/delete
			cat 3 4 >&8
			cat legal >&9 # whose close is not that of who opened it
			crash
			exec 8>&- 9>&-
			start
			refused "Operation canceled" mv $tx/d $commit/
			tail -n 1 mnt/.vecfs/log | grep 'not written to their end'
		else
			restart
		fi
		refused "Operation canceled" mv $tx/b $commit/
		tail -n 1 mnt/.vecfs/log | grep 'vectors\.f32: got 700 bytes of rows'
		rm $tx/b/.vecfs/vectors.f32
		refused "Operation canceled" mv $tx/b $commit/
		tail -n 1 mnt/.vecfs/log | grep 'delete: line 2: '
		rm $tx/b/.vecfs/delete
		mv $tx/b $commit/
		refused "Operation canceled" mv $tx/c $commit/
		tail -n 1 mnt/.vecfs/log | grep 'x: got 100 bytes'
		rm $tx/c/x
		[ $after = restart ] || {
			refused "Operation canceled" mv $tx/c $commit/
			tail -n 1 mnt/.vecfs/log | grep 'delete: it was not written to its end'
		}
		rm -r $tx/c $tx/d
		[ "$(ids)" = "apple pear " ]
	done
}

@test "lists of ids: an illegal line fails the write that completes it, from every writer" {
	mkdir $tx/b
	list=$tx/b/.vecfs/delete
	run bash -c "echo a/b >$list"
	[ "$status" != 0 ]
	run dash -c "echo a/b >$list"
	[ "$status" != 0 ]
	run awk 'BEGIN { print "a/b" > "'$list'"; if (close("'$list'") != 0) exit 1 }'
	[ "$status" != 0 ]
	printf 'all:\n\t@echo a/b >%s\n' $list >Makefile
	run make
	[ "$status" != 0 ]
	refused "Operation canceled" mv $tx/b $commit/
	python3 - $list <<-'P'
		import os, sys
		fd = os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)
		def refused(f):
		    try: f()
		    except OSError as e: assert e.errno == 22, e
		    else: assert False
		os.write(fd, b'fine\nhalf/')
		refused(lambda: os.write(fd, b'way\n'))
		refused(lambda: os.write(fd, b'fine\n')) # and stays so
		os.ftruncate(fd, 0)
		os.lseek(fd, 0, 0)
		os.write(fd, b'pear\nlast/')
		refused(lambda: os.close(fd))
	P
	refused "Operation canceled" mv $tx/b $commit/
	(printf 'pe'; printf 'ar') >$list # a line may come in pieces, from several processes
	mv $tx/b $commit/
	[ "$(ids)" = "apple " ]
}

@test "lists of ids: CR LF and byte order marks are understood, a mixture is refused with its line number" {
	mkdir $tx/b
	cat 3 4 5 >$tx/b/.vecfs/vectors.f32
	printf '\xef\xbb\xbfx\r\ny\r\nz\r\n' >$tx/b/.vecfs/ids
	printf '\xef\xbb\xbfpear\r\n' >$tx/b/.vecfs/delete
	mv $tx/b $commit/
	[ "$(ids)" = "apple x y z " ]
	mkdir $tx/b
	for mixed in 'x\r\ny\r\nz\n' 'x\ny\nz\r\n'; do
		for list in ids delete; do
			printf "$mixed" >mixed
			refused "Invalid argument" cp mixed $tx/b/.vecfs/$list
			tail -n 1 mnt/.vecfs/log | grep "/$list: refused: line 3: "
			refused "Operation canceled" mv $tx/b $commit/
		done
	done
}

@test "ids0 and delete0: the same, NUL-separated, whatever the ids hold; not both of a kind" {
	mkdir $tx/b
	cat 3 4 5 >$tx/b/.vecfs/vectors.f32
	printf 'new\nline\0end\r\0\xef\xbb\xbfback\\n\0' >$tx/b/.vecfs/ids0
	printf 'pear\0' >$tx/b/.vecfs/delete0
	mv $tx/b $commit/
	cmp 3 mnt/docs/$'new\nline'
	cmp 4 mnt/docs/$'end\r'
	cmp 5 mnt/docs/$'\xef\xbb\xbfback\\n'
	[ ! -e mnt/docs/pear ]
	for list in ids delete; do
		mkdir $tx/b
		echo x >$tx/b/.vecfs/$list
		printf 'x\0' >$tx/b/.vecfs/${list}0
		refused "Operation canceled" mv $tx/b $commit/
		tail -n 1 mnt/.vecfs/log | grep "both $list and ${list}0"
		rm -r $tx/b
	done
	mkdir $tx/b
	printf 'a\0b/c\0' >bad
	refused "Invalid argument" cp bad $tx/b/.vecfs/ids0
	tail -n 1 mnt/.vecfs/log | grep "ids0: refused: id 2: "
}

@test "ids read back: what a collection says of its ids makes the same ids again, in both forms" {
	python3 - <<-'P'
		import os
		names = [b'plain', b'new\nline', b'\n', b'end\r', b'\r\n', b'\\n', b'back\\slash', b'\xef\xbb\xbf', b'\xef\xbb\xbfmark',
		         b'%0A', b'\xff\xfe', b'\n' * 255, b'.hidden']
		for i, name in enumerate(names):
		    open(b'mnt/docs/' + name, 'wb').write(bytes([i + 1]) * 400)
		names += [b'apple', b'pear']
		rows = open('mnt/docs/.vecfs/vectors.f32', 'rb').read()
		lines = open('mnt/docs/.vecfs/ids', 'rb').read()
		nuls = open('mnt/docs/.vecfs/ids0', 'rb').read()
		for text, name in (lines, 'ids'), (nuls, 'ids0'):
		    assert os.stat('mnt/docs/.vecfs/' + name).st_size == len(text)
		assert lines.count(b'\n') == nuls.count(b'\0') == len(rows) // 400 == len(names)
		ids = nuls.split(b'\0')[:-1]
		assert sorted(ids) == sorted(names)
		for n, id in enumerate(ids): # line n names row n
		    assert open(b'mnt/docs/' + id, 'rb').read() == rows[400 * n:400 * n + 400]
		for n, line in enumerate(lines.split(b'\n')[:-1]):
		    if not set(ids[n]) & set(b'\r\n') and not ids[n].startswith(b'\xef\xbb\xbf'):
		        assert line == ids[n]
		    assert line.replace(b'/\\n', b'\n').replace(b'/\\r', b'\r').replace(b'/\\b', b'\xef\xbb\xbf') == ids[n]
	P
	for list in ids ids0; do
		rm -rf mnt/copy
		mkdir mnt/copy mnt/copy/.vecfs/tx/b
		cp mnt/docs/.vecfs/$list mnt/copy/.vecfs/tx/b/.vecfs/
		cp mnt/docs/.vecfs/vectors.npy mnt/copy/.vecfs/tx/b/.vecfs/
		mv mnt/copy/.vecfs/tx/b mnt/copy/.vecfs/commit/
		cmp mnt/docs/.vecfs/ids0 mnt/copy/.vecfs/ids0
		cmp mnt/docs/.vecfs/ids mnt/copy/.vecfs/ids
		cmp mnt/docs/.vecfs/vectors.f32 mnt/copy/.vecfs/vectors.f32
		restart
		cmp mnt/docs/.vecfs/ids mnt/copy/.vecfs/ids
	done
}

@test "an array may be written in any order: what is left is whole, and holes are zeros" {
	cat >anyhow.py <<-'P'
		import os, random, struct, sys
		import numpy as np
		tx, commit = 'mnt/docs/.vecfs/tx/b', 'mnt/docs/.vecfs/commit/b'
		for seed in range(60):
		    r = random.Random(seed)
		    rows = np.random.default_rng(seed).random((r.randint(1, 40), 100), '<f4')
		    rows[r.randrange(len(rows))] = 0
		    name = r.choice(['npy', 'fvecs', 'fbin', 'f32'])
		    if name == 'npy':
		        np.save('a.npy', rows)
		        want = open('a.npy', 'rb').read()
		    elif name == 'fvecs':
		        want = b''.join(struct.pack('<i', 100) + row.tobytes() for row in rows)
		    else:
		        want = (struct.pack('<II', *rows.shape) if name == 'fbin' else b'') + rows.tobytes()
		    os.mkdir(tx)
		    path = f'{tx}/.vecfs/vectors.{name}'
		    access = r.choice([os.O_WRONLY, os.O_RDWR])
		    fd = os.open(path, access | os.O_CREAT | os.O_TRUNC)
		    cuts = sorted({0, len(want)} | {r.randrange(len(want)) for i in range(r.randint(0, 9))})
		    parts = list(zip(cuts, cuts[1:]))
		    if r.random() < .7: r.shuffle(parts)
		    if r.random() < .3: os.ftruncate(fd, r.choice([len(want), r.randrange(len(want))]))
		    for a, b in parts:
		        if r.random() < .2: os.pwrite(fd, b'x' * (b - a), a) # and overwritten
		        if not any(want[a:b]) and r.random() < .9: continue   # a hole
		        assert os.pwrite(fd, want[a:b], a) == b - a
		    os.ftruncate(fd, len(want))
		    if access == os.O_RDWR and r.random() < .5:
		        got = os.pread(fd, len(want) + 1, 0)
		        for a, b in parts: assert got[a:b] == want[a:b] or not any(want[a:b])
		    for a, b in parts: # what was overwritten with x and then left out
		        if not any(want[a:b]): os.pwrite(fd, want[a:b], a)
		    os.close(fd)
		    assert os.stat(path).st_size == len(want)
		    open(f'{tx}/.vecfs/ids', 'w').writelines(f'{seed}-{i}\n' for i in range(len(rows)))
		    os.rename(tx, commit)
		    for i, row in enumerate(rows):
		        assert open(f'mnt/docs/{seed}-{i}', 'rb').read() == row.tobytes(), (seed, i)
	P
	python3 anyhow.py
}

@test "an array with holes by cp --sparse, by open_memmap of NumPy, by rsync: the rows it has" {
	python3 - <<-'P'
		import numpy as np
		a = np.lib.format.open_memmap('holes.npy', 'w+', '<f4', (200, 100))
		a[150] = 7
		a.flush()
	P
	commit_and_compare() {
		mv $tx/b $commit/
		python3 - <<-'P'
			import numpy as np
			assert np.fromfile('mnt/docs/150', '<f4').tolist() == [7] * 100
			assert np.fromfile('mnt/docs/149', '<f4').tolist() == [0] * 100
			import os
			assert len(os.listdir('mnt/docs')) == 202
			for i in range(200): os.unlink(f'mnt/docs/{i}')
		P
	}
	mkdir $tx/b
	cp --sparse=always holes.npy $tx/b/.vecfs/vectors.npy
	commit_and_compare
	mkdir $tx/b
	python3 - $tx/b/.vecfs/vectors.npy <<-'P'
		import sys
		import numpy as np
		a = np.lib.format.open_memmap(sys.argv[1], 'w+', '<f4', (200, 100))
		a[150] = 6
		a.flush()
		del a
		a = np.load(sys.argv[1], mmap_mode='r+')
		assert a[150, 99] == 6 and a[149, 0] == 0
		a[150] = 7
		del a
	P
	commit_and_compare
	command -v rsync || return 0
	for options in '' --inplace --whole-file '--sparse --inplace'; do
		mkdir $tx/b
		printf '%d\n' {0..199} >ids
		rsync -a $options holes.npy $tx/b/.vecfs/vectors.npy
		rsync -a $options ids $tx/b/.vecfs/ids
		[ "$(ls -A $tx/b/.vecfs | tr '\n' ' ')" = "ids vectors.npy " ]
		rsync -a $options holes.npy $tx/b/.vecfs/vectors.npy
		commit_and_compare
	done
}

@test "an array that lacks something is refused: at close by who only wrote, at the commit by who works on it" {
	mkdir $tx/b
	python3 - $tx/b/.vecfs/vectors.npy <<-'P'
		import os, sys
		import numpy as np
		np.save('a.npy', np.ones((3, 100), '<f4'))
		want = open('a.npy', 'rb').read()
		fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
		os.pwrite(fd, want[600:900], 600)
		os.pwrite(fd, want[:500], 0)
		try: os.close(fd)
		except OSError as e: assert e.errno == 22
		else: assert False
	P
	refused "Operation canceled" mv $tx/b $commit/
	tail -n 1 mnt/.vecfs/log | grep 'vectors.npy: got 772 bytes of rows, want 1200'
	rm $tx/b/.vecfs/vectors.npy
	python3 - $tx/b/.vecfs/vectors.npy <<-'P'
		import sys
		want = open('a.npy', 'rb').read()
		with open(sys.argv[1], 'w+b') as f: f.write(want[:128]) # as open_memmap does
		assert open(sys.argv[1], 'rb').read() == want[:128]
	P
	refused "Operation canceled" mv $tx/b $commit/
	tail -n 1 mnt/.vecfs/log | grep 'vectors.npy: got 0 bytes of rows, want 1200'
	python3 - $tx/b/.vecfs/vectors.npy <<-'P'
		import sys
		want = open('a.npy', 'rb').read()
		with open(sys.argv[1], 'r+b') as f:
		    f.seek(128)
		    f.write(want[128:])
	P
	cmp a.npy $tx/b/.vecfs/vectors.npy
	mv $tx/b $commit/
	[ "$(ids)" = "0 1 2 apple pear " ]
}

@test "unsigned 16-bit integers are no bf16 unless the schema says so" {
	python3 -c '
import numpy as np
np.save("u2.npy", np.arange(8, dtype="<u2").reshape(2, 4))
np.save("v2.npy", np.arange(8, dtype="<u2").reshape(2, 4).view("V2"))'
	mkdir mnt/fresh mnt/fresh/.vecfs/tx/b
	refused "Invalid argument" cp u2.npy mnt/fresh/.vecfs/tx/b/.vecfs/vectors.npy
	tail -n 1 mnt/.vecfs/log | grep 'unsigned 16-bit integers.*write dtype=bf16 to schema'
	rm -r mnt/fresh/.vecfs/tx/b
	echo dtype=bf16 >mnt/fresh/.vecfs/schema
	mkdir mnt/fresh/.vecfs/tx/b
	cp u2.npy mnt/fresh/.vecfs/tx/b/.vecfs/vectors.npy
	mv mnt/fresh/.vecfs/tx/b mnt/fresh/.vecfs/commit/
	mkdir mnt/marked mnt/marked/.vecfs/tx/b
	cp v2.npy mnt/marked/.vecfs/tx/b/.vecfs/vectors.npy
	mv mnt/marked/.vecfs/tx/b mnt/marked/.vecfs/commit/
	for c in fresh marked; do
		[ "$(tr '\n' ' ' <mnt/$c/.vecfs/schema)" = "dim=4 dtype=bf16 metric=l2 " ]
	done
	cmp mnt/fresh/1 mnt/marked/1
}

@test "a collection without vectors and without a schema takes dim and dtype of its first upload" {
	python3 -c '
import numpy as np
for dtype in "f4", "f2", "i1", "u1": np.save(dtype + ".npy", np.ones((3, 8), dtype))
np.ones((20000, 100), "i1").tofile("large.raw")
np.save("large.npy", np.ones((20000, 100), "i1"))'
	while read -r file schema; do
		mkdir mnt/$file mnt/$file/.vecfs/tx/b
		cp $file.npy mnt/$file/.vecfs/tx/b/.vecfs/vectors.npy
		mv mnt/$file/.vecfs/tx/b mnt/$file/.vecfs/commit/
		[ "$(tr '\n' ' ' <mnt/$file/.vecfs/schema)" = "$schema metric=l2 " ]
	done <<-'S'
		f4 dim=8 dtype=f32
		f2 dim=8 dtype=f16
		i1 dim=8 dtype=i8
		u1 dim=8 dtype=u8
		large dim=100 dtype=i8
	S
	mkdir mnt/told mnt/told/.vecfs/tx/b
	rmdir mnt/told/.vecfs/tx/b
	echo dtype=f32 >mnt/told/.vecfs/schema # what it would be, but now somebody has said so
	mkdir mnt/told/.vecfs/tx/b
	refused "Invalid argument" cp i1.npy mnt/told/.vecfs/tx/b/.vecfs/vectors.npy
	rm -r mnt/told/.vecfs/tx/b
	restart
	mkdir mnt/told/.vecfs/tx/b
	refused "Invalid argument" cp i1.npy mnt/told/.vecfs/tx/b/.vecfs/vectors.npy
	mkdir mnt/i1/.vecfs/tx/b mnt/late mnt/late/.vecfs/tx/b
	refused "Invalid argument" cp f4.npy mnt/i1/.vecfs/tx/b/.vecfs/vectors.npy
	cp i1.npy mnt/late/.vecfs/tx/b/.vecfs/vectors.npy
	cp 1 mnt/late/first # which has made it f32 meanwhile
	refused "Operation canceled" mv mnt/late/.vecfs/tx/b mnt/late/.vecfs/commit/
	[ "$(ls mnt/late)" = first ]
	cmp <(tail -c +129 mnt/large/.vecfs/vectors.npy) large.raw
}

# result_of FD: what it says, once it says something.
result_of() {
	local text='' n
	for ((n = 0; n < 1000; n++)); do
		text=$(python3 -c 'import os, sys; print(os.pread(int(sys.argv[1]), 999, 0).decode(), end="")' "$1")
		[ -n "$text" ] && break
		sleep 0.01
	done
	tr '\n' ' ' <<<"$text"
}

@test "who does not wait for a commit is told by its result, and nobody else waits either" {
	local rename='import errno, os, sys
try:
    os.rename(*sys.argv[1:])
except OSError as e:
    sys.exit(0 if e.errno == errno.EINPROGRESS else 2)
sys.exit(1)'
	mkdir $tx/b
	cp 2 $tx/b/apple
	cp 3 4 5 $tx/b/
	exec 7<>$tx/b/.vecfs/result
	echo wait=no >&7
	echo replace=no >&7
	python3 -c "$rename" $tx/b $commit/b
	[[ $(result_of 7) = "refused='apple' is there already"* ]]
	cmp mnt/docs/apple 1
	[ -d $tx/b ]
	echo replace=yes >&7
	python3 -c "$rename" $tx/b $commit/b
	[[ $(result_of 7) = "added=3 replaced=1 deleted=0 "* ]]
	cmp mnt/docs/apple 2
	[ ! -e $tx/b ]
	exec 7<&-

	# Who is killed meanwhile leaves nothing behind, whatever comes of it.
	mkdir $tx/c
	cp 2 $tx/c/apple
	exec 7<>$tx/c/.vecfs/result
	printf 'wait=no\n' >&7
	printf 'replace=no\n' >&7
	printf 'keep=no\n' >&7
	python3 -c "$rename" $tx/c $commit/c
	exec 7<&-
	for ((n = 0; n < 1000; n++)); do
		[ -e $tx/c ] || break
		sleep 0.01
	done
	[ ! -e $tx/c ]
}

@test "a commit, and a snapshot, keep no other request waiting, however long the disk takes" {
	[ $slow = 1 ] || skip "nothing can be preloaded before a sanitizer"
	stop
	cc -shared -fPIC -o slowsync.so "$tools/slowsync.c" -ldl
	daemon_env=(LD_PRELOAD="$here/slowsync.so" SLOWSYNC_WHILE="$here/slow")
	start commit=60000
	[ "$VECFS_TRANSPORT" = classic ] || grep -q '+replies, io_uring)$' "$log" || skip "this libfuse answers inline"
	mkdir $tx/b mnt/others
	cp 3 $tx/b/plum
	touch slow
	python3 - <<-'P'
		import os, threading, time
		docs, vector = 'mnt/docs/.vecfs/', open('4', 'rb').read()
		def others(cpu):
		    """The longest of the requests of one who goes on while nothing of this process is waited for."""
		    longest = number = 0
		    os.sched_setaffinity(0, {cpu})
		    while waiting.is_alive():
		        begin = time.monotonic()
		        with open('mnt/others/%d.%d' % (cpu, number), 'wb', buffering=0) as f:
		            f.write(vector)
		        assert open('mnt/docs/pear', 'rb').read() == open('2', 'rb').read()
		        longest = max(longest, time.monotonic() - begin)
		        number += 1
		        time.sleep(.001)
		    return longest
		for cpu in sorted(os.sched_getaffinity(0)):
		    for what in 'commit', 'snapshot':
		        if what == 'commit' and not os.path.exists(docs + 'tx/b'):
		            os.mkdir(docs + 'tx/b')
		            open(docs + 'tx/b/fig', 'wb').write(vector)
		        def wait():
		            os.sched_setaffinity(0, {cpu})
		            if what == 'commit':
		                os.rename(docs + 'tx/b', docs + 'commit/b')
		            else:
		                os.mkdir(docs + 'snap/s%d' % cpu)
		        begin = time.monotonic()
		        waiting = threading.Thread(target=wait)
		        waiting.start()
		        longest = others(cpu)
		        waiting.join()
		        took = time.monotonic() - begin
		        print(cpu, what, took, longest)
		        assert took > .9 and longest < .5, (cpu, what, took, longest)
	P
	rm slow
	cmp 3 mnt/docs/plum
	cmp 4 mnt/docs/fig
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
