# SPDX-License-Identifier: Apache-2.0
"""What codes of views must be: codes.py COLLECTION VIEW [...] compares arrays and files with the vectors."""
import os
import sys

import numpy as np


def ids_of(collection):
    return open(collection + '/.vecfs/ids0', 'rb').read().split(b'\0')[:-1]


def decode(name, codes, arrays):
    """What codes stand for, by what is told of them: None where that is the engine's business."""
    if name == 'f16':
        return codes.astype('f4')
    if name == 'bf16':
        return (codes.astype('u4') << 16).view('f4')
    if name == 'sq8':
        dim = codes.shape[1] - 12
        scale = codes[:, dim:dim + 4].copy().view('f4')
        return (codes[:, :dim].astype('f4') - 128) * scale
    if 'pq' not in name:
        return None
    book = np.load(arrays + 'codebook.npy')
    subs, centroids, _ = book.shape
    if centroids == 16:
        codes = np.stack([codes & 15, codes >> 4], 2).reshape(len(codes), -1)[:, :subs]
    vectors = book[np.arange(subs), codes].reshape(len(codes), -1)
    return vectors @ np.load(arrays + 'rotation.npy') if name[0] == 'o' else vectors


def compare(collection, name):
    view = collection + '/.vecfs/views/' + name
    arrays = view + '/.vecfs/'
    info = dict(line.rstrip('\n').split('=', 1) for line in open(arrays + 'info'))
    vectors = np.load(collection + '/.vecfs/vectors.npy')
    codes = np.load(arrays + 'codes.npy', mmap_mode='r')
    decoded = np.load(arrays + 'decoded.npy')
    ids = ids_of(collection)
    size = int(info['code_bytes'])

    assert len(codes) == len(decoded) == len(vectors) == len(ids), (len(codes), len(vectors), len(ids))
    assert codes[:1].nbytes == size and decoded.dtype == '<f4' and decoded.shape == vectors.shape
    assert os.stat(arrays + 'codes.npy').st_size == 128 + len(ids) * size
    assert sorted(os.listdir(os.fsencode(view))) == sorted(ids)
    assert sorted(os.listdir(os.fsencode(arrays + 'decoded'))) == sorted(ids)
    for row in range(0, len(ids), 1 + len(ids) // 200):
        path = os.path.join(os.fsencode(view), ids[row])
        code = open(path, 'rb').read()
        assert code == codes[row].tobytes(), (name, ids[row])
        assert os.stat(path).st_size == size
        assert os.stat(path).st_mtime_ns == os.stat(os.path.join(os.fsencode(collection), ids[row])).st_mtime_ns
        assert open(os.path.join(os.fsencode(arrays), b'decoded', ids[row]), 'rb').read() == decoded[row].tobytes()

    ours = decode(name, codes, arrays)
    if ours is not None:
        assert np.abs(ours - decoded).max() < 1e-5 * np.abs(decoded).max(), (name, np.abs(ours - decoded).max())
    if name == 'f16':
        assert np.array_equal(codes, vectors.astype('f2'))
    if name == 'sq8':
        error = np.abs(vectors - decoded).max(1)
        assert (error <= np.abs(vectors).max(1) / 127 * 0.501).all()
    if name == 'bit':
        assert ((decoded > 0) == (vectors > 0)).all()
    if name in ('bf16', 'rabitq4', 'rabitq8', 'opq8'):
        spread = ((vectors - vectors.mean(0)) ** 2).sum()
        loss = ((vectors - decoded) ** 2).sum() / spread
        assert loss < {'bf16': 1e-4, 'rabitq4': .02, 'rabitq8': 1e-3, 'opq8': .6}[name], (name, loss)
    return codes, decoded


if __name__ == '__main__':
    for view in sys.argv[2:]:
        compare(sys.argv[1], view)
