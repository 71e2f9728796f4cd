#include "array.h"

#include <stdlib.h>

int64_t array_numel(const array *x)
{
    int64_t numel = 1;
    for (int d = 0; d < x->ndim; d++) numel *= x->size[d];
    return numel;
}

array array_zeros(int ndim, const int64_t *size)
{
    array made = {.ndim = ndim};
    for (int d = 0; d < ndim; d++) made.size[d] = size[d];
    made.at = calloc((size_t)array_numel(&made) + 1, sizeof(double));
    if (!made.at) abort();
    return made;
}

void array_free(array *x)
{
    free(x->at);
    x->at = NULL;
}

array array_zeros_like(const array *x)
{
    return array_zeros(x->ndim, x->size);
}

int array_dimension(int64_t given, int ndim)
{
    return (int)(given < 0 ? given + ndim : given);
}

int64_t array_rows(const array *x)
{
    int64_t rows = 1;
    for (int d = 0; d + 1 < x->ndim; d++) rows *= x->size[d];
    return rows;
}

int64_t array_columns(const array *x)
{
    return x->size[x->ndim - 1];
}

void array_unravel(const array *x, int64_t flat, int64_t index[ICOT_MAX_DIMS])
{
    for (int d = x->ndim - 1; d >= 0; d--) {
        index[d] = flat % x->size[d];
        flat /= x->size[d];
    }
}

int64_t array_ravel(const array *x, const int64_t index[ICOT_MAX_DIMS])
{
    int64_t flat = 0;
    for (int d = 0; d < x->ndim; d++) flat = flat * x->size[d] + index[d];
    return flat;
}

double array_broadcast_at(const array *x, const array *y, int64_t flat)
{
    int64_t in_y[ICOT_MAX_DIMS], in_x[ICOT_MAX_DIMS];
    array_unravel(y, flat, in_y);
    for (int d = 0; d < x->ndim; d++) {
        in_x[d] = x->size[d] == 1 ? 0 : in_y[d + y->ndim - x->ndim];
    }
    return x->at[array_ravel(x, in_x)];
}
