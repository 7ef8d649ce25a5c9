/* What windows hold against places, and that a child sees whole rows, at whichever instruction it was
 * forked. */
#define _GNU_SOURCE
#include "native/lock_charges.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"
#include "native/random.h"

static struct lock_charges_reading reading;
static uint64_t random_state = 88172645463325252;

static struct lock_charge row(uint32_t place, enum lock_role role, uint64_t waited) {
    return (struct lock_charge){.place = place,
                                .kind = 2,
                                .role = (uint8_t)role,
                                .native_id = 77,
                                .waited = waited,
                                .longest = waited,
                                .waits = 1};
}

static void add(int window, uint64_t generation, struct lock_charge one) {
    lock_charges_add(window, generation, &one);
}

static void test_charges_of_a_thread_at_a_place_add_up(void) {
    lock_charges_open(3, 1);
    add(3, 1, row(1, LOCK_WAITED, 10));
    add(3, 1, row(2, LOCK_WAITED, 45));
    add(3, 1, row(1, LOCK_WAITED, 30));
    add(3, 1, row(1, LOCK_LET_GO, 40));
    struct lock_charge other = row(1, LOCK_WAITED, 5);
    other.native_id = 78;
    add(3, 1, other);
    lock_charges_read(3, 1, &reading);
    CHECK(reading.count == 4 && reading.drawn[LOCK_WAITED][2].waited == 90 &&
          reading.drawn[LOCK_WAITED][1].waited == 0);
    lock_charges_share_out(&reading, (const uint64_t[LOCK_CHARGES_KINDS]){[2] = 90});
    CHECK(reading.rows[0].place == 2 && reading.rows[0].waited == 45);
    CHECK(reading.rows[3].native_id == 78 && reading.rows[3].waited == 5);
    for (size_t i = 1; i < 3; i++) {
        CHECK(reading.rows[i].place == 1 && reading.rows[i].waited == 40);
        bool waited = reading.rows[i].role == LOCK_WAITED;
        CHECK(reading.rows[i].waits == (waited ? 2 : 1));
        CHECK(reading.rows[i].longest == (waited ? 30 : 40));
    }
}

static void test_a_window_begins_empty_and_only_its_own_charges_count(void) {
    lock_charges_open(3, 2);
    add(3, 1, row(1, LOCK_WAITED, 10));
    lock_charges_read(3, 2, &reading);
    CHECK(reading.count == 0 && reading.drawn[LOCK_WAITED][2].waited == 0);
    add(3, 2, row(1, LOCK_WAITED, 10));
    lock_charges_read(3, 1, &reading);
    CHECK(reading.count == 0 && reading.drawn[LOCK_WAITED][2].waited == 0);
}

static void test_what_was_not_drawn_is_shared_out_by_what_was(void) {
    lock_charges_open(3, 5);
    add(3, 5, row(1, LOCK_WAITED, 500));
    struct lock_charge drawn = row(2, LOCK_WAITED, 100);
    drawn.stands_for = 300;
    add(3, 5, drawn);
    drawn.place = 3;
    drawn.stands_for = 900;
    add(3, 5, drawn);
    drawn.role = LOCK_LET_GO;
    add(3, 5, drawn);
    const uint64_t more[LOCK_CHARGES_KINDS] = {[2] = 1500}, less[LOCK_CHARGES_KINDS] = {[2] = 350};
    lock_charges_read(3, 5, &reading);
    lock_charges_share_out(&reading, more);
    CHECK(reading.count == 4);
    CHECK(reading.rows[0].waited == 100 + 600 && reading.rows[0].place == 3);
    CHECK(reading.rows[1].waited == 100 + 600 && reading.rows[1].place == 3);
    CHECK(reading.rows[2].waited == 500 && reading.rows[2].place == 1);
    CHECK(reading.rows[3].waited == 100 + 200 && reading.rows[3].place == 2);
    lock_charges_read(3, 5, &reading);
    lock_charges_share_out(&reading, less);
    CHECK(reading.rows[0].waited == 250 && reading.rows[0].place == 1);
    CHECK(reading.rows[1].waited == 50);
}

/* Of an attempt of ten sleeps the last one was drawn, and somebody ended all of it. */
static void test_nobody_is_blamed_for_more_than_was_waited(void) {
    lock_charges_open(3, 6);
    struct lock_charge drawn = row(1, LOCK_WAITED, 4);
    drawn.stands_for = 6;
    add(3, 6, drawn);
    drawn.role = LOCK_LET_GO;
    drawn.waited = 40;
    drawn.stands_for = 60;
    add(3, 6, drawn);
    for (uint64_t whole = 0; whole <= 40000; whole += 20) {
        lock_charges_read(3, 6, &reading);
        lock_charges_share_out(&reading, (const uint64_t[LOCK_CHARGES_KINDS]){[2] = whole});
        CHECK(reading.rows[0].waited == whole && reading.rows[1].waited == whole);
    }
}

/* Of a wait that signals interrupted, nothing was drawn but what it stands for; it leaves to a short wait what that stands for. */
static void test_who_ended_an_interrupted_wait_takes_nothing_from_others(void) {
    lock_charges_open(3, 7);
    struct lock_charge drawn = row(1, LOCK_WAITED, 0);
    drawn.stands_for = 10000;
    add(3, 7, drawn);
    add(3, 7, row(1, LOCK_LET_GO, 10000));
    drawn.place = 2;
    drawn.stands_for = 5000;
    add(3, 7, drawn);
    drawn.role = LOCK_LET_GO;
    add(3, 7, drawn);
    lock_charges_read(3, 7, &reading);
    lock_charges_share_out(&reading, (const uint64_t[LOCK_CHARGES_KINDS]){[2] = 15000});
    CHECK(reading.count == 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK(reading.rows[i].waited == (reading.rows[i].place == 1 ? 10000 : 5000));
    }
}

static void test_what_finds_no_row_is_omitted(void) {
    lock_charges_open(3, 3);
    for (uint32_t i = 0; i < LOCK_CHARGES_ROWS + 5; i++) {
        add(3, 3, row(i, LOCK_WAITED, 7));
    }
    struct lock_charge drawn = row(1000, LOCK_WAITED, 13);
    drawn.stands_for = 50;
    add(3, 3, drawn);
    drawn.role = LOCK_LET_GO;
    add(3, 3, drawn);
    lock_charges_read(3, 3, &reading);
    CHECK(reading.count == LOCK_CHARGES_ROWS);
    const uint64_t waited = 7 * (LOCK_CHARGES_ROWS + 5) + 13;
    CHECK(reading.drawn[LOCK_WAITED][2].waited == waited);
    lock_charges_share_out(&reading, (const uint64_t[LOCK_CHARGES_KINDS]){[2] = waited + 20});
    CHECK(reading.rows[0].waited == 7 && reading.rows[LOCK_CHARGES_ROWS - 1].waited == 7);
    CHECK(reading.omitted[LOCK_WAITED][2].waited == 7 * 5 + 13 + 20);
    CHECK(reading.omitted[LOCK_LET_GO][2].waited == 13 + 20);
}

static void test_places_have_rows_however_many_threads_come_there(void) {
    lock_charges_open(3, 8);
    for (uint64_t thread = 1; thread <= 2 * LOCK_CHARGES_ROWS; thread++) {
        struct lock_charge waits = row(1, LOCK_WAITED, 10), lets_go = row(2, LOCK_LET_GO, 10);
        waits.native_id = lets_go.native_id = thread;
        add(3, 8, waits);
        add(3, 8, lets_go);
    }
    lock_charges_read(3, 8, &reading);
    uint64_t waited[LOCK_ROLES] = {0, 0}, by_several[LOCK_ROLES] = {0, 0};
    for (size_t i = 0; i < reading.count; i++) {
        const struct lock_charge *one = &reading.rows[i];
        waited[one->role] += one->waited;
        by_several[one->role] += one->native_id == 0 ? one->waited : 0;
        CHECK(one->place == (one->role == LOCK_WAITED ? 1 : 2));
    }
    const uint64_t all = 2 * LOCK_CHARGES_ROWS * 10, told = LOCK_CHARGES_THREAD_ROWS / 2 * 10;
    for (int role = 0; role < LOCK_ROLES; role++) {
        CHECK(waited[role] == all && by_several[role] == all - told);
        CHECK(reading.omitted[role][2].waited == 0);
    }
}

#define KINDS 3

/* What a role comes to in a reading, of waits of a kind. */
static uint64_t shared_out(int role, int kind) {
    uint64_t sum = reading.omitted[role][kind].waited;
    for (size_t i = 0; i < reading.count; i++) {
        const struct lock_charge *one = &reading.rows[i];
        sum += one->role == role && one->kind == kind ? one->waited : 0;
    }
    return sum;
}

/* Charge sleeps that were drawn, some of which somebody ended, at so many places. */
static void add_many(uint32_t places) {
    for (uint64_t i = random_below(&random_state, 600); i > 0; i--) {
        uint32_t place = (uint32_t)random_below(&random_state, places);
        struct lock_charge one = row(place, LOCK_WAITED, 1 + random_below(&random_state, 1000));
        one.kind = (uint8_t)random_below(&random_state, KINDS);
        one.stands_for = random_below(&random_state, 2) * random_below(&random_state, 100000);
        add(3, 8, one);
        if (random_below(&random_state, 2) == 0) {
            one.role = LOCK_LET_GO;
            one.place += places;
            one.waited += random_below(&random_state, 500); /* sleeps before that one, too */
            add(3, 8, one);
        }
    }
}

static void test_what_is_shared_out_comes_to_the_whole(void) {
    for (int round = 0; round < 2000; round++) {
        lock_charges_open(3, 8);
        add_many(round % 2 == 0 ? 20 : 400);
        uint64_t whole[LOCK_CHARGES_KINDS] = {0};
        for (int kind = 0; kind < KINDS; kind++) {
            whole[kind] = random_below(
                &random_state, random_below(&random_state, 2) == 0 ? 100000 : UINT64_C(1) << 50);
        }
        lock_charges_read(3, 8, &reading);
        lock_charges_share_out(&reading, whole);
        for (int kind = 0; kind < LOCK_CHARGES_KINDS; kind++) {
            const struct drawn_waits *drawn = &reading.drawn[LOCK_WAITED][kind];
            bool all = drawn->waited >= whole[kind] || drawn->stands_for != 0;
            CHECK(shared_out(LOCK_WAITED, kind) == (all ? whole[kind] : drawn->waited));
            CHECK(shared_out(LOCK_LET_GO, kind) <= whole[kind]);
        }
    }
}

#if defined(__linux__) && defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)

#define TRAP_FLAG 0x100

static volatile sig_atomic_t steps, wrong, step_on;

/* Whether a child, whose parent was adding a charge, finds all of it or none, and none in the window that it
 * opens next. */
static bool is_whole(void) {
    lock_charges_after_fork();
    lock_charges_read(4, 4, &reading);
    bool whole = reading.count <= 1;
    for (size_t i = 0; i < reading.count; i++) {
        const struct lock_charge *one = &reading.rows[i];
        whole = whole && one->place == 1 && one->kind == 2 && one->role == LOCK_WAITED &&
                one->native_id == 77 && one->waits == 1 && one->waited == 10 && one->longest == 10;
        whole = whole && reading.drawn[LOCK_WAITED][2].waited == 10;
    }
    lock_charges_open(4, 5);
    lock_charges_read(4, 5, &reading);
    return whole && reading.count == 0 && reading.drawn[LOCK_WAITED][2].waited == 0;
}

static void fork_here(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    *flags = step_on ? *flags | TRAP_FLAG : *flags & ~TRAP_FLAG;
    pid_t child = fork();
    if (child == 0) {
        _exit(is_whole() ? 0 : 1);
    }
    int status;
    wrong += child < 0 || waitpid(child, &status, 0) != child || status != 0;
    steps++;
}

static void test_a_child_finds_whole_rows_at_whichever_instruction_it_is_forked(void) {
    const struct sigaction action = {.sa_sigaction = fork_here, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    const struct lock_charge one = row(1, LOCK_WAITED, 10);
    lock_charges_open(4, 4);
    step_on = 1;
    raise(SIGTRAP);
    lock_charges_add(4, 4, &one);
    step_on = 0;
    CHECK(steps > 50 && wrong == 0);
}

#else

static void test_a_child_finds_whole_rows_at_whichever_instruction_it_is_forked(void) {}

#endif

int main(void) {
    test_charges_of_a_thread_at_a_place_add_up();
    test_a_window_begins_empty_and_only_its_own_charges_count();
    test_what_was_not_drawn_is_shared_out_by_what_was();
    test_nobody_is_blamed_for_more_than_was_waited();
    test_who_ended_an_interrupted_wait_takes_nothing_from_others();
    test_what_finds_no_row_is_omitted();
    test_places_have_rows_however_many_threads_come_there();
    test_what_is_shared_out_comes_to_the_whole();
    test_a_child_finds_whole_rows_at_whichever_instruction_it_is_forked();
    return 0;
}
