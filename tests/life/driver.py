"""driver.py - named cases that run programs with the library and without.

A driver defines functions `case_some_sentence()` and ends with `driver.main(globals())`:

    driver.py LIBRARY           runs all cases
    driver.py LIBRARY sentence  runs one; exit status 0 passed, 1 failed, 77 skipped
"""
import os
import shutil
import subprocess
import sys
import tempfile
import traceback

LIBRARY = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
LONG = os.environ.get("ALLOT_TEST_LONG", "0") not in ("", "0")
SKIPPED = 77


class Skipped(Exception):
    """The machine lacks what the case needs."""


def need(name):
    """The path of a program, real ones before wrappers; skips the case if there is none."""
    for place in ("/usr/bin", "/usr/sbin", "/bin", "/sbin"):
        if os.access(os.path.join(place, name), os.X_OK):
            return os.path.join(place, name)
    path = shutil.which(name)
    if path is None:
        raise Skipped(f"{name} is not installed")
    return path


def environment(preloaded, **more):
    """An environment in which nothing but LD_PRELOAD differs."""
    result = {name: value for name, value in os.environ.items()
              if not name.startswith("ALLOT_") and name != "LD_PRELOAD"}
    result.update(LC_ALL="C.UTF-8", HOME=os.environ.get("HOME", "/"), TZ="UTC")
    result.update(more)
    if preloaded:
        result["LD_PRELOAD"] = LIBRARY
        if "ALLOT_TEST_GUARD" in os.environ:
            result.setdefault("ALLOT_GUARD", os.environ["ALLOT_TEST_GUARD"])
    return result


def run(command, preloaded=True, text_in=None, seconds=60, directory=None, limit=None, **more):
    """Run a program to its end; a hang is a failure."""
    return subprocess.run(command, input=text_in, capture_output=True, timeout=seconds,
                          cwd=directory, env=environment(preloaded, **more), preexec_fn=limit,
                          text=True, errors="replace")


def describe(done):
    """What a failed program did."""
    return (f"{' '.join(map(str, done.args))[:300]}\n  status {done.returncode}\n"
            f"  stdout: {done.stdout[-800:]}\n  stderr: {done.stderr[-1500:]}")


def demand(condition, *explanations):
    """Fail unless `condition`."""
    if not condition:
        raise AssertionError("\n".join(str(one) for one in explanations))


def clean(done):
    """Demand success and an empty stderr; returns what was printed."""
    demand(done.returncode == 0, describe(done))
    demand(done.stderr == "", "stderr is not empty", describe(done))
    return done.stdout


def same(command, **arguments):
    """Run without and with the library and demand the same output and an empty stderr."""
    without = run(command, preloaded=False, **arguments)
    demand(without.returncode == 0, "without the library:", describe(without))
    result = run(command, preloaded=True, **arguments)
    clean(result)
    demand(result.stdout == without.stdout, "the output differs", describe(without),
           describe(result))
    return result.stdout


def folder():
    """A temporary directory as a context manager."""
    return tempfile.TemporaryDirectory(prefix="allot-test-", ignore_cleanup_errors=True)


def main(names):
    """Run the case that was asked for, or all."""
    cases = {name[len("case_"):]: one for name, one in names.items() if name.startswith("case_")}
    wanted = sys.argv[2:] or list(cases)
    worst = 0
    for name in wanted:
        try:
            cases[name]()
            print("ok  ", name)
        except Skipped as reason:
            print("skip", name, "-", reason)
            if sys.argv[2:]:
                sys.exit(SKIPPED)
        except subprocess.TimeoutExpired as late:
            print("FAIL", name, "- hangs:", late.cmd)
            worst = 1
        except Exception:
            print("FAIL", name)
            traceback.print_exc(file=sys.stdout)
            worst = 1
        sys.stdout.flush()
    sys.exit(worst)
