// program.c - see program.h.

#include "program.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    PROGRAM_LINE_BYTES = 256,     // of a script's first line that the kernel reads
    PROGRAM_SCRIPT_DEPTH_MAX = 4  // scripts whose interpreter is a script
};

// 0 if `path` can be executed.
static int program_check_file(const char *path) {
    struct stat status;

    if (stat(path, &status) != 0) {
        return errno;
    }
    if (S_ISDIR(status.st_mode)) {
        return EISDIR;
    }
    return access(path, X_OK) == 0 ? 0 : errno;
}

// Look `name` up in PATH. Returns 0 and the path, or an errno value.
static int program_search(char path[PATH_MAX], const char *name) {
    const char *list = getenv("PATH");
    int error = ENOENT;

    if (*name == '\0' || strlen(name) >= PATH_MAX) {
        return ENOENT;
    }
    if (strchr(name, '/') != NULL) {
        snprintf(path, PATH_MAX, "%s", name);
        return program_check_file(path);
    }
    for (list = list == NULL ? "/usr/bin:/bin" : list;; list++) {
        size_t length = strcspn(list, ":");
        int written = length == 0 ? snprintf(path, PATH_MAX, "./%s", name)
                                  : snprintf(path, PATH_MAX, "%.*s/%s", (int)length, list, name);

        if (written < PATH_MAX) {
            int found = program_check_file(path);

            if (found == 0) {
                return 0;
            }
            error = found == EACCES ? EACCES : error;
        }
        list += length;
        if (*list == '\0') {
            return error;
        }
    }
}

int program_find(struct program *program, const char *name) {
    memset(program, 0, sizeof *program);
    return program_search(program->path, name);
}

// The next word of `*line`, ended in place; NULL at the end of the line.
static char *program_word(char **line) {
    char *word = *line + strspn(*line, " \t");
    size_t length = strcspn(word, " \t\n");

    if (length == 0) {
        return NULL;
    }
    *line = word + length + (word[length] != '\0');
    word[length] = '\0';
    return word;
}

// The program that `env WORDS` runs; false if that cannot be said.
static bool program_behind_env(char path[PATH_MAX], char *words) {
    char *word;

    while ((word = program_word(&words)) != NULL) {
        if (*word != '-' && strchr(word, '=') == NULL) {
            return program_search(path, word) == 0;
        }
    }
    return false;
}

// Replace the path of a script by that of its interpreter; `env` counts as the
// program that it runs. False if `path` is no script.
static bool program_follow_script(char path[PATH_MAX]) {
    char line[PROGRAM_LINE_BYTES];
    char *rest = line + 2;
    char *interpreter;
    const char *base;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof line - 1);

    if (fd >= 0) {
        close(fd);
    }
    if (length < 2) {
        return false;
    }
    line[length] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "#!", 2) != 0) {  // execvp gives such a file to the shell
        snprintf(path, PATH_MAX, "/bin/sh");
        return true;
    }
    interpreter = program_word(&rest);
    if (interpreter == NULL) {
        return false;
    }
    snprintf(path, PATH_MAX, "%s", interpreter);
    base = strrchr(interpreter, '/');
    if (base != NULL && strcmp(base, "/env") == 0) {
        char behind[PATH_MAX];

        if (program_behind_env(behind, rest)) {
            snprintf(path, PATH_MAX, "%s", behind);
        }
    }
    return true;
}

// Why the loader would run `path` in secure mode, where it ignores LD_PRELOAD;
// NULL if it would not.
static const char *program_secure_reason(const char *path) {
    struct stat status;

    if (stat(path, &status) != 0) {
        return NULL;
    }
    if ((status.st_mode & S_ISUID) != 0 && status.st_uid != getuid()) {
        return "set-user-ID";
    }
    if ((status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0 &&
        status.st_gid != getgid()) {
        return "set-group-ID";
    }
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0) {
        return "given capabilities by its file";
    }
    return NULL;
}

static const char *program_libc_name(enum libc_kind libc) {
    return libc == LIBC_MUSL ? "musl" : "glibc";
}

static void program_judge(struct program *program, const struct image *image,
                          const struct image *library, const char *subject) {
    const char *secure = program_secure_reason(program->image);
    char *why = program->why;
    size_t why_bytes = sizeof program->why;

    program->has_malloc = image->has_malloc;
    program->libc = image->libc;
    if (!image->is_native || image->machine != library->machine) {
        program->verdict = PROGRAM_SUFFERS_PRELOAD;
        snprintf(why, why_bytes, "%s for %s, and the library for %s", subject,
                 image_machine_name(image), image_machine_name(library));
    } else if (image->is_loader) {
        program->verdict = PROGRAM_TAKES_PRELOAD;
    } else if (!image->has_loader) {
        program->verdict = PROGRAM_IGNORES_PRELOAD;
        snprintf(why, why_bytes, "%s linked statically", subject);
        program->advice = "no loader runs; link liballot.o into it instead";
    } else if (image->libc != LIBC_UNKNOWN && library->libc != LIBC_UNKNOWN &&
               image->libc != library->libc) {
        program->verdict = PROGRAM_SUFFERS_PRELOAD;
        snprintf(why, why_bytes, "%s built for %s, and the library for %s", subject,
                 program_libc_name(image->libc), program_libc_name(library->libc));
    } else if (secure != NULL) {
        program->verdict = PROGRAM_IGNORES_PRELOAD;
        snprintf(why, why_bytes, "%s %s", subject, secure);
        program->advice = "for such programs the loader ignores LD_PRELOAD";
    }
}

void program_examine(struct program *program, const char *library) {
    struct image image;
    struct image library_image;
    char subject[PATH_MAX + 64];
    bool is_script = false;

    program->verdict = PROGRAM_TAKES_PRELOAD;
    snprintf(program->image, sizeof program->image, "%s", program->path);
    if (image_read(&library_image, library) != 0 || !library_image.is_elf) {
        return;
    }
    for (int depth = 0; depth <= PROGRAM_SCRIPT_DEPTH_MAX; depth++) {
        if (image_read(&image, program->image) != 0) {
            return;  // not readable: nothing is known against it
        }
        if (image.is_elf) {
            snprintf(subject, sizeof subject,
                     is_script ? "it is a script for %s, which is" : "it is", program->image);
            program->is_elf = !is_script;
            program_judge(program, &image, &library_image, subject);
            return;
        }
        is_script = true;
        if (!program_follow_script(program->image)) {
            return;
        }
    }
}
