// heap_tenants.c - requests of two tenants: each request has a heap that is dropped whole, each
// tenant a limit that all of its requests share.
#include <allot.h>
#include <stdio.h>
#include <string.h>

static allot_heap *create(const char *name, size_t limit_bytes, allot_heap *parent) {
    struct allot_heap_options options = {.size_bytes = sizeof options};
    options.name = name;
    options.limit_bytes = limit_bytes;
    options.parent = parent;
    options.shared = parent == NULL;  // requests run in any thread
    return allot_heap_create(&options);
}

// Returns how many of `count` lines found room.
static int serve(allot_heap *tenant, int count) {
    allot_heap *request = create("request", 0, tenant);
    int done = 0;
    for (int i = 0; request != NULL && i < count; i++) {
        char *line = allot_heap_malloc(request, 1000);
        if (line == NULL) {
            break;  // the tenant's limit
        }
        memset(line, 'x', 1000);
        done++;
    }
    allot_heap_destroy(request);  // all lines at once
    return done;
}

int main(void) {
    allot_heap *small = create("small tenant", 64 << 10, NULL);
    allot_heap *large = create("large tenant", 64 << 20, NULL);
    printf("small: %d of 1000 lines\n", serve(small, 1000));
    printf("large: %d of 1000 lines\n", serve(large, 1000));
    struct allot_heap_stats stats = {.size_bytes = sizeof stats};
    allot_heap_stats(small, &stats);
    printf("%s: %d bytes live now\n", stats.name, (int)stats.tree_bytes);
    return allot_heap_destroy(small) != 0 || allot_heap_destroy(large) != 0;
}
