#!/usr/bin/env bats
# vecfs mount, vecfs umount: DESIGN 1.1, and the rows of 1.3 about daemons and mountpoints.

load helper

holder() { cat "$store/lock"; }
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
	for option in nonsense commit=0 commit=soon commit=-1 commit= commit=99999999 io_uring=maybe xattr; do
		run vecfs mount -o "$option" "$store" "$mnt"
		[ "$status" = 2 ]
		[[ $output == *"vecfs: "*"$option"* ]]
	done
	[ ! -e "$store" ]
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
	transport=$transport unshare -m sh in_namespace
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
	run timeout 30 unshare -m sh in-a-namespace
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
	[ "$(tr '\n' ' ' <told)" = "listening READY=1 STOPPING=1 " ]
}

@test "--help explains each command, --version tells the version; wrong arguments are 2" {
	run vecfs --help
	[ "$status" = 0 ]
	for command in mount umount import export stat check; do
		[[ $output == *"  $command "* ]]
	done
	for command in mount umount import export stat check; do
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
