/* Numbers that are asked for now and read later, all at once; see icot.h. */
#ifndef ICOT_AUTOGRAD_ASKED_H
#define ICOT_AUTOGRAD_ASKED_H

#include "tensor/engine.h"

/* Where the device shall write the next answer; it counts only if answer_is_asked follows. */
int answer_place(icot_engine *engine, double **out);
void answer_is_asked(icot_engine *engine);

/* Frees the memory that they take. */
void asked_free(icot_engine *engine);

#endif
