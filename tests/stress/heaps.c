// heaps.c - heaps under several threads: dropped while others free, bounded as a tree, shared, and
// handed from thread to thread.
#include "../support/check.h"

#include <allot.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { THREADS = 8, LEAVES = 125, MIDDLES = 8, HELD = 64, BLOCKS = 32 };

static allot_heap *create(size_t limit_bytes, allot_heap *parent, bool shared) {
    struct allot_heap_options options = {.size_bytes = sizeof options};
    options.limit_bytes = limit_bytes;
    options.parent = parent;
    options.shared = shared;
    allot_heap *heap = allot_heap_create(&options);
    CHECK(heap != NULL);
    return heap;
}

static struct allot_heap_stats stats_of(const allot_heap *heap) {
    struct allot_heap_stats stats = {.size_bytes = sizeof stats};
    CHECK(allot_heap_stats(heap, &stats));
    return stats;
}

static void start(pthread_t *thread, void *(*run)(void *), void *context) {
    CHECK_INT(pthread_create(thread, NULL, run, context), ==, 0);
}

// ---- Dropped

// The owner fills `block` and says how many; the other frees them and says so.
static struct {
    void *block[BLOCKS];
    _Atomic(unsigned) filled, freed;
    _Atomic(bool) is_over;
} drop;

static void *free_the_blocks(void *unused) {
    while (!atomic_load(&drop.is_over)) {
        unsigned count = atomic_exchange(&drop.filled, 0);
        for (unsigned i = 0; i < count; i++) {
            allot_free(drop.block[i]);
            atomic_fetch_add(&drop.freed, 1);
        }
        if (count == 0) {
            sched_yield();
        }
    }
    return unused;
}

static void a_heap_is_dropped_as_soon_as_others_have_freed(void) {
    uint64_t rounds = check_is_long() ? 1000000 : CHECK_TSAN ? 3000 : 30000;
    pthread_t other;
    start(&other, free_the_blocks, NULL);
    for (uint64_t round = 0; round < rounds; round++) {
        allot_heap *heap = create(0, NULL, round % 4 == 0);
        for (unsigned i = 0; i < BLOCKS; i++) {
            drop.block[i] = allot_heap_malloc(heap, i % 16 == 15 ? 40000 : 16 + i * 37);
            CHECK(drop.block[i] != NULL);
            CHECK(allot_heap_malloc(heap, 24) != NULL);
        }
        atomic_store(&drop.freed, 0);
        atomic_store(&drop.filled, BLOCKS);
        while (atomic_load(&drop.freed) < BLOCKS) {
            allot_heap_free(heap, allot_heap_malloc(heap, 100));
        }
        CHECK_UINT(stats_of(heap).live_blocks, ==, BLOCKS);
        CHECK_INT(allot_heap_destroy(heap), ==, 0);
    }
    atomic_store(&drop.is_over, true);
    pthread_join(other, NULL);
}

// ---- A tree

static struct {
    allot_heap *root;
    allot_heap *middle[MIDDLES];
    size_t root_bytes, middle_bytes, leaf_bytes;
    _Atomic(uint64_t) live_bytes;
    pthread_barrier_t meet;
    _Atomic(bool) is_over;
} tree = {.root_bytes = 6 * (1 << 20), .middle_bytes = 1 << 20, .leaf_bytes = 16 << 10};

static void tree_check(void) {
    CHECK(stats_of(tree.root).tree_bytes <= tree.root_bytes);
    for (unsigned i = 0; i < MIDDLES; i++) {
        CHECK(stats_of(tree.middle[i]).tree_bytes <= tree.middle_bytes);
    }
}

static void tree_random(allot_heap **leaf, struct check_random *random) {
    static _Thread_local void *block[LEAVES][HELD];
    unsigned steps = CHECK_TSAN ? 20000 : 200000;
    for (unsigned step = 0; step < steps; step++) {
        unsigned at = (unsigned)check_random_below(random, LEAVES);
        unsigned slot = (unsigned)check_random_below(random, HELD);
        if (block[at][slot] != NULL) {
            allot_free(block[at][slot]);
            block[at][slot] = NULL;
        } else {
            block[at][slot] = allot_heap_malloc(leaf[at], check_random_below(random, 1500));
        }
    }
    for (unsigned at = 0; at < LEAVES; at++) {
        CHECK(stats_of(leaf[at]).live_bytes <= tree.leaf_bytes);
        for (unsigned slot = 0; slot < HELD; slot++) {
            allot_free(block[at][slot]);
        }
        CHECK_UINT(stats_of(leaf[at]).live_bytes, ==, 0);
    }
}

// All together reach the limit to the byte: nobody is refused while 16 bytes are left.
static void tree_fill(allot_heap **leaf) {
    for (unsigned at = 0; at < LEAVES; at++) {
        while (allot_heap_malloc(leaf[at], 16) != NULL) {
            atomic_fetch_add(&tree.live_bytes, 16);
        }
    }
}

static void *tree_run(void *context) {
    allot_heap *leaf[LEAVES];
    unsigned me = *(unsigned *)context;
    struct check_random random = {check_seed() + me};
    for (unsigned i = 0; i < LEAVES; i++) {
        leaf[i] = create(tree.leaf_bytes, tree.middle[me], false);
    }
    tree_random(leaf, &random);
    pthread_barrier_wait(&tree.meet);
    tree_fill(leaf);
    pthread_barrier_wait(&tree.meet);
    if (me == 0) {
        CHECK_UINT(atomic_load(&tree.live_bytes), ==, tree.root_bytes);
        CHECK_UINT(stats_of(tree.root).tree_bytes, ==, tree.root_bytes);
    }
    atomic_store(&tree.is_over, true);
    pthread_barrier_wait(&tree.meet);
    for (unsigned i = 0; i < LEAVES; i++) {
        CHECK_INT(allot_heap_destroy(leaf[i]), ==, 0);
    }
    return NULL;
}

static void a_tree_of_a_thousand_heaps_keeps_every_limit(void) {
    static unsigned number[THREADS];
    pthread_t thread[THREADS];
    tree.root = create(tree.root_bytes, NULL, true);
    for (unsigned i = 0; i < MIDDLES; i++) {
        tree.middle[i] = create(tree.middle_bytes, tree.root, true);
    }
    pthread_barrier_init(&tree.meet, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        number[i] = i;
        start(&thread[i], tree_run, &number[i]);
    }
    while (!atomic_load(&tree.is_over)) {
        tree_check();
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        CHECK_UINT(stats_of(tree.middle[i]).tree_bytes, ==, 0);
        CHECK_INT(allot_heap_destroy(tree.middle[i]), ==, 0);
    }
    CHECK_UINT(stats_of(tree.root).tree_bytes, ==, 0);
    CHECK_INT(allot_heap_destroy(tree.root), ==, 0);
}

// ---- Services: heaps that pass from thread to thread, and messages between them

enum { SERVICES = 64 };

static struct {
    allot_heap *heap;
    _Atomic(bool) is_busy;
    _Atomic(void *) inbox;
    void *own[HELD];
} service[SERVICES];

static allot_heap *shared_heap;

static void *work(void *context) {
    struct check_random random = {check_seed() + *(unsigned *)context};
    unsigned steps = CHECK_TSAN ? 20000 : 300000;
    for (unsigned step = 0; step < steps; step++) {
        unsigned at = (unsigned)check_random_below(&random, SERVICES);
        if (atomic_exchange(&service[at].is_busy, true)) {
            continue;
        }
        CHECK_INT(allot_heap_adopt(service[at].heap), ==, 0);
        allot_free(atomic_exchange(&service[at].inbox, NULL));
        unsigned slot = (unsigned)check_random_below(&random, HELD);
        allot_heap_free(service[at].heap, service[at].own[slot]);
        service[at].own[slot] =
            allot_heap_malloc(service[at].heap, check_random_below(&random, 3000));
        void *message = allot_heap_malloc(step % 8 == 0 ? shared_heap : service[at].heap, 200);
        unsigned to = (unsigned)check_random_below(&random, SERVICES);
        allot_free(atomic_exchange(&service[to].inbox, message));
        CHECK_INT(allot_heap_disown(service[at].heap), ==, 0);
        atomic_store(&service[at].is_busy, false);
    }
    return NULL;
}

static void services_pass_between_threads_and_send_messages(void) {
    static unsigned number[4];
    pthread_t thread[4];
    shared_heap = create(0, NULL, true);
    for (unsigned i = 0; i < SERVICES; i++) {
        service[i].heap = create(0, NULL, false);
        CHECK_INT(allot_heap_disown(service[i].heap), ==, 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        number[i] = i;
        start(&thread[i], work, &number[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
    }
    for (unsigned i = 0; i < SERVICES; i++) {
        allot_free(atomic_exchange(&service[i].inbox, NULL));
    }
    CHECK_UINT(stats_of(shared_heap).live_bytes, ==, 0);
    for (unsigned i = 0; i < SERVICES; i++) {
        CHECK_INT(allot_heap_adopt(service[i].heap), ==, 0);
        for (unsigned slot = 0; slot < HELD; slot++) {
            allot_heap_free(service[i].heap, service[i].own[slot]);
        }
        CHECK_UINT(stats_of(service[i].heap).live_bytes, ==, 0);
        CHECK_UINT(stats_of(service[i].heap).live_blocks, ==, 0);
        CHECK_INT(allot_heap_destroy(service[i].heap), ==, 0);
    }
    CHECK_INT(allot_heap_destroy(shared_heap), ==, 0);
}

// ---- Purged meanwhile

static _Atomic(bool) purging_is_over;

static void *purge_again_and_again(void *unused) {
    while (!atomic_load(&purging_is_over)) {
        allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    }
    return unused;
}

static void a_heap_of_nobody_can_be_adopted_while_others_purge(void) {
    allot_heap *heap[64];
    pthread_t other;
    for (int i = 0; i < 64; i++) {
        heap[i] = create(0, NULL, false);
    }
    start(&other, purge_again_and_again, NULL);
    for (int round = 0; round < (CHECK_TSAN ? 20000 : 200000); round++) {
        CHECK_INT(allot_heap_disown(heap[round % 64]), ==, 0);
        if (round % 16 == 0) {
            sched_yield();
        }
        CHECK_INT(allot_heap_adopt(heap[round % 64]), ==, 0);
        allot_heap_free(heap[round % 64], allot_heap_malloc(heap[round % 64], 64));
    }
    atomic_store(&purging_is_over, true);
    pthread_join(other, NULL);
    for (int i = 0; i < 64; i++) {
        CHECK_INT(allot_heap_destroy(heap[i]), ==, 0);
    }
}

int main(int argc, char **argv) {
    static const struct check_case cases[] = {
        CHECK_CASE(a_heap_is_dropped_as_soon_as_others_have_freed),
        CHECK_CASE(a_tree_of_a_thousand_heaps_keeps_every_limit),
        CHECK_CASE(services_pass_between_threads_and_send_messages),
        CHECK_CASE(a_heap_of_nobody_can_be_adopted_while_others_purge),
    };
    check_seed();  // before there are threads
    return check_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
