# SPDX-License-Identifier: Apache-2.0
"""The load and the judge of powerloss.py: writers that log what they do, and what a power cut may leave of it.

Each writer changes ids of its own, one change after the other, and logs to a file outside of the disk that loses
power: a change when it is started, when it is acknowledged, and each sync that returned, with its two times. A cut is
known by the times before and after it. What the disk then holds must be, for each writer, what its first k changes
make (`Verdict`), where k is

- at least the last change acknowledged before a sync began, of whatever writer, that returned before the cut; and at
  least the last batch, msync, or fsync ahead of the close, that returned before the cut;
- at most the last change that was started before the cut ended;
- such that a change that survived has all those with it that were acknowledged before it was started.
"""
import bisect
import ctypes
import hashlib
import json
import mmap
import os
import pickle
import random
import signal
import struct
import time
import zlib

HEAD = struct.Struct('<IIII')   # owner, version, the name it was born under (CRC-32), checksum of the body
PATCH = struct.Struct('<II24s')  # what a partial write changes: a number of its own, the version, a digest
SHARED = ('a', 'b')             # the collections of all
HOT = 'hot-'                    # ids of all


# ---------------------------------------------------------------------- vectors

def born(collection, name):
    return zlib.crc32(f'{collection}/{name}'.encode())


def patch_at(version, dim):
    room = dim - (HEAD.size + PATCH.size) // 4 + 1
    return HEAD.size + 4 * (version * 2654435761 % room)


def patch_bytes(owner, version, patch):
    digest = hashlib.blake2b(b'%d.%d.%d' % (owner, version, patch), digest_size=24).digest()
    return PATCH.pack(patch, version, digest)


def make(owner, version, patch, birth, dim):
    """All bytes follow from these numbers, so that no part of another vector can be taken for a part of this one."""
    body = hashlib.shake_128(b'%d.%d.%d' % (owner, version, birth)).digest(4 * dim - HEAD.size - PATCH.size)
    at = patch_at(version, dim) - HEAD.size
    return b''.join((HEAD.pack(owner, version, birth, zlib.crc32(body)), body[:at],
                     patch_bytes(owner, version, patch), body[at:]))


def parse(data, dim):
    """(owner, version, patch, birth), or None if it is not one whole vector."""
    if len(data) != 4 * dim:
        return None
    owner, version, birth, _ = HEAD.unpack_from(data)
    patch = PATCH.unpack_from(data, patch_at(version, dim))[0]
    return (owner, version, patch, birth) if data == make(owner, version, patch, birth, dim) else None


# ---------------------------------------------------------------------- the model

# State: {(collection, id): (owner, version, patch, birth, mode, mtime_ns)}, None where not known;
# {(collection, ''): True} for a collection.

def is_same(model, found):
    if model is None or found is None or model is True or found is True:
        return model is found
    return model[:4] == found[:4] and model[4] in (None, found[4]) and model[5] in (None, found[5])


def apply(state, op, owner):
    """Does one change to the state; the keys that it may have touched."""
    kind = op[0]
    if kind == 'put':
        key = (op[1], op[2])
        old = state.get(key)
        state[key] = (owner, op[3], 0, born(*key), old[4] if old else 0o644, None)
        return (key,)
    if kind == 'patch':
        key = (op[1], op[2])
        old = state[key]
        state[key] = old[:2] + (op[3],) + old[3:5] + (None,)
        return (key,)
    if kind == 'rename':
        old, new = (op[1], op[2]), (op[3], op[4])
        state[new] = state.pop(old)
        return (old, new)
    if kind == 'remove':
        key = (op[1], op[2])
        del state[key]
        return (key,)
    if kind in ('chmod', 'utime'):
        key = (op[1], op[2])
        old = state[key]
        state[key] = old[:4] + ((op[3], old[5]) if kind == 'chmod' else (old[4], op[3]))
        return (key,)
    if kind == 'batch':
        _, collection, rows, doomed, prefix, first, count, version = op
        rows = rows + [[f'{prefix}{first + i}', version + i] for i in range(count)]
        keys = [(collection, name) for name in doomed]
        for key in keys:
            state.pop(key, None)
        for name, version in rows:
            key = (collection, name)
            state[key] = (owner, version, 0, born(*key), None, None)
            keys.append(key)
        return keys
    if kind == 'mkcol':
        state[(op[1], '')] = True
        return ((op[1], ''),)
    if kind == 'rmcol':
        del state[(op[1], '')]
        return ((op[1], ''),)
    if kind == 'mvcol':
        keys = [key for key in state if key[0] == op[1]]
        for key in keys:
            state[(op[2], key[1])] = state.pop(key)
        return keys + [(op[2], key[1]) for key in keys]
    assert kind in ('hot', 'none'), op
    return ()


def owner_of(key):
    """The writer whose key this is; None for what belongs to all."""
    word = key[0] if key[0] not in SHARED else key[1]
    return int(word[1:].split('-')[0]) if word.startswith('w') else None


def split(state, writers):
    """The state, writer by writer, and the rest."""
    parts, rest = [{} for _ in range(writers)], {}
    for key, value in state.items():
        owner = owner_of(key)
        (rest if owner is None else parts[owner])[key] = value
    return parts, rest


# ---------------------------------------------------------------------- writers

class Writer:
    def __init__(self, mnt, log, number, seed, dim, version, state, sync, bulk, quiet):
        self.mnt, self.number, self.dim, self.state, self.bulk = mnt, number, dim, state, bulk
        self.rng = random.Random(seed * 1009 + number)
        self.version = version
        self.sync_part, self.quiet = sync, quiet
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.n = 0
        self.prefix = f'w{number}-'
        self.stopping = False

    # The log: a line is written in one piece, before what follows it begins.
    def begin(self, *op):
        self.n += 1
        self.op = op
        os.write(self.log, b'["S",%d,%d,%s]\n' % (self.n, time.monotonic_ns(), json.dumps(op).encode()))

    def acknowledged(self):
        os.write(self.log, b'["A",%d,%d]\n' % (self.n, time.monotonic_ns()))
        apply(self.state, self.op, self.number)

    def synced(self, since):
        """A sync has returned that began at this time: all that was acknowledged by then is durable."""
        os.write(self.log, b'["F",%d,%d]\n' % (since, time.monotonic_ns()))

    def durable(self):
        """The last change was durable when it was acknowledged."""
        os.write(self.log, b'["D",%d,%d]\n' % (self.n, time.monotonic_ns()))

    def path(self, collection, name):
        return f'{self.mnt}/{collection}/{name}'

    def next(self):
        self.version += 1
        return self.version

    def own(self):
        return sorted({c for c, n in self.state if n == ''})

    def collection(self):
        return self.rng.choice(('a', 'a', 'a', 'b', *self.own()))

    def id(self):
        return f'{self.prefix}{self.rng.randrange(150)}'

    def any(self):
        """Some vector that there is."""
        keys = [key for key in self.state if key[1]]
        return self.rng.choice(keys) if keys else None

    # Each of these is one or more changes.
    def put(self):
        collection, name, version = self.collection(), self.id(), self.next()
        data = make(self.number, version, 0, born(collection, name), self.dim)
        cuts = sorted(self.rng.sample(range(1, len(data)), self.rng.choice((0, 0, 0, 1, 3))))
        truncate = os.O_TRUNC if self.rng.random() < .5 else 0
        sync = self.rng.choice((os.fsync, os.fdatasync)) if self.rng.random() < self.sync_part else None
        late = self.rng.random() < .5
        self.begin('put', collection, name, version)
        fd = os.open(self.path(collection, name), os.O_WRONLY | os.O_CREAT | truncate, 0o644)
        try:
            for start, end in zip([0] + cuts, cuts + [len(data)]):
                os.write(fd, data[start:end])
            if sync and not late:
                since = time.monotonic_ns()
                sync(fd)
        finally:
            os.close(fd)
        self.acknowledged()
        if sync and late:
            fd = os.open(self.path(collection, name), os.O_RDONLY)
            since = time.monotonic_ns()
            sync(fd)
            os.close(fd)
            self.synced(since)
        elif sync: # this one, too: it was whole when it was synced
            self.synced(since)
            self.durable()

    def patch(self):
        key = self.any()
        if not key:
            return
        owner, version = self.state[key][:2]
        patch = self.next()
        self.begin('patch', *key, patch)
        fd = os.open(self.path(*key), os.O_WRONLY)
        os.pwrite(fd, patch_bytes(owner, version, patch), patch_at(version, self.dim))
        os.close(fd)
        self.acknowledged()

    def map(self):
        key = self.any()
        if not key:
            return
        owner, version = self.state[key][:2]
        patch, at = self.next(), patch_at(version, self.dim)
        self.begin('patch', *key, patch)
        fd = os.open(self.path(*key), os.O_RDWR)
        with mmap.mmap(fd, 4 * self.dim) as m:
            m[at:at + PATCH.size] = patch_bytes(owner, version, patch)
            m.flush()
        os.close(fd)
        self.acknowledged()
        self.durable()

    def remove(self):
        key = self.any()
        if key:
            self.begin('remove', *key)
            os.unlink(self.path(*key))
            self.acknowledged()

    def rename(self):
        old = self.any()
        new = (old[0] if old and self.rng.random() < .7 else self.collection(), self.id())
        if old and old != new:
            self.begin('rename', *old, *new)
            os.rename(self.path(*old), self.path(*new))
            self.acknowledged()

    def chmod(self):
        key = self.any()
        if key:
            mode = 0o400 | self.rng.randrange(0o400)
            self.begin('chmod', *key, mode)
            os.chmod(self.path(*key), mode)
            self.acknowledged()

    def utime(self):
        key = self.any()
        if key:
            ns = self.rng.randrange(1 << 60)
            self.begin('utime', *key, ns)
            os.utime(self.path(*key), ns=(ns, ns))
            self.acknowledged()

    def hot(self):
        name, version = f'{HOT}{self.rng.randrange(8)}', self.next()
        data = make(self.number, version, 0, born('a', name), self.dim)
        self.begin('hot', name, version)
        fd = os.open(self.path('a', name), os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, data)
        os.close(fd)
        self.acknowledged()

    def make_collection(self):
        own = self.own()
        name = f'{self.prefix}c{self.rng.randrange(4)}'
        if name not in own:
            self.begin('mkcol', name)
            os.mkdir(f'{self.mnt}/{name}')
            self.acknowledged()

    def remove_collection(self):
        for name in self.own():
            if not any(c == name and n for c, n in self.state):
                self.begin('rmcol', name)
                os.rmdir(f'{self.mnt}/{name}')
                self.acknowledged()
                return

    def move_collection(self):
        own = self.own()
        new = f'{self.prefix}c{self.rng.randrange(4)}'
        if own and new not in own:
            old = self.rng.choice(own)
            self.begin('mvcol', old, new)
            os.rename(f'{self.mnt}/{old}', f'{self.mnt}/{new}')
            self.acknowledged()

    def abandon(self):
        """Half a vector leaves no trace."""
        path = self.path(self.rng.choice(SHARED), self.id()) # others may not have a dim yet
        self.begin('none')
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, b'x' * (2 * self.dim))
        try:
            os.close(fd)
        except OSError:
            pass
        else:
            raise AssertionError('an incomplete vector was not refused')
        self.acknowledged()

    def batch(self, large=False):
        collection = self.rng.choice(SHARED)
        tx = f'{self.mnt}/{collection}/.vecfs/tx/w{self.number}'
        rows, first, count = [], 0, 0
        for _ in range(self.rng.randrange(0, 12)):
            name = self.id()
            if name not in [n for n, _ in rows]:
                rows.append([name, self.next()])
        names = {n for n, _ in rows}
        big = f'{self.prefix}big'
        if large:
            first, count = self.rng.randrange(100), self.rng.randrange(self.bulk // 3, self.bulk)
        elif self.rng.random() < .6:
            first, count = self.rng.randrange(100), self.rng.randrange(1, 20)
        version = self.version + 1
        self.version += count
        here = [n for c, n in self.state if c == collection and n not in names]
        doomed = [n for n in self.rng.sample(here, min(len(here), self.rng.choice((0, 0, 3, 30))))
                  if not (n.startswith(big) and first <= int(n[len(big):]) < first + count)]
        if not rows and not count:
            return
        os.mkdir(tx)
        for name, v in rows:
            with open(f'{tx}/{name}', 'wb') as f:
                f.write(make(self.number, v, 0, born(collection, name), self.dim))
        if count:
            with open(f'{tx}/.vecfs/ids', 'w') as f:
                f.writelines(f'{big}{first + i}\n' for i in range(count))
            with open(f'{tx}/.vecfs/vectors.f32', 'wb') as f:
                for i in range(count):
                    f.write(make(self.number, version + i, 0, born(collection, f'{big}{first + i}'), self.dim))
        if doomed:
            with open(f'{tx}/.vecfs/delete', 'w') as f:
                f.writelines(n + '\n' for n in doomed)
        if self.rng.random() < .1: # changed our mind
            self.begin('none')
            for name, _ in rows:
                os.unlink(f'{tx}/{name}')
            os.rmdir(tx)
            self.acknowledged()
            return
        since = time.monotonic_ns()
        self.begin('batch', collection, rows, doomed, big, first, count, version)
        os.rename(tx, f'{self.mnt}/{collection}/.vecfs/commit/w{self.number}')
        self.acknowledged()
        self.synced(since)
        self.durable()

    def bulk_batch(self):
        if self.bulk:
            self.batch(large=True)

    def sync(self):
        if self.rng.random() > 5 * self.sync_part:
            return
        fd = os.open(f'{self.mnt}/{self.rng.choice(("", *SHARED, *self.own()))}', os.O_RDONLY)
        since = time.monotonic_ns()
        os.fsync(fd)
        os.close(fd)
        self.synced(since)

    def run(self):
        often = [self.put] * 30 + [self.patch] * 8 + [self.remove] * 9 + [self.rename] * 7 + [self.hot] * 3
        seldom = [self.map, self.chmod, self.utime, self.make_collection, self.remove_collection, self.move_collection,
                  self.abandon, self.batch, self.sync, self.sync]
        while not self.stopping:
            # Sometimes nothing is synced for a while.
            for _ in range(self.rng.choice((20, 200, 600))):
                if self.quiet: # long stretches that nothing makes durable
                    kinds = often + seldom[1:7] if self.rng.random() < .9995 else seldom
                else:
                    kinds = often + seldom[1:7] if self.rng.random() < .97 else seldom
                self.rng.choice(kinds)()
                if self.stopping:
                    return
            if self.rng.random() < (.1 if self.quiet else .5):
                self.bulk_batch()


def agitate(store, seed):
    """Writes dirty pages of the store back in an order of its own, as the kernel is free to do."""
    rng = random.Random(seed)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    while True:
        time.sleep(rng.choice((.001, .005, .03)))
        files = [os.path.join(d, f) for d, _, names in os.walk(store) for f in names]
        for path in rng.sample(files, min(len(files), rng.randrange(1, 6))):
            try:
                fd = os.open(path, os.O_RDONLY)
            except OSError:
                continue
            size = os.fstat(fd).st_size
            if rng.random() < .1:
                os.fsync(fd)
            else:
                libc.sync_file_range(fd, rng.randrange(size + 1) & -4096, rng.choice((4096, 65536, 1 << 24)), 7)
            os.close(fd)
        if rng.random() < .02:
            fd = os.open(store, os.O_RDONLY)
            libc.syncfs(fd)
            os.close(fd)


def fork(work):
    """A child that ends with us."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def start_writer(**options):
    def work():
        writer = Writer(**options)

        def stop(*_):
            writer.stopping = True
        signal.signal(signal.SIGTERM, stop)
        writer.run()
    return fork(work)


# ---------------------------------------------------------------------- the judge

class History:
    """What a writer's log says."""

    def __init__(self, path):
        self.ops, self.started, self.acked, self.syncs, self.durable = [], [], [], [], []
        with open(path, 'rb') as f:
            for line in f:
                if not line.endswith(b'\n'):
                    break
                what, *rest = json.loads(line)
                if what == 'S':
                    assert rest[0] == len(self.ops) + 1
                    self.started.append(rest[1])
                    self.ops.append(rest[2])
                elif what == 'A':
                    assert rest[0] == len(self.acked) + 1 == len(self.ops)
                    self.acked.append(rest[1])
                elif what == 'F':
                    self.syncs.append(rest)
                else:
                    self.durable.append(rest)
        self.hot = {(op[1], op[2]): i for i, op in enumerate(self.ops) if op[0] == 'hot'}

    def acked_before(self, t):
        """How many changes were surely done at this time."""
        return bisect.bisect_left(self.acked, t)

    def started_before(self, t):
        return bisect.bisect_right(self.started, t)


class Verdict:
    """Compares what was found with what may be there after a cut between the times before and after."""

    def __init__(self, histories, base, before, after, volatile_ns=None):
        self.histories, self.before, self.after = histories, before, after
        self.base, self.base_rest = base
        syncs = [since for h in histories for since, done in h.syncs if done < before]
        since = max(syncs, default=0)
        if volatile_ns is not None: # what the passing of time has made durable
            since = max(since, before - volatile_ns)
        self.least = [max(h.acked_before(since), max((n for n, t in h.durable if t < before), default=0))
                      for h in histories]
        self.most = [h.started_before(after) for h in histories]
        self.durable = sum(self.least)

    def judge(self, found):
        parts, rest = split(found, len(self.histories))
        fits, wrong = zip(*(self.prefixes(n, part) for n, part in enumerate(parts)))
        least = list(self.least)
        for key, value in rest.items():
            self.hot_bound(key, value, least)
        kept = self.consistent(fits, wrong, least)
        self.hot_order(rest, kept)
        self.kept = sum(kept)
        acked = [h.acked_before(self.before) for h in self.histories]
        self.lost = sum(max(0, a - k) for a, k in zip(acked, kept))
        self.acknowledged = sum(acked)

    def prefixes(self, n, found):
        """All k for which the writer's first k changes make what was found."""
        h, state, fits = self.histories[n], dict(self.base[n]), []
        wrong = {key for key in set(state) | set(found) if not is_same(state.get(key), found.get(key))}
        at_least = None
        for k in range(self.most[n] + 1):
            if k:
                for key in apply(state, h.ops[k - 1], n):
                    (wrong.discard if is_same(state.get(key), found.get(key)) else wrong.add)(key)
            if not wrong:
                fits.append(k)
            if k == self.least[n]:
                at_least = [(key, state.get(key), found.get(key)) for key in sorted(wrong)[:8]], len(wrong)
        return fits, at_least

    def consistent(self, fits, wrong, least):
        """The smallest k of each writer so that all of them together are a prefix."""
        kept = [0] * len(fits)
        while True:
            for n, ks in enumerate(fits):
                at = bisect.bisect_left(ks, least[n])
                if at == len(ks):
                    raise AssertionError(
                        f'writer {n}: no prefix of its {self.most[n]} changes with at least {least[n]} of them '
                        f'(by syncs {self.least[n]}) makes what is there; these do: {ks[-5:]}. Where '
                        f'{self.least[n]} are done, {wrong[n][1]} differ (key, model, found): {wrong[n][0]}')
                kept[n] = ks[at]
            raised = False
            for v, k in enumerate(kept):
                if k == 0:
                    continue
                begun = self.histories[v].started[k - 1]
                for n, h in enumerate(self.histories):
                    bound = h.acked_before(begun)
                    if bound > max(least[n], kept[n]):
                        least[n] = bound
                        raised = True
            if not raised:
                return kept

    def hot_op(self, name, value):
        """(writer, index) of the change that put this value."""
        owner, version = value[0], value[1]
        assert owner < len(self.histories), value
        i = self.histories[owner].hot.get((name, version), self.most[owner])
        assert i < self.most[owner], f'{name}: nobody wrote {value} before the cut'
        return owner, i

    def hot_bound(self, key, value, least):
        if value is True:
            assert key in self.base_rest, f'collection {key[0]}: nobody made it'
            return
        assert key[0] == 'a' and key[1].startswith(HOT), f'{key}: nobody made it: {value}'
        assert value[2] == 0 and value[3] == born(*key), f'{key}: {value}'
        if is_same(self.base_rest.get(key), value):
            return
        owner, i = self.hot_op(key[1], value)
        least[owner] = max(least[owner], i + 1)

    def hot_order(self, rest, kept):
        """A hot id has a value that no surviving change has surely replaced."""
        for key in self.base_rest:
            assert key in rest, f'{key}: gone'
        for v, h in enumerate(self.histories):
            for i, op in enumerate(h.ops[:kept[v]]):
                if op[0] != 'hot':
                    continue
                value = rest.get(('a', op[1]))
                assert value, f'{op[1]}: gone, though writer {v} wrote it in change {i + 1}'
                if is_same(self.base_rest.get(('a', op[1])), value):
                    raise AssertionError(f'{op[1]}: {value} was replaced by change {i + 1} of writer {v}')
                owner, at = self.hot_op(op[1], value)
                acked = self.histories[owner].acked
                if (owner, at) != (v, i) and at < len(acked) and acked[at] < h.started[i]:
                    raise AssertionError(f'{op[1]}: {value} was replaced by change {i + 1} of writer {v}')


def look(mnt, dim):
    """What a mount holds, seen by a process of its own: what one looks at twice may be what it saw before."""
    r, w = os.pipe()

    def work():
        with open(w, 'wb') as out:
            try:
                result = look_around(mnt, dim)
            except (AssertionError, OSError) as e:
                result = str(e)
            pickle.dump(result, out)
    pid = fork(work)
    os.close(w)
    with open(r, 'rb') as f:
        data = f.read()
    os.waitpid(pid, 0)
    result = pickle.loads(data)
    assert isinstance(result, dict), result
    return result


def look_around(mnt, dim):
    """What a mount holds, read one by one and in bulk."""
    state = {}
    for collection in sorted(os.listdir(mnt)):
        state[(collection, '')] = True
        directory = f'{mnt}/{collection}'
        names = os.listdir(directory)
        raw = {}
        for name in names:
            fd = os.open(f'{directory}/{name}', os.O_RDONLY)
            try:
                data, stat = os.read(fd, 4 * dim + 1), os.fstat(fd)
            finally:
                os.close(fd)
            value = parse(data, dim)
            assert value, f'{collection}/{name}: not a whole vector: {len(data)} bytes, {data[:48].hex()}'
            assert stat.st_size == 4 * dim, f'{collection}/{name}: st_size {stat.st_size}'
            raw[name] = data
            state[(collection, name)] = value + (stat.st_mode & 0o7777, stat.st_mtime_ns)
        assert len(raw) == len(names), f'{collection}: an id is listed twice'
        with open(f'{directory}/.vecfs/ids') as f:
            ids = f.read().split('\n')[:-1]
        assert sorted(ids) == sorted(names), (
            f'{collection}: {len(ids)} ids and {len(names)} listed: only in ids {sorted(set(ids) - set(names))[:5]}, '
            f'only listed {sorted(set(names) - set(ids))[:5]}')
        with open(f'{directory}/.vecfs/stats') as f:
            count = [int(line.split('=')[1]) for line in f if line.startswith('vectors=')]
        assert count in ([], [len(names)]), f'{collection}: stats say {count}, there are {len(names)}'
        if names:
            with open(f'{directory}/.vecfs/vectors.f32', 'rb') as f:
                for row, name in enumerate(ids):
                    assert f.read(4 * dim) == raw[name], f'{collection}: row {row} of vectors.f32 is not {name}'
                assert not f.read(1), f'{collection}: vectors.f32 is too long'
    return state
