/* Errors: a function that fails writes one line for the user and returns non-zero. */
#ifndef ICOT_BASE_ERROR_H
#define ICOT_BASE_ERROR_H

enum { ICOT_OK = 0, ICOT_FAILED = 1 };

/*
 * Stores the message of this thread's last error and returns ICOT_FAILED, so that a check reads
 *     if (n < 0) return fail("slice: got length %d, expected 0 or more", n);
 */
__attribute__((format(printf, 1, 2))) int fail(const char *format, ...);

/* Puts "prefix: " before the stored message: says who was at work when something below failed. */
__attribute__((format(printf, 1, 2))) int fail_within(const char *format, ...);

#endif
