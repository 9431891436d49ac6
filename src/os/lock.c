// lock.c - the slow half of the mutex.                                     layer 1
#include "os/lock.h"

// A holder keeps a lock for some hundred nanoseconds; a waiting thread spins
// about that long before it asks the kernel.
enum { LOCK_SPIN_COUNT = 40 };

// On a line of its own: it is written where threads already wait for each other.
static struct { _Atomic(uint64_t) waits, sleeps; } lock_counts CACHE_ALIGNED;

void lock_take_slow(struct lock *lock) {
    atomic_fetch_add_explicit(&lock_counts.waits, 1, memory_order_relaxed);
    for (int i = 0; i < LOCK_SPIN_COUNT; i++) {
        COMPILER_PAUSE();
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && lock_try(lock)) {
            return;
        }
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0) {
        atomic_fetch_add_explicit(&lock_counts.sleeps, 1, memory_order_relaxed);
        os_wait(&lock->word, 2);
    }
}

struct lock_stats lock_read_stats(void) {
    return (struct lock_stats){
        .waits = atomic_load_explicit(&lock_counts.waits, memory_order_relaxed),
        .sleeps = atomic_load_explicit(&lock_counts.sleeps, memory_order_relaxed),
    };
}
