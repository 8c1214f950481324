# SPDX-License-Identifier: Apache-2.0
"""How long a standby on another machine takes to serve once the owner has been killed, on CephFS.

    takeover.py VECFS FOLDER [--rows N] [--writes N] [--runs N] [--machine | --planned] [--keep]

FOLDER gets a cluster of its own (tests/tools/cephcluster.sh); with --keep it stays, for the next time. The owner has N vectors of 768 floats, and has been
written to since its last checkpoint. Beside each takeover: `cat` of as many bytes as a recovery reads (log, rows,
ids), by a client that has none of them either. --machine kills the owner's ceph-fuse, too: Ceph then waits for
its session_timeout, 30 s, which is subtracted. --planned unmounts the owner, and begins to count when that has returned.
"""
import argparse
import array
import glob
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

CEPH = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../tools/cephcluster.sh')
DIM, SESSION_TIMEOUT_S = 768, 30


def ceph(folder, command, *words):
    subprocess.run([CEPH, command, folder, *words], check=True, stdout=subprocess.DEVNULL)


def fresh(folder, machine):
    """A client that remembers nothing."""
    ceph(folder, 'unmount', machine)
    ceph(folder, 'mount', machine)


class Daemon:
    def __init__(self, vecfs, store, mount, options):
        os.makedirs(mount, exist_ok=True)
        self.vecfs, self.mount, self.log = vecfs, mount, f'{mount}.log'
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen([vecfs, 'mount', '-f', '-o', options, store, mount], stdout=log, stderr=log)

    def says(self, word):
        while True:
            with open(self.log) as log:
                text = log.read()
            if word in text:
                return
            assert self.process.poll() is None, text
            time.sleep(.002)

    def end(self):
        subprocess.run([self.vecfs, 'umount', self.mount], check=True)
        self.process.wait()


def fill(vecfs, store, mount, rows):
    owner = Daemon(vecfs, store, mount, 'io_uring=off')
    owner.says('serving')
    os.mkdir(f'{mount}/docs')
    begin, one = time.monotonic(), array.array('f', (random.random() for _ in range(1 << 20))).tobytes()
    with subprocess.Popen([vecfs, 'import', '-q', '--format', 'f32', '--dim', str(DIM), f'{mount}/docs', '-'],
                          stdin=subprocess.PIPE) as p:
        left = 4 * DIM * rows
        while left:
            left -= p.stdin.write(one[:left])
        p.stdin.close()
    assert p.returncode == 0
    print(f'{rows} rows imported in {time.monotonic() - begin:.0f} s', flush=True)
    owner.end()


def write(folder, prefix, count):
    for i in range(count):
        with open(f'{folder}/{prefix}-{i}', 'wb') as f:
            f.write(os.urandom(4 * DIM))
        if i % 500 == 499 or i == count - 1:
            fd = os.open(folder, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


def cat_as_much(args, store):
    """Seconds for the bytes that a recovery reads, and how many these are."""
    plain = f'{args.folder}/one/plain'
    shutil.rmtree(plain, ignore_errors=True)
    os.mkdir(plain)
    names = glob.glob(f'{store}/log.*') + glob.glob(f'{store}/catalog.*')
    names += glob.glob(f'{store}/collections/*/*.rows') + glob.glob(f'{store}/collections/*/*.names')
    for i, name in enumerate(names):
        shutil.copyfile(name, f'{plain}/{i}')
    os.sync()
    fresh(args.folder, 'two')
    files = glob.glob(f'{args.folder}/two/plain/*')
    begin = time.monotonic()
    subprocess.run(['cat', *files], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin, sum(os.path.getsize(f) for f in files)


def run(args, number):
    store, there = (f'{args.folder}/{m}/store' for m in ('one', 'two'))
    mounts = [f'{args.folder}/mnt{n}' for n in (1, 2)]
    owner = Daemon(args.vecfs, store, mounts[0], 'io_uring=off')
    owner.says('serving')
    write(f'{mounts[0]}/docs', f'run{number}', args.writes)
    cat_s, cat_bytes = cat_as_much(args, store)
    fresh(args.folder, 'two')
    standby = Daemon(args.vecfs, there, mounts[1], 'io_uring=off,standby')
    standby.says('standing by')
    time.sleep(.5)
    if args.machine:
        with open(f'{args.folder}/run/one.pid') as pid:
            os.kill(int(pid.read()), signal.SIGKILL)
    begin = time.monotonic()
    if args.planned:
        owner.end()
        print(f'unmounted in {time.monotonic() - begin:.2f} s; ', end='')
        begin = time.monotonic()
    owner.process.kill()
    owner.process.wait()
    standby.says('serving')
    serving = time.monotonic() - begin
    with open(f'{mounts[1]}/docs/{number}', 'rb') as f:
        assert len(f.read()) == 4 * DIM
    read = time.monotonic() - begin
    write(f'{mounts[1]}/docs', f'after{number}', 1)
    wrote = time.monotonic() - begin
    less = SESSION_TIMEOUT_S if args.machine else 0
    print(f'serving after {serving - less:.2f} s, first read {read - less:.2f}, first durable write {wrote - less:.2f}; '
          f'cat of {cat_bytes / 1e6:.0f} MB {cat_s:.2f} s; load {os.getloadavg()[0]:.0f}', flush=True)
    subprocess.run(['umount', '-l', mounts[0]], check=False, stderr=subprocess.DEVNULL)
    standby.end()
    fresh(args.folder, 'one')
    return read - less, cat_s


def main():
    p = argparse.ArgumentParser()
    p.add_argument('vecfs')
    p.add_argument('folder')
    p.add_argument('--rows', type=int, default=1000000)
    p.add_argument('--writes', type=int, default=4000)
    p.add_argument('--runs', type=int, default=5)
    p.add_argument('--machine', action='store_true')
    p.add_argument('--planned', action='store_true')
    p.add_argument('--keep', action='store_true')
    args = p.parse_args()
    args.folder = os.path.abspath(args.folder)
    new = not os.path.exists(f'{args.folder}/ceph.conf')
    ceph(args.folder, 'install')
    try:
        if new:
            ceph(args.folder, 'up', str(3 + 2 * 4 * DIM * args.rows // 10**9))
        for machine in ('one', 'two'):
            ceph(args.folder, 'mount', machine)
        if new:
            fill(args.vecfs, f'{args.folder}/one/store', f'{args.folder}/mnt1', args.rows)
        runs = [run(args, n) for n in range(args.runs)]
        print(f'medians: first read {statistics.median(r[0] for r in runs):.2f} s, '
              f'cat of as much {statistics.median(r[1] for r in runs):.2f} s')
    except subprocess.CalledProcessError:
        if new:  # nobody is to take a half of it for a cluster
            ceph(args.folder, 'down')
            os.remove(f'{args.folder}/ceph.conf')
        raise
    finally:
        if os.path.exists(f'{args.folder}/ceph.conf'):
            for machine in ('one', 'two'):
                ceph(args.folder, 'unmount', machine)
            if not args.keep:
                ceph(args.folder, 'down')


sys.exit(main())
