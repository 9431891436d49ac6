// tag_modules.c - three modules, one of which leaks: its line is in the report.
#include <allot_vos.h>
#include <stdio.h>
#include <string.h>

static allot_tag net, store, parse;

static char *read_packet(size_t size_bytes) {
    return VOS_Malloc(size_bytes, net);
}

static char *copy_value(const char *text) {
    char *copy = VOS_Malloc(strlen(text) + 1, store);
    return copy != NULL ? strcpy(copy, text) : NULL;
}

static int parse_line(const char *text) {
    char *word = VOS_Malloc(64, parse);
    if (word == NULL || strlen(text) < 5) {
        return 0;  // and forgets the word
    }
    VOS_Free(word);
    return 1;
}

int main(void) {
    net = VOS_Module("net");
    store = VOS_Module("store");
    parse = VOS_Module("parse");
    char *kept = copy_value("configuration");
    allot_mark();  // what is live from here on should not be
    for (int i = 0; i < 1000; i++) {
        char *packet = read_packet(1500);
        snprintf(packet, 1500, "%s", i % 100 == 99 ? "bad" : "a good line");
        parse_line(packet);
        VOS_Free(packet);
    }
    fflush(stdout);
    uint64_t blocks = allot_leaks(1, ALLOT_LEAKS_GROWN);
    VOS_Free(kept);
    return blocks == 10 ? 0 : 1;
}
