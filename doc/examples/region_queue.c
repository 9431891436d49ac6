// region_queue.c - a child leaves messages in memory that it shares with its parent.
//
// What one message says of the next is an offset: another process may map the region elsewhere.
#include <allot.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REGION_BYTES = 1 << 20, MESSAGES = 3 };

struct message {
    uint64_t next;  // offset; 0: the last
    char text[40];
};

static int leave_messages(void *region) {
    allot_region_pool *pool = allot_region_pool_open(region, REGION_BYTES);
    uint64_t next = 0;
    for (int i = MESSAGES; i > 0; i--) {
        struct message *message = allot_region_pool_calloc(pool, 1, sizeof *message);
        if (message == NULL) {
            return 1;
        }
        message->next = next;
        snprintf(message->text, sizeof message->text, "message %d of the child", i);
        next = allot_region_pool_offset(pool, message);
    }
    return allot_region_pool_set_root(pool, allot_region_pool_at(pool, next)) != 0;
}

int main(void) {
    void *region =
        mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED) {
        return 1;
    }
    allot_region_pool *pool = allot_region_pool_create(region, REGION_BYTES);
    if (pool == NULL) {
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        _exit(leave_messages(region));
    }
    int status = -1;
    waitpid(child, &status, 0);

    int count = 0;
    struct message *message = allot_region_pool_root(pool);
    while (message != NULL) {
        struct message *next = allot_region_pool_at(pool, message->next);
        printf("%s\n", message->text);
        count += allot_region_pool_free(pool, message) == 0;
        message = next;
    }
    struct allot_region_pool_stats stats = {.size_bytes = sizeof stats};
    allot_region_pool_stats(pool, &stats);
    printf("%" PRIu64 " blocks live, %" PRIu64 " of %" PRIu64 " bytes free\n", stats.live_blocks,
           stats.free_bytes, stats.region_bytes);
    return status == 0 && count == MESSAGES && stats.live_blocks == 0 ? 0 : 1;
}
