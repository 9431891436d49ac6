// child.h - start a program, pass signals on to it, wait, measure.
#ifndef TOOL_CHILD_H
#define TOOL_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child_order {
    const char *path;  // the file to execute
    bool may_be_text;  // if the kernel does not know its format, give it to /bin/sh
    char **argv;
    char **environment;
    int fds[3];  // to become its stdin, stdout, stderr; -1: the one we have
};

struct child_result {
    pid_t pid;
    int status;        // as from wait
    int forwarded;     // the last signal that was passed on or shared, 0 if none
    uint64_t wall_ns;  // from before fork until it had ended
    uint64_t user_ns;  // CPU time of it and the descendants that it waited for
    uint64_t system_ns;
    uint64_t peak_bytes;  // largest resident size of any one of these processes
    uint64_t minor_faults;
    uint64_t major_faults;
};

// Run it to its end. Returns 0, or the errno value with which it could not be
// started.
int child_run(struct child_result *result, const struct child_order *order);

// Our environment with `count` assignments ("NAME=value") in place of what the
// same names hold. An assignment that is NULL is left out. The array is freed by
// the caller, the strings are shared. NULL if there is no memory.
char **child_environment(char *const assignments[], size_t count);

// "LIBRARY[:what LD_PRELOAD holds already]" as an assignment to LD_PRELOAD, to
// be freed. NULL if there is no memory.
char *child_preload(const char *library);

#endif
