/*
 * Deferred numbers: the device writes each one into a list in its own memory when its turn comes,
 * and the host, which continues meanwhile, reads the whole list later, waiting once for all of them
 * (icot_ask_…, icot_answers).
 */
#ifndef ICOT_ENGINE_DEFERRED_H
#define ICOT_ENGINE_DEFERRED_H

#include "tensor/engine_parts.h"

typedef struct deferred_numbers {
    double *list;            /* in the device's memory */
    int64_t count, capacity; /* numbers in the list; numbers that it has room for */
} deferred_numbers;

/* Where the device shall write the next number. Only deferred_add makes it one of the list: it is
 * called once nothing can fail any more. */
int deferred_place(icot_engine *engine, double **out);
void deferred_add(icot_engine *engine);

void deferred_free(icot_engine *engine); /* the memory of the list */

#endif
