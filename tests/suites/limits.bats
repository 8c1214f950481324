#!/usr/bin/env bats
# How far it goes: long ids, small and large dims, many of everything, clients that stop, a clock that goes back.

[ "${VECFS_LONG:-0}" = 1 ] && BATS_TEST_TIMEOUT=1800 || BATS_TEST_TIMEOUT=120
load helper

setup() {
	begin
	start
	mkdir mnt/docs
}

many() { if [ "$VECFS_LONG" = 1 ]; then echo "$2"; else echo "$1"; fi; }

@test "ids of 255 bytes, 2,000 of them" {
	python3 - <<-'P'
		import os
		names = [(f'{i:05}' * 51) for i in range(2000)]
		assert all(len(n) == 255 for n in names)
		for i, n in enumerate(names):
		    open('mnt/docs/' + n, 'wb').write(i.to_bytes(4, 'little'))
		assert sorted(os.listdir('mnt/docs')) == names
	P
	restart
	python3 - <<-'P'
		for i in range(2000):
		    n = f'{i:05}' * 51
		    assert open('mnt/docs/' + n, 'rb').read() == i.to_bytes(4, 'little')
		assert open('mnt/docs/.vecfs/ids').read().count('\n') == 2000
	P
}

@test "dim 1, dim 65,536 and the largest vector of 1 MiB" {
	mkdir mnt/large mnt/largest
	python3 - <<-'P'
		import os
		for dir, size in ('docs', 4), ('large', 4 * 65536), ('largest', 1 << 20):
		    rows = [os.urandom(size) for _ in range(20)]
		    for i, row in enumerate(rows):
		        open(f'mnt/{dir}/v{i}', 'wb').write(row)
		        assert open(f'mnt/{dir}/v{i}', 'rb').read() == row
		    open(dir, 'wb').write(b''.join(rows))
	P
	restart
	for dir in docs large largest; do cmp $dir mnt/$dir/.vecfs/vectors.f32; done
	[ "$(head -n 1 mnt/large/.vecfs/schema)" = dim=65536 ]
	python3 -c '
import numpy as np
m = np.load("mnt/large/.vecfs/vectors.npy", mmap_mode="r")
assert m.shape == (20, 65536)'
}

@test "100 collections, each with vectors of another dim" {
	python3 - <<-'P'
		import os
		for i in range(1, 101):
		    os.mkdir(f'mnt/c{i}')
		    for k in range(3):
		        open(f'mnt/c{i}/v{k}', 'wb').write(bytes([k]) * 4 * i)
	P
	restart
	[ "$(ls mnt | wc -l)" = 101 ]
	python3 - <<-'P'
		import os
		for i in range(1, 101):
		    assert sorted(os.listdir(f'mnt/c{i}')) == ['v0', 'v1', 'v2']
		    assert open(f'mnt/c{i}/v2', 'rb').read() == b'\x02' * 4 * i
	P
	rm -rf mnt/c*
	[ "$(ls mnt)" = docs ]
}

# The processor's time is counted, not the clock's: that is the same on a machine which has other work, too.
@test "empty collections are made, listed, stat'ed and removed, more than 10,000 in a second of the daemon's time" {
	n=$(many 5000 100000)
	cat >laps.py <<-'P'
		import os, resource, subprocess, sys
		n, daemon, vecfs, slow = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
		def spent():
		    fields = open(f'/proc/{daemon}/stat').read().rsplit(') ')[1].split()
		    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
		def lap(what, fn):
		    before = spent()
		    fn()
		    took = spent() - before
		    print(f'{what}: {took / n * 1e6:.0f} us each')
		    assert took < n / 10000 * slow, what
		def lines(*command):
		    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.count(b'\n')
		def listed(*command): assert lines(*command) == n + 1, command
		def each(fn): [fn(f'mnt/c{i}') for i in range(n)]
		def json():
		    out = subprocess.run([vecfs, 'stat', '--json', 'mnt'], stdout=subprocess.PIPE, check=True).stdout
		    assert out.count(b'"name"') == n and b'"damaged"' not in out
		lap('mkdir', lambda: each(os.mkdir))
		lap('find', lambda: listed('find', 'mnt'))
		lap('ls -U', lambda: listed('sh', '-c', 'ls -U mnt; echo'))
		lap('stat', lambda: each(os.stat))
		lap('stat --json', json)
		lap('rmdir', lambda: each(os.rmdir))
		each(os.mkdir)
	P
	rmdir mnt/docs
	python3 laps.py "$n" "$daemon" "$VECFS_BIN" "$slow"
	begin=$(date +%s%N)
	stop
	[ $((($(date +%s%N) - begin) / 1000000)) -le $((5000 * slow)) ]
	start
	[ "$(ls -U mnt | wc -l)" = "$n" ]
	find mnt -mindepth 1 -type d -delete
	[ -z "$(ls -A mnt)" ]
}

@test "stat of a mount tells of each collection what its own stats say, whoever may read it" {
	mkdir -m 700 mnt/mine
	mkdir mnt/$'two\nlines' mnt/$'\xff'
	vec 1 16 >mnt/mine/apple
	vec 1 8 >mnt/$'two\nlines'/apple
	vecfs stat --json mnt >all
	python3 - <<-'P'
		import json
		got = {c['name']: (c['dim'], c['vectors'], c['vectors_bytes'])
		       for c in json.loads(open('all', 'rb').read().decode(errors='surrogateescape'))['collections']}
		assert len(got) == 4, got
		assert got['mine'] == (16, 1, 64) and got['docs'] == (0, 0, 0) and got['two\nlines'] == (8, 1, 32), got
	P
	[ "$(ls mnt/.vecfs | tr '\n' ' ')" = "log metrics version " ]
	refuses_to_tell mine
}

# refuses_to_tell COLLECTION: what is for all to read has nothing of it.
refuses_to_tell() { ! grep -qaz "^$1\$" mnt/.vecfs/stats; }

@test "descriptors are a bounded cache: thousands of collections with a vector each, many imports over the same ids" {
	n=$(many 1000 20000)
	stop
	ulimit -n "$(many 256 1024)"
	start
	python3 - "$n" <<-'P'
		import os, sys
		import numpy as np
		for i in range(int(sys.argv[1])):
		    os.mkdir(f'mnt/c{i}')
		    open(f'mnt/c{i}/v', 'wb').write(i.to_bytes(4, 'little') * 4)
		for k in 0, 1: np.save(f'{k}.npy', np.full((2300, 130), k, 'f4'))
	P
	vecfs import -q mnt/docs 0.npy
	for i in $(seq "$(many 12 1000)"); do
		vecfs import -q --replace mnt/docs $((i % 2)).npy
	done
	for again in 0 1; do
		python3 - "$n" <<-'P'
			import sys
			for i in range(int(sys.argv[1])):
			    assert open(f'mnt/c{i}/v', 'rb').read() == i.to_bytes(4, 'little') * 4, i
		P
		cmp mnt/docs/.vecfs/vectors.npy 0.npy
		restart
	done
	[ "$(du -sm "$store/collections/1" | cut -f 1)" -le 2 ]
}

@test "a daemon out of descriptors refuses, but nothing is damaged" {
	expect_log '.*Too many open files.*|fuse: trying to continue without -o clone_fd.'
	stop
	ulimit -n 64
	start
	python3 - <<-'P'
		import errno, os
		def stats(c, key):
		    return [l.split('=')[1].strip() for l in open(f'mnt/{c}/.vecfs/stats') if l.startswith(key + '=')]
		for i in range(200):
		    os.mkdir(f'mnt/c{i}')
		    for k in range(3): open(f'mnt/c{i}/v{k}', 'wb').write(bytes([k]) * 400)
		held, refused = [], 0
		for i in range(200): # each needs a file of its own as soon as it is read
		    for name in 'ids', 'vectors.f32':
		        try:
		            f = open(f'mnt/c{i}/.vecfs/{name}', 'rb', buffering=0)
		            f.read(1)
		            held.append(f)
		        except OSError as e:
		            assert e.errno in (errno.EMFILE, errno.ENFILE), e
		            refused += 1
		    # What cannot be kept aside for a view is lost to the view alone.
		    try:
		        open(f'mnt/c{i}/v0', 'wb').write(bytes([7]) * 400)
		    except OSError as e:
		        assert e.errno in (errno.EMFILE, errno.ENFILE), e
		assert refused, 'there was no shortage'
		for f in held: f.close()
		for i in range(200):
		    assert stats(f'c{i}', 'damaged') == ['0']
		    assert open(f'mnt/c{i}/v0', 'rb').read() in (bytes([0]) * 400, bytes([7]) * 400)
		    assert open(f'mnt/c{i}/v2', 'rb').read() == bytes([2]) * 400
	P
	restart
	[ "$(cat mnt/c*/v0 | wc -c)" = 80000 ]
}

@test "removed vectors give their space back while mounted: all of them, and all but a few" {
	n=$(many 15000 1000000)
	python3 - "$n" <<-'P'
		import sys
		import numpy as np
		n = int(sys.argv[1])
		np.save('a.npy', np.arange(n * 24, dtype='f4').reshape(n, 24))
		open('ids', 'w').writelines(f'{i:0100}\n' for i in range(n))
	P
	for left in 0 5; do
		vecfs import -q --ids ids mnt/docs a.npy
		sync mnt/docs
		[ "$(used_kb)" -ge $((n / 6)) ]
		python3 - "$n" "$left" <<-'P'
			import os, sys
			n, left = map(int, sys.argv[1:])
			for i in range(left, n): os.unlink(f'mnt/docs/{i:0100}')
		P
		# While some are left, the ids of the others are holes in their file, which later ids fill (104 bytes each: names
		# are laid out by 8), and a segment keeps the space of some thousand rows.
		eventually is_small $((left ? n * 104 / 1024 + 600 : 0))
		[ "$(ls mnt/docs | wc -l)" = "$left" ]
	done
	restart
	cmp mnt/docs/.vecfs/vectors.f32 <(tail -c +129 a.npy | head -c $((5 * 96)))
}

used_kb() { du -sk "$store/collections" | cut -f 1; }
is_small() { [ "$(used_kb)" -le $((400 + $1)) ]; }

@test "thousands of files open at once, read and written" {
	n=$(many 2000 10000)
	ulimit -n $((n + 100)) || skip "no more than $(ulimit -n) open files here"
	python3 - "$n" <<-'P'
		import os, sys
		n = int(sys.argv[1])
		fds = [os.open(f'mnt/docs/v{i}', os.O_RDWR | os.O_CREAT) for i in range(n)]
		for i, fd in enumerate(fds):
		    os.write(fd, i.to_bytes(4, 'little') * 2)
		for i, fd in enumerate(fds):
		    assert os.pread(fd, 100, 0) == i.to_bytes(4, 'little') * 2
		for fd in fds:
		    os.close(fd)
		fds = [os.open(f'mnt/docs/v{i}', os.O_RDONLY) for i in range(n)]
		for i in range(0, n, 2):
		    os.unlink(f'mnt/docs/v{i}')
		for i, fd in enumerate(fds):
		    assert os.pread(fd, 100, 0) == i.to_bytes(4, 'little') * 2
	P
	[ "$(ls -U mnt/docs | wc -l)" = $((n / 2)) ]
}

@test "a client that is stopped in the middle of a write holds up nobody" {
	vec 1 100 >one
	cp one mnt/docs/apple
	cat >half.py <<-'P'
		import os, time
		a = os.open('mnt/docs/pear', os.O_WRONLY | os.O_CREAT)
		b = os.open('mnt/docs/apple', os.O_WRONLY | os.O_TRUNC)
		os.write(a, bytes(100)); os.write(b, bytes(100))
		print('written', flush=True)
		while True: time.sleep(1)
	P
	background python3 half.py >said
	client=$!
	eventually grep -q written said
	kill -STOP $client
	cmp one mnt/docs/apple
	vec 2 100 >mnt/docs/plum
	vec 3 100 >mnt/docs/apple # another writer of the same
	sync mnt/docs
	mv mnt/docs/apple mnt/docs/quince
	rm mnt/docs/plum
	[ "$(ls mnt/docs)" = quince ]
	run vecfs umount "$mnt"
	[ "$status" = 1 ]
	[[ $output == *busy* ]]
	kill -KILL $client
	eventually is_reaped $client
	cmp mnt/docs/quince <(vec 3 100)
	restart
	[ "$(ls mnt/docs)" = quince ]
	cmp mnt/docs/quince <(vec 3 100)
}

@test "a client that opens and never closes, and a reader that never reads on, cost no more than their vectors" {
	python3 -c '
for i in range(500): open(f"mnt/docs/v{i}", "wb").write(bytes([i % 251]) * 3072)'
	cat >sleepy.py <<-'P'
		import os, time
		fds = [os.open(f'mnt/docs/v{i}', os.O_RDONLY) for i in range(500)]
		view = os.open('mnt/docs/.vecfs/vectors.f32', os.O_RDONLY)
		first = os.read(view, 3072)
		print('open', flush=True)
		input()
		for i, fd in enumerate(fds):
		    assert os.pread(fd, 4000, 0) in (bytes([i % 251]) * 3072, bytes([77]) * 3072)
		rest = first
		while data := os.read(view, 1 << 20): rest += data
		ids = 500
		assert len(rest) == 500 * 3072
	P
	mkfifo go
	(exec <go; outside python3 sleepy.py) >said &
	sleepy=$!
	running+=($!)
	exec 7>go
	eventually grep -q open said
	python3 - <<-'P'
		import os
		for round in range(4):
		    for i in range(0, 500, 2): open(f'mnt/docs/v{i}', 'wb').write(bytes([77]) * 3072)
		for i in range(1, 500, 2): os.unlink(f'mnt/docs/v{i}')
	P
	[ $slow != 1 ] || [ "$(sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status")" -lt 65536 ]
	echo >&7
	exec 7>&-
	finishes $sleepy
}

@test "the log is recycled and names are compacted: what is changed again and again takes no more space" {
	python3 - <<-'P'
		import os
		row = os.urandom(3072)
		fd = os.open('mnt/docs/v', os.O_WRONLY | os.O_CREAT)
		os.write(fd, row)
		for i in range(30000):
		    os.pwrite(fd, row, 0)
		os.close(fd)
		name = 'mnt/docs/v'
		for i in range(10000):
		    new = 'mnt/docs/' + f'{i:05}' * 50
		    os.rename(name, new)
		    name = new
		open('want', 'wb').write(row)
	P
	[ "$(du -sm "$store" | cut -f 1)" -lt 160 ]
	stop
	[ "$(du -sk "$store" | cut -f 1)" -lt 1024 ]
	start
	cmp want mnt/docs/*
}

@test "200 batches at once" {
	python3 - <<-'P'
		import os
		for b in range(200):
		    os.mkdir(f'mnt/docs/.vecfs/tx/b{b}')
		    open(f'mnt/docs/.vecfs/tx/b{b}/v{b}', 'wb').write(b.to_bytes(4, 'little') * 10)
		assert len(os.listdir('mnt/docs/.vecfs/tx')) == 200 and os.listdir('mnt/docs') == []
		for b in range(0, 200, 2):
		    os.rename(f'mnt/docs/.vecfs/tx/b{b}', f'mnt/docs/.vecfs/commit/b{b}')
		assert len(os.listdir('mnt/docs')) == 100
	P
	rm -r mnt/docs/.vecfs/tx/*
	[ "$(stats docs vectors)" = 100 ]
}

@test "a clock that goes back a day disturbs nothing" {
	[ $slow = 1 ] || skip "nothing can be preloaded before a sanitizer"
	stop
	cc -shared -fPIC -o backclock.so "$tools/backclock.c" -ldl
	daemon_env=(LD_PRELOAD="$here/backclock.so" BACKCLOCK_WHILE="$here/yesterday")
	start
	vec 1 100 >mnt/docs/before
	sync mnt/docs
	touch yesterday
	vec 2 100 >mnt/docs/after
	vec 3 100 >mnt/docs/before
	[ "$(stat -c %Y mnt/docs/after)" -lt $(($(date +%s) - 80000)) ] # it is in effect
	[ "$(cat mnt/docs/.vecfs/ids | tr '\n' ' ')" = "before after " ]
	cmp mnt/docs/.vecfs/vectors.f32 <(vec 3 100; vec 2 100)
	mkdir mnt/docs/.vecfs/tx/b
	vec 4 100 >mnt/docs/.vecfs/tx/b/batch
	mv mnt/docs/.vecfs/tx/b mnt/docs/.vecfs/commit/
	sync mnt/docs
	crash
	rm yesterday
	start
	cmp mnt/docs/before <(vec 3 100)
	cmp mnt/docs/after <(vec 2 100)
	cmp mnt/docs/batch <(vec 4 100)
}

@test "importing over the same ids gives the space of what it replaces back, also after a crash" {
	need_root
	truncate -s 160M disk
	mkfs.ext4 -q disk
	mkdir small
	stop
	mount -o loop disk small
	store=$here/small/store
	python3 - <<-'P'
		import os
		import numpy as np
		np.save('a.npy', np.frombuffer(os.urandom(4 * 768 * 6500), dtype='u4').astype('f4').reshape(6500, 768))
	P
	start
	mkdir mnt/docs
	for i in $(seq "$(many 20 100)"); do
		[ "$i" != 10 ] || { crash; start; }
		vecfs import mnt/docs a.npy --replace 2>/dev/null || vecfs import mnt/docs a.npy
	done
	sleep 1
	[ "$(du -sm --exclude='log.*' "$store" | cut -f 1)" -le 22 ]
	stop
	umount small
}
