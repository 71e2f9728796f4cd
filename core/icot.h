/*
 * icot.h - the one public header of the core.
 *
 * Everything that Lua (or another program) may call stands here, or in icot_text.h, which this
 * includes. The build preprocesses the two and hands the result to LuaJIT's ffi.cdef, so keep them
 * to declarations: no function bodies, and no macros that a caller would need.
 *
 * Conventions
 *   errors    A function that can fail returns int: 0 is success, anything else is an error whose
 *             one-line message icot_last_error() gives. Results come back through out parameters,
 *             which are left untouched on failure.
 *   tensors   Named by a 64-bit handle. A handle whose tensor is gone (its scope was closed, or it
 *             was freed) is refused with a message; it never reads stale memory. 0 is no tensor.
 *   lifetime  Tensors belong to the innermost scope that is open when they are made and go when it
 *             closes. Outside any scope they live until icot_tensor_free.
 *   threads   An engine serves one thread at a time; its kernels use all OpenMP threads.
 */
#ifndef ICOT_H
#define ICOT_H

#ifndef ICOT_FFI
#include <stddef.h>
#include <stdint.h>
#define ICOT_API __attribute__((visibility("default")))
#else
#define ICOT_API
#endif

enum {
    ICOT_ABI = 12,        /* raised whenever anything in this file changes its meaning */
    ICOT_MAX_DIMS = 6,    /* most dimensions a tensor can have */
    ICOT_MAX_INPUTS = 15, /* most inputs an operator can have (concat included) */
    ICOT_MAX_NUMBERS = 5, /* most parameters of one that are real numbers */
    ICOT_MAX_INDICES = 16 /* most integer parameters: sizes, dimensions, counts */
};

/* ---- Base: errors, versions, memory, threads, random numbers, interrupts --------------------- */

/* What an error was about, where a caller may know what to do. */
enum { ICOT_ERROR_OTHER, ICOT_ERROR_NO_MEMORY, ICOT_ERROR_EXISTS, ICOT_ERROR_LOCKED };

ICOT_API const char *icot_last_error(void);    /* message of this thread's last error */
ICOT_API int icot_last_error_kind(void);       /* ICOT_ERROR_… of the same */
ICOT_API int icot_abi(void);                   /* ICOT_ABI of the library that was loaded */
ICOT_API size_t icot_sizeof(const char *type); /* size of a struct in this header; 0: unknown */
ICOT_API const char *icot_version(void);       /* icot's own version */
ICOT_API const char *icot_blas_version(void);  /* OpenBLAS's description of itself */
ICOT_API const char *icot_hdf5_version(void);
ICOT_API const char *icot_onednn_version(void); /* "none": not used here; may load it */
ICOT_API const char *icot_cpu_kernels(void); /* instruction set the CPU kernels were chosen for */

typedef struct icot_memory {
    int64_t live;        /* bytes handed out now */
    int64_t peak;        /* most bytes that were ever live */
    int64_t cached;      /* bytes kept for reuse */
    int64_t allocations; /* requests since the program started */
} icot_memory;

ICOT_API void icot_memory_read(icot_memory *out);

/* Threads that kernels share work among: at first OMP_NUM_THREADS, or all cores. Set, the number
 * (1 … ICOT_MOST_THREADS, or it fails) is that of kernels called by this thread. */
enum { ICOT_MOST_THREADS = 1024 };
ICOT_API int icot_threads(void);
ICOT_API int icot_set_threads(int count);

/* Random numbers are a pure function of (seed, stream, step, index): Philox4x32-10. A key has 2^33
 * numbers; behind them they repeat. */
typedef struct icot_random_key {
    uint64_t seed;
    uint32_t stream; /* what the numbers are for: one of ICOT_STREAM_*, or a layer's own number */
    uint64_t step;   /* when: training step, epoch, … */
} icot_random_key;

enum {
    ICOT_STREAM_INIT = 1,    /* initial parameters */
    ICOT_STREAM_ORDER = 2,   /* order of the training examples, step = epoch */
    ICOT_STREAM_OFFSET = 3,  /* removal smoothing, step = training step */
    ICOT_STREAM_DATA = 4,    /* examples that a dataset makes up */
    ICOT_STREAM_REMOVAL = 5, /* order in which the tokens of a CoT go, step = its length */
    ICOT_STREAM_PROBE = 6,   /* labels that are shuffled among examples */
    ICOT_STREAM_DROPOUT = 64 /* dropout layer k of a model uses ICOT_STREAM_DROPOUT + k */
};

ICOT_API void icot_random_uniform(icot_random_key key, int64_t n, double *out);      /* in [0, 1) */
ICOT_API void icot_random_permutation(icot_random_key key, int32_t n, int32_t *out); /* of 0..n-1 */

/*
 * Ctrl-C, SIGTERM and SIGHUP only raise a flag; the program looks at it between two steps. A second
 * Ctrl-C or SIGTERM ends the program at once. Signals that tell of a failed write (SIGPIPE and
 * SIGXFSZ) are ignored from then on: the write itself returns the error.
 */
ICOT_API int icot_interrupts_catch(void);
/* What the first signal writes to stderr, at most 127 bytes; NULL: nothing. */
ICOT_API void icot_interrupts_notice(const char *line);
ICOT_API int icot_interrupted(void); /* signal number that arrived, or 0 */
ICOT_API double icot_seconds(void);  /* monotonic clock, in seconds */

/* ---- Tensors --------------------------------------------------------------------------------- */

typedef enum icot_dtype { ICOT_FLOAT32 = 0, ICOT_INT32 = 1 } icot_dtype;

typedef uint64_t icot_tensor;
typedef struct icot_engine icot_engine; /* backend, tensors, scopes and tape of one program part */

typedef struct icot_tensor_info {
    icot_dtype dtype;
    int ndim;
    int64_t shape[ICOT_MAX_DIMS];
    int64_t strides[ICOT_MAX_DIMS]; /* in elements */
    int64_t numel;
    int contiguous;
    int requires_grad;
    void *data; /* first element, to be read; valid as long as the tensor is; NULL: it lies on
                   another device, or see icot_checkpoint */
} icot_tensor_info;

/* device: "cpu", or "cuda": the first card of NVIDIA's, through libicot_cuda.so. Fails where there
 * is none, or no such library. An engine begins in float32, with gradients enabled. */
ICOT_API int icot_engine_create(const char *device, icot_engine **out);
ICOT_API void icot_engine_free(icot_engine *engine);
ICOT_API const char *icot_engine_device(const icot_engine *engine);
/* For people: the instruction set of the CPU kernels, or the card. */
ICOT_API const char *icot_engine_description(const icot_engine *engine);
/*
 * "float32", or "bf16": the factors of matrix products are rounded to bfloat16, their sums and all
 * else stay float32; or "tf32": as a card rounds float32 factors that its tensor cores take. Fails,
 * and leaves the engine as it is, where the machine cannot do that, and where another one would be
 * chosen while the tape holds operators.
 */
ICOT_API int icot_set_precision(icot_engine *engine, const char *precision);
/* Whether the operators of whole layers are quicker here than those that layers consist of. */
ICOT_API int icot_fuses_layers(const icot_engine *engine);

/* Makes a tensor of zeros in the innermost scope. A shape of 0 dimensions is a scalar. */
ICOT_API int icot_tensor_create(icot_engine *engine, icot_dtype dtype, int ndim,
                                const int64_t *shape, icot_tensor *out);
/* The same with whatever lies in its memory, for one that is written before it is read. */
ICOT_API int icot_tensor_create_empty(icot_engine *engine, icot_dtype dtype, int ndim,
                                      const int64_t *shape, icot_tensor *out);
/*
 * Two ways to let go of a tensor before its scope closes; the handle is dead after both. Free takes
 * it away now, and fails while the tape still needs it. Release says that the caller is done with
 * it: it goes once backward no longer needs it, at once if it doesn't. (Outputs that are quickly
 * computed again, such as a layer norm's, give back their memory at once even if it does.)
 */
ICOT_API int icot_tensor_free(icot_engine *engine, icot_tensor tensor);
ICOT_API int icot_tensor_release(icot_engine *engine, icot_tensor tensor);
ICOT_API int icot_tensor_describe(icot_engine *engine, icot_tensor tensor, icot_tensor_info *out);
/* Moves a tensor from the innermost scope to the one around it, so that it outlives the former. */
ICOT_API int icot_tensor_keep(icot_engine *engine, icot_tensor tensor);
/* A second tensor on the same data that the tape does not follow. */
ICOT_API int icot_tensor_detach(icot_engine *engine, icot_tensor tensor, icot_tensor *out);
/*
 * Copies numel elements in or out, in row-major order whatever the strides are. What overwrites a
 * tensor, here and below, fails while the tape reads it, since backward would take the new numbers
 * for the old; that is not noticed where another tensor on the same data is given.
 */
ICOT_API int icot_tensor_read(icot_engine *engine, icot_tensor tensor, void *out, int64_t numel);
ICOT_API int icot_tensor_write(icot_engine *engine, icot_tensor tensor, const void *in,
                               int64_t numel);
/* Fills a tensor with one number, which for an int32 tensor has to be a whole one in the range of
 * int32; or a float32 tensor with random ones, in row-major order: normal, or uniform in
 * [low, high). */
ICOT_API int icot_tensor_fill(icot_engine *engine, icot_tensor tensor, double value);
ICOT_API int icot_tensor_normal(icot_engine *engine, icot_tensor tensor, double mean, double std,
                                icot_random_key key);
ICOT_API int icot_tensor_uniform(icot_engine *engine, icot_tensor tensor, double low, double high,
                                 icot_random_key key);
/* Index of the largest value of each row: x (R, C) -> out (R), int32. */
ICOT_API int icot_tensor_argmax(icot_engine *engine, icot_tensor x, icot_tensor *out);

/* ---- Scopes, operators and gradients --------------------------------------------------------- */

/* Scopes nest. Closing the innermost, which fails if there is none, frees its tensors and what the
 * tape recorded since it was opened. */
ICOT_API int icot_scope_open(icot_engine *engine);
ICOT_API int icot_scope_close(icot_engine *engine);
ICOT_API int icot_scope_depth(const icot_engine *engine); /* scopes open */

/* Whether icot_apply records what backward needs. */
ICOT_API int icot_grad_enabled(const icot_engine *engine);
ICOT_API void icot_set_grad_enabled(icot_engine *engine, int enabled);
/* Of a float32 leaf; what an operator made has to be detached first. */
ICOT_API int icot_requires_grad(icot_engine *engine, icot_tensor tensor, int requires_grad);
/* The gradient, of the tensor's shape, which it goes with; 0: none yet. Zeroing forgets those of
 * several tensors: 0 again. */
ICOT_API int icot_grad(icot_engine *engine, icot_tensor tensor, icot_tensor *out);
ICOT_API int icot_zero_grad(icot_engine *engine, const icot_tensor *tensors, int64_t count);

/* What an operator takes beside its input tensors; which field means what: autograd/operators. */
typedef struct icot_op_params {
    double number[ICOT_MAX_NUMBERS];
    int64_t index[ICOT_MAX_INDICES];
    int n_index;
    icot_random_key key;
} icot_op_params;

ICOT_API int icot_operator_count(void);
ICOT_API const char *icot_operator_name(int index); /* NULL: no such operator */
/* Applies an operator and records it on the tape if an input requires a gradient. */
ICOT_API int icot_apply(icot_engine *engine, int operator_index, const icot_tensor *inputs,
                        int n_inputs, const icot_op_params *params, icot_tensor *out);
/* Gradients of a scalar, added into the .grad of every leaf that requires one; empties the tape.
 * After a failure the leaves that it had not done with have none: not what was added to before,
 * either. */
ICOT_API int icot_backward(icot_engine *engine, icot_tensor loss);

/*
 * Activation checkpointing: drops what the operators recorded since the tape had the length `from`
 * have computed, and computes it again, the same bits, when backward comes to them. What stays is
 * the results, and what was not recorded. The other tensors made since then keep their shapes, but
 * have lost their contents for good: using them is an error that says so, whoever holds them. A
 * segment may contain others, and takes their place.
 */
ICOT_API int64_t icot_tape_length(const icot_engine *engine);
ICOT_API int icot_checkpoint(icot_engine *engine, int64_t from, const icot_tensor *results,
                             int64_t n_results);

/* ---- Numbers that are read later ------------------------------------------------------------- */

/*
 * A device works them out when their turn comes, while the host goes on; icot_answers waits for all
 * that were asked for since the last time, and gives them in this order; they are forgotten then,
 * also if that fails. `count` has to be their number, which icot_asked tells. Of an item they are
 * the only element of a float32 tensor; of hits the number of rows of logits (R, V) whose first
 * largest element is in the column that targets (R) says.
 */
ICOT_API int icot_ask_item(icot_engine *engine, icot_tensor tensor);
ICOT_API int icot_ask_hits(icot_engine *engine, icot_tensor logits, icot_tensor targets);
ICOT_API int64_t icot_asked(const icot_engine *engine);
ICOT_API int icot_answers(icot_engine *engine, double *out, int64_t count);
ICOT_API void icot_forget_asked(icot_engine *engine); /* nobody will read them */

/* ---- Decoding: attention over a cache of keys and values ------------------------------------- */

/*
 * Appends the keys and values of new tokens to the cache and attends over all that is there.
 *   qkv          (T, 3C) of the new tokens of B sequences, packed
 *   cu_seqlens   (B+1) where each of them lies
 *   slots        (B) row of the cache that sequence b uses
 *   lengths      (B) tokens of it that the cache holds already
 *   keys/values  (S, L, C) the cache: S slots of L tokens; written in place
 *   out          (T, C)
 */
ICOT_API int icot_attention_cached(icot_engine *engine, icot_tensor qkv, icot_tensor cu_seqlens,
                                   icot_tensor slots, icot_tensor lengths, icot_tensor keys,
                                   icot_tensor values, int heads, icot_tensor *out);

/* ---- Optimizer ------------------------------------------------------------------------------- */

typedef struct icot_adamw_options {
    double lr, beta1, beta2, eps, weight_decay;
    double grad_scale; /* gradients are multiplied by this first (clipping) */
    int64_t step;      /* 1 for the first update since the first moment was zero */
    int64_t step_sq;   /* the same of the second moment */
} icot_adamw_options;

/* 2-norm over the gradients of all tensors that have one, summed in float64; the second is an
 * answer like those above. */
ICOT_API int icot_grad_norm(icot_engine *engine, const icot_tensor *tensors, int64_t count,
                            double *out);
ICOT_API int icot_ask_grad_norm(icot_engine *engine, const icot_tensor *tensors, int64_t count);

/* What AdamW updates: a parameter, and its moments, which have its shape. */
typedef struct icot_adamw_state {
    icot_tensor parameter, exp_avg, exp_avg_sq;
} icot_adamw_state;

/* One AdamW update (decoupled decay) of all parameters from their .grad; those without one, and all
 * if anything is wrong, stay as they are. */
ICOT_API int icot_adamw_step(icot_engine *engine, const icot_adamw_state *states, int64_t count,
                             const icot_adamw_options *options);

/* ---- Text: corpus, removal, batches, tokenizer ------------------------------------------------
 */

#include "icot_text.h"

/* ---- Files: run log (HDF5), safetensors ------------------------------------------------------ */

typedef struct icot_runlog icot_runlog;
typedef enum icot_column_kind {
    ICOT_COLUMN_INT64 = 0,
    ICOT_COLUMN_FLOAT64 = 1,
    ICOT_COLUMN_TEXT = 2, /* UTF-8, cut at a character boundary and zero-padded to width bytes */
    ICOT_COLUMN_BOOL = 3  /* read as bool by h5py */
} icot_column_kind;

typedef struct icot_column {
    const char *name;
    icot_column_kind kind;
    int width; /* bytes of a text column */
} icot_column;

/*
 * Creates the file; one that exists is an error unless overwrite is set. Until the log is live or
 * closed the file has a temporary name, and one that it is to replace stays as it is.
 */
ICOT_API int icot_runlog_create(const char *path, int overwrite, icot_runlog **out);
/*
 * The same for a file that goes on with the rows of another, which icot_runlog_snapshot or a run
 * left; one at `path` is replaced. Tables that are there already are continued.
 */
ICOT_API int icot_runlog_continue(const char *path, const char *from, icot_runlog **out);
/* Attributes of /. Those set after icot_runlog_live are written when the file is closed. */
ICOT_API int icot_runlog_set_text(icot_runlog *log, const char *name, const char *value);
ICOT_API int icot_runlog_set_integer(icot_runlog *log, const char *name, int64_t value);
ICOT_API int icot_runlog_set_number(icot_runlog *log, const char *name, double value);
/* A scalar string dataset such as "recipe/source"; groups on the way are made, one that is there is
 * replaced. */
ICOT_API int icot_runlog_put_text(icot_runlog *log, const char *path, const char *value);
/* A compound table that grows; *table is its number in this log. In a log that continues another
 * the table may be there; it must have the same columns then. */
ICOT_API int icot_runlog_table(icot_runlog *log, const char *path, const icot_column *columns,
                               int n_columns, int *table);
/* A float64 matrix (rows, width) that grows by rows, addressed like a table. */
ICOT_API int icot_runlog_matrix(icot_runlog *log, const char *path, int64_t width, int *table);
/* A link at `path` to what is at `target` in another file, which need not be there yet; a relative
 * name of it is seen from this file's folder. */
ICOT_API int icot_runlog_link(icot_runlog *log, const char *path, const char *file,
                              const char *target);
/* From here on readers may open the file (SWMR), and only rows can be added. */
ICOT_API int icot_runlog_live(icot_runlog *log);
/* One row: numbers[i] for number columns, texts[i] for text columns, i counting all columns; of a
 * matrix, `width` numbers and no texts. Integers are checked; a bool is 0 or anything else. */
ICOT_API int icot_runlog_append(icot_runlog *log, int table, const double *numbers,
                                const char *const *texts);
/* Writes all rows so far, so that readers see them; a full disk leaves those of the last flush.
 * Like any failure to write, that ends the log: all that follows fails with the same message. */
ICOT_API int icot_runlog_flush(icot_runlog *log);
/* Flushes, and copies the file as it is then. */
ICOT_API int icot_runlog_snapshot(icot_runlog *log, const char *path);
/*
 * Writes the attribute end_state (with end_time) and closes; the log is freed even on failure.
 * After a failure end_state is "failed", if it can be written at all. NULL gives up a log: of one
 * that is not live nothing is left, one that is live has failed.
 */
ICOT_API int icot_runlog_close(icot_runlog *log, const char *end_state);

/*
 * A lock that one process at a time can hold, at a path of its own; it ends with the process,
 * however that ends. *held is 0 where the file system has no locks, and nothing is locked then.
 */
typedef struct icot_lock icot_lock;
ICOT_API int icot_lock_take(const char *path, icot_lock **out, int *held);
ICOT_API void icot_lock_release(icot_lock *lock);

/*
 * The name of the file system that a path lies on, if it lies on another machine, so that readers
 * may see the writes of a run file in another order; NULL otherwise.
 */
ICOT_API int icot_remote_file_system(const char *path, const char **name);

typedef struct icot_named_tensor {
    const char *name;
    icot_tensor tensor;
} icot_named_tensor;

/* Writes through a temporary file, fsync and rename: path holds all of it or is not touched. */
ICOT_API int icot_safetensors_save(icot_engine *engine, const char *path,
                                   const icot_named_tensor *tensors, int64_t count);
/* The same for a small text file (config.json). */
ICOT_API int icot_file_write(const char *path, const char *text, int64_t length);
/* Copies a file to a path where nothing is yet. */
ICOT_API int icot_file_copy(const char *from, const char *to);
/*
 * Gives a folder its final name, where nothing is yet; or exchanges it for the folder that is
 * there, which has the other name then. On a file system that cannot exchange (NFS), a program that
 * is killed at that moment may leave nothing at `to`, and what was there at `to`.aside.
 */
ICOT_API int icot_folder_publish(const char *from, const char *to, int exchange);

/*
 * A safetensors file mapped for reading. The core checks the outer frame (length of the header,
 * UTF-8) and every range that is read; the JSON of the header is for the caller to understand.
 */
typedef struct icot_safetensors icot_safetensors;

/* Where a tensor's bytes lie, as its entry in the header says. */
typedef struct icot_stored_tensor {
    const char *name;   /* for messages */
    const char *dtype;  /* "F32", "F16", "BF16", "I32" or "I64" */
    int64_t begin, end; /* bytes of the data part: [begin, end) */
} icot_stored_tensor;

ICOT_API int icot_safetensors_open(const char *path, icot_safetensors **out);
ICOT_API void icot_safetensors_close(icot_safetensors *file);
ICOT_API const char *icot_safetensors_header(const icot_safetensors *file, int64_t *length);
ICOT_API int64_t icot_safetensors_data_bytes(const icot_safetensors *file);
/*
 * Copies a stored tensor into one of as many elements, row-major whatever its strides are: F32, F16
 * and BF16 into float32, exactly (but all NaNs become one); I32 and I64 into int32.
 */
ICOT_API int icot_safetensors_read(icot_engine *engine, const icot_safetensors *file,
                                   const icot_stored_tensor *stored, icot_tensor out);

/* ---- For tests: what icot itself never calls ------------------------------------------------- */

/* The Nth allocation from now fails once (1 = the next). 0 switches that off. */
ICOT_API void icot_memory_fail_at(int64_t nth);
ICOT_API void icot_memory_reset_peak(void);
ICOT_API void icot_memory_release_cache(void);     /* gives it back to the system */
ICOT_API int icot_operator_find(const char *name); /* -1: no such operator */
/* Forgets what arrived; the signals stay as they are: the next Ctrl-C, if one arrived before, ends
 * the program, until icot_interrupts_catch is called again. */
ICOT_API void icot_interrupts_clear(void);

#endif
