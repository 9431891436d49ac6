// background.c - the optional purge thread.                                layer 5
#include "heap/background.h"

#include "os/os.h"
#include "page/pageheap.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

static uint64_t background_period_ms = 250;

void background_set_period(uint64_t period_ms) {
    __atomic_store_n(&background_period_ms, period_ms, __ATOMIC_RELAXED);
}

static void *background_run(void *unused) {
    for (;;) {
        os_sleep_ms(__atomic_load_n(&background_period_ms, __ATOMIC_RELAXED));
        pageheap_tick();
    }
    return unused;
}

static bool background_is_wanted;

void background_resume(void) {
    if (background_is_wanted) {
        background_start();
    }
}

// The program's signals are not for this thread.
void background_start(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    background_is_wanted = true;
    if (pthread_attr_init(&attributes) != 0) {
        return;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_create(&thread, &attributes, background_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}
