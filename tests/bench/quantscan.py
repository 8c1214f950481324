#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scans and scalar codes of quant/ beside Faiss and numpy: quantscan.py LIBQUANTLIB [NAME...]

Both sides in turn in one run, one thread, process CPU time, the best of several rounds. Needs numpy and
faiss-cpu. A line: what, our figure, the peer's, the ratio and the one that is asked for.
"""
import ctypes as C
import os
import sys
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np
import faiss

faiss.omp_set_num_threads(1)
lib = C.CDLL(sys.argv[1])
for name in "exact sq8 rabitq codes".split():
    getattr(lib, "sl_" + name).restype = C.c_void_p
lib.sl_finished.restype = C.c_size_t
lib.ql_level_name.restype = C.c_char_p
L2, IP, COSINE = 0, 1, 2
F32, F16, BF16 = 0, 1, 2


def ptr(a):
    assert a.flags.c_contiguous
    return C.c_void_p(a.ctypes.data)


class Column:
    """A column of quantlib; keep what it was made of."""

    def __init__(self, kind, *args, keep=None):
        self.handle = C.c_void_p(getattr(lib, "sl_" + kind)(*args))
        self.keep = keep

    def search(self, queries, k):
        queries = np.ascontiguousarray(queries)
        rows = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k), np.float32)
        lib.sl_search(self.handle, ptr(queries), C.c_size_t(len(queries)), C.c_size_t(k), ptr(rows), ptr(distances))
        return distances, rows


def exact(x, metric, dtype=F32):
    n, dim = x.shape
    rows = np.ascontiguousarray(x, np.float32)
    if dtype != F32:
        halves = np.empty(x.shape, np.uint16)
        (lib.sl_to_f16 if dtype == F16 else lib.sl_to_bf16)(ptr(halves), ptr(rows), C.c_size_t(rows.size))
        rows = halves
    return Column("exact", dtype, metric, ptr(rows), C.c_size_t(n), C.c_uint32(dim), keep=rows)


def sq8(x, metric, is_exact=False):
    n, dim = x.shape
    return Column("sq8", metric, ptr(x), C.c_size_t(n), C.c_uint32(dim), int(is_exact), keep=x)


def rabitq(x, metric, bits, seed=42):
    n, dim = x.shape
    return Column("rabitq", metric, bits, ptr(x), C.c_size_t(n), C.c_uint32(dim), C.c_uint64(seed))


def codes(rows, centroids):
    n, code_bytes = rows.shape
    return Column("codes", centroids, C.c_size_t(code_bytes), ptr(rows), C.c_size_t(n))


def cpu(f):
    start = time.process_time()
    f()
    return time.process_time() - start


def best(*functions, rounds=7, again=3):
    """The least CPU seconds of each, taken in turn: a neighbour's noise hits all of them. A turn is several calls:
    what fits into a cache is there."""
    least = [1e9] * len(functions)
    for _ in range(rounds):
        for i, f in enumerate(functions):
            least[i] = min(least[i], *(cpu(f) for _ in range(again)))
    return least


def told(what, ours, peer, unit, bar):
    good = "" if ours / peer >= bar else "  MISSED"
    print(f"{what:44} {ours:9.2f} {peer:9.2f} {unit:8} x{ours / peer:6.2f}  (asked {bar}){good}", flush=True)


def recall(got, want):
    return sum(len(np.intersect1d(a, b)) for a, b in zip(got, want)) / want.size


rng = np.random.default_rng(1)


def gaussian(n, dim):
    return rng.standard_normal((n, dim), dtype=np.float32)


def faiss_codes(index, rows):
    index.ntotal = len(rows)
    faiss.copy_array_to_vector(rows.ravel(), index.codes)


def bench_pq8():
    x, q = gaussian(3000, 768), gaussian(4, 768)
    for n in (100_000, 1_000_000):
        peer = faiss.IndexPQ(768, 96, 8)
        peer.do_polysemous_training = False
        peer.verbose = False
        peer.train(x)
        rows = rng.integers(0, 256, (n, 96), dtype=np.uint8)
        faiss_codes(peer, rows)
        book = faiss.vector_to_array(peer.pq.centroids).reshape(96, 256, 8)
        tables = ((q.reshape(len(q), 96, 1, 8) - book) ** 2).sum(3, dtype=np.float32)
        ours = codes(rows, 256)
        got, want = ours.search(tables, 10), peer.search(q, 10)
        sums = [np.add.reduce(t[np.arange(96)[None], rows[r]], 1) for t, r in zip(tables, got[1])]
        assert np.allclose(np.array(sums), got[0], rtol=1e-5)
        assert recall(got[1], want[1]) > 0.97, "not Faiss's answer"  # its sums have another order
        a, b = best(lambda: ours.search(tables[:1], 10), lambda: peer.search(q[:1], 10), rounds=9)
        told(f"pq 96x8 scan, {n} rows", n / a / 1e6, n / b / 1e6, "M rows/s", 8)


def bench_pq4():
    x, q = gaussian(20000, 768), gaussian(1, 768)
    for n, bar in ((100_000, 1.0), (1_000_000, 1.1)):
        peer = faiss.IndexPQFastScan(768, 192, 4)
        peer.train(x[:3000])
        for _ in range(n // 20000):
            peer.add(x)
        ours = codes(rng.integers(0, 256, (n, 96), dtype=np.uint8), 16)
        tables = np.square(gaussian(1, 192 * 16) * 0.25 + 1)
        a, b = best(lambda: ours.search(tables, 10), lambda: peer.search(q, 10), rounds=15)
        told(f"4-bit scan 96 B, {n} rows", n / a / 1e6, n / b / 1e6, "M rows/s", bar)


def bench_rabitq():
    n = 100_000
    for bits, dim, bar in ((1, 768, 2), (4, 512, 1.5)):
        x, q = gaussian(20000, dim), gaussian(1, dim)
        peer = faiss.index_factory(dim, "RaBitQfs" if bits == 1 else f"RaBitQfs{bits}")
        peer.train(x)
        for _ in range(n // 20000):
            peer.add(x)
        ours = rabitq(np.tile(x, (n // 20000, 1)), L2, bits)
        a, b = best(lambda: ours.search(q, 10), lambda: peer.search(q, 10), rounds=11)
        told(f"rabitq{bits} scan with factors, {n} x {dim}", n / a / 1e6, n / b / 1e6, "M rows/s", bar)
    for bits, rounds, bar in ((1, 3, 4), (4, 2, 8)):
        for dim in (512, 768):
            x = gaussian(20000, dim)
            ours = rabitq(x, L2, bits)
            peer = faiss.index_factory(dim, ("HR," if faiss_has_hr(dim) else "RR,") + ("RaBitQ" if bits == 1 else f"RaBitQ{bits}"))
            peer.train(x)

            def add():
                peer.reset()
                peer.add(x)

            a, b = best(lambda: lib.sl_rabitq_encode(ours.handle, ptr(x)), add, rounds=rounds, again=1)
            told(f"rabitq{bits} encode, {dim}", 20e3 / a / 1e3, 20e3 / b / 1e3, "k rows/s", bar)


def faiss_has_hr(dim):
    try:
        faiss.index_factory(dim, "HR,RaBitQ")
        return True
    except RuntimeError:
        return False


def bench_sq8():
    for dim, scan_bar in ((768, 1.8), (100, 5)):
        n = 100_000
        x, q = gaussian(n, dim), gaussian(1, dim)
        ours = sq8(x, L2)
        peer = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2)
        peer.train(x[:20000])

        def add():
            peer.reset()
            peer.add(x)

        a, b = best(lambda: lib.sl_sq8_encode(ours.handle, ptr(x)), add, rounds=3, again=1)
        told(f"sq8 encode, {dim}", n / a / 1e6, n / b / 1e6, "M rows/s", 3 if dim == 768 else 1)
        a, b = best(lambda: ours.search(q, 10), lambda: peer.search(q, 10), rounds=9)
        told(f"sq8 scan, {dim}", n / a / 1e6, n / b / 1e6, "M rows/s", scan_bar)


def bench_halves():
    for dim in (768, 100):
        n = 100_000
        x, q = gaussian(n, dim), gaussian(1, dim)
        for dtype, name, kind in ((F16, "f16", "QT_fp16"), (BF16, "bf16", "QT_bf16")):
            ours = exact(x, L2, dtype)
            peer = faiss.IndexScalarQuantizer(dim, getattr(faiss.ScalarQuantizer, kind), faiss.METRIC_L2)
            peer.add(x)
            a, b = best(lambda: ours.search(q, 10), lambda: peer.search(q, 10), rounds=9)
            told(f"{name} scan, {dim}", n / a / 1e6, n / b / 1e6, "M rows/s", 1)


def bench_exact():
    n, dim = 100_000, 768
    x, q = gaussian(n, dim), gaussian(100, dim)
    ours, fast = exact(x, IP), sq8(x, IP, True)
    assert all((a == b).all() for a, b in zip(ours.search(q[:5], 10), fast.search(q[:5], 10))), "sq8 is not exact"

    def numpy():
        s = x @ q[0]
        part = np.argpartition(-s, 10)[:10]
        return part[np.argsort(-s[part])]

    a, b, c = best(lambda: ours.search(q[:1], 10), lambda: fast.search(q[:1], 10), numpy, rounds=9)
    told("exact, 100k x 768, one query", 1 / a, 1 / c, "queries/s", 1)
    told("the same through sq8, equal results", 1 / b, 1 / c, "queries/s", 3.5)
    out = np.empty((100, 20000), np.float32)
    part = exact(x[:20000], IP)
    a, c = best(lambda: lib.sl_batch(part.handle, ptr(q), C.c_size_t(100), ptr(out)), lambda: q @ x[:20000].T, rounds=7)
    told("batch of 100, 20k x 768, all distances", 100 / a, 100 / c, "queries/s", 0.85)


SETS = {"debpkg": 512, "glove": 100, "minilm": 384}
ASKED = {"debpkg": {1: .735, 4: .954, 5: .974, 7: .992}, "glove": {1: .571, 4: .925, 5: .955, 7: .986}, "minilm": {1: .752}}


def bench_recall():
    folder = os.environ.get("VECFS_DATA")
    if not folder:
        print("recall: skipped, VECFS_DATA names no folder with debpkg/, glove/ and minilm/")
        return
    for name, dim in SETS.items():
        path = [os.path.join(folder, name, f) for f in os.listdir(os.path.join(folder, name)) if f.endswith(".f32")][0]
        x = np.fromfile(path, np.float32).reshape(-1, dim)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        held = np.random.default_rng(7).permutation(len(x))[:1000]
        q, x = np.ascontiguousarray(x[held]), np.ascontiguousarray(np.delete(x, held, 0))
        want = exact(x, L2).search(q, 10)[1]
        assert (sq8(x, L2, True).search(q, 10)[1] == want).all()
        peer = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2)
        peer.train(x)
        peer.add(x)
        theirs, ours = recall(peer.search(q, 10)[1], want), recall(sq8(x, L2).search(q, 10)[1], want)
        print(f"recall@10 {name:8} sq8 {ours:.4f}  Faiss {theirs:.4f}{'' if ours >= theirs - .002 else '  MISSED'}")
        for dtype, half in ((F16, "f16"), (BF16, "bf16")):
            print(f"recall@10 {name:8} {half} {recall(exact(x, L2, dtype).search(q, 10)[1], want):.4f}")
        for bits in range(1, 9):
            column = rabitq(x, L2, bits)
            got = recall(column.search(q, 10)[1], want)
            asked = ASKED[name].get(bits)
            side = 8 if bits == 1 else 12
            print(f"recall@10 {name:8} rabitq{bits} {got:.4f}  {(dim + 63) // 64 * 8 * bits + side} B"
                  f"  finished {lib.sl_finished(column.handle) / len(q):.0f} a query"
                  + (f"  (asked {asked - .01:.3f}){'' if got >= asked - .01 else '  MISSED'}" if asked else ""), flush=True)


if __name__ == "__main__":
    print("level", lib.ql_level_name().decode(), "| faiss", faiss.__version__, "| numpy", np.__version__)
    every = {n[6:]: f for n, f in list(globals().items()) if n.startswith("bench_")}
    for name in sys.argv[2:] or every:
        every[name]()
