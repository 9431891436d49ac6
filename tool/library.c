// library.c - see library.h.

#include "library.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image.h"

enum { LIBRARY_FILES_MAX = 4 };

// Known allocators: the first of its files that is found stands for it.
static const struct {
    const char *name;
    const char *files[LIBRARY_FILES_MAX];
} library_known[] = {
    {"jemalloc", {"libjemalloc.so.2", "libjemalloc.so.1", "libjemalloc.so"}},
    {"tcmalloc",
     {"libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libtcmalloc_minimal.so", "libtcmalloc.so"}},
    {"mimalloc", {"libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so"}},
    {"tbbmalloc", {"libtbbmalloc_proxy.so.2", "libtbbmalloc_proxy.so"}},
    {"snmalloc", {"libsnmallocshim.so"}},
    {"rpmalloc", {"librpmallocwrap.so", "librpmalloc.so"}},
    {"hoard", {"libhoard.so"}},
    {"mesh", {"libmesh.so"}},
    {"hardened", {"libhardened_malloc.so"}},
};

static const char *const library_dirs[] = {
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/lib64",
#if defined(__x86_64__)
    "/usr/lib/x86_64-linux-gnu",
#elif defined(__aarch64__)
    "/usr/lib/aarch64-linux-gnu",
#endif
    "/usr/lib",
    "/lib",
};

static bool library_is_usable(const char *path) {
    struct image image;

    return image_read(&image, path) == 0 && image.is_elf && image.is_native && image.is_library;
}

const char *library_check(char path[PATH_MAX], const char *given) {
    if (realpath(given, path) == NULL) {
        return errno == ENOENT ? "does not exist" : strerror(errno);
    }
    return library_is_usable(path) ? NULL : "is not a library for this machine";
}

bool library_find_allot(char path[PATH_MAX], const char *given) {
    static const char *const places[] = {"", "../lib", "../lib64"};
    char self[PATH_MAX];
    char candidate[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    if (given != NULL) {
        return library_check(path, given) == NULL;
    }
    self[length < 0 ? 0 : length] = '\0';
    slash = strrchr(self, '/');
    if (slash != NULL) {
        slash[1] = '\0';
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            snprintf(candidate, sizeof candidate, "%s%s/" LIBRARY_ALLOT_SONAME, self, places[i]);
            if (realpath(candidate, path) != NULL && library_is_usable(path)) {
                return true;
            }
        }
    }
    return realpath(LIBRARY_INSTALL_DIR "/" LIBRARY_ALLOT_SONAME, path) != NULL &&
           library_is_usable(path);
}

bool library_list_add(struct library_list *list, const char *name, const char *path) {
    struct library *item = NULL;

    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            item = &list->items[i];
        }
    }
    if (item == NULL) {
        if (list->count == LIBRARY_COUNT_MAX) {
            return false;
        }
        item = &list->items[list->count++];
    }
    snprintf(item->name, sizeof item->name, "%s", name);
    snprintf(item->path, sizeof item->path, "%s", path);
    return true;
}

// Look for `file` in the directories of a colon-separated list.
static bool library_find_in(char path[PATH_MAX], const char *dirs, const char *file) {
    while (dirs != NULL && *dirs != '\0') {
        size_t length = strcspn(dirs, ":");

        if (length > 0 && snprintf(path, PATH_MAX, "%.*s/%s", (int)length, dirs, file) < PATH_MAX &&
            library_is_usable(path)) {
            return true;
        }
        dirs += length + (dirs[length] == ':');
    }
    return false;
}

// The whole of `ldconfig -p`, to be freed; NULL where there is none.
static char *library_read_cache(void) {
    const char *command = "PATH=/sbin:/usr/sbin:$PATH ldconfig -p 2>/dev/null";
    FILE *pipe = popen(command, "re");
    char *text = NULL;
    size_t room_bytes = 0;

    if (pipe == NULL) {
        return NULL;
    }
    if (getdelim(&text, &room_bytes, '\0', pipe) < 0) {
        free(text);
        text = NULL;
    }
    pclose(pipe);
    return text;
}

// Look for "\tfile (...) => path\n" in the loader's cache.
static bool library_find_in_cache(char path[PATH_MAX], const char *cache, const char *file) {
    char head[128];
    const char *at = cache;

    snprintf(head, sizeof head, "\t%s (", file);
    while (at != NULL && (at = strstr(at, head)) != NULL) {
        const char *end = strchrnul(at, '\n');
        const char *arrow = strstr(at, "=> ");

        if (arrow != NULL && arrow < end) {
            snprintf(path, PATH_MAX, "%.*s", (int)(end - arrow - 3), arrow + 3);
            if (library_is_usable(path)) {
                return true;
            }
        }
        at = end;
    }
    return false;
}

static bool library_find_peer(char path[PATH_MAX], const char *cache, const char *file) {
    if (library_find_in(path, getenv("LD_LIBRARY_PATH"), file) ||
        library_find_in_cache(path, cache, file)) {
        return true;
    }
    for (size_t i = 0; i < sizeof library_dirs / sizeof *library_dirs; i++) {
        if (library_find_in(path, library_dirs[i], file)) {
            return true;
        }
    }
    return false;
}

void library_list_peers(struct library_list *list) {
    char *cache = library_read_cache();
    char path[PATH_MAX];

    library_list_add(list, "glibc", "");
    for (size_t i = 0; i < sizeof library_known / sizeof *library_known; i++) {
        for (size_t j = 0; j < LIBRARY_FILES_MAX && library_known[i].files[j] != NULL; j++) {
            if (library_find_peer(path, cache, library_known[i].files[j])) {
                library_list_add(list, library_known[i].name, path);
                break;
            }
        }
    }
    free(cache);
}

const char *library_name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;

    if (strncmp(base, "liballot.so", 11) == 0) {
        return "allot";
    }
    for (size_t i = 0; i < sizeof library_known / sizeof *library_known; i++) {
        for (size_t j = 0; j < LIBRARY_FILES_MAX && library_known[i].files[j] != NULL; j++) {
            const char *file = library_known[i].files[j];
            size_t length = (size_t)(strstr(file, ".so") + 3 - file);

            if (strncmp(base, file, length) == 0) {
                return library_known[i].name;
            }
        }
    }
    return NULL;
}
