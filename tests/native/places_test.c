/* Places, with memory that may be scarce. */
#undef malloc
#undef calloc
#include "native/places.h"

#include <string.h>

#include "check.h"

static bool memory_is_scarce;

void *scarce_malloc(size_t size) { return memory_is_scarce ? NULL : malloc(size); }
void *scarce_calloc(size_t count, size_t size) {
    return memory_is_scarce ? NULL : calloc(count, size);
}

static struct places_text text(const char *bytes) {
    return (struct places_text){bytes, strlen(bytes)};
}

static bool is(struct places_text found, const char *wanted) {
    return found.size == strlen(wanted) && memcmp(found.bytes, wanted, found.size) == 0;
}

static struct places_code_key key_of(uint64_t number) {
    return (struct places_code_key){
        .at = 4096 + 64 * (number % 1000), .version = number, .first_line = 1};
}

static uint32_t add(uint64_t number, const char *name) {
    struct places_code_key key = key_of(number);
    return places_add_code(&key, text("file.py"), text(name), (const unsigned char *)"ab", 2);
}

static void test_a_code_object_is_known_by_all_of_its_key(void) {
    uint32_t one = add(1, "f");
    CHECK(one != PLACES_CODE_UNKNOWN && add(1, "f") == one);
    struct places_code_key key = key_of(1);
    CHECK(places_find_code(&key) == one);
    uint64_t *parts[] = {&key.at, &key.filename, &key.name, &key.table, &key.version};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        key = key_of(1);
        *parts[i] += 1;
        CHECK(places_find_code(&key) == PLACES_CODE_UNKNOWN);
    }
    key = key_of(1);
    key.first_line = 2;
    CHECK(places_find_code(&key) == PLACES_CODE_UNKNOWN);
    CHECK(is(places_code(one)->file, "file.py") && is(places_code(one)->name, "f"));
    CHECK(places_code(one)->table_size == 2 && memcmp(places_code(one)->table, "ab", 2) == 0);
}

static void test_code_objects_of_the_same_text_are_one_code(void) {
    const unsigned char *table = (const unsigned char *)"ab";
    struct places_code_key key = key_of(2);
    uint32_t one = add(1, "f");
    CHECK(add(2, "f") == one && places_find_code(&key) == one);
    CHECK(add(3, "g") != one);
    key.version++;
    CHECK(places_add_code(&key, text("other.py"), text("f"), table, 2) != one);
    key.version++;
    CHECK(places_add_code(&key, text("file.py"), text("f"), table, 1) != one);
    key.version++;
    key.first_line++;
    CHECK(places_add_code(&key, text("file.py"), text("f"), table, 2) != one);
}

static void test_stacks_share_their_callers(void) {
    uint32_t code = add(1, "f");
    const struct places_frame deep[] = {{code, 3, 0}, {code, 2, 0}, {code, 1, 0}};
    uint32_t place = places_enter(deep, 3), caller, root;
    CHECK(places_enter(deep, 3) == place);
    CHECK(places_frame(place, &caller).line == 3);
    CHECK(caller == places_enter(deep + 1, 2));
    places_frame(places_enter(deep + 2, 1), &root);
    CHECK(root == PLACE_ROOT && places_enter(deep, 0) == PLACE_ROOT);
    uint32_t callee = places_add_callee(text("zlib.compress"));
    CHECK(callee != 0 && places_add_callee(text("zlib.compress")) == callee);
    CHECK(is(places_callee(callee), "zlib.compress"));
    const struct places_frame calling = {code, 3, callee};
    const struct places_frame others[] = {calling, deep[1], deep[2]};
    CHECK(places_enter(others, 3) != place);
    CHECK(places_frame(places_enter(others, 3), &caller).callee == callee);
}

static void test_names_stay_where_they_are(void) {
    const char *name = places_code(add(1, "f"))->name.bytes;
    for (uint64_t i = 2; i < 5000; i++) {
        char other[16];
        snprintf(other, sizeof other, "f%d", (int)i);
        uint32_t code = add(i, other);
        CHECK(is(places_code(code)->name, other));
    }
    CHECK(places_code(add(1, "f"))->name.bytes == name);
}

static void test_without_memory_what_is_known_stays_known(void) {
    uint32_t known = add(1, "f");
    const struct places_frame frame = {known, 3, 0};
    uint32_t place = places_enter(&frame, 1);
    uint64_t refused = places_refused();
    memory_is_scarce = true;
    CHECK(add(1, "f") == known && places_enter(&frame, 1) == place);
    CHECK(add(1000000, "not seen before") == PLACES_CODE_UNKNOWN);
    CHECK(places_add_callee(text("new")) == 0);
    memory_is_scarce = false;
    CHECK(places_refused() > refused);
    CHECK(add(1000000, "not seen before") != PLACES_CODE_UNKNOWN);
}

/* The tree has room for so many places and no more; then stacks are cut to their innermost frame. */
static void test_there_is_room_for_so_many_places(void) {
    uint32_t code = add(1, "f"), place = PLACE_ROOT, caller;
    struct places_frame frames[2] = {{code, 0, 0}, {code, 0, 0}};
    bool cut = false;
    for (uint32_t i = 0; i < 1000000 && place != PLACE_UNKNOWN; i++) {
        frames[0].line = frames[1].line = i;
        place = places_enter(frames, 2);
        if (place != PLACE_UNKNOWN) {
            CHECK(places_frame(place, &caller).line == i);
            cut = cut || places_frame(caller, &caller).code == PLACES_CODE_MORE;
        }
    }
    CHECK(cut && place == PLACE_UNKNOWN && places_refused() > 0);
    const struct places_frame known = {code, 3, 0};
    CHECK(places_enter(&known, 1) != PLACE_UNKNOWN);
}

int main(void) {
    places_lock();
    test_a_code_object_is_known_by_all_of_its_key();
    test_code_objects_of_the_same_text_are_one_code();
    test_stacks_share_their_callers();
    test_names_stay_where_they_are();
    test_without_memory_what_is_known_stays_known();
    test_there_is_room_for_so_many_places();
    places_after_fork();
    places_lock();
    places_unlock();
    return 0;
}
