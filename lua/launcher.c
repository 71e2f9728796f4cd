/*
 * The program `icot`: LuaJIT, told where this installation lies, running lua/icot/cli/init.lua.
 *
 * The installation is found from the program's own file, so it may be moved, linked to, or used in
 * place in the build tree:
 *   PREFIX/bin/icot   PREFIX/lib/icot/libicot.so   PREFIX/share/icot/{icot.ffi.h, lua, datasets, …}
 * A bundle has PREFIX/lib/icot/{libs, lua} besides: shared libraries, and modules for Lua in C
 * (lua/icot/base/bundled_modules.lua).
 */
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/*
 * A standard stream that is closed would lend its number to the next file that is opened, such as a
 * run file, and messages would be written there. /dev/null takes its place, opened for reading
 * only, so that lost output is noticed as before.
 */
static void fill_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDONLY); /* gives the lowest number that is free */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

/* Writes the folder above the one that this program lies in; false if that cannot be found out. */
static int find_prefix(char prefix[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", prefix, PATH_MAX - 1);
    if (length <= 0) return 0;
    prefix[length] = '\0';
    for (int level = 0; level < 2; level++) { /* …/bin/icot -> …/bin -> … */
        char *slash = strrchr(prefix, '/');
        if (!slash) return 0;
        *slash = '\0';
    }
    return 1;
}

/*
 * OpenMP reads these when libicot.so brings it in, so they are set before that. A thread that waits
 * looks for work for some tens of microseconds, about the gap between two kernels, and then
 * sleeps: spinning on, as libgomp would, halves the speed when several runs share the cores. For
 * the same reason threads are not bound to cores. What the user has set stays.
 */
static void set_thread_defaults(void)
{
    const int replace = 0;
    if (!getenv("OMP_WAIT_POLICY")) setenv("GOMP_SPINCOUNT", "10000", replace);
    setenv("OMP_PROC_BIND", "false", replace);
    setenv("OMP_DYNAMIC", "false", replace);
}

/* terminal_columns(fd) -> width of the terminal that the descriptor is; nil: it is none. */
static int terminal_columns(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    struct winsize size = {0};
    if (!isatty(fd)) return 0;
    int known = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    lua_pushinteger(L, known ? size.ws_col : 80);
    return 1;
}

/*
 * package.loaded['icot.base.installation']: where the parts lie, for the Lua side, in place of
 * lua/icot/base/installation.lua.
 */
static void describe_installation(lua_State *L, const char *prefix)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, prefix);
    lua_setfield(L, -2, "prefix");
    lua_pushfstring(L, "%s/lib/icot/libicot.so", prefix);
    lua_setfield(L, -2, "library");
    lua_pushfstring(L, "%s/share/icot/icot.ffi.h", prefix);
    lua_setfield(L, -2, "header");
    lua_pushcfunction(L, terminal_columns);
    lua_setfield(L, -2, "terminal_columns");

    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaded");
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "icot.base.installation");
    lua_pop(L, 3);
}

/* Our own modules come first, so that nothing of another version shadows them. */
static void set_search_path(lua_State *L, const char *prefix)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "path");
    lua_pushfstring(L,
                    "%s/share/icot/lua/?.lua;%s/share/icot/lua/?/init.lua;%s/share/icot/?.lua;%s",
                    prefix, prefix, prefix, lua_tostring(L, -1));
    lua_setfield(L, -3, "path");
    lua_pop(L, 2);
}

typedef struct program {
    int argc;
    char **argv;
    int exit_code;
} program;

/* Everything that may raise: runs inside lua_cpcall. */
static int run_protected(lua_State *L)
{
    program *self = lua_touserdata(L, 1);
    char prefix[PATH_MAX];

    luaL_openlibs(L);
    if (!find_prefix(prefix)) return luaL_error(L, "cannot find out where this program lies");
    if (strpbrk(prefix, ";?")) /* both have a meaning in a search path of Lua's */
        return luaL_error(L, "%s: no ; or ? may be in this path; move icot elsewhere", prefix);
    set_search_path(L, prefix);
    describe_installation(L, prefix);

    lua_getglobal(L, "require");
    lua_pushliteral(L, "icot.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_createtable(L, self->argc, 0);
    for (int i = 0; i < self->argc; i++) {
        lua_pushstring(L, self->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_call(L, 1, 1);
    self->exit_code = (int)lua_tointeger(L, -1);
    return 0;
}

/* The first line of a message; the rest (LuaJIT's list of places where it looked) helps nobody. */
static void print_failure(const char *message)
{
    if (!message) message = "unknown error";
    fprintf(stderr, "icot: %.*s\n", (int)strcspn(message, "\n"), message);
}

int main(int argc, char **argv)
{
    program self = {.argc = argc, .argv = argv, .exit_code = 1};
    fill_standard_streams();
    set_thread_defaults();

    lua_State *L = luaL_newstate();
    if (!L) {
        print_failure("not enough memory to start");
        return 1;
    }
    if (lua_cpcall(L, run_protected, &self) != 0) {
        luaL_callmeta(L, -1, "__tostring"); /* an error of ours (icot.base.errors) is a table */
        print_failure(lua_tostring(L, -1));
        self.exit_code = 1;
    }
    lua_close(L);

    if (fflush(stdout) != 0 || ferror(stdout)) { /* a full disk, say, behind `icot … > file` */
        print_failure("cannot write to the standard output");
        return self.exit_code ? self.exit_code : 1;
    }
    return self.exit_code;
}
