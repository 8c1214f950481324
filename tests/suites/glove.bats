#!/usr/bin/env bats
# Real word vectors, one file each: the 3,000 of tests/data; with --long the 50,000 GloVe words, where they are shared.

BATS_TEST_TIMEOUT=240
load helper

setup() {
	begin
	start
	mkdir mnt/words
	vectors=$BATS_TEST_DIRNAME/../data/glove-3k.f32
	[ "$VECFS_LONG" = 0 ] || vectors=$(shared_data glove/glove-50k.f32 || echo "$vectors")
	words=${vectors%.f32}.ids
}

glove() { python3 "$tools/glove.py" "$1" "$words" "$vectors" mnt/words; }

@test "the GloVe words: created one file each, remounted, compared bit for bit, renamed, deleted" {
	glove create
	restart
	glove verify
	glove rename
	glove verify-renamed
	restart
	glove verify-renamed
	glove delete
	[ "$(stats words vectors)" = 0 ]
	restart
	[ -z "$(ls -A mnt/words)" ]
}

@test "the GloVe words: imported with --escape, killed, remounted, exported byte for byte" {
	rmdir mnt/words
	refused "line " vecfs import -q --dim 100 --ids "$words" mnt/words "$vectors" # '.' and '/' are among them
	vecfs import -q --dim 100 --escape --ids "$words" mnt/words "$vectors"
	crash
	start
	vecfs export -q --ids ids mnt/words out.f32
	cmp out.f32 "$vectors"
	sed 's/%2F/\//g; s/^%2E$/./; s/^%2E%2E$/../; s/%25/%/g' ids | cmp - "$words"
	cmp mnt/words/the <(grep -nx the "$words" | cut -d: -f1 | xargs -I{} expr {} - 1 | xargs -I{} dd if="$vectors" bs=400 skip={} count=1 status=none)
	cmp mnt/words/%2E <(grep -nxF . "$words" | cut -d: -f1 | xargs -I{} expr {} - 1 | xargs -I{} dd if="$vectors" bs=400 skip={} count=1 status=none)
	[ "$(ls -U mnt/words | wc -l)" = "$(wc -l <"$words")" ]
}
