#!/usr/bin/env bats
# The control directories, and vecfs stat.

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	vec 1 100 >one
	vec 2 100 >two
}

@test ".vecfs/log: every refused write with its reason, oldest first" {
	cp one mnt/docs/apple
	head -c 100 one >short
	run cp short mnt/docs/pear
	run cp short mnt/docs/plum
	logged "docs/plum: refused: got 100 bytes, want 400 (dim=100 dtype=f32)"
	[ "$(grep -c refused mnt/.vecfs/log)" = 2 ]
	[ "$(grep refused mnt/.vecfs/log | cut -d: -f1 | tr '\n' ' ')" = "docs/pear docs/plum " ]
	head -n 1 mnt/.vecfs/log | grep -q '^serving '
	[ "$(metric warnings_total)" = 2 ]
}

@test ".vecfs/log: the last 1,000 messages" {
	cp one mnt/docs/apple
	python3 - <<-'P'
		for i in range(1100):
		    try:
		        with open(f'mnt/docs/v{i}', 'wb') as f: f.write(b'abcd')
		        assert False
		    except OSError:
		        pass
	P
	logged "docs/v1099: refused: got 4 bytes, want 400 (dim=100 dtype=f32)"
	[ "$(wc -l <mnt/.vecfs/log)" = 1000 ]
	head -n 1 mnt/.vecfs/log | grep -q '^docs/v100: refused'
}

@test ".vecfs/log: ids are untrusted text, one message is one line" {
	cp one mnt/docs/apple
	run dd if=/dev/zero of=mnt/docs/$'bad\nvecfs: forged\e[31m' bs=4 count=1 status=none
	[ "$status" != 0 ]
	logged 'docs/bad\012vecfs: forged\033[31m: refused: got 4 bytes, want 400 (dim=100 dtype=f32)'
	no grep -q '^vecfs: forged' "$log"
}

@test ".vecfs/metrics: is Prometheus text, and counts what happens" {
	cp one mnt/docs/apple
	cp two mnt/docs/pear
	cp two mnt/docs/apple
	printf abcd | dd of=mnt/docs/apple bs=4 seek=3 conv=notrunc status=none
	mv mnt/docs/pear mnt/docs/plum
	rm mnt/docs/plum
	sync mnt/docs/apple
	python3 - <<-'P'
		import re
		values, types, helped = {}, {}, set()
		text = open('mnt/.vecfs/metrics').read()
		assert text.endswith('\n')
		for line in text.splitlines():
		    if m := re.fullmatch(r'# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)', line):
		        helped.add(m[1])
		    elif m := re.fullmatch(r'# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)', line):
		        assert m[1] not in types and m[1] not in values
		        types[m[1]] = m[2]
		    else:
		        m = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (-?[0-9.e+]+)', line)
		        assert m, line
		        assert m[1] in types and m[1] in helped, line
		        assert (types[m[1]] == 'counter') == m[1].endswith('_total'), line
		        values[m[1]] = float(m[3])
		want = dict(collections=1, vectors=1, puts_total=2, overwrites_total=1, patches_total=1, renames_total=1,
		            removes_total=1, checksum_errors_total=0, read_only=0, errors_total=0, warnings_total=0)
		for name, value in want.items():
		    assert values['vecfs_' + name] == value, (name, values['vecfs_' + name], value)
		assert values['vecfs_commits_total'] >= 1 and values['vecfs_commit_bytes_total'] > 1000
	P
}

@test ".vecfs/version: the version of the daemon, which is that of the command" {
	told=$(vecfs --version)
	[[ $(cat mnt/.vecfs/version) == "${told%)}, libfuse "* ]]
	[ "$(wc -l <mnt/.vecfs/version)" = 1 ]
}

@test "schema and stats: key=value lines" {
	cp one mnt/docs/apple
	cp two mnt/docs/pear
	for file in schema stats; do
		[ -z "$(grep -vE '^[a-z_]+=[a-z0-9]+$' mnt/docs/.vecfs/$file)" ]
	done
	[ "$(tr '\n' ' ' <mnt/docs/.vecfs/schema)" = "dim=100 dtype=f32 metric=l2 " ]
	[ "$(stats docs vectors) $(stats docs row_bytes) $(stats docs name_bytes)" = "2 400 9" ]
	[ "$(stats docs segments) $(stats docs damaged)" = "1 0" ]
	before=$(stats docs version)
	rm mnt/docs/pear
	[ "$(stats docs vectors)" = 1 ]
	[ "$(stats docs version)" != "$before" ]
}

@test "ids: line n names row n" {
	python3 -c '
for i in range(100): open(f"mnt/docs/v{i}", "wb").write(i.to_bytes(4, "little") * 100)'
	rm mnt/docs/v7 mnt/docs/v50
	[ "$(wc -l <mnt/docs/.vecfs/ids)" = 98 ]
	[ "$(stat -c %s mnt/docs/.vecfs/ids)" = "$(wc -c <mnt/docs/.vecfs/ids)" ]
	python3 - <<-'P'
		ids = open('mnt/docs/.vecfs/ids').read().splitlines()
		rows = open('mnt/docs/.vecfs/vectors.f32', 'rb').read()
		for n, id in enumerate(ids):
		    assert int.from_bytes(rows[400 * n:400 * n + 4], 'little') == int(id[1:]), (n, id)
	P
}

@test "control files have a size, can be read in pieces, and are what they were when they were opened" {
	cp one mnt/docs/apple
	for file in .vecfs/metrics .vecfs/version docs/.vecfs/schema docs/.vecfs/stats; do
		[ "$(stat -c %s mnt/$file)" = "$(wc -c <mnt/$file)" ]
		[ "$(dd if=mnt/$file bs=7 status=none)" = "$(cat mnt/$file)" ]
	done
	exec 8<mnt/docs/.vecfs/stats
	cp two mnt/docs/pear
	[ "$(sed -n 's/^vectors=//p' <&8)" = 1 ]
	exec 8<&-
	[ "$(stats docs vectors)" = 2 ]
}

@test "control directories list what is in them, and nothing can be added or taken away" {
	cp one mnt/docs/apple
	[ "$(ls mnt/.vecfs | tr '\n' ' ')" = "log metrics version " ]
	for name in schema stats ids vectors.npy vectors.fvecs vectors.fbin vectors.f32 segments tx commit; do
		ls mnt/docs/.vecfs | grep -qx $name
		[ -e mnt/docs/.vecfs/$name ]
	done
	find mnt/.vecfs mnt/docs/.vecfs >/dev/null
	refused "" cp one mnt/.vecfs/log
	refused "not permitted" cp one mnt/.vecfs/new
	refused "not permitted" cp one mnt/docs/.vecfs/new
	refused "" cp one mnt/docs/.vecfs/stats
	refused "" cp one mnt/docs/.vecfs/ids
	refused "not permitted" mkdir mnt/docs/.vecfs/new
	refused "not permitted" mkdir mnt/.vecfs/new
	refused "not permitted" rm -f mnt/docs/.vecfs/schema
	refused "not permitted" rm -f mnt/.vecfs/log
	refused "not permitted" mv mnt/docs/.vecfs/stats mnt/docs/.vecfs/other
	refused "not permitted" mv mnt/docs/.vecfs/tx mnt/docs/.vecfs/other
	refused "No such file" cat mnt/docs/.vecfs/vectors.u8bin # of another dtype
	refused "No such file" cat mnt/.vecfs/nothing
}

@test "control files follow their collection's permissions" {
	cp one mnt/docs/apple
	chmod 750 mnt/docs
	[ "$(stat -c %A mnt/docs/.vecfs | cut -c 5-)" = r-x--- ]
	[ "$(stat -c %A mnt/docs/.vecfs/stats)" = -r--r----- ]
	[ "$(stat -c %A mnt/docs/.vecfs/vectors.npy)" = -r--r----- ]
	[ "$(stat -c %A mnt/docs/.vecfs/schema)" = -rw-r----- ]
	chmod 700 mnt/docs
	[ "$(stat -c %A mnt/docs/.vecfs/ids)" = -r-------- ]
}

@test "what is only planned does not exist: there are no stubs" {
	cp one mnt/docs/apple
	for name in index; do
		[ ! -e mnt/docs/.vecfs/$name ]
		refused "not permitted" mkdir mnt/docs/.vecfs/$name
	done
	run vecfs index mnt/docs x
	[ "$status" = 2 ]
	[[ $output == *"no such command"* ]]
}

@test "vecfs stat: a mount, a collection and a store, for people and as JSON" {
	cp one mnt/docs/apple
	cp two mnt/docs/pear
	mkdir mnt/more
	run vecfs stat mnt
	[ "$status" = 0 ]
	[[ $output == *"$store"* && $output == *docs* && $output == *more* ]]
	vecfs stat --json mnt >mount.json
	vecfs stat --json mnt/docs >collection.json
	run vecfs stat mnt/docs
	[ "$status" = 0 ]
	[[ $output == *100* ]]
	vecfs stat --json "$store" >through.json # held: told through its mount
	stop
	vecfs stat --json "$store" >store.json
	vecfs stat "$store" | grep -q docs
	python3 - "$mnt" "$store" "$daemon" <<-'P'
		import json, sys
		mnt, store = sys.argv[1:3]
		mount, through, free, docs = (json.load(open(n + '.json')) for n in ('mount', 'through', 'store', 'collection'))
		assert mount['kind'] == through['kind'] == 'mount' and mount['mountpoint'] == mnt and mount['store'] == store
		assert mount['pid'] > 1 and mount['vectors'] == 2 and mount['disk_bytes'] > mount['disk_free_bytes'] > 0
		assert free['kind'] == 'store' and free['vectors'] == 2 and len(free['uuid']) == 36
		for what in mount, through, free:
		    by_name = {c['name']: c for c in what['collections']}
		    assert sorted(by_name) == ['docs', 'more']
		    assert by_name['docs']['vectors'] == 2 and by_name['docs']['dim'] == 100 and by_name['docs']['dtype'] == 'f32'
		    assert by_name['docs']['vectors_bytes'] == 800
		assert docs['kind'] == 'collection' and docs['vectors'] == 2 and docs['dim'] == 100 and docs['row_bytes'] == 400
	P
}

@test "vecfs stat: of what is none of these is an error" {
	refused "neither a store nor in a mount" vecfs stat "$here"
	refused "No such file" vecfs stat nowhere
	cp one mnt/docs/apple
	refused "want a store" vecfs stat mnt/docs/apple
}

@test ".vecfs/log: tail -f and tail -F follow it, each line once, also when the first lines are dropped" {
	cp one mnt/docs/apple
	refuse() { # FROM TO
		python3 - "$1" "$2" <<-'P'
			import os, sys
			for i in range(int(sys.argv[1]), int(sys.argv[2])):
			    fd = os.open(f'mnt/docs/x{i}', os.O_WRONLY | os.O_CREAT)
			    os.write(fd, bytes(4 + i % 3))
			    try: os.close(fd)
			    except OSError: pass
		P
	}
	refuse 0 10
	background tail -n +1 -s 0.1 -f mnt/.vecfs/log >followed
	background tail -n +1 -s 0.1 -F mnt/.vecfs/log >followed.by-name
	has() { grep -q "docs/x$2: refused" "$1"; }
	eventually has followed 9
	eventually has followed.by-name 9
	for from in 10 910 1010 1200 1800; do
		refuse $from $((from + 40))
		for file in followed followed.by-name; do
			eventually has $file $((from + 39))
			[ "$(grep -c "docs/x$((from + 1)): " $file)" = 1 ]
		done
		[ $from != 10 ] || refuse 50 900
	done
	for file in followed followed.by-name; do
		[ -z "$(sort $file | uniq -d)" ]
	done
}

@test "vecfs stat: no key twice, and nothing that a terminal obeys" {
	evil=$'e\e[31m\r\a\177\302\233x\\\377'
	cp one mnt/docs/apple
	mkdir "mnt/$evil"
	cp one "mnt/$evil/pear"
	for path in mnt mnt/docs "mnt/$evil"; do
		vecfs stat --json "$path" >out.json
		vecfs stat "$path" >>out.txt
		python3 - <<-'P'
			import json
			def once(pairs):
			    keys = [key for key, _ in pairs]
			    assert len(keys) == len(set(keys)), keys
			    return dict(pairs)
			got = json.load(open('out.json'), object_pairs_hook=once)
			if got['kind'] == 'mount':
			    assert len(got['collections']) == 2
		P
	done
	stop
	vecfs stat --json "$store" | python3 -c 'import json, sys; json.load(sys.stdin)'
	vecfs stat "$store" >>out.txt
	grep -qF 'e\033[31m\015\007\177\302\233x\134\377' out.txt
	no grep -qP '[\x00-\x08\x0b-\x1f\x7f]' out.txt
}

@test "a bind mount of the whole or of a collection: stat, import, export, and the reason of a refusal" {
	need_root
	python3 -c 'import numpy as np; np.save("a.npy", np.ones((5, 100), "<f4")); np.save("b.npy", np.ones((5, 50), "<f4"))'
	mkdir whole part
	mount --bind mnt whole
	mount --bind mnt/docs part
	vecfs import -q part a.npy
	[ "$(ls mnt/docs | wc -l)" = 5 ]
	vecfs import -q whole/more a.npy
	[ "$(ls mnt/more | wc -l)" = 5 ]
	refused "want a directory below" vecfs import -q whole a.npy
	refused "found dim 50, want 100" vecfs import -q part b.npy
	vecfs export -q part c.npy
	cmp a.npy c.npy
	[ "$(vecfs stat --json part | python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["kind"], d["vectors"])')" = "collection 5" ]
	[ "$(vecfs stat --json whole | python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["kind"], d["vectors"])')" = "mount 10" ]
	printf 'a\na\nb\nc\nd\n' >twice
	refused "a" vecfs import -q --ids twice part a.npy
	[[ $output != *"Invalid argument"* ]]
	umount part whole
}

@test "import batches: two with one process number do not meet, and nobody can guess their names" {
	need_root
	python3 -c 'import numpy as np; np.save("a.npy", np.ones((50, 100), "<f4"))'
	for n in 1 2; do
		background unshare --fork --pid --mount-proc "$tools/namespace.sh" "$here" sh -c "echo 99 >/proc/sys/kernel/ns_last_pid
			'$VECFS_BIN' import -q --format npy --ids ids.$n mnt/docs - <slow.$n"
		mkfifo slow.$n
		seq $((n * 100)) $((n * 100 + 49)) >ids.$n
	done
	exec 7>slow.1 8>slow.2
	head -c 1000 a.npy >&7
	head -c 1000 a.npy >&8
	both() { [ "$(ls mnt/docs/.vecfs/tx | wc -l)" = 2 ]; }
	eventually both
	[ "$(ls mnt/docs/.vecfs/tx | grep -cE '^import-[0-9a-f]{32}$')" = 2 ]
	tail -c +1001 a.npy >&7
	tail -c +1001 a.npy >&8
	exec 7>&- 8>&-
	for pid in "${running[@]}"; do finishes $pid; done
	[ "$(ls mnt/docs | wc -l)" = 100 ]
}

@test "progress: never wider than the terminal, and no control characters where TERM is dumb" {
	python3 - "$VECFS_BIN" <<-'P'
		import fcntl, os, pty, re, struct, sys, termios, time
		import numpy as np
		np.save('a.npy', np.ones((20000, 100), '<f4'))
		whole = open('a.npy', 'rb').read()
		def run(columns, term):
		    read, write = os.pipe()
		    os.set_inheritable(read, True)
		    pid, tty = pty.fork()
		    if pid == 0:
		        os.close(write)
		        os.dup2(read, 0)
		        fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
		        os.environ['TERM'] = term
		        os.execv(sys.argv[1], ['vecfs', 'import', '--replace', '--format', 'npy', 'mnt/docs', '-'])
		    os.close(read)
		    for i in range(8):
		        os.write(write, whole[i * len(whole) // 8:(i + 1) * len(whole) // 8])
		        time.sleep(0.15)
		    os.close(write)
		    out = b''
		    try:
		        while more := os.read(tty, 4096): out += more
		    except OSError: pass
		    assert os.waitpid(pid, 0)[1] == 0, out
		    os.close(tty)
		    return out.decode()
		for columns in 200, 80, 60, 40, 20, 7:
		    out = run(columns, 'xterm')
		    drawn = [part for part in out.split('\r\x1b[K')[:-1] if part] # what is behind the last is the result
		    assert len(drawn) >= 3, out
		    for part in drawn:
		        assert len(part) < columns and '\n' not in part, (columns, part)
		    assert any('%' in part for part in drawn) or columns < 20
		    assert any('=>' in part for part in drawn) == (columns >= 60), (columns, drawn)
		out = run(80, 'dumb')
		assert '\x1b' not in out and '\r' not in out.replace('\r\n', ''), repr(out)
	P
}

@test "inotify: a commit is seen by who watches commit/, and a removal through the mount by who watches the collection" {
	cat >watch.py <<-'P'
		import ctypes, os, struct
		libc = ctypes.CDLL(None, use_errno=True)
		fd = libc.inotify_init()
		IN_MOVED_TO, IN_DELETE, IN_CREATE = 0x80, 0x200, 0x100
		assert libc.inotify_add_watch(fd, b'mnt/docs/.vecfs/commit', IN_MOVED_TO) > 0
		assert libc.inotify_add_watch(fd, b'mnt/docs', IN_DELETE | IN_CREATE) > 0
		print('watching', flush=True)
		seen = set()
		while len(seen) < 3:
		    events = os.read(fd, 4096)
		    while events:
		        _, mask, _, size = struct.unpack('iIII', events[:16])
		        seen.add((mask & 0xfff, events[16:16 + size].rstrip(b'\0').decode()))
		        events = events[16 + size:]
		assert seen == {(IN_MOVED_TO, 'b'), (IN_CREATE, 'plum'), (IN_DELETE, 'plum')}, seen
	P
	background timeout 20 python3 watch.py >said
	watcher=$!
	eventually grep -q watching said
	mkdir mnt/docs/.vecfs/tx/b
	cp one mnt/docs/.vecfs/tx/b/apple
	mv mnt/docs/.vecfs/tx/b mnt/docs/.vecfs/commit/
	cp one mnt/docs/plum
	rm mnt/docs/plum
	finishes $watcher
}

@test "schema: a line sets what it names at its write, and leaves the rest; a wrong one fails that write" {
	schema=mnt/docs/.vecfs/schema
	for shell in bash dash; do
		run $shell -c "echo dtype=float32 >$schema"
		[ "$status" != 0 ]
	done
	printf 'all:\n\t@echo dtype=float32 >%s\n' $schema >Makefile
	run make
	[ "$status" != 0 ]
	run awk 'BEGIN { print "dtype=float32" > "'$schema'"; if (close("'$schema'") != 0) exit 1 }'
	[ "$status" != 0 ]
	[ "$(tr '\n' ' ' <$schema)" = "dim=0 dtype=f32 metric=l2 " ]
	logged "docs/.vecfs/schema: refused: got dtype=float32, want f32, f16, bf16, i8, u8 or bit"
	echo dtype=f16 >$schema
	echo dim=8 >$schema
	echo metric=ip >>$schema
	[ "$(tr '\n' ' ' <$schema)" = "dim=8 dtype=f16 metric=ip " ]
	printf 'dim=16\r\nmetric=cosine\r\n' >$schema
	printf dtype=i8 >$schema # judged at close
	[ "$(tr '\n' ' ' <$schema)" = "dim=16 dtype=i8 metric=cosine " ]
	(printf dty; printf 'pe=u8\n') >$schema
	[ "$(tr '\n' ' ' <$schema)" = "dim=16 dtype=u8 metric=cosine " ]
	printf dtype=u9 >wrong
	refused "Invalid argument" cp wrong $schema
	printf 'dim=4\ndtype=u9\n' >wrong # all of a write or nothing
	refused "Invalid argument" cp wrong $schema
	printf 'dim=1000000\ndtype=u8\n' >$schema # in whatever order
	[ "$(tr '\n' ' ' <$schema)" = "dim=1000000 dtype=u8 metric=cosine " ]
}

@test "what is only a view is refused to writers at open, also to root" {
	cp one mnt/docs/apple
	vec 9 100 >nine
	before=$(cat mnt/docs/.vecfs/vectors.npy mnt/docs/.vecfs/ids | md5sum)
	python3 - <<-'P'
		import errno, mmap, os
		views = ['docs/.vecfs/' + name for name in os.listdir('mnt/docs/.vecfs') if name not in ('schema', 'segments', 'tx', 'commit', 'near', 'search', 'views', 'snap')]
		assert len(views) >= 7 and 'docs/.vecfs/ids0' in views
		views += ['.vecfs/' + name for name in os.listdir('mnt/.vecfs')]
		for path in views:
		    path = 'mnt/' + path
		    for flags in os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_CREAT:
		        try: os.open(path, flags)
		        except OSError as e: assert e.errno == errno.EACCES, (path, flags, e)
		        else: assert False, (path, flags)
		    for change in lambda: os.truncate(path, 0), lambda: os.truncate(path, 10), lambda: os.unlink(path), \
		                  lambda: os.rename('nine', path):
		        try: change()
		        except OSError as e: assert e.errno in (errno.EACCES, errno.EPERM, errno.EXDEV), (path, e)
		        else: assert False, path
		    fd = os.open(path, os.O_RDONLY)
		    if os.fstat(fd).st_size:
		        try: mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
		        except PermissionError: pass
		        else: assert False, path
		    os.close(fd)
	P
	[ "$(cat mnt/docs/.vecfs/vectors.npy mnt/docs/.vecfs/ids | md5sum)" = "$before" ]
}
