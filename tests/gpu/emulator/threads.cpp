/*
 * Kernels of the emulated card: a thread is a fiber, with a stack of its own, that runs until it
 * waits for others. Blocks come one after the other; the order is that of emulator.h.
 */
#include "cuda_runtime.h"

#include <deque>
#include <random>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator
{

enum thread_state { READY, AT_EXCHANGE, AT_BARRIER, RETURNED };

struct thread {
    fiber stack;
    thread_state state;
    int kind, exchanges; /* what it does with its warp, and how often it did so */
    std::vector<copy> open;
    std::deque<std::vector<copy>> bundles;
};

static thread threads[MOST_THREADS];
static int current, count, returned; /* the thread that runs; how many there are, and are done */
static const std::function<void()> *body;
static const char *kernel;
static std::mt19937 chance;

bool is_shuffled()
{
    static const char *order = getenv("ICOT_EMULATOR_ORDER");
    static const bool shuffled = order && std::string(order) == "shuffled";
    return shuffled;
}

void stop(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fprintf(stderr, "emulated card: ");
    vfprintf(stderr, format, values);
    va_end(values);
    if (kernel) {
        fprintf(stderr, ", in %s, block (%u, %u, %u), thread (%u, %u)", kernel, blockIdx.x,
                blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y);
    }
    fprintf(stderr, "\n");
    abort();
}

/* ---- Running and waiting --------------------------------------------------------------------- */

static void wait()
{
    leave(threads[current].stack);
}

static void begin_thread()
{
    (*body)();
    threads[current].state = RETURNED;
    returned++;
    wait();
}

static void prepare_thread(thread &t)
{
    prepare(t.stack, begin_thread);
    t.state = READY;
    t.exchanges = 0;
    t.open.clear();
    t.bundles.clear();
}

static void resume(int number)
{
    const int x = (int)blockDim.x, y = (int)blockDim.y;
    current = number;
    threadIdx = dim3(number % x, number / x % y, number / x / y);
    enter(threads[number].stack);
}

int lane()
{
    return current % LANES;
}

static void release(int begin, int end)
{
    for (int i = begin; i < end; i++) threads[i].state = READY;
}

static void check_same_exchange(int warp)
{
    const thread &me = threads[current];
    for (int i = warp * LANES; i < (warp + 1) * LANES; i++) {
        if (threads[i].kind != me.kind || threads[i].exchanges != me.exchanges) {
            stop("the lanes of a warp are not at the same operation");
        }
    }
}

void begin_kernel(const void *which, int most_threads, int)
{
    if (count > most_threads) stop("a block of %d threads; launch bounds: %d", count, most_threads);
    check_allowed(which);
}

/* There are two places for each lane: one may be filled again while the other is still read. */
from_lanes exchange(int kind, const void *mine, size_t bytes)
{
    static unsigned char places[MOST_THREADS / LANES][2][LANES][MOST_EXCHANGED];
    static int arrived[MOST_THREADS / LANES];
    thread &me = threads[current];
    const int warp = current / LANES;
    auto &place = places[warp][me.exchanges++ % 2];
    memcpy(place[lane()], mine, bytes);
    me.kind = kind;
    me.state = AT_EXCHANGE;
    if (++arrived[warp] == LANES) {
        check_same_exchange(warp);
        release(warp * LANES, (warp + 1) * LANES);
        arrived[warp] = 0;
    }
    wait();
    return {place};
}

void begin_copy(copy next)
{
    threads[current].open.push_back(next);
}

void close_copies()
{
    thread &me = threads[current];
    me.bundles.push_back(std::move(me.open));
    me.open.clear();
}

/* A copy is done only when it must be: what is read before is still what was there. */
void finish_copies(size_t but)
{
    auto &bundles = threads[current].bundles;
    for (; bundles.size() > but; bundles.pop_front()) {
        for (const copy &each : bundles.front()) {
            if (each.from) memcpy(each.to, each.from, each.bytes);
            if (!each.from) memset(each.to, 0, each.bytes);
        }
    }
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static std::vector<unsigned> order_of(unsigned items)
{
    std::vector<unsigned> order(items);
    for (unsigned i = 0; i < items; i++) order[i] = items - 1 - i;
    if (is_shuffled()) std::shuffle(order.begin(), order.end(), chance);
    return order;
}

/* Each thread once, in any order. */
static void run_shuffled()
{
    for (const unsigned number : order_of(count)) {
        if (threads[number].state == READY) resume(number);
    }
}

/* The last thread that can run, and its warp until that waits for others. */
static void run_reversed()
{
    for (int number = count - 1; number >= 0; number--) {
        if (threads[number].state != READY) continue;
        resume(number);
        if (threads[number].state == READY) number = number / LANES * LANES + LANES;
    }
}

static bool can_go_on()
{
    return std::any_of(threads, threads + count, [](const thread &t) { return t.state == READY; });
}

static void run_block()
{
    returned = 0;
    for (int i = 0; i < count; i++) prepare_thread(threads[i]);
    while (returned < count) {
        if (!can_go_on()) stop("threads wait for others that do not come");
        is_shuffled() ? run_shuffled() : run_reversed();
    }
    check_shared();
}

static void run(dim3 blocks, dim3 block, size_t bytes)
{
    const sight of_memory;
    gridDim = blocks;
    blockDim = block;
    count = (int)(block.x * block.y * block.z);
    for (const unsigned b : order_of(blocks.x * blocks.y * blocks.z)) {
        blockIdx = dim3(b % blocks.x, b / blocks.x % blocks.y, b / blocks.x / blocks.y);
        begin_shared(bytes);
        run_block();
    }
}

void launch(const char *name, dim3 blocks, dim3 block, size_t bytes, cudaStream_t,
            std::function<void()> thread)
{
    const uint64_t size = (uint64_t)block.x * block.y * block.z;
    if (size == 0 || size > MOST_THREADS || size % LANES) {
        stop("%s: blocks of %llu threads", name, (unsigned long long)size);
    }
    if (!blocks.x || !blocks.y || !blocks.z || blocks.x > INT32_MAX || blocks.y > UINT16_MAX ||
        blocks.z > UINT16_MAX) {
        stop("%s: a grid of (%u, %u, %u) blocks", name, blocks.x, blocks.y, blocks.z);
    }
    enqueue([=] {
        kernel = name;
        body = &thread;
        run(blocks, block, bytes);
        kernel = NULL;
    });
}

} // namespace emulator

/* A barrier that some threads have left out by returning is an error, though a card may pass it. */
void __syncthreads()
{
    using namespace emulator;
    static int arrived;
    threads[current].state = AT_BARRIER;
    if (returned > 0) stop("__syncthreads after some threads have returned");
    if (++arrived == count) {
        release(0, count);
        arrived = 0;
    }
    wait();
}
