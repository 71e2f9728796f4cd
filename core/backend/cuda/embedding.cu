/*
 * Rows by index: gathering them, and adding gradients to them.
 *
 * No float is added atomically, so that the order of sums is always the same: the host sorts the
 * rows by their index, and the card adds up those of an index piece by piece.
 */
#include "backend/cuda/kernels.h"

#include <vector>

void cuda_gather_rows(int64_t rows, int64_t columns, const float *weight, const int32_t *ids,
                      bool accumulate, float *y)
{
    for_each_in_rows("gather_rows", rows, columns, [=] __device__(int64_t row, int64_t column) {
        const int64_t i = row * columns + column;
        const float value = weight[ids[row] * columns + column];
        y[i] = accumulate ? y[i] + value : value;
    });
}

/* ---- Sorting, on the host -------------------------------------------------------------------- */

/* Rows order[begin] … order[end-1], all of the same index. */
struct piece {
    int32_t begin, end;
};

/* Pieces first … last-1 are those of index id. */
struct target {
    int32_t id, first, last;
};

constexpr int MOST_IN_PIECE = 64;

struct scatter_plan {
    std::vector<int32_t> order; /* the rows, by index, and by number where that is the same */
    std::vector<piece> pieces;
    std::vector<target> targets;
};

/* ends[id + 1] = rows with an index up to id */
static std::vector<int32_t> count_up_to(int64_t rows, const int32_t *ids)
{
    int32_t largest = 0;
    for (int64_t r = 0; r < rows; r++) largest = ids[r] > largest ? ids[r] : largest;
    std::vector<int32_t> ends((size_t)largest + 2, 0);
    for (int64_t r = 0; r < rows; r++) ends[(size_t)ids[r] + 1]++;
    for (size_t id = 1; id < ends.size(); id++) ends[id] += ends[id - 1];
    return ends;
}

static void add_pieces(scatter_plan *p, int32_t id, int32_t begin, int32_t end)
{
    if (begin == end) return;
    const int32_t first = (int32_t)p->pieces.size();
    for (int32_t at = begin; at < end; at += MOST_IN_PIECE) {
        p->pieces.push_back({at, end - at < MOST_IN_PIECE ? end : at + MOST_IN_PIECE});
    }
    p->targets.push_back({id, first, (int32_t)p->pieces.size()});
}

static scatter_plan plan_of(int64_t rows, const int32_t *ids)
{
    scatter_plan p;
    const std::vector<int32_t> ends = count_up_to(rows, ids);
    std::vector<int32_t> next = ends;
    p.order.resize((size_t)rows);
    for (int64_t r = 0; r < rows; r++) p.order[(size_t)next[(size_t)ids[r]]++] = (int32_t)r;
    for (size_t id = 0; id + 1 < ends.size(); id++) {
        add_pieces(&p, (int32_t)id, ends[id], ends[id + 1]);
    }
    return p;
}

/* ---- Adding, on the card --------------------------------------------------------------------- */

template <typename Item> static Item *all_on_card(const std::vector<Item> &items)
{
    return on_card((int64_t)items.size(), items.data());
}

/* sums (pieces, columns) of the rows of dy */
static int sum_pieces(int64_t pieces, int64_t columns, const float *dy, const int32_t *order,
                      const piece *each, float *sums)
{
    return for_each_in_rows("scatter_rows", pieces, columns,
                            [=] __device__(int64_t number, int64_t column) {
                                const piece mine = each[number];
                                float sum = 0.0f;
#pragma unroll 8
                                for (int32_t at = mine.begin; at < mine.end; at++) {
                                    sum += dy[order[at] * columns + column];
                                }
                                sums[number * columns + column] = sum;
                            });
}

static int add_sums(int64_t targets, int64_t columns, const target *each, const float *sums,
                    float *dweight)
{
    return for_each_in_rows("scatter_rows", targets, columns,
                            [=] __device__(int64_t number, int64_t column) {
                                const target mine = each[number];
                                double total = 0.0;
#pragma unroll 8
                                for (int32_t at = mine.first; at < mine.last; at++) {
                                    total += (double)sums[at * columns + column];
                                }
                                dweight[mine.id * columns + column] += (float)total;
                            });
}

int cuda_scatter_rows(int64_t rows, int64_t columns, const float *dy, const index_array *ids,
                      float *dweight)
{
    if (rows == 0 || columns == 0) return OK;
    const scatter_plan p = plan_of(rows, ids->host);
    const int64_t n_pieces = (int64_t)p.pieces.size(), n_targets = (int64_t)p.targets.size();
    int32_t *order = all_on_card(p.order);
    piece *pieces = all_on_card(p.pieces);
    target *targets = all_on_card(p.targets);
    float *sums = (float *)cuda_scratch((size_t)(n_pieces * columns) * sizeof(float));
    int status = FAILED;
    if (order && pieces && targets && sums) {
        status = sum_pieces(n_pieces, columns, dy, order, pieces, sums) ||
                 add_sums(n_targets, columns, targets, sums, dweight);
    }
    cuda_memory.release(sums);
    cuda_memory.release(targets);
    cuda_memory.release(pieces);
    cuda_memory.release(order);
    return status;
}
