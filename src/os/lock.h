// lock.h - a mutex of one word.                                            layer 1
//
// 0 free, 1 held, 2 held and somebody waits: the third scheme of Drepper,
// "Futexes Are Tricky" (2011). While the process has one thread no atomic
// operation is needed. Locks are ordered: a thread that holds one takes only
// locks of a higher rank (doc/design.md, "Locks").
//
// fork: no lock is taken in a prepare handler. The child calls lock_reset and
// rebuilds what the lock protects.
#ifndef ALLOT_OS_LOCK_H
#define ALLOT_OS_LOCK_H

#include "base/compiler.h"
#include "os/os.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lock {
    _Atomic(uint32_t) word;
};

void lock_take_slow(struct lock *lock);

static inline bool lock_try(struct lock *lock) {
    uint32_t expected = 0;
    return atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void lock_take(struct lock *lock) {
    if (os_is_single_threaded()) {
        atomic_store_explicit(&lock->word, 1, memory_order_relaxed);
    } else if (UNLIKELY(!lock_try(lock))) {
        lock_take_slow(lock);
    }
}

static inline void lock_give(struct lock *lock) {
    if (os_is_single_threaded()) {
        atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
    } else if (UNLIKELY(atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)) {
        os_wake_one(&lock->word);
    }
}

// By any thread, in this moment.
static inline bool lock_is_held(const struct lock *lock) {
    return atomic_load_explicit(&lock->word, memory_order_relaxed) != 0;
}

struct lock_stats {
    uint64_t waits;   // times that a lock was held by another thread
    uint64_t sleeps;  // times that a thread then slept in the kernel
};
struct lock_stats lock_read_stats(void);

// In the child of a fork: whoever held it does not exist here.
static inline void lock_reset(struct lock *lock) {
    atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
}

#endif
