#include "autograd/operators/picked.h"

#include "base/error.h"

picked_rows picked_of(const node *n, int which, int64_t all)
{
    const tensor *ids = n->n_inputs > which ? n->inputs[which] : NULL;
    return (picked_rows){.ids = ids, .all = all, .count = ids ? tensor_numel(ids) : all};
}

int picked_check(const node *n, int which, int64_t all)
{
    const picked_rows rows = picked_of(n, which, all);
    const int32_t *row = rows.ids ? tensor_ints(rows.ids) : NULL;
    int64_t least = 0;
    for (int64_t i = 0; row && i < rows.count; i++) {
        if (row[i] < least || row[i] >= all) {
            return fail("%s: row %lld is %d, expected %lld to %lld", n->op->name, (long long)i,
                        row[i], (long long)least, (long long)all - 1);
        }
        least = row[i] + 1;
    }
    return ICOT_OK;
}

/* Rows of so many bytes, from (T, …) to (R, …) */
static int take(const node *n, picked_rows rows, int64_t bytes, const void *from, void *to)
{
    index_array ids;
    if (tensor_indices(rows.ids, &ids)) return ICOT_FAILED;
    kernels(n)->pick_rows(rows.count, bytes, from, ids.device, to);
    return ICOT_OK;
}

/* And back, with zeros in the others. */
static int spread(const node *n, picked_rows rows, int64_t bytes, const void *from, void *to)
{
    index_array ids;
    if (tensor_indices(rows.ids, &ids)) return ICOT_FAILED;
    if (kernels(n)->memory->clear(to, (size_t)(rows.all * bytes))) return ICOT_FAILED;
    kernels(n)->place_rows(rows.count, bytes, from, ids.device, to);
    return ICOT_OK;
}

/* ---- Factors --------------------------------------------------------------------------------- */

int picked_take(const node *n, picked_rows rows, int64_t columns, const factor *from, factor *out)
{
    const backend *k = kernels(n);
    *out = (factor){.data = from->data};
    if (!rows.ids) return ICOT_OK;
    if (factor_new(k, rows.count, columns, out)) return ICOT_FAILED;
    if (!take(n, rows, columns * (int64_t)k->factor_bytes, from->data, out->data)) return ICOT_OK;
    factor_done(k, out);
    return ICOT_FAILED;
}

int picked_spread(const node *n, picked_rows rows, int64_t columns, factor *f)
{
    const backend *k = kernels(n);
    factor picked = *f;
    if (!rows.ids) return ICOT_OK;
    *f = (factor){0};
    const int status = factor_new(k, rows.all, columns, f) ||
                       spread(n, rows, columns * (int64_t)k->factor_bytes, picked.data, f->data);
    factor_done(k, &picked);
    return status;
}

/* ---- float32 --------------------------------------------------------------------------------- */

int picked_take_floats(const node *n, picked_rows rows, int64_t columns, const float *from,
                       const float **out, void **own)
{
    const int64_t bytes = columns * (int64_t)sizeof(float);
    const device *memory = kernels(n)->memory;
    *out = from, *own = NULL;
    if (!rows.ids) return ICOT_OK;
    if (memory->allocate((size_t)(rows.count * bytes), own)) return ICOT_FAILED;
    *out = (const float *)*own;
    if (!take(n, rows, bytes, from, *own)) return ICOT_OK;
    memory->release(*own);
    *out = from, *own = NULL;
    return ICOT_FAILED;
}

int picked_spread_floats(const node *n, picked_rows rows, int64_t columns, const float *from,
                         float *out)
{
    return spread(n, rows, columns * (int64_t)sizeof(float), from, out);
}
