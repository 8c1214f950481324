#!/usr/bin/env bats
# vecfs send, vecfs receive, vecfs stat --digest: streams from one store to another. The second store is ./store2, at
# ./mnt2.

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	start_other
}

teardown() {
	local failed=0
	stop_other || failed=1
	end || failed=1
	return $failed
}

start_other() {
	mkdir -p mnt2
	other_log=$(mktemp "$here/daemon.XXXXXX.log")
	(outside "$VECFS_BIN" mount -f -o "$transport" "$here/${1:-store2}" "$here/mnt2") </dev/null >>"$other_log" 2>&1 &
	other=$!
	eventually grep -q serving "$other_log"
}

# stop_other: its store must be well.
stop_other() {
	local status=0
	[ -n "${other:-}" ] || return 0
	vecfs umount "$here/mnt2" && wait "$other" || status=$?
	other=
	[ $status = 0 ] || { kill -KILL "$other" 2>/dev/null; take_away "$here"; return $status; }
	[ -n "$damage_expected" ] || vecfs check "$here/store2" >check2.txt 2>&1 || { cat check2.txt; return 1; }
}

# vectors COLLECTION COUNT DIM SEED [DTYPE]: so many of them, with ids i0, i1, ...
vectors() {
	python3 - "$2" "$3" "$4" >"$1.raw" <<-'P'
		import sys, random, array
		n, dim, seed = map(int, sys.argv[1:4])
		rng = random.Random(seed)
		sys.stdout.buffer.write(array.array('f', (rng.gauss(0, 1) for _ in range(n * dim))).tobytes())
	P
	seq -f i%.0f 0 $(($2 - 1)) >"$1.ids"
	vecfs import -q --format "${5:-f32}" --dim "$3" --ids "$1.ids" "mnt/$1" "$1.raw"
}

digest() { vecfs stat --digest "$1"; }

# same COLLECTION...: it is the same in both stores: digests, bytes, modes, owners and times.
same() {
	local c
	for c in "$@"; do
		[ "$(digest "mnt/$c")" = "$(digest "mnt2/$c")" ] || { echo "the digests of $c differ"; return 1; }
		diff -r "mnt/$c" "mnt2/$c"
		cmp "mnt/$c/.vecfs/schema" "mnt2/$c/.vecfs/schema"
		diff <(attributes "mnt/$c") <(attributes "mnt2/$c")
	done
}
# throttle: a pipe that takes its time.
throttle() { perl -e 'while (sysread STDIN, $b, 65536) { syswrite STDOUT, $b; select undef, undef, undef, 0.01 }'; }
# resume COLLECTION: whatever a receiver has left of it, the whole of the snapshot S of mnt/docs comes to it.
resume() {
	local token=''
	[ ! -d "mnt2/$1" ] || token=$(vecfs receive --token "mnt2/$1")
	echo "$1: ${token:-nothing}"
	if [ -e "mnt2/$1/.vecfs/snap/S" ]; then # it had done all
		return
	elif [ -n "$token" ] && [[ $token != *-0-0 ]]; then
		vecfs send -q --resume "$token" mnt/docs/.vecfs/snap/S | vecfs receive -q "mnt2/$1"
	else
		vecfs receive -q "mnt2/$1" <s
	fi
}
attributes() { (cd "$1" && find . -printf '%p %m %U %G %T@\0' | LC_ALL=C sort -z | tr '\0' '\n'); }

@test "send and receive: the same vectors, modes, owners and times in another store" {
	vectors docs 3000 24 1
	chmod 600 mnt/docs/i7
	touch -d '2001-02-03 04:05:06.789' mnt/docs/i8
	[ "$(id -u)" != 0 ] || chown 12:34 mnt/docs/i9
	chmod 2750 mnt/docs
	touch -d '1999-12-31 23:59:59' mnt/docs
	vecfs send -q mnt/docs | vecfs receive -q mnt2/docs
	same docs
	stop_other
	start_other
	same docs
}

@test "send and receive: few vectors, that go through the log" {
	for i in 1 2 3; do vec $i 8 >mnt/docs/v$i; done
	chmod 640 mnt/docs/v2
	touch -d '2011-11-11 11:11:11.5' mnt/docs/v3
	vecfs send -q mnt/docs | vecfs receive -q mnt2/docs
	same docs
}

@test "a stream is a file: compressed at every level, or not" {
	vectors docs 2000 32 2
	for level in none 1 3 9 19; do
		vecfs send -q --compress $level mnt/docs >s.$level
		vecfs receive -q mnt2/copy$level <s.$level
		[ "$(digest mnt/docs)" = "$(digest mnt2/copy$level)" ]
	done
	[ "$(stat -c %s s.1)" -lt "$(stat -c %s s.none)" ]
	run -2 vecfs send --compress 20 mnt/docs
	[[ $output == *"want 1 to 19, or none"* ]]
}

@test "every dtype and metric comes through" {
	for dtype in f32 f16 bf16 i8 u8 bit; do
		mkdir mnt/$dtype
		printf 'dim=24\ndtype=%s\nmetric=cosine\n' $dtype >mnt/$dtype/.vecfs/schema
		case $dtype in f32) size=96 ;; f16 | bf16) size=48 ;; bit) size=3 ;; *) size=24 ;; esac
		for i in 1 2 3 4 5; do head -c $size /dev/urandom >mnt/$dtype/v$i; done
		vecfs send -q mnt/$dtype | vecfs receive -q mnt2/$dtype
		same $dtype
	done
}

@test "views come along: they are made anew, with their parameters" {
	expect_log '.*: trained anew; all vectors have new codes'
	vectors docs 1000 32 3
	mkdir mnt/docs/.vecfs/views/sq8 mnt/docs/.vecfs/views/pq8
	printf 'seed=7\nretrain=auto\n' >mnt/docs/.vecfs/views/pq8/.vecfs/params
	eventually is_ready mnt/docs/.vecfs/views/pq8
	vecfs send -q mnt/docs >s
	vecfs receive -q mnt2/docs <s
	[ "$(ls mnt2/docs/.vecfs/views)" = "$(printf 'pq8\nsq8')" ]
	for view in pq8 sq8; do cmp "mnt/docs/.vecfs/views/$view/.vecfs/params" "mnt2/docs/.vecfs/views/$view/.vecfs/params"; done
	same docs
	stop
	vecfs send -q store/docs | vecfs receive -q mnt2/again
	start
	grep -qx seed=7 mnt2/again/.vecfs/views/pq8/.vecfs/params
	for view in mnt2/docs/.vecfs/views/* mnt2/again/.vecfs/views/*; do eventually is_ready "$view"; done
}
is_ready() { [ "$(cat "$1/.vecfs/state")" = ready ]; }

@test "an empty collection comes through, with its schema" {
	printf 'dim=7\ndtype=i8\nmetric=ip\n' >mnt/docs/.vecfs/schema
	chmod 711 mnt/docs
	vecfs send -q mnt/docs | vecfs receive -q mnt2/docs
	same docs
	mkdir mnt/plain
	vecfs send -q mnt/plain | vecfs receive -q mnt2/plain
	vec 1 3 >mnt2/plain/x
}

@test "ids that hold newlines, spaces, any bytes come through" {
	for id in $'a\nb' ' ' $'\xff\xfe' '-n' 'é' $'\r' '.hidden' '%2F' $'\xef\xbb\xbfmark' "$(printf 'x%.0s' {1..255})"; do
		vec 1 4 >"mnt/docs/$id"
	done
	vecfs send -q mnt/docs | vecfs receive -q mnt2/docs
	same docs
}

@test "stat --digest: one number, of ids and bytes alone" {
	for i in 1 2 3; do vec $i 8 >mnt/docs/v$i; done
	mkdir mnt/other
	for i in 3 1 2; do vec $i 8 >mnt/other/v$i; done
	[ "$(digest mnt/docs)" = "$(digest mnt/other)" ]
	[[ $(digest mnt/docs) =~ ^[0-9a-f]{32}:3$ ]]
	before=$(digest mnt/docs)
	chmod 600 mnt/docs/v1
	[ "$(digest mnt/docs)" = "$before" ]
	mv mnt/other/v1 mnt/other/w1
	[ "$(digest mnt/other)" != "$before" ]
	vec 9 8 >mnt/docs/v1
	[ "$(digest mnt/docs)" != "$before" ]
	vec 1 8 >mnt/docs/v1
	[ "$(digest mnt/docs)" = "$before" ]
	stop
	[ "$(digest store/docs)" = "$before" ]
	refused "no such collection" vecfs stat --digest store/nothing
	start
}

@test "send from a store that is not mounted" {
	vectors docs 1000 16 3
	chmod 600 mnt/docs/i3
	stop
	vecfs send -q store/docs >s
	vecfs receive -q mnt2/docs <s
	start
	same docs
}

@test "receive --list says what a stream holds, and whether it is whole" {
	vectors docs 1000 16 4
	vecfs send -q mnt/docs >s
	run -0 vecfs receive --list <s
	[[ $output == *"vectors            1,000"* && $output == *"whole              yes"* ]]
	[[ $(vecfs receive --list --json <s) == *'"dim": 16'* ]]
	mkdir mnt/docs/.vecfs/views/sq8 mnt/docs/.vecfs/snap/S
	chmod 750 mnt/docs # not what the snapshot's was
	vecfs send -q mnt/docs/.vecfs/snap/S >snap
	vecfs receive --list <snap >listed
	grep -qx 'snapshot  *S' listed
	grep -qx "mode  *0$(stat -c %a mnt/docs/.vecfs/snap/S)" listed
	grep -qx "mtime  *$(stat -c %y mnt/docs/.vecfs/snap/S)" listed
	grep -qx "ctime  *$(stat -c %z mnt/docs/.vecfs/snap/S)" listed
	grep -q 'sq8  *seed=0 train=0 retrain=off' listed
	vecfs receive --list --json <snap | python3 -c \
		"import json, sys; assert json.load(sys.stdin)['views'] == [{'name': 'sq8', 'params': 'seed=0 train=0 retrain=off'}]"
	head -c -5 s >cut
	run -1 vecfs receive --list <cut
	[[ $output == *"cut short after"* && $output == *"whole              no"* ]]
	[ -z "$(ls -A mnt2)" ]
}

@test "an altered or torn stream is told where, and changes nothing" {
	vectors docs 500 16 5
	vecfs send -q mnt/docs >s
	size=$(stat -c %s s)
	for at in 0 9 30 200 $((size / 3)) $((size / 2)) $((size - 60)) $((size - 1)); do
		cp s bad
		printf '\x5a' | dd of=bad bs=1 seek=$at conv=notrunc status=none
		cmp -s s bad && printf '\xa5' | dd of=bad bs=1 seek=$at conv=notrunc status=none
		refused "standard input: " vecfs receive -q mnt2/docs <bad
		[ ! -e mnt2/docs ] || [ -z "$(ls -A mnt2/docs)" ]
	done
	for n in 0 1 23 24 100 $((size / 2)) $((size - 1)); do
		head -c "$n" s >bad
		refused "standard input: " vecfs receive -q mnt2/docs <bad
		[ ! -e mnt2/docs ] || [ -z "$(ls -A mnt2/docs)" ]
	done
	(cat s; echo) >bad
	refused "more follows" vecfs receive -q mnt2/docs <bad
	cat docs.raw >bad
	refused "something else than what vecfs send writes" vecfs receive -q mnt2/docs <bad
	vecfs receive -q mnt2/docs <s
	same docs
}

@test "a stream of a newer version is refused with a sentence" {
	vec 1 4 >mnt/docs/a
	vecfs send -q mnt/docs >s
	printf '\x03' | dd of=s bs=1 seek=8 conv=notrunc status=none
	refused "a stream of version 3, of which this program knows 1 to 2 only" vecfs receive mnt2/docs <s
	[ ! -e mnt2/docs ]
}

@test "a whole stream wants an empty collection, of its schema" {
	vec 1 4 >mnt/docs/a
	vecfs send -q mnt/docs >s
	mkdir mnt2/docs mnt2/wide
	vec 2 4 >mnt2/docs/b
	refused "holds 1 vectors; a stream of all rows wants it empty or missing" vecfs receive mnt2/docs <s
	[ "$(ls mnt2/docs)" = b ]
	vec 2 5 >mnt2/wide/b
	refused "found dim=5 dtype=f32 metric=l2, the stream has dim=4" vecfs receive mnt2/wide <s
	refused "want a directory just below a mountpoint" vecfs receive elsewhere <s
	refused "want a directory just below a mountpoint" vecfs receive mnt2/docs/deeper <s
	refused "want a directory just below a mountpoint" vecfs receive mnt2/.vecfs <s
	for given in dim=5 dtype=f16 metric=ip; do
		mkdir "mnt2/$given"
		echo $given >"mnt2/$given/.vecfs/schema"
		cp "mnt2/$given/.vecfs/schema" before
		refused "the stream has dim=4 dtype=f32 metric=l2" vecfs receive "mnt2/$given" <s
		cmp before "mnt2/$given/.vecfs/schema"
	done
	mkdir mnt2/empty mnt2/same
	echo dim=4 >mnt2/same/.vecfs/schema
	for there in empty same; do
		vecfs receive -q mnt2/$there <s
		[ "$(digest mnt/docs)" = "$(digest mnt2/$there)" ]
	done
	mkdir mnt/halves
	printf 'dtype=f16\nmetric=cosine\n' >mnt/halves/.vecfs/schema
	head -c 8 /dev/zero >mnt/halves/x
	mkdir mnt2/halves
	vecfs send -q mnt/halves | vecfs receive -q mnt2/halves
	same halves
	vecfs receive -q mnt2/new <s
	vecfs receive -q mnt2/new <s # it is there already
	[ "$(digest mnt/docs)" = "$(digest mnt2/new)" ]
}

@test "a stream is nothing for a terminal" {
	need script
	vec 1 4 >mnt/docs/a
	run -2 script -qec "'$VECFS_BIN' send mnt/docs" /dev/null
	[[ $output == *"nothing for a terminal"* ]]
}

@test "a stream that finds no room is told of where it goes, not of where it comes from" {
	vec 1 4 >mnt/docs/a
	run -1 bash -c '"$VECFS_BIN" send -q mnt/docs >/dev/full'
	[[ $output == "vecfs: standard output: No space left on device" ]]
	run -1 bash -c '"$VECFS_BIN" send -q mnt/docs >&-'
	[[ $output == "vecfs: standard output: Bad file descriptor" ]]
}

@test "receive goes on after a stream that was cut off: the rest is sent with the token" {
	vectors docs 2500 512 6
	vecfs send -q --compress none mnt/docs >s
	head -c $(($(stat -c %s s) * 2 / 3)) s >cut
	run -1 vecfs receive -q mnt2/docs <cut
	[[ $output == *"vectors are kept: go on with vecfs send --resume "* ]]
	token=${output##* }
	[ -z "$(ls -A mnt2/docs)" ]
	[ "$(vecfs receive --token mnt2/docs)" = "$token" ]
	[[ $token =~ ^[0-9a-f]{16}-0-[0-9]+$ && ${token##*-} -gt 0 ]]
	vecfs send -q --resume "$token" mnt/docs >rest
	[ "$(stat -c %s rest)" -lt $(($(stat -c %s s) / 2)) ]
	refused "has nothing of this stream" vecfs receive -q mnt2/other <rest
	[ ! -e mnt2/other ]
	vecfs receive -q mnt2/docs <rest
	same docs
	[ -z "$(vecfs receive --token mnt2/docs)" ]
	chmod 600 mnt/docs/i7
	refused "the token is of another stream" vecfs send --resume "$token" mnt/docs
	run -2 vecfs send --resume nonsense mnt/docs
}

@test "receivers and mounts that are killed at any moment: resumed, it ends equal" {
	vectors docs 5000 512 10
	mkdir mnt/docs/.vecfs/views/sq8 mnt/docs/.vecfs/views/bit
	chmod 600 mnt/docs/i7
	touch -d '2001-02-03 04:05:06.789' mnt/docs/i8
	chmod 2750 mnt/docs
	touch -d '1999-12-31 23:59:59' mnt/docs
	mkdir mnt/docs/.vecfs/snap/S
	vec 1 512 >mnt/docs/i9 # what is sent is the snapshot
	vecfs send -q mnt/docs/.vecfs/snap/S >s
	local kills=6 receiver i
	[ "$VECFS_LONG" = 0 ] || kills=50
	mkfifo slow
	for ((i = 0; i < kills; i++)); do
		throttle <s >slow 2>/dev/null &
		"$VECFS_BIN" receive -q mnt2/docs$i <slow 2>/dev/null &
		receiver=$!
		sleep "$(awk -v r=$RANDOM 'BEGIN { print 0.15 + r % 1300 / 1000 }')"
		kill -KILL $receiver 2>/dev/null || true
		if ((i % 3 == 2)); then
			kill -KILL "$other"
			take_away "$here/mnt2"
			wait "$other" || true # it has the store until then
			other=''
			start_other
		fi
		wait $receiver || true
		resume docs$i
		[ "$(digest mnt/docs/.vecfs/snap/S)" = "$(digest mnt2/docs$i)" ]
		[ "$(digest mnt/docs/.vecfs/snap/S)" = "$(digest mnt2/docs$i/.vecfs/snap/S)" ]
		diff <(attributes mnt/docs/.vecfs/snap/S) <(attributes mnt2/docs$i/.vecfs/snap/S)
		[ "$(ls mnt2/docs$i/.vecfs/snap/S/.vecfs/views)" = $'bit\nsq8' ]
	done
}

@test "a difference: what has changed, come and gone, at the cost of that" {
	vectors docs 5000 64 11
	vecfs send -q mnt/docs | vecfs receive -q mnt2/docs
	stop
	cp -a store store0
	start
	for i in {10..39}; do vec $i 64 >mnt/docs/i$i; done # changed,
	rm mnt/docs/i1000 mnt/docs/i4999 mnt/docs/i0       # gone (which moves others),
	mv mnt/docs/i2000 mnt/docs/renamed                 # renamed,
	mv mnt/docs/i2001 mnt/docs/i2002                   # over another,
	vec 7 64 >mnt/docs/new                             # new,
	chmod 600 mnt/docs/i3000                           # and of others only the mode
	touch -d '2005-05-05' mnt/docs/i3001
	rm mnt/docs/i4000
	vec 8 64 >mnt/docs/i4000 # the same id, another entry
	vecfs send -q mnt/docs >whole
	vecfs send -q --from store0/docs mnt/docs >s
	[ $(($(stat -c %s s) * 50)) -lt "$(stat -c %s whole)" ]
	vecfs receive --list <s >listed
	grep -qx 'rows  *36' listed
	grep -qx 'removals  *5' listed
	vecfs receive -q mnt2/docs <s
	same docs
	refused "is missing; the stream is only a difference" vecfs receive -q mnt2/elsewhere <s
	mkdir mnt2/elsewhere
	refused "is not what the stream is the difference to" vecfs receive -q mnt2/elsewhere <s
}

@test "a difference to nothing, to everything, and none at all" {
	vectors docs 300 16 12
	stop
	cp -a store store0
	start
	vecfs send -q mnt/docs | vecfs receive -q mnt2/docs
	vecfs send -q --from store0/docs mnt/docs >none
	[ "$(stat -c %s none)" -lt 1000 ]
	vecfs receive -q mnt2/docs <none
	same docs
	rm mnt/docs/*
	vecfs send -q --from store0/docs mnt/docs >all
	vecfs receive -q mnt2/docs <all
	[ -z "$(ls -A mnt2/docs)" ]
	refused "only a difference" vecfs receive -q mnt2/new <all
	[ ! -e mnt2/new ]
}

@test "a difference does not read vectors that have not changed" {
	expect_damage
	expect_log '.*checksum mismatch.*'
	vectors docs 4000 256 13
	vecfs send -q mnt/docs | vecfs receive -q mnt2/docs
	stop
	cp -a store store0
	printf 'damaged!' | dd of="$(find store -name '*.npy' | head -n 1)" bs=1 seek=3000000 conv=notrunc status=none
	start
	vec 5 256 >mnt/docs/i1
	vecfs send -q --from store0/docs mnt/docs | vecfs receive -q mnt2/docs
	cmp mnt/docs/i1 mnt2/docs/i1
	run -1 vecfs send -q mnt/docs >/dev/null
	run -1 vecfs stat --digest mnt/docs
}

@test "a difference of 1 % costs 1 % of the bytes, and not one of the other vectors is read" {
	expect_damage
	expect_log '.*checksum mismatch.*'
	local S=mnt/docs/.vecfs/snap/S T=mnt/docs/.vecfs/snap/T old
	vectors docs 10000 64 18
	mkdir $S
	vecfs send -q --compress none $S >whole
	vecfs receive -q mnt2/docs <whole
	vectors changed 100 64 19
	for i in {0..99}; do cp mnt/changed/i$i mnt/docs/i$((i * 100)); done
	mkdir $T
	stop
	old=$(find store -name '*.npy' -size +2M | head -n 1)
	chmod u+w "$old"
	head -c $((10000 * 256)) /dev/urandom | dd of="$old" bs=4096 seek=1 conv=notrunc status=none # all that S has
	start
	vecfs send -q --compress none --from $S $T >s
	[ $(($(stat -c %s s) * 1000)) -lt $(($(stat -c %s whole) * 12)) ]
	vecfs receive --list <s | grep -qx 'rows  *100'
	vecfs receive -q mnt2/docs <s
	for i in 0 50 99; do cmp mnt/changed/i$i mnt2/docs/i$((i * 100)); done
	run -1 vecfs send -q $T >/dev/null
}

@test "a difference across a going back: what differs, and no vector that both snapshots share is read" {
	expect_damage
	expect_log '.*checksum mismatch.*'
	vectors docs 4000 256 17
	mkdir mnt/docs/.vecfs/snap/S
	vecfs send -q mnt/docs/.vecfs/snap/S | vecfs receive -q mnt2/docs
	for i in {1..9}; do vec $i 256 >mnt/docs/i$i; done
	rm mnt/docs/i10
	vecfs clone mnt/docs/.vecfs/snap/S mnt/docs
	vec 5 256 >mnt/docs/i1
	vec 6 256 >mnt/docs/new
	rm mnt/docs/i7
	stop
	chmod -R u+w store
	printf 'damaged!' | dd of="$(find store -name '*.npy' -size +3M | head -n 1)" bs=1 seek=3000000 conv=notrunc status=none
	start
	mkdir mnt/docs/.vecfs/snap/T
	vecfs send -q --from mnt/docs/.vecfs/snap/S mnt/docs/.vecfs/snap/T >s
	vecfs receive --list <s >listed
	grep -qx 'rows  *2' listed
	grep -qx 'removals  *1' listed
	vecfs receive -q mnt2/docs <s
	cmp mnt/docs/i1 mnt2/docs/i1
	[ "$(LC_ALL=C ls mnt/docs)" = "$(LC_ALL=C ls mnt2/docs)" ]
	run -1 vecfs stat --digest mnt/docs # it is damaged,
	run -1 vecfs send -q mnt/docs/.vecfs/snap/T >/dev/null # and is not sent as if it were not
}

@test "a difference is refused where the base is another, or has changed since" {
	vectors docs 300 16 14
	vecfs send -q mnt/docs | vecfs receive -q mnt2/docs
	stop
	cp -a store store0
	start
	vec 1 16 >mnt/docs/new
	vecfs send -q --from store0/docs mnt/docs >s
	vec 2 16 >mnt2/docs/i5
	before=$(digest mnt2/docs)
	refused "is not what the stream is the difference to: found" vecfs receive -q mnt2/docs <s
	[ "$(digest mnt2/docs)" = "$before" ]
	[ -z "$(ls mnt2/docs/.vecfs/tx)" ]
}

@test "a snapshot is received with its name, and then the difference to the next" {
	local S=docs/.vecfs/snap/S T=docs/.vecfs/snap/T
	vectors docs 2000 24 15
	mkdir mnt/docs/.vecfs/views/sq8
	chmod 750 mnt/docs
	touch -d '2001-02-03 04:05:06.789' mnt/docs
	mkdir mnt/$S
	vec 1 24 >mnt/docs/i5
	rm mnt/docs/i6
	vec 2 24 >mnt/docs/new
	mkdir mnt/$T
	vec 3 24 >mnt/docs/i7 # what is sent is the snapshot
	vecfs send -q mnt/$S >s
	[[ $(vecfs receive --list --json <s) == *'"snapshot": "S"'* ]]
	vecfs receive -q mnt2/docs <s
	[ "$(ls mnt2/docs/.vecfs/snap)" = S ]
	[ "$(digest mnt/$S)" = "$(digest mnt2/$S)" ]
	diff -r mnt/$S mnt2/$S
	refused "has a snapshot 'S' already" vecfs receive -q mnt2/docs <s
	vecfs send -q mnt/$T --from mnt/$S >d
	vecfs receive --list <d >listed
	grep -qx 'from  *S' listed
	grep -qx 'rows  *2' listed
	grep -qx 'removals  *1' listed
	vecfs receive -q mnt2/docs <d
	[ "$(ls mnt2/docs/.vecfs/snap)" = $'S\nT' ]
	for _ in 1 2; do
		for c in $S $T; do
			[ "$(digest mnt/$c)" = "$(digest mnt2/$c)" ]
			diff -r mnt/$c mnt2/$c
			diff <(attributes mnt/$c) <(attributes mnt2/$c) # of the directory, too
			cmp mnt/$c/.vecfs/views/sq8/.vecfs/params mnt2/$c/.vecfs/views/sq8/.vecfs/params
		done
		[ "$(stat -c '%a %Y' mnt2/$S)" = "750 $(date -d '2001-02-03 04:05:06' +%s)" ]
		eventually is_ready mnt2/docs/.vecfs/views/sq8
		vecfs search mnt2/$S mnt/$S/i5 --view sq8 -k 3 >there
		vecfs search mnt/$S mnt/$S/i5 -k 3 | cmp - there
		stop_other
		start_other
	done
}

@test "the difference of two snapshots is refused where the base is another" {
	vectors docs 300 16 16
	mkdir mnt/docs/.vecfs/snap/S
	vec 1 16 >mnt/docs/new
	mkdir mnt/docs/.vecfs/snap/T
	vecfs send -q mnt/docs/.vecfs/snap/T >t
	vecfs send -q mnt/docs/.vecfs/snap/T --from mnt/docs/.vecfs/snap/S >d
	refused "is missing; the stream is only a difference" vecfs receive -q mnt2/docs <d
	vecfs send -q mnt/docs/.vecfs/snap/S | vecfs receive -q mnt2/docs
	vec 2 16 >mnt2/docs/i5
	before=$(digest mnt2/docs)
	refused "the snapshot 'S'" vecfs receive -q mnt2/docs <d
	[ "$(digest mnt2/docs)" = "$before" ]
	[ "$(ls mnt2/docs/.vecfs/snap)" = S ]
	[ -z "$(ls mnt2/docs/.vecfs/tx)" ]
	# Back to S, the difference fits.
	mv mnt2/docs mnt2/strayed
	vecfs clone mnt2/strayed/.vecfs/snap/S mnt2/docs
	vecfs receive -q mnt2/docs <d
	[ "$(digest mnt/docs)" = "$(digest mnt2/docs)" ]
	[ "$(ls mnt2/docs/.vecfs/snap)" = T ]
}

@test "snapshots of a store that is not mounted are sent, and into a mount received" {
	vectors docs 300 16 17
	mkdir mnt/docs/.vecfs/snap/S
	vec 1 16 >mnt/docs/i3
	mkdir mnt/docs/.vecfs/snap/T
	vec 2 16 >mnt/docs/i3
	stop
	vecfs send -q store/docs/.vecfs/snap/S | vecfs receive -q mnt2/docs
	vecfs send -q store/docs/.vecfs/snap/T --from store/docs/.vecfs/snap/S | vecfs receive -q mnt2/docs
	start
	for c in S T; do diff -r mnt/docs/.vecfs/snap/$c mnt2/docs/.vecfs/snap/$c; done
}

@test "a receiver that finds no space says so, and keeps what has come" {
	need_root
	vectors docs 2500 512 7
	vecfs send -q mnt/docs >s
	stop_other
	mkdir full
	mount -t tmpfs -o size=6m tmpfs full
	rm -rf mnt2
	start_other full/store
	run -1 vecfs receive -q mnt2/docs <s
	echo "$output"
	[[ $output == *"No space left"* ]]
	[ -z "$(ls -A mnt2/docs)" ]
	mount -o remount,size=64m full
	vecfs receive -q mnt2/docs <s
	same docs
	vecfs umount mnt2
	wait "$other"
	other=
	vecfs check full/store
	umount full
}

@test "receive while others write: to other collections it goes on, to this one it is refused" {
	vectors docs 20000 64 8
	vecfs send -q mnt/docs >s
	mkdir mnt2/busy mnt2/docs
	(for i in {1..300}; do vec $i 8 >"mnt2/busy/v$((i % 7))"; done) &
	vecfs receive -q mnt2/fine <s
	wait $!
	[ "$(digest mnt/docs)" = "$(digest mnt2/fine)" ]
	mkfifo slow
	(
		head -c 100000 s
		until [ -n "$(ls mnt2/docs/.vecfs/tx)" ]; do sleep 0.05; done
		sleep 0.5 # what it goes by it has looked at
		vec 1 64 >mnt2/docs/mine
		tail -c +100001 s
	) >slow &
	refused "changed" vecfs receive -q mnt2/docs <slow
	wait $! || : # a receiver that has seen enough leaves it a broken pipe
	[ "$(ls mnt2/docs)" = mine ]
}

@test "two receivers of one stream: one is told" {
	vectors docs 2500 512 9
	vecfs send -q mnt/docs >s
	mkfifo slow
	exec 7<>slow
	vecfs receive -q mnt2/docs <slow 7<&- &
	first=$!
	head -c 1000000 s >&7
	eventually compgen -G 'mnt2/docs/.vecfs/tx/receive-*/.vecfs/received'
	refused "being received there by somebody else" vecfs receive -q mnt2/docs <s
	tail -c +1000001 s >&7
	exec 7>&-
	wait $first
	same docs
}

@test "attributes of a batch: who is not root gives nothing away" {
	need_root
	chmod 777 mnt2
	stop_other
	start_other
	mkdir -m 777 mnt2/docs
	attrs() { perl -e 'print pack "q<L<L<L<L<", 1000000000, 5, oct $ARGV[0], $ARGV[1], $ARGV[2]' "$@"; }
	printf 'dim=4\n' >mnt2/docs/.vecfs/schema
	mkdir mnt2/docs/.vecfs/tx/b
	vec 1 4 >mnt2/docs/.vecfs/tx/b/.vecfs/vectors.f32
	echo one >mnt2/docs/.vecfs/tx/b/.vecfs/ids
	attrs 4711 7 8 >mnt2/docs/.vecfs/tx/b/.vecfs/attributes
	mv mnt2/docs/.vecfs/tx/b mnt2/docs/.vecfs/commit/
	[ "$(stat -c '%a %u %g %Y' mnt2/docs/one)" = '4711 7 8 1000000000' ]
	mkdir mnt2/docs/.vecfs/tx/c
	vec 1 4 >mnt2/docs/.vecfs/tx/c/.vecfs/vectors.f32
	attrs 644 0 0 | head -c 20 >mnt2/docs/.vecfs/tx/c/.vecfs/attributes
	refused "" mv mnt2/docs/.vecfs/tx/c mnt2/docs/.vecfs/commit/
	grep -q 'attributes: 20 bytes, want 24 for 1 vectors' mnt2/.vecfs/log
}
