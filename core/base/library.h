/* Libraries of icot's own that are opened when they are needed. */
#ifndef ICOT_BASE_LIBRARY_H
#define ICOT_BASE_LIBRARY_H

/* Opens a library that lies beside the one that this function is in; else (C tests) wherever the
 * loader looks. NULL: dlerror() says why not. */
void *library_open(const char *name);

#endif
