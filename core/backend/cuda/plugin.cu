/* The card: finding and starting it, what went wrong on it, and the tables of its kernels. */
#include "backend/cuda/kernels.h"

#include <cstdio>

const cuda_core *cuda_lent;
cudaStream_t cuda_stream;

/* ---- What went wrong ------------------------------------------------------------------------- */

static cudaError_t broken = cudaSuccess; /* the first error, which stays */
static char broken_at[64];

int cuda_status(void)
{
    if (broken == cudaSuccess) return OK;
    return fail("cuda: %s: the card reported '%s' and can no longer be used; resume from the "
                "last checkpoint",
                broken_at, cudaGetErrorString(broken));
}

int cuda_check(cudaError_t code, const char *what)
{
    if (code != cudaSuccess && broken == cudaSuccess) {
        broken = code;
        snprintf(broken_at, sizeof broken_at, "%s", what);
    }
    return broken == cudaSuccess ? OK : cuda_status();
}

int cuda_launched(const char *what)
{
    return cuda_check(cudaGetLastError(), what);
}

void *cuda_scratch(size_t bytes)
{
    void *block;
    return cuda_memory.allocate(bytes, &block) == OK ? block : NULL;
}

/* ---- The card -------------------------------------------------------------------------------- */

static char name_of_card[400] = "none";

static const char *description(void)
{
    return name_of_card;
}

static int find_card(void)
{
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code == cudaErrorInsufficientDriver) {
        int driver = 0;
        cudaDriverGetVersion(&driver);
        if (driver == 0) return fail("cuda: there is no NVIDIA driver on this machine");
        return fail(
            "cuda: the NVIDIA driver is too old: it supports CUDA %d.%d, but icot was built "
            "with %d.%d",
            driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    }
    if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) {
        return fail("cuda: no NVIDIA card was found (CUDA_VISIBLE_DEVICES may hide it)");
    }
    if (code != cudaSuccess) return fail("cuda: no card can be used: %s", cudaGetErrorString(code));
    return OK;
}

/* ICOT_CUDA_OLDEST: the lowest compute capability that was compiled for, times 10. */
static int check_card(void)
{
    cudaDeviceProp card;
    cudaError_t code = cudaGetDeviceProperties(&card, 0);
    if (code != cudaSuccess) {
        return fail("cuda: the card's properties cannot be read: %s", cudaGetErrorString(code));
    }
    if (card.major * 10 + card.minor < ICOT_CUDA_OLDEST) {
        return fail("cuda: %s has compute capability %d.%d; icot was built for %d.%d and newer "
                    "(make CUDA_ARCHS=…; 8.0 is the oldest that it can do)",
                    card.name, card.major, card.minor, ICOT_CUDA_OLDEST / 10,
                    ICOT_CUDA_OLDEST % 10);
    }
    snprintf(name_of_card, sizeof name_of_card, "%s (compute capability %d.%d, %d GiB, CUDA %d.%d)",
             card.name, card.major, card.minor, (int)(card.totalGlobalMem >> 30),
             CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    return OK;
}

static int start_card(void)
{
    if (find_card() || check_card()) return FAILED;
    cudaError_t code = cudaStreamCreateWithFlags(&cuda_stream, cudaStreamNonBlocking);
    if (code != cudaSuccess) {
        return fail("cuda: %s cannot be started: %s", name_of_card, cudaGetErrorString(code));
    }
    return cuda_matmul_start();
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static backend tables[PRECISIONS];

static void fill_common(backend *table)
{
    table->memory = &cuda_memory;
    table->description = description;
    table->rows_at_a_time = INT32_MAX; /* the larger a product, the better */
    table->factor_rows = 1;
    table->fuses_layers = true;
    table->unary = cuda_unary;
    table->unary_backward = cuda_unary_backward;
    table->number_as_double = cuda_number_as_double;
    table->affine = cuda_affine;
    table->power = cuda_power;
    table->power_backward = cuda_power_backward;
    table->binary = cuda_binary;
    table->binary_backward = cuda_binary_backward;
    table->strided_copy = cuda_strided_copy;
    table->dropout = cuda_dropout;
    table->add_bias = cuda_add_bias;
    table->pick_rows = cuda_pick_rows;
    table->place_rows = cuda_place_rows;
    table->sum_rows = cuda_sum_rows;
    table->sum = cuda_sum;
    table->sum_backward = cuda_sum_backward;
    table->softmax = cuda_softmax;
    table->softmax_backward = cuda_softmax_backward;
    table->argmax = cuda_argmax;
    table->count_hits = cuda_count_hits;
    table->gather_rows = cuda_gather_rows;
    table->scatter_rows = cuda_scatter_rows;
    table->layer_norm = cuda_layer_norm;
    table->layer_norm_backward = cuda_layer_norm_backward;
    table->attention = cuda_attention;
    table->attention_backward = cuda_attention_backward;
    table->attention_past = cuda_attention_past;
    table->attention_past_backward = cuda_attention_past_backward;
    table->attention_cached = cuda_attention_cached;
    table->cross_entropy = cuda_cross_entropy;
    table->cross_entropy_backward = cuda_cross_entropy_backward;
    table->norm = cuda_norm;
    table->adamw = cuda_adamw;
}

/* A factor is the array itself. */
static void fill_float32(backend *table)
{
    fill_common(table);
    table->factor_bytes = sizeof(float);
    table->layers = &cuda_layers_float32;
    table->make_ready = cuda_make_ready_float32;
    table->matmul = cuda_matmul_float32;
    table->matmul_factor = cuda_matmul_factor_float32;
    table->gelu_factor = cuda_gelu_float32;
    table->gelu_factor_backward = cuda_gelu_backward_float32;
    table->attention_factor = cuda_attention_factor_float32;
    table->attention_factor_backward = cuda_attention_factor_backward_float32;
    table->sum_rows_factor = cuda_sum_rows_float32;
}

/* The same, but for cuBLASLt's products; those of attention stay exact. */
static void fill_tf32(backend *table)
{
    fill_float32(table);
    table->layers = &cuda_layers_tf32;
    table->matmul = cuda_matmul_tf32;
    table->matmul_factor = cuda_matmul_factor_tf32;
}

static void fill_bf16(backend *table)
{
    fill_common(table);
    table->factor_bytes = sizeof(uint16_t);
    table->round = cuda_round_bf16;
    table->layers = &cuda_layers_bf16;
    table->attention = cuda_attention_bf16;
    table->attention_backward = cuda_attention_backward_bf16;
    table->make_ready = cuda_make_ready_bf16;
    table->ready_for_all = true; /* rounded, in the same order */
    table->rounds_parameters = true;
    table->matmul = cuda_matmul_bf16;
    table->matmul_factor = cuda_matmul_factor_bf16;
    table->gelu_factor = cuda_gelu_bf16;
    table->gelu_factor_backward = cuda_gelu_backward_bf16;
    table->attention_factor = cuda_attention_factor_bf16;
    table->attention_factor_backward = cuda_attention_factor_backward_bf16;
    table->sum_rows_factor = cuda_sum_rows_bf16;
}

static void fill_tables(void)
{
    fill_float32(&tables[IN_FLOAT32]);
    fill_tf32(&tables[IN_TF32]);
    fill_bf16(&tables[IN_BF16]);
}

extern "C" __attribute__((visibility("default"))) int icot_cuda_open(const cuda_core *core,
                                                                     cuda_tables *out);

int icot_cuda_open(const cuda_core *core, cuda_tables *out)
{
    cuda_lent = core;
    *out = {CUDA_PLUGIN_ABI, sizeof(backend), {}};
    for (int i = 0; i < PRECISIONS; i++) out->in[i] = &tables[i];
    if (start_card()) return FAILED;
    fill_tables();
    return OK;
}
