#!/usr/bin/env python3
"""What streams cost: scripts/bench stream [--rows N] [--levels 1,3] [--dir DIR] [--reps N]

First ratio and speed of the frames of vecfs send, whose floats are taken apart into planes, beside those of zstd as the
bytes are (tests/bench/streambench.c; one thread, time of the processor), of the shared data sets and of N x 768 (default
100,000) normally distributed numbers. Then `vecfs send | vecfs receive` of a snapshot of each of them from one mount to another,
in turns with `cat` of the same bytes through a pipe into a file, synced; medians, and the medians of the ratios of each turn.
"""
import argparse
import array
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
VECFS = pathlib.Path(os.environ.get("VECFS_BIN", TOP / "build/vecfs"))
BENCH = TOP / "build/tests/bench/streambench"
SHARED = pathlib.Path(os.environ.get("VECFS_SHARED", TOP.parent / "shared")) / "data"
SETS = (("GloVe 50k x 100", "glove/glove-50k.f32", 100), ("package descriptions 20k x 512", "debpkg/debpkg-20k.f32", 512),
        ("MiniLM 30k x 384", "minilm/minilm-30k.f32", 384))
DIM = 768


def synthetic(path, rows):
    """Rows of normally distributed numbers, in blocks that come again, though never within a frame of 1 MiB."""
    rng = random.Random(1)
    blocks = [array.array("f", (rng.gauss(0, 1) for _ in range(256 * DIM))).tobytes() for _ in range(16)]
    with open(path, "wb") as out:
        for first in range(0, rows, 256):
            out.write(blocks[first // 256 % len(blocks)][:(rows - first) * DIM * 4])


def codecs(sets, levels):
    print(f"{'data':32} level   planes: ratio, GB/s there, back   zstd as it is: ratio, there, back   split GB/s")
    for name, path, dim in sets:
        for level in levels:
            _, *cells = subprocess.run([BENCH, path, str(dim), level], check=True, capture_output=True,
                                       text=True).stdout.split()
            print(f"{name:32} {level:>5}   " + "   ".join(f"{c:>6}" for c in cells))


def mounted(folder, name):
    mount = folder / f"mnt-{name}"
    mount.mkdir()
    subprocess.run([VECFS, "mount", folder / f"store-{name}", mount], check=True, stderr=subprocess.DEVNULL)
    return mount


def timed(shell, *words):
    began = time.monotonic()
    subprocess.run(["bash", "-c", "set -o pipefail; " + shell, "bash", *map(str, words)], check=True)
    return time.monotonic() - began


def pipe(source, target, copy, data, dim, levels, reps):
    size = pathlib.Path(data).stat().st_size
    subprocess.run([VECFS, "import", "-q", "--dim", str(dim), source, data], check=True)
    (source / ".vecfs/snap/S").mkdir()
    os.sync()
    times = {level: [] for level in ("cat", "none", *levels)}
    for rep in range(reps):
        times["cat"].append(timed('cat "$1" | cat >"$2" && sync -d "$2"', data, copy))
        for level in ("none", *levels):
            new = pathlib.Path(f"{target}-{level}-{rep}")
            times[level].append(timed('"$1" send -q --compress "$2" "$3" | "$1" receive -q "$4"', VECFS, level,
                                      source / ".vecfs/snap/S", new))
            (new / ".vecfs/snap/S").rmdir()
            shutil.rmtree(new)
    for what, all_s in times.items():
        s = statistics.median(all_s)
        ratio = statistics.median(c / t for c, t in zip(times["cat"], all_s))
        print(f"  {'cat | cat, synced' if what == 'cat' else f'send --compress {what} | receive':32} "
              f"{s:6.3f} s {size / s / 1e9:6.2f} GB/s   {ratio:5.2f} of cat", flush=True)


def pipes(folder, sets, levels, reps):
    source, target = mounted(folder, "from"), mounted(folder, "to")
    try:
        for number, (name, data, dim) in enumerate(sets):
            print(name)
            pipe(source / f"docs{number}", target / f"docs{number}", folder / "copy", data, dim, levels, reps)
    finally:
        for mount in (source, target):
            subprocess.run([VECFS, "umount", mount], check=False)


def main():
    parser = argparse.ArgumentParser(prog="bench stream", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--levels", default="1,3")
    parser.add_argument("--dir")
    parser.add_argument("--reps", type=int, default=5)
    args = parser.parse_args()
    levels = args.levels.split(",")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vecfs-bench.", dir=args.dir or "/var/tmp"))
    try:
        data = folder / "data.f32"
        synthetic(data, args.rows)
        sets = [(n, SHARED / p, d) for n, p, d in SETS if (SHARED / p).exists()]
        sets.append((f"normal {args.rows:,} x {DIM}", data, DIM))
        codecs(sets, levels)
        pipes(folder, sets, levels, args.reps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
