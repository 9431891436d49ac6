// fork.c - fork at every awkward moment. A hang ends by alarm(), which is a failure.
#include "case.h"

static volatile bool fork_stop;  // read by threads between rounds

static void *allocating_thread(void *seed) {
    for (uint64_t round = (uintptr_t)seed; !__atomic_load_n(&fork_stop, __ATOMIC_RELAXED);
         round += 100) {
        case_churn(round, 2000);
        free(malloc(300000));
    }
    return NULL;
}

static void stop_threads(pthread_t *threads, int threads_count) {
    __atomic_store_n(&fork_stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < threads_count; i++) {
        case_join(threads[i]);
    }
    __atomic_store_n(&fork_stop, false, __ATOMIC_RELAXED);
}

static void *churning_thread(void *seed) {
    case_churn((uintptr_t)seed, 2000);
    return NULL;
}

// ---- fork while stdio is locked --------------------------------------------------

static ssize_t cookie_write(void *cookie, const char *text, size_t bytes) {
    // stdio holds this stream's lock, under fflush(NULL) also that of the list.
    void *blocks[8];

    (void)cookie;
    (void)text;
    for (size_t i = 0; i < 8; i++) {
        blocks[i] = malloc(40000 * i + 100);
    }
    for (size_t i = 0; i < 8; i++) {
        free(blocks[i]);
    }
    return (ssize_t)bytes;
}

static void *flushing_thread(void *unused) {
    cookie_io_functions_t functions = {.write = cookie_write};
    FILE *stream = fopencookie(NULL, "w", functions);

    CHECK(stream != NULL, "fopencookie: %s", strerror(errno));
    while (!__atomic_load_n(&fork_stop, __ATOMIC_RELAXED)) {
        fputs("text", stream);
        fflush(NULL);
    }
    fclose(stream);
    return unused;
}

static void *opening_thread(void *unused) {
    while (!__atomic_load_n(&fork_stop, __ATOMIC_RELAXED)) {
        char *text = NULL;
        size_t bytes = 0;
        FILE *stream = open_memstream(&text, &bytes);
        fprintf(stream, "%2000d", 1);
        fclose(stream);
        free(text);
    }
    return unused;
}

static void fork_with_stdio_locked(void) {
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) {
        threads[i] = case_thread(i < 2 ? flushing_thread : opening_thread, NULL);
    }
    for (size_t i = 0; i < case_count(8, 100); i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            free(malloc(1000));
            _exit(0);
        }
        case_wait(child);
    }
    stop_threads(threads, 4);
}

CASE(fork_while_stdio_is_locked_does_not_deadlock) {
    size_t runs_count = case_count(20, 200);
    uint64_t start = case_now_ns();

    for (size_t i = 0; i < runs_count; i++) {
        pid_t run = fork();
        if (run == 0) {
            alarm(30);
            fork_with_stdio_locked();
            _exit(0);
        }
        case_wait(run);
        // Threads that fight for a lock on few cores can be slow without a hang.
        if (!case_is_long() && i >= 4 && case_now_ns() - start > 5000000000u) {
            break;
        }
    }
}

// ---- fork under load --------------------------------------------------------------

static void child_life(uint64_t seed) {
    pthread_t threads[3];

    alarm(30);
    case_churn(seed, 3000);
    for (uintptr_t i = 0; i < 3; i++) {
        threads[i] = case_thread(churning_thread, (void *)(seed + i));
    }
    case_churn(seed + 7, 3000);
    for (int i = 0; i < 3; i++) {
        case_join(threads[i]);
    }
}

CASE(a_child_forked_under_load_allocates_and_starts_threads) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    size_t forks_count = case_count(50, 5000);

    alarm(120);
    for (uintptr_t i = 0; i < THREADS; i++) {
        threads[i] = case_thread(allocating_thread, (void *)(i + 1));
    }
    for (size_t i = 0; i < forks_count; i++) {
        pid_t child = fork();
        if (child == 0) {
            child_life(i);
            _exit(0);
        }
        case_wait(child);
    }
    stop_threads(threads, THREADS);
}

static void *forking_thread(void *argument) {
    size_t forks_count = *(size_t *)argument;

    for (size_t i = 0; i < forks_count; i++) {
        void *block = case_take(1000);
        pid_t child = fork();
        if (child == 0) {
            alarm(30);
            case_give(block, 1000);
            case_churn(i, 2000);
            _exit(0);
        }
        case_churn(i, 200);
        case_wait(child);
        case_give(block, 1000);
    }
    return NULL;
}

CASE(many_threads_may_fork_at_once) {
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    size_t forks_count = case_count(15, 1000);

    alarm(120);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = case_thread(forking_thread, &forks_count);
    }
    for (int i = 0; i < THREADS; i++) {
        case_join(threads[i]);
    }
}

static void descend(int generations_count) {
    void *block = case_take(5000);
    pthread_t thread = case_thread(churning_thread, (void *)(uintptr_t)(generations_count + 1));
    pid_t child;

    case_churn((uint64_t)generations_count, 500);
    if (generations_count > 0) {
        child = fork();
        if (child == 0) {
            alarm(60);
            case_give(block, 5000);
            descend(generations_count - 1);
            _exit(0);  // the thread of the parent does not exist here
        }
        case_wait(child);
    }
    case_join(thread);
    case_give(block, 5000);
}

CASE(grandchildren_fork_in_turn) {
    descend(20);
}

extern int forking_is_resting;  // lib_forking.c
static timer_t forking_timer;
static volatile int forking_failures;

// One shot at a time: the program goes on between two signals however slow fork is.
static void arm_timer(long ns) {
    struct itimerspec once = {{0, 0}, {0, ns}};

    timer_settime(forking_timer, 0, &once, NULL);
}

static void forking_signal(int signal) {
    int kept = errno;
    pid_t child = fork();

    (void)signal;
    if (child == 0) {
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    forking_failures += status != 0;
    arm_timer(1000000 + (long)(case_now_ns() % 500000));
    errno = kept;
}

CASE(fork_inside_a_signal_handler_does_not_deadlock) {
    struct sigaction action = {.sa_handler = forking_signal, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};

    alarm(50);
    forking_is_resting = 1;
    sigaction(SIGUSR1, &action, NULL);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &forking_timer) == 0, "%s", strerror(errno));
    arm_timer(1000000);
    // A handler that interrupts the allocator forks; the child only ends.
    for (uint64_t until = case_now_ns() + 700000000u, i = 0; case_now_ns() < until; i++) {
        case_churn(i, 1000);
        free(malloc(400000));
    }
    timer_delete(forking_timer);
    case_churn(1, 10000);
    CHECK(forking_failures == 0, "%d children failed", forking_failures);
}

// ---- The child's memory ------------------------------------------------------------

CASE(a_child_uses_memory_that_was_free_in_the_parent) {
    enum { BLOCK_BYTES = 200 };
    size_t blocks_count = 64 * MIB / BLOCK_BYTES;
    void **blocks = case_array(blocks_count * sizeof *blocks);
    pthread_t threads[2];

    for (size_t i = 0; i < blocks_count; i++) {
        blocks[i] = case_take(BLOCK_BYTES);
    }
    for (size_t i = 0; i < blocks_count; i += 2) {
        free(blocks[i]);
    }
    for (uintptr_t i = 0; i < 2; i++) {
        threads[i] = case_thread(allocating_thread, (void *)(i + 1));
    }
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        size_t before = case_anonymous_bytes();
        for (size_t i = 0; i < blocks_count; i += 2) {
            blocks[i] = case_take(BLOCK_BYTES);
        }
        size_t after = case_anonymous_bytes();
        CHECK(after <= before + 4 * MIB, "%zu KiB before, %zu KiB after filling the holes",
              before / KIB, after / KIB);
        for (size_t i = 0; i < blocks_count; i++) {
            case_give(blocks[i], BLOCK_BYTES);
        }
        malloc_trim(0);
        size_t end = case_anonymous_bytes();
        CHECK(end <= 24 * MIB, "%zu KiB before, %zu KiB after all was freed", before / KIB,
              end / KIB);
        _exit(0);
    }
    case_wait(child);
    stop_threads(threads, 2);
}

// Holds at most 32 KiB at any time, but has a cache.
static void *pairing_thread(void *seed) {
    void *blocks[64] = {NULL};
    uint64_t state = (uintptr_t)seed;

    while (!__atomic_load_n(&fork_stop, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 64; i++) {
            blocks[i] = malloc(1 + case_random(&state) % 1000);
        }
        for (int i = 0; i < 64; i++) {
            free(blocks[i]);
        }
    }
    return NULL;
}

CASE(a_chain_of_children_leaks_no_cache_of_their_parents) {
    pthread_t threads[2];
    size_t first = 0;

    alarm(100);
    // Each generation forks from a process whose other thread was in mid-flight.
    for (int generation = 0; generation < 40; generation++) {
        for (uintptr_t i = 0; i < 2; i++) {
            threads[i] = case_thread(pairing_thread, (void *)(i + 1));
        }
        case_churn(1, 20000);
        if (generation == 5) {
            first = case_anonymous_bytes();
        }
        pid_t child = fork();
        if (child > 0) {
            stop_threads(threads, 2);
            int status = 1;
            waitpid(child, &status, 0);
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
        }
        CHECK(child == 0, "fork: %s", strerror(errno));
        alarm(100);
    }
    malloc_trim(0);
    size_t last = case_anonymous_bytes();
    // The blocks that two vanished threads held, 64 KiB at most, belong to nobody.
    CHECK(last <= first + 35 * 100 * KIB, "%zu KiB in generation 5, %zu KiB in generation 40",
          first / KIB, last / KIB);
    CHECK(first != 0, "no measurement");
}

CASE(a_child_goes_on_for_long) {
    pthread_t threads[2];
    size_t settled = 0;

    for (uintptr_t i = 0; i < 2; i++) {
        threads[i] = case_thread(allocating_thread, (void *)(i + 1));
    }
    case_churn(1, 10000);
    pid_t child = fork();
    if (child == 0) {
        alarm(100);
        for (uint64_t i = 0; i < 100; i++) {
            case_churn(i, 10000);
            case_join(case_thread(churning_thread, (void *)(uintptr_t)i));
            if (i == 10) {
                settled = case_anonymous_bytes();
            }
        }
        size_t last = case_anonymous_bytes();
        CHECK(last <= settled + 4 * MIB, "%zu KiB after 10 rounds, %zu KiB after 100",
              settled / KIB, last / KIB);
        exit(0);
    }
    case_wait(child);
    stop_threads(threads, 2);
}

// ---- Speed -------------------------------------------------------------------------

static uint64_t fastest_fork_ns(void) {
    uint64_t fastest = UINT64_MAX;

    for (int i = 0; i < 5; i++) {
        uint64_t start = case_now_ns();
        pid_t child = fork();
        if (child == 0) {
            _exit(0);
        }
        uint64_t took = case_now_ns() - start;
        fastest = took < fastest ? took : fastest;
        case_wait(child);
    }
    return fastest;
}

CASE(fork_with_a_large_heap_takes_no_longer_than_its_pages_do) {
    size_t heap_bytes = case_is_long() ? GIB : GIB / 4;
    int ends[2];
    uint64_t plain_ns = 0;

    case_need_memory(3 * GIB);
    CHECK(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        memset(case_array(heap_bytes), 1, heap_bytes);
        plain_ns = fastest_fork_ns();
        CHECK(write(ends[1], &plain_ns, sizeof plain_ns) == sizeof plain_ns, "pipe");
        _exit(0);
    }
    case_wait(child);
    CHECK(read(ends[0], &plain_ns, sizeof plain_ns) == sizeof plain_ns, "pipe");
    for (size_t bytes = 0; bytes < heap_bytes; bytes += 1024) {
        volatile char *block = malloc(1024);
        CHECK(block != NULL, "malloc");
        block[0] = 1;
    }
    uint64_t heap_ns = fastest_fork_ns();
    printf("fork: %llu us with plain memory, %llu us with blocks\n",
           (unsigned long long)plain_ns / 1000, (unsigned long long)heap_ns / 1000);
    CHECK(heap_ns <= 3 * plain_ns + 5000000u, "%llu us with plain memory, %llu us with blocks",
          (unsigned long long)plain_ns / 1000, (unsigned long long)heap_ns / 1000);
}

extern int forking_children_served;  // lib_forking.c

CASE(fork_handlers_of_other_libraries_may_allocate) {
    pthread_t threads[2];

    for (uintptr_t i = 0; i < 2; i++) {
        threads[i] = case_thread(allocating_thread, (void *)(i + 1));
    }
    for (size_t i = 0; i < case_count(50, 400); i++) {
        pid_t child = fork();
        CHECK(child >= 0, "fork: %s", strerror(errno));
        if (child == 0) {
            alarm(20);
            case_churn(i, 100);
            _exit(forking_children_served == 1 ? 0 : 1);
        }
        case_wait(child);
    }
    stop_threads(threads, 2);
}

static int threads_alive(void) {
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, text, sizeof text - 1);

    close(fd);
    CHECK(length > 0, "/proc/self/status: %s", strerror(errno));
    text[length] = 0;
    const char *line = strstr(text, "Threads:");
    return line != NULL ? atoi(line + 8) : 0;
}

PART(the_background_thread_is_there) {
    CHECK(threads_alive() == 2, "%d threads in the parent", threads_alive());
    pid_t child = fork();
    if (child == 0) {
        case_churn(1, 10000);
        CHECK(threads_alive() == 2, "%d threads in the child", threads_alive());
        _exit(0);
    }
    case_wait(child);
}

CASE(the_background_thread_runs_in_a_child_too) {
    setenv("ALLOT_BACKGROUND", "on", 1);
    execl("/proc/self/exe", case_self, "the_background_thread_is_there", NULL);
    CHECK(false, "exec: %s", strerror(errno));
}

CASE(vfork_and_posix_spawn_under_load_work) {
    pthread_t threads[2];

    for (uintptr_t i = 0; i < 2; i++) {
        threads[i] = case_thread(allocating_thread, (void *)(i + 1));
    }
    for (int i = 0; i < 50; i++) {
        FILE *stream = popen("exit 0", "r");
        CHECK(stream != NULL, "popen: %s", strerror(errno));
        int status = pclose(stream);
        CHECK(status == 0, "the shell ended with %d", status);
    }
    stop_threads(threads, 2);
}
