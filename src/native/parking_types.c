#include "native/elf_object.h"
#include "native/parking.h"

#ifdef ELF_SUPPORTED

#include <string.h>

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

#endif
