// library.h - where allot's library and the other allocators of this machine are.
#ifndef TOOL_LIBRARY_H
#define TOOL_LIBRARY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define LIBRARY_ALLOT_SONAME "liballot.so.1"
#ifndef LIBRARY_INSTALL_DIR  // given by the build
#define LIBRARY_INSTALL_DIR "/usr/local/lib"
#endif

struct library {
    char name[32];        // "jemalloc"
    char path[PATH_MAX];  // "" for the C library's own malloc
};

enum { LIBRARY_COUNT_MAX = 32 };

struct library_list {
    struct library items[LIBRARY_COUNT_MAX];
    size_t count;
};

// Why `given` cannot be preloaded, to stand behind its name: "does not exist".
// NULL if nothing speaks against it; `path` is then its real path.
const char *library_check(char path[PATH_MAX], const char *given);

// Find liballot: `given` if not NULL, else beside the executable, in ../lib, or
// where it was installed. Returns false with `path` listing the places looked at.
bool library_find_allot(char path[PATH_MAX], const char *given);

// The allocators that are installed here, with glibc's, without allot.
void library_list_peers(struct library_list *list);

// Add or replace. False if the list is full.
bool library_list_add(struct library_list *list, const char *name, const char *path);

// The name of the allocator in the file `path`; NULL if it is none that we know.
const char *library_name_of(const char *path);

#endif
