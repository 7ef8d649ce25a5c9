/* A library to be preloaded, with which every other allocation of a thread that knocks fails (glibc only). */

#define _GNU_SOURCE

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* What glibc has beside those that are replaced here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static unsigned long failed;

static bool fails(void) {
    static __thread unsigned random __attribute__((tls_model("initial-exec")));
    char name[17];
    if (prctl(PR_GET_NAME, name) != 0 || strcmp(name, "gilknock") != 0) {
        return false;
    }
    if (random == 0) {
        random = (unsigned)gettid();
    }
    random = random * 1103515245u + 12345u; /* as the C standard's rand() */
    if ((random >> 16) % 2 != 0) {
        return false;
    }
    __atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) { return fails() ? NULL : __libc_calloc(count, size); }

void *realloc(void *block, size_t size) { return fails() ? NULL : __libc_realloc(block, size); }

/* For the program, by ctypes: how many allocations have failed. */
unsigned long scarce_memory_failed(void);
unsigned long scarce_memory_failed(void) { return __atomic_load_n(&failed, __ATOMIC_RELAXED); }
