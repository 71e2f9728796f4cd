#include "backend/cpu/kernels/strip.h"

enum { WIDE = 2 }; /* 4 x 2 registers for the sums leave some, of 16, for what is multiplied */

/* c = scale · a·b for `wide` vectors of columns. `row` are the rows of a, of which the last may
 * stand there more than once; c gets the first `rows`. */
INLINED void multiply_columns(const int wide, int64_t rows, int64_t k, float scale,
                              const float *const row[STRIP_ROWS], int64_t across, const float *b,
                              int64_t b_down, float *c, int64_t c_down)
{
    lanes sum[STRIP_ROWS][WIDE] = {0};
    for (int64_t i = 0; i < k; i++, b += b_down) {
        for (int w = 0; w < wide; w++) {
            lanes column = load(b + w * LANES);
            for (int r = 0; r < STRIP_ROWS; r++) sum[r][w] += row[r][i * across] * column;
        }
    }
    for (int r = 0; r < STRIP_ROWS; r++) {
        for (int w = 0; w < wide && r < rows; w++) {
            store(c + r * c_down + w * LANES, scale * sum[r][w]);
        }
    }
}

void multiply_strip(int64_t rows, int64_t n, int64_t k, float scale, matrix a, matrix b, float *c,
                    int64_t c_down)
{
    const float *row[STRIP_ROWS];
    for (int64_t r = 0; r < STRIP_ROWS; r++) row[r] = a.data + (r < rows ? r : rows - 1) * a.down;

    int64_t j = 0;
    for (; j + WIDE * LANES <= n; j += WIDE * LANES) {
        multiply_columns(WIDE, rows, k, scale, row, a.across, b.data + j, b.down, c + j, c_down);
    }
    for (; j < n; j += LANES) {
        multiply_columns(1, rows, k, scale, row, a.across, b.data + j, b.down, c + j, c_down);
    }
}
