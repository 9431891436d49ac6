#!/usr/bin/env python3
"""Tables from a result file: report.py FILE.tsv [--cpu] [--json] [--programs]"""

import argparse
import json
import math
import os
import signal
import sys

import goals
from programs import PROGRAMS
from results import LEVEL, Results
from rows import GROUPS, WORKLOADS

NAME_WIDTH = 21


def geometric_mean(values):
    """None of nothing."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def ratio_text(ratio):
    """A ratio in at most five characters."""
    if ratio is None:
        return "-"
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:.0f}"


def _number(value):
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def heading(names):
    """The two lines above the table of ratios."""
    first = " " * NAME_WIDTH + f"{'best':>14} " + "".join(f"{name:>13}" for name in names)
    second = f"{'row':<{NAME_WIDTH}}{'s':>7}{'MiB':>7} " + f"{'time':>6}{'peak':>7}" * len(names)
    return first + "\n" + second


def table_line(line, names):
    """One row: the best values, then time and peak of each as ratio to them."""
    time, peak = line.ratios("time"), line.ratios("peak")
    best_s = min(line.values("time").values(), default=0)
    best_mib = min(line.values("peak").values(), default=0) / 1024
    mark = "~" if any(cell.disturbed for cell in line.cells.values()) else ""
    text = f"{line.name + mark:<{NAME_WIDTH}}{best_s:7.3f}{best_mib:7.1f} "
    for name in names:
        cell = line.cells.get(name)
        if cell is None:
            text += f"{'-':>13}"
        elif cell.failed:
            text += f"{'failed':>13}"
        else:
            shown = [ratio_text(time.get(name)), ratio_text(peak.get(name))]
            shown = [value if line.counted(what) else f"({value})"
                     for value, what in zip(shown, ("time", "peak"))]
            text += f"{shown[0]:>6}{shown[1]:>7}"
    return text


def figure_lines(results):
    """The numbers that rows print themselves, with the best marked."""
    names = results.names()
    rows = {row.name: row for row in WORKLOADS + PROGRAMS}
    lines = [f"{'figure':<44}{'':>5}" + "".join(f"{name:>12}" for name in names)]
    for line in results.lines:
        row = rows.get(line.name)
        for figure in row.figures if row else ():
            values = {name: cell.figures[figure.key] for name, cell in line.cells.items()
                      if not cell.failed and figure.key in cell.figures}
            best = (min if figure.goal == "low" else max)(values.values(), default=None)
            text = f"{line.name + ': ' + figure.key:<44}{figure.unit:>5}"
            for name in names:
                cell = line.cells.get(name)
                if name in values:
                    mark = "*" if values[name] == best else " "
                    text += f"{_number(values[name]) + mark:>12}"
                else:
                    text += f"{'failed ' if cell and cell.failed else '- ':>12}"
            lines.append(text)
    return lines if len(lines) > 1 else []


def _unit(line):
    """Operations of one run, as the row prints them, or None: the unit is a run."""
    return next((cell.figures["ops"] for cell in line.cells.values()
                 if cell.figures.get("ops")), None)


def cost_lines(results):
    """Processor time for one unit of work, its ratios, and the page faults of a run."""
    names = results.names()
    lines = [f"{'':<{NAME_WIDTH}}{'best':>14} " + "".join(f"{name:>14}" for name in names),
             f"{'row':<{NAME_WIDTH}}{'':>14} " + f"{'cpu':>7}{'faults':>7}" * len(names)]
    for line in results.lines:
        cells = {name: cell for name, cell in line.cells.items() if not cell.failed}
        spent = [cell.cpu_s for cell in cells.values() if cell.cpu_s > 0]
        if not spent:
            continue
        unit = _unit(line)
        best = f"{min(spent) / unit * 1e9:.1f} ns/op" if unit else f"{min(spent):.3f} s/run"
        text = f"{line.name:<{NAME_WIDTH}}{best:>14} "
        for name in names:
            cell = cells.get(name)
            text += f"{'-':>14}" if cell is None else (
                f"{ratio_text(cell.cpu_s / min(spent)):>7}{count_text(cell.minflt):>7}")
        lines.append(text)
    return lines if len(lines) > 2 else []


def count_text(value):
    """A count in at most six characters."""
    for limit, scale, suffix in ((1e4, 1, ""), (1e7, 1e3, "k"), (1e10, 1e6, "M")):
        if value < limit:
            return f"{value / scale:.0f}{suffix}"
    return f"{value:.0e}"


def _program_values(cell):
    """Seconds, peak and steady MiB of one cell; None where there is none."""
    if cell is None or cell.failed:
        return None, None, None
    return cell.time_s, cell.peak_kib / 1024, cell.figures.get("steady_mib")


def program_lines(results):
    """The real programs in absolute numbers, as Markdown; the best of each kind is bold."""
    names = results.names()
    lines = ["| s / peak MiB / steady MiB | " + " | ".join(names) + " |",
             "| --- |" + " --: |" * len(names)]
    for line in results.lines:
        if line.group != "programs":
            continue
        values = {name: _program_values(line.cells.get(name)) for name in names}
        best = [min((value for value in kind if value is not None), default=None)
                for kind in zip(*values.values())]
        cells = []
        for name in names:
            shown = [f"{value:.{2 if kind == 0 else 1}f}" for kind, value in
                     enumerate(values[name]) if value is not None]
            shown = [f"**{text}**" if values[name][kind] == best[kind] else text
                     for kind, text in enumerate(shown)]
            cells.append(" / ".join(shown) or "failed")
        mark = " ~" if any(cell.disturbed for cell in line.cells.values()) else ""
        lines.append(f"| {line.name}{mark} | " + " | ".join(cells) + " |")
    lines += ["", "Medians; the time of a server is its client's. steady: resident after the load "
              "and 2 s without a request, of servers. Bold: the best of a row. ~: disturbed."]
    return lines


def means(results, what):
    """By allocator: the geometric mean over all counted rows and by group."""
    table = {}
    for name in results.names():
        ratios = [(line.group, line.ratios(what).get(name)) for line in results.lines
                  if line.counted(what)]
        ratios = [(group, ratio) for group, ratio in ratios if ratio is not None]
        table[name] = {"all": geometric_mean(ratio for _, ratio in ratios), "rows": len(ratios)}
        for group in GROUPS:
            table[name][group] = geometric_mean(ratio for of, ratio in ratios if of == group)
    return table


def against_peers(results, what, name="allot"):
    """[(ratio to the best peer, row, that peer, verdict)], the worst first."""
    found = []
    for line in results.lines:
        pair = line.against_peers(what, name) if line.counted(what) else None
        if pair is not None:
            found.append((pair[0], line.name, pair[1], line.verdict(what, name)))
    return sorted(found, reverse=True)


def mean_lines(results):
    """The table of geometric means."""
    lines = []
    for what, title in (("time", "Time"), ("peak", "Peak resident memory")):
        lines += ["", f"{title}: geometric mean of the ratio to the best of each row",
                  f"{'':<12}{'all':>7}{'rows':>6}" + "".join(f"{group:>12}" for group in GROUPS)]
        for name, mean in means(results, what).items():
            lines.append(f"{name:<12}{ratio_text(mean['all']):>7}{mean['rows']:>6}" + "".join(
                f"{ratio_text(mean[group]):>12}" for group in GROUPS))
    return lines


def _wrapped(label, items):
    lines, text = [], label
    for item in items or ["none"]:
        if len(text) + len(item) > 112:
            lines.append(text)
            text = " " * len(label)
        text += item + ("" if item == items[-1:] else "  ")
    return lines + [text.rstrip()]


def verdict_lines(results, name="allot"):
    """How one allocator stands against the best of the others, losses first."""
    lines = []
    for what, title in (("time", "time"), ("peak", "peak resident")):
        found = against_peers(results, what, name)
        if not found:
            continue
        by_verdict = {verdict: [item for item in found if item[3] == verdict]
                      for verdict in ("behind", "open", "level", "ahead")}
        counts = ", ".join(f"{verdict} in {len(items)}" for verdict, items in by_verdict.items())
        lines += ["", f"{name} against the best peer of each row, {title}: "
                      f"{geometric_mean(item[0] for item in found):.2f} over {len(found)} rows; "
                      + counts]
        for verdict, items in by_verdict.items():
            if verdict != "level":
                lines += _wrapped(f"  {verdict + ':':<8}", [
                    f"{row} {ratio_text(ratio)} ({peer})" for ratio, row, peer, _ in
                    (reversed(items) if verdict == "ahead" else items)])
    if lines:
        lines += ["", f"level: within {LEVEL:.0%}; open: the ranges of the runs overlap, "
                      "which is no verdict"]
    for line in results.lines:
        for who, cell in line.cells.items():
            if cell.failed:
                lines.append(f"failed: {line.name} with {who}, {cell.failed}")
    return lines


def spread_line(results):
    """How far the runs of a cell lie apart, and how many were disturbed."""
    spreads = sorted(cell.time_spread for line in results.lines for cell in line.cells.values()
                     if not cell.failed and cell.runs > 1)
    rows = [line.name for line in results.lines
            if any(cell.disturbed for cell in line.cells.values())]
    text = "one run each: no spread"
    if spreads:
        text = (f"spread of the runs (half of max - min, over the median): "
                f"{spreads[len(spreads) // 2]:.1%} in the middle cell, {spreads[-1]:.0%} at most")
    repeated = sum(cell.repeated for line in results.lines for cell in line.cells.values())
    if repeated:
        text += f"\n{repeated} disturbed runs were repeated"
    if rows:
        text += (f"\n~ {len(rows)} rows were disturbed by other load in half of the runs or more: "
                 "take their times with care")
    return text


def as_json(results):
    """Everything above as one object."""
    return {
        "facts": results.facts,
        "allocators": [dict(zip(("name", "version", "library"), allocator))
                       for allocator in results.allocators],
        "rows": [{"row": line.name, "group": line.group, "cells": {
            name: cell.__dict__ for name, cell in line.cells.items()}} for line in results.lines],
        "means": {what: means(results, what) for what in ("time", "peak")},
        "goals": goals.goals(results),
        "against_best_peer": {what: against_peers(results, what) for what in ("time", "peak")},
    }


def closing(results):
    """What stands below the table of ratios."""
    lines = ["", "(in parentheses: measured, but not the row's question, and not in the means)",
             spread_line(results)]
    figures = figure_lines(results)
    if figures:
        lines += ["", "What rows count themselves (* best)"] + figures
    costs = cost_lines(results)
    if costs:
        lines += ["", "Processor time for one unit of work as ratio to the best, and page faults "
                      "of a run"] + costs
    judged = goals.lines(results)
    if judged:
        judged = ["", "Goals"] + judged
    return "\n".join(lines + mean_lines(results) + verdict_lines(results) + judged)


def whole(results):
    """All tables of a result file."""
    lines = [f"{key}: {value}" for key, value in results.facts.items()]
    lines += ["", heading(results.names())]
    for group in GROUPS:
        some = [line for line in results.lines if line.group == group]
        lines += [f"[{group}]"] * bool(some) + [table_line(line, results.names()) for line in some]
    return "\n".join(lines) + "\n" + closing(results)


def exit_with(main):
    """Leave with the status of `main`; in silence where nobody reads on (`| head`)."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        status = 128 + signal.SIGPIPE
    sys.exit(status)


def main():
    """Print the tables of one file."""
    parser = argparse.ArgumentParser(description="Tables from a result file of the bench.")
    parser.add_argument("file")
    parser.add_argument("--cpu", action="store_true",
                        help="processor time in place of wall-clock time")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--programs", action="store_true",
                        help="only the real programs, in absolute numbers, as Markdown")
    args = parser.parse_args()
    results = Results(args.file, "cpu" if args.cpu else "wall")
    if args.programs:
        print("\n".join(program_lines(results)))
    else:
        print(json.dumps(as_json(results), indent=1) if args.json else whole(results))


if __name__ == "__main__":
    exit_with(main)
