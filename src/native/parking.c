/* Each thread that waits has a slot, and in it sums for each open window: it alone writes them, so that
 * a wait's end takes no lock and disturbs no other thread. Who reads a slot copies it between two equal,
 * even values of its sequence number.
 *
 * A window is a place in a table, with a generation of its own. Sums that a slot has of an older
 * generation are worth nothing and are wiped by their thread when it comes to them: opening a window
 * costs nothing, however many threads there are, and a thread that is late at closing harms none that
 * opens in the same place.
 *
 * A wait lies in a window from the later one of both beginnings. The wait that goes on is in its slot,
 * and counts in whatever is read meanwhile.
 *
 * A lock may be snatched from a thread that was just woken for it, which waits again then: the same
 * attempt, so the same wait, from the first sleep to the last, with what lies between.
 *
 * A thread that enters the critical section of an object twice parks on a mutex that it has itself, and as
 * it is detached to sleep, lets that go and wakes itself: it has waited for nobody, which is no wait.
 *
 * Which waits a place is charged for is drawn by their length: one of `mean` and more always, with its
 * length; a shorter one with a chance of its length / mean, and then with `mean`. In the mean that is its
 * length, and reading a stack takes but a small part of the time waited. The thread that wakes another one
 * draws, and reads its own stack before it does so: its lines and those of the woken one tell of the same
 * waits. It finds whose semaphore it posts in a table, from which a thread may push another one's out.
 *
 * A slot outlives its thread while a window is open that tells threads apart and may have met it. In the
 * others its sums are added up when it ends. The lock is for that, for the windows and for a thread's
 * first wait; no thread waits or computes while it has it. */
#define _GNU_SOURCE
#include "native/parking.h"

#include <stdio.h>

#include "native/elf_object.h"

#ifdef ELF_SUPPORTED

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "native/clock.h"
#include "native/interpose.h"
#include "native/look_pacing.h"
#include "native/thread_birth.h"

#define READ_TRIES 200
#define PARKED_PLACES 1024 /* a power of two */

#ifdef __GLIBC__
#define FAST_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))
#else
#define FAST_THREAD_LOCAL __thread
#endif

_Static_assert(PARKING_WINDOWS == LOCK_CHARGES_WINDOWS, "a window has the same place in both");
_Static_assert((int)PARKING_KINDS <= LOCK_CHARGES_KINDS, "each kind is charged");

/* In their order, without fences, which thread sanitizers do not know. */
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

enum slot_state { SLOT_FREE, SLOT_ALIVE, SLOT_ENDED };

struct typed_sums {
    uint64_t type;
    struct parking_sums sums;
};

/* What a thread waited in one window. */
struct part {
    uint64_t generation;
    uint64_t spins;
    struct parking_longest longest[PARKING_KINDS];
    struct parking_sums kinds[PARKING_KINDS];
    struct typed_sums
        types[PARKING_TYPES]; /* in the order in which they came; sums.count 0: none */
};

/* The wait that goes on, or the latest one. */
struct wait {
    uint64_t began;   /* of the attempt; 0: there was none yet */
    uint64_t since;   /* when it was last added up */
    uint64_t goes_on; /* 1 or 0 */
    uint64_t kind;
    uint64_t type;
    uint64_t identity;
    uint64_t timed_out; /* 1 or 0; how its latest sleep ended */
};

/* What the thread that ends a wait leaves to the one that waited. Atomic. */
struct release {
    uint64_t is_drawn; /* it has drawn whether places are charged */
    uint64_t charge;   /* ticks; 0: they are not */
    uint64_t place, native_id;
};

/* What is charged for a wait, and to whom. */
struct drawn {
    uint64_t charge; /* ticks; 0: nothing */
    uint64_t place;
    uint64_t let_go_at, let_go_by;
};

struct slot {
    uint32_t state;    /* of enum slot_state; written under the lock */
    uint32_t sequence; /* odd while its thread writes */
    uint64_t ended_at; /* the newest generation when its thread ended */
    uint64_t ident, native_id;
    char name[PARKING_NAME_SIZE];
    uint64_t semaphore; /* that others may post to end its wait; 0: none */
    struct release release;
    struct wait wait;
    struct part parts[PARKING_WINDOWS];
};

struct window {
    uint64_t generation;
    uint64_t opened;
    bool by_thread;
    struct part folded;   /* of threads that have no slot any more; under the lock */
    uint32_t has_lengths; /* atomic; else all of these are 0 */
    struct histogram lengths[PARKING_KINDS]; /* atomic; of waits that are over */
    uint64_t omitted;
};

static struct slot slots[PARKING_THREADS];
static struct window windows[PARKING_WINDOWS];

static struct {
    struct interpose calls;
    int (*wait)(sem_t *);
    int (*clockwait)(sem_t *, clockid_t, const struct timespec *);
    int (*post)(sem_t *);
    struct interpose yields;
    int (*yield)(void);
    uintptr_t other_yield; /* from where a yield is no spin; 0: not learned yet; atomic */
    bool spins_are_seen;
    parking_classifier classify; /* atomic; NULL: nothing is counted */
    parking_place_reader look;   /* atomic; NULL: nobody looks */
    double ticks_per_ns;
    uint64_t looks;   /* since the newest window has opened; atomic */
    uint64_t waiting; /* threads whose wait goes on; atomic */
    pthread_mutex_t lock;
    pthread_key_t key; /* its value: the thread's slot */
    uint32_t open;     /* a bit for each open window; atomic */
    uint64_t generation;
    size_t used;   /* slots from the first to the last that was ever used */
    bool lost;     /* a thread found no slot */
    bool prepared; /* the key and the fork handler are there */
} lot = {.lock = PTHREAD_MUTEX_INITIALIZER};

static FAST_THREAD_LOCAL struct {
    struct slot *slot;
    struct parking_probe *probe;
    bool left_out; /* it has ended, or there was no slot */
    bool looks;    /* it is reading its own stack */
    bool learns_yield;
    uint64_t random;
    uint64_t native_id;
    uintptr_t posted;   /* the semaphore that it posted since its latest sleep, the last of them */
    uint64_t looked_at; /* when it looked last for threads that it had stopped; ticks */
    uint32_t place;     /* what it saw */
} self;

/* Whose semaphore it is: its address and, in the lowest 16 bits, the number of the slot + 1. Atomic. */
static uint64_t parked[PARKED_PLACES];

/* --- types --- */

static struct {
    uint32_t state; /* 0: free, 1: being written, 2: there */
    char text[PARKING_TYPE_SIZE];
} type_names[PARKING_TYPE_NAMES];

uint32_t parking_type(const char *name) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    size_t length = 0;
    while (name[length] != '\0' && length < PARKING_TYPE_SIZE - 1) {
        hash = (hash ^ (unsigned char)name[length++]) * 1099511628211u;
    }
    for (uint32_t i = 0; i < PARKING_TYPE_NAMES; i++) {
        uint32_t at = (uint32_t)((hash + i) % PARKING_TYPE_NAMES), expected = 0;
        if (at == 0) {
            continue; /* stands for none */
        }
        uint32_t state = __atomic_load_n(&type_names[at].state, __ATOMIC_ACQUIRE);
        if (state == 0 && __atomic_compare_exchange_n(&type_names[at].state, &expected, 1, false,
                                                      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            memcpy(type_names[at].text, name, length);
            __atomic_store_n(&type_names[at].state, 2, __ATOMIC_RELEASE);
            return at;
        }
        if (__atomic_load_n(&type_names[at].state, __ATOMIC_ACQUIRE) == 2 &&
            strncmp(type_names[at].text, name, length) == 0 &&
            type_names[at].text[length] == '\0') {
            return at;
        }
    }
    return 0;
}

const char *parking_type_name(uint32_t type) { return type_names[type].text; }

/* --- sums --- */

static void add(struct parking_sums *to, const struct parking_sums *from) {
    to->count += from->count;
    to->total += from->total;
    to->longest = from->longest > to->longest ? from->longest : to->longest;
}

/* Add to sums that others may read at this moment. */
static void count_wait(struct parking_sums *sums, uint64_t count, uint64_t waited, uint64_t whole) {
    STORE(sums->count, sums->count + count);
    STORE(sums->total, sums->total + waited);
    if (whole > sums->longest) {
        STORE(sums->longest, whole);
    }
}

/* Where a part keeps a type, NULL if there is no room. */
static struct parking_sums *sums_of_type(struct part *part, uint64_t type) {
    for (int i = 0; i < PARKING_TYPES; i++) {
        struct typed_sums *typed = &part->types[i];
        if (typed->type == type || (typed->type == 0 && typed->sums.count == 0)) {
            STORE(typed->type, type);
            return &typed->sums;
        }
    }
    return NULL;
}

static void copy_words(void *to, const void *from, size_t size) {
    uint64_t *target = to;
    const uint64_t *source = from;
    for (size_t i = 0; i < size / sizeof *target; i++) {
        target[i] = LOAD(source[i]);
    }
}

static void wipe(struct part *part, uint64_t generation) {
    uint64_t *words = (uint64_t *)part;
    for (size_t i = 0; i < sizeof *part / sizeof *words; i++) {
        STORE(words[i], 0);
    }
    STORE(part->generation, generation);
}

/* What of a wait, up to some moment, lies in a window. */
struct share {
    uint64_t waited; /* since it was last added up */
    uint64_t before; /* of the whole wait, what was added up before */
    bool is_new;     /* nothing was */
};

static struct share share_of(const struct wait *wait, uint64_t opened, uint64_t now) {
    uint64_t from = wait->since > opened ? wait->since : opened;
    uint64_t began = wait->began > opened ? wait->began : opened;
    /* The earlier sleeps of the attempt have counted it, unless they were before the window. */
    return (struct share){clock_elapsed(from, now), clock_elapsed(began, from),
                          wait->since == wait->began || wait->since <= opened};
}

/* Note a wait as the longest of its kind, if it is. */
static void note_longest(struct parking_longest *longest, const struct parking_longest *other) {
    if (other->waited > longest->waited) {
        STORE(longest->waited, other->waited);
        STORE(longest->began, other->began);
        STORE(longest->native_id, other->native_id);
        STORE(longest->place, other->place);
        STORE(longest->let_go_by, other->let_go_by);
        STORE(longest->let_go_at, other->let_go_at);
    }
}

/* Enter into a part what of a wait lies in its window. */
static void enter(struct part *part, const struct wait *wait, const struct share *share,
                  uint64_t native_id, const struct drawn *drawn) {
    uint64_t whole = share->before + share->waited;
    count_wait(&part->kinds[wait->kind], share->is_new, share->waited, whole);
    note_longest(&part->longest[wait->kind],
                 &(struct parking_longest){whole, wait->began, native_id, drawn->place,
                                           drawn->let_go_by, drawn->let_go_at});
    if (wait->kind == PARKING_OBJECT) {
        struct parking_sums *sums = sums_of_type(part, wait->type);
        if (sums != NULL) {
            count_wait(sums, share->is_new, share->waited, whole);
        }
    }
}

/* --- a thread's own part --- */

static void begin_writing(struct slot *slot) { STORE(slot->sequence, slot->sequence + 1); }

static void end_writing(struct slot *slot) { STORE(slot->sequence, slot->sequence + 1); }

/* Where a semaphore stands in the table. */
static uint64_t *parked_place(uint64_t semaphore) {
    return &parked[(semaphore * UINT64_C(0x9E3779B97F4A7C15)) >> 54 & (PARKED_PLACES - 1)];
}

static uint64_t parked_value(const struct slot *slot, uint64_t semaphore) {
    return semaphore << 16 | (uint64_t)(slot - slots + 1);
}

/* Let others find this thread by its semaphore. */
static void show(struct slot *slot, uint64_t semaphore) {
    STORE(slot->release.is_drawn, 0);
    STORE(slot->semaphore, semaphore);
    __atomic_store_n(parked_place(semaphore), parked_value(slot, semaphore), __ATOMIC_RELEASE);
}

static void hide(struct slot *slot) {
    uint64_t expected = parked_value(slot, slot->semaphore);
    __atomic_compare_exchange_n(parked_place(slot->semaphore), &expected, 0, false,
                                __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    STORE(slot->semaphore, 0);
}

/* The slot of the thread that waits for a semaphore; NULL if that is not known. */
static struct slot *waiter_of(uint64_t semaphore) {
    uint64_t value = __atomic_load_n(parked_place(semaphore), __ATOMIC_ACQUIRE);
    return value != 0 && value >> 16 == semaphore ? &slots[(value & 0xFFFF) - 1] : NULL;
}

static uint64_t random_below(uint64_t bound) {
    if (self.random == 0) {
        self.random = clock_ticks() ^ (uintptr_t)&self;
        self.random |= 1;
    }
    self.random ^=
        self.random << 13; /* xorshift: Marsaglia, Journal of Statistical Software 8, 14 */
    self.random ^= self.random >> 7;
    self.random ^= self.random << 17;
    return self.random % bound;
}

/* What to charge places with for a wait of that length; 0: nothing. As many threads wait, as much
 * waiting falls into the same time: the mean grows with their number, so that a lock that all of them
 * want changes hands as quickly as it does without looks. */
static uint64_t draw(uint64_t waited) {
    uint64_t waiting = __atomic_load_n(&lot.waiting, __ATOMIC_RELAXED);
    double mean_ns =
        (double)look_pacing_mean_ns(LOAD(lot.looks)) * (double)(waiting + (waiting == 0));
    uint64_t mean = (uint64_t)(mean_ns * lot.ticks_per_ns);
    if (waited >= mean) {
        return waited;
    }
    return random_below(mean) < waited ? mean : 0;
}

/* Where the calling thread stands. */
static uint32_t look(void) {
    parking_place_reader read = LOAD(lot.look);
    if (read == NULL || self.looks) {
        return PARKING_NO_PLACE;
    }
    self.looks = true;
    uint32_t place = read();
    self.looks = false;
    __atomic_fetch_add(&lot.looks, 1, __ATOMIC_RELAXED);
    return place;
}

static uint64_t own_native_id(void) {
    if (self.native_id == 0) {
        self.native_id = (uint64_t)syscall(SYS_gettid);
    }
    return self.native_id;
}

/* The calling thread is about to end a wait. Those that it has stopped all wait for the same line: it
 * looks once for all that were stopped by then. */
static void let_go(struct slot *slot) {
    uint64_t now = clock_ticks(), since = LOAD(slot->wait.since);
    uint64_t charge = draw(clock_elapsed(since, now));
    if (charge != 0) {
        bool stopped = LOAD(slot->wait.kind) == PARKING_STOP_THE_WORLD;
        if (!stopped || self.looked_at <= since) {
            self.place = look();
            self.looked_at = stopped ? now : 0;
        }
        STORE(slot->release.place, (uint64_t)self.place);
        STORE(slot->release.native_id, own_native_id());
    }
    STORE(slot->release.charge, charge);
    STORE(slot->release.is_drawn, 1);
}

/* What is to be charged for the wait of the calling thread that ends now. */
static struct drawn drawn_of(struct slot *slot, uint64_t now) {
    struct drawn drawn = {0, PARKING_NO_PLACE, PARKING_NO_PLACE, 0};
    if (LOAD(lot.look) == NULL) {
        return drawn;
    }
    if (slot->semaphore != 0 && LOAD(slot->release.is_drawn) != 0) {
        drawn.charge = LOAD(slot->release.charge);
        if (drawn.charge != 0) {
            drawn.let_go_at = LOAD(slot->release.place);
            drawn.let_go_by = LOAD(slot->release.native_id);
        }
    } else {
        drawn.charge = draw(clock_elapsed(slot->wait.since, now));
    }
    if (drawn.charge != 0) {
        drawn.place = look();
    }
    return drawn;
}

/* Charge places in a window with its share of a wait, which has lasted so long since it was last added
 * up. */
static void charge(int window, uint64_t generation, const struct slot *slot,
                   const struct drawn *drawn, const struct share *share, uint64_t waited) {
    if (drawn->charge == 0 || share->waited == 0) {
        return;
    }
    struct lock_charge row = {
        .place = (uint32_t)drawn->place,
        .kind = (uint8_t)slot->wait.kind,
        .role = LOCK_WAITED,
        .native_id = slot->native_id,
        .waited = (uint64_t)((double)drawn->charge * (double)share->waited / (double)waited),
        .longest = share->before + share->waited,
        .waits = 1,
    };
    lock_charges_add(window, generation, &row);
    if (drawn->let_go_by != 0) {
        row.place = (uint32_t)drawn->let_go_at;
        row.role = LOCK_LET_GO;
        row.native_id = drawn->let_go_by;
        lock_charges_add(window, generation, &row);
    }
}

/* Count a wait by its length in a window, in place of what its earlier sleeps came to. */
static void count_length(struct window *window, const struct wait *wait,
                         const struct share *share) {
    if (!share->is_new) {
        histogram_take_shared(&window->lengths[wait->kind], share->before);
    }
    histogram_add_shared(&window->lengths[wait->kind], share->before + share->waited);
    STORE(window->has_lengths, 1); /* last: a thread that is late at closing has its count wiped */
}

/* The part of a slot in an open window, without what it has of an older one. */
static struct part *part_of(struct slot *slot, int window, uint64_t generation) {
    if (slot->parts[window].generation != generation) {
        wipe(&slot->parts[window], generation);
    }
    return &slot->parts[window];
}

/* Whether the latest sleep was not the last one of its attempt, as far as its end tells: a thread that finds
 * what it wants just as its sleep times out does not sleep again. */
static bool may_go_on(const struct wait *wait, uint64_t now) {
    double since = (double)clock_elapsed(wait->since, now);
    return wait->timed_out != 0 && since <= PARKING_GAP_NS * lot.ticks_per_ns;
}

static void begin_wait(struct slot *slot, const struct parking_purpose *purpose, uint64_t now) {
    struct wait *wait = &slot->wait;
    bool again = purpose->identity != 0 && purpose->identity == wait->identity &&
                 wait->kind == purpose->kind && (!purpose->after_timeout || may_go_on(wait, now));
    begin_writing(slot);
    if (!again) {
        uint64_t before = (uint64_t)((double)purpose->began_ago_ns * lot.ticks_per_ns);
        /* Another wait between two sleeps of an attempt makes two of it: what was added up stays so. */
        uint64_t began = now - before > wait->since ? now - before : wait->since;
        STORE(wait->began, began);
        STORE(wait->since, began);
        STORE(wait->kind, (uint64_t)purpose->kind);
        STORE(wait->type, (uint64_t)purpose->type);
        STORE(wait->identity, purpose->identity);
    }
    STORE(wait->goes_on, 1);
    end_writing(slot);
    __atomic_fetch_add(&lot.waiting, 1, __ATOMIC_RELAXED);
}

/* When a window was opened, and its generation; 0 if it has been closed meanwhile, and opened anew. */
static uint64_t generation_of(int window, uint64_t *opened) {
    uint64_t generation = LOAD(windows[window].generation);
    *opened = LOAD(windows[window].opened);
    return generation == LOAD(windows[window].generation) ? generation : 0;
}

static void end_wait(struct slot *slot, uint64_t now, bool timed_out) {
    const struct drawn drawn = drawn_of(slot, now);
    if (slot->semaphore != 0) {
        hide(slot);
    }
    __atomic_fetch_sub(&lot.waiting, 1, __ATOMIC_RELAXED);
    begin_writing(slot);
    uint32_t open = LOAD(lot.open);
    for (int i = 0; open != 0; i++, open >>= 1) {
        uint64_t opened, generation = (open & 1) != 0 ? generation_of(i, &opened) : 0;
        if (generation != 0 && now > opened) {
            const struct share share = share_of(&slot->wait, opened, now);
            enter(part_of(slot, i, generation), &slot->wait, &share, slot->native_id, &drawn);
            count_length(&windows[i], &slot->wait, &share);
            charge(i, generation, slot, &drawn, &share, clock_elapsed(slot->wait.since, now));
        }
    }
    STORE(slot->wait.since, now);
    STORE(slot->wait.timed_out, timed_out);
    STORE(slot->wait.goes_on, 0);
    end_writing(slot);
}

static void count_spin(struct slot *slot) {
    begin_writing(slot);
    uint32_t open = LOAD(lot.open);
    for (int i = 0; open != 0; i++, open >>= 1) {
        uint64_t opened, generation = (open & 1) != 0 ? generation_of(i, &opened) : 0;
        if (generation != 0) {
            struct part *part = part_of(slot, i, generation);
            STORE(part->spins, part->spins + 1);
        }
    }
    end_writing(slot);
}

/* --- slots; the lock is held --- */

/* Move what a slot has of a window to what the window has of threads without a slot. */
static void fold(struct slot *slot, int index) {
    struct window *window = &windows[index];
    struct part *part = &slot->parts[index];
    if (part->generation != window->generation || window->generation == 0) {
        return;
    }
    for (int i = 0; i < PARKING_KINDS; i++) {
        add(&window->folded.kinds[i], &part->kinds[i]);
        note_longest(&window->folded.longest[i], &part->longest[i]);
    }
    window->folded.spins += part->spins;
    for (int i = 0; i < PARKING_TYPES && part->types[i].sums.count != 0; i++) {
        struct parking_sums *sums = sums_of_type(&window->folded, part->types[i].type);
        if (sums != NULL) {
            add(sums, &part->types[i].sums);
        }
    }
    wipe(part, 0);
}

static bool is_open(int index) { return (LOAD(lot.open) >> index & 1) != 0; }

/* Whether an open window needs the slot of a thread that has ended. */
static bool is_needed(const struct slot *slot) {
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        if (is_open(i) && windows[i].by_thread && windows[i].generation <= slot->ended_at) {
            return true;
        }
    }
    return false;
}

static bool has_waited(const struct part *part) {
    bool waited = false;
    for (int i = 0; i < PARKING_KINDS; i++) {
        waited |= part->kinds[i].count != 0;
    }
    return waited;
}

/* Free the slot of a thread that has ended, though windows may still tell of it. */
static void give_up(struct slot *slot) {
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        if (is_open(i) && slot->parts[i].generation == windows[i].generation) {
            windows[i].omitted += windows[i].by_thread && has_waited(&slot->parts[i]);
            fold(slot, i);
        }
    }
    STORE(slot->state, SLOT_FREE);
}

static struct slot *find_slot(void) {
    for (size_t i = 0; i < PARKING_THREADS; i++) {
        struct slot *slot = &slots[i];
        if (slot->state == SLOT_ENDED && !is_needed(slot)) {
            give_up(slot);
        }
        if (slot->state == SLOT_FREE) {
            return slot;
        }
    }
    for (size_t i = 0; i < PARKING_THREADS; i++) {
        if (slots[i].state == SLOT_ENDED) {
            give_up(&slots[i]);
            return &slots[i];
        }
    }
    return NULL;
}

/* A thread was cancelled in its sleep: the wait is over, and counts no further. */
static void drop_wait(struct slot *slot) {
    if (slot->semaphore != 0) {
        hide(slot);
    }
    __atomic_fetch_sub(&lot.waiting, 1, __ATOMIC_RELAXED);
    begin_writing(slot);
    STORE(slot->wait.goes_on, 0);
    end_writing(slot);
}

/* Destructor of the key: the thread of this slot ends. */
static void thread_ends(void *object) {
    struct slot *slot = object;
    if (slot->wait.goes_on != 0) {
        drop_wait(slot);
    }
    pthread_mutex_lock(&lot.lock);
    self.slot = NULL;
    self.left_out = true;
    slot->ended_at = lot.generation;
    STORE(slot->state, SLOT_ENDED);
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        if (is_open(i) && !windows[i].by_thread) {
            fold(slot, i);
        }
    }
    pthread_mutex_unlock(&lot.lock);
}

/* Find a slot for the calling thread; takes the lock. */
static struct slot *enroll(void) {
    const struct birth *birth = birth_of_self();
    pthread_mutex_lock(&lot.lock);
    struct slot *slot = find_slot();
    if (slot == NULL || pthread_setspecific(lot.key, slot) != 0) {
        STORE(lot.lost, true);
        self.left_out = true;
        pthread_mutex_unlock(&lot.lock);
        return NULL;
    }
    slot->ident = (uint64_t)pthread_self();
    slot->native_id = own_native_id();
    snprintf(slot->name, sizeof slot->name, "%s", birth != NULL ? birth->name : "");
    STORE(slot->wait.identity, 0);
    STORE(slot->wait.since, 0);
    STORE(slot->wait.goes_on, 0);
    STORE(slot->semaphore, 0);
    STORE(slot->state, SLOT_ALIVE);
    size_t index = (size_t)(slot - slots);
    STORE(lot.used, index + 1 > lot.used ? index + 1 : lot.used);
    self.slot = slot;
    pthread_mutex_unlock(&lot.lock);
    return slot;
}

/* --- the hooks --- */

static void fill(struct parking_probe *probe, const struct parking_call *call) {
    const uintptr_t *words = (const uintptr_t *)call->semaphore;
    probe->call = *call;
    probe->before[0] = words[-2];
    probe->before[1] = words[-1];
    probe->calls++;
    if (probe->wake != NULL) {
        probe->wake(probe);
    }
}

/* The calling thread is about to wait. Returns its slot if that is to be counted. */
static struct slot *before_wait(const struct parking_call *call) {
    parking_classifier classify = LOAD(lot.classify);
    if (self.probe != NULL) {
        struct parking_probe *probe = self.probe;
        self.probe = NULL; /* what wakes may wait itself */
        fill(probe, call);
        self.probe = probe;
        return NULL;
    }
    if (classify == NULL || self.left_out) {
        return NULL;
    }
    struct parking_purpose purpose = classify(call);
    bool wakes_itself = purpose.is_parked && self.posted == call->semaphore;
    self.posted = 0;
    if (purpose.kind >= PARKING_KINDS || wakes_itself) {
        return NULL;
    }
    struct slot *slot = self.slot != NULL ? self.slot : enroll();
    if (slot != NULL) {
        begin_wait(slot, &purpose, clock_ticks());
        if (purpose.is_parked && call->semaphore >> 47 == 0) {
            show(slot, call->semaphore);
        }
    }
    return slot;
}

/* What wakes a thread must not change errno: who takes the interpreter's locks counts on it. */
static void after_wait(struct slot *slot, int result, int error_before) {
    int error = result == 0 ? error_before : errno;
    if (slot != NULL) {
        end_wait(slot, clock_ticks(), result != 0 && error == ETIMEDOUT);
    }
    errno = error;
}

static int wait_hook(sem_t *semaphore) {
    const struct parking_call call = {(uintptr_t)semaphore, (uintptr_t)__builtin_frame_address(0),
                                      (uintptr_t)__builtin_return_address(0), false};
    int error_before = errno;
    struct slot *slot = before_wait(&call);
    int result = lot.wait(semaphore);
    after_wait(slot, result, error_before);
    return result;
}

static int clockwait_hook(sem_t *semaphore, clockid_t clock, const struct timespec *deadline) {
    const struct parking_call call = {(uintptr_t)semaphore, (uintptr_t)__builtin_frame_address(0),
                                      (uintptr_t)__builtin_return_address(0), true};
    int error_before = errno;
    struct slot *slot = before_wait(&call);
    int result = lot.clockwait(semaphore, clock, deadline);
    after_wait(slot, result, error_before);
    return result;
}

static int post_hook(sem_t *semaphore) {
    self.posted = (uintptr_t)semaphore;
    if (LOAD(lot.look) != NULL && LOAD(lot.classify) != NULL) {
        struct slot *slot = waiter_of((uintptr_t)semaphore);
        if (slot != NULL) {
            int error = errno;
            let_go(slot);
            errno = error;
        }
    }
    return lot.post(semaphore);
}

static int yield_hook(void) {
    uintptr_t site = (uintptr_t)__builtin_return_address(0);
    if (self.learns_yield) {
        STORE(lot.other_yield, site);
    } else if (LOAD(lot.classify) != NULL && site != LOAD(lot.other_yield) && !self.left_out) {
        int error = errno;
        struct slot *slot = self.slot != NULL ? self.slot : enroll();
        if (slot != NULL) {
            count_spin(slot);
        }
        errno = error;
    }
    int result = lot.yield();
    __asm__ volatile("" ::: "memory");
    return result;
}

/* --- installing --- */

/* The child has this thread only. The waits of the others that went on are dropped. */
static void after_fork_in_child(void) {
    pthread_mutex_init(&lot.lock, NULL);
    lock_charges_after_fork();
    memset(parked, 0, sizeof parked);
    lot.waiting = self.slot != NULL && self.slot->wait.goes_on != 0; /* forked in a handler */
    self.native_id = 0;
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        if (is_open(i)) {
            windows[i].has_lengths = 1; /* another thread may have been about to say so */
        }
    }
    for (size_t i = 0; i < lot.used; i++) {
        struct slot *slot = &slots[i];
        if (slot != self.slot && slot->state == SLOT_ALIVE) {
            slot->sequence += slot->sequence & 1;
            slot->wait.goes_on = 0;
            slot->ended_at = lot.generation;
            slot->state = SLOT_ENDED;
        }
    }
    if (self.slot != NULL) {
        self.slot->native_id = own_native_id();
    }
}

int parking_install(const void *interpreter_function, char *reason, size_t reason_size) {
    const struct interpose_symbol symbols[] = {
        {"sem_wait", (void *)wait_hook, (void **)&lot.wait},
        {"sem_clockwait", (void *)clockwait_hook, (void **)&lot.clockwait},
        {"sem_post", (void *)post_hook, (void **)&lot.post},
    };
    if (interpose_intact(&lot.calls)) {
        return 0; /* by the process that this one was forked from */
    }
    if (!lot.prepared) {
        if (pthread_key_create(&lot.key, thread_ends) != 0) {
            snprintf(reason, reason_size, "no thread-specific data key is left");
            return -1;
        }
        pthread_atfork(NULL, NULL, after_fork_in_child);
        lot.prepared = true;
    }
    return interpose_install(&lot.calls, interpreter_function, symbols, 3, reason, reason_size);
}

void parking_set_probe(struct parking_probe *probe) { self.probe = probe; }

void parking_count_spins(const void *interpreter_function, void (*yield)(void)) {
    const struct interpose_symbol symbol = {"sched_yield", (void *)yield_hook, (void **)&lot.yield};
    char reason[160];
    if (interpose_intact(&lot.yields) ||
        interpose_install(&lot.yields, interpreter_function, &symbol, 1, reason, sizeof reason) ==
            0) {
        self.learns_yield = true;
        yield();
        self.learns_yield = false;
        lot.spins_are_seen = true;
    }
}

void parking_start(parking_classifier classify) {
    const uint64_t many = UINT64_C(1) << 32;
    lot.ticks_per_ns = (double)many / (clock_seconds(many) * 1e9);
    STORE(lot.classify, classify);
}

void parking_look(parking_place_reader read) { STORE(lot.look, read); }

void parking_stop(void) {
    STORE(lot.classify, NULL);
    STORE(lot.look, NULL); /* threads that still wait have a state that may be gone as they wake */
}

bool parking_intact(void) { return !LOAD(lot.lost) && interpose_intact(&lot.calls); }

/* --- windows --- */

static void wipe_lengths(struct window *window) {
    if (__atomic_exchange_n(&window->has_lengths, 0, __ATOMIC_ACQ_REL) != 0) {
        for (int kind = 0; kind < PARKING_KINDS; kind++) {
            for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                __atomic_store_n(&window->lengths[kind].counts[i], 0, __ATOMIC_RELAXED);
            }
        }
    }
}

int parking_open(struct parking_window *window, bool by_thread, uint64_t now) {
    pthread_mutex_lock(&lot.lock);
    int index = 0;
    while (index < PARKING_WINDOWS && is_open(index)) {
        index++;
    }
    if (index == PARKING_WINDOWS) {
        pthread_mutex_unlock(&lot.lock);
        return -1;
    }
    struct window *place = &windows[index];
    STORE(place->generation, 0);
    wipe_lengths(place);
    lock_charges_open(index, lot.generation + 1);
    STORE(lot.looks, 0);
    STORE(place->opened, now);
    STORE(place->generation, ++lot.generation);
    place->by_thread = by_thread;
    place->omitted = 0;
    memset(&place->folded, 0, sizeof place->folded);
    *window = (struct parking_window){index, lot.generation, now};
    __atomic_fetch_or(&lot.open, UINT32_C(1) << index, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lot.lock);
    return 0;
}

void parking_close(struct parking_window *window) {
    pthread_mutex_lock(&lot.lock);
    if (window->index >= 0 && windows[window->index].generation == window->generation) {
        __atomic_fetch_and(&lot.open, ~(UINT32_C(1) << window->index), __ATOMIC_RELEASE);
        STORE(windows[window->index].generation, 0);
    }
    window->index = -1;
    pthread_mutex_unlock(&lot.lock);
}

/* Count a wait that goes on by its length so far, in place of what its earlier sleeps came to. */
static void add_length(struct histogram *lengths, const struct share *share) {
    if (!share->is_new) {
        histogram_take(lengths, share->before);
    }
    histogram_add(lengths, share->before + share->waited);
}

static void keep_below(uint64_t *longest, uint64_t total) {
    *longest = *longest < total ? *longest : total;
}

/* A copy may have the longest wait of a thread that is writing, and its sums without that. */
static void mend_copy(struct part *copy) {
    for (int i = 0; i < PARKING_KINDS; i++) {
        keep_below(&copy->kinds[i].longest, copy->kinds[i].total);
        keep_below(&copy->longest[i].waited, copy->kinds[i].total);
    }
    for (int i = 0; i < PARKING_TYPES; i++) {
        keep_below(&copy->types[i].sums.longest, copy->types[i].sums.total);
    }
}

/* Copy what a slot has of a window, with the wait that goes on. A thread that is taken off the processor
 * while it writes may keep this waiting for a moment: then what it had written so far is taken. */
static void copy_part(const struct slot *slot, const struct parking_window *window, uint64_t now,
                      struct part *copy, struct parking_reading *reading) {
    const struct drawn nothing = {0, PARKING_NO_PLACE, PARKING_NO_PLACE, 0};
    struct wait wait;
    bool whole = false;
    for (int i = 0; i < READ_TRIES && !whole; i++) {
        uint32_t before = LOAD(slot->sequence);
        if ((before & 1) != 0) {
            sched_yield();
            continue;
        }
        copy_words(copy, &slot->parts[window->index], sizeof *copy);
        copy_words(&wait, &slot->wait, sizeof wait);
        whole = LOAD(slot->sequence) == before;
    }
    if (!whole) {
        copy_words(copy, &slot->parts[window->index], sizeof *copy);
        mend_copy(copy);
        wait.goes_on = 0;
    }
    if (copy->generation != window->generation) {
        *copy = (struct part){.generation = window->generation};
    }
    if (wait.goes_on != 0 && now > window->opened) {
        const struct share share = share_of(&wait, window->opened, now);
        reading->pending[wait.kind] += share.waited;
        add_length(&reading->details->lengths[wait.kind], &share);
        enter(copy, &wait, &share, slot->native_id, &nothing);
    }
}

/* A thread that was late at closing may have taken out of this window what it had put into the one that
 * was open in its place before: that bucket is below zero. */
static void copy_counts(struct histogram *to, const struct histogram *from) {
    for (int kind = 0; kind < PARKING_KINDS; kind++) {
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
            uint32_t count = __atomic_load_n(&from[kind].counts[i], __ATOMIC_RELAXED);
            to[kind].counts[i] = count <= INT32_MAX ? count : 0;
        }
    }
}

static void add_types(struct parking_reading *reading, const struct part *part) {
    for (int i = 0; i < PARKING_TYPES && part->types[i].sums.count != 0; i++) {
        add(&reading->types[part->types[i].type], &part->types[i].sums);
    }
}

static void add_thread(struct parking_reading *reading, const struct slot *slot,
                       const struct part *part) {
    struct parking_thread *thread = &reading->threads[reading->thread_count];
    *thread = (struct parking_thread){
        .ident = slot->ident, .native_id = slot->native_id, .ended = slot->state == SLOT_ENDED};
    memcpy(thread->name, slot->name, sizeof thread->name);
    memcpy(thread->kinds, part->kinds, sizeof thread->kinds);
    reading->thread_count += has_waited(part);
}

/* Make charges come to the waits that are over. */
static void scale(struct parking_reading *reading) {
    struct lock_charges_reading *charges = &reading->details->charges;
    for (size_t i = 0; i < charges->count; i++) {
        struct lock_charge *row = &charges->rows[i];
        uint64_t charged = charges->charged[row->kind];
        uint64_t known =
            clock_elapsed(reading->pending[row->kind], reading->kinds[row->kind].total);
        row->waited =
            charged != 0 ? (uint64_t)((double)row->waited * (double)known / (double)charged) : 0;
    }
}

void parking_free(struct parking_reading *reading) {
    free(reading->threads);
    free(reading->details);
    reading->threads = NULL;
    reading->details = NULL;
}

int parking_read(const struct parking_window *window, uint64_t now,
                 struct parking_reading *reading) {
    memset(reading, 0, sizeof *reading);
    size_t used = LOAD(lot.used);
    struct parking_thread *threads = malloc((used + 1) * sizeof *threads);
    reading->threads = threads;
    reading->details = calloc(1, sizeof *reading->details);
    if (threads == NULL || reading->details == NULL) {
        parking_free(reading);
        return -1;
    }
    pthread_mutex_lock(&lot.lock);
    if (window->index < 0 || !is_open(window->index) ||
        windows[window->index].generation != window->generation) {
        pthread_mutex_unlock(&lot.lock); /* another thread has closed it */
        return 0;
    }
    const struct window *place = &windows[window->index];
    for (int i = 0; i < PARKING_KINDS; i++) {
        add(&reading->kinds[i], &place->folded.kinds[i]);
        note_longest(&reading->longest[i], &place->folded.longest[i]);
    }
    copy_counts(reading->details->lengths, place->lengths);
    reading->spins = place->folded.spins;
    reading->spins_are_seen = lot.spins_are_seen && interpose_intact(&lot.yields);
    add_types(reading, &place->folded);
    reading->omitted = place->omitted;
    for (size_t i = 0; i < used; i++) {
        struct part part;
        if (slots[i].state == SLOT_FREE) {
            continue;
        }
        copy_part(&slots[i], window, now, &part, reading);
        reading->spins += part.spins;
        for (int kind = 0; kind < PARKING_KINDS; kind++) {
            add(&reading->kinds[kind], &part.kinds[kind]);
            note_longest(&reading->longest[kind], &part.longest[kind]);
        }
        add_types(reading, &part);
        if (place->by_thread) {
            add_thread(reading, &slots[i], &part);
        }
    }
    lock_charges_read(window->index, window->generation, &reading->details->charges);
    scale(reading);
    pthread_mutex_unlock(&lot.lock);
    return 0;
}

#else

int parking_install(const void *interpreter_function, char *reason, size_t reason_size) {
    (void)interpreter_function;
    snprintf(reason, reason_size, "calls can be redirected on Linux on x86-64 and aarch64 only");
    return -1;
}

void parking_set_probe(struct parking_probe *probe) { (void)probe; }

void parking_start(parking_classifier classify) { (void)classify; }

void parking_count_spins(const void *interpreter_function, void (*yield)(void)) {
    (void)interpreter_function, (void)yield;
}

void parking_look(parking_place_reader read) { (void)read; }

void parking_free(struct parking_reading *reading) { (void)reading; }

void parking_stop(void) {}

bool parking_intact(void) { return false; }

int parking_open(struct parking_window *window, bool by_thread, uint64_t now) {
    (void)window, (void)by_thread, (void)now;
    return -1;
}

int parking_read(const struct parking_window *window, uint64_t now,
                 struct parking_reading *reading) {
    (void)window, (void)now, (void)reading;
    return -1;
}

void parking_close(struct parking_window *window) { (void)window; }

uint32_t parking_type(const char *name) {
    (void)name;
    return 0;
}

const char *parking_type_name(uint32_t type) {
    (void)type;
    return "";
}

#endif
