/*
 * The emulated card's memory: blocks of exactly the size that was asked for, each ending at a page
 * that nobody may touch and never given out again, with bytes around it that must stay as they are.
 * Where the CPU has protection keys, the host cannot see it either: it ends with a SIGSEGV if it
 * tries.
 */
#include "cuda_runtime.h"

#include <cstdlib>
#include <map>
#include <sys/mman.h>

namespace emulator
{

constexpr size_t ADDRESSES = (size_t)1 << 40, PAGE = 4096;
constexpr size_t ALIGNMENT = 16;       /* a card's is 256; what needs more than 16 is not known */
constexpr char UNWRITTEN = (char)0xff; /* bytes of NaN */

struct block {
    char *pages;
    size_t pages_size, size;
};

static std::map<char *, block> blocks;
static size_t in_use;

/* Of the card, in bytes: ICOT_EMULATOR_MIB, or 8 GiB */
static size_t all_memory()
{
    static const char *mebibytes = getenv("ICOT_EMULATOR_MIB");
    return mebibytes ? strtoull(mebibytes, NULL, 10) << 20 : (size_t)8 << 30;
}

/* ---- Who may see it -------------------------------------------------------------------------- */

static int key = -1; /* none */
static int watchers;

sight::sight()
{
    if (watchers++ == 0 && key >= 0) pkey_set(key, 0);
}

sight::~sight()
{
    if (--watchers == 0 && key >= 0) pkey_set(key, PKEY_DISABLE_ACCESS);
}

static const std::pair<char *const, block> *block_around(const void *address)
{
    auto after = blocks.upper_bound((char *)address);
    if (after == blocks.begin()) return NULL;
    const auto &found = *--after;
    return (char *)address < found.first + found.second.size ? &found : NULL;
}

bool is_on_card(const void *address)
{
    return block_around(address) != NULL;
}

void check_range(const char *what, const void *begin, size_t bytes)
{
    if (bytes == 0) return;
    const auto *found = block_around(begin);
    if (!found) stop("%s: %p is not in the card's memory", what, begin);
    if ((char *)begin + bytes > found->first + found->second.size) {
        stop("%s: ends %zu bytes behind a block of %zu bytes", what,
             (size_t)((char *)begin + bytes - found->first) - found->second.size,
             found->second.size);
    }
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static char *reserve_addresses()
{
    void *addresses =
        mmap(NULL, ADDRESSES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (addresses == MAP_FAILED) stop("no addresses for the card's memory");
    key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    return (char *)addresses;
}

static char *take_pages(size_t size)
{
    static char *next = reserve_addresses();
    char *pages = next;
    next += size + PAGE;
    if (size && pkey_mprotect(pages, size, PROT_READ | PROT_WRITE, key)) {
        stop("no memory for a block");
    }
    const sight of_block;
    memset(pages, UNWRITTEN, size);
    return pages;
}

static bool is_unwritten(const char *begin, const char *end)
{
    return std::all_of(begin, end, [](char byte) { return byte == UNWRITTEN; });
}

static void check_around(const char *begin, const block &b)
{
    const sight of_block;
    if (!is_unwritten(b.pages, begin) || !is_unwritten(begin + b.size, b.pages + b.pages_size)) {
        stop("written around a block of %zu bytes", b.size);
    }
}

static void free_block(void *begin)
{
    const auto found = blocks.find((char *)begin);
    if (found == blocks.end()) stop("%p is freed, and is no block", begin);
    const block b = found->second;
    check_around(found->first, b);
    if (b.pages_size) {
        mmap(b.pages, b.pages_size, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    }
    in_use -= b.size;
    blocks.erase(found);
}

static struct last_check {
    ~last_check()
    {
        for (const auto &each : blocks) check_around(each.first, each.second);
    }
} at_exit;

} // namespace emulator

using namespace emulator;

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    if (in_use + bytes > all_memory()) finish_stream(); /* which may free some */
    if (in_use + bytes > all_memory()) return cudaErrorMemoryAllocation;
    const size_t aligned = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const size_t pages_size = (aligned + PAGE - 1) / PAGE * PAGE;
    char *pages = take_pages(pages_size), *begin = pages + pages_size - aligned;
    blocks[begin] = {pages, pages_size, bytes};
    in_use += bytes;
    *out = begin;
    return cudaSuccess;
}

cudaError_t cudaFree(void *block)
{
    finish_stream();
    if (block) free_block(block);
    return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *block, cudaStream_t)
{
    enqueue([=] { free_block(block); });
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *unused, size_t *all)
{
    *all = all_memory();
    *unused = all_memory() - in_use;
    return cudaSuccess;
}
