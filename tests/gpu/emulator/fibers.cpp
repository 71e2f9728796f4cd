/* Stacks of the emulated card's threads, and going from one to another. x86-64 alone. */
#include "emulator.h"

#include <sys/mman.h>

namespace emulator
{

constexpr size_t STACK = 256 << 10, PAGE = 4096;

static void *outside; /* the stack pointer of whoever has entered a fiber */

/* Goes on with another stack: pushes the registers that a function must leave as they are, swaps
 * stacks, and pops them. The C library's swapcontext would make system calls, a million a second.
 */
extern "C" void switch_stacks(void **left, void *entered);
asm(R"(
.text
.globl switch_stacks
.hidden switch_stacks
switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

/* A page below the stack stays closed, so that a stack that overflows is noticed. */
static char *new_stack()
{
    void *pages = mmap(NULL, PAGE + STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages, PAGE, PROT_NONE)) stop("no memory for a stack");
    return (char *)pages + PAGE;
}

void prepare(fiber &f, void (*entry)())
{
    constexpr int REGISTERS = 6;
    if (!f.stack) f.stack = new_stack();
    void **top = (void **)(f.stack + STACK);
    *--top = NULL; /* where entry would return to */
    *--top = (void *)entry;
    for (int i = 0; i < REGISTERS; i++) *--top = NULL;
    f.stack_pointer = top;
}

void enter(fiber &f)
{
    switch_stacks(&outside, f.stack_pointer);
}

void leave(fiber &f)
{
    switch_stacks(&f.stack_pointer, outside);
}

} // namespace emulator
