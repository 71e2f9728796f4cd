/*
 * Matrix products: the one file that knows cuBLASLt. float32 products are exact, but for those in
 * TF32, whose factors the card rounds; they and those of bfloat16 factors are summed in float32.
 *
 * cuBLASLt reads matrices column by column, so a row-major matrix is its own transpose there, and
 * what is computed is cᵀ = op(b)ᵀ·op(a)ᵀ: b comes first, a second, and neither is moved.
 */
#include "backend/cuda/kernels.h"
#include "base/hash.h"

#include <cublasLt.h>
#include <cuda_bf16.h>

#include <cstring>
#include <type_traits>
#include <unordered_map>

constexpr int WORKSPACE = 64 << 20, MOST_PLANS = 4096, BEST_ALIGNMENT = 256;
constexpr int END_ALIGNMENT = 16; /* bytes; of a bias, and of what GELU is of */

static cublasLtHandle_t library;
static void *workspace;

static int check(cublasStatus_t code, const char *what)
{
    if (code == CUBLAS_STATUS_SUCCESS) return OK;
    if (cuda_check(cudaPeekAtLastError(), what)) return FAILED;
    return fail("cuda: %s: cuBLASLt reports '%s'", what, cublasLtGetStatusString(code));
}

int cuda_matmul_start(void)
{
    if (check(cublasLtCreate(&library), "starting cuBLASLt")) return FAILED;
    return cuda_memory.allocate(WORKSPACE, &workspace);
}

/* ---- Plans: how products of a shape are computed --------------------------------------------- */

/* Of what the factors and the product consist. */
enum product_form : int32_t { ALL_FLOAT32, ALL_TF32, BF16_TO_FLOAT32, ALL_BF16 };

static bool is_of_bf16(product_form form)
{
    return form == BF16_TO_FLOAT32 || form == ALL_BF16;
}

/* What is done with a product before it is stored. */
enum product_end : int32_t {
    AS_IT_IS,
    ADD_BIAS,
    ADD_BIAS_AND_GELU,  /* what GELU is of is stored, too */
    MULTIPLY_GELU_SLOPE /* the slope of GELU there */
};

static cublasLtEpilogue_t epilogue_of(product_end end)
{
    switch (end) {
    case ADD_BIAS:
        return CUBLASLT_EPILOGUE_BIAS;
    case ADD_BIAS_AND_GELU:
        return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case MULTIPLY_GELU_SLOPE:
        return CUBLASLT_EPILOGUE_DGELU;
    default:
        return CUBLASLT_EPILOGUE_DEFAULT;
    }
}

static bool is_of_gelu(product_end end)
{
    return end == ADD_BIAS_AND_GELU || end == MULTIPLY_GELU_SLOPE;
}

static bool has_bias(product_end end)
{
    return end == ADD_BIAS || end == ADD_BIAS_AND_GELU;
}

/* All that the choice of an algorithm hangs on. Compared byte by byte: no gaps between fields. */
struct plan_key {
    int64_t m, n, k;
    product_form form;
    product_end end;
    int32_t transpose_a, transpose_b, accumulate;
    uint32_t align_a, align_b, align_c; /* bytes, at most BEST_ALIGNMENT */

    bool operator==(const plan_key &other) const
    {
        return memcmp(this, &other, sizeof *this) == 0;
    }
};

static_assert(std::has_unique_object_representations_v<plan_key>, "gaps between fields");

struct hash_of_key {
    size_t operator()(const plan_key &key) const
    {
        return (size_t)hash_of_bytes(&key, sizeof key);
    }
};

struct product_plan {
    bool is_there;   /* or there is no algorithm */
    bool is_refused; /* at the launch, for fewer rows than it was chosen for */
    cublasLtMatmulDescOpaque_t product;
    cublasLtMatmulAlgo_t algorithm;
};

struct product_layouts {
    cublasLtMatrixLayoutOpaque_t a, b, c;
};

static std::unordered_map<plan_key, product_plan, hash_of_key> plans;

static cublasStatus_t set(product_plan *p, cublasLtMatmulDescAttributes_t which, const void *value,
                          size_t bytes)
{
    return cublasLtMatmulDescSetAttribute(&p->product, which, value, bytes);
}

static int describe_product(const plan_key &key, product_plan *p)
{
    const cublasOperation_t flip = CUBLAS_OP_T;
    const cublasLtEpilogue_t end = epilogue_of(key.end);
    const cublasComputeType_t sums =
        key.form == ALL_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const uintptr_t begin = END_ALIGNMENT; /* the choice looks at how these pointers lie */
    cublasStatus_t code = cublasLtMatmulDescInit(&p->product, sums, CUDA_R_32F);
    if (!code && key.transpose_b) code = set(p, CUBLASLT_MATMUL_DESC_TRANSA, &flip, sizeof flip);
    if (!code && key.transpose_a) code = set(p, CUBLASLT_MATMUL_DESC_TRANSB, &flip, sizeof flip);
    if (!code) code = set(p, CUBLASLT_MATMUL_DESC_EPILOGUE, &end, sizeof end);
    if (!code && is_of_gelu(key.end)) {
        code = set(p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &key.n, sizeof key.n);
        if (!code) code = set(p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &begin, sizeof begin);
    }
    if (!code && has_bias(key.end)) {
        code = set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &begin, sizeof begin);
    }
    return check(code, "matmul");
}

/* As they lie: a (m,k) or, to be transposed, (k,m); b (k,n) or (n,k); c (m,n). */
static int describe_matrices(const plan_key &key, product_layouts *l)
{
    const cudaDataType type = is_of_bf16(key.form) ? CUDA_R_16BF : CUDA_R_32F;
    const cudaDataType type_c = key.form == ALL_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const int64_t a_rows = key.transpose_a ? key.k : key.m, a_across = key.m + key.k - a_rows;
    const int64_t b_rows = key.transpose_b ? key.n : key.k, b_across = key.n + key.k - b_rows;
    cublasStatus_t code =
        cublasLtMatrixLayoutInit(&l->a, type, (uint64_t)a_across, (uint64_t)a_rows, a_across);
    if (!code) {
        code =
            cublasLtMatrixLayoutInit(&l->b, type, (uint64_t)b_across, (uint64_t)b_rows, b_across);
    }
    if (!code) {
        code = cublasLtMatrixLayoutInit(&l->c, type_c, (uint64_t)key.n, (uint64_t)key.m, key.n);
    }
    return check(code, "matmul");
}

static cublasStatus_t prefer(cublasLtMatmulPreferenceOpaque_t *wish,
                             cublasLtMatmulPreferenceAttributes_t which, uint32_t value)
{
    return cublasLtMatmulPreferenceSetAttribute(wish, which, &value, sizeof value);
}

/* Partial sums never meet in c itself, where their order could differ from run to run, and are
 * never rounded to bfloat16. */
static int choose_algorithm(const plan_key &key, product_plan *p)
{
    product_layouts l;
    if (describe_matrices(key, &l)) return FAILED;
    const uint64_t most = WORKSPACE;
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulPreferenceOpaque_t wish;
    cublasLtMatmulHeuristicResult_t found = {};
    int count = 0;
    cublasStatus_t code = cublasLtMatmulPreferenceInit(&wish);
    if (!code) {
        code = cublasLtMatmulPreferenceSetAttribute(&wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &most, sizeof most);
    }
    if (!code) code = prefer(&wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
    if (!code) code = prefer(&wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.align_b);
    if (!code) code = prefer(&wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.align_a);
    if (!code) code = prefer(&wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.align_c);
    if (!code) code = prefer(&wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.align_c);
    if (!code) {
        code = cublasLtMatmulAlgoGetHeuristic(library, &p->product, &l.b, &l.a, &l.c, &l.c, &wish,
                                              1, &found, &count);
    }
    p->is_there = !code && count > 0;
    p->is_refused = false;
    p->algorithm = found.algo;
    return OK;
}

static int explain_missing(const plan_key &key)
{
    return fail("cuda: matmul: cuBLASLt has no algorithm for (%lld,%lld) x (%lld,%lld) in %s",
                (long long)key.m, (long long)key.k, (long long)key.k, (long long)key.n,
                is_of_bf16(key.form)   ? "bf16"
                : key.form == ALL_TF32 ? "tf32"
                                       : "float32");
}

static int make_plan(const plan_key &key, product_plan *out)
{
    return describe_product(key, out) || choose_algorithm(key, out);
}

/*
 * The number of rows that go together, tokens most often, is another at each step. An algorithm is
 * chosen for a number a little larger, in steps of an eighth of the power of two below it: it does
 * for all in between. Such a number is never the distance of rows in memory.
 */
static plan_key key_of_bucket(plan_key key)
{
    int64_t *rows = !key.transpose_a ? &key.m : !key.transpose_b ? &key.k : NULL;
    int64_t step = 16;
    if (!rows) return key;
    while (step * 16 <= *rows) step *= 2;
    *rows = rounded_up(*rows, step);
    return key;
}

static int plan_for(const plan_key &key, product_plan **out)
{
    auto found = plans.find(key);
    if (found == plans.end()) {
        product_plan made;
        if (make_plan(key, &made)) return FAILED;
        if (plans.size() >= MOST_PLANS) plans.clear();
        found = plans.emplace(key, made).first;
    }
    *out = &found->second;
    return OK;
}

/* ---- Products -------------------------------------------------------------------------------- */

static uint32_t alignment_of(const void *pointer)
{
    const uintptr_t lowest_bit = (uintptr_t)pointer & (~(uintptr_t)pointer + 1);
    return lowest_bit < BEST_ALIGNMENT ? (uint32_t)lowest_bit : (uint32_t)BEST_ALIGNMENT;
}

/* c = bias in every row, or 0 */
static int fill(int64_t m, int64_t n, const float *bias, float *c)
{
    return for_each_in_rows("matmul", m, n, [=] __device__(int64_t row, int64_t column) {
        c[row * n + column] = bias ? bias[column] : 0.0f;
    });
}

/* Of a product's end: a bias of the product's own elements, and u, what GELU is of. */
struct end_arrays {
    product_end end;
    const void *bias, *u;
};

static cublasStatus_t multiply(product_plan *p, product_layouts *l, const void *a, const void *b,
                               const end_arrays &with, bool accumulate, void *c)
{
    const float one = 1.0f, onto = accumulate ? 1.0f : 0.0f;
    cublasStatus_t code = CUBLAS_STATUS_SUCCESS;
    if (with.bias) {
        code = set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &with.bias, sizeof with.bias);
    }
    if (!code && with.u) {
        code = set(p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &with.u, sizeof with.u);
    }
    if (code) return code;
    return cublasLtMatmul(library, &p->product, &one, b, &l->b, a, &l->a, &onto, c, &l->c, c, &l->c,
                          &p->algorithm, workspace, WORKSPACE, cuda_stream);
}

static plan_key key_of(product_form form, bool transpose_a, int64_t m, const void *a,
                       const right_factor *b, product_end end, bool accumulate, const void *c)
{
    return {m,
            right_columns(b),
            right_rows(b),
            form,
            end,
            transpose_a,
            b->transpose,
            accumulate,
            alignment_of(a),
            alignment_of(b->ready_form ? b->ready_form : b->data),
            alignment_of(c)};
}

static bool is_refusal(cublasStatus_t code)
{
    return code == CUBLAS_STATUS_NOT_SUPPORTED || code == CUBLAS_STATUS_INVALID_VALUE;
}

/* The plan of a product: that of its bucket, or one for so many rows exactly. */
static int plan_that_is_not_refused(const plan_key &key, product_plan **out)
{
    return plan_for(key_of_bucket(key), out) || ((*out)->is_refused && plan_for(key, out));
}

/* *done: whether there is an algorithm that does all of it. GELU can be had without one, so that a
 * refusal is no error there; but products alone cannot. */
static int multiply_by_plan(const plan_key &key, const void *a, const right_factor *b,
                            const end_arrays &with, void *c, bool *done)
{
    const void *right = b->ready_form ? b->ready_form : b->data;
    product_plan *p;
    product_layouts layouts;
    *done = false;
    if (plan_that_is_not_refused(key, &p) || describe_matrices(key, &layouts)) return FAILED;
    if (!p->is_there) return OK;
    cublasStatus_t code = multiply(p, &layouts, a, right, with, key.accumulate, c);
    if (is_refusal(code) && !p->is_refused) { /* the bucket's does not do after all */
        p->is_refused = true;
        if (plan_for(key, &p)) return FAILED;
        if (!p->is_there) return OK;
        code = multiply(p, &layouts, a, right, with, key.accumulate, c);
    }
    if (is_refusal(code) && is_of_gelu(key.end)) {
        p->is_there = false;
        return OK;
    }
    *done = true;
    return check(code, "matmul");
}

static int product_of(product_form form, bool transpose_a, int64_t m, const void *a,
                      const right_factor *b, const void *bias, bool accumulate, void *c)
{
    const end_arrays with = {bias ? ADD_BIAS : AS_IT_IS, bias, NULL};
    const plan_key key = key_of(form, transpose_a, m, a, b, with.end, accumulate, c);
    bool done;
    if (key.m == 0 || key.n == 0) return OK;
    if (multiply_by_plan(key, a, b, with, c, &done)) return FAILED;
    return done ? OK : explain_missing(key);
}

static int into_float32(product_form form, bool transpose_a, int64_t m, const void *a,
                        const right_factor *b, const float *bias, bool accumulate, float *c)
{
    const int64_t n = right_columns(b);
    if (right_rows(b) == 0) return bias || !accumulate ? fill(m, n, bias, c) : OK;
    if (bias && alignment_of(bias) < END_ALIGNMENT) {
        if (fill(m, n, bias, c)) return FAILED;
        bias = NULL, accumulate = true;
    }
    return product_of(form, transpose_a, m, a, b, bias, accumulate && !bias, c);
}

int cuda_matmul_float32(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                        const float *bias, bool accumulate, float *c)
{
    return into_float32(ALL_FLOAT32, transpose_a, m, a, b, bias, accumulate, c);
}

int cuda_matmul_tf32(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                     const float *bias, bool accumulate, float *c)
{
    return into_float32(ALL_TF32, transpose_a, m, a, b, bias, accumulate, c);
}

int cuda_matmul_bf16(bool transpose_a, int64_t m, const void *a, const right_factor *b,
                     const float *bias, bool accumulate, float *c)
{
    return into_float32(BF16_TO_FLOAT32, transpose_a, m, a, b, bias, accumulate, c);
}

int cuda_matmul_factor_float32(int64_t m, const void *a, const right_factor *b, const void *bias,
                               void *c)
{
    return cuda_matmul_float32(false, m, a, b, (const float *)bias, false, (float *)c);
}

int cuda_matmul_factor_tf32(int64_t m, const void *a, const right_factor *b, const void *bias,
                            void *c)
{
    return cuda_matmul_tf32(false, m, a, b, (const float *)bias, false, (float *)c);
}

/* cuBLASLt adds a bias of the product's own elements. */
int cuda_matmul_factor_bf16(int64_t m, const void *a, const right_factor *b, const void *bias,
                            void *c)
{
    return product_of(ALL_BF16, false, m, a, b, bias, false, c);
}

/* ---- With GELU ------------------------------------------------------------------------------- */

/* cuBLASLt wants u to begin and to go on from row to row where 16 bytes do. */
static int product_with_gelu(int64_t m, const void *a, const right_factor *b,
                             const end_arrays &with, void *c, bool *done)
{
    constexpr int RUN_OF_U = END_ALIGNMENT / sizeof(__nv_bfloat16);
    const plan_key key = key_of(ALL_BF16, false, m, a, b, with.end, false, c);
    *done = key.m == 0 || key.n == 0;
    if (*done || key.n % RUN_OF_U != 0 || alignment_of(with.u) < END_ALIGNMENT) return OK;
    return multiply_by_plan(key, a, b, with, c, done);
}

int cuda_matmul_gelu_bf16(int64_t m, const void *a, const right_factor *b, const void *bias,
                          void *u, void *h, bool *done)
{
    return product_with_gelu(m, a, b, {ADD_BIAS_AND_GELU, bias, u}, h, done);
}

int cuda_matmul_gelu_backward_bf16(int64_t m, const void *a, const right_factor *b, const void *u,
                                   void *du, bool *done)
{
    return product_with_gelu(m, a, b, {MULTIPLY_GELU_SLOPE, NULL, u}, du, done);
}

/* ---- Right factors --------------------------------------------------------------------------- */

int cuda_make_ready_float32(bool transpose_a, int64_t m, right_factor *b)
{
    (void)transpose_a, (void)m;
    b->ready_form = NULL;
    return OK;
}

/* Rounded, unless it is a factor already; the order stays. */
int cuda_make_ready_bf16(bool transpose_a, int64_t m, right_factor *b)
{
    (void)transpose_a, (void)m;
    b->ready_form = NULL;
    if (b->is_factor) return OK;
    const int64_t numel = b->rows * b->columns;
    if (cuda_memory.allocate((size_t)numel * sizeof(__nv_bfloat16), &b->ready_form)) return FAILED;
    cuda_round_bf16(numel, (const float *)b->data, b->ready_form);
    return OK;
}
