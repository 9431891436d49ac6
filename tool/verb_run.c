// verb_run.c - `allot run`: one run of a program under the library, and the bill.
//
// The library is asked by ALLOT_STATS=exit:FILE to append a line of JSON when a
// process starts and one when it exits. FILE lies in a private directory that
// is removed with it, so that a process that outlives us recreates nothing.

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "library.h"
#include "print.h"
#include "program.h"
#include "verb.h"

struct run {
    const char *given_library;
    const char *output;
    bool is_json;
    char **argv;
    struct program program;
    struct child_result result;
    char library[PATH_MAX];
    char directory[PATH_MAX];  // private, "" if it could not be made
    char file[PATH_MAX + 16];  // in it: what the processes report
    char link[PATH_MAX + 64];  // in it: the library under a name that LD_PRELOAD can hold, or ""
    bool main_started;
    size_t started_count;  // other processes
    json_t *main_exit;     // the exit line of PROG, or NULL
    json_t *other_exits;   // array
};

static const struct argp_option run_options[] = {
    {"json", 'j', NULL, 0, "Print one JSON object instead of the table", 0},
    {"lib", 'l', "PATH", 0, "Preload this library instead of the one beside this command", 0},
    {"output", 'o', "FILE", 0, "Print to FILE instead of stderr", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1},
    {0},
};

static error_t run_parse(int key, char *value, struct argp_state *state) {
    struct run *run = state->input;

    switch (key) {
    case 'j': run->is_json = true; return 0;
    case 'l': run->given_library = value; return 0;
    case 'o': run->output = value; return 0;
    case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
    case ARGP_KEY_ARG: run->argv = verb_rest_of_line(state); return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which program? For example: allot run -- python3 script.py");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp run_argp = {
    .options = run_options,
    .parser = run_parse,
    .args_doc = "[--] PROG [ARG...]",
    .doc =
        "Run PROG with its memory from allot, and print what it used."
        "\v"
        "The exit status is that of PROG, or 128 + N if signal N ended it; 125 if allot could not "
        "do its part, 126 if PROG could not be executed, 127 if there is no PROG.\n\n"
        "SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to PROG.",
};

// ---- Preparation -------------------------------------------------------------

// Whether the loader can find `path` in LD_PRELOAD: it splits at spaces and
// colons, and expands $.
static bool run_is_plain(const char *path) {
    return strpbrk(path, " :$\t\n") == NULL;
}

static bool run_make_directory(struct run *run) {
    const char *parent = getenv("TMPDIR");

    if (parent == NULL || parent[0] != '/' || !run_is_plain(parent) || access(parent, W_OK) != 0) {
        parent = "/tmp";
    }
    snprintf(run->directory, sizeof run->directory, "%s/allot-XXXXXX", parent);
    if (mkdtemp(run->directory) == NULL) {
        print_note("cannot make a directory in %s: %s", parent, strerror(errno));
        run->directory[0] = '\0';
        return false;
    }
    snprintf(run->file, sizeof run->file, "%s/stats", run->directory);
    if (!run_is_plain(run->library)) {
        snprintf(run->link, sizeof run->link, "%s/" LIBRARY_ALLOT_SONAME, run->directory);
        if (symlink(run->library, run->link) != 0) {
            print_note("cannot make %s: %s", run->link, strerror(errno));
            return false;
        }
    }
    return true;
}

static void run_remove_directory(const struct run *run) {
    if (run->directory[0] != '\0') {
        unlink(run->file);
        if (run->link[0] != '\0') {
            unlink(run->link);
        }
        rmdir(run->directory);
    }
}

// 0, or the exit status with which to give up.
static int run_find(struct run *run) {
    int error = program_find(&run->program, run->argv[0]);

    if (error != 0) {
        print_note("cannot run %s: %s", run->argv[0],
                   error == ENOENT && strchr(run->argv[0], '/') == NULL
                       ? "there is no such program in PATH"
                       : strerror(error));
        return error == ENOENT ? VERB_RUN_NOT_FOUND : VERB_RUN_NOT_EXECUTABLE;
    }
    if (!library_find_allot(run->library, run->given_library)) {
        if (run->given_library != NULL) {
            print_note("%s %s", run->given_library,
                       library_check(run->library, run->given_library));
        } else {
            print_note("cannot find " LIBRARY_ALLOT_SONAME
                       " beside this command, in ../lib or in " LIBRARY_INSTALL_DIR
                       "; say where it is with --lib");
        }
        return VERB_RUN_FAILED;
    }
    program_examine(&run->program, run->library);
    return 0;
}

// What can be said before the program starts, for those that run for days.
static void run_note_before(const struct run *run) {
    if (run->program.verdict != PROGRAM_TAKES_PRELOAD) {
        print_note("cannot preload into %s: %s%s%s", run->argv[0], run->program.why,
                   run->program.advice == NULL ? "" : "; ",
                   run->program.advice == NULL ? "" : run->program.advice);
    }
    if (getenv("ALLOT_STATS") != NULL) {
        print_note("ALLOT_STATS is set by this command for its own use; yours is left out");
    }
}

// ---- The run -----------------------------------------------------------------

static int run_start(struct run *run) {
    bool is_preloaded = run->program.verdict != PROGRAM_SUFFERS_PRELOAD;
    char stats[PATH_MAX + 64];
    char *preload = child_preload(run->link[0] != '\0' ? run->link : run->library);
    char **environment = NULL;
    int error = ENOMEM;

    snprintf(stats, sizeof stats, "ALLOT_STATS=exit:%s", run->file);
    if (preload != NULL) {
        environment = child_environment((char *[]){stats, is_preloaded ? preload : NULL}, 2);
    }
    if (environment != NULL) {
        struct child_order order = {
            .path = run->program.path,
            .may_be_text = !run->program.is_elf,
            .argv = run->argv,
            .environment = environment,
            .fds = {-1, -1, -1},
        };

        error = child_run(&run->result, &order);
    }
    free(environment);
    free(preload);
    return error;
}

static uint64_t run_field(const json_t *line, const char *name) {
    json_int_t value = json_integer_value(json_object_get(line, name));

    return value < 0 ? 0 : (uint64_t)value;
}

// Note one line; `others` remembers by pid which processes were seen starting.
static void run_read_line(struct run *run, json_t *line, json_t *others) {
    const char *event = json_string_value(json_object_get(line, "event"));
    json_int_t pid = json_integer_value(json_object_get(line, "pid"));
    bool is_main = pid == run->result.pid;
    char key[32];

    if (event == NULL) {
        return;
    }
    if (is_main && strcmp(event, "start") == 0) {
        // Seen again when it has called exec: what was before is gone.
        run->main_started = true;
        json_decref(run->main_exit);
        run->main_exit = NULL;
    } else if (is_main && strcmp(event, "exit") == 0) {
        json_decref(run->main_exit);
        run->main_exit = json_incref(line);
    } else if (!is_main) {
        snprintf(key, sizeof key, "%lld", (long long)pid);
        json_object_set_new(others, key, json_true());
        if (strcmp(event, "exit") == 0) {
            json_array_append(run->other_exits, line);
        }
    }
}

// The kernel counts resident pages for each CPU and sums them now and then: its
// peak may lie a little below what the program saw itself at exit.
static void run_correct_peak(struct run *run) {
    uint64_t at_exit_bytes = run_field(run->main_exit, "resident_bytes");

    if (run->result.peak_bytes < at_exit_bytes) {
        run->result.peak_bytes = at_exit_bytes;
    }
}

static void run_read_file(struct run *run) {
    FILE *file = fopen(run->file, "re");
    json_t *others = json_object();
    char *text = NULL;
    size_t room_bytes = 0;
    ssize_t length;

    run->other_exits = json_array();
    while (file != NULL && (length = getline(&text, &room_bytes, file)) > 0) {
        json_t *line = json_loadb(text, (size_t)length, 0, NULL);

        if (json_is_object(line)) {
            run_read_line(run, line, others);
        }
        json_decref(line);
    }
    run->started_count = json_object_size(others);
    run_correct_peak(run);
    json_decref(others);
    free(text);
    if (file != NULL) {
        fclose(file);
    }
}

// ---- The report --------------------------------------------------------------

// Why there are no figures of the program itself; NULL if there are.
static const char *run_reason(const struct run *run, char *reason, size_t reason_bytes) {
    int status = run->result.status;

    if (run->main_exit != NULL) {
        return NULL;
    }
    if (run->main_started && WIFSIGNALED(status)) {
        snprintf(reason, reason_bytes,
                 "it ran with allot, and signal %d ended it before it could report",
                 WTERMSIG(status));
    } else if (run->main_started) {
        snprintf(reason, reason_bytes,
                 "it left by _exit, as shells do, or changed its program or its user");
    } else if (run->program.verdict != PROGRAM_TAKES_PRELOAD) {
        snprintf(reason, reason_bytes, "it ran without allot: %s", run->program.why);
    } else if (WIFSIGNALED(status)) {
        snprintf(reason, reason_bytes, "signal %d ended it before allot had started",
                 WTERMSIG(status));
    } else {
        snprintf(reason, reason_bytes,
                 "it ran without allot, although LD_PRELOAD was set: the loader reports on stderr "
                 "why, or this library writes no statistics (%.*s)",
                 200, run->library);
    }
    return reason;
}

// A row is a label and up to three cells, each a number and what it is of.
struct run_cell {
    enum quantity quantity;
    uint64_t value;
    const char *what;
};

static void run_print_row(const struct paper *paper, const char *label,
                          const struct run_cell *cells, size_t count) {
    enum { LABEL_WIDTH = 8, NUMBER_WIDTH = 13, WHAT_WIDTH = 9 };

    fprintf(paper->file, "  %-*s", LABEL_WIDTH, label);
    for (size_t i = 0; i < count; i++) {
        fprintf(paper->file, " %*s %s%-*s%s", NUMBER_WIDTH,
                print_number(cells[i].quantity, cells[i].value).chars, print_on(paper, STYLE_DIM),
                i + 1 < count ? WHAT_WIDTH : 0, cells[i].what, print_off(paper));
    }
    fputc('\n', paper->file);
}

static void run_print_cost(const struct run *run, const struct paper *paper) {
    const struct child_result *result = &run->result;
    uint64_t resident_bytes = run_field(run->main_exit, "resident_bytes");

    run_print_row(paper, "time",
                  (struct run_cell[]){
                      {QUANTITY_NS, result->wall_ns, "wall"},
                      {QUANTITY_NS, result->user_ns, "user"},
                      {QUANTITY_NS, result->system_ns, "system"},
                  },
                  3);
    run_print_row(paper, "resident",
                  (struct run_cell[]){
                      {QUANTITY_BYTES, result->peak_bytes, "peak"},
                      {QUANTITY_BYTES, resident_bytes, "at exit"},
                  },
                  resident_bytes > 0 ? 2 : 1);
}

static void run_print_memory(const json_t *line, const struct paper *paper) {
    uint64_t frees = run_field(line, "free_calls");
    uint64_t remote = run_field(line, "remote_free_blocks");
    uint64_t purges = run_field(line, "purge_calls");
    char share[64] = "came back to a slab through another thread";

    if (remote > 0 && frees >= remote) {
        snprintf(share, sizeof share, "came back to a slab through another thread (%.1f %%)",
                 100.0 * (double)remote / (double)frees);
    }
    run_print_row(paper, "memory",
                  (struct run_cell[]){
                      {QUANTITY_BYTES, run_field(line, "live_bytes"), "live"},
                      {QUANTITY_BYTES, run_field(line, "cached_bytes"), "cached"},
                      {QUANTITY_BYTES, run_field(line, "metadata_bytes"), "own"},
                  },
                  3);
    run_print_row(paper, "calls",
                  (struct run_cell[]){
                      {QUANTITY_COUNT, run_field(line, "malloc_calls"), "malloc"},
                      {QUANTITY_COUNT, frees, "free"},
                  },
                  2);
    run_print_row(paper, "", (struct run_cell[]){{QUANTITY_COUNT, remote, share}}, 1);
    run_print_row(paper, "returned",
                  (struct run_cell[]){
                      {QUANTITY_BYTES, run_field(line, "purge_bytes"), "purged"},
                      {QUANTITY_COUNT, purges, purges == 1 ? "call" : "calls"},
                  },
                  2);
}

static uint64_t run_sum(const json_t *lines, const char *name) {
    uint64_t sum = 0;
    size_t i;
    json_t *line;

    json_array_foreach(lines, i, line) {
        sum += run_field(line, name);
    }
    return sum;
}

static void run_print_others(const struct run *run, const struct paper *paper) {
    size_t reported = json_array_size(run->other_exits);

    if (run->started_count == 0) {
        return;
    }
    run_print_row(
        paper, "others",
        (struct run_cell[]){
            {QUANTITY_COUNT, run->started_count, run->started_count == 1 ? "process" : "processes"},
            {QUANTITY_COUNT, run_sum(run->other_exits, "malloc_calls"), "malloc"},
            {QUANTITY_COUNT, run_sum(run->other_exits, "free_calls"), "free"},
        },
        reported > 0 ? 3 : 1);
    if (reported < run->started_count) {
        run_print_row(
            paper, "",
            (struct run_cell[]){
                {QUANTITY_COUNT, run->started_count - reported, "of them ended without a report"},
            },
            1);
    }
}

static void run_print_table(const struct run *run, const struct paper *paper) {
    char reason[3 * PATH_MAX];
    bool is_good = WIFEXITED(run->result.status) && WEXITSTATUS(run->result.status) == 0;

    fprintf(paper->file, "%sallot run:%s %s, %s%s%s\n", print_on(paper, STYLE_BOLD),
            print_off(paper), run->argv[0], print_on(paper, is_good ? STYLE_GOOD : STYLE_BAD),
            print_status(run->result.status).chars, print_off(paper));
    run_print_cost(run, paper);
    if (run->main_exit != NULL) {
        run_print_memory(run->main_exit, paper);
    }
    run_print_others(run, paper);
    if (run_reason(run, reason, sizeof reason) != NULL) {
        fprintf(paper->file, "  %sno figures of %s itself:%s %s\n", print_on(paper, STYLE_BAD),
                run->argv[0], print_off(paper), reason);
    } else if (run->program.has_malloc) {
        fprintf(paper->file, "  %s%s has a malloc of its own,%s which most of its calls go to\n",
                print_on(paper, STYLE_BAD), run->program.image, print_off(paper));
    }
}

static int run_print_json(const struct run *run, const struct paper *paper) {
    const struct child_result *result = &run->result;
    char reason[3 * PATH_MAX];
    const char *why = run_reason(run, reason, sizeof reason);
    bool is_signalled = WIFSIGNALED(result->status);
    json_t *object = json_pack(
        "{s:o, s:i, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:o, s:O?, s:I, s:O}",
        "program", print_json_words(run->argv), "pid", (int)result->pid, "exit_status",
        is_signalled ? json_null() : json_integer(WEXITSTATUS(result->status)), "signal",
        is_signalled ? json_integer(WTERMSIG(result->status)) : json_null(), "wall_ns",
        (json_int_t)result->wall_ns, "user_ns", (json_int_t)result->user_ns, "system_ns",
        (json_int_t)result->system_ns, "peak_resident_bytes", (json_int_t)result->peak_bytes,
        "minor_faults", (json_int_t)result->minor_faults, "major_faults",
        (json_int_t)result->major_faults, "library", run->library, "active",
        run->main_started || run->main_exit != NULL, "reason",
        why == NULL ? json_null() : json_string(why), "stats", run->main_exit, "other_processes",
        (json_int_t)run->started_count, "other_stats", run->other_exits);
    int failed = object == NULL ? -1 : json_dumpf(object, paper->file, JSON_INDENT(2));

    fputc('\n', paper->file);
    json_decref(object);
    return failed;
}

static void run_report(const struct run *run, struct paper *paper) {
    int failed = 0;

    if (run->result.forwarded == SIGINT && isatty(fileno(paper->file))) {
        fputc('\n', paper->file);  // after the terminal's "^C"
    }
    if (run->is_json) {
        failed = run_print_json(run, paper);
    } else {
        run_print_table(run, paper);
    }
    if (print_close(paper) != 0 || failed != 0) {
        print_note("cannot write the report: %s", strerror(errno));
    }
}

// Between the private directory's making and its removal.
static int run_in_directory(struct run *run) {
    int error;

    if (!run_make_directory(run)) {
        return VERB_RUN_FAILED;
    }
    run_note_before(run);
    error = run_start(run);
    if (error != 0) {
        print_note("cannot run %s: %s", run->argv[0], strerror(error));
        return error == ENOENT ? VERB_RUN_NOT_FOUND : VERB_RUN_NOT_EXECUTABLE;
    }
    run_read_file(run);
    return 0;
}

int verb_run(int argc, char **argv) {
    static struct run run;
    struct paper paper;
    int status;

    verb_parse(&run_argp, argc, argv, VERB_RUN_FAILED, &run);
    paper = print_open(run.output, stderr);
    if (paper.file == NULL) {
        print_note("cannot write %s: %s", run.output, strerror(errno));
        return VERB_RUN_FAILED;
    }
    status = run_find(&run);
    if (status == 0) {
        status = run_in_directory(&run);
        run_remove_directory(&run);
    }
    if (status != 0) {
        return status;
    }
    run_report(&run, &paper);
    json_decref(run.main_exit);
    json_decref(run.other_exits);
    return print_shell_status(run.result.status);
}
