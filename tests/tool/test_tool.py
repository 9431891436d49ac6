#!/usr/bin/env python3
"""The command `allot`, from outside: what it prints, returns, passes on and leaves behind.

ALLOT_TOOL is the command, ALLOT_TEST_LIBRARY the library beside it, ALLOT_TEST_PROGRAMS the
directory of the test programs. Arguments name tests; none means all.
"""
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

TOOL = os.environ["ALLOT_TOOL"]
LIBRARY = os.environ["ALLOT_TEST_LIBRARY"]
PROGRAMS = pathlib.Path(os.environ["ALLOT_TEST_PROGRAMS"])
OPTIONS_DEF = os.environ["ALLOT_OPTIONS_DEF"]
EMPTY = str(PROGRAMS / "libtool_empty.so")
MIB = 1 << 20


def clean_environment(**changes):
    """Our environment without what would change the command's behaviour, and with changes."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("ALLOT_") and name not in ("LD_PRELOAD", "NO_COLOR")}
    kept.update(changes)
    return kept


class ToolTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="allot-test-")
        self.addCleanup(holder.cleanup)
        self.directory = pathlib.Path(holder.name)
        (self.directory / "tmp").mkdir()
        self.environment = clean_environment(TMPDIR=str(self.directory / "tmp"))

    def tool(self, *words, stdin=subprocess.DEVNULL, **environment):
        """Run the command to its end."""
        return subprocess.run([TOOL, *map(str, words)], stdin=stdin, capture_output=True,
                              text=True, errors="replace", check=False, timeout=100,
                              env={**self.environment, **environment})

    def run_json(self, *words, **environment):
        """The object that `allot run --json` prints."""
        report = self.directory / "report"
        done = self.tool("run", "--json", "-o", report, "--", *words, **environment)
        self.assertTrue(report.exists(), done.stderr)
        return json.loads(report.read_text(encoding="utf-8"))

    def compare_json(self, *words, stdin=subprocess.DEVNULL):
        """The object that `allot compare --json` prints, and the process."""
        done = self.tool("compare", "--json", *words, stdin=stdin)
        self.assertNotEqual(done.stdout, "", done.stderr)
        return json.loads(done.stdout), done

    def script(self, name, text):
        """An executable file."""
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path


class RunTest(ToolTest):
    def test_run_returns_the_status_of_the_program(self):
        self.assertEqual(self.tool("run", "--", "true").returncode, 0)
        self.assertEqual(self.tool("run", "--", "sh", "-c", "exit 3").returncode, 3)

    def test_run_returns_128_and_the_signal_that_ended_the_program(self):
        done = self.tool("run", "--", "sh", "-c", "kill -9 $$")
        self.assertEqual(done.returncode, 137)
        self.assertIn("signal 9 (Killed)", done.stderr)
        self.assertIn("signal 9 ended it before it could report", done.stderr)

    def test_run_needs_no_dashes_and_keeps_the_options_of_the_program(self):
        done = self.tool("run", "sh", "-c", "echo $0 $1", "--json", "-o")
        self.assertEqual(done.stdout, "--json -o\n")

    def test_run_leaves_stdout_to_the_program(self):
        done = self.tool("run", "--", "echo", "hello")
        self.assertEqual(done.stdout, "hello\n")
        self.assertIn("allot run: echo, exit status 0", done.stderr)

    def test_run_shows_what_the_program_used(self):
        report = self.run_json(PROGRAMS / "tool_passing", 20000, 100)
        self.assertTrue(report["active"])
        self.assertIsNone(report["reason"])
        self.assertEqual(report["exit_status"], 0)
        stats = report["stats"]
        self.assertGreaterEqual(stats["malloc_calls"], 20000)
        self.assertLess(stats["malloc_calls"], 21000)
        self.assertGreaterEqual(stats["free_calls"], 20000)
        self.assertLess(stats["live_bytes"], MIB)
        self.assertGreater(stats["metadata_bytes"], 0)
        self.assertGreater(report["peak_resident_bytes"], 2000000)
        self.assertGreaterEqual(report["peak_resident_bytes"], stats["resident_bytes"])
        self.assertGreater(report["wall_ns"], 0)

    def test_run_shows_how_much_other_threads_freed(self):
        report = self.run_json(PROGRAMS / "tool_passing", 20000, 100)
        self.assertGreater(report["stats"]["remote_free_blocks"], 10000)
        self.assertLessEqual(report["stats"]["remote_free_blocks"], 20100)

    def test_run_writes_json_of_words_that_are_no_text(self):
        report = self.run_json("echo", b"\xff-".decode(errors="surrogateescape"), "\u00e9")
        self.assertEqual(report["program"], ["echo", "?-", "\u00e9"])

    def test_run_prints_a_table_that_fits_80_columns(self):
        done = self.tool("run", "--", PROGRAMS / "tool_passing", 1000, 100)
        rows = {}
        for line in done.stderr.splitlines():
            self.assertLessEqual(len(line), 80, line)
            self.assertEqual(line, line.rstrip())
            rows[line[:10].strip()] = line[10:]
        self.assertRegex(rows["time"], r"[0-9.]+ (ms|s) wall .* user .* system$")
        self.assertRegex(rows["resident"], r"[0-9.]+ MiB peak")
        self.assertRegex(rows["memory"], r"B live .*B cached .*B own$")
        self.assertRegex(rows["calls"], r" [0-9,]+ malloc +[0-9,]+ free$")
        self.assertRegex(rows["returned"], r"purged")

    def test_run_shows_the_peak_of_the_program_and_not_of_the_command(self):
        # A static program needs less than any one with a loader, such as this command.
        report = self.run_json(PROGRAMS / "tool_static")
        self.assertLess(report["peak_resident_bytes"], MIB)

    def test_run_keeps_an_earlier_preload_behind_ours(self):
        done = self.tool("run", "--", "sh", "-c", "echo $LD_PRELOAD", LD_PRELOAD=EMPTY)
        self.assertEqual(done.stdout, f"{os.path.realpath(LIBRARY)}:{EMPTY}\n")

    def test_run_replaces_the_users_stats_option_and_says_so(self):
        done = self.tool("run", "--", "true", ALLOT_STATS="exit")
        self.assertIn("ALLOT_STATS is set by this command", done.stderr)
        self.assertEqual(done.stderr.count("\nallot run: true"), 1)

    def test_run_preloads_a_library_from_a_directory_with_spaces(self):
        directory = self.directory / "a b:c"
        directory.mkdir()
        shutil.copy(LIBRARY, directory / "liballot.so.1")
        report = self.directory / "report"
        self.tool("run", "--json", "-o", report, "--lib", directory / "liballot.so.1", "--", "ls")
        self.assertIsNotNone(json.loads(report.read_text(encoding="utf-8"))["stats"])

    def test_run_finds_the_library_of_an_installed_tree(self):
        for name in ("bin", "lib"):
            (self.directory / name).mkdir()
        tool = shutil.copy(TOOL, self.directory / "bin" / "allot")
        shutil.copy(LIBRARY, self.directory / "lib" / "liballot.so.1")
        done = subprocess.run([tool, "run", "sh", "-c", "echo $LD_PRELOAD"], text=True,
                              env=self.environment, capture_output=True, check=False)
        self.assertEqual(done.stdout, f"{self.directory.resolve()}/lib/liballot.so.1\n")

    def test_run_without_a_library_says_where_it_looked(self):
        tool = shutil.copy(TOOL, self.directory / "allot")
        done = subprocess.run([tool, "run", "true"], text=True, env=self.environment,
                              capture_output=True, check=False)
        if done.returncode == 0:
            self.skipTest("a library is installed on this machine")
        self.assertEqual(done.returncode, 125)
        self.assertIn("beside this command, in ../lib or in /", done.stderr)
        done = self.tool("run", "--lib", OPTIONS_DEF, "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn("is not a library for this machine", done.stderr)
        done = self.tool("run", "--lib", "/no/such/file", "true")
        self.assertEqual(done.stderr, "allot: /no/such/file does not exist\n")

    def test_run_removes_what_it_wrote(self):
        self.tool("run", "--", "sh", "-c", "ls; kill -9 $$")
        self.assertEqual(list((self.directory / "tmp").iterdir()), [])
        self.tool("run", "--", "no-such-program")
        self.assertEqual(list((self.directory / "tmp").iterdir()), [])

    def test_run_names_what_cannot_be_run(self):
        done = self.tool("run", "--", "no-such-program")
        self.assertEqual(done.returncode, 127)
        self.assertEqual(done.stderr, "allot: cannot run no-such-program: there is no such "
                                      "program in PATH\n")
        self.assertEqual(self.tool("run", "--", "./no-such-program").returncode, 127)
        done = self.tool("run", "--", OPTIONS_DEF)
        self.assertEqual(done.returncode, 126)
        self.assertEqual(self.tool("run", "--", "/").returncode, 126)
        self.assertEqual(self.tool("run").returncode, 125)
        self.assertEqual(self.tool("run", "--no-such-option").returncode, 125)

    def test_run_gives_a_text_without_interpreter_line_to_the_shell(self):
        done = self.tool("run", "--", self.script("text", "echo $1; exit 6\n"), "word")
        self.assertEqual(done.stdout, "word\n")
        self.assertEqual(done.returncode, 6)

    def test_run_counts_the_other_processes(self):
        report = self.run_json("sh", "-c", "ls / | cat | wc -l; true")
        self.assertEqual(report["other_processes"], 3)
        self.assertEqual(len(report["other_stats"]), 3)
        done = self.tool("run", "--", "sh", "-c", "ls / | cat | wc -l; true")
        self.assertRegex(done.stderr, r"others +3 processes +[0-9,]+ malloc +[0-9,]+ free")

    def test_run_reports_the_last_program_of_a_process_that_calls_exec(self):
        report = self.run_json("sh", "-c", "exec ls /")
        self.assertEqual(report["stats"]["pid"], report["pid"])
        self.assertEqual(report["other_processes"], 0)

    def test_run_counts_a_child_that_forks_and_exits(self):
        report = self.run_json(sys.executable, "-c",
                               "import os, sys\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n"
                               "sys.exit(0)")
        self.assertEqual(report["stats"]["pid"], report["pid"])
        self.assertEqual(report["other_processes"], 1)

    def test_run_says_that_a_program_left_by_exit_without_report(self):
        done = self.tool("run", "--", sys.executable, "-c", "import os; os._exit(4)")
        self.assertEqual(done.returncode, 4)
        self.assertIn("it left by _exit", done.stderr)

    def test_run_works_for_a_python_script(self):
        script = self.script("script.py", f"#!{sys.executable}\nprint(sum(range(1000)))\n")
        done = self.tool("run", "--", script)
        self.assertEqual(done.stdout, "499500\n")
        self.assertRegex(done.stderr, r"calls +[0-9,]{5,} malloc")

    def test_run_passes_signals_on(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            script = (f"import signal, sys\nsignal.signal({int(number)}, lambda *_: sys.exit(9))\n"
                      "print('ready', flush=True)\nsignal.pause()")
            with subprocess.Popen([TOOL, "run", "--", sys.executable, "-c", script],
                                  env=self.environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as process:
                self.assertEqual(process.stdout.readline(), "ready\n")
                process.send_signal(number)
                _, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 9, errors)
            self.assertIn("exit status 9", errors)

    def test_run_survives_ctrl_c_that_ends_the_program(self):
        script = "echo ready; exec sleep 50"
        with subprocess.Popen([TOOL, "run", "--", "sh", "-c", script], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              start_new_session=True) as process:
            self.assertEqual(process.stdout.readline(), "ready\n")
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn("signal 2 (Interrupt)", errors)

    def test_run_works_where_sigchld_is_ignored(self):
        done = subprocess.run(["sh", "-c", 'trap "" CHLD; exec "$0" run sh -c "exit 3"', TOOL],
                              env=self.environment, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 3, done.stderr)


class PreloadRefusedTest(ToolTest):
    """Programs that take no library: they run, and the report says why."""

    def refused(self, path, why, status=5):
        done = self.tool("run", "--", path)
        self.assertIn(f"allot: cannot preload into {path}: ", done.stderr)
        self.assertRegex(done.stderr, why)
        self.assertEqual(done.returncode, status)
        return done

    def test_static_program_is_named(self):
        done = self.refused(PROGRAMS / "tool_static", "it is linked statically; no loader runs")
        self.assertEqual(done.stdout, "hello\n")
        self.assertIn("it ran without allot: it is linked statically", done.stderr)

    def test_script_of_a_static_interpreter_is_named(self):
        static = PROGRAMS / "tool_static"
        self.refused(self.script("script", f"#!{static} -x\n"),
                     re.escape(f"it is a script for {static}, which is linked statically"))
        path = f"{PROGRAMS}:{os.environ['PATH']}"
        script = self.script("by_env", "#!/usr/bin/env -S A=1 tool_static\n")
        done = self.tool("run", "--", script, PATH=path)
        self.assertIn("tool_static, which is linked statically", done.stderr)

    def test_set_user_id_program_is_named(self):
        if os.getuid() != 0:
            self.skipTest("only root makes programs of other users")
        path = self.directory / "other"
        shutil.copy("/bin/true", path)
        os.chown(path, 65534, -1)
        path.chmod(0o4755)
        self.refused(path, "it is set-user-ID; for such programs the loader ignores LD_PRELOAD", 0)
        os.chown(path, 0, 65534)
        path.chmod(0o2755)
        self.refused(path, "it is set-group-ID", 0)
        os.chown(path, 0, 0)  # our own: not run in secure mode
        path.chmod(0o4755)
        self.assertIsNotNone(self.run_json(path)["stats"])

    def test_program_with_capabilities_is_named(self):
        if os.getuid() != 0 or shutil.which("setcap") is None:
            self.skipTest("needs root and setcap")
        path = self.directory / "able"
        shutil.copy("/bin/true", path)
        if subprocess.run(["setcap", "cap_net_raw+ep", path], check=False).returncode != 0:
            self.skipTest("setcap fails here")
        self.directory.chmod(0o755)
        (self.directory / "tmp").chmod(0o1777)
        done = subprocess.run([TOOL, "run", path], user=65534, env=self.environment,
                              capture_output=True, text=True, check=False)
        self.assertIn("it is given capabilities by its file; for such programs", done.stderr)
        self.assertEqual(done.returncode, 0)

    def test_program_of_another_machine_is_named(self):
        path = self.directory / "foreign"
        image = bytearray(pathlib.Path("/bin/true").read_bytes())
        image[18:20] = (8).to_bytes(2, sys.byteorder)  # e_machine: MIPS
        path.write_bytes(image)
        path.chmod(0o755)
        self.refused(path, "it is for machine 8, and the library for ", 126)

    def test_program_of_another_c_library_runs_without_preloading(self):
        if shutil.which("musl-gcc") is None:
            self.skipTest("no musl-gcc")
        source = self.directory / "program.c"
        source.write_text('#include <stdio.h>\n#include <stdlib.h>\n'
                          'int main(void) { puts(getenv("LD_PRELOAD") ? "preload" : "none");'
                          ' return 5; }\n', encoding="utf-8")
        path = self.directory / "program"
        subprocess.run(["musl-gcc", source, "-o", path], check=True)
        done = self.refused(path, "it is built for musl, and the library for glibc")
        self.assertEqual(done.stdout, "none\n")

    def test_program_with_its_own_malloc_is_named(self):
        done = self.tool("run", "--", PROGRAMS / "tool_own_malloc")
        self.assertIn("has a malloc of its own", done.stderr)

    def test_truncated_program_harms_nobody(self):
        image = pathlib.Path("/bin/true").read_bytes()
        path = self.directory / "cut"
        for length in (*range(0, 64, 7), 64, 100, 1000, len(image) // 2, len(image) - 1):
            path.write_bytes(image[:length])
            path.chmod(0o755)
            done = self.tool("run", "--", path)
            self.assertGreaterEqual(done.returncode, 0, f"{length} bytes: {done.stderr}")


class CompareTest(ToolTest):
    def test_compare_reports_every_run_as_json(self):
        report, done = self.compare_json("-n", 2, "--", "true")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(report["program"], ["true"])
        names = [one["name"] for one in report["allocators"]]
        self.assertEqual(names[:2], ["allot", "glibc"])
        for one in report["allocators"]:
            self.assertEqual(len(one["runs"]), 2)
            for figure in ("wall_ns", "cpu_ns", "peak_resident_bytes", "page_faults"):
                summary = one["summary"][figure]
                values = sorted(run[figure] for run in one["runs"])
                self.assertEqual([summary["min"], summary["max"]], values)
                self.assertEqual(summary["median"], sum(values) // 2)
                self.assertGreater(values[0], 0)

    def test_compare_claims_nothing_from_fewer_than_4_runs(self):
        report, _ = self.compare_json("-n", 3, "--only", "allot,glibc", "--", "true")
        self.assertEqual({one["verdict"] for one in report["verdicts"]}, {"unclaimed"})
        done = self.tool("compare", "-n", 1, "--only", "allot,glibc", "--", "true")
        self.assertIn("No verdict from 1 run: take -n 4 or more.", done.stdout)

    def verdicts(self, slow_pattern):
        """The verdict on wall time where runs with such an LD_PRELOAD take longer."""
        script = f'case $LD_PRELOAD in {slow_pattern}) sleep 0.3;; esac'
        words = ("-n", 4, "--lib", f"allot={EMPTY}", "--only", "allot,glibc", "--", "sh", "-c",
                 script)
        report, _ = self.compare_json(*words)
        table = self.tool("compare", *words).stdout
        wall = report["verdicts"][0]
        self.assertEqual((wall["figure"], wall["best_other"]), ("wall_ns", "glibc"))
        return wall["verdict"], table

    def test_compare_claims_a_win_and_a_loss_where_the_runs_lie_apart(self):
        line = r"\n  wall +{} +[0-9.]+ [um]s against [0-9.]+ [um]s of glibc: \S+ % {}\n"
        verdict, table = self.verdicts("''")
        self.assertEqual(verdict, "win")
        self.assertRegex(table, line.format("win", "less"))
        verdict, table = self.verdicts("*empty*")
        self.assertEqual(verdict, "loss")
        self.assertRegex(table, line.format("loss", "more"))

    def test_compare_calls_overlapping_runs_equal(self):
        # The first run of each kind is slow: the ranges meet, whatever the medians are.
        log = self.directory / "log"
        script = f'echo x >>{log}; [ $(wc -l <{log}) -ge 7 ] || sleep 0.2'
        report, _ = self.compare_json("-n", 4, "--lib", f"allot={EMPTY}", "--only", "allot,glibc",
                                      "--", "sh", "-c", script)
        self.assertEqual(report["verdicts"][0]["verdict"], "equal")

    def test_compare_shows_a_row_for_each_allocator_and_a_verdict_for_each_figure(self):
        done = self.tool("compare", "-n", 4, "--only", "allot,glibc", "--", "true")
        self.assertRegex(done.stdout, r"\n +wall +CPU +peak resident +page faults\n")
        for name in ("allot", "glibc"):
            self.assertRegex(done.stdout, rf"\n  {name} +[0-9.]+ (us|ms) +[0-9.]+ - [0-9.]+ ")
        for figure in ("wall", "CPU", "peak resident", "page faults"):
            self.assertRegex(done.stdout, rf"\n  {figure} +(win|loss|equal) +[0-9]")
        for line in done.stdout.splitlines():
            self.assertEqual(line, line.rstrip())
        self.assertEqual(done.stderr, "")

    def test_compare_interleaves_and_begins_each_round_with_another(self):
        log = self.directory / "log"
        self.tool("compare", "-n", 2, "--lib", f"other={EMPTY}", "--only", "allot,glibc,other",
                  "--", "sh", "-c", f'echo "${{LD_PRELOAD##*/}}" >>{log}')
        names = [{"": "glibc", "libtool_empty.so": "other"}.get(line, "allot")
                 for line in log.read_text(encoding="utf-8").splitlines()]
        self.assertEqual(names, ["allot", "glibc", "other", "glibc", "other", "allot",
                                 "other", "allot", "glibc"])

    def test_compare_gives_each_run_the_same_input_file(self):
        source = self.directory / "input"
        source.write_text("skipped\nline\n", encoding="utf-8")
        log = self.directory / "log"
        with open(source, encoding="utf-8") as file:
            os.lseek(file.fileno(), len("skipped\n"), os.SEEK_SET)
            self.compare_json("-n", 2, "--only", "allot,glibc", "--", "sh", "-c", f"cat >>{log}",
                              stdin=file)
        self.assertEqual(log.read_text(encoding="utf-8"), 6 * "line\n")

    def test_compare_hides_what_the_program_prints_unless_asked(self):
        words = ("--only", "glibc", "-n", 1, "--", "sh", "-c", "echo out; echo error >&2")
        self.assertEqual(self.tool("compare", *words).stderr, "")
        done = self.tool("compare", "--show", *words)
        self.assertEqual(done.stderr, 2 * "out\nerror\n")
        self.assertNotIn("\nout", done.stdout)

    def test_compare_reports_a_program_that_fails_everywhere(self):
        done = self.tool("compare", "-n", 1, "--only", "allot,glibc", "--", "sh", "-c", "exit 3")
        self.assertEqual(done.returncode, 0)
        self.assertIn("\nevery counted run failed: sh ends with exit status 3\n\n", done.stdout)
        self.assertNotIn("last words", done.stdout)
        self.assertNotIn("differ from the first", done.stdout)

    def test_compare_gives_no_verdict_on_a_program_that_works_only_once(self):
        once = self.directory / "once"
        script = f'[ ! -e {once} ] || {{ echo first >&2; echo "again? no" >&2; exit 2; }}; >{once}'
        words = ("--only", "allot,glibc", "-n", 4, "--", "sh", "-c", script)
        done = self.tool("compare", *words)
        self.assertEqual(done.returncode, 1)
        self.assertIn("\nthe runs differ from the first: sh may not be repeatable\n", done.stdout)
        self.assertIn("\nevery counted run failed: sh ends with exit status 2\n"
                      "  its last words: again? no\n\n", done.stdout)
        self.assertIn("\nNo verdict: no counted run succeeded.\n", done.stdout)
        self.assertNotIn("against", done.stdout)
        once.unlink()
        report, _ = self.compare_json(*words)
        self.assertTrue(report["all_failed"])
        self.assertTrue(report["differs_from_first"])
        self.assertEqual({one["verdict"] for one in report["verdicts"]}, {"none"})

    def test_compare_of_allot_alone_says_that_there_is_nothing_to_compare(self):
        done = self.tool("compare", "-n", 4, "--only", "allot", "--", "true")
        self.assertIn("\nNo verdict: there is nothing to compare allot with.\n", done.stdout)

    def test_compare_reports_a_program_that_fails_under_one_allocator(self):
        script = "case $LD_PRELOAD in *empty*) kill -SEGV $$;; esac"
        words = ("-n", 2, "--lib", f"other={EMPTY}", "--only", "other,glibc", "--", "sh", "-c",
                 script)
        done = self.tool("compare", *words)
        self.assertEqual(done.returncode, 1)
        self.assertIn("\n  other  signal 11 (Segmentation fault) in 2 of 2 runs\n", done.stdout)
        report, _ = self.compare_json(*words)
        runs = {one["name"]: one["runs"][0]["signal"] for one in report["allocators"]}
        self.assertEqual(runs, {"glibc": None, "other": 11})

    def test_compare_gives_no_verdict_on_failed_runs(self):
        script = "case $LD_PRELOAD in *empty*) exit 1;; esac"
        done = self.tool("compare", "-n", 4, "--lib", f"allot={EMPTY}", "--only", "allot,glibc",
                         "--", "sh", "-c", script)
        self.assertIn("No verdict: allot's runs did not all end as the others did.", done.stdout)
        self.assertEqual(done.returncode, 1)

    def test_compare_preloads_glibc_before_an_allocator_that_the_program_brings(self):
        words = ("-n", 1, "--show", "--only", "glibc", "--")
        done = self.tool("compare", *words, PROGRAMS / "tool_linked")
        self.assertIn("loads jemalloc by itself; for the glibc row, glibc is preloaded",
                      done.stderr)
        self.assertRegex(done.stderr, r"\n/\S*/libc\.so\.6\n")
        done = self.tool("compare", *words, "sh", "-c", "echo ${LD_PRELOAD-nothing}")
        self.assertEqual(done.stderr, 2 * "nothing\n")

    def test_compare_leaves_out_what_the_loader_does_not_take(self):
        bad = self.directory / "cut.so"
        bad.write_bytes(pathlib.Path(LIBRARY).read_bytes()[:100])
        done = self.tool("compare", "-n", 1, "--lib", f"bad={bad}", "--only", "bad,glibc",
                         "--", "true")
        self.assertIn("allot: bad is left out: the loader does not take ", done.stderr)
        self.assertNotIn("\n  bad", done.stdout)

    def test_compare_refuses_what_cannot_be_compared(self):
        done = self.tool("compare", "--", PROGRAMS / "tool_static")
        self.assertEqual(done.returncode, 2)
        self.assertIn("it is linked statically", done.stderr)
        done = self.tool("compare", "--", PROGRAMS / "tool_own_malloc")
        self.assertEqual(done.returncode, 2)
        self.assertIn("has a malloc of its own", done.stderr)
        for words in (("no-such-program",), ("-n", "0", "true"), ("-n", "x", "true"),
                      ("--lib", "nothing", "true"), ("--lib", "a=/no/such/file", "true"), ()):
            self.assertEqual(self.tool("compare", *words).returncode, 2, words)

    def test_compare_names_what_is_wrong_with_an_option(self):
        for words, why in ((("--runs", "0"), "-n, --runs takes a number from 1 to 10000, not 0"),
                           (("--lib", "a=/no/such/file"), "--lib a: /no/such/file does not exist"),
                           (("--lib", f"a={OPTIONS_DEF}"), "is not a library for this machine"),
                           (("--lib", f"a={TOOL}"), "is not a library for this machine")):
            done = self.tool("compare", *words, "--", "true")
            self.assertEqual(done.returncode, 2)
            self.assertIn(why, done.stderr)

    def test_compare_names_the_nearest_allocator(self):
        done = self.tool("compare", "--only", "glibcc", "--", "true")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no allocator glibcc is installed here; did you mean glibc?", done.stderr)

    def test_compare_stops_at_ctrl_c(self):
        with subprocess.Popen([TOOL, "compare", "--show", "--only", "glibc", "--", "sh", "-c",
                               "echo ready; exec sleep 50"], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              start_new_session=True) as process:
            self.assertEqual(process.stderr.readline(), "ready\n")
            os.killpg(process.pid, signal.SIGINT)
            output, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(output, "")
        self.assertIn("stopped by signal 2", errors)


class CheckTest(ToolTest):
    FAULTS = str(PROGRAMS / "tool_faults")
    HAS_SYMBOLS = os.environ.get("ALLOT_TOOL_HAS_SYMBOLS") == "1"

    def frames(self, text, title):
        """The functions below a title of a report."""
        part = text.partition(f"  {title}\n")[2]
        lines = re.match(r"(?:    #.*\n)*", part).group(0).splitlines()
        return [line.split()[2] if len(line.split()) > 2 else "" for line in lines]

    def test_check_names_an_overrun_with_functions_and_lines(self):
        done = self.tool("check", "--", self.FAULTS, "overrun")
        self.assertEqual(done.returncode, 134, done.stderr)
        self.assertRegex(done.stderr, r"^allot: error: overrun: the 23-byte block at 0x[0-9a-f]+ "
                                      r"was written at offset 23\n")
        self.assertIn("1 fault was reported", done.stderr)
        if self.HAS_SYMBOLS:
            self.assertEqual(self.frames(done.stderr, "allocated at")[:2], ["name_copy", "main"])
            self.assertEqual(self.frames(done.stderr, "freed at")[:2], ["name_drop", "main"])
            self.assertRegex(done.stderr, r"name_copy \(.*guard_faults\.c:\d+\)\n")

    def test_check_names_all_three_calls_of_a_double_free(self):
        done = self.tool("check", "--", self.FAULTS, "double-free")
        self.assertEqual(done.returncode, 134, done.stderr)
        self.assertRegex(done.stderr,
                         r"^allot: error: double free of 0x[0-9a-f]+ \(4-byte block\)\n")
        for title in ("by the call at", "allocated at", "freed at"):
            self.assertIn(f"  {title}\n    #0 /", done.stderr)

    def test_check_says_where_a_fence_was_touched_and_whose_it_is(self):
        done = self.tool("check", "--", self.FAULTS, "large")
        self.assertEqual(done.returncode, 139, done.stderr)
        self.assertRegex(done.stderr,
                         r"^allot: error: SIGSEGV at 0x[0-9a-f]+, by the code at\n    #0 /")
        self.assertRegex(done.stderr, r"lies 0 bytes behind the 40000-byte block at ")

    def test_check_goes_on_after_a_report_if_told_so(self):
        done = self.tool("check", "--", self.FAULTS, "overrun", ALLOT_MISUSE="warn")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout, "nothing was noticed\n")
        self.assertIn("exit status 0, 1 fault was reported", done.stderr)

    def test_check_finds_nothing_in_a_right_program(self):
        script = "echo out; printf 'a line\\nno end' >&2; exit 3"
        done = self.tool("check", "--", "sh", "-c", script)
        self.assertEqual((done.returncode, done.stdout), (3, "out\n"))
        self.assertEqual(done.stderr, "a line\nno endallot check: sh, exit status 3, "
                                      "no fault was reported\n")

    def test_check_watches_the_blocks_of_one_tag(self):
        for tag, code, count in (("parser", 134, "1 fault was"), ("other", 0, "no fault was")):
            done = self.tool("check", "--tag", tag, "--", self.FAULTS, "overrun",
                             ALLOT_TAG="parser")
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(f"{count} reported", done.stderr)
            self.assertEqual("  of the tag parser\n  allocated at\n" in done.stderr, code == 134)

    def test_check_refuses_what_it_cannot_watch(self):
        for wrong in (["--tag", ""], ["--tag", "x" * 300], ["--tag", "x", "--sample", "5"]):
            self.assertEqual(self.tool("check", *wrong, "--", "true").returncode, 125)
        done = self.tool("check", "--", PROGRAMS / "tool_static")
        self.assertEqual(done.returncode, 125)
        self.assertIn("linked statically", done.stderr)
        self.assertEqual(self.tool("check", "--sample", "x", "--", "true").returncode, 125)
        self.assertEqual(self.tool("check", "--", "no-such-program").returncode, 127)


class OptionsTest(ToolTest):
    def test_options_lists_the_whole_table(self):
        text = pathlib.Path(OPTIONS_DEF).read_text(encoding="utf-8")
        names = re.findall(r"^ALLOT_OPTION\((\w+),", text, re.MULTILINE)
        done = self.tool("options", "--json")
        options = json.loads(done.stdout)
        self.assertEqual([option["name"] for option in options], names)
        self.assertEqual({option["variable"] for option in options},
                         {f"ALLOT_{name.upper()}" for name in names})
        for option in options:
            self.assertEqual(option["value"], option["default"], option["name"])
        table = self.tool("options").stdout
        for name in names:
            self.assertRegex(table, rf"(?m)^ALLOT_{name.upper()} ")

    def test_options_shows_the_value_that_the_environment_gives(self):
        done = self.tool("options", "--json", "purge_delay", ALLOT_PURGE_DELAY="2s")
        self.assertEqual([option["value"] for option in json.loads(done.stdout)], ["2s"])
        done = self.tool("options", "ALLOT_PURGE_DELAY", ALLOT_PURGE_DELAY="2s")
        self.assertRegex(done.stdout, r"\nALLOT_PURGE_DELAY +2s +500ms +0, never")

    def test_options_takes_the_librarys_word_on_wrong_values(self):
        done = self.tool("options", "--json", "purge_delay", ALLOT_PURGE_DELAY="5")
        self.assertEqual(json.loads(done.stdout)[0]["value"], "500ms")
        self.assertIn("ALLOT_PURGE_DELAY=5 is not allowed", done.stderr)

    def test_options_names_the_nearest_option(self):
        done = self.tool("options", "ALLOT_PURGE_DELY")
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no option ALLOT_PURGE_DELY; did you mean purge_delay?",
                      done.stderr)


class MainTest(ToolTest):
    def test_version_is_that_of_the_header(self):
        self.assertRegex(self.tool("--version").stdout, r"^allot \d+\.\d+\.\d+\n$")

    def test_help_lists_the_commands_and_each_has_its_own(self):
        for words in (("help",), ("--help",), ("-h",)):
            done = self.tool(*words)
            self.assertEqual(done.returncode, 0)
            verbs = re.findall(r"(?m)^  allot (\w+)  ", done.stdout)
            self.assertEqual(verbs, ["run", "check", "compare", "options"])
        for verb in verbs:
            done = self.tool("help", verb)
            self.assertEqual(done.returncode, 0)
            self.assertIn(f"Usage: allot {verb} ", done.stdout)
            self.assertEqual(done.stdout, self.tool(verb, "--help").stdout)
            self.assertEqual(done.stdout, self.tool(verb, "-h").stdout)

    def test_unknown_commands_name_the_nearest(self):
        for wrong, right in (("rnu", "run"), ("comprae", "compare"), ("option", "options")):
            done = self.tool(wrong)
            self.assertEqual(done.returncode, 2)
            self.assertEqual(done.stderr,
                             f"allot: there is no command {wrong}; did you mean {right}?\n")
        done = self.tool("quite-another")
        self.assertEqual(done.stderr,
                         "allot: there is no command quite-another; `allot help` lists them\n")
        self.assertEqual(self.tool().returncode, 2)
        self.assertEqual(self.tool("--nonsense").returncode, 2)

    def on_terminal(self, *words, **environment):
        """What the command prints on a terminal."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(TOOL, [TOOL, *words], {**self.environment, "TERM": "xterm", **environment})
        output = b""
        while True:
            try:
                block = os.read(fd, 65536)
            except OSError:  # the other side is closed
                block = b""
            if not block:
                break
            output += block
        os.close(fd)
        os.waitpid(pid, 0)
        return output.decode()

    def test_colours_are_for_terminals_that_want_them(self):
        self.assertNotIn("\033", self.tool("options").stdout)
        self.assertIn("\033[1m", self.on_terminal("options"))
        self.assertNotIn("\033", self.on_terminal("options", NO_COLOR="1"))
        self.assertNotIn("\033", self.on_terminal("options", TERM="dumb"))

    def test_a_progress_line_is_for_terminals(self):
        words = ("compare", "-n", "1", "--only", "glibc", "true")
        self.assertIn("round 1 of 1: glibc", self.on_terminal(*words))
        self.assertEqual(self.tool(*words).stderr, "")

    def test_a_report_that_cannot_be_written_is_an_error(self):
        done = self.tool("run", "-o", "/no/such/directory/x", "--", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn("cannot write /no/such/directory/x", done.stderr)
        if os.path.exists("/dev/full"):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([TOOL, "options"], stdout=full, stderr=subprocess.PIPE,
                                      env=self.environment, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot write the table: No space left on device", done.stderr)


def main():
    loader = unittest.defaultTestLoader
    everything = [test for suite in loader.loadTestsFromModule(sys.modules["__main__"])
                  for test in suite]
    wanted = [test for test in everything
              if not sys.argv[1:] or test.id().rsplit("test_", 1)[1] in sys.argv[1:]]
    if not wanted:
        sys.exit(f"no test is called {' or '.join(sys.argv[1:])}")
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(wanted))
    if not result.wasSuccessful():
        return 1
    return 77 if len(result.skipped) == result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
