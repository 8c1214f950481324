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
