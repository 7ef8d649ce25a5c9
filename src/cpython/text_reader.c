#include "cpython/text_reader.h"

#include <stdlib.h>
#include <string.h>

#include "cpython/object_copy.h"

/* The part of a str object before its characters. */
union head {
    PyASCIIObject ascii;
    PyCompactUnicodeObject compact;
    PyUnicodeObject any;
};

/* Whether there was a str, or one of a class that is derived from it: code may have such names. */
static bool is_str(const PyObject *copy) {
    unsigned long flags;
    return object_copy_is(copy, &PyUnicode_Type) ||
           (object_copy_has_references(copy) &&
            own_memory_read(&flags, &Py_TYPE((PyObject *)copy)->tp_flags, sizeof flags) &&
            (flags & Py_TPFLAGS_UNICODE_SUBCLASS) != 0);
}

/* Where the characters are; NULL if the head is not that of a str. */
static const char *find_characters(const char *text, union head *head) {
    if (!own_memory_read(head, text, sizeof *head) || !is_str((const PyObject *)&head->ascii) ||
        head->ascii.length < 0) {
        return NULL;
    }
    if (!head->ascii.state.compact) {
        return head->any.data.any;
    }
    return text +
           (head->ascii.state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject));
}

static uint32_t character(const char *characters, unsigned kind, size_t index) {
    switch (kind) {
    case 1:
        return ((const uint8_t *)characters)[index];
    case 2:
        return ((const uint16_t *)characters)[index];
    default:
        return ((const uint32_t *)characters)[index];
    }
}

size_t text_reader_encode(uint32_t character, char *to) {
    if (character < 0x80) {
        to[0] = (char)character;
        return 1;
    }
    size_t size = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = size - 1; i > 0; i--, character >>= 6) {
        to[i] = (char)(0x80 | (character & 0x3F));
    }
    to[0] = (char)(first[size] | character);
    return size;
}

/* Returns false. */
static bool discard(struct text_copy *copy) {
    free(copy->bytes);
    *copy = (struct text_copy){NULL, 0};
    return false;
}

bool text_reader_copy(const void *text, struct text_copy *copy) {
    union head head;
    const char *from = find_characters(text, &head);
    unsigned kind = from != NULL ? head.ascii.state.kind : 0;
    if (kind != 1 && kind != 2 && kind != 4) {
        return false;
    }
    size_t length = (size_t)head.ascii.length;
    length = length < TEXT_READER_LENGTH ? length : TEXT_READER_LENGTH;
    char *characters = malloc(length * kind + 1);
    copy->bytes = malloc(length * (kind == 1 ? 2 : kind == 2 ? 3 : 4) + 1);
    copy->size = 0;
    bool good = characters != NULL && copy->bytes != NULL &&
                (length == 0 || own_memory_read(characters, from, length * kind));
    for (size_t i = 0; good && i < length; i++) {
        uint32_t one = character(characters, kind, i);
        good = one <= 0x10FFFF;
        copy->size += good ? text_reader_encode(one, copy->bytes + copy->size) : 0;
    }
    free(characters);
    return good || discard(copy);
}

uint64_t text_reader_mix(uint64_t first, uint64_t second) {
    uint64_t mixed = (first ^ second) * 0x9E3779B97F4A7C15u;
    return mixed ^ (mixed >> 31);
}

struct own_memory_piece text_reader_beginning(const void *text, struct text_beginning *beginning) {
    struct own_memory_piece piece = own_memory_beginning(beginning, text, sizeof beginning->head,
                                                         offsetof(struct text_beginning, size));
    beginning->size = piece.size;
    return piece;
}

static uint64_t sign(const char *bytes, size_t size) {
    uint64_t signature = size;
    for (size_t i = 0; i < size; i++) {
        signature = text_reader_mix(signature, (unsigned char)bytes[i]);
    }
    return signature;
}

bool text_reader_sign(const void *text, const struct text_beginning *beginning,
                      uint64_t *signature) {
    const PyASCIIObject *head = &beginning->head;
    if (!is_str((const PyObject *)head)) {
        return false;
    }
    if (head->hash != -1) {
        *signature = text_reader_mix((uint64_t)head->hash, (uint64_t)head->length);
        return true;
    }
    size_t length = (size_t)head->length, room = beginning->size - sizeof *head;
    if (head->state.compact && head->state.ascii && length <= room) {
        *signature = sign(beginning->characters, length);
        return true;
    }
    struct text_copy copy;
    if (!text_reader_copy(text, &copy)) {
        return false;
    }
    *signature = sign(copy.bytes, copy.size);
    free(copy.bytes);
    return true;
}

bool text_reader_copy_bytes(const void *bytes, size_t most, struct text_copy *copy) {
    PyBytesObject head;
    if (!own_memory_read(&head, bytes, offsetof(PyBytesObject, ob_sval)) ||
        !object_copy_is((const PyObject *)&head, &PyBytes_Type) || Py_SIZE((PyObject *)&head) < 0) {
        return false;
    }
    copy->size = (size_t)Py_SIZE((PyObject *)&head);
    copy->size = copy->size < most ? copy->size : most;
    copy->bytes = malloc(copy->size + 1);
    if (copy->bytes == NULL) {
        return false;
    }
    if (copy->size != 0 &&
        !own_memory_read(copy->bytes, (const char *)bytes + offsetof(PyBytesObject, ob_sval),
                         copy->size)) {
        return discard(copy);
    }
    return true;
}

size_t text_reader_copy_c_string(const char *from, char *to, size_t size) {
    size_t done = 0, room = size - 1;
    while (done < room) {
        size_t part = 64 - ((uintptr_t)(from + done) & 63); /* never beyond a page's end */
        part = part < room - done ? part : room - done;
        if (!own_memory_read(to + done, from + done, part)) {
            done = 0;
            break;
        }
        const char *end = memchr(to + done, '\0', part);
        if (end != NULL) {
            return (size_t)(end - to);
        }
        done += part;
    }
    to[done] = '\0';
    return done;
}
