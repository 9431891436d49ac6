// own_malloc.c - a program with a malloc of its own, which wins over any that is preloaded.
#include <stdlib.h>

static _Alignas(16) char own_bytes[1 << 20];
static size_t own_used_bytes;

void *malloc(size_t size_bytes) {
    void *block = own_bytes + own_used_bytes;

    own_used_bytes += (size_bytes + 15) / 16 * 16;
    return block;
}

void free(void *ptr) {
    (void)ptr;
}

int main(void) {
    free(malloc(3));
    return 0;
}
