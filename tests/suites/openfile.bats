#!/usr/bin/env bats
# What an open vector is, for every mix of write, mmap, truncate, fallocate, fsync, descriptors and processes:
# fs/README.md, "Open vectors".
# sanitize: yes

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	vec 1 768 >old
	vec 2 768 >new
	cp old mnt/docs/apple
}

# model BYTES SEEDS: random mixes beside an ordinary file (tools/openmodel.c).
model() {
	cc -O1 -o model "$tools/openmodel.c"
	mkdir -p "mnt/m$1" "plain/m$1"
	head -c "$1" /dev/urandom >"mnt/m$1/base"
	[ "$VECFS_LONG" = 0 ] || set -- "$1" $(($2 * 40))
	./model "mnt/m$1" "plain/m$1" "$1" $((RANDOM * 1000)) "$2"
}

export BATS_TEST_TIMEOUT=$((VECFS_LONG ? 1800 : 60 * slow))

@test "random mixes with an open vector are what they are with an ordinary file (400 bytes)" { model 400 60; }
@test "random mixes with an open vector are what they are with an ordinary file (3,072 bytes)" { model 3072 60; }
@test "random mixes with an open vector are what they are with an ordinary file (4,096 bytes, a page)" { model 4096 60; }
@test "random mixes with an open vector are what they are with an ordinary file (12,000 bytes, three pages)" { model 12000 60; }

@test "odd open flags: each is right or refused, and leaves no name behind" {
	python3 - <<-'P'
		import errno, fcntl, os
		new = open('new', 'rb').read()
		def error(path, flags):
		    try:
		        fd = os.open(path, flags, 0o644)
		    except OSError as e:
		        return e.errno
		    try:
		        os.close(fd)
		    except OSError as e:
		        return -e.errno
		    return 0
		def is_free(id):
		    fd = os.open(f'mnt/docs/{id}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
		    os.write(fd, new)
		    os.close(fd)
		    os.unlink(f'mnt/docs/{id}')
		extra = [0, os.O_EXCL, os.O_NOCTTY, os.O_NOATIME, os.O_SYNC, os.O_DSYNC, os.O_NONBLOCK, os.O_CLOEXEC, os.O_TRUNC, os.O_APPEND, os.O_DIRECT, os.O_NOFOLLOW]
		for round in range(20):
		    for more in extra: # nothing to write with
		        e = error('mnt/docs/pear', os.O_CREAT | more)
		        assert e == errno.EINVAL, (more, e)
		        e = error('mnt/docs/pear', os.O_CREAT | 3 | more) # the kernel tells of O_RDWR
		        assert e == -errno.EINVAL, (more, e)
		    for more in extra: # nothing written
		        e = error('mnt/docs/pear', os.O_CREAT | os.O_WRONLY | more)
		        assert e == -errno.EINVAL, (more, e)
		    is_free('pear')
		assert os.listdir('mnt/docs') == ['apple']
		for access in os.O_RDONLY, os.O_WRONLY, os.O_RDWR:
		    for more in [0] + extra[2:8] + extra[9:]:
		        assert error('mnt/docs/apple', access | more) == 0, (access, more)
		assert error('mnt/docs/apple', os.O_PATH) == 0
		assert error('mnt/docs/apple', os.O_CREAT | os.O_EXCL) == errno.EEXIST
		assert error('mnt/docs/apple', os.O_DIRECTORY) == errno.ENOTDIR
		assert error('mnt/docs', os.O_TMPFILE | os.O_RDWR) in (errno.EOPNOTSUPP, errno.EISDIR)
		assert error('mnt/docs/plum', os.O_PATH | os.O_CREAT) == errno.ENOENT # O_PATH creates nothing
		assert open('mnt/docs/apple', 'rb').read() == open('old', 'rb').read()
		for more in os.O_APPEND, os.O_APPEND | os.O_TRUNC, os.O_APPEND | os.O_CREAT | os.O_TRUNC:
		    fd = os.open('mnt/docs/apple', os.O_WRONLY | more)
		    if more & os.O_TRUNC:
		        os.write(fd, new[:1000]); os.write(fd, new[1000:])
		    os.close(fd)
		assert open('mnt/docs/apple', 'rb').read() == new
	P
	for _ in 1 2 3; do refused "Invalid argument" flock mnt/docs/lock true; done
	[ "$(ls mnt/docs)" = apple ]
	cp new mnt/docs/lock
}

@test "O_RDONLY|O_CREAT by many processes at once: refused, and the mount goes on" {
	python3 - <<-'P'
		import errno, os
		for n in range(4):
		    if os.fork() == 0:
		        for i in range(500):
		            for flags in os.O_CREAT, os.O_CREAT | os.O_EXCL:
		                try: os.open(f'mnt/docs/l{i % 5}', flags); os._exit(1)
		                except OSError as e:
		                    if e.errno != errno.EINVAL: print(e); os._exit(1)
		        os._exit(0)
		assert all(os.wait()[1] == 0 for n in range(4))
		assert os.listdir('mnt/docs') == ['apple']
	P
}

@test "a successful msync is never lost: O_TRUNC, ftruncate of the whole, mmap, store, msync" {
	python3 - <<-'P'
		import mmap, os
		for size in 400, 3072, 4096, 12000:
		    os.mkdir(f'mnt/s{size}')
		    path = f'mnt/s{size}/a'
		    open(path, 'wb').write(b'\1' * size)
		    for grow in os.ftruncate, lambda fd, n: os.posix_fallocate(fd, 0, n), lambda fd, n: os.pwrite(fd, b'\0', n - 1):
		        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
		        grow(fd, size)
		        with mmap.mmap(fd, size) as m:
		            m[10:14] = b'wxyz'
		            m.flush()
		            want = b'\0' * 10 + b'wxyz' + b'\0' * (size - 14)
		            assert open(path, 'rb').read() == want
		        os.close(fd)
		        assert open(path, 'rb').read() == want
		        open(path, 'wb').write(b'\1' * size)
	P
}

@test "what was written before a store to a mapping does not come back over it" {
	python3 - <<-'P'
		import mmap, os
		fd = os.open('mnt/docs/apple', os.O_RDWR)
		for touched in False, True:
		    with mmap.mmap(fd, 3072) as m:
		        if touched: m[0]
		        os.pwrite(fd, b'A' * 200, 0)
		        assert m[:200] == b'A' * 200
		        m[100:104] = b'wxyz'
		        m.flush()
		        os.pwrite(fd, b'B' * 50, 0)
		        m[0:1] = b'C'
		        m.flush()
		        want = b'C' + b'B' * 49 + b'A' * 50 + b'wxyz' + b'A' * 96
		        assert m[:200] == os.pread(fd, 200, 0) == want
		        assert open('mnt/docs/apple', 'rb').read(200) == want
		os.close(fd)
		assert open('mnt/docs/apple', 'rb').read(200) == want
	P
}

@test "posix_fallocate never shrinks, and is never refused within the vector" {
	python3 - <<-'P'
		import errno, os
		old, new = open('old', 'rb').read(), open('new', 'rb').read()
		for path in 'mnt/docs/apple', 'mnt/docs/pear':
		    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
		    os.write(fd, new)
		    for off in 0, 1024, 2048: os.posix_fallocate(fd, off, 1024)
		    os.posix_fallocate(fd, 0, 100)
		    os.close(fd)
		    assert open(path, 'rb').read() == new, path
		fd = os.open('mnt/docs/apple', os.O_RDWR)
		os.posix_fallocate(fd, 0, 100); os.posix_fallocate(fd, 3000, 72)
		try: os.posix_fallocate(fd, 3000, 73); assert False
		except OSError as e: assert e.errno == errno.EFBIG, e
		os.close(fd)
		assert open('mnt/docs/apple', 'rb').read() == new
		fd = os.open('mnt/docs/plum', os.O_RDWR | os.O_CREAT)
		os.posix_fallocate(fd, 0, 100)
		os.write(fd, new)
		os.close(fd)
		assert open('mnt/docs/plum', 'rb').read() == new
	P
	fallocate -n -l 3072 mnt/docs/apple # keeps the size
	cmp new mnt/docs/apple
}

@test "a page fault through a writer's descriptor shows nobody what is not published" {
	python3 - <<-'P'
		import mmap, os
		old, new = open('old', 'rb').read(), open('new', 'rb').read()
		reader = os.open('mnt/docs/apple', os.O_RDONLY)
		for flags in os.O_RDWR, os.O_RDWR | os.O_TRUNC:
		    seen = set()
		    fd = os.open('mnt/docs/apple', flags)
		    os.write(fd, new[:1000])
		    with mmap.mmap(fd, 3072, prot=mmap.PROT_READ) as m:
		        mapped = m[:]
		        # The fault published what the mapping shows, and so it is one and the same for all.
		        assert mapped == new[:1000] + (b'\0' * 2072 if flags & os.O_TRUNC else old[1000:])
		        assert open('mnt/docs/apple', 'rb').read() == os.pread(reader, 4000, 0) == mapped
		    os.pwrite(fd, new[1000:], 1000)
		    os.close(fd)
		    assert open('mnt/docs/apple', 'rb').read() == new
		    open('mnt/docs/apple', 'wb').write(old)
	P
}

@test "however a vector is overwritten, and whoever has read it before or reads it meanwhile: nobody keeps an old page, size or time" {
	python3 - <<-'P'
		import itertools, mmap, os, time

		def read(mapped=False):
		    fd = os.open(path, os.O_RDONLY)
		    if mapped:
		        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as m:
		            got = m[:]
		    else:
		        got = os.pread(fd, size + 1, 0)
		    os.close(fd)
		    return got

		class Reader:
		    """Of one kind: what it opens before or during the overwriting, it still looks at afterwards."""
		    def __init__(self, kind):
		        self.kind, self.fd, self.map = kind, None, None
		        if kind in ('read', 'held', 'mapped'):
		            read()
		        if kind == 'mapped once':
		            read(mapped=True)
		        if kind in ('held', 'mapped'):
		            self.fd = os.open(path, os.O_RDONLY)
		            os.pread(self.fd, size + 1, 0)
		        if kind == 'mapped':
		            self.map = mmap.mmap(self.fd, size, prot=mmap.PROT_READ)
		            self.map[:]
		    def meanwhile(self):
		        if self.kind == 'meanwhile':
		            read(mapped=True)
		        if self.kind == 'opens':
		            self.fd = os.open(path, os.O_RDONLY)
		            os.pread(self.fd, size + 1, 0)
		    def goes_on(self):
		        if self.kind == 'meanwhile':
		            read(mapped=True)
		        if self.map:
		            self.map[:]
		    def sees(self):
		        yield read()
		        yield read(mapped=True)
		        if self.fd is not None:
		            yield os.pread(self.fd, size + 1, 0)
		        if self.map:
		            yield self.map[:]
		    def close(self):
		        if self.map:
		            self.map.close()
		        if self.fd is not None:
		            os.close(self.fd)

		def overwrite(how, reader):
		    """Returns what is then there."""
		    fd = os.open(path, os.O_WRONLY | (os.O_TRUNC if how.startswith('trunc') else 0))
		    reader.meanwhile()
		    if how in ('whole', 'trunc whole'):
		        os.write(fd, new)
		        want = new
		    elif how in ('pieces', 'trunc pieces'):
		        for at in range(0, size, 1000):
		            os.write(fd, new[at:at + 1000])
		            reader.goes_on()
		        want = new
		    elif how == 'part':
		        os.pwrite(fd, new[1000:1100], 1000)
		        want = old[:1000] + new[1000:1100] + old[1100:]
		    else:
		        os.ftruncate(fd, size)
		        want = bytes(size)
		        if how == 'trunc hole':
		            os.pwrite(fd, new[:100], 0)
		            want = new[:100] + want[100:]
		    os.close(fd)
		    return want

		hows = 'whole', 'trunc whole', 'pieces', 'trunc pieces', 'part', 'trunc zeros', 'trunc hole'
		kinds = 'nobody', 'read', 'mapped once', 'held', 'mapped', 'meanwhile', 'opens'
		os.mkdir('mnt/big')
		for size, how, kind in itertools.product((3072, 12000), hows, kinds):
		    path = 'mnt/docs/apple' if size == 3072 else 'mnt/big/apple'
		    old, new = (bytes([one]) * size for one in (1, 2))
		    open(path, 'wb').write(old)
		    os.utime(path, ns=(10**9, 10**9))
		    assert os.stat(path).st_mtime_ns == 10**9
		    reader = Reader(kind)
		    want = overwrite(how, reader)
		    # Mappings first: reads make the kernel ask for the vector's time, and drop pages of another.
		    until = time.monotonic() + 5
		    while reader.map and reader.map[:] != want:
		        assert time.monotonic() < until, (size, how, kind)
		    assert read(mapped=True) == read() == want, (size, how, kind)
		    st = os.stat(path)
		    assert st.st_size == size and st.st_mtime_ns > 10**9, (size, how, kind, st)
		    until = time.monotonic() + 5
		    while any(got != want for got in reader.sees()):
		        assert time.monotonic() < until, (size, how, kind)
		    reader.close()
	P
}

# held PYTHON: runs it in a process that then keeps its descriptors open; to the end of the test.
held() {
	printf 'import os, time\nold, new = (open(n, "rb").read() for n in ("old", "new"))\n%s\nopen("done", "w")\ntime.sleep(600)\n' "$1" >held.py
	background python3 held.py
	eventually test -e done
}

@test "a partial write at offset 0 is visible and durable soon, with its descriptor still open" {
	held 'f = os.open("mnt/docs/apple", os.O_RDWR); os.pwrite(f, b"ABCD", 0)'
	eventually grep -q ^ABCD mnt/docs/apple
	sleep 0.1 # commit= is 5 ms
	(printf ABCD; tail -c +5 old) >want
	crash
	start
	cmp want mnt/docs/apple
}

@test "a whole vector is published without a close, too, when its writer pauses" {
	held '
for id in "apple", "pear":
    f = os.open("mnt/docs/" + id, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(f, new[:1000]); os.write(f, new[1000:])'
	eventually cmp -s new mnt/docs/apple
	eventually cmp -s new mnt/docs/pear
	sleep 0.1
	crash
	start
	cmp new mnt/docs/apple
	cmp new mnt/docs/pear
}

@test "a partial write at offset 0 does not overtake what is written later by another descriptor" {
	python3 - <<-'P'
		import os
		old = open('old', 'rb').read()
		for end in os.close, os.fsync, lambda fd: os.pwrite(fd, b'Z', 3000):
		    open('mnt/docs/apple', 'wb').write(old)
		    a, b = (os.open('mnt/docs/apple', os.O_RDWR) for _ in 'ab')
		    os.pwrite(a, b'A' * 200, 0)
		    os.pwrite(b, b'B' * 100, 0)
		    os.pwrite(a, b'a' * 10, 50)
		    os.close(b)
		    end(a)
		    got = open('mnt/docs/apple', 'rb').read()
		    assert got[:200] == b'B' * 50 + b'a' * 10 + b'B' * 40 + b'A' * 100, got[:200]
		    assert got[200:3000] == old[200:3000]
	P
}

@test "a refusal for want of space says so, and nothing else" {
	need_root
	stop
	mkdir disk
	mount -t tmpfs -o size=40m none disk
	store=$here/disk/store
	start
	mkdir mnt/docs
	python3 - <<-'P'
		import errno, os
		vector = os.urandom(32)
		def write(path, data):
		    with open(path, 'wb') as f: f.write(data)
		os.mkdir('mnt/big')
		filler = os.urandom(1 << 20)
		try:
		    for n in range(100): write(f'mnt/big/{n}', filler)
		    assert False
		except OSError as e: assert e.errno == errno.ENOSPC, e
		refused = 0
		for n in range(100000): # until there is no room for small ones, either
		    try: write(f'mnt/docs/v{n}', vector)
		    except OSError as e:
		        assert e.errno == errno.ENOSPC, e
		        refused += 1
		        if refused == 3: break
		assert refused == 3
	P
	grep "docs/v.*: refused: No space left on device" mnt/.vecfs/log
	no grep "got 32 bytes" mnt/.vecfs/log
	no grep "got 1048576 bytes" mnt/.vecfs/log
	stop
	umount disk
}

@test "writers that share a descriptor, where nobody has a process number: none is told of a refusal that is none" {
	need_root
	stop
	daemon_env=(unshare --pid --fork --kill-child) # the daemon sees no process of ours
	start
	(head -c 1000 new; tail -c +1001 new) >mnt/docs/apple 2>said
	cmp new mnt/docs/apple
	{ head -c 1000 old && tail -c +1001 old; } >mnt/docs/apple 2>>said
	cmp old mnt/docs/apple
	[ ! -s said ]
	head -c 100 new >short
	refused "Invalid argument" cp short mnt/docs/pear # but the one who opened it is
	refused "Invalid argument" dd if=short of=mnt/docs/pear status=none
	refused "Invalid argument" bash -c 'cat short >mnt/docs/pear'
	[ "$(ls mnt/docs)" = apple ]
	umount mnt
	reap
}

@test "rare calls: each does what it does on ext4, or says that it cannot, and no vector is changed by one that is refused" {
	head -c 3072 /dev/urandom >one
	mkdir mnt/rare
	cp one mnt/rare/one
	python3 - <<-'P'
		import ctypes, errno, fcntl, os, struct
		libc = ctypes.CDLL(None, use_errno=True)
		one = open('one', 'rb').read()
		def path(id): return 'mnt/rare/' + id
		def stored(id): return open(path(id), 'rb').read()
		def new(id): return os.open(path(id), os.O_WRONLY | os.O_CREAT)
		def fails(want, f, *args):
		    try: f(*args)
		    except OSError as e: assert e.errno == want, (f, args, e)
		    else: raise SystemExit(f'not refused: {f} {args}')
		def call(f, *args):
		    if f(*args) < 0: raise OSError(ctypes.get_errno(), 'call')
		def whole(id, fd):
		    os.close(fd)
		    assert stored(id) == one, id
		source, plain = os.open(path('one'), os.O_RDONLY), os.open('one', os.O_RDONLY)
		# Copies within the kernel.
		fd = new('a'); assert os.copy_file_range(source, fd, 3072, 0, 0) == 3072; whole('a', fd)
		fd = new('b'); assert os.sendfile(fd, plain, 0, 3072) == 3072; whole('b', fd)
		r, w = os.pipe()
		assert os.splice(source, w, 3072, 0) == 3072
		fd = new('c'); assert os.splice(r, fd, 3072) == 3072; whole('c', fd)
		fd = new('d'); assert os.pwritev(fd, [one[:1000], one[1000:]], 0, os.RWF_DSYNC) == 3072; whole('d', fd)
		fd = os.open(path('d'), os.O_WRONLY)
		fails(errno.EXDEV, os.copy_file_range, plain, fd, 10, 0, 0)
		fails(errno.EXDEV, fcntl.ioctl, fd, 0x40049409, plain) # FICLONE
		fails(errno.EFBIG, os.pwritev, fd, [b'more'], 0, os.RWF_APPEND)
		# Allocation, holes, sizes: PUNCH_HOLE, COLLAPSE, ZERO, INSERT are for files that can have holes.
		for mode in 3, 8, 16, 32:
		    fails(errno.EOPNOTSUPP, call, libc.fallocate, fd, mode, ctypes.c_long(0), ctypes.c_long(1024))
		call(libc.fallocate, fd, 1, ctypes.c_long(0), ctypes.c_long(9000)) # KEEP_SIZE
		for size in 5, 3071: fails(errno.EINVAL, os.ftruncate, fd, size)
		fails(errno.EFBIG, os.ftruncate, fd, 6144)
		fails(errno.EINVAL, os.truncate, path('d'), 10)
		assert [os.lseek(source, at, how) for at, how in ((0, 2), (9, os.SEEK_DATA), (9, os.SEEK_HOLE))] == [3072, 9, 3072]
		fails(errno.ENXIO, os.lseek, source, 3072, os.SEEK_DATA)
		whole('d', fd)
		# Names: EXCHANGE, WHITEOUT, both; NOREPLACE is known.
		def rename(a, b, flags): call(libc.renameat2, -100, path(a).encode(), -100, path(b).encode(), flags)
		for flags in 2, 4, 3: fails(errno.EINVAL, rename, 'a', 'b', flags)
		fails(errno.EEXIST, rename, 'a', 'b', 1)
		rename('a', 'e', 1)
		for f in lambda p: os.link(path('e'), p), lambda p: os.symlink('e', p), os.mkfifo, os.mkdir:
		    fails(errno.EPERM, f, path('f'))
		# Times: OMIT changes nothing, NOW one of them.
		def times(atime, mtime):
		    call(libc.utimensat, -100, path('e').encode(), (ctypes.c_long * 4)(0, atime, 0, mtime), 0)
		NOW, OMIT = 0x3fffffff, 0x3ffffffe
		os.utime(path('e'), (5, 5))
		before = os.stat(path('e'))
		times(OMIT, OMIT)
		after = os.stat(path("e"))
		assert after[:] == before[:] and after.st_ctime_ns == before.st_ctime_ns, (before, after, before.st_ctime_ns, after.st_ctime_ns)
		times(OMIT, NOW)
		assert os.stat(path('e')).st_mtime > 1e9
		fails(errno.EINVAL, times, 10 ** 9, 0)
		# Locks are the kernel's.
		first, second = os.open(path('e'), os.O_RDWR), os.open(path('e'), os.O_RDWR)
		fcntl.flock(first, fcntl.LOCK_EX)
		fails(errno.EAGAIN, fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
		fcntl.fcntl(first, 37, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0)) # F_OFD_SETLK
		fails(errno.EAGAIN, fcntl.fcntl, second, 37, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0))
		# Attributes of other file systems: GETFLAGS, FSGETXATTR.
		for number in 0x80086601, 0x801c581f: fails(errno.ENOTTY, fcntl.ioctl, first, number, bytearray(64))
		assert sorted(os.listdir('mnt/rare')) == ['b', 'c', 'd', 'e', 'one']
		for id in os.listdir('mnt/rare'): assert stored(id) == one, id
	P
}

@test "who writes a short vector hears it, where that can be: the rest stays silent but for the log" {
	head -c 100 new >short
	for heard in 'cp short mnt/docs/x' 'dd if=short of=mnt/docs/x' 'tee mnt/docs/x <short' 'install short mnt/docs/x' \
		'bash -c "cat short >mnt/docs/x"' 'cat short | cat >mnt/docs/x' 'python3 -c "open(\"mnt/docs/x\", \"w\").close()"' \
		'cp short mnt/docs/x && sync mnt/docs/x' 'mawk "BEGIN { print \"abc\" > \"mnt/docs/x\" }"'; do
		[[ $heard != mawk* ]] || command -v mawk >/dev/null || continue
		refused "Invalid argument" bash -c "set -o pipefail; $heard"
	done
	sh -c '{ cat short; } >mnt/docs/braces'
	sh -c 'printf abc >mnt/docs/builtin'
	[ "$(ls mnt/docs)" = apple ]
	logged "docs/braces: refused: got 100 bytes, want 3072 (dim=768 dtype=f32)"
	logged "docs/builtin: refused: got 3 bytes, want 3072 (dim=768 dtype=f32)"
}

# The outside tool: cargo install fsx. Only with --long, and where it can be had.
@test "fsx: 30,000 operations with mappings on vectors of each size" {
	[ "$VECFS_LONG" = 1 ] || skip "only with --long"
	PATH=$PATH:$HOME/.cargo/bin:$here/fsx/bin
	command -v fsx || cargo install --quiet --root "$here/fsx" fsx || skip "no fsx here"
	mkdir artefacts
	for size in 400 3072 4096 12000; do
		mkdir "mnt/f$size"
		bytes "$size" >"mnt/f$size/a"
		cat >fsx.toml <<-T
			blockmode = true
			flen = $size
			opsize = { min = 1, max = $size }
			weights = { truncate = 0, read = 10, write = 10, mapread = 10, mapwrite = 10, invalidate = 1, fsync = 1, fdatasync = 1, sendfile = 2 }
		T
		fsx -f fsx.toml -P artefacts -N 30000 -S $((RANDOM + 1)) "mnt/f$size/a" >said 2>&1 || { tail said; false; }
	done
}
