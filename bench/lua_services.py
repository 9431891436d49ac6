#!/usr/bin/env python3
"""Starting Lua services: a heap for each beside malloc of every allocator that is installed.

Runs of all take turns; the tables show medians, and the ratio to `heap`.
"""
import argparse
import statistics
import subprocess
import sys

import measure
import peers

PROGRAM = measure.BIN_DIR / "lua_services"


def measure_one(source, allocator, states, threads, rounds):
    """Microseconds and processor time for one state, page faults for one, peak in MiB."""
    words = [str(PROGRAM), source, str(states), str(threads), str(rounds)]
    done = subprocess.run(words, env=allocator.environment(), text=True, capture_output=True,
                          check=False)
    if done.returncode != 0:
        raise SystemExit(f"{allocator.name}: {done.stderr.strip()}")
    return [float(word) for word in done.stdout.split()]


def take_turns(ways, runs, states, threads, rounds):
    """Medians of each way, of runs in the order A B C, C B A."""
    samples = {way: [] for way, _, _ in ways}
    for run in range(runs):
        for way, source, allocator in ways if run % 2 == 0 else reversed(ways):
            samples[way].append(measure_one(source, allocator, states, threads, rounds))
    return {way: [statistics.median(column) for column in zip(*rows)]
            for way, rows in samples.items()}


def show(title, medians, column):
    print(f"\n{title}\n{'':18}{'us wall':>10}{'us cpu':>10}{'ratio':>8}{'faults':>9}{'MiB':>8}")
    base = medians["allot, heap"][column]
    for way, row in medians.items():
        print(f"{way:18}{row[0]:10.2f}{row[1]:10.2f}{row[column] / base:8.3f}{row[2]:9.1f}"
              f"{row[3]:8.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--states", type=int, default=2000)
    arguments = parser.parse_args()
    if not PROGRAM.exists():
        sys.exit(f"{PROGRAM} is not built: liblua5.4-dev, then make bench, or see README.md")
    allocators = [allocator for allocator in peers.find() if allocator.name != "tbbmalloc"]
    allot = next(allocator for allocator in allocators if allocator.name == "allot")
    ways = [("allot, heap", "heap", allot)]
    ways += [(f"{one.name}, malloc", "malloc", one) for one in allocators]
    ceiling = [("bump, fresh", "bump", allot), ("bump, rewound", "rewind", allot)]

    show(f"{arguments.states} states, one after the other",
         take_turns(ways + ceiling, arguments.runs, arguments.states, 1, 0), 0)
    serial = None
    for threads in (1, 2, 4):
        medians = take_turns(ways, arguments.runs, 256, threads, 2)
        serial = serial or medians
        show(f"256 states at once on {threads} threads", medians, 1)
        print("cpu per state to that of one thread: " + ", ".join(
            f"{way} {row[1] / serial[way][1]:.2f}" for way, row in medians.items()))
    made = take_turns([("allot, heap", "create", allot)], arguments.runs, 200_000, 1, 0)
    print(f"\ncreate and destroy of a heap of 1 MiB: {made['allot, heap'][0]:.3f} us")


if __name__ == "__main__":
    main()
