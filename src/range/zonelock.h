// zonelock.h - a lock in memory that several processes map.                layer 6
//
// 0 free, a thread's number held, ROBUST_OWNER_DIED its holder has died. While a thread
// takes or gives a lock the kernel knows which, by the list that libc registers for
// robust mutexes (robust_find), and marks it if the thread ends in between,
// however that may be.
//
// Giving is one store: an exchange would cost as much as the allocation that it ends.
// A store can pass the look at `is_awaited` that follows, so that nobody is
// woken; who waits therefore looks again after a millisecond.
#ifndef ALLOT_RANGE_ZONELOCK_H
#define ALLOT_RANGE_ZONELOCK_H

#include "base/compiler.h"
#include "os/robust.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// All zero: free.
struct zonelock {
    _Atomic(uint32_t) word;
    _Atomic(uint32_t) is_awaited;
};

// owner 0: not known yet.
extern THREAD_LOCAL struct robust zonelock_self;

bool zonelock_take_slow(struct zonelock *lock);
void zonelock_wake(struct zonelock *lock);

static ALWAYS_INLINE void zonelock_tell(void *word) {
    *(void *volatile *)zonelock_self.pending = word;
}

// False: the last holder has died, and what the lock protects is to be repaired. It is
// held in either case.
static ALWAYS_INLINE bool zonelock_take(struct zonelock *lock) {
    uint32_t free = 0, owner = zonelock_self.owner;
    if (UNLIKELY(owner == 0)) {
        return zonelock_take_slow(lock);
    }
    zonelock_tell((char *)lock - zonelock_self.distance);
    atomic_signal_fence(memory_order_seq_cst);
    return LIKELY(atomic_compare_exchange_strong_explicit(
               &lock->word, &free, owner, memory_order_acquire, memory_order_relaxed)) ||
           zonelock_take_slow(lock);
}

static ALWAYS_INLINE void zonelock_give(struct zonelock *lock) {
    atomic_store_explicit(&lock->word, 0, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    if (UNLIKELY(atomic_load_explicit(&lock->is_awaited, memory_order_relaxed) != 0)) {
        zonelock_wake(lock);
    }
    zonelock_tell(NULL);
}

#endif
