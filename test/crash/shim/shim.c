/*
 * Preloaded into a process under test: records what it writes, syncs and renames below one folder, and makes such calls
 * fail on demand. Nothing of it is in the product.
 *
 * RIG_FOLDER   absolute path without a trailing slash: what lies below it is recorded
 * RIG_LOG      events are appended here (test/crash/events.ts reads them)
 * RIG_CONTROL  a file of struct control: which calls fail (test/crash/faults.ts writes it)
 *
 * A write is performed and logged under one lock, so the log has the order of the file. A sync is logged when it begins
 * and when it has ended: what was logged before its beginning is what it makes durable.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FD_MAX 4096
#define EXPORT __attribute__((visibility("default")))

enum kind {
  MADE = 1, WROTE, SYNC_BEGAN, SYNC_ENDED, TRUNCATED, ALLOCATED, RENAMED, UNLINKED, FOLDER_MADE, FOLDER_REMOVED, LINKED,
  UNSUPPORTED
};
enum { CAN_WRITE = 1, CAN_SYNC = 2, CAN_ALLOCATE = 4, CAN_SHORT = 8 };

struct header {
  uint32_t size;
  uint8_t kind, flags;
  uint16_t zero;
  uint64_t inode, a, b;
  uint32_t first, second;
};

struct control {
  uint32_t armed, kinds, skip, error, times, seen, hits, zero;
  char suffix[64];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char folder[PATH_MAX];
static size_t folder_length;
static int log_fd = -1;
static volatile struct control *control;
static uint64_t sync_id;
/* By descriptor: inode of a recorded file (0: none), whether writes to it are synchronous, its path at open. */
static uint64_t inode_of[FD_MAX];
static uint8_t is_sync[FD_MAX];
static char *path_of[FD_MAX];

#define REAL(name) real_##name
#define DECLARE(result, name, ...) static result (*real_##name)(__VA_ARGS__)
DECLARE(int, open64, const char *, int, ...);
DECLARE(int, openat64, int, const char *, int, ...);
DECLARE(int, close, int);
DECLARE(int, dup, int);
DECLARE(int, dup2, int, int);
DECLARE(int, dup3, int, int, int);
DECLARE(ssize_t, write, int, const void *, size_t);
DECLARE(ssize_t, pwrite64, int, const void *, size_t, off64_t);
DECLARE(ssize_t, writev, int, const struct iovec *, int);
DECLARE(ssize_t, pwritev64, int, const struct iovec *, int, off64_t);
DECLARE(int, fsync, int);
DECLARE(int, fdatasync, int);
DECLARE(int, ftruncate64, int, off64_t);
DECLARE(int, truncate64, const char *, off64_t);
DECLARE(int, fallocate64, int, int, off64_t, off64_t);
DECLARE(int, posix_fallocate64, int, off64_t, off64_t);
DECLARE(int, rename, const char *, const char *);
DECLARE(int, unlink, const char *);
DECLARE(int, unlinkat, int, const char *, int);
DECLARE(int, mkdir, const char *, mode_t);
DECLARE(int, rmdir, const char *);
DECLARE(int, link, const char *, const char *);
DECLARE(int, symlink, const char *, const char *);
DECLARE(void *, mmap64, void *, size_t, int, int, int, off64_t);
DECLARE(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
DECLARE(ssize_t, sendfile64, int, int, off64_t *, size_t);

/* A process that forks while another thread records would leave its child waiting for that thread for ever. */
static void hold(void) { pthread_mutex_lock(&lock); }
static void let_go(void) { pthread_mutex_unlock(&lock); }

static void start(void) {
  pthread_atfork(hold, let_go, let_go);
#define FIND(name) real_##name = dlsym(RTLD_NEXT, #name)
  FIND(open64); FIND(openat64); FIND(close); FIND(dup); FIND(dup2); FIND(dup3); FIND(write); FIND(pwrite64);
  FIND(writev); FIND(pwritev64); FIND(fsync); FIND(fdatasync); FIND(ftruncate64); FIND(truncate64); FIND(fallocate64);
  FIND(posix_fallocate64); FIND(rename); FIND(unlink); FIND(unlinkat); FIND(mkdir); FIND(rmdir); FIND(link);
  FIND(symlink); FIND(mmap64); FIND(copy_file_range); FIND(sendfile64);
  const char *name = getenv("RIG_FOLDER");
  if (name != NULL && strlen(name) < sizeof folder) {
    strcpy(folder, name);
    folder_length = strlen(folder);
  }
  name = getenv("RIG_LOG");
  if (name != NULL) {
    int fd = real_open64(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    /* High up, out of the way of programs that count on low numbers. */
    log_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3000);
    if (log_fd < 0) log_fd = fd;
    else real_close(fd);
  }
  name = getenv("RIG_CONTROL");
  if (name != NULL) {
    int fd = real_open64(name, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
      void *map = real_mmap64(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (map != MAP_FAILED) control = map;
      real_close(fd);
    }
  }
}
#define ENTER() pthread_once(&once, start)

/** One write call: appends of several processes do not mix. */
static void record(int kind, int flags, uint64_t inode, uint64_t a, uint64_t b, const struct iovec *data, int count,
                   size_t length, const char *second) {
  if (log_fd < 0) return;
  size_t tail = second == NULL ? 0 : strlen(second);
  struct header header = { (uint32_t)(sizeof header + length + tail), (uint8_t)kind, (uint8_t)flags, 0, inode, a, b,
                           (uint32_t)length, (uint32_t)tail };
  char *bytes = malloc(header.size), *to = bytes + sizeof header;
  if (bytes == NULL) abort();
  memcpy(bytes, &header, sizeof header);
  for (int i = 0; i < count && length > 0; i++) {
    size_t part = data[i].iov_len < length ? data[i].iov_len : length;
    memcpy(to, data[i].iov_base, part);
    to += part;
    length -= part;
  }
  if (tail > 0) memcpy(to, second, tail);
  if (real_write(log_fd, bytes, header.size) != (ssize_t)header.size) abort();
  free(bytes);
}

static void record_path(int kind, int flags, uint64_t inode, uint64_t a, const char *path, const char *second) {
  struct iovec one = { (void *)path, strlen(path) };
  record(kind, flags, inode, a, 0, &one, 1, one.iov_len, second);
}

/** The path below the folder ("" the folder itself), or NULL if it lies elsewhere. */
static const char *below(int at, const char *path, char *buffer) {
  if (folder_length == 0 || path == NULL) return NULL;
  if (path[0] != '/') {
    char base[PATH_MAX];
    if (at == AT_FDCWD) {
      if (getcwd(base, sizeof base) == NULL) return NULL;
    } else {
      char link_name[64];
      snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", at);
      ssize_t length = readlink(link_name, base, sizeof base - 1);
      if (length < 0) return NULL;
      base[length] = 0;
    }
    if (snprintf(buffer, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
    path = buffer;
  }
  if (strncmp(path, folder, folder_length) != 0) return NULL;
  if (path[folder_length] == 0) return path + folder_length;
  return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

/** The error that the next such call is to fail with, or 0. */
static int fault(int kind, int fd) {
  if (control == NULL || !control->armed || fd < 0 || fd >= FD_MAX || inode_of[fd] == 0) return 0;
  const char *path = path_of[fd] == NULL ? "" : path_of[fd];
  const char *wanted = (const char *)control->suffix;
  size_t suffix = strlen(wanted), length = strlen(path);
  if (wanted[0] == '*' ? strstr(path, wanted + 1) == NULL : suffix > length || strcmp(path + length - suffix, wanted) != 0)
    return 0;
  if ((control->kinds & kind) == 0) return 0;
  control->seen++;
  if (control->seen <= control->skip || control->hits >= control->times) return 0;
  control->hits++;
  return (int)control->error;
}

/** libuv closes by the bare system call: a number may mean another file by now. */
static int tracked(int fd) {
  struct stat64 info;
  if (fd < 0 || fd >= FD_MAX || inode_of[fd] == 0) return 0;
  if (fstat64(fd, &info) == 0 && info.st_ino == inode_of[fd]) return 1;
  inode_of[fd] = 0;
  return 0;
}

static int opened(int fd, const char *name, int flags, int existed) {
  struct stat64 info;
  if (fd < 0) return fd;
  if (fd >= FD_MAX || fstat64(fd, &info) != 0) return fd;
  inode_of[fd] = info.st_ino;
  is_sync[fd] = (flags & (O_DSYNC | O_SYNC)) != 0;
  free(path_of[fd]);
  path_of[fd] = strdup(name);
  if (!existed) record_path(MADE, 0, info.st_ino, 0, name, NULL);
  else if (flags & O_TRUNC) record(TRUNCATED, 0, info.st_ino, 0, 0, NULL, 0, 0, NULL);
  return fd;
}

static int do_open(int at, const char *path, int flags, mode_t mode) {
  ENTER();
  char buffer[PATH_MAX];
  const char *name = below(at, path, buffer);
  if (name == NULL) return real_openat64(at, path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat64 info;
  int existed = !(flags & O_CREAT) || fstatat64(at, path, &info, 0) == 0;
  int fd = opened(real_openat64(at, path, flags, mode), name, flags, existed);
  int saved = errno;
  pthread_mutex_unlock(&lock);
  errno = saved;
  return fd;
}

#define MODE_OF(flags, mode) \
  mode_t mode = 0; \
  if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }
EXPORT int open(const char *path, int flags, ...) { MODE_OF(flags, mode) return do_open(AT_FDCWD, path, flags, mode); }
EXPORT int open64(const char *path, int flags, ...) { MODE_OF(flags, mode) return do_open(AT_FDCWD, path, flags, mode); }
EXPORT int openat(int at, const char *path, int flags, ...) { MODE_OF(flags, mode) return do_open(at, path, flags, mode); }
EXPORT int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags, mode) return do_open(at, path, flags, mode); }
EXPORT int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
EXPORT int creat64(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

EXPORT int close(int fd) {
  ENTER();
  if (fd == log_fd && fd >= 0) { errno = EBADF; return -1; }
  if (!tracked(fd)) return real_close(fd);
  pthread_mutex_lock(&lock);
  inode_of[fd] = 0;
  int result = real_close(fd), saved = errno;
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}

static int copied(int from, int to) {
  if (to < 0 || to >= FD_MAX || from < 0 || from >= FD_MAX || from == to) return to;
  pthread_mutex_lock(&lock);
  inode_of[to] = inode_of[from];
  is_sync[to] = is_sync[from];
  free(path_of[to]);
  path_of[to] = path_of[from] == NULL ? NULL : strdup(path_of[from]);
  pthread_mutex_unlock(&lock);
  return to;
}
EXPORT int dup(int fd) { ENTER(); return copied(fd, real_dup(fd)); }
EXPORT int dup2(int fd, int to) { ENTER(); return copied(fd, real_dup2(fd, to)); }
EXPORT int dup3(int fd, int to, int flags) { ENTER(); return copied(fd, real_dup3(fd, to, flags)); }

static ssize_t total(const struct iovec *data, int count) {
  ssize_t sum = 0;
  for (int i = 0; i < count; i++) sum += (ssize_t)data[i].iov_len;
  return sum;
}

/** offset < 0: at the file's own position */
static ssize_t do_write(int fd, const struct iovec *data, int count, off64_t offset) {
  pthread_mutex_lock(&lock);
  ssize_t length;
  int error = fault(CAN_WRITE, fd), saved;
  if (error == 0 && total(data, count) > 1 && fault(CAN_SHORT, fd) != 0) {
    struct iovec half = { data[0].iov_base, data[0].iov_len > 1 ? data[0].iov_len / 2 : data[0].iov_len };
    length = offset < 0 ? real_write(fd, half.iov_base, half.iov_len) : real_pwrite64(fd, half.iov_base, half.iov_len, offset);
  } else if (error != 0) {
    errno = error;
    length = -1;
  } else {
    length = offset < 0 ? real_writev(fd, data, count) : real_pwritev64(fd, data, count, offset);
  }
  saved = errno;
  if (length > 0) {
    off64_t at = offset < 0 ? lseek64(fd, 0, SEEK_CUR) - length : offset;
    record(WROTE, is_sync[fd], inode_of[fd], (uint64_t)at, 0, data, count, (size_t)length, NULL);
  }
  pthread_mutex_unlock(&lock);
  errno = saved;
  return length;
}

EXPORT ssize_t write(int fd, const void *bytes, size_t size) {
  ENTER();
  if (!tracked(fd)) return real_write(fd, bytes, size);
  struct iovec one = { (void *)bytes, size };
  return do_write(fd, &one, 1, -1);
}
static ssize_t do_pwrite(int fd, const void *bytes, size_t size, off64_t offset) {
  ENTER();
  if (!tracked(fd)) return real_pwrite64(fd, bytes, size, offset);
  struct iovec one = { (void *)bytes, size };
  return do_write(fd, &one, 1, offset);
}
EXPORT ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) { return do_pwrite(fd, bytes, size, offset); }
EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) { return do_pwrite(fd, bytes, size, offset); }
EXPORT ssize_t writev(int fd, const struct iovec *data, int count) {
  ENTER();
  return tracked(fd) ? do_write(fd, data, count, -1) : real_writev(fd, data, count);
}
static ssize_t do_pwritev(int fd, const struct iovec *data, int count, off64_t offset) {
  ENTER();
  return tracked(fd) ? do_write(fd, data, count, offset) : real_pwritev64(fd, data, count, offset);
}
EXPORT ssize_t pwritev(int fd, const struct iovec *data, int count, off_t offset) { return do_pwritev(fd, data, count, offset); }
EXPORT ssize_t pwritev64(int fd, const struct iovec *data, int count, off64_t offset) { return do_pwritev(fd, data, count, offset); }

static int do_sync(int fd, int (*real)(int)) {
  ENTER();
  if (!tracked(fd)) return real(fd);
  pthread_mutex_lock(&lock);
  uint64_t id = ++sync_id, inode = inode_of[fd];
  int error = fault(CAN_SYNC, fd);
  if (error == 0) record(SYNC_BEGAN, 0, inode, id, (uint64_t)getpid(), NULL, 0, 0, NULL);
  pthread_mutex_unlock(&lock);
  if (error != 0) { errno = error; return -1; }
  int result = real(fd), saved = errno;
  if (result == 0) {
    pthread_mutex_lock(&lock);
    record(SYNC_ENDED, 0, inode, id, (uint64_t)getpid(), NULL, 0, 0, NULL);
    pthread_mutex_unlock(&lock);
  }
  errno = saved;
  return result;
}
EXPORT int fsync(int fd) { ENTER(); return do_sync(fd, real_fsync); }
EXPORT int fdatasync(int fd) { ENTER(); return do_sync(fd, real_fdatasync); }

static int do_ftruncate(int fd, off64_t size) {
  ENTER();
  if (!tracked(fd)) return real_ftruncate64(fd, size);
  pthread_mutex_lock(&lock);
  int result = real_ftruncate64(fd, size), saved = errno;
  if (result == 0) record(TRUNCATED, 0, inode_of[fd], (uint64_t)size, 0, NULL, 0, 0, NULL);
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}
EXPORT int ftruncate(int fd, off_t size) { return do_ftruncate(fd, size); }
EXPORT int ftruncate64(int fd, off64_t size) { return do_ftruncate(fd, size); }

static int unsupported(const char *what) {
  pthread_mutex_lock(&lock);
  record_path(UNSUPPORTED, 0, 0, 0, what, NULL);
  pthread_mutex_unlock(&lock);
  return 0;
}
static int do_truncate(const char *path, off64_t size) {
  ENTER();
  char buffer[PATH_MAX];
  if (below(AT_FDCWD, path, buffer) != NULL) unsupported("truncate by path");
  return real_truncate64(path, size);
}
EXPORT int truncate(const char *path, off_t size) { return do_truncate(path, size); }
EXPORT int truncate64(const char *path, off64_t size) { return do_truncate(path, size); }

static int do_fallocate(int fd, int mode, off64_t offset, off64_t length, int posix) {
  ENTER();
  if (!tracked(fd)) return posix ? real_posix_fallocate64(fd, offset, length) : real_fallocate64(fd, mode, offset, length);
  pthread_mutex_lock(&lock);
  int error = fault(CAN_ALLOCATE, fd), result, saved;
  if (error != 0) {
    errno = error;
    result = posix ? error : -1;
  } else {
    result = posix ? real_posix_fallocate64(fd, offset, length) : real_fallocate64(fd, mode, offset, length);
  }
  saved = errno;
  if (result == 0 && mode != 0) record_path(UNSUPPORTED, 0, 0, 0, "fallocate with a mode", NULL);
  else if (result == 0) record(ALLOCATED, 0, inode_of[fd], (uint64_t)offset, (uint64_t)length, NULL, 0, 0, NULL);
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}
EXPORT int fallocate(int fd, int mode, off_t offset, off_t length) { return do_fallocate(fd, mode, offset, length, 0); }
EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return do_fallocate(fd, mode, offset, length, 0); }
EXPORT int posix_fallocate(int fd, off_t offset, off_t length) { return do_fallocate(fd, 0, offset, length, 1); }
EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t length) { return do_fallocate(fd, 0, offset, length, 1); }

/** Calls that change one name: performed and logged under the lock. */
#define ONE_NAME(call, kind, path) \
  ENTER(); \
  char buffer[PATH_MAX]; \
  const char *name = below(AT_FDCWD, path, buffer); \
  if (name == NULL) return call; \
  pthread_mutex_lock(&lock); \
  int result = call, saved = errno; \
  if (result == 0) record_path(kind, 0, kind == FOLDER_MADE ? inode_at(path) : 0, 0, name, NULL); \
  pthread_mutex_unlock(&lock); \
  errno = saved; \
  return result;
#define TWO_NAMES(call, kind, from, to) \
  ENTER(); \
  char buffer_a[PATH_MAX], buffer_b[PATH_MAX]; \
  const char *a = below(AT_FDCWD, from, buffer_a), *b = below(AT_FDCWD, to, buffer_b); \
  if (a == NULL && b == NULL) return call; \
  pthread_mutex_lock(&lock); \
  int result = call, saved = errno; \
  if (result == 0 && a != NULL && b != NULL) record_path(kind, 0, 0, 0, a, b); \
  else if (result == 0) record_path(UNSUPPORTED, 0, 0, 0, "a name moved over the folder's edge", NULL); \
  pthread_mutex_unlock(&lock); \
  errno = saved; \
  return result;
static uint64_t inode_at(const char *path) {
  struct stat64 info;
  return stat64(path, &info) == 0 ? info.st_ino : 0;
}
EXPORT int rename(const char *from, const char *to) { TWO_NAMES(real_rename(from, to), RENAMED, from, to) }
EXPORT int link(const char *from, const char *to) { TWO_NAMES(real_link(from, to), LINKED, from, to) }
EXPORT int unlink(const char *path) { ONE_NAME(real_unlink(path), UNLINKED, path) }
EXPORT int rmdir(const char *path) { ONE_NAME(real_rmdir(path), FOLDER_REMOVED, path) }
EXPORT int mkdir(const char *path, mode_t mode) { ONE_NAME(real_mkdir(path, mode), FOLDER_MADE, path) }
EXPORT int symlink(const char *from, const char *to) {
  ENTER();
  char buffer[PATH_MAX];
  if (below(AT_FDCWD, to, buffer) != NULL) unsupported("symlink");
  return real_symlink(from, to);
}
EXPORT int unlinkat(int at, const char *path, int flags) {
  ENTER();
  char buffer[PATH_MAX];
  const char *name = below(at, path, buffer);
  if (name == NULL) return real_unlinkat(at, path, flags);
  pthread_mutex_lock(&lock);
  int result = real_unlinkat(at, path, flags), saved = errno;
  if (result == 0) record_path(flags & AT_REMOVEDIR ? FOLDER_REMOVED : UNLINKED, 0, 0, 0, name, NULL);
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}

static void *do_mmap(void *at, size_t length, int protection, int flags, int fd, off64_t offset) {
  ENTER();
  if (tracked(fd) && (flags & MAP_SHARED) && (protection & PROT_WRITE)) {
    pthread_mutex_lock(&lock);
    /* Stores through a map leave no trace: the reader of the log decides whether this file matters. */
    record_path(UNSUPPORTED, 1, inode_of[fd], 0, path_of[fd], NULL);
    pthread_mutex_unlock(&lock);
  }
  return real_mmap64(at, length, protection, flags, fd, offset);
}
EXPORT void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) { return do_mmap(at, length, protection, flags, fd, offset); }
EXPORT void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset) { return do_mmap(at, length, protection, flags, fd, offset); }

EXPORT ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t length, unsigned flags) {
  ENTER();
  if (tracked(to)) unsupported("copy_file_range");
  return real_copy_file_range(from, a, to, b, length, flags);
}
EXPORT ssize_t sendfile64(int to, int from, off64_t *offset, size_t length) {
  ENTER();
  if (tracked(to)) unsupported("sendfile");
  return real_sendfile64(to, from, offset, length);
}
EXPORT ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
  ENTER();
  if (tracked(to)) unsupported("sendfile");
  return real_sendfile64(to, from, offset, length);
}
