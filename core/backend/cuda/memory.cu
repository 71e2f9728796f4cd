/*
 * The card's memory, and the way there and back.
 *
 * Blocks are kept for the next request of their size. All work is in one stream, so a block can be
 * given out again while kernels launched before still use it: those launched after come later. A
 * number of sizes is few: each power of two is divided in eight.
 */
#include "backend/cuda/cuda.h"

#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

static std::mutex lock;
static std::unordered_map<void *, size_t> size_of; /* of all blocks that there are */
static std::map<size_t, std::vector<void *>> kept; /* for reuse, by size */

static size_t rounded_size(size_t bytes)
{
    constexpr int LEAST = 512, STEPS = 8;
    size_t power = LEAST;
    while (power * 2 < bytes) power *= 2;
    const size_t step = power < LEAST * STEPS ? (size_t)LEAST : power / STEPS;
    return bytes <= LEAST ? (size_t)LEAST : bytes_rounded_up(bytes, step);
}

static void give_back_kept(void)
{
    for (auto &each : kept) {
        for (void *block : each.second) {
            cudaFree(block); /* waits for the kernels that may use it */
            size_of.erase(block);
        }
    }
    kept.clear();
}

static int explain_full(size_t bytes)
{
    size_t unused = 0, all = 0;
    cudaMemGetInfo(&unused, &all);
    return fail_as(
        ICOT_ERROR_NO_MEMORY,
        "out of memory on the card: %.0f MiB are wanted, and %.0f of its %.0f MiB are left",
        (double)bytes / 0x1p20, (double)unused / 0x1p20, (double)all / 0x1p20);
}

static int allocate_new(size_t size, void **out)
{
    cudaError_t code = cudaMalloc(out, size);
    if (code == cudaErrorMemoryAllocation) {
        cudaGetLastError(); /* it is no error of the card: forget it */
        give_back_kept();
        code = cudaMalloc(out, size);
    }
    if (code == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return explain_full(size);
    }
    return cuda_check(code, "memory");
}

static int allocate(size_t bytes, void **out)
{
    const std::lock_guard<std::mutex> held(lock);
    const size_t size = rounded_size(bytes);
    if (cuda_status()) return FAILED;
    auto found = kept.find(size);
    if (found != kept.end() && !found->second.empty()) {
        *out = found->second.back();
        found->second.pop_back();
        return OK;
    }
    void *block;
    if (allocate_new(size, &block)) return FAILED;
    size_of[block] = size;
    *out = block;
    return OK;
}

static void release(void *block)
{
    if (!block) return;
    const std::lock_guard<std::mutex> held(lock);
    kept[size_of[block]].push_back(block);
}

/* ---- There and back -------------------------------------------------------------------------- */

/*
 * Small arrays go by way of pinned memory, from which the card fetches them while the host goes on.
 * It is filled half by half; a half is used again when the card is done with it.
 */
constexpr int HALF = 8 << 20, MOST_STAGED = 2 << 20;

static char *staging;
static cudaEvent_t fetched[2];
static int half;
static size_t used;

static int start_staging(void)
{
    void *pinned;
    if (cuda_check(cudaMallocHost(&pinned, 2 * HALF), "pinned memory")) return FAILED;
    staging = (char *)pinned;
    for (int i = 0; i < 2; i++) {
        cudaError_t code = cudaEventCreateWithFlags(&fetched[i], cudaEventDisableTiming);
        if (cuda_check(code, "an event")) return FAILED;
    }
    return OK;
}

static int next_half(void)
{
    if (cuda_check(cudaEventRecord(fetched[half], cuda_stream), "an event")) return FAILED;
    half = 1 - half;
    used = 0;
    return cuda_check(cudaEventSynchronize(fetched[half]), "a copy to the card");
}

static int copy_in_staged(void *block, const void *source, size_t bytes)
{
    const std::lock_guard<std::mutex> held(lock);
    if (!staging && start_staging()) return FAILED;
    if (used + bytes > HALF && next_half()) return FAILED;
    char *place = staging + half * HALF + used;
    memcpy(place, source, bytes);
    used += (bytes + 15) / 16 * 16;
    return cuda_check(cudaMemcpyAsync(block, place, bytes, cudaMemcpyHostToDevice, cuda_stream),
                      "a copy to the card");
}

static int wait_for(cudaError_t code, const char *what)
{
    if (cuda_check(code, what)) return FAILED;
    return cuda_check(cudaStreamSynchronize(cuda_stream), what);
}

static int copy_in(void *block, const void *source, size_t bytes)
{
    if (bytes == 0) return OK;
    if (bytes <= MOST_STAGED) return copy_in_staged(block, source, bytes);
    return wait_for(cudaMemcpyAsync(block, source, bytes, cudaMemcpyHostToDevice, cuda_stream),
                    "a copy to the card");
}

static int copy_out(void *target, const void *block, size_t bytes)
{
    if (bytes == 0) return OK;
    return wait_for(cudaMemcpyAsync(target, block, bytes, cudaMemcpyDeviceToHost, cuda_stream),
                    "a copy from the card");
}

static int clear(void *block, size_t bytes)
{
    if (bytes == 0) return OK;
    return cuda_check(cudaMemsetAsync(block, 0, bytes, cuda_stream), "clearing memory");
}

const device cuda_memory = {"cuda", false, allocate, release, clear, copy_in, copy_out};
