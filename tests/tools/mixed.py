# SPDX-License-Identifier: Apache-2.0
"""Processes that create, overwrite, read and delete the same few vectors at once.

Each read must be one whole version of the very id that was read: a vector has its id's number as owner. Writers write
whole vectors, by one write or in pieces between open and close, with and without O_TRUNC, or by a temporary name that
is renamed over the id.
"""
import argparse
import errno
import os
import random
import sys
import time
import traceback

import whole

# What happens to one process because of another, and is right.
PATIENCE_S = 30
EXPECTED = {errno.ENOENT, errno.EEXIST}


class Process:
    def __init__(self, args, number):
        self.args, self.number = args, number
        self.rng = random.Random(args.seed * 100 + number)
        self.version = number << 24
        self.counts = {}

    def id(self):
        n = self.rng.randrange(self.args.ids)
        return n, f'{self.args.collection}/v{n}'

    def data(self, n):
        self.version += 1
        return whole.make(n, self.version, 0, self.args.dim)

    def check(self, n, data, how):
        vector = whole.parse(data, self.args.dim)
        assert vector, f'v{n}: {how}: {len(data)} bytes, no whole vector: {data[:16].hex()}'
        assert vector[0] == n, f'v{n}: {how}: got a vector of v{vector[0]}'

    def read(self):
        n, path = self.id()
        with open(path, 'rb') as f:
            self.check(n, f.read(), 'read')

    def read_twice(self):
        """The same descriptor: each pread is of one version, which only gets newer or goes."""
        n, path = self.id()
        fd = os.open(path, os.O_RDONLY)
        try:
            for _ in range(2):
                self.check(n, os.pread(fd, 4 * self.args.dim, 0), 'pread')
        finally:
            os.close(fd)

    def write_all(self, fd, data):
        pieces = self.rng.choice((1, 1, 2, 3))
        size = -(-len(data) // pieces)
        for off in range(0, len(data), size):
            os.write(fd, data[off:off + size])

    def put(self, flags):
        n, path = self.id()
        fd = os.open(path, os.O_WRONLY | flags, 0o644)
        try:
            self.write_all(fd, self.data(n))
        finally:
            os.close(fd)

    def create(self):
        self.put(os.O_CREAT | os.O_EXCL)

    def replace(self):
        self.put(os.O_CREAT | os.O_TRUNC)

    def overwrite(self):
        self.put(0)

    def write_and_read(self):
        n, path = self.id()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self.write_all(fd, self.data(n))
            self.check(n, os.pread(fd, 4 * self.args.dim, 0), 'read by a writer')
        finally:
            os.close(fd)

    def rename(self):
        n, path = self.id()
        temporary = f'{self.args.collection}/tmp-{self.number}'
        with open(temporary, 'wb') as f:
            f.write(self.data(n))
        os.rename(temporary, path)

    def remove(self):
        os.unlink(self.id()[1])

    def remove_open(self):
        n, path = self.id()
        with open(path, 'rb') as f:
            os.unlink(path)
            self.check(n, f.read(), 'read after unlink')

    def list(self):
        for name in os.listdir(self.args.collection):
            assert name.startswith(('v', 'tmp-')), name

    def run(self):
        kinds = [self.read] * 8 + [self.read_twice] * 2 + [self.create] * 2 + [self.replace] * 3
        kinds += [self.overwrite] * 3 + [self.write_and_read] + [self.rename] * 2 + [self.remove] * 2
        kinds += [self.remove_open, self.list]
        end = time.monotonic() + self.args.seconds
        names = {k.__name__ for k in kinds}
        # On a machine that is busy it takes longer to come to everything.
        while time.monotonic() < end or (names - self.counts.keys() and time.monotonic() < end + PATIENCE_S):
            do = self.rng.choice(kinds)
            name = do.__name__
            try:
                do()
                self.counts[name] = self.counts.get(name, 0) + 1
            except OSError as e:
                assert e.errno in EXPECTED, f'{name}: {e}'
        for kind in names:
            assert self.counts.get(kind), f'{kind} has never worked: {self.counts}'
        print(self.number, self.counts, flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('collection')
    p.add_argument('--processes', type=int, default=8)
    p.add_argument('--ids', type=int, default=64)
    p.add_argument('--dim', type=int, default=768)
    p.add_argument('--seconds', type=float, default=3)
    p.add_argument('--seed', type=int, default=1)
    args = p.parse_args()
    pids = []
    for number in range(args.processes):
        pid = os.fork()
        if pid == 0:
            try:
                Process(args, number).run()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        pids.append(pid)
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    for name in os.listdir(args.collection):
        if name.startswith('v'):
            with open(f'{args.collection}/{name}', 'rb') as f:
                vector = whole.parse(f.read(), args.dim)
            assert vector and vector[0] == int(name[1:]), name
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
