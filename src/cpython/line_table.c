/* Formats: Objects/lnotab_notes.txt in 3.10; Objects/locations.md (later InternalDocs/
 * code_objects.md) from 3.11 on. */
#define Py_BUILD_CORE 1
#include <Python.h>

#include "cpython/line_table.h"

#include <limits.h>

#if PY_VERSION_HEX >= 0x030D0000
#include "internal/pycore_code.h"
#endif

/* What a lookup returns for a line that has been added up: a program may make a table of its own, which
 * may add up to anything. */
static int line_or_none(int64_t line) { return line >= 0 && line <= INT_MAX ? (int)line : -1; }

#if PY_VERSION_HEX >= 0x030B0000

enum { CODE_SHORT_LAST = 9, CODE_ONE_LINE_LAST = 12, CODE_NO_COLUMNS, CODE_LONG, CODE_NONE };

/* Numbers of 6 bits a byte, lowest first; bit 6 says that more follow. */
static unsigned read_number(const unsigned char *at, const unsigned char *end) {
    unsigned number = 0;
    for (unsigned shift = 0; at < end && shift < 32; at++, shift += 6) {
        number |= (unsigned)(*at & 63) << shift;
        if ((*at & 64) == 0) {
            break;
        }
    }
    return number;
}

static int read_line_delta(unsigned code, const unsigned char *at, const unsigned char *end) {
    if (code == CODE_NO_COLUMNS || code == CODE_LONG) {
        unsigned number = read_number(at, end);
        return number & 1 ? -(int)(number >> 1) : (int)(number >> 1);
    }
    return code > CODE_SHORT_LAST && code <= CODE_ONE_LINE_LAST ? (int)code - CODE_SHORT_LAST - 1
                                                                : 0;
}

int line_table_find(const unsigned char *table, size_t size, int first_line, int offset) {
    const unsigned char *at = table, *end = table + size;
    int64_t line = first_line, start = 0;
    while (at < end && (*at & 128) != 0) {
        unsigned code = (*at >> 3) & 15;
        start += ((*at & 7) + 1) * (int64_t)sizeof(_Py_CODEUNIT);
        line += read_line_delta(code, at + 1, end);
        if (offset < start) {
            return code == CODE_NONE ? 0 : line_or_none(line);
        }
        do {
            at++;
        } while (at < end && (*at & 128) == 0);
    }
    return -1;
}

#else

/* Pairs: how many bytes of code, and by how much their line differs from that of the pair before;
 * -128 says that they have none. */
int line_table_find(const unsigned char *table, size_t size, int first_line, int offset) {
    int64_t line = first_line, start = 0;
    for (size_t i = 0; i + 1 < size; i += 2) {
        int delta = (signed char)table[i + 1];
        start += table[i];
        if (delta != -128) {
            line += delta;
        }
        if (offset < start) {
            return delta == -128 ? 0 : line_or_none(line);
        }
    }
    return -1;
}

#endif
