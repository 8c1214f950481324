# SPDX-License-Identifier: Apache-2.0
"""Damages copies of a store in every way, and looks at what `vecfs check`, a mount and `vecfs check --repair` make of it.

    damage.py flips VECFS STORE COUNT              single bits, COUNT bytes of each file (0: every byte)
    damage.py kinds VECFS STORE MODEL OPTIONS      files deleted, truncated, extended, overwritten, swapped

MODEL is a folder with the vectors that the store has, as COLLECTION/ID. The copies are made in the current directory.
"""
import errno
import os
import random
import shutil
import subprocess
import sys

LOST = errno.EIO, errno.ENOENT


def files_of(store):
    return sorted(os.path.relpath(os.path.join(root, name), store)
                  for root, _, names in os.walk(store) for name in names)


def check(vecfs, store, *options):
    r = subprocess.run([vecfs, 'check', *options, store], capture_output=True, text=True, errors='backslashreplace', timeout=30)
    return r.returncode, r.stdout + r.stderr


def flips(vecfs, store, count):
    rng = random.Random(1)
    tried = 0
    for name in files_of(store):
        path = f'{store}/{name}'
        data = open(path, 'rb').read()
        offsets = range(len(data))
        if count and len(data) > count:
            offsets = {0, 1, len(data) // 2, len(data) - 2, len(data) - 1} | set(rng.sample(offsets, count))
        with open(path, 'r+b') as f:
            for off in offsets:
                f.seek(off)
                f.write(bytes([data[off] ^ 1 << rng.randrange(8)]))
                f.flush()
                code, text = check(vecfs, store)
                assert code == 4, f'{name}: a flipped bit at {off} of {len(data)}: exit {code}: {text}'
                collection = name.split('/')[1] if name.startswith('collections/') else None
                named = os.path.basename(name) in text or any(w in text for w in ('/v', 'vector', 'row'))
                assert named if collection else name in text, f'{name}: {off}: not named: {text}'
                f.seek(off)
                f.write(data[off:off + 1])
                tried += 1
    code, text = check(vecfs, store)
    assert code == 0, text
    print(f'{tried} flipped bits, each found and named')


def load(model):
    return {(c, v): open(f'{model}/{c}/{v}', 'rb').read() for c in os.listdir(model) for v in os.listdir(f'{model}/{c}')}


def read_copy(vecfs, store, options):
    """The same of a copy of the store: a mount may recover it."""
    shutil.rmtree('second', ignore_errors=True)
    shutil.copytree(store, 'second')
    return read_mount(vecfs, 'second', options)


def read_mount(vecfs, store, options):
    """What a mount serves: {(collection, id): bytes, or None for an error}; and None if it cannot be mounted."""
    os.makedirs('m', exist_ok=True)
    r = subprocess.run([vecfs, 'mount', '-o', options, store, 'm'], capture_output=True, text=True, errors='backslashreplace', timeout=30)
    if r.returncode:
        return None, r.stderr
    served = {}
    for c in os.listdir('m'):
        try:
            names = os.listdir(f'm/{c}')
        except OSError as e:
            assert e.errno == errno.EIO, e
            continue
        for v in names:
            try:
                served[c, v] = open(f'm/{c}/{v}', 'rb').read()
            except OSError as e:
                assert e.errno in LOST, e
                served[c, v] = None
    log = open('m/.vecfs/log', errors='backslashreplace').read()
    subprocess.run([vecfs, 'umount', 'm'], check=True, timeout=30)
    return served, log


def overwrite(path, off, data):
    with open(path, 'r+b') as f:
        f.seek(off)
        f.write(data)


KINDS = {
    'deleted': lambda p: os.unlink(p),
    'emptied': lambda p: os.truncate(p, 0),
    'truncated': lambda p: os.truncate(p, os.path.getsize(p) // 2),
    'cut by a byte': lambda p: os.truncate(p, os.path.getsize(p) - 1),
    'extended': lambda p: open(p, 'ab').write(b'more' * 1024),
    'overwritten': lambda p: overwrite(p, os.path.getsize(p) // 2, b'\xa5' * 16),
    'overwritten at its start': lambda p: overwrite(p, 0, b'\xa5' * 64),
    'overwritten at its end': lambda p: overwrite(p, os.path.getsize(p) - 4, b'\xa5' * 4),
}


def expected(name, kind, model):
    """The vectors that must survive whatever was done to this file: all, all but one, or those of other collections."""
    if not name.startswith('collections/') or name.endswith('index') or kind == 'extended':
        return model, 0
    if kind.startswith(('overwritten', 'cut')) and name.endswith('.npy'):
        return model, 1
    collection = {'1': 'docs', '2': 'more'}[name.split('/')[1]]
    return {k: v for k, v in model.items() if k[0] != collection}, 0


def one(vecfs, name, kind, model, options):
    must, spare = expected(name, kind, model)
    code, text = check(vecfs, 'copy')
    assert code == 4, f'check: exit {code}: {text}'
    served, log = read_copy(vecfs, 'copy', options + ',ro')
    assert served is not None, f'it does not mount: {log}'
    for key, data in served.items():
        assert data is None or data == model.get(key), f'{key}: served what was never written'
    missing = [k for k in must if served.get(k) != must[k]]
    if name.endswith('index') or not name.startswith('collections/'):
        assert not missing, f'not served: {missing[:3]}'
    else: # a damaged collection may answer EIO as a whole; no other may
        collection = {'1': 'docs', '2': 'more'}[name.split('/')[1]]
        assert not [k for k in missing if k[0] != collection], f'not served: {missing[:3]}'
    code, text = check(vecfs, 'copy', '--repair')
    assert code == 1, f'repair: exit {code}: {text}'
    code, text2 = check(vecfs, 'copy')
    assert code == 0, f'after repair: exit {code}: {text2}'
    served, log = read_mount(vecfs, 'copy', options)
    assert served is not None, f'it does not mount after repair: {log}'
    lost = [k for k in must if served.get(k) != must[k]]
    assert len(lost) <= spare, f'lost: {lost[:5]}; repair said: {text}'
    for key, data in served.items():
        assert data == model.get(key) or key[1] not in {k[1] for k in model}, f'{key}: not what was written'
    for key in set(model) - set(served):
        assert key[0] in text, f'{key} is gone, and repair did not say so: {text}'
    code, text = check(vecfs, 'copy')
    assert code == 0, f'after a mount of the repaired store: exit {code}: {text}'


def kinds(vecfs, store, model, options):
    model = load(model)
    failures = cases = 0
    names = files_of(store)
    jobs = [(n, k, lambda p=n, do=do: do(f'copy/{p}')) for n in names for k, do in KINDS.items()
            if os.path.getsize(f'{store}/{n}') and (n, k) != ('lock', 'emptied')] # as earlier versions have left it
    swaps = [('collections/1/0.npy', 'collections/2/0.npy'), ('collections/1/0.rows', 'collections/2/0.rows'),
             ('collections/1/0.names', 'collections/2/0.names')]

    def swap(a, b):
        os.rename(f'copy/{a}', 'copy/aside')
        os.rename(f'copy/{b}', f'copy/{a}')
        os.rename('copy/aside', f'copy/{b}')
    jobs += [(f'{a} and {b}', 'swapped', lambda a=a, b=b: swap(a, b)) for a, b in swaps]
    for name, kind, do in jobs:
        shutil.rmtree('copy', ignore_errors=True)
        shutil.copytree(store, 'copy')
        do()
        try:
            if kind == 'swapped':
                code, text = check(vecfs, 'copy')
                assert code == 4, f'check: exit {code}: {text}'
                code, text = check(vecfs, 'copy', '--repair')
                assert code == 1, f'repair: exit {code}: {text}'
                served, log = read_mount(vecfs, 'copy', options)
                assert served == model, f'lost: {[k for k in model if served.get(k) != model[k]][:5]}; {text}'
            else:
                one(vecfs, name, kind, model, options)
        except AssertionError as e:
            failures += 1
            print(f'{name} {kind}: {e}')
        cases += 1
    print(f'{cases} kinds of damage, {failures} failures')
    return failures


if __name__ == '__main__':
    command, vecfs, store = sys.argv[1:4]
    if command == 'flips':
        sys.exit(flips(vecfs, store, int(sys.argv[4])))
    sys.exit(kinds(vecfs, store, *sys.argv[4:6]) != 0)
