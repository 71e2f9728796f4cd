/*
 * An emulated card, on which the sources of core/backend/cuda run as plain C++: what its parts, and
 * the sources as translate.py leaves them, call each other for.
 *
 * It is stricter than a card. Memory holds NaN until it is written, ends exactly where it ends, and
 * is out of the host's sight; shared memory is new for each block; threads run in an order that
 * no program may count on. Much of what a card would let pass ends the program with a message.
 */
#ifndef ICOT_EMULATOR_H
#define ICOT_EMULATOR_H

#include <functional>
#include <stddef.h>
#include <string.h>

struct dim3;
typedef struct emulated_stream *cudaStream_t;

namespace emulator
{

/* Says what is wrong, and in which thread of which kernel, and ends the program. */
[[noreturn]] void stop(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The two orders, by the variable ICOT_EMULATOR_ORDER. "shuffled": threads and blocks at random,
 * and what the stream is given is done as late as it may be. "reversed", or none: the last block
 * first, and in it the last warp, as far ahead of the others as it gets; nothing waits. */
bool is_shuffled();

/* ---- threads.cpp: kernels -------------------------------------------------------------------- */

constexpr int LANES = 32, MOST_THREADS = 1024;

/* thread() is what each thread does. */
void launch(const char *kernel, dim3 blocks, dim3 threads, size_t bytes, cudaStream_t stream,
            std::function<void()> thread);

/* What a thread does: the kernel, with arguments that are worked out now. */
template <typename Kernel, typename... Arguments>
std::function<void()> with_arguments(Kernel kernel, Arguments... given)
{
    return [=] { kernel(given...); };
}

/* Each thread of a kernel first tells which one it runs, of all that a template makes, and its
 * launch bounds: the threads of a block, and for how many blocks at a time it is compiled. */
void begin_kernel(const void *kernel, int most_threads = MOST_THREADS, int blocks = 0);

int lane(); /* of the running thread, in its warp */

/* What all lanes of a warp do together. Behind the last: a shuffle over that many lanes. */
enum collective { LOAD_MATRICES, LOAD_MATRICES_TURNED, MULTIPLY_ADD, SHUFFLE };

constexpr int MOST_EXCHANGED = 32; /* bytes of a lane */

struct from_lanes {
    const unsigned char (*bytes)[MOST_EXCHANGED];

    template <typename T> T read(int of_lane, int item) const
    {
        T value;
        memcpy(&value, bytes[of_lane] + item * sizeof value, sizeof value);
        return value;
    }
};

/* Shows the warp some bytes and waits for those of its other lanes, which must all do the same. */
from_lanes exchange(int kind, const void *mine, size_t bytes);

/* Copies to shared memory that are under way until the thread waits for them. */
struct copy {
    void *to;
    const void *from; /* NULL: zeros */
    size_t bytes;
};

void begin_copy(copy next);
void close_copies();
void finish_copies(size_t but); /* all bundles but the last ones */

/* ---- fibers.cpp ------------------------------------------------------------------------------ */

struct fiber {
    void *stack_pointer;
    char *stack;
};

/* The next to enter it begins with entry(), which must not return. */
void prepare(fiber &f, void (*entry)());

void enter(fiber &f); /* until it leaves */
void leave(fiber &f); /* until it is entered */

/* ---- shared.cpp ------------------------------------------------------------------------------ */

/* The array whose size the launch tells. */
void *dynamic_shared();
size_t dynamic_shared_bytes();

/* The running block's variable that is known by this address. */
void *shared_variable(const void *name, size_t bytes);

/* The variable that is declared where the lambda `place` is written. */
template <typename T, typename Place> T &shared(Place)
{
    static char name;
    return *(T *)shared_variable(&name, sizeof(T));
}

/* Above 48 KB, a kernel is launched with no more bytes than were allowed before. */
bool allow_shared(const void *kernel, size_t bytes); /* false: more than there is */
void check_allowed(const void *kernel);

/* For a new block, and when it is done. */
void begin_shared(size_t bytes);
void check_shared();

/* ---- memory.cpp and runtime.cpp -------------------------------------------------------------- */

/* As long as one of them lives, the card's memory can be seen; the host must not see it. */
struct sight {
    sight();
    ~sight();
};

/* Stops unless all of the bytes are in one block of the card's memory. */
void check_range(const char *what, const void *begin, size_t bytes);

bool is_on_card(const void *address);

/* The stream does it when all before it is done. */
void enqueue(std::function<void()> work);

/* Does all that is in the stream. */
void finish_stream();

/* Whether that is what ICOT_EMULATOR_FAULT says. */
bool has_fault(const char *name);

} // namespace emulator

#endif
