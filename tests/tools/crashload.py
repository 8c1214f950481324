# SPDX-License-Identifier: Apache-2.0
"""A load that knows what must survive a crash.

    crashload.py run COLLECTION JOURNAL [options]     changes vectors until the daemon is gone
    crashload.py verify COLLECTION JOURNAL            after a remount: compares with what the run promised

Each writer has ids of its own and does one change after the other, each of which gets a number. What it has
acknowledged, and what it has made durable, goes into the journal. After the crash, each writer's vectors must be what
its first k changes made them, for one k: not below the last durable change, not above the last one that was tried.
Readers check that all they read are whole vectors. SIGTERM ends a run, too.
"""
import argparse
import errno
import os
import pickle
import random
import signal
import sys
import time

import whole

BROKEN = (errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # what ends a fragile load
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED)  # the last from io_uring


def is_gone(error, collection):
    """Whether an error means that the daemon was killed. EIO does, too, if it died in the middle of copying a reply:
    then nobody answers any more."""
    if error.errno in GONE:
        return True
    for _ in range(40 if error.errno == errno.EIO else 0):
        try:
            os.stat(f'{collection}/.vecfs/stats')
        except OSError as e:
            if e.errno in GONE:
                return True
        time.sleep(0.05)
    return False


def ends(error, args):
    """Whether an error means that it is over: the change that met it may be there or not."""
    errors = (error.errno, getattr(error.__context__, 'errno', None))  # a close that fails hides what failed before
    return args.fragile and any(e in BROKEN for e in errors) or is_gone(error, args.collection)


def seen(collection, dim):
    """The vectors of a collection: {id: (owner, version, patch)}."""
    state = {}
    for name in os.listdir(collection):
        with open(f'{collection}/{name}', 'rb') as f:
            data = f.read()
        state[name] = whole.parse(data, dim)
        assert state[name], f'{name}: not a whole vector: {data[:16].hex()}, {len(data)} bytes'
    return state


def apply(state, change):
    """One change of the model: {id: vector or None}; or ('rename', from, to)."""
    if isinstance(change, tuple):
        _, old, new = change
        if old != new:
            state[new] = state.pop(old)
        return (old, new)
    for name, vector in change.items():
        if vector is None:
            state.pop(name, None)
        else:
            state[name] = vector
    return tuple(change)


class Writer:
    def __init__(self, args, number, before):
        self.args, self.number = args, number
        self.rng = random.Random(args.seed * 1000 + number)
        self.dir, self.dim = args.collection, args.dim
        self.prefix = f'w{number}-'
        self.state = {n: v for n, v in before.items() if n.startswith(self.prefix)}
        self.base = dict(self.state)
        self.version = max([v[1] for v in self.state.values()], default=0) + 1000
        self.changes, self.durable = [], 0
        self.acknowledged = 0

    def path(self, name):
        return f'{self.dir}/{name}'

    def any_id(self):
        return f'{self.prefix}{self.rng.randrange(self.args.ids)}'

    def next(self):
        self.version += 1
        return (self.number, self.version, 0)

    def try_(self, change):
        self.changes.append(change)

    def done(self):
        apply(self.state, self.changes[-1])
        self.acknowledged = len(self.changes)

    def is_durable(self):
        self.durable = self.acknowledged

    def put(self):
        name, vector = self.any_id(), self.next()
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if self.rng.random() < .5 else 0)
        data = whole.make(*vector, self.dim)
        half = self.rng.choice((0, 0, 0, len(data) // 2))
        self.try_({name: vector})
        fd = os.open(self.path(name), flags, 0o644)
        try:
            if half:
                os.write(fd, data[:half])
            os.write(fd, data[half:])
            sync = self.rng.random() < self.args.sync
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        self.done()
        if sync:
            self.is_durable()

    def patch(self):
        if not self.state:
            return
        name = self.rng.choice(sorted(self.state))
        owner, version, patch = self.state[name]
        self.try_({name: (owner, version, patch + 1)})
        fd = os.open(self.path(name), os.O_WRONLY)
        try:
            os.pwrite(fd, (patch + 1).to_bytes(4, 'little'), whole.PATCH_AT)
        finally:
            os.close(fd)
        self.done()

    def remove(self):
        name = self.any_id()
        if name in self.state:
            self.try_({name: None})
            os.unlink(self.path(name))
            self.done()

    def rename(self):
        if not self.state:
            return
        old, new = self.rng.choice(sorted(self.state)), self.any_id()
        self.try_(('rename', old, new))
        os.rename(self.path(old), self.path(new))
        self.done()

    def sync(self):
        fd = os.open(self.dir, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self.is_durable()

    def batch(self):
        if self.rng.random() > self.args.batches:
            return
        tx = f'{self.dir}/.vecfs/tx/w{self.number}'
        self.drop_batch(tx)
        os.mkdir(tx)
        change = {}
        for _ in range(self.rng.randrange(1, 20)):
            change[self.any_id()] = self.next()
        names = sorted(change)
        doomed = [n for n in sorted(self.state) if n not in change][:3]
        files = names[:len(names) // 2]
        rows = names[len(names) // 2:]
        for name in files:
            with open(f'{tx}/{name}', 'wb') as f:
                f.write(whole.make(*change[name], self.dim))
        with open(f'{tx}/.vecfs/ids', 'w') as f:
            f.writelines(n + '\n' for n in rows)
        with open(f'{tx}/.vecfs/vectors.f32', 'wb') as f:
            for n in rows:
                f.write(whole.make(*change[n], self.dim))
        if doomed:
            with open(f'{tx}/.vecfs/delete', 'w') as f:
                f.writelines(n + '\n' for n in doomed)
        change.update({n: None for n in doomed})
        self.try_(change)
        os.rename(tx, f'{self.dir}/.vecfs/commit/w{self.number}')
        self.done()
        self.is_durable()

    def drop_batch(self, tx):
        try:
            os.rmdir(tx)
        except FileNotFoundError:
            pass

    def step(self):
        kinds = [self.put] * 10 + [self.patch] * 3 + [self.remove] * 3 + [self.rename] * 2 + [self.sync, self.batch]
        self.rng.choice(kinds)()

    def run(self):
        while not stopping:
            try:
                self.step()
            except OSError as e:
                if ends(e, self.args):
                    break
                raise
        return dict(number=self.number, base=self.base, changes=self.changes, acknowledged=self.acknowledged,
                    durable=self.durable)


def read_on(args, number):
    """Reads at random until the daemon is gone; each vector must be whole."""
    rng = random.Random(args.seed * 1000 + 500 + number)
    reads = 0
    while not stopping:
        name = f'w{rng.randrange(args.writers)}-{rng.randrange(args.ids)}'
        try:
            with open(f'{args.collection}/{name}', 'rb') as f:
                data = f.read()
        except FileNotFoundError:
            continue
        except OSError as e:
            if ends(e, args):
                break
            raise
        assert whole.parse(data, args.dim), f'{name}: read what nobody wrote: {data[:16].hex()}'
        reads += 1
    return dict(reads=reads)


stopping = False


def stop(*_):
    global stopping
    stopping = True


def child(work, path):
    signal.signal(signal.SIGTERM, stop)
    result = work()
    with open(path, 'wb') as f:
        pickle.dump(result, f)


def run(args):
    pids = {}
    before = seen(args.collection, args.dim)
    jobs = [(lambda n=n: Writer(args, n, before).run(), f'{args.journal}.w{n}') for n in range(args.writers)]
    jobs += [(lambda n=n: read_on(args, n), f'{args.journal}.r{n}') for n in range(args.readers)]
    for work, path in jobs:
        if os.path.exists(path):
            os.unlink(path)
    for work, path in jobs:
        pid = os.fork()
        if pid == 0:
            try:
                child(work, path)
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        pids[pid] = path

    def pass_on(*_):
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
    signal.signal(signal.SIGTERM, pass_on)
    print('running', flush=True)
    failed = 0
    while pids:
        pid, status = os.wait()
        failed += status != 0
        del pids[pid]
    return failed


def verify_writer(found, journal):
    """Finds k; the differences between model and store are counted, not looked for again at each step."""
    state = dict(journal['base'])
    prefix = f"w{journal['number']}-"
    found = {n: v for n, v in found.items() if n.startswith(prefix)}
    names = set(state) | set(found)
    wrong = {n for n in names if state.get(n) != found.get(n)}
    fits = []
    for k in range(len(journal['changes']) + 1):
        if k > 0:
            for name in apply(state, journal['changes'][k - 1]):
                (wrong.discard if state.get(name) == found.get(name) else wrong.add)(name)
        if k == journal['durable']:
            at_durable = {n: (state.get(n), found.get(n)) for n in sorted(wrong)}
        if not wrong and k >= journal['durable']:
            fits.append(k)
    assert fits, (f"writer {journal['number']}: the store holds no prefix of the {len(journal['changes'])} changes "
                  f"(acknowledged {journal['acknowledged']}, durable {journal['durable']}); where durable, these differ "
                  f"(model, store): {dict(list(at_durable.items())[:5])}")
    return fits[-1]


def verify(args):
    found = seen(args.collection, args.dim)
    changes = durable = kept = 0
    for n in range(args.writers):
        with open(f'{args.journal}.w{n}', 'rb') as f:
            journal = pickle.load(f)
        k = verify_writer(found, journal)
        changes += len(journal['changes'])
        durable += journal['durable']
        kept += k
    reads = 0
    for n in range(args.readers):
        with open(f'{args.journal}.r{n}', 'rb') as f:
            reads += pickle.load(f)['reads']
    others = [n for n in found if not any(n.startswith(f'w{w}-') for w in range(args.writers))]
    assert not others, f'nobody wrote {others[:5]}'
    print(f'{len(found)} vectors, {changes} changes, of which durable {durable} and kept {kept}; {reads} reads')
    return 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument('command', choices=('run', 'verify'))
    p.add_argument('collection')
    p.add_argument('journal')
    p.add_argument('--writers', type=int, default=2)
    p.add_argument('--readers', type=int, default=1)
    p.add_argument('--ids', type=int, default=200, help='for each writer')
    p.add_argument('--dim', type=int, default=768)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--sync', type=float, default=.05, help='the part of the puts that is fsynced')
    p.add_argument('--batches', type=float, default=1., help='the part of the batches that is not left out')
    p.add_argument('--fragile', action='store_true', help='end at the first EIO, EROFS, ENOSPC or EDQUOT, too')
    args = p.parse_args()
    return run(args) if args.command == 'run' else verify(args)


if __name__ == '__main__':
    sys.exit(main())
