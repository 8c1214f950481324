#!/usr/bin/env bats
# What is installed, and by what: meson into a prefix, the Debian package, completion, the systemd unit.
# transports: none
# timeout: 300
load helper

# complete_words WORD...: what bash offers for the last word of the line `vecfs WORD...`.
complete_words() {
	env PATH="$here/root/usr/local/bin:$PATH" bash --norc -c '
		. "$1"; shift
		COMP_WORDS=(vecfs "$@") COMP_CWORD=$#
		_vecfs vecfs "${*: -1}" "${COMP_WORDS[COMP_CWORD - 1]}"
		printf "%s\n" "${COMPREPLY[@]}"' - "$top/fs/vecfs.bash-completion" "$@"
}

install_here() {
	DESTDIR=$here/root meson install -C "$VECFS_BUILD" --no-rebuild --quiet
}

@test "meson install puts the program, its man page, helpers, completion and unit into the prefix" {
	install_here
	for file in bin/vecfs share/man/man1/vecfs.1 share/bash-completion/completions/vecfs \
		lib/systemd/system/vecfs@.service; do
		[ -f "root/usr/local/$file" ]
	done
	[ "$(readlink root/sbin/mount.fuse.vecfs)" = /usr/local/bin/vecfs ]
	root/usr/local/bin/vecfs --version | grep -q '^vecfs '
	grep -q '^ExecStart=/usr/local/bin/vecfs mount -f ' root/usr/local/lib/systemd/system/vecfs@.service
}

@test "completion offers the commands, options and mount options that --help tells of" {
	local command
	install_here
	complete_words '' >offered
	for command in mount umount import export stat check search train send receive clone; do
		grep -qx "$command" offered
	done
	[ "$(complete_words umo)" = umount ]
	complete_words import -- >offered || true
	complete_words import --e | grep -qx -- --escape
	complete_words mount -o ro, >offered
	grep -qx 'ro,allow_other' offered
	grep -qx 'ro,commit=' offered
}

@test "the installed program serves as the type fuse.vecfs of mount(8)" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ ! -e /usr/local/bin/vecfs ] && [ ! -e /sbin/mount.fuse.vecfs ] || skip "a vecfs is installed here already"
	install_here
	mkdir store
	# mount.fuse3 runs the program it finds in PATH; mount(8) itself clears PATH, so it is called directly.
	PATH=$here/root/usr/local/bin:$PATH mount.fuse3 "vecfs#$store" "$mnt" -o "$transport"
	mkdir "$mnt/docs"
	[ -d "$mnt/docs" ]
	vecfs umount "$mnt"
}

@test "scripts/package makes a package that dpkg unpacks into a working program" {
	[ "$VECFS_LONG" = 1 ] || skip "builds all once more: --long"
	local package
	package=$("$top/scripts/package" "$here/out" | tail -n 1)
	[ -f "$package" ]
	dpkg-deb --extract "$package" unpacked
	unpacked/usr/bin/vecfs --version
	[ -L unpacked/usr/sbin/mount.fuse.vecfs ]
	dpkg-deb --field "$package" Depends | grep -q fuse3
}
