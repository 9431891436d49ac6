// os.h - the contract with the operating system.                           layer 1
//
// Each platform is one file that implements this; tests bring one more, which
// fails on request. Functions return 0 or an errno value and keep errno itself
// unless they say otherwise. No function here allocates.
#ifndef ALLOT_OS_OS_H
#define ALLOT_OS_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- Memory. Addresses and sizes are multiples of the page size.

size_t os_page_bytes(void);

// Address space without memory, near `hint` if that is free. NULL if refused.
void *os_reserve(void *hint, size_t size_bytes);

// Memory that is zero, mapped at once. NULL if refused.
void *os_map(void *hint, size_t size_bytes);

void os_unmap(void *address, size_t size_bytes);

// Makes reserved address space accessible; its content is zero. On an error
// it is as it was.
int os_commit(void *address, size_t size_bytes);

// As os_commit, from the system's pool of huge pages. On an error the range may
// be a hole: os_renew.
int os_commit_huge(void *address, size_t size_bytes);

// Gives the memory back and keeps the address space; it reads as zero
// afterwards. On an error the content is kept.
int os_purge(void *address, size_t size_bytes);

// Moves pages to `to`, which is committed; `from` stays committed and reads as
// zero. On an error `from` is as it was, and `to` may be a hole: os_renew.
int os_move(void *to, void *from, size_t size_bytes);

// Undoes what os_move leaves behind in the kernel's tables: the range becomes
// fresh, zero memory in one mapping with its neighbours; or fills a hole. On an
// error it is as it was.
int os_renew(void *address, size_t size_bytes);

// Takes the faults of a committed range in one call: a twentieth of the time of
// single ones. Best effort; the content is kept.
void os_populate(void *address, size_t size_bytes);

// Makes a committed range inaccessible; its content is lost and its memory goes
// back. On an error it is as it was. os_unfence: committed again, content zero.
int os_fence(void *address, size_t size_bytes);
int os_unfence(void *address, size_t size_bytes);

// Which pages of a committed range are in memory now: at most OS_RESIDENT_MAX. All of
// them where the system does not say.
enum { OS_RESIDENT_MAX = 256 };
void os_resident(void *address, size_t page_count, bool *is_resident);

// Keeps a committed range resident (mlock).
int os_lock(void *address, size_t size_bytes);

enum os_thp { OS_THP_SYSTEM, OS_THP_NEVER, OS_THP_ALWAYS };

// Transparent huge pages on this range. Best effort.
void os_set_thp(void *address, size_t size_bytes, enum os_thp mode);

// RLIMIT_AS; SIZE_MAX if there is none.
size_t os_address_space_limit(void);

// Resident memory of this process; 0 if unknown.
size_t os_resident_bytes(void);

// ---- Time, threads, text

uint64_t os_now_ms(void);  // coarse, monotonic, a few ns
uint64_t os_now_ns(void);
void os_sleep_ms(uint64_t ms);

// Processors that this process may use.
unsigned os_cpu_count(void);

// False from the moment at which a second thread is about to exist.
bool os_is_single_threaded(void);

// Waits while *word is `value`; may return early.
void os_wait(void *word, uint32_t value);
void os_wake_one(void *word);

void os_write(int fd, const char *text, size_t length);
int os_duplicate(int fd);  // above the standard ones; -1 if not possible
// Reads a part of a file. Returns the bytes that were read, and ends the text with
// a NUL behind them; or minus an errno value.
long os_read_file(const char *path, char *text, size_t size_bytes, size_t offset_bytes);
int os_open_append(const char *path);  // -1 if not possible
int os_open_read(const char *path);    // likewise
// The next bytes of it. Returns how many; 0 at the end or on an error.
size_t os_read(int fd, char *text, size_t size_bytes);
void os_close(int fd);
int os_process_id(void);

// Calls visit(context, "NAME=value") for each environment variable that begins
// with `prefix`; for none if the process runs with more rights than its user.
void os_environment_each(const char *prefix, void (*visit)(void *, const char *), void *context);

#endif
