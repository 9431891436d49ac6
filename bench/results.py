"""Result files: one line per run, with what a reader needs to repeat and judge it."""

import os
from dataclasses import dataclass, field
from statistics import median

from peers import ROOT

COLUMNS = ["row", "group", "counts", "allocator", "run", "wall_s", "user_s", "sys_s", "peak_kib",
           "hwm_kib", "minflt", "majflt", "status", "others_cores", "disturbed", "figures", "note"]

COUNTS_DIR = ROOT / "bench" / "results" / "counts"


def _head(facts, allocators, columns):
    """What stands above the lines of a file."""
    lines = [f"# {key}: {value}" for key, value in facts.items()]
    for allocator in allocators:
        library = allocator.library.replace(str(ROOT) + "/", "")
        lines.append(f"# allocator: {allocator.name} {allocator.version} {library}")
    return "\n".join(lines + ["\t".join(columns)]) + "\n"


class CountWriter:
    """A TSV file of counts: one line for each row and allocator."""

    def __init__(self, path, facts, allocators, columns):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.path, self.columns = path, ["ops", *columns]
        with open(path, "w", encoding="utf-8") as file:
            file.write(_head(facts, allocators, ["row", "group", "allocator", *self.columns,
                                                 "note"]))

    def add(self, row, allocator, counts):
        """The counts of one row, or the text that says why there are none."""
        fields = [row.name, row.group, allocator.name]
        if isinstance(counts, dict):
            fields += [str(counts[name]) for name in self.columns] + ["-"]
        else:
            fields += ["-"] * len(self.columns) + [counts]
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("\t".join(fields) + "\n")


class Writer:
    """Appends runs to a TSV file; what is written stays if the bench is interrupted."""

    def __init__(self, path, facts, allocators):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.file = open(path, "w", encoding="utf-8")
        self.file.write(_head(facts, allocators, COLUMNS))

    def add(self, row, allocator, run, sample):
        """One run of a row."""
        fields = {"row": row.name, "group": row.group, "allocator": allocator.name, "run": run,
                  "counts": ("t" if row.time else "") + ("m" if row.memory else "") or "-",
                  "figures": ";".join(f"{k}={v:.6g}" for k, v in sample.figures.items()) or "-",
                  "note": sample.note or "-", "disturbed": int(sample.disturbed)}
        for name in COLUMNS:
            if name not in fields:
                value = getattr(sample, name)
                fields[name] = f"{value:.6g}" if isinstance(value, float) else value
        self.file.write("\t".join(str(fields[name]) for name in COLUMNS) + "\n")
        self.file.flush()

    def close(self):
        """Nothing more will be added."""
        self.file.close()


@dataclass
class Cell:
    """All runs of one row under one allocator."""
    time_s: float = 0.0
    time_spread: float = 0.0    # half of max - min, over the median
    time_range: tuple = ()      # of the runs that the median is over
    peak_kib: float = 0.0
    peak_spread: float = 0.0
    peak_range: tuple = ()
    cpu_s: float = 0.0          # processor time, also where time_s is the wall clock's
    minflt: float = 0.0         # page faults without input
    runs: int = 0               # without their repetitions
    repeated: int = 0
    disturbed: bool = False     # the medians had to use disturbed runs
    failed: str = ""
    figures: dict = field(default_factory=dict)


def _spread(values):
    middle = median(values)
    return (max(values) - min(values)) / 2 / middle if middle > 0 else 0.0


def summarize(runs, metric):
    """One cell of the runs (dicts as read from a file); `metric` is wall or cpu."""
    count = len({run["run"] for run in runs})
    cell = Cell(runs=count, repeated=len(runs) - count)
    failed = [run for run in runs if int(run["status"]) != 0]
    if failed:
        status = int(failed[0]["status"])
        why = f"signal {status - 128}" if status > 128 else f"status {status}"
        cell.failed = f"{len(failed)} of {len(runs)} runs: {why}"
        if failed[0]["note"] != "-":
            cell.failed += f", {failed[0]['note']}"
        return cell
    quiet = [run for run in runs if run["disturbed"] == "0"]
    cell.disturbed = len(quiet) * 2 < count
    used = runs if cell.disturbed else quiet
    spent = [float(run["user_s"]) + float(run["sys_s"]) for run in used]
    times = [float(run["wall_s"]) for run in used] if metric == "wall" else spent
    peaks = [float(run["peak_kib"]) for run in used]
    cell.time_s, cell.time_spread = median(times), _spread(times)
    cell.peak_kib, cell.peak_spread = median(peaks), _spread(peaks)
    cell.time_range, cell.peak_range = (min(times), max(times)), (min(peaks), max(peaks))
    cell.cpu_s = median(spent)
    cell.minflt = median(float(run["minflt"]) for run in used)
    figures = {}
    for run in used:
        for word in run["figures"].split(";"):
            key, _, value = word.partition("=")
            if value:
                figures.setdefault(key, []).append(float(value))
    cell.figures = {key: median(values) for key, values in figures.items()}
    return cell


LEVEL = 0.02     # ratios closer to 1 than this are called level


@dataclass
class Line:
    """One row of the table: its cells by allocator."""
    name: str
    group: str
    counts: str
    cells: dict

    def values(self, what):
        """Median by allocator of `time` or `peak`, of those that did not fail."""
        attribute = "time_s" if what == "time" else "peak_kib"
        return {name: getattr(cell, attribute) for name, cell in self.cells.items()
                if not cell.failed and getattr(cell, attribute) > 0}

    def counted(self, what):
        """Whether this column of the row enters the means."""
        return ("t" if what == "time" else "m") in self.counts

    def ratios(self, what):
        """Each allocator's value over the best of the row."""
        values = self.values(what)
        best = min(values.values(), default=0.0)
        return {name: value / best for name, value in values.items()}

    def against_peers(self, what, name="allot"):
        """(ratio of `name` to the best other, that other's name), or None."""
        values = self.values(what)
        own = values.pop(name, None)
        if own is None or not values:
            return None
        best = min(values, key=values.get)
        return own / values[best], best

    def verdict(self, what, name="allot"):
        """ahead, behind or level; open: the runs cannot tell; None: nothing to compare.

        A lead counts only where no run of the one lies among the runs of the other.
        """
        pair = self.against_peers(what, name)
        if pair is None:
            return None
        if abs(pair[0] - 1) <= LEVEL:
            return "level"
        own = self._range(what, name)
        others = [self._range(what, other) for other in self.values(what) if other != name]
        if self.cells[name].runs < 2:
            return "open"
        if all(own[1] < other[0] for other in others):
            return "ahead"
        return "behind" if any(own[0] > other[1] for other in others) else "open"

    def _range(self, what, name):
        cell = self.cells[name]
        return cell.time_range if what == "time" else cell.peak_range


class Results:
    """A result file, read back."""

    def __init__(self, path, metric="wall"):
        self.facts, self.allocators, self.lines = {}, [], []
        runs = {}
        with open(path, encoding="utf-8") as file:
            for text in file:
                text = text.rstrip("\n")
                if text.startswith("# allocator: "):
                    self.allocators.append(tuple(text[13:].split(" ", 2)))
                elif text.startswith("# "):
                    key, _, value = text[2:].partition(": ")
                    self.facts[key] = value
                elif not text.startswith("row\t"):
                    run = dict(zip(COLUMNS, text.split("\t")))
                    runs.setdefault(run["row"], {}).setdefault(run["allocator"], []).append(run)
        for name, by_allocator in runs.items():
            first = next(iter(by_allocator.values()))[0]
            cells = {who: summarize(some, metric) for who, some in by_allocator.items()}
            self.lines.append(Line(name, first["group"], first["counts"], cells))

    def names(self):
        """The allocators' names in the order of the columns."""
        return [allocator[0] for allocator in self.allocators]
