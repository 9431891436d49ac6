// teardown.cc - malloc and free while a thread or the process is being undone,
// after the library has cleaned up for that thread.
extern "C" {
#include "case.h"
}
#include <climits>
#include <string>
#include <vector>

namespace {

int handler_runs_count;
pthread_key_t early_key;  // made before the library can have made one
pthread_key_t late_key;   // made after it

// Allocates and frees in each of the rounds that pthread allows for.
void allocate_again(void *value) {
    uintptr_t round = reinterpret_cast<uintptr_t>(value) & 15;

    case_churn(round, 300);
    free(malloc(200000));
    __atomic_add_fetch(&handler_runs_count, 1, __ATOMIC_RELAXED);
    if (round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(early_key, reinterpret_cast<void *>(round + 1));
    }
}

void free_value(void *value) {
    free(value);
}

__attribute__((constructor(101))) void make_early_key() {
    pthread_key_create(&early_key, allocate_again);
}

void *keyed_thread(void *unused) {
    case_churn(1, 300);
    pthread_setspecific(early_key, reinterpret_cast<void *>(1));
    pthread_setspecific(late_key, malloc(100));
    return unused;
}

void run_threads(void *(*body)(void *), int count) {
    for (int i = 0; i < count; i++) {
        case_join(case_thread(body, nullptr));
    }
}

struct local {
    std::vector<std::string> texts;

    void fill() {
        for (int i = 0; i < 50; i++) {
            texts.push_back(std::string(static_cast<size_t>(i) * 20 + 1, 'x'));
        }
    }
    ~local() {
        fill();
        case_churn(2, 300);
        free(malloc(100000));
    }
};

thread_local local thread_value;

void *local_thread(void *unused) {
    thread_value.fill();
    pthread_setspecific(late_key, malloc(50));
    return unused;
}

void *first_call_in_destructor(void *unused) {
    pthread_setspecific(early_key, reinterpret_cast<void *>(1));
    return unused;
}

void *free_only_thread(void *blocks) {
    void **list = static_cast<void **>(blocks);

    for (int i = 0; i < 1000; i++) {
        free(list[i]);
    }
    return nullptr;
}

// Memory after many threads is what it was after a few.
void demand_flat(void *(*body)(void *), int count) {
    run_threads(body, 200);
    size_t before = case_anonymous_bytes();
    run_threads(body, count);
    size_t after = case_anonymous_bytes();
    CHECK(after <= before + 2 * MIB, "%zu KiB after 200 threads, %zu KiB after %d more",
          before / KIB, after / KIB, count);
}

}  // namespace

extern "C" int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern "C" void *__dso_handle;

CASE(thread_specific_destructors_may_allocate_in_every_round) {
    pthread_key_create(&late_key, free_value);
    demand_flat(keyed_thread, 1000);
    CHECK(handler_runs_count >= 1200 * PTHREAD_DESTRUCTOR_ITERATIONS, "%d runs",
          handler_runs_count);
    case_churn(3, 20000);
}

CASE(destructors_of_thread_local_objects_may_allocate) {
    pthread_key_create(&late_key, free_value);
    demand_flat(local_thread, 1000);
    thread_value.fill();
    case_churn(4, 20000);
}

CASE(the_first_call_of_a_thread_may_come_from_a_destructor) {
    pthread_key_create(&late_key, free_value);
    demand_flat(first_call_in_destructor, 1000);
}

static void give_and_take(void *block) {
    free(block);
    case_churn(5, 100);
}

static void *atexit_thread(void *unused) {
    for (int i = 0; i < 20; i++) {
        __cxa_thread_atexit_impl(give_and_take, malloc(1000), &__dso_handle);
    }
    return unused;
}

CASE(cxa_thread_atexit_handlers_may_allocate_and_free) {
    demand_flat(atexit_thread, 1000);
}

CASE(threads_that_only_free_leave_nothing_behind) {
    enum { BLOCKS = 1000, ROUNDS = 500 };
    void **blocks = static_cast<void **>(case_array(BLOCKS * sizeof *blocks));
    size_t before = 0;

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = case_take(1 + static_cast<size_t>(i));
        }
        case_join(case_thread(free_only_thread, blocks));
        if (round == 20) {
            before = case_anonymous_bytes();
        }
    }
    size_t after = case_anonymous_bytes();
    CHECK(after <= before + 2 * MIB, "%zu KiB after 20 threads, %zu KiB after %d", before / KIB,
          after / KIB, static_cast<int>(ROUNDS));
}

static void *exit_blocks[100];

static void at_exit() {
    for (int i = 0; i < 100; i++) {
        free(exit_blocks[i]);
    }
    case_churn(6, 5000);
    case_join(case_thread(local_thread, nullptr));
    exit_blocks[0] = malloc(5000000);
}

__attribute__((destructor(101))) static void last_destructor() {
    free(exit_blocks[0]);
    case_churn(7, 5000);
}

CASE(atexit_handlers_and_destructors_may_allocate) {
    pthread_key_create(&late_key, free_value);
    for (int i = 0; i < 100; i++) {
        exit_blocks[i] = malloc(1 + static_cast<size_t>(i) * 100);
    }
    thread_value.fill();
    atexit(at_exit);
    exit(0);
}

static pthread_barrier_t exit_barrier;

static void *busy_thread(void *unused) {
    pthread_barrier_wait(&exit_barrier);
    for (uint64_t seed = 1;; seed++) {
        case_churn(seed, 1000);
    }
    return unused;
}

CASE(the_process_may_exit_while_threads_allocate) {
    for (int run = 0; run < 20; run++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_barrier_init(&exit_barrier, nullptr, 4);
            for (int i = 0; i < 3; i++) {
                case_thread(busy_thread, nullptr);
            }
            pthread_barrier_wait(&exit_barrier);
            exit(0);
        }
        case_wait(child);
    }
}
