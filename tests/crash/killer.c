/*
 * Loaded before libc (LD_PRELOAD), this counts every call that changes a file below one folder, and kills the process
 * at the n-th: before it happens, or when half of a write has happened.
 *
 *   CRASH_FOLDER   absolute path of the folder that is watched
 *   CRASH_LOG      file that gets one line per point: number, call, path
 *   CRASH_AT       number of the point at which the process dies; 0 counts only
 *   CRASH_HALF     1: a write writes half of its bytes first; other calls are made in full first
 *
 * Children are not watched. What a memory map changes is not seen: no call is made for it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length;
static int log_descriptor = -1;
static long kill_at;
static int half;
static atomic_long count;

__attribute__((constructor)) static void begin(void) {
    const char *named = getenv("CRASH_FOLDER"), *log = getenv("CRASH_LOG"), *at = getenv("CRASH_AT");
    const char *halved = getenv("CRASH_HALF");
    unsetenv("LD_PRELOAD");
    if (!named || !realpath(named, folder)) return;
    folder_length = strlen(folder);
    kill_at = at ? atol(at) : 0;
    half = halved && *halved == '1';
    if (log) log_descriptor = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static int below(const char *path) {
    return folder_length && !strncmp(path, folder, folder_length) &&
           (path[folder_length] == '/' || path[folder_length] == 0);
}

/* Whether this call is the one to die at; the caller says which file it changes. */
static int counted(const char *call, const char *path) {
    char line[PATH_MAX + 64];
    long number;
    int length;
    if (!below(path)) return 0;
    number = atomic_fetch_add(&count, 1) + 1;
    length = snprintf(line, sizeof line, "%ld %s %s\n", number, call, path + folder_length);
    if (log_descriptor >= 0) syscall(SYS_write, log_descriptor, line, (size_t)length);
    if (number != kill_at) return 0;
    if (!half) die();
    return 1;
}

static int by_descriptor(const char *call, int descriptor) {
    char link[64], path[PATH_MAX];
    ssize_t length;
    int kept = errno;
    if (!folder_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0) return 0;
    path[length] = 0;
    return counted(call, path);
}

/* A path that need not exist yet, made absolute by its folder. */
static int by_path(const char *call, int at, const char *name) {
    char base[PATH_MAX], path[2 * PATH_MAX], copy[PATH_MAX], link[64];
    const char *last;
    ssize_t length;
    int kept = errno;
    if (!folder_length || !name) return 0;
    if (name[0] == '/') {
        base[0] = 0;
    } else if (at == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        length = readlink(link, base, sizeof base - 1);
        base[length > 0 ? length : 0] = 0;
    }
    snprintf(path, sizeof path, "%s%s%s", base, base[0] ? "/" : "", name);
    last = strrchr(path, '/');
    snprintf(copy, sizeof copy, "%.*s", (int)(last - path), path);
    if (realpath(copy[0] ? copy : "/", base)) {
        snprintf(copy, sizeof copy, "%s%s", base, last);
        errno = kept;
        return counted(call, copy);
    }
    errno = kept;
    return counted(call, path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define DONE(result, dies) do { if (dies) die(); return result; } while (0)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    int dies = by_descriptor("write", fd);
    ssize_t wrote = real(fd, data, dies ? size / 2 : size);
    DONE(wrote, dies);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    int dies = by_descriptor("pwrite", fd);
    ssize_t wrote = real(fd, data, dies ? size / 2 : size, at);
    DONE(wrote, dies);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    int dies = by_descriptor("pwrite", fd);
    ssize_t wrote = real(fd, data, dies ? size / 2 : size, at);
    DONE(wrote, dies);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev);
    int dies = by_descriptor("writev", fd);
    ssize_t wrote = real(fd, parts, dies ? n / 2 : n);
    DONE(wrote, dies);
}
ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    REAL(sendfile);
    int dies = by_descriptor("sendfile", to);
    ssize_t wrote = real(to, from, at, dies ? size / 2 : size);
    DONE(wrote, dies);
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
    REAL(sendfile64);
    int dies = by_descriptor("sendfile", to);
    ssize_t wrote = real(to, from, at, dies ? size / 2 : size);
    DONE(wrote, dies);
}
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags) {
    REAL(copy_file_range);
    int dies = by_descriptor("copy_file_range", to);
    ssize_t wrote = real(from, from_at, to, to_at, dies ? size / 2 : size, flags);
    DONE(wrote, dies);
}
int fsync(int fd) { REAL(fsync); int dies = by_descriptor("fsync", fd); int r = real(fd); DONE(r, dies); }
int fdatasync(int fd) { REAL(fdatasync); int dies = by_descriptor("fdatasync", fd); int r = real(fd); DONE(r, dies); }
int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    int dies = by_descriptor("ftruncate", fd);
    int r = real(fd, size);
    DONE(r, dies);
}
int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    int dies = by_descriptor("ftruncate", fd);
    int r = real(fd, size);
    DONE(r, dies);
}
int fallocate(int fd, int mode, off_t at, off_t size) {
    REAL(fallocate);
    int dies = by_descriptor("fallocate", fd);
    int r = real(fd, mode, at, size);
    DONE(r, dies);
}
int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(posix_fallocate);
    int dies = by_descriptor("fallocate", fd);
    int r = real(fd, at, size);
    DONE(r, dies);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    int dies = by_path("rename", AT_FDCWD, to);
    int r = real(from, to);
    DONE(r, dies);
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    int dies = by_path("rename", b, to);
    int r = real(a, from, b, to);
    DONE(r, dies);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    REAL(renameat2);
    int dies = by_path("rename", b, to);
    int r = real(a, from, b, to, flags);
    DONE(r, dies);
}
int unlink(const char *path) { REAL(unlink); int d = by_path("unlink", AT_FDCWD, path); int r = real(path); DONE(r, d); }
int unlinkat(int at, const char *path, int flags) {
    REAL(unlinkat);
    int dies = by_path("unlink", at, path);
    int r = real(at, path, flags);
    DONE(r, dies);
}
int rmdir(const char *path) { REAL(rmdir); int d = by_path("rmdir", AT_FDCWD, path); int r = real(path); DONE(r, d); }
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    int dies = by_path("mkdir", AT_FDCWD, path);
    int r = real(path, mode);
    DONE(r, dies);
}
int mkdirat(int at, const char *path, mode_t mode) {
    REAL(mkdirat);
    int dies = by_path("mkdir", at, path);
    int r = real(at, path, mode);
    DONE(r, dies);
}
int link(const char *from, const char *to) {
    REAL(link);
    int dies = by_path("link", AT_FDCWD, to);
    int r = real(from, to);
    DONE(r, dies);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    int dies = by_path("link", b, to);
    int r = real(a, from, b, to, flags);
    DONE(r, dies);
}
int symlink(const char *text, const char *to) {
    REAL(symlink);
    int dies = by_path("symlink", AT_FDCWD, to);
    int r = real(text, to);
    DONE(r, dies);
}
int symlinkat(const char *text, int at, const char *to) {
    REAL(symlinkat);
    int dies = by_path("symlink", at, to);
    int r = real(text, at, to);
    DONE(r, dies);
}

/* Opening counts where it makes or empties a file. */
static int changes(int flags) { return flags & (O_CREAT | O_TRUNC); }
#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        REAL(name);                                                       \
        mode_t mode = 0;                                                  \
        if (flags & (O_CREAT | O_TMPFILE)) {                              \
            va_list rest;                                                 \
            va_start(rest, flags);                                        \
            mode = va_arg(rest, mode_t);                                  \
            va_end(rest);                                                 \
        }                                                                 \
        int dies = changes(flags) ? by_path("open", AT_FDCWD, path) : 0;  \
        int r = real(path, flags, mode);                                  \
        DONE(r, dies);                                                    \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                      \
    int name(int at, const char *path, int flags, ...) {                  \
        REAL(name);                                                       \
        mode_t mode = 0;                                                  \
        if (flags & (O_CREAT | O_TMPFILE)) {                              \
            va_list rest;                                                 \
            va_start(rest, flags);                                        \
            mode = va_arg(rest, mode_t);                                  \
            va_end(rest);                                                 \
        }                                                                 \
        int dies = changes(flags) ? by_path("open", at, path) : 0;        \
        int r = real(at, path, flags, mode);                              \
        DONE(r, dies);                                                    \
    }
OPENAT(openat)
OPENAT(openat64)
