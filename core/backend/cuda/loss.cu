/* Cross entropy, a block per row. */
#include "backend/cuda/kernels.h"
#include "backend/cuda/reduce.h"

/* logsumexp (R) of the rows, and the loss of each */
static __global__ void losses_of_rows(int64_t vocabulary, const float *logits,
                                      const int32_t *targets, double *losses, float *logsumexp)
{
    const float *row = logits + blockIdx.x * vocabulary;
    float maximum = row[0], sum = 0.0f;
    for (int64_t v = threadIdx.x; v < vocabulary; v += blockDim.x) {
        maximum = row[v] > maximum ? row[v] : maximum;
    }
    maximum = block_max(maximum);
    for (int64_t v = threadIdx.x; v < vocabulary; v += blockDim.x) sum += expf(row[v] - maximum);
    sum = block_sum(sum);
    if (threadIdx.x > 0) return;
    const float total = maximum + logf(sum);
    logsumexp[blockIdx.x] = total;
    losses[blockIdx.x] = (double)total - (double)row[targets[blockIdx.x]];
}

/* One block. */
static __global__ void mean_of(int64_t n, const double *values, float *mean)
{
    double total = 0.0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) total += values[i];
    total = block_sum(total);
    if (threadIdx.x == 0) *mean = (float)(total / (double)n);
}

int cuda_cross_entropy(int64_t rows, int64_t vocabulary, const float *logits,
                       const int32_t *targets, float *loss, float *logsumexp)
{
    constexpr int THREADS = 1024;
    double *losses = (double *)cuda_scratch((size_t)rows * sizeof *losses);
    if (!losses) return FAILED;
    losses_of_rows<<<(unsigned)rows, row_threads(vocabulary), 0, cuda_stream>>>(
        vocabulary, logits, targets, losses, logsumexp);
    mean_of<<<1, THREADS, 0, cuda_stream>>>(rows, losses, loss);
    cuda_memory.release(losses);
    return cuda_launched("cross_entropy");
}

/* d loss / d logit = (softmax - [column is the target]) / rows */
void cuda_cross_entropy_backward(int64_t rows, int64_t vocabulary, const float *logits,
                                 const int32_t *targets, const float *logsumexp, const float *dloss,
                                 bool accumulate, float *dlogits)
{
    for_each_in_rows("cross_entropy", rows, vocabulary, [=] __device__(int64_t row, int64_t v) {
        const int64_t i = row * vocabulary + v;
        const float scale = *dloss / (float)rows;
        const float share = expf(logits[i] - logsumexp[row]);
        const float before = accumulate ? dlogits[i] : 0.0f;
        const float wanted = v == targets[row] ? scale : 0.0f;
        dlogits[i] = before + scale * share - wanted;
    });
}
