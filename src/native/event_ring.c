#define _GNU_SOURCE
#include "native/event_ring.h"

#include <string.h>
#include <sys/mman.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

int event_ring_init(struct event_ring *ring, size_t capacity) {
    *ring = (struct event_ring){.capacity = capacity};
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
    return 0;
}

void event_ring_free(struct event_ring *ring) {
    if (ring->events != NULL) {
        munmap(ring->events, ring->capacity * sizeof *ring->events);
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
