#!/usr/bin/env bats
# Nearest neighbours, through files.
# sanitize: yes
# races: beside|interrupted|under way|bounded|asked again|by itself
load helper

setup() {
	begin
	start
	# 500 vectors of 16 floats that are small whole numbers: distances are exact, and many are equal.
	python3 - <<-'PYTHON'
		import numpy as np
		rng = np.random.default_rng(7)
		v = rng.integers(-2, 3, (500, 16)).astype('<f4')
		np.save('v.npy', v)
		open('ids', 'w').write(''.join('%s%03d\n' % ('abc'[i % 3], i) for i in range(500)))
	PYTHON
	vecfs import -q "$mnt/docs" v.npy --ids ids
}

# expect_near K [PREFIX]: the neighbours of row 42 by numpy, itself left out, as near/ID has them.
expected_near() {
	python3 - "$@" <<-'PYTHON'
		import numpy as np, sys
		k, prefix = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ''
		v = np.load('v.npy'); ids = open('ids').read().split()
		d = np.sqrt(((v - v[42]) ** 2).sum(1, dtype=np.float32))
		order = [i for i in np.lexsort((np.arange(500), d)) if i != 42 and ids[i].startswith(prefix)][:k]
		for rank, i in enumerate(order):
		    print('%d\t%.9g\t%s' % (rank + 1, d[i], ids[i]))
	PYTHON
}

@test "near/ID: the ten nearest neighbours of a stored vector, itself left out, the oldest first among equals" {
	cat "$mnt/docs/.vecfs/near/a042" >found
	expected_near 10 | cmp - found
	[ "$(wc -l <found)" = 10 ]
	# The same answer twice, and no matter how it is read.
	dd if="$mnt/docs/.vecfs/near/a042" bs=7 status=none | cmp - found
	[ -z "$(ls "$mnt/docs/.vecfs/near")" ]
	[ ! -e "$mnt/docs/.vecfs/near/nobody" ]
}

@test "near@OPTIONS/ID: k, filter, radius and format stand in the directory's name" {
	local control=$mnt/docs/.vecfs
	cat "$control/near@k=25/a042" >found
	expected_near 25 | cmp - found
	cat "$control/near@k=5,filter=b*/a042" >found
	expected_near 5 b | cmp - found
	# Always min(k, matches).
	[ "$(cat "$control/near@k=1000/a042" | wc -l)" = 499 ]
	[ "$(cat "$control/near@filter=c00?/a042" | wc -l)" = 3 ]
	expected_near 499 | awk '$2 <= 5.5' >within
	cat "$control/near@k=1000,radius=5.5/a042" | cmp - within
	python3 - "$control/near@k=3,format=json/a042" <<-'PYTHON'
		import json, sys
		found = json.load(open(sys.argv[1]))
		assert found['metric'] == 'l2' and [h['rank'] for h in found['results'][0]] == [1, 2, 3], found
	PYTHON
}

@test "JSON is valid whatever bytes an id has: quotes, control characters, what is no UTF-8" {
	python3 - "$mnt" <<-'PYTHON'
		import json, os, sys
		docs = os.fsencode(sys.argv[1]) + b'/docs/'
		vector = open(docs + b'a042', 'rb').read()
		odd = [b'quo"te\\', b'\x01\x7f\n', b'\xff\xfe\xed\xa0\x80', 'Stra\u00dfe'.encode()]
		for name in odd:
		    open(docs + name, 'wb').write(vector)
		text = open(docs + b'.vecfs/near@k=4,format=json/a042', 'rb').read()
		found = json.loads(text.decode()) # strict UTF-8
		assert [os.fsencode(hit['id']) for hit in found['results'][0]] == odd, text
	PYTHON
}

@test "a filter is asked again when ids have changed: renamed, removed, created, in a batch, under another filter" {
	local control=$mnt/docs/.vecfs
	count() { cat "$control/near@k=1000,filter=$1/a042" | wc -l; }
	[ "$(count 'b*')" = 167 ]
	[ "$(count 'b*')" = 167 ]
	mv "$mnt/docs/b001" "$mnt/docs/x001"
	[ "$(count 'b*')" = 166 ]
	[ "$(count 'x*')" = 1 ]
	rm "$mnt/docs/b004"
	[ "$(count 'b*')" = 165 ]
	cp "$mnt/docs/a000" "$mnt/docs/b-new"
	[ "$(count 'b*')" = 166 ]
	mkdir "$control/tx/B"
	cp "$mnt/docs/a003" "$control/tx/B/b-batch"
	mkdir -p "$control/tx/B/.vecfs"
	echo b007 >"$control/tx/B/.vecfs/delete"
	[ "$(count 'b*')" = 166 ]
	mv "$control/tx/B" "$control/commit/"
	[ "$(count 'b*')" = 166 ]
	[ "$(count 'b-*')" = 2 ]
	# What is filtered is exact whether the ids are asked or remembered.
	for i in 1 2; do
		cat "$control/near@k=1000,filter=b-*/a042" | cut -f3 | sort | xargs >found
		[ "$(cat found)" = "b-batch b-new" ]
	done
	# More filters than are remembered.
	for i in {0..20}; do
		[ "$(count "*$((i + 100))")" = 1 ]
	done
	[ "$(count 'b*')" = 166 ]
}

@test "near@OPTIONS that mean nothing are refused, and the log says what would do" {
	local options
	expect_log 'docs/.vecfs/near@.*: refused: '
	for options in k=0 k=x k= nonsense=1 k radius=nan format=xml; do
		run cat "$mnt/docs/.vecfs/near@$options/a042"
		[ "$status" != 0 ]
		[[ $output == *"Invalid argument"* ]]
	done
	grep -q "docs/.vecfs/near@k=0: refused: got k=0, want a number from 1 to 1000000" "$mnt/.vecfs/log"
	no cat "$mnt/docs/.vecfs/near@ids=list/a042" # there is no session whose list it might be
	grep -q "near@ids=list: refused: a list of ids is a file of a session" "$mnt/.vecfs/log"
	expect_log 'near: refused: there is no view'
	run cat "$mnt/docs/.vecfs/near@view=opq96/a042"
	[ "$status" != 0 ]
	[[ $output == *"Invalid argument"* ]]
	grep -q 'docs/.vecfs/near: refused: there is no view opq96' "$mnt/.vecfs/log"
}

# make_view NAME: of docs, and waits for its codes.
make_view() {
	mkdir "$mnt/docs/.vecfs/views/$1"
	eventually grep -qx ready "$mnt/docs/.vecfs/views/$1/.vecfs/state"
}

@test "a view sq8 is used by every search, which finds the same; stats and JSON say so" {
	local control=$mnt/docs/.vecfs s=$mnt/docs/.vecfs/search/s
	cat "$control/near@k=200/a042" >exact
	make_view sq8
	cat "$control/near@k=200/a042" | cmp - exact
	cat "$control/near@k=200,view=sq8/a042" | cmp - exact
	cat "$control/near@k=200,view=sq8,rerank=0/a042" | cmp - exact
	exec 7<>"$control/search/query"
	cat "$mnt/docs/a042" >&7
	cat <&7 | tail -n 9 | cut -f 2- >rest
	exec 7>&-
	head -n 9 exact | cut -f 2- | cmp - rest
	mkdir "$s"
	cp v.npy "$s/queries.npy"
	grep -qx view=sq8 "$s/stats"
	[ "$(sed -n 's/^rows_verified=//p' "$s/stats")" -gt 0 ]
	grep -q '"view":"sq8"' "$s/result.json"
	# What was acknowledged is found before it has a code, what was deleted is not.
	cp "$mnt/docs/a042" "$mnt/docs/twin"
	[ "$(head -n 1 "$control/near/a042")" = "$(printf '1\t0\ttwin')" ]
	rm "$mnt/docs/twin"
	cat "$control/near@k=200/a042" | cmp - exact
	rmdir "$control/views/sq8"
	cat "$control/near@k=200/a042" | cmp - exact
}

@test "near@view=V: candidates from codes, re-ranked; rerank and recall choose how many, the same answer twice" {
	local control=$mnt/docs/.vecfs view
	expected_near 10 >exact
	for view in bit rabitq2 pq4 opq8x4 bf16; do
		make_view $view
		# Of as many candidates as there are vectors the nearest are the nearest.
		cat "$control/near@view=$view,rerank=500/a042" | cmp - exact
		cat "$control/near@view=$view,recall=1/a042" | cmp - exact
		cat "$control/near@view=$view/a042" >auto
		cat "$control/near@view=$view/a042" | cmp - auto
		[ "$(wc -l <auto)" = 10 ]
		[ "$(cat "$control/near@view=$view,rerank=0/a042" | wc -l)" = 10 ]
		[ "$(cat "$control/near@view=$view,k=1000/a042" | wc -l)" = 499 ]
		[ "$(cat "$control/near@view=$view,filter=c00?/a042" | wc -l)" = 3 ]
	done
	# A remounted store answers the same, once the codes are known to be as they were: vectors whose codes are not are
	# compared themselves, which finds more.
	cat "$control/near@view=pq4,rerank=20/a042" >before
	stop
	start
	eventually grep -qx ready "$control/views/pq4/.vecfs/state"
	cat "$control/near@view=pq4,rerank=20/a042" | cmp - before
}

@test "a session's params name a view, rerank and recall" {
	local s=$mnt/docs/.vecfs/search/s
	make_view pq4
	mkdir "$s"
	cp v.npy "$s/queries.npy"
	printf 'k=5\nview=pq4\nrerank=500\n' >"$s/params"
	cp "$s/rows.npy" all.npy
	grep -qx view=pq4 "$s/stats"
	grep -qx rerank=500 "$s/stats"
	printf 'k=5\n' >"$s/params"
	cmp "$s/rows.npy" all.npy
	printf 'k=5\nview=pq4\nrecall=0.9\n' >"$s/params"
	python3 - "$s/rows.npy" <<-'PYTHON'
		import numpy as np, sys
		got, want = np.load(sys.argv[1]), np.load('all.npy')
		share = np.mean([len(set(g) & set(w)) / 5 for g, w in zip(got, want)])
		assert share > .8, share
	PYTHON
	expect_log 'search/s: refused: there is no view nonesuch'
	printf 'view=nonesuch\n' >"$s/params"
	refused "Invalid argument" cat "$s/rows.npy"
	grep -q 'search/s: refused: there is no view nonesuch' "$mnt/.vecfs/log"
}

@test "vecfs search --view, --rerank and --recall: in a mount and in a store that is not mounted" {
	make_view pq4
	python3 -c "import numpy as np; np.save('q.npy', np.load('v.npy')[100:160])"
	vecfs search "$mnt/docs" --queries q.npy --view pq4 --rerank 30 --out rows.npy --distances d.npy
	vecfs search "$mnt/docs" --queries q.npy --view pq4 --rerank 500 --out all.npy
	vecfs search "$mnt/docs" --queries q.npy --out exact.npy
	cmp all.npy exact.npy
	vecfs search "$mnt/docs" --queries q.npy --view pq4 --recall 0.95 --json | grep -q '"view":"pq4"'
	run vecfs search "$mnt/docs" --queries q.npy --view opq9
	[ "$status" = 1 ]
	[[ $output == *"there is no view opq9"* ]]
	stop
	vecfs search store/docs --queries q.npy --view pq4 --rerank 30 --out there.npy --distances dd.npy --threads 2
	cmp there.npy rows.npy
	cmp dd.npy d.npy
	vecfs search store/docs --queries q.npy --view pq4 --recall 1 --out there.npy
	cmp there.npy exact.npy
	run vecfs search store/docs --queries q.npy --view opq9
	[ "$status" = 1 ]
	[[ $output == *"there is no view opq9"* ]]
}

# change_half: of docs, after a snapshot: half of the vectors are others, and some have gone.
change_half() {
	python3 - <<-'PYTHON'
		import numpy as np
		np.save('other.npy', np.load('v.npy')[:250] + 1)
	PYTHON
	head -250 ids >other-ids
	vecfs import -q --replace "$mnt/docs" other.npy --ids other-ids
	rm "$mnt/docs/a042" "$mnt/docs/b400"
}

@test "in a snapshot: near/ID, search/query and search/S answer as the collection did, exactly and through its views" {
	local snap=$mnt/docs/.vecfs/snap/S view
	cp "$mnt/docs/a042" q.f32
	for view in sq8 pq4; do make_view $view; done
	mkdir "$snap"
	change_half
	expected_near 10 >expected
	cat "$snap/.vecfs/near/a042" | cmp - expected
	for view in sq8 pq4,rerank=500 pq4,recall=1; do cat "$snap/.vecfs/near@view=$view/a042" | cmp - expected; done
	[ "$(cat "$snap/.vecfs/near@view=pq4,rerank=0/a042" | wc -l)" = 10 ]
	exec 5<>"$snap/.vecfs/search/query"
	cat q.f32 >&5
	cat <&5 | tail -n +2 | cut -f 2,3 >found
	exec 5>&-
	cut -f 2,3 expected | head -9 | cmp - found
	mkdir "$snap/.vecfs/search/mine"
	printf 'k=11\nview=pq4\nrerank=500\n' >"$snap/.vecfs/search/mine/params"
	cp q.f32 "$snap/.vecfs/search/mine/queries.f32"
	grep -qx view=pq4 "$snap/.vecfs/search/mine/stats"
	tr '\t' '\n' <"$snap/.vecfs/search/mine/names" | tail -n +2 | cmp - <(cut -f 3 expected)
	rmdir "$snap/.vecfs/search/mine"
	expect_log 'near: refused: there is no view bit'
	run cat "$snap/.vecfs/near@view=bit/a042"
	[ "$status" -ne 0 ]
	rmdir "$mnt/docs/.vecfs/views/sq8" "$mnt/docs/.vecfs/views/pq4"
	cat "$snap/.vecfs/near/a042" | cmp - expected
}

@test "vecfs search in a snapshot: of a mount, and of a store that is not mounted" {
	local view where
	cp "$mnt/docs/a042" q.f32
	make_view pq4
	mkdir "$mnt/docs/.vecfs/snap/S"
	change_half
	eventually grep -qx ready "$mnt/docs/.vecfs/views/pq4/.vecfs/state"
	expected_near 10 | cut -f 2,3 >expected
	found() { vecfs search "$1/docs/.vecfs/snap/S" q.f32 -k 11 "${@:2}" | tail -n +2 | cut -f 2,3 | cmp - expected; }
	for where in "$mnt" store; do
		[ "$where" = "$mnt" ] || stop
		found "$where"
		found "$where" --view pq4 --rerank 500
		[ "$(vecfs search "$where/docs/.vecfs/snap/S/" q.f32 --view pq4 --rerank 0 | wc -l)" = 10 ]
	done
	run -1 vecfs search store/docs/.vecfs/snap/T q.f32
	start ro
	cat "$mnt/docs/.vecfs/snap/S/.vecfs/near@view=pq4,rerank=500/a042" | cut -f 2,3 | cmp - expected
}

@test "search/query: vectors are written, text is read, on one descriptor; then the next" {
	local query=$mnt/docs/.vecfs/search/query
	exec 5<>"$query"
	cat "$mnt/docs/a042" >&5
	cat <&5 >found
	[ "$(head -n 1 found)" = "$(printf '1\t0\ta042')" ]
	tail -n 9 found | cut -f 2- >rest
	expected_near 9 | cut -f 2- | cmp - rest
	cat "$mnt/docs/b001" "$mnt/docs/c002" >&5
	cat <&5 >found
	exec 5>&-
	[ "$(grep -c ^1 found)" = 4 ] # 1 and 10 of each
	[ "$(sed -n 11p found)" = "$(printf '1\t0\tc002')" ]
}

@test "search/query in Python, without a buffer between, sees what was acknowledged before the query" {
	python3 - "$mnt" <<-'PYTHON'
		import numpy as np, sys
		mnt = sys.argv[1]
		v = np.load('v.npy')
		with open(mnt + '/docs/.vecfs/search/query', 'r+b', buffering=0) as f:
		    for n in range(20):
		        new = np.full(16, 100 + n, '<f4')
		        open(mnt + '/docs/new%d' % n, 'wb').write(new.tobytes())
		        f.write(new.tobytes())
		        first = f.read(1 << 20).decode().split('\n')[0].split('\t')
		        assert first == ['1', '0', 'new%d' % n], first
		    # Many at once, more than one write of the kernel's.
		    f.write(np.repeat(v, 60, axis=0).tobytes())
		    text = b''
		    while True:
		        piece = f.read(1 << 20)
		        if not piece:
		            break
		        text += piece
		    lines = text.decode().split('\n')
		    assert len(lines) == 30000 * 10 + 1
	PYTHON
}

@test "search/query refuses a query of the wrong size, or one that is not finite, and answers nothing" {
	expect_log 'search/query: refused: '
	python3 - "$mnt" <<-'PYTHON'
		import errno, numpy as np, os, sys
		path = sys.argv[1] + '/docs/.vecfs/search/query'
		for bad in b'x' * 63, b'x' * 65, np.full(16, np.nan, '<f4').tobytes(), np.full(16, np.inf, '<f4').tobytes():
		    fd = os.open(path, os.O_RDWR)
		    try:
		        os.write(fd, bad)
		        assert False, len(bad)
		    except OSError as e:
		        assert e.errno == errno.EINVAL, e
		    assert os.read(fd, 4096) == b''
		    os.write(fd, bytes(64))
		    assert os.read(fd, 4096).count(b'\n') == 10
		    os.close(fd)
	PYTHON
	grep -q 'docs/.vecfs/search/query: refused: got 63 bytes, want vectors of 64 (dim=16 dtype=f32)' "$mnt/.vecfs/log"
}

@test "metrics ip and cosine: larger is nearer for ip and a header says so; what has no direction is never found" {
	mkdir "$mnt/ip" "$mnt/cos"
	echo metric=ip >"$mnt/ip/.vecfs/schema"
	echo metric=cosine >"$mnt/cos/.vecfs/schema"
	python3 - "$mnt" <<-'PYTHON'
		import sys
		import numpy as np
		for c in 'ip', 'cos':
		    for name, v in ('x', [1, 0]), ('xx', [3, 0]), ('xy', [1, 1]), ('y', [0, 2]), ('zero', [0, 0]):
		        open('%s/%s/%s' % (sys.argv[1], c, name), 'wb').write(np.array(v, '<f4').tobytes())
	PYTHON
	cat "$mnt/ip/.vecfs/near/x" >found
	printf '# inner product: larger is nearer\n1\t3\txx\n2\t1\txy\n3\t0\ty\n4\t0\tzero\n' | cmp - found
	cut -f 3 "$mnt/cos/.vecfs/near/x" >found
	printf 'xx\nxy\ny\n' | cmp - found
	expect_log 'near: refused: the query is not finite, or has no direction'
	run cat "$mnt/cos/.vecfs/near/zero"
	[ "$status" != 0 ]
}

@test "every dtype is searched as it is stored" {
	python3 - "$mnt" <<-'PYTHON'
		import os, sys
		import numpy as np
		rng = np.random.default_rng(3)
		whole = rng.integers(0, 4, (50, 24))
		for dtype in 'f32', 'f16', 'i8', 'u8', 'bit':
		    c = '%s/%s' % (sys.argv[1], dtype)
		    os.mkdir(c)
		    open(c + '/.vecfs/schema', 'w').write('dtype=%s\n' % dtype)
		    v = whole & 1 if dtype == 'bit' else whole
		    for i, row in enumerate(v):
		        data = np.packbits(row.astype('u1')) if dtype == 'bit' else row.astype({'f32': '<f4', 'f16': '<f2', 'i8': 'i1', 'u8': 'u1'}[dtype])
		        open('%s/%02d' % (c, i), 'wb').write(data.tobytes())
		    d = np.sqrt(((v - v[7]) ** 2).sum(1)).astype('f4')
		    want = [i for i in np.lexsort((np.arange(50), d)) if i != 7][:10]
		    got = [line.split('\t') for line in open(c + '/.vecfs/near/07').read().splitlines()]
		    assert [int(g[2]) for g in got] == want, (dtype, got, want)
		    assert all(np.float32(g[1]) == d[w] for g, w in zip(got, want)), (dtype, got)
	PYTHON
}

@test "a damaged vector is left out of answers, and everything else is found" {
	local row
	row=$(grep -nx b001 ids | cut -d: -f1)
	stop
	printf '\377' | dd of="$(echo store/collections/*/0.npy)" bs=1 seek=$((4096 + (row - 1) * 64 + 5)) conv=notrunc status=none
	expect_log 'docs/.vecfs/vectors: checksum mismatch'
	expect_damage
	start
	[ "$(cat "$mnt/docs/.vecfs/near@k=1000/a042" | wc -l)" = 498 ]
	no grep -q b001 "$mnt/docs/.vecfs/near@k=1000/a042"
	cat "$mnt/docs/.vecfs/near/a042" >found
	expected_near 11 | grep -v b001 | head -n 10 | cut -f 2- >wanted
	cut -f 2- found | cmp - wanted
}

@test "a read-only mount answers, too" {
	cat "$mnt/docs/.vecfs/near/a042" >wanted
	stop
	start ro
	cat "$mnt/docs/.vecfs/near/a042" | cmp - wanted
	[ "$(stat -c %s "$mnt/docs/.vecfs/near/a042")" = "$(stat -c %s wanted)" ]
}

@test "search/S: queries.npy in, rows.npy, distances.npy, names, result.json and stats out" {
	python3 - "$mnt" <<-'PYTHON'
		import json, os, sys
		import numpy as np
		control = sys.argv[1] + '/docs/.vecfs'
		s = control + '/search/s1'
		v = np.load('v.npy'); ids = open('ids').read().split()
		os.mkdir(s)
		assert oct(os.stat(s).st_mode & 0o777) == '0o700'
		assert not os.path.exists(s + '/rows.npy')
		np.save(s + '/queries.npy', v[:40])
		open(s + '/params', 'w').write('k=7\n')
		rows = np.load(s + '/rows.npy'); distances = np.load(s + '/distances.npy', mmap_mode='r')
		assert rows.dtype == '<i8' and rows.shape == (40, 7) and distances.dtype == '<f4' and distances.shape == (40, 7)
		all_ids = open(control + '/ids').read().split()
		names = [line.split('\t') for line in open(s + '/names').read().split('\n')[:-1]]
		found = json.load(open(s + '/result.json'))
		for q in range(40):
		    d = np.sqrt(((v - v[q]) ** 2).sum(1, dtype=np.float32))
		    want = np.lexsort((np.arange(500), d))[:7]
		    assert [all_ids[r] for r in rows[q]] == [ids[w] for w in want] == names[q]
		    assert (distances[q] == d[want]).all()
		    assert [h['id'] for h in found['results'][q]] == names[q]
		assert os.path.getsize(s + '/rows.npy') == 128 + 40 * 7 * 8
		stats = dict(line.split('=') for line in open(s + '/stats').read().split())
		assert stats['queries'] == '40' and stats['rows_scanned'] == '500', stats
		# What was acknowledged before is found once something is asked anew; fewer matches than k leave -1.
		open(s + '/params', 'w').write('k=7\nfilter=a00*\n')
		rows = np.load(s + '/rows.npy')
		assert ((rows >= 0).sum(1) == 4).all() and (rows[:, 4:] == -1).all(), rows[0]
		assert np.isnan(np.load(s + '/distances.npy')[:, 4:]).all()
		assert len(open(s + '/names').readline().split('\t')) == 4
		os.rmdir(s)
		assert not os.path.exists(s)
	PYTHON
}

@test "search/S/progress tells how far a search is, while it is under way, and of nothing before it" {
	local s=$mnt/docs/.vecfs/search/s
	mkdir "$s"
	[ "$(xargs <"$s/progress")" = "rows_done=0 rows=0" ]
	refused "Permission denied" bash -c "echo x >'$s/progress'"
	cat "$mnt/docs/a042" >"$s/queries.f32"
	[ "$(wc -w <"$s/names")" = 10 ]
	[ "$(xargs <"$s/progress")" = "rows_done=500 rows=500" ]
	no grep -qx progress <(ls "$s")
	# A search that takes long is seen to go on.
	python3 - "$mnt" <<-'PYTHON'
		import os, sys, threading, time
		import numpy as np
		v = np.random.default_rng(3).standard_normal((60000, 64)).astype('<f4')
		np.save('many.npy', v)
		os.system(f'"$VECFS_BIN" import -q {sys.argv[1]}/many many.npy')
		s = sys.argv[1] + '/many/.vecfs/search/s'
		os.mkdir(s)
		fd = os.open(s + '/progress', os.O_RDONLY)
		np.save(s + '/queries.npy', v[:300 if os.environ.get('VECFS_SANITIZED') else 1500])
		asked = threading.Thread(target=lambda: open(s + '/names').read())
		seen = set()
		asked.start()
		while asked.is_alive():
		    seen.add(int(os.pread(fd, 100, 0).split()[0].split(b'=')[1]))
		    time.sleep(0.002)
		asked.join()
		assert os.pread(fd, 100, 0) == b'rows_done=60000\nrows=60000\n'
		# On io_uring who asks from the CPU that searches waits until it is done.
		if os.environ['VECFS_TRANSPORT'] != 'uring':
		    assert any(0 < n < 60000 for n in seen), seen
	PYTHON
}

@test "a search whose client is interrupted ends, and vecfs search says so and leaves no session" {
	[ "$VECFS_TRANSPORT" != uring ] || [[ ${VECFS_BUILD:-} != *-asan ]] || skip "libfuse frees no interrupt of a request that came by a ring"
	python3 - "$mnt" <<-'PYTHON'
		import os, signal, subprocess, sys, time
		import numpy as np
		mnt, vecfs = sys.argv[1], os.environ['VECFS_BIN']
		v = np.random.default_rng(3).standard_normal((100000, 64)).astype('<f4')
		np.save('many.npy', v)
		np.save('q.npy', v)  # minutes
		subprocess.run([vecfs, 'import', '-q', mnt + '/many', 'many.npy'], check=True)
		search = mnt + '/many/.vecfs/search'
		os.mkdir(search + '/s')
		np.save(search + '/s/queries.npy', np.load('q.npy'))

		def interrupted(words):
		    client = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=open('said', 'w'))
		    time.sleep(1)
		    assert client.poll() is None, words
		    client.send_signal(signal.SIGINT)
		    rc = client.wait(20)
		    assert rc, (words, rc)
		interrupted(['cat', search + '/s/names'])
		done, rows = (int(line.split('=')[1]) for line in open(search + '/s/progress'))
		assert done < rows == 100000, (done, rows)
		interrupted([vecfs, 'search', mnt + '/many', '--queries', 'q.npy'])
		assert 'interrupted' in open('said').read()
		assert os.listdir(search) == ['query', 's'], os.listdir(search)
	PYTHON
}

@test "search/S takes queries in every format of arrays" {
	python3 - "$mnt" <<-'PYTHON'
		import os, sys
		import numpy as np
		s = sys.argv[1] + '/docs/.vecfs/search/s'
		v = np.load('v.npy')[:30]
		os.mkdir(s)
		prefixed = np.hstack([np.full((30, 1), 16, '<i4').view('<f4'), v]).astype('<f4')
		texts = {'f32': v.tobytes(), 'fbin': np.array([30, 16], '<u4').tobytes() + v.tobytes(), 'fvecs': prefixed.tobytes()}
		np.save(s + '/queries.npy', v)
		want = open(s + '/rows.npy', 'rb').read()
		for format, text in texts.items():
		    with open(s + '/queries.' + format, 'wb') as f:
		        f.write(text)
		    assert open(s + '/rows.npy', 'rb').read() == want, format
		    assert [n for n in os.listdir(s) if n.startswith('queries')] == ['queries.' + format]
	PYTHON
}

@test "search/S: lists of ids allow or deny; what does not fit is refused with its reason" {
	local s=$mnt/docs/.vecfs/search/s
	expect_log '.*search/s: refused: .*'
	mkdir "$s"
	python3 -c "import numpy as np; np.load('v.npy')[:3].tofile('$s/queries.f32')"
	printf 'a000\nb001\nc002\nnobody\n' >"$s/three"
	printf 'ids=three\n' >"$s/params"
	[ "$(cut -f 1-3 "$s/names" | tr '\t' '\n' | sort -u | tr '\n' ' ')" = "a000 b001 c002 " ]
	refused "Permission denied" bash -c "echo x >'$s/rows.npy'"
	printf 'ids=!three\nk=500\n' >"$s/params"
	[ "$(head -n 1 "$s/names" | tr '\t' '\n' | wc -l)" = 497 ]
	printf 'ids=four\n' >"$s/params"
	refused "Invalid argument" cat "$s/rows.npy"
	logged "$(grep 'there is no list four' "$mnt/.vecfs/log" | tail -n 1)"
	refused "Invalid argument" bash -c "echo k=none >'$s/params'"
	grep -q "docs/.vecfs/search/s/params: refused: got k=none" "$mnt/.vecfs/log"
	printf 'k=3\n' >"$s/params"
	head -c 100 v.npy >"$s/queries.npy"
	refused "Invalid argument" cat "$s/rows.npy"
	rm -r "$s"
	[ ! -e "$s" ]
}

@test "search/S: the last close of a shared descriptor puts nothing over what a newer writer wrote" {
	local s=$mnt/docs/.vecfs/search/s
	mkdir "$s"
	exec 7>"$s/params"
	(echo k=3 >&7)
	[ "$(cat "$s/params")" = k=3 ]
	echo k=5 >"$s/params"
	exec 7>&-
	[ "$(cat "$s/params")" = k=5 ]
}

@test "sessions are bounded: one too many is EDQUOT, and each is its maker's own" {
	local i
	for i in $(seq 64); do mkdir "$mnt/docs/.vecfs/search/$i"; done
	refused "Disk quota exceeded" mkdir "$mnt/docs/.vecfs/search/65"
	[ "$(ls "$mnt/docs/.vecfs/search" | wc -l)" = 65 ]
	rmdir "$mnt/docs/.vecfs/search/7"
	mkdir "$mnt/docs/.vecfs/search/65"
	refused "File exists" mkdir "$mnt/docs/.vecfs/search/65"
	[ "$(stat -c %a "$mnt/docs/.vecfs/search/65")" = 700 ]
}

@test "what an answer takes is bounded before any of it is allocated: EDQUOT with the reason" {
	expect_log 'refused: .* MiB, more than is left'
	local s=$mnt/docs/.vecfs/search/big before after
	mkdir "$s"
	echo k=1000000 >"$s/params"
	python3 -c "import numpy as np; np.save('$s/queries.npy', np.zeros((2000, 16), '<f4'))"
	before=$(awk '/^VmHWM/ { print $2 }' "/proc/$daemon/status")
	refused "Disk quota exceeded" cat "$s/rows.npy"
	after=$(awk '/^VmHWM/ { print $2 }' "/proc/$daemon/status")
	[ $((after - before)) -lt 65536 ]
	grep -q 'search/big: refused: 2000 queries with k=500 take .* MiB, more than is left of 1024' "$mnt/.vecfs/log"
	# What was refused has taken nothing: a smaller answer has room.
	echo k=5 >"$s/params"
	[ "$(stat -c %s "$s/rows.npy")" = $((128 + 2000 * 5 * 8)) ]
	rmdir "$s"
}

# 80,000 vectors of 128 floats, 40 MB: a search takes some 5 ms.
import_many() {
	python3 - <<-'PYTHON'
		import numpy as np
		np.save('many.npy', np.random.default_rng(1).standard_normal((80000, 128), dtype='<f4'))
	PYTHON
	vecfs import -q "$mnt/many" many.npy
	head -c 512 /dev/urandom >vector
}

@test "creates beside searches of many rows wait for none of them" {
	import_many
	answers=parked
	[ "$VECFS_TRANSPORT" = classic ] || grep -q '+replies, io_uring)$' "$log" || answers=inline
	python3 - "$mnt" $answers >figures <<-'PYTHON'
		import os, subprocess, sys, time
		mnt = sys.argv[1]
		vector = open('vector', 'rb').read()
		os.mkdir(mnt + '/new')
		def creates(prefix, count):
		    took = []
		    for i in range(count):
		        begin = time.monotonic()
		        with open('%s/new/%s%d' % (mnt, prefix, i), 'wb', buffering=0) as f:
		            f.write(vector)
		        took.append(time.monotonic() - begin)
		    return sorted(took)[int(count * .99)] * 1000
		# More of them than the daemon has threads that answer requests. Where who searches keeps all requests of
		# its CPU waiting, there is one.
		inline = sys.argv[2] == 'inline'
		instrumented = '-' in os.environ.get('VECFS_BUILD', '')
		idle = creates('idle', 1000)
		# They end by themselves: libfuse frees no interrupt of a request that came by a ring.
		loop = 'until [ -e enough ]; do read x <"$0/many/.vecfs/near/$((RANDOM % 80000))"; done'
		searches = [subprocess.Popen(['bash', '-c', loop, mnt]) for _ in range(1 if inline else 20)]
		time.sleep(1)
		beside = creates('beside', 300 if inline or instrumented else 1000)
		open('enough', 'w').close()
		for s in searches:
		    s.wait()
		print('p99 of creates: idle %.2f ms, beside searches %.2f ms' % (idle, beside))
		assert beside < max(300, 20 * idle), (idle, beside)
	PYTHON
	printf '# %s: %s\n' "$VECFS_TRANSPORT" "$(cat figures)" >&3
}

@test "vecfs search: a query from a file or a pipe, in a mount and in a store that is not mounted" {
	vecfs search "$mnt/docs" "$mnt/docs/a042" >found
	[ "$(head -n 1 found)" = "$(printf '1\t0\ta042')" ]
	tail -n 9 found | cut -f 2- >rest
	expected_near 9 | cut -f 2- | cmp - rest
	cat "$mnt/docs/a042" | vecfs search "$mnt/docs" - | cmp - found
	vecfs search "$mnt/docs" "$mnt/docs/a042" -k 3 --filter 'b*' >filtered
	expected_near 3 b | cmp - filtered
	[ -z "$(ls "$mnt/docs/.vecfs/search" | grep -v query)" ]
	cp "$mnt/docs/a042" query
	stop
	vecfs search store/docs query | cmp - found
	vecfs search store/docs query -k 3 --filter 'b*' | cmp - filtered
}

@test "vecfs search: a batch from numpy, arrays out, the same from a mount and from a store" {
	python3 -c "import numpy as np; np.save('q.npy', np.load('v.npy')[100:160])"
	grep -v ^c ids >allowed
	vecfs search "$mnt/docs" --queries q.npy -k 12 --ids-from allowed --out rows.npy --distances d.npy
	vecfs search "$mnt/docs" --queries q.npy -k 12 --ids-from allowed --json >json
	python3 - "$mnt" <<-'PYTHON'
		import json, sys
		import numpy as np
		v = np.load('v.npy'); ids = open('ids').read().split(); q = np.load('q.npy')
		rows, d = np.load('rows.npy'), np.load('d.npy')
		names = open(sys.argv[1] + '/docs/.vecfs/ids').read().split()
		allowed = [i for i in range(500) if not ids[i].startswith('c')]
		for n in range(60):
		    want = np.sqrt(((v - q[n]) ** 2).sum(1, dtype=np.float32))
		    order = sorted(allowed, key=lambda i: (want[i], i))[:12]
		    assert [names[r] for r in rows[n]] == [ids[o] for o in order] and (d[n] == want[order]).all()
		found = json.load(open('json'))['results']
		assert [[h['id'] for h in r] for r in found] == [[names[r] for r in row] for row in rows]
	PYTHON
	stop
	vecfs search store/docs --queries q.npy -k 12 --ids-from '!allowed' --out not.npy
	vecfs search store/docs --queries q.npy -k 12 --ids-from allowed --out again.npy --distances d2.npy
	cmp rows.npy again.npy
	cmp d.npy d2.npy
	no cmp rows.npy not.npy
}

# queries_of_daemon: how many vectors the daemon has searched for.
queries_of_daemon() { awk '$1 == "vecfs_queries_total" { print $2 }' "$mnt/.vecfs/metrics"; }

# same_answers WHERE PARAMS [OPTION...]: `vecfs search`, which searches by itself, finds what a session of the daemon
# with these parameters does: ids, rows and distances, byte by byte.
same_answers() {
	local s=$1/.vecfs/search/same before
	before=$(queries_of_daemon)
	vecfs search "$1" --queries q.npy --out own.npy --distances own-d.npy "${@:3}"
	vecfs search "$1" --queries q.npy "${@:3}" | cut -f 3 >own-names
	[ "$(queries_of_daemon)" = "$before" ]
	mkdir "$s"
	printf "$2" >"$s/params"
	[ ! -e list ] || cp list "$s/list"
	cp q.npy "$s/queries.npy"
	cmp own.npy "$s/rows.npy"
	cmp own-d.npy "$s/distances.npy"
	tr '\t' '\n' <"$s/names" | grep . | cmp - own-names
	rmdir "$s"
}

@test "vecfs search of a mount reads the store's files and searches by itself: the daemon's answers, byte by byte" {
	local docs=$mnt/docs view before
	python3 -c "import numpy as np; np.save('q.npy', np.load('v.npy')[100:230] + np.float32(.25))"
	same_answers "$docs" 'k=10\n'
	same_answers "$docs" 'k=10\n' --threads 1
	same_answers "$docs" 'k=1000\n' -k 1000 --threads 7
	same_answers "$docs" 'k=30\nfilter=*7\n' -k 30 --filter '*7'
	same_answers "$docs" 'k=400\nradius=6.5\n' -k 400 --radius 6.5
	grep -v ^c ids >list
	same_answers "$docs" 'k=20\nids=list\n' -k 20 --ids-from list
	same_answers "$docs" 'k=20\nids=!list\nfilter=c*\n' -k 20 --ids-from '!list' --filter 'c*'
	rm list
	# What has changed, come and gone by calls and batches, moved rows too, and waits for the applier.
	mkdir "$docs/.vecfs/snap/S"
	change_half
	for i in $(seq 8); do
		cp "$docs/c002" "$docs/new$i"
		mv "$docs/b$(printf %03d $((3 * i + 1)))" "$docs/renamed$i"
		same_answers "$docs" 'k=25\n' -k 25
	done
	# A snapshot, whose rows are in other files by now; ids that are no words.
	same_answers "$docs/.vecfs/snap/S" 'k=25\nfilter=?1*\n' -k 25 --filter '?1*'
	mv "$docs/new1" "$docs/"$'a\tb\nc'
	vecfs search "$docs" "$docs/c002" --filter $'a\t*' --json | grep -q '"id":"a\\u0009b\\u000ac"'
	# A single query is the daemon's, unless threads are wanted.
	before=$(queries_of_daemon)
	vecfs search "$docs" "$docs/c002" >one
	[ "$(queries_of_daemon)" = $((before + 1)) ]
	vecfs search "$docs" "$docs/c002" --threads 2 | cmp - one
	[ "$(queries_of_daemon)" = $((before + 1)) ]
	# An id's own tabs and newlines are those of near/.
	cat "$docs/.vecfs/near/new2" >near
	grep -qF $'\ta\tb/\\nc' near
	vecfs search "$docs" "$docs/new2" -k 11 | cut -f 2- | grep -vx $'0\tnew2' | cmp - <(cut -f 2- near)
	# Nothing of it is left.
	[ -z "$(ls "$docs/.vecfs/search" | grep -v query)" ]
}

@test "vecfs search of a mount reads codes by itself: of every codec, of blocks that are not whole, beside changes" {
	local docs=$mnt/docs view
	python3 - <<-'PYTHON'
		import numpy as np
		rng = np.random.default_rng(11)
		v = rng.standard_normal((3000, 24)).astype('<f4')
		v[7] = np.nan
		np.save('more.npy', v)
		np.save('q.npy', rng.standard_normal((70, 24)).astype('<f4'))
	PYTHON
	docs=$mnt/more
	vecfs import -q "$docs" more.npy
	for view in sq8 f16 rabitq1 rabitq4 pq12x4 opq6; do
		mkdir "$docs/.vecfs/views/$view"
		eventually grep -qx rows_encoded=3000 "$docs/.vecfs/views/$view/.vecfs/info"
		eventually grep -qx ready "$docs/.vecfs/views/$view/.vecfs/state"
	done
	for view in sq8 f16 rabitq1 rabitq4 pq12x4 opq6; do
		same_answers "$docs" "k=10\nview=$view\nrerank=40\nfilter=*1\n" --view $view --rerank 40 --filter '*1' --threads 3
		[ $view = sq8 ] || same_answers "$docs" "k=10\nview=$view\nrerank=0\n" --view $view --rerank 0
	done
	same_answers "$docs" "k=10\nview=opq6\nrecall=0.9\n" --view opq6 --recall 0.9
	vecfs search "$docs" --queries q.npy --json | grep -q '"view":"sq8"'
	# Rows that have no code yet are compared exactly: an answer that verifies all is exact at any moment.
	for i in $(seq 3); do
		python3 - "$docs" "$i" <<-'PYTHON'
			import sys
			import numpy as np
			docs, seed = sys.argv[1], int(sys.argv[2])
			rng = np.random.default_rng(seed)
			for n in rng.integers(0, 3000, 100):
			    if n != 7:
			        open('%s/%d' % (docs, n), 'wb').write(rng.standard_normal(24).astype('<f4').tobytes())
		PYTHON
		vecfs search "$docs" --queries q.npy --view pq12x4 --rerank 3000 --out all.npy --distances all-d.npy
		vecfs search "$docs" --queries q.npy --out exact.npy --distances exact-d.npy
		cmp all.npy exact.npy
		cmp all-d.npy exact-d.npy
		python3 - "$docs" <<-'PYTHON'
			import sys
			import numpy as np
			ids = open(sys.argv[1] + '/.vecfs/ids').read().split()
			v = np.stack([np.fromfile('%s/%s' % (sys.argv[1], i), '<f4') for i in ids])
			d = np.sqrt(((np.load('q.npy')[:, None].astype('f8') - v[None]) ** 2).sum(2))
			rows = np.load('exact.npy')
			best = np.sort(np.where(np.isnan(d), np.inf, d), 1)[:, :10]
			assert np.allclose(np.take_along_axis(d, rows, 1), best, rtol=1e-5)
		PYTHON
	done
	# Files of codes that are damaged, or gone, are not believed.
	printf 'XXXXXXXXXXXXXXXX' | dd of="$(ls store/collections/*/0.sq8.*.rows.npy)" bs=1 seek=20000 conv=notrunc status=none
	vecfs search "$docs" --queries q.npy --out again.npy
	cmp again.npy exact.npy
	rm store/collections/*/0.sq8.*.tags
	vecfs search "$docs" --queries q.npy --out again.npy
	cmp again.npy exact.npy
	expect_log '.*sq8.*'
}

@test "vecfs search of a snapshot reads its collection's codes by itself: the daemon's answers, whatever has changed since" {
	local docs=$mnt/more snap=$mnt/more/.vecfs/snap/S view
	python3 - <<-'PYTHON'
		import numpy as np
		rng = np.random.default_rng(12)
		v = rng.standard_normal((3000, 24)).astype('<f4')
		v[7] = np.inf
		np.save('more.npy', v)
		np.save('other.npy', rng.standard_normal((3000, 24)).astype('<f4')[::3])
		open('other-ids', 'w').write(''.join('%d\n' % i for i in range(0, 3000, 3)))
		np.save('q.npy', rng.standard_normal((70, 24)).astype('<f4'))
	PYTHON
	vecfs import -q "$docs" more.npy
	for view in sq8 rabitq4 opq6; do
		mkdir "$docs/.vecfs/views/$view"
		eventually grep -qx rows_encoded=3000 "$docs/.vecfs/views/$view/.vecfs/info"
		eventually grep -qx ready "$docs/.vecfs/views/$view/.vecfs/state"
	done
	mkdir "$snap"
	for view in rabitq4 opq6; do
		same_answers "$snap" "k=10\nview=$view\nrerank=40\nfilter=*1\n" --view $view --rerank 40 --filter '*1' --threads 3
		same_answers "$snap" "k=10\nview=$view\nrerank=0\n" --view $view --rerank 0 # distances of codes
	done
	vecfs search "$snap" --queries q.npy --out exact.npy --json | grep -q '"view":"sq8"'
	# A third of the rows is another's by now, and so are the blocks that they were in.
	vecfs import -q --replace "$docs" other.npy --ids other-ids
	rm "$docs/1" "$docs/2000"
	for view in sq8 rabitq4 opq6; do
		same_answers "$snap" "k=10\nview=$view\nrerank=3000\n" --view $view --rerank 3000
		cmp own.npy exact.npy
	done
	expect_log 'more/.vecfs/views/.*: vectors have drifted: .*'
	rmdir "$docs/.vecfs/views/opq6"
	refused "there is no view opq6" vecfs search "$snap" --queries q.npy --view opq6
}

@test "metrics count what vecfs search does by itself, apart from what the daemon does" {
	local docs=$mnt/docs s=$mnt/docs/.vecfs/search/same
	python3 -c "import numpy as np; np.save('q.npy', np.load('v.npy')[100:230] + np.float32(.25))"
	of() { awk -v name="vecfs_$1" '$1 == name { print $2 }' "$mnt/.vecfs/metrics"; }
	told() { for i in queries search_rows_scanned search_rows_verified search_seconds; do of "client_${i}_total"; done; }
	[ "$(told | paste -sd ' ')" = "0 0 0 0.000000" ]
	vecfs search "$docs" --queries q.npy --threads 1 --out own.npy
	mkdir "$s" "$docs/.vecfs/snap/S"
	cp q.npy "$s/queries.npy"
	cmp own.npy "$s/rows.npy"
	[ "$(of queries_total) $(of search_rows_scanned_total)" = "130 500" ]
	[ "$(of client_queries_total) $(of client_search_rows_scanned_total)" = "130 500" ]
	[ "$(of client_search_rows_verified_total)" -ge 130 ]
	[ "$(of client_search_seconds_total)" != 0.000000 ]
	vecfs search "$docs/.vecfs/snap/S" --queries q.npy --out own.npy
	[ "$(of client_queries_total) $(of queries_total)" = "260 130" ]
	# What no search has counted is refused, and there is nothing to read or to list.
	no grep -qx searched < <(ls "$docs/.vecfs")
	refused "denied" cat "$docs/.vecfs/searched"
	told >before
	python3 - "$docs/.vecfs/searched" <<-'PYTHON'
		import os, sys
		for line in (b'', b'\n', b'queries=1\n', b'queries=0 rows_scanned=1 rows_verified=1 us=1\n',
		             b'queries=-1 rows_scanned=1 rows_verified=1 us=1\n', b'queries=1 rows_scanned=1 rows_verified=1 us=\n',
		             b'queries=4294967296 rows_scanned=1 rows_verified=1 us=1\n',
		             b'queries=1 rows_scanned=274877906881 rows_verified=1 us=1\n',
		             b'queries=1 rows_scanned=1 rows_verified=4294967296 us=1\n',
		             b'queries=1 rows_scanned=1 rows_verified=1 us=99999999999999999999999999\n',
		             b'queries=1 rows_scanned=1 rows_verified=1 us=1\0\n', b'queries=1 rows_scanned=1 rows_verified=1 us=1 \n',
		             b'queries=1 rows_scanned=1 rows_verified=1 us=1\nqueries=1\n', b'queries=1 ' * 1000):
		    fd = os.open(sys.argv[1], os.O_WRONLY)
		    try:
		        assert not line or os.write(fd, line) < 0, line
		    except OSError as e:
		        assert e.errno == 22, (line, e)
		    os.close(fd)
	PYTHON
	logged 'docs/.vecfs/searched: refused: no search has counted that'
	told | cmp - before
}

@test "vecfs search of a mount is of one moment, and holds what was acknowledged, beside batches and single writers" {
	python3 - "$mnt" $((6 / slow + 2)) <<-'PYTHON'
		import os, subprocess, sys, threading, time
		import numpy as np
		mnt, seconds = sys.argv[1], int(sys.argv[2])
		vecfs, rows, dim = os.environ['VECFS_BIN'], 2000, 16
		docs = mnt + '/versions'
		ids = [b'r%d' % i for i in range(rows)]
		open('r.ids', 'wb').write(b'\n'.join(ids) + b'\n')
		def array(version):
		    v = np.zeros((rows, dim), '<f4')
		    v[:, 0] = version
		    v[:, 1] = np.arange(rows)
		    np.save('r%d.npy' % (version % 2), v)
		    return 'r%d.npy' % (version % 2)
		def put(version):
		    subprocess.run([vecfs, 'import', '-q', '--replace', docs, array(version), '--ids', 'r.ids'], check=True)
		put(1)
		state = {'done': 1, 'begun': 1, 'single': 0, 'error': None}
		end = time.monotonic() + seconds
		def batches():
		    while time.monotonic() < end:
		        state['begun'] += 1
		        put(state['begun'])
		        state['done'] = state['begun']
		def singles(): # one vector far away, whose version is known by itself
		    while time.monotonic() < end:
		        n = state['single'] + 1
		        with open(docs + '/single', 'wb', buffering=0) as f:
		            f.write(np.full(dim, -1000 - n, '<f4').tobytes())
		        state['single'] = n
		def guarded(do):
		    try:
		        do()
		    except BaseException as e:
		        state['error'] = e
		threads = [threading.Thread(target=guarded, args=(f,)) for f in (batches, singles)]
		np.save('zero.npy', np.zeros((1, dim), '<f4'))
		for t in threads:
		    t.start()
		searches = 0
		while time.monotonic() < end and not state['error']:
		    done, single = state['done'], state['single']
		    subprocess.run([vecfs, 'search', docs, '--queries', 'zero.npy', '-k', str(rows + 1), '--threads', '2',
		                    '--distances', 'z.npy'], check=True)
		    begun, single_begun = state['begun'], state['single'] + 1
		    d = np.load('z.npy')[0].astype('f8') ** 2
		    found = d[~np.isnan(d)]
		    near, far = found[found < 15e6], found[found >= 15e6]
		    assert len(near) == rows and len(far) == (1 if single else len(far)), (len(near), len(far))
		    version = np.sqrt(np.round(near - np.arange(rows) ** 2.0)[0])
		    want = np.sqrt((version ** 2 + np.arange(rows) ** 2.0).astype('f4'))
		    assert np.allclose(np.sqrt(near), want, atol=1e-3), (version, near[:5])
		    assert done <= version <= begun, (done, version, begun)
		    if len(far):
		        n = np.sqrt(far[0] / dim) - 1000
		        assert single - .1 <= n <= single_begun + .1, (single, n, single_begun)
		    searches += 1
		for t in threads:
		    t.join()
		assert not state['error'] and searches >= 3, (state, searches)
	PYTHON
}

@test "vecfs search of a mount that is killed leaves nothing behind, and one that cannot read the files asks the daemon" {
	python3 - "$mnt" <<-'PYTHON'
		import os, signal, subprocess, sys, time
		import numpy as np
		mnt, vecfs = sys.argv[1], os.environ['VECFS_BIN']
		v = np.random.default_rng(3).standard_normal((20000, 64)).astype('<f4')
		np.save('many.npy', v)
		np.save('q.npy', np.concatenate([v] * 5))  # a minute
		subprocess.run([vecfs, 'import', '-q', mnt + '/many', 'many.npy'], check=True)
		for i in range(5):
		    client = subprocess.Popen([vecfs, 'search', mnt + '/many', '--queries', 'q.npy', '--out', 'out.npy'])
		    time.sleep(.1 * i + .05)
		    client.send_signal(signal.SIGKILL)
		    assert client.wait(20) == -signal.SIGKILL
		assert os.listdir(mnt + '/many/.vecfs/search') == ['query'] and not os.path.exists('out.npy')
		# Of the moments that these had open nothing is kept: what is overwritten is copied aside for nobody.
		before = os.listdir('store')
		subprocess.run([vecfs, 'import', '-q', '--replace', mnt + '/many', 'many.npy'], check=True)
		assert os.listdir('store') == before
	PYTHON
	# Segments that are not ours to read.
	python3 -c "import numpy as np; np.save('q.npy', np.load('v.npy')[:3])"
	vecfs search "$mnt/docs" --queries q.npy --json >json
	local before
	before=$(queries_of_daemon)
	unshare -m --propagation private bash -c 'mount -t tmpfs none "$1" && "$2" search "$3" --queries q.npy --json' \
		x "$here/store" "$VECFS_BIN" "$mnt/docs" >other 2>said || skip "no mount namespaces"
	[ ! -s said ]
	[ "$(queries_of_daemon)" = $((before + 3)) ]
	python3 -c "import json; assert json.load(open('json'))['results'] == json.load(open('other'))['results']"
	[ -z "$(ls "$mnt/docs/.vecfs/search" | grep -v query)" ]
}

@test "a shell, numpy, perl, C and node search by nothing but file calls" {
	local docs=$mnt/docs
	cat "$docs/.vecfs/near/a042" >want
	exec 5<>"$docs/.vecfs/search/query"
	cat "$docs/a042" >&5
	cat <&5 >>want
	exec 5>&-
	[ "$(wc -l <want)" = 20 ]
	expected_near 10 | cmp - <(head -n 10 want)
	perl "$tools/near.pl" "$docs" a042 | cmp - want
	cc -O1 -o near "$tools/near.c"
	./near "$docs" a042 | cmp - want
	if command -v node; then node "$tools/near.js" "$docs" a042 | cmp - want; fi
	python3 - "$docs" >found <<-'PYTHON'
		import numpy as np, os, sys
		docs = sys.argv[1]; session = docs + '/.vecfs/search/s'
		print(open(docs + '/.vecfs/near/a042').read(), end='')
		os.mkdir(session)
		np.save(session + '/queries.npy', np.fromfile(docs + '/a042', '<f4')[None])
		rows, distances = np.load(session + '/rows.npy'), np.load(session + '/distances.npy')
		ids = open(docs + '/.vecfs/ids').read().split()
		for rank, (row, distance) in enumerate(zip(rows[0], distances[0])):
		    print('%d\t%.9g\t%s' % (rank + 1, distance, ids[row]))
		os.rmdir(session)
	PYTHON
	cmp found want
}

@test "vecfs search on a terminal: a bar while a batch is searched, and nothing of it in the answer" {
	local queries=$((3000 / slow / slow)) # slow enough for a bar
	python3 - "$queries" <<-'PYTHON'
		import sys
		import numpy as np
		v = np.random.default_rng(3).standard_normal((100000, 32)).astype('<f4')
		np.save('many.npy', v)
		np.save('q.npy', v[:int(sys.argv[1])])
	PYTHON
	vecfs import -q "$mnt/many" many.npy
	run env TERM=xterm script -qec "$VECFS_BIN search $mnt/many --queries q.npy --out rows.npy" /dev/null
	[ "$status" = 0 ]
	[[ $output == *$'\e[K'"search "*"% ["*"vectors"* ]]
	stop
	run env TERM=xterm script -qec "$VECFS_BIN search store/many --queries q.npy --out again.npy" /dev/null
	[ "$status" = 0 ]
	[[ $output == *$'\e[K'"search "*"% ["*"vectors"* ]]
	cmp rows.npy again.npy
	run env TERM=xterm script -qec "$VECFS_BIN search store/many --queries q.npy >text" /dev/null
	[ "$status" = 0 ]
	[ "$(grep -c ^1 text)" = $((2 * queries)) ] # 1 and 10 of each
	no grep -q $'\e' text
}

@test "vecfs search refuses with a reason, and leaves nothing behind" {
	expect_log '.*search/.*: refused: .*'
	head -c 60 "$mnt/docs/a042" >short
	refused "60 bytes" vecfs search "$mnt/docs" short
	refused "k=0" vecfs search "$mnt/docs" short -k 0
	refused "there is no view opq96" vecfs search "$mnt/docs" "$mnt/docs/a042" --view opq96
	refused "want two files" vecfs search "$mnt/docs" short --out both.npy --distances both.npy
	[ ! -e both.npy ]
	refused "want a directory of a mount" vecfs search "$here" short
	refused "nothing: No such file" vecfs search "$mnt/docs" nothing
	# What it is that is not there, and what was meant.
	refused "the stored vector is $mnt/docs/a042" vecfs search "$mnt/docs" a042
	refused "there is no vector nothing in the collection $mnt/docs" vecfs search "$mnt/docs" "$mnt/docs/nothing"
	refused "that is a vector of the collection $mnt/docs" vecfs search "$mnt/docs/a042" short
	refused "that is no vector of the collection $mnt/docs" vecfs search "$mnt/docs/nothing" short
	refused "$mnt/nowhere: there is no such collection" vecfs search "$mnt/nowhere" short
	refused "docs: short has 60 bytes, want vectors of 64 (dim=16 dtype=f32)" vecfs search "$mnt/docs" short
	refused "standard input has 60 bytes" bash -c "$VECFS_BIN search '$mnt/docs' - <short"
	mkdir "$mnt/empty"
	refused "empty: the collection has no vectors yet" vecfs search "$mnt/empty" "$mnt/docs/a042"
	[ -z "$(ls "$mnt/docs/.vecfs/search" | grep -v query)" ]
}
