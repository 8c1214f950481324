/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openmodel - random mixes of what can be done to an open file, to a vector and to an ordinary file of its
 * size, by two processes with two descriptors each.
 *
 *   openmodel MOUNTED-DIRECTORY PLAIN-DIRECTORY BYTES FIRST-SEED SEEDS
 *
 * What a descriptor that writes reads back is at every step what the ordinary file holds; what others read is
 * that soon. A vector that is being replaced or created is another matter (fs/README.md): others see the old
 * one or the new, whole, and an incomplete one is refused by close and fsync and leaves the old one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 2
#define SLOTS 2
#define STEPS 150
#define BYTES_MAX 65536
#define SOON_MS 5000

enum kind {
	OPEN,
	WRITE,
	READ,
	MAP,
	STORE,
	LOAD,
	MSYNC,
	UNMAP,
	TRUNCATE,
	ALLOCATE,
	FSYNC,
	CLOSE,
	DUP_CLOSE,
	TOO_FAR,
	KINDS
};
static const char *const kind_names[KINDS] = {"open",  "write", "read",      "map",          "store",
					      "load",  "msync", "unmap",     "truncate",     "allocate",
					      "fsync", "close", "dup+close", "write too far"};

struct op {
	enum kind kind;
	int process, slot, flags;
	size_t off, size;
	unsigned value; /* of the bytes written */
};

struct slot {
	int fd[2]; /* of the vector, of the ordinary file */
	int flags;
	size_t run; /* its writes followed each other from 0 to here: they may become the whole vector */
	unsigned char *map[2];
};

/* What both processes know. */
static struct shared {
	unsigned long seed;
	int staging; /* the slot whose file is not the published one, -1: none */
	bool creating, was_whole, failed;
	struct slot slots[PROCESSES * SLOTS]; /* the descriptors' numbers are each process's own */
	unsigned char old[BYTES_MAX];
} * shared;

static size_t bytes;
static char paths[2][4096];
static uint64_t random_state;

static unsigned below(unsigned n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

__attribute__((format(printf, 2, 3))) static void fail(const struct op *op, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "seed %lu: %s of process %d, descriptor %d, [%zu, +%zu): ", shared->seed,
		op ? kind_names[op->kind] : "end", op ? op->process : 0, op ? op->slot : 0, op ? op->off : 0,
		op ? op->size : 0);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	shared->failed = true;
}

static void fill(unsigned char *data, size_t size, unsigned value)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (unsigned char)(value + i * 7 + 1);
}

static size_t plain_size(const struct slot *slot)
{
	return (size_t)lseek(slot->fd[1], 0, SEEK_END);
}

/* The ordinary file's bytes, by its path: -1 if it is not there. */
static ssize_t read_plain(unsigned char *data)
{
	int fd = open(paths[1], O_RDONLY);
	ssize_t got = fd < 0 ? -1 : pread(fd, data, bytes, 0);

	if (fd >= 0)
		close(fd);
	return got;
}

static void write_plain(const unsigned char *data)
{
	int fd = open(paths[1], O_WRONLY | O_TRUNC);

	if (fd < 0 || pwrite(fd, data, bytes, 0) != (ssize_t)bytes)
		abort();
	close(fd);
}

static size_t differ(const unsigned char *a, const unsigned char *b, size_t size)
{
	size_t i = 0;

	while (i < size && a[i] == b[i])
		i++;
	return i;
}

/* ------------------------------------------------------------------ one operation, in its process */

static void compare(const struct op *op, long got, long want, const char *what)
{
	if (got != want)
		fail(op, "%s gave %ld (%s), want %ld", what, got, strerror(errno), want);
}

static void do_read(const struct op *op, const struct slot *slot, bool exact)
{
	unsigned char got[BYTES_MAX], want[BYTES_MAX];
	int waited_ms = 0;

	for (;; waited_ms++) {
		ssize_t n = pread(slot->fd[0], got, op->size, (off_t)op->off);
		ssize_t m = pread(slot->fd[1], want, op->size, (off_t)op->off);
		size_t at;

		if (n == m && differ(got, want, (size_t)n) == (size_t)n)
			return;
		at = n > 0 ? differ(got, want, (size_t)n) : 0;
		if (exact || waited_ms >= SOON_MS) {
			fail(op, "read %zd bytes, want %zd; byte %zu is %02x, want %02x", n, m, op->off + at,
			     got[at], want[at]);
			return;
		}
		usleep(1000);
	}
}

/* Another descriptor's file is staged: this one shows the published vector, old or new, never a mix. */
static void read_beside(const struct op *op, const struct slot *slot)
{
	unsigned char got[BYTES_MAX], new[BYTES_MAX];
	ssize_t n = 0;

	for (int ms = 0; ms < SOON_MS; ms++) { /* what was written before may have to become visible first */
		n = pread(slot->fd[0], got, bytes, 0);
		if (n == (ssize_t)bytes && !memcmp(got, shared->old, bytes))
			return;
		if (read_plain(new) == (ssize_t)bytes && n == (ssize_t)bytes && !memcmp(got, new, bytes))
			return;
		usleep(1000);
	}
	fail(op, "%zd bytes, neither the old vector nor the new; byte %zu is not old", n,
	     differ(got, shared->old, bytes));
}

/* A mapping shows what the ordinary file holds; soon, if another descriptor has written it. */
static void wait_for_map(const struct op *op, const struct slot *slot)
{
	size_t at = 0;

	for (int ms = 0; ms < SOON_MS; ms++) {
		at = differ(slot->map[0], slot->map[1], bytes);
		if (at == bytes)
			return;
		usleep(1000);
	}
	fail(op, "mapped byte %zu is %02x, want %02x", at, slot->map[0][at], slot->map[1][at]);
}

static void do_open(const struct op *op, struct slot *slot)
{
	for (int i = 0; i < 2; i++)
		slot->fd[i] = open(paths[i], op->flags, 0644);
	slot->flags = op->flags;
	if (slot->fd[0] < 0 || slot->fd[1] < 0)
		fail(op, "flags %o: %d, %d: %s", (unsigned)op->flags, slot->fd[0], slot->fd[1],
		     strerror(errno));
}

static void do_map(const struct op *op, struct slot *slot)
{
	int prot = PROT_READ | ((slot->flags & O_ACCMODE) == O_RDWR ? PROT_WRITE : 0);

	for (int i = 0; i < 2; i++) {
		slot->map[i] = mmap(NULL, bytes, prot, MAP_SHARED, slot->fd[i], 0);
		if (slot->map[i] == MAP_FAILED) {
			fail(op, "mmap: %s", strerror(errno));
			slot->map[i] = NULL;
			return;
		}
	}
	wait_for_map(op, slot);
}

static void do_unmap(struct slot *slot)
{
	for (int i = 0; i < 2; i++) {
		if (slot->map[i])
			munmap(slot->map[i], bytes);
		slot->map[i] = NULL;
	}
}

/*
 * An incomplete file is refused by what publishes it. One that was truncated and not written is not by a
 * close, since a mapping may write it yet, nor by what follows that.
 */
static void do_publish(const struct op *op, struct slot *slot)
{
	bool staging = shared->staging == op->process * SLOTS + op->slot;
	size_t size = plain_size(slot);
	bool whole = !staging || size == bytes;
	bool awaits = staging && !shared->creating && size == 0 && (slot->flags & O_ACCMODE) == O_RDWR;
	int rc[2] = {0};

	for (int i = 0; i < 2; i++) {
		int fd = op->kind == DUP_CLOSE ? dup(slot->fd[i]) : slot->fd[i];

		rc[i] = op->kind == FSYNC ? fsync(fd) : close(fd);
		rc[i] = rc[i] ? -errno : 0;
	}
	if (op->kind == CLOSE)
		slot->fd[0] = slot->fd[1] = -1;
	if (awaits && (op->kind != FSYNC || rc[0] == 0))
		compare(op, rc[0], 0, "closing or syncing");
	else
		compare(op, rc[0], whole ? 0 : -EINVAL, "closing or syncing");
}

/* A call that says no more than how it ended is made on both files, and ends the same. */
static void do_call(const struct op *op, const struct slot *slot)
{
	unsigned char data[BYTES_MAX];
	long rc[2] = {0};

	fill(data, op->kind == WRITE ? op->size : 0, op->value);
	for (int i = 0; i < 2; i++)
		rc[i] = op->kind == WRITE      ? pwrite(slot->fd[i], data, op->size, (off_t)op->off)
			: op->kind == MSYNC    ? msync(slot->map[i], bytes, MS_SYNC)
			: op->kind == TRUNCATE ? ftruncate(slot->fd[i], (off_t)op->size)
					       : fallocate(slot->fd[i], 0, (off_t)op->off, (off_t)op->size);
	compare(op, rc[0], rc[1], kind_names[op->kind]);
}

static void do_write_too_far(const struct op *op, const struct slot *slot)
{
	unsigned char data[4];
	ssize_t rc;

	fill(data, sizeof data, op->value);
	rc = pwrite(slot->fd[0], data, sizeof data, (off_t)bytes - 2);
	compare(op, rc < 0 ? errno : 0, EFBIG, "pwrite");
}

static void do_store(const struct op *op, const struct slot *slot)
{
	wait_for_map(op, slot);
	for (int i = 0; i < 2; i++)
		fill(slot->map[i] + op->off, op->size, op->value);
}

static void perform(const struct op *op)
{
	struct slot *slot = &shared->slots[op->process * SLOTS + op->slot];

	errno = 0;
	switch (op->kind) {
	case OPEN:
		do_open(op, slot);
		return;
	case TOO_FAR:
		do_write_too_far(op, slot);
		return;
	case READ:
		if (shared->staging >= 0 && shared->staging != op->process * SLOTS + op->slot)
			read_beside(op, slot);
		else
			do_read(op, slot, (slot->flags & O_ACCMODE) != O_RDONLY);
		return;
	case MAP:
		do_map(op, slot);
		return;
	case STORE:
		do_store(op, slot);
		return;
	case LOAD:
		wait_for_map(op, slot);
		return;
	case UNMAP:
		do_unmap(slot);
		return;
	case WRITE:
	case MSYNC:
	case TRUNCATE:
	case ALLOCATE:
		do_call(op, slot);
		return;
	case FSYNC:
	case CLOSE:
	case DUP_CLOSE:
		do_publish(op, slot);
		return;
	case KINDS:
		break;
	}
}

/* ------------------------------------------------------------------ what to do next */

static bool any_mapped(void)
{
	for (int i = 0; i < PROCESSES * SLOTS; i++)
		if (shared->slots[i].map[0])
			return true;
	return false;
}

static void choose_open(struct op *op)
{
	static const int extras[] = {0, 0, 0, O_CREAT, O_SYNC, O_DSYNC, O_NOATIME, O_DIRECT | O_CREAT};
	static const int modes[] = {O_RDWR, O_RDWR, O_RDWR, O_WRONLY, O_RDONLY};

	op->kind = OPEN;
	op->flags = modes[below(5)];
	if (shared->was_whole && op->flags != O_RDONLY)
		op->flags |= extras[below(8)] & ~O_DIRECT;
	if (shared->staging < 0 && op->flags != O_RDONLY && !any_mapped() && below(4) == 0)
		op->flags |= O_TRUNC;
	if (!shared->was_whole)
		op->flags = (below(3) ? O_RDWR : O_WRONLY) | O_CREAT | (below(2) ? O_EXCL : 0);
}

/* Runs of writes are likely, and so are mapped ones. */
static enum kind choose_kind(void)
{
	static const enum kind likely[] = {WRITE, WRITE, WRITE, WRITE, STORE, STORE,
					   STORE, MSYNC, MAP,   MAP,   READ};
	const unsigned count = sizeof likely / sizeof *likely;
	enum kind kind = below(3) ? likely[below(count)] : (enum kind)below(KINDS);

	return kind == CLOSE && below(3) ? READ : kind;
}

static void choose_range(struct op *op, size_t limit)
{
	static const size_t edges[] = {0, 0, 0, 100, 384, 1024, 2048, 4096, 8192};

	op->off = below(2) ? edges[below(9)] : below((unsigned)limit);
	if (op->off >= limit)
		op->off = 0;
	op->size = 1 + below((unsigned)(limit - op->off));
	if (below(4) == 0)
		op->size = limit - op->off;
	op->value = below(250);
}

/* False: this cannot be done now. */
static bool is_possible(struct op *op, const struct slot *slot)
{
	int at = op->process * SLOTS + op->slot;
	bool staging = shared->staging == at, others = shared->staging >= 0 && !staging;
	bool writes = (slot->flags & O_ACCMODE) != O_RDONLY, reads = (slot->flags & O_ACCMODE) != O_WRONLY;

	if (op->kind == OPEN)
		return false;
	if (others)
		return (op->kind == READ && reads) || op->kind == CLOSE;
	switch (op->kind) {
	case WRITE:
		return writes;
	case TOO_FAR:
		return writes && !staging;
	case READ:
		return reads;
	case MAP:
		return reads && !slot->map[0];
	case STORE:
		return slot->map[0] && (slot->flags & O_ACCMODE) == O_RDWR;
	case LOAD:
	case MSYNC:
	case UNMAP:
		return slot->map[0];
	case TRUNCATE:
		if (!writes)
			return false;
		if (!staging)
			op->size = below(3) || any_mapped() ? bytes : 0;
		else if (below(2))
			op->size = bytes;
		return true;
	case ALLOCATE:
		return writes;
	default:
		return true;
	}
}

/* ------------------------------------------------------------------ two processes */

static int to_child[2], from_child[2];

static void run_child(void)
{
	struct op op;

	while (read(to_child[0], &op, sizeof op) == sizeof op) {
		perform(&op);
		if (write(from_child[1], "", 1) != 1)
			break;
	}
	_exit(0);
}

static void run(const struct op *op)
{
	char done;

	if (op->process == 0) {
		perform(op);
		return;
	}
	if (write(to_child[1], op, sizeof *op) != sizeof *op || read(from_child[0], &done, 1) != 1)
		abort();
}

static ssize_t plain_length(void)
{
	unsigned char unused[BYTES_MAX];

	return read_plain(unused);
}

/* The file of this slot is not the published vector any more, or is it now. */
static void account(const struct op *op)
{
	struct slot *slot = &shared->slots[op->process * SLOTS + op->slot];
	int at = op->process * SLOTS + op->slot;
	bool publishes = op->kind == FSYNC || op->kind == CLOSE || op->kind == DUP_CLOSE ||
			 (op->kind == MAP && !shared->creating);

	if (op->kind == OPEN && (!shared->was_whole || op->flags & O_TRUNC)) {
		shared->staging = at;
		shared->creating = !shared->was_whole;
	}
	if (op->kind == TRUNCATE && op->size == 0)
		shared->staging = at;
	if (shared->staging == at && publishes && plain_length() == (ssize_t)bytes) {
		shared->staging = -1;
		shared->creating = false;
		shared->was_whole = true;
	}
	if (op->kind != CLOSE)
		return;
	slot->flags = -1;
	slot->run = 0;
	if (shared->staging != at)
		return;
	if (shared->was_whole)
		write_plain(shared->old);
	else
		unlink(paths[1]);
	shared->staging = -1;
	shared->creating = false;
}

/*
 * Of two descriptors that both write the vector from its start on, the one that is whole last wins, whole; an
 * ordinary file would hold a mix. So one is synced first.
 */
static bool end_other_run(struct op *op)
{
	int own = op->process * SLOTS + op->slot;

	for (int at = 0; at < PROCESSES * SLOTS; at++) {
		struct slot *slot = &shared->slots[at];

		if (at == own || slot->flags < 0 || !slot->run)
			continue;
		*op = (struct op){.kind = FSYNC, .process = at / SLOTS, .slot = at % SLOTS};
		slot->run = 0;
		return true;
	}
	return false;
}

static void step(void)
{
	struct op op = {.process = (int)below(PROCESSES), .slot = (int)below(SLOTS)};
	struct slot *slot = &shared->slots[op.process * SLOTS + op.slot];
	bool staging = shared->staging == op.process * SLOTS + op.slot;

	choose_range(&op, bytes);
	op.kind = choose_kind();
	if (op.kind == WRITE && below(2)) {
		op.off = slot->run;
		op.size = below(2) ? bytes - op.off : 1 + below((unsigned)(bytes - op.off));
	}
	if (slot->flags < 0) {
		if (shared->staging >= 0 && shared->creating)
			return;
		choose_open(&op);
		if (op.flags & O_TRUNC && shared->was_whole)
			read_plain(shared->old);
	} else if (!is_possible(&op, slot)) {
		return;
	}
	/* Beyond its end an ordinary file has no pages. And what is complete may have been published
	 * meanwhile. */
	if (staging && (op.kind == MAP || op.kind == STORE) && plain_length() != (ssize_t)bytes)
		return;
	if (staging && op.kind == TRUNCATE && op.size != bytes &&
	    (slot->map[0] || plain_length() == (ssize_t)bytes))
		return;
	if (op.kind == CLOSE && slot->map[0])
		return;
	if (!staging && op.kind == TRUNCATE && op.size == 0)
		read_plain(shared->old);
	if (op.kind == WRITE && op.off == slot->run && end_other_run(&op))
		slot = &shared->slots[op.process * SLOTS + op.slot];
	if (op.kind == WRITE)
		slot->run = op.off == slot->run && op.off + op.size < bytes ? op.off + op.size : 0;
	if (getenv("OPENMODEL_TRACE"))
		fprintf(stderr, "%s p%d d%d flags %o [%zu, +%zu)%s\n", kind_names[op.kind], op.process,
			op.slot, (unsigned)op.flags, op.off, op.size, staging ? " staged" : "");
	run(&op);
	account(&op);
}

static void close_all(void)
{
	for (int at = 0; at < PROCESSES * SLOTS; at++) {
		struct op op = {.kind = UNMAP, .process = at / SLOTS, .slot = at % SLOTS};

		if (shared->slots[at].flags < 0)
			continue;
		run(&op);
		op.kind = CLOSE;
		run(&op);
		account(&op);
	}
}

static void compare_files(void)
{
	unsigned char got[BYTES_MAX], want[BYTES_MAX];
	int fd = open(paths[0], O_RDONLY);
	ssize_t n = fd < 0 ? -1 : pread(fd, got, bytes, 0), m = read_plain(want);

	if (fd >= 0)
		close(fd);
	if (n != m || (n > 0 && memcmp(got, want, (size_t)n)))
		fail(NULL, "%zd bytes, want %zd; they differ at %zu", n, m,
		     n > 0 ? differ(got, want, (size_t)n) : 0);
}

static bool try_seed(unsigned long seed, const char *mounted, const char *plain)
{
	random_state = seed * 2654435761u + 88172645463325252u;
	shared->seed = seed;
	shared->staging = -1;
	shared->creating = shared->was_whole = false;
	snprintf(paths[0], sizeof paths[0], "%s/m%zu-%lu", mounted, bytes, seed % 10);
	snprintf(paths[1], sizeof paths[1], "%s/m%zu-%lu", plain, bytes, seed % 10);
	unlink(paths[0]);
	unlink(paths[1]);
	for (int i = 0; i < PROCESSES * SLOTS; i++)
		shared->slots[i] = (struct slot){.fd = {-1, -1}, .flags = -1};
	if (pipe2(to_child, O_CLOEXEC) || pipe2(from_child, O_CLOEXEC))
		abort();
	fflush(NULL);
	if (fork() == 0) {
		close(to_child[1]);
		run_child();
	}
	close(to_child[0]);
	close(from_child[1]);
	for (int i = 0; i < STEPS && !shared->failed; i++)
		step();
	close_all();
	close(to_child[1]);
	close(from_child[0]);
	wait(NULL);
	compare_files();
	return !shared->failed;
}

int main(int argc, char **argv)
{
	unsigned long first, seeds;

	if (argc != 6)
		return 2;
	bytes = strtoul(argv[3], NULL, 10);
	first = strtoul(argv[4], NULL, 10);
	seeds = strtoul(argv[5], NULL, 10);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!bytes || bytes > BYTES_MAX || shared == MAP_FAILED)
		return 2;
	for (unsigned long seed = first; seed < first + seeds; seed++)
		if (!try_seed(seed, argv[1], argv[2]))
			return 1;
	return 0;
}
