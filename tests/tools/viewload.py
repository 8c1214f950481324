# SPDX-License-Identifier: Apache-2.0
"""Writers that create, overwrite, delete, rename and commit batches, while readers load `ids` and `vectors.npy` again and
again in one process: row n must be the vector that line n names. The number in an id is the owner in its vector."""
import argparse
import errno
import os
import random
import sys
import time
import traceback

import numpy as np

import whole

DIM = 256
EXPECTED = {errno.ENOENT, errno.EEXIST}


class Writer:
    def __init__(self, args, number):
        self.args, self.number = args, number
        self.rng = random.Random(args.seed * 100 + number)
        self.version, self.counts = number << 24, {}

    def any(self):
        return self.rng.randrange(self.args.ids)

    def data(self, n):
        self.version += 1
        return whole.make(n, self.version, 0, DIM)

    def put(self):
        n = self.any()
        with open(f'{self.args.collection}/v{n}', 'wb') as f:
            f.write(self.data(n))

    def remove(self):
        os.unlink(f'{self.args.collection}/v{self.any()}')

    def replace(self):
        n, tmp = self.any(), f'{self.args.collection}/tmp{self.number}'
        with open(tmp, 'wb') as f:
            f.write(self.data(n))
        os.rename(tmp, f'{self.args.collection}/v{n}')

    def batch(self):
        tx = f'{self.args.collection}/.vecfs/tx/b{self.number}'
        os.mkdir(tx)
        ns = sorted({self.any() for _ in range(40)})
        with open(f'{tx}/.vecfs/ids', 'w') as f:
            f.writelines(f'v{n}\n' for n in ns)
        with open(f'{tx}/.vecfs/vectors.f32', 'wb') as f:
            f.write(b''.join(self.data(n) for n in ns))
        with open(f'{tx}/.vecfs/delete', 'w') as f:
            f.writelines(f'v{n}\n' for n in {self.any() for _ in range(20)} - set(ns))
        os.rename(tx, f'{self.args.collection}/.vecfs/commit/b{self.number}')

    def run(self, end):
        kinds = [self.put] * 8 + [self.remove] * 4 + [self.replace] * 2
        kinds += [self.batch] if self.args.batches else []
        while time.monotonic() < end:
            do = self.rng.choice(kinds)
            try:
                do()
                self.counts[do.__name__] = self.counts.get(do.__name__, 0) + 1
            except OSError as e:
                assert e.errno in EXPECTED, f'{do.__name__}: {e}'
        assert all(self.counts.get(k.__name__) for k in kinds), self.counts
        print('writer', self.counts, flush=True)


def owner(id):
    """The number that the vector of this id has as its owner; None for a temporary id, which may have any."""
    return int(id[1:]) if id.startswith('v') else None


def check(ids, rows, how):
    assert len(ids) == len(rows), f'{how}: {len(ids)} ids, {len(rows)} rows'
    assert len(set(ids)) == len(ids), f'{how}: an id twice'
    words = np.ascontiguousarray(rows).view('<u4').reshape(len(rows), DIM)
    for n, id in enumerate(ids):
        vector = whole.parse(words[n].tobytes(), DIM)
        assert vector, f'{how}: row {n} of {len(ids)} is no whole vector: {words[n][:4]}'
        assert owner(id) in (None, vector[0]), f'{how}: row {n} is {id}, and holds the vector of v{vector[0]}'


class Reader:
    def __init__(self, args, number):
        self.control = f'{args.collection}/.vecfs'
        self.rng = random.Random(args.seed * 100 + 50 + number)
        self.counts = {}

    def ids(self):
        with open(f'{self.control}/ids') as f:
            return f.read().split('\n')[:-1]

    def ids_first(self):
        ids = self.ids()
        check(ids, np.load(f'{self.control}/vectors.npy'), 'ids, then vectors.npy')

    def vectors_first(self):
        rows = np.load(f'{self.control}/vectors.npy')
        check(self.ids(), rows, 'vectors.npy, then ids')

    def mapped(self):
        ids = self.ids()
        check(ids, np.load(f'{self.control}/vectors.npy', mmap_mode='r'), 'ids, then vectors.npy mapped')

    def raw(self):
        ids = self.ids()
        rows = np.fromfile(f'{self.control}/vectors.f32', '<f4')
        check(ids, rows.reshape(-1, DIM), 'ids, then vectors.f32')

    def fvecs(self):
        ids = self.ids()
        rows = np.fromfile(f'{self.control}/vectors.fvecs', '<u4').reshape(-1, DIM + 1)
        assert (rows[:, 0] == DIM).all()
        check(ids, rows[:, 1:], 'ids, then vectors.fvecs')

    def held(self):
        """Both open at once, and read in turns."""
        with open(f'{self.control}/ids', 'rb') as a, open(f'{self.control}/vectors.f32', 'rb') as b:
            rows = b.read(4 * DIM * 10)
            ids = a.read()
            rows += b.read()
            assert os.fstat(a.fileno()).st_size == len(ids) and os.fstat(b.fileno()).st_size == len(rows)
        check(ids.decode().split('\n')[:-1], np.frombuffer(rows, '<f4').reshape(-1, DIM), 'both open')

    def run(self, end):
        kinds = [self.ids_first, self.vectors_first, self.mapped, self.raw, self.fvecs, self.held]
        while time.monotonic() < end:
            do = self.rng.choice(kinds)
            do()
            self.counts[do.__name__] = self.counts.get(do.__name__, 0) + 1
        print('reader', self.counts, flush=True)
        assert len(self.counts) == len(kinds), self.counts


def main():
    p = argparse.ArgumentParser()
    p.add_argument('collection')
    p.add_argument('--writers', type=int, default=4)
    p.add_argument('--readers', type=int, default=1)
    p.add_argument('--ids', type=int, default=500)
    p.add_argument('--seconds', type=float, default=4)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--no-batches', dest='batches', action='store_false')
    args = p.parse_args()
    end = time.monotonic() + args.seconds
    works = [Writer(args, n) for n in range(args.writers)] + [Reader(args, n) for n in range(args.readers)]
    for n in range(args.ids):
        with open(f'{args.collection}/v{n}', 'wb') as f:
            f.write(whole.make(n, 0, 0, DIM))
    pids = []
    for work in works:
        pid = os.fork()
        if pid == 0:
            try:
                work.run(end)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        pids.append(pid)
    return sum(os.waitpid(pid, 0)[1] != 0 for pid in pids) != 0


if __name__ == '__main__':
    sys.exit(main())
