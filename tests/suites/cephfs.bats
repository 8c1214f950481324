# A store on CephFS: real servers on this machine (tools/cephcluster.sh), and a ceph-fuse for each machine. For --long
# only: it installs Ceph's packages, and takes some minutes.
#
#   VECFS_CEPH_ROUNDS=50 VECFS_CEPH_SEED=7 VECFS_LONG=1 bats -f 'any mix' tests/suites/cephfs.bats
#
# goes through so many rounds of any mix, the same for the same seed; a minute each. VECFS_CEPH_FULL is how often the
# cluster fills up under load.
# transports: none
# timeout: 1500
load helper

rounds=${VECFS_CEPH_ROUNDS:-5}
seed=${VECFS_CEPH_SEED:-$((SRANDOM % 10000))}
full_rounds=${VECFS_CEPH_FULL:-4}
export BATS_TEST_TIMEOUT=$((600 + 150 * (rounds + full_rounds)))
cluster=$BATS_FILE_TMPDIR/ceph
ceph_sh=$tools/${VECFS_CLUSTER:-cephcluster.sh}

setup_file() {
	[ "$VECFS_LONG" = 1 ] && [ "$(id -u)" = 0 ] || return 0
	provide_python
	"$ceph_sh" install
	"$ceph_sh" up "$cluster" 2
}
teardown_file() {
	[ -d "$cluster" ] || return 0
	"$ceph_sh" down "$cluster"
	unmount_below "$cluster"
}

# Two machines, which begin with a new store each time.
setup() {
	[ "$VECFS_LONG" = 1 ] || skip "with --long only"
	need_root
	begin
	deadline_s=180
	machine one
	machine two
	rm -rf "$cluster/two/store"
	store=$cluster/one/store there=$cluster/two/store
	expect_log 'standing by for .*'
}
teardown() {
	end
	gone one
	gone two
}

machine() { mountpoint -q "$cluster/$1" || "$ceph_sh" mount "$cluster" "$1"; }
gone() { "$ceph_sh" unmount "$cluster" "$1"; }
pid_of() { cat "$cluster/run/$1.pid"; }
ceph() { CEPH_CONF=$cluster/ceph.conf timeout 30 ceph "$@"; }
serves() { grep -q "vecfs: serving" "$1"; }

# stands_by: a standby on the other machine; its process is $standby.
standby_mnt=
stands_by() {
	: "${standby_mnt:=$here/mnt2}"
	mkdir -p "$standby_mnt"
	standby_log=$(mktemp "$here/daemon.XXXXXX.log")
	(outside "$VECFS_BIN" mount -f -o standby "$there" "$standby_mnt") </dev/null >>"$standby_log" 2>&1 &
	standby=$!
	running+=("$standby")
	eventually grep -q "standing by" "$standby_log"
}
# ends_standby: what it became is unmounted, closes cleanly, and leaves a sound store.
ends_standby() {
	vecfs umount mnt2
	wait "$standby"
	vecfs check "$there"
	store=$there
}

loads() { # COLLECTION SECONDS [OPTION...]: a load in the background, for so long
	background python3 "$tools/crashload.py" run "$mnt/$1" journal --seed "$RANDOM" "${@:3}" >said
	load=$!
	sleep "$2"
}
judged() { python3 "$tools/crashload.py" verify "$1" journal; }

fenced_lines() {
	expect_log '.*: Input/output error'
	expect_log '.*; the store is read-only until it is mounted again'
	expect_log '.*: not closed cleanly: .*'
	expect_log '.*: checksum mismatch'
}

@test "works: vectors, batches, arrays, search; a second machine is refused, and takes over after an unmount" {
	start
	mkdir mnt/docs
	for id in a b c; do vec 1 100 >mnt/docs/$id; done
	sync mnt/docs
	python3 -c "import numpy as np; np.save('rows.npy', np.random.rand(5000, 100).astype('f4'))"
	mkdir mnt/many
	vecfs import -q mnt/many rows.npy
	vecfs export -q mnt/many out.npy
	cmp <(tail -c 2000000 rows.npy) <(tail -c 2000000 out.npy)
	[ "$(grep -vc '#' <mnt/many/.vecfs/near/7)" = 10 ]
	mkdir mnt2
	refused "in use by process $daemon" vecfs mount -f "$there" mnt2
	stands_by
	stop
	begin_ms=$(date +%s%3N)
	eventually serves "$standby_log"
	echo "handed over in $(($(date +%s%3N) - begin_ms)) ms"
	cmp mnt2/docs/a mnt2/docs/c
	vecfs export -q mnt2/many out2.npy
	cmp out.npy out2.npy
	ends_standby
}

# ------------------------------------------------------------------ any mix

# What the servers suffer while the load runs.
osd_dies() {
	local osd=$((RANDOM % 3))
	kill -KILL "$(pid_of osd.$osd)"
	sleep $((2 + RANDOM % 10))
	"$ceph_sh" osd "$cluster" $osd
}
servers_stop() {
	"$ceph_sh" signal "$cluster" STOP
	sleep "$1"
	"$ceph_sh" signal "$cluster" CONT
}
# fills MACHINE: returns when the cluster refuses writes of that one.
fills() {
	ceph osd set-nearfull-ratio 0.00001
	ceph osd set-backfillfull-ratio 0.00002 # an OSD takes the largest of the three for full
	ceph osd set-full-ratio 0.00003
	eventually cannot_write "$1"
}
cannot_write() { ! timeout 20 dd if=/dev/zero of="$cluster/$1/probe" bs=4096 count=1 conv=fsync status=none 2>/dev/null; }
empties() {
	ceph osd set-full-ratio 0.95
	ceph osd set-backfillfull-ratio 0.9
	ceph osd set-nearfull-ratio 0.85
}

# ends_owner HOW: it is over with the owner, and the standby serves. The load has ended.
ends_owner() {
	case $1 in
	killed) kill_daemon ;;
	machine) # with its locks: Ceph waits for session_timeout
		kill -KILL "$(pid_of "$here_is")"
		kill_daemon
		;;
	frozen)
		local pid=$daemon
		kill -STOP "$(pid_of "$here_is")" "$pid"
		eventually serves "$standby_log"
		kill -CONT "$(pid_of "$here_is")" "$pid"
		no durably "$mnt/docs/late"
		kill_daemon
		;;
	unmounted)
		kill -TERM "$load" || : # an error may have ended it
		wait "$load"
		load=
		run vecfs umount "$mnt"
		wait "$daemon" || :
		daemon=
		;;
	esac
	take_away "$mnt"
	begin_ms=$(date +%s%3N)
	[ -z "$load" ] || wait "$load"
	eventually serves "$standby_log"
}
durably() { # FILE
	vec 1 768 >"$1" 2>/dev/null && timeout 60 sync "$1" 2>/dev/null
}

# The machines change places: the owner is a standby's, and where it was waits next.
change_places() {
	local other=$here_is
	gone "$here_is"
	machine "$here_is"
	here_is=$there_is there_is=$other
	store=$cluster/$here_is/store there=$cluster/$there_is/store
	daemon=$standby log=$standby_log
	[ $mnt = "$here/mnt" ] && mnt=$here/mnt2 standby_mnt=$here/mnt || mnt=$here/mnt standby_mnt=$here/mnt2
}

ends=(killed killed machine frozen unmounted)
one_round() {
	local what=nothing how
	rm -rf "${mnt:?}"/docs/*
	stands_by
	loads docs 3 --fragile
	case $((RANDOM % 5)) in
	0) what="osd dies" && osd_dies ;;
	1) what="servers stop" && servers_stop $((5 + RANDOM % 26)) ;;
	2) what=full && fills "$there_is" && sleep $((RANDOM % 8)) && empties ;;
	esac
	sleep $((2 + RANDOM % 5))
	how=${ends[RANDOM % ${#ends[@]}]}
	ends_owner "$how"
	echo "round $1: $what, then $how: taken over after $(($(date +%s%3N) - begin_ms)) ms" >&3
	change_places
	judged "$mnt/docs"
}

@test "any mix: servers that die, stop or are full, owners that are killed, frozen or unmounted: nothing durable is lost" {
	expect_log '.*(Input/output error|No space left on device).*'
	expect_log '.*: not closed cleanly: .*'
	expect_log '.*: checksum mismatch'
	echo "seed $seed" >&3
	RANDOM=$seed
	here_is=one there_is=two standby_mnt=$here/mnt2
	start
	mkdir mnt/docs
	for ((round = 0; round < rounds; round++)); do
		one_round $round
		[ $((round % 5)) != 4 ] || {
			stop
			vecfs check "$store"
			start
			judged "$mnt/docs"
		}
	done
	stop
	vecfs check "$store"
}

@test "an owner that is frozen, taken over and thawed: none of 1,000 writes is acknowledged" {
	fenced_lines
	start
	mkdir mnt/docs
	for id in a b c; do vec 1 100 >mnt/docs/$id; done
	sync mnt/docs
	stands_by
	kill -STOP "$(pid_of one)" "$daemon"
	eventually serves "$standby_log"
	cmp mnt2/docs/a mnt2/docs/c
	vec 2 100 >mnt2/docs/new
	sync mnt2/docs/new
	kill -CONT "$(pid_of one)" "$daemon"
	cat >late.py <<-'P'
		import os
		done = 0
		for i in range(1000):
		    try:
		        fd = os.open(f"mnt/docs/late{i}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
		        os.write(fd, b"x" * 400)
		        os.fsync(fd)
		        done += 1
		    except OSError:
		        pass
		print(done)
	P
	[ "$(timeout 200 python3 late.py)" = 0 ]
	run vecfs umount "$mnt"
	status=0
	wait "$daemon" || status=$?
	daemon=
	[ "$status" = 1 ] # an end of its own
	[ "$(ls mnt2/docs | tr '\n' ' ')" = "a b c new " ]
	vec 2 100 | cmp - mnt2/docs/new
	ends_standby
}

@test "an OSD that is killed under load, and servers that stop for 30 s: all goes on" {
	start
	mkdir mnt/docs
	loads docs 4
	kill -KILL "$(pid_of osd.1)"
	sleep 12
	"$ceph_sh" osd "$cluster" 1
	sleep 6
	"$ceph_sh" signal "$cluster" STOP
	sleep 30
	"$ceph_sh" signal "$cluster" CONT
	sleep 8
	kill -TERM "$load"
	wait "$load"
	cat said
	judged mnt/docs
	stop
	start
	judged mnt/docs
}

# Once the log has met it the store is read-only until it is mounted again: a client that is full drops what it has taken.
@test "a full cluster: refused, then read-only, and all that was durable is there when there is space" {
	expect_log '.*: No space left on device.*'
	fenced_lines
	start
	mkdir mnt/docs
	for id in a b c; do vec 1 768 >mnt/docs/$id; done
	sync mnt/docs
	fills one
	no durably mnt/docs/first # met by its sync
	vec 2 768 >vector
	refused "" cp vector mnt/docs/late
	for id in a b c; do # served, unless the client has dropped it
		run cmp mnt/docs/$id <(vec 1 768)
		[ "$status" = 0 ] || [[ $output == *"Input/output error"* ]]
	done
	empties
	run vecfs umount "$mnt"
	wait "$daemon" || :
	daemon=
	start
	cmp mnt/docs/a mnt/docs/c
	eventually durably mnt/docs/again
	restart
	cmp mnt/docs/a mnt/docs/c
	vec 1 768 | cmp - mnt/docs/again
}

# can_write MACHINE: the cluster takes what that one writes.
can_write() { timeout 20 dd if=/dev/zero of="$cluster/$1/probe" bs=4096 count=1 conv=fsync status=none 2>/dev/null; }

# What the client drops then it has taken, and fsync says nothing of it afterwards: only a close does. Rows are applied,
# in the owner's client alone, which is told not to write them back by itself.
@test "a cluster that is full while the owner rests: what its client drops is noticed, and nothing durable is lost" {
	expect_log '.*: No space left on device.*'
	fenced_lines
	ceph daemon "$cluster/run/client.admin.$(pid_of one).asok" config set client_oc_max_dirty_age 600
	bytes 4096 >"$cluster/two/other"
	start
	mkdir mnt/docs
	for id in {1..200}; do vec "$id" 768 >"mnt/docs/$id"; done
	sync mnt/docs
	sleep 1
	fills two
	cat "$cluster/one/other" >vector # so it hears that the cluster is full
	sleep 2
	empties
	eventually can_write one
	run vecfs umount "$mnt"
	status=0
	wait "$daemon" || status=$?
	daemon=
	[ "$status" = 1 ]
	gone one # with all that it remembers
	machine one
	start
	for id in {1..200}; do vec "$id" 768 | cmp - "mnt/docs/$id"; done
	[ "$(ls mnt/docs | wc -l)" = 200 ]
}

one_full_round() {
	loads docs 2 --fragile
	fills two
	sleep $((RANDOM % 6))
	[ $((RANDOM % 2)) = 0 ] || empties # before or after its end
	kill -TERM "$load" 2>/dev/null || :
	wait "$load"
	if [ $(($1 % 2)) = 0 ]; then
		run vecfs umount "$mnt"
		wait "$daemon" || :
		daemon=
	else
		crash
	fi
	empties
	eventually can_write one
	[ $((RANDOM % 2)) = 0 ] || { gone one && machine one; } # what its client remembers is not what the servers have
	start
	judged mnt/docs
	echo "round $1" >&3
}

@test "a cluster that fills up under load, again and again, the owner unmounted or killed: nothing durable is lost" {
	expect_log '.*(Input/output error|No space left on device).*'
	expect_log '.*: not closed cleanly: .*'
	expect_log '.*: checksum mismatch'
	echo "seed $seed" >&3
	RANDOM=$seed
	start
	mkdir mnt/docs
	for ((round = 0; round < full_rounds; round++)); do
		one_full_round $round
		[ $((round % 5)) != 4 ] || {
			stop
			vecfs check "$store"
			start
			judged mnt/docs
		}
	done
}

@test "a quota that is used up under load: refused, and nothing durable is lost" {
	need setfattr
	expect_log '.*: Disk quota exceeded.*'
	fenced_lines
	start
	mkdir mnt/docs
	sync mnt
	quota=$(($(stat -c %s "$store") + (6 << 20)))
	setfattr -n ceph.quota.max_bytes -v $quota "$store"
	timeout 200 python3 "$tools/crashload.py" run mnt/docs journal --ids 20000 --seed 3 --readers 0 --fragile # to the first error
	vec 2 768 >vector
	refused "" cp vector mnt/docs/late
	setfattr -n ceph.quota.max_bytes -v 0 "$store"
	run vecfs umount "$mnt"
	wait "$daemon" || :
	daemon=
	start
	python3 "$tools/crashload.py" verify mnt/docs journal --readers 0
}
