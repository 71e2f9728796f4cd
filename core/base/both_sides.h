/* Functions in headers that the host and the kernels of a device compile alike. */
#ifndef ICOT_BASE_BOTH_SIDES_H
#define ICOT_BASE_BOTH_SIDES_H

#ifdef __CUDACC__
#define ON_BOTH_SIDES __host__ __device__
#else
#define ON_BOTH_SIDES
#endif

#endif
