/*
 * In place of cuBLASLt: products of matrices that lie column by column, of float32, TF32 or
 * bfloat16 factors, summed in float32. It holds its caller to what was promised when an algorithm
 * was chosen. By ICOT_EMULATOR_FAULT, it refuses what another cuBLASLt may refuse: "only_exact",
 * products smaller than those that an algorithm was chosen for; "no_gelu", those that end with
 * GELU; "late_no_gelu", the same, but only when they are to be computed.
 */
#include <cublasLt.h>

#include <vector>

using namespace emulator;

const char *cublasLtGetStatusString(cublasStatus_t)
{
    return "status of the emulated cuBLASLt";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = NULL;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- Descriptions ---------------------------------------------------------------------------- */

template <typename T> static void set(T *target, const void *value, size_t size)
{
    if (size != sizeof *target) stop("cuBLASLt: an attribute of %zu bytes", size);
    memcpy(target, value, size);
}

cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t out, cublasComputeType_t compute,
                                      cudaDataType)
{
    *out = {compute, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, NULL, NULL, 0};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t which,
                                              const void *value, size_t size)
{
    switch (which) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        set(&product->transpose_a, value, size);
        break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
        set(&product->transpose_b, value, size);
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        set(&product->epilogue, value, size);
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        set(&product->bias, value, size);
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
        set(&product->auxiliary, value, size);
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
        set(&product->distance, value, size);
        break;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t out, cudaDataType type,
                                        uint64_t rows, uint64_t columns, int64_t distance)
{
    *out = {type, (int64_t)rows, (int64_t)columns, distance};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t out)
{
    *out = {{256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t wish,
                                                    cublasLtMatmulPreferenceAttributes_t which,
                                                    const void *value, size_t size)
{
    if (which <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) {
        set(&wish->alignments[which], value, size);
    }
    return CUBLAS_STATUS_SUCCESS;
}

static bool has_gelu(cublasLtMatmulDesc_t product)
{
    return product->epilogue & 128;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wish, int,
                                              cublasLtMatmulHeuristicResult_t *out, int *count)
{
    *count = 0;
    if (has_gelu(product) && has_fault("no_gelu")) return CUBLAS_STATUS_NOT_SUPPORTED;
    memcpy(out->algo.alignments, wish->alignments, sizeof wish->alignments);
    out->algo.rows = d->rows;
    out->algo.columns = d->columns;
    out->algo.inner = product->transpose_a == CUBLAS_OP_T ? a->rows : a->columns;
    *count = 1;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- Products -------------------------------------------------------------------------------- */

struct matrix {
    char *data;
    cublasLtMatrixLayoutOpaque_t layout;
    bool is_transposed;

    size_t element() const
    {
        return layout.type == CUDA_R_32F ? sizeof(float) : sizeof(__nv_bfloat16);
    }

    int64_t rows() const
    {
        return is_transposed ? layout.columns : layout.rows;
    }

    int64_t columns() const
    {
        return is_transposed ? layout.rows : layout.columns;
    }

    char *place(int64_t row, int64_t column) const
    {
        if (is_transposed) std::swap(row, column);
        return data + (column * layout.distance + row) * element();
    }

    float get(int64_t row, int64_t column) const
    {
        const void *number = place(row, column);
        return element() == sizeof(float) ? *(const float *)number
                                          : __bfloat162float(*(const __nv_bfloat16 *)number);
    }

    void put(int64_t row, int64_t column, float value) const
    {
        void *number = place(row, column);
        if (element() == sizeof(float)) *(float *)number = value;
        if (element() != sizeof(float)) *(__nv_bfloat16 *)number = __float2bfloat16_rn(value);
    }

    void check(uint32_t alignment) const
    {
        if ((uintptr_t)data % alignment) stop("cuBLASLt: a matrix is not aligned as promised");
        check_range("cuBLASLt", data, element() * layout.distance * layout.columns);
    }
};

/* gelu(x), approximated by tanh, and its slope there */
static float gelu(float x)
{
    return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
}

static float gelu_slope(float x)
{
    const float t = tanhf(0.79788456f * (x + 0.044715f * x * x * x));
    return 0.5f * (1.0f + t) +
           0.5f * x * (1.0f - t * t) * 0.79788456f * (1.0f + 3.0f * 0.044715f * x * x);
}

struct product {
    matrix a, b, d, bias, auxiliary; /* those without data are not there; bias is one column */
    float alpha, beta;
    bool in_tf32;

    /* With 10 bits behind the point, the nearest. */
    float factor(float x) const
    {
        uint32_t bits;
        if (!in_tf32) return x;
        memcpy(&bits, &x, sizeof bits);
        bits = (bits + 0x1000) & ~0x1fffu;
        memcpy(&x, &bits, sizeof x);
        return x;
    }

    /* What has a bias is the forward pass. */
    float with_gelu(int64_t row, int64_t column, float value) const
    {
        if (!bias.data) return value * gelu_slope(auxiliary.get(row, column));
        auxiliary.put(row, column, value);
        return gelu(value);
    }

    void finish_column(int64_t column, const std::vector<float> &sums) const
    {
        for (int64_t row = 0; row < d.rows(); row++) {
            float value = alpha * sums[row];
            if (beta != 0.0f) value += beta * d.get(row, column);
            if (bias.data) value += bias.get(row, 0);
            d.put(row, column, auxiliary.data ? with_gelu(row, column, value) : value);
        }
    }

    /* A column of d at a time, for which a is unpacked once. */
    void compute() const
    {
        const int64_t m = d.rows(), inner = a.columns();
        std::vector<float> columns((size_t)(m * inner));
        for (int64_t i = 0; i < m * inner; i++) columns[i] = factor(a.get(i % m, i / m));
        for (int64_t column = 0; column < d.columns(); column++) {
            std::vector<float> sums((size_t)m);
            for (int64_t k = 0; k < inner; k++) {
                const float right = factor(b.get(k, column)), *from = columns.data() + k * m;
                for (int64_t row = 0; row < m; row++) sums[row] += from[row] * right;
            }
            finish_column(column, sums);
        }
    }

    bool is_exactly_of(const cublasLtMatmulAlgo_t &algorithm) const
    {
        return d.rows() == algorithm.rows && d.columns() == algorithm.columns &&
               a.columns() == algorithm.inner;
    }

    void check(const cublasLtMatmulAlgo_t &algorithm) const
    {
        if (a.rows() != d.rows() || a.columns() != b.rows() || b.columns() != d.columns()) {
            stop("cuBLASLt: the shapes of a product do not fit");
        }
        if (d.rows() > algorithm.rows || d.columns() > algorithm.columns ||
            a.columns() > algorithm.inner) {
            stop("cuBLASLt: the algorithm is one for smaller products");
        }
        a.check(algorithm.alignments[0]);
        b.check(algorithm.alignments[1]);
        d.check(algorithm.alignments[3]);
        if (bias.data) bias.check(16);
        if (auxiliary.data && auxiliary.layout.distance % 8) {
            stop("cuBLASLt: columns of the auxiliary matrix are not aligned");
        }
        if (auxiliary.data) auxiliary.check(16);
    }
};

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t how, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t layout_a, const void *b,
                              cublasLtMatrixLayout_t layout_b, const void *beta, const void *c,
                              cublasLtMatrixLayout_t, void *d, cublasLtMatrixLayout_t layout_d,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t workspace_size, cudaStream_t)
{
    const bool is_biased = how->epilogue & CUBLASLT_EPILOGUE_BIAS;
    const cublasLtMatrixLayoutOpaque_t column = {layout_d->type, layout_d->rows, 1, layout_d->rows};
    const cublasLtMatrixLayoutOpaque_t of_auxiliary = {layout_d->type, layout_d->rows,
                                                       layout_d->columns, how->distance};
    const product work = {{(char *)a, *layout_a, how->transpose_a == CUBLAS_OP_T},
                          {(char *)b, *layout_b, how->transpose_b == CUBLAS_OP_T},
                          {(char *)d, *layout_d, false},
                          {(char *)(is_biased ? how->bias : NULL), column, false},
                          {(char *)(has_gelu(how) ? how->auxiliary : NULL), of_auxiliary, false},
                          *(const float *)alpha,
                          *(const float *)beta,
                          how->compute == CUBLAS_COMPUTE_32F_FAST_TF32};
    const cublasLtMatmulAlgo_t promised = *algorithm;
    const bool is_refused = has_fault("only_exact") && !work.is_exactly_of(promised);
    if (is_refused || (has_gelu(how) && has_fault("late_no_gelu"))) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (c != d) stop("cuBLASLt: a product onto another matrix");
    check_range("cuBLASLt's workspace", workspace, workspace_size);
    enqueue([=] {
        const sight of_memory;
        work.check(promised);
        work.compute();
    });
    return CUBLAS_STATUS_SUCCESS;
}
