// passing.c COUNT BYTES - one thread allocates COUNT blocks of BYTES and writes them all, another
// frees them: figures that a report must show.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct passing {
    size_t count;
    void **blocks;
};

static void *passing_free(void *arg) {
    struct passing *passing = arg;

    for (size_t i = 0; i < passing->count; i++) {
        free(passing->blocks[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    struct passing passing = {.count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1};
    size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 16;
    pthread_t thread;

    passing.blocks = calloc(passing.count, sizeof *passing.blocks);
    for (size_t i = 0; i < passing.count; i++) {
        passing.blocks[i] = malloc(bytes);
        if (passing.blocks[i] == NULL) {
            return 1;
        }
        memset(passing.blocks[i], 1, bytes);
    }
    if (pthread_create(&thread, NULL, passing_free, &passing) != 0 ||
        pthread_join(thread, NULL) != 0) {
        return 1;
    }
    free(passing.blocks);
    return 0;
}
