// service.c - what the guide for skynet says, as a program: services with a Lua state and a heap
// each, which two workers take turns to run. The numbers in the comments are those of README.md.
//
//     cc service.c -I/usr/include/lua5.4 -llua5.4 -lallot -lpthread
#include <allot_lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(const char *condition, int line) {
    fprintf(stderr, "service.c:%d: %s is false\n", line, condition);
    exit(1);
}

// (3) What skynet's queue carries: whoever receives it frees it.
struct message {
    char *data;
    size_t size_bytes;
};

enum { TURNS = 1000, SERVICES = 2 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t is_changed;
    lua_State *service[SERVICES];
    struct message message;
    int turn;
    unsigned reports;
} host = {.lock = PTHREAD_MUTEX_INITIALIZER, .is_changed = PTHREAD_COND_INITIALIZER};

// (5) Instead of the error that skynet writes to its log.
static void on_report(allot_heap *heap, size_t live_bytes, void *context) {
    struct allot_heap_stats stats;
    stats.size_bytes = sizeof stats;
    if (allot_heap_stats(heap, &stats)) {
        printf("%s has more than %zu KiB\n", stats.name, live_bytes >> 10);
    }
    ++*(unsigned *)context;
}

// (1) Where snlua calls lua_newstate(lalloc, ...).
static lua_State *service_start(const char *name) {
    struct allot_lua_options options;
    memset(&options, 0, sizeof options);
    options.size_bytes = sizeof options;
    options.name = name;
    options.reserve_bytes = (size_t)1 << 20;
    options.limit_bytes = (size_t)3 << 20;
    options.grace_bytes = 4096;
    options.soft_limit_bytes = (size_t)1 << 20;
    options.report = on_report;
    options.context = &host.reports;
    options.count_types = true;
    lua_State *L = allot_lua_newstate(&options);
    if (L == NULL && errno == ENOTSUP) {
        exit(77);  // LuaJIT without GC64
    }
    MUST(L != NULL);
    luaL_openlibs(L);
    (void)luaL_dostring(L, "if jit then jit.off() end");  // see allot_lua.h on limits
    MUST(luaL_dostring(L, "count = 0 "
                          "function dispatch(text) count = count + 1 return text .. '.' end") == 0);
    MUST(allot_heap_disown(allot_lua_heap(L)) == 0);  // until a worker runs it
    return L;
}

// Runs one message, and makes the next.
static struct message dispatch(lua_State *L, struct message message) {
    struct message answer = {NULL, 0};
    lua_getglobal(L, "dispatch");
    lua_pushlstring(L, message.data, message.size_bytes);
    allot_free(message.data);
    MUST(lua_pcall(L, 1, 1, 0) == 0);
    const char *text = lua_tolstring(L, -1, &answer.size_bytes);
    answer.size_bytes = answer.size_bytes < 100 ? answer.size_bytes : 1;
    answer.data = (char *)allot_malloc(answer.size_bytes);
    MUST(answer.data != NULL);
    memcpy(answer.data, text, answer.size_bytes);
    lua_pop(L, 1);
    return answer;
}

// (2) Around skynet_context_message_dispatch.
static void run_turn(lua_State *L) {
    allot_heap *heap = allot_lua_heap(L);
    MUST(allot_heap_adopt(heap) == 0);
    host.message = dispatch(L, host.message);
    MUST(allot_heap_disown(heap) == 0);
}

// (2) A worker that comes too early.
static void *come_too_early(void *heap) {
    errno = 0;
    return allot_heap_adopt((allot_heap *)heap) == -1 && errno == EBUSY ? heap : NULL;
}

// (4) Room to clean up, and (8) C memory of the service that counts and is left at the end.
static void a_service_has_grace_and_memory_of_its_own(lua_State *L) {
    allot_heap *heap = allot_lua_heap(L);
    pthread_t thread;
    void *was_refused = NULL;
    MUST(pthread_create(&thread, NULL, come_too_early, heap) == 0);
    MUST(pthread_join(thread, &was_refused) == 0 && was_refused == heap);

    struct allot_heap_stats stats;
    stats.size_bytes = sizeof stats;
    MUST(allot_heap_stats(heap, &stats));
    uint64_t before = stats.live_bytes;
    MUST(allot_heap_malloc(heap, 1000) != NULL);
    MUST(allot_heap_stats(heap, &stats) && stats.live_bytes == before + allot_good_size(1000));
    MUST(allot_heap_set_limit(heap, stats.live_bytes) == 0);
    MUST(allot_heap_malloc(heap, 1000) == NULL);
    MUST(allot_heap_set_grace(heap, true) == 0);
    MUST(allot_heap_malloc(heap, 1000) != NULL);
    MUST(allot_heap_set_grace(heap, false) == 0);
}

// The workers take turns; each runs both services.
static void *worker(void *context) {
    int me = *(const int *)context;
    pthread_mutex_lock(&host.lock);
    while (host.turn < TURNS) {
        if (host.turn % 2 == me) {
            run_turn(host.service[host.turn / 2 % SERVICES]);
            host.turn++;
            pthread_cond_broadcast(&host.is_changed);
        } else {
            pthread_cond_wait(&host.is_changed, &host.lock);
        }
    }
    pthread_mutex_unlock(&host.lock);
    return NULL;
}

static void services_migrate(void) {
    static const int number[2] = {0, 1};
    pthread_t thread[2];
    host.message.data = (char *)allot_calloc(1, 1);
    host.message.size_bytes = 1;
    for (int i = 0; i < 2; i++) {
        MUST(pthread_create(&thread[i], NULL, worker, (void *)&number[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
    }
    allot_free(host.message.data);
}

// (4) and (5): the service is told, then refused, and goes on.
static void a_service_is_limited(lua_State *L) {
    MUST(luaL_dostring(L, "local kept = {} for i = 1, 1e9 do kept[i] = ('x'):rep(500) .. i end"));
    MUST(strstr(lua_tostring(L, -1), "not enough memory") != NULL);
    lua_pop(L, 1);
    MUST(host.reports == 2);  // beyond 1 MiB, and beyond 2
    lua_gc(L, LUA_GCCOLLECT, 0);
    MUST(luaL_dostring(L, "assert(count == 500)") == 0);
}

// (5) The first report of a service without limits.
static void the_first_report_is_at_32_mib(void) {
    struct allot_lua_options options;
    memset(&options, 0, sizeof options);
    options.size_bytes = sizeof options;
    options.name = "big";
    options.report = on_report;
    options.context = &host.reports;
    lua_State *L = allot_lua_newstate(&options);
    MUST(L != NULL);
    luaL_openlibs(L);
    MUST(luaL_dostring(L, "kept = {} for i = 1, 16 do kept[i] = ('x'):rep(1e6) .. i"
                          " collectgarbage() end") == 0);
    MUST(host.reports == 0);
    MUST(luaL_dostring(L, "for i = 17, 40 do kept[i] = ('x'):rep(1e6) .. i end") == 0);
    MUST(host.reports == 1);
    MUST(allot_lua_close(L) == 0);
}

int main(void) {
    host.service[0] = service_start("gate");
    host.service[1] = service_start("agent");
    services_migrate();
    for (int i = 0; i < SERVICES; i++) {
        lua_State *L = host.service[i];
        MUST(allot_heap_adopt(allot_lua_heap(L)) == 0);
        a_service_is_limited(L);
        host.reports = 0;
        struct allot_heap_stats stats;
        stats.size_bytes = sizeof stats;
        MUST(allot_heap_stats(allot_lua_heap(L), &stats));
        MUST(stats.peak_bytes <= stats.limit_bytes);
        a_service_has_grace_and_memory_of_its_own(L);
        // (6) What a debug console would show.
        const struct allot_lua_counts *counts = allot_lua_counts_of(L);
        printf("%s: %zu B in strings, %zu B in tables, %zu B in others, at most %llu KiB\n",
               stats.name, counts->live_bytes[ALLOT_LUA_STRING],
               counts->live_bytes[ALLOT_LUA_TABLE], counts->live_bytes[ALLOT_LUA_OTHER],
               (unsigned long long)stats.peak_bytes >> 10);
        MUST(allot_lua_close(L) == 0);  // (7)
    }
    the_first_report_is_at_32_mib();
    return 0;
}
