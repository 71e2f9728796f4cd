/*
 * The fuzzing program: libFuzzer makes up inputs, and Lua (harness.lua) feeds them to a target.
 *
 *     ICOT_FUZZ_TARGET=json build/fuzz/bin/fuzzer tests/fuzz/corpus/json
 *
 * It is started by tests/fuzz/run. The core, which LuaJIT loads, is built with the compiler's
 * counters of what ran. LuaJIT has none, so tests/fuzz/coverage.lua counts what ran in Lua, here:
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

enum { COUNTERS = 1 << 14, PATIENCE = 10 /* seconds of processor time for an input */ };

/* libFuzzer clears what lies in this section before an input and looks at it afterwards. */
__attribute__((section("__libfuzzer_extra_counters"),
               aligned(64))) static uint8_t counters[COUNTERS];

static lua_State *L; /* its stack holds one thing: the function that takes an input */

static void give_up(const char *while_doing)
{
    fprintf(stderr, "fuzzer: %s: %s\n", while_doing, lua_tostring(L, -1));
    exit(1);
}

/*
 * libFuzzer's own limit is by the clock on the wall, which goes on while a busy machine does
 * something else.
 */
static void give_up_waiting(int signal_number)
{
    static const char text[] = "FINDING: it takes too long\n";
    (void)signal_number;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) { /* nobody is there to read it */
    }
    abort();
}

static void restart_clock(void)
{
    const struct itimerval limit = {.it_value.tv_sec = PATIENCE};
    setitimer(ITIMER_PROF, &limit, NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    L = luaL_newstate();
    if (!L) exit(1);
    luaL_openlibs(L);
    if (luaL_loadfile(L, "tests/fuzz/start.lua")) give_up("start.lua");
    lua_pushlightuserdata(L, counters);
    lua_pushinteger(L, COUNTERS);
    if (lua_pcall(L, 2, 1, 0)) give_up("start.lua");
    signal(SIGPROF, give_up_waiting);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    restart_clock();
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0)) {
        fprintf(stderr, "FINDING: %s\n", lua_tostring(L, -1));
        abort();
    }
    return 0;
}
