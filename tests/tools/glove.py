# SPDX-License-Identifier: Apache-2.0
"""Word vectors as single files.

    glove.py create|verify|verify-renamed|rename|delete WORDS VECTORS COLLECTION

WORDS has an id a line, VECTORS the rows of 100 floats. Words that are no file names are left out.
"""
import os
import sys

ROW = 400


def legal(word):
    return 0 < len(word) <= 255 and b'/' not in word and b'\0' not in word and word not in (b'.', b'..', b'.vecfs')


def renamed(word):
    """The new name is another one for each word, and takes no other word's."""
    return b'renamed ' + word[:247]


def main():
    command, words, vectors, collection = sys.argv[1:]
    collection = collection.encode() + b'/'
    names = open(words, 'rb').read().split(b'\n')[:-1]
    data = open(vectors, 'rb').read()
    assert len(data) == ROW * len(names)
    rows = {name: i for i, name in enumerate(names) if legal(name)}
    assert len(rows) > 0.99 * len(names)
    if command == 'create':
        for name, i in rows.items():
            fd = os.open(collection + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, data[ROW * i:ROW * i + ROW])
            os.close(fd)
    if command.startswith('verify'):
        to = renamed if command == 'verify-renamed' else lambda name: name
        listed = os.listdir(collection)
        assert len(listed) == len(rows) and set(listed) == {to(name) for name in rows}
        for name, i in rows.items():
            fd = os.open(collection + to(name), os.O_RDONLY)
            assert os.read(fd, 2 * ROW) == data[ROW * i:ROW * i + ROW], name
            os.close(fd)
    if command == 'rename':
        for name in rows:
            os.rename(collection + name, collection + renamed(name))
    if command == 'delete':
        for name in rows:
            os.unlink(collection + renamed(name))
        assert os.listdir(collection) == []
    print(command, len(rows))


main()
