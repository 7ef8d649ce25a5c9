/* The knocker of gilknocker's interface, as a type of the extension module. */
#ifndef GILKNOCK_GILKNOCKER_COMPAT_H
#define GILKNOCK_GILKNOCKER_COMPAT_H

#include <Python.h>

extern PyType_Spec gilknocker_compat_spec;

#endif
