// lib_audit.c - an auditing library (see rtld-audit(7)) that watches and does nothing.
#define _GNU_SOURCE
#include <link.h>

unsigned la_version(unsigned version) {
    return version;
}

unsigned la_objopen(struct link_map *map, Lmid_t lmid, uintptr_t *cookie) {
    (void)map;
    (void)lmid;
    (void)cookie;
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
