// os_fake.h - an operating system for tests: an arena of pages that counts calls and fails on
// request.
//
// It implements src/os/os.h. Address space is handed out from the end of the arena downwards, as
// Linux does it. Each page has a state, and a call that the contract forbids (to commit what was
// not reserved, to purge what is not committed) ends the process with a sentence.
#ifndef TESTS_FAKE_OS_FAKE_H
#define TESTS_FAKE_OS_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum os_fake_call {
    OS_FAKE_RESERVE,
    OS_FAKE_MAP,
    OS_FAKE_COMMIT,
    OS_FAKE_COMMIT_HUGE,
    OS_FAKE_PURGE,
    OS_FAKE_MOVE,
    OS_FAKE_RENEW,
    OS_FAKE_FENCE,
    OS_FAKE_CALLS,
};

struct os_fake {
    // What happened. Those that fail count, too.
    _Atomic(uint64_t) calls[OS_FAKE_CALLS];
    _Atomic(uint64_t) call_count;  // of all memory calls
    _Atomic(uint64_t) failed_count;
    _Atomic(uint64_t) purged_bytes;
    size_t mapped_bytes, committed_bytes, thp_never_bytes, thp_always_bytes;
    char text[8192];  // written to descriptor 2
    size_t text_length;

    // What the test asks for.
    uint64_t fail_at;            // the number of the memory call that fails; 0: none
    bool fails_from;             // and all after it
    size_t arena_limit_bytes;    // reserving more fails; 0: as much as there is
    size_t address_space_limit;  // RLIMIT_AS
    bool has_huge_pages;
    bool has_threads;
    bool is_quiet;  // text is kept here and not shown
    unsigned cpu_count;
    _Atomic(uint64_t) now_ms;
    const char *const *environment;  // "NAME=value", NULL at the end
    const char *const *files;        // path, text, path, text, NULL
};
extern struct os_fake os_fake;

// From now on the k-th memory call fails, and with `from` all after it. k = 0: none.
void os_fake_fail(uint64_t k, bool from);

// Whether the page of this address is accessible.
bool os_fake_is_committed(const void *address);

#endif
