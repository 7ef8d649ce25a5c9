/* Reads memory of this process that another thread may be giving back at this moment: a page that is
 * not there is an error, not a crash. What is read may still be torn or stale, and is for the caller to
 * check. */
#ifndef GILKNOCK_OWN_MEMORY_H
#define GILKNOCK_OWN_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OWN_MEMORY_PAGE ((uintptr_t)4096) /* pages are as large, or a multiple of it */

enum own_memory_way {
    OWN_MEMORY_BY_SYSTEM_CALL, /* process_vm_writev: some 1 us */
    OWN_MEMORY_BY_PIPE,        /* where that is denied: some us */
    OWN_MEMORY_CLOSED,         /* neither works */
};

/* One piece to be read. */
struct own_memory_piece {
    void *to;
    const void *from;
    size_t size;
};

/* A piece that is `least` bytes for sure, and up to `wanted`: what of these lies beyond the page where it
 * begins is left out, as the next page may not be there. */
struct own_memory_piece own_memory_beginning(void *to, const void *from, size_t least,
                                             size_t wanted);

/* Find out which way works here. Call it before anything else here, from one thread. */
enum own_memory_way own_memory_init(void);

/* Read a piece. Returns how many bytes could be read from its beginning, or -1 if none. No lock is
 * taken; any thread. */
ssize_t own_memory_read_some(void *to, const void *from, size_t size);

/* Read a piece whole, or return false. */
bool own_memory_read(void *to, const void *from, size_t size);

/* Read up to OWN_MEMORY_PIECES pieces, and return of how many, from the first on, it is certain that
 * they were read whole: none where an address is one that no memory can have. More than OWN_MEMORY_FEW are
 * copied by way of `room`, all at once if it is as large as they are. */
#define OWN_MEMORY_PIECES 32
#define OWN_MEMORY_FEW 4
size_t own_memory_read_pieces(const struct own_memory_piece *pieces, size_t count, char *room,
                              size_t room_size);

#endif
