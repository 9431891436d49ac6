// background.h - the optional purge thread.                                layer 5
//
// Off by default: an idle process has given back what it freed already, except
// for the dirty limit. With it, that goes back too while the process sleeps.
#ifndef ALLOT_HEAP_BACKGROUND_H
#define ALLOT_HEAP_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

void background_set_period(uint64_t period_ms);

// What a turn of the thread does besides; before it is started.
typedef void background_turn(void);
void background_set_turn(background_turn *turn);

// Starts the thread, if it does not run. False without memory or permission for it.
bool background_start(void);

// It ends within a period.
void background_stop(void);

bool background_is_running(void);

// In the child of a fork: starts it again, if it was started before.
void background_resume(void);

#endif
