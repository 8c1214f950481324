#!/usr/bin/env bats
# Removing vectors and collections.
# sanitize: address

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	vec 1 100 >one
	vec 2 100 >two
	cp one mnt/docs/apple
}

@test "rm removes a vector, for good" {
	cp two mnt/docs/pear
	rm mnt/docs/apple
	[ ! -e mnt/docs/apple ]
	[ "$(ls -A mnt/docs)" = pear ]
	[ "$(cat mnt/docs/.vecfs/ids)" = pear ]
	refused "No such file" cat mnt/docs/apple
	refused "No such file" rm mnt/docs/apple
	restart
	[ "$(ls -A mnt/docs)" = pear ]
	cmp two mnt/docs/pear
	[ "$(stats docs vectors)" = 1 ]
}

@test "an unlinked vector that is open can be read and written until it is closed" {
	python3 - <<-'P'
		import os
		one, two = open('one', 'rb').read(), open('two', 'rb').read()
		r = os.open('mnt/docs/apple', os.O_RDONLY)
		w = os.open('mnt/docs/apple', os.O_RDWR)
		os.unlink('mnt/docs/apple')
		assert os.listdir('mnt/docs') == []
		assert os.pread(r, 1000, 0) == one and os.fstat(r).st_size == 400
		assert os.fstat(r).st_nlink == 0
		os.pwrite(w, two[:100], 0)
		assert os.pread(w, 1000, 0) == two[:100] + one[100:]
		os.close(w)
		assert os.pread(r, 1000, 0) == two[:100] + one[100:]
		os.close(r)
		assert not os.path.exists('mnt/docs/apple')
	P
	restart
	[ -z "$(ls -A mnt/docs)" ]
}

@test "a new vector of the same id is another file than the unlinked one that is still open" {
	python3 - <<-'P'
		import os
		one, two = open('one', 'rb').read(), open('two', 'rb').read()
		r = os.open('mnt/docs/apple', os.O_RDONLY)
		os.unlink('mnt/docs/apple')
		open('mnt/docs/apple', 'wb').write(two)
		assert os.pread(r, 1000, 0) == one
		assert open('mnt/docs/apple', 'rb').read() == two
		assert os.fstat(r).st_ino != os.stat('mnt/docs/apple').st_ino
	P
}

@test "a mapping of an unlinked vector stays readable" {
	python3 - <<-'P'
		import mmap, os
		f = os.open('mnt/docs/apple', os.O_RDONLY)
		m = mmap.mmap(f, 400, prot=mmap.PROT_READ)
		os.close(f)
		os.unlink('mnt/docs/apple')
		assert m[:] == open('one', 'rb').read()
	P
}

@test "the removal of many leaves the others as they were" {
	python3 - <<-'P'
		import os, random
		random.seed(2)
		os.unlink('mnt/docs/apple')
		model = {f'v{i}': i.to_bytes(4, 'little') * 100 for i in range(1500)}
		for name, data in model.items():
		    open('mnt/docs/' + name, 'wb').write(data)
		for name in random.sample(sorted(model), 900):
		    os.unlink('mnt/docs/' + name)
		    del model[name]
		assert set(os.listdir('mnt/docs')) == set(model)
		for name, data in model.items():
		    assert open('mnt/docs/' + name, 'rb').read() == data, name
		ids = open('mnt/docs/.vecfs/ids').read().split()
		rows = open('mnt/docs/.vecfs/vectors.f32', 'rb').read()
		assert sorted(ids) == sorted(model) and len(rows) == 400 * 600
		assert all(model[id] == rows[400 * i:400 * i + 400] for i, id in enumerate(ids))
	P
	restart
	python3 - <<-'P'
		import os
		names = os.listdir('mnt/docs')
		assert len(names) == 600
		assert all(open('mnt/docs/' + n, 'rb').read() == int(n[1:]).to_bytes(4, 'little') * 100 for n in names)
	P
}

@test "rm -rf of a collection leaves nothing" {
	python3 -c '
for i in range(2000): open(f"mnt/docs/v{i}", "wb").write(bytes(400))'
	[ "$(stats docs vectors)" = 2001 ]
	rm -rf mnt/docs
	[ -z "$(ls -A mnt)" ]
	[ ! -e mnt/docs/.vecfs ]
	[ "$(metric collections) $(metric vectors)" = "0 0" ]
	mkdir mnt/docs
	[ -z "$(ls -A mnt/docs)" ]
	[ "$(head -n 1 mnt/docs/.vecfs/schema)" = dim=0 ]
	rmdir mnt/docs
	restart
	[ -z "$(ls -A mnt)" ]
	stop
	[ -z "$(ls -A "$store/collections" 2>/dev/null)" ]
}

@test "rm -rf of a collection with batches in the making takes them along" {
	mkdir mnt/docs/.vecfs/tx/b
	cp two mnt/docs/.vecfs/tx/b/pear
	mkdir mnt/docs/.vecfs/tx/empty
	exec 5<mnt/docs/.vecfs/tx/b/pear
	run -1 rmdir mnt/docs
	[ -e mnt/docs/.vecfs/tx/b/pear ] # a collection that is not empty loses nothing
	rm -rf mnt/docs
	[ -z "$(ls -A mnt)" ]
	cmp two - <&5
	exec 5<&-
	mkdir mnt/docs
	[ -z "$(ls -A mnt/docs/.vecfs/tx)" ]
	restart
	[ -z "$(ls -A mnt/docs/.vecfs/tx)" ]
}

@test "removing gives the space back" {
	mkdir mnt/big
	python3 -c '
import os
for i in range(64): open(f"mnt/big/v{i}", "wb").write(os.urandom(1 << 20))'
	sync mnt/big
	stop
	full=$(du -sk "$store" | cut -f1)
	[ "$full" -gt 65536 ]
	start
	python3 -c '
import os
for i in range(60): os.unlink(f"mnt/big/v{i}")'
	stop
	[ "$(du -sk "$store" | cut -f1)" -lt $((full - 50000)) ]
}
