#!/usr/bin/env bats
# Listing: ls, find, readdir with cookies that stay right while entries come and go.
# sanitize: address

load helper

setup() {
	begin
	start
	mkdir mnt/docs
}

# fill N: vectors v0 ... vN-1 in docs, of 4 floats each.
fill() {
	python3 -c '
import sys
for i in range(int(sys.argv[1])): open(f"mnt/docs/v{i}", "wb").write(i.to_bytes(4, "little") * 4)' "$1"
}

@test "ls -U lists every vector once, and nothing else" {
	fill 3000
	[ "$(ls -U mnt/docs | wc -l)" = 3000 ]
	cmp <(ls -U mnt/docs | sort) <(seq 0 2999 | sed 's/^/v/' | sort)
	cmp <(ls -f mnt/docs | sort) <( (echo .; echo ..; seq 0 2999 | sed 's/^/v/') | sort)
	cmp <(cd mnt/docs && echo v* | tr ' ' '\n' | sort) <(seq 0 2999 | sed 's/^/v/' | sort)
}

@test "ls -l, find -type f, find -size and du see vectors as what they are" {
	fill 500
	[ "$(ls -l mnt/docs | grep -c '^-rw-r--r-- 1 ')" = 500 ]
	[ "$(find mnt -type f | wc -l)" = 500 ]
	[ "$(find mnt/docs -type f -size 16c | wc -l)" = 500 ]
	[ "$(find mnt -mindepth 1 -type d)" = mnt/docs ]
	[ "$(du -b --apparent-size mnt/docs | cut -f 1)" = 8000 ]
	[ "$(find mnt/docs -name 'v49*' | wc -l)" = 11 ]
}

@test "an empty collection, and an empty mount, list as empty" {
	[ -z "$(ls -A mnt/docs)" ]
	rmdir mnt/docs
	[ -z "$(ls -A mnt)" ]
	[ "$(ls -a mnt | tr '\n' ' ')" = ". .. " ]
}

@test "d_ino and d_type are those of stat" {
	fill 50
	mkdir mnt/more
	python3 - <<-'P'
		import os, stat
		for dir in 'mnt', 'mnt/docs':
		    entries = list(os.scandir(dir))
		    assert len(entries) == (50 if dir.endswith('docs') else 2)
		    for e in entries:
		        st = os.stat(e.path)
		        assert e.inode() == st.st_ino and e.is_dir(follow_symlinks=False) == stat.S_ISDIR(st.st_mode), e
		inodes = [e.inode() for e in os.scandir('mnt/docs')]
		assert len(set(inodes)) == 50
	P
}

@test "readdir: entries that exist all the time appear exactly once while others come, go and move" {
	fill 3000
	python3 - <<-'P'
		import os, random
		random.seed(3)
		fd = os.open('mnt/docs', os.O_RDONLY)
		steady = {f'v{i}' for i in range(0, 3000, 3)}
		goes = [f'v{i}' for i in range(3000) if i % 3 == 1]
		moves = [f'v{i}' for i in range(3000) if i % 3 == 2]
		random.shuffle(goes)
		random.shuffle(moves)
		seen = []
		with os.scandir(fd) as it:
		    for n, e in enumerate(it):
		        seen.append(e.name)
		        if goes:
		            os.unlink('mnt/docs/' + goes.pop())
		        if moves and n % 2:
		            name = moves.pop()
		            os.rename('mnt/docs/' + name, 'mnt/docs/moved-' + name)
		        if n % 4 == 0:
		            open(f'mnt/docs/new{n}', 'wb').write(bytes(16))
		        assert n < 10000, 'it never ends'
		assert len(seen) == len(set(seen)), 'twice: ' + ' '.join(sorted(s for s in seen if seen.count(s) > 1)[:5])
		assert steady <= set(seen), 'missing: ' + ' '.join(sorted(steady - set(seen))[:5])
	P
}

@test "telldir and seekdir: a cookie means the same place after deletions and creations" {
	fill 2000
	python3 - <<-'P'
		import ctypes, os
		libc = ctypes.CDLL(None, use_errno=True)
		class Dirent(ctypes.Structure):
		    _fields_ = [('ino', ctypes.c_uint64), ('off', ctypes.c_int64), ('reclen', ctypes.c_uint16),
		                ('type', ctypes.c_uint8), ('name', ctypes.c_char * 256)]
		libc.opendir.restype = libc.telldir.restype = ctypes.c_void_p
		libc.telldir.restype = ctypes.c_long
		libc.readdir.restype = ctypes.POINTER(Dirent)
		libc.telldir.argtypes = libc.readdir.argtypes = libc.rewinddir.argtypes = [ctypes.c_void_p]
		libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
		d = libc.opendir(b'mnt/docs')
		def rest():
		    names = []
		    while True:
		        e = libc.readdir(d)
		        if not e:
		            return names
		        names.append(e.contents.name.decode())
		places, order = [], []
		while True:
		    places.append(libc.telldir(d))
		    e = libc.readdir(d)
		    if not e:
		        break
		    order.append(e.contents.name.decode())
		assert len(order) == 2002 and len(set(places)) == 2003
		# The same rest from each place, though others die and are born.
		dead, born = set(), []
		for k, at in enumerate((1000, 3, 1777, 2001, 600, 0)):
		    for name in order[7 * k + 10::50]:
		        if name not in dead:
		            os.unlink('mnt/docs/' + name)
		            dead.add(name)
		    born.append(f'born{k}')
		    open(f'mnt/docs/born{k}', 'wb').write(bytes(16))
		    libc.seekdir(d, places[at])
		    want = [n for n in order[at:] if n not in dead] + born
		    assert rest() == want, at
		libc.rewinddir(d)
		assert sorted(rest()) == sorted([n for n in order if n not in dead] + born)
	P
}

@test "listing goes on across a descriptor that is used by two readers in turn" {
	fill 1000
	python3 - <<-'P'
		import os
		a, b = os.scandir('mnt/docs'), os.scandir('mnt/docs')
		seen_a, seen_b = [], []
		for ea, eb in zip(a, b):
		    seen_a.append(ea.name)
		    seen_b.append(eb.name)
		assert seen_a == seen_b and len(set(seen_a)) == 1000
	P
}

@test "20,000 vectors are listed completely, also after a remount" {
	python3 - <<-'P'
		open('ids', 'w').writelines(f'vector-{i}\n' for i in range(20000))
		open('rows.f32', 'wb').write(b''.join(i.to_bytes(4, 'little') * 4 for i in range(20000)))
	P
	vecfs import -q --ids ids --dim 4 mnt/many rows.f32
	cmp <(ls -U mnt/many | sort) <(sort ids)
	[ "$(find mnt/many -type f | wc -l)" = 20000 ]
	restart
	cmp <(ls -U mnt/many | sort) <(sort ids)
	stat -c %n mnt/many/vector-19999
}
