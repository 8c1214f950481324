#!/usr/bin/env bats
# Permissions, and mounting as an ordinary user; ids and names are untrusted.

load helper

nobody=65534

setup() {
	need_root
	begin
	local dir=$here
	# The folders of a test are root's own.
	until as_nobody test -x "$dir"; do
		chmod o+x "$dir"
		dir=$(dirname "$dir")
		[ "$dir" != / ]
	done
	until as_nobody test -r "$here/."; do
		chmod o+rx "$here"
		dir=$(dirname "$dir")
	done
	vec 1 100 >one
	vec 2 100 >two
	install -m 755 "$VECFS_BIN" vecfs
}

as_nobody() { setpriv --reuid=$nobody --regid=$nobody --clear-groups -- "$@"; }

# for_all: a mount of root's that everybody may enter.
for_all() {
	start allow_other
	mkdir mnt/docs
	cp one mnt/docs/apple
}

# A folder of nobody's, with a mountpoint in it. The daemon is to be nobody's, too.
of_nobody() {
	[ -w /dev/fuse ] && as_nobody test -w /dev/fuse || chmod 0666 /dev/fuse
	mkdir own own/mnt
	chown -R $nobody:$nobody own
	own=$here/own
}

nobody_mounts() { as_nobody timeout 30 "$here/vecfs" mount -o "$transport${1:+,$1}" "$own/store" "$own/mnt"; }
nobody_unmounts() { as_nobody timeout 30 "$here/vecfs" umount "$own/mnt"; }

@test "without allow_other nobody but the user who mounts gets in" {
	start
	mkdir mnt/docs
	refused "Permission denied" as_nobody ls mnt
	refused "Permission denied" as_nobody ls mnt/docs
	refused "Permission denied" as_nobody cat mnt/.vecfs/log
}

@test "whoever may read a snapshot may send it, though the store's files are not theirs to see" {
	for_all
	cp two mnt/docs/pear
	mkdir mnt/docs/.vecfs/snap/S
	refused "Permission denied" as_nobody cat store/collections/1/0.npy
	as_nobody "$here/vecfs" send -q mnt/docs/.vecfs/snap/S >s
	vecfs receive -q mnt/copy <s
	cmp mnt/copy/apple one
	cmp mnt/copy/pear two
	chmod 600 mnt/docs/apple
	mkdir mnt/docs/.vecfs/snap/T
	chmod 700 mnt/docs
	refused "Permission denied" as_nobody "$here/vecfs" send -q mnt/docs/.vecfs/snap/T
}

@test "a clone is made by whoever may make collections, and shows nobody more than its snapshot" {
	local one=mnt/docs/.vecfs/snap/one
	for_all
	chmod 600 mnt/docs/apple
	chmod 711 mnt/docs
	mkdir $one
	refused "Permission denied" as_nobody "$here/vecfs" clone $one mnt/new
	[ ! -e mnt/new ]
	chmod 777 mnt
	as_nobody "$here/vecfs" clone $one mnt/new
	[ "$(stat -c '%a %u' mnt/new mnt/new/apple)" = "$(stat -c '%a %u' mnt/docs mnt/docs/apple)" ]
	refused "Permission denied" as_nobody cat mnt/new/.vecfs/ids
	cmp one mnt/new/apple
}

@test "who may write to a collection may make it a snapshot's again, and nobody else" {
	local one=mnt/docs/.vecfs/snap/one
	for_all
	mkdir $one
	cp two mnt/docs/apple
	chmod 777 mnt
	refused "Permission denied" as_nobody "$here/vecfs" clone $one mnt/docs
	cmp two mnt/docs/apple
	chmod 777 mnt/docs
	chmod 755 mnt
	as_nobody "$here/vecfs" clone $one mnt/docs
	cmp one mnt/docs/apple
	[ "$(stat -c '%a %u' mnt/docs)" = "777 $(id -u)" ]
}

@test "allow_other: the kernel checks each vector's mode and owner" {
	for_all
	cp two mnt/docs/pear
	chmod 600 mnt/docs/pear
	as_nobody cmp one mnt/docs/apple
	refused "Permission denied" as_nobody cat mnt/docs/pear
	refused "Permission denied" as_nobody cp two mnt/docs/apple
	refused "Permission denied" as_nobody dd if=two of=mnt/docs/apple conv=notrunc status=none
	refused "Permission denied" as_nobody cp two mnt/docs/plum
	refused "Permission denied" as_nobody rm -f mnt/docs/apple
	refused "Permission denied" as_nobody mv mnt/docs/apple mnt/docs/plum
	refused "not permitted" as_nobody chmod 777 mnt/docs/apple
	refused "not permitted" as_nobody chown $nobody mnt/docs/apple
	refused "" as_nobody touch -d yesterday mnt/docs/apple
	refused "Permission denied" as_nobody mkdir mnt/more
	refused "Permission denied" as_nobody rmdir mnt/docs
	[ "$(ls mnt/docs | tr '\n' ' ')" = "apple pear " ]
	cmp one mnt/docs/apple
	chown $nobody mnt/docs/pear
	as_nobody cmp two mnt/docs/pear
	as_nobody cp one mnt/docs/pear
	as_nobody chmod 640 mnt/docs/pear
	[ "$(stat -c '%a %u' mnt/docs/pear)" = "640 $nobody" ]
}

@test "allow_other: a collection's mode and owner decide who lists, reads and adds" {
	for_all
	chmod 700 mnt/docs
	refused "Permission denied" as_nobody ls mnt/docs
	refused "Permission denied" as_nobody cat mnt/docs/apple
	chmod 711 mnt/docs
	refused "Permission denied" as_nobody ls mnt/docs
	as_nobody cmp one mnt/docs/apple
	chmod 777 mnt/docs
	as_nobody cp two mnt/docs/pear
	[ "$(stat -c %u:%g mnt/docs/pear)" = $nobody:$nobody ]
	as_nobody rm -f mnt/docs/apple
	chmod 1777 mnt/docs # sticky
	cp one mnt/docs/apple
	refused "not permitted" as_nobody rm -f mnt/docs/apple
	as_nobody rm mnt/docs/pear
	refused "not permitted" as_nobody chmod 777 mnt
	chown $nobody mnt
	as_nobody mkdir mnt/more
}

@test "allow_other: control files follow their collection's permissions" {
	for_all
	as_nobody cat mnt/docs/.vecfs/ids mnt/docs/.vecfs/stats mnt/docs/.vecfs/vectors.npy >/dev/null
	refused "Permission denied" as_nobody bash -c 'echo dim=4 >mnt/docs/.vecfs/schema'
	refused "Permission denied" as_nobody mkdir mnt/docs/.vecfs/tx/b
	mkdir mnt/docs/.vecfs/tx/b
	cp two mnt/docs/.vecfs/tx/b/pear
	refused "Permission denied" as_nobody mv mnt/docs/.vecfs/tx/b mnt/docs/.vecfs/commit/
	refused "Permission denied" as_nobody cp two mnt/docs/.vecfs/tx/b/apple
	refused "Permission denied" as_nobody rmdir mnt/docs/.vecfs/tx/b
	[ "$(ls mnt/docs)" = apple ]
	rm -r mnt/docs/.vecfs/tx/b
	chmod 700 mnt/docs
	for file in ids stats schema vectors.npy segments/0.npy; do
		refused "Permission denied" as_nobody cat mnt/docs/.vecfs/$file
	done
	refused "Permission denied" as_nobody ls mnt/docs/.vecfs
	chmod 777 mnt/docs
	as_nobody mkdir mnt/docs/.vecfs/tx/b
	as_nobody cp two mnt/docs/.vecfs/tx/b/pear
	as_nobody bash -c 'echo extra >mnt/docs/.vecfs/tx/b/.vecfs/ids; cat one >mnt/docs/.vecfs/tx/b/.vecfs/vectors.f32'
	as_nobody mv mnt/docs/.vecfs/tx/b mnt/docs/.vecfs/commit/
	[ "$(ls mnt/docs | tr '\n' ' ')" = "apple extra pear " ]
	[ "$(stat -c %u mnt/docs/pear)" = $nobody ]
}

@test "the store itself is for its owner alone: 0700, its files 0600" {
	for_all
	[ "$(stat -c %a "$store")" = 700 ]
	[ -z "$(find "$store" -type f -perm /077)" ]
	refused "Permission denied" as_nobody ls "$store"
}

@test "an ordinary user mounts through fusermount3, works, and unmounts" {
	of_nobody
	nobody_mounts
	as_nobody mkdir own/mnt/docs
	as_nobody cp one own/mnt/docs/apple
	as_nobody cmp one own/mnt/docs/apple
	[ "$(as_nobody stat -c %u:%g own/mnt/docs/apple own/mnt | tr '\n' ' ')" = "$nobody:$nobody $nobody:$nobody " ]
	refused "Permission denied" ls own/mnt # not even root
	as_nobody "$here/vecfs" stat own/mnt | grep -q docs
	nobody_unmounts
	[ "$(stat -c '%a %u' own/store)" = "700 $nobody" ]
	nobody_mounts
	as_nobody cmp one own/mnt/docs/apple
	nobody_unmounts
	as_nobody "$here/vecfs" check own/store
}

@test "an ordinary user: import, batches, and a second daemon that is refused" {
	of_nobody
	nobody_mounts
	cat one two >rows.f32
	chmod 644 rows.f32
	as_nobody "$here/vecfs" import -q --dim 100 own/mnt/docs rows.f32
	as_nobody cmp one own/mnt/docs/0
	as_nobody mkdir own/other
	run as_nobody "$here/vecfs" mount -o $transport own/store own/other
	[ "$status" = 1 ]
	[[ $output == *"$(head -n 1 own/store/lock)"* ]]
	nobody_unmounts
}

@test "an ordinary user: SIGKILL, then a mount that clears the dead one" {
	of_nobody
	nobody_mounts
	as_nobody mkdir own/mnt/docs
	as_nobody cp one own/mnt/docs/apple
	as_nobody sync own/mnt/docs
	kill -KILL "$(head -n 1 own/store/lock)"
	eventually bash -c 'as() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; }; ! as ls own/mnt 2>/dev/null'
	nobody_mounts
	as_nobody cmp one own/mnt/docs/apple
	nobody_unmounts
}

@test "an ordinary user: allow_other needs leave from fuse.conf, and is refused with one error without" {
	grep -q '^user_allow_other' /etc/fuse.conf 2>/dev/null && skip "fuse.conf allows it here"
	of_nobody
	run nobody_mounts allow_other
	[ "$status" = 1 ]
	[ "$output" = "vecfs: mount: allow_other: /etc/fuse.conf has no line user_allow_other, which users need for it" ]
	[ -z "$(mounts_below "$own")" ]
}

@test "another user can neither unmount, nor open the store" {
	start
	refused "" as_nobody "$here/vecfs" umount "$mnt"
	mkdir mnt/docs # it serves on
	mkdir other
	chown $nobody other
	refused "Permission denied" as_nobody "$here/vecfs" mount -o $transport "$store" other
	refused "" as_nobody "$here/vecfs" check "$store"
}

@test "segments/N.npy: not even the store's owner can write to them by mistake, and the daemon still can" {
	of_nobody
	nobody_mounts
	mnt=$own/mnt
	as_nobody mkdir $mnt/docs $mnt/private
	as_nobody chmod 700 $mnt/private
	as_nobody cp one $mnt/docs/apple
	as_nobody cp one $mnt/private/apple
	segment=$mnt/docs/.vecfs/segments/0.npy
	[ "$(as_nobody stat -L -c %a $segment)" = 444 ]
	[ "$(as_nobody stat -L -c %a $mnt/private/.vecfs/segments/0.npy)" = 400 ]
	refused "Permission denied" as_nobody dd if=/dev/zero of=$segment bs=4 count=1 conv=notrunc
	refused "Permission denied" as_nobody truncate -s 0 $segment
	as_nobody python3 -c 'import numpy as np, sys
assert np.load(sys.argv[1]).shape == (1, 100)
try: np.load(sys.argv[1], mmap_mode="r+")
except PermissionError: pass
else: assert False' $segment
	nobody_unmounts
	nobody_mounts # which opens them again
	as_nobody cp two $mnt/docs/apple
	as_nobody cp two $mnt/docs/pear
	nobody_unmounts
	as_nobody "$here/vecfs" check $own/store
	nobody_mounts
	as_nobody cmp two $mnt/docs/apple
	nobody_unmounts
}

@test "segments/N.npy: what root writes through one is never served: EIO, a line in the log, and check names it" {
	need_root
	expect_damage
	expect_log '.*checksum.*'
	start
	mkdir mnt/docs
	for id in apple pear plum; do head -c 6000 /dev/urandom >$id; done
	cp apple pear plum mnt/docs
	sync mnt/docs
	eventually cmp -s <(cat apple pear plum) <(tail -c +4097 mnt/docs/.vecfs/segments/0.npy | head -c 18000)
	printf x | dd of=mnt/docs/.vecfs/segments/0.npy bs=1 seek=$((4096 + 6000 + 2500)) conv=notrunc status=none
	refused "Input/output error" cat mnt/docs/pear
	grep -q 'docs/pear.*checksum' mnt/.vecfs/log
	cmp apple mnt/docs/apple
	cmp plum mnt/docs/plum
	stop
	run vecfs check "$store"
	[ "$status" != 0 ]
	[[ $output == *pear* && $output != *apple* && $output != *plum* ]]
}

@test "set-user-ID and set-group-ID go when somebody unprivileged writes, truncates or gives a vector away" {
	for_all
	chmod 755 mnt/docs
	for how in part whole over truncate; do
		chmod 6777 mnt/docs/apple
		case $how in
		part) as_nobody bash -c 'printf abcd | dd of=mnt/docs/apple bs=4 seek=3 conv=notrunc status=none' ;;
		whole) as_nobody bash -c 'cat two 1<>mnt/docs/apple >&1' ;;
		over) as_nobody cp two mnt/docs/apple ;;
		truncate) as_nobody bash -c 'cat one >mnt/docs/apple' ;;
		esac
		[ "$(stat -c %a mnt/docs/apple)" = 777 ] || { echo "$how: $(stat -c %a mnt/docs/apple)"; return 1; }
	done
	chmod 2766 mnt/docs/apple # the group may not execute it: kept, as by the kernel for other files
	as_nobody bash -c 'printf abcd | dd of=mnt/docs/apple bs=4 conv=notrunc status=none'
	[ "$(stat -c %a mnt/docs/apple)" = 2766 ]
	chmod 4755 mnt/docs/apple
	printf abcd | dd of=mnt/docs/apple bs=4 conv=notrunc status=none # root may
	[ "$(stat -c %a mnt/docs/apple)" = 4755 ]
	chown $nobody mnt/docs/apple
	[ "$(stat -c %a mnt/docs/apple)" = 755 ]
	restart allow_other
	[ "$(stat -c %a mnt/docs/apple)" = 755 ]
}

# read_only_medium FOLDER: an ext4 file system with the store, mounted read-only at FOLDER.
read_only_medium() {
	mkdir -p "$1"
	truncate -s 64M disk.img
	mkfs.ext4 -q -O ^has_journal -d "$2" disk.img
	mount -o loop,ro disk.img "$1"
}

# reads_only STORE COMMAND...: an ordinary user mounts STORE, and reads docs/apple.
reads_only() {
	as_nobody timeout 30 "$here/vecfs" mount -o "$transport,ro" "$1" "$own/mnt"
	as_nobody cmp one "$own/mnt/docs/apple"
	[ "$(as_nobody ls "$own/mnt/docs" | wc -l)" = 2 ]
	[ "$(as_nobody cat "$own/mnt/docs/.vecfs/ids" | sort | tr '\n' ' ')" = "apple pear " ]
	[ "$(as_nobody stat -c %s "$own/mnt/docs/.vecfs/vectors.npy")" = $((128 + 800)) ]
	as_nobody cat "$own/mnt/docs/.vecfs/segments/0.npy" >/dev/null
	refused "Read-only" as_nobody cp one "$own/mnt/docs/apple"
	as_nobody timeout 30 "$here/vecfs" umount "$own/mnt"
	as_nobody timeout 30 "$here/vecfs" stat "$1" | grep -q docs
	[ "$(as_nobody timeout 30 "$here/vecfs" check "$1" 2>&1)" = "$1: clean" ]
}

@test "mount -o ro, stat and check of who may only read: files of 0400, of another's 0444, on a read-only medium" {
	of_nobody
	start
	mkdir mnt/docs
	cp one mnt/docs/apple
	cp two mnt/docs/pear
	stop
	cp -r store keep
	cp -r store own/store
	chown -R $nobody own/store
	find own/store -type f -exec chmod 0400 {} +
	find own/store -type d -exec chmod 0500 {} +
	before=$(find own/store -printf '%P %m %s %T@ %C@\n' | sort)
	reads_only own/store
	[ "$(find own/store -printf '%P %m %s %T@ %C@\n' | sort)" = "$before" ]
	cp -r keep others
	find others -type f -exec chmod 0444 {} +
	find others -type d -exec chmod 0755 {} +
	reads_only others
	need mkfs.ext4
	read_only_medium medium others
	reads_only medium
	refused "Read-only" vecfs mount -o $transport medium mnt
	umount medium
}
