// compare.h - the measurements of `allot compare`, between the part that takes
// them and the part that reports them.
#ifndef TOOL_COMPARE_H
#define TOOL_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "library.h"
#include "print.h"

enum compare_figure { COMPARE_WALL, COMPARE_CPU, COMPARE_PEAK, COMPARE_FAULTS, COMPARE_FIGURES };

// Two groups of 4 that have the same distribution lie apart in 1 of 35 cases,
// groups of 3 in 1 of 10: from 4 runs on, a difference is claimed.
enum { COMPARE_CLAIM_RUNS = 4 };

struct compare_sample {
    uint64_t figures[COMPARE_FIGURES];
    int status;  // as from wait
};

struct compare_summary {
    uint64_t median;
    uint64_t low;
    uint64_t high;
};

struct compare_contender {
    struct library library;
    char *preload;       // "LD_PRELOAD=...", NULL for none
    char **environment;  // to run the program with
    struct compare_sample *samples;
    size_t sample_count;
    int first_status;  // of the run that warmed up
    size_t odd_count;  // samples whose status is not the usual one
    int odd_status;    // of one of them
    struct compare_summary summaries[COMPARE_FIGURES];
};

struct comparison {
    char **argv;
    size_t run_count;
    struct compare_contender contenders[LIBRARY_COUNT_MAX];
    size_t contender_count;
    int usual_status;      // of the C library's malloc, or of the first contender
    bool has_failed;       // in every counted run
    bool is_changed;       // a contender's counted runs all ended otherwise than its first
    char last_words[200];  // of the last run that warmed up, on stderr; "" if unknown
};

// Fill the summaries and what concerns the status.
void compare_summarize(struct comparison *comparison);

void compare_print_table(const struct comparison *comparison, const struct paper *paper);

// 0, or -1 where it could not be written.
int compare_print_json(const struct comparison *comparison, const struct paper *paper);

#endif
