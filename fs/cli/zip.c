/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of an archive stands at its end: a record that says where it starts, behind it a comment of
 * up to 64 KiB. Fields that are too small for a value are all ones, and the value is in a zip64 record or
 * field.
 */
#include "fs/cli/zip.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCAL_MAGIC 0x04034b50u
#define ENTRY_MAGIC 0x02014b50u
#define END_MAGIC 0x06054b50u
#define END64_MAGIC 0x06064b50u
#define LOCATOR_MAGIC 0x07064b50u
#define LOCAL_BYTES 30
#define ENTRY_BYTES 46
#define END_BYTES 22
#define END64_BYTES 56
#define LOCATOR_BYTES 20
#define COMMENT_BYTES_MAX 65535
#define DIRECTORY_BYTES_MAX (64u << 20)
#define FLAG_ENCRYPTED 1u
#define EXTRA_ZIP64 1u
#define SUFFIX ".npy"
#define SUFFIX_BYTES 4

struct archive {
	int fd;
	uint64_t size;
	unsigned char *directory;
	size_t directory_size;
	char *why;
	size_t why_size;
};

/* One entry of the directory. */
struct entry {
	const char *name;
	size_t name_len;
	uint64_t local_off;
	unsigned flags;
	struct zip_member member;
};

static uint64_t get(const unsigned char *p, unsigned bytes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < bytes; i++)
		n |= (uint64_t)p[i] << (8 * i);
	return n;
}

static int damaged(const struct archive *a, const char *what)
{
	snprintf(a->why, a->why_size, "found no whole .npz archive (%s), want one written by numpy.savez",
		 what);
	return -EINVAL;
}

static int read_at(const struct archive *a, void *buf, size_t size, uint64_t off)
{
	for (size_t done = 0; done < size;) {
		ssize_t n;

		if (off > a->size || size > a->size - off)
			return damaged(a, "it is cut off");
		n = pread(a->fd, (char *)buf + done, size - done, (off_t)(off + done));
		if (n < 0)
			return -errno;
		if (n == 0)
			return damaged(a, "it is cut off");
		done += (size_t)n;
	}
	return 0;
}

/* ------------------------------------------------------------------ the directory */

/* The directory's place by the zip64 record, whose own place is told right before the end record. */
static int find_directory64(const struct archive *a, uint64_t end_off, uint64_t *off, uint64_t *size)
{
	unsigned char locator[LOCATOR_BYTES], end64[END64_BYTES];
	int rc;

	if (end_off < LOCATOR_BYTES)
		return damaged(a, "no zip64 locator");
	rc = read_at(a, locator, sizeof locator, end_off - LOCATOR_BYTES);
	if (rc == 0 && get(locator, 4) != LOCATOR_MAGIC)
		rc = damaged(a, "no zip64 locator");
	if (rc == 0)
		rc = read_at(a, end64, sizeof end64, get(locator + 8, 8));
	if (rc == 0 && get(end64, 4) != END64_MAGIC)
		rc = damaged(a, "no zip64 record");
	if (rc == 0) {
		*size = get(end64 + 40, 8);
		*off = get(end64 + 48, 8);
	}
	return rc;
}

static int find_directory(const struct archive *a, uint64_t *off, uint64_t *size)
{
	size_t tail_size =
		a->size < END_BYTES + COMMENT_BYTES_MAX ? (size_t)a->size : END_BYTES + COMMENT_BYTES_MAX;
	unsigned char *tail = malloc(tail_size + 1), *end = NULL;
	int rc = tail ? read_at(a, tail, tail_size, a->size - tail_size) : -ENOMEM;

	for (size_t i = END_BYTES; rc == 0 && !end && i <= tail_size; i++) {
		unsigned char *at = tail + tail_size - i;

		if (get(at, 4) == END_MAGIC && get(at + 20, 2) == i - END_BYTES)
			end = at;
	}
	if (rc == 0 && !end)
		rc = damaged(a, "no end record");
	if (rc == 0) {
		*size = get(end + 12, 4);
		*off = get(end + 16, 4);
		if (*size == UINT32_MAX || *off == UINT32_MAX || get(end + 10, 2) == UINT16_MAX)
			rc = find_directory64(a, a->size - (uint64_t)(tail + tail_size - end), off, size);
	}
	free(tail);
	return rc;
}

static int read_directory(struct archive *a)
{
	uint64_t off = 0, size = 0;
	int rc = find_directory(a, &off, &size);

	if (rc != 0)
		return rc;
	if (size > DIRECTORY_BYTES_MAX || size > a->size)
		return damaged(a, "its directory is too large");
	a->directory_size = (size_t)size;
	a->directory = malloc(a->directory_size + 1);
	return a->directory ? read_at(a, a->directory, a->directory_size, off) : -ENOMEM;
}

/* Replaces the fields that are all ones by those of the zip64 field, which has only them, in this order. */
static bool widen(struct entry *e, const unsigned char *extra, size_t size)
{
	uint64_t *fields[] = {&e->member.plain_size, &e->member.size, &e->local_off};

	while (size >= 4) {
		size_t id = get(extra, 2), len = get(extra + 2, 2);
		const unsigned char *value = extra + 4;

		if (len > size - 4)
			return false;
		extra += 4 + len;
		size -= 4 + len;
		for (size_t i = 0; id == EXTRA_ZIP64 && i < sizeof fields / sizeof *fields; i++) {
			if (*fields[i] != UINT32_MAX)
				continue;
			if (len < 8)
				return false;
			*fields[i] = get(value, 8);
			value += 8;
			len -= 8;
		}
	}
	return true;
}

/* Reads the entry at *at of the directory and moves on; 0 at its end. */
static int next_entry(const struct archive *a, size_t *at, struct entry *e)
{
	const unsigned char *p = a->directory + *at;
	size_t left = a->directory_size - *at, name_len, extra_len, comment_len;

	if (left == 0)
		return 0;
	if (left < ENTRY_BYTES || get(p, 4) != ENTRY_MAGIC)
		return damaged(a, "no directory entry");
	name_len = get(p + 28, 2);
	extra_len = get(p + 30, 2);
	comment_len = get(p + 32, 2);
	if (name_len + extra_len + comment_len > left - ENTRY_BYTES)
		return damaged(a, "its directory is cut off");
	*e = (struct entry){
		.name = (const char *)p + ENTRY_BYTES,
		.name_len = name_len,
		.flags = (unsigned)get(p + 8, 2),
		.local_off = get(p + 42, 4),
		.member = {.method = (enum zip_method)get(p + 10, 2),
			   .crc = (uint32_t)get(p + 16, 4),
			   .size = get(p + 20, 4),
			   .plain_size = get(p + 24, 4)},
	};
	if (!widen(e, p + ENTRY_BYTES + name_len, extra_len))
		return damaged(a, "a zip64 field is cut off");
	*at += ENTRY_BYTES + name_len + extra_len + comment_len;
	return 1;
}

/* ------------------------------------------------------------------ a member */

static bool is_array(const struct entry *e)
{
	return e->name_len > SUFFIX_BYTES &&
	       memcmp(e->name + e->name_len - SUFFIX_BYTES, SUFFIX, SUFFIX_BYTES) == 0;
}

static bool is_named(const struct entry *e, const char *name)
{
	size_t len = e->name_len;

	if (!name)
		return is_array(e);
	if (len == strlen(name) && memcmp(e->name, name, len) == 0)
		return true;
	return is_array(e) && len - SUFFIX_BYTES == strlen(name) &&
	       memcmp(e->name, name, len - SUFFIX_BYTES) == 0;
}

/* Says which arrays there are. */
static int refuse_choice(const struct archive *a, const char *name)
{
	size_t used, at = 0;
	struct entry e;

	used = (size_t)(name ? snprintf(a->why, a->why_size, "found no array %s; it has", name)
			     : snprintf(a->why, a->why_size,
					"found more than one array, name one (--member):"));
	while (used < a->why_size && next_entry(a, &at, &e) > 0)
		if (is_array(&e))
			used += (size_t)snprintf(a->why + used, a->why_size - used, " %.*s",
						 (int)(e.name_len - SUFFIX_BYTES), e.name);
	return -EINVAL;
}

static int choose(const struct archive *a, const char *name, struct entry *out)
{
	size_t at = 0, found = 0;
	struct entry e;
	int rc;

	while ((rc = next_entry(a, &at, &e)) > 0)
		if (is_named(&e, name) && found++ == 0)
			*out = e;
	if (rc != 0)
		return rc;
	if (found == 0 && !name)
		return damaged(a, "there is no array in it");
	return found == 1 || (found && name) ? 0 : refuse_choice(a, name);
}

/* Where the bytes start: behind a header of its own, whose name and fields may be longer than the
 * directory's. */
static int locate(const struct archive *a, const struct entry *e, struct zip_member *out)
{
	unsigned char local[LOCAL_BYTES];
	int rc = read_at(a, local, sizeof local, e->local_off);

	if (rc != 0)
		return rc;
	if (get(local, 4) != LOCAL_MAGIC)
		return damaged(a, "a member has no header");
	*out = e->member;
	out->off = e->local_off + LOCAL_BYTES + get(local + 26, 2) + get(local + 28, 2);
	if (out->off > a->size || out->size > a->size - out->off)
		return damaged(a, "a member is cut off");
	if (e->flags & FLAG_ENCRYPTED || (out->method != ZIP_STORED && out->method != ZIP_DEFLATED)) {
		snprintf(a->why, a->why_size, "the array %.*s is %s: want it stored or deflated",
			 (int)e->name_len, e->name,
			 e->flags & FLAG_ENCRYPTED ? "encrypted" : "compressed in another way");
		return -EINVAL;
	}
	return out->method == ZIP_STORED && out->size != out->plain_size
		       ? damaged(a, "a member has two sizes")
		       : 0;
}

int zip_find(int fd, const char *name, struct zip_member *out, char *why, size_t why_size)
{
	struct archive a = {.fd = fd, .why = why, .why_size = why_size};
	struct entry e = {0};
	struct stat st;
	int rc = fstat(fd, &st) == 0 ? 0 : -errno;

	if (rc == 0 && !S_ISREG(st.st_mode)) {
		snprintf(why, why_size, "an .npz archive is read from its end: import it from a file");
		return -EINVAL;
	}
	a.size = rc == 0 ? (uint64_t)st.st_size : 0;
	if (rc == 0)
		rc = read_directory(&a);
	if (rc == 0)
		rc = choose(&a, name, &e);
	if (rc == 0)
		rc = locate(&a, &e, out);
	free(a.directory);
	return rc;
}
