# SPDX-License-Identifier: Apache-2.0
"""Fills the disk under a collection with vectors of 3,000 floats, and says what a full disk must be like.

    full.py fill COLLECTION MODEL      until it is full, then deletes, and writes again
    full.py verify COLLECTION MODEL    after a remount
"""
import errno
import os
import pickle
import sys
import time

import whole

DIM = 3000


def put(path, vector):
    """True if it was acknowledged; False if there was no space."""
    fd = -1
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, whole.make(*vector, DIM))
        os.close(fd)
        return True
    except OSError as e:
        assert e.errno == errno.ENOSPC, f'{path}: want ENOSPC, got {e}'
        try:
            os.close(fd)
        except OSError:
            pass
        return False


def sync(dir):
    fd = os.open(dir, os.O_RDONLY)
    try:
        os.fsync(fd)
        return True
    except OSError as e:
        assert e.errno == errno.ENOSPC, f'fsync: want ENOSPC, got {e}'
        return False
    finally:
        os.close(fd)


def verify(dir, model):
    names = set(os.listdir(dir))
    assert names == set(model), (sorted(names ^ set(model))[:5], len(names), len(model))
    for name, vector in model.items():
        with open(f'{dir}/{name}', 'rb') as f:
            assert whole.parse(f.read(), DIM) == vector, name


def fill(dir):
    model, refused, i = {}, 0, 0
    while refused < 20:
        name = f'v{i}'
        if put(f'{dir}/{name}', (i, 1, 0)):
            model[name] = (i, 1, 0)
        else:
            refused += 1
        i += 1
        if i % 50 == 0:
            sync(dir)
        assert i < 20000, 'the disk does not get full'
    print(f'{len(model)} vectors fit')
    assert len(model) > 300
    verify(dir, model)
    # Overwriting may work or not, but nothing else may happen.
    over = 0
    for name in sorted(model)[:40]:
        vector = (model[name][0], 2, 0)
        if put(f'{dir}/{name}', vector):
            model[name] = vector
            over += 1
    print(f'{over} of 40 overwritten on the full disk')
    verify(dir, model)
    for name in sorted(model)[::2]:
        os.unlink(f'{dir}/{name}')
        del model[name]
    verify(dir, model)
    # There is space again: at once, or as soon as the store has got around to giving it back. (The log may take some.)
    wanted, end = len(model) // 4, time.monotonic() + 20
    again = 0
    while again < wanted:
        name = f'again{again}'
        if put(f'{dir}/{name}', (again, 3, 0)):
            model[name] = (again, 3, 0)
            again += 1
        else:
            assert time.monotonic() < end, f'no space for more than {again} of {wanted} after deleting'
            sync(dir)
            time.sleep(0.01)
    assert sync(dir)
    verify(dir, model)
    return model


if __name__ == '__main__':
    command, dir, path = sys.argv[1:]
    if command == 'fill':
        with open(path, 'wb') as f:
            pickle.dump(fill(dir), f)
    else:
        with open(path, 'rb') as f:
            verify(dir, pickle.load(f))
