"""Start a child through the launcher and say what it took, and who else was at work."""

import os
import platform
import resource
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from peers import ROOT

BUILD_DIR = ROOT / "build" / "bench"
BIN_DIR = BUILD_DIR / "bin"
LAUNCH = BIN_DIR / "launch"
TICK_HZ = os.sysconf("SC_CLK_TCK")

# A run counts as disturbed if others used more than this share of one core
# (beyond the two ticks by which the kernel's count may be off).
DISTURBED_CORES = 0.10


# How much of its work a row does in each kind of run; a row may say another share for `usual`.
SHARES = {"full": 1.0, "usual": 0.2, "quick": 0.12, "count": 0.02}


@dataclass(frozen=True)
class Setting:
    """How and where rows are run."""
    size: str           # a key of SHARES
    workdir: str
    idle_s: float = 0.0  # a server's memory is read after so long without a request; 0: not at all

    def choose(self, sizes):
        """The one of (full, usual, quick, count) that this run takes."""
        return sizes[list(SHARES).index(self.size)]


@dataclass
class Sample:
    """One run of one row under one allocator."""
    wall_s: float = 0.0
    user_s: float = 0.0
    sys_s: float = 0.0
    peak_kib: int = 0
    hwm_kib: int = 0
    minflt: int = 0
    majflt: int = 0
    status: int = 0          # exit status, 128 + signal, or 127: not started
    others_cores: float = 0.0
    disturbed: bool = False
    note: str = ""           # of a run that failed: its last words
    figures: dict = field(default_factory=dict)

    def read_launch_line(self, text):
        """Take over the launcher's `key=value` line."""
        for word in text.split():
            key, value = word.split("=")
            setattr(self, key, float(value) if key.endswith("_s") else int(value))


def build():
    """Build the workloads and the launcher; quick where nothing has changed."""
    configure = ["cmake", "-S", str(ROOT / "bench"), "-B", str(BUILD_DIR),
                 "-DCMAKE_BUILD_TYPE=Release"]
    make = ["cmake", "--build", str(BUILD_DIR), "--target", "bench_workloads", "--parallel", "2"]
    for command in (configure, make):
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: {' '.join(command)} failed\n{done.stdout}")


class Watch:
    """How much processor time others use between start and stop."""

    def __init__(self):
        self.start = self._read()

    @staticmethod
    def _read():
        with open("/proc/stat", encoding="ascii") as stat:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(
                int, stat.readline().split()[1:9])
        busy_s = (user + nice + system + irq + softirq + steal) / TICK_HZ
        own_s = sum(usage.ru_utime + usage.ru_stime for usage in map(
            resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
        return busy_s, own_s, os.times().elapsed

    def stop(self, sample):
        """Write the finding into the sample."""
        busy_s, own_s, passed_s = (end - start for end, start in zip(self._read(), self.start))
        spare_s = 2 / TICK_HZ
        others_s = max(0.0, busy_s - own_s - spare_s)
        sample.others_cores = others_s / max(passed_s, 1e-6)
        sample.disturbed = sample.others_cores > DISTURBED_CORES


def launch_words(allocator, line_file, repeat=1, limit_s=300):
    """The words that go before a command to run it measured, under an allocator or none.

    A tool that the allocator is to be watched with goes between; both get the preload.
    """
    words = [str(LAUNCH), "-o", line_file, "-r", str(repeat), "-t", str(limit_s)]
    if allocator is not None:
        words += ["-p", allocator.library]
    return words + ["--", *(allocator.tool if allocator is not None else ())]


def run(command, allocator, repeat=1, cwd=None, env=None, stdin_path=os.devnull):
    """Run a command to its end; its `key value` lines become figures."""
    sample = Sample()
    with tempfile.NamedTemporaryFile("r") as line, open(stdin_path, "rb") as stdin:
        words = launch_words(allocator, line.name, repeat) + [str(word) for word in command]
        watch = Watch()
        done = subprocess.run(words, stdin=stdin, capture_output=True, cwd=cwd, check=False,
                              env={**os.environ, **(env or {})})
        watch.stop(sample)
        sample.read_launch_line(line.read())
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        sample.note = (words[-1] if words else "").replace("\t", " ")[:120]
        sample.status = sample.status or done.returncode
    sample.figures = _figures(done.stdout.decode(errors="replace"))
    return sample


def program_pid(launcher):
    """The program that a launcher (a Popen) has started, below the tool that watches it."""
    pid = launcher.pid
    while True:
        path = Path(f"/proc/{pid}/task/{pid}/children")
        children = path.read_text(encoding="ascii").split() if path.exists() else []
        if not children:
            return pid
        pid = int(children[0])


def terminate(launcher):
    """Tell the program itself to end: a tool need not pass the signal on."""
    try:
        os.kill(program_pid(launcher), signal.SIGTERM)
    except OSError:
        launcher.terminate()


def resident_kib(launcher):
    """What is resident now of the program that a launcher has started."""
    status = Path(f"/proc/{program_pid(launcher)}/status").read_text(encoding="utf-8")
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _figures(text):
    figures = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0].isidentifier():
            try:
                figures[words[0]] = float(words[1])
            except ValueError:
                continue
    return figures


def machine():
    """What a reader of the numbers must know of the machine, as pairs."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(("model name", "CPU part")):
            model = line.split(":", 1)[1].strip()
            break
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    thp = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    mode = thp.read_text(encoding="ascii") if thp.exists() else "[none]"
    return {
        "machine": f"{model}, {len(os.sched_getaffinity(0))} cores, {memory_gib:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "thp": mode[mode.index("[") + 1:mode.index("]")],
    }
