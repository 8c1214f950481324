#!/usr/bin/env bats
# The control directories, and vecfs stat. DESIGN 1.1, 1.2, 1.3.

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	vec 1 100 >one
	vec 2 100 >two
}

@test ".vecfs/log: every refused write with its reason, oldest first" {
	cp one mnt/docs/apple
	head -c 100 one >short
	run cp short mnt/docs/pear
	run cp short mnt/docs/plum
	logged "docs/plum: refused: got 100 bytes, want 400 (dim=100 dtype=f32)"
	[ "$(grep -c refused mnt/.vecfs/log)" = 2 ]
	[ "$(grep refused mnt/.vecfs/log | cut -d: -f1 | tr '\n' ' ')" = "docs/pear docs/plum " ]
	head -n 1 mnt/.vecfs/log | grep -q '^serving '
	[ "$(metric warnings_total)" = 2 ]
}

@test ".vecfs/log: the last 1,000 messages" {
	cp one mnt/docs/apple
	python3 - <<-'P'
		for i in range(1100):
		    try:
		        with open(f'mnt/docs/v{i}', 'wb') as f: f.write(b'abcd')
		        assert False
		    except OSError:
		        pass
	P
	logged "docs/v1099: refused: got 4 bytes, want 400 (dim=100 dtype=f32)"
	[ "$(wc -l <mnt/.vecfs/log)" = 1000 ]
	head -n 1 mnt/.vecfs/log | grep -q '^docs/v100: refused'
}

@test ".vecfs/log: ids are untrusted text, one message is one line" {
	cp one mnt/docs/apple
	run dd if=/dev/zero of=mnt/docs/$'bad\nvecfs: forged\e[31m' bs=4 count=1 status=none
	[ "$status" != 0 ]
	logged 'docs/bad\012vecfs: forged\033[31m: refused: got 4 bytes, want 400 (dim=100 dtype=f32)'
	no grep -q '^vecfs: forged' "$log"
}

@test ".vecfs/metrics: is Prometheus text, and counts what happens" {
	cp one mnt/docs/apple
	cp two mnt/docs/pear
	cp two mnt/docs/apple
	printf abcd | dd of=mnt/docs/apple bs=4 seek=3 conv=notrunc status=none
	mv mnt/docs/pear mnt/docs/plum
	rm mnt/docs/plum
	sync mnt/docs/apple
	python3 - <<-'P'
		import re
		values, types, helped = {}, {}, set()
		text = open('mnt/.vecfs/metrics').read()
		assert text.endswith('\n')
		for line in text.splitlines():
		    if m := re.fullmatch(r'# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)', line):
		        helped.add(m[1])
		    elif m := re.fullmatch(r'# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)', line):
		        assert m[1] not in types and m[1] not in values
		        types[m[1]] = m[2]
		    else:
		        m = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (-?[0-9.e+]+)', line)
		        assert m, line
		        assert m[1] in types and m[1] in helped, line
		        assert (types[m[1]] == 'counter') == m[1].endswith('_total'), line
		        values[m[1]] = float(m[3])
		want = dict(collections=1, vectors=1, puts_total=2, overwrites_total=1, patches_total=1, renames_total=1,
		            removes_total=1, checksum_errors_total=0, read_only=0, errors_total=0, warnings_total=0)
		for name, value in want.items():
		    assert values['vecfs_' + name] == value, (name, values['vecfs_' + name], value)
		assert values['vecfs_commits_total'] >= 1 and values['vecfs_commit_bytes_total'] > 1000
	P
}

@test ".vecfs/version: the version of the daemon, which is that of the command" {
	told=$(vecfs --version)
	[[ $(cat mnt/.vecfs/version) == "${told%)}, libfuse "* ]]
	[ "$(wc -l <mnt/.vecfs/version)" = 1 ]
}

@test "schema and stats: key=value lines" {
	cp one mnt/docs/apple
	cp two mnt/docs/pear
	for file in schema stats; do
		[ -z "$(grep -vE '^[a-z_]+=[a-z0-9]+$' mnt/docs/.vecfs/$file)" ]
	done
	[ "$(tr '\n' ' ' <mnt/docs/.vecfs/schema)" = "dim=100 dtype=f32 metric=l2 " ]
	[ "$(stats docs vectors) $(stats docs row_bytes) $(stats docs name_bytes)" = "2 400 9" ]
	[ "$(stats docs segments) $(stats docs damaged)" = "1 0" ]
	before=$(stats docs version)
	rm mnt/docs/pear
	[ "$(stats docs vectors)" = 1 ]
	[ "$(stats docs version)" != "$before" ]
}

@test "ids: line n names row n" {
	python3 -c '
for i in range(100): open(f"mnt/docs/v{i}", "wb").write(i.to_bytes(4, "little") * 100)'
	rm mnt/docs/v7 mnt/docs/v50
	[ "$(wc -l <mnt/docs/.vecfs/ids)" = 98 ]
	[ "$(stat -c %s mnt/docs/.vecfs/ids)" = "$(wc -c <mnt/docs/.vecfs/ids)" ]
	python3 - <<-'P'
		ids = open('mnt/docs/.vecfs/ids').read().splitlines()
		rows = open('mnt/docs/.vecfs/vectors.f32', 'rb').read()
		for n, id in enumerate(ids):
		    assert int.from_bytes(rows[400 * n:400 * n + 4], 'little') == int(id[1:]), (n, id)
	P
}

@test "control files have a size, can be read in pieces, and are what they were when they were opened" {
	cp one mnt/docs/apple
	for file in .vecfs/metrics .vecfs/version docs/.vecfs/schema docs/.vecfs/stats; do
		[ "$(stat -c %s mnt/$file)" = "$(wc -c <mnt/$file)" ]
		[ "$(dd if=mnt/$file bs=7 status=none)" = "$(cat mnt/$file)" ]
	done
	exec 8<mnt/docs/.vecfs/stats
	cp two mnt/docs/pear
	[ "$(sed -n 's/^vectors=//p' <&8)" = 1 ]
	exec 8<&-
	[ "$(stats docs vectors)" = 2 ]
}

@test "control directories list what is in them, and nothing can be added or taken away" {
	cp one mnt/docs/apple
	[ "$(ls mnt/.vecfs | tr '\n' ' ')" = "log metrics version " ]
	for name in schema stats ids vectors.npy vectors.fvecs vectors.fbin vectors.f32 segments tx commit; do
		ls mnt/docs/.vecfs | grep -qx $name
		[ -e mnt/docs/.vecfs/$name ]
	done
	find mnt/.vecfs mnt/docs/.vecfs >/dev/null
	refused "" cp one mnt/.vecfs/log
	refused "not permitted" cp one mnt/.vecfs/new
	refused "not permitted" cp one mnt/docs/.vecfs/new
	refused "" cp one mnt/docs/.vecfs/stats
	refused "" cp one mnt/docs/.vecfs/ids
	refused "not permitted" mkdir mnt/docs/.vecfs/new
	refused "not permitted" mkdir mnt/.vecfs/new
	refused "not permitted" rm -f mnt/docs/.vecfs/schema
	refused "not permitted" rm -f mnt/.vecfs/log
	refused "not permitted" mv mnt/docs/.vecfs/stats mnt/docs/.vecfs/other
	refused "not permitted" mv mnt/docs/.vecfs/tx mnt/docs/.vecfs/other
	refused "No such file" cat mnt/docs/.vecfs/vectors.u8bin # of another dtype
	refused "No such file" cat mnt/.vecfs/nothing
}

@test "control files follow their collection's permissions" {
	cp one mnt/docs/apple
	chmod 750 mnt/docs
	[ "$(stat -c %A mnt/docs/.vecfs | cut -c 5-)" = r-x--- ]
	[ "$(stat -c %A mnt/docs/.vecfs/stats)" = -r--r----- ]
	[ "$(stat -c %A mnt/docs/.vecfs/vectors.npy)" = -r--r----- ]
	[ "$(stat -c %A mnt/docs/.vecfs/schema)" = -rw-r----- ]
	chmod 700 mnt/docs
	[ "$(stat -c %A mnt/docs/.vecfs/ids)" = -r-------- ]
}

@test "what is only planned does not exist: there are no stubs" {
	cp one mnt/docs/apple
	for name in views snap near search; do
		[ ! -e mnt/docs/.vecfs/$name ]
		refused "not permitted" mkdir mnt/docs/.vecfs/$name
	done
	for command in search train; do
		run vecfs $command mnt/docs x
		[ "$status" = 2 ]
		[[ $output == *"no such command"* ]]
	done
}

@test "vecfs stat: a mount, a collection and a store, for people and as JSON" {
	cp one mnt/docs/apple
	cp two mnt/docs/pear
	mkdir mnt/more
	run vecfs stat mnt
	[ "$status" = 0 ]
	[[ $output == *"$store"* && $output == *docs* && $output == *more* ]]
	vecfs stat --json mnt >mount.json
	vecfs stat --json mnt/docs >collection.json
	run vecfs stat mnt/docs
	[ "$status" = 0 ]
	[[ $output == *100* ]]
	vecfs stat --json "$store" >through.json # held: told through its mount
	stop
	vecfs stat --json "$store" >store.json
	vecfs stat "$store" | grep -q docs
	python3 - "$mnt" "$store" "$daemon" <<-'P'
		import json, sys
		mnt, store = sys.argv[1:3]
		mount, through, free, docs = (json.load(open(n + '.json')) for n in ('mount', 'through', 'store', 'collection'))
		assert mount['kind'] == through['kind'] == 'mount' and mount['mountpoint'] == mnt and mount['store'] == store
		assert mount['pid'] > 1 and mount['vectors'] == 2 and mount['disk_bytes'] > mount['disk_free_bytes'] > 0
		assert free['kind'] == 'store' and free['vectors'] == 2 and len(free['uuid']) == 36
		for what in mount, through, free:
		    by_name = {c['name']: c for c in what['collections']}
		    assert sorted(by_name) == ['docs', 'more']
		    assert by_name['docs']['vectors'] == 2 and by_name['docs']['dim'] == 100 and by_name['docs']['dtype'] == 'f32'
		    assert by_name['docs']['vectors_bytes'] == 800
		assert docs['kind'] == 'collection' and docs['vectors'] == 2 and docs['dim'] == 100 and docs['row_bytes'] == 400
	P
}

@test "vecfs stat: of what is none of these is an error" {
	refused "neither a store nor in a mount" vecfs stat "$here"
	refused "No such file" vecfs stat nowhere
	cp one mnt/docs/apple
	refused "want a store" vecfs stat mnt/docs/apple
}
