#!/usr/bin/env bats
# Ordinary file life: mode, owner, mtime, inode numbers, rsync, tar, df.

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	vec 1 100 >one
	vec 2 100 >two
	cp one mnt/docs/apple
}

# twenty FOLDER: files of different modes and times.
twenty() {
	python3 - "$1" <<-'P'
		import os, sys
		os.makedirs(sys.argv[1], exist_ok=True)
		for i in range(20):
		    path = f'{sys.argv[1]}/v{i}'
		    open(path, 'wb').write(i.to_bytes(4, 'little') * 100)
		    os.chmod(path, 0o600 + 8 * (i % 8))
		    os.utime(path, ns=(0, 10 ** 18 + i * 1234567891))
	P
}
# What makes a file of a folder: a line each.
listing() { (cd "$1" && find . -type f -printf '%f %m %u %g %s %T@\n' | sort); }

@test "chmod: the mode is kept per vector, also across a remount" {
	cp two mnt/docs/pear
	[ "$(stat -c %a mnt/docs/apple)" = 644 ]
	chmod 600 mnt/docs/apple
	chmod u+x,go= mnt/docs/pear
	[ "$(stat -c %a mnt/docs/apple mnt/docs/pear | tr '\n' ' ')" = "600 700 " ]
	cp two mnt/docs/apple # an overwrite does not change it
	restart
	[ "$(stat -c %a mnt/docs/apple mnt/docs/pear | tr '\n' ' ')" = "600 700 " ]
}

@test "a new vector has the mode of its creator's umask, and the creator's owner" {
	(umask 027; cp one mnt/docs/pear)
	(umask 077; cat one >mnt/docs/plum)
	[ "$(stat -c '%a %u %g' mnt/docs/pear)" = "640 $(id -u) $(id -g)" ]
	[ "$(stat -c %a mnt/docs/plum)" = 600 ]
}

@test "chown: owner and group are kept per vector, also across a remount" {
	need_root
	chown 1234:5678 mnt/docs/apple
	[ "$(stat -c %u:%g mnt/docs/apple)" = 1234:5678 ]
	chgrp 42 mnt/docs
	restart
	[ "$(stat -c %u:%g mnt/docs/apple)" = 1234:5678 ]
	[ "$(stat -c %u:%g mnt/docs)" = 0:42 ]
}

@test "utimensat: mtime is kept to the nanosecond, also across a remount and before 1970" {
	cp two mnt/docs/pear
	python3 - <<-'P'
		import os
		os.utime('mnt/docs/apple', ns=(0, 1234567890123456789))
		os.utime('mnt/docs/pear', ns=(0, -1500000001))
	P
	restart
	python3 - <<-'P'
		import os
		assert os.stat('mnt/docs/apple').st_mtime_ns == 1234567890123456789
		assert os.stat('mnt/docs/pear').st_mtime_ns == -1500000001
	P
}

@test "mtime changes with the vector's bytes, not with reading, chmod or renaming" {
	touch -d '2001-02-03 04:05:06' mnt/docs/apple
	old=$(stat -c %Y mnt/docs/apple)
	cat mnt/docs/apple >/dev/null
	chmod 600 mnt/docs/apple
	mv mnt/docs/apple mnt/docs/pear
	[ "$(stat -c %Y mnt/docs/pear)" = "$old" ]
	cp two mnt/docs/pear
	[ "$(stat -c %Y mnt/docs/pear)" -gt "$old" ]
	touch -d '2001-02-03 04:05:06' mnt/docs/pear
	printf abcd | dd of=mnt/docs/pear bs=4 seek=3 conv=notrunc status=none
	[ "$(stat -c %Y mnt/docs/pear)" -gt "$old" ]
}

@test "a collection's mtime changes when vectors come and go" {
	python3 - <<-'P'
		import os, time
		def mtime():
		    fd = os.open('mnt/docs', os.O_RDONLY)
		    return os.fstat(fd).st_mtime_ns
		def changes(do):
		    os.utime('mnt/docs', ns=(0, 10 ** 18))
		    do()
		    end = time.monotonic() + 20
		    while os.stat('mnt/docs').st_mtime_ns == 10 ** 18:
		        assert time.monotonic() < end
		        time.sleep(0.01)
		changes(lambda: open('mnt/docs/pear', 'wb').write(open('one', 'rb').read()))
		changes(lambda: os.rename('mnt/docs/pear', 'mnt/docs/plum'))
		changes(lambda: os.unlink('mnt/docs/plum'))
	P
}

@test "cp -p keeps mode, owner and mtime, there and back" {
	chmod 640 one
	touch -d '2001-02-03 04:05:06.123456789' one
	[ "$(id -u)" != 0 ] || chown 1234:5678 one
	cp -p one mnt/docs/pear
	[ "$(stat -c '%a %u %g %y' mnt/docs/pear)" = "$(stat -c '%a %u %g %y' one)" ]
	cp -p mnt/docs/pear back
	[ "$(stat -c '%a %u %g %y' back)" = "$(stat -c '%a %u %g %y' one)" ]
	restart
	[ "$(stat -c '%a %u %g %y' mnt/docs/pear)" = "$(stat -c '%a %u %g %y' one)" ]
}

@test "rsync -a is idempotent: the second run transfers nothing" {
	twenty from
	mkdir mnt/to
	rsync -a from/ mnt/to/
	[ "$(listing from)" = "$(listing mnt/to)" ]
	diff -r from mnt/to
	[ -z "$(rsync -ai from/ mnt/to/ | grep -v '^\.d')" ]
	restart
	[ -z "$(rsync -ai from/ mnt/to/ | grep -v '^\.d')" ]
	[ -z "$(rsync -aic from/ mnt/to/ | grep -v '^\.d')" ] # nor by checksums
	cp two from/v3
	[ "$(rsync -ai from/ mnt/to/ | grep -v '^\.d' | cut -d' ' -f2)" = v3 ]
	cmp two mnt/to/v3
	[ "$(ls mnt/to | wc -l)" = 20 ]
}

@test "rsync -a of a collection to a plain folder, back into another, with --delete and --inplace" {
	twenty mnt/from
	rsync -a mnt/from/ plain/
	[ "$(listing mnt/from)" = "$(listing plain)" ]
	mkdir mnt/to
	cp one mnt/to/extra
	rsync -a --inplace --delete plain/ mnt/to/
	[ "$(listing mnt/from)" = "$(listing mnt/to)" ]
	[ -z "$(rsync -ai mnt/from/ plain/ | grep -v '^\.d')" ]
	diff -r mnt/from mnt/to
}

@test "tar there and back: everything as it was" {
	twenty mnt/from
	tar -C mnt --format=posix -cf docs.tar from
	[ "$(tar -tf docs.tar | wc -l)" = 21 ]
	mkdir mnt/to
	tar -C mnt/to --strip-components=1 -xpf docs.tar
	[ "$(listing mnt/from)" = "$(listing mnt/to)" ]
	tar -C mnt -df docs.tar
	restart
	tar -C mnt -df docs.tar
	[ "$(listing mnt/from)" = "$(listing mnt/to)" ]
}

@test "cp -a of a collection into a new one" {
	twenty mnt/from
	cp -a mnt/from mnt/to
	[ "$(listing mnt/from)" = "$(listing mnt/to)" ]
	[ "$(cat mnt/to/.vecfs/schema)" = "$(cat mnt/from/.vecfs/schema)" ]
}

@test "inode numbers are stable: across overwrites, renames, remounts and crashes; and no two are equal" {
	twenty mnt/docs
	before=$(cd mnt/docs && stat -c '%i %n' * | sort)
	[ "$(cut -d' ' -f1 <<<"$before" | uniq | wc -l)" = 21 ]
	[ "$(stat -c %i mnt/docs)" != "$(stat -c %i mnt)" ]
	collection=$(stat -c %i mnt/docs)
	cp two mnt/docs/apple
	mv mnt/docs/v3 mnt/docs/v30
	mv mnt/docs/v30 mnt/docs/v3
	[ "$before" = "$(cd mnt/docs && stat -c '%i %n' * | sort)" ]
	restart
	[ "$before" = "$(cd mnt/docs && stat -c '%i %n' * | sort)" ]
	[ "$(stat -c %i mnt/docs)" = "$collection" ]
	rm mnt/docs/v5
	cp one mnt/docs/v5 # another file
	[ "$(stat -c %i mnt/docs/v5)" != "$(sed -n 's/ v5$//p' <<<"$before")" ]
	before=$(cd mnt/docs && stat -c '%i %n' * | sort)
	sync mnt/docs
	crash
	start
	[ "$before" = "$(cd mnt/docs && stat -c '%i %n' * | sort)" ]
}

@test "hard links are refused (EPERM), and every vector has one link" {
	refused "Operation not permitted" ln mnt/docs/apple mnt/docs/pear
	[ "$(ls mnt/docs)" = apple ]
	[ "$(stat -c %h mnt/docs/apple)" = 1 ]
}

@test "df tells the truth: the numbers of the backing file system" {
	python3 - <<-'P'
		import os
		a, b = os.statvfs('mnt'), os.statvfs('store')
		assert a.f_frsize * a.f_blocks == b.f_frsize * b.f_blocks
		for x, y in ((a.f_bfree, b.f_bfree), (a.f_bavail, b.f_bavail)):
		    assert abs(x * a.f_frsize - y * b.f_frsize) < 2 ** 30 # others write to that disk
		assert a.f_namemax == 255
	P
	df mnt/docs | grep -qF "$mnt"
}

@test "df falls when vectors are written to a small disk" {
	need_root
	mkdir small
	mount -t tmpfs -o size=100m none small
	mkdir mnt2
	vecfs mount -o $transport small/store mnt2
	mkdir mnt2/docs
	before=$(df --output=avail -k mnt2 | tail -n 1)
	python3 -c '
import os
for i in range(30): open(f"mnt2/docs/v{i}", "wb").write(os.urandom(1 << 20))'
	sync mnt2/docs
	after=$(df --output=avail -k mnt2 | tail -n 1)
	[ $((before - after)) -gt 25000 ]
	[ "$(df --output=size -k mnt2 | tail -n 1 | tr -d ' ')" = 102400 ]
	vecfs umount mnt2
	umount small
}

@test "stat: size, blocks and block size make sense" {
	[ "$(stat -c '%s %B %h' mnt/docs/apple)" = "400 512 1" ]
	[ "$(stat -c %b mnt/docs/apple)" -ge 1 ]
	[ "$(stat -f -c %T mnt)" = fuseblk ] || [ "$(stat -f -c %T mnt)" = fuse ]
}

@test "extended attributes and ACLs are not kept, and say so" {
	need setfattr
	refused "not supported" setfattr -n user.note -v hello mnt/docs/apple
	refused "" getfattr --only-values -n user.note mnt/docs/apple
}

# ------------------------------------------------------------------ times

@test "times: ext4's range, 1901 to 2446, to the nanosecond, and its clamping; also across a remount" {
	cp two mnt/docs/pear
	python3 - <<-'P'
		import os
		last = (1 << 34) - (1 << 31) - 1
		cases = [(9999999999, 123456789), (2 ** 33, 1), (last - 1, 999999999), (-2 ** 31 + 1, 5), (0, 0), (-1, 1)]
		clamped = [((last, 7), (last, 0)), ((last + 1, 7), (last, 0)), ((2 ** 40, 7), (last, 0)),
		           ((-2 ** 31, 7), (-2 ** 31, 0)), ((-2 ** 40, 7), (-2 ** 31, 0))]
		for path in 'mnt/docs/apple', 'mnt/docs', 'mnt':
		    for t, want in [(t, t) for t in cases] + clamped:
		        os.utime(path, ns=(0, t[0] * 10 ** 9 + t[1]))
		        got = os.stat(path).st_mtime_ns
		        assert got == want[0] * 10 ** 9 + want[1], (path, t, got)
		os.utime('mnt/docs/pear', ns=(0, 9999999999 * 10 ** 9 + 5))
		os.utime('mnt/docs', ns=(0, 15032385534 * 10 ** 9 + 6))
		os.utime('mnt', ns=(0, 10 ** 19 + 7))
	P
	touch -d @9999999999 mnt/docs/apple
	restart
	[ "$(stat -c %Y mnt/docs/apple)" = 9999999999 ]
	[ "$(date -u -r mnt/docs/apple +%Y)" = 2286 ]
	python3 -c "
import os
assert os.stat('mnt/docs/pear').st_mtime_ns == 9999999999 * 10 ** 9 + 5
assert os.stat('mnt/docs').st_mtime_ns == 15032385534 * 10 ** 9 + 6
assert os.stat('mnt').st_mtime_ns == 10 ** 19 + 7"
}

@test "ctime: every change of a vector moves it, and nothing else does; also across a remount and a crash" {
	cat >changes.py <<-'P'
		import os, sys, time
		p, q = 'mnt/docs/apple', 'mnt/docs/pear'
		one, two = (open(n, 'rb').read() for n in ('one', 'two'))
		old = 1600000000 * 10 ** 9
		def ctime(path=p): return os.stat(path).st_ctime_ns
		def part():
		    fd = os.open(p, os.O_WRONLY)
		    os.pwrite(fd, b'abcd', 8)
		    os.close(fd)
		def whole():
		    with open(p, 'r+b') as f: f.write(two)
		def again():
		    with open(p, 'wb') as f: f.write(one)
		def replace():
		    open('mnt/docs/new', 'wb').write(two)
		    os.rename('mnt/docs/new', p)
		def back_and_forth():
		    os.rename(p, q)
		    os.rename(q, p)
		changes = [part, whole, again, replace, back_and_forth, lambda: os.chmod(p, 0o600), lambda: os.chmod(p, 0o600),
		           lambda: os.utime(p, ns=(0, old)), lambda: os.utime(p, ns=(0, old)), lambda: os.utime(p, ns=(0, old + 1)),
		           lambda: os.utime(p, ns=(0, old + 1)), lambda: os.utime(p), lambda: os.utime(p, ns=(0, old + 1)),
		           lambda: os.chmod(p, 0o644), lambda: os.utime(p, ns=(0, time.time_ns() + 10 ** 12)), part]
		if os.getuid() == 0:
		    changes += [lambda: os.chown(p, 1, 2), lambda: os.chown(p, 0, 0)]
		seen = set()
		for n, change in enumerate(changes):
		    before, start = ctime(), time.time_ns()
		    change()
		    after = ctime()
		    assert after > before, (n, before, after)
		    assert start - 20 * 10 ** 6 <= after <= time.time_ns() + 200 * 10 ** 6, (n, after - start)
		    seen.add(after)
		assert len(seen) == len(changes)
		before = ctime()
		open(p, 'rb').read(); os.listdir('mnt/docs'); open(q, 'wb').write(one); os.unlink(q)
		assert ctime() == before
		# What has the mtime of a copy was changed now, whatever its fraction of a second is.
		for t in old, old + 123456789:
		    os.utime(p, ns=(0, t))
		    assert abs(ctime() - time.time_ns()) < 10 ** 9 and os.stat(p).st_mtime_ns == t
		print(ctime())
	P
	before=$(python3 changes.py)
	now() { python3 -c "import os; print(os.stat('mnt/docs/apple').st_ctime_ns)"; }
	[ "$(now)" = "$before" ]
	restart
	[ "$(now)" = "$before" ]
	before=$(python3 changes.py)
	sync mnt/docs
	crash
	start
	[ "$(now)" = "$before" ]
}

@test "ctime: of a collection it moves with chmod, chown, times, renaming and what comes and goes in it" {
	python3 - <<-'P'
		import os, time
		def stat(path):
		    fd = os.open(path, os.O_RDONLY) # asks anew
		    try: return os.fstat(fd)
		    finally: os.close(fd)
		def moves(path, do, mtime_too):
		    before = stat(path)
		    do()
		    end = time.monotonic() + 20
		    while stat(path).st_ctime_ns <= before.st_ctime_ns:
		        assert time.monotonic() < end, do
		        time.sleep(0.01)
		    assert (stat(path).st_mtime_ns > before.st_mtime_ns) == mtime_too
		moves('mnt/docs', lambda: os.chmod('mnt/docs', 0o700), False)
		moves('mnt/docs', lambda: os.utime('mnt/docs', ns=(0, 10 ** 18)), False)
		moves('mnt/docs', lambda: open('mnt/docs/x', 'wb').write(b'abcd' * 100), True)
		moves('mnt/docs', lambda: os.rename('mnt/docs/x', 'mnt/docs/y'), True)
		moves('mnt/docs', lambda: os.unlink('mnt/docs/y'), True)
		before = stat('mnt/docs')
		os.rename('mnt/docs', 'mnt/texts')
		after = stat('mnt/texts')
		assert after.st_ctime_ns > before.st_ctime_ns and after.st_mtime_ns == before.st_mtime_ns
		moves('mnt', lambda: os.mkdir('mnt/more'), True)
		moves('mnt', lambda: os.rename('mnt/more', 'mnt/other'), True)
		moves('mnt', lambda: os.rmdir('mnt/other'), True)
	P
}

@test "incremental backups: tar -g takes along what was changed behind its mtime, and nothing else" {
	for i in 1 2 3 4 5 6; do cp one mnt/docs/v$i; touch -d '2001-02-03 04:05:06.789' mnt/docs/v$i; done
	sleep 1.1 # tar's clock of whole seconds
	tar -C mnt -g snar -cf full.tar docs
	sleep 0.05
	chmod 600 mnt/docs/v1
	cp two mnt/docs/v2 && touch -d '2001-02-03 04:05:06.789' mnt/docs/v2
	cp two new && touch -d '2001-02-03 04:05:06.789' new && cp -p new mnt/docs/new && mv mnt/docs/new mnt/docs/v3
	printf abcd | dd of=mnt/docs/v4 bs=4 seek=2 conv=notrunc status=none && touch -d '2001-02-03 04:05:06.789' mnt/docs/v4
	sleep 0.05 # a ctime may be rounded up by 8.4 ms
	tar -C mnt -g snar -cf more.tar docs
	[ "$(tar -tf more.tar | grep -v '/$' | sort | tr '\n' ' ')" = "docs/v1 docs/v2 docs/v3 docs/v4 " ]
	tar -C mnt -g snar -cf none.tar docs
	[ -z "$(tar -tf none.tar | grep -v '/$')" ]
}

# ------------------------------------------------------------------ the root, groups, imports

@test "the mount's root: chmod, chown and times, its mtime follows mkdir, mv and rmdir; all of it durable" {
	chmod 2750 mnt
	touch -d '2001-02-03 04:05:06.5' mnt
	[ "$(id -u)" != 0 ] || chown 0:42 mnt
	group=$(stat -c %g mnt)
	[ "$(stat -c '%a %Y' mnt)" = "2750 981173106" ]
	restart
	[ "$(stat -c '%a %g %Y' mnt)" = "2750 $group 981173106" ]
	for change in "mkdir mnt/more" "mv mnt/more mnt/other" "rmdir mnt/other"; do
		touch -d '2001-02-03 04:05:06' mnt
		$change
		eventually bash -c '[ "$(stat -c %Y mnt/.)" -gt 981173106 ]'
	done
	sync mnt
	before=$(stat -c '%a %g %y %z' mnt)
	crash
	start
	[ "$(stat -c '%a %g %y %z' mnt)" = "$before" ]
	[ "$(stat -c %a mnt/.vecfs)" != 0 ]
}

@test "setgid of a collection is handed down: vectors, batches and, of the root, collections get its group" {
	need_root
	chgrp 42 mnt/docs
	chmod 2775 mnt/docs
	cp two mnt/docs/pear
	mkdir mnt/docs/.vecfs/tx/b
	cp two mnt/docs/.vecfs/tx/b/plum
	printf 'fig\n' >mnt/docs/.vecfs/tx/b/.vecfs/ids
	cat one >mnt/docs/.vecfs/tx/b/.vecfs/vectors.f32
	mv mnt/docs/.vecfs/tx/b mnt/docs/.vecfs/commit/
	[ "$(stat -c %g mnt/docs/pear mnt/docs/plum mnt/docs/fig mnt/docs/apple | tr '\n' ' ')" = "42 42 42 0 " ]
	chmod 2755 mnt
	chgrp 43 mnt
	mkdir mnt/more
	[ "$(stat -c '%a %g' mnt/more)" = "2755 43" ]
	cp one mnt/more/apple
	[ "$(stat -c %g mnt/more/apple)" = 43 ]
	chmod g-s mnt/docs
	cp one mnt/docs/date
	[ "$(stat -c %g mnt/docs/date)" = 0 ]
}

# over_import COUNT: imports COUNT rows over vectors of the same ids, with modes of their own.
over_import() {
	vec 1 $((100 * $1)) >rows.f32
	mkdir mnt/many
	vecfs import -q --dim 100 mnt/many rows.f32
	chmod 600 mnt/many/1
	chmod 4755 mnt/many/2
	chmod 2755 mnt/many/3
	chmod 2640 mnt/many/4 # not a program: there setgid means something else
	[ "$(id -u)" != 0 ] || chown 12:34 mnt/many/5
	owner=$(stat -c %u:%g mnt/many/5)
	sleep 0.02
	touch now
	vecfs import -q --dim 100 --replace mnt/many rows.f32
	[ "$(stat -c %a mnt/many/0 mnt/many/1 mnt/many/2 mnt/many/3 mnt/many/4 | tr '\n' ' ')" = "644 600 755 755 2640 " ]
	[ "$(stat -c %u:%g mnt/many/5)" = "$owner" ]
	[ "$(find mnt/many -type f -newer now | wc -l)" = "$1" ]
	restart
	[ "$(stat -c %a mnt/many/0 mnt/many/1 mnt/many/2 mnt/many/3 mnt/many/4 | tr '\n' ' ')" = "644 600 755 755 2640 " ]
	[ "$(stat -c %u:%g mnt/many/5)" = "$owner" ]
}

@test "an import over vectors keeps their modes and owners, but not set-user-ID: a small batch" { over_import 20; }
@test "an import over vectors keeps their modes and owners, but not set-user-ID: a large batch" { over_import 3000; }
