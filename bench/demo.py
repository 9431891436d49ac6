#!/usr/bin/env python3
"""A real redis-server under load: allot beside every allocator that is installed.

Each round starts two servers under each allocator in turn: one is loaded by
redis-benchmark, the other filled with values of mixed sizes, of which the
oldest nine tenths are deleted again, as expiry does. Less than a minute.
Nothing is left running, also on Ctrl-C.
"""

import argparse
import math
import signal
import sys
import time
from statistics import median

import peers
from redis_server import DROP, FILL, RedisError, RedisServer

ROUNDS = 3
BUDGET_S = 58           # no further round is begun that would end after this
KEY_COUNT = 120_000
IDLE_S = 1.0            # from the deletion to the look at what is still resident
LOADS = (("set", 180_000, ("-r", "100000", "-d", "200")),
         ("get", 180_000, ("-r", "100000")),
         ("lpush", 180_000, ("-d", "100")))

# What redis itself counts as used.
USED = "return tonumber(string.match(redis.call('INFO', 'memory'), 'used_memory:(%d+)'))"
RATES = [load[0] for load in LOADS]


def maps_library(pid, allocator):
    """Whether the server really has the allocator's library mapped."""
    name = allocator.library.rsplit("/", 1)[-1].split(".so")[0]
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        return name in maps.read()


def used_kib(server):
    """redis's used_memory."""
    return int(server.command("EVAL", USED, 0)[1:]) / 1024


def one_pair(allocator, which):
    """Load one server, fill another; return requests per second and KiB by name."""
    values = {}
    with RedisServer(env=allocator.environment()) as server:
        if not maps_library(server.process.pid, allocator):
            raise RedisError(f"{allocator.library} was not loaded")
        for name, count, words in LOADS:
            values[name] = server.benchmark("-t", name, "-n", str(count), "-P", "16", "-c", "50",
                                            *words)
    values["speed"] = geometric_mean([values[name] for name in RATES])
    with RedisServer(env=allocator.environment()) as server:
        server.command("EVAL", FILL, 0, KEY_COUNT)
        values["full"] = server.memory_kib("VmRSS")
        values["full used"] = used_kib(server)
        left = int(server.command("EVAL", DROP, 0, KEY_COUNT, which)[1:])
        if abs(left / KEY_COUNT - 0.1) > 0.005:
            raise RedisError(f"{left} keys are left of {KEY_COUNT}")
        time.sleep(IDLE_S)
        values["after"] = server.memory_kib("VmRSS")
        values["after used"] = used_kib(server)
    return values


def run_rounds(allocators, rounds, which):
    """{allocator: [values of each round]}; an allocator that fails is left out, and said."""
    found = {allocator.name: [] for allocator in allocators}
    start_s = time.monotonic()
    for number in range(1, rounds + 1):
        round_s = time.monotonic()
        for allocator in list(allocators):
            progress(f"round {number} of {rounds}: redis-server on {allocator.name}")
            try:
                found[allocator.name].append(one_pair(allocator, which))
            except RedisError as error:
                progress("")
                print(f"{allocator.name} is left out: {error}")
                allocators.remove(allocator)
                found.pop(allocator.name)
        now_s = time.monotonic()
        if number < rounds and now_s - start_s + (now_s - round_s) > BUDGET_S:
            break
    progress("")
    return found


def progress(text):
    """A passing line, on a terminal only."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)


def geometric_mean(values):
    """Of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


def print_table(medians, own):
    """Absolute numbers, and three ratios to one allocator."""
    print(f"{'':<10}{'thousand requests / s':^24}  {'resident (used), MiB':^30}"
          f"{f'relative to {own}':^27}".rstrip())
    print(f"{'':<10}" + "".join(f"{name:>8}" for name in RATES) +
          f"{'full':>16}{'90 % deleted':>16}{'speed':>11}{'full':>8}{'after':>8}")
    for name, values in medians.items():
        speed, full, after = standing(medians, name, own)
        print(f"{name:<10}" + "".join(f"{values[rate] / 1000:>8.0f}" for rate in RATES) +
              "".join(f"{resident_and_used(values, when):>16}" for when in ("full", "after")) +
              f"{speed:>11.2f}{full:>8.2f}{after:>8.2f}")


def resident_and_used(values, when):
    """What the kernel and what redis counts, in MiB."""
    return f"{values[when] / 1024:.1f} ({values[f'{when} used'] / 1024:.1f})"


def standing(medians, name, own):
    """Speed, full size and rest after the deletion of one allocator over another's."""
    return tuple(medians[name][key] / medians[own][key] for key in ("speed", "full", "after"))


def compared(ratio, more, less, level):
    """A ratio in words; within 3 % it is level, which is what these runs can tell apart."""
    if abs(ratio - 1) <= 0.03:
        return level
    return f"{ratio - 1:.0%} {more}" if ratio > 1 else f"{1 - ratio:.0%} {less}"


def speed_range(found, own, other):
    """The lowest and the highest ratio of speeds in one round, as text."""
    ratios = [mine["speed"] / theirs["speed"] for mine, theirs in zip(found[own], found[other])]
    return f"{min(ratios):.2f} to {max(ratios):.2f} times its speed, by round"


def meaning(found, medians, own, which):
    """What the table says of one allocator against the best of the others in each column."""
    others = {name: standing(medians, name, own) for name in medians if name != own}
    fastest = max(others, key=lambda name: others[name][0])
    lowest = min(others, key=lambda name: others[name][1])
    leanest = min(others, key=lambda name: others[name][2])
    speed = compared(1 / others[fastest][0], "faster than", "slower than", "as fast as")
    full = compared(1 / others[lowest][1], "more than", "less than", "as much as")
    after = compared(1 / others[leanest][2], "more than", "less than", "as much as")
    rest = medians[own]["after"] / medians[own]["full"]
    return (f"On {own} this server is about {speed} on {fastest}, the fastest of the others "
            f"({speed_range(found, own, fastest)}). Full, it holds {full} with {lowest}, the "
            f"lowest of the others. {IDLE_S:g} s after the {which} nine tenths of the keys were "
            f"deleted, {rest:.0%} of the full size is still resident, {after} with {leanest}, the "
            "best of the others there.")


def main():
    """Run the rounds, print the table and what it means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--lib", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--scattered", action="store_true",
                        help="delete keys all over the memory in place of the oldest ones")
    args = parser.parse_args()
    which = "scattered" if args.scattered else "oldest"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it was ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        allocators = peers.find(args.lib)
    except peers.AllocatorError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    own = "allot"
    if own not in [allocator.name for allocator in allocators]:
        print("demo: build/release/liballot.so.1 is missing; run make", file=sys.stderr)
        return 1
    print("redis-server under redis-benchmark on "
          + ", ".join(f"{allocator.name} {allocator.version}" for allocator in allocators))
    try:
        found = run_rounds(allocators, args.rounds, which)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; the server was stopped", file=sys.stderr)
        return 130
    except FileNotFoundError as error:
        print(f"demo: {error.filename} is not installed; run tools/install-packages demo",
              file=sys.stderr)
        return 1
    medians = {name: {key: median(values[key] for values in rounds) for key in rounds[0]}
               for name, rounds in found.items() if rounds}
    if own not in medians or len(medians) < 2:
        print("demo: nothing to compare", file=sys.stderr)
        return 1
    print(f"medians of {max(map(len, found.values()))} rounds, in each two fresh servers for each "
          "allocator, in turn\n")
    print_table(medians, own)
    print("\nspeed (geometric mean of the three rates): more is better; memory: less is better. "
          f"used: redis's\nown used_memory; after: {IDLE_S:g} s after the deletion.")
    if "jemalloc" in medians:
        print("Debian links redis-server to jemalloc: that line is redis as it is installed. "
              "In the other lines\nthe preloaded allocator takes its place.")
    if not args.scattered:
        print("Deleting the oldest keys empties whole pages. Scattered deletions hardly do, and "
              "then next to\nnothing goes back under any allocator: see bench/demo.py --scattered.")
    print("\n" + wrap(meaning(found, medians, own, which)))
    return 0


def wrap(text, width=100):
    """Lines of at most this width."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
