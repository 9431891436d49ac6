// program.h - the file that a command line runs, and whether a library can be
// preloaded into it.
#ifndef TOOL_PROGRAM_H
#define TOOL_PROGRAM_H

#include <limits.h>
#include <stdbool.h>

#include "image.h"

enum program_verdict {
    PROGRAM_TAKES_PRELOAD,
    PROGRAM_IGNORES_PRELOAD,  // static, set-user-ID: what it starts may still take it
    PROGRAM_SUFFERS_PRELOAD,  // another machine or C library: would complain or not start
};

struct program {
    char path[PATH_MAX];   // the file to execute
    char image[PATH_MAX];  // the ELF file that runs: path, or the interpreter of the script
    enum program_verdict verdict;
    bool has_malloc;         // the ELF file has a malloc of its own
    enum libc_kind libc;     // of the ELF file
    bool is_elf;             // path is an ELF file, no script
    char why[2 * PATH_MAX];  // for the other verdicts: why, "it is ..."
    const char *advice;      // what follows from that, or NULL
};

// Look `name` up as execvp does. Returns 0, ENOENT, EACCES or another errno value.
int program_find(struct program *program, const char *name);

// Fill the rest for a preloaded `library`.
void program_examine(struct program *program, const char *library);

#endif
