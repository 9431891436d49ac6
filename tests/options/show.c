// show.c - prints every option in force as name=value. The environment is judged by environment.py,
// which starts this program. With LINK_DEFAULTS it brings defaults of its own.
//
//   show [work]     work: some blocks are allocated, kept and freed before
#include "../support/api.h"
#include "../support/check.h"
#include "table.h"

#ifdef LINK_DEFAULTS
const char *allot_defaults = LINK_DEFAULTS;
#endif

static void work(void) {
    static void *blocks[1000];
    for (size_t i = 0; i < 1000; i++) {
        blocks[i] = api_malloc(100 + i);
        memset(blocks[i], 1, 100 + i);
    }
    for (size_t i = 0; i < 900; i++) {
        api_free(blocks[i]);
    }
    api_free(api_malloc(3 << 20));
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "work") == 0) {
        work();
    }
    for (size_t i = 0; i < TABLE_OPTION_COUNT; i++) {
        char value[256];
        CHECK_INT(allot_get(table_options[i].name, value, sizeof(value)), >=, 0);
        printf("%s=%s\n", table_options[i].name, value);
    }
    return 0;
}
