"""The bench says no more than its runs do: medians, verdicts, repetitions and counts."""
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
# pylint: disable=wrong-import-position
import counts  # noqa: E402
import run  # noqa: E402
from results import COLUMNS, Results  # noqa: E402

CALLGRIND = """\
# callgrind format
version: 1
positions: line
events: Ir

ob=(1) /lib/liballot.so.1
fl=(1) /src/api/fast.h
fn=(1) malloc
10 7
+2 3
cob=(2) /lib/libc.so.6
cfi=(2) ./string/memset.c
cfn=(2) memset
calls=4 30
12 400
fn=(3) free
* 5

ob=(2)
fl=(2)
fn=(2)
30 400
fi=(3) ./malloc/malloc.c
31 6
"""


def results(times_by_allocator, disturbed=()):
    """A file with one row: {allocator: [(number of the run, seconds)]}."""
    lines = ["# allocator: allot 1 a.so", "# allocator: glibc 2 libc.so", "\t".join(COLUMNS)]
    for allocator, runs in times_by_allocator.items():
        for place, (number, seconds) in enumerate(runs):
            fields = dict.fromkeys(COLUMNS, "0")
            fields.update(row="r", group="calls", counts="tm", allocator=allocator,
                          run=str(number), wall_s=str(seconds), user_s=str(seconds),
                          peak_kib="100", figures="-", note="-",
                          disturbed=str(int((allocator, place) in disturbed)))
            lines.append("\t".join(fields[name] for name in COLUMNS))
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        return Results(file.name)


def numbered(*seconds):
    """One run each."""
    return list(enumerate(seconds, 1))


class Verdicts(unittest.TestCase):
    """Each verdict from the runs that make it."""

    def verdict(self, own, other):
        """Of allot against glibc."""
        line = results({"allot": numbered(*own), "glibc": numbered(*other)}).lines[0]
        return line.verdict("time")

    def test_a_lead_counts_only_where_the_ranges_do_not_overlap(self):
        """Each side of the border."""
        self.assertEqual(self.verdict((1.0, 1.1, 1.2), (1.3, 1.4, 1.5)), "ahead")
        self.assertEqual(self.verdict((1.3, 1.4, 1.5), (1.0, 1.1, 1.2)), "behind")
        self.assertEqual(self.verdict((1.0, 1.1, 1.35), (1.3, 1.4, 1.5)), "open")
        self.assertEqual(self.verdict((1.25, 1.4, 1.5), (1.0, 1.1, 1.3)), "open")

    def test_medians_within_two_percent_are_level_and_one_run_decides_nothing(self):
        """Small differences and single runs."""
        self.assertEqual(self.verdict((1.00, 1.00, 1.00), (1.01, 1.01, 1.01)), "level")
        self.assertEqual(self.verdict((1.0,), (2.0,)), "open")


class Runs(unittest.TestCase):
    """Disturbed runs and their repetitions."""

    def test_a_repetition_takes_the_place_of_a_disturbed_run(self):
        """Its time counts, the disturbed one's does not."""
        runs = [(1, 1.0), (2, 9.0), (2, 1.2), (3, 1.1)]
        cell = results({"allot": runs}, {("allot", 1)}).lines[0].cells["allot"]
        self.assertEqual((cell.runs, cell.repeated, cell.disturbed), (3, 1, False))
        self.assertEqual((cell.time_s, cell.time_range), (1.1, (1.0, 1.2)))

    def test_a_cell_is_marked_where_most_runs_were_disturbed(self):
        """Then all runs count."""
        cell = results({"allot": numbered(1.0, 2.0, 3.0)},
                       {("allot", 0), ("allot", 1)}).lines[0].cells["allot"]
        self.assertTrue(cell.disturbed)
        self.assertEqual(cell.time_s, 2.0)

    def test_repetitions_end_at_a_quarter_of_all_runs(self):
        """Eight runs: two."""
        repeats = run.Repeats(8)
        self.assertEqual([repeats.take() for _ in range(4)], [True, True, False, False])


class Counts(unittest.TestCase):
    """What the tools wrote is read right."""

    def test_the_cost_of_a_callee_is_counted_once_and_where_it_arose(self):
        """Lines after calls= are what the callee costs, which stands with the callee as well."""
        with tempfile.NamedTemporaryFile("w", suffix=".out") as file:
            file.write(CALLGRIND)
            file.flush()
            costs = counts.callgrind_costs(file.name)
        self.assertEqual(costs, {("/lib/liballot.so.1", "/src/api/fast.h"): 15,
                                 ("/lib/libc.so.6", "./string/memset.c"): 400,
                                 ("/lib/libc.so.6", "./malloc/malloc.c"): 6})


if __name__ == "__main__":
    unittest.main()
