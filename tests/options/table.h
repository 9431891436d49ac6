// table.h - the options as options.def lists them, for tests.
#ifndef TESTS_OPTIONS_TABLE_H
#define TESTS_OPTIONS_TABLE_H

#include <stdbool.h>

static const struct table_option {
    const char *name;
    const char *kind;
    const char *initial;
    bool is_settable;
    const char *values;
} table_options[] = {
#define ALLOT_OPTION(field, kind, initial, is_settable, values, purpose) \
    {#field, #kind, initial, is_settable, values},
#include "../../src/api/options.def"
#undef ALLOT_OPTION
};

#define TABLE_OPTION_COUNT (sizeof(table_options) / sizeof(table_options[0]))

#endif
