// fault.h - how a death test is written and judged.
//
// A fault is a function that first says which line it expects, then does what no program should.
// It runs in three children: with misuse=abort the line must be all of stderr and SIGABRT the end;
// with misuse=warn the same line and the fault counted once, after which the heap must still work;
// with misuse=ignore silence, and the same count.
#ifndef TESTS_MISUSE_FAULT_H
#define TESTS_MISUSE_FAULT_H

#include "../support/api.h"
#include "../support/child.h"

struct fault {
    const char *name;
    void (*commit)(void);
};

#define FAULT(function) \
    { #function, function }

/// The line that stderr must consist of: "allot: error: " and this. Called before the deed.
void fault_expect(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// Make sure that everything freed so far has left this thread's cache.
void fault_settle(void);

/// A block of `size_bytes`, written to its last byte.
void *fault_block(size_t size_bytes);

/// Judge the fault that is named by the argument, or all.
int fault_main(const struct fault *faults, size_t fault_count, int argc, char **argv);

#define FAULT_MAIN(faults)                                                           \
    int main(int argc, char **argv) {                                                \
        return fault_main(faults, sizeof(faults) / sizeof((faults)[0]), argc, argv); \
    }

#endif
