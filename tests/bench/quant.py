#!/usr/bin/env python3
"""Measures quant/ beside Faiss and numpy, in one run: `scripts/bench quant [--reps N] [--quick] [--out DIR] …`.

Speed: each figure is the median of N runs, ours and theirs in turn, with 1 thread (CPU seconds of the process) and
with 2 (seconds on the clock). Recall: codes only, recall@10 of 1,000 held-out queries, at equal bytes, on three real
sets (packages, words, sentences) from the folder VECFS_DATA. --out DIR writes RESULTS.md's part and two plots there.
"""

import argparse
import ctypes
import os
import pathlib
import statistics
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


# ---------------------------------------------------------------------------- measuring
class Bench:
    def __init__(self, lib, reps, counts=(1, 2)):
        self.lib, self.reps, self.counts, self.rows = lib, reps, counts, []

    def threads(self, n):
        self.lib.c.ql_threads(n)
        if faiss:
            faiss.omp_set_num_threads(n)

    def seconds(self, fn, threads):
        clock = time.process_time if threads == 1 else time.monotonic
        begin = clock()
        fn()
        return clock() - begin

    def compare(self, name, unit, amount, ours, theirs, peer, bar=None):
        """amount of units done by each call; theirs may be None."""
        for n in self.counts:
            self.threads(n)
            a, b = [], []
            for _ in range(self.reps):
                a.append(amount / self.seconds(ours, n))
                if theirs:
                    b.append(amount / self.seconds(theirs, n))
            self.row(name, n, unit, statistics.median(a), statistics.median(b) if b else None, peer, bar)
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
    words = sets().get("glove")

    def trains(dim, name, subs, data, bar):
        b.compare(f"train {name}, {len(data):,} x {dim}", "/s", 1, lambda: Codec(b.lib, name, dim).train(sample(data)),
                  faiss and (lambda: faiss.ProductQuantizer(dim, subs, 8).train(data)), "Faiss", bar)

    trains(768, "pq96", 96, x, 2.5)
    if words:
        trains(100, "pq25", 25, words[0], 10)
    if faiss:
        pq = faiss.ProductQuantizer(768, 96, 8)
        pq.train(x[: n(10000)])
        hadamard = faiss.IndexRaBitQ(768, faiss.METRIC_L2)
        hadamard.train(x)
        four = faiss.IndexRaBitQ(768, faiss.METRIC_L2, 4)
        four.train(x)
        scalar = faiss.ScalarQuantizer(768, faiss.ScalarQuantizer.QT_8bit)
        scalar.train(x)

    def encodes(name, theirs, peer, bar):
        codec = Codec(b.lib, name, 768).train(x).reserve(len(x))
        b.compare(f"encode {name}, 768-d", "rows/s", len(x), lambda: codec.encode(x), theirs, peer, bar)

    encodes("pq96", faiss and (lambda: pq.compute_codes(x)), "Faiss", 3.5 if b.lib.level() == "avx512" else 2)
    encodes("pq192x4", None, "-", None)
    encodes("opq96", None, "-", None)
    encodes("rabitq1", faiss and (lambda: hadamard.sa_encode(x)), "Faiss RaBitQ, unrotated", 4)
    few = np.ascontiguousarray(x[: n(2000)])
    codec = Codec(b.lib, "rabitq4", 768).train(x).reserve(len(few))
    b.compare("encode rabitq4, 768-d", "rows/s", len(few), lambda: codec.encode(few),
              faiss and (lambda: four.sa_encode(few)), "Faiss RaBitQ, unrotated", 8)
    encodes("sq8", faiss and (lambda: scalar.compute_codes(x)), "Faiss SQ8", 3)


def scans(b, n):
    """One query after the other; rows/s of codes looked at."""
    rng = np.random.default_rng(2)
    avx512 = b.lib.level() == "avx512"
    rows = n(100_032) // 64 * 64
    x = (rng.standard_normal((rows, 768)) * 0.98 ** np.arange(768)).astype(np.float32)
    queries = (rng.standard_normal((200, 768)) * 0.98 ** np.arange(768)).astype(np.float32)
    learn = sample(x, 20000)

    def scan(label, name, data, asked, make, peer, bar, times=1):
        dim = data.shape[1]
        codec = Codec(b.lib, name, dim).train(sample(data, 20000)).reserve(len(data) * times).encode(data)
        if times > 1:
            codec.repeat(len(data))
        index = make() if faiss and make else None
        b.compare(label, "rows/s", float(len(data) * times * len(asked)), lambda: codec.search(asked),
                  index and (lambda: index.search(asked, K)), peer, bar)

    def pq(times=1):
        index = faiss.IndexPQ(768, 96, 8)
        index.train(learn)
        for _ in range(times):
            index.add(x)
        return index

    def fast(times=1):
        index = faiss.IndexPQFastScan(768, 192, 4)
        index.train(learn)
        for _ in range(times):
            index.add(x)
        return index

    scan("scan pq96, 100k", "pq96", x, queries[:40], pq, "Faiss IndexPQ", 8 if avx512 else 1.3)
    scan("scan pq96, 1M", "pq96", x, queries[:10], lambda: pq(10), "Faiss IndexPQ", 8 if avx512 else 1.3, 10)
    scan("scan pq192x4, 100k", "pq192x4", x, queries, fast, "Faiss IndexPQFastScan", 1.0)
    scan("scan pq192x4, 1M", "pq192x4", x, queries[:40], lambda: fast(10), "Faiss IndexPQFastScan", 1.1, 10)
    scan("scan rabitq1, 100k", "rabitq1", x, queries, lambda: to_faiss(faiss.IndexRaBitQFastScan(768), x),
         "Faiss RaBitQFastScan", 2 if avx512 else 1.2)
    short = np.ascontiguousarray(x[:, :512])
    scan("scan rabitq4, 512-d, 100k", "rabitq4", short, np.ascontiguousarray(queries[:100, :512]),
         lambda: to_faiss(faiss.IndexRaBitQFastScan(512, faiss.METRIC_L2, 32, 4), short), "Faiss RaBitQFastScan 4 bits", 1.5)
    byte, half = faiss and faiss.ScalarQuantizer.QT_8bit, faiss and faiss.ScalarQuantizer.QT_fp16
    scan("scan sq8, 768-d, 100k", "sq8", x, queries[:40], lambda: to_faiss(faiss.IndexScalarQuantizer(768, byte), x),
         "Faiss SQ8", 1.8)
    thin = np.ascontiguousarray(x[:, :100])
    scan("scan sq8, 100-d, 100k", "sq8", thin, np.ascontiguousarray(queries[:, :100]),
         lambda: to_faiss(faiss.IndexScalarQuantizer(100, byte), thin), "Faiss SQ8", 5)
    scan("scan f16, 768-d, 100k", "f16", x, queries[:20], lambda: to_faiss(faiss.IndexScalarQuantizer(768, half), x),
         "Faiss fp16", 1.0)
    exact(b, x, queries)


NUMPY = """if True:
    import sys, time, numpy as np
    rows, dim, count, reps = map(int, sys.argv[1:5])
    x = np.random.default_rng(1).standard_normal((rows, dim)).astype(np.float32)
    q = np.random.default_rng(2).standard_normal((count, dim)).astype(np.float32)
    times = []
    for _ in range(reps + 1):
        begin = time.process_time()
        x @ q[0] if count == 1 else q @ x.T
        times.append(time.process_time() - begin)
    print(sorted(times[1:])[reps // 2])"""


def numpy_seconds(b, rows, dim, count, best):
    """In a process of its own: which kernels OpenBLAS takes is settled by variables when it is loaded."""
    env = {k: v for k, v in os.environ.items() if not best or k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    done = subprocess.run([sys.executable, "-c", NUMPY, *map(str, (rows, dim, count, max(3, b.reps)))], env=env,
                          capture_output=True, text=True, check=True)
    return float(done.stdout)


def exact(b, x, queries):
    b.threads(1)
    rows, dim = x.shape
    batch = queries[:100]
    product = np.empty((len(batch), rows), np.float32)
    ours = {"one query": [], "through sq8": [], "batch": []}
    sq8 = Codec(b.lib, "sq8", dim).train(x[:1000]).reserve(rows).encode(x)
    few = queries[:10]
    same = np.array_equal(search_exact(b.lib, x, few), sq8.search_sq8(few, x))
    for _ in range(b.reps):
        ours["one query"].append(b.seconds(lambda: search_exact(b.lib, x, few), 1) / len(few))
        ours["through sq8"].append(b.seconds(lambda: sq8.search_sq8(few, x), 1) / len(few))
        ours["batch"].append(b.seconds(lambda: b.lib.c.ql_gemm(size(len(batch)), size(rows), size(dim), pointer(batch),
                                                                pointer(x), pointer(product)), 1))
    ours = {name: statistics.median(times) for name, times in ours.items()}
    one = numpy_seconds(b, rows, dim, 1, True)
    b.row("exact, one query of 100k x 768", 1, "queries/s", 1 / ours["one query"], 1 / one, "numpy sgemv alone", 1.0)
    b.row("exact through sq8" + ("" if same else " DIFFERS"), 1, "queries/s", 1 / ours["through sq8"], 1 / one,
          "numpy sgemv alone", 3.5)
    flops = 2e-9 * rows * dim * len(batch)
    for best, bar, word in ((False, 1.2, "numpy sgemm as set up"), (True, 0.85, "numpy sgemm, its best kernel")):
        b.row("products of 100 queries", 1, "GFLOPS", flops / ours["batch"],
              flops / numpy_seconds(b, rows, dim, len(batch), best), word, bar)


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
        names = ["f16", "bf16", "sq8", "bit", "rabitq1", "rabitq2", "rabitq4", "rabitq5", "rabitq7", f"pq{width}",
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
    folder.mkdir(parents=True, exist_ok=True)
    text = [head, "", *TABLE, *("| " + " | ".join(cells) + " |" for cells in b.rows)]
    if points:
        plot(points, "recall", "recall@10", False, folder / "quant-recall.svg")
        plot(points, "rate", "rows/s", True, folder / "quant-rate.svg")
        text += ["", "| set | codec | B/row | recall@10 | train s | rows/s of a scan |", "|---|---|---|---|---|---|"]
        text += [f"| {p['set']} | {p['by']} {p['codec']} | {p['bytes']} | {p['recall']:.4f} | {p['train']:.2f} | "
                 f"{figure(p['rate'])} |" for p in points]
    (folder / "quant.md").write_text("\n".join(text) + "\n")


TABLE = ["| work | threads | vecfs | peer | which | ratio | bar |", "|---|---|---|---|---|---|---|"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", default="1,2", help="numbers of threads to measure with (1,2)")
    parser.add_argument("--only", choices=("train", "scan", "recall"))
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()

    lib = Library()
    b = Bench(lib, args.reps, [int(word) for word in args.threads.split(",")])
    b.threads(1)
    head = (f"{processor()}, {os.cpu_count()} CPUs, level {lib.level()}; numpy {np.__version__}, "
            f"{'Faiss ' + faiss.__version__ if faiss else 'no Faiss here: its columns are empty'}; medians of {args.reps}"
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
