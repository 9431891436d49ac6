// lock.c - the slow half of the mutex.                                     layer 1
#include "os/lock.h"

// A holder keeps a lock for some hundred nanoseconds; a waiting thread spins
// about that long before it asks the kernel.
enum { LOCK_SPIN_COUNT = 40 };

void lock_take_slow(struct lock *lock) {
    for (int i = 0; i < LOCK_SPIN_COUNT; i++) {
        COMPILER_PAUSE();
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && lock_try(lock)) {
            return;
        }
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0) {
        os_wait(&lock->word, 2);
    }
}
