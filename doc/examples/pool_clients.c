// pool_clients.c - a server that knows how many clients it has: all of their memory is there from
// the beginning, and a burst of more gets its own for as long as it lasts.
#include <allot.h>
#include <stdio.h>

enum { CLIENTS = 10000, BURST = 15000 };

struct client {
    char key[64];
    char value[4032];
};

static void *client[BURST];

static void say(const char *when, const allot_pool *pool) {
    struct allot_pool_stats stats = {.size_bytes = sizeof stats};
    allot_pool_stats(pool, &stats);
    printf("%-7s %5d clients, room for %5d, %3d MiB held\n", when, (int)stats.live_count,
           (int)stats.capacity_count, (int)(stats.held_bytes >> 20));
}

int main(void) {
    struct allot_pool_options options = {.size_bytes = sizeof options};
    options.object_bytes = sizeof(struct client);
    options.count = CLIENTS;
    options.limit_count = BURST;
    options.prefault = true;
    allot_pool *pool = allot_pool_create(&options);
    if (pool == NULL) {
        return 1;
    }
    say("start:", pool);
    size_t count = allot_pool_take_many(pool, client, BURST);
    say("burst:", pool);
    void *refused = allot_pool_take(pool);
    allot_pool_give_many(pool, client, count);
    say("end:", pool);
    allot_pool_destroy(pool);
    return count != BURST || refused != NULL;
}
