// lib_plugin.c - a plugin that allocates, frees and hands out blocks.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

void *plugin_take(size_t bytes) {
    return memset(malloc(bytes), 0x77, bytes);
}

char *plugin_copy(const char *text) {
    return strdup(text);
}

int plugin_work(void) {
    void *blocks[1000];

    for (int i = 0; i < 1000; i++) {
        blocks[i] = malloc((size_t)i * 13 + 1);
        if (blocks[i] == NULL) {
            return -1;
        }
        memset(blocks[i], i, (size_t)i * 13 + 1);
    }
    for (int i = 0; i < 1000; i++) {
        free(i % 3 == 0 ? realloc(blocks[i], 5000) : blocks[i]);
    }
    return 0;
}

void plugin_give(void *block) {
    free(block);
}
