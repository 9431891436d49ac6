// state.h - what the test programs of Lua share.
#ifndef TESTS_LUA_STATE_H
#define TESTS_LUA_STATE_H

#include "../support/check.h"

#include <allot_lua.h>
#include <lualib.h>

enum { KIB = 1024, MIB = 1024 * KIB };

static inline struct allot_lua_options options_of(size_t limit_bytes, bool count_types) {
    struct allot_lua_options options;
    memset(&options, 0, sizeof options);
    options.size_bytes = sizeof options;
    options.limit_bytes = limit_bytes;
    options.count_types = count_types;
    return options;
}

static inline lua_State *open_state(const struct allot_lua_options *options) {
    lua_State *L = allot_lua_newstate(options);
    if (L == NULL && errno == ENOTSUP) {
        CHECK_SKIP("this Lua accepts no allocator");
    }
    CHECK(L != NULL);
    luaL_openlibs(L);
    return L;
}

static inline struct allot_heap_stats stats_of(const allot_heap *heap) {
    struct allot_heap_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size_bytes = sizeof stats;
    CHECK(allot_heap_stats(heap, &stats));
    return stats;
}

/// Runs a chunk that must succeed.
static inline void run(lua_State *L, const char *chunk) {
    if (luaL_loadstring(L, chunk) != 0 || lua_pcall(L, 0, 0, 0) != 0) {
        CHECK_FAIL("%s: %s", chunk, lua_tostring(L, -1));
    }
}

/// What Lua believes to hold.
static inline size_t bytes_of(lua_State *L) {
    return (size_t)lua_gc(L, LUA_GCCOUNT, 0) * KIB + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
}

#endif
