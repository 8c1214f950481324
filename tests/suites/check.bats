#!/usr/bin/env bats
# vecfs check.
# transports: none

load helper

setup() {
	begin
	start
	mkdir mnt/docs mnt/more
	mkdir -p model/docs model/more
	for i in 1 2 3 4 5 6; do vec $i 100 >model/docs/v$i; done
	for i in 7 8; do vec $i 40 >model/more/v$i; done
	cp model/docs/* mnt/docs/
	cp model/more/* mnt/more/
}

# byte FILE OFFSET: flips one there.
flip() {
	python3 - "$@" <<-'P'
		import sys
		with open(sys.argv[1], 'r+b') as f:
		    f.seek(int(sys.argv[2]))
		    byte = f.read(1)[0]
		    f.seek(int(sys.argv[2]))
		    f.write(bytes([byte ^ 16]))
	P
}

@test "a clean store is clean (0), and checking changes nothing" {
	stop
	before=$(cd "$store" && find . -type f -exec sha256sum {} + | sort)
	run vecfs check "$store"
	[ "$status" = 0 ]
	[ "$output" = "$store: clean" ]
	run vecfs check --repair "$store"
	[ "$status" = 0 ]
	[ "$before" = "$(cd "$store" && find . -type f -exec sha256sum {} + | sort)" ]
}

@test "a store whose daemon was killed is clean, too (0): its log is as good as what it will become" {
	sync mnt/docs
	vec 9 100 >mnt/docs/v1
	rm mnt/docs/v2
	mkdir mnt/docs/.vecfs/tx/b
	cp model/docs/v3 mnt/docs/.vecfs/tx/b/
	kill_daemon
	take_away "$mnt"
	run vecfs check "$store"
	[ "$status" = 0 ]
	start
	[ "$(ls mnt/docs | wc -l)" -ge 5 ]
}

@test "check finds and names any single byte flipped in any file of a store" {
	stop
	count=12
	[ "$VECFS_LONG" = 0 ] || count=0
	python3 "$tools/damage.py" flips "$VECFS_BIN" "$store" $count
}

@test "check names the id of a vector that is damaged (4), --repair gives up that one alone and says so (1)" {
	stop
	flip "$store/collections/1/0.npy" $((4096 + 2 * 400 + 7))
	run vecfs check "$store"
	[ "$status" = 4 ]
	[ "${#lines[@]}" = 1 ]
	damaged=$(grep -o 'docs/v[0-9]' <<<"$output")
	run vecfs check --repair "$store"
	[ "$status" = 1 ]
	[[ $output == *"$damaged"* ]]
	run vecfs check "$store"
	[ "$status" = 0 ]
	start
	[ "$(ls mnt/docs | wc -l)" = 5 ]
	[ ! -e "mnt/$damaged" ]
	for path in docs/v1 docs/v2 docs/v3 docs/v4 docs/v5 docs/v6 more/v7 more/v8; do
		[ $path = "$damaged" ] || cmp model/$path mnt/$path
	done
}

@test "every kind of damage to every file: found, the rest is served, repaired, and every intact vector kept" {
	stop
	python3 "$tools/damage.py" kinds "$VECFS_BIN" "$store" model $transport
}

@test "both catalogs gone: mount refuses and says what to do" {
	stop
	for slot in 0 1; do head -c 4096 /dev/urandom >"$store/catalog.$slot"; done
	run vecfs mount -o $transport "$store" "$mnt"
	[ "$status" = 1 ]
	[[ $output == "vecfs: $store: both catalogs are damaged"* ]]
	run vecfs check "$store"
	[ "$status" = 4 ] || [ "$status" = 8 ]
	expect_damage
}

@test "an index file of the earlier kind is no damage, and a mount makes one of today's" {
	stop
	tar -xJf "$BATS_TEST_DIRNAME/../data/index2.tar.xz" -C . --one-top-level=earlier
	store=$here/earlier/store
	grep -q VECINDX2 "$store/collections/1/index"
	[ "$(vecfs check "$store")" = "$store: clean" ]
	start ro
	[ "$(ls mnt/docs | wc -l)" = 296 ]
	stop
	start
	[ "$(ls mnt/docs | wc -l)" = 296 ]
	[ "$(od -An -tf4 mnt/docs/item-0299 | tr -s ' ')" = " 299 300 301 302" ]
	stop
	grep -q VECINDX3 "$store/collections/1/index"
	[ "$(vecfs check "$store")" = "$store: clean" ]
}

@test "check and repair take few descriptors, and name damage in the order of segments, whatever their number" {
	for i in $(seq 30); do # each is a segment of its own
		head -c 1228800 /dev/zero | tr '\0' "\\$(printf %o "$i")" >part.f32
		seq "$((1000 * i))" "$((1000 * i + 299))" >part.ids
		[ -d mnt/large ] || { mkdir mnt/large; echo dim=1024 >mnt/large/.vecfs/schema; }
		vecfs import -q --ids part.ids mnt/large part.f32
	done
	stop
	large=$(dirname "$(find "$store" -name 29.npy)")
	[ "$(vecfs check "$store")" = "$store: clean" ]
	for i in $(seq 0 29); do # one vector each, and all of every fifth
		head -c "$((i % 5 ? 4096 : 1228800))" /dev/zero | dd of="$large/$i.npy" bs=4096 seek=1 conv=notrunc status=none
		seq -f "large/%.0f: vector damaged (checksum)" "$((1000 * i + 1000))" "$((1000 * i + (i % 5 ? 1000 : 1299)))"
	done >want
	(ulimit -n 24 && vecfs check "$store" >found) || [ $? = 4 ]
	diff want found
	(ulimit -n 64 && vecfs check --repair "$store" >said) || [ $? = 1 ]
	[ "$(grep -c 'given up$' said)" = "$(wc -l <want)" ]
	[ "$(vecfs check "$store")" = "$store: clean" ]
}

@test "exit codes are those of fsck(8): 8 for what is no store or is in use, 16 for wrong arguments" {
	run vecfs check "$store" # it is mounted
	[ "$status" = 8 ]
	[[ $output == *"$daemon"* ]]
	run vecfs check nowhere
	[ "$status" = 8 ]
	mkdir empty
	run vecfs check empty
	[ "$status" = 8 ]
	run vecfs check
	[ "$status" = 16 ]
	run vecfs check --nonsense "$store"
	[ "$status" = 16 ]
	[ -z "$(ls -A empty)" ]
}
