// pressure.h - what the kernel says of memory limits, in text.             layer 1
//
// /proc/self/cgroup names the process's group, /proc/self/mountinfo where groups
// are mounted; the group's directory has the files. Version 2 has one hierarchy,
// version 1 one for memory.
#ifndef ALLOT_OS_PRESSURE_H
#define ALLOT_OS_PRESSURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PRESSURE_PATH_BYTES = 1024 };

enum pressure_version { PRESSURE_NONE = 0, PRESSURE_V1 = 1, PRESSURE_V2 = 2 };

// Where the files of the process's group are; `path` grows step by step.
struct pressure_group {
    enum pressure_version version;
    bool is_mounted;
    char path[PRESSURE_PATH_BYTES];  // in the hierarchy; once mounted, the directory
};

// A line of /proc/self/cgroup. A group for memory of version 1 comes before one of
// version 2, which then has no memory.
void pressure_read_group(struct pressure_group *group, const char *line);

// A line of /proc/self/mountinfo: if the group is mounted there, path is its
// directory.
void pressure_read_mount(struct pressure_group *group, const char *line);

// A file with one number of bytes. "max", and in version 1 what cannot be reached,
// is PRESSURE_UNLIMITED. False: no such text.
#define PRESSURE_UNLIMITED UINT64_MAX
bool pressure_read_bytes(uint64_t *bytes, const char *text);

// A pressure file (PSI): avg10 of the lines `some` and `full` in hundredths of a
// percent. False: no such text, and nothing has changed.
bool pressure_read_stall(uint32_t *some, uint32_t *full, const char *text);

// The number in a line "word number" of memory.stat; 0: no such line.
uint64_t pressure_read_stat(const char *text, const char *word);

struct pressure {
    bool has_limit, has_used, has_stall;
    uint64_t limit_bytes, used_bytes;
    uint32_t some_avg10, full_avg10;
};

// Reads the files. 0, or an errno value: there is no /proc.
int pressure_read(struct pressure *pressure);

// Whether less than a tenth of the group's limit is left. Pages of files count as left: the
// kernel drops them first. Looks at four files, or at six the first time, at most once a
// second, and every 30 seconds where there is no limit; in between, and while another
// thread looks, the answer is the last one. Needs little of the caller's stack.
bool pressure_is_near(void);

// In the child of a fork.
void pressure_repair(void);

#endif
