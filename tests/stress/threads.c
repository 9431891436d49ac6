// threads.c - several threads allocate, resize, check, free and hand blocks to each other: through
// a lock-free exchange, through queues with a lock, and by dying and leaving everything to others.
#include "pattern.h"
#include "sizes.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS_MAX 16
#define HELD_MAX 400
#define SLOT_COUNT 256

static struct {
    unsigned thread_count;
    uint64_t step_count;  // for each thread
} plan;

// ---- handing over ------------------------------------------------------------

// A slot holds a record or NULL; whoever exchanges owns what he gets.
static _Atomic(struct pattern_block *) slots[SLOT_COUNT];

#define QUEUE_ROOM 64

static struct queue {
    pthread_mutex_t lock;
    struct pattern_block blocks[QUEUE_ROOM];
    size_t count;
} queues[THREADS_MAX];

static bool queue_put(struct queue *queue, const struct pattern_block *block) {
    pthread_mutex_lock(&queue->lock);
    bool has_room = queue->count < QUEUE_ROOM;
    if (has_room) {
        queue->blocks[queue->count++] = *block;
    }
    pthread_mutex_unlock(&queue->lock);
    return has_room;
}

static bool queue_take(struct queue *queue, struct pattern_block *block) {
    pthread_mutex_lock(&queue->lock);
    bool is_there = queue->count > 0;
    if (is_there) {
        *block = queue->blocks[--queue->count];
    }
    pthread_mutex_unlock(&queue->lock);
    return is_there;
}

// ---- what a thread does ------------------------------------------------------

struct worker {
    struct check_random random;
    uint64_t id;
    uint64_t owner;  // of the next block, never the same twice
    struct pattern_block held[HELD_MAX];
    size_t held_count;
};

static void take_block(struct worker *worker, struct pattern_block *block) {
    size_t size = sizes_draw(&worker->random, check_random_below(&worker->random, 200) ? 14 : 21);
    block->size = size;
    block->owner = worker->owner++;
    switch (check_random_below(&worker->random, 6)) {
    case 0:
        block->bytes = (unsigned char *)api_calloc(1, size);
        for (size_t i = 0; block->bytes && i < size; i++) {
            CHECK_UINT(block->bytes[i], ==, 0);
        }
        break;
    case 1: {
        size_t align = sizes_draw_align(&worker->random);
        block->bytes = (unsigned char *)api_aligned(align, size);
        CHECK_ALIGNED(block->bytes, align);
        break;
    }
    default: block->bytes = (unsigned char *)api_malloc(size); break;
    }
    CHECK_PTR(block->bytes, !=, NULL);
    pattern_fill(block);
}

static void drop_block(const struct pattern_block *block) {
    pattern_check(block);
    // Whoever gets the address next must not find our bytes and take them for his.
    memset(block->bytes, 0xdd, block->size < 32 ? block->size : 32);
    api_free(block->bytes);
}

static void resize_block(struct worker *worker, struct pattern_block *block) {
    struct pattern_block old = *block;
    pattern_check(block);
    block->size = 1 + sizes_draw(&worker->random, 14);
    block->bytes = (unsigned char *)api_realloc(old.bytes, block->size);
    CHECK_PTR(block->bytes, !=, NULL);
    pattern_check_moved(block, old.size < block->size ? old.size : block->size, old.bytes,
                        old.size);
    block->owner = worker->owner++;
    pattern_fill(block);
}

/// Put a record into a random slot and drop what was there.
static void exchange_block(struct worker *worker, const struct pattern_block *block) {
    struct pattern_block *record = (struct pattern_block *)api_malloc(sizeof(*record));
    CHECK_PTR(record, !=, NULL);
    *record = *block;
    size_t slot = check_random_below(&worker->random, SLOT_COUNT);
    record = atomic_exchange_explicit(&slots[slot], record, memory_order_acq_rel);
    if (record) {
        drop_block(record);
        api_free(record);
    }
}

static void do_one_thing(struct worker *worker) {
    uint64_t choice = check_random_below(&worker->random, 100);
    size_t last = worker->held_count - 1;
    size_t any = worker->held_count ? check_random_below(&worker->random, worker->held_count) : 0;
    if (worker->held_count < 2 || (choice < 45 && worker->held_count < HELD_MAX)) {
        take_block(worker, &worker->held[worker->held_count++]);
        return;
    }
    struct pattern_block block = worker->held[any];
    if (choice < 60) {
        resize_block(worker, &worker->held[any]);
        return;
    }
    if (choice < 75) {
        exchange_block(worker, &block);
    } else if (choice >= 85 ||
               !queue_put(&queues[check_random_below(&worker->random, plan.thread_count)],
                          &block)) {
        drop_block(&block);
    }
    worker->held[any] = worker->held[last];
    worker->held_count = last;
    struct pattern_block taken;
    if (choice >= 70 && queue_take(&queues[worker->id % plan.thread_count], &taken)) {
        drop_block(&taken);
    }
}

static void worker_init(struct worker *worker, uint64_t id) {
    worker->random.state = check_mix(check_state.seed + id * 977);
    worker->id = id;
    worker->owner = id << 20;
    worker->held_count = 0;
}

static void *work_and_free_all(void *argument) {
    struct worker *worker = (struct worker *)argument;
    for (uint64_t step = 0; step < plan.step_count; step++) {
        do_one_thing(worker);
    }
    for (size_t i = 0; i < worker->held_count; i++) {
        drop_block(&worker->held[i]);
    }
    return NULL;
}

/// What still lies in slots and queues is freed by the main thread.
static void drain(void) {
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        struct pattern_block *record = atomic_exchange(&slots[i], NULL);
        if (record) {
            drop_block(record);
            api_free(record);
        }
    }
    for (size_t i = 0; i < THREADS_MAX; i++) {
        struct pattern_block block;
        while (queue_take(&queues[i], &block)) {
            drop_block(&block);
        }
    }
}

static uint64_t live_blocks(uint64_t *bytes) {
    struct allot_stats stats = {.size_bytes = sizeof(stats)};
    CHECK(allot_stats(&stats));
    CHECK_UINT(stats.misuse_count, ==, 0);
    *bytes = stats.live_bytes;
    return stats.live_blocks;
}

static void *do_nothing(void *unused) {
    return unused;
}

/// Let the C library make what it keeps for threads, so that it is not taken for a leak.
static void warm_up(void) {
    pthread_t threads[THREADS_MAX];
    for (size_t i = 0; i < THREADS_MAX; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, do_nothing, NULL), ==, 0);
    }
    for (size_t i = 0; i < THREADS_MAX; i++) {
        pthread_join(threads[i], NULL);
    }
}

static struct worker workers[THREADS_MAX];

static void run_together(unsigned thread_count, uint64_t total_steps) {
    pthread_t threads[THREADS_MAX];
    uint64_t bytes_before, bytes_after;
    check_seed();
    warm_up();
    plan.thread_count = thread_count;
    plan.step_count = total_steps / thread_count;
    uint64_t before = live_blocks(&bytes_before);
    for (size_t i = 0; i < thread_count; i++) {
        worker_init(&workers[i], i);
        CHECK_INT(pthread_create(&threads[i], NULL, work_and_free_all, &workers[i]), ==, 0);
    }
    for (size_t i = 0; i < thread_count; i++) {
        pthread_join(threads[i], NULL);
    }
    drain();
    CHECK_UINT(live_blocks(&bytes_after), ==, before);
    CHECK_UINT(bytes_after, ==, bytes_before);
}

static uint64_t steps(void) {
    return check_is_long() ? 50000000 : CHECK_TSAN || CHECK_ASAN ? 120000 : 600000;
}

static void two_threads_hand_blocks_to_each_other(void) {
    run_together(2, steps());
}

static void more_threads_than_cores_hand_blocks_to_each_other(void) {
    run_together(THREADS_MAX, steps());
}

// ---- threads that come and go --------------------------------------------------

/// Work, then start an heir that gets everything held, and end.
static void *work_and_bequeath(void *argument) {
    struct worker *worker = (struct worker *)argument;
    for (uint64_t step = 0; step < plan.step_count; step++) {
        do_one_thing(worker);
    }
    for (size_t i = 0; i < worker->held_count; i += 2) {
        drop_block(&worker->held[i]);
        worker->held[i] = worker->held[--worker->held_count];
    }
    return NULL;
}

static void threads_come_and_go_and_leave_their_blocks(void) {
    enum { LINES = 4 };
    pthread_t threads[LINES];
    uint64_t bytes_before, bytes_after;
    check_seed();
    warm_up();
    size_t generations = check_is_long() ? 5000 : CHECK_TSAN || CHECK_ASAN ? 40 : 200;
    plan.thread_count = LINES;
    plan.step_count = steps() / LINES / generations;
    uint64_t before = live_blocks(&bytes_before);
    for (size_t i = 0; i < LINES; i++) {
        worker_init(&workers[i], i);
    }
    for (size_t generation = 0; generation < generations; generation++) {
        for (size_t i = 0; i < LINES; i++) {
            CHECK_INT(pthread_create(&threads[i], NULL, work_and_bequeath, &workers[i]), ==, 0);
        }
        for (size_t i = 0; i < LINES; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    for (size_t i = 0; i < LINES; i++) {
        for (size_t k = 0; k < workers[i].held_count; k++) {
            drop_block(&workers[i].held[k]);
        }
    }
    drain();
    CHECK_UINT(live_blocks(&bytes_after), ==, before);
    CHECK_UINT(bytes_after, ==, bytes_before);
}

// ---- one side only allocates, the other only frees --------------------------------

static void *produce(void *argument) {
    struct worker *worker = (struct worker *)argument;
    for (uint64_t step = 0; step < plan.step_count; step++) {
        struct pattern_block block;
        take_block(worker, &block);
        while (!queue_put(&queues[worker->id], &block)) {
            sched_yield();
        }
    }
    struct pattern_block end = {NULL, 0, 0};
    while (!queue_put(&queues[worker->id], &end)) {
        sched_yield();
    }
    return NULL;
}

static void *consume(void *argument) {
    struct worker *worker = (struct worker *)argument;
    for (;;) {
        struct pattern_block block;
        if (!queue_take(&queues[worker->id], &block)) {
            sched_yield();
            continue;
        }
        if (!block.bytes) {
            return NULL;
        }
        drop_block(&block);
    }
}

static void producers_and_consumers_lose_nothing(void) {
    enum { PAIRS = 3 };
    pthread_t threads[PAIRS][2];
    uint64_t bytes_before, bytes_after;
    check_seed();
    warm_up();
    plan.thread_count = PAIRS;
    plan.step_count = steps() / PAIRS / 4;
    uint64_t before = live_blocks(&bytes_before);
    for (size_t i = 0; i < PAIRS; i++) {
        worker_init(&workers[i], i);
        CHECK_INT(pthread_create(&threads[i][0], NULL, produce, &workers[i]), ==, 0);
        CHECK_INT(pthread_create(&threads[i][1], NULL, consume, &workers[i]), ==, 0);
    }
    for (size_t i = 0; i < PAIRS; i++) {
        pthread_join(threads[i][0], NULL);
        pthread_join(threads[i][1], NULL);
        // The mark of the end may have been taken from the top before older blocks.
        struct pattern_block block;
        while (queue_take(&queues[i], &block)) {
            drop_block(&block);
        }
    }
    CHECK_UINT(live_blocks(&bytes_after), ==, before);
    CHECK_UINT(bytes_after, ==, bytes_before);
}

static const struct check_case cases[] = {
    CHECK_CASE(two_threads_hand_blocks_to_each_other),
    CHECK_CASE(more_threads_than_cores_hand_blocks_to_each_other),
    CHECK_CASE(threads_come_and_go_and_leave_their_blocks),
    CHECK_CASE(producers_and_consumers_lose_nothing),
};

int main(int argc, char **argv) {
    for (size_t i = 0; i < THREADS_MAX; i++) {
        pthread_mutex_init(&queues[i].lock, NULL);
    }
    return check_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
