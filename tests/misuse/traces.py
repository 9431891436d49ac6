#!/usr/bin/env python3
"""Whichever function a block is taken and freed by, the report names who called it, and main.

    traces.py PROGRAM      the program of traces.c
"""
import os
import re
import subprocess
import sys

PROGRAM = sys.argv[1]


def functions(text, title):
    """The functions of this program below a title of a report, innermost first."""
    part = text.partition(f"  {title}\n")[2]
    lines = re.match(r"(?:    #.*\n)*", part).group(0).splitlines()
    places = [line.rpartition("+")[2] for line in lines if os.path.realpath(PROGRAM) in line]
    if not places or not lines[0].startswith(f"    #0 {os.path.realpath(PROGRAM)}+"):
        return lines
    found = subprocess.run(["addr2line", "-f", "-e", PROGRAM, *places], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    return found[::2]


def main():
    names = subprocess.run([PROGRAM], check=True, capture_output=True, text=True).stdout.split()
    takes = [name for name in names if name.startswith("take")]
    gives = [name for name in names if name.startswith("give")]
    wrong = 0
    for take, give in [(name, gives[0]) for name in takes] + [(takes[0], name) for name in gives]:
        done = subprocess.run([PROGRAM, take, give], check=False, capture_output=True, text=True,
                              env={**os.environ, "ALLOT_GUARD": "all", "ALLOT_MISUSE": "warn"})
        for title, name in (("allocated at", take), ("freed at", give)):
            found = functions(done.stderr, title)
            if done.returncode != 0 or found[:2] != [name, "main"]:
                print(f"{take}, {give}: {title} {found}, not {name} and main\n{done.stderr}")
                wrong += 1
    print(f"{len(takes)} ways to take a block, {len(gives)} to free it, {wrong} traces wrong")
    return 1 if wrong else 0


sys.exit(main())
