#!/usr/bin/env bats
# Ordinary file life: mode, owner, mtime, inode numbers, rsync, tar, df. DESIGN 1.2.

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
