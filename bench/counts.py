#!/usr/bin/env python3
"""Counts in place of times: instructions (callgrind) or system calls (strace) of each row.

Counts hardly differ from run to run and do not depend on what else the machine
does, so one run under each allocator is enough, with little work. They say
nothing of caches, of waiting, or of what a system call costs. Page faults are
counted in every usual run of the bench: report.py shows them.
"""

import argparse
import dataclasses
import re
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

import measure
import peers
import report
from programs import PROGRAMS
from results import COUNTS_DIR, CountWriter
from rows import GROUPS, WORKLOADS

MEMORY_CALLS = {"mmap", "munmap", "mremap", "madvise", "mprotect", "brk"}
NAME = re.compile(r"\((\d+)\)(?: (.*))?")


class Instructions:
    """Counts with callgrind: all instructions, and those inside the allocator."""
    title = "instructions"
    program = "valgrind"     # the package has the same name
    by_unit = True          # the table divides by the operations of a row
    columns = ("instructions", "own_instructions")
    explanation = ("all instructions as ratio to the best, then the share of them inside the "
                   "allocator; the start of the process is in them")

    @staticmethod
    def takes(row):
        """Whether what the threads do does not depend on who is faster."""
        return row.single

    @staticmethod
    def tool(folder):
        """The words that start a program under callgrind."""
        return ("valgrind", "--tool=callgrind", "--quiet", "--trace-children=yes",
                "--log-file=/dev/null", f"--callgrind-out-file={folder}/%p")

    @staticmethod
    def read(folder, allocator):
        """The counts of all processes of a run."""
        total = own = 0
        stem = Path(allocator.library).name.split(".so")[0].removesuffix("_proxy")
        for path in Path(folder).iterdir():
            for (library, source), cost in callgrind_costs(path).items():
                total += cost
                inside = (source.endswith(("malloc/malloc.c", "malloc/arena.c"))
                          if allocator.name == "glibc" else stem in library)
                own += cost if inside else 0
        return {"instructions": total, "own_instructions": own}

    @staticmethod
    def cell(counts, best):
        """Two numbers of the table."""
        total = counts["instructions"]
        return report.ratio_text(total / best), f"{counts['own_instructions'] / total:.0%}"


def callgrind_costs(path):
    """{(library, source file): instructions} of a file that callgrind wrote."""
    costs, names = {}, {"ob": {}, "fl": {}}
    library = source = ""
    skip = False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _, rest = line.rstrip("\n").partition("=")
            kind = {"ob": "ob", "cob": "ob", "fl": "fl", "fi": "fl", "fe": "fl", "cfi": "fl",
                    "cfl": "fl"}.get(key)
            if kind is not None:
                number, name = NAME.match(rest).groups()
                name = names[kind].setdefault(number, name or "")
                library = name if key == "ob" else library
                source = name if key in ("fl", "fi", "fe") else source
            elif key == "calls":
                skip = True     # the next line is what the callee costs
            elif line[:1] in "+-*0123456789" and len(line.split()) == 2:
                if not skip:
                    place = library, source
                    costs[place] = costs.get(place, 0) + int(line.split()[1])
                skip = False
    return costs


class SystemCalls:
    """Counts with strace: all calls, and those that manage memory."""
    title = "system calls"
    program = "strace"
    by_unit = False
    columns = ("system_calls", "memory_calls", "futex_calls")
    explanation = "all system calls, then those that manage memory (mmap to brk)"

    @staticmethod
    def takes(_row):
        """Every row has system calls."""
        return True

    @staticmethod
    def tool(folder):
        """The words that start a program under strace."""
        return ("strace", "-f", "-c", "-o", f"{folder}/calls", "--")

    @staticmethod
    def read(folder, _allocator):
        """The counts of all processes of a run."""
        calls = {}
        for line in (Path(folder) / "calls").read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) >= 4 and words[3].isdigit():
                calls[words[-1]] = int(words[3])
        return {"system_calls": calls.get("total", 0), "futex_calls": calls.get("futex", 0),
                "memory_calls": sum(calls.get(name, 0) for name in MEMORY_CALLS)}

    @staticmethod
    def cell(counts, _best):
        """Two numbers of the table."""
        return report.count_text(counts["system_calls"]), report.count_text(counts["memory_calls"])


def count_row(row, allocator, counter, workdir):
    """{column: count} of one row under one allocator, or a text that says why not."""
    setting = measure.Setting("count", workdir)
    with tempfile.TemporaryDirectory(dir=workdir) as folder:
        watched = dataclasses.replace(allocator, tool=counter.tool(folder))
        sample = row.run(watched, setting)
        if sample is None or sample.status != 0:
            return "-" if sample is None else f"failed: {sample.note}"
        counts = counter.read(folder, allocator)
    return {**counts, "ops": int(sample.figures.get("ops", 0))}


def choose_rows(pattern, counter):
    """The rows to count, by group."""
    rows = [row for row in WORKLOADS + PROGRAMS
            if (re.search(pattern, row.name) if pattern else not row.full_only)
            and counter.takes(row) and not row.late]
    for row in rows:
        reason = row.missing()
        if reason:
            print(f"counts: without row {row.name}: {reason}", file=sys.stderr)
    return sorted((row for row in rows if not row.missing()),
                  key=lambda row: GROUPS.index(row.group))


def table_line(row, found, counter, allocators):
    """One line: the best of the first column, then each allocator."""
    first = counter.columns[0]
    values = [counts[first] for counts in found.values() if isinstance(counts, dict)]
    if not values:
        return f"{row.name:<{report.NAME_WIDTH}}{'failed':>14}"
    best = min(values)
    unit = next((counts["ops"] for counts in found.values()
                 if isinstance(counts, dict) and counts["ops"]), 0) if counter.by_unit else 0
    text = f"{best / unit:.4g}/op" if unit else report.count_text(best)
    text = f"{row.name:<{report.NAME_WIDTH}}{text:>14} "
    for allocator in allocators:
        counts = found.get(allocator.name)
        pair = counter.cell(counts, best) if isinstance(counts, dict) else ("failed", "")
        text += f"{pair[0]:>7}{pair[1]:>7}"
    return text


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--instructions", action="store_const", dest="counter", const=Instructions,
                      help="of the rows with one thread, by callgrind (the default)")
    what.add_argument("--system-calls", action="store_const", dest="counter", const=SystemCalls,
                      help="of all rows, by strace")
    parser.add_argument("--row", metavar="REGEX", help="only rows whose name contains this")
    parser.add_argument("--lib", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--only", metavar="NAMES", default="")
    parser.add_argument("--save", metavar="NAME",
                        help="keep the counts as results/counts/NAME.tsv, not in results/local/")
    parser.set_defaults(counter=Instructions)
    return parser.parse_args()


def main():
    """Count all rows and keep the counts."""
    args = parse_arguments()
    counter = args.counter
    if shutil.which(counter.program) is None:
        print(f"counts: {counter.program} is not installed", file=sys.stderr)
        return 1
    measure.build()
    allocators = peers.find(args.lib, [name for name in args.only.split(",") if name])
    rows = choose_rows(args.row, counter)
    date = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime())
    kind = counter.title.replace(" ", "-")
    path = (COUNTS_DIR / f"{args.save}.tsv" if args.save
            else peers.ROOT / "bench" / "results" / "local" / f"{kind}-{date}.tsv")
    facts = {**measure.machine(), "date": date, "commit": peers.commit(), "counted": counter.title,
             "command": shlex.join(["bench/counts.py", *sys.argv[1:]])}
    writer = CountWriter(path, facts, allocators, counter.columns)
    print(f"{counter.title}: {counter.explanation}\n")
    print(f"{'row':<{report.NAME_WIDTH}}{'best':>14} "
          + "".join(f"{allocator.name:>14}" for allocator in allocators), flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as workdir:
        for row in rows:
            row.prepare(measure.Setting("count", workdir))
            found = {}
            for allocator in allocators:
                counts = count_row(row, allocator, counter, workdir)
                found[allocator.name] = counts
                writer.add(row, allocator, counts)
            print(table_line(row, found, counter, allocators), flush=True)
    print(f"\nkept: {path.relative_to(peers.ROOT)}")
    return 0


if __name__ == "__main__":
    report.exit_with(main)
