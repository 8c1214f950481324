#!/usr/bin/env bats
# Collections: mkdir, rmdir, mv, schema, names.
# sanitize: address

load helper

setup() {
	begin
	start
	mkdir mnt/docs
}

schema() { cat "mnt/$1/.vecfs/schema"; }
set_schema() { printf '%s\n' "${@:2}" >"mnt/$1/.vecfs/schema"; }
# put COLLECTION ID BYTES: a file of so many bytes; the shell does not tell of a failed close, so dd does.
put() { dd if=/dev/zero of="mnt/$1/$2" bs="$3" count=1 status=none; }

@test "mkdir makes a collection, and mkdir && cp just works" {
	vec 1 768 >apple.f32
	mkdir mnt/words && cp apple.f32 mnt/words/apple
	cmp apple.f32 mnt/words/apple
	[ "$(ls mnt | tr '\n' ' ')" = "docs words " ]
	refused "File exists" mkdir mnt/words
	restart
	cmp apple.f32 mnt/words/apple
}

@test "mkdir -m and umask set the permissions, which are kept" {
	mkdir -m 750 mnt/team
	(umask 077; mkdir mnt/mine)
	chmod 711 mnt/docs
	[ "$(stat -c %a mnt/team mnt/mine mnt/docs | tr '\n' ' ')" = "750 700 711 " ]
	restart
	[ "$(stat -c %a mnt/team mnt/mine mnt/docs | tr '\n' ' ')" = "750 700 711 " ]
}

@test "rmdir removes an empty collection, and no other" {
	put docs apple 16
	refused "Directory not empty" rmdir mnt/docs
	rm mnt/docs/apple
	rmdir mnt/docs
	[ -z "$(ls -A mnt)" ]
	refused "No such file" rmdir mnt/docs
	restart
	[ -z "$(ls -A mnt)" ]
}

@test "mv renames a collection with all that is in it" {
	vec 1 4 >mnt/docs/apple
	ino=$(stat -c %i mnt/docs/apple)
	mv mnt/docs mnt/words
	[ "$(ls mnt)" = words ]
	cmp mnt/words/apple <(vec 1 4)
	[ "$(stat -c %i mnt/words/apple)" = "$ino" ]
	[ ! -e mnt/docs ]
	mkdir mnt/docs # another one
	[ -z "$(ls mnt/docs)" ]
	restart
	[ "$(ls mnt | tr '\n' ' ')" = "docs words " ]
	cmp mnt/words/apple <(vec 1 4)
}

@test "mv -T of a collection replaces an empty one, and no other" {
	mkdir mnt/empty mnt/full
	vec 1 4 >mnt/docs/apple
	vec 2 4 >mnt/full/pear
	refused "Directory not empty" mv -T mnt/docs mnt/full
	mv -T mnt/docs mnt/empty
	[ "$(ls mnt | tr '\n' ' ')" = "empty full " ]
	cmp mnt/empty/apple <(vec 1 4)
	cmp mnt/full/pear <(vec 2 4)
}

@test "without a schema the first complete vector fixes the dim" {
	[ "$(schema docs | tr '\n' ' ')" = "dim=0 dtype=f32 metric=l2 " ]
	put docs apple 3072
	[ "$(schema docs | tr '\n' ' ')" = "dim=768 dtype=f32 metric=l2 " ]
	refused "Invalid argument" put docs pear 3068
	logged "docs/pear: refused: got 3068 bytes, want 3072 (dim=768 dtype=f32)"
	[ "$(ls mnt/docs)" = apple ]
	restart
	[ "$(schema docs | tr '\n' ' ')" = "dim=768 dtype=f32 metric=l2 " ]
	refused "File too large" put docs pear 3076
}

@test "a file of the wrong size where dim is not fixed yet (not a multiple of width, or 0) is EINVAL from close" {
	refused "Invalid argument" put docs apple 10
	logged "docs/apple: refused: got 10 bytes, want a whole number of f32 values, at most 1048576 bytes"
	refused "Invalid argument" touch mnt/docs/apple
	[ -z "$(ls -A mnt/docs)" ]
	[ "$(schema docs | head -n 1)" = dim=0 ]
	set_schema docs dtype=f16
	refused "Invalid argument" put docs apple 7
	logged "docs/apple: refused: got 7 bytes, want a whole number of f16 values, at most 1048576 bytes"
}

@test "schema: every dtype of f32 f16 bf16 i8 u8 bit fixes the width" {
	for pair in f32:64 f16:32 bf16:32 i8:16 u8:16 bit:2; do
		dtype=${pair%:*} size=${pair#*:}
		mkdir mnt/$dtype
		set_schema $dtype dim=16 dtype=$dtype
		[ "$(schema $dtype | tr '\n' ' ')" = "dim=16 dtype=$dtype metric=l2 " ]
		put $dtype a $size
		[ "$(stat -c %s mnt/$dtype/a)" = $size ]
		refused "File too large" put $dtype b $((size + 1))
		refused "Invalid argument" put $dtype b $((size - 1))
		logged "$dtype/b: refused: got $((size - 1)) bytes, want $size (dim=16 dtype=$dtype)"
		[ "$(ls mnt/$dtype)" = a ]
	done
	restart
	for pair in f32:64 f16:32 bf16:32 i8:16 u8:16 bit:2; do
		[ "$(schema ${pair%:*} | tr '\n' ' ')" = "dim=16 dtype=${pair%:*} metric=l2 " ]
		[ "$(stat -c %s mnt/${pair%:*}/a)" = ${pair#*:} ]
	done
}

@test "schema: the dtype alone leaves the dim to the first vector" {
	for triple in f16:10:5 bf16:10:5 i8:7:7 u8:7:7 bit:3:24; do
		IFS=: read -r dtype size dim <<<"$triple"
		mkdir mnt/$dtype
		set_schema $dtype dtype=$dtype
		put $dtype a "$size"
		[ "$(schema $dtype | tr '\n' ' ')" = "dim=$dim dtype=$dtype metric=l2 " ]
	done
}

@test "schema: metric is l2, ip or cosine, and kept" {
	for metric in l2 ip cosine; do
		mkdir mnt/$metric
		set_schema $metric metric=$metric dim=8
	done
	restart
	for metric in l2 ip cosine; do
		[ "$(schema $metric | tr '\n' ' ')" = "dim=8 dtype=f32 metric=$metric " ]
	done
}

@test "schema: what is no schema is refused with its reason, and nothing changes" {
	while IFS='|' read -r line why; do
		echo "$line" >bad
		refused "Invalid argument" cp bad mnt/docs/.vecfs/schema
		logged "docs/.vecfs/schema: refused: $why"
		[ "$(schema docs | tr '\n' ' ')" = "dim=0 dtype=f32 metric=l2 " ]
	done <<-'S'
		dim=many|got dim=many, want a number of values, or 0 for unknown
		dim=-3|got dim=-3, want a number of values, or 0 for unknown
		dtype=f64|got dtype=f64, want f32, f16, bf16, i8, u8 or bit
		metric=hamming|got metric=hamming, want l2, ip or cosine
		colour=red|got key 'colour', want dim, dtype or metric
		nonsense|got 'nonsense', want key=value
		dim=1000000|no vector can have dim=1000000 dtype=f32
	S
	printf 'dim=4\0\n' >bad
	refused "Invalid argument" cp bad mnt/docs/.vecfs/schema
	head -c 10000 /dev/zero | tr '\0' x >bad
	refused "File too large" cp bad mnt/docs/.vecfs/schema
}

@test "schema: writable until the first vector, and the same text ever after" {
	set_schema docs dim=4
	set_schema docs dim=8 dtype=u8
	put docs apple 8
	cp mnt/docs/.vecfs/schema saved
	echo dim=16 >other
	refused "Device or resource busy" cp other mnt/docs/.vecfs/schema
	logged "docs/.vecfs/schema: refused: the collection has, or has had, vectors"
	cp saved mnt/docs/.vecfs/schema
	[ "$(schema docs | head -n 1)" = dim=8 ]
}

@test "once the last vector is removed, what it has fixed is free again, also after a remount and a crash" {
	python3 -c '
import numpy as np
np.save("halves.npy", np.arange(12, dtype="f2").reshape(3, 4))
np.save("floats.npy", np.arange(12, dtype="f4").reshape(4, 3))'
	size=16
	for after in : restart "sync mnt/docs; crash; start"; do
		put docs apple $size
		[ "$(schema docs | head -n 1)" = dim=$((size / 4)) ]
		refused "Invalid argument" put docs pear $((size - 4))
		rm mnt/docs/apple
		eval "$after"
		[ "$(schema docs | tr '\n' ' ')" = "dim=0 dtype=f32 metric=l2 " ]
		size=$((size + 4))
		vecfs import mnt/docs halves.npy # of another dtype
		[ "$(schema docs | tr '\n' ' ')" = "dim=4 dtype=f16 metric=l2 " ]
		rm mnt/docs/*
		eval "$after"
		[ "$(schema docs | tr '\n' ' ')" = "dim=0 dtype=f32 metric=l2 " ]
		vecfs import mnt/docs floats.npy
		[ "$(stats docs vectors)" = 4 ]
		cmp mnt/docs/.vecfs/vectors.f32 <(tail -c 48 floats.npy)
		# They leave by a batch, all at once.
		mkdir mnt/docs/.vecfs/tx/b
		cp mnt/docs/.vecfs/ids mnt/docs/.vecfs/tx/b/.vecfs/delete
		mv mnt/docs/.vecfs/tx/b mnt/docs/.vecfs/commit/
		eval "$after"
		echo dtype=u8 >u8
		cp u8 mnt/docs/.vecfs/schema
		put docs apple 5
		[ "$(schema docs | tr '\n' ' ')" = "dim=5 dtype=u8 metric=l2 " ]
		rm mnt/docs/apple
		[ "$(schema docs | tr '\n' ' ')" = "dim=0 dtype=u8 metric=l2 " ] # that was said, and stays
		echo dtype=f32 >f32
		cp f32 mnt/docs/.vecfs/schema
		rmdir mnt/docs
		mkdir mnt/docs
	done
}

@test "a dim that was given stays without vectors, and can be given anew" {
	set_schema docs dim=4
	put docs apple 16
	rm mnt/docs/apple
	[ "$(schema docs | head -n 1)" = dim=4 ]
	refused "File too large" put docs apple 20
	restart
	[ "$(schema docs | head -n 1)" = dim=4 ]
	set_schema docs dim=5
	put docs apple 20
	mkdir mnt/other
	put other pear 8
	rm mnt/other/pear
	mv mnt/docs/apple mnt/other/ # whose vectors had another size
	[ "$(stat -c %s mnt/other/apple)" = 20 ]
	[ "$(schema docs | head -n 1)" = dim=5 ]
}

@test "schema: travels with cp to another collection" {
	set_schema docs dim=24 dtype=bit metric=ip
	mkdir mnt/copy
	cp mnt/docs/.vecfs/schema mnt/copy/.vecfs/schema
	cmp mnt/docs/.vecfs/schema mnt/copy/.vecfs/schema
	put copy a 3
}

@test ".vecfs is never listed, only opened by name" {
	put docs apple 16
	[ "$(ls -A mnt)" = docs ]
	[ "$(ls -A mnt/docs)" = apple ]
	[ "$(find mnt | sort | tr '\n' ' ')" = "mnt mnt/docs mnt/docs/apple " ]
	[ "$(ls -a mnt | tr '\n' ' ')" = ". .. docs " ]
	[ -d mnt/.vecfs ] && [ -d mnt/docs/.vecfs ]
	[ "$(ls mnt/.vecfs | tr '\n' ' ')" = "log metrics version " ]
	[ -r mnt/docs/.vecfs/stats ]
}

@test ".vecfs is reserved: no vector or collection gets the name, and it cannot be removed or renamed" {
	vec 1 4 >mnt/docs/apple
	refused "File exists" mkdir mnt/.vecfs
	refused "File exists" mkdir mnt/docs/.vecfs
	refused "directory" cp --no-target-directory --remove-destination mnt/docs/apple mnt/docs/.vecfs
	refused "" mv -T mnt/docs/apple mnt/docs/.vecfs
	refused "not permitted" mv mnt/docs/.vecfs mnt/docs/other
	refused "not permitted" mv mnt/.vecfs mnt/other
	refused "" mv -T mnt/docs mnt/.vecfs
	refused "" rmdir mnt/docs/.vecfs
	refused "" rmdir mnt/.vecfs
	refused "" rm -rf mnt/.vecfs
	refused "" rm -rf mnt/docs/.vecfs
	cmp mnt/docs/apple <(vec 1 4)
	[ "$(ls -A mnt)" = docs ]
	[ "$(ls -A mnt/docs)" = apple ]
	[ "$(stats docs vectors)" = 1 ]
}

@test "ids are any legal file name up to 255 bytes: spaces, newlines, dots, dashes, any bytes" {
	long=$(printf 'x%.0s' {1..255})
	ids=(a ... .hidden -rf ' ' $'two\nlines' $'tab\there' 'a*b?[c]' "it's \"quoted\"" '\' '$HOME' ~root
		$'\xff\xfe' $'\xc3\xa9' 日本語 .vecfs. .Vecfs vecfs "$long" .apple.Xy12Zq .docs.swp 'apple~' '#apple#' nul)
	for i in "${!ids[@]}"; do
		vec "$i" 4 >"mnt/docs/${ids[i]}"
	done
	[ "$(find mnt/docs -type f -printf x)" = "$(printf 'x%.0s' "${ids[@]}")" ]
	restart
	[ "$(find mnt/docs -type f -printf x)" = "$(printf 'x%.0s' "${ids[@]}")" ]
	for i in "${!ids[@]}"; do
		cmp "mnt/docs/${ids[i]}" <(vec "$i" 4)
	done
	find mnt/docs -type f -delete
	[ -z "$(ls -A mnt/docs)" ]
}

@test "ids of more than 255 bytes are ENAMETOOLONG" {
	long=$(printf 'x%.0s' {1..256})
	refused "File name too long" put docs "$long" 16
	vec 1 4 >mnt/docs/apple
	refused "File name too long" mv mnt/docs/apple "mnt/docs/$long"
	refused "File name too long" mkdir "mnt/$long"
	cmp mnt/docs/apple <(vec 1 4)
}

@test "collections have any legal name up to 255 bytes, too" {
	long=$(printf 'y%.0s' {1..255})
	for name in "$long" $'two\nlines' ... -rf $'\xff' 'a b'; do
		mkdir -- "mnt/$name"
		vec 1 4 >"mnt/$name/apple"
	done
	restart
	for name in "$long" $'two\nlines' ... -rf $'\xff' 'a b'; do
		cmp "mnt/$name/apple" <(vec 1 4)
	done
	find mnt -mindepth 1 -delete
	[ -z "$(ls -A mnt)" ]
}

@test "nothing but collections in the root, nothing but vectors in a collection" {
	vec 1 4 >apple
	refused "not permitted" cp apple mnt/apple
	refused "not permitted" mkdir mnt/docs/sub
	refused "not permitted" ln -s apple mnt/docs/link
	refused "not permitted" ln -s docs mnt/link
	refused "not permitted" mkfifo mnt/docs/pipe
	cp apple mnt/docs/apple
	refused "not permitted" mv -T mnt/docs/apple mnt/apple
	[ "$(find mnt | sort | tr '\n' ' ')" = "mnt mnt/docs mnt/docs/apple " ]
}
