/* Reading memory that may not be there, by both ways. */
#define _GNU_SOURCE
#include "native/own_memory.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static const size_t page = 4096;
static char room[3200];

/* Two pages, of which the second is given back. */
static char *half_there(void) {
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    memset(pages, 'x', 2 * page);
    CHECK(munmap(pages + page, page) == 0);
    return pages;
}

static void test_what_is_there_is_read_and_what_is_not_is_told(void) {
    char *pages = half_there(), copy[2 * 4096] = "";
    CHECK(own_memory_read(copy, pages, page));
    CHECK(memcmp(copy, pages, page) == 0);
    CHECK(!own_memory_read(copy, pages + page, 1));
    CHECK(!own_memory_read(copy, pages + page - 1, 2));
    CHECK(!own_memory_read(copy, NULL, 8));
    CHECK(own_memory_read(copy, pages, 0));
    CHECK(!own_memory_read(copy, (const void *)8, 8));
    CHECK(own_memory_read_some(copy, pages + page - 10, 20) == 10 ||
          own_memory_read_some(copy, pages + page - 10, 20) == -1);
    CHECK(munmap(pages, page) == 0);
}

static void test_pieces_are_read_up_to_the_first_that_is_not_there(void) {
    char *pages = half_there(), copies[4][8];
    struct own_memory_piece pieces[4];
    for (size_t i = 0; i < 4; i++) {
        pages[8 * i] = (char)('a' + i);
        pieces[i] = (struct own_memory_piece){copies[i], pages + 8 * i, 8};
    }
    CHECK(own_memory_read_pieces(pieces, 4, room, sizeof room) == 4);
    for (size_t i = 0; i < 4; i++) {
        CHECK(copies[i][0] == (char)('a' + i) && copies[i][7] == 'x');
    }
    pieces[2].from = pages + page;
    CHECK(own_memory_read_pieces(pieces, 4, room, sizeof room) == 2);
    pieces[0].from = NULL;
    CHECK(own_memory_read_pieces(pieces, 4, room, sizeof room) == 0);
    CHECK(own_memory_read_pieces(pieces, 0, room, sizeof room) == 0);
    CHECK(munmap(pages, page) == 0);
}

/* Few or many, from places that are apart to places that are apart. */
static void test_pieces_of_any_size_are_read_in_their_order(void) {
    enum { MOST = 8, ROOM = 3 * 4096 };
    static char from[MOST][ROOM], to[MOST][ROOM];
    const size_t sizes[] = {1, 100, 400, 401, ROOM};
    for (size_t i = 0; i < MOST; i++) {
        memset(from[i], (int)('a' + i), ROOM);
    }
    for (size_t count = 1; count <= MOST; count++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            struct own_memory_piece pieces[MOST];
            memset(to, '.', sizeof to);
            for (size_t i = 0; i < count; i++) {
                pieces[i] = (struct own_memory_piece){to[i], from[MOST - 1 - i], sizes[s]};
            }
            CHECK(own_memory_read_pieces(pieces, count, room, sizeof room) == count);
            for (size_t i = 0; i < count; i++) {
                CHECK(memcmp(to[i], from[MOST - 1 - i], sizes[s]) == 0);
                CHECK(sizes[s] == ROOM || to[i][sizes[s]] == '.');
            }
            pieces[count - 1].from = (const void *)8;
            CHECK(own_memory_read_pieces(pieces, count, room, sizeof room) == count - 1);
        }
    }
}

static void test_a_beginning_ends_with_its_page_but_not_before_what_is_sure(void) {
    char *pages = half_there(), copy[64];
    struct own_memory_piece piece = own_memory_beginning(copy, pages + 100, 16, sizeof copy);
    CHECK(piece.to == copy && piece.from == pages + 100 && piece.size == sizeof copy);
    piece = own_memory_beginning(copy, pages + page - 20, 16, sizeof copy);
    CHECK(piece.size == 20);
    CHECK(own_memory_read_pieces(&piece, 1, room, sizeof room) == 1);
    piece = own_memory_beginning(copy, pages + page - 10, 16, sizeof copy);
    CHECK(piece.size == 16);
    CHECK(own_memory_read_pieces(&piece, 1, room, sizeof room) == 0);
    piece = own_memory_beginning(copy, pages + page, 16, sizeof copy);
    CHECK(piece.size == sizeof copy);
    CHECK(munmap(pages, page) == 0);
}

static size_t open_files(void) {
    size_t count = 0;
    for (int i = 0; i < 256; i++) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", i);
        count += access(path, F_OK) == 0;
    }
    return count;
}

/* As a sandbox may: the call fails with EPERM. */
static void deny(long call) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void in_a_child(void (*test)(void)) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_where_the_call_is_denied_a_pipe_does_it(void) {
    deny(SYS_process_vm_writev);
    CHECK(own_memory_init() == OWN_MEMORY_BY_PIPE);
    size_t files = open_files();
    test_what_is_there_is_read_and_what_is_not_is_told();
    test_pieces_are_read_up_to_the_first_that_is_not_there();
    test_pieces_of_any_size_are_read_in_their_order();
    test_a_beginning_ends_with_its_page_but_not_before_what_is_sure();
    CHECK(open_files() == files);
    static char large[3 * 4096 + 5], copy[sizeof large];
    memset(large, 'y', sizeof large);
    CHECK(own_memory_read(copy, large, sizeof large));
    CHECK(memcmp(copy, large, sizeof large) == 0);
}

static void test_where_both_are_denied_nothing_is_read(void) {
    deny(SYS_process_vm_writev);
    deny(SYS_pipe2);
    CHECK(own_memory_init() == OWN_MEMORY_CLOSED);
    char copy;
    CHECK(!own_memory_read(&copy, "x", 1));
    CHECK(own_memory_read_some(&copy, "x", 1) == -1);
}

static void test_a_child_reads_its_own_memory(void) {
    static char word[8] = "parent";
    strcpy(word, "child");
    char copy[8];
    CHECK(own_memory_read(copy, word, sizeof word));
    CHECK(strcmp(copy, "child") == 0);
}

int main(void) {
    CHECK(own_memory_init() == OWN_MEMORY_BY_SYSTEM_CALL);
    test_what_is_there_is_read_and_what_is_not_is_told();
    test_pieces_are_read_up_to_the_first_that_is_not_there();
    test_pieces_of_any_size_are_read_in_their_order();
    test_a_beginning_ends_with_its_page_but_not_before_what_is_sure();
    in_a_child(test_a_child_reads_its_own_memory);
    in_a_child(test_where_the_call_is_denied_a_pipe_does_it);
    in_a_child(test_where_both_are_denied_nothing_is_read);
    return 0;
}
