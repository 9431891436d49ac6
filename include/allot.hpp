// allot.hpp - heaps for C++17: an owner, a memory resource, an allocator.
//
// Header only, on top of allot.h, which says what a heap is, who may use it and what the options
// mean. Nothing here takes a lock or keeps state beside a pointer to the heap.
#ifndef ALLOT_HPP
#define ALLOT_HPP

#include "allot.h"

#include <cerrno>
#include <cstddef>
#include <limits>
#include <memory_resource>
#include <new>
#include <system_error>
#include <utility>

namespace allot {

/// Options with size_bytes filled in; all else is zero.
inline allot_heap_options heap_options() noexcept {
    allot_heap_options options = {};
    options.size_bytes = sizeof options;
    return options;
}

/// Owns a heap and destroys it, with every block in it. Moves, does not copy.
/// Threads: as the heap; the destructor runs in the thread that owns it.
class heap {
  public:
    heap() : heap(heap_options()) {}

    /// Throws std::system_error with allot_heap_create's errno.
    explicit heap(const allot_heap_options &options) : heap_(allot_heap_create(&options)) {
        if (heap_ == nullptr) {
            throw std::system_error(errno, std::generic_category(), "allot_heap_create");
        }
    }
    heap(heap &&other) noexcept : heap_(std::exchange(other.heap_, nullptr)) {}
    heap &operator=(heap &&other) noexcept {
        heap moved(std::move(other));
        std::swap(heap_, moved.heap_);
        return *this;
    }
    heap(const heap &) = delete;
    heap &operator=(const heap &) = delete;
    ~heap() {
        allot_heap_destroy(heap_);
    }

    allot_heap *get() const noexcept {
        return heap_;
    }

    /// Whether the calling thread owns it now.
    bool adopt() noexcept {
        return allot_heap_adopt(heap_) == 0;
    }
    bool disown() noexcept {
        return allot_heap_disown(heap_) == 0;
    }

  private:
    allot_heap *heap_;
};

/// A block of `bytes` at a multiple of `align`. Throws std::bad_alloc if the heap says no.
inline void *take(allot_heap *heap, std::size_t bytes, std::size_t align) {
    void *block = align <= alignof(std::max_align_t) ? allot_heap_malloc(heap, bytes)
                                                     : allot_heap_aligned(heap, align, bytes);
    if (block == nullptr) {
        throw std::bad_alloc();
    }
    return block;
}

/// A memory resource for std::pmr containers. The heap outlives it. Two are equal if their heaps
/// are the same.
class memory_resource : public std::pmr::memory_resource {
  public:
    explicit memory_resource(allot_heap *heap) noexcept : heap_(heap) {}
    explicit memory_resource(const heap &heap) noexcept : heap_(heap.get()) {}

    allot_heap *get() const noexcept {
        return heap_;
    }

  private:
    void *do_allocate(std::size_t bytes, std::size_t align) override {
        return take(heap_, bytes, align);
    }
    void do_deallocate(void *block, std::size_t, std::size_t) override {
        allot_heap_free(heap_, block);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        auto same = dynamic_cast<const memory_resource *>(&other);
        return same != nullptr && same->heap_ == heap_;
    }

    allot_heap *heap_;
};

/// An allocator for containers of the standard library. The heap outlives them; assignment and
/// swap take the heap along.
template <class T> class allocator {
  public:
    using value_type = T;
    using propagate_on_container_copy_assignment = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;
    using is_always_equal = std::false_type;

    allocator(allot_heap *heap) noexcept : heap_(heap) {}
    allocator(const heap &heap) noexcept : heap_(heap.get()) {}
    template <class U> allocator(const allocator<U> &other) noexcept : heap_(other.get()) {}

    T *allocate(std::size_t count) {
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) {
            throw std::bad_array_new_length();
        }
        return static_cast<T *>(take(heap_, count * sizeof(T), alignof(T)));
    }
    void deallocate(T *block, std::size_t) noexcept {
        allot_heap_free(heap_, block);
    }

    allot_heap *get() const noexcept {
        return heap_;
    }
    template <class U> bool operator==(const allocator<U> &other) const noexcept {
        return heap_ == other.get();
    }
    template <class U> bool operator!=(const allocator<U> &other) const noexcept {
        return heap_ != other.get();
    }

  private:
    allot_heap *heap_;
};

}  // namespace allot

#endif
