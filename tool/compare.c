// compare.c - see compare.h.

#include "compare.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static const struct {
    const char *title;
    const char *key;
    enum quantity quantity;
} compare_figures[COMPARE_FIGURES] = {
    [COMPARE_WALL] = {"wall", "wall_ns", QUANTITY_NS},
    [COMPARE_CPU] = {"CPU", "cpu_ns", QUANTITY_NS},
    [COMPARE_PEAK] = {"peak resident", "peak_resident_bytes", QUANTITY_BYTES},
    [COMPARE_FAULTS] = {"page faults", "page_faults", QUANTITY_COUNT},
};

enum verdict { VERDICT_NONE, VERDICT_WIN, VERDICT_LOSS, VERDICT_EQUAL, VERDICT_FEW };

static const char *const compare_verdict_names[] = {
    [VERDICT_NONE] = "none",   [VERDICT_WIN] = "win",       [VERDICT_LOSS] = "loss",
    [VERDICT_EQUAL] = "equal", [VERDICT_FEW] = "unclaimed",
};

// ---- Summaries ---------------------------------------------------------------

static int compare_order(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static struct compare_summary compare_summarize_values(uint64_t *values, size_t count) {
    struct compare_summary summary = {0};

    if (count > 0) {
        qsort(values, count, sizeof *values, compare_order);
        summary.low = values[0];
        summary.high = values[count - 1];
        summary.median = count % 2 != 0
                             ? values[count / 2]
                             : values[count / 2 - 1] / 2 + values[count / 2] / 2 +
                                   (values[count / 2 - 1] % 2 + values[count / 2] % 2) / 2;
    }
    return summary;
}

// What is odd about how the runs ended: under one allocator, under all, or
// compared with the first of each allocator.
static void compare_summarize_ends(struct comparison *comparison) {
    comparison->has_failed = true;
    for (size_t i = 0; i < comparison->contender_count; i++) {
        struct compare_contender *contender = &comparison->contenders[i];
        size_t changed_count = 0;

        for (size_t j = 0; j < contender->sample_count; j++) {
            int status = contender->samples[j].status;

            comparison->has_failed &= status != 0;
            changed_count += status != contender->first_status;
            if (status != comparison->usual_status) {
                contender->odd_count++;
                contender->odd_status = status;
            }
        }
        comparison->is_changed |= changed_count > 0 && changed_count == contender->sample_count;
    }
}

void compare_summarize(struct comparison *comparison) {
    uint64_t *values = calloc(comparison->run_count, sizeof *values);

    comparison->usual_status = comparison->contenders[0].samples[0].status;
    for (size_t i = 0; i < comparison->contender_count; i++) {
        if (strcmp(comparison->contenders[i].library.name, "glibc") == 0) {
            comparison->usual_status = comparison->contenders[i].samples[0].status;
        }
    }
    compare_summarize_ends(comparison);
    for (size_t i = 0; values != NULL && i < comparison->contender_count; i++) {
        struct compare_contender *contender = &comparison->contenders[i];

        for (size_t figure = 0; figure < COMPARE_FIGURES; figure++) {
            for (size_t j = 0; j < contender->sample_count; j++) {
                values[j] = contender->samples[j].figures[figure];
            }
            contender->summaries[figure] =
                compare_summarize_values(values, contender->sample_count);
        }
    }
    free(values);
}

// ---- Verdicts ----------------------------------------------------------------

static const struct compare_contender *compare_find_allot(const struct comparison *comparison) {
    for (size_t i = 0; i < comparison->contender_count; i++) {
        if (strcmp(comparison->contenders[i].library.name, "allot") == 0) {
            return &comparison->contenders[i];
        }
    }
    return NULL;
}

// The lowest median among the others whose runs all ended as usual.
static const struct compare_contender *compare_find_best_other(const struct comparison *comparison,
                                                               size_t figure) {
    const struct compare_contender *allot = compare_find_allot(comparison);
    const struct compare_contender *best = NULL;

    for (size_t i = 0; i < comparison->contender_count; i++) {
        const struct compare_contender *contender = &comparison->contenders[i];

        if (contender != allot && contender->odd_count == 0 &&
            (best == NULL ||
             contender->summaries[figure].median < best->summaries[figure].median)) {
            best = contender;
        }
    }
    return best;
}

// A win or a loss is claimed where the ranges of all runs do not meet.
static enum verdict compare_judge(const struct comparison *comparison, size_t figure,
                                  const struct compare_contender *best) {
    const struct compare_contender *allot = compare_find_allot(comparison);

    if (allot == NULL || allot->odd_count > 0 || best == NULL || comparison->has_failed) {
        return VERDICT_NONE;
    }
    if (comparison->run_count < COMPARE_CLAIM_RUNS) {
        return VERDICT_FEW;
    }
    if (allot->summaries[figure].high < best->summaries[figure].low) {
        return VERDICT_WIN;
    }
    if (allot->summaries[figure].low > best->summaries[figure].high) {
        return VERDICT_LOSS;
    }
    return VERDICT_EQUAL;
}

static void compare_print_verdict(const struct comparison *comparison, const struct paper *paper,
                                  size_t figure) {
    const struct compare_contender *best = compare_find_best_other(comparison, figure);
    const struct compare_contender *allot = compare_find_allot(comparison);
    enum verdict verdict = compare_judge(comparison, figure, best);
    enum quantity quantity = compare_figures[figure].quantity;
    enum style style = verdict == VERDICT_WIN    ? STYLE_GOOD
                       : verdict == VERDICT_LOSS ? STYLE_BAD
                                                 : STYLE_DIM;
    double ours = (double)allot->summaries[figure].median;
    double theirs = (double)best->summaries[figure].median;

    fprintf(paper->file, "  %-14s %s%-6s%s %s against %s of %s", compare_figures[figure].title,
            print_on(paper, style), compare_verdict_names[verdict], print_off(paper),
            print_number(quantity, allot->summaries[figure].median).chars,
            print_number(quantity, best->summaries[figure].median).chars, best->library.name);
    if (verdict == VERDICT_EQUAL) {
        fputs(", and the ranges overlap", paper->file);
    } else if (theirs > 0) {
        fprintf(paper->file, ": %.1f %% %s",
                100 * (ours < theirs ? theirs - ours : ours - theirs) / theirs,
                ours < theirs ? "less" : "more");
    }
    fputc('\n', paper->file);
}

static void compare_print_verdicts(const struct comparison *comparison, const struct paper *paper) {
    const struct compare_contender *allot = compare_find_allot(comparison);

    if (allot == NULL) {
        return;
    }
    if (comparison->contender_count == 1) {
        fputs("\nNo verdict: there is nothing to compare allot with.\n", paper->file);
        return;
    }
    if (comparison->has_failed) {
        fputs("\nNo verdict: no counted run succeeded.\n", paper->file);
        return;
    }
    if (compare_find_best_other(comparison, 0) == NULL) {
        return;
    }
    if (allot->odd_count > 0) {
        fputs("\nNo verdict: allot's runs did not all end as the others did.\n", paper->file);
        return;
    }
    if (comparison->run_count < COMPARE_CLAIM_RUNS) {
        fprintf(paper->file, "\nNo verdict from %zu run%s: take -n %d or more.\n",
                comparison->run_count, comparison->run_count == 1 ? "" : "s", COMPARE_CLAIM_RUNS);
        return;
    }
    fprintf(paper->file, "\n%sallot against the best other%s\n", print_on(paper, STYLE_BOLD),
            print_off(paper));
    for (size_t figure = 0; figure < COMPARE_FIGURES; figure++) {
        compare_print_verdict(comparison, paper, figure);
    }
}

// ---- The table ---------------------------------------------------------------

struct compare_widths {
    int name;
    int number[COMPARE_FIGURES];
    int range[COMPARE_FIGURES];
};

static int compare_longer(int width, const char *text) {
    int length = (int)strlen(text);

    return length > width ? length : width;
}

static struct text compare_range(const struct compare_summary *summary, size_t figure) {
    return print_range(compare_figures[figure].quantity, summary->median, summary->low,
                       summary->high);
}

static struct compare_widths compare_measure(const struct comparison *comparison) {
    struct compare_widths widths = {0};

    for (size_t i = 0; i < comparison->contender_count; i++) {
        const struct compare_contender *contender = &comparison->contenders[i];

        widths.name = compare_longer(widths.name, contender->library.name);
        for (size_t figure = 0; figure < COMPARE_FIGURES; figure++) {
            const struct compare_summary *summary = &contender->summaries[figure];

            widths.number[figure] = compare_longer(
                widths.number[figure],
                print_number(compare_figures[figure].quantity, summary->median).chars);
            widths.range[figure] =
                compare_longer(widths.range[figure], compare_range(summary, figure).chars);
        }
    }
    for (size_t figure = 0; figure < COMPARE_FIGURES; figure++) {
        int title = (int)strlen(compare_figures[figure].title);

        if (widths.number[figure] + 2 + widths.range[figure] < title) {
            widths.range[figure] = title - widths.number[figure] - 2;
        }
    }
    return widths;
}

static bool compare_is_best(const struct comparison *comparison,
                            const struct compare_contender *contender, size_t figure) {
    const struct compare_contender *best = compare_find_best_other(comparison, figure);
    const struct compare_contender *allot = compare_find_allot(comparison);

    if (allot != NULL && allot->odd_count == 0 &&
        (best == NULL || allot->summaries[figure].median <= best->summaries[figure].median)) {
        best = allot;
    }
    return contender == best;
}

static void compare_print_row(const struct comparison *comparison,
                              const struct compare_contender *contender, const struct paper *paper,
                              const struct compare_widths *widths, const size_t figures[2]) {
    fprintf(paper->file, "  %-*s", widths->name, contender->library.name);
    if (contender->odd_count > 0) {
        fprintf(paper->file, "  %s%s in %zu of %zu runs%s\n", print_on(paper, STYLE_BAD),
                print_status(contender->odd_status).chars, contender->odd_count,
                contender->sample_count, print_off(paper));
        return;
    }
    for (size_t figure = figures[0]; figure < figures[1]; figure++) {
        const struct compare_summary *summary = &contender->summaries[figure];
        bool is_best = compare_is_best(comparison, contender, figure);

        fprintf(paper->file, "   %s%*s%s  %s%-*s%s", is_best ? print_on(paper, STYLE_GOOD) : "",
                widths->number[figure],
                print_number(compare_figures[figure].quantity, summary->median).chars,
                is_best ? print_off(paper) : "", print_on(paper, STYLE_DIM),
                figure + 1 < figures[1] ? widths->range[figure] : 0,
                compare_range(summary, figure).chars, print_off(paper));
    }
    fputc('\n', paper->file);
}

static void compare_print_block(const struct comparison *comparison, const struct paper *paper,
                                const struct compare_widths *widths, const size_t figures[2]) {
    fprintf(paper->file, "\n  %*s", widths->name, "");
    for (size_t figure = figures[0]; figure < figures[1]; figure++) {
        bool is_last = figure + 1 == figures[1];

        fprintf(paper->file, "   %s%-*s%s", print_on(paper, STYLE_BOLD),
                is_last ? 0 : widths->number[figure] + 2 + widths->range[figure],
                compare_figures[figure].title, print_off(paper));
    }
    fputc('\n', paper->file);
    for (size_t i = 0; i < comparison->contender_count; i++) {
        compare_print_row(comparison, &comparison->contenders[i], paper, widths, figures);
    }
}

static int compare_columns(const struct paper *paper) {
    struct winsize size;

    return ioctl(fileno(paper->file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                                 : 100;
}

// What makes the figures below doubtful.
static void compare_print_ends(const struct comparison *comparison, const struct paper *paper) {
    if (comparison->is_changed) {
        fprintf(paper->file, "\n%sthe runs differ from the first:%s %s may not be repeatable\n",
                print_on(paper, STYLE_BAD), print_off(paper), comparison->argv[0]);
    }
    if (comparison->has_failed) {
        fprintf(paper->file, "\n%severy counted run failed:%s %s ends with %s\n",
                print_on(paper, STYLE_BAD), print_off(paper), comparison->argv[0],
                print_status(comparison->usual_status).chars);
        if (comparison->last_words[0] != '\0') {
            fprintf(paper->file, "  its last words: %s\n", comparison->last_words);
        }
    }
}

void compare_print_table(const struct comparison *comparison, const struct paper *paper) {
    struct compare_widths widths = compare_measure(comparison);
    int total = 2 + widths.name;

    fprintf(paper->file, "%sallot compare:%s", print_on(paper, STYLE_BOLD), print_off(paper));
    for (char **word = comparison->argv; *word != NULL; word++) {
        fprintf(paper->file, " %s", *word);
    }
    fprintf(paper->file, "\n%zu run%s each, interleaved, after one to warm up: median, and range\n",
            comparison->run_count, comparison->run_count == 1 ? "" : "s");
    compare_print_ends(comparison, paper);
    for (size_t figure = 0; figure < COMPARE_FIGURES; figure++) {
        total += 3 + widths.number[figure] + 2 + widths.range[figure];
    }
    if (total <= compare_columns(paper)) {
        compare_print_block(comparison, paper, &widths, (size_t[]){0, COMPARE_FIGURES});
    } else {
        compare_print_block(comparison, paper, &widths, (size_t[]){COMPARE_WALL, COMPARE_PEAK});
        compare_print_block(comparison, paper, &widths, (size_t[]){COMPARE_PEAK, COMPARE_FIGURES});
    }
    if (comparison->usual_status != 0 && !comparison->has_failed) {
        fprintf(paper->file, "\n%s%s ends with %s.%s\n", print_on(paper, STYLE_BAD),
                comparison->argv[0], print_status(comparison->usual_status).chars,
                print_off(paper));
    }
    compare_print_verdicts(comparison, paper);
}

// ---- JSON --------------------------------------------------------------------

static json_t *compare_json_sample(const struct compare_sample *sample) {
    bool is_signalled = WIFSIGNALED(sample->status);
    json_t *object =
        json_pack("{s:o, s:o}", "exit_status",
                  is_signalled ? json_null() : json_integer(WEXITSTATUS(sample->status)), "signal",
                  is_signalled ? json_integer(WTERMSIG(sample->status)) : json_null());

    for (size_t figure = 0; figure < COMPARE_FIGURES; figure++) {
        json_object_set_new(object, compare_figures[figure].key,
                            json_integer((json_int_t)sample->figures[figure]));
    }
    return object;
}

static json_t *compare_json_contender(const struct compare_contender *contender) {
    const char *path = contender->library.path;
    json_t *samples = json_array();
    json_t *summaries = json_object();

    for (size_t i = 0; i < contender->sample_count; i++) {
        json_array_append_new(samples, compare_json_sample(&contender->samples[i]));
    }
    for (size_t figure = 0; figure < COMPARE_FIGURES; figure++) {
        const struct compare_summary *summary = &contender->summaries[figure];

        json_object_set_new(summaries, compare_figures[figure].key,
                            json_pack("{s:I, s:I, s:I}", "median", (json_int_t)summary->median,
                                      "min", (json_int_t)summary->low, "max",
                                      (json_int_t)summary->high));
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "name", contender->library.name, "library",
                     *path == '\0' ? json_null() : json_string(path), "summary", summaries, "runs",
                     samples);
}

static json_t *compare_json_verdict(const struct comparison *comparison, size_t figure) {
    const struct compare_contender *best = compare_find_best_other(comparison, figure);

    return json_pack("{s:s, s:s, s:o}", "figure", compare_figures[figure].key, "verdict",
                     compare_verdict_names[compare_judge(comparison, figure, best)], "best_other",
                     best == NULL ? json_null() : json_string(best->library.name));
}

int compare_print_json(const struct comparison *comparison, const struct paper *paper) {
    json_t *contenders = json_array();
    json_t *verdicts = json_array();
    json_t *object;
    int failed;

    for (size_t i = 0; i < comparison->contender_count; i++) {
        json_array_append_new(contenders, compare_json_contender(&comparison->contenders[i]));
    }
    for (size_t figure = 0; figure < COMPARE_FIGURES; figure++) {
        json_array_append_new(verdicts, compare_json_verdict(comparison, figure));
    }
    object =
        json_pack("{s:o, s:I, s:b, s:b, s:o, s:o}", "program", print_json_words(comparison->argv),
                  "run_count", (json_int_t)comparison->run_count, "all_failed",
                  comparison->has_failed, "differs_from_first", comparison->is_changed,
                  "allocators", contenders, "verdicts", verdicts);
    failed = object == NULL ? -1 : json_dumpf(object, paper->file, JSON_INDENT(2));
    fputc('\n', paper->file);
    json_decref(object);
    return failed;
}
