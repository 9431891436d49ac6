// limits.c - little memory, and a system that says no: NULL and ENOMEM, old
// blocks whole, and everything as before once the limit is lifted.
#include "case.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

enum { LISTED = 100000 };

struct list {
    void *blocks[LISTED];
    size_t sizes[LISTED];
    size_t count;
};

static struct list *new_list(void) {
    return case_array(sizeof(struct list));
}

// Take blocks until none is left; returns how many bytes were had.
static size_t fill(struct list *list, size_t block_bytes) {
    size_t total = 0;

    while (list->count < LISTED) {
        errno = 0;
        unsigned char *block = malloc(block_bytes);
        if (block == NULL) {
            CHECK(errno == ENOMEM, "errno is %d", errno);
            return total;
        }
        memset(block, (int)(block_bytes * 7 + 1), block_bytes);
        list->blocks[list->count] = block;
        list->sizes[list->count++] = block_bytes;
        total += block_bytes;
    }
    CHECK(false, "%zu bytes, and no end", total);
    return total;
}

static void drain(struct list *list) {
    while (list->count > 0) {
        list->count--;
        case_give(list->blocks[list->count], list->sizes[list->count]);
    }
}

static void set_limit(int resource, rlim_t bytes) {
    struct rlimit limit;

    getrlimit((__rlimit_resource_t)resource, &limit);
    limit.rlim_cur = bytes;
    CHECK(setrlimit((__rlimit_resource_t)resource, &limit) == 0, "setrlimit: %s", strerror(errno));
}

// Filled to the limit in blocks of several sizes, emptied, and again: nothing is lost.
static void fill_and_drain(size_t at_least) {
    static const size_t sizes[] = {50000, 1000, 2000000, 200, 50000};
    struct list *list = new_list();

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        // Few enough bytes that LISTED blocks of the smallest reach the limit.
        size_t bytes = sizes[i] * LISTED < 3 * at_least ? 3 * at_least / LISTED : sizes[i];
        size_t had = fill(list, bytes);
        CHECK(had >= at_least, "round %zu: %zu KiB of blocks of %zu bytes, want %zu KiB", i,
              had / KIB, bytes, at_least / KIB);
        CHECK(malloc(512 * MIB) == NULL && errno == ENOMEM, "512 MiB were had");
        CHECK(calloc(1, 512 * MIB) == NULL && errno == ENOMEM, "512 MiB were had");
        void *kept = list->blocks[list->count - 1];
        CHECK(realloc(kept, 512 * MIB) == NULL && errno == ENOMEM, "512 MiB were had");
        void *aligned = &aligned;
        CHECK(posix_memalign(&aligned, MIB, 512 * MIB) == ENOMEM && aligned == &aligned,
              "512 MiB were had");
        drain(list);
    }
}

CASE(an_address_space_limit_from_start_is_lived_with) {
    // A limit set before exec is what the library meets when it reserves.
    set_limit(RLIMIT_AS, 128 * MIB);
    execl("/proc/self/exe", case_self, "most_of_128_mib_of_address_space_can_be_had", NULL);
    CHECK(false, "exec: %s", strerror(errno));
}

PART(most_of_128_mib_of_address_space_can_be_had) {
    struct rlimit limit;

    getrlimit(RLIMIT_AS, &limit);
    if (limit.rlim_cur == RLIM_INFINITY) {
        case_skip("a part of the case before");
    }
    fill_and_drain(80 * MIB);
    case_churn(1, 10000);
}

CASE(a_limit_on_address_space_set_later_gives_null_and_lifting_it_heals) {
    struct list *list = new_list();
    struct rlimit old;

    getrlimit(RLIMIT_AS, &old);
    case_churn(1, 20000);
    size_t used = case_proc_bytes("/proc/self/status", "\nVmSize:");
    set_limit(RLIMIT_AS, used);
    // Some may be had from what is reserved already; a single TiB may not.
    CHECK(malloc((size_t)1 << 46) == NULL && errno == ENOMEM, "64 TiB were had");
    // Whatever else is refused, what was had before can be given back and had again.
    for (size_t bytes = 1; bytes < 100000; bytes *= 2) {
        free(malloc(bytes));
    }
    setrlimit(RLIMIT_AS, &old);
    for (int i = 0; i < 100; i++) {
        list->sizes[i] = 3 * MIB;
        list->blocks[i] = case_take(3 * MIB);
        list->count++;
    }
    drain(list);
}

CASE(a_limit_on_data_gives_null_and_lifting_it_heals) {
    struct list *list = new_list();
    struct rlimit old;

    getrlimit(RLIMIT_DATA, &old);
    case_churn(1, 20000);
    size_t data = case_proc_bytes("/proc/self/status", "\nVmData:");
    set_limit(RLIMIT_DATA, data + 64 * MIB);
    for (int i = 0; i < 200; i++) {
        void *block = malloc(MIB);
        if (block == NULL) {
            CHECK(errno == ENOMEM, "errno is %d", errno);
            break;
        }
        memset(block, (int)(MIB * 7 + 1), MIB);
        list->blocks[list->count] = block;
        list->sizes[list->count++] = MIB;
    }
    setrlimit(RLIMIT_DATA, &old);
    void *healed = malloc(300 * MIB);
    CHECK(healed != NULL, "300 MiB after the limit was lifted: %s", strerror(errno));
    free(healed);
    drain(list);
    case_churn(2, 20000);
}

CASE(a_data_limit_from_start_is_lived_with) {
    set_limit(RLIMIT_DATA, 32 * MIB);
    execl("/proc/self/exe", case_self, "a_few_mib_can_be_had_under_a_data_limit", NULL);
    CHECK(false, "exec: %s", strerror(errno));
}

PART(a_few_mib_can_be_had_under_a_data_limit) {
    struct rlimit limit;

    getrlimit(RLIMIT_DATA, &limit);
    if (limit.rlim_cur == RLIM_INFINITY) {
        case_skip("a part of the case before");
    }
    for (int i = 0; i < 5; i++) {
        case_give(case_take(8 * MIB), 8 * MIB);
        case_churn(3, 10000);
    }
}

static void *taking_thread(void *bytes) {
    return malloc((size_t)bytes);
}

CASE(threads_meet_the_limit_together_and_go_on) {
    struct rlimit old;

    getrlimit(RLIMIT_AS, &old);
    set_limit(RLIMIT_AS, case_proc_bytes("/proc/self/status", "\nVmSize:") + 64 * MIB);
    for (int round = 0; round < 20; round++) {
        // Thread stacks count as well: creating one may fail, crashing may not.
        pthread_t threads[16];
        int count = 0;
        while (count < 16 &&
               pthread_create(&threads[count], NULL, taking_thread, (void *)(size_t)1000000) == 0) {
            count++;
        }
        for (int i = 0; i < count; i++) {
            free(case_join(threads[i]));
        }
        CHECK(count > 0, "no thread at all");
    }
    setrlimit(RLIMIT_AS, &old);
    case_churn(4, 20000);
}

CASE(locked_memory_works) {
    struct rlimit limit;

    case_churn(1, 10000);
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        // Not allowed to lock everything; what was populated stays within its limit.
        case_skip("mlockall is not permitted here");
    }
    size_t before = case_resident_bytes();
    CHECK(before <= 512 * MIB, "%zu MiB resident: the reservation was locked in", before / MIB);
    case_churn(2, 20000);
    case_give(case_take(30 * MIB), 30 * MIB);
    malloc_trim(0);
    case_churn(3, 20000);
    CHECK(munlockall() == 0, "%s", strerror(errno));
    case_churn(4, 20000);
}

CASE(a_process_that_locks_the_future_first_can_start) {
    if (mlockall(MCL_FUTURE) != 0) {
        case_skip("mlockall is not permitted here");
    }
    case_churn(1, 20000);
    free(case_join(case_thread(taking_thread, (void *)(size_t)100)));
    size_t resident = case_resident_bytes();
    CHECK(resident <= 512 * MIB, "%zu MiB resident", resident / MIB);
}

CASE(many_mappings_are_not_used_up) {
    // Holes in locked step: what is freed in between must not split mappings without end.
    enum { BLOCKS = 3000 };
    static void *blocks[BLOCKS];
    char line[512];
    size_t lines_count = 0;

    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = case_take(70000);
    }
    for (int i = 0; i < BLOCKS; i += 2) {
        case_give(blocks[i], 70000);
    }
    malloc_trim(0);
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL, "%s", strerror(errno));
    while (fgets(line, sizeof line, maps) != NULL) {
        lines_count++;
    }
    fclose(maps);
    for (int i = 1; i < BLOCKS; i += 2) {
        case_give(blocks[i], 70000);
    }
    CHECK(lines_count <= 300, "%zu mappings for %d live blocks", lines_count, BLOCKS / 2);
}

// Split a mapping page by page until the kernel has no mappings left for us.
static char *use_up_mappings(size_t bytes) {
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    char *region = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(region != MAP_FAILED, "%s", strerror(errno));
    for (size_t at = 0; at < bytes; at += 2 * page_bytes) {
        if (mprotect(region + at, page_bytes, PROT_READ) != 0) {
            return region;
        }
    }
    munmap(region, bytes);
    return NULL;
}

CASE(when_mappings_run_out_malloc_says_null_and_more_of_them_heal) {
    size_t bytes = GIB;
    struct list *list = new_list();

    case_churn(1, 20000);
    char *region = use_up_mappings(bytes);
    if (region == NULL) {
        case_skip("the kernel allows for too many mappings");
    }
    for (size_t i = 0; i < 2000; i++) {
        size_t block_bytes = 1 + i * i % 300000;
        void *block = malloc(block_bytes);
        if (block == NULL) {
            CHECK(errno == ENOMEM, "errno is %d", errno);
            continue;
        }
        memset(block, (int)(block_bytes * 7 + 1), block_bytes);
        list->blocks[list->count] = block;
        list->sizes[list->count++] = block_bytes;
    }
    for (size_t i = 0; i < list->count; i += 2) {
        case_give(list->blocks[i], list->sizes[i]);
        list->blocks[i] = NULL;
        list->sizes[i] = 0;
    }
    malloc_trim(0);
    CHECK(munmap(region, bytes) == 0, "%s", strerror(errno));
    for (size_t i = 1; i < list->count; i += 2) {
        case_give(list->blocks[i], list->sizes[i]);
    }
    case_give(case_take(100 * MIB), 100 * MIB);
    case_churn(2, 20000);
}

CASE(a_process_without_proc_works) {
    int flags = CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER);

    if (unshare(flags) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        case_skip("no mount namespace can be made here");
    }
    char path[4096];
    ssize_t used = readlink("/proc/self/exe", path, sizeof path - 1);
    CHECK(used > 0, "%s", strerror(errno));
    path[used] = '\0';
    if (mount("none", "/proc", "tmpfs", 0, NULL) != 0 ||
        mount("none", "/sys", "tmpfs", 0, NULL) != 0) {
        case_skip("/proc cannot be hidden here");
    }
    CHECK(access("/proc/self", F_OK) != 0, "/proc is still there");
    execl(path, path, "the_allocator_works", NULL);
    CHECK(false, "exec: %s", strerror(errno));
}

static void *churning_thread(void *seed) {
    case_churn((uintptr_t)seed, 20000);
    return NULL;
}

PART(the_allocator_works) {
    case_churn(1, 20000);
    case_join(case_thread(churning_thread, (void *)2));
    case_give(case_take(50 * MIB), 50 * MIB);
    malloc_trim(0);
    mallinfo2();
}

// Phases of blocks of very different sizes, 80 MiB each.
PART(eighty_mib_of_one_size_after_the_other) {
    static const size_t sizes[] = {1000, 100000, 5000, 3000000, 64000, 2000};
    struct list *list = new_list();

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t had = 0; had < 80 * MIB; had += sizes[i]) {
            list->sizes[list->count] = sizes[i];
            list->blocks[list->count++] = case_take(sizes[i]);
        }
        drain(list);
    }
}

PART(a_crash_with_some_blocks) {
    for (int i = 0; i < 1000; i++) {
        case_take(1000);
    }
    case_churn(1, 10000);
    abort();
}
