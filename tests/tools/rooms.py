#!/usr/bin/env python3
"""Draws the graph of the rooms (the folders of fs/, store/ and quant/) and fails on an arrow that runs back.

usage: rooms.py [--graph] SOURCE BUILD

An arrow goes from a room to one that it knows: by an #include, or by using a symbol that the other defines, as nm(1)
sees it in the object files of BUILD. A room may know those before it in ORDER; so whoever reads one has to know what
is below it and nothing else. Exits with 1, after a line for each arrow that runs back. --graph prints all arrows.
"""
import collections
import os
import re
import subprocess
import sys

# From the lowest to the highest. A file that stands outside the rooms is a room of its own.
ORDER = '''
quant
store/store.h
store/base store/io store/array store/stream store/segment store/collection
store/engine
store/catalog store/log store/clone store/snapshot store/row store/view store/search store/batch store/replay
store/store.c
store/check
fs/request fs/inode fs/control fs/tree fs/mount fs/cli
fs/main.c
'''.split()

# engine.h is the state of a store, and made of what these define. Their own headers do not include it.
STATE, STATE_PARTS = 'store/engine', ('store/catalog', 'store/log')

def sources(top):
    for folder in ('fs', 'store', 'quant'):
        for path, _, files in os.walk(os.path.join(top, folder)):
            yield from (os.path.relpath(os.path.join(path, f), top) for f in files if f.endswith(('.c', '.h')))


def room(path):
    folder = os.path.dirname(path)
    if folder == 'quant' or '/' in folder:
        return folder
    return STATE if path.startswith(STATE + '.') else path


def includes(top, paths):
    """(file, header) for each include of an own header."""
    for path in paths:
        with open(os.path.join(top, path)) as f:
            for name in re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', f.read(), re.M):
                yield path, name


def objects(build, paths):
    """(file, object) for each source file that was compiled; one kernel has several."""
    compiled = collections.defaultdict(list)
    for path in paths:
        folder, name = path.split('/', 1)
        compiled[folder, name.replace('/', '_') + '.o'].append(path)
    for folder in ('fs', 'store', 'quant'):
        for path, _, files in os.walk(os.path.join(build, folder)):
            for f in files:
                if f.endswith('.c.o'):
                    found = compiled[folder, f]
                    if len(found) != 1:
                        sys.exit(f'{os.path.join(path, f)}: compiled from {found or "what is gone"}')
                    yield found[0], os.path.join(path, f)


def symbols(object_file):
    """The symbols that an object file defines for others, and those that it uses."""
    defined, used = set(), set()
    out = subprocess.run(['nm', '-P', '-g', object_file], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        name, kind = line.split()[:2]
        (used if kind in 'Uw' else defined).add(name)
    return defined, used


def calls(build, paths):
    """(file, file, symbol) for each use of another file's symbol."""
    definers, users = {}, []
    for path, object_file in objects(build, paths):
        defined, used = symbols(object_file)
        definers.update(dict.fromkeys(defined, path))
        users.append((path, used))
    if not users:
        sys.exit(f'{build}: has no object files')
    for path, used in users:
        for name in sorted(used & definers.keys()):
            yield path, definers[name], name


def arrows(top, build):
    """(room, room) to what makes that arrow."""
    paths = sorted(sources(top))
    graph = collections.defaultdict(set)
    for path, header in includes(top, paths):
        if header in paths:
            graph[room(path), room(header)].add((path, header))
    for path, definer, name in calls(build, paths):
        graph[room(path), room(definer)].add((path, name))
    return {edge: why for edge, why in sorted(graph.items()) if edge[0] != edge[1]}


def runs_back(edge, path):
    from_room, to_room = edge
    if path == STATE + '.h' and to_room in STATE_PARTS:
        return False
    if to_room == STATE and from_room in STATE_PARTS and path.endswith('.h'):
        return True
    return ORDER.index(to_room) > ORDER.index(from_room)


def main():
    arguments = [a for a in sys.argv[1:] if a != '--graph']
    if len(arguments) != 2:
        sys.exit(__doc__)
    graph = arrows(*arguments)
    strangers = {r for edge in graph for r in edge if r not in ORDER}
    for r in sorted(strangers):
        print(f'{r}: has no place in the order')
    if strangers:
        sys.exit(1)
    if '--graph' in sys.argv:
        for r in ORDER:
            known = [b for a, b in graph if a == r]
            print(f'{r}: {" ".join(sorted(known, key=ORDER.index))}')
        return
    back = [f'{a} -> {b}: {path}: {name}' for (a, b), why in graph.items() for path, name in sorted(why)
            if runs_back((a, b), path)]
    print('\n'.join(back), end='\n' if back else '')
    sys.exit(1 if back else 0)


if __name__ == '__main__':
    main()
