#include "backend/cpu/kernels.h"

#include "backend/cpu/kernel_sets.h"

void KERNEL(cpu_table)(backend *table)
{
    table->unary = KERNEL(unary);
    table->unary_backward = KERNEL(unary_backward);
    table->number_as_double = KERNEL(number_as_double);
    table->affine = KERNEL(affine);
    table->power = KERNEL(power);
    table->power_backward = KERNEL(power_backward);
    table->binary = KERNEL(binary);
    table->binary_backward = KERNEL(binary_backward);
    table->strided_copy = KERNEL(strided_copy);
    table->dropout = KERNEL(dropout);
    table->pick_rows = KERNEL(pick_rows);
    table->place_rows = KERNEL(place_rows);
    table->add_bias = KERNEL(add_bias);
    table->sum_rows = KERNEL(sum_rows);
    table->sum = KERNEL(sum);
    table->sum_backward = KERNEL(sum_backward);
    table->softmax = KERNEL(softmax);
    table->softmax_backward = KERNEL(softmax_backward);
    table->argmax = KERNEL(argmax);
    table->count_hits = KERNEL(count_hits);
    table->gather_rows = KERNEL(gather_rows);
    table->scatter_rows = KERNEL(scatter_rows);
    table->layer_norm = KERNEL(layer_norm);
    table->layer_norm_backward = KERNEL(layer_norm_backward);
    table->attention = KERNEL(attention);
    table->attention_backward = KERNEL(attention_backward);
    table->attention_past = KERNEL(attention_past);
    table->attention_past_backward = KERNEL(attention_past_backward);
    table->attention_cached = KERNEL(attention_cached);
    table->cross_entropy = KERNEL(cross_entropy);
    table->cross_entropy_backward = KERNEL(cross_entropy_backward);
    table->layers = &KERNEL(layers);
    table->norm = KERNEL(norm);
    table->adamw = KERNEL(adamw);
    KERNEL(factor_table)(table);
}
