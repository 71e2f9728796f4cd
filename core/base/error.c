#include "base/error.h"

#include "icot.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 512 };

static _Thread_local char message[MESSAGE_BYTES];
static _Thread_local int message_kind;

const char *icot_last_error(void)
{
    return message;
}

int icot_last_error_kind(void)
{
    return message_kind;
}

static void set(int kind, const char *format, va_list arguments)
{
    vsnprintf(message, sizeof message, format, arguments);
    message_kind = kind;
}

void error_set(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(ICOT_ERROR_OTHER, format, arguments);
    va_end(arguments);
}

void error_set_as(int kind, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(kind, format, arguments);
    va_end(arguments);
}

void error_prefix(const char *format, ...)
{
    char inner[MESSAGE_BYTES];
    memcpy(inner, message, sizeof inner);

    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);

    size_t used = length < 0 ? 0 : (size_t)length;
    size_t room = used + 3 < sizeof message ? sizeof message - used - 3 : 0;
    if (room > 0) {
        size_t rest = strnlen(inner, room);
        memcpy(message + used, ": ", 2);
        memcpy(message + used + 2, inner, rest);
        message[used + 2 + rest] = '\0';
    }
}
