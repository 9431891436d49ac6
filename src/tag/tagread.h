// tagread.h - figures of tags and sites, leaks.                            layer 6
#ifndef ALLOT_TAG_TAGREAD_H
#define ALLOT_TAG_TAGREAD_H

#include "allot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Finds out how much memory the blocks of each account keep in use; nobody else does
// until tagread_end. Cost: all slabs. tagread_hold adds what blocks elsewhere keep.
void tagread_begin(void);
void tagread_hold(uint32_t account, uint64_t bytes);
void tagread_end(void);

// Between the two, before tagread_tag: adds up what is live below one tag, or all.
void tagread_add_tree(uint32_t tag);
void tagread_add_trees(void);

// In the child of a fork.
void tagread_repair(void);

// Between the two. The tag or the site exists.
void tagread_tag(uint32_t tag, struct allot_tag_stats *stats);
void tagread_site(uint32_t account, struct allot_site_stats *stats);
void tagread_print(int fd);

void tagread_mark(void);

// `quiet` has names with : between them.
uint64_t tagread_leaks(int fd, unsigned flags, const char *quiet);

// At the end of the process; `where` is "off", "exit" or "exit:FILE".
void tagread_close(const char *where, const char *quiet);

#endif
