#define _GNU_SOURCE
#include "native/event_ring.h"

#include <string.h>
#include <sys/mman.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

#define SMALLEST_PAGE 4096u
#define HUGE_PAGE (2u << 20)

static size_t size_of(const struct event_ring *ring) {
    return ring->capacity * sizeof *ring->events;
}

/* How much of the memory is had before it is used, from its beginning. */
static size_t ready_size(const struct event_ring *ring) {
    const size_t most = (EVENT_RING_READY * sizeof *ring->events | (HUGE_PAGE - 1)) + 1;
    return size_of(ring) < most ? size_of(ring) : most;
}

/* Have the system provide that part. A huge page takes a tenth of the time of as many small ones. */
static void touch(const struct event_ring *ring) {
    size_t ready = ready_size(ring);
    volatile char *memory = (volatile char *)ring->events;
#ifdef MADV_HUGEPAGE
    madvise(ring->events, ready, MADV_HUGEPAGE);
#endif
    for (size_t offset = 0; offset < ready; offset += SMALLEST_PAGE) {
        memory[offset] = 0;
    }
}

int event_ring_init(struct event_ring *ring, size_t capacity) {
    *ring = (struct event_ring){.events = NULL};
    if (capacity > SIZE_MAX / sizeof *ring->events) {
        return -1;
    }
    size_t size = capacity * sizeof *ring->events;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
#ifdef MADV_NOHUGEPAGE
    /* Clearing a huge page takes too long for a thread that has just got the GIL. */
    madvise(memory, size, MADV_NOHUGEPAGE);
#endif
    ring->events = memory;
    ring->capacity = capacity;
    touch(ring);
    return 0;
}

void event_ring_rest(struct event_ring *ring) {
#ifdef MADV_FREE
    madvise(ring->events, size_of(ring), MADV_FREE);
#else
    (void)ring;
#endif
}

void event_ring_resume(struct event_ring *ring) {
    ring->next = 0;
    ring->written = 0;
    touch(ring);
}

void event_ring_free(struct event_ring *ring) {
    if (ring->events != NULL) {
        munmap(ring->events, size_of(ring));
    }
    *ring = (struct event_ring){.events = NULL};
}

size_t event_ring_count(const struct event_ring *ring, uint64_t first) {
    uint64_t count = ring->written > first ? ring->written - first : 0;
    return count < ring->capacity ? (size_t)count : ring->capacity;
}

void event_ring_copy(const struct event_ring *ring, uint64_t first, struct event *copy) {
    size_t count = event_ring_count(ring, first);
    size_t before_end = count < ring->next ? count : ring->next; /* lie before `next` */
    size_t wrapped = count - before_end;
    memcpy(copy, ring->events + (ring->capacity - wrapped), wrapped * sizeof *copy);
    memcpy(copy + wrapped, ring->events + (ring->next - before_end), before_end * sizeof *copy);
}
