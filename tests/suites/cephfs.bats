# A store on CephFS: real servers on this machine (tools/cephcluster.sh), and a ceph-fuse for each machine. For --long
# only: it installs Ceph's packages, and takes some minutes.
# transports: none
# timeout: 600
load helper

export BATS_TEST_TIMEOUT=600
cluster=$BATS_FILE_TMPDIR/ceph
ceph_sh=$tools/cephcluster.sh
rounds=${VECFS_CEPH_ROUNDS:-3}

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
	need ceph-fuse
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
	fusermount3 -uz "$cluster/one" || :
	fusermount3 -uz "$cluster/two" || :
}

machine() { mountpoint -q "$cluster/$1" || "$ceph_sh" mount "$cluster" "$1"; }
pid_of() { cat "$cluster/run/$1.pid"; }
ceph() { CEPH_CONF=$cluster/ceph.conf timeout 30 ceph "$@"; }
serves() { grep -q "vecfs: serving" "$1"; }

# stands_by: a standby on machine two; its process is $standby.
stands_by() {
	mkdir -p mnt2
	standby_log=$(mktemp "$here/daemon.XXXXXX.log")
	(outside "$VECFS_BIN" mount -f -o standby "$there" "$here/mnt2") </dev/null >>"$standby_log" 2>&1 &
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

loads() { # COLLECTION: a load in the background, for some seconds
	background python3 "$tools/crashload.py" run "$1" journal --seed "$RANDOM" >said
	load=$!
	sleep "${2:-8}"
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

@test "owners that are killed under load, or with their machine: nothing durable is lost" {
	for ((round = 0; round < rounds; round++)); do
		start
		mkdir -p mnt/docs
		rm -rf mnt/docs/*
		stands_by
		loads mnt/docs
		[ $((round % 3)) != 2 ] || kill -KILL "$(pid_of one)" # with its locks: Ceph waits for session_timeout
		kill_daemon
		take_away "$mnt"
		wait "$load"
		begin_s=$SECONDS
		eventually serves "$standby_log"
		echo "round $round: taken over after $((SECONDS - begin_s)) s" >&3
		judged mnt2/docs
		ends_standby
		fusermount3 -uz "$cluster/one" || :
		machine one
		store=$cluster/one/store
	done
	store=$there
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
	loads mnt/docs 4
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

@test "a full cluster: refused or read-only, and all that was durable is there when there is space" {
	fenced_lines
	expect_log '.*: No space left on device.*'
	start
	mkdir mnt/docs
	for id in a b c; do vec 1 100 >mnt/docs/$id; done
	sync mnt/docs
	ceph osd set full 2>/dev/null || ceph osd set-full-ratio 0.0001
	ceph osd set-nearfull-ratio 0.00001 || :
	full=0
	for ((i = 0; i < 60 && !full; i++)); do
		head -c 400 /dev/urandom >"mnt/docs/more$i" 2>/dev/null && timeout 20 sync "mnt/docs/more$i" || full=1
		sleep 0.5
	done
	ceph osd unset full 2>/dev/null || :
	ceph osd set-full-ratio 0.95
	echo "full after $i"
	cmp mnt/docs/a mnt/docs/c
	run vecfs umount "$mnt"
	wait "$daemon" || :
	daemon=
	start
	cmp mnt/docs/a mnt/docs/c
	for ((k = 0; k + full < i; k++)); do [ "$(stat -c %s mnt/docs/more$k)" = 400 ]; done
	vec 5 100 >mnt/docs/again
	sync mnt/docs/again
}
