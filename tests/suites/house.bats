#!/usr/bin/env bats
# The folders are what they say: a tree of rooms, each of which can be read without those above it.
# transports: none

bats_require_minimum_version 1.5.0

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	build=${VECFS_BUILD:-$top/build}
	rooms=$top/tests/tools/rooms.py
}

own_files() { find "$top/fs" "$top/store" "$top/quant" -name '*.[ch]'; }

@test "the rooms' graph has no arrow back" {
	python3 "$rooms" "$top" "$build"
	# It has seen includes, and calls: store.c has no header of that name.
	python3 "$rooms" --graph "$top" "$build" | grep -q '^store/row: .*store/log'
	python3 "$rooms" --graph "$top" "$build" | grep -q '^store/check: .*store/store\.c'
}

# compile FILE SOURCE: a file of a tree of its own, as the build would compile it.
compile() {
	mkdir -p "tree/$(dirname "$1")" build/store/lib.p
	printf '%s\n' "$2" >"tree/$1"
	[[ $1 == *.h ]] || ${CC:-cc} -Itree -c "tree/$1" -o "build/store/lib.p/$(tr / _ <<<"${1#*/}").o"
}

@test "an arrow back is seen: a call, an include, a header of the state's parts, a room without a place" {
	cd "$BATS_TEST_TMPDIR"
	compile store/log/log.h 'int log_end(void);'
	compile store/log/log.c 'int log_end(void) { return 0; }'
	compile store/row/row.c '#include "store/log/log.h"
		int row(void) { return log_end(); }'
	python3 "$rooms" tree build

	compile store/io/io.c 'int log_end(void); int io(void) { return log_end(); }'
	run -1 python3 "$rooms" tree build
	[ "$output" = 'store/io -> store/log: store/io/io.c: log_end' ]

	compile store/io/io.c '#include "store/log/log.h"'
	run -1 python3 "$rooms" tree build
	[ "$output" = 'store/io -> store/log: store/io/io.c: store/log/log.h' ]
	compile store/io/io.c 'int io;'

	compile store/engine.h '#include "store/log/log.h"'
	compile store/log/log.c '#include "store/engine.h"
		int log_end(void) { return 0; }'
	python3 "$rooms" tree build
	compile store/log/group.h '#include "store/engine.h"'
	run -1 python3 "$rooms" tree build
	[ "$output" = 'store/log -> store/engine: store/log/group.h: store/engine.h' ]
	compile store/log/group.h ''

	compile store/attic/old.c '#include "store/log/log.h"'
	run -1 python3 "$rooms" tree build
	[ "$output" = 'store/attic: has no place in the order' ]
}

@test "no two files of one name" {
	[ -z "$(own_files | xargs -n 1 basename | sort | uniq -d)" ]
}

@test "every own include is named from the top" {
	local seen=0 name
	while read -r name; do
		seen=$((seen + 1))
		[[ $name == */* ]] && [ -f "$top/$name" ] || {
			echo "\"$name\" is not a file of the top folder"
			return 1
		}
	done < <(own_files | xargs sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\(.*\)".*/\1/p' | sort -u)
	[ "$seen" -gt 100 ]
}

@test "no store symbol is exported but vs_*" {
	local exported
	exported=$(readelf -sW "$build/store/libvecstore.a" |
		awk '$5 == "GLOBAL" && $6 == "DEFAULT" && $7 != "UND" && $8 !~ /^__/ { print $8 }')
	[ "$(grep -c '^vs_' <<<"$exported")" -gt 50 ]
	# These, all of them, and no other.
	nm -g --defined-only "$build/store/libvecstore.a" 2>/dev/null | awk '$3 ~ /^vs_/ { print $3 }' |
		sort | diff - <(sort <<<"$exported")
}
