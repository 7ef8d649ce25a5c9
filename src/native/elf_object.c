#define _GNU_SOURCE

#include "native/elf_object.h"

#ifdef ELF_SUPPORTED

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __x86_64__
#define RELOCATION_CALL R_X86_64_JUMP_SLOT
#define RELOCATION_ADDRESS R_X86_64_GLOB_DAT
#define RELOCATION_VARIABLE R_X86_64_64
#else
#define RELOCATION_CALL R_AARCH64_JUMP_SLOT
#define RELOCATION_ADDRESS R_AARCH64_GLOB_DAT
#define RELOCATION_VARIABLE R_AARCH64_ABS64
#endif

struct relocations {
    const Elf64_Rela *entries;
    size_t n_entries;
};

struct tables {
    const Elf64_Sym *symbols;
    size_t n_symbols; /* An upper bound: those that fit into the segment. */
    const char *names;
    size_t names_size;
    struct relocations calls;
    struct relocations others;
};

/* The dynamic section's values by tag, up to the highest one needed; 0 when absent. */
struct dynamic {
    uint64_t values[DT_JMPREL + 1];
};

/* Bytes from `address` to the end of the segment that holds it and has all of `flags`; 0 without
 * one. */
static size_t room_at(const struct elf_object *object, uintptr_t address, uint32_t flags) {
    for (size_t i = 0; i < object->n_headers; i++) {
        const Elf64_Phdr *header = &object->headers[i];
        uintptr_t offset = address - (object->base + header->p_vaddr);
        if (header->p_type == PT_LOAD && (header->p_flags & flags) == flags &&
            offset < header->p_memsz) {
            return header->p_memsz - offset;
        }
    }
    return 0;
}

/* The address that a dynamic entry points to, with `size` readable bytes there, or NULL. The loader
 * may have added the base to the entry (glibc) or left it as in the file (musl); 0 is no entry. */
static const void *table_at(const struct elf_object *object, uintptr_t pointer, size_t size,
                            size_t alignment) {
    const uintptr_t candidates[] = {pointer, object->base + pointer};
    for (size_t i = 0; i < 2; i++) {
        if (pointer != 0 && candidates[i] % alignment == 0 &&
            room_at(object, candidates[i], PF_R) >= size) {
            return (const void *)candidates[i];
        }
    }
    return NULL;
}

static bool read_dynamic(const struct elf_object *object, struct dynamic *dynamic) {
    *dynamic = (struct dynamic){{0}};
    const Elf64_Dyn *entries = NULL;
    size_t n_entries = 0;
    for (size_t i = 0; i < object->n_headers; i++) {
        const Elf64_Phdr *header = &object->headers[i];
        uintptr_t address = object->base + header->p_vaddr;
        if (header->p_type == PT_DYNAMIC && address % _Alignof(Elf64_Dyn) == 0 &&
            room_at(object, address, PF_R) >= header->p_memsz) {
            entries = (const void *)address;
            n_entries = header->p_memsz / sizeof *entries;
        }
    }
    for (size_t i = 0; i < n_entries && entries[i].d_tag != DT_NULL; i++) {
        if (entries[i].d_tag > 0 && entries[i].d_tag <= DT_JMPREL) {
            dynamic->values[entries[i].d_tag] = entries[i].d_un.d_val;
        }
    }
    return entries != NULL;
}

static bool read_relocations(const struct elf_object *object, uint64_t pointer, uint64_t size,
                             struct relocations *relocations) {
    *relocations = (struct relocations){NULL, 0};
    if (pointer == 0) {
        return true;
    }
    relocations->entries = table_at(object, pointer, size, _Alignof(Elf64_Rela));
    relocations->n_entries = size / sizeof(Elf64_Rela);
    return relocations->entries != NULL;
}

/* Returns NULL, or why the tables are not to be used. */
static const char *read_tables(const struct elf_object *object, struct tables *tables) {
    struct dynamic dynamic;
    if (!read_dynamic(object, &dynamic)) {
        return "the object has no dynamic section, as when it is linked statically";
    }
    const uint64_t *values = dynamic.values;

    if (values[DT_REL] != 0 || (values[DT_JMPREL] != 0 && values[DT_PLTREL] != DT_RELA)) {
        return "the object has relocations without addends";
    }
    if (values[DT_SYMENT] != sizeof(Elf64_Sym) ||
        (values[DT_RELA] != 0 && values[DT_RELAENT] != sizeof(Elf64_Rela))) {
        return "the object has table entries of an unknown size";
    }
    if (!read_relocations(object, values[DT_JMPREL], values[DT_PLTRELSZ], &tables->calls) ||
        !read_relocations(object, values[DT_RELA], values[DT_RELASZ], &tables->others)) {
        return "the object has relocations outside of its memory";
    }

    tables->symbols =
        table_at(object, values[DT_SYMTAB], sizeof *tables->symbols, _Alignof(Elf64_Sym));
    if (tables->symbols == NULL) {
        return "the object has symbols outside of its memory";
    }
    tables->n_symbols = room_at(object, (uintptr_t)tables->symbols, PF_R) / sizeof *tables->symbols;

    tables->names_size = values[DT_STRSZ];
    tables->names = table_at(object, values[DT_STRTAB], tables->names_size, 1);
    if (tables->names == NULL || tables->names_size == 0) {
        return "the object has symbol names outside of its memory";
    }
    return NULL;
}

static bool has_name(const struct tables *tables, const Elf64_Sym *symbol, const char *name) {
    size_t size = strlen(name) + 1;
    return symbol->st_name < tables->names_size && tables->names_size - symbol->st_name >= size &&
           memcmp(tables->names + symbol->st_name, name, size) == 0;
}

static bool fills_slot(const Elf64_Rela *relocation) {
    uint32_t type = ELF64_R_TYPE(relocation->r_info);
    return relocation->r_addend == 0 &&
           (type == RELOCATION_CALL || type == RELOCATION_ADDRESS || type == RELOCATION_VARIABLE);
}

static bool is_known(const struct elf_slot *slots, size_t n_slots, const void *address) {
    for (size_t i = 0; i < n_slots; i++) {
        if (slots[i].address == address) {
            return true;
        }
    }
    return false;
}

/* Adds the slots in one table to the `*n_slots` found already: the tables may overlap. Returns NULL
 * or the reason. */
static const char *collect_slots(const struct elf_object *object, const struct tables *tables,
                                 const struct relocations *relocations, const char *name,
                                 struct elf_slot *slots, size_t *n_slots, size_t capacity) {
    for (size_t i = 0; i < relocations->n_entries; i++) {
        const Elf64_Rela *relocation = &relocations->entries[i];
        if (!fills_slot(relocation)) {
            continue;
        }
        size_t symbol = ELF64_R_SYM(relocation->r_info);
        if (symbol >= tables->n_symbols) {
            return "the object has symbols outside of its memory";
        }
        if (!has_name(tables, &tables->symbols[symbol], name)) {
            continue;
        }

        uintptr_t address = object->base + relocation->r_offset;
        if (address % sizeof(void *) != 0 ||
            room_at(object, address, PF_R | PF_W) < sizeof(void *)) {
            return "the object keeps the address outside of its data";
        }
        if (is_known(slots, *n_slots, (void *)address)) {
            continue;
        }
        if (*n_slots == capacity) {
            return "the object keeps the address in too many places";
        }
        slots[*n_slots].address = (void **)address;
        slots[*n_slots].is_variable = ELF64_R_TYPE(relocation->r_info) == RELOCATION_VARIABLE;
        ++*n_slots;
    }
    return NULL;
}

int elf_find_slots(const struct elf_object *object, const char *name, struct elf_slot *slots,
                   size_t capacity, const char **reason) {
    struct tables tables;
    size_t n_slots = 0;
    *reason = read_tables(object, &tables);
    if (*reason == NULL) {
        *reason = collect_slots(object, &tables, &tables.calls, name, slots, &n_slots, capacity);
    }
    if (*reason == NULL) {
        *reason = collect_slots(object, &tables, &tables.others, name, slots, &n_slots, capacity);
    }
    return *reason == NULL ? (int)n_slots : -1;
}

bool elf_contains(const struct elf_object *object, const void *address) {
    return room_at(object, (uintptr_t)address, 0) > 0;
}

struct search {
    const void *address;
    struct elf_object *object;
};

static int visit_object(struct dl_phdr_info *info, size_t size, void *argument) {
    (void)size;
    struct search *search = argument;
    *search->object = (struct elf_object){info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum};
    return elf_contains(search->object, search->address);
}

bool elf_find_object(const void *address, struct elf_object *object) {
    struct search search = {address, object};
    return dl_iterate_phdr(visit_object, &search) != 0;
}

/* The loader protects the whole pages from the one PT_GNU_RELRO begins in up to the one it ends in,
 * the last not included (glibc: _dl_protect_relro; musl: map_library and reloc_all). */
static bool is_relro(const struct elf_object *object, uintptr_t address) {
    uintptr_t page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    for (size_t i = 0; i < object->n_headers; i++) {
        const Elf64_Phdr *header = &object->headers[i];
        uintptr_t start = object->base + header->p_vaddr;
        if (header->p_type == PT_GNU_RELRO && address >= (start & page_mask) &&
            address < ((start + header->p_memsz) & page_mask)) {
            return true;
        }
    }
    return false;
}

int elf_protection(const struct elf_object *object, const void *address) {
    if (is_relro(object, (uintptr_t)address)) {
        return PROT_READ;
    }
    uintptr_t target = (uintptr_t)address;
    return (room_at(object, target, PF_R) > 0 ? PROT_READ : 0) |
           (room_at(object, target, PF_W) > 0 ? PROT_WRITE : 0) |
           (room_at(object, target, PF_X) > 0 ? PROT_EXEC : 0);
}

#endif
