// fault.c - liballot-check.so, which `allot check` preloads beside the library.
//
// The library itself installs no signal handlers. This one says, where a program
// touches memory that is not accessible, by which calls it came there and whose
// block it may have meant, and lets it end as it would have.

#include <dlfcn.h>
#include <execinfo.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "allot.h"

enum { FAULT_FRAMES = 32, FAULT_LINE_BYTES = 4400 };

#pragma weak allot_guard_report

static void fault_write(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        return;  // nobody listens, and there is nobody else to tell
    }
}

// Where the signal came; 0: not known for this processor.
static uintptr_t fault_place(const void *context) {
#if defined(__x86_64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

static void fault_write_frame(int number, uintptr_t address) {
    char line[FAULT_LINE_BYTES], path[PATH_MAX];
    Dl_info info;

    if (dladdr((void *)address, &info) != 0 && realpath(info.dli_fname, path) != NULL) {
        const ElfW(Ehdr) *head = info.dli_fbase;
        uintptr_t origin = head->e_type == ET_EXEC ? 0 : (uintptr_t)head;

        snprintf(line, sizeof line, "    #%d %s+0x%zx\n", number, path, (size_t)(address - origin));
    } else {
        snprintf(line, sizeof line, "    #%d 0x%zx in no file\n", number, (size_t)address);
    }
    fault_write(line);
}

// The frames above the place are the signal's and ours.
static void fault_write_trace(const void *context) {
    void *returns[FAULT_FRAMES];
    uintptr_t place = fault_place(context);
    int count = backtrace(returns, FAULT_FRAMES);
    int first = 0;

    while (first < count && (uintptr_t)returns[first] != place) {
        first++;
    }
    fault_write_frame(0, place);
    for (int i = first + 1; i < count; i++) {
        fault_write_frame(i - first, (uintptr_t)returns[i] - 1);
    }
}

static void fault_handle(int number, siginfo_t *info, void *context) {
    char line[128];

    snprintf(line, sizeof line, "allot: error: %s at %p, by the code at\n",
             number == SIGSEGV ? "SIGSEGV" : "SIGBUS", info->si_addr);
    fault_write(line);
    fault_write_trace(context);
    if (allot_guard_report != NULL) {
        allot_guard_report(info->si_addr);
    }
    // SA_RESETHAND: the access is repeated, and ends the program.
}

__attribute__((constructor)) static void fault_begin(void) {
    static const int numbers[] = {SIGSEGV, SIGBUS};
    struct sigaction old,
        action = {.sa_sigaction = fault_handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND};
    void *returns[1];

    backtrace(returns, 1);  // loads what it needs before memory may be damaged
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
            sigaction(numbers[i], &action, NULL);
        }
    }
}
