// frame.h - frames on the stack, and calls in the code.                   layer 1
#ifndef ALLOT_OS_FRAME_H
#define ALLOT_OS_FRAME_H

#include <stdbool.h>
#include <stdint.h>

// The frame of the function that says it, which then has one in every build: return
// addresses can be followed from there, and through it.
#define FRAME_HERE() ((const uintptr_t *)__builtin_frame_address(0))
#define FRAME_KEEP() __asm__ volatile("" : : "r"(FRAME_HERE()))

// It holds the frame pointer of the caller and the return address.
#if defined(__x86_64__) || defined(__aarch64__)
#define FRAME_IS_KNOWN 1
#else
#define FRAME_IS_KNOWN 0
#endif

enum { FRAME_CALL_BYTES = 7 };

// Whether the code before this address, of which FRAME_CALL_BYTES can be read,
// ends with a call.
#if defined(__x86_64__)
static inline bool frame_follows_call(const unsigned char *code) {
    bool is_direct = code[-5] == 0xe8;
    // ff /2, whose operand is a register, or memory with up to six bytes more
    bool is_indirect = (code[-2] == 0xff && (code[-1] & 0x38) == 0x10) ||
                       (code[-3] == 0xff && (code[-2] & 0x38) == 0x10) ||
                       (code[-4] == 0xff && (code[-3] & 0x38) == 0x10) ||
                       (code[-6] == 0xff && (code[-5] & 0x38) == 0x10) ||
                       (code[-7] == 0xff && (code[-6] & 0x38) == 0x10);
    return is_direct || is_indirect;
}
#elif defined(__aarch64__)
static inline bool frame_follows_call(const unsigned char *code) {
    return (code[-1] & 0xfc) == 0x94 || (code[-1] == 0xd6 && (code[-2] & 0xe0) == 0x20);
}
#else
static inline bool frame_follows_call(const unsigned char *code) {
    (void)code;
    return true;
}
#endif

#endif
