// allot_lua.h - a Lua state on a heap of its own: for Lua 5.1, 5.3, 5.4 and LuaJIT.
//
// Nothing has to be linked but liballot and the Lua whose headers the compiler finds. The
// shortest use is
//
//     lua_State *L = allot_lua_newstate(NULL);
//     ...
//     allot_lua_close(L);
//
// A state belongs to the thread that owns its heap: the one that made it, until
// allot_heap_disown(allot_lua_heap(L)) there and allot_heap_adopt in another thread. Called
// by any other thread, Lua finds no memory. The functions below may not be called from signal
// handlers; after a fork the child has the states of the thread that forked.
//
// LuaJIT for 64 bits accepts no allocator unless it was built with GC64 (the default of its
// v2.1 branch, and of Debian): lua_newstate is NULL there, and allot_lua_newstate fails with
// errno = ENOTSUP. Preload liballot instead; such a state has no heap of its own. Machine code
// of LuaJIT is in no heap. LuaJIT 2.1.0-beta3 crashes, with any allocator, if it is refused
// memory while it compiles or makes a state: limits need jit.off() there.
#ifndef ALLOT_LUA_H
#define ALLOT_LUA_H

#include "allot.h"

#include <errno.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <lua.h>

#include <lauxlib.h>
#ifdef __cplusplus
}
#endif

/// Where the first report comes if there is a report and no soft limit.
#define ALLOT_LUA_SOFT_LIMIT ((size_t)32 << 20)

/// How a state is made. All zero but the first field is a good default.
struct allot_lua_options {
    size_t size_bytes;         ///< sizeof(struct allot_lua_options)
    const char *name;          ///< of the heap, for statistics; NULL: none
    size_t reserve_bytes;      ///< address space set aside; memory is taken as it is used
    size_t limit_bytes;        ///< live bytes that the state may hold; 0: any. Beyond it Lua
                               ///< says "not enough memory"; 5.2 and later collect first
    size_t grace_bytes;        ///< beyond the limit while allot_heap_set_grace is on
    size_t soft_limit_bytes;   ///< beyond it `report` is called, then at each doubling; 0:
                               ///< ALLOT_LUA_SOFT_LIMIT, or the limit if that is less
    allot_heap_report report;  ///< NULL: none. Called inside of the allocator: it must not
                               ///< use the state
    void *context;             ///< for report
    allot_heap *parent;        ///< what the state holds counts there, too; NULL: none
    bool count_types;          ///< keep live bytes by type: each block is a byte longer
};

// ---- The allocator -----------------------------------------------------------

/// A lua_Alloc. Blocks are found by the size that Lua gives, not by their address.
///
///   ud      the allot_heap, of the calling thread or shared
///   ptr     a block of this allocator, or NULL
///   osize   what Lua knows: the size of ptr; if that is NULL anything
///   nsize   0 frees
///
/// Returns the block; NULL if nsize is 0 or there is no memory, and then ptr is as it was.
/// Making a block smaller never fails.
/// Threads: the owner of the heap. Cost: that of the allot_heap functions, constant.
static inline void *allot_lua_alloc(void *ud, void *ptr, size_t osize, size_t nsize) {
    allot_heap *heap = (allot_heap *)ud;
    if (nsize == 0) {
        if (ptr != NULL) {
            allot_heap_free_sized(heap, ptr, osize);
        }
        return NULL;
    }
    return ptr != NULL ? allot_heap_realloc_sized(heap, ptr, osize, nsize)
                       : allot_heap_malloc(heap, nsize);
}

// ---- Live bytes by type --------------------------------------------------------

/// What blocks were made for. Lua 5.2 and later say so when they make an object of a type
/// below. OTHER is the rest: the arrays and hashes of tables, the stacks of threads, code,
/// upvalues, the string table, buffers of the libraries. Lua 5.1 and LuaJIT never say so.
enum allot_lua_type {
    ALLOT_LUA_OTHER,
    ALLOT_LUA_STRING,
    ALLOT_LUA_TABLE,
    ALLOT_LUA_FUNCTION,
    ALLOT_LUA_USERDATA,
    ALLOT_LUA_THREAD,
    ALLOT_LUA_TYPES
};

/// Live bytes and blocks by type, as Lua asked for them: exact at every moment. The sum of
/// the bytes is what lua_gc(LUA_GCCOUNT) and LUA_GCCOUNTB say, and what C code took by
/// lua_getallocf: for one, a luaL_Buffer of more than LUAL_BUFFERSIZE bytes. What a
/// block's size class adds is not in them; it is in the heap's live_bytes.
struct allot_lua_counts {
    allot_heap *heap;                      ///< of the state
    size_t live_bytes[ALLOT_LUA_TYPES];    ///< by allot_lua_type; may fall
    size_t live_blocks[ALLOT_LUA_TYPES];   ///< by allot_lua_type; may fall
    size_t total_blocks[ALLOT_LUA_TYPES];  ///< blocks ever made; never falls
};

// Lua gives the type with a new block only, so the block's last byte keeps it.
static inline unsigned allot_lua_type_of_tag(size_t tag) {
    switch (tag) {
    case LUA_TSTRING: return ALLOT_LUA_STRING;
    case LUA_TTABLE: return ALLOT_LUA_TABLE;
    case LUA_TFUNCTION: return ALLOT_LUA_FUNCTION;
    case LUA_TUSERDATA: return ALLOT_LUA_USERDATA;
    case LUA_TTHREAD: return ALLOT_LUA_THREAD;
    default: return ALLOT_LUA_OTHER;
    }
}

/// A lua_Alloc that counts.
///
///   ud      a struct allot_lua_counts, all zero at first but for its heap
///   ptr     as for allot_lua_alloc
///   osize   as for allot_lua_alloc, or the type tag of the new object
///   nsize   as for allot_lua_alloc
///
/// Returns as allot_lua_alloc does. Threads: the owner of the heap.
static inline void *allot_lua_alloc_counting(void *ud, void *ptr, size_t osize, size_t nsize) {
    struct allot_lua_counts *counts = (struct allot_lua_counts *)ud;
    unsigned char *block = (unsigned char *)ptr;
    unsigned type = block != NULL ? block[osize] : allot_lua_type_of_tag(osize);
    size_t old_bytes = block != NULL ? osize : 0;
    if (nsize == 0 && block == NULL) {
        return NULL;
    }
    counts->live_bytes[type] += nsize - old_bytes;
    if (nsize == 0) {
        counts->live_blocks[type]--;
        allot_heap_free_sized(counts->heap, block, osize + 1);
        return NULL;
    }
    size_t bytes = nsize < SIZE_MAX ? nsize + 1 : SIZE_MAX;
    unsigned char *result = (unsigned char *)allot_lua_alloc(counts->heap, ptr, osize + 1, bytes);
    if (result == NULL) {
        counts->live_bytes[type] -= nsize - old_bytes;
        return NULL;
    }
    result[nsize] = (unsigned char)type;
    counts->live_blocks[type] += block == NULL;
    counts->total_blocks[type] += block == NULL;
    return result;
}

// Of the ud of either allocator: counts are a block of their heap, a heap is no block.
static inline allot_heap *allot_lua_heap_of(void *ud) {
    allot_heap *heap = allot_heap_of(ud);
    return heap != NULL ? heap : (allot_heap *)ud;
}

// While a state is closed: its heap goes at once, and what lua_close frees with it. Lua
// collects nothing while it runs the last finalizers, so that they need little more.
static inline void *allot_lua_alloc_closing(void *ud, void *ptr, size_t osize, size_t nsize) {
    if (nsize == 0 || (ptr != NULL && nsize <= osize)) {
        return nsize == 0 ? NULL : ptr;
    }
    void *block = allot_heap_malloc(allot_lua_heap_of(ud), nsize);
    return block != NULL && ptr != NULL ? memcpy(block, ptr, osize) : block;
}

// ---- States ----------------------------------------------------------------------

/// The heap of a state from allot_lua_newstate, or of one that was made with one of the
/// allocators above. C code may take blocks from it, which count and end with the state.
///
///   L   the state, or one of its coroutines
///
/// Returns it. Threads: any, if no other uses the state meanwhile. Cost: constant.
static inline allot_heap *allot_lua_heap(lua_State *L) {
    void *ud = NULL;
    lua_getallocf(L, &ud);
    return allot_lua_heap_of(ud);
}

/// The counts of a state from allot_lua_newstate.
///
///   L   the state, or one of its coroutines
///
/// Returns them; they change as the state allocates. NULL if count_types was not set.
/// Threads: the owner of the heap. Cost: constant.
static inline const struct allot_lua_counts *allot_lua_counts_of(lua_State *L) {
    void *ud = NULL;
    lua_getallocf(L, &ud);
    return allot_heap_of(ud) != NULL ? (const struct allot_lua_counts *)ud : NULL;
}

static inline allot_heap *allot_lua_create_heap(const struct allot_lua_options *options) {
    struct allot_heap_options wish;
    memset(&wish, 0, sizeof wish);
    wish.size_bytes = sizeof wish;
    if (options != NULL) {
        wish.name = options->name;
        wish.reserve_bytes = options->reserve_bytes;
        wish.limit_bytes = options->limit_bytes;
        wish.grace_bytes = options->grace_bytes;
        wish.soft_limit_bytes = options->soft_limit_bytes;
        wish.report = options->report;
        wish.context = options->context;
        wish.parent = options->parent;
    }
    if (wish.report != NULL && wish.soft_limit_bytes == 0) {
        bool is_less = wish.limit_bytes > 0 && wish.limit_bytes < ALLOT_LUA_SOFT_LIMIT;
        wish.soft_limit_bytes = is_less ? wish.limit_bytes : ALLOT_LUA_SOFT_LIMIT;
    }
    return allot_heap_create(&wish);
}

static inline struct allot_lua_counts *allot_lua_create_counts(allot_heap *heap) {
    struct allot_lua_counts *counts =
        (struct allot_lua_counts *)allot_heap_calloc(heap, 1, sizeof *counts);
    if (counts != NULL) {
        counts->heap = heap;
    }
    return counts;
}

// A Lua that accepts no allocator does not ask it for a single block.
static inline lua_State *allot_lua_open(allot_heap *heap, bool count_types) {
    struct allot_lua_counts *counts = count_types ? allot_lua_create_counts(heap) : NULL;
    if (count_types && counts == NULL) {
        return NULL;
    }
    lua_State *L = count_types ? lua_newstate(allot_lua_alloc_counting, counts)
                               : lua_newstate(allot_lua_alloc, heap);
    struct allot_heap_stats stats;
    stats.size_bytes = sizeof stats;
    if (L == NULL && allot_heap_stats(heap, &stats)) {
        bool was_asked = stats.malloc_calls + stats.refused_calls > (counts != NULL ? 1u : 0u);
        errno = was_asked ? ENOMEM : ENOTSUP;
    }
    return L;
}

/// Make a state with a heap of its own. As after lua_newstate there are no libraries in it,
/// no panic function and no warnings.
///
///   options   see there; NULL: all defaults
///
/// Returns the state. NULL with errno, and nothing has changed: EINVAL if size_bytes is not
/// that of this version; what allot_heap_create says; ENOMEM if the limit or the memory is
/// too small for a state; ENOTSUP if this Lua accepts no allocator (LuaJIT without GC64).
/// Threads: any; the caller becomes the owner of the heap.
/// Cost: that of lua_newstate, and less than a microsecond.
static inline lua_State *allot_lua_newstate(const struct allot_lua_options *options) {
    bool count_types = options != NULL && options->count_types;
    if (options != NULL && options->size_bytes != sizeof *options) {
        errno = EINVAL;
        return NULL;
    }
    allot_heap *heap = allot_lua_create_heap(options);
    if (heap == NULL) {
        return NULL;
    }
    lua_State *L = allot_lua_open(heap, count_types);
    if (L == NULL) {
        int error = errno;
        (void)allot_heap_destroy(heap);
        errno = error;
    }
    return L;
}

/// Close a state from allot_lua_newstate, and free its heap with every block that C code
/// took from there. Finalizers run; what Lua frees from here on is free at the end.
///
///   L   the state; NULL is ignored. Of the caller, or of nobody: the caller adopts it
///
/// Returns 0. -1 with errno = EBUSY if another thread owns the heap: nothing has changed;
/// or if other heaps have it as their parent: the state is closed, the heap is not.
/// Threads: the owner of the heap, or any if it has none.
/// Cost: that of lua_close; what is left goes at once.
static inline int allot_lua_close(lua_State *L) {
    if (L == NULL) {
        return 0;
    }
    allot_heap *heap = allot_lua_heap(L);
    if (allot_heap_adopt(heap) != 0) {
        return -1;
    }
    void *ud = NULL;
    lua_getallocf(L, &ud);
    lua_setallocf(L, allot_lua_alloc_closing, ud);
    lua_close(L);
    return allot_heap_destroy(heap);
}

#endif
