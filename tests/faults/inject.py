"""inject.py - the k-th memory call fails, once or from then on, for many k.

strace makes mmap, munmap, madvise, mprotect and mremap fail with ENOMEM in a real program. The
program may say that there is no memory and end, or go on; it may not hang, nor die of a signal for
which the library is to blame. Programs have faults of their own there (and so has the loader), so
where the instruction that crashed is not the library's, the program is also swept with libc's
malloc: a signal that it dies of there as well proves nothing.
"""
import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "life"))
import driver  # noqa: E402
from driver import LIBRARY, LONG, Skipped, demand, folder, need, run  # noqa: E402

CALLS = "mmap,munmap,madvise,mprotect,mremap"
JOBS = os.cpu_count() or 1

PYTHON = ("import json, threading\n"
          "def f(n):\n"
          "    x = [json.dumps(list(range(i % 50))) for i in range(n)]\n"
          "    y = [bytearray(100000 + i * 1000) for i in range(30)]\n"
          "    return len(x) + len(y)\n"
          "f(3000)\n"
          "t = threading.Thread(target=f, args=(1000,)); t.start(); t.join()\n"
          "b = bytearray()\n"
          "for i in range(50): b += bytes(100000)\n"
          "del b\n"
          "print(f(2000))\n")


def strace(log, calls, when, error="ENOMEM"):
    """The command that injects; the loader of strace itself is not preloaded."""
    return [need("strace"), "-f", "-i", "-qq", "-o", log, "-e", f"trace={calls},mmap,openat",
            "-e", f"inject={calls}:error={error}:when={when}"]


def crashed_inside(log):
    """Whether the last fatal signal in a trace came from an instruction of the library."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return False
    ranges, loading = [], False
    for line in lines:
        if "openat(" in line:
            loading = LIBRARY in line
        mapped = re.search(r"mmap\(.*?, (\d+), .* = (0x[0-9a-f]+)$", line)
        if loading and mapped and ", -1, " not in line:
            ranges.append((int(mapped[2], 16), int(mapped[2], 16) + int(mapped[1])))
        crash = re.search(r"\[([0-9a-f]{8,})\] --- SIG(SEGV|BUS|ILL|FPE|TRAP) ", line)
        if crash and any(low <= int(crash[1], 16) < high for low, high in ranges):
            return True
    return False


def may_inject():
    """Skip where strace cannot trace."""
    with folder() as place:
        done = run(strace(f"{place}/log", "madvise", "1") + ["--", "true"], preloaded=False)
    if done.returncode != 0:
        raise Skipped("strace may not inject here: " + done.stderr.strip()[:100])


def first_own_call(program):
    """The number of mmap calls after which the loader of this program is done.

    It then unmaps its cache of library names, its first munmap; the library has made no call yet.
    """
    may_inject()
    with folder() as place:
        done = run([need("strace"), "-qq", "-o", f"{place}/log", "-e", "trace=mmap,munmap", "-E",
                    f"LD_PRELOAD={LIBRARY}", "--", program, "--version"], preloaded=False)
        demand(done.returncode == 0, driver.describe(done))
        with open(f"{place}/log", encoding="utf-8") as file:
            names = [line.split("(")[0] for line in file]
    return names.index("munmap") + 1


class End:
    """How a run ended: exit status (None: it hung), what it said, who crashed."""

    def __init__(self, status, text, log):
        self.status, self.text, self.ours = status, text, crashed_inside(log)

    def fault(self):
        """None if this end is fair, else what it was."""
        if "allot: error" in self.text:
            return "a misuse was reported"
        if self.ours:
            return "a crash inside the library"
        if "Out Of Memory" in self.text and LIBRARY not in self.text:
            return None  # redis says so and panics, and its report allocates again
        if self.status is None:
            return "hangs"
        if self.status == -signal.SIGABRT and re.search("memory|bad_alloc|thread", self.text, re.I):
            return None  # the program says why and aborts
        return signal.Signals(-self.status).name if self.status < 0 else None


def python_end(preloaded, calls, when, error):
    """Run the script to its end under injection; its End."""
    with folder() as place:
        preload = ["-E", f"LD_PRELOAD={LIBRARY}"] if preloaded else []
        command = (strace(f"{place}/log", calls, when, error) + preload +
                   ["--", need("python3"), "-I", "-S", "-c", PYTHON])
        try:
            done = run(command, preloaded=False, seconds=30, directory=place)
        except subprocess.TimeoutExpired:
            return End(None, "", f"{place}/log")
        if done.returncode == 0:
            demand(done.stdout == "2030\n", driver.describe(done))
        return End(done.returncode, done.stderr, f"{place}/log")


def redis_end(preloaded, calls, when, error):
    """Start redis-server under injection, load it, save, shut it down."""
    client = need("redis-cli")
    fill = ("for i = 1, 3000 do redis.call('set', 'k' .. i, string.rep('v', i % 900)) "
            "redis.call('rpush', 'l' .. i % 9, i) end redis.call('set', 'b', string.rep('x', 3000000)) "
            "for i = 1, 2500 do redis.call('del', 'k' .. i) end")
    with folder() as place:
        path, said = f"{place}/s", f"{place}/said"
        preload = ["-E", f"LD_PRELOAD={LIBRARY}"] if preloaded else []
        command = (strace(f"{place}/log", calls, when, error) + preload +
                   ["--", need("redis-server"), "--port", "0", "--unixsocket", path, "--dir", place,
                    "--save", "", "--daemonize", "no"])
        with open(said, "w", encoding="utf-8") as file:
            server = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                                      env=driver.environment(False), cwd=place,
                                      start_new_session=True)
        status = None
        try:
            end = time.monotonic() + 10
            while server.poll() is None and time.monotonic() < end:
                with socket.socket(socket.AF_UNIX) as link:
                    try:
                        link.connect(path)
                        break
                    except OSError:
                        time.sleep(0.01)
            if server.poll() is None:
                words = f'eval "{fill}" 0\nbgsave\nping\nshutdown nosave\n'
                run([client, "-s", path], preloaded=False, text_in=words, seconds=10)
            status = server.wait(10)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
        with open(said, encoding="utf-8", errors="replace") as file:
            return End(status, file.read()[-6000:], f"{place}/log")


def sweep(end, whens, calls=CALLS, error="ENOMEM"):
    """Try all; what dies with the library is forgiven only if it dies alike without."""
    may_inject()
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        results = list(pool.map(lambda when: end(True, calls, when, error), whens))
    bad = [(when, one.fault(), one.text) for when, one in zip(whens, results) if one.fault()]
    own = set()
    if any(what.startswith("SIG") for _, what, _ in bad):
        plain = [f"{k}{'+' if whens[0].endswith('+') else ''}"
                 for k in range(1, 151, 1 if LONG else 3)]
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            own = {one.fault() for one in pool.map(lambda when: end(False, calls, when, error),
                                                   plain)}
    left = [one for one in bad if one[1] not in own or not one[1].startswith("SIG")]
    through = sum(1 for one in results if one.status == 0)
    print(f"{len(results)} runs: {through} went through, {len(bad)} died; own faults of the program: "
          f"{sorted(own - {None})}")
    demand(through > 0 or whens[0].endswith("+"), "no run went through")
    demand(not left, *(f"{calls} when={when}: {what}\n{text[-600:]}"
                       for when, what, text in left[:5]))


def points(program, short, plus=""):
    """k for `when=`: 1 to 200 in a long run, else these, counted from the end of the loader."""
    first = first_own_call(need(program)) if not LONG else 1
    return [f"{first + k}{plus}" for k in (range(200) if LONG else short)]


def case_python_survives_the_failure_of_any_one_memory_call():
    sweep(python_end, points("python3", [*range(24), *range(30, 90, 10)]))


def case_python_ends_in_order_when_all_memory_calls_fail_from_some_point_on():
    sweep(python_end, points("python3", [*range(24), *range(30, 90, 10)], "+"))


def case_python_survives_when_memory_cannot_be_given_back():
    sweep(python_end, ["1", "2", "3", "1+", "5+"], calls="madvise", error="EAGAIN")
    sweep(python_end, ["1+"], calls="madvise", error="EINVAL")


def case_redis_survives_the_failure_of_any_one_memory_call():
    sweep(redis_end, points("redis-server", [*range(0, 16), *range(20, 60, 8)]))


def case_redis_ends_in_order_when_all_memory_calls_fail_from_some_point_on():
    sweep(redis_end, points("redis-server", [*range(0, 16), *range(20, 60, 8)], "+"))


def case_redis_survives_when_memory_cannot_be_given_back():
    sweep(redis_end, ["1", "2", "1+"], calls="madvise", error="EAGAIN")


driver.main(globals())
