/* The bare loop: threads that take folders from one stack, list them (getdents64) and look at each entry (statx).
 * Nothing is kept or written but two sums. What any scanner of the kind could reach at most. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct linux_dirent64 {
    uint64_t d_ino;
    int64_t d_off;
    unsigned short d_reclen;
    unsigned char d_type;
    char d_name[];
};

struct folder {
    struct folder *next;
    char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static struct folder *stack;
static size_t outstanding, total;

static void push(const char *above, const char *name) {
    struct folder *made = malloc(sizeof *made + strlen(above) + strlen(name) + 2);
    sprintf(made->path, "%s/%s", above, name);
    pthread_mutex_lock(&lock);
    made->next = stack;
    stack = made;
    outstanding++;
    pthread_cond_signal(&filled);
    pthread_mutex_unlock(&lock);
}

static void *work(void *nothing) {
    char *buffer = malloc(1 << 18);
    size_t seen = 0;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!stack && outstanding) pthread_cond_wait(&filled, &lock);
        struct folder *folder = stack;
        if (folder) stack = folder->next;
        pthread_mutex_unlock(&lock);
        if (!folder) break;
        int handle = open(folder->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        long size;
        while (handle >= 0 && (size = syscall(SYS_getdents64, handle, buffer, 1 << 18)) > 0)
            for (long at = 0; at < size;) {
                struct linux_dirent64 *each = (void *)(buffer + at);
                at += each->d_reclen;
                if (!strcmp(each->d_name, ".") || !strcmp(each->d_name, "..")) continue;
                struct statx found;
                statx(handle, each->d_name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &found);
                seen++;
                if (each->d_type == DT_DIR) push(folder->path, each->d_name);
            }
        close(handle);
        free(folder);
        pthread_mutex_lock(&lock);
        if (!--outstanding) pthread_cond_broadcast(&filled);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    total += seen;
    pthread_mutex_unlock(&lock);
    return nothing;
}

int main(int count, char **words) {
    pthread_t threads[64];
    int n = count > 2 ? atoi(words[2]) : 2;
    struct folder *first = malloc(sizeof *first + strlen(words[1]) + 1);
    strcpy(first->path, words[1]);
    first->next = NULL;
    stack = first;
    outstanding = 1;
    for (int i = 0; i < n; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
    printf("%zu\n", total + 1);
    return 0;
}
