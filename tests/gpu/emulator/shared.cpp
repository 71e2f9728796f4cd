/* The emulated card's shared memory: that of the block that runs. */
#include "emulator.h"

#include <map>
#include <string.h>
#include <vector>

namespace emulator
{

/* Of a block on cards of compute capability 8.6, 8.9 and 12.0; all others from 8.0 on have more. */
constexpr size_t MOST_SHARED = 99 << 10, MOST_UNASKED = 48 << 10;
constexpr size_t GUARD = 128;
constexpr unsigned char GUARDED = 0xa5;

struct variable {
    const void *name;
    unsigned char *place;
    size_t bytes;
};

alignas(GUARD) static unsigned char shared_memory[2 * MOST_SHARED];
static std::vector<variable> variables; /* of the block; the first is the one of launch()'s size */
static std::map<const void *, size_t> allowed; /* bytes of a kernel for which they were asked */

/* One behind the other, each with a guard behind it. NaN is in it, whatever its type. */
static void *add_variable(const void *name, size_t bytes)
{
    unsigned char *place = shared_memory;
    size_t sum = bytes;
    for (const variable &v : variables) {
        place = v.place + (v.bytes + GUARD - 1) / GUARD * GUARD + GUARD;
        sum += v.bytes;
    }
    if (sum > MOST_SHARED) stop("%zu bytes of shared memory", sum);
    memset(place, 0xff, bytes);
    memset(place + bytes, GUARDED, GUARD);
    variables.push_back({name, place, bytes});
    return place;
}

void begin_shared(size_t bytes)
{
    variables.clear();
    add_variable(NULL, bytes);
}

void *shared_variable(const void *name, size_t bytes)
{
    for (const variable &v : variables) {
        if (v.name == name) return v.place;
    }
    return add_variable(name, bytes);
}

void *dynamic_shared()
{
    return shared_memory;
}

size_t dynamic_shared_bytes()
{
    return variables[0].bytes;
}

bool allow_shared(const void *kernel, size_t bytes)
{
    if (bytes > MOST_SHARED) return false;
    allowed[kernel] = bytes;
    return true;
}

void check_allowed(const void *kernel)
{
    const size_t bytes = dynamic_shared_bytes();
    if (bytes <= MOST_UNASKED) return;
    const auto found = allowed.find(kernel);
    const size_t most = found == allowed.end() ? MOST_UNASKED : found->second;
    if (bytes > most) {
        stop("a launch with %zu bytes of shared memory of a kernel that may have %zu", bytes, most);
    }
}

void check_shared()
{
    for (const variable &v : variables) {
        for (size_t i = 0; i < GUARD; i++) {
            if (v.place[v.bytes + i] != GUARDED) stop("written behind the end of shared memory");
        }
    }
}

} // namespace emulator
