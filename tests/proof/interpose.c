/* Preloaded into a process, it notes each call that writes files or uses the network as a line, and at the n-th of them
 * kills the process or fails the call. It does nothing until `interpose_arm` is called. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The numbers are those of `Kind` and `Action` in forking.py. */
enum kind { WRITE = 1, LOG = 2, SYNC = 4, RENAME = 8, UNLINK = 16, TRUNCATE = 32, MAKE_FOLDER = 64, CREATE = 128,
            OPEN = 256, CONNECT = 512, SEND = 1024 };
enum action { OFF, NOTE, KILL_BEFORE, KILL_AFTER, FAIL_ONCE, FAIL_FROM };
static const char *const NAMES[] = {"WRITE", "LOG", "SYNC", "RENAME", "UNLINK", "TRUNCATE", "MAKE_FOLDER", "CREATE",
                                    "OPEN", "CONNECT", "SEND"};

struct call { enum kind kind; int descriptor; bool is_noted; long number; char target[512]; };

static struct { int kinds, error, notes; long at; char root[512]; } plan;
static atomic_int action;
static atomic_long calls;

/* Only calls of `kinds` are counted, and files only at `root` and below; `notes` is the file that gets the lines. */
void interpose_arm(int chosen, int kinds, long at, int error, const char *root, const char *notes) {
    plan.kinds = kinds, plan.at = at, plan.error = error;
    snprintf(plan.root, sizeof plan.root, "%s", root);
    plan.notes = syscall(SYS_openat, AT_FDCWD, notes, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    atomic_store(&action, chosen);
}

static void note(const struct call *call, const char *what) {
    char line[700];
    int length = snprintf(line, sizeof line, "%ld %s %d %s %s\n", call->number, NAMES[__builtin_ctz(call->kind)],
                          call->descriptor, what, call->target);
    syscall(SYS_write, plan.notes, line, length);
}

static void die(const struct call *call) {
    note(call, "killed");
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* What SQLite keeps in a -shm file is made anew after a crash, so it is no state. */
static bool is_of_run(const char *path) {
    size_t length = strlen(plan.root);
    return !strncmp(path, plan.root, length) && (path[length] == '/' || !path[length]) && !strstr(path, "-shm");
}

/* Returns whether the real call is to be made. A line about the network stands before the call, one about a file after
 * it, so that a file's line before a connection's says that it was written first. */
static bool begin(struct call *call) {
    if (!call->kind || (call->kind < CONNECT && !is_of_run(call->target))) return true;
    if (call->kind == WRITE && strstr(call->target, "/logs/")) call->kind = LOG;
    call->is_noted = true;
    call->number = plan.kinds & call->kind ? atomic_fetch_add(&calls, 1) + 1 : 0;
    int chosen = atomic_load(&action);
    bool is_hit = call->number && (chosen == FAIL_FROM ? call->number >= plan.at : call->number == plan.at);
    if (is_hit && chosen == KILL_BEFORE) die(call);
    if (is_hit && chosen >= FAIL_ONCE) {
        note(call, "failed");
        errno = plan.error;
        return false;
    }
    if (call->kind >= CONNECT) note(call, "begun");
    return true;
}

static void end(const struct call *call) {
    int error = errno;
    if (call->number && call->number == plan.at && atomic_load(&action) == KILL_AFTER) die(call);
    if (call->is_noted && call->kind < CONNECT) note(call, "done");
    errno = error;
}

static void name_file(struct call *call) {
    char link[64];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", call->descriptor);
    if (call->kind == WRITE && (fstat(call->descriptor, &status) || !S_ISREG(status.st_mode))) return;
    ssize_t length = readlink(link, call->target, sizeof call->target - 1);
    call->target[length < 0 ? 0 : length] = 0;
}

static void name_path(struct call *call, const char *path) { snprintf(call->target, sizeof call->target, "%s", path); }

static void name_address(struct call *call, const struct sockaddr *address) {
    const struct sockaddr_in *internet = (const void *)address;
    int port = ntohs(internet->sin_port);
    if (address->sa_family == AF_INET) snprintf(call->target, sizeof call->target, "port %d", port);
    else call->kind = 0;
}

/* The event loop wakes itself up through sockets that are no connections. */
static void name_content(struct call *call, const char *content, size_t size) {
    struct sockaddr_storage own = {0};
    socklen_t length = sizeof own;
    if (getsockname(call->descriptor, (void *)&own, &length) || own.ss_family != AF_INET) call->kind = 0;
    bool is_head = size > 5 && (!memcmp(content, "GET ", 4) || !memcmp(content, "POST ", 5));
    const char *line_end = is_head ? memchr(content, '\r', size) : NULL;
    snprintf(call->target, sizeof call->target, "%.*s", line_end ? (int)(line_end - content) : 0, content);
}

/* uvloop writes to a connection as to a file. */
static void name_written(struct call *call, const struct iovec *parts) {
    struct stat status;
    if (fstat(call->descriptor, &status) || !S_ISSOCK(status.st_mode)) return name_file(call);
    call->kind = SEND;
    name_content(call, parts->iov_base, parts->iov_len);
}

/* The label is what the wrapper is called from outside: its own name would clash with the headers' declaration. */
#define WRAP(result_type, name, parameters, arguments, the_kind, the_descriptor, name_target) \
    result_type wrap_##name parameters __asm__(#name); \
    result_type wrap_##name parameters { \
        static result_type(*real) parameters; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        if (!atomic_load(&action)) return real arguments; \
        struct call call = {.kind = the_kind, .descriptor = the_descriptor}; \
        name_target; \
        if (!begin(&call)) return -1; \
        result_type result = real arguments; \
        end(&call); \
        return result; \
    }
#define WRAP_FILE(type, name, parameters, arguments, kind) \
    WRAP(type, name, parameters, arguments, kind, file, name_file(&call))
#define WRAP_PATH(name, parameters, arguments, kind) \
    WRAP(int, name, parameters, arguments, kind, -1, name_path(&call, path))

#define KIND_OF_OPEN (flags & O_CREAT ? CREATE : OPEN)

WRAP(ssize_t, write, (int file, const void *content, size_t size), (file, content, size), WRITE, file,
     name_written(&call, &(struct iovec){(void *)content, size}))
WRAP(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count), WRITE, file,
     name_written(&call, parts))
WRAP_FILE(ssize_t, pwrite, (int file, const void *content, size_t size, off_t at), (file, content, size, at), WRITE)
WRAP_FILE(ssize_t, pwrite64, (int file, const void *content, size_t size, off64_t at), (file, content, size, at), WRITE)
WRAP_FILE(int, fsync, (int file), (file), SYNC)
WRAP_FILE(int, fdatasync, (int file), (file), SYNC)
WRAP_FILE(int, ftruncate, (int file, off_t size), (file, size), TRUNCATE)
WRAP_FILE(int, ftruncate64, (int file, off64_t size), (file, size), TRUNCATE)
WRAP_PATH(rename, (const char *from, const char *path), (from, path), RENAME)
WRAP_PATH(renameat, (int a, const char *from, int b, const char *path), (a, from, b, path), RENAME)
WRAP_PATH(unlink, (const char *path), (path), UNLINK)
WRAP_PATH(mkdir, (const char *path, mode_t mode), (path, mode), MAKE_FOLDER)
/* The mode is an optional argument, and all callers here give it or do not need it. */
WRAP_PATH(open, (const char *path, int flags, mode_t mode), (path, flags, mode), KIND_OF_OPEN)
WRAP_PATH(open64, (const char *path, int flags, mode_t mode), (path, flags, mode), KIND_OF_OPEN)
WRAP_PATH(openat, (int at, const char *path, int flags, mode_t mode), (at, path, flags, mode), KIND_OF_OPEN)
WRAP_PATH(openat64, (int at, const char *path, int flags, mode_t mode), (at, path, flags, mode), KIND_OF_OPEN)
WRAP(int, connect, (int file, const struct sockaddr *peer, socklen_t size), (file, peer, size), CONNECT, file,
     name_address(&call, peer))
WRAP(ssize_t, send, (int file, const void *content, size_t size, int flags), (file, content, size, flags), SEND, file,
     name_content(&call, content, size))
WRAP(ssize_t, sendto,
     (int file, const void *content, size_t size, int flags, const struct sockaddr *peer, socklen_t length),
     (file, content, size, flags, peer, length), SEND, file, name_content(&call, content, size))
WRAP(ssize_t, sendmsg, (int file, const struct msghdr *message, int flags), (file, message, flags), SEND, file,
     name_content(&call, message->msg_iov->iov_base, message->msg_iov->iov_len))
