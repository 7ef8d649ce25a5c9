/* Copies of objects of the interpreter that may be going away: texts and bytes.
 *
 * A str may be one of a class that is derived from it. */
#ifndef GILKNOCK_TEXT_READER_H
#define GILKNOCK_TEXT_READER_H

#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "native/own_memory.h"

#define TEXT_READER_LENGTH 4096 /* characters; of a longer text the first ones are read */

/* Something copied. */
struct text_copy {
    char *bytes; /* owned, freed with free(); not terminated */
    size_t size;
};

/* Write a character in UTF-8, a lone surrogate as if it were one; returns the number of bytes, 4 at most. */
size_t text_reader_encode(uint32_t character, char *to);

/* Copy the str at that address as UTF-8. Returns false if that is not what is there, or without memory.
 * Neither the GIL nor a thread state is needed. */
bool text_reader_copy(const void *text, struct text_copy *copy);

/* Likewise the bytes at that address, or the first `most` of them. */
bool text_reader_copy_bytes(const void *bytes, size_t most, struct text_copy *copy);

/* The beginning of a str: what is to be read of it, and then a copy of that. */
struct text_beginning {
    PyASCIIObject head;
    char characters[112]; /* if it is compact, and ASCII */
    size_t size;          /* of what is copied, the head included */
};
struct own_memory_piece text_reader_beginning(const void *text, struct text_beginning *beginning);

/* What tells a str from another: the hash that the interpreter keeps in it, else one of its characters,
 * which are read if they are not all in its beginning. Returns false if there is no str. */
bool text_reader_sign(const void *text, const struct text_beginning *beginning,
                      uint64_t *signature);

/* Mix two signatures. */
uint64_t text_reader_mix(uint64_t first, uint64_t second);

/* Copy a C string into `to`, which has room for `size` bytes; the copy is terminated. Of a longer one the
 * first size - 1 bytes are copied, which is what is returned then. Returns the length, 0 where nothing is to be
 * read. */
size_t text_reader_copy_c_string(const char *from, char *to, size_t size);

#endif
