"""The rows of the bench that are workloads of our own; programs.py has the others."""

from dataclasses import dataclass

import measure
from measure import SHARES
from peers import ROOT

GROUPS = ["calls", "one thread", "threads", "memory", "programs"]


@dataclass(frozen=True)
class Figure:
    """A number that a row prints itself, where time or peak is not the question."""
    key: str
    unit: str
    goal: str = "low"   # which end is good


@dataclass(frozen=True)
class Row:
    """One line of the table: a workload with its parameters.

    `work` is the parameter that the time grows with, and its value in a full
    run; other runs take a share of it, the usual ones `usual`.
    `time` and `memory` say whether that column answers a question here, and so
    enters the geometric means; both are measured and kept in any case.
    """
    name: str
    group: str
    program: str
    parameters: str = ""
    work: str = ""
    usual: float = SHARES["usual"]
    quick: bool = False     # part of a quick run
    time: bool = True
    memory: bool = True
    figures: tuple = ()
    repeat: int = 1
    runs_max: int = 100
    full_only: bool = False
    late: bool = False      # the workload loads the library itself

    @property
    def single(self):
        """Whether one thread does all, so that its instructions can be compared."""
        if self.program == "latency":
            return False    # reads the clock by an instruction that valgrind does not know
        return (self.group in ("calls", "one thread") and self.program != "sweep"
                or self.program in ("fragment", "footprint"))

    def question(self):
        """The first line of the workload's source, without its name."""
        source = ROOT / "bench" / "workloads" / f"{self.program}.c"
        with open(source, encoding="utf-8") as text:
            return text.readline().split(" - ", 1)[1].strip()

    def missing(self):
        """Why the row cannot run here, or None."""
        return None

    def prepare(self, setting):
        """Make inputs; there are none."""

    def _share(self, setting, full):
        share = self.usual if setting.size == "usual" else SHARES[setting.size]
        return max(1, round(full * share))

    def run(self, allocator, setting):
        """One run under an allocator; None where the question does not arise."""
        words = self.parameters.split()
        if self.work:
            key, full = self.work.split("=")
            words.append(f"{key}={self._share(setting, int(full))}")
        if self.late:
            if "/" not in allocator.library:
                return None
            words.insert(0, allocator.library)
        repeat = 1 if allocator.tool else self._share(setting, self.repeat)
        sample = measure.run([measure.BIN_DIR / self.program, *words],
                             None if self.late else allocator, repeat, cwd=setting.workdir)
        if self.repeat > 1:
            sample.figures["ops"] = repeat
        # Where the work is too short beside a start, the workload times its loop.
        sample.wall_s = sample.figures.pop("loop_s", sample.wall_s)
        return sample


def _pair(label, size, pairs, quick):
    return Row(f"pair {label}", "calls", "pair", f"size={size}", f"pairs={pairs}",
               usual=1.0 if size >= 64 << 10 else SHARES["usual"], quick=quick, memory=False,
               figures=(Figure("ns_per_pair", "ns"),))


WORKLOADS = [
    _pair("8 B", 8, 100_000_000, False),
    _pair("16 B", 16, 100_000_000, True),
    _pair("64 B", 64, 100_000_000, False),
    _pair("256 B", 256, 100_000_000, False),
    _pair("1 KiB", 1024, 100_000_000, True),
    _pair("4 KiB", 4096, 100_000_000, False),
    _pair("16 KiB", 16 << 10, 30_000_000, True),
    _pair("64 KiB", 64 << 10, 5_000_000, False),
    _pair("256 KiB", 256 << 10, 2_000_000, False),
    _pair("1 MiB", 1 << 20, 500_000, True),
    _pair("8 MiB", 8 << 20, 50_000, False),
    Row("sweep", "calls", "sweep", work="pairs=100000", usual=0.12, memory=False, figures=tuple(
        Figure(f"mops_{count}t", "M/s", "high") for count in (1, 6, 11, 16, 21))),
    Row("sweep, whole", "calls", "sweep", "step=16 cells=1", "pairs=200000", memory=False,
        full_only=True, figures=tuple(
            Figure(f"mops_{count}t", "M/s", "high") for count in (1, 6, 11, 16, 21))),
    Row("startup", "calls", "startup", usual=0.15, repeat=300),
    Row("glibc simple", "calls", "glibc_simple", work="ops=3000000", usual=1.0, memory=False),

    Row("churn", "one thread", "churn", work="steps=5000000", quick=True),
    Row("build, drop forward", "one thread", "build_drop", "order=0", "rounds=4", quick=True),
    Row("build, drop backward", "one thread", "build_drop", "order=1", "rounds=4"),
    Row("build, drop shuffled", "one thread", "build_drop", "order=2", "rounds=4", quick=True),
    Row("glibc thread, 1", "one thread", "glibc_thread", "threads=1", "steps=60000000", 0.5),
    Row("sh6", "one thread", "sh6", work="rounds=1000", usual=0.5),
    Row("realloc", "one thread", "realloc_grow", work="steps=800000", usual=0.5, quick=True),
    Row("aligned", "one thread", "aligned", work="steps=6000000", usual=0.5),
    Row("calloc", "one thread", "calloc", work="steps=4000000", quick=True),
    Row("large 5-25 MiB", "one thread", "large", work="steps=150", usual=0.12, quick=True),
    Row("stride", "one thread", "stride", work="columns=100000", usual=0.12),
    Row("bounded clients", "one thread", "pool", "touch=0", "steps=40000000", figures=(
        Figure("ns_per_step", "ns"), Figure("faults", ""), Figure("burst_2_faults", ""))),
    Row("latency", "one thread", "latency", work="steps=8000000", usual=0.12, time=False,
        memory=False, quick=True, figures=(Figure("p50_ns", "ns"), Figure("p99_9_ns", "ns"),
                             Figure("p99_99_ns", "ns"), Figure("max_ns", "ns"))),

    Row("churn, 2", "threads", "churn", "threads=2", "steps=3000000", 0.15),
    Row("churn, 4", "threads", "churn", "threads=4 live=100000", "steps=2000000", 0.15),
    Row("larson, 2", "threads", "larson", "threads=2", "generations=400", quick=True),
    Row("larson, 8", "threads", "larson", "threads=8", "generations=100", quick=True),
    Row("producer 1:1", "threads", "prodcons", "", "batches=20000", quick=True),
    Row("producers 3:2", "threads", "prodcons", "producers=3 consumers=2", "batches=20000"),
    Row("producers 1:4", "threads", "prodcons", "producers=1 consumers=4", "batches=20000"),
    Row("xmalloc, 2", "threads", "xmalloc", "threads=2", "batches=40000", quick=True),
    Row("xmalloc, 8", "threads", "xmalloc", "threads=8", "batches=10000", 0.5),
    Row("cache-scratch", "threads", "cache_scratch", work="steps=1000000", memory=False),
    Row("cache-thrash", "threads", "cache_thrash", work="steps=1000000", memory=False),
    Row("mstress, 4", "threads", "mstress", "threads=4", "rounds=25", quick=True),
    Row("mstress, 16", "threads", "mstress", "threads=16", "rounds=7", 0.3),
    Row("rptest, 2", "threads", "rptest", "threads=2", "loops=6000", quick=True),
    Row("rptest, 4", "threads", "rptest", "threads=4", "loops=3000"),
    Row("glibc thread, 4", "threads", "glibc_thread", "threads=4", "steps=15000000", 1.0),
    Row("sh8, 2", "threads", "sh8", "threads=2", "rounds=20000"),
    Row("sh8, 8", "threads", "sh8", "threads=8", "rounds=5000", 0.5),
    Row("short threads", "threads", "short_threads", work="threads=10000", quick=True,
        figures=(Figure("growth_kib", "KiB"),)),
    *(Row(f"t-test1, {count}", "threads", "t_test1", f"threads={count}", "ops=40000000",
          figures=(Figure("ops_per_s", "/s", "high"),)) for count in (1, 4, 20)),
    *(Row(f"t-test1 {size}, {count}", "threads", "t_test1", f"threads={count} max={size}",
          "ops=40000000", full_only=True, figures=(Figure("ops_per_s", "/s", "high"),))
      for size in (64 << step for step in range(12)) for count in (1, 5, 10, 20)),

    Row("fragment", "memory", "fragment", work=f"live={100 << 20}", usual=0.3, quick=True,
        figures=(Figure("last_ratio", "x"), Figure("worst_ratio", "x"))),
    Row("give back, small", "memory", "giveback", work=f"total={1 << 30}", time=False,
        memory=False, runs_max=1, figures=(
            Figure("resident_mib_at_once", "MiB"), Figure("resident_mib_idle", "MiB"),
            Figure("resident_mib_trimmed", "MiB"))),
    Row("give back, 16 KiB", "memory", "giveback", "size=16K", f"total={1 << 30}", time=False,
        memory=False, quick=True, runs_max=1, figures=(
            Figure("resident_mib_at_once", "MiB"), Figure("resident_mib_idle", "MiB"),
            Figure("resident_mib_trimmed", "MiB"))),
    Row("footprint, 8 B", "memory", "footprint", "", "blocks=10000000", 1.0, quick=True, figures=(
        Figure("process_kib", "KiB"), Figure("first_malloc_kib", "KiB"),
        Figure("bytes_per_byte", "x"))),
    Row("footprint, 100 B", "memory", "footprint", "size=100", "blocks=2000000", 0.5,
        figures=(Figure("bytes_per_byte", "x"),)),
    Row("idle threads", "memory", "idle_threads", work="threads=1000", usual=0.5, time=False,
        quick=True, figures=(Figure("kib_per_thread", "KiB"),)),
    Row("blow-up", "memory", "blowup", work=f"total={300 << 20}", usual=0.25, quick=True,
        figures=(Figure("peak_ratio", "x"),)),
    Row("late load", "memory", "late_load", time=False, memory=False, late=True, runs_max=1,
        figures=(Figure("foreign_blocks_freed", "", "high"),)),
]
