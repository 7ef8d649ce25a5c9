/* The system call is process_vm_writev on the own process: from the memory that may not be there, into
 * the caller's. Of the two the system looks up and pins the pages of what is written to, and only copies
 * what is read, as far as it is there. The other way round, by process_vm_readv, it would pin the pages
 * of each of many pieces, which takes ten times as long as to copy them. It is called by number, as a
 * sanitizer takes what the C library's function reads for a use of that memory.
 *
 * The pipe is made for each read and closed again: one that stayed open could be closed by the
 * program, which may close every descriptor, and its number given to one of the program's files. */
#define _GNU_SOURCE
#include "native/own_memory.h"

#include <string.h>

struct own_memory_piece own_memory_beginning(void *to, const void *from, size_t least,
                                             size_t wanted) {
    size_t here = OWN_MEMORY_PAGE - ((uintptr_t)from & (OWN_MEMORY_PAGE - 1)),
           size = wanted < here ? wanted : here;
    return (struct own_memory_piece){to, from, size > least ? size : least};
}

#ifdef __linux__

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIPE_ROOM 4096 /* a pipe takes so much at once */

static enum own_memory_way way = OWN_MEMORY_CLOSED;

static ssize_t read_by_pipe(char *to, const char *from, size_t size) {
    int ends[2];
    if (size == 0) {
        return 0;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -1;
    }
    size_t done = 0;
    while (done < size) {
        size_t part = size - done < PIPE_ROOM ? size - done : PIPE_ROOM;
        ssize_t wrote = write(ends[1], from + done, part);
        ssize_t got = wrote > 0 ? read(ends[0], to + done, (size_t)wrote) : -1;
        if (got <= 0) {
            break;
        }
        done += (size_t)got;
        if ((size_t)got < part) {
            break;
        }
    }
    close(ends[0]);
    close(ends[1]);
    return done > 0 ? (ssize_t)done : -1;
}

/* Copy what lies in some places to some others. */
static ssize_t copy(const struct iovec *from, size_t count, const struct iovec *to,
                    size_t to_count) {
    return syscall(SYS_process_vm_writev, (long)getpid(), from, count, to, to_count, 0ul);
}

static ssize_t read_by(enum own_memory_way how, void *to, const void *from, size_t size) {
    if (how == OWN_MEMORY_BY_SYSTEM_CALL) {
        const struct iovec there = {(void *)from, size}, here = {to, size};
        return copy(&there, 1, &here, 1);
    }
    return how == OWN_MEMORY_BY_PIPE ? read_by_pipe(to, from, size) : -1;
}

enum own_memory_way own_memory_init(void) {
    static const char known[4] = "yes";
    enum own_memory_way found = OWN_MEMORY_BY_SYSTEM_CALL;
    for (; found < OWN_MEMORY_CLOSED; found++) {
        char copy[sizeof known] = "";
        if (read_by(found, copy, known, sizeof known) == sizeof known && copy[0] == 'y') {
            break;
        }
    }
    way =
        found; /* who reads meanwhile, as it is found out again, goes on in the way known so far */
    return found;
}

ssize_t own_memory_read_some(void *to, const void *from, size_t size) {
    return read_by(way, to, from, size);
}

bool own_memory_read(void *to, const void *from, size_t size) {
    return read_by(way, to, from, size) == (ssize_t)size;
}

/* Read pieces one by one. */
static size_t read_singly(const struct own_memory_piece *pieces, size_t count) {
    size_t done = 0;
    while (done < count && own_memory_read(pieces[done].to, pieces[done].from, pieces[done].size)) {
        done++;
    }
    return done;
}

/* How many pieces are whole in so many bytes. */
static size_t whole_pieces(const struct own_memory_piece *pieces, size_t count, ssize_t bytes) {
    size_t done = 0;
    for (size_t left = bytes > 0 ? (size_t)bytes : 0; done < count && pieces[done].size <= left;
         done++) {
        left -= pieces[done].size;
    }
    return done;
}

static size_t read_few(const struct own_memory_piece *pieces, size_t count,
                       const struct iovec *from) {
    struct iovec to[OWN_MEMORY_FEW];
    for (size_t i = 0; i < count; i++) {
        to[i] = (struct iovec){pieces[i].to, pieces[i].size};
    }
    return whole_pieces(pieces, count, copy(from, count, to, count));
}

static size_t read_gathered(const struct own_memory_piece *pieces, size_t count,
                            const struct iovec *from, size_t size, char *room) {
    const struct iovec to = {room, size};
    size_t done = whole_pieces(pieces, count, copy(from, count, &to, 1));
    const char *at = room;
    for (size_t i = 0; i < done; i++) {
        memcpy(pieces[i].to, at, pieces[i].size);
        at += pieces[i].size;
    }
    return done;
}

size_t own_memory_read_pieces(const struct own_memory_piece *pieces, size_t count, char *room,
                              size_t room_size) {
    struct iovec from[OWN_MEMORY_PIECES];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        from[i] = (struct iovec){(void *)pieces[i].from, pieces[i].size};
        size += pieces[i].size;
    }
    bool are_few = count <= OWN_MEMORY_FEW;
    if (way != OWN_MEMORY_BY_SYSTEM_CALL || count == 0 || (!are_few && size > room_size)) {
        return read_singly(pieces, count);
    }
    return are_few ? read_few(pieces, count, from) : read_gathered(pieces, count, from, size, room);
}

#else

enum own_memory_way own_memory_init(void) { return OWN_MEMORY_CLOSED; }

ssize_t own_memory_read_some(void *to, const void *from, size_t size) {
    (void)to, (void)from, (void)size;
    return -1;
}

bool own_memory_read(void *to, const void *from, size_t size) {
    (void)to, (void)from, (void)size;
    return false;
}

size_t own_memory_read_pieces(const struct own_memory_piece *pieces, size_t count, char *room,
                              size_t room_size) {
    (void)pieces, (void)count, (void)room, (void)room_size;
    return 0;
}

#endif
