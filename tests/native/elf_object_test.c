/* Reads damaged copies of a loaded object: the shared library of interpose_target.c. */

#define _GNU_SOURCE

#include "native/elf_object.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "interpose_target.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define ROUNDS 20000
#define HEADERS 32
#define CAPACITY 8
#define NAME "pthread_mutex_lock"

/* A copy of the object's memory at an address of its own, readable in the segments only. */
struct image {
    Elf64_Phdr headers[HEADERS];
    struct elf_object object;
    char *memory;
    size_t size;
};

static struct elf_object original;

static size_t end_of(const struct elf_object *object) {
    size_t end = 0;
    for (size_t i = 0; i < object->n_headers; i++) {
        const Elf64_Phdr *header = &object->headers[i];
        if (header->p_type == PT_LOAD && header->p_vaddr + header->p_memsz > end) {
            end = header->p_vaddr + header->p_memsz;
        }
    }
    return end;
}

static void close_gaps(const struct image *image) {
    ASAN_POISON_MEMORY_REGION(image->memory, image->size);
    for (size_t i = 0; i < image->object.n_headers; i++) {
        const Elf64_Phdr *header = &image->headers[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_R) != 0) {
            ASAN_UNPOISON_MEMORY_REGION(image->memory + header->p_vaddr, header->p_memsz);
        }
    }
}

static Elf64_Dyn *dynamic_of(const struct image *image) {
    for (size_t i = 0; i < image->object.n_headers; i++) {
        if (image->headers[i].p_type == PT_DYNAMIC) {
            return (Elf64_Dyn *)(image->memory + image->headers[i].p_vaddr);
        }
    }
    CHECK(!"the object has a dynamic section");
    return NULL;
}

static Elf64_Dyn *entry_of(const struct image *image, int64_t tag) {
    Elf64_Dyn *entry = dynamic_of(image);
    while (entry->d_tag != tag) {
        CHECK(entry->d_tag != DT_NULL);
        entry++;
    }
    return entry;
}

/* A fresh copy, with the pointers in the dynamic section as they are in the file. */
static void copy_object(struct image *image) {
    ASAN_UNPOISON_MEMORY_REGION(image->memory, image->size);
    memset(image->memory, 0, image->size);
    memcpy(image->headers, original.headers, original.n_headers * sizeof *image->headers);
    image->object =
        (struct elf_object){(uintptr_t)image->memory, image->headers, original.n_headers};
    for (size_t i = 0; i < original.n_headers; i++) {
        const Elf64_Phdr *header = &original.headers[i];
        if (header->p_type == PT_LOAD) {
            memcpy(image->memory + header->p_vaddr, (char *)original.base + header->p_vaddr,
                   header->p_memsz);
        }
    }
    for (Elf64_Dyn *entry = dynamic_of(image); entry->d_tag != DT_NULL; entry++) {
        if (entry->d_un.d_ptr - original.base < image->size) {
            entry->d_un.d_ptr -= original.base;
        }
    }
    close_gaps(image);
}

static void make_image(struct image *image) {
    CHECK(elf_find_object((void *)target_lock, &original));
    CHECK(original.n_headers <= HEADERS);
    image->size = end_of(&original);
    image->memory = aligned_alloc(4096, (image->size + 4095) / 4096 * 4096);
    CHECK(image->memory != NULL);
    copy_object(image);
}

static int find(const struct elf_object *object, struct elf_slot *slots, const char **reason) {
    *reason = "unset";
    return elf_find_slots(object, NAME, slots, CAPACITY, reason);
}

static void expect_refusal(const struct image *image, const char *expected) {
    struct elf_slot slots[CAPACITY];
    const char *reason;
    CHECK(find(&image->object, slots, &reason) == -1);
    if (strcmp(reason, expected) != 0) {
        fprintf(stderr, "refused for \"%s\", not \"%s\"\n", reason, expected);
        exit(1);
    }
}

static void test_pointers_are_understood_with_and_without_the_base(struct image *image) {
    struct elf_slot here[CAPACITY], there[CAPACITY];
    const char *reason;
    int n_slots = find(&original, here, &reason);
    CHECK(n_slots > 0);

    copy_object(image);
    CHECK(entry_of(image, DT_SYMTAB)->d_un.d_ptr < image->size);
    CHECK(find(&image->object, there, &reason) == n_slots);
    for (int i = 0; i < n_slots; i++) {
        CHECK((uintptr_t)here[i].address - original.base ==
              (uintptr_t)there[i].address - image->object.base);
    }

    const int64_t pointers[] = {DT_SYMTAB, DT_STRTAB, DT_RELA, DT_JMPREL};
    for (size_t i = 0; i < sizeof pointers / sizeof pointers[0]; i++) {
        entry_of(image, pointers[i])->d_un.d_ptr += image->object.base;
    }
    CHECK(find(&image->object, there, &reason) == n_slots);
}

static void test_tables_that_overlap_give_each_slot_once(struct image *image) {
    struct elf_slot slots[CAPACITY];
    const char *reason;
    copy_object(image);
    int n_slots = find(&image->object, slots, &reason);
    CHECK(n_slots > 0);
    entry_of(image, DT_RELA)->d_un.d_ptr = entry_of(image, DT_JMPREL)->d_un.d_ptr;
    entry_of(image, DT_RELASZ)->d_un.d_val = entry_of(image, DT_PLTRELSZ)->d_un.d_val;
    CHECK(find(&image->object, slots, &reason) == n_slots);
}

static void test_a_name_must_match_to_its_end(struct image *image) {
    struct elf_slot slots[CAPACITY];
    const char *reason;
    copy_object(image);
    CHECK(elf_find_slots(&image->object, "pthread_mutex_loc", slots, CAPACITY, &reason) == 0);
    CHECK(elf_find_slots(&image->object, "pthread_mutex_locks", slots, CAPACITY, &reason) == 0);
    CHECK(elf_find_slots(&image->object, "", slots, CAPACITY, &reason) == 0);

    /* A table of names that ends within the name, or just before the zero after it. */
    const char *names = image->memory + entry_of(image, DT_STRTAB)->d_un.d_ptr;
    size_t offset = 0;
    while (strcmp(names + offset, NAME) != 0) {
        offset += strlen(names + offset) + 1;
    }
    entry_of(image, DT_STRSZ)->d_un.d_val = offset + strlen(NAME) + 1;
    CHECK(find(&image->object, slots, &reason) > 0);
    for (size_t size = offset; size <= offset + strlen(NAME); size++) {
        entry_of(image, DT_STRSZ)->d_un.d_val = size;
        CHECK(find(&image->object, slots, &reason) == 0);
    }
}

static void test_damage_is_refused_with_its_reason(struct image *image) {
    const struct {
        int64_t tag;
        uint64_t value;
        const char *reason;
    } cases[] = {
        {DT_SYMENT, 16, "the object has table entries of an unknown size"},
        {DT_RELAENT, 16, "the object has table entries of an unknown size"},
        {DT_PLTREL, DT_REL, "the object has relocations without addends"},
        {DT_JMPREL, UINT64_MAX - 7, "the object has relocations outside of its memory"},
        {DT_JMPREL, 12, "the object has relocations outside of its memory"},
        {DT_PLTRELSZ, UINT64_MAX, "the object has relocations outside of its memory"},
        {DT_RELA, UINT64_C(1) << 40, "the object has relocations outside of its memory"},
        {DT_RELASZ, UINT64_C(1) << 32, "the object has relocations outside of its memory"},
        {DT_SYMTAB, 0, "the object has symbols outside of its memory"},
        {DT_SYMTAB, 12, "the object has symbols outside of its memory"},
        {DT_STRTAB, 0, "the object has symbol names outside of its memory"},
        {DT_STRTAB, UINT64_MAX, "the object has symbol names outside of its memory"},
        {DT_STRSZ, UINT64_MAX, "the object has symbol names outside of its memory"},
        {DT_STRSZ, 0, "the object has symbol names outside of its memory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        copy_object(image);
        entry_of(image, cases[i].tag)->d_un.d_val = cases[i].value;
        expect_refusal(image, cases[i].reason);
    }
    copy_object(image);
    entry_of(image, DT_RELAENT)->d_tag = DT_REL;
    expect_refusal(image, "the object has relocations without addends");
}

static Elf64_Rela *relocation_of(const struct image *image) {
    struct elf_slot slots[CAPACITY];
    const char *reason;
    CHECK(find(&image->object, slots, &reason) > 0);
    Elf64_Rela *relocation = (Elf64_Rela *)(image->memory + entry_of(image, DT_JMPREL)->d_un.d_ptr);
    while (relocation->r_offset != (uintptr_t)slots[0].address - image->object.base) {
        relocation++;
    }
    return relocation;
}

static void test_a_damaged_relocation_is_refused(struct image *image) {
    copy_object(image);
    relocation_of(image)->r_offset = image->size;
    expect_refusal(image, "the object keeps the address outside of its data");

    copy_object(image);
    relocation_of(image)->r_offset += 4;
    expect_refusal(image, "the object keeps the address outside of its data");

    copy_object(image); /* In the first segment, which is not writable. */
    relocation_of(image)->r_offset = 64;
    expect_refusal(image, "the object keeps the address outside of its data");

    copy_object(image);
    relocation_of(image)->r_info |= UINT64_C(0x7fffffff) << 32;
    expect_refusal(image, "the object has symbols outside of its memory");

    struct elf_slot slots[CAPACITY];
    const char *reason;
    copy_object(image); /* Not the plain address. */
    relocation_of(image)->r_addend = 8;
    CHECK(find(&image->object, slots, &reason) == 0);

    copy_object(image);
    CHECK(elf_find_slots(&image->object, NAME, slots, 0, &reason) == -1);
    CHECK(strcmp(reason, "the object keeps the address in too many places") == 0);
}

static void test_an_object_without_a_dynamic_section_is_refused(struct image *image) {
    copy_object(image);
    for (size_t i = 0; i < image->object.n_headers; i++) {
        if (image->headers[i].p_type == PT_DYNAMIC) {
            image->headers[i].p_type = PT_NULL;
        }
    }
    expect_refusal(image, "the object has no dynamic section, as when it is linked statically");
}

/* Two segments without a gap, the second with a part that the loader makes read-only. */
static void test_protection_follows_the_segments_and_whole_relro_pages(void) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), base = 64 * page;
    const Elf64_Phdr headers[] = {
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = page, .p_memsz = page},
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = 2 * page, .p_memsz = 3 * page},
        {.p_type = PT_GNU_RELRO, .p_vaddr = 2 * page + 16, .p_memsz = 2 * page - 8},
    };
    const struct elf_object object = {base, headers, 3};
    const struct {
        uintptr_t offset;
        int protection;
    } cases[] = {
        {page - 1, 0},
        {page, PROT_READ | PROT_EXEC},
        {2 * page - 1, PROT_READ | PROT_EXEC},
        {2 * page, PROT_READ},
        {4 * page - 1, PROT_READ},
        {4 * page, PROT_READ | PROT_WRITE},
        {5 * page - 1, PROT_READ | PROT_WRITE},
        {5 * page, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const void *address = (const void *)(base + cases[i].offset);
        CHECK(elf_protection(&object, address) == cases[i].protection);
        CHECK(elf_contains(&object, address) == (cases[i].protection != 0));
    }
}

static uint64_t state = 20240229;

/* xorshift64*. */
static uint64_t random_below(uint64_t limit) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * UINT64_C(2685821657736338717) >> 16) % limit;
}

static uint64_t random_word(const struct image *image) {
    switch (random_below(5)) {
    case 0:
        return random_below(64);
    case 1:
        return random_below(image->size + 64);
    case 2:
        return image->object.base + random_below(image->size + 64);
    case 3:
        return UINT64_MAX - random_below(image->size);
    default:
        return random_below(UINT64_MAX) << random_below(32);
    }
}

/* Where an undamaged copy has its tables. */
struct layout {
    Elf64_Dyn *dynamic;
    size_t n_entries;
    char *tables[4];
};

static struct layout layout_of(const struct image *image) {
    const int64_t tags[] = {DT_SYMTAB, DT_STRTAB, DT_RELA, DT_JMPREL};
    struct layout layout = {.dynamic = dynamic_of(image)};
    layout.n_entries = (size_t)(entry_of(image, DT_NULL) - layout.dynamic) + 1;
    for (size_t i = 0; i < 4; i++) {
        layout.tables[i] = image->memory + entry_of(image, tags[i])->d_un.d_ptr;
    }
    return layout;
}

static void flip_bits(char *start, size_t size) {
    for (uint64_t n = random_below(16) + 1; n > 0; n--) {
        start[random_below(size)] ^= (char)(1u << random_below(8));
    }
}

static void damage(struct image *image, const struct layout *layout) {
    Elf64_Phdr *header = &image->headers[random_below(image->object.n_headers)];
    Elf64_Dyn *entry = &layout->dynamic[random_below(layout->n_entries)];
    switch (random_below(6)) {
    case 0:
        entry->d_un.d_val = random_word(image);
        break;
    case 1:
        entry->d_tag = (int64_t)random_below(40);
        break;
    case 2:
        flip_bits(image->memory, image->size);
        break;
    case 3:
        flip_bits(layout->tables[random_below(4)], 256);
        break;
    case 4: /* The loader vouches for what it mapped: a segment may shrink, not grow. */
        header->p_memsz = random_below(header->p_memsz + 1);
        break;
    case 5:
        header->p_flags = (uint32_t)random_below(8);
        if (header->p_type == PT_DYNAMIC) {
            header->p_vaddr = random_word(image);
        }
        break;
    }
}

static bool is_inside_writable(const struct image *image, void **slot) {
    uintptr_t offset = (uintptr_t)slot - (uintptr_t)image->memory;
    for (size_t i = 0; i < image->object.n_headers; i++) {
        const Elf64_Phdr *header = &image->headers[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_W) != 0 &&
            offset >= header->p_vaddr &&
            offset + sizeof *slot <= header->p_vaddr + header->p_memsz) {
            return true;
        }
    }
    return false;
}

static void test_no_damage_crashes_or_leads_outside(struct image *image) {
    int n_refused = 0, n_found = 0;
    copy_object(image);
    const struct layout layout = layout_of(image);
    for (int round = 0; round < ROUNDS; round++) {
        struct elf_slot slots[CAPACITY];
        const char *reason;
        copy_object(image);
        ASAN_UNPOISON_MEMORY_REGION(image->memory, image->size);
        for (uint64_t n = random_below(3) + 1; n > 0; n--) {
            damage(image, &layout);
        }
        close_gaps(image);
        int n_slots = find(&image->object, slots, &reason);
        CHECK(-1 <= n_slots && n_slots <= CAPACITY);
        CHECK((n_slots == -1) == (reason != NULL));
        n_refused += n_slots == -1;
        n_found += n_slots > 0;
        for (int i = 0; i < n_slots; i++) {
            CHECK((uintptr_t)slots[i].address % sizeof(void *) == 0);
            CHECK(is_inside_writable(image, slots[i].address));
        }
    }
    CHECK(n_refused > ROUNDS / 10);
    CHECK(n_found > ROUNDS / 10);
}

int main(void) {
    struct image image;
    make_image(&image);
    test_pointers_are_understood_with_and_without_the_base(&image);
    test_tables_that_overlap_give_each_slot_once(&image);
    test_a_name_must_match_to_its_end(&image);
    test_damage_is_refused_with_its_reason(&image);
    test_a_damaged_relocation_is_refused(&image);
    test_an_object_without_a_dynamic_section_is_refused(&image);
    test_protection_follows_the_segments_and_whole_relro_pages();
    test_no_damage_crashes_or_leads_outside(&image);
    ASAN_UNPOISON_MEMORY_REGION(image.memory, image.size);
    free(image.memory);
    return 0;
}
