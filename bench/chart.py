#!/usr/bin/env python3
"""A picture of a result file: chart.py FILE.tsv [-o FILE.svg] [--map] [--cpu]

Two panels, time and peak memory. Each row has a line; 1 is the best of the
other allocators in that row, so a point left of it says that allot is better
than all of them; it has a colour where the runs decide that. The others are
grey points. The map has one point for each allocator: its geometric means of
time and memory.
"""

import argparse
import math
from html import escape
from pathlib import Path

from report import geometric_mean, means, ratio_text
from results import LEVEL, Results
from rows import GROUPS

WIDTH = 960
MARGIN = 28
LABEL_RIGHT = 176          # row names end here
PANELS = ((196, 490, "time", "time"), (586, 880, "peak", "peak resident memory"))
LINE_HEIGHT = 19
RATIO_FROM, RATIO_TO = 0.25, 8.0
TICKS = (0.25, 0.5, 1, 2, 4, 8)

STYLE = """
  svg { --paper: #ffffff; --ink: #1b2430; --soft: #66707d; --faint: #e4e8ed; --band: #f6f8fa;
        --peer: #aab3be; --good: #0f8a6d; --bad: #d4622a; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #10151c; --ink: #e8edf3; --soft: #97a3b1; --faint: #27303b; --band: #161d26;
          --peer: #657180; --good: #2fc7a0; --bad: #f08a4b; } }
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
         font-size: 12px; fill: var(--ink); }
  .title { font-size: 21px; font-weight: 650; } .soft { fill: var(--soft); }
  .head { font-size: 13px; font-weight: 650; } .small { font-size: 11px; fill: var(--soft); }
  .group { font-size: 11px; font-weight: 650; fill: var(--soft); letter-spacing: 0.06em; }
  .end { text-anchor: end; } .middle { text-anchor: middle; }
  .grid { stroke: var(--faint); stroke-width: 1; }
  .one { stroke: var(--soft); stroke-width: 1.2; }
  .peer { fill: var(--peer); }
  .glibc { fill: var(--paper); stroke: var(--peer); stroke-width: 1.6; }
  .good { fill: var(--good); } .bad { fill: var(--bad); } .level { fill: var(--ink); }
  .bar { stroke-width: 3; stroke-linecap: round; opacity: 0.45; }
  .bar.good { stroke: var(--good); } .bar.bad { stroke: var(--bad); }
  .number { font-size: 11.5px; font-variant-numeric: tabular-nums; }
"""


class Svg:
    """Elements of a picture, in drawing order."""

    def __init__(self):
        self.parts = []

    def add(self, tag, text=None, **attributes):
        """One element; a trailing _ in a name is dropped, other _ become -."""
        words = "".join(f' {name.rstrip("_").replace("_", "-")}="{_shown(value)}"'
                        for name, value in attributes.items())
        self.parts.append(f"<{tag}{words}/>" if text is None
                          else f"<{tag}{words}>{escape(text)}</{tag}>")

    def text(self, x, y, text, class_=""):
        """A line of text."""
        self.add("text", text, x=x, y=y, class_=class_)

    def circle(self, x, y, radius, class_, title):
        """A point that says what it is where the picture is opened by itself."""
        self.parts.append(f'<circle cx="{_shown(x)}" cy="{_shown(y)}" r="{_shown(radius)}" '
                          f'class="{class_}"><title>{escape(title)}</title></circle>')

    def document(self, height, label):
        """The whole file."""
        body = "\n".join(self.parts)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
                f'width="{WIDTH}" height="{height}" role="img" aria-label="{escape(label)}">\n'
                f"<style>{STYLE}</style>\n"
                f'<rect width="{WIDTH}" height="{height}" rx="10" style="fill: var(--paper)"/>\n'
                f"{body}\n</svg>\n")


def _shown(value):
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(str(value))


def _place(ratio, panel):
    left, right = panel[0], panel[1]
    share = (math.log(min(max(ratio, RATIO_FROM), RATIO_TO)) - math.log(RATIO_FROM)) / (
        math.log(RATIO_TO) - math.log(RATIO_FROM))
    return left + share * (right - left)


def _tone(ratio, verdict=None):
    """The class of a point: a row's verdict, or where there is none (a mean) its ratio."""
    if verdict is not None:
        return {"ahead": "good", "behind": "bad"}.get(verdict, "level")
    return "good" if ratio < 1 - LEVEL else "bad" if ratio > 1 + LEVEL else "level"


def _kind(name):
    return "glibc" if name == "glibc" else "peer"


def _axis(svg, panel, top, bottom):
    for tick in TICKS:
        x = _place(tick, panel)
        svg.add("line", x1=x, x2=x, y1=top, y2=bottom, class_="one" if tick == 1 else "grid")
        svg.text(x, top - 6, f"{tick:g}×", "small middle")


def _relative(line, what):
    """Each allocator's value over that of the best peer of the row; None: not drawn."""
    pair = line.against_peers(what) if line.counted(what) else None
    if pair is None:
        return None
    values = line.values(what)
    return {name: value / values[pair[1]] for name, value in values.items()}


def _points(svg, panel, y, ratios, line=None):
    title, radius = (line.name, 4.2) if line is not None else ("geometric mean", 6.0)
    for name, ratio in ratios.items():
        if name != "allot":
            svg.circle(_place(ratio, panel), y, radius - 0.9, _kind(name),
                       f"{title}: {name} {ratio_text(ratio)}")
    own = ratios["allot"]
    tone = _tone(own, line.verdict(panel[2]) if line is not None else None)
    if tone != "level":
        svg.add("line", x1=_place(1, panel), x2=_place(own, panel), y1=y, y2=y,
                class_=f"bar {tone}")
    svg.circle(_place(own, panel), y, radius, tone, f"{title}: allot {ratio_text(own)}")
    svg.text(panel[1] + 52, y + 4, ratio_text(own), f"number end {tone}")


def _legend(svg, y):
    items = [("good", "allot, better than all others"), ("bad", "allot, behind the best"),
             ("level", "allot, level or undecided"), ("glibc", "glibc"),
             ("peer", "another allocator")]
    x = MARGIN + 5.0
    for class_, text in items:
        svg.circle(x, y - 4, 4.2 if class_ not in ("peer", "glibc") else 3.4, class_, text)
        svg.text(x + 10, y, text, "small")
        x += 30 + len(text) * 5.7


def _footer(svg, results, y):
    facts = results.facts
    svg.text(MARGIN, y, f"{facts.get('machine', '')} · {facts.get('kernel', '')}", "small")
    svg.text(MARGIN, y + 16, " · ".join(
        f"{name} {version}" for name, version, _ in results.allocators), "small")


def _order(line):
    pair = line.against_peers("time") if line.counted("time") else None
    return (pair is None, pair[0] if pair else 0)


def _mean_ratios(lines, what, names):
    """Geometric mean, over rows in which none failed, of the ratio to the best peer."""
    rows = [ratios for ratios in (_relative(line, what) for line in lines) if ratios]
    rows = [ratios for ratios in rows if all(name in ratios for name in names)]
    if not rows:
        return None
    return {name: geometric_mean(ratios[name] for ratios in rows) for name in names}


def draw(results):
    """The picture with a line for every row."""
    svg = Svg()
    names = results.names()
    lines = [line for line in results.lines if _relative(line, "time") or _relative(line, "peak")]
    svg.text(MARGIN, 42, f"allot beside {len(names) - 1} allocators, {len(lines)} rows", "title")
    svg.text(MARGIN, 64, "Each value over the best of the other allocators in that row. "
                         "Left of 1× is better than every one of them.", "soft")
    _legend(svg, 88)
    for panel in PANELS:
        svg.text(panel[0], 120, panel[3], "head")
        svg.text(panel[1], 120, "less is better", "small end")
        svg.text(panel[1] + 52, 146, "allot", "small end")
    top = 152
    y = top + 16.0
    body = Svg()
    body.text(LABEL_RIGHT, y + 4, "geometric mean", "head end")
    for panel in PANELS:
        mean = _mean_ratios(lines, panel[2], names)
        if mean:
            _points(body, panel, y, mean)
    y += LINE_HEIGHT + 6
    for group in GROUPS:
        some = sorted((line for line in lines if line.group == group), key=_order)
        if not some:
            continue
        svg.add("rect", x=MARGIN / 2, y=y - 8, width=WIDTH - MARGIN, height=20, rx=4,
                style="fill: var(--band)")
        body.text(MARGIN, y + 6, group.upper(), "group")
        y += LINE_HEIGHT + 4
        for line in some:
            body.text(LABEL_RIGHT, y + 4, line.name, "end")
            for panel in PANELS:
                ratios = _relative(line, panel[2])
                if ratios:
                    _points(body, panel, y, ratios, line)
            y += LINE_HEIGHT
        y += 4
    for panel in PANELS:
        _axis(svg, panel, top, y - 6)
    svg.parts += body.parts
    _footer(svg, results, y + 18)
    return svg.document(int(y + 50), "time and peak memory of allot relative to the best of the "
                                     "other allocators, row by row")


def _free_place(x, y, width, limit, taken):
    """Where a label beside (x, y) hides no other; remembers what it takes."""
    places = [(x + 14, y), (x - width / 2, y - 18), (x - width / 2, y + 18), (x - 14 - width, y)]
    for place in places:
        box = (place[0], place[1] - 8, place[0] + width, place[1] + 8)
        if box[2] <= limit and not any(box[0] < other[2] and other[0] < box[2] and box[1] < other[3]
                                       and other[1] < box[3] for other in taken):
            break
    taken += [box, (x - 8, y - 8, x + 8, y + 8)]
    return place


def draw_map(results):
    """The picture with a point for every allocator."""
    svg = Svg()
    time, peak = means(results, "time"), means(results, "peak")
    shown = [name for name in results.names() if time[name]["all"] and peak[name]["all"]]
    left, right, top, bottom = 96, WIDTH - 60, 118, 500
    edge = 1.08 * max(max(time[name]["all"], peak[name]["all"]) for name in shown)

    def at(ratio, start, end):
        return start + (end - start) * math.log(max(ratio, 1.0)) / math.log(max(edge, 1.5))

    svg.text(MARGIN, 42, "Time and memory together", "title")
    svg.text(MARGIN, 64, "Geometric means of the ratio to the best allocator of each row: the "
                         "corner at 1× would be first in every row.", "soft")
    for tick in (1, 1.25, 1.5, 2, 3, 4, 6):
        if tick <= edge:
            x, y = at(tick, left, right), at(tick, bottom, top)
            svg.add("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid")
            svg.add("line", x1=left, x2=right, y1=y, y2=y, class_="grid")
            svg.text(x, bottom + 20, f"{tick:g}×", "small middle")
            svg.text(left - 10, y + 4, f"{tick:g}×", "small end")
    svg.text(right, bottom + 42, "time, less is better", "head end")
    svg.text(left - 10, top - 16, "peak resident memory, less is better", "head")
    taken = []
    for name in shown:
        x, y = at(time[name]["all"], left, right), at(peak[name]["all"], bottom, top)
        own = name == "allot"
        svg.circle(x, y, 9.0 if own else 6.5, "good" if own else _kind(name), name)
        label = f"{name} {ratio_text(time[name]['all'])} / {ratio_text(peak[name]['all'])}"
        label_x, label_y = _free_place(x, y, len(label) * 7.0, right + 40, taken)
        svg.text(label_x, label_y + 4, label, "head" if own else "soft")
    _footer(svg, results, bottom + 72)
    return svg.document(bottom + 104, "geometric means of time and peak memory by allocator")


def main():
    """Write one picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file")
    parser.add_argument("-o", "--output", help="default: beside the file, .svg")
    parser.add_argument("--map", action="store_true", help="one point for each allocator")
    parser.add_argument("--cpu", action="store_true",
                        help="processor time in place of wall-clock time")
    args = parser.parse_args()
    results = Results(args.file, "cpu" if args.cpu else "wall")
    source = Path(args.file)
    default = source.with_name(source.stem + "-map.svg") if args.map else source.with_suffix(".svg")
    path = Path(args.output) if args.output else default
    path.write_text(draw_map(results) if args.map else draw(results), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
