// late.c - the library is loaded by dlopen into a running program.
//
// Not preloaded: malloc here is libc's. ALLOT_TEST_LIBRARY names the library.
#define CASE_OWN_MAIN
#include "case.h"
#include <link.h>
#include <sys/resource.h>

static const char *library_path;

// The entry points of one copy of the library.
struct copy {
    void *handle;
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    size_t (*usable_size)(void *);
};

static struct copy copy_open(const char *path, int flags) {
    struct copy copy = {dlopen(path, flags), NULL, NULL, NULL, NULL, NULL};

    CHECK(copy.handle != NULL, "%s", dlerror());
    copy.malloc = (void *(*)(size_t))dlsym(copy.handle, "malloc");
    copy.calloc = (void *(*)(size_t, size_t))dlsym(copy.handle, "calloc");
    copy.realloc = (void *(*)(void *, size_t))dlsym(copy.handle, "realloc");
    copy.free = (void (*)(void *))dlsym(copy.handle, "free");
    copy.usable_size = (size_t(*)(void *))dlsym(copy.handle, "malloc_usable_size");
    CHECK(copy.malloc != malloc && copy.free != free, "the library was there from the start");
    return copy;
}

static void copy_churn(const struct copy *copy, uint64_t seed) {
    enum { KEPT = 128 };
    unsigned char *blocks[KEPT] = {NULL};
    uint64_t state = seed * 2 + 1;

    for (int i = 0; i < 20000; i++) {
        size_t at = case_random(&state) % KEPT;
        size_t bytes = 1 + case_random(&state) % (i % 500 == 0 ? 200000 : 1000);
        copy->free(blocks[at]);
        blocks[at] = copy->malloc(bytes);
        CHECK(blocks[at] != NULL, "malloc(%zu)", bytes);
        memset(blocks[at], i, bytes);
    }
    for (int i = 0; i < KEPT; i++) {
        copy->free(blocks[i]);
    }
}

static void *copy_thread(void *copy) {
    copy_churn(copy, (uintptr_t)pthread_self());
    return NULL;
}

// A copy of the library's file: the loader takes it for another library.
static void make_copy(char *path, const char *source) {
    char buffer[16384];
    ssize_t got;
    int from = open(source, O_RDONLY);
    int to = mkstemp(path);

    CHECK(from >= 0 && to >= 0, "%s: %s", path, strerror(errno));
    while ((got = read(from, buffer, sizeof buffer)) > 0) {
        CHECK(write(to, buffer, (size_t)got) == got, "%s", strerror(errno));
    }
    close(from);
    close(to);
}

CASE(a_block_of_libc_reaches_the_free_of_libc) {
    size_t blocks_count = case_count(200000, 1000000);
    void **blocks = case_array(blocks_count * sizeof *blocks);
    uint64_t state = case_seed();

    for (size_t i = 0; i < blocks_count; i++) {
        blocks[i] = malloc(16 + case_random(&state) % (i % 1000 == 0 ? 200000 : 300));
        CHECK(blocks[i] != NULL, "malloc");
    }
    struct mallinfo2 before = mallinfo2();
    struct copy copy = copy_open(library_path, RTLD_NOW | RTLD_GLOBAL);
    for (size_t i = 0; i < blocks_count; i += 2) {
        copy.free(blocks[i]);
    }
    struct mallinfo2 between = mallinfo2();
    size_t live_before = before.uordblks + before.hblkhd;
    size_t live_between = between.uordblks + between.hblkhd - between.fsmblks;
    CHECK(live_between < live_before * 6 / 10, "libc: %zu bytes live, after half was freed %zu",
          live_before, live_between);
    copy_churn(&copy, 1);
    for (size_t i = 1; i < blocks_count; i += 2) {
        copy.free(blocks[i]);
    }
    struct mallinfo2 after = mallinfo2();
    CHECK(after.uordblks + after.hblkhd < live_before / 20, "libc: still %zu of %zu bytes live",
          after.uordblks + after.hblkhd, live_before);
    free(malloc(100));
}

CASE(a_block_of_libc_can_be_resized_and_measured) {
    static const size_t sizes[] = {1, 24, 100, 1000, 5000, 70000, 300000, 5000000};
    struct copy copy = copy_open(library_path, RTLD_NOW);

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int grow = 0; grow < 2; grow++) {
            size_t bytes = sizes[i];
            size_t next_bytes = grow ? bytes * 3 : (bytes + 1) / 2;
            unsigned char *block = malloc(bytes);
            memset(block, 0x33, bytes);
            CHECK(copy.usable_size(block) == malloc_usable_size(block), "%zu bytes: %zu, not %zu",
                  bytes, copy.usable_size(block), malloc_usable_size(block));
            block = copy.realloc(block, next_bytes);
            CHECK(block != NULL, "realloc(%zu)", next_bytes);
            CHECK(copy.usable_size(block) >= next_bytes, "usable %zu", copy.usable_size(block));
            for (size_t at = 0; at < (grow ? bytes : next_bytes); at++) {
                CHECK(block[at] == 0x33, "byte %zu of %zu is %d", at, bytes, block[at]);
            }
            memset(block, 0x44, next_bytes);
            copy.free(block);
        }
    }
    CHECK(copy.usable_size(NULL) == 0, "usable size of NULL");
    void *emptied = malloc(50);
    CHECK(copy.realloc(emptied, 0) == NULL, "realloc(p, 0) gave a block");
}

static void *free_by_copy(void *argument) {
    const struct copy *copy = ((void **)argument)[0];
    void **blocks = ((void ***)argument)[1];

    for (int i = 0; i < 10000; i++) {
        copy->free(blocks[i]);
    }
    copy_churn(copy, 9);
    return NULL;
}

// libc's own mappings lie between ours then.
PART(large_blocks_of_libc_pass_through) {
    void *blocks[20];

    for (size_t i = 0; i < 20; i++) {
        blocks[i] = malloc(MIB);
        CHECK(blocks[i] != NULL, "malloc");
    }
    struct copy copy = copy_open(library_path, RTLD_NOW);
    copy_churn(&copy, 5);
    for (size_t i = 0; i < 20; i += 2) {
        CHECK(copy.usable_size(blocks[i]) >= MIB, "usable size");
        blocks[i] = copy.realloc(blocks[i], 2 * MIB);
        CHECK(blocks[i] != NULL, "realloc");
    }
    for (size_t i = 0; i < 20; i++) {
        copy.free(blocks[i]);
    }
}

CASE(blocks_of_libc_pass_through_under_a_limit_of_address_space) {
    struct rlimit limit = {4 * GIB, 4 * GIB};

    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit: %s", strerror(errno));
    execl("/proc/self/exe", "late", "large_blocks_of_libc_pass_through", NULL);
    CHECK(false, "exec: %s", strerror(errno));
}

CASE(threads_may_free_blocks_of_libc_after_a_late_load) {
    enum { THREADS = 4 };
    static void *blocks[THREADS][10000];
    struct copy copy;
    pthread_t threads[THREADS];
    void *arguments[THREADS][2];

    for (int i = 0; i < THREADS * 10000; i++) {
        blocks[i % THREADS][i / THREADS] = malloc(1 + (size_t)i % 500);
    }
    copy = copy_open(library_path, RTLD_LAZY);
    for (int i = 0; i < THREADS; i++) {
        arguments[i][0] = &copy;
        arguments[i][1] = blocks[i];
        threads[i] = case_thread(free_by_copy, arguments[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        case_join(threads[i]);
    }
}

CASE(two_copies_live_in_one_process) {
    char path[] = "/tmp/allot-copy-XXXXXX";
    struct copy copies[2];
    pthread_t threads[4];

    make_copy(path, library_path);
    copies[0] = copy_open(library_path, RTLD_NOW | RTLD_LOCAL);
    copies[1] = copy_open(path, RTLD_NOW | RTLD_LOCAL);
    unlink(path);
    CHECK(copies[0].malloc != copies[1].malloc, "both are one");
    for (int i = 0; i < 4; i++) {
        threads[i] = case_thread(copy_thread, &copies[i % 2]);
    }
    copy_churn(&copies[0], 1);
    copy_churn(&copies[1], 2);
    for (int i = 0; i < 4; i++) {
        case_join(threads[i]);
    }
    case_churn(3, 20000);
}

static struct copy closed_copy;
static pthread_barrier_t closed_barrier;

static void *thread_across_close(void *unused) {
    void *block = closed_copy.malloc(100);

    copy_churn(&closed_copy, 5);
    closed_copy.free(block);
    pthread_barrier_wait(&closed_barrier);  // used
    pthread_barrier_wait(&closed_barrier);  // closed
    return unused;
}

CASE(dlclose_while_threads_live_does_not_crash_their_exit) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];

    closed_copy = copy_open(library_path, RTLD_NOW);
    pthread_barrier_init(&closed_barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = case_thread(thread_across_close, NULL);
    }
    copy_churn(&closed_copy, 6);
    pthread_barrier_wait(&closed_barrier);
    CHECK(dlclose(closed_copy.handle) == 0, "%s", dlerror());
    pthread_barrier_wait(&closed_barrier);
    for (int i = 0; i < THREADS; i++) {
        case_join(threads[i]);
    }
    case_churn(7, 20000);
}

static void *churn_thread(void *unused) {
    case_churn(8, 1000);
    return unused;
}

CASE(the_library_can_be_loaded_and_closed_many_times) {
    for (int i = 0; i < 50; i++) {
        struct copy copy = copy_open(library_path, RTLD_NOW);
        free(malloc(100));
        copy.free(copy.malloc(100));
        CHECK(dlclose(copy.handle) == 0, "%s", dlerror());
    }
    // fork and thread exit call handlers that the library may have registered.
    pid_t child = fork();
    if (child == 0) {
        case_churn(8, 1000);
        _exit(0);
    }
    case_wait(child);
    case_join(case_thread(churn_thread, NULL));
}

static int find_tls(struct dl_phdr_info *info, size_t size, void *result) {
    (void)size;
    for (int i = 0; strstr(info->dlpi_name, "allot") != NULL && i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_TLS) {
            *(size_t *)result = info->dlpi_phdr[i].p_memsz + info->dlpi_phdr[i].p_align;
        }
    }
    return 0;
}

CASE(static_thread_local_storage_stays_below_300_bytes) {
    size_t tls_bytes = 0;

    copy_open(library_path, RTLD_NOW);
    dl_iterate_phdr(find_tls, &tls_bytes);
    CHECK(tls_bytes < 300 + 64, "%zu bytes with alignment", tls_bytes);
}

// Load copies of a library with 64 bytes of static TLS until no more fit, or
// until `limit_count`. Returns how many fitted.
static int fill_static_tls(int limit_count) {
    int count = 0;

    for (; count < limit_count; count++) {
        char path[] = "/tmp/allot-tls-XXXXXX";
        make_copy(path, getenv("ALLOT_TEST_TLS_LIBRARY"));
        void *handle = dlopen(path, RTLD_NOW);
        unlink(path);
        if (handle == NULL) {
            CHECK(strstr(dlerror(), "static TLS") != NULL, "another error");
            break;
        }
    }
    return count;
}

CASE(dlopen_works_with_384_bytes_of_static_tls_left) {
    int fitted_pipe[2];
    int fitted_count = 0;

    CHECK(pipe(fitted_pipe) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        fitted_count = fill_static_tls(1000);
        CHECK(write(fitted_pipe[1], &fitted_count, sizeof fitted_count) > 0, "pipe");
        // No room at all: refused with a message, and the program goes on.
        void *handle = dlopen(library_path, RTLD_NOW);
        CHECK(handle != NULL || dlerror() != NULL, "no message");
        case_churn(9, 10000);
        _exit(0);
    }
    case_wait(child);
    CHECK(read(fitted_pipe[0], &fitted_count, sizeof fitted_count) > 0, "pipe");
    if (fitted_count >= 1000) {
        case_skip("static TLS of this libc has no end");
    }
    CHECK(fitted_count > 6, "%d", fitted_count);
    fill_static_tls(fitted_count - 6);
    struct copy copy = copy_open(library_path, RTLD_NOW);
    copy_churn(&copy, 10);
    case_join(case_thread(copy_thread, &copy));
}

int main(int argc, char **argv) {
    int failed_count = 0;

    library_path = getenv("ALLOT_TEST_LIBRARY");
    CHECK(library_path != NULL, "ALLOT_TEST_LIBRARY is not set");
    for (const struct test_case *one = __start_test_cases; one < __stop_test_cases; one++) {
        if (argc < 2) {
            failed_count += case_run(one);
        } else if (strcmp(argv[1], one->name) == 0) {
            one->run();
            return 0;
        }
    }
    CHECK(argc < 2, "no case is called %s", argv[1]);
    return failed_count == 0 ? 0 : 1;
}
