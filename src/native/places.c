/* Three tables grow by doubling: codes, callees, and the tree of places. Each has an index beside it,
 * a hash table of entry number + 1, in which an entry is found by stepping on from its slot. An entry
 * is filled, then counted, then put into the index: after a fork in the middle of that it is lost,
 * and nothing else. */
#define _POSIX_C_SOURCE 200809L
#include "native/places.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CODES_MAX (1u << 16)
#define KNOWN_KEYS (1u << 12)
#define CALLEES_MAX (1u << 12)
#define NODES_MAX (1u << 18)
#define NODES_FOR_WHOLE_STACKS (NODES_MAX - NODES_MAX / 8)
#define TEXT_MAX ((size_t)32 << 20)

struct node {
    struct places_frame frame;
    uint32_t caller;
};

struct callee {
    const char *name; /* owned by the table */
    size_t size;
};

/* A growing array of entries, and the index into it. */
struct table {
    void *entries; /* owned */
    size_t entry_size;
    uint32_t count, room, most;
    uint32_t *index;     /* owned; 0: empty */
    uint32_t index_size; /* a power of two, at least twice `room` */
};

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct table codes = {.entry_size = sizeof(struct places_code), .most = CODES_MAX};
static struct table callees = {.entry_size = sizeof(struct callee), .most = CALLEES_MAX};
static struct table nodes = {.entry_size = sizeof(struct node), .most = NODES_MAX};
static struct known_key {
    struct places_code_key key;
    uint32_t code;
    bool is_set;
} *known_keys; /* owned, KNOWN_KEYS of them; one makes room for the next in its place */
static size_t text_size;
static uint64_t refused; /* atomic */

void places_lock(void) { pthread_mutex_lock(&guard); }

void places_unlock(void) { pthread_mutex_unlock(&guard); }

void places_after_fork(void) { pthread_mutex_init(&guard, NULL); }

uint64_t places_refused(void) { return __atomic_load_n(&refused, __ATOMIC_RELAXED); }

static void refuse(void) { __atomic_store_n(&refused, refused + 1, __ATOMIC_RELAXED); }

/* --- tables --- */

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

static void *entry(const struct table *table, uint32_t number) {
    return (char *)table->entries + (size_t)number * table->entry_size;
}

static void put_into_index(uint32_t *index, uint32_t size, uint64_t hash, uint32_t number) {
    uint32_t slot = (uint32_t)hash & (size - 1);
    while (index[slot] != 0) {
        slot = (slot + 1) & (size - 1);
    }
    index[slot] = number + 1;
}

/* Room for one more entry, or false. `hash_of` says where the old ones go in a new index. The old
 * arrays are freed only when the new ones are in place: a fork may come at any point. */
static bool make_room(struct table *table, uint64_t (*hash_of)(const void *entry)) {
    if (table->count < table->room) {
        return true;
    }
    if (table->room == table->most) {
        return false;
    }
    uint32_t room = table->room != 0 ? 2 * table->room : 256;
    void *entries = malloc((size_t)room * table->entry_size), *old_entries = table->entries;
    uint32_t *index = calloc((size_t)2 * room, sizeof *index), *old_index = table->index;
    if (entries == NULL || index == NULL) {
        free(entries);
        free(index);
        return false;
    }
    if (table->count != 0) {
        memcpy(entries, old_entries, table->count * table->entry_size);
    }
    table->entries = entries;
    for (uint32_t i = 0; i < table->count; i++) {
        put_into_index(index, 2 * room, hash_of(entry(table, i)), i);
    }
    table->index = index;
    table->index_size = 2 * room;
    table->room = room;
    free(old_entries);
    free(old_index);
    return true;
}

/* Fill an entry that there is room for, count it, and make it findable. */
static uint32_t add(struct table *table, uint64_t hash, const void *new_entry) {
    uint32_t number = table->count;
    memcpy(entry(table, number), new_entry, table->entry_size);
    __atomic_store_n(&table->count, number + 1, __ATOMIC_RELEASE);
    put_into_index(table->index, table->index_size, hash, number);
    return number;
}

/* The number of the entry that equals `wanted`; UINT32_MAX if there is none. */
static uint32_t find(const struct table *table, uint64_t hash, const void *wanted,
                     bool (*equals)(const void *entry, const void *wanted)) {
    if (table->index_size == 0) {
        return UINT32_MAX;
    }
    uint32_t slot = (uint32_t)hash & (table->index_size - 1);
    for (uint32_t found; (found = table->index[slot]) != 0;
         slot = (slot + 1) & (table->index_size - 1)) {
        if (equals(entry(table, found - 1), wanted)) {
            return found - 1;
        }
    }
    return UINT32_MAX;
}

/* --- codes --- */

static uint64_t hash_of_text(const char *bytes, size_t size) {
    uint64_t hash = size;
    for (size_t i = 0; i < size; i++) {
        hash = mix(hash, (unsigned char)bytes[i]);
    }
    return hash;
}

static uint64_t hash_of_code(const void *code) {
    const struct places_code *one = code;
    uint64_t hash = mix(one->first_line, hash_of_text(one->file.bytes, one->file.size));
    hash = mix(hash, hash_of_text(one->name.bytes, one->name.size));
    return mix(hash, hash_of_text((const char *)one->table, one->table_size));
}

static bool texts_equal(const char *a, size_t a_size, const char *b, size_t b_size) {
    return a_size == b_size && memcmp(a, b, a_size) == 0;
}

static bool code_equals(const void *code, const void *wanted) {
    const struct places_code *a = code, *b = wanted;
    return a->first_line == b->first_line &&
           texts_equal(a->file.bytes, a->file.size, b->file.bytes, b->file.size) &&
           texts_equal(a->name.bytes, a->name.size, b->name.bytes, b->name.size) &&
           texts_equal((const char *)a->table, a->table_size, (const char *)b->table,
                       b->table_size);
}

/* The codes that are always there. */
static bool have_first_codes(void) {
    static const char *const names[PLACES_FIRST_CODE] = {"<GC>", "<more>"};
    while (codes.count < PLACES_FIRST_CODE && make_room(&codes, hash_of_code)) {
        const char *name = names[codes.count];
        const struct places_code code = {
            .file = {"", 0}, .name = {name, strlen(name)}, .table = (const unsigned char *)""};
        add(&codes, hash_of_code(&code), &code);
    }
    return codes.count >= PLACES_FIRST_CODE;
}

/* A code with a copy of what makes up another. */
static uint32_t add_copy(const struct places_code *code) {
    size_t size = code->file.size + code->name.size + code->table_size;
    char *text =
        text_size + size <= TEXT_MAX && make_room(&codes, hash_of_code) ? malloc(size + 1) : NULL;
    if (text == NULL) {
        return PLACES_CODE_UNKNOWN;
    }
    struct places_code copy = *code;
    char *name = text + code->file.size, *table = name + code->name.size;
    memcpy(text, code->file.bytes, code->file.size);
    memcpy(name, code->name.bytes, code->name.size);
    memcpy(table, code->table, code->table_size);
    copy.file.bytes = text;
    copy.name.bytes = name;
    copy.table = (const unsigned char *)table;
    text_size += size;
    return add(&codes, hash_of_code(&copy), &copy);
}

/* --- the latest code objects --- */

bool places_keys_equal(const struct places_code_key *a, const struct places_code_key *b) {
    return a->at == b->at && a->version == b->version && a->filename == b->filename &&
           a->name == b->name && a->table == b->table && a->first_line == b->first_line;
}

static struct known_key *slot_of(const struct places_code_key *key) {
    uint64_t hash = mix(mix(key->at, key->version), key->filename);
    return &known_keys[hash & (KNOWN_KEYS - 1)];
}

static void remember(const struct places_code_key *key, uint32_t code) {
    if (known_keys == NULL && (known_keys = calloc(KNOWN_KEYS, sizeof *known_keys)) == NULL) {
        return;
    }
    struct known_key *known = slot_of(key);
    __atomic_store_n(&known->is_set, false, __ATOMIC_SEQ_CST);
    known->key = *key;
    known->code = code;
    __atomic_store_n(&known->is_set, true, __ATOMIC_RELEASE);
}

uint32_t places_find_code(const struct places_code_key *key) {
    const struct known_key *known = known_keys != NULL ? slot_of(key) : NULL;
    return known != NULL && known->is_set && places_keys_equal(&known->key, key)
               ? known->code
               : PLACES_CODE_UNKNOWN;
}

uint32_t places_add_code(const struct places_code_key *key, struct places_text file,
                         struct places_text name, const unsigned char *table, size_t table_size) {
    const struct places_code code = {
        .first_line = key->first_line,
        .file = file,
        .name = name,
        .table = table,
        .table_size = table_size,
        .last_offset = -1,
        .last_line = (int)key->first_line,
    };
    uint32_t number = have_first_codes() ? find(&codes, hash_of_code(&code), &code, code_equals)
                                         : PLACES_CODE_UNKNOWN;
    if (number == PLACES_CODE_UNKNOWN) {
        number = add_copy(&code);
    }
    if (number == PLACES_CODE_UNKNOWN) {
        refuse();
    } else {
        remember(key, number);
    }
    return number;
}

struct places_code *places_code(uint32_t code) { return entry(&codes, code); }

/* --- callees --- */

static uint64_t hash_of_callee(const void *callee) {
    const struct callee *one = callee;
    return hash_of_text(one->name, one->size);
}

static bool callee_equals(const void *callee, const void *wanted) {
    const struct callee *a = callee, *b = wanted;
    return texts_equal(a->name, a->size, b->name, b->size);
}

uint32_t places_add_callee(struct places_text name) {
    const struct callee wanted = {name.bytes, name.size};
    uint64_t hash = hash_of_callee(&wanted);
    uint32_t number = find(&callees, hash, &wanted, callee_equals);
    if (number != UINT32_MAX) {
        return number + 1;
    }
    char *copy = make_room(&callees, hash_of_callee) ? malloc(name.size + 1) : NULL;
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, name.bytes, name.size);
    const struct callee callee = {copy, name.size};
    return add(&callees, hash, &callee) + 1;
}

struct places_text places_callee(uint32_t callee) {
    const struct callee *one = entry(&callees, callee - 1);
    return (struct places_text){one->name, one->size};
}

/* --- the tree --- */

static uint64_t hash_of_node(const void *node) {
    const struct node *one = node;
    uint64_t here = (uint64_t)one->frame.code << 32 | one->frame.line;
    return mix(mix(one->caller, here), one->frame.callee);
}

static bool node_equals(const void *node, const void *wanted) {
    const struct node *a = node, *b = wanted;
    return a->caller == b->caller && a->frame.code == b->frame.code &&
           a->frame.line == b->frame.line && a->frame.callee == b->frame.callee;
}

/* PLACE_ROOT is the node that is never looked at. */
static bool have_root(void) {
    if (nodes.count == 0 && make_room(&nodes, hash_of_node)) {
        const struct node root = {.caller = PLACE_UNKNOWN};
        add(&nodes, hash_of_node(&root), &root);
    }
    return nodes.count != 0;
}

static uint32_t enter_frame(uint32_t caller, const struct places_frame *frame, uint32_t most) {
    const struct node node = {*frame, caller};
    uint64_t hash = hash_of_node(&node);
    uint32_t number = find(&nodes, hash, &node, node_equals);
    if (number != UINT32_MAX) {
        return number;
    }
    if (nodes.count >= most || !make_room(&nodes, hash_of_node)) {
        return PLACE_UNKNOWN;
    }
    return add(&nodes, hash, &node);
}

uint32_t places_enter(const struct places_frame *frames, size_t count) {
    if (!have_root() || !have_first_codes()) {
        refuse();
        return PLACE_UNKNOWN;
    }
    uint32_t place = PLACE_ROOT;
    for (size_t i = count; i > 0 && place != PLACE_UNKNOWN; i--) {
        place = enter_frame(place, &frames[i - 1], NODES_FOR_WHOLE_STACKS);
    }
    if (place != PLACE_UNKNOWN) {
        return place;
    }
    refuse();
    const struct places_frame more = {.code = PLACES_CODE_MORE};
    place = enter_frame(PLACE_ROOT, &more, NODES_MAX);
    return place != PLACE_UNKNOWN ? enter_frame(place, &frames[0], NODES_MAX) : PLACE_UNKNOWN;
}

struct places_frame places_frame(uint32_t place, uint32_t *caller) {
    const struct node *node = entry(&nodes, place);
    *caller = node->caller;
    return node->frame;
}
