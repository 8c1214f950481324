#!/usr/bin/env bats
# vecfs mount, vecfs umount; daemons, signals, service managers, stale and shared mountpoints.

load helper

holder() { head -n 1 "$store/lock"; }
is_mounted() { [ -n "$(mounts_below "$mnt")" ]; }
# It may remain a zombie where nobody reaps orphans.
is_gone() { ! readlink "/proc/$1/exe" >/dev/null; }
# one_line WORDS: what failed said it in one line of "vecfs: WHAT: WHY" with these words.
one_line() {
	[ "${#lines[@]}" = 1 ] && [[ $output == "vecfs: "* && $output == *"$1"* ]] && return
	echo "got: $output"
	return 1
}

@test "mount: creates the store if it is missing, for its owner alone" {
	[ ! -e "$store" ]
	start
	[ "$(stat -c %a "$store")" = 700 ]
	mkdir mnt/docs
	f32 1 2 3 >mnt/docs/apple
	restart
	cmp mnt/docs/apple <(f32 1 2 3)
}

@test "mount: creates the store in an empty directory" {
	mkdir -m 755 "$store"
	start
	mkdir mnt/docs
	restart
	[ -d mnt/docs ]
}

@test "mount: refuses a directory that holds other things, and leaves it alone" {
	mkdir "$store"
	echo precious >"$store/notes"
	run vecfs mount -o $transport "$store" "$mnt"
	[ "$status" = 1 ]
	one_line "$store"
	[ "$(ls -A "$store")" = notes ]
	[ "$(cat "$store/notes")" = precious ]
}

@test "mount: returns 0 only once the mount serves, and leaves a daemon in the background" {
	run vecfs mount -o $transport "$store" "$mnt"
	[ "$status" = 0 ]
	is_mounted
	mkdir mnt/docs
	pid=$(holder)
	kill -0 "$pid"
	[ "$(readlink "/proc/$pid/fd/0")" = /dev/null ]
	[ "$(readlink "/proc/$pid/fd/2")" = /dev/null ]
	[ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ]
	[ "$(readlink "/proc/$pid/cwd")" = / ]
	vecfs umount "$mnt"
	is_gone "$pid"
}

@test "mount: whoever reads its output through a pipe sees it end" {
	run timeout 20 bash -c '"$1" mount -o '$transport' "$2" "$3" 2>&1 | cat' - "$VECFS_BIN" "$store" "$mnt"
	[ "$status" = 0 ]
	is_mounted
	vecfs umount "$mnt"
}

@test "mount: fails with one line of error and non-zero when it cannot serve" {
	run vecfs mount -o $transport "$store" "$here/nowhere"
	[ "$status" = 1 ]
	one_line "$here/nowhere: no such directory"
	[ ! -e "$store" ]

	echo text >file
	run vecfs mount -o $transport "$store" file
	[ "$status" = 1 ]
	one_line "file"

	run vecfs mount -o $transport file "$mnt"
	[ "$status" = 1 ]
	one_line "file"

	run vecfs mount -o $transport no/such/store "$mnt"
	[ "$status" = 1 ]
	one_line "no/such/store"
	no is_mounted
}

@test "mount: in the background, too, a daemon that cannot serve is told of by the exit status" {
	mkdir "$store"
	echo x >"$store/catalog.0"
	run vecfs mount -o $transport "$store" "$mnt"
	[ "$status" = 1 ]
	[[ $output == *"vecfs: $store: "* ]]
	no is_mounted
	expect_damage
}

@test "mount -f: stays in the foreground, with messages on standard error" {
	start
	kill -0 "$daemon"
	[[ $(<"$log") == "vecfs: serving $store at $mnt (libfuse "* ]]
}

@test "mount -o ro: refuses every change and serves what is there" {
	start
	mkdir mnt/docs
	vec 1 4 >mnt/docs/apple
	vec 2 4 >mnt/docs/pear
	stop
	before=$(cd "$store" && find . -type f -exec sha256sum {} + | sort)
	start ro
	for change in 'touch mnt/docs/apple' 'cp mnt/docs/apple mnt/docs/new' 'rm -f mnt/docs/apple' \
		'mv mnt/docs/apple mnt/docs/new' 'chmod 600 mnt/docs/apple' 'mkdir mnt/more' 'rmdir mnt/docs' \
		'mv mnt/docs mnt/more' 'mkdir mnt/docs/.vecfs/tx/b' 'truncate -s 0 mnt/docs/apple' \
		'dd if=/dev/zero of=mnt/docs/apple bs=16 count=1 conv=notrunc'; do
		refused "Read-only file system" bash -c "$change"
	done
	[ "$(ls mnt/docs | tr '\n' ' ')" = "apple pear " ]
	cmp mnt/docs/apple <(vec 1 4)
	cmp mnt/docs/pear <(vec 2 4)
	cmp mnt/docs/.vecfs/vectors.f32 <(vec 1 4; vec 2 4)
	stop
	[ "$before" = "$(cd "$store" && find . -type f ! -name lock -exec sha256sum {} + | sort |
		cat - <(grep -F ./lock <<<"$before") | sort)" ]
}

@test "mount -o ro: a store that is missing is not created" {
	run vecfs mount -o $transport,ro "$store" "$mnt"
	[ "$status" = 1 ]
	one_line "$store"
	[ ! -e "$store" ]
}

@test "mount -o: unknown words and impossible values are refused by name" {
	for option in nonsense commit=0 commit=soon commit=-1 commit= commit=99999999 io_uring=maybe xattr \
		uid=0 gid=0 strictatime dirsync noexe NOEXEC; do
		run vecfs mount -o "$option" "$store" "$mnt"
		[ "$status" = 2 ]
		[[ $output == *"vecfs: "*"$option"* ]]
	done
	[ ! -e "$store" ]
}

@test "mount -o: what the kernel obeys is handed to it: noexec, nosuid, nodev, noatime, nodiratime, nosymfollow" {
	options=noexec,nosuid,nodev,noatime
	[ "$(id -u)" != 0 ] || options+=,nodiratime,nosymfollow # fusermount3 may be too old for them, and says so
	start $options
	for option in ${options//,/ }; do
		findmnt -n -o OPTIONS "$mnt" | tr , '\n' | grep -qx "$option"
	done
	mkdir mnt/docs
	printf '#!/bin/sh\n: 456789012' | head -c 20 >mnt/docs/program
	chmod +x mnt/docs/program
	refused "Permission denied" mnt/docs/program
	restart ro
	findmnt -n -o OPTIONS "$mnt" | tr , '\n' | grep -qx ro
}

@test "mount -o user, users, owner, group: imply what fstab(5) says, unless it is asked against later" {
	for options in user users user=somebody exec,user owner,noexec user,suid; do
		start $options
		found=$(findmnt -n -o OPTIONS "$mnt")
		[[ ,$found, == *,nodev,* && ,$found, == *,noexec,* ]]
		stop
	done
	need_root # others cannot ask against nosuid and nodev
	start user,exec,dev,suid
	found=$(findmnt -n -o OPTIONS "$mnt")
	[[ ,$found, != *,noexec,* && ,$found, != *,nosuid,* && ,$found, != *,nodev,* ]]
}

@test "every command: an empty path is none, and numbers are read whole" {
	run vecfs mount -o $transport "$store" ""
	[ "$status" = 1 ]
	one_line ": no such directory"
	run vecfs mount -o $transport "" "$mnt"
	[ "$status" = 1 ]
	no is_mounted
	start
	mkdir mnt/docs
	f32 1 2 3 4 >raw.f32
	for command in 'umount ""' 'stat ""' 'import "" raw.f32' 'export "" x.npy' 'check ""'; do
		run eval vecfs "$command"
		[ "$status" -gt 0 ]
		[ -n "$output" ]
	done
	for dim in 4294967300 18446744073709551620 -4 +4 ' 4' 4x 0x4 '' 0 4.0 8388609; do
		run vecfs import --dim "$dim" mnt/docs raw.f32
		[ "$status" = 2 ] || { echo "--dim '$dim' was taken"; false; }
		one_line "want a number"
	done
	vecfs import -q --dim 4 mnt/docs raw.f32
	for commit in ' 5' +5 5. 18446744073709551621 4294967301 0x5; do
		run vecfs mount -o "commit=$commit" "$store" other
		[ "$status" = 2 ]
		one_line "commit=$commit: want milliseconds"
	done
}

@test "a daemon that is started without standard streams keeps its store's files apart from them" {
	for closed in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
		eval "timeout 20 '$VECFS_BIN' mount -o $transport '$store' '$mnt' $closed"
		pid=$(holder)
		for fd in 0 1 2; do
			[ "$(readlink "/proc/$pid/fd/$fd")" = /dev/null ]
		done
		mkdir -p mnt/docs
		vec 1 4 >mnt/docs/apple
		printf x >mnt/docs/bad 2>/dev/null || : # a message
		cmp mnt/docs/apple <(vec 1 4)
		vecfs umount "$mnt"
		vecfs check "$store"
	done
	(outside env "$VECFS_BIN" mount -f -o "$transport" "$store" "$mnt" <&- >&- 2>&-) &
	daemon=$!
	eventually is_mounted
	[ "$(readlink "/proc/$daemon/fd/2")" = /dev/null ]
	printf x >mnt/docs/bad 2>/dev/null || :
	cmp mnt/docs/apple <(vec 1 4)
}

@test "what cannot be printed is an error" {
	start
	for output in /dev/full '&-'; do
		run bash -c "'$VECFS_BIN' stat '$mnt' >$output"
		[ "$status" = 1 ]
		one_line "standard output: "
	done
}

@test "two that mount at one place at the same time: one serves, the other is told" {
	for round in 1 2 3 4 5 6; do
		racers=()
		for n in 1 2 3; do
			(outside timeout 20 "$VECFS_BIN" mount -o $transport store$n "$mnt") 2>told.$n && touch won.$n &
			racers+=($!)
		done
		wait "${racers[@]}" || :
		[ "$(find . -name 'won.*' | wc -l)" = 1 ]
		[ "$(grep -l 'is mounted here already' told.* | wc -l)" = 2 ]
		[ "$(mounts_below "$mnt" | wc -l)" = 1 ]
		ls mnt
		vecfs umount "$mnt"
		rm won.*
	done
}

@test "mount: who just looks whether a store is in use is in nobody's way" {
	start
	stop
	cat >look.py <<-'P'
		import fcntl, time
		print('going', flush=True)
		with open('store/lock') as f:
		    while True: # for half of the time
		        fcntl.flock(f, fcntl.LOCK_SH)
		        time.sleep(0.005)
		        fcntl.flock(f, fcntl.LOCK_UN)
		        time.sleep(0.005)
	P
	background python3 look.py >said
	eventually grep -q going said
	for n in 1 2 3 4 5; do
		start
		stop
	done
}

@test "ulimit -f: a file that may not grow is a full disk and not the end of the daemon" {
	log=$(mktemp "$here/daemon.XXXXXX.log")
	(ulimit -S -f 40960; outside "$VECFS_BIN" mount -f -o "$transport" "$store" "$mnt" 2>>"$log") </dev/null &
	daemon=$!
	eventually is_serving_or_gone
	mkdir mnt/docs
	cat >fill.py <<-'P'
		import errno, os
		n = 0
		try:
		    for n in range(3000):
		        with open(f'mnt/docs/v{n}', 'wb') as f: f.write(bytes([n % 251]) * 65536)
		except OSError as e:
		    assert e.errno in (errno.ENOSPC, errno.EFBIG), e
		else:
		    n += 1
		for i in range(n):
		    assert open(f'mnt/docs/v{i}', 'rb').read() == bytes([i % 251]) * 65536, i
		print(n)
	P
	python3 fill.py
	kill -0 "$daemon"
	rm -f mnt/docs/v1
	expect_log '.*(No space left on device|File too large).*'
}

@test "ulimit -f: an export that may not be so large fails, and leaves nothing" {
	start
	mkdir mnt/docs
	python3 -c 'import numpy as np; np.save("a.npy", np.ones((1000, 100), "<f4"))'
	vecfs import -q mnt/docs a.npy
	mkdir out
	run bash -c "ulimit -f 100; '$VECFS_BIN' export -q mnt/docs out/b.npy"
	[ "$status" = 1 ]
	[ -z "$(ls -A out)" ]
}

@test "signals: HUP, INT and TERM end a daemon cleanly; those that mean nothing to it do not, nor its guard" {
	start commit=60000
	mkdir mnt/docs
	vec 1 4 >mnt/docs/apple
	guard=$(pgrep -P "$daemon" -x vecfs-guard)
	for signal in USR1 USR2 ALRM VTALRM PROF IO PIPE XFSZ XCPU PWR STKFLT RTMIN RTMIN+5 RTMAX WINCH URG CHLD CONT; do
		kill -$signal "$daemon" "$guard"
	done
	cmp mnt/docs/apple <(vec 1 4)
	vec 2 4 >mnt/docs/pear
	kill -0 "$guard"
	kill -HUP "$daemon"
	reap
	no is_mounted
	start
	cmp mnt/docs/pear <(vec 2 4)
	[ "$(metric replayed_records)" = 0 ]
}

@test "umount: of one of two mounts of it (a bind mount): durable, unmounted, and the other is named" {
	need_root
	start commit=60000
	mkdir mnt/docs bind part
	vec 1 4 >mnt/docs/apple
	mount --bind mnt bind
	mount --bind mnt/docs part
	run vecfs umount part
	[ "$status" = 1 ]
	one_line "$here/part: unmounted, and everything is durable, but its daemon serves on: it is also mounted at $here/bind"
	run vecfs umount mnt
	[ "$status" = 1 ]
	one_line "it is also mounted at $here/bind"
	no is_mounted
	cmp bind/docs/apple <(vec 1 4)
	vec 2 4 >bind/docs/pear
	vecfs umount bind
	reap
	start
	cmp mnt/docs/pear <(vec 2 4)
}

@test "umount: a copy in another mount namespace is named with its process; from inside, too" {
	need_root
	start commit=60000
	mkdir mnt/docs
	vec 1 4 >mnt/docs/apple
	cat >inside <<-'S'
		cd /
		"$VECFS_BIN" umount "$1" 2>"$2.inside"
		echo $? >>"$2.inside"
		echo done >"$2"
	S
	unshare -m --propagation private "$tools/namespace.sh" "$here" sh inside "$mnt" "$here/said"
	grep -q "unmounted, and everything is durable, but its daemon serves on: in another mount namespace process [0-9]* (.*) has it at $mnt" said.inside
	[ "$(tail -n 1 said.inside)" = 1 ]
	is_mounted
	background unshare -m --propagation private "$tools/namespace.sh" "$here" sh -c "cd /; echo in >'$here/ready'; sleep 1000 & wait"
	eventually test -s ready
	copy=$!
	run vecfs umount "$mnt"
	[ "$status" = 1 ]
	one_line "serves on: in another mount namespace process "
	no is_mounted
	kill -KILL $(pgrep -P $copy) $copy
	reap # the daemon ends with its last mount
	start
	cmp mnt/docs/apple <(vec 1 4)
}

@test "umount: of a daemon in another pid namespace, whose number is anybody's here" {
	need_root
	start_in_pid_namespace
	mkdir mnt/docs
	[ "$(holder)" = 1 ]
	vec 1 4 >mnt/docs/apple
	vecfs umount "$mnt"
	reap
}

@test "umount: who keeps it busy is named, and that all is durable" {
	start commit=60000
	mkdir mnt/docs
	vec 1 4 >mnt/docs/apple
	background sh -c 'cd mnt/docs; sleep 1000 & wait'
	is_in_docs() { [ "$(readlink /proc/$1/cwd)" = "$mnt/docs" ]; }
	eventually is_in_docs $!
	run vecfs umount "$mnt"
	[ "$status" = 1 ]
	one_line "$mnt: busy: process "
	one_line "uses $mnt/docs, and everything is durable"
	kill -KILL $(pgrep -P $!) $!
	wait $! || :
	cat >map.py <<-'P'
		import mmap, time
		f = open('mnt/docs/apple', 'r+b')
		m = mmap.mmap(f.fileno(), 0)
		f.close()
		print('mapped', flush=True)
		time.sleep(1000)
	P
	background python3 map.py >said
	eventually grep -q mapped said
	run vecfs umount "$mnt"
	[ "$status" = 1 ]
	one_line "process $! (python3) uses "
	kill -KILL $!
	wait $! || :
	eventually vecfs umount "$mnt"
	reap
}

@test "mount -o: what fstab has for mount(8) is accepted and ignored" {
	start nofail,_netdev,user,noauto,x-systemd.automount,x-systemd.requires=network.target,defaults,noatime,rw
	mkdir mnt/docs
}

@test "mount -o commit=MS, sync, allow_other are accepted together" {
	need_root
	start commit=20,sync,allow_other
	mkdir mnt/docs
}

@test "mount -o io_uring=on and off choose the transport, which is told at the start" {
	start
	case $VECFS_TRANSPORT in
	uring) grep -q ', io_uring)$' "$log" ;;
	*) grep -q ', /dev/fuse)$' "$log" ;;
	esac
	grep -qF "serving $store at $mnt" mnt/.vecfs/log
}

@test "mount -o io_uring=auto takes io_uring where there is one" {
	transport=io_uring=auto
	start
	mkdir mnt/docs
	if have_io_uring; then grep -q ', io_uring)$' "$log"; else grep -q ', /dev/fuse)$' "$log"; fi
}

@test "a second daemon on one store is refused, naming the pid that holds it" {
	start
	mkdir other
	run vecfs mount -o $transport "$store" other
	[ "$status" = 1 ]
	one_line "$daemon"
	mkdir mnt/docs # the first serves on
	stop
	run vecfs mount -o $transport "$store" other
	[ "$status" = 0 ]
	[ -d other/docs ]
	vecfs umount other
}

@test "vecfs check of a store that is mounted is refused, naming the pid" {
	start
	run vecfs check "$store"
	[ "$status" = 8 ]
	[[ $output == *"$daemon"* ]]
}

@test "the lock of a store dies with its process" {
	start
	mkdir mnt/docs other
	vec 1 4 >mnt/docs/apple
	sync mnt/docs/apple
	kill -KILL "$daemon"
	wait "$daemon" || true
	daemon=
	run vecfs mount -o $transport "$store" other
	[ "$status" = 0 ]
	cmp other/docs/apple <(vec 1 4)
	vecfs umount other
	take_away "$mnt"
}

@test "SIGKILL: a guard sees to it that clients get an error and none hangs; it goes with the daemon" {
	[ "$(id -u)" = 0 ] || mountpoint -q /sys/fs/fuse/connections ||
		skip "an ordinary user aborts by /sys/fs/fuse/connections, which is not mounted here"
	start
	mkdir mnt/docs
	guard=$(pgrep -P "$daemon" -x vecfs-guard)
	cat >client.py <<-'P'
		import errno, os
		print('going', flush=True)
		while True:
		    try:
		        with open('mnt/docs/apple', 'wb') as f: f.write(bytes(400))
		        os.unlink('mnt/docs/apple')
		    except OSError as e:
		        assert e.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED), e
		        break
	P
	background python3 client.py >said
	client=$!
	eventually grep -q going said
	kill_daemon
	finishes $client
	eventually is_gone $guard
	eventually refused "not connected" ls mnt # and the dead mount stays, lest somebody writes below it
	start
	guard=$(pgrep -P "$daemon" -x vecfs-guard)
	stop
	eventually is_gone $guard
}

@test "SIGKILL: a guard that comes late leaves alone the next mount, though it has the number of the dead one" {
	start
	guard=$(pgrep -P "$daemon" -x vecfs-guard)
	kill -STOP $guard
	kill_daemon
	umount -l mnt
	start
	kill -CONT $guard
	eventually is_gone $guard
	mkdir mnt/docs
	vec 1 4 >mnt/docs/apple
	stop
}

@test "SIGKILL: for root the guard needs no /sys/fs/fuse/connections" {
	need_root
	cat >in_namespace <<-'S'
		umount -q /sys/fs/fuse/connections
		"$VECFS_BIN" mount -f -o $transport store mnt 2>log &
		daemon=$!
		for i in $(seq 100); do grep -q serving log && break; sleep 0.1; done
		readlink /proc/$(pgrep -P $daemon -x vecfs-guard)/fd/* | grep '/abort$'
		kill $daemon
		wait $daemon
	S
	transport=$transport unshare -m "$tools/namespace.sh" "$here" sh in_namespace
}

@test "a stale mountpoint (daemon killed) is cleaned up by the next mount" {
	start
	mkdir mnt/docs
	sync mnt
	kill -KILL "$daemon"
	wait "$daemon" || true
	daemon=
	eventually refused "not connected" ls mnt
	refused "vecfs umount" vecfs stat mnt
	start
	[ -d mnt/docs ]
	grep -qF "$mnt: cleared a mount whose daemon had died" "$log"
}

@test "umount: takes a stale mount away" {
	start
	kill -KILL "$daemon"
	wait "$daemon" || true
	daemon=
	is_mounted
	vecfs umount "$mnt"
	no is_mounted
}

@test "mount: a mountpoint that is one already is refused, naming what is there" {
	start
	run vecfs mount -o $transport other "$mnt"
	[ "$status" = 1 ]
	one_line "$store is mounted here already"
	[ ! -e other ]
}

@test "mount: store and mountpoint one in the other are refused" {
	mkdir -p "$store/mnt" in
	run vecfs mount -o $transport "$store" "$store/mnt"
	[ "$status" = 1 ]
	one_line "one in the other"
	run vecfs mount -o $transport in/store in
	[ "$status" = 1 ]
	one_line "one in the other"
}

@test "SIGTERM and SIGINT make everything durable, unmount, and the daemon exits with 0" {
	for signal in TERM INT; do
		start commit=60000
		mkdir mnt/$signal
		vec 7 4 >mnt/$signal/apple
		kill -$signal "$daemon"
		reap
		no is_mounted
		start
		cmp mnt/$signal/apple <(vec 7 4)
		[ "$(metric replayed_records)" = 0 ] # a clean close leaves no log to replay
		stop
	done
}

@test "umount: makes everything durable, and returns when the daemon is gone" {
	vecfs mount -o $transport,commit=60000 "$store" "$mnt"
	mkdir mnt/docs
	vec 7 4 >mnt/docs/apple
	pid=$(holder)
	vecfs umount "$mnt"
	is_gone "$pid"
	no is_mounted
	start
	cmp mnt/docs/apple <(vec 7 4)
	[ "$(metric replayed_records)" = 0 ]
}

@test "umount: a mount that is in use stays, with a clear message, and nothing is lost" {
	start
	mkdir mnt/docs
	vec 7 4 >mnt/docs/apple
	exec 9<mnt/docs/apple
	run vecfs umount "$mnt"
	[ "$status" = 1 ]
	one_line "$mnt: busy"
	cmp mnt/docs/apple <(vec 7 4)
	vec 8 4 >mnt/docs/pear
	cmp /dev/fd/9 <(vec 7 4)
	exec 9<&-
	restart
	cmp mnt/docs/pear <(vec 8 4)
}

@test "umount: of what is no mount of vecfs fails" {
	run vecfs umount "$here"
	[ "$status" = 1 ]
	one_line "no vecfs is mounted here"
}

@test "umount by umount(8) or fusermount3 ends the daemon, and nothing is lost" {
	start commit=60000
	mkdir mnt/docs
	vec 7 4 >mnt/docs/apple
	if [ "$(id -u)" = 0 ]; then umount "$mnt"; else fusermount3 -u "$mnt"; fi
	reap
	start
	cmp mnt/docs/apple <(vec 7 4)
}

@test "fstab: mount.vecfs STORE MOUNTPOINT -o OPTIONS, as mount(8) calls it" {
	for name in mount.vecfs mount.fuse.vecfs; do
		ln -s "$VECFS_BIN" $name
		./$name "$store" "$mnt" -o rw,nofail,$transport
		is_mounted
		vecfs umount "$mnt"
		./$name "$store" "$mnt" -sn -t fuse.vecfs -o rw,$transport
		is_mounted
		vecfs umount "$mnt"
	done
	run ./mount.vecfs "$store" "$mnt" -f -o $transport
	[ "$status" = 0 ]
	no is_mounted
}

@test "fstab: mount(8) finds type fuse.vecfs, and umount(8) unmounts it" {
	need_root
	need mount.fuse3
	cat >in-a-namespace <<-'S'
		set -e
		mount --bind bin /usr/local/bin # where mount.fuse3 finds vecfs
		mount -T "$PWD/fstab" "$PWD/mnt"
		findmnt -n -o FSTYPE,SOURCE "$PWD/mnt"
		mkdir mnt/docs
		umount mnt
	S
	mkdir bin
	ln -s "$VECFS_BIN" bin/vecfs
	echo "$store $mnt fuse.vecfs defaults,nofail,noauto,x-test,$transport 0 0" >fstab
	run timeout 30 unshare -m "$tools/namespace.sh" "$here" sh in-a-namespace
	[ "$status" = 0 ]
	[[ $output == *"fuse.vecfs $store" ]]
	eventually is_gone "$(holder)"
	start
	[ -d mnt/docs ]
}

@test "systemd: READY=1 when the mount serves, STOPPING=1 when it ends" {
	cat >listen.py <<-'P'
		import socket
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind('notify')
		print('listening', flush=True)
		while True:
		    text = s.recv(1000).decode()
		    print(text, flush=True)
		    if text == 'STOPPING=1':
		        break
	P
	background python3 listen.py >told
	listener=$!
	eventually grep -q listening told
	export NOTIFY_SOCKET=$here/notify
	start
	unset NOTIFY_SOCKET
	eventually grep -qx READY=1 told
	no grep -q STOPPING told
	ls mnt
	stop
	finishes $listener
	[ "$(tr '\n' '|' <told)" = "listening|READY=1|STATUS=serving $store at $mnt|STOPPING=1|" ]
}

@test "--help explains each command, --version tells the version; wrong arguments are 2" {
	run vecfs --help
	[ "$status" = 0 ]
	for command in mount umount import export stat check search; do
		[[ $output == *"  $command "* ]]
	done
	for command in mount umount import export stat check search; do
		run --separate-stderr vecfs $command --help
		[ "$status" = 0 ]
		[[ $output == "usage: vecfs $command "* ]]
		[ -z "$stderr" ]
		run --separate-stderr vecfs $command
		[ "$status" = 2 ] || [ $command-$status = check-16 ]
		[ -z "$output" ]
		[[ $stderr == "vecfs: $command: "* ]]
	done
	run vecfs --version
	[ "$status" = 0 ]
	[[ $output =~ ^vecfs\ [0-9]+\.[0-9]+\.[0-9]+\ \(simd\ (scalar|avx2|avx512)\)$ ]]
	VECFS_SIMD=scalar run vecfs --version
	[[ $output == *"(simd scalar)" ]]
	VECFS_SIMD=nonsense run vecfs --version
	[ "$status" = 2 ]
	one_line VECFS_SIMD
	run vecfs
	[ "$status" = 2 ]
	run vecfs nonsense
	[ "$status" = 2 ]
	one_line nonsense
	run vecfs mount --nonsense a b
	[ "$status" = 2 ]
}

# policies: how many threads of the daemon $daemon are at SCHED_IDLE (5).
idle_threads() { cat /proc/$daemon/task/*/stat | sed 's/.*) //' | awk '$39 == 5 { n++ } END { print n + 0 }'; }

# five_hundred: vectors in mnt/docs, for rate.
five_hundred() {
	python3 - <<-'P'
		import os
		os.makedirs('mnt/docs', exist_ok=True)
		for n in range(500):
		    with open(f'mnt/docs/v{n}', 'wb') as f: f.write(bytes(400))
	P
}

# rate: what one client reads a second, for almost a second, in mnt/docs.
rate() {
	python3 - <<-'P'
		import time
		end, n = time.monotonic() + 0.8, 0
		while time.monotonic() < end:
		    with open(f'mnt/docs/v{n % 500}', 'rb') as f: f.read()
		    n += 1
		print(int(n / 0.8))
	P
}

@test "CPU hogs do not starve the daemon, whichever scheduling group they and it are in" {
	echo 'while True: pass' >hog.py
	for group in own shared; do
		if [ $group = own ]; then
			vecfs mount -o $transport "$store" "$mnt"
			daemon=$(holder)
		else # what looks like a service manager's cgroup is ours
			daemon_env=(INVOCATION_ID=test)
			start
		fi
		five_hundred
		alone=$(rate)
		hogs=()
		for n in $(seq $((2 * $(nproc)))); do
			background python3 hog.py
			hogs+=($!)
		done
		beside="$(rate) $(rate) $(rate)"
		kill -KILL "${hogs[@]}"
		wait "${hogs[@]}" || :
		echo "$group: $alone /s alone, $beside /s beside hogs"
		# A fifth is fair for the client itself; a starved daemon makes a hundredth. A machine has its own moments.
		best=$(printf '%s\n' $beside | sort -n | tail -n 1)
		[ $best -gt $((alone / 30)) ]
		[ $group = shared ] || { vecfs umount "$mnt"; daemon=; }
	done
}

# many_clients: eight at once, so that the classic transport has threads that were not there before.
many_clients() {
	local n
	for n in $(seq 8); do rate & done
	wait
}

@test "threads that answer are at SCHED_IDLE only while requests come in, and only in the background" {
	need_root # an ordinary user cannot go back
	[ "$(cat /proc/sys/kernel/sched_autogroup_enabled 2>/dev/null)" = 1 ] || skip "no autogroups"
	start
	five_hundred
	rate >/dev/null &
	client=$!
	sleep 0.5
	[ "$(idle_threads)" = 0 ]
	wait $client
	stop
	vecfs mount -o $transport "$store" "$mnt"
	daemon=$(holder)
	are_idle() { [ "$(idle_threads)" -gt 0 ]; }
	are_not() { [ "$(idle_threads)" = 0 ]; }
	eventually are_not # the mount itself makes requests
	# On a busy machine the threads may starve in the first milliseconds, and try again ten seconds later.
	clients() { until [ -e seen ]; do rate; many_clients; done >/dev/null; }
	clients 3>&- &
	running+=($!)
	client=$!
	eventually are_idle
	touch seen
	wait $client
	eventually are_not
	vecfs umount "$mnt"
	daemon=
}

# ------------------------------------------------------------------ read-only stores

# read_only_copy: the store as it is now, killed or closed, behind a read-only bind mount at ./medium.
read_only_copy() {
	mkdir -p copy medium
	cp -r --reflink=auto store/. copy
	mount --bind copy medium
	mount -o remount,ro,bind medium
}

# serves_read_only LISTING: everything of ./medium is there, by vector, id and array; and no byte of it has changed.
serves_read_only() {
	local before pid
	before=$(find copy -printf '%P %s %T@ %C@\n' | sort)
	mkdir -p ro
	"$VECFS_BIN" mount -o "$transport,ro" medium ro
	[ "$(everything ro)" = "$1" ]
	[ "$(wc -l <ro/docs/.vecfs/ids)" = "$(ls ro/docs | wc -l)" ]
	python3 -c "
import numpy as np
rows = np.load('ro/docs/.vecfs/vectors.npy', mmap_mode='r')
for row, name in zip(rows, open('ro/docs/.vecfs/ids').read().split()):
    assert (row == np.fromfile(f'ro/docs/{name}', '<f4')).all(), name"
	refused "Read-only" cp one ro/docs/new
	refused "Read-only" mkdir ro/other
	run "$VECFS_BIN" stat medium
	[ "$status" = 0 ]
	vecfs umount ro
	[ "$(find copy -printf '%P %s %T@ %C@\n' | sort)" = "$before" ]
}
everything() { (cd "$1" && find . -type f -printf '%P %m %s %T@ %C@\n' | sort && find . -type f | sort | xargs cat | md5sum); }

@test "mount -o ro on a read-only medium serves; stat and check work; nothing is written" {
	need_root
	vec 1 100 >one
	start
	mkdir mnt/docs mnt/more
	for i in $(seq 50); do vec $i 100 >mnt/docs/v$i; done
	cp one mnt/more/x
	all=$(everything mnt)
	stop
	read_only_copy
	serves_read_only "$all"
	[ "$(vecfs check medium)" = "medium: clean" ]
	umount medium
}

@test "mount -o ro on a read-only medium after a SIGKILL: the log is replayed in memory" {
	need_root
	vec 1 100 >one
	start commit=1
	mkdir mnt/docs
	for i in $(seq 50); do vec $i 100 >mnt/docs/v$i; done
	restart commit=1
	mkdir mnt/more
	for i in $(seq 40 70); do vec $((i + 100)) 100 >mnt/docs/v$i; done
	rm mnt/docs/v1 mnt/docs/v2 mnt/docs/v70
	mv mnt/docs/v3 mnt/docs/v-three
	chmod 600 mnt/docs/v5
	cp one mnt/more/x
	vec 1 $((100 * 2000)) >rows.f32
	vecfs import -q --dim 100 mnt/docs rows.f32
	printf 'abcd' | dd of=mnt/docs/7 bs=4 seek=1 conv=notrunc status=none
	sync mnt
	all=$(everything mnt)
	crash
	read_only_copy
	serves_read_only "$all"
	run vecfs check medium
	[ "$status" = 0 ]
	[[ $output == *"replayed in memory"* ]]
	printf '\377' | dd of=copy/collections/1/0.npy bs=1 seek=$((4096 + 10 * 400 + 40)) conv=notrunc status=none
	run vecfs check medium
	[ "$status" = 4 ]
	[[ $output == *"damaged (checksum)"* ]]
	umount medium
	start # and the store itself is recovered to the same
	[ "$(everything mnt)" = "$all" ]
}

@test "mount -o ro after a SIGKILL: rows that an import has taken the place of are forgotten" {
	start
	mkdir mnt/docs
	for i in 1 2 3 4 5; do vec $i 64 >mnt/docs/old$i; done
	rm mnt/docs/old*
	eventually grep -qx segments=0 mnt/docs/.vecfs/stats
	vec 1 $((64 * 20000)) >rows.f32
	vecfs import -q --dim 64 mnt/docs rows.f32
	crash
	start ro
	[ "$(stats docs vectors)" = 20000 ]
	for i in 0 1 2 3 4 5 19999; do
		tail -c +$((i * 256 + 1)) rows.f32 | head -c 256 | cmp - mnt/docs/$i
	done
}

@test "mount -o ro beside others: with other readers, but not with a writer, nor a writer with it" {
	start
	mkdir mnt/docs mnt2 mnt3
	refused "in use by process $daemon" "$VECFS_BIN" mount -o "$transport,ro" store mnt2
	refused "in use by process $daemon" "$VECFS_BIN" check store
	stop
	"$VECFS_BIN" mount -o "$transport,ro" store mnt2
	"$VECFS_BIN" mount -o "$transport,ro" store mnt3
	[ "$(ls mnt2)$(ls mnt3)" = docsdocs ]
	vecfs stat store | grep -q docs
	refused "in use by a process that only reads it" "$VECFS_BIN" mount -o "$transport" store mnt
	vecfs umount mnt2
	vecfs umount mnt3
	start # who is on his way out is waited for
}

@test "a store of format version 1 is converted by a mount, closed or killed: everything is as that version showed it" {
	need_root
	tar -xJf "$BATS_TEST_DIRNAME/../data/version1.tar.xz"
	for kind in closed killed; do
		run "$VECFS_BIN" mount -o "$transport,ro" store-$kind mnt
		[ "$status" = 1 ]
		[[ $output == *"version 1"* ]]
		mv store-$kind store
		expect_log 'converted from format version 1 to 2'
		start
		(cd mnt && find . -mindepth 1 -printf '%P %y %m %U %G %i %s %T@\n' | LC_ALL=C sort
			find . -type f | LC_ALL=C sort | xargs cat | md5sum) >now.list
		diff $kind.list now.list
		cp mnt/bits/x mnt/bits/new
		restart
		cmp mnt/bits/x mnt/bits/new
		stop
		vecfs check store
		rm -r store
	done
}
