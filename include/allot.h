// allot.h - memory for servers: the C interface, and its documentation.
//
// Linking liballot or preloading it replaces malloc and its relatives; the
// functions below add what the standard interface cannot say. Blocks from
// either family may be passed to the other. All sizes are in bytes.
//
// Unless a function says otherwise, it may be called from any thread, from a
// child after fork, from constructors, destructors and thread-exit handlers;
// it must not be called from a signal handler. "Constant cost" means: a few
// nanoseconds, except when a thread's cache has to be refilled or flushed (some
// hundred nanoseconds) or memory comes from the system (a system call).
#ifndef ALLOT_H
#define ALLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ALLOT_VERSION_MAJOR 1
#define ALLOT_VERSION_MINOR 0
#define ALLOT_VERSION_PATCH 0

/// Largest alignment that any function of this interface accepts.
#define ALLOT_ALIGN_MAX ((size_t)1 << 30)

#if defined(__GNUC__)
#define ALLOT_API __attribute__((visibility("default")))
#define ALLOT_ALLOCATES __attribute__((malloc, warn_unused_result))
#define ALLOT_SIZED(...) __attribute__((alloc_size(__VA_ARGS__)))
#else
#define ALLOT_API
#define ALLOT_ALLOCATES
#define ALLOT_SIZED(...)
#endif

// ---- Blocks ------------------------------------------------------------------

/// Allocate `size_bytes`, aligned to 16 (to 8 if `size_bytes` <= 8).
///
///   size_bytes   0 is allowed: a distinct pointer that must be freed
///
/// Returns the block, contents indeterminate. NULL with errno = ENOMEM if
/// there is no memory or size_bytes > PTRDIFF_MAX; nothing has changed.
/// Threads: any. Signals: no. fork: safe in the child.
/// Cost: constant.
ALLOT_API void *allot_malloc(size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(1);

/// Allocate an array of `count` elements of `size_bytes` each, all bits zero.
/// Memory that is known to be zero is not cleared again.
///
///   count        number of elements
///   size_bytes   of one element
///
/// Returns the block. NULL with errno = ENOMEM if there is no memory or the
/// product overflows; nothing has changed.
/// Threads: any. Signals: no. fork: safe in the child.
/// Cost: that of clearing the block, where it has to be cleared.
ALLOT_API void *allot_calloc(size_t count, size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(1, 2);

/// Change the size of a block, in place if possible; blocks of several MiB
/// are moved by the page tables, without copying.
///
///   ptr          a block, or NULL: like allot_malloc
///   size_bytes   0 frees the block and returns NULL (with ptr = NULL: like
///                allot_malloc(0))
///
/// Returns the block, its first min(old, new) bytes unchanged and the rest
/// indeterminate. NULL with errno = ENOMEM: the old block is as it was.
/// Threads: any, the caller owns the block. Signals: no.
/// Cost: constant in place, else that of copying or moving.
ALLOT_API void *allot_realloc(void *ptr, size_t size_bytes) ALLOT_SIZED(2);

/// As allot_realloc, and the bytes beyond the old size are zero.
///
///   ptr              a block, or NULL
///   old_size_bytes   the size that the caller knows; bytes from here to
///                    size_bytes are cleared. At most the usable size.
///   size_bytes       the new size
///
/// Returns as allot_realloc does. NULL with errno = EINVAL if old_size_bytes
/// exceeds the block's usable size; nothing has changed.
/// Threads: any, the caller owns the block.
ALLOT_API void *allot_realloc_zeroed(void *ptr, size_t old_size_bytes, size_t size_bytes)
    ALLOT_SIZED(3);

/// Free a block. NULL is ignored. errno is kept.
///
///   ptr   a block of this library, or NULL. A block of the malloc that was
///         in use before this library was loaded is passed on to it.
///
/// Returns nothing. A pointer that is no block ends the process with one line
/// on stderr (see the option `misuse`).
/// Threads: any, not only the one that allocated. Signals: no.
/// Cost: constant, the same for blocks of other threads.
ALLOT_API void allot_free(void *ptr);

/// Free a block whose size the caller knows.
///
///   ptr          as for allot_free
///   size_bytes   the size it was allocated with. A size that the block
///                cannot have had is reported as misuse.
///
/// Returns nothing. Threads: any. Cost: that of allot_free.
ALLOT_API void allot_free_sized(void *ptr, size_t size_bytes);

/// Free a block from allot_aligned, aligned_alloc or posix_memalign.
///
///   ptr           as for allot_free
///   align_bytes   the alignment it was allocated with
///   size_bytes    the size it was allocated with
///
/// Returns nothing. Threads: any. Cost: that of allot_free.
ALLOT_API void allot_free_aligned_sized(void *ptr, size_t align_bytes, size_t size_bytes);

/// Allocate `size_bytes` at a multiple of `align_bytes`.
///
///   align_bytes  power of two, 1 .. ALLOT_ALIGN_MAX
///   size_bytes   0 is allowed: a distinct pointer that must be freed
///
/// Returns the block, contents indeterminate. NULL with errno = ENOMEM if
/// no memory, EINVAL if align_bytes is not as above; nothing has changed.
/// Threads: any. Signals: no. fork: safe in the child.
/// Cost: constant.
ALLOT_API void *allot_aligned(size_t align_bytes, size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(2);

/// As allot_aligned, all bits zero.
///
///   align_bytes  power of two, 1 .. ALLOT_ALIGN_MAX
///   size_bytes   0 is allowed
///
/// Returns as allot_aligned does. Threads: any.
ALLOT_API void *allot_aligned_zeroed(size_t align_bytes, size_t size_bytes) ALLOT_ALLOCATES
    ALLOT_SIZED(2);

/// Grow or shrink a block without moving it, or say no.
///
///   ptr          a block
///   size_bytes   the size wanted
///
/// Returns true if the block now has at least size_bytes usable bytes; false
/// if that is not possible here: the block is as it was.
/// Threads: any, the caller owns the block. Cost: constant.
ALLOT_API bool allot_expand(void *ptr, size_t size_bytes);

/// The number of bytes that may be used in a block, at least what was asked
/// for. It stays the same until the block is resized or freed.
///
///   ptr   a block, or NULL
///
/// Returns the number; 0 for NULL. Threads: any. Cost: constant.
ALLOT_API size_t allot_usable_size(const void *ptr);

/// The usable size that allot_malloc(size_bytes) would give at least; exactly, without
/// the option `guard`.
///
///   size_bytes   a size
///
/// Returns it; 0 if size_bytes > PTRDIFF_MAX. Threads: any. Cost: constant.
ALLOT_API size_t allot_good_size(size_t size_bytes);

// ---- The process's memory ----------------------------------------------------

/// No limit, as target or as deadline of allot_purge.
#define ALLOT_PURGE_ALL SIZE_MAX
#define ALLOT_NO_DEADLINE UINT64_MAX

/// Give free memory back to the system: the caller's cache, the caches of
/// ended threads and all free spans, oldest first. Caches of other running
/// threads are asked to give back what they hold; each does so at its next
/// refill or flush, and what is still held then is counted in
/// allot_stats.cached_bytes.
///
///   target_bytes   stop once so many bytes were returned; ALLOT_PURGE_ALL. A
///                  range goes as a whole, the one that reaches the target too
///   deadline_ns    stop once so much time has passed; ALLOT_NO_DEADLINE. Looked
///                  at between ranges
///
/// Returns the bytes that went back to the system, whether they were resident
/// or had never been touched.
/// Threads: any. Cost: a system call for each contiguous free range.
ALLOT_API size_t allot_purge(size_t target_bytes, uint64_t deadline_ns);

/// What the process's memory is used for. Bytes unless the name says
/// otherwise; current values unless marked total or peak. Totals never fall.
/// A snapshot is taken without stopping other threads: each figure is right
/// for some moment during the call, and exact when no other thread allocates.
/// The parts satisfy
///   resident = live + cached + partial + dirty + metadata + unexplained
/// where unexplained (pages of live blocks that were never touched count
/// against it, so it may be negative) is not stored.
struct allot_stats {
    size_t size_bytes;            ///< in: sizeof(struct allot_stats). Set by the caller
    uint32_t version;             ///< of this struct: 1
    uint32_t thread_count;        ///< threads that hold a cache
    uint64_t live_bytes;          ///< in blocks that the program holds, rounded to their class
    uint64_t live_blocks;         ///< blocks that the program holds
    uint64_t cached_bytes;        ///< free blocks in the caches of threads
    uint64_t partial_bytes;       ///< resident free blocks in slabs that hold others, too, and
                                  ///< what heaps hold beyond their live blocks
    uint64_t dirty_bytes;         ///< free spans that may be resident
    uint64_t purged_bytes;        ///< free memory that is not resident
    uint64_t metadata_bytes;      ///< the allocator's own records; those of untouched
                                  ///< blocks are counted, too, and not resident
    uint64_t reserved_bytes;      ///< address space reserved
    uint64_t committed_bytes;     ///< address space that may be accessed
    uint64_t committed_peak;      ///< peak of live + cached + partial + dirty
    uint64_t resident_bytes;      ///< of the whole process, as the kernel says; 0 if unknown
    uint64_t malloc_calls;        ///< total allocations; counted with the option stats, else 0
    uint64_t free_calls;          ///< total frees; counted with the option stats, else 0
    uint64_t remote_free_blocks;  ///< total blocks given back by a thread that did not lease
                                  ///< their slab
    uint64_t refill_calls;        ///< total refills of a thread's cache
    uint64_t flush_calls;         ///< total flushes of a thread's cache
    uint64_t purge_calls;         ///< total system calls that returned memory
    uint64_t purge_bytes;         ///< total bytes returned to the system, touched or not
    uint64_t map_calls;           ///< total system calls that took memory
    uint64_t large_calls;         ///< total allocations that came straight from the page heap
    uint64_t misuse_count;        ///< total misuses that were reported (misuse=warn|ignore)
    uint64_t lock_waits;          ///< total times that a thread found a lock held by another
    uint64_t lock_sleeps;         ///< total times that it then slept until the lock was free
};

/// Fill `stats`.
///
///   stats   its size_bytes is set by the caller; a smaller struct of an
///           earlier version is filled as far as it goes
///
/// Returns true; false with errno = EINVAL if size_bytes is not the size of
/// any version. Threads: any. Cost: proportional to threads and slabs.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
ALLOT_API bool allot_stats(struct allot_stats *stats);
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

// ---- Heaps -------------------------------------------------------------------
//
// A heap is a place of its own to allocate from: it can be preallocated, bounded,
// counted, handed from thread to thread, and dropped at once. allot_free,
// allot_realloc, allot_usable_size and their standard relatives accept a block of
// any heap from any thread.
//
// A heap has one owner at a time, a thread that may allocate from it; it passes
// on with allot_heap_disown and allot_heap_adopt. A `shared` heap has no owner:
// any thread may use it, and each call takes a lock. Blocks count with their
// usable size.

typedef struct allot_heap allot_heap;

/// Told when a heap grows beyond its soft limit, and then at each doubling.
/// Called before the block is taken, by the thread that allocates, with the bytes
/// that will be live and the heap's context. It may free blocks of the heap and
/// allocate, but not destroy the heap.
typedef void (*allot_heap_report)(allot_heap *heap, size_t live_bytes, void *context);

/// How a heap is made. All zero but the first field is a good default.
struct allot_heap_options {
    size_t size_bytes;         ///< sizeof(struct allot_heap_options)
    const char *name;          ///< for statistics; cut to 31 bytes. NULL: none
    size_t reserve_bytes;      ///< address space set aside for this heap
    size_t limit_bytes;        ///< live bytes that it may hold, its children's included; 0: any
    size_t soft_limit_bytes;   ///< beyond it `report` is called; 0: never
    size_t grace_bytes;        ///< beyond the limit while allot_heap_set_grace is on
    allot_heap_report report;  ///< NULL: none
    void *context;             ///< for report
    allot_heap *parent;        ///< every block counts in all ancestors, too; NULL: none
    const size_t *classes;     ///< block sizes instead of the usual ones: rising
                               ///< multiples of 16, at most 32 KiB; NULL: the usual ones
    size_t class_count;        ///< of classes, at most ALLOT_HEAP_CLASSES_MAX
    void *memory;              ///< the heap lives in this memory, all of it, and makes no system
                               ///< call unless two threads meet in it; no reserve, no classes.
                               ///< NULL: in memory of its own
    size_t memory_bytes;       ///< of memory; 4 KiB of it hold the heap itself
    bool shared;               ///< any thread may allocate
    bool prefault;             ///< the reserve is made resident at once, its records too
    bool lock_memory;          ///< the reserve is locked into memory (mlock)
    bool huge_pages;           ///< the reserve may use huge pages
    bool refuse_overflow;      ///< nothing beyond the reserve: NULL instead
    uint32_t idle_ms;          ///< empty slabs beyond the reserve stay with the heap until they
                               ///< were not used for this long (ALLOT_IDLE_NEVER: until a trim)
                               ///< and then go back to the system; so does its cache when the
                               ///< heap was not used at all. 0: empty slabs leave at once, the
                               ///< cache stays. The heap looks when its cache runs out, and the
                               ///< thread of ALLOT_BACKGROUND where that is on, not at the cache
                               ///< of a heap that a running thread owns. In `memory`: no effect
};

#define ALLOT_HEAP_CLASSES_MAX 64
#define ALLOT_IDLE_NEVER UINT32_MAX

/// Make a heap. The caller becomes its owner, unless it is shared.
///
///   options   see there
///
/// Returns the heap. NULL with errno, and nothing has changed: EINVAL for NULL
/// or a size_bytes of no version, a class that is 0, no multiple of 16 or not
/// larger than the one before, or options that exclude each other; E2BIG for too many
/// classes, a class of more than 32 KiB; ERANGE for a limit below the reserve, a
/// soft limit above the limit, memory that is too small; EEXIST for memory that
/// overlaps another heap's; EPERM if the parent belongs to another thread; ENOMEM.
/// Threads: any. fork: the child's heaps are those of the thread that forked.
/// Cost: about a microsecond; a reserve takes address space only, unless it is
/// prefaulted.
ALLOT_API allot_heap *allot_heap_create(const struct allot_heap_options *options);

/// Free a heap with every block in it.
///
///   heap   of the caller or of no one, or shared; NULL is ignored
///
/// Returns 0. -1 with errno = EPERM if another thread owns it, EBUSY if it has
/// children; nothing has changed. Blocks must not be used any more; a call that
/// frees one at this moment in another thread comes to its end first.
/// Threads: the owner. Cost: proportional to its slabs, not to its blocks.
ALLOT_API int allot_heap_destroy(allot_heap *heap);

/// Become the owner of a heap that has none, or whose owner has ended.
///
///   heap   not shared
///
/// Returns 0; -1 with errno = EBUSY if another thread owns it, EINVAL if it is
/// shared; nothing has changed. What the former owner did has happened before.
/// Threads: any. Cost: constant.
ALLOT_API int allot_heap_adopt(allot_heap *heap);

/// Give up a heap for the next owner.
///
///   heap   of the caller
///
/// Returns 0; -1 with errno = EPERM if the caller is not its owner.
/// Threads: the owner. Cost: constant, no system call.
ALLOT_API int allot_heap_disown(allot_heap *heap);

/// Allocate `size_bytes` from a heap, aligned as allot_malloc does.
///
///   heap         of the caller, or shared
///   size_bytes   0 is allowed: a distinct pointer that must be freed
///
/// Returns the block. NULL with errno = ENOMEM if a limit or the end of the
/// memory is reached; EPERM if the caller is not the owner; nothing has changed.
/// Threads: the owner. Cost: that of allot_malloc, without atomic operations
/// unless the heap is shared or stands in a tree with limits.
ALLOT_API void *allot_heap_malloc(allot_heap *heap, size_t size_bytes) ALLOT_ALLOCATES
    ALLOT_SIZED(2);

/// As allot_heap_malloc, for an array whose bits are all zero.
///
///   heap         as for allot_heap_malloc
///   count        number of elements
///   size_bytes   of one element
///
/// Returns as allot_heap_malloc does. Threads: the owner.
ALLOT_API void *allot_heap_calloc(allot_heap *heap, size_t count, size_t size_bytes) ALLOT_ALLOCATES
    ALLOT_SIZED(2, 3);

/// As allot_heap_malloc, at a multiple of `align_bytes`.
///
///   heap          as for allot_heap_malloc
///   align_bytes   power of two, 1 .. ALLOT_ALIGN_MAX
///   size_bytes    0 is allowed
///
/// Returns as allot_heap_malloc does, and NULL with errno = EINVAL if align_bytes
/// is not as above. Threads: the owner.
ALLOT_API void *allot_heap_aligned(allot_heap *heap, size_t align_bytes,
                                   size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(3);

/// Change the size of a block of this heap. A limit counts the new size instead
/// of the old one. Making a block smaller never fails.
///
///   heap         as for allot_heap_malloc
///   ptr          a block of this heap, or NULL: like allot_heap_malloc
///   size_bytes   0 frees the block and returns NULL
///
/// Returns the block. NULL with errno = ENOMEM: the old block is as it was; EINVAL
/// if the block belongs elsewhere.
/// Threads: the owner.
ALLOT_API void *allot_heap_realloc(allot_heap *heap, void *ptr, size_t size_bytes) ALLOT_SIZED(3);

/// As allot_heap_realloc, for a block whose size the caller knows: for small ones no
/// look at the block is needed.
///
///   heap             of the block
///   ptr              a block as for allot_heap_free_sized, or NULL: like
///                    allot_heap_malloc
///   old_size_bytes   that it was allocated with, or last resized to
///   size_bytes       0 frees the block and returns NULL
///
/// Returns as allot_heap_realloc does. Threads: the owner.
ALLOT_API void *allot_heap_realloc_sized(allot_heap *heap, void *ptr, size_t old_size_bytes,
                                         size_t size_bytes) ALLOT_SIZED(4);

/// Free a block. The owner's way is shorter than that of allot_free.
///
///   heap   any; a block of another heap goes to its own
///   ptr    a block, or NULL
///
/// Returns nothing; errno is kept. Threads: any; lock-free for a heap that the
/// caller does not own. Cost: constant.
ALLOT_API void allot_heap_free(allot_heap *heap, void *ptr);

/// Free a block whose size the caller knows: no look at the block is needed.
///
///   heap         of the block
///   ptr          a block that is not from allot_heap_aligned, or NULL
///   size_bytes   that it was allocated with, or last resized to in this heap. A
///                wrong one is found when the block leaves the heap's cache
///
/// Returns nothing. Threads: any. Cost: constant.
ALLOT_API void allot_heap_free_sized(allot_heap *heap, void *ptr, size_t size_bytes);

/// Give back what is free in a heap: its cache and its empty slabs. The process
/// may use that memory elsewhere; allot_purge returns it to the system.
///
///   heap   of the caller, or shared
///
/// Returns the bytes that left the heap; 0 with errno = EPERM if another thread
/// owns it. Threads: the owner. Cost: proportional to its slabs.
ALLOT_API size_t allot_heap_trim(allot_heap *heap);

/// Change the limit. One below what is live refuses growth until it is reached.
///
///   heap          as for allot_heap_malloc
///   limit_bytes   0: none
///
/// Returns 0; -1 with errno = EPERM if another thread owns the heap, EBUSY if it
/// has children and had no limit when they were made. Threads: the owner.
ALLOT_API int allot_heap_set_limit(allot_heap *heap, size_t limit_bytes);

/// Allow, or no longer allow, grace_bytes beyond the limit: for a section that
/// cleans up.
///
///   heap   as for allot_heap_malloc
///   on     whether they may be used
///
/// Returns 0; -1 with errno = EPERM if another thread owns the heap.
/// Threads: the owner.
ALLOT_API int allot_heap_set_grace(allot_heap *heap, bool on);

/// What a heap holds. Bytes unless the name says otherwise.
struct allot_heap_stats {
    size_t size_bytes;            ///< in: sizeof(struct allot_heap_stats)
    uint64_t live_bytes;          ///< in blocks; exact for the owner
    uint64_t live_blocks;         ///< blocks; exact for the owner
    uint64_t peak_bytes;          ///< largest live_bytes of this heap, without children; exact for
                                  ///< the owner, up to 4 KiB off if others free meanwhile
    uint64_t tree_bytes;          ///< live_bytes and those of all descendants
    uint64_t limit_bytes;         ///< 0: none
    uint64_t held_bytes;          ///< memory set aside for it now: the most that may be resident
    uint64_t reserve_bytes;       ///< the part of held_bytes that it never gives back
    uint64_t malloc_calls;        ///< total blocks allocated
    uint64_t free_calls;          ///< total blocks freed by the owner or under the lock
    uint64_t remote_free_blocks;  ///< total blocks freed by other threads
    uint64_t refused_calls;       ///< total allocations that a limit refused
    char name[32];                ///< NUL-terminated
};

/// Fill `stats`.
///
///   heap    any that is not destroyed meanwhile
///   stats   its size_bytes is set by the caller
///
/// Returns true; false with errno = EINVAL if size_bytes is not that of any
/// version. Threads: any; exact for the owner, right for some moment for others.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
ALLOT_API bool allot_heap_stats(const allot_heap *heap, struct allot_heap_stats *stats);
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/// Called for a block of `usable_bytes`; false ends the walk.
typedef bool (*allot_heap_visit)(void *ptr, size_t usable_bytes, void *context);

/// Visit every live block of a heap. The visitor must not use the heap.
///
///   heap      as for allot_heap_malloc
///   visit     called for each block
///   context   for visit
///
/// Returns true if all were visited; false if the visitor ended it, or with errno =
/// EPERM if another thread owns the heap. Threads: the owner.
ALLOT_API bool allot_heap_walk(allot_heap *heap, allot_heap_visit visit, void *context);

/// The heap of a block.
///
///   ptr   any pointer
///
/// Returns it; NULL if the pointer is not that of a block of a heap.
/// Threads: any. Cost: constant.
ALLOT_API allot_heap *allot_heap_of(const void *ptr);
// ---- Tags --------------------------------------------------------------------
//
// A tag says who asked for a block: a module, a tenant, a query. What each holds is
// known exactly, whichever thread frees it and by whatever function. A block is no
// larger and no differently aligned for its tag. doc/tags.md tells more.

/// A tag. 0: no tag.
typedef uint32_t allot_tag;

/// Called when what a tag and its descendants hold is about to exceed
/// soft_limit_bytes, before the limit is looked at; the soft limit then doubles
/// until it is above. May allocate and free.
///
///   tag          that of the options
///   live_bytes   of the tag and its descendants, with the block that was asked for
///   context      that of the options
typedef void (*allot_tag_report)(allot_tag tag, uint64_t live_bytes, void *context);

/// What bounds a tag. Blocks of such a tag, and of tags below it, cost a lock and an
/// atomic operation for each ancestor; other tags pay nothing.
struct allot_tag_limits {
    size_t size_bytes;        ///< sizeof(struct allot_tag_limits)
    size_t limit_bytes;       ///< live bytes of the tag and its descendants; 0: none yet
    size_t soft_limit_bytes;  ///< beyond it `report` is called; 0: never
    size_t grace_bytes;       ///< beyond the limit while allot_tag_set_grace is on
    allot_tag_report report;  ///< NULL: none
    void *context;            ///< for report
};

/// Make a tag. It exists as long as the process.
///
///   name     for people, cut to 31 bytes; may be that of another tag. NULL: none
///   parent   a tag, or 0
///
/// Returns the tag, a small number; 0 with errno = ENOMEM if there is no memory or
/// there are 65535 tags and sites, EINVAL if the parent is none.
/// Threads: any. Signals: no. fork: safe in the child. Cost: constant; each thread that
/// allocates for tags needs 64 bytes for each number up to the largest that it uses.
ALLOT_API allot_tag allot_tag_create(const char *name, allot_tag parent);

/// As allot_tag_create, with a limit now or later. All blocks of tags below it count.
///
///   name     as for allot_tag_create
///   parent   as for allot_tag_create
///   limits   copied
///
/// Returns as allot_tag_create does; 0 with errno = EINVAL if size_bytes is unknown.
/// Threads: any.
ALLOT_API allot_tag allot_tag_create_limited(const char *name, allot_tag parent,
                                             const struct allot_tag_limits *limits);

/// Change the limit. One below what is live refuses growth until it is reached.
///
///   tag           made with limits
///   limit_bytes   0: none
///
/// Returns 0; -1 with errno = EINVAL if the tag was made without limits. Threads: any.
ALLOT_API int allot_tag_set_limit(allot_tag tag, size_t limit_bytes);

/// Allow, or no longer allow, grace_bytes beyond the limit: for a section that
/// cleans up.
///
///   tag   made with limits
///   on    whether they may be used
///
/// Returns 0; -1 with errno = EINVAL if the tag was made without limits. Threads: any.
ALLOT_API int allot_tag_set_grace(allot_tag tag, bool on);

/// Allocate for a tag. Any function that frees frees the block; reallocated by any, it
/// keeps its tag.
///
///   tag          0: for none, also in a scope
///   size_bytes   0 is allowed: a distinct pointer that must be freed
///
/// Returns as allot_malloc does; NULL with errno = ENOMEM also if a limit refuses,
/// EINVAL if there is no such tag; nothing has changed.
/// Threads: any. Signals: no. fork: safe in the child. Cost: constant.
ALLOT_API void *allot_tag_malloc(allot_tag tag, size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(2);

/// As allot_tag_malloc, for an array whose bits are all zero.
///
///   tag          as for allot_tag_malloc
///   count        number of elements
///   size_bytes   of one element
///
/// Returns as allot_tag_malloc does. Threads: any.
ALLOT_API void *allot_tag_calloc(allot_tag tag, size_t count, size_t size_bytes) ALLOT_ALLOCATES
    ALLOT_SIZED(2, 3);

/// As allot_tag_malloc, at a multiple of `align_bytes`.
///
///   tag           as for allot_tag_malloc
///   align_bytes   power of two, 1 .. ALLOT_ALIGN_MAX
///   size_bytes    0 is allowed
///
/// Returns as allot_tag_malloc does, and NULL with errno = EINVAL if align_bytes is not
/// as above. Threads: any.
ALLOT_API void *allot_tag_aligned(allot_tag tag, size_t align_bytes,
                                  size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(3);

/// Change the size of a block, which belongs to `tag` afterwards.
///
///   tag          as for allot_tag_malloc
///   ptr          any block, or NULL: like allot_tag_malloc
///   size_bytes   0 frees the block and returns NULL
///
/// Returns the block. NULL with errno as allot_tag_malloc sets it: the old block is as
/// it was. Threads: any.
ALLOT_API void *allot_tag_realloc(allot_tag tag, void *ptr, size_t size_bytes) ALLOT_SIZED(3);

/// Free a block; the way of one with a tag is shorter than that of allot_free.
///
///   ptr   any block, or NULL
///
/// Returns nothing; errno is kept. Threads: any. Signals: no. Cost: constant.
ALLOT_API void allot_tag_free(void *ptr);

/// From here on the calling thread allocates for a tag, by whatever function: malloc,
/// calloc, aligned_alloc, operator new. First-class heaps have no part in it.
///
///   tag   or 0: for none
///
/// Returns the tag until now, for allot_tag_leave. A tag that does not exist changes
/// nothing. Scopes may be nested; a thread that ends leaves its scopes.
/// Threads: any. Signals: no. Cost: constant, a nanosecond or two.
ALLOT_API allot_tag allot_tag_enter(allot_tag tag);

/// End a scope.
///
///   before   what allot_tag_enter returned
///
/// Returns nothing. Threads: that which entered. Cost: as allot_tag_enter.
ALLOT_API void allot_tag_leave(allot_tag before);

/// Tell whose a block is.
///
///   ptr   any address
///
/// Returns its tag; 0 if it has none or is no block. Threads: any. Cost: constant.
ALLOT_API allot_tag allot_tag_of(const void *ptr);

/// What a tag holds. Bytes are those of allot_usable_size unless the name says otherwise.
/// Figures are exact when no thread allocates for the tag; at any time none is negative.
struct allot_tag_stats {
    size_t size_bytes;            ///< in: sizeof(struct allot_tag_stats)
    allot_tag tag;                ///< its number
    allot_tag parent;             ///< 0: none
    uint64_t live_bytes;          ///< in blocks
    uint64_t live_blocks;         ///< blocks
    uint64_t peak_bytes;          ///< largest live_bytes; without limits up to a 64th of it, or
                                  ///< 16 KiB, for each thread may be missing
    uint64_t tree_bytes;          ///< live_bytes and those of all descendants
    uint64_t limit_bytes;         ///< 0: none
    uint64_t held_bytes;          ///< its share of the memory that its blocks keep in use: the most
                                  ///< that may be resident
    uint64_t malloc_calls;        ///< total blocks allocated
    uint64_t free_calls;          ///< total blocks freed
    uint64_t remote_free_blocks;  ///< of these, freed by another thread than that which last took
                                  ///< blocks from their slab
    uint64_t refused_calls;       ///< total allocations that a limit refused
    char name[32];                ///< NUL-terminated
};

/// Take stock of a tag.
///
///   tag     exists
///   stats   size_bytes is set; the rest is filled
///
/// Returns true; false with errno = EINVAL if there is no such tag or size_bytes is
/// unknown. Threads: any. Cost: proportional to the process's slabs of tagged blocks.
ALLOT_API bool allot_tag_stats(allot_tag tag, struct allot_tag_stats *stats);

/// Take stock of all tags, in the order in which they were made.
///
///   stats   size_bytes is set in the first; the rest is filled, and all of the others
///   count   of stats
///
/// Returns how many tags there are, which may be more than count; 0 with errno = EINVAL
/// if size_bytes is unknown. Threads: any. Cost: as allot_tag_stats, once for all.
ALLOT_API size_t allot_tag_snapshot(struct allot_tag_stats *stats, size_t count);

/// Print a table of all tags, a line each.
///
///   fd   file descriptor
///
/// Returns nothing. Threads: any.
ALLOT_API void allot_tag_print(int fd);

/// A place in a program that allocates for tags. Static; the macros below make them.
struct allot_site {
    const char *file;      ///< __FILE__
    const char *function;  ///< __func__
    uint32_t line;         ///< __LINE__
    uint32_t first;        ///< the library's; 0 at first
    uint64_t last;         ///< the library's; 0 at first
};

/// As allot_tag_malloc, counted for a site, too.
///
///   site         static, zero but for the place, which is copied: a library that has
///                sites may be unloaded
///   tag          as for allot_tag_malloc
///   size_bytes   as for allot_tag_malloc
///
/// Returns as allot_tag_malloc does. Once 65535 tags and sites exist, blocks of new
/// sites are counted for the tag alone. Threads: any. Cost: that of allot_tag_malloc.
ALLOT_API void *allot_site_malloc(struct allot_site *site, allot_tag tag,
                                  size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(3);

/// As allot_tag_calloc, counted for a site, too.
///
///   site         as for allot_site_malloc
///   tag          as for allot_tag_malloc
///   count        number of elements
///   size_bytes   of one element
///
/// Returns as allot_tag_malloc does. Threads: any.
ALLOT_API void *allot_site_calloc(struct allot_site *site, allot_tag tag, size_t count,
                                  size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(3, 4);

/// As allot_tag_realloc. A block that the tag has already keeps its site.
///
///   site         as for allot_site_malloc
///   tag          as for allot_tag_malloc
///   ptr          as for allot_tag_realloc
///   size_bytes   as for allot_tag_realloc
///
/// Returns as allot_tag_realloc does. Threads: any.
ALLOT_API void *allot_site_realloc(struct allot_site *site, allot_tag tag, void *ptr,
                                   size_t size_bytes) ALLOT_SIZED(4);

#if defined(__GNUC__)
#define ALLOT_SITE(call, ...)                                                            \
    __extension__({                                                                      \
        static struct allot_site allot_site_here = {__FILE__, __func__, __LINE__, 0, 0}; \
        allot_site_##call(&allot_site_here, __VA_ARGS__);                                \
    })
#define ALLOT_MALLOC(tag, size_bytes) ALLOT_SITE(malloc, tag, size_bytes)
#define ALLOT_CALLOC(tag, count, size_bytes) ALLOT_SITE(calloc, tag, count, size_bytes)
#define ALLOT_REALLOC(tag, ptr, size_bytes) ALLOT_SITE(realloc, tag, ptr, size_bytes)
#endif

/// What a site holds for one tag, as in struct allot_tag_stats.
struct allot_site_stats {
    size_t size_bytes;      ///< in: sizeof(struct allot_site_stats)
    const char *file;       ///< that of the site
    const char *function;   ///< that of the site
    uint32_t line;          ///< that of the site
    allot_tag tag;          ///< for which it allocates
    uint64_t live_bytes;    ///< in blocks
    uint64_t live_blocks;   ///< blocks
    uint64_t malloc_calls;  ///< total blocks allocated
    int64_t grown_bytes;    ///< live_bytes since allot_mark; negative: fewer
    int64_t grown_blocks;   ///< live_blocks since allot_mark
};

/// Take stock of all sites, in the order of their first use. A site that allocates for
/// several tags stands there once for each.
///
///   stats   size_bytes is set in the first; the rest is filled, and all of the others
///   count   of stats
///
/// Returns how many there are, which may be more than count; 0 with errno = EINVAL if
/// size_bytes is unknown. Threads: any. Cost: proportional to sites and threads.
ALLOT_API size_t allot_site_snapshot(struct allot_site_stats *stats, size_t count);

/// From here on growth is counted: what is live now is none.
/// Returns nothing. Threads: any.
ALLOT_API void allot_mark(void);

#define ALLOT_LEAKS_JSON 1u   ///< one object, not lines of text
#define ALLOT_LEAKS_GROWN 2u  ///< only what has grown since allot_mark

/// Print what is live, for each tag and site, oldest first: in the order of their first
/// use. Tags that the option leaks_quiet names are left out, with those below them.
///
///   fd      file descriptor
///   flags   of ALLOT_LEAKS_
///
/// Returns how many blocks were reported. Threads: any.
ALLOT_API uint64_t allot_leaks(int fd, unsigned flags);

// ---- Pools -------------------------------------------------------------------
//
// A pool has objects of one size, for instance one for each client that a server
// may have. All that are wanted are made at once; until more are in use, taking and
// giving them touches no page anew and makes no system call. Beyond that a pool
// asks for more, up to its limit. What it then got goes back with the objects:
// a take prefers what was made at once, the slabs beyond it leave the pool as they become
// empty (all but one, or 1/64 of the pool if that is more), and from then on they are
// free memory of the process like any other, which allot_purge gives back to the system.
// With `idle_ms` they stay for so long first, and a burst that comes again finds them.

typedef struct allot_pool allot_pool;

/// How a pool is made. All zero but the first three fields is a good default.
struct allot_pool_options {
    size_t size_bytes;     ///< sizeof(struct allot_pool_options)
    size_t object_bytes;   ///< of one object, 1 .. 32 KiB; rounded up to a multiple of 16
                           ///< and of the alignment
    size_t count;          ///< objects that are made at once: as many more as fit into the
                           ///< same memory, if the limit allows it
    size_t align_bytes;    ///< power of two up to 16 KiB; 0: 16
    size_t limit_count;    ///< objects that there may be, at least `count`; 0: any number
    const char *name;      ///< of its heap, cut to 31 bytes. NULL: none
    allot_heap *parent;    ///< all objects count there, free ones too; NULL: none
    bool prefault;         ///< the memory of `count` objects is made resident at once
    bool refuse_overflow;  ///< as a limit of `count` objects; limit_count is then 0
    bool shared;           ///< a lock lets several threads use the pool at once
    uint32_t idle_ms;      ///< slabs beyond `count` objects leave when they were empty for this
                           ///< long, and go back to the system; ALLOT_IDLE_NEVER: when the pool is
                           ///< trimmed. 0: at once. A pool looks while it is in use, and the
                           ///< thread of ALLOT_BACKGROUND, where that is on, while it is not
};

/// Make a pool.
///
///   options   see there
///
/// Returns the pool. NULL with errno, and nothing has changed: EINVAL for NULL or a
/// size_bytes of no version, an object of 0 bytes, an alignment that is no power of
/// two, or options that exclude each other; E2BIG for an object of more than 32 KiB or
/// an alignment of more than 16 KiB; ERANGE for a limit below `count`; EPERM if the parent
/// belongs to another thread; ENOMEM, also if a limit of the parent is in the way.
/// Threads: any. Signals: no. fork: safe in the child, as all functions of pools, unless
/// the pool is shared and another thread was in a call.
/// Cost: proportional to `count`.
ALLOT_API allot_pool *allot_pool_create(const struct allot_pool_options *options);

/// Free a pool with every object of it, in use or not.
///
///   pool   or NULL, which is ignored
///
/// Returns nothing; errno is kept.
/// Threads: one, while no other uses it. Cost: proportional to its slabs.
ALLOT_API void allot_pool_destroy(allot_pool *pool);

/// Take an object: the one that was given last, if it was made with the pool.
///
///   pool   where
///
/// Returns it, contents indeterminate. NULL with errno = ENOMEM if a limit or the end
/// of the memory is reached; nothing has changed.
/// Threads: one at a time, unless the pool is shared. Signals: no.
/// Cost: constant; without a system call while no more than `count` are in use.
ALLOT_API void *allot_pool_take(allot_pool *pool);

/// Give an object back. It must not go back by any other way.
///
///   pool     of the object
///   object   or NULL, which is ignored. One that was given already, or none, is reported
///            as misuse: at once, if the pool was made with it, and at the latest when
///            it leaves the pool for others
///
/// Returns nothing; errno is kept. Threads: as allot_pool_take. Signals: no.
/// Cost: constant; where a burst ends, proportional to the slabs of the pool.
ALLOT_API void allot_pool_give(allot_pool *pool, void *object);

/// Take several objects.
///
///   pool      where
///   objects   out: the objects
///   count     how many are wanted
///
/// Returns how many were taken, the first of `objects`. Fewer than `count` with errno =
/// ENOMEM, for the reasons of allot_pool_take.
/// Threads: as allot_pool_take. Cost: that of so many takes under one lock.
ALLOT_API size_t allot_pool_take_many(allot_pool *pool, void **objects, size_t count);

/// Give several objects back.
///
///   pool      of all of them
///   objects   as for allot_pool_give
///   count     their number
///
/// Returns nothing; errno is kept.
/// Threads: as allot_pool_take. Cost: that of so many gives under one lock.
ALLOT_API void allot_pool_give_many(allot_pool *pool, void *const *objects, size_t count);

/// Let go of all slabs without an object in use, beyond those that were made with the
/// pool. allot_purge then returns them to the system.
///
///   pool   which
///
/// Returns the bytes that left the pool. Threads: as allot_pool_take.
/// Cost: proportional to its slabs.
ALLOT_API size_t allot_pool_trim(allot_pool *pool);

/// What a pool holds. Objects, unless the name says otherwise.
struct allot_pool_stats {
    size_t size_bytes;        ///< in: sizeof(struct allot_pool_stats)
    uint64_t live_count;      ///< in use now
    uint64_t free_count;      ///< that can be taken without asking for memory, now
    uint64_t capacity_count;  ///< live and free
    uint64_t peak_count;      ///< the most that were in use at once
    uint64_t refused_calls;   ///< total takes that a limit or the end of the memory refused
    uint64_t object_bytes;    ///< of one object, as it was rounded
    uint64_t reserve_bytes;   ///< memory that was set aside when the pool was made
    uint64_t held_bytes;      ///< memory set aside now, the most that may be resident, without
                              ///< about four bytes for each object made with the pool
};

/// Fill `stats`.
///
///   pool    which
///   stats   its size_bytes is set by the caller
///
/// Returns true; false with errno = EINVAL if size_bytes is not that of any version.
/// Threads: as allot_pool_take. Cost: constant.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
ALLOT_API bool allot_pool_stats(const allot_pool *pool, struct allot_pool_stats *stats);
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

// ---- Ranges ------------------------------------------------------------------

/// A range: the numbers from 0 to a size, of which some are in use and the others
/// free. They may count bytes of a file, of a device, of memory shared or not;
/// what they count is never touched. Only what is free is recorded, so any part of
/// what is in use may become free, whoever allocated it, in any order; free
/// neighbours are one at once.
typedef struct allot_range allot_range;

/// What allot_range_alloc returns if it fails. No offset is equal to it.
#define ALLOT_RANGE_NONE UINT64_MAX

/// What allot_range_create is to make. Zeros mean the defaults.
struct allot_range_options {
    size_t struct_size;    ///< sizeof(struct allot_range_options). Set by the caller
    uint64_t size;         ///< numbers; below UINT64_MAX. 0: none, until allot_range_grow
    uint64_t granularity;  ///< power of two; 0: 1. All offsets are multiples of it, sizes of
                           ///< allocations are rounded up to it, the size of the range down
    bool shared;           ///< a lock lets several threads use the range at once
    void *memory;          ///< NULL: the records are allocated. Else they are all in this
                           ///< memory, and no function of the range allocates
    size_t memory_size;    ///< of it, in bytes, at least ALLOT_RANGE_MEMORY_MIN
};

/// Memory that suffices for a range of up to 28 free ranges, at any address. Each
/// further one takes about 24 bytes, or 48 in a range of 2^32 - 1 granules or more.
#define ALLOT_RANGE_MEMORY_MIN ((size_t)1280)

/// Make a range of which all is free.
///
///   options   size and granularity; see there
///
/// Returns the range. NULL with errno = EINVAL if options is NULL, struct_size is
/// unknown, the granularity is no power of two or the size is UINT64_MAX; ENOMEM if
/// there is no memory, or less was given than is needed.
/// Threads: any. Signals: no. fork: safe in the child.
/// Cost: two allocations, or none.
ALLOT_API allot_range *allot_range_create(const struct allot_range_options *options);

/// Free a range. Memory that was given to it is the caller's again.
///
///   range   or NULL, which is ignored
///
/// Returns nothing; errno is kept.
/// Threads: one, while no other uses it. Cost: two frees, or none.
ALLOT_API void allot_range_destroy(allot_range *range);

/// Allocate n adjacent numbers: in the smallest free range that can hold them, in
/// the lowest of equal ones, at its beginning but for the alignment.
///
///   range   where
///   n       at least 1
///   align   power of two, of which the offset is to be a multiple; 0 or 1: any
///
/// Returns the offset. ALLOT_RANGE_NONE with errno = ENOSPC if no free range can hold
/// them, EINVAL if n is 0 or align is not as above, ENOMEM if there is no memory for
/// the records; nothing has changed.
/// Threads: one at a time, unless the range is shared. Signals: no. fork: safe in the
/// child, unless the range is shared and another thread was in a call.
/// Cost: logarithmic in the number of free ranges; with an alignment, proportional to
/// the number of those that are large enough but for it.
ALLOT_API uint64_t allot_range_alloc(allot_range *range, uint64_t n, uint64_t align);

/// Allocate n numbers at an offset.
///
///   range    where
///   offset   multiple of the granularity
///   n        at least 1
///
/// Returns 0. -1 with errno = EEXIST if any of them is in use, EINVAL if n is 0, EDOM
/// if the offset is no multiple, ERANGE if they reach beyond the size, ENOMEM as
/// above; nothing has changed.
/// Threads: as allot_range_alloc. Signals: no.
/// Cost: logarithmic in the number of free ranges.
ALLOT_API int allot_range_alloc_at(allot_range *range, uint64_t offset, uint64_t n);

/// Make n numbers free: a part of an allocation, all of it, or of several that are
/// adjacent. They join what is free on both sides.
///
///   range    where
///   offset   multiple of the granularity
///   n        at least 1, rounded up to the granularity
///
/// Returns 0. -1 with errno = EALREADY if all of them are free (freed twice, or never
/// allocated), EEXIST if some are and others are not, EINVAL if n is 0, EDOM if the
/// offset is no multiple, ERANGE if they reach beyond the size, ENOMEM if there would
/// be one more free range, or one of another size, and there is no memory for the
/// records; nothing has changed.
/// Threads: as allot_range_alloc. Signals: no.
/// Cost: logarithmic in the number of free ranges.
ALLOT_API int allot_range_free(allot_range *range, uint64_t offset, uint64_t n);

/// Change the size. What is added is free.
///
///   range   which
///   size    larger, or smaller if all beyond it is free; rounded down to the
///           granularity
///
/// Returns 0. -1 with errno = EBUSY if something beyond the size is in use, EINVAL if
/// it is UINT64_MAX, ENOMEM as above; nothing has changed.
/// Threads: as allot_range_alloc. Cost: that of allot_range_free; growing to 2^32 - 1
/// granules or more makes all records anew, once, and needs memory for that.
ALLOT_API int allot_range_grow(allot_range *range, uint64_t size);

/// The size of a range.
///
///   range   which
///
/// Returns it. Threads: as allot_range_alloc. Cost: constant.
ALLOT_API uint64_t allot_range_size(const allot_range *range);

/// The size of the largest free range: what allot_range_alloc can give at most.
///
///   range   which
///
/// Returns it; 0 if nothing is free. Threads: as allot_range_alloc.
/// Cost: logarithmic in the number of free ranges.
ALLOT_API uint64_t allot_range_largest(const allot_range *range);

/// How many numbers are free.
///
///   range   which
///
/// Returns the sum over all free ranges. Threads: as allot_range_alloc. Cost: constant.
ALLOT_API uint64_t allot_range_free_bytes(const allot_range *range);

/// How many free ranges there are. No two of them are adjacent.
///
///   range   which
///
/// Returns their number. Threads: as allot_range_alloc. Cost: constant.
ALLOT_API uint64_t allot_range_count(const allot_range *range);

/// How much memory the records take, whether they are in use or not. It grows with
/// the number of free ranges, by a sixteenth at a time, and does not shrink.
///
///   range   which
///
/// Returns the bytes. Threads: as allot_range_alloc. Cost: constant.
ALLOT_API size_t allot_range_metadata_bytes(const allot_range *range);

/// What allot_range_walk calls: n numbers from offset on are free, or all in use.
/// Return false to end the walk.
typedef bool (*allot_range_visit)(void *context, uint64_t offset, uint64_t n, bool is_free);

/// Visit all of a range in order. Free and used parts take turns; adjacent
/// allocations are one used part.
///
///   range     which
///   visit     called for each part. It must not use this range
///   context   is passed on to it
///
/// Returns true if all was visited, false if a visit returned false.
/// Threads: as allot_range_alloc. Cost: proportional to the number of free ranges,
/// times a logarithm.
ALLOT_API bool allot_range_walk(const allot_range *range, allot_range_visit visit, void *context);

/// Check everything that is recorded of a range against itself.
///
///   range   which
///
/// Returns true if it is consistent; false means that its memory was overwritten, or
/// a defect of this library. Threads: as allot_range_alloc.
/// Cost: proportional to the number of free ranges, times a logarithm.
ALLOT_API bool allot_range_validate(const allot_range *range);
/// Whether a block is worth moving: copied to a new block, and freed. It is, if
/// its slab is used sparsely, other slabs of its size have room, and new blocks
/// do not come from it. A program that moves such blocks, pass by pass until
/// there are none, gives the memory between them back. The copy should not come
/// from the thread's cache, nor the old block go there: jemalloc's mallocx and
/// dallocx with MALLOCX_TCACHE_NONE see to that, or mallctl's
/// thread.tcache.enabled.
///
///   ptr   a block, or any address
///
/// Returns true if it is; false for large blocks and for what is no block.
/// Threads: any, the caller owns the block.
/// Cost: constant, and now and then a walk over all slabs: at most ten times a
/// second, and once for as many calls as there are slabs.
ALLOT_API bool allot_defrag_hint(const void *ptr);

// ---- The system's limits -----------------------------------------------------

#define ALLOT_UNLIMITED UINT64_MAX
#define ALLOT_NOT_AVAILABLE (UINT64_MAX - 1)
#define ALLOT_STALL_NOT_AVAILABLE UINT32_MAX

/// What the kernel lets the process's control group have, of either version, and
/// how long its processes wait for memory (PSI). Each figure may be unlimited or
/// not available, which are different: a group may have no such file, the kernel
/// may not count.
struct allot_pressure {
    size_t size_bytes;     ///< in: sizeof(struct allot_pressure). Set by the caller
    uint32_t version;      ///< of this struct: 1
    uint32_t unused;       ///< 0
    uint64_t limit_bytes;  ///< memory.max of the group itself, not of those above it;
                           ///< ALLOT_UNLIMITED, ALLOT_NOT_AVAILABLE
    uint64_t used_bytes;   ///< memory.current; ALLOT_NOT_AVAILABLE
    uint32_t some_avg10;   ///< of the last 10 s, the part in which some process waited for
                           ///< memory, in hundredths of a percent; ALLOT_STALL_NOT_AVAILABLE
    uint32_t full_avg10;   ///< likewise, in which all did
};

/// Read the limits and the pressure that the kernel reports. Nothing is kept from
/// one call to the next.
///
///   pressure   its size_bytes is set by the caller
///
/// Returns true. False with errno = EINVAL if size_bytes is not the size of any
/// version; with the error of opening /proc/self/cgroup if that cannot be read
/// (ENOENT: there is no /proc); nothing has changed.
/// Threads: any. Signals: no. fork: safe in the child. Cost: five files.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
ALLOT_API bool allot_pressure(struct allot_pressure *pressure);
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
// ---- Region pools --------------------------------------------------------------

/// A region pool: an allocator inside memory that the program gives, such as memory that
/// several processes share and map at different addresses. All that it knows lies in
/// that memory, in distances, and no function makes a system call or allocates, unless
/// another thread holds the lock. A process that is killed in the middle of a call does
/// no harm: the next caller repairs what it left. What it had allocated stays allocated.
typedef struct allot_region_pool allot_region_pool;

/// Memory that suffices for a pool with room for a few blocks.
#define ALLOT_REGION_POOL_MIN ((size_t)32768)

/// Make memory a pool of which all is free, whatever it holds. Nobody uses it meanwhile.
///
///   region       at a multiple of 4096 in each process that uses it
///   size_bytes   of the region; a thirtieth of it is for the pool's own records
///
/// Returns the pool. NULL with errno = EINVAL if region is NULL or not aligned, ENOMEM if
/// it is too small; nothing was written.
/// Threads: one. Signals: no. fork: the child has it, too, if the memory is shared; if
/// it has a copy, the pool is to be in nobody's call during the fork.
/// Cost: constant. Only memory that is in use is touched, now and later.
ALLOT_API allot_region_pool *allot_region_pool_create(void *region, size_t size_bytes);

/// The pool that another process, or this one, has made in a region.
///
///   region       where this process maps it
///   size_bytes   mapped, at least what it was made with
///
/// Returns the pool. NULL with errno = EINVAL if region is NULL or not aligned, ENOENT if
/// there is no pool or it is not ready, ENOTSUP if it is of another version of this
/// library, ERANGE if it is larger, EBADMSG if its first bytes were overwritten.
/// Threads: any. Signals: no. Cost: constant.
ALLOT_API allot_region_pool *allot_region_pool_open(void *region, size_t size_bytes);

/// End a pool: it cannot be opened any more. The memory is the caller's again.
///
///   pool   or NULL, which is ignored
///
/// Returns nothing; errno is kept.
/// Threads: one, while no other uses it, in any process. Cost: constant.
ALLOT_API void allot_region_pool_destroy(allot_region_pool *pool);

/// Allocate a block, aligned to 16. A size that is a power of two, up to 4096, gives an
/// alignment of the same; blocks beyond 8192 are pages.
///
///   pool         where
///   size_bytes   0 is allowed: a distinct pointer that must be freed
///
/// Returns the block, contents indeterminate. NULL with errno = ENOMEM if there is no
/// room; nothing has changed.
/// Threads: any, of all processes. Signals: no. fork: as
/// allot_region_pool_create.
/// Cost: constant, now and then logarithmic in the number of free runs of pages. Where a
/// process was killed in a call, once proportional to the pages ever in use.
ALLOT_API void *allot_region_pool_malloc(allot_region_pool *pool, size_t size_bytes) ALLOT_ALLOCATES
    ALLOT_SIZED(2);

/// Allocate an array of `count` elements of `size_bytes` each, all bits zero.
///
///   pool         where
///   count        number of elements
///   size_bytes   of one element
///
/// Returns the block. NULL with errno = ENOMEM if there is no room or the product
/// overflows; nothing has changed.
/// Threads: as allot_region_pool_malloc. Signals: no. Cost: its own, and clearing.
ALLOT_API void *allot_region_pool_calloc(allot_region_pool *pool, size_t count,
                                         size_t size_bytes) ALLOT_ALLOCATES ALLOT_SIZED(2, 3);

/// Free a block, whichever process allocated it.
///
///   pool   where it is from
///   ptr    the block, or NULL, which is ignored
///
/// Returns 0. -1 with errno = ERANGE if it does not point into the pool's pages, EALREADY
/// if it is free already, EDOM if no block begins there; nothing has changed.
/// Threads: as allot_region_pool_malloc. Signals: no. Cost: that of
/// allot_region_pool_malloc.
ALLOT_API int allot_region_pool_free(allot_region_pool *pool, void *ptr);

/// Free a block whose size is known, and refuse if it is another one.
///
///   pool         where it is from
///   ptr          the block, or NULL, which is ignored
///   size_bytes   what it was allocated with, or up to its usable size
///
/// Returns 0. -1 with errno = EINVAL if a block of that size would be a larger or a
/// smaller one, else as allot_region_pool_free; nothing has changed.
/// Threads: as allot_region_pool_malloc. Signals: no. Cost: likewise.
ALLOT_API int allot_region_pool_free_sized(allot_region_pool *pool, void *ptr, size_t size_bytes);

/// How many bytes of a block may be used.
///
///   pool   where it is from
///   ptr    the block, or NULL
///
/// Returns the bytes, at least what was asked for; 0 for NULL. 0 with errno as
/// allot_region_pool_free if it is no block.
/// Threads: as allot_region_pool_malloc. Signals: no. Cost: constant.
ALLOT_API size_t allot_region_pool_usable_size(allot_region_pool *pool, const void *ptr);

/// Where a pointer points to, as a number that means the same in each process. What one
/// block says of another in shared memory has to be such a number.
///
///   pool   a pool
///   ptr    into its region, or NULL
///
/// Returns the distance from the region's begin; 0 for NULL, for the begin itself, where
/// no block can be, and for what is outside.
/// Threads: any. Cost: constant, no lock.
ALLOT_API uint64_t allot_region_pool_offset(const allot_region_pool *pool, const void *ptr);

/// The pointer of this process that an offset means.
///
///   pool     a pool
///   offset   from allot_region_pool_offset, of any process
///
/// Returns it; NULL for 0 and for what is outside of the region.
/// Threads: any. Cost: constant, no lock.
ALLOT_API void *allot_region_pool_at(const allot_region_pool *pool, uint64_t offset);

/// Leave a block for those who open the pool, such as the one that leads to all others.
///
///   pool   a pool
///   ptr    into its region, or NULL
///
/// Returns 0. -1 with errno = ERANGE if it is outside; nothing has changed.
/// Threads: any; what was written before is visible to who reads it. Cost: constant, no
/// lock.
ALLOT_API int allot_region_pool_set_root(allot_region_pool *pool, const void *ptr);

/// What allot_region_pool_set_root has left.
///
///   pool   a pool
///
/// Returns it as a pointer of this process; NULL if there is none.
/// Threads: any. Cost: constant, no lock.
ALLOT_API void *allot_region_pool_root(const allot_region_pool *pool);

/// Figures of one pool, exact at the time of the call. Current values unless marked total;
/// totals never fall, except that a repair counts anew what is live.
struct allot_region_pool_stats {
    size_t size_bytes;      ///< in: sizeof(struct allot_region_pool_stats). Set by the caller
    uint64_t region_bytes;  ///< of the region
    uint64_t own_bytes;     ///< of it that cannot hold blocks: records, less than a page at the end
    uint64_t live_bytes;    ///< in blocks, usable sizes
    uint64_t live_blocks;   ///< blocks
    uint64_t free_bytes;    ///< in free pages; free blocks between others are not counted
    uint64_t largest_bytes;  ///< the largest block that free pages could give
    uint64_t malloc_count;   ///< total blocks allocated
    uint64_t free_count;     ///< total blocks freed
    uint64_t refused_count;  ///< total allocations that found no room
    uint64_t repair_count;   ///< total repairs after a process was killed in a call
};

/// Fill `stats`.
///
///   pool    a pool
///   stats   its size_bytes is set by the caller
///
/// Returns true; false with errno = EINVAL if size_bytes is not that of any version.
/// Threads: as allot_region_pool_malloc. Signals: no. Cost: constant, or a look at the
/// blocks' slabs, if some of them are empty: their pages become free.
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
ALLOT_API bool allot_region_pool_stats(allot_region_pool *pool,
                                       struct allot_region_pool_stats *stats);
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/// What allot_region_pool_walk calls for a block; false ends the walk.
typedef bool (*allot_region_pool_visit)(void *context, void *ptr, size_t usable_bytes);

/// Visit every live block in order, such as to find what a process that died had in use.
/// The lock is not held while a visit goes on: it may use the pool, and free the block.
///
///   pool      a pool
///   visit     called for each block that is live when it is come to
///   context   is passed on to it
///
/// Returns true if all were visited, false if a visit returned false.
/// Threads: as allot_region_pool_malloc. Signals: no. Cost: proportional to the pages
/// ever in use.
ALLOT_API bool allot_region_pool_walk(allot_region_pool *pool, allot_region_pool_visit visit,
                                      void *context);

/// Check everything that is recorded of a pool against itself.
///
///   pool   a pool
///
/// Returns true if it is consistent; false means that its memory was overwritten, or a
/// defect of this library. Threads: as allot_region_pool_malloc. Signals: no.
/// Cost: proportional to the pages ever in use, times a logarithm.
ALLOT_API bool allot_region_pool_validate(allot_region_pool *pool);
// ---- Buffers -----------------------------------------------------------------

/// A piece of a buffer: some adjacent bytes. Slices are plain values, of one
/// byte granularity, and nothing is stored beside their bytes: any part of a
/// slice is a slice, and so are adjacent slices of one array together. Each byte
/// that is handed out has one reference, or more after allot_buffer_retain.
struct allot_slice {
    void *data;         ///< NULL: no slice
    size_t size_bytes;  ///< 0 is allowed
};

/// A buffer: arrays of memory out of which slices are cut, and to which any
/// part of them comes back in any order.
typedef struct allot_buffer allot_buffer;

/// What allot_buffer_create is to make. Zeros mean the defaults.
struct allot_buffer_options {
    size_t struct_size;      ///< sizeof(struct allot_buffer_options). Set by the caller
    size_t first_bytes;      ///< of the first array; 0: 64 KiB. Each further one is twice as
                             ///< large as the largest
    size_t array_max_bytes;  ///< up to this, at least first_bytes; 0: 4 MiB. A larger slice
                             ///< gets an array of its own
    size_t limit_bytes;      ///< of all arrays together; 0: none
    size_t keep_bytes;       ///< an array goes back only if so much stays free; the pages of an
                             ///< idle one go back even so
    uint64_t idle_ns;        ///< an empty array goes back if nothing was freed in it for so long;
                             ///< 0: one second, UINT64_MAX: never. Looked at in calls, every few
                             ///< frees
    bool shared;             ///< a lock lets several threads use the buffer at once
};

/// Make a buffer. It has no array until the first slice.
///
///   options   NULL: all defaults
///
/// Returns the buffer. NULL with errno = ENOMEM if there is no memory; EINVAL
/// if struct_size is unknown or array_max_bytes is below first_bytes or not
/// below 1 TiB.
/// Threads: any. Signals: no. Cost: some allocations.
ALLOT_API allot_buffer *allot_buffer_create(const struct allot_buffer_options *options);

/// Free a buffer and all its arrays; no slice of it may be used any more.
///
///   buffer   or NULL, which is ignored
///
/// Returns nothing; errno is kept.
/// Threads: one, while no other uses it. Cost: proportional to arrays and free
/// ranges.
ALLOT_API void allot_buffer_destroy(allot_buffer *buffer);

/// Allocate adjacent bytes: the best fit in all arrays, of equal ones in the
/// oldest array and there the lowest; in a further array if none is large enough.
///
///   buffer       where
///   size_bytes   0 is allowed: a slice of no bytes, which need not be freed
///
/// Returns the slice, contents indeterminate and not aligned. data = NULL with
/// errno = ENOMEM if there is no memory or the limit is reached; nothing that is
/// in use has changed.
/// Threads: one at a time, unless the buffer is shared. Signals: no. fork: safe
/// in the child, unless the buffer is shared and another thread was in a call.
/// Cost: logarithmic in the number of free ranges.
ALLOT_API struct allot_slice allot_buffer_malloc(allot_buffer *buffer, size_t size_bytes);

/// Allocate what is there: the best fit for min_bytes in all arrays, and as much of
/// it as max_bytes; max_bytes in a further array if nothing fits. Where a message may
/// be in pieces, what is free between others is used so.
///
///   buffer      where
///   min_bytes   at least 1
///   max_bytes   at least min_bytes
///
/// Returns the slice, of min_bytes to max_bytes. data = NULL with errno = EINVAL if
/// they are not as above, ENOMEM as allot_buffer_malloc.
/// Threads: as allot_buffer_malloc. Signals: no. Cost: twice that of
/// allot_buffer_malloc.
ALLOT_API struct allot_slice allot_buffer_malloc_some(allot_buffer *buffer, size_t min_bytes,
                                                      size_t max_bytes);

/// Give up one reference to each byte of a slice. Bytes that have no further
/// one are free.
///
///   buffer   from which they are
///   slice    any bytes in use that lie in one array, however they were allocated.
///            No bytes: nothing happens
///
/// Returns 0. -1 with errno = EINVAL if any byte is not in use or not of this
/// buffer (a second free, a foreign pointer, an overlap); ENOMEM if there is no
/// memory to note that a part is free. Nothing has changed then.
/// Threads: as allot_buffer_malloc. Signals: no.
/// Cost: logarithmic in the number of free ranges and, if bytes have further
/// references, in the number of intervals that have.
ALLOT_API int allot_buffer_free(allot_buffer *buffer, struct allot_slice slice);

/// Free all of a slice but its first bytes.
///
///   buffer       from which it is
///   slice        in and out: the slice, then its first keep_bytes
///   keep_bytes   at most its size; with 0 nothing of it is left, and its data
///                is NULL
///
/// Returns 0. -1 with errno = EINVAL if it has fewer bytes, else as
/// allot_buffer_free; nothing has changed then, nor has the slice.
/// Threads: as allot_buffer_malloc. Cost: that of allot_buffer_free.
ALLOT_API int allot_buffer_free_rest(allot_buffer *buffer, struct allot_slice *slice,
                                     size_t keep_bytes);

/// Add one reference to each byte of a slice, to be given up by
/// allot_buffer_free: a consumer keeps what it needs, however long others do.
///
///   buffer   from which they are
///   slice    any bytes in use that lie in one array. No bytes: nothing happens
///
/// Returns 0. -1 with errno = EINVAL if any byte is not in use or not of this
/// buffer, EOVERFLOW if one has 2^32 references, ENOMEM; nothing has changed
/// then.
/// Threads: as allot_buffer_malloc; the caller has a reference. Signals: no.
/// Cost: logarithmic in the number of intervals that have further references.
ALLOT_API int allot_buffer_retain(allot_buffer *buffer, struct allot_slice slice);

/// Look at free bytes without allocating them: those that
/// allot_buffer_malloc(buffer, size_bytes) would return. They may be written and
/// read until the next call that gets this buffer, statistics and validation
/// excepted. If that is allot_buffer_malloc of the same size, it returns this
/// slice with its contents. Nothing need be given back, and no figure changes
/// unless an array is added.
///
///   buffer       not a shared one: another thread could take the bytes
///   size_bytes   0 is allowed
///
/// Returns the slice. data = NULL with errno = ENOMEM as allot_buffer_malloc,
/// EINVAL if the buffer is shared.
/// Threads: one. Signals: no. Cost: that of allot_buffer_malloc.
ALLOT_API struct allot_slice allot_buffer_borrow(allot_buffer *buffer, size_t size_bytes);

/// Allocate, read(2) once and free what was not read to. A call that a signal
/// interrupts is repeated. Up to 16 KiB are copied to the smallest free range that
/// holds them, if that has less than max_bytes.
///
///   buffer      where
///   slice       out: the bytes that were read; data = NULL if there are none
///   fd          a descriptor
///   max_bytes   how much to read at most, at least 1
///
/// Returns how many bytes were read, 0 at the end of the file. -1 with errno =
/// that of read, EINVAL if max_bytes is 0, or ENOMEM if they cannot be
/// allocated, before anything was read; nothing is allocated then.
/// Threads: as allot_buffer_malloc; the lock of a shared buffer is not held
/// while waiting. Signals: no. Cost: three calls of the buffer, one system call, a copy.
ALLOT_API ptrdiff_t allot_buffer_read(allot_buffer *buffer, struct allot_slice *slice, int fd,
                                      size_t max_bytes);

/// Make everything free that was handed out, whatever references there are.
/// Arrays stay.
///
///   buffer   no slice of it, and no list of slices, may be used any more
///
/// Returns 0. -1 with errno = ENOMEM; nothing has changed.
/// Threads: as allot_buffer_malloc. Cost: proportional to arrays and free
/// ranges.
ALLOT_API int allot_buffer_recycle(allot_buffer *buffer);

/// Give free memory back at once: empty arrays, whatever the options say, and
/// the pages of free ranges in the others. Bytes in use are not touched; free
/// ones lose their contents.
///
///   buffer   a buffer
///
/// Returns the bytes that were given back: to the process's allocator, which
/// returns them to the system (allot_purge), or to the system.
/// Threads: as allot_buffer_malloc. Cost: a system call for each free range of
/// at least a page.
ALLOT_API size_t allot_buffer_trim(allot_buffer *buffer);

/// What allot_buffer_walk calls. It makes no call that gets the buffer.
///
///   context   from the caller of allot_buffer_walk
///   range     a free range
///
/// Returns false to end the walk. Threads: that of the walk.
typedef bool (*allot_buffer_visit)(void *context, struct allot_slice range);

/// Call a function for each free range, in the order of arrays and addresses.
///
///   buffer    a buffer
///   visit     the function
///   context   what it is called with
///
/// Returns nothing. Threads: as allot_buffer_malloc; the lock of a shared buffer
/// is held. Cost: proportional to free ranges.
ALLOT_API void allot_buffer_walk(allot_buffer *buffer, allot_buffer_visit visit, void *context);

/// Check the buffer's own records against each other: for tests.
///
///   buffer   a buffer
///
/// Returns true if they agree. Threads: as allot_buffer_malloc.
/// Cost: proportional to arrays, free ranges and intervals with further references.
ALLOT_API bool allot_buffer_validate(allot_buffer *buffer);

/// Figures of one buffer. Bytes unless the name says otherwise; current values
/// unless marked total or peak. Totals never fall. They are exact, and
/// free = reserved - live at any time.
struct allot_buffer_stats {
    size_t size_bytes;        ///< in: sizeof(struct allot_buffer_stats). Set by the caller
    uint64_t reserved_bytes;  ///< in arrays
    uint64_t live_bytes;      ///< handed out; a byte counts once, however many references it has
    uint64_t free_bytes;      ///< in arrays and not handed out
    uint64_t peak_bytes;      ///< peak of live
    uint64_t largest_bytes;   ///< largest free range: a slice of this size needs no array
    uint64_t array_count;     ///< arrays
    uint64_t range_count;     ///< free ranges
    uint64_t shared_count;    ///< intervals of bytes that have further references
    uint64_t malloc_calls;    ///< total slices allocated, those of no bytes excepted
    uint64_t malloc_bytes;    ///< total bytes allocated
    uint64_t free_calls;      ///< total slices freed, those of no bytes excepted
    uint64_t freed_bytes;     ///< total bytes that became free
    uint64_t grow_calls;      ///< total arrays added
    uint64_t drop_calls;      ///< total arrays given back
    uint64_t purged_bytes;    ///< total bytes whose pages went back while their array stayed
};

/// Fill `stats`.
///
///   buffer   a buffer
///   stats    its size_bytes is set by the caller; a smaller struct of an
///            earlier version is filled as far as it goes
///
/// Returns true; false with errno = EINVAL if size_bytes is not the size of
/// any version.
/// Threads: as allot_buffer_malloc. Cost: constant.
ALLOT_API bool allot_buffer_get_stats(allot_buffer *buffer, struct allot_buffer_stats *stats);

// ---- Lists of slices -----------------------------------------------------------

// <sys/uio.h> defines it: the two fields of a slice.
struct iovec;

/// Slices in a row, as one message that need not be adjacent: to be written by
/// writev(2) as it is, consumed at the front while more is appended.
typedef struct allot_slices allot_slices;

/// Make an empty list.
///
///   buffer   to which its slices will belong; it outlives the list
///
/// Returns the list. NULL with errno = ENOMEM.
/// Threads: any. Signals: no. Cost: an allocation.
ALLOT_API allot_slices *allot_slices_create(allot_buffer *buffer);

/// Free a list and the slices on it.
///
///   list   or NULL, which is ignored
///
/// Returns 0, and errno is kept. -1 with errno = ENOMEM if there is no memory to
/// note that a slice is free: the list is empty then and still there, to be
/// destroyed by a later call.
/// Threads: as allot_buffer_malloc, and one for the list. Cost: that of freeing
/// its slices.
ALLOT_API int allot_slices_destroy(allot_slices *list);

/// Append a slice. The list takes the caller's reference over. A slice that
/// begins where the last one ends becomes part of that.
///
///   list    a list
///   slice   of the list's buffer; of no bytes: nothing happens
///
/// Returns 0. -1 with errno = ENOMEM; the slice still belongs to the caller.
/// Threads: one for the list. Cost: constant.
ALLOT_API int allot_slices_append(allot_slices *list, struct allot_slice slice);

/// The bytes on a list.
///
///   list   a list
///
/// Returns their number. Threads: one for the list. Cost: constant.
ALLOT_API size_t allot_slices_bytes(const allot_slices *list);

/// The slices of a list, in order, as readv(2), writev(2), sendmsg(2) and
/// io_uring take them.
///
///   list    a list
///   count   out: how many there are; the system takes 1,024 (IOV_MAX) at once
///
/// Returns an array that is valid until the list changes.
/// Threads: one for the list. Cost: constant.
ALLOT_API const struct iovec *allot_slices_iovec(const allot_slices *list, size_t *count);

/// Free bytes at the front: whole slices, and the first part of one.
///
///   list         a list
///   size_bytes   at most what is on the list
///
/// Returns 0. -1 with errno = EINVAL if there are fewer bytes on the list, and
/// nothing has changed; or if some byte was not in use any more: all are off the
/// list, and the others free. Where there is no memory to note that a slice is
/// free, the list does so at a later call.
/// Threads: as allot_buffer_malloc, and one for the list. Cost: that of freeing
/// the slices.
ALLOT_API int allot_slices_consume(allot_slices *list, size_t size_bytes);

/// Move bytes from the front of one list to the end of another: a message is cut out
/// of a stream. No reference changes.
///
///   to           a list of the same buffer
///   from         another list
///   size_bytes   at most what is on it
///
/// Returns 0. -1 with errno = EINVAL if there are fewer bytes on the list or the
/// lists are one or of two buffers, ENOMEM; nothing has changed then.
/// Threads: one for both lists. Cost: proportional to the slices moved.
ALLOT_API int allot_slices_move(allot_slices *to, allot_slices *from, size_t size_bytes);

/// Allocate, readv(2) once, append what was read and free the rest. The bytes may
/// come in up to 16 pieces: free ranges of 4 KiB and more are used, the smallest
/// first.
///
///   list        a list
///   fd          a descriptor
///   max_bytes   how much to read at most, at least 1
///
/// Returns and fails as allot_buffer_read.
/// Threads: as allot_buffer_malloc, and one for the list; the lock of a shared
/// buffer is not held while waiting. Cost: up to 16 slices, one system call.
ALLOT_API ptrdiff_t allot_slices_read(allot_slices *list, int fd, size_t max_bytes);

/// writev(2) once, as much of the list as the system takes in one call, and
/// consume what was written. A call that a signal interrupts is repeated.
///
///   list   a list
///   fd     a descriptor. Where SIGPIPE may come, it is up to the caller
///
/// Returns how many bytes were written, 0 for an empty list. -1 with errno =
/// that of writev; the list is as it was.
/// Threads: as allot_slices_read. Cost: one system call and that of consuming.
ALLOT_API ptrdiff_t allot_slices_write(allot_slices *list, int fd);

// ---- Guard mode ----------------------------------------------------------------

/// Look at every guarded block: whether its redzones are as they were, and what was
/// freed lately still unchanged. Each damaged block is reported on stderr once, with
/// the calls that allocated and freed it; the process goes on, whatever the option
/// `misuse` says. Without the option `guard` there are no such blocks.
///
/// Returns how many blocks are damaged, those that were reported before included.
/// Threads: any; others go on, and none waits. Signals: no. fork: safe in the child.
/// Cost: a look at each guarded block and its redzones.
ALLOT_API size_t allot_check(void);

/// Say on stderr which guarded block an address lies in or next to, and by which
/// calls it was allocated and freed. For a program's own handler of SIGSEGV, with
/// siginfo_t.si_addr, or a debugger.
///
///   address   any
///
/// Returns true if it was said; false if it is in no guarded block or next to one, or
/// another report is just being made.
/// Threads: any. Signals: yes. fork: safe in the child.
/// Cost: /proc/self/maps is read.
ALLOT_API bool allot_guard_report(const void *address);

// ---- Options -----------------------------------------------------------------

/// Set an option. The names and values are those of the environment variables
/// ALLOT_NAME: allot_set("purge_delay", "1s") is ALLOT_PURGE_DELAY=1s.
/// `allot options` lists them.
///
///   name    of the option, in lower case
///   value   as text, with its unit
///
/// Returns true. False with errno = ENOENT if there is no such option, EINVAL
/// if the value is not allowed, EPERM if it can only be set at start; nothing
/// has changed.
/// Threads: any; the new value takes effect from the next slow path on.
ALLOT_API bool allot_set(const char *name, const char *value);

/// Write the value of an option as text that allot_set accepts.
///
///   name          of the option
///   value         out: the text, NUL-terminated, cut if too long
///   value_bytes   size of the array `value`, at least 1
///
/// Returns the length of the whole text without NUL, as snprintf does; -1
/// with errno = ENOENT if there is no such option, EINVAL if value_bytes is 0.
/// Threads: any.
ALLOT_API int allot_get(const char *name, char *value, size_t value_bytes);

/// Defaults that a program sets when it is linked; the environment comes
/// after it. Define it as: const char *allot_defaults = "purge_delay=1s";
extern const char *allot_defaults;

// ---- About -------------------------------------------------------------------

/// Whether malloc and free of this process are the ones of this library.
///
/// Returns true if they are. Threads: any. Cost: a look at one symbol.
ALLOT_API bool allot_is_active(void);

/// The version of the library that runs, such as "1.0.0".
///
/// Returns a static string. Threads: any.
ALLOT_API const char *allot_version(void);

#ifdef __cplusplus
}
#endif
#endif
