#!/usr/bin/env bats
# Many processes at once.
# sanitize: yes

load helper

setup() {
	begin
	start
	mkdir mnt/docs
}

# mix DIM SECONDS: 8 processes on the same 64 ids.
mix() {
	python3 "$tools/mixed.py" mnt/docs --dim "$1" --seconds $(($2 * long)) --processes 8 --ids 64
}

@test "8 processes creating, overwriting, reading and deleting: every read is some whole version (768 floats)" {
	mix 768 4
}

@test "8 processes creating, overwriting, reading and deleting: every read is some whole version (3,000 floats, three pages)" {
	mix 3000 3
}

# A pause of the writer would publish its pieces: an attempt that took so long does not count.
@test "who closes or empties a vector does not publish the pieces that somebody else is still writing" {
	vec 1 768 >mnt/docs/v
	python3 - <<-'P'
		import os, time
		path, half = 'mnt/docs/v', 1536
		old, mine, new = (bytes([n]) * 3072 for n in (1, 2, 3))
		def read():
		    with open(path, 'rb') as f:
		        return f.read()
		def attempt():
		    start = time.monotonic()
		    one, two = (os.open(path, os.O_WRONLY) for _ in range(2))
		    os.write(two, old)
		    os.write(one, mine[:half])
		    os.close(two)
		    after_close = read()
		    three = os.open(path, os.O_WRONLY | os.O_TRUNC)
		    after_truncation = read()
		    in_time = time.monotonic() - start < 0.1
		    os.write(three, new)
		    os.close(three)
		    after_replacement = read()
		    os.write(one, mine[half:])
		    os.close(one)
		    if in_time:
		        assert after_close == old and after_truncation == old
		        assert after_replacement == new and read() == mine
		    return in_time
		assert any(attempt() for _ in range(50))
	P
}

@test "4 processes create 4,000 vectors in one collection: none is lost" {
	python3 - <<-'P'
		import os, whole
		def create(p):
		    for i in range(1000):
		        with open(f'mnt/docs/p{p}-{i}', 'xb') as f:
		            f.write(whole.make(p, i, 0, 100))
		pids = []
		for p in range(4):
		    pid = os.fork()
		    if pid == 0:
		        create(p)
		        os._exit(0)
		    pids.append(pid)
		assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
		assert len(os.listdir('mnt/docs')) == 4000
	P
	restart
	python3 - <<-'P'
		import whole
		for p in range(4):
		    for i in range(1000):
		        assert whole.parse(open(f'mnt/docs/p{p}-{i}', 'rb').read(), 100) == (p, i, 0)
	P
}

@test "8 processes race for the same new ids with O_EXCL: each id has one winner, whose vector it is" {
	python3 - <<-'P'
		import os, whole
		def race(p, out):
		    for i in range(150):
		        try:
		            fd = os.open(f'mnt/docs/v{i}', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
		        except FileExistsError:
		            continue
		        os.write(fd, whole.make(p, i, 0, 100))
		        os.close(fd)
		        out.write(f'{i} {p}\n')
		    out.close()
		pids = []
		for p in range(8):
		    pid = os.fork()
		    if pid == 0:
		        race(p, open(f'won{p}', 'w'))
		        os._exit(0)
		    pids.append(pid)
		assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
		won = {}
		for p in range(8):
		    for line in open(f'won{p}'):
		        i, winner = map(int, line.split())
		        assert i not in won, f'{i} was created twice'
		        won[i] = winner
		assert len(won) == 150 == len(os.listdir('mnt/docs'))
		for i, p in won.items():
		    assert whole.parse(open(f'mnt/docs/v{i}', 'rb').read(), 100) == (p, i, 0)
	P
}

@test "threads of one process share descriptors: positioned writes and reads do not mix" {
	python3 - <<-'P'
		import os, threading, whole
		def work(t, bad):
		    try:
		        for i in range(200):
		            fd = os.open(f'mnt/docs/t{t}', os.O_RDWR | os.O_CREAT)
		            data = whole.make(t, i, 0, 768)
		            os.pwrite(fd, data, 0)
		            if os.pread(fd, 4000, 0) != data:
		                bad.append((t, i))
		            os.close(fd)
		    except OSError as e:
		        bad.append(e)
		bad = []
		threads = [threading.Thread(target=work, args=(t, bad), daemon=True) for t in range(8)]
		for t in threads: t.start()
		for t in threads: t.join()
		assert not bad, bad[:3]
	P
}

@test "fsync from 8 processes at once, on a directory that others change" {
	python3 - <<-'P'
		import os, whole
		def work(p):
		    for i in range(60):
		        fd = os.open(f'mnt/docs/p{p}-{i % 7}', os.O_WRONLY | os.O_CREAT)
		        os.write(fd, whole.make(p, i, 0, 100))
		        os.fsync(fd)
		        os.close(fd)
		pids = []
		for p in range(8):
		    pid = os.fork()
		    if pid == 0:
		        work(p)
		        os._exit(0)
		    pids.append(pid)
		assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
	P
	[ "$(ls mnt/docs | wc -l)" = 56 ]
	[ "$(metric commits_total)" -gt 0 ]
}
