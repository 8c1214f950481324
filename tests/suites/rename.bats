#!/usr/bin/env bats
# Renaming vectors, inside a collection and between collections.
# sanitize: yes

load helper

setup() {
	begin
	start
	mkdir mnt/docs
	vec 1 100 >one
	vec 2 100 >two
	cp one mnt/docs/apple
}

# rename2 FROM TO FLAGS: renameat2(2); prints the error, or "ok".
rename2() {
	python3 - "$@" <<-'P'
		import ctypes, os, sys
		libc = ctypes.CDLL(None, use_errno=True)
		rc = libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), int(sys.argv[3]))
		print('ok' if rc == 0 else os.strerror(ctypes.get_errno()))
	P
}

@test "mv inside a collection renames: content, inode, mode and mtime stay" {
	chmod 640 mnt/docs/apple
	touch -d '2001-02-03 04:05:06' mnt/docs/apple
	before=$(stat -c '%i %a %y %s' mnt/docs/apple)
	mv mnt/docs/apple mnt/docs/pear
	[ "$(ls mnt/docs)" = pear ]
	[ ! -e mnt/docs/apple ]
	cmp one mnt/docs/pear
	[ "$(stat -c '%i %a %y %s' mnt/docs/pear)" = "$before" ]
	restart
	[ "$(ls mnt/docs)" = pear ]
	cmp one mnt/docs/pear
	[ "$(stat -c '%i %a %y %s' mnt/docs/pear)" = "$before" ]
	cp two mnt/docs/apple # the old name is free
	[ "$(stat -c %i mnt/docs/apple)" != "${before%% *}" ]
}

@test "mv onto an existing id replaces it" {
	cp two mnt/docs/pear
	mv -f mnt/docs/apple mnt/docs/pear
	[ "$(ls mnt/docs)" = pear ]
	cmp one mnt/docs/pear
	[ "$(stats docs vectors)" = 1 ]
	restart
	[ "$(ls mnt/docs)" = pear ]
	cmp one mnt/docs/pear
}

@test "mv replaces the target atomically: it is there at every moment, old or new" {
	python3 - <<-'P'
		import os, threading
		one, two = open('one', 'rb').read(), open('two', 'rb').read()
		done, reads, bad = False, 0, []
		def read():
		    global reads
		    while not done:
		        try:
		            if open('mnt/docs/apple', 'rb').read() not in (one, two):
		                bad.append('torn')
		        except OSError as e:
		            bad.append(e)
		        reads += 1
		readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
		for t in readers: t.start()
		for i in range(600):
		    with open('mnt/docs/tmp', 'wb') as f: f.write((two, one)[i % 2])
		    os.rename('mnt/docs/tmp', 'mnt/docs/apple')
		done = True
		for t in readers: t.join()
		assert not bad, bad[:3]
		assert reads > 50, reads
	P
	[ "$(ls mnt/docs)" = apple ]
}

@test "RENAME_NOREPLACE keeps the target; there is no RENAME_EXCHANGE" {
	cp two mnt/docs/pear
	[ "$(rename2 mnt/docs/apple mnt/docs/pear 1)" = "File exists" ]
	[ "$(rename2 mnt/docs/apple mnt/docs/pear 2)" = "Invalid argument" ]
	cmp one mnt/docs/apple
	cmp two mnt/docs/pear
	[ "$(rename2 mnt/docs/apple mnt/docs/plum 1)" = ok ]
	cmp one mnt/docs/plum
}

@test "mv of what is not there, to an illegal name, and onto itself" {
	refused "No such file" mv mnt/docs/nothing mnt/docs/pear
	[ "$(rename2 mnt/docs/nothing mnt/docs/pear 0)" = "No such file or directory" ]
	[ "$(rename2 mnt/docs/apple mnt/docs/apple 0)" = ok ]
	refused "" mv -T mnt/docs/apple mnt/docs/.vecfs
	refused "File name too long" mv mnt/docs/apple "mnt/docs/$(printf 'x%.0s' {1..256})"
	[ "$(ls mnt/docs)" = apple ]
	cmp one mnt/docs/apple
}

@test "an open file goes on under its new name" {
	python3 - <<-'P'
		import os
		one, two = open('one', 'rb').read(), open('two', 'rb').read()
		r = os.open('mnt/docs/apple', os.O_RDONLY)
		w = os.open('mnt/docs/apple', os.O_RDWR)
		os.rename('mnt/docs/apple', 'mnt/docs/pear')
		assert os.pread(r, 1000, 0) == one
		os.pwrite(w, two, 0)
		os.close(w)
		assert os.pread(r, 1000, 0) == two
		assert open('mnt/docs/pear', 'rb').read() == two
		assert os.fstat(r).st_ino == os.stat('mnt/docs/pear').st_ino
	P
}

@test "a reader of the replaced vector keeps it" {
	cp two mnt/docs/pear
	exec 8<mnt/docs/pear
	mv -f mnt/docs/apple mnt/docs/pear
	python3 -c 'import os; assert os.pread(8, 1000, 0) == open("two", "rb").read()'
	cmp one mnt/docs/pear
	exec 8<&-
}

@test "mv between collections of equal dim and dtype, without copying through the client" {
	mkdir mnt/more
	cp two mnt/more/pear
	chmod 600 mnt/docs/apple
	before=$(stat -c '%a %y %s' mnt/docs/apple)
	[ "$(rename2 mnt/docs/apple mnt/more/apple 0)" = ok ]
	[ -z "$(ls mnt/docs)" ]
	[ ! -e mnt/docs/apple ]
	cmp one mnt/more/apple
	[ "$(stat -c '%a %y %s' mnt/more/apple)" = "$before" ]
	mv -f mnt/more/apple mnt/more/pear
	[ "$(rename2 mnt/more/pear mnt/docs/pear 0)" = ok ]
	restart
	[ -z "$(ls mnt/more)" ]
	[ "$(ls mnt/docs)" = pear ]
	cmp one mnt/docs/pear
}

@test "mv between collections replaces the target, and open files go along" {
	mkdir mnt/more
	cp two mnt/more/apple
	python3 - <<-'P'
		import os
		one, two = open('one', 'rb').read(), open('two', 'rb').read()
		source = os.open('mnt/docs/apple', os.O_RDONLY)
		target = os.open('mnt/more/apple', os.O_RDONLY)
		os.rename('mnt/docs/apple', 'mnt/more/apple')
		assert os.pread(source, 1000, 0) == one and os.pread(target, 1000, 0) == two
		assert open('mnt/more/apple', 'rb').read() == one
		assert os.listdir('mnt/docs') == [] and os.listdir('mnt/more') == ['apple']
	P
}

@test "mv into a collection without vectors fixes its dim" {
	mkdir mnt/more
	mv mnt/docs/apple mnt/more/
	[ "$(head -n 1 mnt/more/.vecfs/schema)" = dim=100 ]
	cmp one mnt/more/apple
}

@test "mv between collections of another dim or dtype is EXDEV; the vector stays where it is" {
	mkdir mnt/small mnt/half
	vec 1 4 >mnt/small/a
	printf 'dtype=f16\n' >mnt/half/.vecfs/schema
	[ "$(rename2 mnt/docs/apple mnt/small/apple 0)" = "Invalid cross-device link" ]
	[ "$(rename2 mnt/docs/apple mnt/half/apple 0)" = "Invalid cross-device link" ]
	refused "File too large" mv mnt/docs/apple mnt/small/apple # which copies, then
	cmp one mnt/docs/apple
	[ "$(ls mnt/small)" = a ]
}

@test "a thousand renames keep every vector" {
	python3 - <<-'P'
		import os, random
		random.seed(1)
		model = {}
		for i in range(200):
		    name = f'v{i}'
		    data = i.to_bytes(4, 'little') * 100
		    open('mnt/docs/' + name, 'wb').write(data)
		    model[name] = data
		for i in range(1000):
		    a, b = random.choice(list(model)), f'v{random.randrange(400)}'
		    os.rename('mnt/docs/' + a, 'mnt/docs/' + b)
		    model[b] = model.pop(a)
		os.unlink('mnt/docs/apple')
		assert set(os.listdir('mnt/docs')) == set(model)
		assert all(open('mnt/docs/' + name, 'rb').read() == data for name, data in model.items())
		import pickle
		pickle.dump(model, open('model', 'wb'))
	P
	restart
	python3 - <<-'P'
		import os, pickle
		model = pickle.load(open('model', 'rb'))
		assert set(os.listdir('mnt/docs')) == set(model)
		assert all(open('mnt/docs/' + name, 'rb').read() == data for name, data in model.items())
	P
}
