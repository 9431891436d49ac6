// other_libc.c - a program in plain C and POSIX, for other libcs and processors.
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allot.h"

enum { KEPT = 500 };

static void demand(int condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "%s, errno %d\n", what, errno);
        _exit(1);
    }
}

static void *churn(void *seed) {
    unsigned char *blocks[KEPT] = {NULL};
    size_t sizes[KEPT] = {0};
    uint64_t state = (uintptr_t)seed * 2 + 1;

    for (int i = 0; i < 50000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t at = (size_t)(state >> 33) % KEPT;
        size_t bytes = (size_t)(state >> 40) % (i % 300 == 0 ? 400000 : 1500) + 1;
        if (blocks[at] != NULL) {
            demand(blocks[at][0] == (unsigned char)at &&
                       blocks[at][sizes[at] - 1] == (unsigned char)at,
                   "a block has changed");
        }
        if (i % 3 == 0) {
            blocks[at] = realloc(blocks[at], bytes);
        } else {
            free(blocks[at]);
            blocks[at] = i % 2 ? malloc(bytes) : calloc(1, bytes);
        }
        demand(blocks[at] != NULL, "no memory");
        memset(blocks[at], (int)at, bytes);
        sizes[at] = bytes;
    }
    for (int i = 0; i < KEPT; i++) {
        free(blocks[i]);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[4];
    void *aligned = NULL;
    int status = 0;

    demand(allot_is_active(), "malloc is not the library's");
    for (uintptr_t i = 0; i < 4; i++) {
        demand(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0, "no thread");
    }
    churn((void *)(uintptr_t)9);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    demand(posix_memalign(&aligned, 1 << 16, 100) == 0 && (uintptr_t)aligned % (1 << 16) == 0,
           "not aligned");
    free(aligned);
    pid_t child = fork();
    if (child == 0) {
        churn((void *)(uintptr_t)5);
        _exit(0);
    }
    demand(waitpid(child, &status, 0) == child && status == 0, "the child failed");
    struct allot_stats stats = {.size_bytes = sizeof stats};
    demand(allot_stats(&stats) && stats.live_bytes < 1 << 20, "blocks are left");
    puts("ok");
    return 0;
}
