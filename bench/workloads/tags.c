// tags.c - what does exact accounting cost?
//
// Pairs of one size, and 16 owners with 100,000 blocks each, without tags, with a
// tag in the call, with a tag and a site (as VOS_Malloc does), and by plain malloc in
// a scope; beside them the same under glibc. The kinds take turns, round by round; the
// figures are medians of ratios. Then resident memory of a churn with 100 tags, and
// what it costs to change the scope. Needs allot in the process. Not measured: tags
// with limits, many threads.
#include "bench.h"

#include <allot.h>
#include <sys/wait.h>

enum { ROUNDS, PAIRS, SIZE, OWNERS, BLOCKS, CHURN, ONLY };
static struct bench_param params[] = {
    [ROUNDS] = {"rounds", 9, "rounds in which the kinds take turns"},
    [PAIRS] = {"pairs", 9999999, "pairs of allocating and freeing, over all rounds"},
    [SIZE] = {"size", 1500, "bytes of these"},
    [OWNERS] = {"owners", 16, "owners of blocks of 64 bytes"},
    [BLOCKS] = {"blocks", 100000, "blocks of each"},
    [CHURN] = {"churn", 4000000, "blocks of 16 to 1024 bytes replaced among 200,000"},
    [ONLY] = {"only", 0, "for the program itself: 1 pairs, 2 owners, 3 and 4 the churn"},
};

enum way { WAY_PLAIN, WAY_TAG, WAY_SITE, WAY_SCOPE, WAYS, WAY_GLIBC = WAYS };
static const char *const way_names[] = {"plain", "tag", "site", "scope", "glibc"};
enum { CHURN_TAGS = 100, CHURN_LIVE = 200000, ROUNDS_MAX = 99 };

static struct {
    allot_tag (*create)(const char *, allot_tag);
    void *(*malloc)(allot_tag, size_t);
    void *(*site_malloc)(struct allot_site *, allot_tag, size_t);
    void (*free)(void *);
    allot_tag (*enter)(allot_tag);
    void (*leave)(allot_tag);
    size_t (*snapshot)(struct allot_tag_stats *, size_t);
} tags;

static void load(void) {
    *(void **)&tags.create = bench_find("allot_tag_create");
    *(void **)&tags.malloc = bench_find("allot_tag_malloc");
    *(void **)&tags.site_malloc = bench_find("allot_site_malloc");
    *(void **)&tags.free = bench_find("allot_tag_free");
    *(void **)&tags.enter = bench_find("allot_tag_enter");
    *(void **)&tags.leave = bench_find("allot_tag_leave");
    *(void **)&tags.snapshot = bench_find("allot_tag_snapshot");
}

static void *take(enum way way, allot_tag tag, size_t size) {
    static struct allot_site site = {__FILE__, __func__, __LINE__, 0, 0};
    return way == WAY_TAG    ? tags.malloc(tag, size)
           : way == WAY_SITE ? tags.site_malloc(&site, tag, size)
                             : malloc(size);
}

static void give(enum way way, void *block) {
    if (way == WAY_TAG || way == WAY_SITE) {
        tags.free(block);
    } else {
        free(block);
    }
}

// Processor time: there is one thread, and others may use the machine, too.
static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

// ns per pair
static double run_pairs(enum way way, allot_tag tag) {
    uint64_t count = params[PAIRS].value / params[ROUNDS].value;
    allot_tag before = way == WAY_SCOPE ? tags.enter(tag) : 0;
    uint64_t start_ns = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        void *volatile block = take(way, tag, params[SIZE].value);
        give(way, block);
    }
    uint64_t end_ns = cpu_ns();
    if (way == WAY_SCOPE) {
        tags.leave(before);
    }
    return (double)(end_ns - start_ns) / (double)count;
}

static double run_owners(enum way way, allot_tag first) {
    uint64_t owners = params[OWNERS].value;
    uint64_t count = params[BLOCKS].value;
    void **blocks = bench_map(owners * count * sizeof *blocks);
    uint64_t start_ns = cpu_ns();
    for (uint64_t owner = 0; owner < owners; owner++) {
        allot_tag tag = first + (allot_tag)owner;
        allot_tag before = way == WAY_SCOPE ? tags.enter(tag) : 0;
        for (uint64_t i = 0; i < count; i++) {
            char *block = bench_check(take(way, tag, 64));
            *block = 1;
            blocks[i * owners + owner] = block;
        }
        if (way == WAY_SCOPE) {
            tags.leave(before);
        }
    }
    for (uint64_t i = 0; i < owners * count; i++) {
        give(way, blocks[i]);
    }
    uint64_t end_ns = cpu_ns();
    munmap(blocks, owners * count * sizeof *blocks);
    return (double)(end_ns - start_ns) / (double)(owners * count);
}

// Resident KiB after a churn of which each 100th block has the same tag.
static double run_churn(bool is_tagged) {
    void **blocks = bench_map(CHURN_LIVE * sizeof *blocks);
    allot_tag first = tags.create("churn", 0);
    for (int i = 1; i < CHURN_TAGS; i++) {
        tags.create("churn", 0);
    }
    uint64_t state = 1;
    for (uint64_t i = 0; i < params[CHURN].value; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t at = (state >> 33) % CHURN_LIVE;
        size_t size = 16 + (state >> 20) % 1009;
        tags.free(blocks[at]);
        blocks[at] =
            is_tagged ? tags.malloc(first + (allot_tag)(i % CHURN_TAGS), size) : malloc(size);
        memset(bench_check(blocks[at]), 1, size);
    }
    long pages = 0;
    FILE *file = bench_check(fopen("/proc/self/statm", "r"));
    if (fscanf(file, "%*d %ld", &pages) != 1) {
        bench_die("the kernel says nothing of resident memory");
    }
    fclose(file);
    return (double)pages * BENCH_PAGE_BYTES / 1024;
}

// The program itself once more, with glibc's malloc or with allot's; what it prints.
static double run_self(int only, bool has_allot) {
    char words[2][64];
    snprintf(words[0], sizeof words[0], "only=%d", only);
    snprintf(words[1], sizeof words[1], "pairs=%" PRIu64, params[PAIRS].value);
    int ends[2];
    double result = 0;
    if (pipe(ends) != 0) {
        bench_die("no pipe");
    }
    pid_t child = fork();
    if (child == 0) {
        if (!has_allot) {
            unsetenv("LD_PRELOAD");
        }
        dup2(ends[1], 1);
        execl("/proc/self/exe", "tags", words[0], words[1], (char *)NULL);
        _exit(1);
    }
    close(ends[1]);
    FILE *file = bench_check(fdopen(ends[0], "r"));
    int status = 1;
    if (fscanf(file, "%*s %lf", &result) != 1 || waitpid(child, &status, 0) != child ||
        status != 0) {
        bench_die("the program could not run itself");
    }
    fclose(file);
    return result;
}

static int compare(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static double median(double *numbers, size_t count) {
    qsort(numbers, count, sizeof *numbers, compare);
    return numbers[count / 2];
}

static void print_turns(const char *what, int only, double (*run)(enum way, allot_tag),
                        allot_tag tag) {
    size_t rounds = params[ROUNDS].value;
    double taken[WAYS + 1][ROUNDS_MAX];
    double ratios[WAYS + 1][ROUNDS_MAX];
    for (size_t round = 0; round < rounds; round++) {
        for (unsigned way = 0; way < WAYS; way++) {
            taken[way][round] = run((enum way)way, tag);
        }
        taken[WAY_GLIBC][round] = run_self(only, false);
        for (unsigned way = 0; way <= WAYS; way++) {
            ratios[way][round] = taken[way][round] / taken[WAY_PLAIN][round];
        }
    }
    for (unsigned way = 0; way <= WAYS; way++) {
        char key[64];
        snprintf(key, sizeof key, "%s_%s_ns", what, way_names[way]);
        bench_print(key, median(taken[way], rounds));
        snprintf(key, sizeof key, "%s_%s_to_plain", what, way_names[way]);
        bench_print(key, median(ratios[way], rounds));
    }
}

static void print_scope(allot_tag tag) {
    uint64_t count = 10000000;
    uint64_t start_ns = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        tags.leave(tags.enter(tag));
    }
    bench_print("scope_enter_and_leave_ns", (double)(cpu_ns() - start_ns) / (double)count);
}

static void check_sums(void) {
    struct allot_tag_stats stats[64] = {{.size_bytes = sizeof stats[0]}};
    size_t count = tags.snapshot(stats, 64);
    uint64_t calls = 0;
    for (size_t i = 0; i < count; i++) {
        calls += stats[i].malloc_calls;
        if (stats[i].live_bytes != 0 || stats[i].live_blocks != 0 ||
            stats[i].malloc_calls != stats[i].free_calls) {
            bench_die("the sums are not exact");
        }
    }
    bench_print("calls_counted", (double)calls);
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    uint64_t only = params[ONLY].value;
    if (only == 1 || only == 2) {
        bench_print("ns", only == 1 ? run_pairs(WAY_PLAIN, 0) : run_owners(WAY_PLAIN, 0));
        return 0;
    }
    load();
    if (only != 0) {
        bench_print("kib", run_churn(only == 4));
        return 0;
    }
    allot_tag first = tags.create("owner", 0);
    for (uint64_t i = 1; i < params[OWNERS].value; i++) {
        tags.create("owner", 0);
    }
    print_turns("pairs", 1, run_pairs, first);
    print_turns("owners", 2, run_owners, first);
    print_scope(first);
    check_sums();
    bench_print("churn_resident_to_plain", run_self(4, true) / run_self(3, true));
    return 0;
}
