// robust.h - what the kernel does for locks in memory of several processes. layer 1
//
// Functions keep errno.
#ifndef ALLOT_OS_ROBUST_H
#define ALLOT_OS_ROBUST_H

#include <stdint.h>

// Waits while *word is `value`, `ms` at most; may return early.
void robust_wait(void *word, uint32_t value, uint32_t ms);
void robust_wake_one(void *word);

// How the kernel learns which lock the calling thread is about to take or give. When the
// thread ends, however, and `*pending` is the address of a word less `distance` and the word is
// `owner`, it becomes ROBUST_OWNER_DIED, and a waiting thread is woken.
struct robust {
    void **pending;
    intptr_t distance;
    uint32_t owner;  // not 0; other threads of the system have others
};
enum { ROBUST_OWNER_MASK = 0x3fffffff };
#define ROBUST_OWNER_DIED UINT32_C(0xc0000000)

// Fills it for the calling thread. In the child of a fork it is another one.
void robust_find(struct robust *robust);

#endif
