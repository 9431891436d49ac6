#!/usr/bin/env python3
"""What becomes of each kind of fault, by size of the block and by guard mode.

    table.py DEEDS            print the table of doc/guard.md
    table.py DEEDS --check    demand that the page has the table that comes out here
    table.py DEEDS --write    put it there

named: reported with the address; stopped: the program ended by SIGSEGV at the deed; harmless: the
bytes belong to nobody; missed: nothing happened although it should have.
"""
import collections
import os
import pathlib
import signal
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parents[2] / "doc" / "guard.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
# Title of the column, the option, the tag of the block.
MODES = [("`none`", "none", ""), ("`sample:N`", "sample:1", ""), ("`all`", "all", ""),
         ("`all`, with a tag", "all", "of_a_tag"), ("`tag:NAME`", "tag:of_a_tag", "of_a_tag")]
SIZES = [1, 24, 100, 1000, 5000, 20000, 100000, 1000000]
BYTES = [1, 7, 16, 64, 4096]
FREES = [
    ("double_free", "double free"),
    ("double_free_elsewhere", "double free by another thread"),
    ("double_free_of_the_dead", "double free after the thread that freed it ended"),
    ("free_after_realloc", "free of a block that realloc moved"),
    ("free_inside", "free of the middle of a block"),
    ("free_misaligned", "free of a block's second byte"),
    ("free_of_the_stack", "free of a variable on the stack"),
    ("free_of_a_static", "free of a static variable"),
    ("free_sized_wrong", "free_sized with a wrong size"),
]
WRITES = [("overrun", "behind the end"), ("underrun", "before the start"),
          ("write_after_free", "after free")]
ORDER = ["named", "stopped", "harmless", "missed"]


def outcome(program, mode, tag, kind, size, count):
    """One of ORDER."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("ALLOT_")}
    environment |= {"ALLOT_GUARD": mode} | ({"DEEDS_TAG": tag} if tag else {})
    done = subprocess.run([program, kind, str(size), str(count)], check=False, text=True,
                          capture_output=True, env=environment)
    if "allot: error: " in done.stderr and done.returncode == -signal.SIGABRT:
        is_of_a_block = "-byte block" in done.stderr or "  allocated at" in done.stderr
        if tag and is_of_a_block and f"  of the tag {tag}\n" not in done.stderr:
            sys.exit(f"{kind} {size} {count} with ALLOT_GUARD={mode} names no tag: {done}")
        return "named"
    if done.returncode == -signal.SIGSEGV:
        return "stopped"
    if done.returncode != 0 or done.stderr:
        sys.exit(f"{kind} {size} {count} with ALLOT_GUARD={mode}: {done}")
    usable = int(done.stdout) if done.stdout else 0
    end = {"overrun": size + count, "free_sized_wrong": 2 * size + 1}.get(kind, usable + 1)
    return "harmless" if end <= usable else "missed"


def cell(program, mode, tag, kind, count=0):
    """What became of the fault over all sizes."""
    sizes = SIZES
    if kind == "free_inside":
        sizes = SIZES[1:]
    elif kind == "write_after_free":
        sizes = [size for size in SIZES if size // 2 + count <= size]
    elif "_of_the_stack" in kind or "_static" in kind:
        sizes = SIZES[:1]
    found = collections.Counter(outcome(program, mode, tag, kind, size, count) for size in sizes)
    return found, ", ".join(f"{found[name]} {name}" for name in ORDER if found[name])


def table(program):
    """The lines, and whether full guard mode missed nothing."""
    rows = [(title, kind, 0) for kind, title in FREES]
    rows += [(f"{count} byte{'s' if count > 1 else ''} written {title}", kind, count)
             for kind, title in WRITES for count in BYTES]
    lines = ["| fault | " + " | ".join(name for name, _, _ in MODES) + " |",
             "| --- |" + " --- |" * len(MODES)]
    missed = []
    for title, kind, count in rows:
        cells = [cell(program, mode, tag, kind, count) for _, mode, tag in MODES]
        lines.append(f"| {title} | " + " | ".join(text for _, text in cells) + " |")
        missed += [title for found, _ in cells[2:] if found["missed"] or found["harmless"]]
    return "\n".join(lines) + "\n", missed


def main():
    text, missed = table(sys.argv[1])
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    head, _, rest = page.partition(BEGIN)
    old, _, tail = rest.partition(END)
    if "--write" in sys.argv:
        PAGE.write_text(head + BEGIN + text + END + tail, encoding="utf-8")
    elif "--check" not in sys.argv:
        print(text, end="")
    elif text != old:
        sys.exit(f"doc/guard.md has\n{old}and here it is\n{text}")
    if missed:
        sys.exit("missed in full guard mode: " + ", ".join(missed))


if __name__ == "__main__":
    main()
