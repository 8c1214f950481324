#!/usr/bin/env python3
"""Measures quant/ beside Faiss and numpy, in one run: `scripts/bench quant [--rounds N] [--quick] [--out DIR] …`.

Speed: each figure is the best of N rounds, ours and theirs in turn, with 1 thread (CPU seconds of the process); with
--threads 1,2 also with two (seconds on the clock). Recall: codes only, recall@10 of 1,000 held-out queries, at equal
bytes, on three real sets (packages, words, sentences) from the folder VECFS_DATA. --out DIR replaces the section
"quant/" of DIR/RESULTS.md, whose other sections stay, and draws two plots there.
"""

import argparse
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import time

# One thread is one thread: the peers' pools are set by hand below.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402

try:
    import faiss
except ImportError:
    faiss = None

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
L2, COSINE = 0, 2
K = 10


# ---------------------------------------------------------------------------- ours
class Library:
    def __init__(self):
        self.c = ctypes.CDLL(str(pathlib.Path(os.environ.get("VECFS_BUILD", TOP / "build")) / "tests/bench/libquantlib.so"))
        self.c.ql_new.restype = ctypes.c_void_p
        self.c.ql_row_bytes.restype = ctypes.c_size_t
        self.c.ql_model.restype = ctypes.c_size_t
        self.c.ql_level_name.restype = ctypes.c_char_p

    def level(self):
        return self.c.ql_level_name().decode()


def pointer(array):
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def size(n):
    return ctypes.c_size_t(n)


class Codec:
    def __init__(self, lib, name, dim, metric=L2):
        self.c, self.name, self.dim = lib.c, name, dim
        self.handle = ctypes.c_void_p(self.c.ql_new(name.encode(), ctypes.c_uint32(dim), metric))
        assert self.handle, name
        self.row_bytes = self.c.ql_row_bytes(self.handle)

    def train(self, sample):
        sample = sample.copy()
        assert self.c.ql_train(self.handle, size(len(sample)), pointer(sample)) == 0
        return self

    def reserve(self, rows):
        self.c.ql_reserve(self.handle, size(rows))
        return self

    def encode(self, x):
        self.c.ql_encode(self.handle, size(len(x)), pointer(x))
        return self

    def repeat(self, rows):
        self.c.ql_repeat(self.handle, size(rows))
        return self

    def search(self, queries, k=K):
        ids = np.empty((len(queries), k), np.int64)
        self.c.ql_search(self.handle, size(len(queries)), pointer(queries), size(k), pointer(ids))
        return ids

    def search_sq8(self, queries, x, k=K):
        ids = np.empty((len(queries), k), np.int64)
        self.c.ql_search_sq8(self.handle, size(len(queries)), pointer(queries), pointer(x), size(k), pointer(ids))
        return ids

    def __del__(self):
        self.c.ql_free(self.handle)


def search_exact(lib, x, queries, k=K):
    ids = np.empty((len(queries), k), np.int64)
    lib.c.ql_search_exact(size(len(x)), ctypes.c_uint32(x.shape[1]), L2, pointer(x), size(len(queries)), pointer(queries),
                          size(k), pointer(ids))
    return ids


def search_batch(lib, x, queries, k=K):
    ids = np.empty((len(queries), k), np.int64)
    lib.c.ql_search_batch(size(len(x)), ctypes.c_uint32(x.shape[1]), L2, pointer(x), size(len(queries)), pointer(queries),
                          size(k), pointer(ids))
    return ids


# ---------------------------------------------------------------------------- measuring
class Bench:
    def __init__(self, lib, rounds, counts=(1,)):
        self.lib, self.rounds, self.counts, self.rows = lib, rounds, counts, []

    def threads(self, n):
        self.lib.c.ql_threads(n)
        if faiss:
            faiss.omp_set_num_threads(n)

    def seconds(self, fn, threads):
        clock = time.process_time if threads == 1 else time.monotonic
        begin = clock()
        fn()
        return clock() - begin

    def least(self, *functions, threads=1, rounds=None):
        """The least seconds of each, taken in turn: what neighbours take away hits all of them. A turn that is
        short is repeated, so that what fits into a cache is there."""
        least = [float("inf")] * len(functions)
        for _ in range(rounds or self.rounds):
            for i, fn in enumerate(functions):
                took, again = 0, 0
                while again == 0 or (took < 0.1 and again < 3):
                    once = self.seconds(fn, threads)
                    least[i] = min(least[i], once)
                    took += once
                    again += 1
        return least

    def compare(self, name, unit, amount, ours, theirs, peer, bar=None, rounds=None):
        """amount of units done by each call; theirs may be None."""
        for n in self.counts:
            self.threads(n)
            least = self.least(*filter(None, (ours, theirs)), threads=n, rounds=rounds)
            self.row(name, n, unit, *(amount / s for s in least), *(() if theirs else (None,)), peer, bar)
        self.threads(1)

    def row(self, name, threads, unit, ours, theirs, peer, bar=None):
        ratio = ours / theirs if theirs else None
        missed = " **missed**" if bar and ratio and threads == 1 and ratio < bar else ""
        cells = (name, str(threads), figure(ours) + " " + unit, figure(theirs) + (" " + unit if theirs else ""), peer,
                 figure(ratio), (figure(bar) if bar and threads == 1 else "") + missed)
        self.rows.append(cells)
        print("| " + " | ".join(cells) + " |", flush=True)


def figure(x):
    if x is None:
        return "-"
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def to_faiss(index, x, train=True):
    if train:
        index.train(x)
    index.add(x)
    return index


def sample(x, most=65536):
    if len(x) <= most:
        return x
    rows = np.sort(np.random.default_rng(1).permutation(len(x))[:most])
    return np.ascontiguousarray(x[rows])


# ---------------------------------------------------------------------------- speed
def training_and_encoding(b, n):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n(20000), 768)).astype(np.float32)
    few = np.ascontiguousarray(x[: n(4000)])
    words = sets().get("glove")
    avx512 = b.lib.level() == "avx512"

    def trains(dim, name, subs, data, bar):
        b.compare(f"train {name}, {len(data):,} x {dim}", "/s", 1, lambda: Codec(b.lib, name, dim).train(sample(data)),
                  faiss and (lambda: faiss.ProductQuantizer(dim, subs, 8).train(data)), "Faiss", bar, rounds=3)

    trains(768, "pq96", 96, x, 2.5)
    if words:
        trains(100, "pq25", 25, words[0], 10)

    def encodes(name, data, theirs, peer, bar):
        dim = data.shape[1]
        codec = Codec(b.lib, name, dim).train(x if dim == 768 else data).reserve(len(data))
        b.compare(f"encode {name}, {dim}-d", "rows/s", len(data), lambda: codec.encode(data), theirs, peer, bar)

    def encoder(make, data):
        if faiss is None:
            return None
        peer = make()
        peer.train(x if data.shape[1] == 768 else data)
        encode = peer.compute_codes if hasattr(peer, "compute_codes") else peer.sa_encode
        return lambda: encode(data)

    encodes("pq96", few, encoder(lambda: faiss.ProductQuantizer(768, 96, 8), few), "Faiss", 3.5 if avx512 else 2)
    encodes("pq192x4", few, encoder(lambda: faiss.ProductQuantizer(768, 192, 4), few), "Faiss", None)
    encodes("opq96", few, None, "-", None)
    encodes("rabitq1", x, encoder(lambda: faiss.IndexRaBitQ(768), x), "Faiss RaBitQ, unrotated", 4)
    short = np.ascontiguousarray(few[:1000])
    encodes("rabitq4", short, encoder(lambda: faiss.IndexRaBitQ(768, faiss.METRIC_L2, 4), short),
            "Faiss RaBitQ, unrotated", 8)
    encodes("sq8", x, encoder(lambda: faiss.ScalarQuantizer(768, faiss.ScalarQuantizer.QT_8bit), x), "Faiss SQ8", 3)


def scans(b, n):
    """rows/s of codes looked at. With one thread, one query after the other on both sides: of several queries in a
    call Faiss reads the codes once, which an interactive search cannot. With more, all queries in a call."""
    rng = np.random.default_rng(2)
    avx512 = b.lib.level() == "avx512"
    rows = n(100_032) // 64 * 64
    x = rng.standard_normal((rows, 768)).astype(np.float32)
    queries = rng.standard_normal((100, 768)).astype(np.float32)

    def scan(label, name, data, asked, make, peer, bar, times=1):
        dim = data.shape[1]
        codec = Codec(b.lib, name, dim).train(sample(data, 20000)).reserve(len(data) * times).encode(data)
        if times > 1:
            codec.repeat(len(data))
        index = make() if faiss and make else None
        asked = np.ascontiguousarray(queries[:asked, :dim])

        def theirs():
            for q in asked if faiss.omp_get_max_threads() == 1 else [asked]:
                index.search(q.reshape(-1, dim), K)

        b.compare(label, "rows/s", float(len(data) * times * len(asked)), lambda: codec.search(asked),
                  index and theirs, peer, bar)

    def filled(index, data, times=1):
        index.train(sample(data, 20000))
        for _ in range(times):
            index.add(data)
        return index

    def pq(times):
        index = faiss.IndexPQ(768, 96, 8)
        index.do_polysemous_training = False
        return filled(index, x, times)

    def fast(times):
        return filled(faiss.IndexPQFastScan(768, 192, 4), x, times)

    for times, word in ((1, "100k"), (10, "1M")):
        scan(f"scan pq96, {word}", "pq96", x, 10 // times, lambda: pq(times), "Faiss IndexPQ", 8 if avx512 else 1.3, times)
        scan(f"scan pq192x4, {word}", "pq192x4", x, 40 // times, lambda: fast(times), "Faiss IndexPQFastScan",
             1.0 if times == 1 else 1.1, times)
    scan("scan rabitq1, 768-d", "rabitq1", x, 20, lambda: filled(faiss.IndexRaBitQFastScan(768), x),
         "Faiss RaBitQFastScan", 2 if avx512 else 1.2)
    short, thin = np.ascontiguousarray(x[:, :512]), np.ascontiguousarray(x[:, :100])
    scan("scan rabitq4, 512-d", "rabitq4", short, 10,
         lambda: filled(faiss.IndexRaBitQFastScan(512, faiss.METRIC_L2, 32, 4), short), "Faiss RaBitQFastScan 4 bits", 1.5)
    for name, kind, data, bar in (("sq8", "8bit", x, 1.8), ("sq8", "8bit", thin, 5), ("f16", "fp16", x, 1.0),
                                  ("f16", "fp16", thin, 1.0), ("bf16", "bf16", x, 1.0)):
        dim = data.shape[1]
        scan(f"scan {name}, {dim}-d", name, data, 5, lambda: filled(faiss.IndexScalarQuantizer(
            dim, getattr(faiss.ScalarQuantizer, "QT_" + kind)), data), "Faiss " + kind, bar)
    exact(b, x, queries)


NUMPY = """if True:
    import sys, time, numpy as np
    rows, dim, k = map(int, sys.argv[1:])
    x = np.random.default_rng(1).standard_normal((rows, dim), dtype=np.float32)
    q = np.random.default_rng(2).standard_normal((100, dim), dtype=np.float32)
    def top(s):
        part = np.argpartition(s, -k)[..., -k:]
        return np.take_along_axis(part, np.argsort(-np.take_along_axis(s, part, -1)), -1)
    work = {"one": lambda: x @ q[0], "one top": lambda: top(x @ q[0]), "batch": lambda: q @ x.T, "batch top": lambda: top(q @ x.T)}
    for line in sys.stdin:
        begin = time.process_time()
        work[line.strip()]()
        print(time.process_time() - begin, flush=True)"""


class Numpy:
    """In a process of its own that answers with its CPU seconds: which kernels OpenBLAS takes is settled by
    variables of the environment when it is loaded."""

    def __init__(self, rows, dim, best):
        env = {k: v for k, v in os.environ.items() if not best or k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
        self.process = subprocess.Popen([sys.executable, "-c", NUMPY, *map(str, (rows, dim, K))], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def seconds(self, work):
        print(work, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def exact(b, x, queries):
    """With the vectors at hand: one query, one through sq8, a hundred at once; results are compared."""
    b.threads(1)
    rows, dim = x.shape
    one = queries[:1]
    distances = np.empty((len(queries), rows), np.float32)
    sq8 = Codec(b.lib, "sq8", dim).train(x[:1000]).reserve(rows).encode(x)
    assert np.array_equal(search_exact(b.lib, x, queries[:10]), sq8.search_sq8(queries[:10], x)), "sq8 is not exact"
    assert np.array_equal(search_exact(b.lib, x, queries), search_batch(b.lib, x, queries)), "a batch is not exact"

    def all_distances():
        b.lib.c.ql_distances(size(rows), ctypes.c_uint32(dim), L2, pointer(x), size(len(queries)), pointer(queries),
                             pointer(distances))

    work = {"one": lambda: search_exact(b.lib, x, one), "sq8": lambda: sq8.search_sq8(one, x),
            "batch": all_distances, "batch top": lambda: search_batch(b.lib, x, queries)}
    least = {}

    def keep(name, seconds):
        least[name] = min(seconds, least.get(name, seconds))

    peers = {"as set up": Numpy(rows, dim, False), "its best kernel": Numpy(rows, dim, True)}
    for _ in range(b.rounds):
        for name, fn in work.items():
            keep(name, b.seconds(fn, 1))
        for word, peer in peers.items():
            for name in ("one", "one top", "batch", "batch top"):
                keep((word, name), peer.seconds(name))
    for peer in peers.values():
        peer.close()

    def told(name, work, count, word, theirs, bar):
        b.row(name, 1, "queries/s", count / least[work], count / least[word, theirs], f"numpy, {word}", bar)

    best = "its best kernel"
    told(f"exact, one query of {rows:,} x {dim}, 10 nearest", "one", 1, best, "one", 1.0)
    told("the same through sq8, equal results", "sq8", 1, best, "one", 3.5)
    for word, bar in (("as set up", 1.2), (best, 0.85)):
        told("100 queries at once, 10 nearest", "batch top", 100, word, "batch top", bar)
        told("100 queries at once, distances alone", "batch", 100, word, "batch", None)


# ---------------------------------------------------------------------------- recall
def data_folder():
    for folder in (os.environ.get("VECFS_DATA"), TOP / "tests/data", TOP.parent / "shared/data"):
        if folder and pathlib.Path(folder, "glove/glove-50k.f32").exists():
            return pathlib.Path(folder)
    return None


def sets():
    """Of unit vectors: those that are searched, and 1,000 others that ask."""
    folder, found = data_folder(), {}
    for name, file, dim in (("debpkg", "debpkg/debpkg-20k.f32", 512), ("glove", "glove/glove-50k.f32", 100),
                            ("minilm", "minilm/minilm-30k.f32", 384)):
        if folder is None or not (folder / file).exists():
            continue
        x = np.fromfile(folder / file, np.float32).reshape(-1, dim)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        order = np.random.default_rng(0).permutation(len(x))
        found[name] = np.ascontiguousarray(x[order[1000:]]), np.ascontiguousarray(x[order[:1000]])
    return found


def recall(truth, found):
    return sum(len(set(a) & set(b)) for a, b in zip(truth, found)) / truth.size


def faiss_peers(dim, width):
    """Name, bytes a row, an index: those with the bytes of ours."""
    pq, fast = faiss.IndexPQ(dim, width, 8), faiss.IndexPQFastScan(dim, 2 * width, 4)
    pq.do_polysemous_training = False
    rotation = faiss.OPQMatrix(dim, width, dim)
    rotation.niter = 10
    inner = faiss.IndexPQ(dim, width, 8)
    inner.do_polysemous_training = False
    yield f"PQ{width}", width, pq
    yield f"PQ{2 * width}x4fs", width, fast
    yield f"OPQ{width}", width, faiss.IndexPreTransform(rotation, inner)
    yield "SQ8", dim, faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit)
    yield "fp16", 2 * dim, faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16)
    for bits in (1, 4):
        rotate = faiss.RandomRotationMatrix(dim, dim)
        index = faiss.IndexPreTransform(rotate, faiss.IndexRaBitQ(dim, faiss.METRIC_L2, bits))
        yield f"RaBitQ{bits}", None, index


def recalls(b, quick):
    points = []
    print("\n| set | codec | B/row | recall@10 | train s | rows/s of a scan |\n|---|---|---|---|---|---|", flush=True)
    for name, (x, queries) in sets().items():
        width, dim = {"debpkg": 64, "glove": 25, "minilm": 48}[name], x.shape[1]
        truth = search_exact(b.lib, x, queries)
        names = ["f16", "bf16", "sq8", "bit", *(f"rabitq{bits}" for bits in range(1, 9)), f"pq{width}",
                 f"pq{2 * width}x4", f"opq{width}", f"opq{2 * width}x4"]
        names += [f"opq{width // 2}", f"opq{min(dim, 2 * width)}"]
        for codec_name in names:
            codec = Codec(b.lib, codec_name, dim, L2)
            begin = time.process_time()
            codec.train(sample(x))
            trained = time.process_time() - begin
            codec.reserve(len(x)).encode(x)
            point(points, b, name, "vecfs", codec_name, codec.row_bytes, trained, truth, codec.search, queries, len(x))
        if faiss is None or quick:
            continue
        for peer, code_bytes, index in faiss_peers(dim, width):
            begin = time.process_time()
            index.train(x)
            trained = time.process_time() - begin
            index.add(x)
            code_bytes = code_bytes or index.sa_code_size()
            point(points, b, name, "Faiss", peer, code_bytes, trained, truth, lambda q: index.search(q, K)[1], queries, len(x))
    return points


def point(points, b, set_name, by, codec, row_bytes, trained, truth, search, queries, rows):
    found = search(queries)
    asked = np.ascontiguousarray(queries[:100])
    fastest = min(b.seconds(lambda: search(asked), 1) for _ in range(2))
    p = {"set": set_name, "by": by, "codec": codec, "bytes": row_bytes, "recall": recall(truth, found),
         "train": trained, "rate": rows * len(asked) / fastest}
    points.append(p)
    print(f"| {set_name} | {by} {codec} | {row_bytes} | {p['recall']:.4f} | {trained:.2f} | {figure(p['rate'])} |", flush=True)


# ---------------------------------------------------------------------------- plots
def plot(points, key, label, is_log, path):
    """One panel a set: bytes a row (log) against key; ours filled, Faiss hollow."""
    import math

    names = list(dict.fromkeys(p["set"] for p in points))
    w, h, pad = 460, 360, 56
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{w * len(names)}" height="{h}" '
           'font-family="sans-serif" font-size="11">', '<rect width="100%" height="100%" fill="white"/>']
    fy = math.log10 if is_log else float
    ys = [fy(p[key]) for p in points]
    low, high = min(ys), max(ys)
    for i, name in enumerate(names):
        of = [p for p in points if p["set"] == name]
        xs = [math.log2(p["bytes"]) for p in of]
        x0, x1 = min(xs) - 0.3, max(xs) + 0.9
        left, top, width, height = i * w + pad, 28, w - pad - 12, h - 28 - 40

        def at(p):
            return (left + (math.log2(p["bytes"]) - x0) / (x1 - x0) * width,
                    top + height - (fy(p[key]) - low) / (high - low) * height)

        out.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>')
        out.append(f'<text x="{left + width / 2}" y="18" text-anchor="middle" font-size="13">{name}</text>')
        out.append(f'<text x="{left + width / 2}" y="{h - 8}" text-anchor="middle">bytes a row</text>')
        for e in range(math.ceil(x0), math.floor(x1) + 1):
            px = left + (e - x0) / (x1 - x0) * width
            out.append(f'<line x1="{px}" x2="{px}" y1="{top}" y2="{top + height}" stroke="#eee"/>'
                       f'<text x="{px}" y="{top + height + 14}" text-anchor="middle">{2 ** e}</text>')
        for t in range(5):
            v = low + (high - low) * t / 4
            py = top + height - height * t / 4
            word = f"{10 ** v / 1e6:.3g} M" if is_log else f"{v:.2f}"
            out.append(f'<line x1="{left}" x2="{left + width}" y1="{py}" y2="{py}" stroke="#eee"/>'
                       f'<text x="{left - 4}" y="{py + 4}" text-anchor="end">{word}</text>')
        for p in of:
            px, py = at(p)
            fill = "#1667b0" if p["by"] == "vecfs" else "white"
            stroke = "#1667b0" if p["by"] == "vecfs" else "#c03a2b"
            out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
                       f'<text x="{px + 6:.1f}" y="{py + (3 if p["by"] == "vecfs" else 12):.1f}" fill="{stroke}">'
                       f'{p["codec"]}</text>')
    out.append(f'<text x="6" y="18">{label}</text></svg>')
    path.write_text("\n".join(out) + "\n")


# ---------------------------------------------------------------------------- the run
def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "?"


def write_results(folder, head, b, points):
    """The section "quant/" of RESULTS.md; those of others stay."""
    folder.mkdir(parents=True, exist_ok=True)
    text = ["## quant/", "", head, "", *TABLE, *("| " + " | ".join(cells) + " |" for cells in b.rows)]
    if points:
        plot(points, "recall", "recall@10", False, folder / "quant-recall.svg")
        plot(points, "rate", "rows/s", True, folder / "quant-rate.svg")
        text += ["", "| set | codec | B/row | recall@10 | train s | rows/s of a scan |", "|---|---|---|---|---|---|"]
        text += [f"| {p['set']} | {p['by']} {p['codec']} | {p['bytes']} | {p['recall']:.4f} | {p['train']:.2f} | "
                 f"{figure(p['rate'])} |" for p in points]
        text += ["", "![recall by bytes a row](quant-recall.svg)", "", "![rows/s by bytes a row](quant-rate.svg)"]
    path = folder / "RESULTS.md"
    sections = re.split(r"(?m)^(?=## )", path.read_text() if path.exists() else "# Results\n\n")
    mine = "\n".join(text) + "\n"
    at = next((i for i, section in enumerate(sections) if section.startswith("## quant/")), None)
    if at is None:
        sections.append(mine)
    else:
        sections[at] = mine + ("\n" if at + 1 < len(sections) else "")
    path.write_text("".join(sections))


TABLE = ["| work | threads | vecfs | peer | which | ratio | bar |", "|---|---|---|---|---|---|---|"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", default="1", help="numbers of threads to measure with: 1, or 1,2")
    parser.add_argument("--only", choices=("train", "scan", "recall"))
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()

    lib = Library()
    b = Bench(lib, args.rounds, [int(word) for word in args.threads.split(",")])
    b.threads(1)
    head = (f"{processor()}, {os.cpu_count()} CPUs, level {lib.level()}; numpy {np.__version__}, "
            f"{'Faiss ' + faiss.__version__ if faiss else 'no Faiss here: its columns are empty'}; best of {args.rounds} rounds"
            f"{', QUICK' if args.quick else ''}")
    print(head, *TABLE, sep="\n", flush=True)
    n = (lambda count: count // 10) if args.quick else (lambda count: count)
    points = []
    if args.only in (None, "train"):
        training_and_encoding(b, n)
    if args.only in (None, "scan"):
        scans(b, n)
    if args.only in (None, "recall"):
        if data_folder() is None:
            print("no real sets: VECFS_DATA names no folder with glove/glove-50k.f32")
        points = recalls(b, args.quick)
    if args.out:
        write_results(args.out, head, b, points)


if __name__ == "__main__":
    main()
