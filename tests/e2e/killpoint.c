/*
 * Kills its process at the Nth call that changes a file below one directory.
 *
 * Loaded with LD_PRELOAD and armed by the environment when the process starts, or by killpoint_arm() later:
 *
 *   KILLPOINT_ROOT     the directory, absolute and without links, or a database with its -wal, -shm and -journal;
 *                      unset: nothing is counted
 *   KILLPOINT_AT       which call is the last one, from 1; 0 only counts
 *   KILLPOINT_WHEN     "before" the call, "after" it, or "torn": a write stores half of its bytes first
 *   KILLPOINT_COUNTER  a file of eight bytes that holds the number of calls so far; it outlives the process
 *   KILLPOINT_SOCKETS  "1": what is sent to and received from other hosts is counted, and no file is
 *
 * Counted are the calls that create, write, cut, sync, rename, link or remove. Only the process that was armed counts,
 * not its children, and none of them inherits the preload.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum moment { BEFORE, AFTER, TORN };

static char root[PATH_MAX];
static size_t root_length;
static pid_t armed_pid;
static uint64_t kill_at;
static enum moment moment;
static int counts_sockets;
static uint64_t own_count;
static uint64_t *count = &own_count;

static void die(void)
{
    for (;;)
        syscall(SYS_kill, getpid(), SIGKILL);
}

static uint64_t *shared_counter(const char *path)
{
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0 || syscall(SYS_ftruncate, descriptor, (off_t)sizeof(uint64_t)) != 0) {
        fprintf(stderr, "killpoint: the counter %s cannot be opened\n", path);
        _exit(70);
    }
    void *mapped = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    syscall(SYS_close, descriptor);
    if (mapped == MAP_FAILED)
        _exit(70);
    return mapped;
}

/* Count from now on, and kill this very process at the call `at`; at = 0 only counts. */
void killpoint_arm(const char *below, uint64_t at, const char *when, const char *counter, int sockets)
{
    counts_sockets = sockets;
    snprintf(root, sizeof root, "%s", below);
    root_length = strlen(root);
    kill_at = at;
    moment = when == NULL || strcmp(when, "before") == 0 ? BEFORE : strcmp(when, "torn") == 0 ? TORN : AFTER;
    count = counter != NULL ? shared_counter(counter) : &own_count;
    armed_pid = getpid();
}

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *below = getenv("KILLPOINT_ROOT"), *at = getenv("KILLPOINT_AT");
    const char *sockets = getenv("KILLPOINT_SOCKETS");
    if (below != NULL)
        killpoint_arm(below, at != NULL ? strtoull(at, NULL, 10) : 0, getenv("KILLPOINT_WHEN"), getenv("KILLPOINT_COUNTER"),
                      sockets != NULL && strcmp(sockets, "1") == 0);
    unsetenv("LD_PRELOAD");
}

static int is_below(const char *path)
{
    return strncmp(path, root, root_length) == 0 && strchr("/-", path[root_length]) != NULL; /* or the end */
}

static int is_armed(void)
{
    return root_length > 0 && armed_pid == getpid();
}

static int names_descriptor_below(int descriptor)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = '\0';
    return is_below(path);
}

static int names_path_below(int directory, const char *path)
{
    char current[PATH_MAX];
    if (path == NULL)
        return 0;
    if (path[0] == '/')
        return is_below(path);
    if (directory != AT_FDCWD)
        return names_descriptor_below(directory);
    return syscall(SYS_getcwd, current, sizeof current) > 0 && is_below(current);
}

/* Whether this call is the last one; dies at once where that is to be before it. */
static int is_last(int is_ours)
{
    if (!is_ours)
        return 0;
    uint64_t mine = __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    if (mine != kill_at)
        return 0;
    if (moment == BEFORE)
        die();
    return 1;
}

static int is_last_on_descriptor(int descriptor)
{
    int before = errno, last = is_armed() && !counts_sockets && is_last(names_descriptor_below(descriptor));
    errno = before;
    return last;
}

static int is_last_on_path(int directory, const char *path)
{
    int before = errno, last = is_armed() && !counts_sockets && is_last(names_path_below(directory, path));
    errno = before;
    return last;
}

static int leads_out(int descriptor)
{
    int domain = 0;
    socklen_t size = sizeof domain;
    return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && (domain == AF_INET || domain == AF_INET6);
}

static int is_last_on_line(int descriptor)
{
    int before = errno, last = is_armed() && counts_sockets && is_last(leads_out(descriptor));
    errno = before;
    return last;
}

static size_t as_much(int last, size_t size)
{
    return last && moment == TORN ? size / 2 : size;
}

static int changes(int flags)
{
    return (flags & (O_CREAT | O_TRUNC)) != 0;
}

#define NEXT(name) ((__typeof__(&name))next(&name##_next, #name))
#define WRAPPED(name) static void *name##_next

static void *next(void **known, const char *name)
{
    void *found = __atomic_load_n(known, __ATOMIC_RELAXED);
    if (found == NULL) {
        found = dlsym(RTLD_NEXT, name);
        __atomic_store_n(known, found, __ATOMIC_RELAXED);
    }
    return found;
}

/* `last` says whether this is the call, `call` makes it; then the process dies or goes on. */
#define THROUGH(type, last, call)  \
    do {                           \
        int is_the_last = (last);  \
        type result = (call);      \
        if (is_the_last)           \
            die();                 \
        return result;             \
    } while (0)

WRAPPED(write);
ssize_t write(int descriptor, const void *bytes, size_t size)
{
    THROUGH(ssize_t, is_last_on_descriptor(descriptor), NEXT(write)(descriptor, bytes, as_much(is_the_last, size)));
}

WRAPPED(pwrite);
ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset)
{
    THROUGH(ssize_t, is_last_on_descriptor(descriptor), NEXT(pwrite)(descriptor, bytes, as_much(is_the_last, size), offset));
}

WRAPPED(pwrite64);
ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset)
{
    THROUGH(ssize_t, is_last_on_descriptor(descriptor), NEXT(pwrite64)(descriptor, bytes, as_much(is_the_last, size), offset));
}

WRAPPED(writev);
ssize_t writev(int descriptor, const struct iovec *parts, int number)
{
    THROUGH(ssize_t, is_last_on_descriptor(descriptor), NEXT(writev)(descriptor, parts, number));
}

WRAPPED(pwritev);
ssize_t pwritev(int descriptor, const struct iovec *parts, int number, off_t offset)
{
    THROUGH(ssize_t, is_last_on_descriptor(descriptor), NEXT(pwritev)(descriptor, parts, number, offset));
}

WRAPPED(sendfile);
ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
    THROUGH(ssize_t, is_last_on_descriptor(to), NEXT(sendfile)(to, from, offset, as_much(is_the_last, size)));
}

WRAPPED(sendfile64);
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size)
{
    THROUGH(ssize_t, is_last_on_descriptor(to), NEXT(sendfile64)(to, from, offset, as_much(is_the_last, size)));
}

WRAPPED(copy_file_range);
ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t size, unsigned flags)
{
    THROUGH(ssize_t, is_last_on_descriptor(to),
            NEXT(copy_file_range)(from, from_offset, to, to_offset, as_much(is_the_last, size), flags));
}

WRAPPED(fsync);
int fsync(int descriptor)
{
    THROUGH(int, is_last_on_descriptor(descriptor), NEXT(fsync)(descriptor));
}

WRAPPED(fdatasync);
int fdatasync(int descriptor)
{
    THROUGH(int, is_last_on_descriptor(descriptor), NEXT(fdatasync)(descriptor));
}

WRAPPED(ftruncate);
int ftruncate(int descriptor, off_t size)
{
    THROUGH(int, is_last_on_descriptor(descriptor), NEXT(ftruncate)(descriptor, size));
}

WRAPPED(ftruncate64);
int ftruncate64(int descriptor, off64_t size)
{
    THROUGH(int, is_last_on_descriptor(descriptor), NEXT(ftruncate64)(descriptor, size));
}

WRAPPED(truncate);
int truncate(const char *path, off_t size)
{
    THROUGH(int, is_last_on_path(AT_FDCWD, path), NEXT(truncate)(path, size));
}

WRAPPED(fallocate);
int fallocate(int descriptor, int mode, off_t offset, off_t size)
{
    THROUGH(int, is_last_on_descriptor(descriptor), NEXT(fallocate)(descriptor, mode, offset, size));
}

WRAPPED(posix_fallocate);
int posix_fallocate(int descriptor, off_t offset, off_t size)
{
    THROUGH(int, is_last_on_descriptor(descriptor), NEXT(posix_fallocate)(descriptor, offset, size));
}

WRAPPED(rename);
int rename(const char *from, const char *to)
{
    THROUGH(int, is_last_on_path(AT_FDCWD, to), NEXT(rename)(from, to));
}

WRAPPED(renameat);
int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
    THROUGH(int, is_last_on_path(to_directory, to), NEXT(renameat)(from_directory, from, to_directory, to));
}

WRAPPED(renameat2);
int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    THROUGH(int, is_last_on_path(to_directory, to), NEXT(renameat2)(from_directory, from, to_directory, to, flags));
}

WRAPPED(link);
int link(const char *from, const char *to)
{
    THROUGH(int, is_last_on_path(AT_FDCWD, to), NEXT(link)(from, to));
}

WRAPPED(linkat);
int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    THROUGH(int, is_last_on_path(to_directory, to), NEXT(linkat)(from_directory, from, to_directory, to, flags));
}

WRAPPED(symlink);
int symlink(const char *target, const char *path)
{
    THROUGH(int, is_last_on_path(AT_FDCWD, path), NEXT(symlink)(target, path));
}

WRAPPED(symlinkat);
int symlinkat(const char *target, int directory, const char *path)
{
    THROUGH(int, is_last_on_path(directory, path), NEXT(symlinkat)(target, directory, path));
}

WRAPPED(unlink);
int unlink(const char *path)
{
    THROUGH(int, is_last_on_path(AT_FDCWD, path), NEXT(unlink)(path));
}

WRAPPED(unlinkat);
int unlinkat(int directory, const char *path, int flags)
{
    THROUGH(int, is_last_on_path(directory, path), NEXT(unlinkat)(directory, path, flags));
}

WRAPPED(mkdir);
int mkdir(const char *path, mode_t mode)
{
    THROUGH(int, is_last_on_path(AT_FDCWD, path), NEXT(mkdir)(path, mode));
}

WRAPPED(mkdirat);
int mkdirat(int directory, const char *path, mode_t mode)
{
    THROUGH(int, is_last_on_path(directory, path), NEXT(mkdirat)(directory, path, mode));
}

WRAPPED(rmdir);
int rmdir(const char *path)
{
    THROUGH(int, is_last_on_path(AT_FDCWD, path), NEXT(rmdir)(path));
}

WRAPPED(send);
ssize_t send(int line, const void *bytes, size_t size, int flags)
{
    THROUGH(ssize_t, is_last_on_line(line), NEXT(send)(line, bytes, as_much(is_the_last, size), flags));
}

WRAPPED(recv);
ssize_t recv(int line, void *bytes, size_t size, int flags)
{
    THROUGH(ssize_t, is_last_on_line(line), NEXT(recv)(line, bytes, as_much(is_the_last, size), flags));
}

/* Opening counts where it may create or empty a file. */
#define OPENING(name)                                                                                     \
    WRAPPED(name);                                                                                        \
    int name(const char *path, int flags, ...)                                                            \
    {                                                                                                     \
        va_list more;                                                                                     \
        va_start(more, flags);                                                                            \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;                         \
        va_end(more);                                                                                     \
        THROUGH(int, changes(flags) && is_last_on_path(AT_FDCWD, path), NEXT(name)(path, flags, mode));   \
    }

#define OPENING_AT(name)                                                                                            \
    WRAPPED(name);                                                                                                  \
    int name(int directory, const char *path, int flags, ...)                                                       \
    {                                                                                                               \
        va_list more;                                                                                               \
        va_start(more, flags);                                                                                      \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0;                                   \
        va_end(more);                                                                                               \
        THROUGH(int, changes(flags) && is_last_on_path(directory, path), NEXT(name)(directory, path, flags, mode)); \
    }

OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)
