// main.c - the command `allot`: finds the verb and hands it the rest of the line.

#include <stdlib.h>
#include <string.h>

#include "allot.h"
#include "print.h"
#include "verb.h"

#define MAIN_TEXT_2(x) #x
#define MAIN_TEXT(x) MAIN_TEXT_2(x)
#define MAIN_VERSION               \
    MAIN_TEXT(ALLOT_VERSION_MAJOR) \
    "." MAIN_TEXT(ALLOT_VERSION_MINOR) "." MAIN_TEXT(ALLOT_VERSION_PATCH)

static const struct verb main_verbs[] = {
    {"run", "run a program with its memory from allot, and print what it used", verb_run},
    {"check", "run a program with its blocks watched, and name what it does wrong", verb_check},
    {"compare", "run a program under every allocator that is installed here", verb_compare},
    {"options", "list the options, their values and what they do", verb_options},
};

enum { MAIN_VERB_COUNT = sizeof main_verbs / sizeof *main_verbs };

void verb_parse(const struct argp *argp, int argc, char **argv, int usage_status, void *input) {
    argp_err_exit_status = usage_status;
    if (argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL, input) != 0) {
        exit(usage_status);
    }
}

char **verb_rest_of_line(struct argp_state *state) {
    char **rest = &state->argv[state->next - 1];

    state->next = state->argc;
    return rest;
}

static void main_print_help(FILE *file) {
    fputs("allot - memory for servers\n\n", file);
    for (size_t i = 0; i < MAIN_VERB_COUNT; i++) {
        fprintf(file, "  allot %-10s %s\n", main_verbs[i].name, main_verbs[i].summary);
    }
    fputs("\n"
          "  allot run -- python3 script.py\n"
          "  allot check -- ./server\n"
          "  allot compare -n 10 -- gzip -c big.tar\n"
          "\n"
          "`allot help VERB` or `allot VERB --help` says more.\n",
          file);
}

static const struct verb *main_find(const char *name) {
    const char *names[MAIN_VERB_COUNT + 2] = {NULL};
    const char *nearest;

    for (size_t i = 0; i < MAIN_VERB_COUNT; i++) {
        if (strcmp(main_verbs[i].name, name) == 0) {
            return &main_verbs[i];
        }
        names[i] = main_verbs[i].name;
    }
    names[MAIN_VERB_COUNT] = "help";
    nearest = print_nearest(name, names);
    if (nearest != NULL) {
        print_note("there is no command %s; did you mean %s?", name, nearest);
    } else {
        print_note("there is no command %s; `allot help` lists them", name);
    }
    return NULL;
}

// Call the verb with "allot NAME" as its argv[0], which its messages begin with.
static int main_call(const struct verb *verb, int argc, char **argv) {
    static char title[64];

    snprintf(title, sizeof title, "allot %s", verb->name);
    argv[0] = title;
    return verb->run(argc, argv);
}

static int main_help(int argc, char **argv) {
    static char help[] = "--help";
    char *line[] = {NULL, help, NULL};
    const struct verb *verb;

    if (argc < 3) {
        main_print_help(stdout);
        return 0;
    }
    verb = main_find(argv[2]);
    return verb == NULL ? VERB_USAGE : main_call(verb, 2, line);
}

int main(int argc, char **argv) {
    const struct verb *verb;

    if (argc < 2) {
        main_print_help(stderr);
        return VERB_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("allot " MAIN_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        return main_help(argc, argv);
    }
    if (argv[1][0] == '-') {
        print_note("there is no option %s before the command; `allot help` lists the commands",
                   argv[1]);
        return VERB_USAGE;
    }
    verb = main_find(argv[1]);
    return verb == NULL ? VERB_USAGE : main_call(verb, argc - 1, argv + 1);
}
