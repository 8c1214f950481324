# Common to the suites, each of which starts with `load helper`. Run by scripts/test, or one suite alone:
#
#   VECFS_TRANSPORT=uring bats tests/suites/write.bats
#
# A test works in a folder of its own, which is its current directory: the store is ./store, the mount ./mnt.
# setup() calls begin(), and start() if it wants the mount right away; teardown() is end(), which fails the test
# if the daemon did not exit with 0 or has logged anything that the test does not expect (`expect_log`), if
# anything is left mounted or running, or if `vecfs check` finds the store damaged (unless `expect_damage`).
# shellcheck shell=bash disable=SC2034,SC2154

bats_require_minimum_version 1.5.0
. "$BATS_TEST_DIRNAME/../../scripts/lib.sh"

here='' # until begin()
tools=$BATS_TEST_DIRNAME/../tools
: "${VECFS_BIN:=$top/build/vecfs}" "${VECFS_TRANSPORT:=classic}" "${VECFS_LONG:=0}"
case $VECFS_TRANSPORT in
uring) transport=io_uring=on ;;
*) transport=io_uring=off ;;
esac
case ${VECFS_BUILD:-} in
*-valgrind) slow=4 long=5 ;;
*-asan | *-tsan) slow=4 long=1 ;;
*) slow=1 long=1 ;; # long: how much longer a load must run to come to everything
esac
patience=$((VECFS_LONG ? 10 * slow : slow)) # so much is done with --long that a mount may take minutes to end
deadline_s=$((20 * patience))               # of whatever is waited for
# With --long a test does more.
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-$(((VECFS_LONG ? 900 : 60) * slow))}
umask 022

# Once for a suite: python3 is one that has numpy.
setup_file() { provide_python; }
setup() { begin; }
teardown() { end; }

provide_python() {
	local python
	python=$(find_python) || return 0
	mkdir -p "$BATS_FILE_TMPDIR/bin"
	ln -sf "$python" "$BATS_FILE_TMPDIR/bin/python3"
	export PATH=$BATS_FILE_TMPDIR/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$tools
}

begin() {
	cd "$BATS_TEST_TMPDIR" || return
	here=$PWD
	store=$here/store mnt=$here/mnt
	daemon='' log='' damage_expected='' running=() expected=() daemon_env=()
	mkdir -p "$mnt"
}

# vecfs ARGUMENT...: the command; never waits for ever.
vecfs() { timeout -k 5 $((30 * patience)) "$VECFS_BIN" "$@"; }

# outside COMMAND...: replaces this subshell, without the descriptors that bats waits for.
outside() {
	local fd
	for fd in /proc/"$BASHPID"/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || eval "exec $fd>&-"
	done
	exec "$@"
}

# background COMMAND...: starts it; its process number is in $! and it is killed at the end of the test.
background() {
	(outside "$@") </dev/null &
	running+=($!)
}

# start [OPTION,...]: mounts ./store at ./mnt by a daemon in the foreground, whose process is $daemon. It has
# the environment of $daemon_env.
start() {
	log=$(mktemp "$here/daemon.XXXXXX.log")
	(outside env "${daemon_env[@]}" "$VECFS_BIN" mount -f -o "$transport${1:+,$1}" "$store" "$mnt") </dev/null >>"$log" 2>&1 &
	daemon=$!
	eventually is_serving_or_gone
	kill -0 "$daemon" 2>/dev/null && return
	wait "$daemon" || true
	daemon=
	cat "$log"
	return 1
}

# The same in a pid namespace of its own: to that daemon we are all process 0, and its number means another process here.
start_in_pid_namespace() {
	log=$(mktemp "$here/daemon.XXXXXX.log")
	(outside unshare --fork --pid --kill-child "$VECFS_BIN" mount -f -o "$transport${1:+,$1}" "$store" "$mnt") </dev/null >>"$log" 2>&1 &
	daemon=$!
	eventually is_serving_or_gone
	grep -q serving "$log"
}

is_serving_or_gone() {
	local text
	text=$(<"$log")
	[[ $text == *"vecfs: serving "* ]] || ! kill -0 "$daemon" 2>/dev/null
}

# stop: unmounts, and fails if the daemon does not exit with 0.
stop() {
	vecfs umount "$mnt" || return
	reap
}

reap() {
	local status=0
	wait "$daemon" || status=$?
	daemon=
	[ $status = 0 ] || echo "the daemon exited with $status"
	return $status
}

# crash: kills the daemon and takes the dead mount away.
crash() {
	kill_daemon
	take_away "$mnt"
}

# kill_daemon: it must then be gone, whatever it was doing. The dead mount stays.
kill_daemon() {
	kill -KILL "$daemon"
	eventually is_reaped "$daemon" || {
		echo "the killed daemon does not die: it waits for the kernel, and its clients wait for it:"
		cat "/proc/$daemon"/task/*/stack 2>/dev/null
		return 1
	}
	daemon=
}

is_reaped() { ! kill -0 "$1" 2>/dev/null; }

# take_away FOLDER: every mount below it, also dead ones, and those whose daemon hangs (MNT_FORCE aborts them).
take_away() {
	local minor path
	[[ $1 == "$BATS_RUN_TMPDIR"/* ]] || return
	while read -r minor path; do
		umount -f -l "$path" 2>/dev/null || :
	done < <(mounts_below "$1")
	unmount_below "$1" || :
}

restart() { stop && start "$@"; }

# eventually COMMAND...: until it succeeds; what the test waits for must come by itself.
eventually() {
	local end=$((SECONDS + deadline_s))
	until "$@"; do
		[ $SECONDS -lt $end ] || {
			echo "waited $deadline_s s for: $*"
			return 1
		}
		sleep 0.01
	done
}

# finishes PID: waits for a process started by background(); its exit status is ours.
finishes() { wait "$1"; }

# expect_log REGEX: such lines (extended, the whole line without "vecfs: ") of the daemon's log are all right.
expect_log() { expected+=("$1"); }
expect_damage() { damage_expected=yes; }

unexpected_lines() {
	local lines pattern='^serving .*|.*: refused: .*|.*: cleared a mount whose daemon had died' more
	# libfuse's word, at times, for a mount that is taken away while a release is on its way.
	pattern+='|fuse: reading device: Software caused connection abort'
	for more in "${expected[@]}"; do pattern+="|$more"; done
	cat "$here"/daemon.*.log 2>/dev/null | sed 's/^vecfs: //' | grep -vxE "$pattern"
}

end() {
	local failed=0 pid left
	[ -n "${here:-}" ] || return 0 # it was skipped before it began
	cd "$here" || return
	for pid in "${running[@]}"; do
		# The number of one that has ended may be anybody's; the shell has other jobs, too: bats watches the time by one.
		jobs -p | grep -qx "$pid" || continue
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	if [ -n "$daemon" ] && ! stop; then
		failed=1
		[ -z "$daemon" ] || kill -KILL "$daemon"
	fi
	left=$(mounts_below "$here")
	if [ -n "$left" ]; then
		echo "left mounted: $left"
		take_away "$here"
		failed=1
	fi
	if unexpected_lines; then
		echo "(unexpected in the daemon's log)"
		failed=1
	fi
	if [ -z "$damage_expected" ] && [ -e "$store/lock" ] && ! vecfs check "$store" >check.txt 2>&1; then
		cat check.txt
		failed=1
	fi
	return $failed
}

# logged LINE: the mount's log has exactly this line, soon.
logged() { eventually grep -qxF -- "$1" "$mnt/.vecfs/log"; }
not_logged() { no grep -F -- "$1" "$mnt/.vecfs/log"; }
metric() { sed -n "s/^vecfs_$1 //p" "$mnt/.vecfs/metrics"; }
stats() { sed -n "s/^$2=//p" "$mnt/$1/.vecfs/stats"; }

# refused ERROR COMMAND...: it fails, and its message has this error's text.
refused() {
	local error=$1
	shift
	run "$@"
	[ "$status" != 0 ] || { echo "not refused: $*"; return 1; }
	[[ $output == *"$error"* ]] || { echo "want: $error"; echo "got: $output"; return 1; }
}

# no COMMAND...: it fails. (A bare `! command` is no test: bats ignores it.)
no() {
	! "$@" || { echo "did not fail: $*"; return 1; }
}

# f32 VALUE...: these numbers as little-endian floats.
f32() { perl -e 'print pack "f<*", @ARGV' -- "$@"; }
# vec START DIM: a vector of DIM floats, different for each START.
vec() { perl -e 'print pack "f<*", map { $ARGV[0] + $_ / 1024 } 0 .. $ARGV[1] - 1' -- "$1" "$2"; }
# bytes N: N zeros.
bytes() { head -c "$1" /dev/zero; }

need_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
need() { command -v "$1" >/dev/null || skip "no $1 here"; }
# shared_data FILE: its path in the folder of shared data sets; fails if there is none.
shared_data() {
	local path=${VECFS_SHARED:-$top/../shared}/data/$1
	[ -r "$path" ] && realpath "$path"
}
