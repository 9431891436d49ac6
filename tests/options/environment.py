#!/usr/bin/env python3
"""Options through the environment, the link-time default and privileged programs.

    environment.py --build DIR --source DIR [--library FILE] [TEST...]

The expected texts are made from src/api/options.def, as the library's are.
"""
import argparse
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

ARGS = None


def read_table():
    """Every option: name -> (kind, default, settable, values)."""
    with open(os.path.join(ARGS.source, "src/api/options.def"), encoding="utf-8") as file:
        text = file.read()
    pattern = r'ALLOT_OPTION\((\w+), (\w+), "([^"]*)", (true|false), "([^"]*)",'
    return {name: (kind, default, settable == "true", values)
            for name, kind, default, settable, values in re.findall(pattern, text)}


def read_stats_fields():
    """The names of the numbers in struct allot_stats."""
    with open(os.path.join(ARGS.source, "include/allot.h"), encoding="utf-8") as file:
        body = re.search(r"struct allot_stats \{(.*?)\};", file.read(), re.S).group(1)
    names = re.findall(r"^\s*\w+ (\w+);", body, re.M)
    return [name for name in names if name not in ("size_bytes", "version")]


def program(name):
    return os.path.join(ARGS.build, "test_options_" + name)


def run(command, environment=None, **keywords):
    """Run with nothing of ours in the environment but what is given."""
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith("ALLOT_") and name != "LD_PRELOAD"}
    clean.update(environment or {})
    return subprocess.run(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60, check=False, **keywords)


def options_of(result):
    return dict(line.split("=", 1) for line in result.stdout.splitlines())


def show(environment=None, name="show", arguments=()):
    return run([program(name), *arguments], environment)


def variable(option):
    return "ALLOT_" + option.upper()


class Environment(unittest.TestCase):
    maxDiff = None

    def check_option(self, option, text, expected, warning=""):
        result = show({variable(option): text})
        self.assertEqual(result.stderr, warning)
        self.assertEqual(options_of(result)[option], expected)
        self.assertEqual(result.returncode, 0)

    def test_stderr_is_empty_by_default(self):
        result = show(arguments=["work"])
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(options_of(result), {name: row[1] for name, row in TABLE.items()})

    def test_every_option_is_read(self):
        other = {"BYTES": "3MiB", "TIME": "7ms", "TEXT": "exit", "NAMES": "a:b"}
        for option, (kind, default, _, values) in TABLE.items():
            if option in ("stats", "verbose", "leaks"):
                continue
            texts = (values.split() if kind == "CHOICE" else
                     ["all", "sample:1000", "tag:a b:c", default] if option == "guard" else
                     [other[kind], default])
            for text in texts:
                with self.subTest(option=option, text=text):
                    self.check_option(option, text, text)

    def test_every_unit_is_understood(self):
        for text, expected in [("64KiB", "64KiB"), ("1MiB", "1MiB"), ("2GiB", "2GiB"),
                               ("1TiB", "1TiB"), ("1024KiB", "1MiB")]:
            with self.subTest(text=text):
                self.check_option("dirty_limit", text, expected)
        self.check_option("dirty_limit", "0", "0B")
        self.check_option("purge_delay", "0", "0ms")
        for text in ["100ns", "100us", "100ms", "100s", "never", "0ms"]:
            with self.subTest(text=text):
                self.check_option("purge_delay", text, text)

    def test_wrong_values_keep_the_default_and_say_so_once(self):
        wrong = {"BYTES": ["12", "", "12MB", "-1MiB", "99999999999TiB"],
                 "TIME": ["5", "", "1h", "-1ms"], "CHOICE": ["maybe", "", "ON"],
                 "TEXT": ["nonsense", ""], "NAMES": [""]}
        for option, (kind, default, _, values) in TABLE.items():
            for text in wrong[kind]:
                with self.subTest(option=option, text=text):
                    self.check_option(
                        option, text, default,
                        f"allot: warning: {variable(option)}={text} is not allowed ({values}); "
                        f"using {default}\n")

    def test_values_beyond_their_limits_keep_the_default(self):
        for option, text in [("thread_cache", "1KiB"), ("thread_cache", "1GiB"),
                             ("total_cache", "512KiB"), ("reserve", "64KiB")]:
            with self.subTest(option=option, text=text):
                _, default, _, values = TABLE[option]
                self.check_option(
                    option, text, default,
                    f"allot: warning: {variable(option)}={text} is not allowed ({values}); "
                    f"using {default}\n")

    def test_unknown_options_are_reported_with_the_nearest_name(self):
        for option in TABLE:
            wrong = variable(option[:-2] + option[-1])
            if wrong[len("ALLOT_"):].lower() in TABLE:
                continue
            with self.subTest(wrong=wrong):
                result = show({wrong: "1"})
                self.assertEqual(result.stderr, f"allot: warning: unknown option {wrong} "
                                                f"(did you mean {variable(option)}?)\n")
                self.assertEqual(options_of(result)[option], TABLE[option][1])

    def test_the_example_of_the_manual_is_reported(self):
        self.assertEqual(show({"ALLOT_PURGE_DELY": "1s"}).stderr,
                         "allot: warning: unknown option ALLOT_PURGE_DELY "
                         "(did you mean ALLOT_PURGE_DELAY?)\n")

    def test_several_faults_are_reported_each_once(self):
        result = show({"ALLOT_PURGE_DELY": "1s", "ALLOT_DIRTY_LIMIT": "7", "ALLOT_MISUES": "warn",
                       "ALLOT_THREAD_CACHE": "128KiB"}, arguments=["work"])
        lines = sorted(result.stderr.splitlines())
        self.assertEqual(lines, sorted([
            "allot: warning: unknown option ALLOT_PURGE_DELY (did you mean ALLOT_PURGE_DELAY?)",
            "allot: warning: unknown option ALLOT_MISUES (did you mean ALLOT_MISUSE?)",
            "allot: warning: ALLOT_DIRTY_LIMIT=7 is not allowed (0, or a size such as 64MiB); "
            "using 1MiB"]))
        self.assertEqual(options_of(result)["thread_cache"], "128KiB")

    def test_other_variables_are_none_of_our_business(self):
        result = show({"ALLOTMENT": "1", "allot_purge_delay": "5", "NOT_ALLOT_PURGE_DELAY": "5"})
        self.assertEqual(result.stderr, "")

    def test_a_very_long_value_is_survived(self):
        result = show({"ALLOT_PURGE_DELAY": "9" * 100000, "ALLOT_" + "X" * 50000: "1"})
        self.assertEqual(result.returncode, 0)
        self.assertEqual(options_of(result)["purge_delay"], TABLE["purge_delay"][1])
        for line in result.stderr.splitlines():
            self.assertTrue(line.startswith("allot: warning: "), line[:80])

    def test_an_empty_environment_is_survived(self):
        result = subprocess.run([program("show"), "work"], env={}, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.returncode, 0)

    def test_verbose_prints_version_and_options(self):
        result = show({"ALLOT_VERBOSE": "on", "ALLOT_PURGE_DELAY": "3s"})
        self.assertRegex(result.stderr, r"(?m)^allot: .*\b1\.0\.0\b")
        for option, value in options_of(result).items():
            self.assertRegex(result.stderr, rf"(?m)\b{option}\b\W*{re.escape(value)}(\s|$|[,;])")
        self.assertEqual(options_of(result)["purge_delay"], "3s")

    # ---- link-time defaults ------------------------------------------------------

    def test_link_time_defaults_are_read(self):
        result = show(name="defaults")
        self.assertEqual(result.stderr, "")
        self.assertEqual(options_of(result)["purge_delay"], "1s")
        self.assertEqual(options_of(result)["dirty_limit"], TABLE["dirty_limit"][1])

    def test_the_environment_comes_after_link_time_defaults(self):
        result = show({"ALLOT_PURGE_DELAY": "2s"}, name="defaults")
        self.assertEqual(options_of(result)["purge_delay"], "2s")

    def test_several_link_time_defaults_are_read(self):
        options = options_of(show(name="defaults_many"))
        self.assertEqual(options["purge_delay"], "never")
        self.assertEqual(options["dirty_limit"], "8MiB")
        self.assertEqual(options["misuse"], "warn")

    def test_wrong_link_time_defaults_are_reported(self):
        result = show(name="defaults_wrong")
        self.assertEqual(options_of(result)["purge_delay"], TABLE["purge_delay"][1])
        self.assertEqual(len(result.stderr.splitlines()), 2, result.stderr)
        self.assertIn("5 is not allowed (0, never, or a time such as 500ms); using 500ms",
                      result.stderr)
        self.assertRegex(result.stderr, r"(?i)unknown option \S*dirty_limt.*did you mean")

    # ---- privileged programs -----------------------------------------------------

    def test_setuid_programs_ignore_the_environment(self):
        if os.geteuid() != 0:
            self.skipTest("only root can make a setuid program of another user")
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            copy = os.path.join(directory, "show")
            shutil.copy(program("show_static"), copy)
            report = os.path.join(directory, "report")
            wrong = {"ALLOT_PURGE_DELAY": "2s", "ALLOT_PURGE_DELY": "1s", "ALLOT_DIRTY_LIMIT": "x",
                     "ALLOT_VERBOSE": "on", "ALLOT_STATS": "exit:" + report}
            os.chmod(copy, 0o755)
            plain = run([copy], wrong, user=65534, group=65534, extra_groups=[])
            self.assertEqual(options_of(plain)["purge_delay"], "2s")
            self.assertNotEqual(plain.stderr, "")
            os.chmod(copy, 0o4755)
            if os.statvfs(directory).f_flag & os.ST_NOSUID:
                self.skipTest("the temporary directory is mounted nosuid")
            if os.path.exists(report):
                os.remove(report)
            result = run([copy, "work"], wrong, user=65534, group=65534, extra_groups=[])
            self.assertEqual(result.stderr, "")
            self.assertEqual(options_of(result),
                             {name: row[1] for name, row in TABLE.items()})
            self.assertFalse(os.path.exists(report))

    # ---- statistics at exit ------------------------------------------------------

    def check_report(self, path, count=1):
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([line["event"] for line in lines], ["start", "exit"] * count)
        for line in lines:
            self.assertEqual(line["version"], "1.0.0")
            self.assertGreater(line["pid"], 0)
        for line in lines[1::2]:
            self.assertEqual(sorted(line), sorted(["event", "version", "pid", *STATS_FIELDS]))
            for name in STATS_FIELDS:
                self.assertIsInstance(line[name], int, name)
                self.assertTrue(0 <= line[name] < 2**47, f"{name} = {line[name]}")
        self.assertEqual(sorted(lines[0]), sorted(["event", "version", "pid"]))
        return lines

    def test_stats_at_exit_go_to_a_file_as_json(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "report")
            result = show({"ALLOT_STATS": "exit:" + path}, arguments=["work"])
            self.assertEqual(result.stderr, "")
            self.assertEqual(options_of(result)["stats"], "exit:" + path)
            end = self.check_report(path)[1]
            self.assertGreaterEqual(end["malloc_calls"], 1001)
            self.assertGreaterEqual(end["free_calls"], 901)
            self.assertGreaterEqual(end["malloc_calls"], end["free_calls"])
            self.assertGreaterEqual(end["live_blocks"], 100)
            self.assertEqual(end["live_blocks"], end["malloc_calls"] - end["free_calls"])
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode) & 0o111, 0)
            show({"ALLOT_STATS": "exit:" + path})
            self.check_report(path, 2)

    def test_stats_into_a_file_that_cannot_be_made_are_survived(self):
        result = show({"ALLOT_STATS": "exit:/nonexistent/directory/file"}, arguments=["work"])
        self.assertEqual(result.returncode, 0)
        self.assertEqual(options_of(result)["purge_delay"], TABLE["purge_delay"][1])
        self.assertEqual(result.stderr, "allot: warning: no statistics: "
                         "/nonexistent/directory/file cannot be opened\n")

    def test_stats_at_exit_go_to_stderr(self):
        result = show({"ALLOT_STATS": "exit"}, arguments=["work"])
        self.assertEqual(result.returncode, 0)
        self.assertEqual(options_of(result)["stats"], "exit")
        for line in result.stderr.splitlines():
            self.assertTrue(line.startswith("allot: "), line)
        self.assertRegex(result.stderr, r"live")
        self.assertRegex(result.stderr, r"[1-9]")

    def preload(self, command, environment=None, **keywords):
        if not ARGS.library:
            self.skipTest("there is no shared library in this build")
        return run(command, {"LD_PRELOAD": ARGS.library, **(environment or {})}, **keywords)

    def test_ls_closes_stderr_and_the_statistics_come_all_the_same(self):
        result = self.preload(["ls", "/"], {"ALLOT_STATS": "exit"})
        self.assertEqual(result.returncode, 0)
        self.assertIn("usr", result.stdout.split())
        self.assertRegex(result.stderr, r"(?m)^allot: .*live")

    def test_ls_is_silent_by_default(self):
        result = self.preload(["ls", "/"])
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.returncode, 0)

    def test_closed_descriptors_are_not_written_to(self):
        for setting in [{}, {"ALLOT_STATS": "exit"}, {"ALLOT_VERBOSE": "on"},
                        {"ALLOT_PURGE_DELY": "1"}, {"ALLOT_DIRTY_LIMIT": "1"}]:
            with self.subTest(setting=setting), tempfile.TemporaryDirectory() as directory:
                path = os.path.join(directory, "file")
                result = run(["sh", "-c", 'exec "$0" "$1" 0<&- 1>&- 2>&-', program("closed"), path],
                             setting)
                self.assertEqual(result.returncode, 0)
                with open(path, encoding="utf-8") as file:
                    self.assertEqual(file.read(), "")

    def test_statistics_reach_a_file_though_descriptors_are_closed(self):
        with tempfile.TemporaryDirectory() as directory:
            path, report = os.path.join(directory, "file"), os.path.join(directory, "report")
            result = run(["sh", "-c", 'exec "$0" "$1" 0<&- 1>&- 2>&-', program("closed"), path],
                         {"ALLOT_STATS": "exit:" + report})
            self.assertEqual(result.returncode, 0)
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), "")
            self.check_report(report)

    def test_a_full_pipe_or_a_closed_reader_does_not_kill(self):
        reader, writer = os.pipe()
        os.close(reader)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ALLOT_")}
        clean["ALLOT_STATS"] = "exit"
        process = subprocess.run([program("show")], env=clean, stdout=subprocess.DEVNULL,
                                 stderr=writer, timeout=60, check=False, restore_signals=False)
        os.close(writer)
        self.assertEqual(process.returncode, 0)


def main():
    global ARGS, TABLE, STATS_FIELDS
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, help="directory of the test programs")
    parser.add_argument("--source", required=True, help="root of the source tree")
    parser.add_argument("--library", help="liballot.so.1, where there is one")
    parser.add_argument("tests", nargs="*")
    ARGS = parser.parse_args()
    TABLE = read_table()
    STATS_FIELDS = read_stats_fields()
    if len(TABLE) < 5 or len(STATS_FIELDS) < 10:
        sys.exit("options.def or allot.h could not be read")
    unittest.main(argv=[sys.argv[0], "-v", *ARGS.tests])


if __name__ == "__main__":
    main()
