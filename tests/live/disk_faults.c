/* A disk that fails, for a process that is started with LD_PRELOAD: of the calls that change files
   under a folder, the n-th fails, or all from the n-th on until a file appears.

   FAULT_UNDER  the folder, an absolute path without links; without it nothing fails
   FAULT_AT     n, from 1 on
   FAULT_COUNT  a file of 8 bytes, in which all processes count these calls
   FAULT_ERROR  the number of the error (errno)
   FAULT_HEAL   with it, all calls from the n-th on fail, until this file exists
   FAULT_TORN   with it, a write that fails has written half of its bytes
   FAULT_LOG    each call that fails is appended to this file: "call path" */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long *calls; /* that change files under the folder, so far, in all processes */

__attribute__((constructor)) static void share_count(void) {
    const char *count = getenv("FAULT_COUNT");
    int file = count ? syscall(SYS_openat, AT_FDCWD, count, O_RDWR) : -1;
    if (file < 0) return;
    void *memory = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory != MAP_FAILED) calls = memory;
    syscall(SYS_close, file);
}

static int is_under(const char *path) {
    const char *folder = getenv("FAULT_UNDER");
    size_t length = folder ? strlen(folder) : 0;
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

/* Writes the path of a descriptor; 0 if it has none. */
static int path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0;
}

static void note(const char *call, const char *path) {
    const char *log = getenv("FAULT_LOG");
    char line[PATH_MAX + 32];
    int length = snprintf(line, sizeof line, "%s %s\n", call, path);
    int file = log ? syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (file >= 0) {
        (void)!syscall(SYS_write, file, line, length);
        syscall(SYS_close, file);
    }
}

/* Returns the error with which a call fails; 0: it works. */
static int fault(const char *call, const char *path) {
    const char *at = getenv("FAULT_AT"), *heal = getenv("FAULT_HEAL");
    if (!at || !calls || !is_under(path)) return 0;
    long number = __atomic_add_fetch(calls, 1, __ATOMIC_SEQ_CST);
    if (number < atol(at) || (!heal && number > atol(at))) return 0;
    if (heal && !syscall(SYS_faccessat, AT_FDCWD, heal, F_OK)) return 0;
    note(call, path);
    return atoi(getenv("FAULT_ERROR"));
}

static int fault_of(const char *call, int descriptor) {
    char path[PATH_MAX];
    return path_of(descriptor, path) ? fault(call, path) : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(error) do { errno = (error); return -1; } while (0)

#define WRITE(name, parameters, whole, half) \
    ssize_t name parameters { \
        int error = fault_of(#name, fd); \
        if (!error) return REAL(name) whole; \
        if (getenv("FAULT_TORN") && size > 1) (void)!REAL(name) half; \
        FAIL(error); \
    }
WRITE(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
WRITE(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at),
      (fd, data, size / 2, at))
WRITE(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at),
      (fd, data, size / 2, at))

ssize_t writev(int fd, const struct iovec *parts, int number) {
    int error = fault_of("writev", fd);
    if (error) FAIL(error);
    return REAL(writev)(fd, parts, number);
}

#define ON_DESCRIPTOR(name, parameters, arguments) \
    int name parameters { \
        int error = fault_of(#name, fd); \
        if (error) FAIL(error); \
        return REAL(name) arguments; \
    }
ON_DESCRIPTOR(fsync, (int fd), (fd))
ON_DESCRIPTOR(fdatasync, (int fd), (fd))
ON_DESCRIPTOR(ftruncate, (int fd, off_t size), (fd, size))
ON_DESCRIPTOR(ftruncate64, (int fd, off64_t size), (fd, size))

#define ON_PATH(name, parameters, arguments) \
    int name parameters { \
        int error = fault(#name, path); \
        if (error) FAIL(error); \
        return REAL(name) arguments; \
    }
ON_PATH(rename, (const char *path, const char *to), (path, to))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))

/* Reading works on a disk that is full or read-only, and so does opening to read. */
static int fault_of_open(const char *path, int flags) {
    if (!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))) return 0;
    return fault("open", path);
}

#define OPEN(name, parameters, ...) \
    int name parameters { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        int error = fault_of_open(path, flags); \
        if (error) FAIL(error); \
        return REAL(name)(__VA_ARGS__, mode); \
    }
OPEN(open, (const char *path, int flags, ...), path, flags)
OPEN(open64, (const char *path, int flags, ...), path, flags)
OPEN(openat, (int folder, const char *path, int flags, ...), folder, path, flags)
OPEN(openat64, (int folder, const char *path, int flags, ...), folder, path, flags)
