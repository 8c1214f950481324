#!/usr/bin/env bats
# Reading vectors: whole and in part, mapped, by any tool and language.
# sanitize: address

BATS_TEST_TIMEOUT=180 # the first compilation in Go takes its time
load helper

setup() {
	begin
	start
	mkdir mnt/docs
	vec 1 768 >old
	vec 2 768 >new
	cp old mnt/docs/apple
}

@test "cat, head, tail, cmp and wc read a vector" {
	cat mnt/docs/apple | cmp - old
	head -c 100 mnt/docs/apple | cmp - <(head -c 100 old)
	tail -c 100 mnt/docs/apple | cmp - <(tail -c 100 old)
	cmp mnt/docs/apple old
	[ "$(wc -c <mnt/docs/apple)" = 3072 ]
}

@test "od shows the values" {
	f32 0.5 -2.25 1e10 >mnt_vector
	mkdir mnt/three
	cp mnt_vector mnt/three/a
	[ "$(od -An -t f4 mnt/three/a | tr -s ' ')" = " 0.5 -2.25 1e+10" ]
}

@test "dd reads any part, and pread at any offset, also across the end" {
	dd if=mnt/docs/apple bs=512 skip=2 count=1 status=none | cmp - <(tail -c +1025 old | head -c 512)
	python3 - <<-'P'
		import os
		old = open('old', 'rb').read()
		f = os.open('mnt/docs/apple', os.O_RDONLY)
		for off in 0, 1, 511, 3071, 3072, 3073, 10 ** 6:
		    for size in 0, 1, 4, 100, 3072, 10 ** 5:
		        assert os.pread(f, size, off) == old[off:off + size], (off, size)
		assert os.lseek(f, -4, os.SEEK_END) == 3068 and os.read(f, 100) == old[-4:] and os.read(f, 100) == b''
	P
}

@test "O_DIRECT, readv, sendfile and copy_file_range read a vector, too" {
	dd if=mnt/docs/apple iflag=direct bs=4096 status=none | cmp - old
	python3 - <<-'P'
		import os
		old = open('old', 'rb').read()
		f = os.open('mnt/docs/apple', os.O_RDONLY)
		a, b = bytearray(1000), bytearray(5000)
		assert os.preadv(f, [a, b], 0) == 3072 and a + b[:2072] == old
		out = os.open('sent', os.O_RDWR | os.O_CREAT)
		assert os.sendfile(out, f, 0, 5000) == 3072
		copy = os.open('mnt/docs/copied', os.O_WRONLY | os.O_CREAT)
		n = 0
		while n < 3072:
		    n += os.copy_file_range(f, copy, 3072 - n, n, n)
	P
	cmp sent old
	cmp mnt/docs/copied old
}

@test "a reader that has the vector open sees what is written later" {
	exec 8<mnt/docs/apple
	cmp /dev/fd/8 old
	cp new mnt/docs/apple
	python3 -c 'import os; assert os.pread(8, 5000, 0) == open("new", "rb").read()'
	head -c 4 old | dd of=mnt/docs/apple conv=notrunc bs=4 status=none
	python3 -c 'import os; assert os.pread(8, 4, 0) == open("old", "rb").read(4)'
	exec 8<&-
}

@test "numpy.fromfile and numpy.memmap read f32, f16, i8, u8 and bits" {
	python3 - <<-'P'
		import numpy as np, os
		for dtype, word, dim in (('<f4', 'f32', 100), ('<f2', 'f16', 100), ('i1', 'i8', 100), ('u1', 'u8', 100), ('u1', 'bit', 800)):
		    os.mkdir('mnt/' + word)
		    open(f'mnt/{word}/.vecfs/schema', 'w').write(f'dim={dim}\ndtype={word}\n')
		    want = np.arange(100).astype(dtype)
		    want.tofile(f'mnt/{word}/a')
		    assert (np.fromfile(f'mnt/{word}/a', dtype) == want).all(), word
		    m = np.memmap(f'mnt/{word}/a', dtype, 'r')
		    assert m.shape == (100,) and (m == want).all(), word
	P
}

@test "mmap, shared: numpy.memmap r follows what others write" {
	cat >follow.py <<-'P'
		import numpy as np, time
		old, new = np.fromfile('old', '<f4'), np.fromfile('new', '<f4')
		m = np.memmap('mnt/docs/apple', '<f4', 'r')
		assert (m == old).all()
		print('mapped', flush=True)
		end = time.monotonic() + 20
		while not (m == new).all():
		    assert time.monotonic() < end, 'the mapping stays old'
		    time.sleep(0.001)
	P
	background python3 follow.py >said
	follower=$!
	eventually grep -q mapped said
	cp new mnt/docs/apple
	finishes $follower
}

@test "mmap, shared and writable: numpy.memmap r+ modifies the vector" {
	python3 - <<-'P'
		import numpy as np
		want = np.fromfile('old', '<f4')
		m = np.memmap('mnt/docs/apple', '<f4', 'r+')
		for i in 0, 100, 767:
		    m[i] = want[i] = -i - 0.5
		m.flush()
		assert (np.fromfile('mnt/docs/apple', '<f4') == want).all()
		m[:] = want[:] = np.arange(768)
		m.flush()
		del m
		want.tofile('want')
		assert (np.fromfile('mnt/docs/apple', '<f4') == want).all()
	P
	restart
	cmp want mnt/docs/apple
}

@test "mmap, shared and writable: numpy.memmap w+ creates a vector" {
	mkdir mnt/fresh # has no dim yet
	python3 - <<-'P'
		import numpy as np
		for path in 'mnt/docs/pear', 'mnt/fresh/a':
		    m = np.memmap(path, '<f4', 'w+', shape=(768,))
		    assert (m == 0).all()
		    m[:] = np.fromfile('new', '<f4')
		    m.flush()
		    del m
		    assert (np.fromfile(path, '<f4') == np.fromfile('new', '<f4')).all(), path
	P
	restart
	cmp new mnt/docs/pear
	cmp new mnt/fresh/a
}

@test "mmap, shared and writable: numpy.memmap w+ over a vector replaces it, once a page of it is used" {
	mkdir mnt/large
	python3 - <<-'P'
		import os, time
		import numpy as np
		def w(path, n): return np.memmap(path, '<f4', 'w+', shape=(n,))
		def stored(path): return np.fromfile(path, '<f4')
		for path, n in ('mnt/docs/apple', 768), ('mnt/large/a', 3000):
		    old = np.arange(n, dtype='<f4')
		    for reader in False, True: # who maps the old one sees the new
		        old.tofile(path)
		        beside = np.memmap(path, '<f4', 'r') if reader else old
		        m = w(path, n)
		        assert (m == 0).all() and (stored(path) == 0).all()
		        m[:] = 7
		        m.flush()
		        assert (stored(path) == 7).all() and (not reader or (beside == 7).all())
		        del m
		        m = w(path, n)
		        m[5] = 1 # the first that is done with it
		        del m
		        assert list(stored(path).nonzero()[0]) == [5]
		    old.tofile(path)
		    m = w(path, n)
		    m[:] = 8
		    os.fsync(os.open(path, os.O_RDWR))
		    del m
		    assert (stored(path) == 8).all()
		    m = w(path, n) # nothing is done with it
		    del m
		    open(path, 'w+b').close()
		    time.sleep(0.1)
		    assert (stored(path) == 8).all()
		    with open(path, 'w+b', buffering=0) as f: # nor is it mapped
		        f.write(bytes(4 * n))
		    assert (stored(path) == 0).all()
		    f = open(path, 'w+b', buffering=0)
		    f.write(b'1234')
		    try: f.close()
		    except OSError as e: assert e.errno == 22
		    else: raise SystemExit('a part of a vector was accepted')
	P
	crash
	start
	[ "$(cat mnt/large/a mnt/docs/apple | tr -d '\0' | wc -c)" = 0 ]
}

@test "mmap of a vector larger than a page, by two processes at once" {
	mkdir mnt/large
	vec 3 3000 >mnt/large/a
	cat >other.py <<-'P'
		import numpy as np, time
		m = np.memmap('mnt/large/a', '<f4', 'r+')
		assert m.shape == (3000,) and m[2999] == np.float32(3 + 2999 / 1024)
		print('mapped', flush=True)
		end = time.monotonic() + 20
		while m[0] != 7 or m[2999] != 8:
		    assert time.monotonic() < end
		    time.sleep(0.001)
		m[1500] = 9
		m.flush()
	P
	background python3 other.py >said
	other=$!
	eventually grep -q mapped said
	python3 - <<-'P'
		import numpy as np
		m = np.memmap('mnt/large/a', '<f4', 'r+')
		m[0], m[2999] = 7, 8
		m.flush()
	P
	finishes $other
	python3 - <<-'P'
		import numpy as np
		want = (3 + np.arange(3000) / 1024).astype('<f4')
		want[0], want[1500], want[2999] = 7, 9, 8
		assert (np.fromfile('mnt/large/a', '<f4') == want).all()
	P
}

@test "a private mapping changes nothing" {
	python3 - <<-'P'
		import numpy as np
		m = np.memmap('mnt/docs/apple', '<f4', 'c')
		m[:] = 0
		del m
	P
	cmp old mnt/docs/apple
}

@test "C, Go, Node, Perl and Python read the same values" {
	perl -e 'print pack "f<*", map { ($_ - 384) / 8 } 0 .. 767' >mnt/docs/eighths
	perl -e 'printf "%.3f\n", ($_ - 384) / 8 for 0 .. 767' >want
python3 -c '
import array, sys
a = array.array("f")
a.frombytes(open("mnt/docs/eighths", "rb").read())
for v in a: print("%.3f" % v)' >got.python
	perl "$tools/floats.pl" mnt/docs/eighths >got.perl
	cc -O1 -o floats "$tools/floats.c"
	./floats mnt/docs/eighths >got.c
	if command -v node; then node "$tools/floats.js" mnt/docs/eighths >got.node; fi
	if command -v go; then
		GO111MODULE=off go build -o floats-go "$tools/floats.go"
		./floats-go mnt/docs/eighths >got.go
	fi
	for got in got.*; do
		sed -i 's/^-0\.000$/0.000/' "$got"
		cmp want "$got"
	done
}

@test "on a mount that is ro, everything reads as before" {
	cp new mnt/docs/pear
	restart ro
	cmp old mnt/docs/apple
	cmp new mnt/docs/pear
	tail -c +1025 mnt/docs/pear | cmp - <(tail -c +1025 new)
	python3 - <<-'P'
		import numpy as np
		for name, want in ('apple', 'old'), ('pear', 'new'):
		    assert (np.memmap('mnt/docs/' + name, '<f4', 'r') == np.fromfile(want, '<f4')).all()
	P
	[ "$(ls mnt/docs | tr '\n' ' ')" = "apple pear " ]
	refused "No such file" cat mnt/docs/plum
}
