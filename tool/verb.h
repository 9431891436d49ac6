// verb.h - the commands of `allot`: one file for each, one table in main.c.
#ifndef TOOL_VERB_H
#define TOOL_VERB_H

#include <argp.h>

// Exit statuses of our own. `run` uses those of env, nice and timeout, so that
// they do not collide with the statuses of the program that it runs.
enum {
    VERB_FAILED = 1,
    VERB_USAGE = 2,
    VERB_RUN_FAILED = 125,
    VERB_RUN_NOT_EXECUTABLE = 126,
    VERB_RUN_NOT_FOUND = 127,
};

struct verb {
    const char *name;
    const char *summary;                // one line, for the list
    int (*run)(int argc, char **argv);  // argv[0] is "allot NAME"; returns the exit status
};

// Parse with `argp`; a wrong option ends the process with `usage_status`.
void verb_parse(const struct argp *argp, int argc, char **argv, int usage_status, void *input);

// For an ARGP_KEY_ARG: the program and its arguments begin here. Ends parsing.
char **verb_rest_of_line(struct argp_state *state);

int verb_run(int argc, char **argv);
int verb_check(int argc, char **argv);
int verb_compare(int argc, char **argv);
int verb_options(int argc, char **argv);

#endif
