/* Functions of one number as the card has them in one instruction: as exact as bfloat16 can tell,
 * and numbers below 2^-126 are 0. */
#ifndef ICOT_BACKEND_CUDA_APPROXIMATE_H
#define ICOT_BACKEND_CUDA_APPROXIMATE_H

constexpr float LOG2_E = 1.44269504f;

/* 2^x */
static __device__ float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* 1/x */
static __device__ float reciprocal(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
