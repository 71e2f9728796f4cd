/*
 * The kernels of the CPU. Files of kernels/ are compiled once per instruction set, with CPU_ISA
 * set to its name; KERNEL(name) gives every copy a name of its own, and kernels/table.c collects
 * the copies of one instruction set in a table.
 */
#ifndef ICOT_BACKEND_CPU_KERNELS_H
#define ICOT_BACKEND_CPU_KERNELS_H

#include "backend/backend.h"
#include "backend/cpu/kernels/elements.h"
#include "backend/cpu/shares.h"

#ifndef CPU_ISA
#define CPU_ISA generic /* for editors and linters; for kernels/ the Makefile sets it */
#endif
#define CPU_NAME_OF(name, isa)   name##_##isa
#define CPU_NAME_WITH(name, isa) CPU_NAME_OF(name, isa)
#define KERNEL(name)             CPU_NAME_WITH(name, CPU_ISA)

/* For functions that are quick because of what the compiler knows where they are called. */
#define INLINED static inline __attribute__((always_inline))

void KERNEL(unary)(unary_kind, int64_t, const float *, float *);
void KERNEL(unary_backward)(unary_kind, int64_t, const float *, const float *, const float *, bool,
                            float *);
void KERNEL(number_as_double)(const float *, double *);
void KERNEL(affine)(int64_t, double, double, const float *, bool, float *);
void KERNEL(power)(int64_t, double, const float *, float *);
void KERNEL(power_backward)(int64_t, double, const float *, const float *, bool, float *);
void KERNEL(binary)(binary_kind, const strided_loop *, const float *, const float *, float *);
void KERNEL(binary_backward)(binary_kind, int, const strided_loop *, const float *, const float *,
                             const float *, float *);
void KERNEL(strided_copy)(const strided_loop *, const float *, bool, float *);
void KERNEL(dropout)(int64_t, double, icot_random_key, int64_t, const float *, const float *,
                     float *);

int KERNEL(make_tiles)(bool, int64_t, right_factor *);
#ifdef __AVX512BF16__
void KERNEL(round)(int64_t, const float *, void *);
#endif
void KERNEL(gelu_factor)(int64_t, const void *, void *);
int KERNEL(gelu_factor_backward)(int64_t, int64_t, const void *, const float *, void *, void *,
                                 bool, float *);

void KERNEL(add_bias)(int64_t, int64_t, const float *, const float *, float *);
int KERNEL(sum_rows)(int64_t, int64_t, const element *, bool, float *);
void KERNEL(pick_rows)(int64_t, int64_t, const void *, const int32_t *, void *);
void KERNEL(place_rows)(int64_t, int64_t, const void *, const int32_t *, void *);
void KERNEL(sum)(int64_t, int64_t, int64_t, double, const float *, float *);
void KERNEL(sum_backward)(int64_t, int64_t, int64_t, double, const float *, bool, float *);
void KERNEL(softmax)(int64_t, int64_t, bool, const float *, float *);
void KERNEL(softmax_backward)(int64_t, int64_t, bool, const float *, const float *, bool, float *);
int KERNEL(argmax)(int64_t, int64_t, const float *, int32_t *);
int KERNEL(count_hits)(int64_t, int64_t, const float *, const int32_t *, double *);

void KERNEL(gather_rows)(int64_t, int64_t, const float *, const int32_t *, bool, float *);
int KERNEL(scatter_rows)(int64_t, int64_t, const float *, const index_array *, float *);
void KERNEL(layer_norm)(int64_t, int64_t, double, const float *, const float *, const float *,
                        float *, float *);
int KERNEL(layer_norm_backward)(int64_t, int64_t, const float *, const float *, const float *,
                                const float *, const bool[3], float *, float *, float *);
int KERNEL(attention)(const packed_shape *, const element *, element *, float *);
int KERNEL(attention_backward)(const packed_shape *, const element *, const element *,
                               const float *, const element *, bool, element *);
/* The same without y (T,C), which it writes unless it is NULL. */
int KERNEL(attention_backward_anew)(const packed_shape *, const element *, const float *,
                                    const element *, bool, element *, element *);
/* The same of rows behind a past (NULL: none), whose gradients are added to dqkv. */
int KERNEL(attention_behind)(const packed_shape *, const past_rows *, const element *, element *,
                             float *);
int KERNEL(attention_behind_backward)(const packed_shape *, const past_rows *, const element *,
                                      const float *, const element *, element *);
int KERNEL(attention_few)(const packed_shape *, const past_rows *, const float *, float *, float *);
int KERNEL(attention_few_backward)(const packed_shape *, const past_rows *, const float *,
                                   const float *, const float *, float *);
int KERNEL(attention_past)(const packed_shape *, const past_rows *, const float *, float *, float *,
                           float *);
int KERNEL(attention_past_backward)(const packed_shape *, const past_rows *, const float *,
                                    const float *, const float *, const float *, float *,
                                    grad_target);
int KERNEL(attention_cached)(const packed_shape *, const float *, const kv_cache *, float *);
int KERNEL(cross_entropy)(int64_t, int64_t, const float *, const int32_t *, float *, float *);
void KERNEL(cross_entropy_backward)(int64_t, int64_t, const float *, const int32_t *, const float *,
                                    const float *, bool, float *);

int KERNEL(norm)(int64_t, const number_array *, double *);
extern const layer_kernels KERNEL(layers);
int KERNEL(adamw)(int64_t, const adamw_arrays *, const icot_adamw_options *);

/* Fills in those of the kernels above that factors have: a part of what kernel_sets.h declares. */
void KERNEL(factor_table)(backend *table);

#endif
