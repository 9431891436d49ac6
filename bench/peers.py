"""The allocators that are compared: allot, and those that are installed here."""

import ctypes.util
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOT_LIBRARY = ROOT / "build" / "release" / "liballot.so.1"

# name, file names in the order of preference, Debian's package
PEERS = [
    ("jemalloc", ["libjemalloc.so.2"], "libjemalloc2"),
    ("tcmalloc", ["libtcmalloc_minimal.so.4", "libtcmalloc.so.4"], "libtcmalloc-minimal4"),
    ("mimalloc", ["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"], "libmimalloc2.0"),
    ("tbbmalloc", ["libtbbmalloc_proxy.so.2"], "libtbbmalloc2"),
]


class AllocatorError(Exception):
    """An allocator that was asked for cannot be used."""


@dataclass(frozen=True)
class Allocator:
    name: str
    library: str  # what LD_PRELOAD is set to
    version: str
    tool: tuple = ()  # words that start a program under a tool which counts

    def environment(self):
        """The environment that makes a child use this allocator."""
        return {**os.environ, "LD_PRELOAD": self.library}

    def check(self):
        """Refuse a library that the loader does not load (it only warns, and goes on)."""
        maps = subprocess.run(["cat", "/proc/self/maps"], env=self.environment(), text=True,
                              capture_output=True, check=False)
        name = os.path.basename(os.path.realpath(self.library)) if "/" in self.library else "libc"
        if maps.returncode != 0 or name not in maps.stdout:
            reason = maps.stderr.strip().splitlines()
            raise AllocatorError(f"{self.name}: {self.library} cannot be preloaded"
                                 + (f": {reason[-1]}" if reason else ""))


def _find(file_names):
    """The path of the first of these libraries that the loader knows."""
    cache = subprocess.run(["/sbin/ldconfig", "-p"], text=True, capture_output=True,
                           check=False).stdout
    known = {}
    for line in cache.splitlines():
        words = line.split()
        if "=>" in words and ("x86-64" in line or "AArch64" in line):
            known.setdefault(words[0], words[-1])
    return next((known[name] for name in file_names if name in known), None)


def _package_version(package, library):
    query = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], text=True,
                           capture_output=True, check=False)
    return query.stdout or os.path.basename(os.path.realpath(library))


def _glibc():
    # Preloading libc is the same as preloading nothing, except in a program
    # that is linked to an allocator of its own: there it brings glibc's back.
    version = os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    return Allocator("glibc", ctypes.util.find_library("c") or "libc.so.6", version.split()[-1])


def commit():
    """The commit that is checked out, with a + if the tree differs from it."""
    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], text=True, capture_output=True,
                              check=False).stdout.strip()
    changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed


def find(extra=(), only=()):
    """allot first, then glibc, then each installed peer, then NAME=PATH of `extra`."""
    named = dict(word.split("=", 1) for word in extra)
    found = {}
    if ALLOT_LIBRARY.exists():
        found["allot"] = Allocator("allot", str(ALLOT_LIBRARY), commit())
    elif "allot" in named:
        found["allot"] = None  # keeps its place as the first
    found["glibc"] = _glibc()
    for name, files, package in PEERS:
        path = _find(files)
        if path is not None:
            found[name] = Allocator(name, path, _package_version(package, path))
    for name, path in named.items():
        library = os.path.abspath(path)
        found[name] = Allocator(name, library, os.path.basename(os.path.realpath(library)))
    chosen = [peer for peer in found.values() if not only or peer.name in only]
    for allocator in chosen:
        allocator.check()
    return chosen
