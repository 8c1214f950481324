# Shared by the scripts of this folder: source it, do not run it.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Run a command as root: directly, or through sudo when there is one.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		return 127
	fi
}

# The same, but never asks for a password: for what is nice to have.
as_root_quietly() {
	if [ "$(id -u)" = 0 ]; then
		"$@" 2>/dev/null
	else
		sudo -n "$@" 2>/dev/null
	fi
}

# is_version_at_least HAVE WANT
is_version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# build DIR [MESON OPTION...]: configure what is new, then compile. CC is taken from the environment.
# One at a time in a tree: the lock is released with the subshell.
build() (
	dir=$1
	shift
	mkdir -p "$top/subprojects"
	exec 9>"$top/subprojects/.build-lock"
	flock 9
	if [ ! -f "$dir/build.ninja" ]; then
		meson setup "$@" "$dir" "$top" || exit
	elif [ "$(libfuse_version)" != "$(cat "$dir/.libfuse" 2>/dev/null)" ]; then
		meson setup --reconfigure "$@" "$dir" "$top" || exit # another libfuse has come
	fi
	libfuse_version >"$dir/.libfuse"
	ninja -C "$dir" -t cleandead >/dev/null
	ninja -C "$dir" -k 0
)

# Of the one that scripts/setup has put into the tree; nothing if it has not.
libfuse_version() { cat "$top/subprojects/libfuse/.version" 2>/dev/null; }

# Can a mount of this build on this kernel use io_uring?
have_io_uring() {
	[ "$(cat /sys/module/fuse/parameters/enable_uring 2>/dev/null)" = Y ] || return
	[ -f "$top/subprojects/libfuse/.version" ] || pkg-config --atleast-version=3.18 fuse3
}

# The first of python3's in PATH or /usr/bin that has numpy.
find_python() {
	local python
	for python in python3 /usr/bin/python3; do
		if "$python" -c 'import numpy' 2>/dev/null; then
			command -v "$python"
			return
		fi
	done
	return 1
}

# Mount points at or below a folder, deepest first: "MINOR PATH" a line, MINOR of the FUSE connection, - of others.
mounts_below() {
	awk -v d="$1" '$5 == d || index($5, d "/") == 1 {
		for (i = 7; $i != "-"; i++);
		split($3, device, ":")
		print ($(i + 1) ~ /^fuse/ ? device[2] : "-"), $5
	}' /proc/self/mountinfo | sort -r -k 2
}

# Take away every mount below a folder, also one whose daemon hangs.
unmount_below() {
	local minor path
	while read -r minor path; do
		[ "$minor" = - ] || as_root_quietly sh -c "echo 1 >/sys/fs/fuse/connections/$minor/abort"
		as_root_quietly umount -l "$path" || fusermount3 -uz "$path" 2>/dev/null
	done < <(mounts_below "$1")
}
