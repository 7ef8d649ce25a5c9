/* How long the names of threads may be. */
#ifndef GILKNOCK_THREAD_NAME_H
#define GILKNOCK_THREAD_NAME_H

#define THREAD_NAME_SIZE                                                                           \
    256 /* bytes of UTF-8, the final NUL included; of a longer name the first ones */

#endif
