#!/usr/bin/env bats
# What is written tells the truth: tables cite tests that exist, links lead somewhere, options and commands are explained.
# transports: none

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	cd "$top" || return
}

@test "every test that the table of semantics cites exists under that name" {
	local cited=0 suite name
	while IFS=$'\t' read -r suite name; do
		cited=$((cited + 1))
		grep -qF "@test \"$name\" {" "tests/suites/$suite" || {
			echo "fs/README.md cites '$name' of $suite, which has no such test"
			return 1
		}
	done < <(sed -n 's/^| .* | `\([a-z_]*\.bats\)`: \(.*\) |$/\1\t\2/p' fs/README.md)
	[ "$cited" -ge 120 ]
}

@test "README.md has at most 100 lines, and what the READMEs link to is there" {
	local from to
	[ "$(wc -l <README.md)" -le 100 ]
	while IFS=: read -r from to; do
		[ -e "$(dirname "$from")/$to" ] || {
			echo "$from links to $to"
			return 1
		}
	done < <(grep -oE '\]\([^)#:]+' README.md fs/README.md store/README.md tests/README.md tests/bench/RESULTS.md |
		sed 's/\](//')
	# And within a file: to a heading of its own.
	for from in fs/README.md store/README.md; do
		while read -r to; do
			sed -n 's/^#* //p' "$from" | tr 'A-Z ' 'a-z-' | tr -d ',:' | grep -qxF "$to" || {
				echo "$from has no heading $to"
				return 1
			}
		done < <(grep -oE '\]\(#[^)]+' "$from" | sed 's/](#//')
	done
}

@test "files that the READMEs name in their sentences are there" {
	local from name
	while IFS=: read -r from name; do
		[ -n "$(compgen -G "$name")" ] || [ -n "$(compgen -G "$(dirname "$from")/$name")" ] || {
			echo "$from names $name"
			return 1
		}
	done < <(grep -oE '`(fs|store|quant|tests|scripts|mount|request|inode|tree|control|cli|base|io|array|segment|collection|catalog|log|row|batch|replay|search|stream)/[a-z0-9_/]+\.(h|c|md|bats|py)`' \
		fs/README.md store/README.md tests/README.md README.md | tr -d '`')
}

@test "the man page, --help and README.md name the same commands, and the man page each of their options" {
	local command option
	for command in mount umount import export search send receive stat check; do
		"$VECFS_BIN" "$command" --help | grep -q "vecfs $command"
		grep -q "^\.Cm $command\$" fs/vecfs.1
		grep -q "^\.Ss $command\$" fs/vecfs.1
		grep -q "^Commands: .*\b$command\b" README.md
		for option in $("$VECFS_BIN" "$command" --help | grep -oE -- '(^|[ ,])--[a-z][a-z-]*' | tr -d ' ,' | sort -u); do
			[ "$option" = --help ] || grep -qE -- "Fl (. , )?-${option#--}\b" fs/vecfs.1 || {
				echo "fs/vecfs.1 does not explain $option of $command"
				return 1
			}
		done
	done
}

@test "tests/README.md has every suite, tool and fuzzer" {
	local file name
	for file in tests/suites/*.bats tests/tools/* tests/fuzz/*_fuzz.c; do
		name=$(basename "$file" .bats)
		[ "${name%%.*}" != floats ] || name=floats.c
		[ "${name%_fuzz.c}" = "$name" ] || name=${name%.c}
		grep -qF "\`$name\`" tests/README.md || {
			echo "tests/README.md does not tell of $file"
			return 1
		}
	done
}

@test "every header begins with the name of its file" {
	local header name said
	while read -r header; do
		name=$(basename "$header" .h)
		said=$(sed -n '2,4s/^\(\/\*\| \*\) \([a-z0-9_.]*\) - .*/\2/p' "$header" | head -n 1)
		[ -z "$said" ] || [ "$said" = "$name" ] || {
			echo "$header begins with the name $said"
			return 1
		}
	done < <(find fs store -name '*.h')
}
