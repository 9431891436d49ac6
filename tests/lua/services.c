// services.c - states as services: they pass from thread to thread, send each other messages
// that the receiver frees, and start many at a time.
#include "state.h"

#include <pthread.h>
#include <stdatomic.h>

enum { WORKERS = 4, SERVICES = 24, MANY = 1000 };

// A block of malloc: the sender's heap may end before it is read.
struct message {
    struct message *next;
    char text[64];
};

static struct service {
    lua_State *L;
    _Atomic(bool) is_busy;
    _Atomic(struct message *) inbox;
} service[SERVICES];

static _Atomic(unsigned) sent;

static const char service_script[] =
    "local seen, kept = 0, {} "
    "function receive(text) seen = seen + 1 kept[seen % 100] = text .. seen"
    "  return ({text = text, reply = text:upper()}).reply end "
    "function total() return seen end";

static void push_message(struct service *to, const char *text) {
    struct message *message = allot_malloc(sizeof *message);
    CHECK(message != NULL);
    snprintf(message->text, sizeof message->text, "%.60s", text);
    message->next = atomic_load(&to->inbox);
    while (!atomic_compare_exchange_weak(&to->inbox, &message->next, message)) {
    }
    atomic_fetch_add(&sent, 1);
}

// Receives all, and sends an answer for every other one.
static void serve(struct service *at, struct check_random *random) {
    struct message *message = atomic_exchange(&at->inbox, NULL);
    bool answers = true;
    while (message != NULL) {
        struct message *next = message->next;
        lua_getglobal(at->L, "receive");
        lua_pushstring(at->L, message->text);
        CHECK_INT(lua_pcall(at->L, 1, 1, 0), ==, 0);
        if (answers) {
            push_message(&service[check_random_below(random, SERVICES)], lua_tostring(at->L, -1));
        }
        answers = !answers;
        lua_pop(at->L, 1);
        allot_free(message);
        message = next;
    }
}

static void *work(void *context) {
    struct check_random random = {check_seed() + *(unsigned *)context};
    for (unsigned step = 0; step < (CHECK_TSAN ? 5000 : 60000); step++) {
        struct service *at = &service[check_random_below(&random, SERVICES)];
        if (atomic_exchange(&at->is_busy, true)) {
            continue;
        }
        allot_heap *heap = allot_lua_heap(at->L);
        CHECK_INT(allot_heap_adopt(heap), ==, 0);
        serve(at, &random);
        push_message(&service[check_random_below(&random, SERVICES)], "hello");
        CHECK_INT(allot_heap_disown(heap), ==, 0);
        atomic_store(&at->is_busy, false);
    }
    return NULL;
}

static void in_workers(void *(*run_worker)(void *)) {
    static unsigned number[WORKERS];
    pthread_t worker[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        number[i] = i;
        CHECK_INT(pthread_create(&worker[i], NULL, run_worker, &number[i]), ==, 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        CHECK_INT(pthread_join(worker[i], NULL), ==, 0);
    }
}

static unsigned total_of(lua_State *L) {
    lua_getglobal(L, "total");
    CHECK_INT(lua_pcall(L, 0, 1, 0), ==, 0);
    return (unsigned)lua_tointeger(L, -1);
}

static void states_pass_between_threads_and_send_messages(void) {
    for (unsigned i = 0; i < SERVICES; i++) {
        struct allot_lua_options options = options_of(0, i % 2 == 0);
        service[i].L = open_state(&options);
        run(service[i].L, service_script);
        CHECK_INT(allot_heap_disown(allot_lua_heap(service[i].L)), ==, 0);
    }
    in_workers(work);
    unsigned received = 0;
    for (unsigned i = 0; i < SERVICES; i++) {
        CHECK_INT(allot_heap_adopt(allot_lua_heap(service[i].L)), ==, 0);
        received += total_of(service[i].L);
        for (struct message *at = atomic_load(&service[i].inbox); at != NULL;) {
            struct message *next = at->next;
            allot_free(at);
            at = next;
            received++;
        }
        const struct allot_lua_counts *counts = allot_lua_counts_of(service[i].L);
        size_t sum = 0;
        for (int type = 0; counts != NULL && type < ALLOT_LUA_TYPES; type++) {
            sum += counts->live_bytes[type];
        }
        CHECK(counts == NULL || sum == bytes_of(service[i].L));
        CHECK_INT(allot_lua_close(service[i].L), ==, 0);
    }
    CHECK_UINT(received, ==, atomic_load(&sent));
}

static lua_State *many[MANY];

static void *start_many(void *context) {
    unsigned number = *(unsigned *)context;
    for (unsigned i = number; i < MANY; i += WORKERS) {
        struct allot_lua_options options = options_of(8 * MIB, false);
        options.reserve_bytes = 1 * MIB;
        options.name = "service";
        many[i] = open_state(&options);
        run(many[i], service_script);
        CHECK_INT(allot_heap_disown(allot_lua_heap(many[i])), ==, 0);
    }
    return NULL;
}

// Those that another worker has started.
static void *stop_many(void *context) {
    unsigned number = (*(unsigned *)context + 1) % WORKERS;
    for (unsigned i = number; i < MANY; i += WORKERS) {
        CHECK_INT(allot_lua_close(many[i]), ==, 0);
    }
    return NULL;
}

static void a_thousand_services_start_at_once(void) {
    struct allot_lua_options options = options_of(0, false);
    CHECK_INT(allot_lua_close(open_state(&options)), ==, 0);  // or skips
    in_workers(start_many);
    for (unsigned i = 0; i < MANY; i++) {
        struct allot_heap_stats stats = stats_of(allot_lua_heap(many[i]));
        CHECK_UINT(stats.reserve_bytes, ==, 1 * MIB);
        CHECK_UINT(stats.live_bytes, <, 128 * KIB);
        CHECK_TEXT(stats.name, "service");
    }
    in_workers(stop_many);
}

int main(int argc, char **argv) {
    static const struct check_case cases[] = {
        CHECK_CASE(states_pass_between_threads_and_send_messages),
        CHECK_CASE(a_thousand_services_start_at_once),
    };
    check_seed();  // before there are threads
    return check_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
