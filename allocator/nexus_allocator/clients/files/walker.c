/* Walks a tree in parallel and writes what it finds to standard output, in blocks of fixed-size records.
 *
 *     walker ROOT THREADS NICE [KNOWN]
 *
 * Every folder is opened from the root's handle by openat2 with RESOLVE_BENEATH, NO_SYMLINKS and NO_XDEV: no link
 * is followed and no mount point entered, whoever renames or links in the tree meanwhile. Where openat2 is not
 * to be had it goes part by part with O_NOFOLLOW and compares devices, which is as safe and slower.
 *
 * KNOWN is what an earlier walk found (see scanner.py). A folder whose inode, modification and change time are as
 * known is not read again: what lay in it is taken for still there, and only the folders below are looked at.
 *
 * A block is: uint32 kind (1 folders, 2 entries), uint32 records, uint64 bytes of names, records, names.
 * Memory is bounded by THREADS blocks, one folder's entries and the folders still to be visited.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { FOLDERS = 1, ENTRIES = 2, BATCH = 32768, LISTING = 1 << 18, CHUNK = 3500 };
enum { READ = 1, SAME = 0 };
#define NONE UINT32_MAX

struct folder {
    uint32_t id, parent, name_end, mode, uid, gid, error, read;
    uint64_t inode;
    int64_t mtime_ns, ctime_ns, own_bytes;
};

struct entry {
    uint32_t folder, name_end, mode, uid, gid, names;
    uint64_t inode;
    int64_t size_bytes, own_bytes, mtime_ns, ctime_ns;
};

struct linux_dirent64 {
    uint64_t d_ino;
    int64_t d_off;
    unsigned short d_reclen;
    unsigned char d_type;
    char d_name[];
};

/* What an earlier walk found: folders sorted by parent, so that a folder's children stand together. */
struct known_folder {
    uint32_t id, children, n_children, name_start, name_size, reread;
    uint64_t inode;
    int64_t mtime_ns, ctime_ns;
};

struct known_head {
    uint64_t n, next_id;
};

struct block {
    uint32_t kind, n;
    size_t width, capacity, names_used, names_size;
    char *records, *names;
};

struct task {
    struct task *next;
    uint32_t id, parent, known, name_size;
    uint32_t path_size;
    char path[]; /* from the root, its last name_size bytes being the name */
};

static int root;
static dev_t root_dev;
static atomic_bool has_openat2 = true;
static struct known_head *known;
static struct known_folder *known_folders;
static uint32_t *slots; /* by inode, open addressing */
static uint64_t n_slots = 1;
static char *known_names;
static atomic_uchar *claimed;
static atomic_uint next_id;

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER, out_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_filled = PTHREAD_COND_INITIALIZER;
static struct task *queue;
static size_t outstanding;

static void die(const char *what) {
    fprintf(stderr, "walker: %s: %s\n", what, strerror(errno));
    _exit(2);
}

static void *claim(void *old, size_t size) {
    void *got = realloc(old, size);
    if (!got) die("memory");
    return got;
}

static void put(const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t done = write(STDOUT_FILENO, at, size);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) _exit(3); /* the reader is gone */
        at += done;
        size -= (size_t)done;
    }
}

static void flush(struct block *block) {
    if (!block->n) return;
    uint32_t head[2] = {block->kind, block->n};
    uint64_t names = block->names_used;
    pthread_mutex_lock(&out_lock);
    put(head, sizeof head);
    put(&names, sizeof names);
    put(block->records, block->n * block->width);
    put(block->names, block->names_used);
    pthread_mutex_unlock(&out_lock);
    block->n = 0;
    block->names_used = 0;
}

static void *add(struct block *block, const char *name, size_t size, uint32_t *name_end) {
    if (block->n == block->capacity || block->names_used + size > UINT32_MAX / 2) flush(block);
    while (block->names_used + size > block->names_size) {
        block->names_size = block->names_size ? 2 * block->names_size : 1 << 20;
        block->names = claim(block->names, block->names_size);
    }
    memcpy(block->names + block->names_used, name, size);
    block->names_used += size;
    *name_end = (uint32_t)block->names_used;
    return block->records + block->n++ * block->width;
}

static void prepare(struct block *block, uint32_t kind, size_t width) {
    *block = (struct block){.kind = kind, .width = width, .capacity = BATCH};
    block->records = claim(NULL, width * BATCH);
}

static int64_t ns(struct statx_timestamp t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }

static int step_by_step(const char *path, size_t size) {
    int at = dup(root);
    char name[256];
    for (size_t i = 0; at >= 0 && i < size;) {
        const char *slash = memchr(path + i, '/', size - i);
        size_t length = slash ? (size_t)(slash - path) - i : size - i;
        memcpy(name, path + i, length);
        name[length] = 0;
        int following = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        int problem = errno;
        close(at);
        at = following;
        errno = problem;
        struct stat status;
        if (at >= 0 && (fstat(at, &status) || status.st_dev != root_dev)) {
            close(at);
            errno = EXDEV;
            return -1;
        }
        i += length + 1;
    }
    return at;
}

static int open_folder(struct task *task) {
    if (!task->path_size) return dup(root);
    if (!atomic_load(&has_openat2) || task->path_size > CHUNK) return step_by_step(task->path, task->path_size);
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
    };
    char path[CHUNK + 1];
    memcpy(path, task->path, task->path_size);
    path[task->path_size] = 0;
    for (;;) {
        int got = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
        if (got >= 0) return got;
        if (errno == EAGAIN) continue; /* a rename went on meanwhile */
        if (errno == ENOSYS || errno == EPERM) {
            atomic_store(&has_openat2, false);
            return step_by_step(task->path, task->path_size);
        }
        return -1;
    }
}

static struct task *new_task(const struct task *above, uint32_t id, uint32_t known_at, const char *name, size_t size) {
    size_t before = above && above->path_size ? above->path_size + 1 : 0;
    struct task *task = claim(NULL, sizeof *task + before + size);
    /* First of all: the path begins within the padding of the rest. */
    *task = (struct task){.id = id, .parent = above ? above->id : NONE, .known = known_at,
                          .name_size = (uint32_t)size, .path_size = (uint32_t)(before + size)};
    if (before) {
        memcpy(task->path, above->path, above->path_size);
        task->path[above->path_size] = '/';
    }
    memcpy(task->path + before, name, size);
    return task;
}

static void push(struct task *first, struct task *last, size_t n) {
    if (!n) return;
    pthread_mutex_lock(&queue_lock);
    last->next = queue;
    queue = first;
    outstanding += n;
    if (n > 1) pthread_cond_broadcast(&queue_filled);
    else pthread_cond_signal(&queue_filled);
    pthread_mutex_unlock(&queue_lock);
}

static struct task *pop(void) {
    pthread_mutex_lock(&queue_lock);
    while (!queue && outstanding) pthread_cond_wait(&queue_filled, &queue_lock);
    struct task *task = queue;
    if (task) queue = task->next;
    pthread_mutex_unlock(&queue_lock);
    return task;
}

static void done(struct task *task) {
    pthread_mutex_lock(&queue_lock);
    if (!--outstanding) pthread_cond_broadcast(&queue_filled);
    pthread_mutex_unlock(&queue_lock);
    free(task);
}

static uint64_t slot_of(uint64_t inode) { return (inode * 0x9E3779B97F4A7C15ULL >> 20) & (n_slots - 1); }

/* The known folder with this inode that nobody has claimed in this walk; NONE for a new one. */
static uint32_t recall(uint64_t inode) {
    if (!known) return NONE;
    for (uint64_t at = slot_of(inode);; at = (at + 1) & (n_slots - 1)) {
        uint32_t found = slots[at];
        if (found == NONE) return NONE;
        if (known_folders[found].inode == inode) return atomic_exchange(&claimed[found], 1) ? NONE : found;
    }
}

struct chain {
    struct task *first, *last;
    size_t n;
};

static void link_task(struct chain *chain, struct task *task) {
    task->next = chain->first;
    chain->first = task;
    if (!chain->last) chain->last = task;
    chain->n++;
}

static void list_known(struct task *task, const struct known_folder *was, struct chain *below) {
    for (uint32_t i = was->children; i < was->children + was->n_children; i++) {
        const struct known_folder *child = &known_folders[i];
        if (atomic_exchange(&claimed[i], 1)) continue;
        link_task(below, new_task(task, child->id, i, known_names + child->name_start, child->name_size));
    }
}

static uint32_t read_listing(struct task *task, int handle, char *buffer, struct block *entries, struct chain *below) {
    for (;;) {
        long size = syscall(SYS_getdents64, handle, buffer, LISTING);
        if (size <= 0) return size ? (uint32_t)errno : 0;
        for (long at = 0; at < size;) {
            struct linux_dirent64 *each = (void *)(buffer + at);
            at += each->d_reclen;
            const char *name = each->d_name;
            if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) continue;
            size_t length = strlen(name);
            struct statx found;
            if (each->d_type != DT_DIR) {
                int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
                if (statx(handle, name, flags, STATX_BASIC_STATS, &found)) continue; /* gone meanwhile */
            }
            if (each->d_type == DT_DIR || S_ISDIR(found.stx_mode)) {
                uint32_t was = recall(each->d_ino);
                uint32_t id = was == NONE ? atomic_fetch_add(&next_id, 1) : known_folders[was].id;
                link_task(below, new_task(task, id, was, name, length));
                continue;
            }
            uint32_t name_end;
            struct entry *entry = add(entries, name, length, &name_end);
            *entry = (struct entry){
                .folder = task->id, .name_end = name_end, .mode = found.stx_mode, .uid = found.stx_uid,
                .gid = found.stx_gid, .names = found.stx_nlink, .inode = found.stx_ino,
                .size_bytes = (int64_t)found.stx_size, .own_bytes = (int64_t)found.stx_blocks * 512,
                .mtime_ns = ns(found.stx_mtime), .ctime_ns = ns(found.stx_ctime),
            };
        }
    }
}

static void visit(struct task *task, char *buffer, struct block *folders, struct block *entries) {
    struct folder record = {.id = task->id, .parent = task->parent, .read = READ};
    struct chain below = {0};
    struct statx found = {0};
    int handle = open_folder(task);
    if (handle < 0 || statx(handle, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &found)) {
        record.error = (uint32_t)errno;
    } else {
        record.mode = found.stx_mode, record.uid = found.stx_uid, record.gid = found.stx_gid;
        record.inode = found.stx_ino, record.own_bytes = (int64_t)found.stx_blocks * 512;
        record.mtime_ns = ns(found.stx_mtime), record.ctime_ns = ns(found.stx_ctime);
        const struct known_folder *was = task->known == NONE ? NULL : &known_folders[task->known];
        if (was && !was->reread && was->inode == record.inode && was->mtime_ns == record.mtime_ns &&
            was->ctime_ns == record.ctime_ns) {
            record.read = SAME;
            list_known(task, was, &below);
        } else {
            record.error = read_listing(task, handle, buffer, entries, &below);
        }
    }
    if (handle >= 0) close(handle);
    uint32_t name_end;
    struct folder *kept = add(folders, task->path + task->path_size - task->name_size, task->name_size, &name_end);
    record.name_end = name_end;
    *kept = record;
    push(below.first, below.last, below.n);
}

static void *work(void *nothing) {
    char *buffer = claim(NULL, LISTING);
    struct block folders, entries;
    prepare(&folders, FOLDERS, sizeof(struct folder));
    prepare(&entries, ENTRIES, sizeof(struct entry));
    for (struct task *task; (task = pop()); done(task)) visit(task, buffer, &folders, &entries);
    flush(&entries);
    flush(&folders);
    return nothing;
}

static void load(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status)) die(path);
    char *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) die(path);
    close(file);
    known = (void *)data;
    known_folders = (void *)(known + 1);
    known_names = (char *)(known_folders + known->n);
    claimed = calloc(known->n + 1, 1);
    while (n_slots < 2 * known->n + 1) n_slots *= 2;
    slots = claim(NULL, n_slots * sizeof *slots);
    memset(slots, 0xff, n_slots * sizeof *slots);
    if (!claimed) die("memory");
    for (uint32_t i = 0; i < known->n; i++) {
        uint64_t at = slot_of(known_folders[i].inode);
        while (slots[at] != NONE) at = (at + 1) & (n_slots - 1);
        slots[at] = i;
    }
    atomic_store(&next_id, (unsigned)known->next_id);
}

int main(int count, char **words) {
    if (count < 4) return 64;
    int n_threads = atoi(words[2]);
    root = open(words[1], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (root < 0 || fstat(root, &status)) die(words[1]);
    root_dev = status.st_dev;
    if (atoi(words[3])) {
        setpriority(PRIO_PROCESS, 0, 19);
        syscall(SYS_ioprio_set, 1, 0, 3 << 13); /* this process, the idle class */
    }
    if (count > 4) load(words[4]);
    uint32_t was = recall((uint64_t)status.st_ino);
    uint32_t id = was == NONE ? atomic_fetch_add(&next_id, 1) : known_folders[was].id;
    struct task *first = new_task(NULL, id, was, "", 0);
    push(first, first, 1);
    pthread_t threads[256];
    if (n_threads < 1 || n_threads > 256) return 64;
    for (int i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, work, NULL)) die("thread");
    for (int i = 0; i < n_threads; i++) pthread_join(threads[i], NULL);
    return 0;
}
