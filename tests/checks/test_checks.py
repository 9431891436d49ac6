"""Each check of tools/ passes on a small sound tree and finds each fault that is put into it."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

LAYERS = """\
base/low    0  the lowest
base/config 0  features
slab/high   3  uses low
"""
LOW_H = """\
// low.h - the lowest.
#ifndef LOW_H
#define LOW_H
int low_find(int number);
#endif
"""
LOW_C = """\
// low.c - the lowest.
#include "base/low.h"

int low_find(int number) {
    return number;
}
"""
HIGH_C = """\
// high.c - uses low.
#include "slab/high.h"

#include "base/low.h"

int high_find(int number) {
    if (number > 0) {
        return low_find(number);
    }
    return 0;
}
"""
HIGH_H = LOW_H.replace("low", "high").replace("LOW", "HIGH")
ALLOT_H = """\
// allot.h - memory.
//
// What it is.
#ifndef ALLOT_H
#define ALLOT_H
#include <stddef.h>
#define ALLOT_VERSION_MAJOR 1
#define ALLOT_VERSION_MINOR 0
#define ALLOT_VERSION_PATCH 0
#define ALLOT_API __attribute__((visibility("default")))
// ---- Blocks ----

/// Allocate.
///
///   size_bytes   how much
///
/// Returns the block.
/// Threads: any.
ALLOT_API void *allot_malloc(size_t size_bytes);

/// Figures.
struct allot_stats {
    size_t size_bytes;  ///< of the struct
};
#endif
"""
LIBRARY = """\
#include <stddef.h>
void *malloc(size_t size) { return (void *)size; }
void free(void *ptr) { (void)ptr; }
__attribute__((visibility("default"))) void *allot_malloc(size_t size) { return malloc(size); }
"""
SYMBOLS = "malloc\nfree\nallot_malloc\n"
LINK = ["-shared", "-Wl,-soname,liballot.so.1", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,nodelete",
        "-Wl,--no-as-needed"]
MAP = "ALLOT_1 { global: allot_*; };\n"
# Git sets these for its hooks; they would lead to another repository.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


class Tree(unittest.TestCase):
    """A sound tree in a temporary directory."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = pathlib.Path(self.directory.name).resolve()
        shutil.copytree(ROOT / "tools", self.root / "tools",
                        ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["git", "init", "--quiet", "."], cwd=self.root, check=True, env=ENVIRONMENT)
        for name, text in {".gitignore": "/tools/\n/build/\n", "src/LAYERS": LAYERS,
                           "src/base/low.h": LOW_H, "src/base/low.c": LOW_C,
                           "src/base/config.h": "#if ALLOT_CONFIG_TINY\n#endif\n",
                           "src/slab/high.h": HIGH_H, "src/slab/high.c": HIGH_C,
                           "include/allot.h": ALLOT_H}.items():
            self.write(name, text)
        self.run_tool("check-layers", "--write")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run_tool(self, name, *arguments):
        result = subprocess.run([sys.executable, "-B", self.root / "tools" / name, *arguments],
                                cwd=self.root, check=False, text=True, env=ENVIRONMENT,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return result.returncode, result.stdout

    def accepts(self, tool):
        status, text = self.run_tool(tool)
        self.assertEqual(status, 0, text)

    def finds(self, tool, message):
        status, text = self.run_tool(tool)
        self.assertIn(message, text)
        self.assertEqual(status, 1, text)


class Layers(Tree):
    def test_a_sound_tree_passes(self):
        self.accepts("check-layers")

    def test_an_include_of_an_upper_module_is_found(self):
        self.write("src/base/low.c", LOW_C + '#include "slab/high.h"\n')
        self.finds("check-layers", "base/low includes slab/high, which stands below it")

    def test_a_module_that_is_not_listed_is_found(self):
        self.write("src/slab/other.c", "int other;\n")
        self.finds("check-layers", "src/slab/other.c: not in src/LAYERS")

    def test_a_listed_module_without_a_file_is_found(self):
        self.write("src/LAYERS", LAYERS + "slab/none 3 nothing\n")
        self.finds("check-layers", "slab/none has no file")

    def test_layers_out_of_order_are_found(self):
        self.write("src/LAYERS", LAYERS + "base/late 0 too late\n")
        self.finds("check-layers", "below layer 3 of the line before")

    def test_a_platform_test_in_a_module_is_found(self):
        self.write("src/slab/high.c", HIGH_C + "#ifdef __linux__\n#endif\n")
        self.finds("check-layers", "conditional compilation outside")

    def test_a_feature_test_outside_config_is_found(self):
        self.write("src/slab/high.c", HIGH_C + "#if ALLOT_CONFIG_TINY\n#endif\n")
        self.finds("check-layers", "a feature is tested outside src/base/config.h")

    def test_a_conditional_inside_a_function_is_found(self):
        self.write("src/slab/high.c",
                   HIGH_C.replace("    return 0;", "#if 1\n    return 0;\n#endif"))
        self.finds("check-layers", "conditional compilation inside a function")

    def test_a_foreign_first_include_is_found(self):
        self.write("src/slab/high.c", HIGH_C.replace('#include "slab/high.h"\n', ""))
        self.finds("check-layers", "its own header is not the first include")

    def test_a_stale_one_file_build_is_found(self):
        self.write("src/allot.c", "\n")
        self.finds("check-layers", "src/allot.c is not what src/LAYERS says")


class Limits(Tree):
    def test_a_sound_tree_passes(self):
        self.accepts("check-limits")

    def test_a_long_function_is_found(self):
        self.write("src/slab/high.c", "int high(void) {\n" + "    ;\n" * 69 + "}\n")
        self.finds("check-limits", "high has 71 lines")

    def test_a_function_of_70_lines_passes(self):
        self.write("src/slab/high.c", "int high(void) {\n" + "    ;\n" * 68 + "}\n")
        self.accepts("check-limits")

    def test_deep_nesting_is_found(self):
        self.write("src/slab/high.c", "int high(int a) {\n" + "if (a) {\n" * 4 + "}\n" * 5)
        self.finds("check-limits", "high nests 4 deep")

    def test_many_parameters_are_found(self):
        self.write("src/slab/high.c", "int high(int a, int b, int c, int d, int e, int f) {\n}\n")
        self.finds("check-limits", "high has 6 parameters")

    def test_a_long_line_is_found(self):
        self.write("src/slab/high.c", "// " + "x" * 98 + "\n")
        self.finds("check-limits", "101 columns")

    def test_a_long_file_is_found(self):
        self.write("src/slab/high.c", "//\n" * 801)
        self.finds("check-limits", "801 lines")

    def test_a_large_library_is_found(self):
        for number in range(15):
            self.write(f"src/slab/part{number}.c", "//\n" * 700)
        self.finds("check-limits", "the core: 10")

    def test_a_large_part_of_the_library_is_found(self):
        for number in range(6):
            self.write(f"src/heap/heap{number}.c", "//\n" * 700)
        self.finds("check-limits", "heaps: 4200 lines, more than")


class Docs(Tree):
    def test_a_sound_header_passes(self):
        self.accepts("check-docs")

    def test_a_parameter_without_a_word_is_found(self):
        self.write("include/allot.h", ALLOT_H.replace("///   size_bytes   how much\n", ""))
        self.finds("check-docs", "nothing is said of the parameter size_bytes")

    def test_a_word_about_no_parameter_is_found(self):
        self.write("include/allot.h", ALLOT_H.replace("  size_bytes   how", "  size   how"))
        self.finds("check-docs", "size is described and no parameter")

    def test_a_missing_result_is_found(self):
        self.write("include/allot.h", ALLOT_H.replace("/// Returns the block.\n", ""))
        self.finds("check-docs", "no 'Returns'")

    def test_a_missing_thread_rule_is_found(self):
        self.write("include/allot.h", ALLOT_H.replace("/// Threads: any.\n", ""))
        self.finds("check-docs", "no 'Threads:'")

    def test_a_field_without_a_word_is_found(self):
        self.write("include/allot.h", ALLOT_H.replace("  ///< of the struct", ""))
        self.finds("check-docs", "allot_stats.size_bytes has no comment")

    def test_a_function_without_a_comment_is_found(self):
        self.write("include/allot.h",
                   ALLOT_H.replace("#endif\n", "ALLOT_API void allot_bare(void);\n#endif\n"))
        self.finds("check-docs", "allot_bare has no comment")


class Words(Tree):
    def test_a_sound_tree_passes(self):
        self.accepts("check-words")

    def test_unfinished_work_is_found(self):
        self.write("src/slab/high.c", "// TO" + "DO: more\n")
        self.finds("check-words", "unfinished by its own word")

    def test_a_place_on_one_machine_is_found(self):
        self.write("src/slab/high.c", "// see /ho" + "me/somebody/notes\n")
        self.finds("check-words", "a directory of one machine")


class Binary(Tree):
    """The checks of the compiled library."""

    def build(self, source=LIBRARY, symbols=SYMBOLS, link=(), version_map=MAP):
        self.write("tools/symbols.txt", symbols)
        self.write("library.c", source)
        self.write("library.map", version_map)
        release = self.root / "build" / "release"
        release.mkdir(parents=True)
        compiler = ["cc", "-O2", "-fPIC", "-fno-builtin", "-fno-plt", "library.c"]
        subprocess.run([*compiler, *LINK, f"-Wl,--version-script={self.root}/library.map", *link,
                        "-o", release / "liballot.so.1"], cwd=self.root, check=True)
        subprocess.run([*compiler, "-c", "-o", release / "liballot.o"], cwd=self.root, check=True)

    def test_a_sound_library_passes(self):
        self.build()
        self.accepts("check-symbols")
        self.accepts("check-fast-path")

    def test_an_export_that_is_not_listed_is_found(self):
        self.build(LIBRARY + "void slab_take(void) {}\n")
        self.finds("check-symbols", "slab_take is exported and not listed")

    def test_a_listed_name_that_is_not_exported_is_found(self):
        self.build(symbols=SYMBOLS + "calloc\n")
        self.finds("check-symbols", "calloc is listed and not exported")

    def test_a_version_on_malloc_is_found(self):
        self.build(version_map="ALLOT_1 { global: allot_*; malloc; };\n")
        self.finds("check-symbols", "malloc has the version 'ALLOT_1'")

    def test_a_second_library_is_found(self):
        self.build(link=["-lm"])
        self.finds("check-symbols", "the library needs libm.so.6")

    def test_large_static_tls_is_found(self):
        self.build("static __thread volatile char big[400];\n"
                   + LIBRARY.replace("(void)ptr;", "(void)ptr; big[0] = 1;"))
        self.finds("check-symbols", "static TLS is 400 bytes")

    def test_an_atomic_on_the_fast_path_is_found(self):
        self.build("static long n;\n" + LIBRARY.replace("return (void *)size;",
                   "return (void *)__atomic_fetch_add(&n, size, __ATOMIC_RELAXED);"))
        self.finds("check-fast-path", "on the fast path")

    def test_a_call_on_the_fast_path_is_found(self):
        self.build("extern int rand(void);\n" + LIBRARY.replace("return (void *)size;",
                   "return (void *)(size + rand());"))
        self.finds("check-fast-path", "a call")

    def test_a_long_fast_path_is_found(self):
        steps = " ".join(f"v = {number};" for number in range(20))
        self.build("static volatile int v;\n"
                   + LIBRARY.replace("(void)ptr;", "(void)ptr; " + steps))
        self.finds("check-fast-path", "more than")


if __name__ == "__main__":
    unittest.main()
