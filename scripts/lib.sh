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
build() {
	local dir=$1
	shift
	if [ -f "$dir/build.ninja" ]; then
		# Sources are listed when meson configures: do it again if a file came or went.
		if [ "$(source_list)" != "$(cat "$dir/.source-list" 2>/dev/null)" ]; then
			meson setup --reconfigure "$@" "$dir" "$top" || return
		fi
	else
		rm -rf "$dir"
		meson setup "$@" "$dir" "$top" || return
	fi
	source_list >"$dir/.source-list"
	ninja -C "$dir"
}

source_list() {
	(cd "$top" && find fs store quant tests/unit tests/crash tests/fuzz tests/bench -name '*.c' | sort
	 cat subprojects/libfuse/.version 2>/dev/null)
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
