// zonelock.c - the slow half of the lock.                                  layer 6
#include "range/zonelock.h"

#include <pthread.h>

enum {
    ZONELOCK_SPIN_COUNT = 100,  // a holder needs some nanoseconds
    ZONELOCK_WAIT_MS = 1,
};

THREAD_LOCAL struct robust zonelock_self;

static void zonelock_in_child(void) {
    zonelock_self.owner = 0;  // it is another thread, to the kernel
}

static void zonelock_meet_kernel(void) {
    static _Atomic(bool) has_handler;
    if (!atomic_load_explicit(&has_handler, memory_order_relaxed)) {
        // Two threads may do it: a handler more does no harm, one that is not there yet would.
        bool is_done = pthread_atfork(NULL, NULL, zonelock_in_child) == 0;
        atomic_store_explicit(&has_handler, is_done, memory_order_relaxed);
    }
    robust_find(&zonelock_self);
}

bool zonelock_take_slow(struct zonelock *lock) {
    if (zonelock_self.owner == 0) {
        zonelock_meet_kernel();
    }
    zonelock_tell((char *)lock - zonelock_self.distance);
    atomic_signal_fence(memory_order_seq_cst);
    bool has_slept = false;
    uint32_t seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
    for (unsigned turn = 0;
         (seen & ROBUST_OWNER_MASK) != 0 ||
         !atomic_compare_exchange_strong_explicit(&lock->word, &seen, zonelock_self.owner,
                                                  memory_order_acquire, memory_order_relaxed);
         turn++) {
        if (turn < ZONELOCK_SPIN_COUNT) {
            COMPILER_PAUSE();
        } else if ((seen & ROBUST_OWNER_MASK) != 0) {
            atomic_store_explicit(&lock->is_awaited, 1, memory_order_relaxed);
            robust_wait(&lock->word, seen, ZONELOCK_WAIT_MS);
            has_slept = true;
        }
        seen = atomic_load_explicit(&lock->word, memory_order_relaxed);
    }
    if (has_slept) {  // others may sleep, too, and whoever woke this thread has forgotten them
        atomic_store_explicit(&lock->is_awaited, 1, memory_order_relaxed);
    }
    return seen == 0;
}

COLD void zonelock_wake(struct zonelock *lock) {
    atomic_store_explicit(&lock->is_awaited, 0, memory_order_relaxed);
    robust_wake_one(&lock->word);
}
