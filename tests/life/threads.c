// threads.c - many threads, short and long lives, and what they leave behind.
#include "case.h"
#include <sched.h>

static size_t small_size(size_t i) {
    return 16 + i * 37 % 400;
}

struct owner {
    size_t blocks_count;
    unsigned char **blocks;
};

static void *dying_owner(void *argument) {
    struct owner *owner = argument;

    for (size_t i = 0; i < owner->blocks_count; i++) {
        owner->blocks[i] = malloc(small_size(i));
        CHECK(owner->blocks[i] != NULL, "block %zu", i);
        owner->blocks[i][0] = (unsigned char)i;
        owner->blocks[i][small_size(i) - 1] = (unsigned char)i;
    }
    return NULL;
}

static void *heir(void *argument) {
    struct owner *owner = argument;

    for (size_t i = 0; i < owner->blocks_count; i++) {
        CHECK(owner->blocks[i][0] == (unsigned char)i &&
                  owner->blocks[i][small_size(i) - 1] == (unsigned char)i,
              "block %zu has changed", i);
        free(owner->blocks[i]);
    }
    return NULL;
}

CASE(memory_of_a_dead_thread_is_freed_by_others_and_used_again) {
    struct owner owner = {case_count(100000, 1000000), NULL};

    owner.blocks = case_array(owner.blocks_count * sizeof *owner.blocks);
    case_join(case_thread(dying_owner, &owner));
    size_t first = case_anonymous_bytes();
    for (int round = 0; round < 10; round++) {
        if (round % 2 == 0) {
            case_join(case_thread(heir, &owner));
        } else {
            heir(&owner);
        }
        case_join(case_thread(dying_owner, &owner));
    }
    size_t last = case_anonymous_bytes();
    CHECK(last <= first + first / 20 + MIB, "%zu KiB with one generation, %zu KiB after ten",
          first / KIB, last / KIB);
    heir(&owner);
}

CASE(statistics_are_exact_when_threads_are_gone) {
    struct owner owner = {50000, NULL};
    struct allot_stats before = {.size_bytes = sizeof before};
    struct allot_stats after = before;

    if (allot_stats == NULL) {
        case_skip("not the library under test");
    }
    owner.blocks = case_array(owner.blocks_count * sizeof *owner.blocks);
    case_join(case_thread(dying_owner, &owner));
    case_join(case_thread(heir, &owner));
    allot_stats(&before);
    for (int round = 0; round < 5; round++) {
        case_join(case_thread(dying_owner, &owner));
        case_join(case_thread(heir, &owner));
    }
    allot_stats(&after);
    CHECK(after.live_blocks == before.live_blocks, "%llu blocks before, %llu after",
          (unsigned long long)before.live_blocks, (unsigned long long)after.live_blocks);
    CHECK(after.live_bytes == before.live_bytes, "%llu bytes before, %llu after",
          (unsigned long long)before.live_bytes, (unsigned long long)after.live_bytes);
}

// ---- A consumer that never allocates -------------------------------------------

enum { QUEUE_SLOTS = 1024 };

struct queue {
    void *_Atomic slots[QUEUE_SLOTS];
    size_t items_count;
};

static void *consumer(void *argument) {
    struct queue *queue = argument;

    for (size_t i = 0; i < queue->items_count; i++) {
        void *block;
        while ((block = __atomic_exchange_n((void **)&queue->slots[i % QUEUE_SLOTS], NULL,
                                            __ATOMIC_ACQ_REL)) == NULL) {
            sched_yield();
        }
        free(block);
    }
    return NULL;
}

CASE(a_consumer_that_never_allocates_keeps_memory_flat) {
    static struct queue queue;
    size_t settled = 0;
    size_t peak = 0;

    queue.items_count = case_count(2000000, 30000000);
    pthread_t thread = case_thread(consumer, &queue);
    for (size_t i = 0; i < queue.items_count; i++) {
        size_t bytes = 16 + i * 61 % 1000;
        void *block = malloc(bytes);
        CHECK(block != NULL, "block %zu", i);
        memset(block, 1, bytes);
        while (__atomic_load_n((void **)&queue.slots[i % QUEUE_SLOTS], __ATOMIC_ACQUIRE) != NULL) {
            sched_yield();
        }
        __atomic_store_n((void **)&queue.slots[i % QUEUE_SLOTS], block, __ATOMIC_RELEASE);
        if (i == queue.items_count / 10) {
            settled = case_anonymous_bytes();
        } else if (i > queue.items_count / 10 && i % 10000 == 0) {
            size_t here = case_anonymous_bytes();
            peak = here > peak ? here : peak;
        }
    }
    case_join(thread);
    // At most 1,024 blocks of 1 KiB are on the way; the rest is in two caches.
    CHECK(peak <= settled + 4 * MIB, "%zu KiB after a tenth, %zu KiB at the peak", settled / KIB,
          peak / KIB);
    CHECK(peak <= 32 * MIB, "%zu KiB for 512 KiB of live blocks", peak / KIB);
}

// ---- Idle threads --------------------------------------------------------------

struct idle {
    pthread_barrier_t ready;
    pthread_barrier_t leave;
    bool allocates;
};

static void *idle_thread(void *argument) {
    static const size_t sizes[] = {16, 24, 64, 100, 256, 500, 1000, 4000};
    struct idle *idle = argument;

    for (size_t i = 0; idle->allocates && i < sizeof sizes / sizeof *sizes; i++) {
        volatile char *block = malloc(sizes[i]);
        CHECK(block != NULL, "malloc");
        block[0] = 1;
        free((void *)block);
    }
    pthread_barrier_wait(&idle->ready);
    pthread_barrier_wait(&idle->leave);
    return NULL;
}

// What `threads_count` sleeping threads add to the resident memory of a process.
static size_t measure_idle(size_t threads_count, bool allocates) {
    int ends[2];
    size_t grown = 0;

    CHECK(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        static struct idle idle;
        pthread_attr_t attributes;
        pthread_t *threads = case_array(threads_count * sizeof *threads);
        idle.allocates = allocates;
        pthread_barrier_init(&idle.ready, NULL, (unsigned)threads_count + 1);
        pthread_barrier_init(&idle.leave, NULL, (unsigned)threads_count + 1);
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 64 * KIB);
        size_t before = case_anonymous_bytes();
        for (size_t i = 0; i < threads_count; i++) {
            int error = pthread_create(&threads[i], &attributes, idle_thread, &idle);
            CHECK(error == 0, "thread %zu: %s", i, strerror(error));
        }
        pthread_barrier_wait(&idle.ready);
        grown = case_anonymous_bytes() - before;
        CHECK(write(ends[1], &grown, sizeof grown) == sizeof grown, "pipe");
        pthread_barrier_wait(&idle.leave);
        for (size_t i = 0; i < threads_count; i++) {
            case_join(threads[i]);
        }
        _exit(0);
    }
    case_wait(child);
    CHECK(read(ends[0], &grown, sizeof grown) == sizeof grown, "pipe");
    close(ends[0]);
    close(ends[1]);
    return grown;
}

CASE(a_sleeping_thread_costs_at_most_16_kib) {
    size_t threads_count = case_count(1000, 10000);
    size_t without = measure_idle(threads_count, false);
    size_t with = measure_idle(threads_count, true);
    size_t each = with > without ? (with - without) / threads_count : 0;

    printf("%zu threads: %zu KiB with malloc, %zu KiB without: %zu bytes each\n", threads_count,
           with / KIB, without / KIB, each);
    CHECK(each <= 16 * KIB, "%zu bytes each", each);
}

// ---- Short threads -------------------------------------------------------------

static void *short_thread(void *argument) {
    void *blocks[16];
    uintptr_t seed = (uintptr_t)argument;

    for (size_t i = 0; i < 16; i++) {
        blocks[i] = malloc(1 + seed * 31 % 97 * (i + 1));
        CHECK(blocks[i] != NULL, "malloc");
        *(char *)blocks[i] = 1;
    }
    for (size_t i = 0; i < 16; i++) {
        free(blocks[i]);
    }
    return NULL;
}

CASE(short_threads_leave_memory_flat) {
    size_t threads_count = case_count(20000, 1000000);
    size_t settled = 0;

    for (size_t i = 0; i < threads_count; i++) {
        case_join(case_thread(short_thread, (void *)i));
        if (i == 1000) {
            settled = case_anonymous_bytes();
        }
    }
    size_t last = case_anonymous_bytes();
    CHECK(last <= settled + MIB, "%zu KiB after 1,000 threads, %zu KiB after %zu", settled / KIB,
          last / KIB, threads_count);
}

static void *churning_thread(void *seed) {
    case_churn((uintptr_t)seed, 20000);
    return NULL;
}

// What was wanted again soon after it went back is kept for two seconds.
static size_t settled_bytes(void) {
    case_sleep_ms(2500);
    case_churn(1, 20000);
    return case_anonymous_bytes();
}

CASE(waves_of_many_threads_leave_memory_flat) {
    enum { THREADS = 64 };
    pthread_t threads[THREADS];
    size_t settled = 0;

    for (int wave = 0; wave < 8; wave++) {
        for (uintptr_t i = 0; i < THREADS; i++) {
            threads[i] = case_thread(churning_thread, (void *)(i + 1));
        }
        for (int i = 0; i < THREADS; i++) {
            case_join(threads[i]);
        }
        if (wave == 3) {
            settled = settled_bytes();
        }
    }
    size_t last = settled_bytes();
    CHECK(last <= settled + 8 * MIB, "%zu KiB after 4 waves, %zu KiB after 8", settled / KIB,
          last / KIB);
}

CASE(one_cpu_out_of_many_is_enough) {
    cpu_set_t allowed;
    int last = -1;

    CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "%s", strerror(errno));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        last = CPU_ISSET(cpu, &allowed) ? cpu : last;
    }
    // Its number is larger than the count of CPUs that the process may use.
    CPU_ZERO(&allowed);
    CPU_SET(last, &allowed);
    CHECK(sched_setaffinity(0, sizeof allowed, &allowed) == 0, "%s", strerror(errno));
    execl("/proc/self/exe", case_self, "threads_work_on_whatever_cpus_there_are", NULL);
    CHECK(false, "exec: %s", strerror(errno));
}

PART(threads_work_on_whatever_cpus_there_are) {
    pthread_t threads[8];

    for (uintptr_t i = 0; i < 8; i++) {
        threads[i] = case_thread(churning_thread, (void *)(i + 1));
    }
    for (int i = 0; i < 8; i++) {
        case_join(threads[i]);
    }
}

static void *wandering_thread(void *seed) {
    long cpus_count = sysconf(_SC_NPROCESSORS_CONF);
    cpu_set_t one;

    for (uintptr_t i = 0; i < 40; i++) {
        CPU_ZERO(&one);
        CPU_SET((i + (uintptr_t)seed) % (size_t)cpus_count, &one);
        sched_setaffinity(0, sizeof one, &one);
        case_churn((uintptr_t)seed + i, 1000);
    }
    return NULL;
}

CASE(threads_may_wander_between_cpus) {
    pthread_t threads[4];

    for (uintptr_t i = 0; i < 4; i++) {
        threads[i] = case_thread(wandering_thread, (void *)(i + 1));
    }
    for (int i = 0; i < 4; i++) {
        case_join(threads[i]);
    }
}
