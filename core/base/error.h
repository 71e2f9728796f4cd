/* Errors: a function that fails writes one line for the user and returns non-zero. */
#ifndef ICOT_BASE_ERROR_H
#define ICOT_BASE_ERROR_H

enum { ICOT_OK = 0, ICOT_FAILED = 1 };

/*
 * Stores the message of this thread's last error and gives ICOT_FAILED, so that a check reads
 *     if (n < 0) return fail("slice: got length %d, expected 0 or more", n);
 * (Macros, so that the compiler sees that the value is never ICOT_OK.)
 */
#define fail(...) (error_set(__VA_ARGS__), ICOT_FAILED)

/* The same where a caller may know what to do about it; kind: ICOT_ERROR_… of icot.h. */
#define fail_as(kind, ...) (error_set_as(kind, __VA_ARGS__), ICOT_FAILED)

/* Puts "prefix: " before the stored message: says who was at work when something below failed. */
#define fail_within(...) (error_prefix(__VA_ARGS__), ICOT_FAILED)

__attribute__((format(printf, 1, 2))) void error_set(const char *format, ...);
__attribute__((format(printf, 2, 3))) void error_set_as(int kind, const char *format, ...);
__attribute__((format(printf, 1, 2))) void error_prefix(const char *format, ...);

#endif
