// pool.c - what does a server with a known bound of clients pay for memory?
//
// There may be 10,000 clients, each with a key of 16 to 64 bytes and a value of 64 bytes to 4 KiB,
// whose sizes follow Zipf's law; nine of ten are there. One step in ten sets: a client leaves,
// another comes, with a new key and a new value; the others get: they read a key and a value. Then
// there are half as many clients more than the bound, three times, and then silence.
// from=0: malloc; 1: a heap of allot, bounded, prefaulted, with classes of its own; 2: pools of
// allot, one for each power of two of the values. touch=0: a step looks at one word of each.
// Counted: time, page faults, resident memory; system calls are the difference of two runs
// under strace. Not measured: several threads, what a server does besides.
#include "bench.h"

#include <allot.h>
#include <math.h>
#include <sys/resource.h>

enum { FROM, CLIENTS, STEPS, GETS, TOUCH, BURST, PAUSE, IDLE };
static struct bench_param params[] = {
    [FROM] = {"from", 0, "0: malloc, 1: a heap, 2: pools"},
    [CLIENTS] = {"clients", 10000, "that there may be"},
    [STEPS] = {"steps", 20000000, "gets and sets"},
    [GETS] = {"gets", 9, "gets for each set"},
    [TOUCH] = {"touch", 1, "0: one word of a key and value, 1: all of them"},
    [BURST] = {"burst", 150, "clients there then, in percent; 0: there is none"},
    [PAUSE] = {"pause", 0, "milliseconds between bursts; then idle + 1 s of silence"},
    [IDLE] = {"idle", 0, "idle_ms of the heap or pools"},
};

enum { KEY_MIN = 16, KEY_MAX = 64, VALUE_MIN = 64, VALUE_MAX = 4096, RANKS = 64, PLANS = 1 << 16 };
enum { POOLS = 7, POOL_LOG2 = 6 };  // 64 bytes to 4 KiB
static const size_t classes[] = {16,   32,   48,   64,   80,   96,   112,  128, 160, 192,
                                 224,  256,  320,  384,  448,  512,  640,  768, 896, 1024,
                                 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096};

struct plan {
    uint16_t key_bytes, value_bytes;
};

struct client {
    char *key, *value;
    struct plan plan;
};

static struct {
    allot_pool *(*pool_create)(const struct allot_pool_options *);
    void *(*take)(allot_pool *);
    void (*give)(allot_pool *, void *);
    allot_heap *(*heap_create)(const struct allot_heap_options *);
    void *(*malloc)(allot_heap *, size_t);
    void (*free_sized)(allot_heap *, void *, size_t);
} calls;

static struct plan *plans;  // sizes, drawn beforehand
static struct client *clients;
static uint64_t sum;  // of what was read, so that it is
static allot_pool *key_pool, *value_pool[POOLS];
static allot_heap *heap;

// ---- Sizes

// Ranks of 64 bytes each, the smallest first, the r-th with the weight 1 / r.
static void draw_plans(void) {
    double weight[RANKS], sum = 0;
    uint64_t random = bench_seed(1);
    for (int rank = 0; rank < RANKS; rank++) {
        sum += 1.0 / (rank + 1);
        weight[rank] = sum;
    }
    for (int i = 0; i < PLANS; i++) {
        double at = (double)bench_random(&random) / (double)(1ull << 48) * sum;
        int rank = 0;
        while (weight[rank] < at) {
            rank++;
        }
        plans[i].value_bytes = (uint16_t)(VALUE_MIN + bench_random_below(&random, 64) + rank * 63);
        plans[i].key_bytes =
            (uint16_t)(KEY_MIN + bench_random_below(&random, KEY_MAX - KEY_MIN + 1));
    }
}
_Static_assert(VALUE_MIN + 63 + (RANKS - 1) * 63 <= VALUE_MAX, "the largest value");

static int pool_of(size_t value_bytes) {
    return 64 - POOL_LOG2 - __builtin_clzll((value_bytes - 1) | (VALUE_MIN - 1));
}

// ---- Where memory comes from

static void create_heap(void) {
    struct allot_heap_options options = {.size_bytes = sizeof options};
    *(void **)&calls.heap_create = bench_find("allot_heap_create");
    *(void **)&calls.malloc = bench_find("allot_heap_malloc");
    *(void **)&calls.free_sized = bench_find("allot_heap_free_sized");
    for (uint64_t i = 0; i < params[CLIENTS].value; i++) {
        options.reserve_bytes += KEY_MAX + plans[i % PLANS].value_bytes * 5 / 4;
    }
    options.reserve_bytes += sizeof classes / sizeof *classes * (64 << 10);
    options.prefault = true;
    options.classes = classes;
    options.class_count = sizeof classes / sizeof *classes;
    options.idle_ms = (uint32_t)params[IDLE].value;
    heap = bench_check(calls.heap_create(&options));
}

static allot_pool *create_pool(size_t object_bytes, double count) {
    struct allot_pool_options options = {.size_bytes = sizeof options};
    options.object_bytes = object_bytes;
    options.count = (size_t)(count + 5 * sqrt(count)) + 1;
    options.prefault = true;
    options.idle_ms = (uint32_t)params[IDLE].value;
    return bench_check(calls.pool_create(&options));
}

static void create_pools(void) {
    double count[POOLS] = {0};
    *(void **)&calls.pool_create = bench_find("allot_pool_create");
    *(void **)&calls.take = bench_find("allot_pool_take");
    *(void **)&calls.give = bench_find("allot_pool_give");
    for (int i = 0; i < PLANS; i++) {
        count[pool_of(plans[i].value_bytes)] += (double)params[CLIENTS].value / PLANS;
    }
    key_pool = create_pool(KEY_MAX, (double)params[CLIENTS].value);
    for (int i = 0; i < POOLS; i++) {
        value_pool[i] = create_pool((size_t)1 << (POOL_LOG2 + i), count[i]);
    }
}

// `from` is a constant where these are called.
static inline void *take(uint64_t from, size_t bytes, bool is_key) {
    void *block = from == 0   ? malloc(bytes)
                  : from == 1 ? calls.malloc(heap, bytes)
                              : calls.take(is_key ? key_pool : value_pool[pool_of(bytes)]);
    return bench_check(block);
}

static inline void give(uint64_t from, void *block, size_t bytes, bool is_key) {
    if (from == 0) {
        free(block);
    } else if (from == 1) {
        calls.free_sized(heap, block, bytes);
    } else {
        calls.give(is_key ? key_pool : value_pool[pool_of(bytes)], block);
    }
}

// ---- Clients

static inline void come(uint64_t from, struct client *client, struct plan plan) {
    client->plan = plan;
    client->key = take(from, plan.key_bytes, true);
    client->value = take(from, plan.value_bytes, false);
    bool is_all = params[TOUCH].value != 0;
    memset(client->key, 1, is_all ? plan.key_bytes : 8);
    memset(client->value, 1, is_all ? plan.value_bytes : 8);
}

static inline void leave(uint64_t from, struct client *client) {
    give(from, client->key, client->plan.key_bytes, true);
    give(from, client->value, client->plan.value_bytes, false);
}

static inline void get(const struct client *client) {
    size_t bytes = params[TOUCH].value != 0 ? client->plan.value_bytes : 8;
    sum += *(uint64_t *)(void *)client->key;
    for (size_t at = 0; at + 8 <= bytes; at += 8) {
        sum += *(uint64_t *)(void *)(client->value + at);
    }
}

static inline void serve(uint64_t from, uint64_t steps, uint64_t count, uint64_t *random) {
    uint64_t until_set = 0, gets = params[GETS].value;
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t bits = bench_random(random);
        struct client *client = &clients[(bits >> 16) * count >> 32];
        if (until_set == 0) {
            leave(from, client);
            come(from, client, plans[bits % PLANS]);
            until_set = gets;
        } else {
            until_set--;
            get(client);
        }
    }
}

static inline void come_and_leave(uint64_t from, uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < count; i++) {
        come(from, &clients[i], plans[i % PLANS]);
    }
    for (uint64_t i = first; i < count; i++) {
        leave(from, &clients[i]);
    }
}

static double faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_minflt + usage.ru_majflt);
}

static void print_memory(const char *key) {
    bench_print(key, (double)bench_status_kib("VmRSS") / 1024);
}

static void print_burst(const char *time, const char *pages, uint64_t start_ns, double before) {
    double took_ms = (double)(bench_now_ns() - start_ns) / 1e6, missing = faults() - before;
    bench_print(time, took_ms);
    bench_print(pages, missing);
}

static inline void run(uint64_t from) {
    uint64_t bound = params[CLIENTS].value, count = bound * 9 / 10, random = bench_seed(2);
    for (uint64_t i = 0; i < count; i++) {
        come(from, &clients[i], plans[i % PLANS]);
    }
    serve(from, params[STEPS].value / 4, count, &random);
    double before = faults();
    uint64_t start_ns = bench_now_ns();
    serve(from, params[STEPS].value, count, &random);
    double took_s = (double)(bench_now_ns() - start_ns) / 1e9;
    double missing = faults() - before;
    bench_print("loop_s", took_s);
    bench_print("ns_per_step", took_s * 1e9 / (double)params[STEPS].value);
    bench_print("faults", missing);
    print_memory("resident_mib");
    for (int i = 0; i < 3 && params[BURST].value > 0; i++) {
        char time[] = "burst_1_ms", pages[] = "burst_1_faults";
        time[6] = pages[6] = (char)('1' + i);
        before = faults();
        start_ns = bench_now_ns();
        come_and_leave(from, count, bound * params[BURST].value / 100);
        print_burst(time, pages, start_ns, before);
        bench_sleep_ms(params[PAUSE].value);
    }
    if (params[PAUSE].value > 0) {
        bench_sleep_ms(params[IDLE].value + 1000 - params[PAUSE].value);
        print_memory("resident_idle_mib");
    }
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof *params);
    plans = bench_map(PLANS * sizeof *plans);
    clients =
        bench_map(params[CLIENTS].value * (params[BURST].value + 100) / 100 * sizeof *clients);
    draw_plans();
    switch (params[FROM].value) {
    case 0: run(0); break;
    case 1:
        create_heap();
        run(1);
        break;
    default:
        create_pools();
        run(2);
        break;
    }
    bench_keep(&sum);
    return 0;
}
