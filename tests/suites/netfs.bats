# What lies below the store is no local disk: it goes away, lacks calls, or belongs to several machines
# (tools/faultfs.c), and a standby waits for it.
# sanitize: yes
load helper

faultfs=${VECFS_BUILD:-$top/build}/tests/faultfs
lower=() # the processes of `below`

teardown() {
	local failed=0 pid
	end || failed=1
	for pid in "${lower[@]}"; do kill -KILL "$pid" 2>/dev/null || :; done
	return $failed
}

# below NAME: a faultfs over ./disk at ./NAME, told what fails by ./NAME.rules; its process is $last.
below() {
	mkdir -p disk "$1"
	touch "$1.rules"
	(outside env FAULTFS_RULES="$here/$1.rules" FAULTFS_LOG="$here/$1.calls" "$faultfs" -f "$here/disk" "$here/$1") </dev/null &
	last=$!
	lower+=("$last")
	eventually mountpoint -q "$1"
}

# fails NAME LINE...: from now on.
fails() {
	printf '%s\n' "${@:2}" >"$1.new"
	mv "$1.new" "$1.rules"
}

# some FOLDER: three hundred vectors, named by numbers.
some() {
	mkdir "$mnt/$1"
	python3 - "$mnt/$1" <<-'P'
		import sys, struct
		for i in range(300):
		    open(f"{sys.argv[1]}/{i}", "wb").write(struct.pack("<100f", *([i] * 100)))
	P
}
# intact FOLDER: they are what they were.
intact() {
	python3 - "$mnt/$1" <<-'P'
		import os, sys, struct
		assert len(os.listdir(sys.argv[1])) == 300, os.listdir(sys.argv[1])
		for i in range(300):
		    assert open(f"{sys.argv[1]}/{i}", "rb").read() == struct.pack("<100f", *([i] * 100)), i
	P
}

poisoned_lines() {
	expect_log 'cannot read a mapped file: Input/output error; the store is read-only until it is mounted again'
	expect_log '.*: Input/output error'
	expect_log '.*: not closed cleanly: .*'
}

# poisoned: the daemon lives, says so, and refuses changes.
poisoned() {
	eventually grep -q 'cannot read a mapped file: Input/output error; the store is read-only until it is mounted again' "$log"
	[ "$(metric read_only)" = 1 ]
	refused "Read-only file system" mkdir mnt/more
	refused "Read-only file system" rmdir mnt/empty
}

# ends: unmounts a poisoned store: the daemon exits with 1, and by no signal.
ends() {
	run vecfs umount "$mnt"
	status=0
	wait "$daemon" || status=$?
	daemon=
	[ "$status" = 1 ]
	[ -z "$(mounts_below "$mnt")" ]
}

need_signals() { [[ ${VECFS_BUILD:-} != *-tsan ]] || skip "ThreadSanitizer ends the process at a SIGBUS, whoever handles it"; }

# cut COLUMN: its file is cut off under the daemon, and restored when that has ended.
cut() {
	start
	some docs
	mkdir mnt/empty
	restart
	cp store/collections/1/$1 whole
	truncate -s 0 store/collections/1/$1
}
heal() {
	cat whole >store/collections/1/$1
	start
	intact docs
	mkdir mnt/more
}

@test "a column of rows that is cut off: EIO, EROFS, and nothing is harmed" {
	need_signals
	poisoned_lines
	cut 0.rows
	refused "Input/output error" cat mnt/docs/7
	refused "Input/output error" ls mnt/docs
	refused "Input/output error" cat mnt/docs/.vecfs/ids
	refused "Input/output error" cat mnt/docs/.vecfs/near/7
	refused "Input/output error" cp /dev/null mnt/docs/7
	poisoned
	ends
	heal 0.rows
}

@test "a column of ids that is cut off: EIO, EROFS, and nothing is harmed" {
	need_signals
	poisoned_lines
	cut 0.names
	refused "Input/output error" cat mnt/docs/7
	refused "Input/output error" ls mnt/docs
	refused "Input/output error" cat mnt/docs/.vecfs/ids0
	poisoned
	ends
	heal 0.names
}

@test "an index file that is cut off: EIO for what is not found, EROFS, and nothing is harmed" {
	need_signals
	poisoned_lines
	cut index
	refused "Input/output error" cat mnt/docs/7
	refused "Input/output error" cat mnt/docs/none
	refused "Input/output error" ls mnt/docs
	poisoned
	ends
	heal index
}

@test "a column of vectors that is cut off costs its vectors, and no more" {
	need_signals
	expect_log '.*: (No data available|checksum mismatch)'
	cut 0.npy
	head -c $((4096 + 100 * 400)) whole >store/collections/1/0.npy
	[ "$(grep -vc '#' <mnt/docs/.vecfs/near/7)" = 10 ]
	refused "Input/output error" cat mnt/docs/200
	ls mnt/docs/200
	mkdir mnt/still
	stop
	cat whole >store/collections/1/0.npy
	start
	intact docs
}

@test "a write that met zeros of a lost page is not logged" {
	need_signals
	poisoned_lines
	start commit=60000
	some docs
	mkdir mnt/empty
	restart commit=60000
	mkdir mnt/before && sync mnt/before
	cp store/collections/1/0.rows whole
	truncate -s 0 store/collections/1/0.rows
	refused "Input/output error" mv mnt/docs/5 mnt/docs/after
	poisoned
	ends
	cat whole >store/collections/1/0.rows
	start
	[ -d mnt/before ]
	intact docs
}

@test "a file system below that answers EIO: EIO, EROFS, a clean end; nothing is lost" {
	need_signals
	poisoned_lines
	expect_log '.*: checksum mismatch'
	below net
	store=$here/net/store
	start
	some docs
	mkdir mnt/empty
	restart
	fails net "all EIO"
	kill -USR1 "$last"
	eventually grep -q dropped net.calls
	refused "Input/output error" cat mnt/docs/7
	refused "Input/output error" ls mnt/docs
	poisoned
	ends
	fails net
	start
	intact docs
	mkdir mnt/more
	stop
	vecfs check "$store"
	fusermount3 -u net
	store=$here/disk/store
}

@test "a file system below that goes away: the daemon unmounts and ends" {
	need_signals
	poisoned_lines
	expect_log '.*: checksum mismatch'
	expect_log 'cannot .*: Input/output error; the store is read-only until it is mounted again'
	below net
	store=$here/net/store
	start
	some docs
	sync mnt/docs
	kill -KILL "$last"
	refused "" cp /dev/null mnt/docs/new
	for id in 1 2 3; do run cat mnt/docs/$id; done
	refused "" cp mnt/docs/7 mnt/docs/new
	run stat mnt
	[[ $output != *"not connected"* ]] # that would say that the daemon is dead
	ends
	umount -l net || fusermount3 -uz net
	store=$here/disk/store
	start
	intact docs
}

# A client of full servers takes rows and drops them; its fsync says that all is well, and a close alone tells (ceph-fuse 16.2).
@test "what a client has taken and dropped is told at a close only: no checkpoint is made of it, and the log keeps it" {
	expect_log 'cannot .*: No space left on device; the store is read-only until it is mounted again'
	expect_log '.*: not closed cleanly: .*'
	expect_log '.*: checksum mismatch'
	below net
	store=$here/net/store
	for end in "vecfs umount $mnt" "kill -TERM"; do
		start
		mkdir mnt/docs0
		vec 1 100 >mnt/docs0/a
		sync mnt/docs0
		fails net "lose ENOSPC /collections/"
		some docs
		sync mnt/docs # the log is not dropped: durable
		sleep 1       # and applied
		fails net
		[ "$end" != "kill -TERM" ] || end="kill -TERM $daemon" # which may run a command that unmounts
		run $end
		status=0
		wait "$daemon" || status=$?
		daemon=
		[ "$status" = 1 ]
		kill -USR1 "$last" # nor does the next owner see what this machine alone remembers
		eventually grep -q dropped net.calls
		start
		intact docs
		vec 1 100 | cmp - mnt/docs0/a
		rm -r mnt/docs mnt/docs0
		stop
		vecfs check "$store"
	done
	fusermount3 -u net
	store=$here/disk/store
}

@test "a frame of the log that a client has dropped is not acknowledged" {
	expect_log 'cannot .*: No space left on device; the store is read-only until it is mounted again'
	expect_log '.*: not closed cleanly: .*'
	below net
	store=$here/net/store
	start
	some docs
	sync mnt/docs
	vec 9 100 >new
	fails net "lose ENOSPC /log."
	refused "" durably_as new mnt/docs/7
	fails net
	refused "Read-only file system" mkdir mnt/more
	run vecfs umount "$mnt"
	wait "$daemon" || :
	daemon=
	start
	[ "$(ls mnt/docs | wc -l)" = 300 ]
	cmp mnt/docs/7 new || intact docs # whole, the one or the other
	stop
	fusermount3 -u net
	store=$here/disk/store
}

@test "vectors that a client has dropped: EIO until they are there again, never as if they had not been" {
	expect_log 'cannot .*: No space left on device; the store is read-only until it is mounted again'
	expect_log '.*: not closed cleanly: .*'
	expect_log '.*: checksum mismatch'
	below net
	store=$here/net/store
	start
	mkdir mnt/docs
	fails net "lose ENOSPC /collections/"
	for id in {1..20}; do vec $id 100 >mnt/docs/$id; done
	sync mnt/docs # by the log: durable
	sleep 1       # and applied
	kill -USR1 "$last"
	eventually grep -q dropped net.calls
	fails net "lose ENOSPC /log."
	vec 9 100 >new
	refused "" durably_as new mnt/docs/21
	fails net
	for id in {1..20}; do refused "Input/output error" cat mnt/docs/$id; done
	refused "Input/output error" ls mnt/docs
	run vecfs umount "$mnt"
	wait "$daemon" || :
	daemon=
	start
	for id in {1..20}; do vec $id 100 | cmp - mnt/docs/$id; done
	stop
	fusermount3 -u net
	store=$here/disk/store
}

@test "an upload that a client has dropped is refused, and so is a batch whose vectors it has" {
	expect_log '.*No space left on device.*'
	expect_log '.*; the store is read-only until it is mounted again'
	expect_log '.*: not closed cleanly: .*'
	expect_log '.*: checksum mismatch'
	below net
	store=$here/net/store
	python3 -c "import numpy as np; np.save('rows.npy', np.random.rand(1000, 1024).astype('f4'))"
	start
	mkdir mnt/big mnt/docs
	fails net "lose ENOSPC /upload."
	refused "" vecfs import -q mnt/big rows.npy
	fails net
	vecfs import -q mnt/big rows.npy # nothing of it was durable: the store goes on
	fails net "lose ENOSPC /collections/"
	mkdir mnt/docs/.vecfs/tx/b
	for ((i = 0; i < 400; i++)); do vec $i 1024 >mnt/docs/.vecfs/tx/b/$i; done
	sync mnt/docs
	sleep 1
	fails net
	refused "" mv mnt/docs/.vecfs/tx/b mnt/docs/.vecfs/commit/
	run vecfs umount "$mnt"
	wait "$daemon" || :
	daemon=
	start
	[ -z "$(ls mnt/docs)" ]
	vecfs export -q mnt/big out.npy
	cmp <(tail -c 4096000 rows.npy) <(tail -c 4096000 out.npy)
	stop
	vecfs check "$store"
	fusermount3 -u net
	store=$here/disk/store
}
durably_as() { cp "$1" "$2" && sync "$2"; }

# ------------------------------------------------------------------ what is not there

# synced CALLS: of all files and names that the store has left, none was written or made after its last sync.
synced() {
	cat >synced.py <<-'P'
		import os, sys
		last = {}
		for n, line in enumerate(open(sys.argv[1])):
		    call, path = line.rstrip("\n").split(" ", 1)
		    last[call, path] = n
		bad = seen = 0
		for path in {p for _, p in last}:
		    if not os.path.lexists("disk" + path) or path.endswith(("/lock", "/standby")):
		        continue
		    wrote = max(last.get((c, path), -1) for c in ("write", "truncate"))
		    if wrote > last.get(("fsync", path), -1):
		        bad += 1; print(path, "not synced")
		    if last.get(("create", path), -1) > last.get(("fsyncdir", os.path.dirname(path)), -1):
		        bad += 1; print(path, "its name not synced")
		    seen += 1
		print(seen, "looked at")
		sys.exit(bad > 0 or seen < int(sys.argv[2]))
	P
	python3 synced.py "$1" "$2"
}

@test "on a file system in user space, to which syncfs says nothing, each file and directory is synced by itself" {
	below net
	store=$here/net/store
	start
	for ((i = 0; i < 100; i++)); do
		mkdir mnt/c$i
		vec $i 10 >mnt/c$i/v
	done
	stop
	synced net.calls 300
	: >net.calls
	start
	for ((i = 0; i < 100; i++)); do vec $i 10 >mnt/c$i/w; done
	stop
	synced net.calls 300
	vecfs check "$store"
	fusermount3 -u net
	store=$here/disk/store
}

@test "a file system without allocation, hole punching, links or names taken back: works, and frees what it can" {
	below net
	store=$here/net/store
	for error in EOPNOTSUPP ENOSYS EINVAL; do
		fails net "fallocate $error" "punch $error" "link $error"
		start
		some docs
		rm -r mnt/docs
		some docs
		head -c $((4 << 20)) /dev/zero >rows.f32
		vecfs import -q --dim 256 mnt/big rows.f32 2>/dev/null || { mkdir mnt/big; vecfs import -q --dim 256 mnt/big rows.f32; }
		rm mnt/big/{1..3000}
		restart
		intact docs
		[ "$(ls mnt/big | wc -l)" = 1096 ]
		df mnt
		vecfs export -q mnt/docs net/out.npy
		python3 -c "import numpy as np; assert np.load('net/out.npy').shape == (300, 100)"
		zstd -q <rows.f32 >net/rows.f32.zst
		mkdir mnt/z
		TMPDIR=$here/net vecfs import -q --dim 256 mnt/z net/rows.f32.zst
		rm -r mnt/docs mnt/big mnt/z net/out.npy
		stop
		vecfs check "$store"
	done
	fusermount3 -u net
	store=$here/disk/store
}

@test "a file system that cannot sync takes no change; one without df serves" {
	below net
	store=$here/net/store
	start
	some docs
	stop
	expect_log '.*; the store is read-only until it is mounted again'
	expect_log '.*: not closed cleanly: .*'
	for rule in "fsync EOPNOTSUPP" "fsync EINVAL"; do
		fails net "$rule"
		refused "cannot sync the catalog" vecfs mount -f -o "$transport" "$store" mnt
		start ro
		intact docs
		stop
	done
	fails net "fsyncdir EIO"
	start
	refused "" mkdir mnt/more
	intact docs
	run vecfs umount "$mnt"
	wait "$daemon" || :
	daemon=
	fails net "statfs ENOSYS"
	start
	no mkdir mnt/docs
	intact docs
	vec 1 100 >mnt/docs/new
	stop
	fails net
	start
	rm mnt/docs/new
	intact docs
	[ "$(ls mnt)" = docs ]
	stop
	fusermount3 -u net
	store=$here/disk/store
}

# ------------------------------------------------------------------ a standby

# stands_by STORE FOLDER [OPTION,...]: a standby in the foreground; its process is $standby, its log $standby_log.
stands_by() {
	mkdir -p "$2"
	standby_log=$(mktemp "$here/daemon.XXXXXX.log")
	(outside env "${standby_env[@]}" "$VECFS_BIN" mount -f -o "$transport,standby${3:+,$3}" "$1" "$here/$2") </dev/null >>"$standby_log" 2>&1 &
	standby=$!
	running+=("$standby")
	expect_log 'standing by for .* at .*: in use by process .*'
	eventually grep -q 'standing by' "$standby_log"
}
standby_env=()
durably() { vec 1 100 >"$1" 2>/dev/null && sync "$1" 2>/dev/null; }
serves() { grep -q "vecfs: serving" "$1"; }
ms() { echo $(($(date +%s%N) / 1000000)); }

@test "a standby waits without serving, says so, and takes over within a second of the owner's unmount" {
	start
	some docs
	stands_by store mnt2
	grep -qx "vecfs: standing by for $here/store at $here/mnt2: in use by process $daemon" "$standby_log"
	no mountpoint -q mnt2
	[[ "$(vecfs stat store)" == *standby*waits* ]]
	sleep 0.5
	no mountpoint -q mnt2
	stop
	begin_ms=$(ms)
	eventually serves "$standby_log"
	took_ms=$(($(ms) - begin_ms))
	echo "$took_ms ms"
	[ $took_ms -le $((1000 * slow)) ]
	mnt=$here/mnt2
	intact docs
	[[ "$(vecfs stat store)" == *state*serving* ]]
	[[ "$(vecfs stat --json mnt2)" == *'"standby": "none"'* ]]
	vecfs umount mnt2
	wait "$standby"
}

@test "a standby takes over from an owner that is killed: nothing durable is lost" {
	start
	some docs
	sync mnt/docs
	stands_by store mnt2
	crash
	eventually serves "$standby_log"
	mnt=$here/mnt2
	intact docs
	vecfs umount mnt2
	wait "$standby"
}

@test "of two standbys one takes over, and the other goes on waiting" {
	start
	stands_by store mnt2
	one=$standby one_log=$standby_log
	stands_by store mnt3
	stop
	either() { serves "$one_log" || serves "$standby_log"; }
	eventually either
	sleep 1
	if serves "$one_log"; then first=mnt2 second=mnt3 last_log=$standby_log; else first=mnt3 second=mnt2 last_log=$one_log; fi
	no serves "$last_log"
	vecfs umount $first
	eventually serves "$last_log"
	vecfs umount $second
	wait "$one"
	wait "$standby"
}

@test "SIGTERM ends a standby that waits; it leaves nothing behind" {
	start
	stands_by store mnt2
	kill -TERM "$standby"
	wait "$standby"
	[[ "$(vecfs stat store)" == *standby*none* ]]
	mkdir mnt/more
	stop
	stands_by_in_vain() { # the store is free: it just serves
		(outside "$VECFS_BIN" mount -f -o "$transport,standby" store "$here/mnt2") </dev/null >>"$standby_log" 2>&1 &
		standby=$!
		running+=($standby)
		eventually serves "$standby_log"
	}
	stands_by_in_vain
	kill -TERM "$standby"
	wait "$standby"
}

@test "in the background a standby's command returns when it waits; vecfs umount ends what it became" {
	start
	mkdir mnt2
	vecfs mount -o "$transport,standby" store mnt2
	no mountpoint -q mnt2
	[[ "$(vecfs stat store)" == *standby*waits* ]]
	stop
	eventually mountpoint -q mnt2
	mkdir mnt2/more
	vecfs umount mnt2
	no mountpoint -q mnt2
}

@test "a standby tells the service manager what it does" {
	start
	cat >listen.py <<-'P'
		import socket
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind("notify")
		while True:
		    print(s.recv(9999).decode().replace("\n", "|"), flush=True)
	P
	background sh -c 'exec python3 listen.py >told 2>&1'
	eventually [ -S notify ]
	standby_env=(NOTIFY_SOCKET="$here/notify")
	stands_by store mnt2
	eventually grep -qx "READY=1|STATUS=standing by for $here/store: in use by process $daemon" told
	stop
	eventually grep -qx "READY=1|STATUS=serving $here/store at $here/mnt2" told
	vecfs umount mnt2
	wait "$standby"
	eventually grep -qx "STOPPING=1" told
}

@test "what a standby could not do when it is needed is refused when it is started" {
	refused "standby,ro" vecfs mount -f -o standby,ro store mnt
	start
	mkdir mnt2 mnt3
	refused "unknown mount option" vecfs mount -f -o standby,standbye store mnt2
	refused "make it first" vecfs mount -f -o standby store mnt4
	refused "mounted here already" vecfs mount -f -o standby store mnt
	mkdir other
	touch other/file
	refused "not a vecfs store" vecfs mount -f -o standby other mnt2
	[ "$(id -u)" = 0 ] || return 0
	echo N >no
	refused "io_uring=on: " unshare -m sh -c "mount --bind no /sys/module/fuse/parameters/enable_uring; exec timeout 10 '$VECFS_BIN' mount -f -o standby,io_uring=on store mnt2"
	[[ $output != *"standing by"* ]]
	chmod 0777 mnt3
	grep -qx user_allow_other /etc/fuse.conf || refused "allow_other: /etc/fuse.conf" \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$VECFS_BIN" mount -f -o standby,allow_other store mnt3
}

@test "a standby whose mountpoint goes away gives the store up again, and one whose store is no more ends" {
	start
	some docs
	stands_by store mnt2
	rmdir mnt2
	stop
	status=0
	wait "$standby" || status=$?
	expect_log '.*mnt2: No such file or directory'
	grep -q "mnt2: No such file or directory" "$standby_log"
	start
	intact docs
	stop
	mkdir gone
	vecfs mount -o "$transport" gone mnt
	stands_by gone mnt2
	rm -r gone
	status=0
	wait "$standby" || status=$?
	[ "$status" = 1 ]
	expect_log '.*gone: .*'
	grep -q "gone: No such file or directory" "$standby_log"
	run vecfs umount mnt
}

@test "a file system that cannot lock is refused" {
	below net
	for error in EOPNOTSUPP ENOSYS EINVAL; do
		fails net "flock $error"
		refused "cannot lock" vecfs mount -f -o "$transport" net/store mnt
		[ ! -e disk/store/catalog.0 ]
	done
	fusermount3 -u net
}

@test "two machines: the second is refused, waits, and takes over when the first has lost its file system" {
	need_signals
	poisoned_lines
	expect_log 'cannot .*: Input/output error; the store is read-only until it is mounted again'
	below one
	one=$last
	below two
	store=$here/one/store
	start
	some docs
	sync mnt/docs
	mkdir mnt3
	refused "in use by process $daemon" vecfs mount -f -o "$transport" two/store mnt3
	stands_by two/store mnt2
	kill -KILL "$one"
	eventually serves "$standby_log"
	for ((i = 0; i < 20; i++)); do
		no durably "mnt/docs/late$i"
	done
	first=$mnt
	mnt=$here/mnt2
	intact docs
	mkdir mnt2/more
	mnt=$first
	ends
	umount -l one || fusermount3 -uz one
	vecfs umount mnt2
	wait "$standby"
	vecfs check two/store
	fusermount3 -u two
	store=$here/disk/store
}
