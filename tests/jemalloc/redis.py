"""redis.py - Debian's redis-server, which is linked to libjemalloc, believes what it is told."""
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "life"))
import driver  # noqa: E402
from driver import demand, environment, folder, need, run  # noqa: E402

# A program that is linked to libjemalloc, where there is one.
LINKED = sys.argv.pop(2) if len(sys.argv) > 2 and os.sep in sys.argv[2] else ""
FILL = ("for i = 1, 60000 do redis.call('set', 'k' .. i, string.rep('v', i % 700)) end "
        "for i = 1, 60000 do if i % 5 > 0 then redis.call('del', 'k' .. i) end end")


class Redis:
    """A server on a Unix socket, from `with` to the end of its block."""

    def __init__(self, place):
        self.path = os.path.join(place, "s")
        self.client = need("redis-cli")
        command = [need("redis-server"), "--port", "0", "--unixsocket", self.path, "--dir", place,
                   "--save", "", "--daemonize", "no", "--enable-debug-command", "yes"]
        self.log = open(os.path.join(place, "log"), "wb")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            command, env=environment(True), stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        end = time.monotonic() + 20
        while not os.path.exists(self.path):
            demand(time.monotonic() < end and self.process.poll() is None, "redis does not start")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        self.log.close()
        demand(status == 0, f"redis ended with {status}")

    def call(self, *words):
        """What a command answers."""
        done = run([self.client, "-s", self.path, *words], preloaded=False)
        demand(done.returncode == 0, driver.describe(done))
        return done.stdout.strip()

    def memory(self):
        """INFO memory as a dictionary."""
        return dict(line.split(":", 1) for line in self.call("info", "memory").splitlines()
                    if ":" in line)


def case_info_memory_is_plausible_and_purge_returns_memory():
    with folder() as place, Redis(place) as redis:
        redis.call("eval", FILL, "0")
        time.sleep(0.3)  # redis samples its figures ten times a second
        info = redis.memory()
        figures = [int(info["allocator_" + name]) for name in ("allocated", "active", "resident")]
        demand(0 < figures[0] <= figures[1] <= figures[2], info)
        demand(float(info["allocator_frag_ratio"]) >= 1, info)
        demand(float(info["allocator_rss_ratio"]) >= 1, info)
        demand(info["mem_allocator"].startswith("jemalloc-"), info)
        demand(int(info["used_memory"]) <= figures[0], info)
        demand(redis.call("memory", "purge") == "OK", "MEMORY PURGE")
        time.sleep(0.3)
        after = redis.memory()
        demand(int(after["allocator_resident"]) <= figures[2], after)


def case_redis_reports_and_diagnoses():
    with folder() as place, Redis(place) as redis:
        redis.call("eval", FILL, "0")
        demand("Sam" in redis.call("memory", "doctor"), "MEMORY DOCTOR")
        report = redis.call("memory", "malloc-stats")
        demand("stats.allocated: " in report and "bin: size 64 " in report, report)
        stats = redis.call("memory", "stats")
        demand("allocator.allocated" in stats and "allocator-fragmentation.ratio" in stats, stats)


def case_redis_reads_and_sets_what_its_debug_command_names():
    with folder() as place, Redis(place) as redis:
        demand("allot" in redis.call("debug", "mallctl-str", "version"), "version")
        demand(int(redis.call("debug", "mallctl", "arenas.page")) == os.sysconf("SC_PAGE_SIZE"),
               "arenas.page")
        count = "stats.background_thread.num_threads"
        demand(int(redis.call("debug", "mallctl", count)) == 1, "redis turns the purge thread on")
        redis.call("config", "set", "jemalloc-bg-thread", "no")
        demand(int(redis.call("debug", "mallctl", count)) == 0, "and off")
        delay = "arenas.dirty_decay_ms"
        demand(int(redis.call("debug", "mallctl", delay, "1500")) == 500, delay)
        demand(int(redis.call("debug", "mallctl", delay)) == 1500, delay)
        demand("ERR" in redis.call("debug", "mallctl", "prof.active"), "prof.active")


def case_a_program_linked_to_libjemalloc_gets_these_functions():
    """As the loader says: each name that redis imports is bound to the preloaded library."""
    bound = run([need("redis-server"), "--version"], LD_DEBUG="bindings", LD_BIND_NOW="1")
    demand(bound.returncode == 0, driver.describe(bound))
    library = os.path.basename(driver.LIBRARY)
    for name in ("malloc", "free", "mallctl", "nallocx", "malloc_stats_print",
                 "malloc_usable_size"):
        lines = re.findall(rf"binding file \S*redis\S* \[0\] to (\S+) \[0\]: "
                           rf"normal symbol `{name}'", bound.stderr)
        demand(lines and all(library.split(".so")[0] in line for line in lines), name, lines)


def case_wrong_calls_are_answered_as_libjemalloc_answers_them():
    """The same program on both: errors and lengths, and whose function it is."""
    theirs = driver.clean(run([LINKED], preloaded=False)).splitlines()
    ours = driver.clean(run([LINKED])).splitlines()
    demand("libjemalloc" in theirs[0], theirs[0])
    demand("liballot" in ours[0], ours[0])
    demand(theirs[1:] == ours[1:], *[f"libjemalloc: {a}\nallot:       {b}"
                                     for a, b in zip(theirs[1:], ours[1:]) if a != b])


def case_the_json_report_is_json():
    script = ("import ctypes\n"
              "text = []\n"
              "kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)\n"
              "keep = kind(lambda _, part: text.append(part))\n"
              "ctypes.CDLL(None).je_malloc_stats_print(keep, None, b'J')\n"
              "print(b''.join(text).decode())\n")
    report = json.loads(driver.clean(run([need("python3"), "-c", script])))["jemalloc"]
    demand(report["stats"]["allocated"] > 0 and report["bins"], report)


if LINKED == "":
    del case_wrong_calls_are_answered_as_libjemalloc_answers_them
driver.main(globals())
