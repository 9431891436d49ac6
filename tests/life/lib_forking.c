// lib_forking.c - a library whose fork handler allocates in the child.
//
// Its constructor runs before those of libraries that are preloaded, so that its handler was there
// first.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

int forking_children_served;
int forking_is_resting;  // where the fork may have interrupted malloc: to allocate is not allowed

static void forking_in_child(void) {
    void *blocks[200];
    if (forking_is_resting) {
        return;
    }
    for (size_t i = 0; i < 200; i++) {
        blocks[i] = malloc(20 + i * i);
        memset(blocks[i], 1, 20 + i * i);
    }
    for (size_t i = 0; i < 200; i++) {
        free(blocks[i]);
    }
    forking_children_served++;
}

__attribute__((constructor)) static void forking_begin(void) {
    pthread_atfork(NULL, NULL, forking_in_child);
}
