/* What operators of two arrays compute from two numbers, on every device. */
#ifndef ICOT_BACKEND_BINARY_H
#define ICOT_BACKEND_BINARY_H

#include "backend/backend.h"
#include "base/both_sides.h"

static inline ON_BOTH_SIDES float combine(binary_kind kind, float a, float b)
{
    switch (kind) {
    case BINARY_ADD:
        return a + b;
    case BINARY_SUB:
        return a - b;
    case BINARY_MUL:
        return a * b;
    default:
        return a / b;
    }
}

/* ∂(a ∘ b)/∂a for which = 0, ∂/∂b for which = 1. */
static inline ON_BOTH_SIDES float combine_slope(binary_kind kind, int which, float a, float b)
{
    switch (kind) {
    case BINARY_ADD:
        return 1.0f;
    case BINARY_SUB:
        return which == 0 ? 1.0f : -1.0f;
    case BINARY_MUL:
        return which == 0 ? b : a;
    default:
        return which == 0 ? 1.0f / b : -a / (b * b);
    }
}

#endif
