#define _GNU_SOURCE
#include "native/stall_watch.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#endif

#include "native/clock.h"
#include "native/knocker.h"
#include "native/run_delay.h"

/* A process that was stopped for longer than the timeout is given so much time to answer. */
#define SECOND_LOOK_NS 20000000u

/* How often within the timeout it is looked whether a stall that was reported is over. */
#define LOOKS_FOR_THE_END 20u

/* For how long, in ms, the report waits for somebody to read it. */
#define WRITE_MS 500

/* How often a copy of the process is made that reads the stacks, and for how long each is waited for. */
#define COPIES 3
#define COPY_MS 5000

static struct {
    pthread_mutex_t turn; /* of who starts or stops the thread, and waits for it meanwhile */
    struct stall_watch_options options;
    uint64_t timeout; /* ticks */
    void (*handler)(int);
    struct stat report, scratch; /* the files of these descriptors as the watch began */
    struct knocker *thread;      /* owned; a knocker that looks and does not knock */
    uint64_t got;                /* when a thread last got the GIL, as far as a look saw */
    uint64_t suspected;          /* since when the GIL was not had at the latest look */
    uint64_t reported;           /* since when in the stall that was reported last */

    pthread_mutex_t mutex; /* guards what follows */
    char label[STALL_LABEL_SIZE];
    struct stall stalls[STALLS];
    size_t count, omitted;
    struct {
        uint64_t since, asked;
    } taken; /* the latest of the stalls that were taken */
} watch = {.turn = PTHREAD_MUTEX_INITIALIZER, .mutex = PTHREAD_MUTEX_INITIALIZER};

static uint64_t asked(void) { return __atomic_load_n(watch.options.asked, __ATOMIC_RELAXED); }

static double nanoseconds(uint64_t ticks) { return clock_seconds(ticks) * 1e9; }

static void (*handler_of(int number))(int) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 ? action.sa_handler : SIG_ERR;
}

int stall_watch_free_signal(void) {
#ifdef SIGRTMAX
    for (int number = SIGRTMAX; number >= SIGRTMIN; number--) {
        if (handler_of(number) == SIG_DFL) {
            return number;
        }
    }
#endif
    return 0;
}

/* --- what is noted; the mutex is held --- */

static struct stall *find(uint64_t since) {
    for (size_t i = watch.count; i > 0; i--) {
        if (watch.stalls[i - 1].since == since) {
            return &watch.stalls[i - 1];
        }
    }
    return NULL;
}

/* The latest stall of the knock that asked then: between two of them threads took turns. */
static struct stall *find_latest_of(uint64_t when_asked) {
    struct stall *latest = watch.count > 0 ? &watch.stalls[watch.count - 1] : NULL;
    return latest != NULL && latest->asked == when_asked ? latest : NULL;
}

/* Whether the stall was taken while it lasted: it is not noted again. */
static bool is_taken(uint64_t since) { return since == watch.taken.since; }

/* The stall, new or not; NULL without room. */
static struct stall *note(uint64_t when_asked, uint64_t since) {
    struct stall *stall = find(since);
    if (stall == NULL && watch.count < STALLS) {
        stall = &watch.stalls[watch.count++];
        *stall = (struct stall){.asked = when_asked, .since = since};
        memcpy(stall->label, watch.label, sizeof stall->label);
    }
    return stall;
}

static void end(struct stall *stall, uint64_t now) {
    if (stall != NULL && stall->lasted == 0) {
        stall->lasted = now - stall->since;
    }
}

/* --- the report; on the watching thread --- */

/* The file of a descriptor; all zero if there is none. */
static struct stat file_of(int descriptor) {
    struct stat file;
    return fstat(descriptor, &file) == 0 ? file : (struct stat){.st_ino = 0};
}

/* Whether a descriptor still is that of the file. The program may have closed all that it did not know, and
 * opened files of its own. */
static bool is_of(int descriptor, const struct stat *file) {
    const struct stat now = file_of(descriptor);
    return now.st_ino != 0 && now.st_ino == file->st_ino && now.st_dev == file->st_dev;
}

/* Whether there is room for PIPE_BUF bytes. Nobody may read the other end of a pipe until this
 * process has ended, which waits for the watching thread. */
static bool is_writable(int descriptor) {
    struct pollfd wanted = {.fd = descriptor, .events = POLLOUT};
    return poll(&wanted, 1, WRITE_MS) > 0 && (wanted.revents & POLLOUT) != 0;
}

/* Report as much of the text as somebody takes. Returns whether it was all. */
static bool write_all(const char *text, size_t size) {
    int descriptor = watch.options.report;
    if (!is_of(descriptor, &watch.report)) {
        return false;
    }
    while (size > 0) {
        if (!is_writable(descriptor)) {
            return false;
        }
        ssize_t written = write(descriptor, text, size < PIPE_BUF ? size : PIPE_BUF);
        if (written < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
        text += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

enum handler_end { THROUGH, CRASHED, NO_COPY /* errno says why */ };

/* Call the handler as if the signal had come, in a copy of the process: there no thread moves on while
 * its frames are read, and one that is caught in the middle of a change crashes the copy only. The copy
 * is made by the bare system call, so it runs no fork handlers, sends no SIGCHLD and is found by no
 * waitpid() of the program but one with __WALL or __WCLONE. It ends with the watching thread. */
#ifdef __linux__
static _Noreturn void run_in_copy(pid_t original) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != original) {
        _exit(1); /* it has ended by now */
    }
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        signal(fatal[i], SIG_DFL);
    }
    prctl(PR_SET_DUMPABLE, 0);
    watch.handler(watch.options.signal);
    _exit(0);
}

static enum handler_end wait_for_copy(pid_t copy) {
    int status;
    for (int left = COPY_MS; left > 0; left--) {
        pid_t ended = waitpid(copy, &status, __WALL | WNOHANG);
        if (ended == copy) {
            return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? THROUGH : CRASHED;
        }
        if (ended < 0 && errno != EINTR) {
            return CRASHED;
        }
        poll(NULL, 0, 1);
    }
    kill(copy, SIGKILL);
    waitpid(copy, &status, __WALL);
    return CRASHED;
}

static enum handler_end run_handler(void) {
    pid_t original = getpid(), copy = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
    if (copy == 0) {
        run_in_copy(original);
    }
    return copy > 0 ? wait_for_copy(copy) : NO_COPY;
}
#else
static enum handler_end run_handler(void) {
    watch.handler(watch.options.signal);
    return THROUGH;
}
#endif

/* Have the stacks written to the scratch file. Returns whether there may be any; the file says where some
 * are missing. */
static bool write_stacks(void) {
    int number = watch.options.signal, scratch = watch.options.scratch;
    if (number == 0 || handler_of(number) != watch.handler || !is_of(scratch, &watch.scratch)) {
        return false;
    }
    for (int tries = COPIES; tries > 0; tries--) {
        if (lseek(scratch, 0, SEEK_SET) != 0 || ftruncate(scratch, 0) != 0) {
            return false;
        }
        enum handler_end end = run_handler();
        if (end == THROUGH) {
            return true;
        }
        if (end == NO_COPY) {
            return dprintf(scratch, "(no stacks: the process cannot be copied: %s)\n",
                           strerror(errno)) > 0;
        }
    }
    return dprintf(scratch, "(the rest of the stacks cannot be read)\n") > 0;
}

/* Copy the scratch file to the report, and return its beginning, which the caller owns; NULL without
 * memory. */
static char *pass_stacks_on(size_t *size) {
    char piece[4096], *kept = malloc(STALL_STACKS_SIZE);
    off_t at = 0;
    bool taken = true;
    *size = 0;
    for (ssize_t count; (count = pread(watch.options.scratch, piece, sizeof piece, at)) > 0;
         at += count) {
        taken = taken && write_all(piece, (size_t)count);
        size_t room = kept != NULL ? STALL_STACKS_SIZE - *size : 0;
        size_t fits = (size_t)count < room ? (size_t)count : room;
        if (fits > 0) {
            memcpy(kept + *size, piece, fits);
            *size += fits;
        }
    }
    return kept;
}

static void report(uint64_t when_asked, uint64_t since, uint64_t now,
                   const struct stall_holder *holder) {
    char label[STALL_LABEL_SIZE], line[STALL_LABEL_SIZE + THREAD_NAME_SIZE + 200];
    pthread_mutex_lock(&watch.mutex);
    struct stall *stall = is_taken(since) ? NULL : note(when_asked, since);
    memcpy(label, watch.label, sizeof label);
    pthread_mutex_unlock(&watch.mutex);

    int length =
        snprintf(line, sizeof line, "\ngilknock: no thread could get the GIL for %.1f s%s%s",
                 nanoseconds(now - since) * 1e-9, label[0] != '\0' ? ", in " : "", label);
    if (holder->ident != 0) {
        length += snprintf(line + length, sizeof line - (size_t)length,
                           "; thread 0x%016llx%s%s%s holds it", (unsigned long long)holder->ident,
                           holder->name[0] != '\0' ? " (" : "", holder->name,
                           holder->name[0] != '\0' ? ")" : "");
    }
    length += snprintf(line + length, sizeof line - (size_t)length, "\n");
    write_all(line, (size_t)length);
    size_t size = 0;
    char *stacks = write_stacks() ? pass_stacks_on(&size) : NULL;

    pthread_mutex_lock(&watch.mutex);
    stall = stall != NULL ? find(since) : NULL; /* not if it was taken meanwhile */
    if (stall != NULL) {
        stall->holder = *holder;
        stall->stacks = stacks;
        stall->stacks_size = size;
        stacks = NULL;
    }
    pthread_mutex_unlock(&watch.mutex);
    free(stacks);
}

/* --- the thread --- */

static void begin(void *unused) {
    (void)unused;
    run_delay_leave_out_self(RUN_DELAY_STALL_WATCH);
}

static uint64_t not_had_since(uint64_t when_asked) {
    return when_asked > watch.got ? when_asked : watch.got;
}

static uint64_t pace(void *unused) {
    (void)unused;
    uint64_t when = asked(), now = clock_ticks();
    if (when == 0) {
        return watch.options.timeout / 2;
    }
    uint64_t since = not_had_since(when), waited = clock_elapsed(since, now);
    if (since == watch.reported) {
        return watch.options.timeout / LOOKS_FOR_THE_END;
    }
    if (waited >= watch.timeout) {
        return since == watch.suspected ? SECOND_LOOK_NS : 0;
    }
    return (uint64_t)nanoseconds(watch.timeout - waited) + 1;
}

static void look(void *unused) {
    (void)unused;
    uint64_t when = asked(), now = clock_ticks();
    uint64_t since = not_had_since(when);
    if (when == 0 || clock_elapsed(since, now) < watch.timeout) {
        return;
    }
    bool is_reported = since == watch.reported;
    if (!is_reported && since != watch.suspected) {
        watch.suspected = since;
        return;
    }
    struct stall_holder holder = {.ident = 0};
    watch.options.find_holder(&holder);
    if (holder.since > since) {
        watch.got = holder.since;
        pthread_mutex_lock(&watch.mutex);
        end(find(since), holder.since);
        pthread_mutex_unlock(&watch.mutex);
    } else if (!is_reported) {
        watch.reported = since;
        report(when, since, now, &holder);
    }
}

static void nothing(void *unused) { (void)unused; }

static int start_thread(void) {
    const struct knocker_work work = {begin, pace, look, nothing, nothing, NULL};
    watch.thread = knocker_start(&work);
    return watch.thread != NULL ? 0 : -1;
}

static void stop_thread(void) {
    if (watch.thread != NULL) {
        knocker_stop_and_wait(watch.thread);
        watch.thread = NULL;
    }
}

/* The watching thread is not in the child, which nobody watches. */
static void after_fork_in_child(void) {
    watch.thread = NULL;
    watch.options.asked = NULL;
    pthread_mutex_init(&watch.turn, NULL);
    pthread_mutex_init(&watch.mutex, NULL);
}

int stall_watch_start(const struct stall_watch_options *options) {
    static bool prepared;
    if (!prepared) {
        prepared = true;
        pthread_atfork(NULL, NULL, after_fork_in_child);
    }
    pthread_mutex_lock(&watch.turn);
    stop_thread();
    watch.options = *options;
    watch.timeout = (uint64_t)((double)options->timeout / nanoseconds(1000000) * 1e6);
    watch.handler = options->signal != 0 ? handler_of(options->signal) : NULL;
    watch.report = file_of(options->report);
    watch.scratch = file_of(options->scratch);
    watch.got = watch.suspected = watch.reported = 0;
    int error = start_thread();
    pthread_mutex_unlock(&watch.turn);
    return error;
}

void stall_watch_stop(void) {
    pthread_mutex_lock(&watch.turn);
    stop_thread();
    /* A knock may still be answered. */
    __atomic_store_n(&watch.options.asked, NULL, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&watch.turn);
}

void stall_watch_pause(void) {
    pthread_mutex_lock(&watch.turn);
    stop_thread();
    pthread_mutex_unlock(&watch.turn);
}

void stall_watch_resume(void) {
    pthread_mutex_lock(&watch.turn);
    if (watch.options.asked != NULL && watch.thread == NULL) {
        start_thread();
    }
    pthread_mutex_unlock(&watch.turn);
}

/* --- what the program says and asks --- */

void stall_watch_label(const char *label, size_t size) {
    size = size < STALL_LABEL_SIZE ? size : STALL_LABEL_SIZE - 1;
    pthread_mutex_lock(&watch.mutex);
    memcpy(watch.label, label, size);
    watch.label[size] = '\0';
    pthread_mutex_unlock(&watch.mutex);
}

void stall_watch_answered(uint64_t when_asked, uint64_t now, bool taken_meanwhile) {
    if (__atomic_load_n(&watch.options.asked, __ATOMIC_RELAXED) == NULL ||
        clock_elapsed(when_asked, now) < watch.timeout) {
        return;
    }
    pthread_mutex_lock(&watch.mutex);
    struct stall *stall = find_latest_of(when_asked);
    if (stall == NULL && !taken_meanwhile && when_asked != watch.taken.asked) {
        stall = note(when_asked, when_asked); /* the watch came too late for it */
        watch.omitted += stall == NULL;
    }
    end(stall, now);
    pthread_mutex_unlock(&watch.mutex);
}

size_t stall_watch_take(struct stall *stalls, uint64_t now, size_t *omitted) {
    pthread_mutex_lock(&watch.mutex);
    size_t count = watch.count;
    memcpy(stalls, watch.stalls, count * sizeof *stalls);
    *omitted = watch.omitted;
    if (count > 0) {
        watch.taken.since = stalls[count - 1].since;
        watch.taken.asked = stalls[count - 1].asked;
    }
    watch.count = watch.omitted = 0;
    pthread_mutex_unlock(&watch.mutex);
    for (size_t i = 0; i < count; i++) {
        if (stalls[i].lasted == 0) {
            stalls[i].lasted = clock_elapsed(stalls[i].since, now);
        }
    }
    return count;
}
