// compiler.h - what the compiler offers beyond C11.                        layer 0
//
// The only place for compiler and processor conditionals.
#ifndef ALLOT_BASE_COMPILER_H
#define ALLOT_BASE_COMPILER_H

#include <stdint.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NOINLINE __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define COLD __attribute__((cold, noinline))
#define NORETURN __attribute__((noreturn))
#define CACHE_LINE_BYTES 64
#define CACHE_ALIGNED __attribute__((aligned(CACHE_LINE_BYTES)))
#define PREFETCH_WRITE(address) __builtin_prefetch((address), 1)
#define PREFETCH_READ(address) __builtin_prefetch((address), 0)

// Two words as one number: comparing them takes two instructions and no branch.
typedef unsigned __int128 uint128;

// Initial-exec: one load finds a variable, also in a preloaded library.
#define THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))

#if defined(__SANITIZE_THREAD__)
#define COMPILER_TSAN 1
#else
#define COMPILER_TSAN 0
#endif

// Moves a pointer in memory by one slot, or counts. A read-modify-write of memory is one
// instruction where the compiler would use two; only the owner writes it, so
// it need not be atomic. Other threads may read it for statistics.
#if defined(__x86_64__) && !COMPILER_TSAN
static ALWAYS_INLINE void compiler_slot_up(void ***top) {
    __asm__("addq $8, %0" : "+m"(*top) : : "cc");
}
// Keeps a value where results are returned: one copy less on malloc's fast path.
#define COMPILER_RESULT(value) __asm__("" : "+a"(value))
static ALWAYS_INLINE void compiler_slot_down(void ***top) {
    __asm__("subq $8, %0" : "+m"(*top) : : "cc");
}
static ALWAYS_INLINE void compiler_count_up(uint64_t *counter) {
    __asm__("incq %0" : "+m"(*counter) : : "cc");
}
static ALWAYS_INLINE void compiler_count_by(uint64_t *counter, uint64_t by) {
    __asm__("addq %1, %0" : "+m"(*counter) : "er"(by) : "cc");
}
#else
#define COMPILER_RESULT(value) ((void)0)
static ALWAYS_INLINE void compiler_slot_up(void ***top) {
    __atomic_store_n(top, *top + 1, __ATOMIC_RELAXED);
}
static ALWAYS_INLINE void compiler_slot_down(void ***top) {
    __atomic_store_n(top, *top - 1, __ATOMIC_RELAXED);
}
static ALWAYS_INLINE void compiler_count_up(uint64_t *counter) {
    __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}
static ALWAYS_INLINE void compiler_count_by(uint64_t *counter, uint64_t by) {
    __atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}
#endif

// Reads a word that other threads write, where any value that it had is right.
// A plain load can be an operand of the comparison, an atomic one cannot.
#if COMPILER_TSAN
#define COMPILER_LOAD(lvalue) __atomic_load_n(&(lvalue), __ATOMIC_RELAXED)
#else
#define COMPILER_LOAD(lvalue) (lvalue)
#endif

// A field of a record that a thread may still read as what the record was before;
// whoever does so finds out afterwards and uses nothing of it.
#if COMPILER_TSAN
#define COMPILER_LATE(type) _Atomic(type)
#else
#define COMPILER_LATE(type) type
#endif

// Keeps two numbers in general registers. The compiler would pair them in a vector
// register by way of the stack: two stores, and a load of both that waits for them.
#define COMPILER_APART(first, second) __asm__("" : "+r"(first), "+r"(second))

// A hint to the processor that this is a waiting loop.
#if defined(__x86_64__)
#define COMPILER_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define COMPILER_PAUSE() __asm__ volatile("isb")
#else
#define COMPILER_PAUSE() ((void)0)
#endif

#endif
