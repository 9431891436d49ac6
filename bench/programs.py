"""The rows of the bench that are real programs."""

import ctypes.util
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import Callable

import inputs
import measure
from redis_server import DROP, FILL, RedisError, RedisServer
from rows import Figure
from servers import Memcached, Nginx, ServerError

# Strings hash the same in every run: with a random seed tables differ, and so does the work.
PYTHON_ENV = (("PYTHONHASHSEED", "0"),)


def find_binary(name):
    """Its path, or None: Debian's own program rather than a wrapper script of the same name."""
    plain = os.path.join("/usr/bin", name)
    if os.access(plain, os.X_OK):
        return plain
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


@dataclass(frozen=True)
class ProgramRow:
    """What all rows of programs have.

    `sizes` are those of a full, a usual, a quick and a counted run.
    """
    name: str
    what: str
    sizes: tuple
    quick: bool = True
    single: bool = True     # one thread does all, so that its instructions can be compared
    group: str = "programs"
    time: bool = True
    memory: bool = True
    figures: tuple = ()
    runs_max: int = 100
    full_only: bool = False
    late: bool = False

    def question(self):
        """What the program does in this row."""
        return self.what


@dataclass(frozen=True)
class Program(ProgramRow):
    """A program that runs to its end over an input that `write` makes.

    `words` may name {input}, {output} and {folder}; the size scales the input,
    or stands for {size} in the words.
    """
    binary: str = ""
    words: str = ""
    write: Callable = None  # size -> text of the input
    suffix: str = ""
    library: str = ""       # one that it loads by name
    compile: str = ""       # what makes a program of the input, in the working folder
    stdin: bool = False
    env: tuple = ()

    def missing(self):
        """Why the row cannot run here, or None."""
        for binary in [self.binary] + self.compile.split()[:1]:
            if find_binary(binary) is None:
                return f"{binary} is not installed"
        if self.library and ctypes.util.find_library(self.library) is None:
            return f"lib{self.library} is not installed"
        return None

    def _input(self, workdir):
        return os.path.join(workdir, self.name.replace(" ", "-") + ".input" + self.suffix)

    def prepare(self, setting):
        """Write the input."""
        if self.write is not None:
            with open(self._input(setting.workdir), "w", encoding="utf-8") as file:
                file.write(self.write(setting.choose(self.sizes)))
        if self.compile:
            words = self.compile.format(input=self._input(setting.workdir)).split()
            subprocess.run(words, cwd=setting.workdir, check=True)

    def run(self, allocator, setting):
        """One run under an allocator, in an empty folder."""
        with tempfile.TemporaryDirectory(dir=setting.workdir) as folder:
            names = {"input": self._input(setting.workdir), "folder": folder,
                     "output": os.path.join(folder, "output"), "work": setting.workdir,
                     "size": setting.choose(self.sizes)}
            words = [word.format(**names) for word in self.words.split()]
            sample = measure.run([find_binary(self.binary), *words], allocator, cwd=folder,
                                 env=dict(self.env),
                                 stdin_path=names["input"] if self.stdin else os.devnull)
        sample.figures = {}
        return sample


@dataclass(frozen=True)
class ServerRow(ProgramRow):
    """A fresh server under load by a client that runs without the allocator.

    The time is the client's, processor time and peak are the server's. Where
    the setting has it idle, what is then resident is a figure.
    """
    binaries: tuple = ()
    server: Callable = None     # words that go before the command -> context
    load: Callable = None       # (server, number of requests)
    steady: bool = True         # whether an idle server is of interest here
    figures: tuple = (Figure("steady_mib", "MiB"),)

    def missing(self):
        """Why the row cannot run here, or None."""
        gone = [binary for binary in self.binaries if find_binary(binary) is None]
        return f"{gone[0]} is not installed" if gone else None

    def prepare(self, setting):
        """Make inputs; there are none."""

    def run(self, allocator, setting):
        """One run: a fresh server, its load, an orderly end."""
        sample = measure.Sample()
        count = setting.choose(self.sizes)
        with tempfile.NamedTemporaryFile("r", dir=setting.workdir) as line:
            watch = measure.Watch()
            try:
                with self.server(measure.launch_words(allocator, line.name)) as server:
                    start_s = time.monotonic()
                    self.load(server, count)
                    client_s = time.monotonic() - start_s
                    if self.steady and setting.idle_s > 0:
                        time.sleep(setting.idle_s)
                        sample.figures["steady_mib"] = measure.resident_kib(server.process) / 1024
                    server.shutdown()
                watch.stop(sample)
                sample.read_launch_line(line.read())
                sample.wall_s = client_s
                sample.figures["ops"] = count
            except (RedisError, ServerError, OSError, subprocess.TimeoutExpired) as error:
                sample.status, sample.note = 1, " ".join(str(error).split())[:120]
        return sample


def _redis(name, words, what, sizes, quick=False):
    """Only the row in quick runs is watched while it is idle: the others end in the same state."""
    def load(server, count):
        server.benchmark(*words.format(count=count).split())
    return ServerRow(name, what, sizes, quick, binaries=("redis-server", "redis-benchmark"),
                     server=RedisServer, load=load, steady=quick,
                     figures=ServerRow.figures if quick else ())


def _fill_and_drop(server, count):
    server.command("EVAL", FILL, 0, count)
    server.command("EVAL", DROP, 0, count, "oldest")


PROGRAMS = [
    _redis("redis set", "-t set -n {count} -r 1000000 -d 128 -P 16 -c 50",
           "sets random keys to 128 B values, pipelined", (700_000, 200_000, 150_000, 10_000),
           True),
    _redis("redis get", "-t set,get -n {count} -r 100000 -d 512 -P 16 -c 50",
           "sets 100,000 keys to 512 B values, then gets them", (500_000, 100_000, 80_000, 10_000)),
    _redis("redis lpush", "-t lpush -n {count} -d 64 -P 16 -c 50",
           "pushes 64 B values to one list", (1_000_000, 300_000, 200_000, 10_000)),
    _redis("redis lrange", "-t lrange_300 -n {count} -d 32 -c 50",
           "reads ranges of 300 elements", (40_000, 10_000, 8_000, 1000)),
    ServerRow("redis delete", "fills a database with 16 to 1,300 B values, deletes 90 % of it",
              (3_600_000, 150_000, 100_000, 10_000), False, server=RedisServer, runs_max=3,
              binaries=("redis-server",), load=_fill_and_drop),
    ServerRow("memcached", "sets and gets values of 16 to 100,000 B in two threads",
              (400_000, 40_000, 20_000, 2000), False, single=False, server=Memcached,
              binaries=("memcached",), load=Memcached.load),
    ServerRow("nginx", "compresses a page for each connection",
              (60_000, 10_000, 5000, 200), False, server=Nginx, binaries=("nginx",),
              load=Nginx.load),
    Program("lua", "builds and drops trees, strings and tables", (16, 15, 14, 10),
            binary="lua5.4", words="{input}",
            write=lambda size: inputs.LUA.replace("SIZE", str(size))),
    Program("lua states", "opens, uses and closes small interpreters, 500 at a time",
            (10_000, 2000, 1200, 40), False, binary=str(measure.BIN_DIR / "lua_states"),
            words="{size}", library="lua5.4"),
    Program("python3", "builds objects, dictionaries and JSON over its own small-block allocator",
            (10, 4, 4, 1), False, binary="python3", words="{input}", env=PYTHON_ENV,
            write=lambda size: inputs.PYTHON.replace("SIZE", str(size))),
    Program("python3 malloc", "the same with PYTHONMALLOC=malloc: every object is malloc's",
            (10, 4, 4, 1), binary="python3", words="{input}",
            env=PYTHON_ENV + (("PYTHONMALLOC", "malloc"),),
            write=lambda size: inputs.PYTHON.replace("SIZE", str(size))),
    Program("node", "packs and unpacks buffers, writes and reads JSON", (8000, 1000, 600, 40),
            False, False, binary="node", words="{input}",
            write=lambda size: inputs.NODE.replace("SIZE", str(size))),
    Program("java", "packs and unpacks direct buffers", (20_000, 2000, 1000, 100), False, False,
            binary="java", compile="javac -d . {input}", suffix=".java",
            words="-XX:+UseSerialGC -Xmx256m -XX:MaxDirectMemorySize=128m -cp {work} Native {size}",
            write=lambda _: inputs.JAVA),
    Program("gcc", "compiles generated C at -O2", (40, 14, 12, 2), binary="gcc",
            words="-O2 -x c -S -o {output} {input}", write=inputs.c_source),
    Program("z3", "factors a number in bit vectors",
            (131071 * 131101, 131071 * 131101, 262139 * 262133, 521 * 509), False, binary="z3",
            words="-smt2 {input}", write=lambda product: inputs.smt_problem(18, product)),
    Program("ghostscript", "turns pages of text and curves into PDF", (60, 30, 20, 3),
            binary="gs", write=inputs.postscript,
            words="-q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=pdfwrite -sOutputFile={output} {input}"),
    Program("imagemagick", "makes, scales, blurs and writes a picture", (1100, 450, 400, 60),
            False, binary="convert-im6.q16", env=(("MAGICK_THREAD_LIMIT", "1"),),
            words="-size {size}x{size} -seed 1 plasma:fractal -resize 150% -blur 0x2 "
                  "-rotate 7 -colors 64 png:{output}"),
    Program("db_bench", "rocksdb: writes, reads and overwrites keys in two threads",
            (80_000, 30_000, 30_000, 2000), False, False, binary="db_bench",
            words="--benchmarks=fillrandom,readrandom,overwrite --num={size} --value_size=200 "
                  "--threads=2 --db={folder} --disable_wal=1 --cache_size=33554432 "
                  "--compression_type=none"),
    Program("sqlite3", "builds, joins, updates and groups a table in memory",
            (250_000, 80_000, 80_000, 8000), binary="sqlite3", words=":memory:", stdin=True,
            write=lambda size: inputs.SQL.replace("SIZE", str(size))),
]
