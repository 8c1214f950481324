#!/usr/bin/env bats
# Writing vectors: creation, replacement, modification, refusals.
# sanitize: yes

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	vec 1 768 >old
	vec 2 768 >new
}

# A file whose dim is fixed, with one vector in it.
have_apple() { cp old mnt/docs/apple; }

# gone ID: no trace of it anywhere.
gone() {
	[ ! -e "mnt/docs/$1" ]
	ls -A mnt/docs >listed
	no grep -qxF -- "$1" listed
	no grep -qxF -- "$1" mnt/docs/.vecfs/ids
}

@test "cp puts a vector" {
	cp old mnt/docs/apple
	cmp old mnt/docs/apple
	[ "$(stat -c '%s %F' mnt/docs/apple)" = "3072 regular file" ]
	[ "$(stats docs vectors)" = 1 ]
}

@test "cat > puts a vector" {
	cat old >mnt/docs/apple
	cmp old mnt/docs/apple
}

@test "dd puts a vector, in one block or in many" {
	dd if=old of=mnt/docs/one bs=3072 status=none
	dd if=old of=mnt/docs/many bs=100 status=none
	cmp old mnt/docs/one
	cmp old mnt/docs/many
}

@test "tee, install, and a shell's >> put vectors" {
	tee mnt/docs/a mnt/docs/b <old >/dev/null
	install -m 640 old mnt/docs/c
	cat old >>mnt/docs/d
	for id in a b c d; do cmp old mnt/docs/$id; done
	[ "$(stat -c %a mnt/docs/c)" = 640 ]
}

@test "several commands that share one descriptor put one vector" {
	(head -c 1000 old; tail -c +1001 old) >mnt/docs/apple
	cmp old mnt/docs/apple
	{ head -c 1000 new; tail -c +1001 new; } >mnt/docs/apple
	cmp new mnt/docs/apple
}

@test "a vector appears when it is complete: until then nobody sees it" {
	have_apple
	python3 - <<-'P'
		import os
		new = open('new', 'rb').read()
		f = os.open('mnt/docs/pear', os.O_WRONLY | os.O_CREAT, 0o644)
		def seen(): return os.path.exists('mnt/docs/pear') or 'pear' in os.listdir('mnt/docs')
		assert not seen()
		os.write(f, new[:1000])
		assert not seen() and os.fstat(f).st_size == 1000
		assert b'pear' not in open('mnt/docs/.vecfs/ids', 'rb').read()
		os.write(f, new[1000:])
		os.close(f)
		assert seen() and open('mnt/docs/pear', 'rb').read() == new
		assert open('mnt/docs/.vecfs/ids', 'rb').read() == b'apple\npear\n'
	P
}

@test "a whole overwrite replaces the vector; the inode number stays" {
	have_apple
	ino=$(stat -c %i mnt/docs/apple)
	cp new mnt/docs/apple
	cmp new mnt/docs/apple
	dd if=old of=mnt/docs/apple bs=3072 conv=notrunc status=none
	cmp old mnt/docs/apple
	[ "$(stat -c %i mnt/docs/apple)" = "$ino" ]
	[ "$(stats docs vectors)" = 1 ]
}

@test "one open-write-close in pieces: readers see the old vector or the new, never a mix" {
	have_apple
	python3 - <<-'P'
		import os
		old, new = open('old', 'rb').read(), open('new', 'rb').read()
		def read(): return open('mnt/docs/apple', 'rb').read()
		for flags in os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC | os.O_CREAT:
		    f = os.open('mnt/docs/apple', flags)
		    for off in range(0, 3000, 500):
		        os.write(f, new[off:off + 500])
		        assert read() == old, (flags, off)
		    os.write(f, new[3000:])
		    os.close(f)
		    assert read() == new
		    old, new = new, old
	P
}

@test "a partial write at an offset (dd conv=notrunc seek=) modifies the vector" {
	have_apple
	head -c 512 new | dd of=mnt/docs/apple bs=512 seek=2 conv=notrunc status=none
	(head -c 1024 old; head -c 512 new; tail -c +1537 old) >want
	cmp want mnt/docs/apple
	printf 'ABCD' | dd of=mnt/docs/apple bs=1 seek=3068 conv=notrunc status=none # the last value
	(head -c 3068 want; printf ABCD) | cmp - mnt/docs/apple
	printf 'ABCD' | dd of=mnt/docs/apple bs=4 conv=notrunc status=none # the first
	(printf ABCD; head -c 3068 want | tail -c +5; printf ABCD) | cmp - mnt/docs/apple
	restart
	(printf ABCD; head -c 3068 want | tail -c +5; printf ABCD) | cmp - mnt/docs/apple
}

@test "a writer reads back what it has written, also before it is complete" {
	have_apple
	python3 - <<-'P'
		import os
		old, new = open('old', 'rb').read(), open('new', 'rb').read()
		f = os.open('mnt/docs/pear', os.O_RDWR | os.O_CREAT)
		os.write(f, new[:1000])
		assert os.pread(f, 5000, 0) == new[:1000]
		os.pwrite(f, new[1000:], 1000)
		assert os.pread(f, 5000, 0) == new
		os.close(f)
		f = os.open('mnt/docs/apple', os.O_RDWR)
		os.pwrite(f, new[:1000], 0)
		assert os.pread(f, 5000, 0) == new[:1000] + old[1000:]
		os.pwrite(f, new[2000:2100], 2000)
		assert os.pread(f, 5000, 0) == new[:1000] + old[1000:2000] + new[2000:2100] + old[2100:]
		os.close(f)
		assert open('mnt/docs/apple', 'rb').read() == new[:1000] + old[1000:2000] + new[2000:2100] + old[2100:]
	P
}

@test "O_TRUNC starts a replacement: until it is complete readers keep the old vector" {
	have_apple
	exec 8<mnt/docs/apple # opened before
	python3 - <<-'P'
		import os
		old, new = open('old', 'rb').read(), open('new', 'rb').read()
		f = os.open('mnt/docs/apple', os.O_WRONLY | os.O_TRUNC)
		def is_old(): return open('mnt/docs/apple', 'rb').read() == old and os.stat('mnt/docs/apple').st_size == 3072
		assert is_old() and os.fstat(8).st_size == 3072 and os.pread(8, 4000, 0) == old
		os.write(f, new[:2000])
		assert is_old() and os.pread(8, 4000, 0) == old
		os.write(f, new[2000:])
		os.close(f)
		assert open('mnt/docs/apple', 'rb').read() == new
		assert os.pread(8, 4000, 0) == new
	P
	exec 8<&-
}

@test "a replacement that is not completed: EINVAL from close, and the old vector stays" {
	have_apple
	head -c 100 new >short
	refused "Invalid argument" cp short mnt/docs/apple
	cmp old mnt/docs/apple
	logged "docs/apple: refused: got 100 bytes, want 3072 (dim=768 dtype=f32)"
	refused "Invalid argument" dd if=short of=mnt/docs/apple status=none
	cmp old mnt/docs/apple
	[ "$(stat -c %s mnt/docs/apple)" = 3072 ]
}

@test "truncate to 0 starts a replacement, by descriptor and by path; other sizes are refused" {
	have_apple
	python3 - <<-'P'
		import errno, os
		old, new = open('old', 'rb').read(), open('new', 'rb').read()
		def read(): return open('mnt/docs/apple', 'rb').read()
		f = os.open('mnt/docs/apple', os.O_RDWR)
		os.ftruncate(f, 0)
		assert read() == old
		os.write(f, new[:1000]); os.write(f, new[1000:])
		assert read() == old
		os.close(f)
		assert read() == new
		os.truncate('mnt/docs/apple', 0)
		assert read() == new
		f = os.open('mnt/docs/apple', os.O_RDWR)
		os.write(f, old[:3000])
		assert read() == new
		os.write(f, old[3000:])
		os.close(f)
		assert read() == old
		os.truncate('mnt/docs/apple', 3072)
		for size, want in ((100, errno.EINVAL), (3071, errno.EINVAL), (3073, errno.EFBIG)):
		    try:
		        os.truncate('mnt/docs/apple', size)
		        assert False, size
		    except OSError as e:
		        assert e.errno == want, (size, e)
		assert read() == old and os.stat('mnt/docs/apple').st_size == 3072
	P
	refused "Invalid argument" truncate -s 0 mnt/docs/apple # closes what it has not filled
	cmp old mnt/docs/apple
}

@test "O_EXCL: an id is created once, also while its creator is still writing" {
	have_apple
	python3 - <<-'P'
		import os
		new = open('new', 'rb').read()
		flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
		def refused(id):
		    try:
		        os.close(os.open('mnt/docs/' + id, flags))
		        return False
		    except FileExistsError:
		        return True
		assert refused('apple')
		f = os.open('mnt/docs/pear', flags)
		os.write(f, new[:100])
		assert refused('pear')
		os.write(f, new[100:])
		os.close(f)
		assert refused('pear')
		f = os.open('mnt/docs/plum', flags)
		try:
		    os.close(f) # nothing was written: it never was
		    assert False
		except OSError:
		    pass
		f = os.open('mnt/docs/plum', flags)
		os.write(f, new)
		os.close(f)
	P
	set -o noclobber
	no eval 'cat new 2>/dev/null >mnt/docs/apple'
	cmp old mnt/docs/apple
}

@test "touch of a new id is refused: a vector file always has its full size" {
	have_apple
	refused "Invalid argument" touch mnt/docs/pear
	gone pear
	logged "docs/pear: refused: got 0 bytes, want 3072 (dim=768 dtype=f32)"
	touch -d '2001-02-03 04:05:06.789' mnt/docs/apple # of one that exists it is what it always is
	[ "$(stat -c %y mnt/docs/apple | cut -c 1-23)" = "2001-02-03 04:05:06.789" ]
	cmp old mnt/docs/apple
}

@test "write past dim x width: EFBIG from that write, the stored vector is untouched" {
	have_apple
	python3 - <<-'P'
		import errno, os
		old, new = open('old', 'rb').read(), open('new', 'rb').read()
		def too_big(f, data, off):
		    try:
		        os.pwrite(f, data, off)
		        assert False
		    except OSError as e:
		        assert e.errno == errno.EFBIG, e
		    try:
		        os.close(f)
		    except OSError as e:
		        assert e.errno == errno.EFBIG, e
		    assert open('mnt/docs/apple', 'rb').read() == old
		for data, off in ((new + b'x', 0), (b'abcd', 3070), (b'x', 3072), (b'x', 10 ** 9), (new * 2000, 0)):
		    too_big(os.open('mnt/docs/apple', os.O_RDWR), data, off)
		    too_big(os.open('mnt/docs/apple', os.O_WRONLY | os.O_TRUNC), data, off)
		    too_big(os.open('mnt/docs/pear', os.O_WRONLY | os.O_CREAT), data, off)
		    assert not os.path.exists('mnt/docs/pear')
		f = os.open('mnt/docs/apple', os.O_WRONLY | os.O_APPEND)
		too_big(f, b'abcd', 0)
	P
	logged "docs/apple: refused: write past the end: got 3073 bytes, want 3072 (dim=768 dtype=f32)"
	logged "docs/pear: refused: write past the end: got 3074 bytes, want 3072 (dim=768 dtype=f32)"
	(cat new; echo x) >long
	refused "File too large" cp long mnt/docs/pear
	refused "File too large" dd if=long of=mnt/docs/apple bs=512 conv=notrunc status=none
	gone pear
	[ "$(stat -c %s mnt/docs/apple)" = 3072 ]
}

@test "close of an incomplete vector: EINVAL from close, and the new id never appears" {
	have_apple
	head -c 100 new >short
	refused "Invalid argument" cp short mnt/docs/pear
	gone pear
	logged "docs/pear: refused: got 100 bytes, want 3072 (dim=768 dtype=f32)"
	refused "Invalid argument" dd if=short of=mnt/docs/pear status=none
	gone pear
	[ "$(stats docs vectors)" = 1 ]
	cp new mnt/docs/pear # and the name is free
	cmp new mnt/docs/pear
	restart
	[ "$(ls mnt/docs | tr '\n' ' ')" = "apple pear " ]
}

@test "after a refusal the same descriptor can truncate and write a whole vector" {
	have_apple
	python3 - <<-'P'
		import os
		new = open('new', 'rb').read()
		f = os.open('mnt/docs/pear', os.O_WRONLY | os.O_CREAT)
		try:
		    os.write(f, new * 2)
		    assert False
		except OSError:
		    pass
		os.ftruncate(f, 0)
		os.pwrite(f, new, 0)
		os.close(f)
		assert open('mnt/docs/pear', 'rb').read() == new
	P
}

@test "a writer that is killed in the middle leaves no trace" {
	have_apple
	cat >half.py <<-'P'
		import os, signal
		new = open('new', 'rb').read()
		for name, flags in ('pear', os.O_CREAT), ('apple', os.O_TRUNC):
		    os.write(os.open('mnt/docs/' + name, os.O_WRONLY | flags), new[:1500])
		os.kill(os.getpid(), signal.SIGKILL)
	P
	run python3 half.py
	[ "$status" = 137 ]
	logged "docs/pear: refused: got 1500 bytes, want 3072 (dim=768 dtype=f32)"
	gone pear
	cmp old mnt/docs/apple
}

@test "two writers of one id: the vector is wholly one or the other, whatever order they write in" {
	have_apple
	python3 - <<-'P'
		import os
		a, b = open('old', 'rb').read(), open('new', 'rb').read()
		for name in 'apple', 'pear':
		    for first in 0, 1:
		        fds = [os.open('mnt/docs/' + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for _ in (a, b)]
		        for off in range(0, 3072, 1024):
		            for fd, data in zip(fds, (a, b)):
		                os.write(fd, data[off:off + 1024])
		        for which in first, 1 - first:
		            os.close(fds[which])
		            got = open('mnt/docs/' + name, 'rb').read()
		            assert got == (a, b)[which], (name, first, which, len(got), got == (a, b)[1 - which])
	P
	[ "$(ls mnt/docs | tr '\n' ' ')" = "apple pear " ]
	[ "$(stats docs vectors)" = 2 ]
}

@test "holes and preallocation of a new vector read as zeros" {
	have_apple
	bytes 3072 >zeros
	cp --sparse=always zeros mnt/docs/sparse
	cmp zeros mnt/docs/sparse
	fallocate -l 3072 mnt/docs/allocated
	cmp zeros mnt/docs/allocated
	printf last | dd of=mnt/docs/seek bs=1 seek=3068 status=none
	(bytes 3068; printf last) | cmp - mnt/docs/seek
	refused "too large" fallocate -l 4000 mnt/docs/more
	gone more
}

@test "a vector of 1 MiB is written and read in pieces; a larger one is refused" {
	head -c 1048576 /dev/urandom >big
	mkdir mnt/big
	cp big mnt/big/a
	cmp big mnt/big/a
	dd if=big of=mnt/big/b bs=4096 status=none
	cmp big mnt/big/b
	mkdir mnt/bigger
	(cat big; f32 1) >bigger
	refused "File too large" cp bigger mnt/bigger/a
	[ -z "$(ls mnt/bigger)" ]
}

@test "every refused write leaves its line in the log, with what it got and what was wanted" {
	vec 1 768 >mnt/docs/apple
	head -c 100 old >short
	refused "Invalid argument" cp short mnt/docs/apple
	logged "docs/apple: refused: got 100 bytes, want 3072 (dim=768 dtype=f32)"
	grep -qxF "vecfs: docs/apple: refused: got 100 bytes, want 3072 (dim=768 dtype=f32)" "$log"
}
