/* What a knocker does is written down letter by letter, by the thread that does it:
 * b(egin), p(ace), l(ook), k(nock), e(nd). */

#define _GNU_SOURCE

#include "native/knocker.h"

#include <dirent.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "native/clock.h"
#include "native/random.h"

#define HOUR UINT64_C(3600000000000)
#define MINUTE UINT64_C(60000000000)
#define LOG_SIZE 100
#define CROWD 1000
#define STARTERS 4
#define MOST_BEGINNINGS 4

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif

/* One knocker's part: how long it pauses, whether its knocks are held up, and what it did. */
struct script {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    const uint64_t *pauses; /* and then it sleeps */
    size_t pause_count;
    bool held_up;
    char log[LOG_SIZE];
    long threads[MOST_BEGINNINGS]; /* the system's names of those that began */
    size_t begun;
};

/* The build has the knocker start its threads here. */
static bool no_threads;
#undef pthread_create
int pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int scarce_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument) {
    return no_threads ? -1 : pthread_create(thread, attributes, run, argument);
}

static void write_down(struct script *script, char letter) {
    pthread_mutex_lock(&script->mutex);
    size_t length = strlen(script->log);
    CHECK(length + 1 < LOG_SIZE);
    script->log[length] = letter;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->mutex);
}

static void script_begin(void *context) {
    struct script *script = context;
    CHECK(script->begun < MOST_BEGINNINGS);
    script->threads[script->begun++] = syscall(SYS_gettid);
    write_down(script, 'b');
}

static uint64_t script_pace(void *context) {
    struct script *script = context;
    write_down(script, 'p');
    if (script->pause_count == 0) {
        return KNOCKER_ASLEEP;
    }
    script->pause_count--;
    return *script->pauses++;
}

static void script_look(void *context) { write_down(context, 'l'); }

static void script_knock(void *context) {
    struct script *script = context;
    write_down(script, 'k');
    pthread_mutex_lock(&script->mutex);
    while (script->held_up) {
        pthread_cond_wait(&script->changed, &script->mutex);
    }
    pthread_mutex_unlock(&script->mutex);
}

static void script_end(void *context) { write_down(context, 'e'); }

static struct knocker *start(struct script *script, const uint64_t *pauses, size_t pause_count) {
    pthread_mutex_init(&script->mutex, NULL);
    pthread_cond_init(&script->changed, NULL);
    script->pauses = pauses;
    script->pause_count = pause_count;
    memset(script->log, 0, LOG_SIZE);
    script->begun = 0;
    const struct knocker_work work = {script_begin, script_pace, script_look,
                                      script_knock, script_end,  script};
    return knocker_start(&work);
}

static void let_knock(struct script *script) {
    pthread_mutex_lock(&script->mutex);
    script->held_up = false;
    pthread_cond_broadcast(&script->changed);
    pthread_mutex_unlock(&script->mutex);
}

/* Waits until as much is written down, and checks that it is this. */
static void await(struct script *script, const char *log) {
    pthread_mutex_lock(&script->mutex);
    while (strlen(script->log) < strlen(log)) {
        pthread_cond_wait(&script->changed, &script->mutex);
    }
    if (strcmp(script->log, log) != 0) {
        fprintf(stderr, "%s, not %s\n", script->log, log);
        exit(1);
    }
    pthread_mutex_unlock(&script->mutex);
}

/* Waits until the knocker has ended and nobody looks at the script any more. */
static void await_end(struct script *script, const char *log) {
    await(script, log);
    CHECK(knocker_stop_all(MINUTE));
    pthread_cond_destroy(&script->changed);
    pthread_mutex_destroy(&script->mutex);
}

/* --- one knocker --- */

static void test_it_paces_looks_and_knocks_until_it_is_stopped(void) {
    static const uint64_t pauses[] = {0, 1000, 0};
    struct script script = {.held_up = false};
    struct knocker *knocker = start(&script, pauses, 3);
    CHECK(knocker != NULL);
    await(&script, "bplkplkplkp");
    knocker_stop(knocker);
    await_end(&script, "bplkplkplkpe");
}

static void test_a_pause_is_not_cut_short(void) {
    static const uint64_t pauses[] = {2000000, 20000000};
    for (size_t i = 0; i < 2; i++) {
        struct script script = {.held_up = false};
        uint64_t before = clock_system_ns();
        struct knocker *knocker = start(&script, &pauses[i], 1);
        await(&script, "bplkp");
        CHECK(clock_system_ns() - before >= pauses[i]);
        knocker_stop(knocker);
        await_end(&script, "bplkpe");
    }
}

static void test_asleep_it_does_nothing(void) {
    static const uint64_t pauses[] = {1000000, 1000000, 1000000};
    struct script asleep = {.held_up = false}, awake = {.held_up = false};
    struct knocker *sleeper = start(&asleep, NULL, 0);
    await(&asleep, "bp");
    struct knocker *other = start(&awake, pauses, 3);
    await(&awake, "bplkplkplkp");
    await(&asleep, "bp");
    knocker_stop(other);
    knocker_stop(sleeper);
    await_end(&awake, "bplkplkplkpe");
    await_end(&asleep, "bpe");
}

static void test_stopping_ends_a_long_pause(void) {
    static const uint64_t pauses[] = {HOUR};
    struct script script = {.held_up = false};
    struct knocker *knocker = start(&script, pauses, 1);
    await(&script, "bp");
    knocker_stop(knocker);
    await_end(&script, "bpe");
}

static void test_stopping_does_not_wait_for_the_knock_under_way(void) {
    static const uint64_t pauses[] = {0, 0};
    struct script script = {.held_up = true};
    struct knocker *knocker = start(&script, pauses, 2);
    await(&script, "bplk");
    knocker_stop(knocker);
    let_knock(&script);
    await_end(&script, "bplkpe");
}

static void test_waking_has_it_ask_its_pace_again(void) {
    static const uint64_t pauses[] = {HOUR, 0, KNOCKER_ASLEEP, 0};
    struct script script = {.held_up = false};
    struct knocker *knocker = start(&script, pauses, 4);
    await(&script, "bp");
    knocker_wake(knocker);
    await(&script, "bpplkp");
    knocker_wake(knocker);
    await(&script, "bpplkpplkp");
    knocker_stop(knocker);
    await_end(&script, "bpplkpplkpe");
}

static void test_waking_during_a_knock_is_not_forgotten(void) {
    static const uint64_t pauses[] = {0, HOUR, HOUR};
    struct script script = {.held_up = true};
    struct knocker *knocker = start(&script, pauses, 3);
    await(&script, "bplk");
    knocker_wake(knocker);
    knocker_wake(knocker);
    let_knock(&script);
    await(&script, "bplkpp");
    knocker_stop(knocker);
    await_end(&script, "bplkppe");
}

static void test_a_knocker_goes_on_in_a_new_thread(void) {
    static const uint64_t pauses[] = {0, KNOCKER_ANEW, 0, KNOCKER_ANEW, HOUR, 0};
    struct script script = {.held_up = false};
    struct knocker *knocker = start(&script, pauses, 6);
    await(&script, "bplkpbplkpbp");
    knocker_wake(knocker);
    await(&script, "bplkpbplkpbpplkp");
    knocker_stop(knocker);
    await_end(&script, "bplkpbplkpbpplkpe");
    CHECK(script.threads[0] != script.threads[1] && script.threads[1] != script.threads[2]);
}

static void test_without_a_new_thread_it_goes_on_in_the_old_one(void) {
    static const uint64_t pauses[] = {0, KNOCKER_ANEW, 0};
    struct script script = {.held_up = true};
    struct knocker *knocker = start(&script, pauses, 3);
    await(&script, "bplk");
    no_threads = true;
    let_knock(&script);
    await(&script, "bplkpplkp");
    no_threads = false;
    knocker_stop(knocker);
    await_end(&script, "bplkpplkpe");
}

static size_t threads_counted(void) {
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    while (readdir(tasks) != NULL) {
        count++;
    }
    closedir(tasks);
    return count;
}

static void *let_knock_later(void *script) {
    usleep(20000);
    let_knock(script);
    return NULL;
}

static void test_stopping_can_wait_until_its_thread_is_gone(void) {
    static const uint64_t pauses[] = {0, HOUR};
    usleep(20000); /* threads of other tests may be about to go */
    size_t threads = threads_counted();
    for (int i = 0; i < 50; i++) {
        struct script script = {.held_up = false};
        struct knocker *knocker = start(&script, &pauses[1], 1);
        await(&script, "bp");
        knocker_stop_and_wait(knocker);
        CHECK(strcmp(script.log, "bpe") == 0);
        CHECK(threads_counted() <= threads);
    }
    struct script script = {.held_up = true};
    struct knocker *knocker = start(&script, pauses, 1);
    await(&script, "bplk");
    pthread_t helper;
    CHECK(pthread_create(&helper, NULL, let_knock_later, &script) == 0);
    knocker_stop_and_wait(knocker);
    CHECK(strcmp(script.log, "bplkpe") == 0);
    CHECK(pthread_join(helper, NULL) == 0);
}

static void test_without_a_thread_there_is_no_knocker(void) {
    struct script script = {.held_up = false};
    no_threads = true;
    CHECK(start(&script, NULL, 0) == NULL);
    no_threads = false;
    await_end(&script, "");
}

/* --- all of them --- */

static void test_none_are_stopped_at_once(void) { CHECK(knocker_stop_all(0)); }

static void test_stopping_all_leaves_their_owners_to_give_them_up(void) {
    static const uint64_t pauses[] = {HOUR};
    struct script scripts[3] = {{.held_up = false}};
    struct knocker *knockers[3];
    for (size_t i = 0; i < 3; i++) {
        knockers[i] = start(&scripts[i], pauses, 1);
        await(&scripts[i], "bp");
    }
    CHECK(knocker_stop_all(MINUTE));
    for (size_t i = 0; i < 3; i++) {
        await(&scripts[i], "bpe");
        knocker_wake(knockers[i]);
        knocker_stop(knockers[i]);
        await_end(&scripts[i], "bpe");
    }
}

static void test_stopping_all_waits_for_a_knock_but_not_for_ever(void) {
    static const uint64_t pauses[] = {0};
    struct script quick = {.held_up = false}, slow = {.held_up = true};
    struct knocker *slow_knocker = start(&slow, pauses, 1);
    struct knocker *quick_knocker = start(&quick, pauses, 0);
    await(&slow, "bplk");
    await(&quick, "bp");
    CHECK(!knocker_stop_all(20000000));
    await(&quick, "bpe");
    CHECK(!knocker_stop_all(0));
    let_knock(&slow);
    CHECK(knocker_stop_all(MINUTE));
    await(&slow, "bplkpe");
    knocker_stop(quick_knocker);
    knocker_stop(slow_knocker);
    test_it_paces_looks_and_knocks_until_it_is_stopped();
}

/* --- a crowd --- */

/* Plain fields: its thread alone uses them, and whoever waited for its end. */
struct member {
    uint64_t random;
    unsigned begun, ended, looks, knocks;
};

static void member_begin(void *context) {
    struct member *member = context;
    CHECK(member->begun++ == 0);
}

static uint64_t member_pace(void *context) {
    struct member *member = context;
    CHECK(member->begun == 1 && member->ended == 0);
    CHECK(member->looks == member->knocks);
    uint64_t choice = random_below(&member->random, 4);
    return choice == 0 ? KNOCKER_ASLEEP : random_below(&member->random, choice * 50000);
}

static void member_look(void *context) {
    struct member *member = context;
    CHECK(member->looks++ == member->knocks);
}

static void member_knock(void *context) {
    struct member *member = context;
    CHECK(++member->knocks == member->looks);
}

static void member_end(void *context) {
    struct member *member = context;
    CHECK(member->begun == 1 && member->ended++ == 0);
}

static struct member crowd[CROWD];

static void sleep_up_to(uint64_t *random, uint64_t nanoseconds) {
    struct timespec duration = {0, (long)random_below(random, nanoseconds)};
    nanosleep(&duration, NULL);
}

/* Starts a part of the crowd, a few at a time. */
static void *start_some(void *argument) {
    struct member *members = argument;
    struct knocker *running[8] = {NULL};
    uint64_t random = members[0].random + CROWD;
    for (size_t started = 0; started < CROWD / STARTERS;) {
        struct knocker **knocker = &running[random_below(&random, 8)];
        if (*knocker == NULL) {
            struct member *member = &members[started++];
            const struct knocker_work work = {member_begin, member_pace, member_look,
                                              member_knock, member_end,  member};
            *knocker = knocker_start(&work);
            CHECK(*knocker != NULL);
        } else if (random_below(&random, 2) == 0) {
            knocker_wake(*knocker);
        } else {
            knocker_stop(*knocker);
            *knocker = NULL;
        }
        if (random_below(&random, 4) == 0) {
            sleep_up_to(&random, 300000);
        }
    }
    for (size_t i = 0; i < 8; i++) {
        if (running[i] != NULL) {
            knocker_stop(running[i]);
        }
    }
    return NULL;
}

static void test_a_crowd_comes_and_goes(void) {
    pthread_t starters[STARTERS];
    for (size_t i = 0; i < CROWD; i++) {
        crowd[i].random = i + 1;
    }
    for (size_t i = 0; i < STARTERS; i++) {
        CHECK(pthread_create(&starters[i], NULL, start_some, &crowd[i * (CROWD / STARTERS)]) == 0);
    }
    knocker_stop_all(1000000); /* among the starting */
    for (size_t i = 0; i < STARTERS; i++) {
        CHECK(pthread_join(starters[i], NULL) == 0);
    }
    CHECK(knocker_stop_all(MINUTE));
    unsigned knocks = 0;
    for (size_t i = 0; i < CROWD; i++) {
        CHECK(crowd[i].begun == 1 && crowd[i].ended == 1);
        knocks += crowd[i].knocks;
    }
    CHECK(knocks > 0);
}

/* --- fork --- */

#ifndef THREAD_SANITIZER /* it starts no threads in the child of a process with threads */
static void live_in_the_child(unsigned generation) {
    alarm(60);
    CHECK(knocker_generation() != generation);
    CHECK(knocker_stop_all(0));
    test_it_paces_looks_and_knocks_until_it_is_stopped();
    test_stopping_all_waits_for_a_knock_but_not_for_ever();
}

static void test_a_forked_child_begins_without_knockers(void) {
    static const uint64_t pauses[] = {0, HOUR};
    struct script asleep_script = {.held_up = false}, busy_script = {.held_up = true};
    struct knocker *asleep = start(&asleep_script, &pauses[1], 1);
    struct knocker *busy = start(&busy_script, pauses, 1);
    await(&asleep_script, "bp");
    await(&busy_script, "bplk");
    unsigned generation = knocker_generation();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        live_in_the_child(generation);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(knocker_generation() == generation);
    let_knock(&busy_script);
    knocker_stop(busy);
    knocker_stop(asleep);
    CHECK(knocker_stop_all(MINUTE));
    await_end(&asleep_script, "bpe");
    await_end(&busy_script, "bplkpe");
}
#endif

int main(void) {
    knocker_init();
    test_none_are_stopped_at_once();
    test_it_paces_looks_and_knocks_until_it_is_stopped();
    test_a_pause_is_not_cut_short();
    test_asleep_it_does_nothing();
    test_stopping_ends_a_long_pause();
    test_stopping_does_not_wait_for_the_knock_under_way();
    test_waking_has_it_ask_its_pace_again();
    test_waking_during_a_knock_is_not_forgotten();
    test_a_knocker_goes_on_in_a_new_thread();
    test_without_a_new_thread_it_goes_on_in_the_old_one();
    test_stopping_can_wait_until_its_thread_is_gone();
    test_without_a_thread_there_is_no_knocker();
    test_stopping_all_leaves_their_owners_to_give_them_up();
    test_stopping_all_waits_for_a_knock_but_not_for_ever();
    test_a_crowd_comes_and_goes();
#ifndef THREAD_SANITIZER
    test_a_forked_child_begins_without_knockers();
#endif
    return 0;
}
