"""What allot promises of itself, checked against a result file."""

import math
import shlex


class Check:
    """Looks up numbers in results; a goal whose rows were not run is not judged."""

    def __init__(self, results, name="allot"):
        self.rows = {line.name: line for line in results.lines}
        self.name = name

    def figure(self, row, key):
        """allot's number, or None."""
        cell = self.rows[row].cells.get(self.name) if row in self.rows else None
        return None if cell is None or cell.failed else cell.figures.get(key)

    def others(self, row, key):
        """The same number of every other allocator."""
        cells = self.rows[row].cells if row in self.rows else {}
        return [cell.figures[key] for name, cell in cells.items()
                if name != self.name and not cell.failed and key in cell.figures]

    def at_most(self, text, row, key, limit):
        """A number with an upper limit."""
        value = self.figure(row, key)
        return None if value is None else (f"{text} <= {limit:g}", value, value <= limit)

    def at_least(self, text, row, key, limit):
        """A number with a lower limit."""
        value = self.figure(row, key)
        return None if value is None else (f"{text} >= {limit:g}", value, value >= limit)

    def not_above_others(self, text, row, key):
        """A number over the smallest of the others."""
        value, others = self.figure(row, key), self.others(row, key)
        if value is None or not others:
            return None
        return f"{text}: over the best peer <= 1", value / min(others), value <= min(others)

    def mean(self, text, what, limit):
        """The geometric mean of the ratio to the best peer of each row."""
        pairs = [line.against_peers(what, self.name) for line in self.rows.values()
                 if line.counted(what)]
        logs = [math.log(pair[0]) for pair in pairs if pair]
        value = math.exp(sum(logs) / len(logs)) if logs else None
        return value and (f"{text}, mean over the rows <= {limit:g}", value, value <= limit)

    def worst(self, text, what, limit):
        """The largest ratio to the best peer."""
        pairs = [line.against_peers(what, self.name) for line in self.rows.values()
                 if line.counted(what)]
        value = max((pair[0] for pair in pairs if pair), default=None)
        return value and (f"{text}, worst row <= {limit:g}", value, value <= limit)

    def row_time(self, text, row):
        """The time of one row over the best peer's."""
        pair = self.rows[row].against_peers("time", self.name) if row in self.rows else None
        return pair and (f"{text}: time over the best peer <= 1", pair[0], pair[0] <= 1)

    def rates(self, text, row, prefix, limit):
        """The smallest of a row's rates over the best peer's."""
        cell = self.rows[row].cells.get(self.name) if row in self.rows else None
        if cell is None or cell.failed:
            return None
        ratios = [value / max(self.others(row, key)) for key, value in cell.figures.items()
                  if key.startswith(prefix) and self.others(row, key)]
        return (f"{text}: over the best peer >= {limit:g}", min(ratios),
                min(ratios) >= limit) if ratios else None

    def large_pairs(self):
        """The slowest pair from 64 KiB on."""
        found = [self.figure(f"pair {size}", "ns_per_pair")
                 for size in ("64 KiB", "256 KiB", "1 MiB", "8 MiB")]
        found = [value for value in found if value]
        return (("pairs of 64 KiB to 8 MiB, ns <= 40", max(found), max(found) <= 40)
                if found else None)

    def size_step(self):
        """The rate at 64 KiB over that at 16 KiB."""
        small = self.figure("pair 16 KiB", "ns_per_pair")
        large = self.figure("pair 64 KiB", "ns_per_pair")
        return (("rate at 64 KiB over that at 16 KiB >= 0.6", small / large, small / large >= 0.6)
                if small and large else None)


def goals(results):
    """[(what, value, met)] of all that can be judged; nothing where rows were chosen by name."""
    if any(word.startswith("--row") for word in shlex.split(results.facts.get("command", ""))):
        return []
    check = Check(results)
    judged = [
        check.mean("time over the best peer", "time", 1.0),
        check.worst("time over the best peer", "time", 1.3),
        check.mean("peak over the best peer", "peak", 1.1),
        check.worst("peak over the best peer", "peak", 1.6),
        check.large_pairs(),
        check.size_step(),
        check.rates("sweep over sizes", "sweep", "mops_", 1.0),
        check.rates("sweep, whole, slowest cell", "sweep, whole", "cell_", 0.9),
        check.row_time("producer and consumer", "producer 1:1"),
        check.row_time("short threads", "short threads"),
        check.not_above_others("p99.99 of free and malloc", "latency", "p99_99_ns"),
        check.not_above_others("resident over live after changing sizes", "fragment",
                               "last_ratio"),
        check.at_most("resident bytes per byte, 8 B blocks", "footprint, 8 B", "bytes_per_byte",
                      1.02),
        check.at_most("first malloc, KiB", "footprint, 8 B", "first_malloc_kib", 256),
        check.at_most("idle thread, KiB", "idle threads", "kib_per_thread", 16),
        check.at_least("all freed: % returned after 1 s idle", "give back, small",
                       "returned_percent_idle", 98),
        check.at_least("all freed: % returned after a trim", "give back, small",
                       "returned_percent_trimmed", 99),
        check.at_most("peak after a second thread over the first's", "blow-up", "peak_ratio",
                      1.05),
        check.at_least("blocks of an earlier malloc freed after dlopen", "late load",
                       "foreign_blocks_freed", 1e6),
    ]
    return [goal for goal in judged if goal]


def lines(results):
    """The goals as text."""
    return [f"  {'met   ' if met else 'MISSED'}  {value:>10.4g}  {text}"
            for text, value, met in goals(results)]
