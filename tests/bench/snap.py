#!/usr/bin/env python3
"""What durable snapshots cost: scripts/bench snap [--rows N] [--dir DIR] [--seconds S]

Of N x 768 f32 (default 1,000,000: some 10 GB of disk while it runs). First how long mkdir takes, of a hundred snapshots
of one collection. Then four writers at full speed, each of which overwrites vectors of its own by open, write and close:
the longest that one took without snapshots, in S seconds (default 15), and while snapshots are taken, one a second. Then
one snapshot is held while the four overwrite every vector, and again without any: throughput of both, the snapshot's
bytes, and the bytes on the disk beside old and new ones. A line for each bar; the exit status tells whether all held.
"""
import argparse
import array
import multiprocessing
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
VECFS = pathlib.Path(os.environ.get("VECFS_BIN", TOP / "build/vecfs"))
DIM = 768
WRITERS = 4
BLOCK_ROWS = 256
failed = False


def bar(what, figure, unit, limit, at_most=True):
    global failed
    met = figure <= limit if at_most else figure >= limit
    failed |= not met
    print(f"{'ok  ' if met else 'MISS'} {what:70} {figure:8.2f} {unit}  (bar {'<=' if at_most else '>='} {limit})", flush=True)


def blocks():
    rng = random.Random(1)
    return [array.array("f", (rng.gauss(0, 1) for _ in range(BLOCK_ROWS * DIM))).tobytes() for _ in range(8)]


def make(path, rows):
    data = blocks()
    with open(path, "wb") as out:
        for first in range(0, rows, BLOCK_ROWS):
            out.write(data[first // BLOCK_ROWS % len(data)][:(rows - first) * DIM * 4])


def overwrite(docs, row, data):
    fd = os.open(f"{docs}/{row}", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, data)
    os.close(fd)


def write_at_random(docs, rows, number, until, longest):
    rng = random.Random(number)
    while time.monotonic() < until.value:
        data = array.array("f", [rng.random()] * DIM).tobytes()
        begun = time.monotonic()
        overwrite(docs, rng.randrange(rows // WRITERS) * WRITERS + number, data)
        longest[number] = max(longest[number], time.monotonic() - begun)


def write_all(docs, rows, number, value):
    data = array.array("f", [value] * DIM).tobytes()
    for row in range(number, rows, WRITERS):
        overwrite(docs, row, data)


def together(target, *args):
    begun = time.monotonic()
    of = [multiprocessing.Process(target=target, args=(*args[:2], n, *args[2:])) for n in range(WRITERS)]
    for p in of:
        p.start()
    return of, begun


def join(of, begun):
    for p in of:
        p.join()
    return time.monotonic() - begun


def snap(docs, name):
    begun = time.monotonic()
    os.mkdir(f"{docs}/.vecfs/snap/{name}")
    return time.monotonic() - begun


def drop_all(docs):
    for name in os.listdir(f"{docs}/.vecfs/snap"):
        os.rmdir(f"{docs}/.vecfs/snap/{name}")


def on_disk(path):
    return int(subprocess.run(["du", "-s", "-B1", path], capture_output=True, text=True, check=True).stdout.split()[0])


def hundred(docs):
    took = sorted(snap(docs, f"h{i}") for i in range(100))
    bar("mkdir of a snapshot, the longest of 100 of one collection", took[-1] * 1e3, "ms", 20)
    print(f"     median {took[50] * 1e3:.2f} ms")
    drop_all(docs)


def beside_writers(docs, rows, seconds):
    for snaps in (False, True):
        longest, until = multiprocessing.Array("d", WRITERS), multiprocessing.Value("d", time.monotonic() + seconds)
        of, begun = together(write_at_random, docs, rows, until, longest)
        took = [0]
        while snaps and time.monotonic() < until.value - 1:
            time.sleep(1)
            took.append(snap(docs, f"w{len(took)}"))
        join(of, begun)
        if not snaps:
            print(f"     longest request of 4 writers, no snapshots {max(longest) * 1e3:.2f} ms")
            continue
        bar("longest request of 4 writers, a snapshot each second", max(longest) * 1e3, "ms", 50)
        bar("longest mkdir of these", max(took) * 1e3, "ms", 20)
    drop_all(docs)


def same_as(path, other):
    with open(path, "rb") as a, open(other, "rb") as b:
        while True:
            x, y = a.read(1 << 20), b.read(1 << 20)
            if x != y:
                return False
            if not x:
                return True


def held(docs, store, rows, work):
    write_all_bytes = rows * DIM * 4
    snap(docs, "held")
    with open(f"{docs}/.vecfs/snap/held/.vecfs/vectors.f32", "rb") as now, open(work / "then", "wb") as then:
        shutil.copyfileobj(now, then, 1 << 20)
    os.sync()  # or the disk is busy with that copy while the writers are measured
    before = on_disk(store)
    with_one = join(*together(write_all, docs, rows, 1.0))
    os.sync()
    time.sleep(3)
    bar("bytes on the disk beside (old + new)", on_disk(store) / (before + write_all_bytes), "x", 1.05)
    good = same_as(f"{docs}/.vecfs/snap/held/.vecfs/vectors.f32", work / "then")
    bar("the snapshot's bytes are those of then", good, "", 1, at_most=False)
    os.rmdir(f"{docs}/.vecfs/snap/held")
    time.sleep(3)
    os.sync()
    without = join(*together(write_all, docs, rows, 2.0))
    print(f"     {rows / with_one:.0f} vectors/s with, {rows / without:.0f} without")
    bar("throughput of overwriting, of that without a snapshot", without / with_one, "x", 0.5, at_most=False)


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--rows", type=int, default=1000000)
    parse.add_argument("--seconds", type=float, default=15)
    parse.add_argument("--dir", default="/var/tmp")
    args = parse.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="vecfs-snap-", dir=args.dir))
    mnt, store = work / "mnt", work / "store"
    mnt.mkdir()
    try:
        make(work / "v.f32", args.rows)
        subprocess.run([VECFS, "mount", store, mnt], check=True)
        docs = mnt / "docs"
        docs.mkdir()
        (docs / ".vecfs/schema").write_text(f"dim={DIM}\n")
        subprocess.run([VECFS, "import", "-q", docs, work / "v.f32"], check=True)
        os.unlink(work / "v.f32")
        hundred(docs)
        beside_writers(docs, args.rows, args.seconds)
        held(docs, store, args.rows, work)
    finally:
        subprocess.run([VECFS, "umount", mnt], check=False)
        shutil.rmtree(work, ignore_errors=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
