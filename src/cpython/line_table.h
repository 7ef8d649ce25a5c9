/* The line of an instruction, from a copy of co_linetable. */
#ifndef GILKNOCK_LINE_TABLE_H
#define GILKNOCK_LINE_TABLE_H

#include <stddef.h>

/* The line at `offset` (bytes), 0 if the instruction has none, -1 if the code has no such offset or
 * the table is not one, or adds up to a line that no file has. */
int line_table_find(const unsigned char *table, size_t size, int first_line, int offset);

#endif
