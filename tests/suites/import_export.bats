#!/usr/bin/env bats
# vecfs import, vecfs export.

load helper

setup() {
	begin
	start
	mkdir mnt/docs
}

# arrays: rows of every format in ./a.*, 50 of dim 24, and their ids in ./ids.
arrays() {
	python3 - <<-'P'
		import numpy as np, struct
		rng = np.random.default_rng(1)
		open('ids', 'w').writelines(f'id-{i}\n' for i in range(50))
		f32 = rng.standard_normal((50, 24)).astype('<f4')
		f16 = f32.astype('<f2')
		u8 = rng.integers(0, 256, (50, 24), dtype='u1')
		i8 = u8.view('i1')
		head = struct.pack('<II', 50, 24)
		def prefixed(a): return b''.join(struct.pack('<i', 24) + r.tobytes() for r in a)
		def save(name, a, version=None):
		    with open(name, 'wb') as f: np.lib.format.write_array(f, a, version=version)
		save('a.npy', f32); save('v2.npy', f32, (2, 0)); save('v3.npy', f32, (3, 0))
		save('f16.npy', f16); save('u8.npy', u8); save('i8.npy', i8)
		for name, data in dict(f32=f32.tobytes(), f16=f16.tobytes(), u8=u8.tobytes(), i8=i8.tobytes(),
		                       bf16=f16.tobytes(), bit=u8.tobytes(), fvecs=prefixed(f32), bvecs=prefixed(u8),
		                       fbin=head + f32.tobytes(), u8bin=head + u8.tobytes(), i8bin=head + i8.tobytes()).items():
		    open('a.' + name, 'wb').write(data)
	P
}

# there_and_back COLLECTION FILE [OPTION...]: imports, exports, compares with the original, byte by byte.
there_and_back() {
	local collection=$1 file=$2 suffix=${2##*.}
	shift 2
	vecfs import -q --ids ids "$@" "mnt/$collection" "$file"
	vecfs export -q --ids ids.back "mnt/$collection" "back.$suffix"
	cmp "$file" "back.$suffix"
	cmp ids ids.back
}

@test "every format there and back is the same, byte by byte" {
	arrays
	for suffix in fvecs bvecs fbin u8bin i8bin; do there_and_back $suffix a.$suffix; done
	for suffix in f32 f16 bf16 u8 i8; do there_and_back raw-$suffix a.$suffix --dim 24; done
	there_and_back raw-bit a.bit --dim 192
	restart
	for suffix in fvecs bvecs fbin u8bin i8bin; do
		vecfs export -q mnt/$suffix again.$suffix
		cmp a.$suffix again.$suffix
	done
}

@test ".npy of versions 1, 2 and 3, of f32, f16, u8 and i8, is the same array afterwards" {
	arrays
	for file in a v2 v3 f16 u8 i8; do
		vecfs import -q --ids ids mnt/$file $file.npy
		vecfs export -q --ids ids.back mnt/$file back-$file.npy
		cmp ids ids.back
	done
	vecfs export -q mnt/a again.npy
	cmp back-a.npy again.npy
	vecfs import -q --ids ids mnt/again again.npy # our own .npy is byte-identical there and back
	vecfs export -q mnt/again again2.npy
	cmp again.npy again2.npy
	python3 - <<-'P'
		import numpy as np
		for name in 'a', 'v2', 'v3', 'f16', 'u8', 'i8':
		    a, b = np.load(name + '.npy'), np.load(f'back-{name}.npy')
		    assert a.dtype == b.dtype and (a == b).all(), name
	P
}

@test "from one format to any other of the same dtype, and the vectors are files" {
	arrays
	vecfs import -q --ids ids mnt/new a.npy
	for suffix in f32 fvecs fbin; do
		vecfs export -q mnt/new out.$suffix
		cmp a.$suffix out.$suffix
	done
	cmp mnt/new/id-7 <(tail -c +$((7 * 96 + 1)) a.f32 | head -c 96)
	[ "$(ls mnt/new | wc -l)" = 50 ]
}

@test "import creates a missing collection, adds to one that is there, and replaces equal ids" {
	arrays
	vecfs import -q --ids ids mnt/new a.npy
	[ "$(tr '\n' ' ' <mnt/new/.vecfs/schema)" = "dim=24 dtype=f32 metric=l2 " ]
	vec 1 24 >mnt/new/other
	vec 2 24 >mnt/new/id-3
	vecfs import -q --ids ids mnt/new a.fvecs
	[ "$(stats new vectors)" = 51 ]
	cmp mnt/new/other <(vec 1 24)
	cmp mnt/new/id-3 <(tail -c +$((3 * 96 + 1)) a.f32 | head -c 96)
}

@test "without --ids the ids are row numbers" {
	arrays
	vecfs import -q mnt/new a.npy
	[ "$(ls mnt/new | sort -n | tr '\n' ' ')" = "$(seq 0 49 | tr '\n' ' ')" ]
	cmp mnt/new/49 <(tail -c 96 a.f32)
}

@test "import is one atomic batch, durable when it returns; it leaves nothing in tx/" {
	arrays
	restart commit=60000
	vecfs import -q --ids ids mnt/docs a.npy
	[ -z "$(ls -A mnt/docs/.vecfs/tx)" ]
	crash
	start
	[ "$(ls mnt/docs | wc -l)" = 50 ]
	cmp mnt/docs/id-49 <(tail -c 96 a.f32)
}

@test "ids that are no file names are refused with their line number, or encoded with --escape" {
	arrays
	refuse() { # LINE-NUMBER ID WORDS
		(head -n $(($1 - 1)) ids; printf "$2\n"; tail -n +$(($1 + 1)) ids) >bad
		run vecfs import -q --ids bad mnt/new a.npy
		[ "$status" = 1 ]
		[[ $output == "vecfs: bad: line $1: "*"$3"* ]]
		[ ! -e mnt/new ]
	}
	refuse 7 'a/b' "'/'"
	refuse 1 . '"."'
	refuse 50 .. '".."'
	refuse 2 .vecfs reserved
	refuse 3 '' empty
	refuse 4 'a\0b' NUL
	refuse 5 "$(printf 'x%.0s' {1..256})" 255
	refuse 9 id-2 'that of line 3'

	(printf 'a/b\n.\n..\n.vecfs\n100%%\na\tb\n'; tail -n +7 ids) >odd
	vecfs import -q --escape --ids odd mnt/new a.npy
	for id in a%2Fb %2E %2E%2E %2Evecfs 100%25 a%09b id-49; do [ -f "mnt/new/$id" ]; done
	[ "$(stats new vectors)" = 50 ]
	cmp mnt/new/a%2Fb <(head -c 96 a.f32)
}

@test "a malformed import, or a header that lies about its size, is refused before the first row" {
	arrays
	refuse() { # FILE WORDS OPTION...
		local file=$1 words=$2
		shift 2
		run vecfs import -q "$@" mnt/new "$file"
		[ "$status" = 1 ]
		[[ $output == "vecfs: $file: "* ]]
		[[ $output =~ $words ]] || { echo "got: $output"; return 1; }
		[ "${#lines[@]}" = 1 ]
		[ ! -e mnt/new ]
	}
	head -c -1 a.npy >short.npy;          refuse short.npy '50 rows of dim 24.*4928.*4927'
	(cat a.npy; echo) >long.npy;          refuse long.npy '50 rows of dim 24.*4928.*4929'
	head -c 20 a.npy >cut.npy;            refuse cut.npy .
	echo nonsense >bad.npy;               refuse bad.npy .
	: >empty.npy;                         refuse empty.npy .
	head -c -1 a.fvecs >short.fvecs;      refuse short.fvecs .
	head -c -1 a.fbin >short.fbin;        refuse short.fbin .
	(cat a.u8bin; echo) >long.u8bin;      refuse long.u8bin .
	head -c -1 a.f32 >short.f32;          refuse short.f32 . --dim 24
	refuse a.f32 give.it.with
	printf '\xff\xff\xff\xff\xff\xff\xff\xff' >huge.fbin; refuse huge.fbin .
	printf '\xff\xff\xff\x7f' >huge.fvecs;                refuse huge.fvecs .
	printf '\0\0\0\0' >zero.fvecs;                        refuse zero.fvecs .
	refuse a.dat format
	refuse nowhere.npy 'No such file'
	python3 - <<-'P'
		import numpy as np
		np.save('fortran.npy', np.asfortranarray(np.zeros((50, 24), '<f4')))
		np.save('big.npy', np.zeros((50, 24), '>f4'))
		np.save('f64.npy', np.zeros((50, 24)))
		np.save('three.npy', np.zeros((5, 10, 24), '<f4'))
		np.save('one.npy', np.zeros(24, '<f4'))
		np.save('objects.npy', np.array([{}, []], object), allow_pickle=True)
		data = bytearray(open('a.fvecs', 'rb').read())
		data[100 * 20:100 * 20 + 4] = (23).to_bytes(4, 'little')
		open('mixed.fvecs', 'wb').write(data)
	P
	refuse fortran.npy '[Ff]ortran'
	refuse big.npy 'little|endian'
	refuse f64.npy 'f8|f64|float64'
	refuse three.npy dim
	refuse one.npy dim
	refuse objects.npy .
	refuse mixed.fvecs '20.*23.*24'
}

@test "import refuses what does not fit the collection, and says what was expected and found" {
	arrays
	vec 1 23 >mnt/docs/a
	run vecfs import -q mnt/docs a.npy
	[ "$status" = 1 ]
	[[ $output == *"found dim 24, want 23"* ]]
	mkdir mnt/half
	echo dtype=f16 >mnt/half/.vecfs/schema
	run vecfs import -q mnt/half a.npy
	[ "$status" = 1 ]
	[[ $output == *"found f32, want f16"*"--dtype f16"* ]]
	head -n 49 ids >few
	run vecfs import -q --ids few mnt/new a.npy
	[ "$status" = 1 ]
	[[ $output == *"found 49 ids, want 50"* ]]
	run vecfs import -q docs a.npy
	[ "$status" = 1 ]
	run vecfs import -q mnt a.npy
	[ "$status" = 1 ]
	[ "$(ls mnt/docs)" = a ]
	[ ! -e mnt/new ]
}

@test "--dtype converts among f32, f16 and bf16, rounding to nearest" {
	arrays
	vecfs import -q --ids ids --dtype f16 mnt/half a.npy
	vecfs export -q mnt/half half.npy
	vecfs import -q --ids ids --dtype bf16 mnt/brain a.npy
	vecfs export -q mnt/brain brain.bf16
	vecfs export -q --dtype f32 mnt/half wide.npy
	vecfs export -q --dtype f32 mnt/brain brain.f32
	python3 - <<-'P'
		import numpy as np
		a = np.load('a.npy')
		assert (np.load('half.npy') == a.astype('<f2')).all()
		assert (np.load('wide.npy') == a.astype('<f2').astype('<f4')).all()
		bits = a.view('<u4').astype('u8')
		nearest = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype('<u2')
		assert (np.fromfile('brain.bf16', '<u2').reshape(50, 24) == nearest).all()
		assert (np.fromfile('brain.f32', '<u4').reshape(50, 24) == nearest.astype('<u4') << 16).all()
	P
}

@test "standard input and standard output, where the format tells the number of rows" {
	arrays
	for suffix in npy fbin u8bin i8bin; do
		vecfs import -q --ids ids --format $suffix mnt/$suffix - <a.$suffix
		cat a.$suffix | vecfs import -q --ids ids --format $suffix mnt/piped-$suffix -
		vecfs export -q --format $suffix mnt/piped-$suffix - >out.$suffix
	done
	cmp a.fbin out.fbin
	cmp a.u8bin out.u8bin
	run vecfs import -q --format fvecs mnt/new - <<<x
	[ "$status" = 1 ]
	head -c -1 a.fbin >cut
	run bash -c 'cat cut | "$1" import -q --format fbin mnt/new -' - "$VECFS_BIN"
	[ "$status" = 1 ]
	[[ $output == *"nothing was imported"* ]]
	[ ! -e mnt/new ]
}

@test "an import that is interrupted leaves nothing" {
	mkfifo pipe
	arrays
	background "$VECFS_BIN" import --format npy mnt/new pipe
	import=$!
	exec 7>pipe
	head -c 1000 a.npy >&7
	eventually compgen -G 'mnt/new/.vecfs/tx/import-*'
	kill -INT $import
	exec 7>&-
	no finishes $import
	eventually test ! -e mnt/new
	[ "$(metric vectors)" = 0 ]
}

@test "an import that is killed leaves no batch: at once, nor after the daemon is killed along with it" {
	mkfifo pipe
	python3 -c 'import numpy as np; np.save("big.npy", np.ones((40000, 256), "<f4"))'
	begin_import() { # FORMAT: $import has written most of the file
		background "$VECFS_BIN" import -q --format npy mnt/docs pipe
		import=$!
		exec 7>pipe
		head -c 30000000 big.npy >&7
		eventually compgen -G 'mnt/docs/.vecfs/tx/import-*'
	}
	is_gone() { [ -z "$(ls -A mnt/docs/.vecfs/tx)" ] && ! stat "$1" 2>/dev/null; }
	store_kb() { sync mnt; du -sk store | cut -f1; }
	is_small() { [ "$(store_kb)" -lt $((empty_kb + 10000)) ]; }
	vec 1 256 >mnt/docs/a
	empty_kb=$(store_kb)
	begin_import
	batch=$(echo mnt/docs/.vecfs/tx/import-*)
	stat "$batch" >/dev/null
	kill -KILL $import
	exec 7>&-
	eventually is_gone "$batch"
	eventually is_small
	begin_import
	kill_daemon
	kill -KILL $import
	exec 7>&-
	take_away "$mnt"
	mkdir -p mnt
	start
	[ -z "$(ls -A mnt/docs/.vecfs/tx)" ]
	eventually is_small
	# A batch of which that is not wanted stays, also if its result is open in somebody who dies.
	mkdir mnt/docs/.vecfs/tx/mine
	exec 8<>mnt/docs/.vecfs/tx/mine/.vecfs/result
	exec 8>&-
	restart
	[ "$(ls mnt/docs/.vecfs/tx)" = mine ]
	exec 8<>mnt/docs/.vecfs/tx/mine/.vecfs/result
	echo keep=no >&8
	echo keep=yes >&8
	exec 8>&-
	restart
	[ "$(ls mnt/docs/.vecfs/tx)" = mine ]
	[ "$(ls mnt/docs)" = a ]
}

@test "import and export say what they do: plain lines without a terminal, a bar on one, nothing with -q" {
	arrays
	run vecfs import --ids ids mnt/new a.npy
	[ "$status" = 0 ]
	[[ $output == *"50 vectors"* && $output != *$'\e'* ]]
	run vecfs import -q --ids ids mnt/new a.npy
	[ -z "$output" ]
	run vecfs export mnt/new out.npy
	[[ $output == *"50 vectors"* ]]
	run vecfs export -q mnt/new out.npy
	[ -z "$output" ]
	run script -qec "$VECFS_BIN import --ids ids mnt/new a.npy" /dev/null
	[[ $output == *$'\e[K'* && $output == *"50 vectors"* ]]
}

@test "export writes its file when it is complete, and leaves the old one when it fails" {
	arrays
	vecfs import -q --ids ids mnt/new a.npy
	echo old >out.u8bin
	run vecfs export -q mnt/new out.u8bin # f32 is not u8
	[ "$status" = 1 ]
	[[ $output == *"out.u8bin: this format holds u8"* ]]
	[ "$(cat out.u8bin)" = old ]
	run vecfs export -q mnt/new nowhere/out.npy
	[ "$status" = 1 ]
	run vecfs export -q mnt/docs out.npy
	[ "$status" = 1 ]
	[[ $output == *"holds no vectors"* ]]
	run vecfs export -q "$here" out.npy
	[ "$status" = 1 ]
	[[ $output == *"not a collection"* ]]
	[ "$(ls | grep -c '^out')" = 1 ]
}

@test "import says how many are new and how many replaced; numbers that exist are refused, with the remedy" {
	arrays
	run vecfs import mnt/new a.npy
	[ "$status" = 0 ]
	[[ $output == *"import: 50 new, 0 replaced"* ]]
	run vecfs import mnt/new a.npy # a second shard
	[ "$status" = 1 ]
	[[ $output == *"'0' is there already"*"--start N"*"--replace"* ]]
	[ "${#lines[@]}" = 1 ]
	[ -z "$(ls -A mnt/new/.vecfs/tx)" ]
	run vecfs import --start 40 mnt/new a.npy # 40 to 49 exist
	[ "$status" = 1 ]
	[[ $output == *"'40' is there already"* ]]
	run vecfs import --start 50 mnt/new a.npy
	[[ $output == *"import: 50 new, 0 replaced"* ]]
	[ "$(ls mnt/new | sort -n | tr '\n' ' ')" = "$(seq 0 99 | tr '\n' ' ')" ]
	cmp mnt/new/99 <(tail -c 96 a.f32)
	run vecfs import --replace --start 90 mnt/new a.fvecs
	[[ $output == *"import: 40 new, 10 replaced"* ]]
	run vecfs import --ids ids mnt/new a.npy
	[[ $output == *"import: 50 new, 0 replaced"* ]]
	head -n 5 ids | cat - <(seq -f 'more-%g' 45) >others
	run vecfs import --ids others mnt/new a.npy # ids are meant
	[[ $output == *"import: 45 new, 5 replaced"* ]]
	[ "$(stats new vectors)" = 235 ]
	# One that none of the numbers looked up beforehand hits: the commit sees it.
	python3 -c 'import numpy; numpy.save("many.npy", numpy.zeros((50000, 24), "<f4"))'
	vec 1 24 >mnt/docs/777
	run vecfs import mnt/docs many.npy
	[ "$status" = 1 ]
	[[ $output == *"'777' is there already"*"--start N"* ]]
	[ "$(ls mnt/docs)" = 777 ]
	run vecfs import --replace mnt/docs many.npy
	[[ $output == *"import: 49999 new, 1 replaced"* ]]
	for bad in -1 1x '' 99999999999999999999; do refused "want a number" vecfs import --start "$bad" mnt/new a.npy; done
}

@test "a .npy of uint16 is bf16 only if --dtype bf16 says so; ml_dtypes' own mark is understood" {
	python3 - <<-'P'
		import numpy as np
		bits = np.arange(1200, dtype='<u2').reshape(50, 24)
		np.save('bits.npy', bits)
		data = open('bits.npy', 'rb').read()
		open('marked.npy', 'wb').write(data.replace(b"'<u2'", b"'<V2'"))
		np.savez('bits.npz', bits)
	P
	for file in bits.npy bits.npz; do
		refused "--dtype bf16" vecfs import -q mnt/new $file
		refused "--dtype bf16" vecfs import -q --dtype f32 mnt/new $file
		[ ! -e mnt/new ]
	done
	vecfs import -q --dtype bf16 mnt/new bits.npy
	vecfs export -q mnt/new out.npy
	cmp out.npy bits.npy
	vecfs import -q mnt/marked marked.npy
	vecfs export -q mnt/marked out.npy
	cmp out.npy bits.npy
}

@test "two shards imported at once without ids: one of them is refused, the other is whole" {
	python3 - <<-'P'
		import numpy as np
		for n in 1, 2: np.save(f'{n}.npy', np.full((20000, 24), n, '<f4'))
	P
	for n in 1 2; do background "$VECFS_BIN" import -q mnt/docs $n.npy; done
	local failures=0
	for pid in "${running[@]}"; do wait "$pid" || failures=$((failures + 1)); done
	running=()
	[ $failures = 1 ]
	vecfs export -q mnt/docs out.npy
	cmp out.npy 1.npy || cmp out.npy 2.npy
}

@test "a collection that never had a vector or a schema takes the dtype of its first import; a failure leaves it as it was" {
	arrays
	vecfs import -q mnt/docs u8.npy
	grep -qx dtype=u8 mnt/docs/.vecfs/schema
	vecfs export -q mnt/docs out.npy
	cmp out.npy u8.npy
	mkdir mnt/free
	before=$(cat mnt/free/.vecfs/schema)
	echo ids >bad
	refused "found 1 ids" vecfs import -q --ids bad mnt/free f16.npy
	sed 's/id-7$/id-6/' ids >twice
	head -c -10 a.u8bin | refused "" vecfs import -q --format u8bin mnt/free -
	[ "$(cat mnt/free/.vecfs/schema)" = "$before" ]
	refused "twice: line 8: the id is that of line 7" vecfs import -q --ids twice mnt/free f16.npy
	[ "$(cat mnt/free/.vecfs/schema)" = "$before" ]
	for dtype in bf16 bit; do # which no array's header tells
		head -c -10 a.$dtype | refused "from a file" vecfs import -q --dim 192 --format $dtype mnt/free -
		zstd -q -f a.$dtype
		(cat a.$dtype.zst; head -c 10 a.$dtype.zst) >cut.$dtype.zst
		refused "" vecfs import -q --dim 192 mnt/free cut.$dtype.zst
		python3 -c 'import numpy as np; np.save("b.npy", np.zeros((50, 24), "<u2"))'
		(cat b.npy | head -c -10) | refused "" vecfs import -q --dtype bf16 --format npy mnt/free -
		grep -qx schema_given=0 mnt/free/.vecfs/stats
		[ "$(cat mnt/free/.vecfs/schema)" = "$before" ]
	done
	restart
	grep -qx schema_given=0 mnt/free/.vecfs/stats
	vecfs import -q --ids ids mnt/f16 f16.npy
	refused "want f16" vecfs import -q --ids ids mnt/f16 u8.npy
	vecfs import -q --dtype f16 mnt/free a.npy
	grep -qx dtype=f16 mnt/free/.vecfs/schema
	mkdir mnt/told
	echo dtype=i8 >mnt/told/.vecfs/schema
	refused "want i8" vecfs import -q mnt/told a.npy
}

@test "--escape there and back: the same ids and the same list, also of ids with % in them" {
	arrays
	(printf 'a/b\n.\n..\n.vecfs\n100%%\n%%2F\n%%\na\tb\n%%252F\n'; tail -n +10 ids) >odd
	vecfs import -q --escape --ids odd mnt/one a.npy
	vecfs export -q --escape --ids list mnt/one out.npy
	cmp list odd
	cmp out.npy a.npy
	vecfs import -q --escape --ids list mnt/two out.npy
	diff <(ls mnt/one) <(ls mnt/two)
	diff -r mnt/one mnt/two
	# What --escape never made is not decoded to something else.
	vec 1 24 >'mnt/two/100%'
	refused "100%" vecfs export -q --escape --ids list mnt/two out.npy
	rm 'mnt/two/100%'
	vec 1 24 >'mnt/two/%41'
	refused "%41" vecfs export -q --escape --ids list mnt/two out.npy
	cmp list odd
	# A list of lines cannot hold a newline: -0 can.
	printf '%s\0' $'a\nb' $'c/\r' $(tail -n +3 ids) >list0
	vecfs import -q --escape -0 --ids list0 mnt/three a.npy
	[ -e mnt/three/a%0Ab ]
	refused "-0" vecfs export -q --escape --ids list mnt/three out.npy
	vecfs export -q --escape -0 --ids back0 mnt/three out.npy
	cmp list0 back0
}

@test "ids with newlines: -0 there and back is exact, and without it line n still names row n" {
	arrays
	{ printf '%s\0' $'a\nb' $'\xef\xbb\xbfc' $'d\r' '100%\n'; tail -n +5 ids | tr '\n' '\0'; } >list0
	vecfs import -q -0 --ids list0 mnt/new a.npy
	[ -e mnt/new/$'a\nb' ]
	cmp mnt/new/$'a\nb' <(head -c 96 a.f32)
	vecfs export -q -0 --ids back0 mnt/new out.npy
	cmp back0 list0
	vecfs export -q --ids lines mnt/new out.npy
	[ "$(head -n 4 lines)" = $'a/\\nb\n/\\bc\nd/\\r\n100%\\n' ]
	[ "$(wc -l <lines)" = 50 ]
	cmp lines mnt/new/.vecfs/ids
	sed 's/$/\r/' lines >dos
	for list in lines dos; do
		vecfs import -q --ids $list mnt/$list out.npy
		vecfs export -q -0 --ids back0 mnt/$list out.npy
		cmp back0 list0
	done
	refused "is about the file of --ids" vecfs import -0 mnt/docs a.npy
	# Files of a folder, by name and content, whatever they are called.
	(cd mnt/new && find . -type f -printf '%P\0' | sort -z >"$here/sorted0" && xargs -0 cat <"$here/sorted0" >"$here/sorted.f32")
	vecfs import -q --dim 24 -0 --ids sorted0 mnt/sorted sorted.f32
	diff -r mnt/new mnt/sorted
}

@test "ids of other systems: a BOM and CRLF are understood, a mixture is refused with its line; --ids - reads stdin" {
	arrays
	(printf '\xef\xbb\xbf'; sed 's/$/\r/' ids) >dos
	vecfs import -q --ids dos mnt/dos a.npy
	diff <(ls mnt/dos) <(sort ids)
	vecfs import -q --ids - mnt/piped a.npy <dos
	vecfs export -q --ids out mnt/piped out.npy
	cmp out ids
	sed '7s/$/\r/' ids >mixed
	refused "mixed: line 7: it ends in CR LF" vecfs import -q --ids mixed mnt/new a.npy
	refused "standard input is either" vecfs import -q --ids - --format npy mnt/new - <a.npy
	[ ! -e mnt/new ]
}

@test ".npz: its only array, one of several by name; stored, deflated and damaged" {
	arrays
	python3 - <<-'P'
		import numpy as np, zipfile
		a, u8 = np.load('a.npy'), np.load('u8.npy')
		np.savez('one.npz', a)
		np.savez_compressed('packed.npz', emb=a)
		np.savez('two.npz', emb=a, codes=u8)
		np.savez('big.npz', np.tile(a, (600, 1)))
		np.savez_compressed('bigpacked.npz', np.tile(a, (600, 1)))
		np.save('big.npy', np.tile(a, (600, 1)))
		with zipfile.ZipFile('commented.npz', 'w') as z:
		    z.comment = b'PK\x05\x06' * 100
		    z.write('a.npy')
		with zipfile.ZipFile('wide.npz', 'w', allowZip64=True) as z: # zip64 in the directory, too
		    info = zipfile.ZipInfo('emb.npy')
		    with z.open(info, 'w', force_zip64=True) as f: f.write(open('a.npy', 'rb').read())
		with zipfile.ZipFile('none.npz', 'w') as z: z.writestr('readme', 'x')
		with zipfile.ZipFile('other.npz', 'w', zipfile.ZIP_LZMA) as z: z.write('a.npy')
	P
	n=0
	same() { # FILE ARRAY
		n=$((n + 1))
		vecfs import -q --ids "${3:-ids}" mnt/same$n "$1"
		vecfs export -q mnt/same$n out.npy
		cmp out.npy "$2"
	}
	seq 30000 >many
	for file in one.npz packed.npz two.npz:emb commented.npz wide.npz wide.npz:emb wide.npz:emb.npy; do same $file a.npy; done
	same two.npz:codes u8.npy
	same big.npz big.npy many
	same bigpacked.npz big.npy many
	vecfs import -q --replace --member codes mnt/new-codes two.npz
	refuse() { # WORDS FILE
		refused "$1" vecfs import -q mnt/new "$2"
		[ "${#lines[@]}" = 1 ]
		[ ! -e mnt/new ]
	}
	refuse "emb codes" two.npz
	refuse "no array nothing; it has emb codes" two.npz:nothing
	refuse "no array" none.npz
	refuse "compressed in another way" other.npz
	for file in one packed; do
		head -c -1 $file.npz >cut.npz;    refuse "no whole .npz archive" cut.npz
		head -c 1000 $file.npz >cut.npz;  refuse "no whole .npz archive" cut.npz
	done
	printf x | dd of=one.npz bs=1 seek=3000 conv=notrunc status=none
	refuse "the checksum is not" one.npz
	printf xxxx | dd of=bigpacked.npz bs=1 seek=3000 conv=notrunc status=none
	refuse "damaged" bigpacked.npz
	refused "from a file" vecfs import -q --format npz mnt/new /dev/null
}

@test ".zst of every format: there and back, from and to the zstd tool, in files and pipes" {
	arrays
	same() { # FILE [OPTION...]: imports FILE.zst, exports the same file, compressed and plain
		local file=$1 suffix=${1##*.}
		shift
		zstd -q -f $file
		rm -rf mnt/new
		vecfs import -q --ids ids "$@" mnt/new $file.zst
		vecfs export -q mnt/new plain.$suffix
		cmp plain.$suffix $file
		vecfs export -q mnt/new packed.$suffix.zst
		zstd -d -q -c packed.$suffix.zst | cmp - $file
		rm -rf mnt/again
		vecfs import -q --ids ids "$@" mnt/again packed.$suffix.zst
		vecfs export -q mnt/again plain.$suffix
		cmp plain.$suffix $file
	}
	vecfs import -q mnt/one a.npy # as export writes it
	vecfs export -q mnt/one a.npy
	for suffix in npy fvecs bvecs fbin u8bin i8bin; do same a.$suffix; done
	for suffix in f32 f16 bf16 u8 i8; do same a.$suffix --dim 24; done
	same a.bit --dim 192
	# The frame tells its size, and has a checksum.
	zstd -l -v packed.npy.zst | grep -q "Check: XXH64"
	zstd -l -v packed.npy.zst | grep -q "Decompressed Size: .*($(stat -c %s a.npy) B)"
	# Frames end to end, also empty ones and some to skip; of a size that is not told; with a window of --long.
	(printf '' | zstd -q; printf '\x50\x2a\x4d\x18\x05\0\0\0words'; head -c 1000 a.fvecs | zstd -q; tail -c +1001 a.fvecs | zstd -q --long
		printf '\x5f\x2a\x4d\x18\0\0\0\0'; printf '' | zstd -q) >frames.fvecs.zst
	vecfs import -q mnt/frames frames.fvecs.zst
	vecfs export -q --format fvecs.zst mnt/frames - | zstd -dq | cmp - a.fvecs
	zstd -q -c a.npy | vecfs import -q --format npy.zst mnt/piped -
	zstd -q <a.fvecs | vecfs import -q --format fvecs.zst mnt/piped-fvecs -
	vecfs import -q --format u8bin.zst mnt/redirected - <a.u8bin.zst
	for name in piped piped-fvecs; do
		vecfs export -q mnt/$name plain.npy
		cmp plain.npy a.npy
	done
	vecfs export -q mnt/redirected plain.u8bin
	cmp plain.u8bin a.u8bin
	vecfs export -q --dtype f16 mnt/one half.npy.zst
	zstd -q -d half.npy.zst
	vecfs export -q --dtype f16 mnt/one wanted.npy
	cmp half.npy wanted.npy
}

@test ".zst of text and archives" {
	arrays
	python3 - <<-'P'
		import numpy as np
		a = np.load('a.npy')
		ids = open('ids').read().split()
		rows = [' '.join([i] + [repr(float(x)) for x in r]) + '\n' for i, r in zip(ids, a)]
		open('glove.txt', 'w').writelines(rows)
		open('w2v.vec', 'w').writelines(['50 24\n'] + rows)
		open('a.tsv', 'w').writelines(r.replace(' ', '\t') for r in rows)
		np.savez('one.npz', a)
		np.savez_compressed('two.npz', emb=a, codes=np.load('u8.npy'))
	P
	zstd -q glove.txt w2v.vec a.tsv one.npz two.npz
	mkdir tmp
	for file in glove.txt w2v.vec a.tsv one.npz two.npz:emb; do
		TMPDIR=$here/tmp vecfs import -q mnt/$file "${file/.???/&.zst}"
		vecfs export -q mnt/$file out.npy
		cmp out.npy a.npy
	done
	[ -z "$(ls -A tmp)" ]
	for file in glove.txt w2v.vec; do
		vecfs import -q --format txt.zst mnt/piped-$file - < <(cat $file.zst)
		vecfs export -q --ids out.ids mnt/piped-$file out.npy
		cmp out.npy a.npy
		cmp out.ids ids
	done
}

@test "a .zst that is damaged, cut short or too much to ask for is refused, and nothing is imported" {
	arrays
	seq -f 'id-%g' 3000 >many
	python3 -c 'import numpy as np; open("a.f32", "wb").write(np.random.default_rng(2).standard_normal((3000, 96)).astype("<f4").tobytes())'
	python3 -c 'import numpy as np; np.save("b.npy", np.fromfile("a.f32", "<f4").reshape(3000, 96))'
	zstd -q b.npy a.f32
	refuse() { # WORDS FILE [OPTION...]
		local words=$1 file=$2
		shift 2
		refused "$words" vecfs import -q "$@" mnt/new "$file"
		[ "${#lines[@]}" = 1 ]
		[ ! -e mnt/new ]
	}
	for cut in 1 4 5 700 500000; do
		head -c -$cut b.npy.zst >cut.npy.zst; refuse "cut.npy.zst: the compressed file is cut short" cut.npy.zst
		head -c -$cut a.f32.zst >cut.f32.zst; refuse "cut.f32.zst: the compressed file is cut short" cut.f32.zst --dim 96
		refuse "the compressed file is cut short" - --format npy.zst <cut.npy.zst
	done
	head -c 3 b.npy.zst >cut.npy.zst; refuse "cut short" cut.npy.zst
	: >empty.npy.zst;                 refuse "found 0 bytes" empty.npy.zst
	: >empty.txt.zst;                 refuse "found no vectors" empty.txt.zst
	cp b.npy plain.npy.zst;           refuse "found bytes that zstd did not compress" plain.npy.zst
	(cat b.npy.zst; echo x; cat b.npy.zst) >tail.npy.zst; refuse "zstd did not compress" tail.npy.zst
	(cat b.npy.zst b.npy.zst) >twice.npy.zst;             refuse "more bytes than the header says" twice.npy.zst
	for at in 20 5000 600000 -2; do
		python3 -c 'import sys; d = bytearray(open("b.npy.zst", "rb").read()); d[int(sys.argv[1])] ^= 0x55; open("bad.npy.zst", "wb").write(d)' $at
		refuse "bad.npy.zst: the compressed file is damaged: " bad.npy.zst
	done
	head -c 1000003 a.f32 | zstd -q >part.f32.zst; refuse "found 1000003 bytes, want a multiple of 384" part.f32.zst --dim 96
	# A window that takes more memory than anybody should ask for; and no end of zeros.
	zstd -q --ultra -22 --long=31 --zstd=wlog=31 -c <b.npy >wide.npy.zst
	refuse "more than 128 MB of memory" wide.npy.zst
	(head -c 128 b.npy; head -c 300M /dev/zero) | zstd -q >bomb.npy.zst
	(ulimit -v 400000; refuse "more bytes than the header says" bomb.npy.zst)
	head -c 300M /dev/zero | zstd -q >bomb.txt.zst
	(ulimit -v 400000; refuse "bomb.txt.zst: " bomb.txt.zst)
	cp b.npy.zst b.npz.zst; refuse "no whole .npz archive" b.npz.zst
	refuse "its name tells no format" .zst
	# An export that fails leaves the old file.
	vecfs import -q mnt/docs b.npy
	echo old >out.u8bin.zst
	refused "this format holds u8" vecfs export -q mnt/docs out.u8bin.zst
	[ "$(cat out.u8bin.zst)" = old ]
}

@test "text as people have it: word2vec's, GloVe's, id and numbers behind a tab; the numbers are exact" {
	arrays
	python3 - <<-'P'
		import numpy as np
		a = np.load('a.npy')
		ids = open('ids').read().split('\n')[:-1]
		def rows(form, sep=' '): return [i + form + sep.join(repr(float(x)) for x in r) + '\n' for i, r in zip(ids, a)]
		open('w2v.vec', 'w').writelines(['50 24\n'] + rows(' '))
		open('original.txt', 'w').writelines(['50 24\n'] + [r[:-1] + ' \n' for r in rows(' ')]) # as the C program writes
		open('glove.txt', 'w').writelines(rows(' '))
		open('a.tsv', 'w').writelines(rows('\t', '\t'))
		open('commas.tsv', 'w').writelines(rows('\t', ', '))
		open('spaces.txt', 'w').writelines(rows('\t', ' '))
		open('dos.txt', 'w', newline='', encoding='utf-8-sig').writelines(r[:-1] + '\r\n' for r in rows(' '))
	P
	for file in w2v.vec original.txt glove.txt a.tsv commas.tsv spaces.txt dos.txt; do
		vecfs import -q mnt/$file $file
		vecfs export -q --ids out.ids mnt/$file out.npy
		cmp out.npy a.npy
		cmp out.ids ids
	done
	# Streams, also of which nobody knows the number of rows.
	for file in w2v.vec glove.txt a.tsv; do
		cat $file | vecfs import -q --format ${file##*.} mnt/piped-$file -
		vecfs export -q --ids out.ids mnt/piped-$file out.npy
		cmp out.npy a.npy
		cmp out.ids ids
	done
	cat a.fvecs | vecfs import -q --format fvecs mnt/piped-fvecs -
	cat a.f32 | vecfs import -q --format f32 --dim 24 --start 7 mnt/piped-raw -
	vecfs export -q mnt/piped-raw out.npy
	cmp out.npy a.npy
	[ "$(ls mnt/piped-raw | sort -n | tr '\n' ' ')" = "$(seq 7 56 | tr '\n' ' ')" ]
	vecfs import -q --dtype f16 mnt/half glove.txt
	vecfs export -q mnt/half half.npy
	python3 -c 'import numpy as np; assert (np.load("half.npy") == np.load("a.npy").astype("<f2")).all()'
	awk '{ print $1 "\t" $2 "," $3 "," $4 }' glove.txt | vecfs import -q --format tsv mnt/three -
	[ "$(stats three vectors)" = 50 ]
	# Words with spaces in them, as in GloVe's of the Common Crawl; odd numbers.
	printf 'the 1 2 3\n. . . 4 5 6\nat name@domain.com 7 8 9\n2009 -0 1e-46 .5\nnan nan -inf +1.5E3\n' >words.txt
	vecfs import -q mnt/words words.txt
	[ "$(cat mnt/words/.vecfs/ids)" = $'the\n. . .\nat name@domain.com\n2009\nnan' ]
	cmp 'mnt/words/. . .' <(f32 4 5 6)
	cmp mnt/words/2009 <(f32 -0.0 0 0.5)
	cmp mnt/words/nan <(printf '\0\0\xc0\x7f\0\0\x80\xff'; f32 1500)
	printf 'and/or 1 2\n. 3 4\n100%% 5 6\n' >odd.txt
	vecfs import -q --escape mnt/odd odd.txt
	vecfs export -q --escape --ids out.ids mnt/odd out.npy
	[ "$(cat out.ids)" = $'and/or\n.\n100%' ]
}

@test "text that is wrong is refused with the number of its line, and nothing is imported" {
	refuse() { # WORDS TEXT [OPTION...]
		printf "$2" >bad.txt
		local words=$1
		shift 2
		refused "bad.txt: $words" vecfs import -q "$@" mnt/new bad.txt
		[ "${#lines[@]}" = 1 ]
		[ ! -e mnt/new ]
	}
	refuse "line 2: found 2 numbers, want 3" 'a 1 2 3\nb 1 2\nc 1 2 3\n'
	refuse "line 2: found 4 numbers, want 3" 'a 1 2 3\nb 1 2 3 4\nc 1 2 3\n'
	refuse "line 3: number 2: found 'x" 'a 1 2\nb 1 2\nc 1 x\n'
	refuse "line 1: number 1: found '0x1p3" 'a 0x1p3 2\n'
	refuse "line 1: number 2: found '1e39" 'a 2 1e39\n'
	refuse "line 1: number 1: found '1,5" 'a 1,5 2\n'
	refuse "line 2: it is empty" 'a 1 2\n\nb 1 2\n'
	refuse "line 2: it ends in CR LF" 'a 1 2\nb 1 2\r\n'
	refuse "line 2: the id 'a/b' is no file name" 'a 1 2\na/b 1 2\n'
	refuse "line 2: the id is empty" 'a 1 2\n 1 2\n'
	refuse "line 1: found 0 numbers" 'a\nb\n'
	refuse "the first line says 3 rows, found 2" '3 2\na 1 2\nb 1 2\n'
	refuse "the first line says 1 rows, found 2" '1 2\na 1 2\nb 1 2\n'
	refuse "line 1: found 'a 1 2'" 'a 1 2\n' --format word2vec
	refuse "line 2: found no tab" 'a\t1,2\nb 1,2\n'
	refuse "line 1: number 3: found" 'a\t1,,2\n' --dim 3 || refuse "line 1: number 2" 'a\t1,,2\n'
	refuse "line 1: number 2: found" 'a\t1,2,\n'
	refuse "line 1: the text is UTF-16" '\377\376a\0 \0001\0\n\0'
	refuse "line 1: the text is UTF-16" '\376\377\0a\0 \0001\0\n'
	refuse "found no vectors" ''
	refuse "found no vectors" '0 5\n'
	refuse "it brings its own ids" 'a 1 2\n' --start 5
	printf 'a 1 2\nb 3 4\na 5 6\n' >bad.txt
	refused "line 3" vecfs import -q mnt/new bad.txt # an id twice
	[ ! -e mnt/new ]
	printf '2 2\na 1 2\n' | refused "says 2 rows, found 1" vecfs import -q --format word2vec mnt/new -
	[ ! -e mnt/new ]
	printf '' | refused "found no vectors" vecfs import -q --format glove mnt/new -
	[ ! -e mnt/new ]
}

@test "text in aligned columns: blanks before the numbers are no part of an id" {
	printf 'a     1   2\nof it 3 \t 4 \n' >aligned.txt
	vecfs import -q mnt/new aligned.txt
	[ "$(cat mnt/new/.vecfs/ids | tr '\n' '|')" = 'a|of it|' ]
	cmp mnt/new/.vecfs/vectors.f32 <(f32 1 2 3 4)
}

@test "a format that does not exist is refused by name" {
	arrays
	vecfs import -q mnt/docs a.npy
	for command in import export; do
		refused "--format xyz: no such format" vecfs $command -q mnt/docs a.npy --format xyz
	done
}

@test "import and export on a bind-mounted collection" {
	need_root
	arrays
	mkdir bound
	mount --bind mnt/docs bound || skip "no bind mounts here"
	run vecfs import -q --ids ids bound a.npy
	vecfs export -q --ids out.ids bound out.npy || :
	umount bound
	[ "$status" = 0 ]
	cmp out.npy a.npy
	cmp out.ids ids
	[ "$(stats docs vectors)" = 50 ]
}

@test "two exports to one file at once: a whole file of one of them, and a FILE.tmp of the user's is left alone" {
	python3 - <<-'P'
		import numpy as np
		for name in 'one', 'two':
		    np.save(name + '.npy', np.full((20000, 64), len(name) if name == 'one' else 7, '<f4'))
	P
	vecfs import -q mnt/one one.npy
	vecfs import -q mnt/two two.npy
	echo mine >out.npy.tmp
	for _ in 1 2 3 4 5; do
		for name in one two; do background "$VECFS_BIN" export -q mnt/$name out.npy; done
		for pid in "${running[@]}"; do wait "$pid"; done
		running=()
		cmp out.npy one.npy || cmp out.npy two.npy
	done
	[ "$(cat out.npy.tmp)" = mine ]
	[ "$(find . -maxdepth 1 -name '.*' -type f | wc -l)" = 0 ]
}

@test "export over a file keeps its mode, owner and attributes, follows a link, and refuses what may not be written" {
	arrays
	vecfs import -q --ids ids mnt/new a.npy
	mkdir folder
	echo old >folder/real.npy
	chmod 640 folder/real.npy
	setfattr -n user.note -v kept folder/real.npy || echo "(no xattrs here)"
	note=$(getfattr --only-values -n user.note folder/real.npy 2>/dev/null || :)
	[ "$(id -u)" != 0 ] || chown 1234:4321 folder/real.npy
	before=$(stat -c '%a %u %g' folder/real.npy)
	ln -s real.npy folder/second
	ln -s folder/second link.npy
	vecfs export -q mnt/new link.npy
	[ -L link.npy ]
	cmp folder/real.npy a.npy
	[ "$(stat -c '%a %u %g' folder/real.npy)" = "$before" ]
	[ "$(getfattr --only-values -n user.note folder/real.npy 2>/dev/null || :)" = "$note" ]
	ln -s nowhere dangling.npy
	run vecfs export -q mnt/new dangling.npy
	[ "$status" = 1 ]
	[[ $output == *"No such file"* ]]
	[ ! -e nowhere ]
	(umask 027; exec "$VECFS_BIN" export -q mnt/new fresh.npy)
	[ "$(stat -c %a fresh.npy)" = 640 ]
	if [ "$(id -u)" != 0 ]; then
		chmod 400 fresh.npy
		run vecfs export -q mnt/new fresh.npy
		[ "$status" = 1 ]
	fi
	[ "$(ls -A folder | wc -l)" = 2 ]
}

@test "export to a file system without unnamed files, as a mount of vecfs is: whole, and nothing beside it" {
	vec 1 24 >mnt/docs/a
	mkdir mnt/copies
	for _ in 1 2; do # a new file, and over an old one
		vecfs export -q --format f32 mnt/docs mnt/copies/a
		cmp mnt/copies/a mnt/docs/a
		[ "$(ls -A mnt/copies)" = a ]
		vec 2 24 >mnt/docs/a
	done
	vec 3 24 >mnt/docs/b
	no vecfs export -q --format f32 mnt/docs mnt/copies/c # two vectors are not one
	[ "$(ls -A mnt/copies)" = a ]
}

@test "export to /dev/stdout, /dev/fd/N, a FIFO and - writes there, whatever is behind it" {
	arrays
	vecfs import -q --ids ids mnt/new a.npy
	{ echo before; vecfs export -q --format f32 mnt/new /dev/stdout; echo after; } >all
	cmp all <(echo before; cat a.f32; echo after)
	vecfs export -q --format f32 mnt/new /dev/stdout | cmp - a.f32
	vecfs export -q --format f32 mnt/new /dev/fd/7 7>seventh
	cmp seventh a.f32
	mkfifo pipe.f32
	background cp pipe.f32 from-pipe
	vecfs export -q mnt/new pipe.f32
	finishes "${running[0]}"
	[ -p pipe.f32 ]
	cmp from-pipe a.f32
	vecfs export -q --format f32 mnt/new /dev/null
	[ -c /dev/null ]
	vecfs export -q --format f32 --ids /dev/fd/8 mnt/new - 8>eighth >out
	cmp out a.f32
	cmp eighth ids
}

@test "an export that is interrupted or killed leaves nothing, and the old file" {
	python3 -c 'import numpy; numpy.save("big.npy", numpy.ones((60000, 512), "<f4"))'
	vecfs import -q mnt/big big.npy
	mkdir out
	echo old >out/old.npy
	local cut=0 # how many came in time
	for signal in INT TERM KILL; do
		for target in old new; do
			background "$VECFS_BIN" export mnt/big out/$target.npy
			sleep 0.01
			kill -$signal $! || :
			if wait $!; then
				cmp out/$target.npy big.npy
			else
				[ $target = new ] || [ "$(cat out/old.npy)" = old ]
				[ $target = old ] || [ ! -e out/new.npy ]
				cut=$((cut + 1))
			fi
			echo old >out/old.npy
			rm -f out/new.npy
			[ "$(ls -A out)" = old.npy ]
		done
	done
	[ $cut -gt 0 ]
	rm big.npy
}

@test "import and export work in bounded memory, whatever the size of the file" {
	[ $slow = 1 ] || skip "a sanitizer's memory is its own"
	python3 - <<-'P'
		import numpy as np
		np.lib.format.open_memmap('big.npy', 'w+', '<f4', (50000, 1000))[::1000] = 1
	P
	(ulimit -v 100000; exec "$VECFS_BIN" import -q mnt/big big.npy) # 200 MB through 100 MB of address space
	(ulimit -v 100000; exec "$VECFS_BIN" export -q mnt/big back.fbin)
	cmp <(tail -c 200000000 big.npy) <(tail -c 200000000 back.fbin)
	memory=$(sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status")
	[ "$memory" -lt 65536 ]
	rm back.fbin big.npy
}
