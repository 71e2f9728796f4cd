/* The emulated card's stream, and what CUDA's runtime tells about the card. */
#include "cuda_runtime.h"

#include <deque>
#include <map>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

/*
 * What can be wrong with a card, by ICOT_EMULATOR_FAULT: "no_card", "old_card", "old_driver", what
 * cuBLASLt may refuse ("only_exact", "no_gelu", "late_no_gelu": see cublaslt.cpp), or the number of
 * launches after which it is lost. All else that goes wrong ends the program.
 */
static int64_t launches;

static const char *fault()
{
    static const char *wanted = getenv("ICOT_EMULATOR_FAULT");
    return wanted ? wanted : "";
}

bool emulator::has_fault(const char *name)
{
    return strcmp(fault(), name) == 0;
}

static cudaError_t state_of_card()
{
    static const int64_t last = atoll(fault());
    return last > 0 && launches > last ? cudaErrorLaunchFailure : cudaSuccess;
}

namespace emulator
{

/* ---- The stream ------------------------------------------------------------------------------ */

constexpr size_t MOST_WAITING = 4096;

static std::deque<std::function<void()>> waiting;

void finish_stream()
{
    while (!waiting.empty()) {
        const auto work = std::move(waiting.front());
        waiting.pop_front();
        work();
    }
}

void enqueue(std::function<void()> work)
{
    waiting.push_back(std::move(work));
    if (!is_shuffled() || waiting.size() > MOST_WAITING) finish_stream();
}

/* ---- Copies ---------------------------------------------------------------------------------- */

static std::map<const char *, size_t> pinned; /* memory of the host's, and its size */

static bool is_pinned(const void *address)
{
    auto after = pinned.upper_bound((const char *)address);
    if (after == pinned.begin()) return false;
    --after;
    return (const char *)address < after->first + after->second;
}

static void copy_in(void *to, const void *from, size_t bytes)
{
    const sight of_target;
    check_range("a copy to the card", to, bytes);
    memcpy(to, from, bytes);
}

static void copy_out(void *to, const void *from, size_t bytes)
{
    const sight of_source;
    check_range("a copy from the card", from, bytes);
    memcpy(to, from, bytes);
}

} // namespace emulator

using namespace emulator;

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    *out = malloc(bytes);
    pinned[(const char *)*out] = bytes;
    return cudaSuccess;
}

/* Pinned memory is read when the copy's turn comes, other memory of the host's before. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t)
{
    if (is_on_card(kind == cudaMemcpyHostToDevice ? from : to)) {
        stop("a copy between the host and the card that names the card twice");
    }
    if (kind == cudaMemcpyDeviceToHost) {
        enqueue([=] { copy_out(to, from, bytes); });
    } else if (is_pinned(from)) {
        enqueue([=] { copy_in(to, from, bytes); });
    } else {
        const std::vector<char> now((const char *)from, (const char *)from + bytes);
        enqueue([=] { copy_in(to, now.data(), bytes); });
    }
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *block, int value, size_t bytes, cudaStream_t)
{
    enqueue([=] {
        const sight of_block;
        check_range("cudaMemset", block, bytes);
        memset(block, value, bytes);
    });
    return cudaSuccess;
}

/* ---- Streams and events: there is one stream, and an event is all that is in it ---------------
 */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = NULL;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    finish_stream();
    return state_of_card();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = NULL;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    finish_stream();
    return cudaSuccess;
}

/* ---- The card -------------------------------------------------------------------------------- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = has_fault("no_card") ? 0 : 1;
    return has_fault("old_driver") ? cudaErrorInsufficientDriver : cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = has_fault("old_driver") ? 11040 : CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int)
{
    size_t unused;
    *out = {"Emulated card", has_fault("old_card") ? 7 : 8, has_fault("old_card") ? 5 : 0, 0};
    return cudaMemGetInfo(&unused, &out->totalGlobalMem);
}

const char *cudaGetErrorString(cudaError_t code)
{
    return code == cudaSuccess ? "no error" : "error of the emulated card";
}

/* Called behind each launch. */
cudaError_t cudaGetLastError()
{
    launches++;
    return state_of_card();
}

cudaError_t cudaPeekAtLastError()
{
    return state_of_card();
}
