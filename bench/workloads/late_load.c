// late_load.c - can it be loaded into a program that has allocated?
//
// Allocates `blocks` blocks with the malloc that the program started with, then
// dlopens the library given as PATH, frees every second block through the
// library's free, and uses its malloc. Prints how many blocks it freed. An
// allocator that does not know whose block it is crashes here or corrupts the
// heap. Run without LD_PRELOAD. Not measured: time.
#include "bench.h"
#include <dlfcn.h>

enum { BLOCKS };
static struct bench_param params[] = {
    [BLOCKS] = {"blocks", 1000000, "blocks live before the library is loaded"},
};

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: late_load PATH [NAME=VALUE]...\n");
        return 2;
    }
    bench_parse(argc - 1, argv + 1, params, sizeof params / sizeof params[0]);
    bench_server_init();
    uint64_t state = bench_seed(12);
    size_t count = params[BLOCKS].value;
    void **blocks = bench_map(count * sizeof *blocks);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = bench_malloc(bench_server_size(&state));
    }
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        bench_die(dlerror());
    }
    void *(*library_malloc)(size_t) = (void *(*)(size_t))dlsym(library, "malloc");
    void (*library_free)(void *) = (void (*)(void *))dlsym(library, "free");
    if (library_malloc == NULL || library_free == NULL || library_free == free) {
        bench_die("the library brings no malloc of its own");
    }
    for (size_t i = 0; i < count; i += 2) {
        library_free(blocks[i]);
        blocks[i] = bench_check(library_malloc(bench_server_size(&state)));
        bench_touch(blocks[i], 1);
    }
    for (size_t i = 0; i < count; i++) {
        library_free(blocks[i]);
    }
    bench_print("foreign_blocks_freed", (double)count);
    return 0;
}
