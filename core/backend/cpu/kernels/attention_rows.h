/* One query and the rows of a head, keys or values, each read once and where it lies. */
#ifndef ICOT_BACKEND_CPU_KERNELS_ATTENTION_ROWS_H
#define ICOT_BACKEND_CPU_KERNELS_ATTENTION_ROWS_H

#include "backend/cpu/kernels/transpose.h"

enum { KEYS_AT_ONCE = 4 };

/* a and b, alternating, each folded in half */
static inline lanes fold(lanes a, lanes b)
{
    return alternate_first(a, b) + alternate_second(a, b);
}

/* sums (4) = scale · the sum of each vector's numbers */
static inline void put_sums(float scale, const lanes of[KEYS_AT_ONCE], float *sums)
{
    typedef float four __attribute__((vector_size(KEYS_AT_ONCE * sizeof(float))));
    four parts[LANES / KEYS_AT_ONCE], sum = {0};
    lanes folded = fold(fold(of[0], of[2]), fold(of[1], of[3])); /* number i is of vector i % 4 */
    memcpy(parts, &folded, sizeof parts);
    for (int i = 0; i < LANES / KEYS_AT_ONCE; i++) sum += parts[i];
    sum *= scale;
    memcpy(sums, &sum, sizeof sum);
}

/* scores (4) = scale · query · keys, each of D numbers */
static inline void score_keys(int64_t width, float scale, const float *query,
                              const float *const keys[KEYS_AT_ONCE], float *scores)
{
    lanes sums[KEYS_AT_ONCE] = {0};
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) {
        lanes q = load(query + d);
        for (int k = 0; k < KEYS_AT_ONCE; k++) sums[k] += q * load(keys[k] + d);
    }
    put_sums(scale, sums, scores);
    for (; d < width; d++) {
        for (int k = 0; k < KEYS_AT_ONCE; k++) scores[k] += scale * query[d] * keys[k][d];
    }
}

/* The same of `count` keys, `down` apart; of up to 3 beyond, something. */
static inline void score_rows(int64_t width, float scale, const float *query, int64_t count,
                              const float *rows, int64_t down, float *scores)
{
    for (int64_t j = 0; j < count; j += KEYS_AT_ONCE) {
        const float *keys[KEYS_AT_ONCE];
        for (int k = 0; k < KEYS_AT_ONCE; k++) {
            keys[k] = rows + smaller(j + k, count - 1) * down;
        }
        score_keys(width, scale, query, keys, scores + j);
    }
}

/* y = scale · Σ_j weights_j · rows_j for `wide` vectors of channels, four rows in flight so that
 * the additions don't wait for each other. */
INLINED void mix_channels(const int wide, int64_t count, float scale, const float *weights,
                          const float *rows, int64_t down, float *y)
{
    enum { FLIGHT = 4 };
    lanes sums[FLIGHT][2] = {0};
    int64_t j = 0;
    for (; j + FLIGHT <= count; j += FLIGHT, rows += FLIGHT * down) {
        for (int k = 0; k < FLIGHT; k++) {
            for (int w = 0; w < wide; w++) {
                sums[k][w] += weights[j + k] * load(rows + k * down + w * LANES);
            }
        }
    }
    for (; j < count; j++, rows += down) {
        for (int w = 0; w < wide; w++) sums[0][w] += weights[j] * load(rows + w * LANES);
    }
    for (int w = 0; w < wide; w++) {
        store(y + w * LANES, scale * ((sums[0][w] + sums[1][w]) + (sums[2][w] + sums[3][w])));
    }
}

/* y (D) = scale · Σ_j weights_j · rows_j */
static inline void mix_rows(int64_t width, int64_t count, float scale, const float *weights,
                            const float *rows, int64_t down, float *y)
{
    int64_t d = 0;
    for (; d + 2 * LANES <= width; d += 2 * LANES) {
        mix_channels(2, count, scale, weights, rows + d, down, y + d);
    }
    for (; d + LANES <= width; d += LANES) {
        mix_channels(1, count, scale, weights, rows + d, down, y + d);
    }
    for (; d < width; d++) {
        float sum = 0.0f;
        for (int64_t j = 0; j < count; j++) sum += weights[j] * rows[j * down + d];
        y[d] = scale * sum;
    }
}

/* rows_j += weights_j · x for `count` rows */
static inline void add_to_rows(int64_t width, const float *x, int64_t count, const float *weights,
                               float *rows, int64_t down)
{
    for (int64_t j = 0; j < count; j++, rows += down) {
        int64_t d = 0;
        for (; d + LANES <= width; d += LANES) {
            store(rows + d, load(rows + d) + weights[j] * load(x + d));
        }
        for (; d < width; d++) rows[d] += weights[j] * x[d];
    }
}

#endif
