// states.c - Lua states on heaps of their own: limits, reports, counts by type, and the end.
#include "state.h"

#include <pthread.h>

// Grows until it is stopped.
static const char hungry[] = "local kept = {} for i = 1, 1e9 do"
                             " kept[i] = {i, tostring(i), ('x'):rep(i % 300)} end";
static const char hungry_for_text[] = "local text = 'x' while true do text = text .. text end";

// LuaJIT of 2022 crashes if it is refused memory while it compiles, whatever the allocator.
static bool is_luajit(lua_State *L) {
    lua_getglobal(L, "jit");
    bool is_there = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return is_there;
}

static void interpret(lua_State *L) {
    if (is_luajit(L)) {
        run(L, "jit.off()");
    }
}

static void must_run_out(lua_State *L, const char *chunk) {
    CHECK_INT(luaL_loadstring(L, chunk), ==, 0);
    CHECK_INT(lua_pcall(L, 0, 0, 0), !=, 0);
    const char *said = lua_tostring(L, -1);
    CHECK(said != NULL && strstr(said, "not enough memory") != NULL);
    lua_pop(L, 1);
}

static void a_script_stays_below_its_limit_and_goes_on(void) {
    for (int count_types = 0; count_types < 2; count_types++) {
        struct allot_lua_options options = options_of(1 * MIB, count_types != 0);
        lua_State *L = open_state(&options);
        interpret(L);
        for (int round = 0; round < 20; round++) {
            must_run_out(L, round % 2 == 0 ? hungry : hungry_for_text);
            lua_gc(L, LUA_GCCOLLECT, 0);  // Lua 5.1 does not by itself
            run(L, "local t = {} for i = 1, 1000 do t[i] = 'n' .. i end"
                   " assert(table.concat(t):len() == 3893)");
        }
        struct allot_heap_stats stats = stats_of(allot_lua_heap(L));
        CHECK_UINT(stats.peak_bytes, <=, 1 * MIB);
        CHECK_UINT(stats.peak_bytes, >, 1 * MIB / 2);
        CHECK_UINT(stats.refused_calls, >=, 20);
        CHECK_INT(allot_lua_close(L), ==, 0);
    }
}

// The limit strikes in a different place each time.
static void any_limit_is_survived(void) {
    struct allot_lua_options options = options_of(0, false);
    lua_State *L = open_state(&options);
    allot_heap *heap = allot_lua_heap(L);
    interpret(L);
    for (size_t more = 0; more < 96 * KIB; more += 96) {
        lua_gc(L, LUA_GCCOLLECT, 0);
        size_t limit = stats_of(heap).live_bytes + more;
        CHECK_INT(allot_heap_set_limit(heap, limit), ==, 0);
        int status = luaL_loadstring(L, hungry);
        status = status != 0 ? status : lua_pcall(L, 0, 0, 0);
        CHECK_INT(status, !=, 0);
        CHECK_UINT(stats_of(heap).live_bytes, <=, limit);
        lua_settop(L, 0);
        CHECK_INT(allot_heap_set_limit(heap, 0), ==, 0);
    }
    run(L, "assert(#tostring(12345) == 5)");
    CHECK_INT(allot_lua_close(L), ==, 0);
}

static uint64_t process_live(void) {
    struct allot_stats stats = {.size_bytes = sizeof stats};
    CHECK(allot_stats(&stats));
    return stats.live_bytes;
}

static void a_state_that_finds_no_memory_leaves_nothing(void) {
    lua_State *first = open_state(NULL);
    bool crashes = is_luajit(first);
    CHECK_INT(allot_lua_close(first), ==, 0);
    if (crashes) {
        CHECK_SKIP("LuaJIT crashes if it is refused memory for a state, with any allocator");
    }
    uint64_t before = process_live();
    size_t limit = 0;
    for (int count_types = 0; count_types < 2; count_types++) {
        lua_State *L = NULL;
        for (limit = 16; L == NULL; limit += 64) {
            struct allot_lua_options options = options_of(limit, count_types != 0);
            L = allot_lua_newstate(&options);
            CHECK(L != NULL || errno == ENOMEM);
            CHECK(L != NULL || process_live() == before);
        }
        CHECK_UINT(limit, <, 64 * KIB);
        CHECK_INT(allot_lua_close(L), ==, 0);
        CHECK_UINT(process_live(), ==, before);
    }
}

static struct {
    unsigned count;
    size_t live[32];
} reports;

static void note(allot_heap *heap, size_t live_bytes, void *context) {
    CHECK_PTR(context, ==, &reports);
    CHECK_UINT(stats_of(heap).live_bytes, <=, live_bytes);
    reports.live[reports.count++ % 32] = live_bytes;
}

static void reports_come_at_each_doubling(void) {
    struct allot_lua_options options = options_of(0, false);
    options.soft_limit_bytes = 256 * KIB;
    options.report = note;
    options.context = &reports;
    lua_State *L = open_state(&options);
    run(L, "kept = {} for i = 1, 20000 do kept[i] = ('x'):rep(100) .. i end");
    CHECK_UINT(stats_of(allot_lua_heap(L)).peak_bytes, >, 2 * MIB);
    CHECK_UINT(reports.count, >=, 4);
    for (unsigned i = 0; i < reports.count; i++) {
        CHECK_UINT(reports.live[i], >, 256 * KIB);
        CHECK(i == 0 || reports.live[i] > reports.live[i - 1] * 5 / 4);
    }
    CHECK_UINT(reports.live[0], <, 512 * KIB);
    run(L, "kept = nil collectgarbage()");
    unsigned so_far = reports.count;
    run(L, "kept = {} for i = 1, 5000 do kept[i] = ('y'):rep(100) .. i end");
    CHECK_UINT(reports.count, ==, so_far);  // once each
    CHECK_INT(allot_lua_close(L), ==, 0);
}

static size_t sum_of(const struct allot_lua_counts *counts) {
    size_t sum = 0;
    for (int type = 0; type < ALLOT_LUA_TYPES; type++) {
        sum += counts->live_bytes[type];
    }
    return sum;
}

static void counts_sum_to_what_lua_says(void) {
    struct allot_lua_options options = options_of(0, true);
    lua_State *L = open_state(&options);
    const struct allot_lua_counts *counts = allot_lua_counts_of(L);
    CHECK(counts != NULL);
    CHECK_PTR(counts->heap, ==, allot_lua_heap(L));
    CHECK_UINT(sum_of(counts), ==, bytes_of(L));
    for (int round = 0; round < 10; round++) {
        run(L, "kept = {} for i = 1, 2000 do kept[i] = {('x'):rep(i), function() return i end,"
               " coroutine.create(function() end)} end");
        CHECK_UINT(sum_of(counts), ==, bytes_of(L));
        run(L, "kept = nil collectgarbage() collectgarbage()");
        CHECK_UINT(sum_of(counts), ==, bytes_of(L));
    }
    CHECK_INT(allot_lua_close(L), ==, 0);
    options.count_types = false;
    L = open_state(&options);
    CHECK(allot_lua_counts_of(L) == NULL);
    CHECK_INT(allot_lua_close(L), ==, 0);
}

// A hundred objects of a type exist while `made` does.
struct type_case {
    enum allot_lua_type type;
    const char *chunk;
    size_t bytes_min;
};

static const struct type_case type_cases[] = {
    {ALLOT_LUA_STRING, "made = {} for i = 1, 100 do made[i] = ('s'):rep(1000) .. i end", 100000},
    {ALLOT_LUA_TABLE, "made = {} for i = 1, 100 do made[i] = {} end", 100 * 40},
    {ALLOT_LUA_FUNCTION, "made = {} for i = 1, 100 do made[i] = function() return i end end",
     100 * 24},
    {ALLOT_LUA_USERDATA, "made = {} for i = 1, 100 do made[i] = userdata() end", 100 * 500},
    {ALLOT_LUA_THREAD, "made = {} for i = 1, 100 do made[i] = coroutine.create(empty) end",
     100 * 100},
};

static int make_userdata(lua_State *L) {
    memset(lua_newuserdata(L, 500), 0, 500);
    return 1;
}

static void types_are_counted_as_lua_tells_them(void) {
    struct allot_lua_options options = options_of(0, true);
    lua_State *L = open_state(&options);
    const struct allot_lua_counts *counts = allot_lua_counts_of(L);
    lua_register(L, "userdata", make_userdata);
    run(L, "function empty() end");
    for (size_t i = 0; i < sizeof type_cases / sizeof type_cases[0]; i++) {
        const struct type_case *at = &type_cases[i];
        // Once before, so that what stays is there.
        run(L, at->chunk);
        run(L, "made = nil collectgarbage() collectgarbage()");
        struct allot_lua_counts before = *counts;
        run(L, at->chunk);
        run(L, "collectgarbage() collectgarbage()");
        size_t blocks = counts->live_blocks[at->type] - before.live_blocks[at->type];
        size_t bytes = counts->live_bytes[at->type] - before.live_bytes[at->type];
        if (LUA_VERSION_NUM >= 502) {
            CHECK_UINT(blocks, >=, 100);
            CHECK_UINT(blocks, <=, 110);
            CHECK_UINT(bytes, >=, at->bytes_min);
        } else {
            CHECK_UINT(counts->total_blocks[at->type], ==, 0);
        }
        run(L, "made = nil collectgarbage() collectgarbage()");
        CHECK_UINT(counts->live_blocks[at->type], <=, before.live_blocks[at->type] + 5);
    }
    CHECK_INT(allot_lua_close(L), ==, 0);
}

static void *try_to_close(void *L) {
    errno = 0;
    return allot_lua_close(L) == -1 && errno == EBUSY ? L : NULL;
}

static void a_state_of_another_thread_is_not_closed(void) {
    lua_State *L = open_state(NULL);
    pthread_t other;
    void *result = NULL;
    CHECK_INT(pthread_create(&other, NULL, try_to_close, L), ==, 0);
    pthread_join(other, &result);
    CHECK_PTR(result, ==, L);
    run(L, "assert(1 + 1 == 2)");
    CHECK_INT(allot_lua_close(L), ==, 0);
    CHECK_INT(allot_lua_close(NULL), ==, 0);
}

static void a_heap_ends_with_its_state(void) {
    uint64_t before = process_live();
    for (int i = 0; i < 200; i++) {
        struct allot_lua_options options = options_of(0, i % 2 == 0);
        options.reserve_bytes = i % 3 == 0 ? 1 * MIB : 0;
        lua_State *L = open_state(&options);
        lua_State *coroutine = lua_newthread(L);
        CHECK_PTR(allot_lua_heap(coroutine), ==, allot_lua_heap(L));
        CHECK(allot_heap_malloc(allot_lua_heap(L), 1000) != NULL);  // of C code, and left
        CHECK_INT(allot_lua_close(coroutine), ==, 0);
    }
    CHECK_UINT(process_live(), ==, before);
}

static int finalized;

static int finalize(lua_State *L) {
    struct allot_heap_stats before = stats_of(allot_lua_heap(L));
    run(L, "local t = {} for i = 1, 100 do t[i] = ('x'):rep(i * 10) end"
           " assert(#table.concat(t, ',') > 50000)");
    CHECK_UINT(stats_of(allot_lua_heap(L)).live_bytes, >, before.live_bytes);
    finalized++;
    return 0;
}

static void finalizers_of_the_end_may_allocate(void) {
    uint64_t before = process_live();
    for (int count_types = 0; count_types < 2; count_types++) {
        struct allot_lua_options options = options_of(0, count_types != 0);
        lua_State *L = open_state(&options);
        for (int i = 0; i < 10; i++) {
            lua_newuserdata(L, 10);
            lua_newtable(L);
            lua_pushcfunction(L, finalize);
            lua_setfield(L, -2, "__gc");
            lua_setmetatable(L, -2);
        }
        CHECK_INT(allot_lua_close(L), ==, 0);
        CHECK_INT(finalized, ==, 10 * (count_types + 1));
    }
    CHECK_UINT(process_live(), ==, before);
}

static void senseless_options_are_refused(void) {
    struct allot_lua_options options = options_of(0, false);
    options.size_bytes = 1;
    CHECK(allot_lua_newstate(&options) == NULL);
    CHECK_INT(errno, ==, EINVAL);
    options = options_of(1000, false);
    options.reserve_bytes = 2000;
    CHECK(allot_lua_newstate(&options) == NULL);
    CHECK_INT(errno, ==, ERANGE);
}

int main(int argc, char **argv) {
    static const struct check_case cases[] = {
        CHECK_CASE(a_script_stays_below_its_limit_and_goes_on),
        CHECK_CASE(any_limit_is_survived),
        CHECK_CASE(a_state_that_finds_no_memory_leaves_nothing),
        CHECK_CASE(reports_come_at_each_doubling),
        CHECK_CASE(counts_sum_to_what_lua_says),
        CHECK_CASE(types_are_counted_as_lua_tells_them),
        CHECK_CASE(a_state_of_another_thread_is_not_closed),
        CHECK_CASE(a_heap_ends_with_its_state),
        CHECK_CASE(finalizers_of_the_end_may_allocate),
        CHECK_CASE(senseless_options_are_refused),
    };
    return check_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
