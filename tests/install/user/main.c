// main.c - a program that is linked with allot: malloc is replaced and its default is in force.
#include <allot.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *allot_defaults = "purge_delay=1234ms";

int main(void) {
    char value[64];
    char *block = malloc(100);
    if (block == NULL || !allot_is_active() || allot_usable_size(block) < 100) {
        fputs("malloc is not the one of allot\n", stderr);
        return 1;
    }
    free(block);
    if (allot_get("purge_delay", value, sizeof value) < 0 || strcmp(value, "1234ms") != 0) {
        fprintf(stderr, "purge_delay is %s, not 1234ms\n", value);
        return 1;
    }
    return 0;
}
