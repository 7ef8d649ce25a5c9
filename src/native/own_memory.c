/* The pipe is made for each read and closed again: one that stayed open could be closed by the
 * program, which may close every descriptor, and its number given to one of the program's files. */
#define _GNU_SOURCE
#include "native/own_memory.h"

#include <stdint.h>

#define PAGE ((uintptr_t)4096) /* pages are as large, or a multiple of it */

struct own_memory_piece own_memory_beginning(void *to, const void *from, size_t least,
                                             size_t wanted) {
    size_t here = PAGE - ((uintptr_t)from & (PAGE - 1)), size = wanted < here ? wanted : here;
    return (struct own_memory_piece){to, from, size > least ? size : least};
}

#ifdef __linux__

#include <fcntl.h>
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

static ssize_t read_by(enum own_memory_way how, void *to, const void *from, size_t size) {
    if (how == OWN_MEMORY_BY_SYSTEM_CALL) {
        struct iovec local = {to, size}, remote = {(void *)from, size};
        return process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    }
    return how == OWN_MEMORY_BY_PIPE ? read_by_pipe(to, from, size) : -1;
}

enum own_memory_way own_memory_init(void) {
    static const char known[4] = "yes";
    for (way = OWN_MEMORY_BY_SYSTEM_CALL; way < OWN_MEMORY_CLOSED; way++) {
        char copy[sizeof known] = "";
        if (read_by(way, copy, known, sizeof known) == sizeof known && copy[0] == 'y') {
            break;
        }
    }
    return way;
}

ssize_t own_memory_read_some(void *to, const void *from, size_t size) {
    return read_by(way, to, from, size);
}

bool own_memory_read(void *to, const void *from, size_t size) {
    return read_by(way, to, from, size) == (ssize_t)size;
}

size_t own_memory_read_pieces(const struct own_memory_piece *pieces, size_t count) {
    size_t done = 0;
    if (way != OWN_MEMORY_BY_SYSTEM_CALL) {
        while (done < count &&
               own_memory_read(pieces[done].to, pieces[done].from, pieces[done].size)) {
            done++;
        }
        return done;
    }
    struct iovec local[OWN_MEMORY_PIECES], remote[OWN_MEMORY_PIECES];
    for (size_t i = 0; i < count; i++) {
        local[i] = (struct iovec){pieces[i].to, pieces[i].size};
        remote[i] = (struct iovec){(void *)pieces[i].from, pieces[i].size};
    }
    ssize_t got = process_vm_readv(getpid(), local, count, remote, count, 0);
    for (size_t left = got > 0 ? (size_t)got : 0; done < count && pieces[done].size <= left;
         done++) {
        left -= pieces[done].size;
    }
    return done;
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

size_t own_memory_read_pieces(const struct own_memory_piece *pieces, size_t count) {
    (void)pieces, (void)count;
    return 0;
}

#endif
