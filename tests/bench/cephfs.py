# SPDX-License-Identifier: Apache-2.0
"""What a mount costs whose store lies on CephFS, beside plain files on the same CephFS, in turns.

    cephfs.py VECFS MOUNT STORE FOLDER     STORE: on the CephFS, mounted at MOUNT; FOLDER: an empty one there

tests/tools/cephcluster.sh makes such a file system. Medians of the rounds, and of their ratios.
"""
import array
import glob
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

FILES, ROUNDS, DIM, ROWS = 150, 7, 768, 50000


def timed(*command):
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


def create_and_sync(folder, name):
    data, begin = os.urandom(4 * DIM), time.monotonic()
    for i in range(FILES):
        fd = os.open(f'{folder}/{name}-{i}', os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, data)
        os.fsync(fd)
        os.close(fd)
    return (time.monotonic() - begin) / FILES


def forget(path):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def report(what, pairs, unit, of):
    ours, theirs = (statistics.median(of(p[k]) for p in pairs) for k in (0, 1))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f'| {what} | {ours:,.0f} {unit} | {theirs:,.0f} {unit} | {ratio:.2f} |', flush=True)


def main():
    vecfs, mount, store, folder = sys.argv[1:]
    here, megabytes = tempfile.TemporaryDirectory(), 4 * DIM * ROWS / 1e6
    rows = f'{here.name}/rows.f32'
    with open(rows, 'wb') as out:
        one = array.array('f', (random.random() for _ in range(DIM))).tobytes()
        for i in range(ROWS):
            out.write(one[i % 768 * 4:] + one[:i % 768 * 4])
    os.mkdir(f'{mount}/one')
    report('create + fsync of 3,072 bytes', [(create_and_sync(f'{mount}/one', r), create_and_sync(folder, r))
                                           for r in range(ROUNDS)], '/s', lambda s: 1 / s)
    pairs = []
    for r in range(ROUNDS):
        os.mkdir(f'{mount}/many{r}')
        pairs.append((timed(vecfs, 'import', '-q', '--dim', str(DIM), f'{mount}/many{r}', rows),
                      timed('dd', f'if={rows}', f'of={folder}/big{r}', 'bs=1M', 'conv=fdatasync')))
    report('durable import, beside dd', pairs, 'MB/s', lambda s: megabytes / s)
    pairs = []
    for r in range(ROUNDS):
        array_file, plain = f'{mount}/many{r}/.vecfs/vectors.npy', f'{folder}/big{r}'
        for path in glob.glob(f'{store}/collections/*/*.npy') + [array_file, plain]:
            forget(path)
        pairs.append((timed('cat', array_file), timed('cat', plain)))
    report('vectors.npy, beside cat, not in the page cache', pairs, 'MB/s', lambda s: megabytes / s)


main()
