# SPDX-License-Identifier: Apache-2.0
"""Writers that put, overwrite, remove, rename and commit batches, while searchers ask for the nearest: through a view
sq8, which is exact, and through opq, or the views that are named, with every row verified. Every answer must be the
model's. With --processes each writer is a process of its own, and `vecfs search` is asked, too.

Each writer has ids of its own, and notes each change before it is made and again when it is acknowledged. So what a
writer had stored at the moment of a search is one of few states: after all that was acknowledged before the question,
and after no more than had begun when the answer was there. An answer with k hits, the last of them at distance d, is
right if for each writer one of these states has, nearer than d, exactly the hits that are the writer's. Vectors are
random whole numbers, whose distances are exact in f32, and a version of a vector is known by its distance.
"""
import argparse
import os
import pickle
import random
import struct
import subprocess
import sys
import threading
import time
import traceback

import numpy as np

DIM, IDS, PIVOTS = 16, 150, 8
ALL = 100000  # more than there are rows


def vector(rng):
    return np.array([rng.randrange(-300, 300) for _ in range(DIM)], '<f4')


class Writer:
    """log: what each change makes of which ids, None if it removes them; `done` of its entries are acknowledged.

    One in a process of its own writes both to a journal, a record each, which is looked at by who judges."""

    def __init__(self, args, number):
        self.collection, self.number = args.collection, number
        self.rng = random.Random(args.seed * 100 + number)
        self.log, self.done, self.counts = [], 0, {}
        self.now = {}
        self.journal, self.unread, self.lock = None, b'', threading.Lock()

    def fork(self, end):
        """Runs in a process, and returns its number."""
        path = f'journal.{self.number}'
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self.journal = fd
                self.run(end)
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
        os.close(fd)
        self.read_from = open(path, 'rb', buffering=0)
        return pid

    def tell(self, change):
        """That a change begins; None: that it is acknowledged."""
        if self.journal is not None:
            record = pickle.dumps(change)
            os.write(self.journal, struct.pack('<I', len(record)) + record)

    def look(self):
        """Takes what the process has told so far."""
        if not hasattr(self, 'read_from'):
            return
        with self.lock:
            self.unread += self.read_from.read() or b''
            while len(self.unread) >= 4 and len(self.unread) >= 4 + struct.unpack('<I', self.unread[:4])[0]:
                size = 4 + struct.unpack('<I', self.unread[:4])[0]
                change, self.unread = pickle.loads(self.unread[4:size]), self.unread[size:]
                if change is None:
                    apply(self.now, self.log[-1])
                    self.done = len(self.log)
                else:
                    self.log.append(change)

    def path(self, n):
        return f'{self.collection}/w{self.number}-{n}'

    def put(self, n=None):
        n, v = self.rng.randrange(IDS) if n is None else n, vector(self.rng)
        yield {n: v}
        with open(self.path(n), 'wb') as f:
            f.write(v.tobytes())

    def remove(self):
        n = self.rng.choice(sorted(self.now))
        yield {n: None}
        os.unlink(self.path(n))

    def rename(self):
        n, m = self.rng.choice(sorted(self.now)), self.rng.randrange(IDS)
        yield {n: None, m: self.now[n]}
        os.rename(self.path(n), self.path(m))

    def batch(self):
        made = {n: vector(self.rng) for n in self.rng.sample(range(IDS), 20)}
        removed = sorted(self.now.keys() - made.keys())[:10]
        tx = f'{self.collection}/.vecfs/tx/b{self.number}'
        os.mkdir(tx)
        with open(f'{tx}/.vecfs/ids', 'w') as f:
            f.writelines(f'w{self.number}-{n}\n' for n in made)
        with open(f'{tx}/.vecfs/vectors.f32', 'wb') as f:
            f.write(b''.join(v.tobytes() for v in made.values()))
        with open(f'{tx}/.vecfs/delete', 'w') as f:
            f.writelines(f'w{self.number}-{n}\n' for n in removed)
        yield {**made, **dict.fromkeys(removed)}
        os.rename(tx, f'{self.collection}/.vecfs/commit/b{self.number}')

    def change(self, do, *args):
        steps = do(*args)
        change = next(steps)
        self.log.append(change)
        self.tell(change)
        next(steps, None)
        self.done = len(self.log)
        self.tell(None)
        apply(self.now, change)
        self.counts[do.__name__] = self.counts.get(do.__name__, 0) + 1

    def run(self, end):
        kinds = [self.put] * 8 + [self.remove] * 4 + [self.rename] * 3 + [self.batch]
        for kind in (self.batch, self.put, self.remove, self.rename):
            self.change(kind)
        while time.monotonic() < end:
            self.change(self.rng.choice(kinds if self.now else [self.put]))
        print('writer', self.number, self.counts, flush=True)


def apply(state, change):
    for n, v in change.items():
        if v is None:
            state.pop(n, None)
    for n, v in change.items():
        if v is not None:
            state[n] = v


def distances(state, query):
    ids = list(state)
    if not ids:
        return {}
    rows = np.stack([state[n] for n in ids])
    return dict(zip(ids, np.sqrt(((rows - query) ** 2).sum(1, dtype='<f4')).tolist()))


def agrees(found, hits, last):
    """Of a writer: the distances of what it had, and its hits; last: the distance up to which they are all told."""
    return (all(found.get(n) == d for n, d in hits.items())
            and all(n in hits for n, d in found.items() if d < last))


class Searcher:
    def __init__(self, args, number, writers, pivots):
        self.control, self.number, self.args = f'{args.collection}/.vecfs', number, args
        self.rng = random.Random(args.seed * 100 + 50 + number)
        self.writers, self.pivots = writers, pivots
        self.states, self.at, self.counts = [{} for _ in writers], [0] * len(writers), {}
        self.session = f'{self.control}/search/s{number}'
        self.several = 0  # answers for which there was more than one state to choose from

    def prepare(self):
        os.mkdir(self.session)
        with open(f'{self.session}/params', 'w') as f:
            f.write(f'k=10\nview={self.args.views[0]}\nrerank={ALL}\n')
        self.query_fd = os.open(f'{self.control}/search/query', os.O_RDWR)

    def hits(self, text):
        lines = (line.split('\t') for line in text.splitlines() if not line.startswith('#'))
        return [(id, float(np.float32(d))) for _, d, id in lines]

    def near(self, options, k):
        n = self.rng.randrange(PIVOTS)
        with open(f'{self.control}/near@{options},k={k}/p{n}') as f:
            return self.pivots[n], f'p{n}', k, self.hits(f.read())

    def sq8(self):
        return self.near('view=sq8', 10)

    def view(self):
        return self.near(f'view={self.rng.choice(self.args.views)},rerank={ALL}', 10)

    def sq8_every_row(self):
        return self.near('view=sq8', 5000)

    def view_every_row(self):
        return self.near(f'view={self.rng.choice(self.args.views)},rerank={ALL}', 5000)

    def in_process(self):
        v = vector(self.rng)
        view = self.rng.choice([[], ['--view', self.rng.choice(self.args.views), '--rerank', str(ALL)]])
        found = subprocess.run([os.environ['VECFS_BIN'], 'search', self.args.collection, '-', *view], input=v.tobytes(),
                               stdout=subprocess.PIPE, check=True).stdout
        return v, None, 10, self.hits(found.decode())

    def query(self):
        v, text = vector(self.rng), b''
        os.write(self.query_fd, v.tobytes())
        while part := os.read(self.query_fd, 1 << 16):
            text += part
        return v, None, 10, self.hits(text.decode())

    def in_session(self):
        v = vector(self.rng)
        np.save(f'{self.session}/queries.npy', v[None])
        with open(f'{self.session}/names') as f:
            names = f.read().rstrip('\n').split('\t')
        return v, None, 10, list(zip(names, np.load(f'{self.session}/distances.npy')[0].tolist()))

    def check(self, query, own, k, hits, begun):
        """What the writers had is at `self.at`, then, and not later than at `begun`."""
        assert len(hits) == len({id for id, _ in hits}), f'an id twice: {hits}'
        assert len(hits) <= k and hits == sorted(hits, key=lambda hit: hit[1]), hits
        last = hits[-1][1] if len(hits) == k else float('inf')
        of = [{} for _ in self.writers]
        of_pivots = {}
        for id, d in hits:
            if id.startswith('p'):
                of_pivots[int(id[1:])] = d
            else:
                w, n = id[1:].split('-')
                of[int(w)][int(n)] = d
        others = {n: v for n, v in enumerate(self.pivots) if f'p{n}' != own}
        assert agrees(distances(others, query), of_pivots, last), ('pivots', of_pivots, last)
        for w, writer in enumerate(self.writers):
            state, states = dict(self.states[w]), [distances(self.states[w], query)]
            for change in writer.log[self.at[w]:begun[w]]:
                apply(state, change)
                states.append(distances(state, query))
            fits = [agrees(found, of[w], last) for found in states]
            assert any(fits), f'no state of writer {w} has {of[w]} up to {last}: {states}'
            self.several += len(fits) > 1

    def ask(self, do):
        for w, writer in enumerate(self.writers):
            writer.look()
            done = writer.done
            for change in writer.log[self.at[w]:done]:
                apply(self.states[w], change)
            self.at[w] = done
        answer = do()
        for writer in self.writers:
            writer.look()
        self.check(*answer, [len(writer.log) for writer in self.writers])
        self.counts[do.__name__] = self.counts.get(do.__name__, 0) + 1

    def run(self, end):
        kinds = [self.sq8, self.view, self.sq8_every_row, self.view_every_row, self.query, self.in_session]
        kinds += [self.in_process] if self.args.processes else []
        self.prepare()
        for kind in kinds:
            self.ask(kind)
        while time.monotonic() < end:
            self.ask(self.rng.choice(kinds))
        os.close(self.query_fd)
        os.rmdir(self.session)
        print('searcher', self.number, self.counts, self.several, 'beside changes', flush=True)


def check_stored(args, writers, pivots):
    """In the end the collection is what the model is."""
    with open(f'{args.collection}/.vecfs/ids') as f:
        ids = f.read().split('\n')[:-1]
    rows = np.load(f'{args.collection}/.vecfs/vectors.npy')
    want = {f'p{n}': v for n, v in enumerate(pivots)}
    want.update({f'w{w.number}-{n}': v for w in writers for n, v in w.now.items()})
    assert sorted(ids) == sorted(want), set(ids) ^ set(want)
    assert all((want[id] == row).all() for id, row in zip(ids, rows))


def fill(args, writers):
    """What the views are trained with, and the pivots, which stay and are asked with."""
    rng = random.Random(args.seed)
    pivots = [vector(rng) for _ in range(PIVOTS)]
    for n, v in enumerate(pivots):
        with open(f'{args.collection}/p{n}', 'wb') as f:
            f.write(v.tobytes())
    for writer in writers:
        for n in range(IDS):
            writer.change(writer.put, n)
    for view in {'sq8', *args.views}:
        path = f'{args.collection}/.vecfs/views/{view}'
        os.mkdir(path)
        while open(f'{path}/.vecfs/state').read() != 'ready\n':
            time.sleep(.05)
    return pivots


def main():
    p = argparse.ArgumentParser()
    p.add_argument('collection')
    p.add_argument('--writers', type=int, default=3)
    p.add_argument('--searchers', type=int, default=3)
    p.add_argument('--seconds', type=float, default=4)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--views', nargs='+', default=['opq8x4'])
    p.add_argument('--processes', action='store_true')
    args = p.parse_args()
    writers = [Writer(args, n) for n in range(args.writers)]
    pivots = fill(args, writers)
    searchers = [Searcher(args, n, writers, pivots) for n in range(args.searchers)]
    end, failed = time.monotonic() + args.seconds, []
    pids = [writer.fork(end) for writer in writers] if args.processes else []
    works = searchers if args.processes else writers + searchers

    def run(work):
        try:
            work.run(end)
        except BaseException:
            traceback.print_exc()
            failed.append(work)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    failed += [pid for pid in pids if os.waitpid(pid, 0)[1]]
    if not failed:
        for writer in writers:
            writer.look()
        check_stored(args, writers, pivots)
        assert sum(searcher.several for searcher in searchers) > 0, 'nothing has changed beside any search'
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
