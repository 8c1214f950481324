#!/usr/bin/env bats
# Compressed views, through files. (views.bats has the arrays of a collection and how they are paired.)
# timeout: 900
load helper
export BATS_TEST_TIMEOUT=$((180 * slow))

docs=docs
setup() {
	begin
	docs=$mnt/docs views=$mnt/docs/.vecfs/views
}

# vectors ROWS [SEED]: that many of 32 floats around 40 centres, in v.npy, and their ids.
vectors() {
	python3 - "$@" <<-'P'
		import numpy as np, sys
		rng = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
		rows = int(sys.argv[1])
		v = rng.standard_normal((40, 32))[rng.integers(0, 40, rows)] + rng.standard_normal((rows, 32)) / 2
		np.save('v.npy', v.astype('<f4'))
		open('ids', 'w').write(''.join('v%05d\n' % i for i in range(rows)))
	P
}

# some [ROWS]: a mount, and docs with so many.
some() {
	start "${2:-}"
	vectors "${1:-2000}"
	vecfs import -q "$docs" v.npy --ids ids
}

state() { cat "$views/$1/.vecfs/state"; }
info() { sed -n "s/^$2=//p" "$views/$1/.vecfs/info"; }
is_ready() { [ "$(state "$1")" = ready ] && [ "$(info "$1" rows_encoded)" = "$(info "$1" rows)" ]; }
ready() {
	local view
	for view; do eventually is_ready "$view"; done
}
sum_of() { cat "$views/$1/.vecfs/codes.npy" | md5sum; }

@test "every codec: mkdir makes a view of that name, with a code for each id, by itself and in arrays" {
	local all="f16 bf16 sq8 bit rabitq1 rabitq4 rabitq8 pq8 pq16x4 opq8 opq16x4" view
	some
	for view in $all; do mkdir "$views/$view"; done
	[ "$(ls "$views" | sort | xargs)" = "$(echo $all | tr ' ' '\n' | sort | xargs)" ]
	ready $all
	python3 "$tools/codes.py" "$docs" $all
	[ "$(info f16 code_bytes)" = 64 ]
	[ "$(info sq8 code_bytes)" = 44 ]
	[ "$(info bit code_bytes)" = 4 ]
	[ "$(info pq8 code_bytes)" = 8 ]
	[ "$(info opq16x4 code_bytes)" = 8 ]
	# What a codec has not is not there.
	[ ! -e "$views/sq8/.vecfs/codebook.npy" ]
	[ ! -e "$views/pq8/.vecfs/rotation.npy" ]
	[ -e "$views/opq8/.vecfs/rotation.npy" ]
	[ ! -e "$views/opq8/nobody" ]
	[ ! -e "$views/opq8/.vecfs/decoded/nobody" ]
	[ "$(ls "$views/opq8" | wc -l)" = 2000 ]
}

@test "views/ is there in every collection, and empty; .vecfs of a view is opened by name, never listed" {
	some 300
	[ -z "$(ls "$views")" ]
	mkdir "$views/sq8"
	[ "$(ls -a "$views/sq8" | grep -c vecfs)" = 0 ]
	[ "$(ls "$views/sq8/.vecfs" | xargs)" = "codes.npy decoded decoded.npy info params recall state" ]
	[ "$(find "$docs" | wc -l)" = 301 ] # find(1) sees vectors and nothing else
}

@test "a view that cannot be: EINVAL, and the log says what would fit" {
	start
	mkdir "$docs"
	refused "Invalid argument" mkdir "$views/sq8" # of no vectors nothing is known
	vectors 200
	vecfs import -q "$docs" v.npy --ids ids
	refused "Invalid argument" mkdir "$views/pq8"
	eventually grep -q "docs/.vecfs/views/pq8: refused: .*256.*200" "$mnt/.vecfs/log"
	refused "Invalid argument" mkdir "$views/pq33"
	eventually grep -q "docs/.vecfs/views/pq33: refused: .*1 to 32 fit" "$mnt/.vecfs/log"
	for name in pq08 zip opq rabitq9 sq8x4 "$(printf '%0255d' 1)"; do
		refused "Invalid argument" mkdir "$views/$name"
	done
	eventually grep -q "docs/.vecfs/views/zip: refused: .*opq" "$mnt/.vecfs/log"
	[ -z "$(ls "$views")" ]
	# What needs no training needs no number of vectors.
	mkdir "$views/rabitq4"
	ready rabitq4
	refused "File exists" mkdir "$views/rabitq4"
	refused "Operation not permitted" mv "$views/rabitq4" "$views/rabitq5"
	logged "docs/.vecfs/views/rabitq4: refused: a view's name is its codec: make another one with mkdir"
	# A batch has no views: they are of what it is committed to.
	mkdir "$docs/.vecfs/tx/b"
	no mkdir "$docs/.vecfs/tx/b/.vecfs/views"
	no mkdir "$docs/.vecfs/tx/b/.vecfs/views/sq8"
}

@test "what is in a view is read-only, to root, too; rmdir drops the view with it" {
	some 300
	mkdir "$views/opq8"
	ready opq8
	python3 - "$views/opq8" <<-'P'
		import errno, mmap, os, sys
		view = sys.argv[1]
		files = [view + '/v00007', view + '/.vecfs/decoded/v00007'] + [
		    view + '/.vecfs/' + name for name in os.listdir(view + '/.vecfs') if name not in ('params', 'decoded')]
		assert len(files) == 9, files
		for path in files:
		    for flags in os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT:
		        try: os.open(path, flags)
		        except OSError as e: assert e.errno == errno.EACCES, (path, flags, e)
		        else: assert False, (path, flags)
		    for change in lambda: os.truncate(path, 0), lambda: os.unlink(path), lambda: os.rename(path, path + 'x'), \
		                  lambda: os.chmod(path, 0o666), lambda: os.utime(path, (1, 1)):
		        try: change()
		        except OSError as e: assert e.errno in (errno.EACCES, errno.EPERM), (path, e)
		        else: assert False, path
		for path in view + '/new', view + '/.vecfs/new', view + '/.vecfs/decoded/new':
		    for make in lambda: os.open(path, os.O_CREAT | os.O_WRONLY), lambda: os.mkdir(path):
		        try: make()
		        except OSError as e: assert e.errno in (errno.EPERM, errno.EACCES), (path, e) # as root, and not
		        else: assert False, path
	P
	run rm -r "$views/opq8" # what is derived cannot be deleted one by one
	[ "$status" != 0 ]
	[ "$(ls "$views/opq8" | wc -l)" = 300 ]
	[ "$(ls "$docs" | wc -l)" = 300 ]
	rmdir "$views/opq8"
	[ ! -e "$views/opq8" ]
	[ -z "$(ls "$views")" ]
	refused "No such file" rmdir "$views/opq8"
}

@test "an open array of a view stays as it is when the view is dropped, trained anew, or the vectors change" {
	some
	mkdir "$views/opq8"
	ready opq8
	python3 - "$docs" <<-'P'
		import numpy as np, os, sys
		docs = sys.argv[1]; view = docs + '/.vecfs/views/opq8'; path = view + '/.vecfs/codes.npy'
		before = open(path, 'rb').read()
		files = [open(path, 'rb') for _ in range(3)]
		mapped = np.load(path, mmap_mode='r')
		open(docs + '/v00003', 'r+b').write(np.full(32, 9, '<f4').tobytes())
		os.unlink(docs + '/v00004')
		assert files[0].read() == before
		open(view + '/.vecfs/params', 'w').write('seed=99\n')
		assert files[1].read() == before
		os.rmdir(view)
		assert files[2].read() == before
		assert mapped.tobytes() == before[128:]
	P
}

@test "params: seed, train and retrain, each line judged at its write; the same seed makes the same codes" {
	expect_log 'docs/.vecfs/views/opq8: trained anew; .*'
	some
	mkdir "$views/opq8" "$views/rabitq2"
	ready opq8 rabitq2
	local params=$views/opq8/.vecfs/params first
	[ "$(xargs <"$params")" = "seed=0 train=0 retrain=off" ] || [ "$(xargs <"$params")" = "seed=0 train=0 retrain=auto" ]
	first=$(sum_of opq8)
	printf 'seed=7\nretrain=off\n' >"$params"
	[ "$(xargs <"$params")" = "seed=7 train=0 retrain=off" ]
	ready opq8
	[ "$(sum_of opq8)" != "$first" ]
	python3 "$tools/codes.py" "$docs" opq8
	echo seed=0 >"$params"
	ready opq8
	[ "$(sum_of opq8)" = "$first" ]
	echo train=500 >"$params"
	ready opq8
	[ "$(info opq8 rows_trained)" = 500 ]
	for wrong in seed=x seed=-1 train=99999999999 retrain=yes what=7 seed; do
		refused "Invalid argument" cp <(echo "$wrong") "$params"
	done
	logged "docs/.vecfs/views/opq8/.vecfs/params: refused: got key 'what', want seed, train or retrain"
	logged "docs/.vecfs/views/opq8/.vecfs/params: refused: got retrain=yes, want auto or off"
	[ "$(xargs <"$params")" = "seed=0 train=500 retrain=off" ]
	restart
	[ "$(xargs <"$params")" = "seed=0 train=500 retrain=off" ]
}

@test "what is written, replaced, renamed, removed and committed is in the codes" {
	expect_log 'docs/.vecfs/views/pq8: vectors have drifted: .*' # the batch has other centres
	some
	mkdir "$views/f16" "$views/pq8" "$views/sq8"
	ready f16 pq8 sq8
	cp "$docs/v00001" "$docs/new"
	cp "$docs/v00002" "$docs/v00003"
	mv "$docs/v00004" "$docs/renamed"
	mv "$docs/v00005" "$docs/v00006"
	rm "$docs/v00007" "$docs/v01999"
	f32 7 | dd of="$docs/v00008" bs=4 seek=3 conv=notrunc status=none
	# At once, whether they are encoded or not:
	cmp "$views/f16/new" "$views/f16/v00001"
	cmp "$views/pq8/v00002" "$views/pq8/v00003"
	python3 "$tools/codes.py" "$docs" f16 pq8 sq8
	mkdir "$docs/.vecfs/tx/b"
	vectors 3000 2
	cp ids "$docs/.vecfs/tx/b/.vecfs/ids"
	cp v.npy "$docs/.vecfs/tx/b/.vecfs/vectors.npy"
	mv "$docs/.vecfs/tx/b" "$docs/.vecfs/commit/"
	python3 "$tools/codes.py" "$docs" f16 pq8 sq8
	ready f16 pq8 sq8
	python3 "$tools/codes.py" "$docs" f16 pq8 sq8
	[ "$(info f16 rows)" = 3002 ]
	info pq8 warning | grep -q 'drift above 1.25'
	# Codes follow from the vectors and the seed alone, whatever has happened to them.
	cp "$docs/.vecfs/vectors.npy" all.npy
	cp "$docs/.vecfs/ids" all.ids
	vecfs import -q "$mnt/other" all.npy --ids all.ids
	mkdir "$mnt/other/.vecfs/views/f16"
	views=$mnt/other/.vecfs/views ready f16
	cmp "$views/f16/.vecfs/codes.npy" "$mnt/other/.vecfs/views/f16/.vecfs/codes.npy"
}

@test "ids, vectors and codes that a process opens are of one version, while others write" {
	start
	python3 - <<-'P'
		import numpy as np
		np.save('v.npy', np.repeat(np.arange(1000, dtype='<f4'), 16).reshape(1000, 16))
		open('ids', 'w').write(''.join('%d\n' % i for i in range(1000)))
	P
	vecfs import -q "$docs" v.npy --ids ids
	mkdir "$views/f16"
	ready f16
	cat >writer.py <<-'P'
		import numpy as np, os, random, sys
		while not os.path.exists('stop'):
		    i = random.randrange(1000)
		    path = sys.argv[1] + '/%d' % i
		    try: os.unlink(path)
		    except FileNotFoundError: open(path, 'wb').write(np.full(16, i, '<f4').tobytes())
	P
	background python3 writer.py "$docs"
	python3 - "$docs/.vecfs/" <<-'P'
		import numpy as np, sys, time
		d = sys.argv[1]; end = time.monotonic() + 4; n = 0
		while time.monotonic() < end or n < 10:
		    order = [lambda: open(d + 'ids').read().split(), lambda: np.load(d + 'views/f16/.vecfs/codes.npy'),
		             lambda: np.load(d + 'vectors.npy'), lambda: np.load(d + 'views/f16/.vecfs/decoded.npy')]
		    k = n % 4
		    got = [order[(k + i) % 4]() for i in range(4)]
		    ids, codes, vectors, decoded = (got[(i - k) % 4] for i in range(4))
		    want = np.array([float(i) for i in ids])
		    for a in codes, vectors, decoded:
		        assert a.shape == (len(ids), 16) and (a == want[:, None]).all(), n
		    n += 1
	P
	touch stop
}

@test "codes are the same after a remount and after a SIGKILL" {
	local before
	some
	mkdir "$views/opq8" "$views/rabitq2" "$views/sq8"
	ready opq8 rabitq2 sq8
	before=$(sum_of opq8; sum_of rabitq2; sum_of sq8)
	restart
	[ "$(sum_of opq8; sum_of rabitq2; sum_of sq8)" = "$before" ]
	ready opq8 rabitq2 sq8
	cp "$docs/v00001" "$docs/late"
	sync "$docs/late"
	before=$(sum_of opq8; sum_of rabitq2; sum_of sq8)
	crash
	start
	[ "$(ls "$views" | xargs)" = "opq8 rabitq2 sq8" ]
	[ "$(sum_of opq8; sum_of rabitq2; sum_of sq8)" = "$before" ]
	ready opq8 rabitq2 sq8
	python3 "$tools/codes.py" "$docs" opq8 rabitq2 sq8
	# A view that is killed while it is made is made all the same.
	mkdir "$views/opq16"
	crash
	start
	ready opq16
	python3 "$tools/codes.py" "$docs" opq16
}

# flip_in FILE: every byte of a page in the middle of it.
flip_in() {
	python3 - "$1" <<-'P'
		import os, sys
		with open(sys.argv[1], 'r+b') as f:
		    at = 4096 + (os.fstat(f.fileno()).st_size - 4096) // 2 if sys.argv[1].endswith('.npy') else 8
		    f.seek(at)
		    page = f.read(64)
		    f.seek(at)
		    f.write(bytes(b ^ 255 for b in page))
	P
}

@test "damaged codes, tags and models on the disk are never served: they are made anew" {
	local before file n=0
	some
	mkdir "$views/opq8" "$views/sq8"
	ready opq8 sq8
	before=$(sum_of opq8; sum_of sq8)
	stop
	expect_log '.*(opq8|sq8).*'
	for file in store/collections/*/*opq8* store/collections/*/*sq8*; do
		[ -s "$file" ] || continue
		flip_in "$file"
		n=$((n + 1))
		start
		[ "$(sum_of opq8; sum_of sq8)" = "$before" ] || [ "$(state opq8)" != ready ]
		ready opq8 sq8
		python3 "$tools/codes.py" "$docs" opq8 sq8
		[ "$(sum_of opq8; sum_of sq8)" = "$before" ]
		cmp v.npy "$docs/.vecfs/vectors.npy"
		stop
	done
	[ $n -ge 4 ]
}

@test "rmdir of a view, and of its collection, gives the space back" {
	local before
	some 20000
	sync "$docs/v00001"
	before=$(du -s store/collections | cut -f1)
	mkdir "$views/f16"
	ready f16
	[ "$(info f16 disk_bytes)" -ge 1280000 ]
	[ "$(du -c store/collections/*/*.f16.* | tail -n 1 | cut -f1)" -ge 1200 ]
	rmdir "$views/f16"
	is_given_back() {
		sync "$docs/v00001"
		[ "$(du -s store/collections | cut -f1)" -le $((before + 200)) ]
	}
	eventually is_given_back
	[ -z "$(find store -name '*f16*')" ]
}

@test "a view without space lags and says why; vectors are written as long as there is space for them" {
	local n=0 i
	need_root
	mkdir disk
	mount -t tmpfs -o size=64m none disk
	store=$here/disk/store
	expect_log '.*views.*'
	expect_log '.*[Nn]o space left on device.*'
	some 60000
	mkdir "$views/sq8"
	ready sq8
	python3 "$tools/codes.py" "$docs" sq8
	cp "$views/sq8/v00001" code
	dd if=/dev/zero of=disk/fill bs=64k status=none || true
	truncate -s -2M disk/fill
	# What is not encoded yet is more than there is space for.
	mkdir "$views/f16"
	eventually is_lagging f16
	[ -n "$(info f16 why)" ]
	cmp "$views/sq8/v00001" code
	[ "$(stat -c %s "$views/f16/.vecfs/codes.npy")" = $((128 + 60000 * 64)) ]
	head -c 1000000 "$views/f16/.vecfs/codes.npy" >/dev/null # encoded for each reader
	for ((i = 0; i < 200; i++)); do
		cp "$docs/v00001" "$docs/new$i" 2>/dev/null || break
		n=$((n + 1))
	done
	[ $n -gt 0 ]
	rm "$docs/v00000" # deleting works
	rm disk/fill
	cp "$docs/v00001" "$docs/two"
	ready sq8 f16
	python3 "$tools/codes.py" "$docs" sq8 f16
	stop
	vecfs check "$store"
	umount disk
}
is_lagging() { [ "$(state "$1")" = lagging ]; }

@test "a read-only mount reads views, and makes none" {
	local before
	some
	mkdir "$views/opq8"
	ready opq8
	before=$(sum_of opq8)
	restart ro
	[ "$(ls "$views")" = opq8 ]
	[ "$(sum_of opq8)" = "$before" ]
	[ "$(info opq8 code_bytes)" = 8 ]
	python3 "$tools/codes.py" "$docs" opq8
	refused "Read-only file system" mkdir "$views/sq8"
	refused "Read-only file system" rmdir "$views/opq8"
}

@test "another user's views follow the collection's permissions, and codes those of their vectors" {
	need_root
	local as="setpriv --reuid=65534 --regid=65534 --clear-groups --" dir=$here
	while [ "$dir" != / ]; do
		chmod a+x "$dir"
		dir=$(dirname "$dir")
	done
	some 300 allow_other
	mkdir "$views/sq8"
	ready sq8
	$as cat "$views/sq8/v00001" | cmp - "$views/sq8/v00001"
	$as cat "$views/sq8/.vecfs/codes.npy" | cmp - "$views/sq8/.vecfs/codes.npy"
	refused "Permission denied" $as mkdir "$views/f16"
	refused "Permission denied" $as rmdir "$views/sq8"
	refused "Permission denied" $as sh -c "echo seed=1 >$views/sq8/.vecfs/params"
	chmod 600 "$docs/v00001"
	refused "Permission denied" $as cat "$views/sq8/v00001"
	refused "Permission denied" $as cat "$views/sq8/.vecfs/decoded/v00001"
	chmod 700 "$docs"
	refused "Permission denied" $as ls "$views/sq8"
	refused "Permission denied" $as cat "$views/sq8/.vecfs/codes.npy"
}

@test "recall is measured when it is read, told by info and stat from then on, and warned of where it is low" {
	some 3000
	mkdir "$views/sq8" "$views/bit" "$views/opq8"
	ready sq8 bit opq8
	[ -z "$(info opq8 recall_rerank0)" ]
	grep -qx recall_queries=200 "$views/sq8/.vecfs/recall"
	grep -qx recall_rows=3000 "$views/sq8/.vecfs/recall"
	python3 - "$views" <<-'P'
		import sys
		def recall(view):
		    lines = dict(l.strip().split('=') for l in open(sys.argv[1] + '/' + view + '/.vecfs/recall'))
		    r = [float(lines['recall_rerank%d' % n]) for n in (0, 20, 50, 100)]
		    assert r[1] <= r[2] + 1e-9 and r[2] <= r[3] + 1e-9, r
		    return r
		assert recall('sq8')[1] == 1, recall('sq8')
		bit, opq = recall('bit'), recall('opq8')
		assert bit[0] < opq[0] < 1 and opq[3] > .95, (bit, opq)
	P
	[ -n "$(info opq8 recall_rerank100)" ]
	[ "$(stat -c %s "$views/sq8/.vecfs/recall")" = 0 ] # as that of near/ID
	info opq8 warning | grep -q "fewer than the 9984"
	restart ro
	grep -qx recall_queries=200 "$views/sq8/.vecfs/recall"
}

@test "info counts what cannot be found, and warns where recall is below 0.5" {
	start
	mkdir "$docs"
	printf 'dim=32\nmetric=cosine\n' >"$docs/.vecfs/schema"
	python3 - <<-'P'
		import numpy as np
		v = np.random.default_rng(1).standard_normal((3000, 32)).astype('<f4')
		v[5, 3], v[70, 0], v[71, 31] = np.nan, np.inf, -np.inf
		v[9] = v[2999] = 0
		np.save('v.npy', v)
	P
	vecfs import -q "$docs" v.npy
	mkdir "$views/pq1x4" "$views/sq8" "$views/rabitq1"
	ready pq1x4 sq8 rabitq1
	for view in pq1x4 sq8 rabitq1; do
		[ "$(info $view nonfinite)" = 3 ]
		[ "$(info $view undirected)" = 2 ]
		cat "$views/$view/.vecfs/recall" >/dev/null
	done
	info pq1x4 warning | grep -q "recall@10 is below 0.5"
	no grep -q "recall@10 is below" "$views/sq8/.vecfs/info"
	# One of them is found, and is counted no more.
	cp "$docs/1" "$docs/9"
	is_counted() { [ "$(info sq8 undirected)" = 1 ]; }
	eventually is_counted
}

@test "an opq96 view takes less than 100 bytes a vector of 768 dims, beside its model" {
	deadline_s=$((120 * patience)) # the builder has what others leave
	local files
	start
	python3 - <<-'P'
		import numpy as np
		base = np.random.default_rng(1).standard_normal((10000, 768)).astype('<f4')
		v = np.lib.format.open_memmap('v.npy', 'w+', '<f4', (20000, 768))
		for i in range(2):
		    v[i * 10000:][:10000] = base + np.float32(i)
	P
	vecfs import -q "$docs" v.npy
	rm v.npy
	mkdir "$views/opq96"
	ready opq96
	stop
	files=$(du -c --block-size=1 store/collections/*/*.opq96.*.codes.npy store/collections/*/*.opq96.*.tags | tail -n 1 | cut -f 1)
	[ "$files" -ge $((96 * 20000)) ]
	[ "$files" -le $((100 * 20000)) ]
	# The rotation and the codebook, once.
	[ "$(du --block-size=1 store/collections/*/view.opq96.1.npy | cut -f 1)" -le $((4 * (768 * 768 + 256 * 768) + 16384)) ]
}

# anonymous: bytes of the daemon's memory that no file backs.
anonymous() { awk '/^RssAnon:/ { print $2 * 1024 }' "/proc/$daemon/status"; }

@test "a view takes less than a byte of memory a vector" {
	deadline_s=$((120 * patience)) # the builder has what others leave
	local before
	[ -z "${VECFS_BUILD:-}" ] || [[ $VECFS_BUILD != *-* ]] || skip "instrumented memory is another"
	start
	python3 -c "import numpy as np; np.save('v.npy', np.random.default_rng(1).standard_normal((1000000, 16)).astype('<f4'))"
	vecfs import -q "$docs" v.npy
	rm v.npy
	restart
	[ "$(ls -U "$docs" | wc -l)" = 1000000 ]
	before=$(anonymous)
	mkdir "$views/pq4" "$views/rabitq1"
	ready pq4 rabitq1
	is_small() { [ $(($(anonymous) - before)) -le 2000000 ]; }
	eventually is_small || {
		echo "$before before, $(anonymous) with two views of a million vectors"
		return 1
	}
}

# wanting: for how many milliseconds each of the daemon's threads has run, or waited for a processor.
wanting() { awk '{print FILENAME, int(($1 + $2) / 1e6)}' /proc/"$daemon"/task/*/schedstat; }

@test "a daemon that has views, and that nobody asks anything, rests" {
	some
	mkdir "$views"/opq8 "$views"/sq8 "$views"/f16
	ready opq8 sq8 f16
	sleep 2
	wanting >before
	sleep 3
	wanting >after
	join before after | awk '$3 - $2 > 1500 {print "goes on:", $1, $3 - $2, "ms of 3 s"; busy = 1} END {exit busy}'
}

@test "stat, stats and metrics show each view: bytes, ratio, state, recall, drift" {
	some 3000
	mkdir "$views/opq8" "$views/sq8"
	ready opq8 sq8
	cat "$views/opq8/.vecfs/recall" >recall
	vecfs stat "$docs" | grep -E '^  opq8 +ready +8 code_bytes +16\.00 ratio .* recall_rerank100'
	vecfs stat "$mnt" | grep -E '^  docs +sq8 +ready +44 code_bytes'
	vecfs stat --json "$docs" >one.json
	vecfs stat --json "$mnt" >mount.json
	grep -q '^view=opq8 state=ready code_bytes=8 ratio=16.00 ' "$docs/.vecfs/stats"
	grep -qx 'vecfs_view_rows_encoded{collection="docs",view="sq8"} 3000' "$mnt/.vecfs/metrics"
	grep -qx 'vecfs_view_rows_lagging{collection="docs",view="sq8"} 0' "$mnt/.vecfs/metrics"
	stop
	vecfs stat --json store >store.json
	vecfs stat store | grep -E '^  docs +opq8 +ready +8 code_bytes'
	python3 - <<-'P'
		import json
		for file in 'one.json', 'mount.json', 'store.json':
		    views = {v['name']: v for v in json.load(open(file))['views']}
		    assert sorted(views) == ['opq8', 'sq8'], views
		    opq = views['opq8']
		    assert (opq['state'], opq['code_bytes'], opq['ratio']) == ('ready', 8, 16), opq
		    if file != 'store.json':
		        assert opq['rows_encoded'] == 3000 and opq['disk_bytes'] >= 3000 * 8, opq
		    assert ('collection' in opq) == (file != 'one.json')
		    if file != 'store.json':
		        assert opq['recall_rerank100'] > .95, opq
	P
}

@test "vecfs train makes a view, waits for it and says what it is worth" {
	some 3000
	expect_log 'docs/.vecfs/views/opq8: trained anew; .*'
	run vecfs train "$docs" opq8 --seed 5 --train 1000 --retrain auto
	[ "$status" = 0 ]
	[[ $output == *"opq8: 8 bytes a vector, 16.00 times smaller; recall@10 0."* ]]
	[ "$(state opq8)" = ready ]
	[ "$(xargs <"$views/opq8/.vecfs/params")" = "seed=5 train=1000 retrain=auto" ]
	[ "$(info opq8 rows_trained)" = 1000 ]
	# The same again only waits.
	run vecfs train -q "$docs" opq8
	[ "$status" = 0 ]
	[ -z "$output" ]
	[ "$(xargs <"$views/opq8/.vecfs/params")" = "seed=5 train=1000 retrain=auto" ]
	refused "docs: pq99: 99 sub-vectors are more than the 32 dims" vecfs train "$docs" pq99
	refused "docs: opq8: got seed=x, want a number" vecfs train "$docs" opq8 --seed x
	refused "want a directory of a mount" vecfs train "$here" opq8
	refused "want a directory of a mount" vecfs train "$mnt/nothing" opq8
	refused "want COLLECTION and VIEW" vecfs train "$docs"
	vecfs train --help | grep -q -- '--retrain'
}

@test "vecfs train on a terminal; one that is interrupted leaves the view training" {
	start
	python3 - <<-'P'
		import numpy as np
		np.save('v.npy', np.random.default_rng(1).standard_normal((20000, 256)).astype('<f4'))
	P
	vecfs import -q "$docs" v.npy
	run script -qec "$VECFS_BIN train $docs opq32" /dev/null
	[ "$status" = 0 ]
	[[ $output == *$'\e[K'*"train opq32"* ]]
	[[ $output == *"opq32: 32 bytes a vector, 32.00 times smaller; recall@10"* ]]
	(outside "$VECFS_BIN" train "$docs" opq16) >said 2>&1 &
	train=$!
	eventually test -d "$views/opq16"
	kill -INT $train || true
	kill -TERM $train 2>/dev/null || true
	wait $train && status=0 || status=$?
	if [ $status != 0 ]; then grep "opq16: interrupted; it goes on in the background" said; fi
	ready opq16
	(outside "$VECFS_BIN" train "$docs" opq8) >/dev/null 2>&1 &
	train=$!
	eventually test -d "$views/opq8"
	kill -KILL $train 2>/dev/null || true
	wait $train || true
	ready opq8
}

@test "a shell, numpy, perl, C and node read codes by nothing but file calls" {
	some
	cp "$docs/v00003" "$docs/twin"
	mkdir "$views/opq8"
	ready opq8
	od -An -v -tu1 -w1 "$views/opq8/v00003" | tr -d ' ' >want
	python3 - "$views/opq8" <<-'P' >count
		import numpy as np, sys
		code = np.fromfile(sys.argv[1] + '/v00003', 'u1')
		codes = np.load(sys.argv[1] + '/.vecfs/codes.npy', mmap_mode='r')
		print((codes == code).all(1).sum())
	P
	[ "$(cat count)" -ge 2 ]
	cat count >>want
	perl "$tools/codes.pl" "$views/opq8" v00003 | cmp - want
	cc -O1 -o codes "$tools/codes.c"
	./codes "$views/opq8" v00003 | cmp - want
	if command -v node; then node "$tools/codes.js" "$views/opq8" v00003 | cmp - want; fi
	[ "$(dd if="$views/opq8/.vecfs/codes.npy" bs=1 skip=128 count=8 status=none | od -An -v -tu1 -w1 | wc -l)" = 8 ]
	cp -r "$views/opq8" copy
	[ "$(ls copy | wc -l)" = 2001 ]
	chmod u+w copy # as its view is not: it would stay behind
	tar -cf - -C "$views" opq8 | tar -tf - | grep -c v0 | grep -qx 2000
}
