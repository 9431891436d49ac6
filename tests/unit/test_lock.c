// test_lock.c - a mutex of one word.
#include "os/lock.h"

#include "unit.h"

#include <pthread.h>

enum { THREADS = 4, ROUNDS = 20000 };

static struct {
    struct lock lock;
    unsigned long count;
} guarded;

static void *count_up(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        lock_take(&guarded.lock);
        guarded.count++;
        lock_give(&guarded.lock);
    }
    return unused;
}

static void four_threads_lose_no_count(void) {
    os_fake.has_threads = true;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    UNIT_CHECK(guarded.count, ==, THREADS * ROUNDS);
    UNIT_CHECK(guarded.lock.word, ==, 0);
}

static void a_held_lock_cannot_be_tried(void) {
    struct lock lock = {0};
    for (int threads = 0; threads < 2; threads++) {
        os_fake.has_threads = threads;
        lock_take(&lock);
        assert_false(lock_try(&lock));
        lock_give(&lock);
        assert_true(lock_try(&lock));
        lock_give(&lock);
    }
}

static void a_reset_lock_is_free(void) {
    struct lock lock = {0};
    os_fake.has_threads = true;
    lock_take(&lock);
    lock_reset(&lock);
    assert_true(lock_try(&lock));
}

static const struct unit_case cases[] = {
    UNIT(four_threads_lose_no_count),
    UNIT(a_held_lock_cannot_be_tried),
    UNIT(a_reset_lock_is_free),
};
UNIT_MAIN(cases)
