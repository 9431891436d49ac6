// heaps.c - what does a first-class heap cost?
//
// A heap is made and dropped, empty, with a reserve, with a few blocks; its owner
// allocates and frees; many heaps with a few blocks are held. Needs allot in the
// process. Not measured: several threads, limits of a tree, large heaps.
#include "bench.h"

#include <allot.h>

enum { ROUNDS, PAIRS, HEAPS, BLOCKS };
static struct bench_param params[] = {
    [ROUNDS] = {"rounds", 100000, "heaps made and dropped"},
    [PAIRS] = {"pairs", 20000000, "pairs of allocating and freeing 64 bytes"},
    [HEAPS] = {"heaps", 10000, "heaps held at once"},
    [BLOCKS] = {"blocks", 20, "blocks in each, of so many sizes from 16 bytes on in steps of 10"},
};

static struct {
    allot_heap *(*create)(const struct allot_heap_options *);
    int (*destroy)(allot_heap *);
    void *(*malloc)(allot_heap *, size_t);
    void (*free)(allot_heap *, void *);
    void (*free_sized)(allot_heap *, void *, size_t);
    bool (*stats)(struct allot_stats *);
} heaps;

static void load(void) {
    *(void **)&heaps.create = bench_find("allot_heap_create");
    *(void **)&heaps.destroy = bench_find("allot_heap_destroy");
    *(void **)&heaps.malloc = bench_find("allot_heap_malloc");
    *(void **)&heaps.free = bench_find("allot_heap_free");
    *(void **)&heaps.free_sized = bench_find("allot_heap_free_sized");
    *(void **)&heaps.stats = bench_find("allot_stats");
}

static allot_heap *make(size_t reserve_bytes) {
    return bench_check(heaps.create(&(struct allot_heap_options){
        .size_bytes = sizeof(struct allot_heap_options), .reserve_bytes = reserve_bytes}));
}

static void fill(allot_heap *heap) {
    for (uint64_t i = 0; i < params[BLOCKS].value; i++) {
        size_t size = 16 + i * 10;
        memset(bench_check(heaps.malloc(heap, size)), 1, size);
    }
}

static void print_lives(const char *name, size_t reserve_bytes, bool is_filled) {
    uint64_t start_ns = bench_now_ns();
    for (uint64_t i = 0; i < params[ROUNDS].value; i++) {
        allot_heap *heap = make(reserve_bytes);
        if (is_filled) {
            fill(heap);
        }
        heaps.destroy(heap);
    }
    bench_print(name, (double)(bench_now_ns() - start_ns) / (double)params[ROUNDS].value);
}

enum way { WAY_MALLOC, WAY_HEAP, WAY_SIZED };

static void print_pairs(const char *name, enum way way) {
    allot_heap *heap = make(0);
    uint64_t start_ns = bench_now_ns();
    for (uint64_t i = 0; i < params[PAIRS].value; i++) {
        void *volatile block = way == WAY_MALLOC ? malloc(64) : heaps.malloc(heap, 64);
        if (way == WAY_MALLOC) {
            free(block);
        } else if (way == WAY_HEAP) {
            heaps.free(heap, block);
        } else {
            heaps.free_sized(heap, block, 64);
        }
    }
    bench_print(name, (double)(bench_now_ns() - start_ns) / (double)params[PAIRS].value);
    heaps.destroy(heap);
}

static uint64_t resident(void) {
    struct allot_stats stats = {.size_bytes = sizeof stats};
    if (!heaps.stats(&stats)) {
        bench_die("the library's statistics are of another version");
    }
    return stats.resident_bytes;
}

static void print_footprint(void) {
    uint64_t count = params[HEAPS].value;
    allot_heap **held = bench_check(calloc(count, sizeof *held));
    uint64_t before = resident();
    for (uint64_t i = 0; i < count; i++) {
        held[i] = make(0);
        fill(held[i]);
    }
    bench_print("kib_per_heap", (double)(resident() - before) / (double)count / 1024);
    for (uint64_t i = 0; i < count; i++) {
        heaps.destroy(held[i]);
    }
    free(held);
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    load();
    print_footprint();
    print_lives("ns_per_empty_heap", 0, false);
    print_lives("ns_per_heap_with_1_mib_reserved", 1 << 20, false);
    print_lives("ns_per_heap_with_blocks", 0, true);
    print_pairs("ns_per_pair_of_malloc", WAY_MALLOC);
    print_pairs("ns_per_pair_of_heap", WAY_HEAP);
    print_pairs("ns_per_pair_of_heap_free_sized", WAY_SIZED);
    return 0;
}
