/*
 * Tensor cores, a warp at a time: products of bfloat16 numbers, summed in float32, by the
 * instructions ldmatrix and mma.m16n8k16 (PTX ISA, "Matrix multiply-accumulate instructions"); and
 * copies to shared memory that go on while something else is computed (cp.async).
 *
 * A warp holds the sums of a tile of 16 x 8 as four numbers per lane: those of row lane/4 in
 * columns lane%4·2 and the next, then the same of row lane/4 + 8. Tiles that lie side by side make
 * an array [columns/8][4].
 */
#ifndef ICOT_BACKEND_CUDA_FRAGMENTS_H
#define ICOT_BACKEND_CUDA_FRAGMENTS_H

#include "backend/cuda/cuda.h"

#include <cuda_bf16.h>

/* Four matrices of 8 x 8: lane l names row l%8 of matrix l/8, 16 bytes in shared memory, and gets
 * of each the elements of row lane/4 in columns lane%4·2 and the next. */
static __device__ void load_matrices(const __nv_bfloat16 *row, uint32_t out[4])
{
    const uint32_t place = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(place)
                 : "memory");
}

/* The same, each matrix turned. */
static __device__ void load_matrices_turned(const __nv_bfloat16 *row, uint32_t out[4])
{
    const uint32_t place = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(place)
                 : "memory");
}

/* sums (16,8) += a (16,16) · b (16,8) */
static __device__ void multiply_add(float sums[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* 16 bytes to shared memory, or as many zeros if there is nothing there. */
static __device__ void copy_ahead(void *shared, const void *from, bool there)
{
    const uint32_t place = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(place), "l"(from), "r"(there ? 16 : 0)
                 : "memory");
}

/* The same of a number of 4 or 8 bytes. */
template <typename Number>
static __device__ void copy_number_ahead(Number *shared, const Number *from, bool there)
{
    const uint32_t place = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :
                 : "r"(place), "l"(from), "n"((int)sizeof(Number)),
                   "r"(there ? (int)sizeof(Number) : 0)
                 : "memory");
}

/* What this thread has copied ahead since the last time is one bundle. */
static __device__ void close_bundle()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits for all bundles of this thread but the last `but` ones. */
template <int but> static __device__ void wait_for_bundles()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(but) : "memory");
}

#endif
