/*
 * Matrix products in bfloat16 by oneDNN: the one file that knows it, and a library of its own.
 *
 * oneDNN is optional and takes long to load, so the core loads this library when it first needs it
 * (see onednn_loader.c). Nothing here calls back into the core.
 */
#include "backend/cpu/onednn/onednn.h"

#include "base/hash.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <dnnl.h>

typedef struct product_key {
    int transpose_a, accumulate, rounded, biased;
    int64_t m, n, k;
} product_key;

/* A product that was made ready once; making it takes far longer than most products do. */
typedef struct prepared {
    struct prepared *next;
    product_key key;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c, bias;
} prepared;

enum { BUCKETS = 1024 };
enum { A, B, C, BIAS, FORMS }; /* the matrices of a product */

static prepared *buckets[BUCKETS];
static dnnl_engine_t engine;
static dnnl_stream_t stream;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- The two forms of oneDNN's interface ----------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t memory_form;
#define FORM(form) (form)

static int make_form(memory_form *form, int64_t rows, int64_t columns, dnnl_data_type_t type,
                     int64_t down, int64_t across)
{
    const dnnl_dims_t size = {rows, columns}, strides = {down, across};
    return dnnl_memory_desc_create_with_strides(form, 2, size, type, strides) != dnnl_success;
}

static int make_tiled_form(memory_form *form, const dnnl_dims_t size, dnnl_data_type_t type,
                           dnnl_format_tag_t tiles)
{
    return dnnl_memory_desc_create_with_tag(form, 2, size, type, tiles) != dnnl_success;
}

static void drop_form(memory_form *form)
{
    dnnl_memory_desc_destroy(*form);
}

static int describe(dnnl_primitive_desc_t *out, const memory_form form[FORMS], int biased,
                    const_dnnl_primitive_attr_t how)
{
    return dnnl_matmul_primitive_desc_create(out, engine, form[A], form[B],
                                             biased ? form[BIAS] : NULL, form[C],
                                             how) != dnnl_success;
}

static int add_to_result(dnnl_post_ops_t after)
{
    return dnnl_post_ops_append_sum(after, 1.0f, 0, dnnl_data_type_undef) != dnnl_success;
}
#else
typedef dnnl_memory_desc_t memory_form;
#define FORM(form) (&(form))

static int make_form(memory_form *form, int64_t rows, int64_t columns, dnnl_data_type_t type,
                     int64_t down, int64_t across)
{
    const dnnl_dims_t size = {rows, columns}, strides = {down, across};
    return dnnl_memory_desc_init_by_strides(form, 2, size, type, strides) != dnnl_success;
}

static int make_tiled_form(memory_form *form, const dnnl_dims_t size, dnnl_data_type_t type,
                           dnnl_format_tag_t tiles)
{
    return dnnl_memory_desc_init_by_tag(form, 2, size, type, tiles) != dnnl_success;
}

static void drop_form(memory_form *form)
{
    (void)form;
}

static int describe(dnnl_primitive_desc_t *out, const memory_form form[FORMS], int biased,
                    const_dnnl_primitive_attr_t how)
{
    dnnl_matmul_desc_t product;
    const dnnl_memory_desc_t *bias = biased ? &form[BIAS] : NULL;
    if (dnnl_matmul_desc_init(&product, &form[A], &form[B], bias, &form[C]) != dnnl_success)
        return 1;
    return dnnl_primitive_desc_create(out, &product, how, engine, NULL) != dnnl_success;
}

static int add_to_result(dnnl_post_ops_t after)
{
    return dnnl_post_ops_append_sum(after, 1.0f) != dnnl_success;
}
#endif

/* ---- Making a product ready ------------------------------------------------------------------ */

/* a (m,k) as it lies, b (k,n) in tiles, c (m,n) and bias (1,n); returns how many were made. */
static int make_forms(const product_key *key, memory_form form[FORMS])
{
    const dnnl_data_type_t type = dnnl_bf16, result = key->rounded ? dnnl_bf16 : dnnl_f32;
    const dnnl_format_tag_t tiles = dnnl_BA16a64b2a; /* TILE_… */
    const int64_t down = key->transpose_a ? 1 : key->k, across = key->transpose_a ? key->m : 1;
    const dnnl_dims_t b = {key->k, key->n};
    if (make_form(&form[A], key->m, key->k, type, down, across)) return 0;
    if (make_tiled_form(&form[B], b, type, tiles)) return 1;
    if (make_form(&form[C], key->m, key->n, result, key->n, 1)) return 2;
    if (make_form(&form[BIAS], 1, key->n, dnnl_f32, key->n, 1)) return 3;
    return FORMS;
}

/* Its reference kernels take anything, and are slower than all else. */
static int is_fast(const_dnnl_primitive_desc_t description)
{
    const char *kernel = "";
    dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &kernel);
    return strncmp(kernel, "brg", 3) == 0;
}

static int make_primitive(prepared *made, const memory_form form[FORMS])
{
    int failed = 1;
    dnnl_primitive_attr_t how = NULL;
    dnnl_post_ops_t after = NULL;
    dnnl_primitive_desc_t description = NULL;
    if (dnnl_primitive_attr_create(&how) != dnnl_success) goto done;
    if (dnnl_post_ops_create(&after) != dnnl_success) goto done;
    if (made->key.accumulate && add_to_result(after)) goto done;
    if (dnnl_primitive_attr_set_post_ops(how, after) != dnnl_success) goto done;
    if (describe(&description, form, made->key.biased, how)) goto done;
    failed = !is_fast(description) ||
             dnnl_primitive_create(&made->primitive, description) != dnnl_success;

done:
    if (description) dnnl_primitive_desc_destroy(description);
    if (after) dnnl_post_ops_destroy(after);
    if (how) dnnl_primitive_attr_destroy(how);
    return failed;
}

static void drop(prepared *made)
{
    if (made->a) dnnl_memory_destroy(made->a);
    if (made->b) dnnl_memory_destroy(made->b);
    if (made->c) dnnl_memory_destroy(made->c);
    if (made->bias) dnnl_memory_destroy(made->bias);
    if (made->primitive) dnnl_primitive_destroy(made->primitive);
    free(made);
}

static prepared *prepare(const product_key *key)
{
    memory_form form[FORMS];
    prepared *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    made->key = *key;
    int forms = make_forms(key, form);
    int failed = forms < FORMS || make_primitive(made, form) ||
                 dnnl_memory_create(&made->a, FORM(form[A]), engine, DNNL_MEMORY_NONE) ||
                 dnnl_memory_create(&made->b, FORM(form[B]), engine, DNNL_MEMORY_NONE) ||
                 dnnl_memory_create(&made->c, FORM(form[C]), engine, DNNL_MEMORY_NONE) ||
                 dnnl_memory_create(&made->bias, FORM(form[BIAS]), engine, DNNL_MEMORY_NONE);
    for (int i = 0; i < forms; i++) drop_form(&form[i]);
    if (!failed) return made;
    drop(made);
    return NULL;
}

/* All bytes of a key count: it has no gaps that were not cleared. */
static unsigned bucket_of(const product_key *key)
{
    return (unsigned)(hash_folded(hash_of_bytes(key, sizeof *key)) % BUCKETS);
}

static prepared *find_or_prepare(const product_key *key)
{
    prepared **bucket = &buckets[bucket_of(key)];
    for (prepared *each = *bucket; each; each = each->next) {
        if (memcmp(&each->key, key, sizeof *key) == 0) return each;
    }
    prepared *made = prepare(key);
    if (made) {
        made->next = *bucket;
        *bucket = made;
    }
    return made;
}

/* ---- What the core calls --------------------------------------------------------------------- */

static int start_up(void)
{
    if (engine) return 0;
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) return 1;
    return dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) != dnnl_success;
}

static int run(prepared *product, const void *a, const void *b, const float *bias, void *c)
{
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, product->a},
                                         {DNNL_ARG_WEIGHTS, product->b},
                                         {DNNL_ARG_DST, product->c},
                                         {DNNL_ARG_BIAS, product->bias}};
    return dnnl_memory_set_data_handle(product->a, (void *)(uintptr_t)a) ||
           dnnl_memory_set_data_handle(product->b, (void *)(uintptr_t)b) ||
           dnnl_memory_set_data_handle(product->c, c) ||
           dnnl_memory_set_data_handle(product->bias, (void *)(uintptr_t)bias) ||
           dnnl_primitive_execute(product->primitive, stream, bias ? 4 : 3, arguments) ||
           dnnl_stream_wait(stream);
}

static product_key key_of(const tile_product *p)
{
    product_key key;
    memset(&key, 0, sizeof key);
    key.rounded = p->rounded;
    key.transpose_a = p->transpose_a, key.accumulate = p->accumulate, key.biased = p->bias != NULL;
    key.m = p->m, key.n = p->n, key.k = p->k;
    return key;
}

int onednn_takes_tiles(void)
{
    const tile_product some = {.m = 16, .n = WIDE_TILE_COLUMNS, .k = 4 * TILE_ROWS};
    const product_key key = key_of(&some);
    pthread_mutex_lock(&lock);
    const int takes = !start_up() && find_or_prepare(&key) != NULL;
    pthread_mutex_unlock(&lock);
    return takes;
}

int onednn_matmul(const tile_product *p, const void *a, const void *tiles, void *c)
{
    const product_key key = key_of(p);
    pthread_mutex_lock(&lock);
    prepared *product = start_up() ? NULL : find_or_prepare(&key);
    int failed = !product || run(product, a, tiles, p->bias, c);
    pthread_mutex_unlock(&lock);
    return failed;
}

void onednn_describe(int *major, int *minor, int *patch)
{
    const dnnl_version_t *version = dnnl_version();
    *major = version->major, *minor = version->minor, *patch = version->patch;
}
