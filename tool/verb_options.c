// verb_options.c - `allot options`: the table of options, with their values.
//
// The value in force is asked of the library itself, which reads the
// environment by its own rules and reports what is wrong with it. Where the
// library is not found, the text of the environment is shown.

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"
#include "print.h"
#include "verb.h"

struct option_line {
    const char *name;
    const char *kind;
    const char *default_text;
    bool is_settable;
    const char *allowed;
    const char *meaning;
};

#define ALLOT_OPTION(field, kind, default_text, settable, values, text) \
    {#field, #kind, default_text, settable, values, text},

static const struct option_line options_table[] = {
#include "options.def"
};

enum { OPTIONS_COUNT = sizeof options_table / sizeof *options_table, OPTIONS_VALUE_BYTES = 4096 };

typedef int (*options_get)(const char *name, char *value, size_t value_bytes);

struct options {
    bool is_json;
    const char *given_library;
    const char *only;  // one option, or NULL
    options_get get;   // NULL without the library
};

static const struct argp_option options_options[] = {
    {"json", 'j', NULL, 0, "Print a JSON array instead of the table", 0},
    {"lib", 'l', "PATH", 0, "Ask this library for the values, not the one beside this command", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1},
    {0},
};

static error_t options_parse(int key, char *value, struct argp_state *state) {
    struct options *options = state->input;

    switch (key) {
    case 'j': options->is_json = true; return 0;
    case 'l': options->given_library = value; return 0;
    case 'h': argp_state_help(state, stdout, ARGP_HELP_STD_HELP); return 0;
    case ARGP_KEY_ARG:
        if (options->only != NULL) {
            argp_error(state, "name one option, or none to see all");
        }
        options->only = value;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp options_argp = {
    .options = options_options,
    .parser = options_parse,
    .args_doc = "[OPTION]",
    .doc = "List the options of the library with the values that the present environment gives "
           "them."
           "\v"
           "A program takes its options from the environment (ALLOT_PURGE_DELAY=1s), from "
           "allot_set(\"purge_delay\", \"1s\"), or from allot_defaults when it is linked.",
};

// "purge_delay" -> "ALLOT_PURGE_DELAY".
static struct text options_variable(const char *name) {
    struct text out;
    size_t at = (size_t)snprintf(out.chars, sizeof out.chars, "ALLOT_");

    for (; *name != '\0' && at + 1 < sizeof out.chars; name++) {
        out.chars[at++] = (char)toupper((unsigned char)*name);
    }
    out.chars[at] = '\0';
    return out;
}

static void options_find_library(struct options *options) {
    char path[PATH_MAX];
    void *library;

    if (options->given_library != NULL && library_check(path, options->given_library) != NULL) {
        print_note("%s %s: values are shown as the environment has them, unchecked",
                   options->given_library, library_check(path, options->given_library));
        return;
    }
    if (!library_find_allot(path, options->given_library)) {
        print_note("cannot find " LIBRARY_ALLOT_SONAME ": values are shown as the environment has "
                   "them, unchecked");
        return;
    }
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) {
        void *symbol = dlsym(library, "allot_get");

        memcpy(&options->get, &symbol, sizeof symbol);
    }
    if (options->get == NULL) {
        print_note("cannot ask %s for the values: %s", path, dlerror());
    }
}

static const char *options_value(const struct options *options, const struct option_line *line,
                                 char value[OPTIONS_VALUE_BYTES]) {
    const char *variable = getenv(options_variable(line->name).chars);

    if (options->get != NULL && options->get(line->name, value, OPTIONS_VALUE_BYTES) >= 0) {
        return value;
    }
    return variable == NULL ? line->default_text : variable;
}

// The meaning, in lines of at most 80 columns.
static void options_print_meaning(const struct option_line *line, const struct paper *paper) {
    enum { INDENT = 4, COLUMNS = 80 };
    char text[512];
    char *rest = text;
    char *word;
    size_t column = COLUMNS;

    snprintf(text, sizeof text, "%s%s", line->meaning, line->is_settable ? "" : " Only at start.");
    fputs(print_on(paper, STYLE_DIM), paper->file);
    while ((word = strsep(&rest, " ")) != NULL) {
        size_t length = strlen(word);

        if (column + 1 + length > COLUMNS) {
            fprintf(paper->file, "%s%*s%s", word == text ? "" : "\n", INDENT, "", word);
            column = INDENT + length;
        } else {
            fprintf(paper->file, " %s", word);
            column += 1 + length;
        }
    }
    fprintf(paper->file, "%s\n", print_off(paper));
}

static void options_print_line(const struct options *options, const struct option_line *line,
                               const struct paper *paper) {
    char room[OPTIONS_VALUE_BYTES];
    const char *value = options_value(options, line, room);
    bool is_changed = strcmp(value, line->default_text) != 0;

    fprintf(paper->file, "%s%-20s%s  %s%-10s%s  %-10s  %s\n", print_on(paper, STYLE_BOLD),
            options_variable(line->name).chars, print_off(paper),
            is_changed ? print_on(paper, STYLE_GOOD) : "", value,
            is_changed ? print_off(paper) : "", line->default_text, line->allowed);
    options_print_meaning(line, paper);
}

static int options_print_json(const struct options *options, const struct paper *paper) {
    json_t *array = json_array();
    int failed;

    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option_line *line = &options_table[i];
        char room[OPTIONS_VALUE_BYTES];

        if (options->only == NULL || strcmp(options->only, line->name) == 0) {
            json_array_append_new(
                array, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "name", line->name,
                                 "variable", options_variable(line->name).chars, "kind", line->kind,
                                 "value", options_value(options, line, room), "default",
                                 line->default_text, "allowed", line->allowed, "settable",
                                 line->is_settable, "meaning", line->meaning));
        }
    }
    failed = json_dumpf(array, paper->file, JSON_INDENT(2));
    fputc('\n', paper->file);
    json_decref(array);
    return failed;
}

static void options_print_table(const struct options *options, const struct paper *paper) {
    fprintf(paper->file, "%s%-20s  %-10s  %-10s  %s%s\n", print_on(paper, STYLE_DIM), "VARIABLE",
            "VALUE", "DEFAULT", "ALLOWED", print_off(paper));
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (options->only == NULL || strcmp(options->only, options_table[i].name) == 0) {
            options_print_line(options, &options_table[i], paper);
        }
    }
}

// Turn "ALLOT_PURGE_DELAY" into "purge_delay"; NULL after a message if there is
// no such option.
static const char *options_check_name(const char *given) {
    const char *names[OPTIONS_COUNT + 1] = {NULL};
    static char name[64];
    const char *nearest;
    size_t skip = strncasecmp(given, "ALLOT_", 6) == 0 ? 6 : 0;

    snprintf(name, sizeof name, "%s", given + skip);
    for (char *c = name; *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        names[i] = options_table[i].name;
        if (strcmp(names[i], name) == 0) {
            return names[i];
        }
    }
    nearest = print_nearest(name, names);
    if (nearest != NULL) {
        print_note("there is no option %s; did you mean %s?", given, nearest);
    } else {
        print_note("there is no option %s; `allot options` lists them", given);
    }
    return NULL;
}

int verb_options(int argc, char **argv) {
    struct options options = {0};
    struct paper paper = print_open(NULL, stdout);
    int failed = 0;

    verb_parse(&options_argp, argc, argv, VERB_USAGE, &options);
    if (options.only != NULL) {
        options.only = options_check_name(options.only);
        if (options.only == NULL) {
            return VERB_USAGE;
        }
    }
    options_find_library(&options);
    if (options.is_json) {
        failed = options_print_json(&options, &paper);
    } else {
        options_print_table(&options, &paper);
    }
    if (print_close(&paper) != 0 || failed != 0) {
        print_note("cannot write the table: %s", strerror(errno));
        return VERB_FAILED;
    }
    return 0;
}
