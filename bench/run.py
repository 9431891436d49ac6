#!/usr/bin/env python3
"""The bench: allot beside every allocator that is installed, over all rows.

Whole processes are run in turn, A B C B C A, so that what happens to the
machine happens to all of them. Every run is kept in a file below results/.
"""

import argparse
import json
import math
import re
import shlex
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import chart
import measure
import peers
import report
from programs import PROGRAMS
from results import Results, Writer
from rows import GROUPS, WORKLOADS

RESULTS_DIR = peers.ROOT / "bench" / "results"
RUNS = {"full": 7, "usual": 3, "quick": 2}
IDLE_S = 2              # from the end of a load to the look at what is still resident
REPEATS_OF_ONE = 2      # a disturbed run is repeated so often at most,
REPEATS_SHARE = 0.25    # and all together at most this share of all runs
REPEATS_LIMIT_S = {"usual": 600, "quick": 120}  # and none later than this


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        epilog="Without --quick or --full: every usual row, 3 runs of a fifth of the work, less "
               "than 15 minutes.")
    parser.add_argument("--row", metavar="REGEX", help="only rows whose name contains this")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each row and allocator")
    parser.add_argument("--quick", action="store_true",
                        help="fewer rows, less work, 2 runs: about 3 minutes")
    parser.add_argument("--full", action="store_true",
                        help="also the long rows, all of the work, 7 runs: for published figures, "
                             "hours")
    parser.add_argument("--list", action="store_true", help="print the rows and their questions")
    parser.add_argument("--lib", action="append", default=[], metavar="NAME=PATH",
                        help="one more allocator, or another library for a known name")
    parser.add_argument("--only", metavar="NAMES", default="",
                        help="only these allocators, separated by commas")
    parser.add_argument("--time", choices=("wall", "cpu"), default="wall",
                        help="what the tables call time (both are kept)")
    parser.add_argument("--save", metavar="NAME",
                        help="keep the runs as results/NAME.tsv instead of results/local/DATE.tsv")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    return parser.parse_args()


def choose_rows(args):
    """The rows to run, by group; says which cannot run here."""
    rows = []
    for row in WORKLOADS + PROGRAMS:
        named = bool(args.row)
        if named and not re.search(args.row, row.name):
            continue
        if not named and (row.full_only and not args.full or args.quick and not row.quick):
            continue
        reason = row.missing()
        if reason:
            print(f"bench: without row {row.name}: {reason}", file=sys.stderr)
        else:
            rows.append(row)
    return sorted(rows, key=lambda row: GROUPS.index(row.group))


def list_rows():
    """Print all rows with their questions."""
    for group in GROUPS:
        print(f"[{group}]")
        for row in WORKLOADS + PROGRAMS:
            if row.group == group:
                when = "full" if row.full_only else "quick" if row.quick else ""
                print(f"  {row.name:<22}{when:<7}{row.question()}")


def say(text):
    """A passing line on the terminal, where there is one."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


class Repeats:
    """How many disturbed runs may still be repeated."""

    def __init__(self, planned_count, limit_s=None):
        self.left_count = math.ceil(planned_count * REPEATS_SHARE)
        self.end_s = None if limit_s is None else time.monotonic() + limit_s

    def take(self):
        """Whether there was one left."""
        self.left_count -= 1
        return self.left_count >= 0 and (self.end_s is None or time.monotonic() < self.end_s)


@dataclass
class Bench:
    """One run of the bench: what it compares and how, and where it says it."""
    allocators: list
    size: str
    runs: int
    writer: Writer
    repeats: Repeats
    workdir: str

    def run_row(self, row):
        """All runs of one row, in turn; each round begins with another allocator."""
        for run in range(1, min(self.runs, row.runs_max) + 1):
            # To wait for idle servers in every run would take most of a usual one.
            idle_s = IDLE_S if self.size == "full" or self.size == "usual" and run == 1 else 0
            setting = measure.Setting(self.size, self.workdir, idle_s)
            if run == 1:
                row.prepare(setting)
            first = (run - 1) % len(self.allocators)
            for allocator in self.allocators[first:] + self.allocators[:first]:
                say(f"{row.name}, run {run}: {allocator.name}")
                self._run_once(row, allocator, run, setting)
        say("")

    def _run_once(self, row, allocator, run, setting):
        for _ in range(1 + REPEATS_OF_ONE):
            sample = row.run(allocator, setting)
            if sample is None:
                return
            self.writer.add(row, allocator, run, sample)
            if not sample.disturbed or not self.repeats.take():
                return


def run_rows(bench, rows, path, metric, show):
    """Run the rows; each is shown when it is done."""
    names = [allocator.name for allocator in bench.allocators]
    group = None
    for row in rows:
        if row.group != group:
            group = row.group
            show(f"[{group}]")
        bench.run_row(row)
        results = Results(str(path), metric)
        for line in results.lines:
            if line.name == row.name:
                show(report.table_line(line, names))


def finish(path, metric, as_json, show):
    """The tables below the rows, and the picture."""
    results = Results(str(path), metric)
    names = results.names()
    show(report.closing(results))
    picture = Path(path).with_suffix(".svg")
    if "allot" in names and len(names) > 1:
        picture.write_text(chart.draw(results), encoding="utf-8")
    shown = path.relative_to(peers.ROOT)
    show(f"\nkept: {shown}" + (f", {picture.name}" if picture.exists() else ""))
    if as_json:
        print(json.dumps(report.as_json(results), indent=1))


def main():
    """Run, print each row when it is done, then the means."""
    args = parse_arguments()
    if args.list:
        list_rows()
        return 0
    measure.build()
    try:
        allocators = peers.find(args.lib, [name for name in args.only.split(",") if name])
    except peers.AllocatorError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    rows = choose_rows(args)
    if not rows or not allocators:
        print("bench: no such row or allocator (see --list)", file=sys.stderr)
        return 2
    size = "quick" if args.quick else "full" if args.full else "usual"
    runs = args.runs or RUNS[size]
    date = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime())
    folder = RESULTS_DIR if args.save else RESULTS_DIR / "local"
    path = folder / f"{args.save or date}.tsv"
    facts = {**measure.machine(), "date": date, "commit": peers.commit(),
             "command": shlex.join(["bench/run.py", *sys.argv[1:]]), "runs": runs, "work": size}

    def show(text):
        print(text, file=sys.stderr if args.json else sys.stdout, flush=True)

    for key, value in facts.items():
        show(f"{key}: {value}")
    show("\n" + report.heading([allocator.name for allocator in allocators]))
    writer = Writer(str(path), facts, allocators)
    with tempfile.TemporaryDirectory(prefix="bench-") as workdir:
        bench = Bench(allocators, size, runs, writer,
                      Repeats(len(rows) * len(allocators) * runs, REPEATS_LIMIT_S.get(size)),
                      workdir)
        try:
            run_rows(bench, rows, path, args.time, show)
        except KeyboardInterrupt:
            print("\nbench: interrupted; the rows above are kept", file=sys.stderr)
    writer.close()
    finish(path, args.time, args.json, show)
    return 0


if __name__ == "__main__":
    report.exit_with(main)
