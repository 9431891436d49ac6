// verb_check.c - `allot check`: one run of a program in guard mode, with names.
//
// What the program writes to stderr comes through a pipe to a process of ours,
// which adds functions and lines to the frames of reports and passes on all else
// as it is. That process lives as long as somebody holds the pipe: a program may
// leave a daemon behind. It tells us of each report by a byte in a second pipe.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "library.h"
#include "print.h"
#include "program.h"
#include "symbols.h"
#include "verb.h"

// How long output may take to come once the program has ended.
#define CHECK_FAULT_LIBRARY "liballot-check.so"
enum { CHECK_PATIENCE_MS = 2000, CHECK_LINE_BYTES = 8192, CHECK_NAME_BYTES = 200 };

struct check {
    const char *given_library;
    const char *sample;  // N, or NULL
    const char *tag;     // a name, or NULL; neither: all blocks
    char **argv;
    struct program program;
    struct child_result result;
    char library[PATH_MAX];
    int report_fd;  // of the pipe that the program writes to
    int count_fd;   // a byte per report can be read here
    size_t report_count;
};

static const struct argp_option check_options[] = {
    {"lib", 'l', "PATH", 0, "Preload this library instead of the one beside this command", 0},
    {"sample", 's', "N", 0, "Watch one block in about N, not all", 0},
    {"tag", 't', "NAME", 0, "Watch the blocks of this tag and of all tags below it", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1},
    {0},
};

static error_t check_parse(int key, char *value, struct argp_state *state) {
    struct check *check = state->input;

    switch (key) {
    case 'l': check->given_library = value; return 0;
    case 's':
        if (value[0] < '1' || value[0] > '9' || value[strspn(value, "0123456789")] != '\0' ||
            strlen(value) >= CHECK_NAME_BYTES) {
            argp_error(state, "--sample takes a number, such as 1000");
        }
        check->sample = value;
        return 0;
    case 't':
        if (value[0] == '\0' || strlen(value) >= CHECK_NAME_BYTES) {
            argp_error(state, "--tag takes the name of a tag");
        }
        check->tag = value;
        return 0;
    case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
    case ARGP_KEY_ARG: check->argv = verb_rest_of_line(state); return 0;
    case ARGP_KEY_END:
        if (check->sample != NULL && check->tag != NULL) {
            argp_error(state, "--sample and --tag exclude each other");
        }
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which program? For example: allot check -- ./server");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp check_argp = {
    .options = check_options,
    .parser = check_parse,
    .args_doc = "[--] PROG [ARG...]",
    .doc =
        "Run PROG with all of its blocks watched: overruns, writes after free and wrong frees "
        "are reported on stderr, with functions and lines."
        "\v"
        "The exit status is that of PROG, or 128 + N if signal N ended it, as SIGABRT does after "
        "a report; 125 if allot could not do its part, 126 if PROG could not be executed, 127 if "
        "there is no PROG. With ALLOT_MISUSE=warn PROG goes on after a report.",
};

// ---- The process that adds names

static void check_write(const char *text, size_t length) {
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);

        if (written < 0 && errno != EINTR) {
            return;
        }
        text += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
}

// "    #0 /path+0x123": adds what is there. `line` has no newline.
static void check_write_frame(char *line) {
    char *path = strchr(line, '/');
    char *plus = path == NULL ? NULL : strrchr(path, '+');
    char more[CHECK_LINE_BYTES];
    bool is_known = false;

    if (plus != NULL) {
        *plus = '\0';
        is_known = symbols_find(more, sizeof more, path, strtoull(plus + 1, NULL, 16));
        *plus = '+';
    }
    check_write(line, strlen(line));
    if (is_known) {
        check_write(" ", 1);
        check_write(more, strlen(more));
    }
    check_write("\n", 1);
}

static void check_pass_line(char *line, size_t length, int count_fd) {
    static const char frame[] = "    #", error[] = "allot: error: ", advice[] = "  `allot check";

    if (strncmp(line, frame, sizeof frame - 1) == 0 && memchr(line, '\0', length) == NULL) {
        line[length - 1] = '\0';
        check_write_frame(line);
        return;
    }
    if (strncmp(line, error, sizeof error - 1) == 0 && write(count_fd, "", 1) < 0) {
        return;
    }
    if (strncmp(line, advice, sizeof advice - 1) != 0) {
        check_write(line, length);
    }
}

// Lines go through whole, unless they are longer than any of a report.
static _Noreturn void check_filter(int from_fd, int count_fd) {
    static char text[CHECK_LINE_BYTES];
    size_t length = 0;
    ssize_t got;

    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    while ((got = read(from_fd, text + length, sizeof text - 1 - length)) > 0 ||
           (got < 0 && errno == EINTR)) {
        char *at = text;
        char *end;

        length += got > 0 ? (size_t)got : 0;
        while ((end = memchr(at, '\n', length - (size_t)(at - text))) != NULL) {
            check_pass_line(at, (size_t)(end + 1 - at), count_fd);
            at = end + 1;
        }
        length -= (size_t)(at - text);
        memmove(text, at, length);
        text[length] = '\0';
        if (length == sizeof text - 1 || (length > 0 && strchr(" a", text[0]) == NULL)) {
            check_write(text, length);
            length = 0;
        }
    }
    check_write(text, length);
    _exit(0);
}

// Grandchildren are nobody's to wait for: child_run waits for one child alone.
static bool check_start_filter(struct check *check) {
    int report[2], count[2];
    pid_t pid;

    if (pipe2(report, O_CLOEXEC) != 0 || pipe2(count, O_CLOEXEC) != 0) {
        return false;
    }
    pid = fork();
    if (pid == 0) {
        close(report[1]);
        close(count[0]);
        if (fork() == 0) {
            check_filter(report[0], count[1]);
        }
        _exit(0);
    }
    close(report[0]);
    close(count[1]);
    check->report_fd = report[1];
    check->count_fd = count[0];
    return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static void check_await_filter(struct check *check) {
    struct pollfd waits = {.fd = check->count_fd, .events = POLLIN};
    char bytes[256];
    ssize_t got = 1;

    close(check->report_fd);
    while (got > 0 && poll(&waits, 1, CHECK_PATIENCE_MS) > 0) {
        got = read(check->count_fd, bytes, sizeof bytes);
        check->report_count += got > 0 ? (size_t)got : 0;
    }
}

// ---- The run

// 0, or the exit status with which to give up.
static int check_find(struct check *check) {
    int error = program_find(&check->program, check->argv[0]);

    if (error != 0) {
        print_note("cannot run %s: %s", check->argv[0], strerror(error));
        return error == ENOENT ? VERB_RUN_NOT_FOUND : VERB_RUN_NOT_EXECUTABLE;
    }
    if (!library_find_allot(check->library, check->given_library)) {
        print_note("cannot find " LIBRARY_ALLOT_SONAME "; say where it is with --lib");
        return VERB_RUN_FAILED;
    }
    if (strpbrk(check->library, " :$\t\n") != NULL) {
        print_note("cannot preload %s: its path has a space, a colon or a $", check->library);
        return VERB_RUN_FAILED;
    }
    program_examine(&check->program, check->library);
    if (check->program.verdict != PROGRAM_TAKES_PRELOAD || check->program.has_malloc) {
        print_note("cannot watch %s: %s", check->argv[0],
                   check->program.verdict != PROGRAM_TAKES_PRELOAD ? check->program.why
                                                                   : "it has a malloc of its own");
        return VERB_RUN_FAILED;
    }
    return 0;
}

// The library, and beside it what reports SIGSEGV, if it is there.
static void check_preloads(const struct check *check, char *list, size_t list_bytes) {
    int directory = (int)(strrchr(check->library, '/') - check->library);
    char fault[2 * PATH_MAX];

    snprintf(fault, sizeof fault, "%.*s/" CHECK_FAULT_LIBRARY, directory, check->library);
    snprintf(list, list_bytes, "%s%s%s", check->library, access(fault, R_OK) == 0 ? ":" : "",
             access(fault, R_OK) == 0 ? fault : "");
}

static int check_run(struct check *check) {
    char guard[64 + CHECK_NAME_BYTES], preloads[4 * PATH_MAX];
    check_preloads(check, preloads, sizeof preloads);
    char *preload = child_preload(preloads);
    char **environment = NULL;
    int error = ENOMEM;

    snprintf(guard, sizeof guard, "ALLOT_GUARD=%s%s",
             check->tag != NULL      ? "tag:"
             : check->sample != NULL ? "sample:"
                                     : "all",
             check->tag != NULL      ? check->tag
             : check->sample != NULL ? check->sample
                                     : "");
    if (preload != NULL) {
        environment = child_environment((char *[]){guard, preload}, 2);
    }
    if (environment != NULL) {
        struct child_order order = {
            .path = check->program.path,
            .may_be_text = !check->program.is_elf,
            .argv = check->argv,
            .environment = environment,
            .fds = {-1, -1, check->report_fd},
        };

        error = child_run(&check->result, &order);
    }
    free(environment);
    free(preload);
    return error;
}

static void check_print(const struct check *check) {
    fprintf(stderr, "allot check: %s, %s, ", check->argv[0],
            print_status(check->result.status).chars);
    if (check->report_count == 0) {
        fputs("no fault was reported\n", stderr);
    } else {
        fprintf(stderr, "%zu fault%s reported\n", check->report_count,
                check->report_count == 1 ? " was" : "s were");
    }
    if (check->report_count > 0 && !symbols_are_known()) {
        fputs("  This command was built without elfutils; addr2line -f -e FILE OFFSET names "
              "functions and lines.\n",
              stderr);
    }
}

int verb_check(int argc, char **argv) {
    static struct check check;
    int status, error;

    verb_parse(&check_argp, argc, argv, VERB_RUN_FAILED, &check);
    status = check_find(&check);
    if (status != 0) {
        return status;
    }
    if (!check_start_filter(&check)) {
        print_note("cannot start a process: %s", strerror(errno));
        return VERB_RUN_FAILED;
    }
    error = check_run(&check);
    check_await_filter(&check);
    if (error != 0) {
        print_note("cannot run %s: %s", check.argv[0], strerror(error));
        return error == ENOENT ? VERB_RUN_NOT_FOUND : VERB_RUN_NOT_EXECUTABLE;
    }
    check_print(&check);
    return print_shell_status(check.result.status);
}
