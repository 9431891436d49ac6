// verb_compare.c - `allot compare`: one program under every allocator of this
// machine, interleaved, so that what else the machine does meets all alike.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "compare.h"
#include "library.h"
#include "print.h"
#include "program.h"
#include "verb.h"

enum { COMPARE_RUNS = 5, COMPARE_RUNS_MAX = 10000 };

struct compare {
    const char *only;  // "a,b" or NULL
    const char *output;
    bool is_json;
    bool is_shown;              // what the program prints
    struct library_list given;  // with --lib
    struct program program;
    struct comparison comparison;
    int null_fd;
    int words_fd;              // what the runs that warm up print on stderr; -1 if unknown
    int stopped_by;            // signal, 0 if none
    char base_libc[PATH_MAX];  // the C library that the program loads
    char base_name[32];        // the allocator that it is linked with, "" for none
};

static const struct argp_option compare_options[] = {
    {"json", 'j', NULL, 0, "Print one JSON object with every run", 0},
    {"lib", 'l', "NAME=PATH", 0, "Add this library, or use it as NAME; may be repeated", 0},
    {"only", 'O', "NAME,...", 0, "Only these allocators", 0},
    {"output", 'o', "FILE", 0, "Print to FILE instead of stdout", 0},
    {"runs", 'n', "N", 0, "Runs for each allocator (5)", 0},
    {"show", 's', NULL, 0, "Let PROG print, to stderr; otherwise it prints to /dev/null", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1},
    {0},
};

static void compare_parse_lib(struct compare *compare, const char *value,
                              struct argp_state *state) {
    const char *equals = strchr(value, '=');
    char name[sizeof compare->given.items[0].name];
    char path[PATH_MAX];

    if (equals == NULL || equals == value || (size_t)(equals - value) >= sizeof name) {
        argp_error(state, "--lib takes NAME=PATH, not %s", value);
        return;
    }
    snprintf(name, sizeof name, "%.*s", (int)(equals - value), value);
    if (equals[1] == '\0') {  // glibc= : what the program has without preloading
        path[0] = '\0';
    } else {
        const char *fault = library_check(path, equals + 1);

        if (fault != NULL) {
            argp_error(state, "--lib %s: %s %s", name, equals + 1, fault);
            return;
        }
    }
    if (!library_list_add(&compare->given, name, path)) {
        argp_error(state, "too many libraries");
    }
}

static void compare_parse_runs(struct compare *compare, const char *value,
                               struct argp_state *state) {
    char *end;
    unsigned long runs = strtoul(value, &end, 10);

    if (*value < '0' || *value > '9' || *end != '\0' || runs == 0 || runs > COMPARE_RUNS_MAX) {
        argp_error(state, "-n, --runs takes a number from 1 to %d, not %s", COMPARE_RUNS_MAX,
                   value);
    }
    compare->comparison.run_count = runs;
}

static error_t compare_parse(int key, char *value, struct argp_state *state) {
    struct compare *compare = state->input;

    switch (key) {
    case 'j': compare->is_json = true; return 0;
    case 'l': compare_parse_lib(compare, value, state); return 0;
    case 'n': compare_parse_runs(compare, value, state); return 0;
    case 'o': compare->output = value; return 0;
    case 'O': compare->only = value; return 0;
    case 's': compare->is_shown = true; return 0;
    case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
    case ARGP_KEY_ARG: compare->comparison.argv = verb_rest_of_line(state); return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which program? For example: allot compare -- gzip -c big.tar");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp compare_argp = {
    .options = compare_options,
    .parser = compare_parse,
    .args_doc = "[--] PROG [ARG...]",
    .doc =
        "Run PROG under allot and every other allocator that is installed here, in turn, and "
        "compare wall time, CPU time, peak resident memory and page faults."
        "\v"
        "Each round runs PROG once under each allocator; the first round only warms up. A win or "
        "a loss is claimed where allot's runs and those of the best other do not overlap, from 4 "
        "runs on. stdin is read again from its present position for each run where it is a file; "
        "otherwise PROG reads /dev/null.\n\n"
        "The exit status is 0 if PROG ended alike in all runs, 1 if not, 2 if there is nothing "
        "to compare, 128 + N if signal N stopped the comparison.",
};

// ---- One run -----------------------------------------------------------------

// The input of one run: our stdin from where it stands, if that is a file.
static int compare_open_input(const struct compare *compare) {
    struct stat status;
    off_t at = lseek(0, 0, SEEK_CUR);
    int fd;

    if (at < 0 || fstat(0, &status) != 0 || !S_ISREG(status.st_mode)) {
        return dup(compare->null_fd);
    }
    fd = open("/proc/self/fd/0", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        lseek(fd, at, SEEK_SET);
    }
    return fd < 0 ? dup(compare->null_fd) : fd;
}

// Run it once, as `order` says; arguments and input are added here.
static int compare_run_once(const struct compare *compare, struct child_order order,
                            struct child_result *result) {
    int error;

    order.argv = compare->comparison.argv;
    order.may_be_text = !compare->program.is_elf;
    order.fds[0] = compare_open_input(compare);
    error = child_run(result, &order);
    close(order.fds[0]);
    return error;
}

// ---- What takes part ---------------------------------------------------------

// What glibc's loader would load: the text that `ldd` prints, to be freed. NULL
// where the loader is another one or says nothing.
static char *compare_trace(const struct compare *compare, char *preload) {
    static char trace_loading[] = "LD_TRACE_LOADED_OBJECTS=1";
    struct child_result result;
    struct stat status;
    char **environment = child_environment((char *[]){preload, trace_loading}, 2);
    int fd = memfd_create("trace", MFD_CLOEXEC);
    struct child_order order = {
        .path = compare->program.image,
        .environment = environment,
        .fds = {-1, fd, compare->null_fd},
    };
    char *text = NULL;

    if (compare->program.libc == LIBC_GLIBC && environment != NULL && fd >= 0 &&
        compare_run_once(compare, order, &result) == 0 && fstat(fd, &status) == 0 &&
        status.st_size > 0) {
        text = calloc(1, (size_t)status.st_size + 1);
        if (text != NULL && pread(fd, text, (size_t)status.st_size, 0) < 0) {
            free(text);
            text = NULL;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    free(environment);
    return text;
}

// Find in the trace without our preloading which allocator the program has
// already, and where its C library is.
static void compare_read_base(struct compare *compare) {
    char *trace = compare_trace(compare, NULL);
    char *rest = trace;
    char *line;

    while (trace != NULL && (line = strsep(&rest, "\n")) != NULL) {
        char *path = strchr(line, '/');
        const char *name;

        if (path == NULL) {
            continue;
        }
        path[strcspn(path, " ")] = '\0';
        name = library_name_of(path);
        if (name != NULL && compare->base_name[0] == '\0') {
            snprintf(compare->base_name, sizeof compare->base_name, "%s", name);
        }
        if (strstr(path, "/libc.so.6") != NULL) {
            snprintf(compare->base_libc, sizeof compare->base_libc, "%s", path);
        }
    }
    free(trace);
}

// Whether `name` is in the list "a,b".
static bool compare_is_listed(const char *list, const char *name) {
    size_t length = strlen(name);

    for (; *list != '\0'; list += strcspn(list, ",") + (strchr(list, ',') != NULL)) {
        if (strncmp(list, name, length) == 0 && (list[length] == ',' || list[length] == '\0')) {
            return true;
        }
    }
    return false;
}

// Every name in --only must be known.
static bool compare_check_only(const char *only, const struct library_list *all) {
    const char *names[LIBRARY_COUNT_MAX + 1] = {NULL};
    char *copy = strdup(only);
    char *rest = copy;
    char *name;
    bool is_good = copy != NULL;

    for (size_t i = 0; i < all->count; i++) {
        names[i] = all->items[i].name;
    }
    while (is_good && (name = strsep(&rest, ",")) != NULL) {
        const char *nearest = print_nearest(name, names);

        if (nearest == NULL || strcmp(nearest, name) != 0) {
            print_note(nearest == NULL ? "no allocator %s is installed here"
                                       : "no allocator %s is installed here; did you mean %s?",
                       name, nearest);
            is_good = false;
        }
    }
    free(copy);
    return is_good;
}

// The glibc row needs no preloading, unless the program brings another
// allocator: then the C library itself is preloaded, to stand before it.
static const char *compare_preload_path(const struct compare *compare,
                                        const struct library *library) {
    if (library->path[0] != '\0') {
        return library->path;
    }
    return compare->base_name[0] != '\0' ? compare->base_libc : "";
}

static void compare_add(struct compare *compare, const struct library *library) {
    struct comparison *comparison = &compare->comparison;
    struct compare_contender *contender = &comparison->contenders[comparison->contender_count];
    const char *path = compare_preload_path(compare, library);
    char *trace;

    contender->library = *library;
    contender->preload = *path == '\0' ? NULL : child_preload(path);
    trace = *path == '\0' ? NULL : compare_trace(compare, contender->preload);
    contender->environment = child_environment(&contender->preload, 1);
    contender->samples = calloc(comparison->run_count, sizeof *contender->samples);
    if (trace != NULL && strstr(trace, path) == NULL) {
        print_note("%s is left out: the loader does not take %s", library->name, path);
    } else if (contender->environment != NULL && contender->samples != NULL) {
        comparison->contender_count++;
    }
    free(trace);
}

static bool compare_is_given(const struct compare *compare, const char *name) {
    for (size_t i = 0; i < compare->given.count; i++) {
        if (strcmp(compare->given.items[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool compare_collect(struct compare *compare) {
    struct library_list all = {0};
    char path[PATH_MAX];

    if (library_find_allot(path, NULL)) {
        library_list_add(&all, "allot", path);
    } else if (!compare_is_given(compare, "allot")) {
        print_note("cannot find " LIBRARY_ALLOT_SONAME "; say where it is with --lib allot=PATH");
    }
    library_list_peers(&all);
    for (size_t i = 0; i < compare->given.count; i++) {
        library_list_add(&all, compare->given.items[i].name, compare->given.items[i].path);
    }
    if (compare->only != NULL && !compare_check_only(compare->only, &all)) {
        return false;
    }
    compare_read_base(compare);
    for (size_t i = 0; i < all.count; i++) {
        if (compare->only == NULL || compare_is_listed(compare->only, all.items[i].name)) {
            compare_add(compare, &all.items[i]);
        }
    }
    return true;
}

// What the reader of the report must know of the program and its input.
static void compare_note_before(const struct compare *compare) {
    int waiting_bytes = 0;
    struct stat status;

    if (compare->base_name[0] != '\0') {
        print_note("%s loads %s by itself; for the glibc row, glibc is preloaded",
                   compare->comparison.argv[0], compare->base_name);
    }
    if (fstat(0, &status) == 0 && S_ISFIFO(status.st_mode) &&
        ioctl(0, FIONREAD, &waiting_bytes) == 0 && waiting_bytes > 0) {
        print_note("stdin is a pipe, which cannot be read once for each run; use a file");
    }
}

// ---- The rounds --------------------------------------------------------------

static void compare_progress(const struct compare *compare, size_t round, const char *name,
                             time_t start) {
    const struct comparison *comparison = &compare->comparison;
    time_t elapsed = time(NULL) - start;

    if (compare->is_shown || !isatty(STDERR_FILENO)) {
        return;
    }
    if (round == 0) {
        fprintf(stderr, "\r\033[Kwarming up: %s", name);
    } else {
        fprintf(stderr, "\r\033[Kround %zu of %zu: %s", round, comparison->run_count, name);
        if (elapsed >= 2) {
            fprintf(stderr, ", about %llu s left",
                    (unsigned long long)((size_t)elapsed * (comparison->run_count + 1 - round) /
                                         round));
        }
    }
    fflush(stderr);
}

static void compare_progress_end(const struct compare *compare) {
    if (!compare->is_shown && isatty(STDERR_FILENO)) {
        fputs("\r\033[K", stderr);
    }
}

static struct compare_sample compare_sample_of(const struct child_result *result) {
    return (struct compare_sample){
        .figures =
            {
                [COMPARE_WALL] = result->wall_ns,
                [COMPARE_CPU] = result->user_ns + result->system_ns,
                [COMPARE_PEAK] = result->peak_bytes,
                [COMPARE_FAULTS] = result->minor_faults + result->major_faults,
            },
        .status = result->status,
    };
}

// Keep the last line that the runs in `words_fd` printed.
static void compare_keep_words(struct compare *compare) {
    char *words = compare->comparison.last_words;
    size_t room_bytes = sizeof compare->comparison.last_words;
    struct stat status;
    ssize_t length;
    char *line;

    if (compare->words_fd < 0 || fstat(compare->words_fd, &status) != 0) {
        return;
    }
    length = pread(compare->words_fd, words, room_bytes - 1,
                   status.st_size < (off_t)room_bytes ? 0 : status.st_size - (off_t)room_bytes + 1);
    words[length < 0 ? 0 : length] = '\0';
    while (length > 0 && words[length - 1] == '\n') {
        words[--length] = '\0';
    }
    line = strrchr(words, '\n');
    if (line != NULL) {
        memmove(words, line + 1, strlen(line));
    }
}

// Where a run's stderr goes.
static int compare_error_fd(const struct compare *compare, size_t round) {
    if (compare->is_shown) {
        return STDERR_FILENO;
    }
    if (round > 0 || compare->words_fd < 0 || ftruncate(compare->words_fd, 0) != 0 ||
        lseek(compare->words_fd, 0, SEEK_SET) != 0) {
        return compare->null_fd;
    }
    return compare->words_fd;
}

// Round 0 warms up. Each round begins with another contender. Returns 0 or an
// errno value.
static int compare_round(struct compare *compare, size_t round, time_t start) {
    struct comparison *comparison = &compare->comparison;
    int out_fd = compare->is_shown ? STDERR_FILENO : compare->null_fd;

    for (size_t i = 0; i < comparison->contender_count && compare->stopped_by == 0; i++) {
        size_t at = (round + i) % comparison->contender_count;
        struct compare_contender *contender = &comparison->contenders[at];
        struct child_order order = {
            .path = compare->program.path,
            .environment = contender->environment,
            .fds = {-1, out_fd, compare_error_fd(compare, round)},
        };
        struct child_result result;
        int error;

        compare_progress(compare, round, contender->library.name, start);
        error = compare_run_once(compare, order, &result);
        if (error != 0) {
            return error;
        }
        compare->stopped_by = result.forwarded;
        if (round > 0) {
            contender->samples[contender->sample_count++] = compare_sample_of(&result);
        } else {
            contender->first_status = result.status;
        }
    }
    return 0;
}

// 0, or the exit status with which to give up.
static int compare_measure(struct compare *compare) {
    time_t start = time(NULL);
    int error = 0;

    for (size_t round = 0;
         round <= compare->comparison.run_count && error == 0 && compare->stopped_by == 0;
         round++) {
        error = compare_round(compare, round, start);
        if (round == 0) {
            compare_keep_words(compare);
        }
    }
    compare_progress_end(compare);
    if (error != 0) {
        print_note("cannot run %s: %s", compare->comparison.argv[0], strerror(error));
        return VERB_USAGE;
    }
    if (compare->stopped_by != 0) {
        print_note("stopped by signal %d (%s)", compare->stopped_by,
                   strsignal(compare->stopped_by));
        return 128 + compare->stopped_by;
    }
    return 0;
}

// ---- The command -------------------------------------------------------------

// Find the program and refuse what cannot be compared.
static bool compare_check_program(struct compare *compare) {
    const char *name = compare->comparison.argv[0];
    int error = program_find(&compare->program, name);

    if (error != 0) {
        print_note("cannot run %s: %s", name,
                   error == ENOENT && strchr(name, '/') == NULL ? "there is no such program in PATH"
                                                                : strerror(error));
        return false;
    }
    program_examine(&compare->program, "/proc/self/exe");
    if (compare->program.verdict != PROGRAM_TAKES_PRELOAD) {
        print_note("nothing to compare, as no allocator can be preloaded into %s: %s", name,
                   compare->program.why);
        return false;
    }
    if (compare->program.has_malloc) {
        print_note("nothing to compare: %s has a malloc of its own, which wins over preloaded ones",
                   compare->program.image);
        return false;
    }
    return true;
}

static int compare_report(struct compare *compare, struct paper *paper) {
    const struct comparison *comparison = &compare->comparison;
    int failed = 0;

    compare_summarize(&compare->comparison);
    if (compare->is_json) {
        failed = compare_print_json(comparison, paper);
    } else {
        compare_print_table(comparison, paper);
    }
    if (print_close(paper) != 0 || failed != 0) {
        print_note("cannot write the report: %s", strerror(errno));
        return VERB_FAILED;
    }
    for (size_t i = 0; i < comparison->contender_count; i++) {
        if (comparison->contenders[i].odd_count > 0) {
            return VERB_FAILED;
        }
    }
    return comparison->is_changed ? VERB_FAILED : 0;
}

int verb_compare(int argc, char **argv) {
    static struct compare compare = {.comparison.run_count = COMPARE_RUNS};
    struct paper paper;
    int status;

    verb_parse(&compare_argp, argc, argv, VERB_USAGE, &compare);
    compare.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    compare.words_fd = memfd_create("words", MFD_CLOEXEC);
    paper = print_open(compare.output, stdout);
    if (paper.file == NULL || compare.null_fd < 0) {
        print_note("cannot write %s: %s", paper.file == NULL ? compare.output : "/dev/null",
                   strerror(errno));
        return VERB_USAGE;
    }
    if (!compare_check_program(&compare) || !compare_collect(&compare)) {
        return VERB_USAGE;
    }
    if (compare.comparison.contender_count == 0) {
        print_note("nothing to compare: no allocator is left");
        return VERB_USAGE;
    }
    compare_note_before(&compare);
    status = compare_measure(&compare);
    return status != 0 ? status : compare_report(&compare, &paper);
}
