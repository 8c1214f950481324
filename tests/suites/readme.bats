#!/usr/bin/env bats
# The README's table of semantics tells the truth about which tests there are.
# transports: none

@test "every test that the README's table cites exists under that name" {
	local top cited=0 suite name
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	while IFS=$'\t' read -r suite name; do
		cited=$((cited + 1))
		grep -qF "@test \"$name\" {" "$top/tests/suites/$suite" || {
			echo "README.md cites '$name' of $suite, which has no such test"
			return 1
		}
	done < <(sed -n 's/^| .* | `\([a-z_]*\.bats\)`: \(.*\) |$/\1\t\2/p' "$top/README.md")
	[ "$cited" -ge 40 ]
}

@test "the man page and --help name the same commands" {
	local top command
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	for command in mount umount import export stat check search; do
		"$VECFS_BIN" "$command" --help | grep -q "vecfs $command"
		grep -q "$command" "$top/fs/vecfs.1"
	done
}
