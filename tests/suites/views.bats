#!/usr/bin/env bats
# A collection as one array: .vecfs/vectors.*, ids, segments.
# With --long, one reader and four writers go on for ten minutes.
# sanitize: yes

seconds=4
[ "${VECFS_LONG:-0}" = 0 ] || seconds=600 BATS_TEST_TIMEOUT=900
load helper

setup() {
	begin
	start
	mkdir mnt/docs
}

# rows N DIM: vectors v0... of DIM floats, (n, n + 1/1024, ...), in docs; ./rows.npy has them in that order.
rows() {
	python3 - "$1" "$2" <<-'P'
		import numpy as np, sys
		n, dim = int(sys.argv[1]), int(sys.argv[2])
		rows = (np.arange(n)[:, None] + np.arange(dim) / 1024).astype('<f4')
		np.save('rows.npy', rows)
		for i in range(n):
		    rows[i].tofile(f'mnt/docs/v{i}')
	P
}

size() { stat -c %s "mnt/docs/.vecfs/$1"; }

@test "vectors.npy, fvecs, fbin and f32: exact sizes, the rows in the order of ids" {
	rows 300 100
	[ "$(size vectors.f32)" = $((300 * 400)) ]
	[ "$(size vectors.fvecs)" = $((300 * 404)) ]
	[ "$(size vectors.fbin)" = $((300 * 400 + 8)) ]
	[ "$(size ids)" = "$(wc -c <mnt/docs/.vecfs/ids)" ]
	for file in vectors.npy vectors.fvecs vectors.fbin vectors.f32; do
		[ "$(size $file)" = "$(cat mnt/docs/.vecfs/$file | wc -c)" ]
	done
	python3 - <<-'P'
		import numpy as np, os, struct
		dir = 'mnt/docs/.vecfs/'
		ids = open(dir + 'ids').read().splitlines()
		want = np.load('rows.npy')[[int(id[1:]) for id in ids]]
		npy = np.load(dir + 'vectors.npy')
		assert npy.dtype == np.dtype('<f4') and npy.shape == (300, 100) and (npy == want).all()
		assert os.path.getsize(dir + 'vectors.npy') % 4 == 0
		fvecs = np.fromfile(dir + 'vectors.fvecs', '<i4').reshape(300, 101)
		assert (fvecs[:, 0] == 100).all() and (fvecs[:, 1:].copy().view('<f4') == want).all()
		fbin = open(dir + 'vectors.fbin', 'rb').read()
		assert struct.unpack('<II', fbin[:8]) == (300, 100) and fbin[8:] == want.tobytes()
		assert open(dir + 'vectors.f32', 'rb').read() == want.tobytes()
	P
}

@test "numpy.load(mmap_mode='r') maps vectors.npy" {
	rows 500 100
	python3 - <<-'P'
		import numpy as np
		ids = open('mnt/docs/.vecfs/ids').read().splitlines()
		m = np.load('mnt/docs/.vecfs/vectors.npy', mmap_mode='r')
		assert isinstance(m, np.memmap) and m.shape == (500, 100)
		want = np.load('rows.npy')
		for i in 499, 0, 250:
		    assert (m[i] == want[int(ids[i][1:])]).all()
		assert (m == want[[int(id[1:]) for id in ids]]).all()
	P
}

@test "views are seekable: any part of each format is the same as of the whole" {
	rows 100 33
	python3 - <<-'P'
		import os, random
		random.seed(4)
		for name in 'vectors.npy', 'vectors.fvecs', 'vectors.fbin', 'vectors.f32', 'ids':
		    path = 'mnt/docs/.vecfs/' + name
		    whole = open(path, 'rb').read()
		    f = os.open(path, os.O_RDONLY)
		    for _ in range(100):
		        off, size = random.randrange(len(whole) + 10), random.choice((1, 3, 100, 5000, 10 ** 6))
		        assert os.pread(f, size, off) == whole[off:off + size], (name, off, size)
		    assert os.lseek(f, 0, os.SEEK_END) == len(whole)
	P
	dd if=mnt/docs/.vecfs/vectors.npy bs=7 status=none | cmp - mnt/docs/.vecfs/vectors.npy
}

@test "the raw file's suffix is the dtype; .npy has numpy's type for it" {
	for pair in f16:f2 i8:i1 u8:u1 bf16:u2 bit:u1; do
		dtype=${pair%:*}
		mkdir mnt/$dtype
		printf 'dtype=%s\n' $dtype >mnt/$dtype/.vecfs/schema
		head -c 100 /dev/urandom >v
		cp v mnt/$dtype/a
		cp v mnt/$dtype/b
		cmp mnt/$dtype/.vecfs/vectors.$dtype <(cat v v)
		[ ! -e mnt/$dtype/.vecfs/vectors.f32 ]
		[ ! -e mnt/$dtype/.vecfs/vectors.fvecs ]
		python3 -c '
import numpy as np, sys
a = np.load(sys.argv[1])
assert a.dtype.str.endswith(sys.argv[2]) and len(a) == 2 and a.nbytes == 200, (a.dtype, a.shape)' \
			mnt/$dtype/.vecfs/vectors.npy ${pair#*:}
	done
	[ "$(stat -c %s mnt/u8/.vecfs/vectors.u8bin)" = 208 ]
	[ "$(stat -c %s mnt/u8/.vecfs/vectors.bvecs)" = 208 ]
	[ "$(stat -c %s mnt/i8/.vecfs/vectors.i8bin)" = 208 ]
}

@test "views of an empty collection: none of vectors while there is no dim, else with no rows" {
	[ "$(size ids)" = 0 ]
	[ ! -e mnt/docs/.vecfs/vectors.npy ]
	rows 1 8
	rm mnt/docs/v0 # and with it goes the dim that it had fixed
	[ "$(size ids)" = 0 ]
	[ ! -e mnt/docs/.vecfs/vectors.npy ]
	echo dim=8 >mnt/docs/.vecfs/schema
	[ "$(size vectors.f32)" = 0 ]
	python3 -c '
import numpy as np
assert np.load("mnt/docs/.vecfs/vectors.npy").shape == (0, 8)'
}

@test "what this process has changed is in the view that it opens next" {
	python3 - <<-'P'
		import numpy as np, os
		for i in range(50):
		    np.full(16, i, '<f4').tofile(f'mnt/docs/v{i}')
		    if i % 5 == 4:
		        os.unlink(f'mnt/docs/v{i - 2}')
		    ids = open('mnt/docs/.vecfs/ids').read().split()
		    rows = np.load('mnt/docs/.vecfs/vectors.npy')
		    assert f'v{i}' in ids and len(ids) == len(rows) == len(os.listdir('mnt/docs')), i
		    assert all(rows[n][0] == int(id[1:]) for n, id in enumerate(ids))
		    np.full(16, i + 0.5, '<f4').tofile(f'mnt/docs/v{i}')
		    rows = np.load('mnt/docs/.vecfs/vectors.npy')
		    assert (rows == i + 0.5).all(1).any()
		    np.full(16, i, '<f4').tofile(f'mnt/docs/v{i}')
	P
}

@test "what another process has changed is in the view that is opened afterwards" {
	rows 10 16
	for i in 1 2 3 4 5; do
		vec $i 16 >mnt/docs/new$i
		[ "$(wc -l <mnt/docs/.vecfs/ids)" = $((10 + i)) ]
		[ "$(cat mnt/docs/.vecfs/vectors.f32 | wc -c)" = $((64 * (10 + i))) ]
		grep -qx new$i mnt/docs/.vecfs/ids
	done
}

@test "an opened view and the ids opened with it stay what they were, whatever changes" {
	rows 200 100
	python3 - <<-'P'
		import numpy as np, os
		dir = 'mnt/docs/.vecfs/'
		ids, f32 = open(dir + 'ids', 'rb'), open(dir + 'vectors.f32', 'rb')
		m = np.load(dir + 'vectors.npy', mmap_mode='r')
		first = f32.read(400 * 10)
		names = ids.read(50)
		pid = os.fork()
		if pid == 0: # another process
		    for i in range(0, 200, 2):
		        np.full(100, -1, '<f4').tofile(f'mnt/docs/v{i}')
		    for i in range(1, 200, 4):
		        os.unlink(f'mnt/docs/v{i}')
		    for i in range(100):
		        np.full(100, -2, '<f4').tofile(f'mnt/docs/new{i}')
		    os._exit(0)
		assert os.waitpid(pid, 0)[1] == 0
		names = (names + ids.read()).decode().split()
		rows = np.frombuffer(first + f32.read(), '<f4').reshape(-1, 100)
		want = np.load('rows.npy')[[int(n[1:]) for n in names]]
		assert rows.shape == (200, 100) and (rows == want).all() and (m == want).all()
		del m
		ids.close(), f32.close()
	P
	[ "$(wc -l <mnt/docs/.vecfs/ids)" = 250 ]
}

@test "what a process reads between ids and vectors does not part them, and the next pair is of another moment" {
	vec 1 4 >mnt/docs/apple
	python3 - <<-'P'
		import subprocess
		d = 'mnt/docs'
		def read(name):
		    with open(f'{d}/{name}', 'rb') as f: return f.read()
		def other_writes(id):
		    subprocess.run(['cp', f'{d}/apple', f'{d}/{id}'], check=True)
		for number, between in enumerate(['.vecfs/stats', '.vecfs/schema', 'apple']):
		    ids = read('.vecfs/ids').split()
		    read(between)
		    other_writes(f'a{number}')
		    assert len(read('.vecfs/vectors.f32')) == 16 * len(ids), between
		    other_writes(f'b{number}')
		    assert len(read('.vecfs/ids').split()) == len(ids) + 2, between
		    read('.vecfs/vectors.f32')
	P
}

@test "clients of another pid namespace: each open is of its own moment, never an old or a foreign one" {
	need_root
	stop
	start_in_pid_namespace
	for n in 1 2 3 4 5; do vec $n 4 >mnt/docs/v$n; done
	cat >pair.py <<-'P'
		import subprocess, sys
		ids = open('mnt/docs/.vecfs/ids')
		assert len(ids.read().splitlines()) == 5
		for n in range(6, 10):
		    subprocess.run(['sh', '-c', f'head -c 16 /dev/zero >mnt/docs/v{n}'], check=True)
		vectors = open('mnt/docs/.vecfs/vectors.f32', 'rb') # the process has the other half open, and nobody knows
		assert len(vectors.read()) == 9 * 16
		ids.seek(0)
		assert len(ids.read().splitlines()) == 5 # what is open stays what it was
		again = subprocess.run(['cat', 'mnt/docs/.vecfs/vectors.f32'], stdout=subprocess.PIPE, check=True)
		assert len(again.stdout) == 9 * 16
	P
	python3 pair.py
	vec 10 4 >mnt/docs/v10
	[ "$(wc -l <mnt/docs/.vecfs/ids)" = 10 ]
	[ "$(size vectors.f32)" = 160 ]
	python3 - <<-'P'
		import os
		number = lambda name: os.stat('mnt/docs/.vecfs/' + name).st_ino >> 4
		before = number('ids')
		assert before == number('vectors.npy') == number('vectors.f32') # nobody writes: it is one moment
		os.unlink('mnt/docs/v1')
		assert before != number('ids') == number('vectors.npy')
	P
}

@test "clients of another pid namespace: opening is never refused, and an export is of one moment, while others write" {
	need_root
	stop
	start_in_pid_namespace
	cat >write.py <<-'P'
		import os, time
		n = 0
		while True:
		    with open(f'mnt/docs/v{n}', 'wb') as f: f.write(bytes(16))
		    if n == 0: print('going', flush=True)
		    n += 1
		    if n % 50 == 0: time.sleep(0.002)
	P
	background python3 write.py >said
	eventually grep -q going said
	for n in $(seq $((VECFS_LONG ? 40 : 10))); do
		cat mnt/docs/.vecfs/ids mnt/docs/.vecfs/vectors.npy >read
		vecfs export -q --ids ids.txt mnt/docs all.npy
		[ "$(python3 -c 'import numpy as np; print(len(np.load("all.npy")))')" = "$(wc -l <ids.txt)" ]
	done
}

@test "a process that has got the number of one that ended is not taken for it" {
	need_root
	stop
	cat >inside <<-'S'
		set -e
		"$VECFS_BIN" mount -f -o "$transport" store mnt 2>>"$1" &
		until grep -q serving "$1"; do sleep 0.05; done
		for n in 1 2 3 4 5; do head -c 16 /dev/zero >mnt/docs/v$n; done
		for round in 1 2 3 4 5 6 7 8 9; do
			python3 -c 'import os; open("mnt/docs/.vecfs/ids").read(); print(os.getpid())' >first
			head -c 16 /dev/zero >mnt/docs/w$round
			echo $(($(cat first) - 1)) >/proc/sys/kernel/ns_last_pid
			python3 -c 'import os; print(os.getpid(), len(open("mnt/docs/.vecfs/vectors.f32", "rb").read()))' >second
			echo "$(cat first) $((80 + round * 16)) $(cat second)"
		done >found
		"$VECFS_BIN" umount mnt
	S
	log=$(mktemp "$here/daemon.XXXXXX.log")
	transport=$transport timeout 50 unshare --fork --pid --mount-proc "$tools/namespace.sh" "$here" sh inside "$log"
	awk '$1 == $3 { same++ } $2 != $4 { print; wrong = 1 } END { print same + 0, "had the same number"; exit wrong || !same }' found
}

@test "segments/N.npy: numpy loads and maps them, together they are the collection" {
	rows 300 100
	python3 - <<-'P'
		import numpy as np, os
		dir = 'mnt/docs/.vecfs/segments/'
		names = sorted(os.listdir(dir), key=lambda n: int(n.split('.')[0]))
		assert names == ['0.npy']
		want = np.load('mnt/docs/.vecfs/vectors.npy')
		for mode in None, 'r':
		    parts = [np.load(dir + n, mmap_mode=mode) for n in names]
		    assert (np.concatenate(parts) == want).all(), mode
		np.full(100, 7, '<f4').tofile('mnt/docs/v5')
		assert (np.load(dir + '0.npy') == np.load('mnt/docs/.vecfs/vectors.npy')).all()
	P
}

@test "segments: a mapping stays coherent with later writes through the mount" {
	rows 10 100
	python3 - <<-'P'
		import numpy as np, os
		path = 'mnt/docs/.vecfs/segments/0.npy'
		m = np.load(path, mmap_mode='r')
		for value in 7, 8, 9:
		    np.full(100, value, '<f4').tofile('mnt/docs/v5')
		    os.stat(path) # brings the file up to date
		    assert (m == value).all(1).sum() == 1, value
	P
}

@test "segments of a clean store are .npy files that numpy opens without any daemon" {
	rows 300 100
	ids=$(cat mnt/docs/.vecfs/ids)
	stop
	python3 - "$store/collections/1/0.npy" <<-P
		import numpy as np, sys
		ids = '''$ids'''.split()
		assert (np.load(sys.argv[1]) == np.load('rows.npy')[[int(id[1:]) for id in ids]]).all()
	P
}

@test "a collection of several segments: views cross them seamlessly" {
	mkdir mnt/large
	python3 - <<-'P'
		import numpy as np
		a = np.zeros((300, 1 << 18), '<f4')
		a[:, 0] = a[:, -1] = np.arange(300)
		np.save('large.npy', a)
	P
	vecfs import -q mnt/large large.npy
	[ "$(ls mnt/large/.vecfs/segments | wc -l)" -ge 2 ]
	cmp mnt/large/.vecfs/vectors.f32 <(tail -c $((300 << 20)) large.npy)
	python3 - <<-'P'
		import numpy as np
		m = np.load('mnt/large/.vecfs/vectors.npy', mmap_mode='r')
		ids = open('mnt/large/.vecfs/ids').read().split()
		assert m.shape == (300, 1 << 18) and (m[:, -1] == [int(i) for i in ids]).all()
	P
}

@test "row n is line n while others create, overwrite, delete and rename" {
	python3 "$tools/viewload.py" mnt/docs --seconds $((4 * long)) --no-batches
}

@test "row n is line n while others commit batches, too" {
	python3 "$tools/viewload.py" mnt/docs --seconds $((seconds * long))
}

@test "on a mount that is ro, views are read as before" {
	rows 300 100
	restart ro
	python3 - <<-'P'
		import numpy as np
		ids = open('mnt/docs/.vecfs/ids').read().split()
		want = np.load('rows.npy')[[int(id[1:]) for id in ids]]
		for mode in None, 'r':
		    assert (np.load('mnt/docs/.vecfs/vectors.npy', mmap_mode=mode) == want).all()
		    assert (np.load('mnt/docs/.vecfs/segments/0.npy', mmap_mode=mode) == want).all()
	P
}

# The kernel holds a lock of the process meanwhile, which whoever reads of it in /proc waits for.
@test "a process that becomes another program while it has views, codes and an upload open hangs nobody" {
	rows 3 100
	mkdir mnt/docs/.vecfs/views/sq8 mnt/docs/.vecfs/tx/b
	eventually grep -qx ready mnt/docs/.vecfs/views/sq8/.vecfs/state
	timeout 30 python3 - <<-'P'
		import os
		control = 'mnt/docs/.vecfs/'
		files = [os.open(control + name, os.O_RDONLY | os.O_CLOEXEC)
		         for name in ('ids', 'vectors.npy', 'views/sq8/.vecfs/codes.npy')]
		files.append(os.open(control + 'tx/b/.vecfs/vectors.npy', os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC))
		files.append(os.open(control + 'tx/b/.vecfs/delete', os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC))
		files.append(os.open('mnt/docs/v0', os.O_WRONLY | os.O_CLOEXEC))
		for _ in range(20):
		    child = os.fork()
		    if child == 0:
		        os.execv('/bin/true', ['true'])
		    assert os.waitpid(child, 0)[1] == 0
		os.execv('/bin/true', ['true'])
	P
	rmdir mnt/docs/.vecfs/tx/b
}
