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

/// The usable size that allot_malloc(size_bytes) would give.
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
    uint64_t partial_bytes;       ///< free blocks in slabs that also hold other blocks
    uint64_t dirty_bytes;         ///< free spans that may be resident
    uint64_t purged_bytes;        ///< free spans that are not resident
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
