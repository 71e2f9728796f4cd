/*
 * In place of core/backend/cuda/fragments.h, where it says what each function does: the same
 * without the card's instructions, by their definitions in the PTX ISA (ldmatrix, mma.m16n8k16 with
 * .bf16, cp.async).
 */
#ifndef ICOT_BACKEND_CUDA_FRAGMENTS_H
#define ICOT_BACKEND_CUDA_FRAGMENTS_H

#include "backend/cuda/cuda.h"

#include <cuda_bf16.h>

/* ldmatrix wants rows of 16 bytes, aligned, in shared memory. */
static inline void check_matrix_row(const void *row)
{
    const char *shared = (const char *)emulator::dynamic_shared(), *place = (const char *)row;
    if ((uintptr_t)row % 16) emulator::stop("ldmatrix of a row that is not aligned");
    if (place < shared || place + 16 > shared + emulator::dynamic_shared_bytes()) {
        emulator::stop("ldmatrix of a row that is not in shared memory");
    }
}

static inline void load_matrices(const __nv_bfloat16 *row, uint32_t out[4])
{
    check_matrix_row(row);
    const auto rows = emulator::exchange(emulator::LOAD_MATRICES, row, 16);
    const int lane = emulator::lane();
    for (int m = 0; m < 4; m++) out[m] = rows.read<uint32_t>(8 * m + lane / 4, lane % 4);
}

static inline void load_matrices_turned(const __nv_bfloat16 *row, uint32_t out[4])
{
    check_matrix_row(row);
    const auto rows = emulator::exchange(emulator::LOAD_MATRICES_TURNED, row, 16);
    const int lane = emulator::lane();
    for (int m = 0; m < 4; m++) {
        const int first = 8 * m + lane % 4 * 2;
        const uint32_t low = rows.read<uint16_t>(first, lane / 4);
        out[m] = low | (uint32_t)rows.read<uint16_t>(first + 1, lane / 4) << 16;
    }
}

/* Of a, register r of lane l has row l/4 (+ 8 if r is odd) in columns l%4·2 (+ 8 if r is 2 or 3)
 * and the next; of b, column l/4 in rows l%4·2 (+ 8 for b1) and the next. */
static inline void multiply_add(float sums[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    const auto lanes = emulator::exchange(emulator::MULTIPLY_ADD, mine, sizeof mine);
    const int lane = emulator::lane();
    const auto number = [&](int of_lane, int place, int half) {
        return (double)__bfloat162float(lanes.read<__nv_bfloat16>(of_lane, 2 * place + half));
    };
    for (int i = 0; i < 4; i++) {
        const int lower = i / 2, column = lane % 4 * 2 + i % 2;
        double sum = sums[i];
        for (int k = 0; k < 16; k++) {
            const int right = k / 8, quarter = k % 8 / 2;
            sum += number(lane / 4 * 4 + quarter, lower + 2 * right, k % 2) *
                   number(column * 4 + quarter, 4 + right, k % 2);
        }
        sums[i] = (float)sum;
    }
}

static inline void copy_bytes_ahead(void *shared, const void *from, size_t bytes, bool there)
{
    if ((uintptr_t)shared % bytes || (uintptr_t)from % bytes) {
        emulator::stop("cp.async to or from where it is not aligned");
    }
    if (there) emulator::check_range("cp.async", from, bytes);
    emulator::begin_copy({shared, there ? from : NULL, bytes});
}

static inline void copy_ahead(void *shared, const void *from, bool there)
{
    copy_bytes_ahead(shared, from, 16, there);
}

template <typename Number>
static inline void copy_number_ahead(Number *shared, const Number *from, bool there)
{
    copy_bytes_ahead(shared, from, sizeof(Number), there);
}

static inline void close_bundle()
{
    emulator::close_copies();
}

template <int but> static inline void wait_for_bundles()
{
    emulator::finish_copies(but);
}

#endif
