// background.c - the optional purge thread.                                layer 5
#include "heap/background.h"

#include "os/os.h"
#include "page/pageheap.h"
#include "slab/holes.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

// A thread that is told to stop does so at its next turn; until then it can be
// told to go on.
enum { BACKGROUND_NONE, BACKGROUND_RUNS, BACKGROUND_STOPS };

static uint64_t background_period_ms = 250;
static background_turn *background_also;
static _Atomic(int) background_state;

void background_set_period(uint64_t period_ms) {
    __atomic_store_n(&background_period_ms, period_ms, __ATOMIC_RELAXED);
}

void background_set_turn(background_turn *turn) {
    background_also = turn;
}

static bool background_change(int from, int to) {
    return atomic_compare_exchange_strong(&background_state, &from, to);
}

static void *background_run(void *unused) {
    while (!background_change(BACKGROUND_STOPS, BACKGROUND_NONE)) {
        os_sleep_ms(__atomic_load_n(&background_period_ms, __ATOMIC_RELAXED));
        pageheap_tick();
        holes_sweep();
        background_also();
    }
    return unused;
}

bool background_is_running(void) {
    return atomic_load(&background_state) == BACKGROUND_RUNS;
}

void background_resume(void) {
    int before = atomic_exchange(&background_state, BACKGROUND_NONE);
    if (before == BACKGROUND_RUNS) {
        background_start();
    }
}

void background_stop(void) {
    background_change(BACKGROUND_RUNS, BACKGROUND_STOPS);
}

// The program's signals are not for this thread.
static bool background_create(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_created = pthread_create(&thread, &attributes, background_run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return is_created;
}

bool background_start(void) {
    if (background_change(BACKGROUND_STOPS, BACKGROUND_RUNS) ||
        !background_change(BACKGROUND_NONE, BACKGROUND_RUNS)) {
        return true;
    }
    bool is_created = background_create();
    if (!is_created) {
        atomic_store(&background_state, BACKGROUND_NONE);
    }
    return is_created;
}
