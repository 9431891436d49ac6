// stats.h - figures for people and programs.                               layer 7
#ifndef ALLOT_API_STATS_H
#define ALLOT_API_STATS_H

// As the option `stats` demands: opens what will be written to, and writes the
// first line. Once, after options_init.
void stats_open(void);

// Writes the statistics of a process that ends.
void stats_close(void);

// A readable table on a file descriptor.
void stats_print(int fd);

#endif
