#include "autograd/operators/residual.h"

#include "base/error.h"

int residual_check(const node *n, int which, const shape *output)
{
    if (n->n_inputs <= which) return ICOT_OK;
    shape given = tensor_shape(n->inputs[which]);
    if (shape_equal(&given, output)) return ICOT_OK;
    return fail("%s: got a residual %s, expected the shape of the output, %s", n->op->name,
                shape_text(&given), shape_text(output));
}

int multiply_onto_residual(node *n, int which, int64_t first, int64_t rows, const factor *x,
                           const ready_right *weight, const float *bias)
{
    const backend *k = kernels(n);
    const int64_t out = n->output->shape[n->output->ndim - 1];
    float *y = tensor_floats(n->output) + first * out;
    const bool onto = n->n_inputs > which;
    if (onto) k->add_bias(rows, out, tensor_floats(n->inputs[which]) + first * out, bias, y);
    return k->matmul(false, rows, x->data, &weight->b, onto ? NULL : bias, onto, y);
}
