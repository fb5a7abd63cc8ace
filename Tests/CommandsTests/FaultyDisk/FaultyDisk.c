// A disk that fails: preloaded into a program (LD_PRELOAD), it makes the n-th call that changes files
// under a folder fail. FaultTests compiles it. Only calls through the dynamic linker are seen, so what
// stdio writes inside the C library is not.
//
//   FAULTY_DISK_FOLDER   an absolute path; everything below it lies on the bad disk
//   FAULTY_DISK_AT       n, from 1: the call that fails; 0 for none
//   FAULTY_DISK_FAULT    ENOSPC, EIO, or short: half of the bytes are written (only writes count then)
//   FAULTY_DISK_AFTER    how every later call fails: ENOSPC or EIO; unset: they work
//   FAULTY_DISK_REPORT   a file that gets "CALL PATH" when call n comes

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum fate { WORKS, FAILS, SHORTENED };

static atomic_long calls;

static bool is_below(const char *path) {
  const char *folder = getenv("FAULTY_DISK_FOLDER");
  size_t length = folder ? strlen(folder) : 0;
  return length > 0 && strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static void report(const char *call, const char *path) {
  const char *file = getenv("FAULTY_DISK_REPORT");
  if (!file) return;
  char line[PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%s %s\n", call, path);
  int saved = errno;
  long to = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (to >= 0) {
    syscall(SYS_write, to, line, length);
    syscall(SYS_close, to);
  }
  errno = saved;
}

static enum fate failing(const char *code) {
  errno = strcmp(code, "EIO") == 0 ? EIO : ENOSPC;
  return FAILS;
}

// What becomes of a call on `path`; sets errno when it fails.
static enum fate next_fate(const char *call, const char *path, bool is_write) {
  const char *at = getenv("FAULTY_DISK_AT"), *fault = getenv("FAULTY_DISK_FAULT");
  if (!at || !fault || !is_below(path)) return WORKS;
  bool is_short = strcmp(fault, "short") == 0;
  const char *after = getenv("FAULTY_DISK_AFTER");
  long wanted = atol(at);
  if (is_short && !is_write) {
    return after && wanted > 0 && atomic_load(&calls) >= wanted ? failing(after) : WORKS;
  }
  long number = atomic_fetch_add(&calls, 1) + 1;
  if (wanted == 0 || number < wanted) return WORKS;
  if (number > wanted) return after ? failing(after) : WORKS;
  report(call, path);
  return is_short ? SHORTENED : failing(fault);
}

static enum fate fate_of_file(const char *call, int file, bool is_write) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  int saved = errno;
  ssize_t length = readlink(link, path, sizeof path - 1);
  errno = saved;
  if (length <= 0) return WORKS;
  path[length] = 0;
  return next_fate(call, path, is_write);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

// A file of one byte cannot be cut in half: nothing is written then.
ssize_t write(int file, const void *bytes, size_t count) {
  enum fate fate = fate_of_file("write", file, true);
  return fate == FAILS ? -1 : REAL(write)(file, bytes, fate == SHORTENED ? count / 2 : count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
  enum fate fate = fate_of_file("pwrite", file, true);
  return fate == FAILS ? -1 : REAL(pwrite)(file, bytes, fate == SHORTENED ? count / 2 : count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
  enum fate fate = fate_of_file("pwrite64", file, true);
  return fate == FAILS ? -1 : REAL(pwrite64)(file, bytes, fate == SHORTENED ? count / 2 : count, offset);
}

// A shortened vector is its first half, and half of the part after that.
static struct iovec *shortened(const struct iovec *parts, int *count) {
  struct iovec *copy = malloc(sizeof *copy * *count);
  memcpy(copy, parts, sizeof *copy * *count);
  *count = *count / 2 + 1;
  copy[*count - 1].iov_len /= 2;
  return copy;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  enum fate fate = fate_of_file("writev", file, true);
  if (fate == FAILS) return -1;
  if (fate == WORKS || count == 0) return REAL(writev)(file, parts, count);
  struct iovec *fewer = shortened(parts, &count);
  ssize_t written = REAL(writev)(file, fewer, count);
  free(fewer);
  return written;
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
  enum fate fate = fate_of_file("pwritev", file, true);
  if (fate == FAILS) return -1;
  if (fate == WORKS || count == 0) return REAL(pwritev)(file, parts, count, offset);
  struct iovec *fewer = shortened(parts, &count);
  ssize_t written = REAL(pwritev)(file, fewer, count, offset);
  free(fewer);
  return written;
}

int fsync(int file) { return fate_of_file("fsync", file, false) == FAILS ? -1 : REAL(fsync)(file); }

int fdatasync(int file) {
  return fate_of_file("fdatasync", file, false) == FAILS ? -1 : REAL(fdatasync)(file);
}

int ftruncate(int file, off_t length) {
  return fate_of_file("ftruncate", file, false) == FAILS ? -1 : REAL(ftruncate)(file, length);
}

int ftruncate64(int file, off64_t length) {
  return fate_of_file("ftruncate64", file, false) == FAILS ? -1 : REAL(ftruncate64)(file, length);
}

int rename(const char *from, const char *to) {
  return next_fate("rename", to, false) == FAILS ? -1 : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
  return next_fate("mkdir", path, false) == FAILS ? -1 : REAL(mkdir)(path, mode);
}

// Opening counts when it may write.
static bool open_fails(const char *path, int flags) {
  return flags & (O_CREAT | O_WRONLY | O_RDWR) && next_fate("open", path, false) == FAILS;
}

#define OPEN(name)                                          \
  int name(const char *path, int flags, ...) {              \
    va_list more;                                           \
    va_start(more, flags);                                  \
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; \
    va_end(more);                                           \
    return open_fails(path, flags) ? -1 : REAL(name)(path, flags, mode); \
  }

OPEN(open)
OPEN(open64)
