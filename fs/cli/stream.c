/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "fs/cli/zip.h"

#define AHEAD_BYTES ((off_t)8 << 20)  /* asked of the disk while earlier bytes are written elsewhere */
#define INPUT_BYTES ((size_t)1 << 18) /* of compressed bytes at a time */
#define COUNT_BYTES ((size_t)1 << 20)
/* The memory that a compressed file may ask for: as much as zstd(1) grants unasked, and --long uses. */
#define WINDOW_LOG_MAX 27

struct stream {
	int fd;
	bool is_file;
	uint64_t size; /* of a regular file; of a compressed one, once it is measured, of its plain bytes */
	off_t off;     /* in the file */
	off_t ahead;   /* how far the disk has been asked */
	/* Of a compressed file: frames end to end. */
	ZSTD_DCtx *frames; /* NULL: it is plain */
	ZSTD_inBuffer packed;
	bool in_frame, is_measured;
	/* Of a member of an archive. */
	bool is_member;
	struct zip_member member;
	uint64_t left;      /* bytes of it that have not been read from the file */
	uint64_t plain_off; /* bytes of it that have been handed out */
	uint32_t crc;       /* of those */
	bool inflating;     /* z must be ended */
	z_stream z;
	unsigned char *input; /* bytes as they lie in the file */
};

/* Nothing is asked for twice: also where all is cached, every asking looks at every page. */
static void read_ahead(struct stream *s)
{
	off_t from = s->ahead > s->off ? s->ahead : s->off, until = s->off + AHEAD_BYTES;

	if (!s->is_file || from >= until) /* a length of 0 would ask for all the rest */
		return;
	posix_fadvise(s->fd, from, until - from, POSIX_FADV_WILLNEED);
	s->ahead = until;
}

/* Bytes of the file itself, as many as one call gives. */
static ssize_t read_once(struct stream *s, void *buf, size_t size)
{
	ssize_t n = read(s->fd, buf, size);

	if (n < 0)
		return -errno;
	s->off += n;
	return n;
}

/* The same, but fewer than size only at its end. */
static ssize_t read_file(struct stream *s, void *buf, size_t size)
{
	size_t done = 0;
	ssize_t n = 1;

	while (done < size && n > 0) {
		n = read_once(s, (unsigned char *)buf + done, size - done);
		if (n < 0)
			return n;
		done += (size_t)n;
	}
	read_ahead(s);
	return (ssize_t)done;
}

/* ------------------------------------------------------------------ compressed files */

static int refuse_frames(char *why, size_t why_size, size_t status)
{
	switch (ZSTD_getErrorCode(status)) {
	case ZSTD_error_memory_allocation:
		return -ENOMEM;
	case ZSTD_error_frameParameter_windowTooLarge:
		snprintf(why, why_size,
			 "to unpack it takes more than %d MB of memory: compress it without --ultra "
			 "and with --long=%d at most",
			 1 << (WINDOW_LOG_MAX - 20), WINDOW_LOG_MAX);
		return -EINVAL;
	case ZSTD_error_prefix_unknown:
		snprintf(why, why_size, "found bytes that zstd did not compress");
		return -EINVAL;
	case ZSTD_error_dictionary_wrong:
		snprintf(why, why_size, "it was compressed with a dictionary: compress it without one");
		return -EINVAL;
	default:
		snprintf(why, why_size, "the compressed file is damaged: %s", ZSTD_getErrorName(status));
		return -EINVAL;
	}
}

/* Unpacks what has been read; false: more must be read first. */
static bool unpack(struct stream *s, ZSTD_outBuffer *out, size_t *status)
{
	size_t taken = s->packed.pos, given = out->pos;

	*status = 0;
	if (!s->in_frame && s->packed.pos == s->packed.size)
		return false;
	*status = ZSTD_decompressStream(s->frames, out, &s->packed);
	if (ZSTD_isError(*status))
		return true;
	if (s->packed.pos == taken && out->pos == given)
		return false;
	s->in_frame = *status != 0;
	return true;
}

/* Reads size plain bytes, fewer only at the end; or if some are enough, as many as come of what is there. */
static ssize_t read_frames(struct stream *s, void *buf, size_t size, bool some, char *why, size_t why_size)
{
	ZSTD_outBuffer out = {buf, size, 0};

	while (out.pos < size) {
		size_t status;
		ssize_t n;

		if (unpack(s, &out, &status)) {
			if (ZSTD_isError(status))
				return refuse_frames(why, why_size, status);
			continue;
		}
		if (some && out.pos > 0)
			break;
		n = read_once(s, s->input, INPUT_BYTES);
		if (n < 0)
			return n;
		if (n == 0 && s->in_frame) {
			snprintf(why, why_size, "the compressed file is cut short");
			return -EINVAL;
		}
		if (n == 0)
			break;
		read_ahead(s);
		s->packed = (ZSTD_inBuffer){s->input, (size_t)n, 0};
	}
	return (ssize_t)out.pos;
}

static int start_frames(struct stream *s)
{
	s->input = malloc(INPUT_BYTES);
	s->frames = ZSTD_createDCtx();
	if (!s->input || !s->frames)
		return -ENOMEM;
	return ZSTD_isError(ZSTD_DCtx_setParameter(s->frames, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)) ? -ENOTSUP
												    : 0;
}

static void end_frames(struct stream *s)
{
	ZSTD_freeDCtx(s->frames);
	s->frames = NULL;
	free(s->input);
	s->input = NULL;
}

static int start_again(struct stream *s, off_t start)
{
	s->off = s->ahead = start;
	s->in_frame = false;
	s->packed = (ZSTD_inBuffer){0};
	if (s->frames)
		ZSTD_DCtx_reset(s->frames, ZSTD_reset_session_only);
	return lseek(s->fd, start, SEEK_SET) < 0 ? -errno : 0;
}

static int open_nameless(void)
{
	const char *dir = getenv("TMPDIR");
	char path[PATH_MAX];
	int fd;

	if (!dir || !*dir)
		dir = "/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	if (snprintf(path, sizeof path, "%s/vecfs.XXXXXX", dir) >= (int)sizeof path)
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC); /* not every file system has files without names */
	if (fd >= 0)
		unlink(path);
	return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const unsigned char *at, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

/* From now on the stream is that of the unpacked file. */
static int unpack_file(struct stream *s, char *why, size_t why_size)
{
	unsigned char *buf = malloc(COUNT_BYTES);
	int fd = open_nameless(), rc = buf ? 0 : -ENOMEM;
	ssize_t n = 1;

	if (fd < 0)
		snprintf(why, why_size, "cannot unpack it into $TMPDIR: %s", strerror(-fd));
	if (fd < 0 && rc == 0)
		rc = fd;
	while (rc == 0 && n > 0) {
		n = read_frames(s, buf, COUNT_BYTES, false, why, why_size);
		rc = n < 0 ? (int)n : write_all(fd, buf, (size_t)n);
		if (rc != 0 && n >= 0)
			snprintf(why, why_size, "cannot unpack it into $TMPDIR: %s", strerror(-rc));
	}
	free(buf);
	if (rc != 0) {
		if (fd >= 0)
			close(fd);
		return rc;
	}
	end_frames(s);
	close(s->fd);
	s->fd = fd;
	s->is_file = true;
	return 0;
}

/* ------------------------------------------------------------------ members of archives */

static int damaged(char *why, size_t why_size, const char *what)
{
	snprintf(why, why_size, "the archive is damaged: %s", what);
	return -EINVAL;
}

/* The next bytes of the member as they lie in the archive. */
static ssize_t read_member(struct stream *s, void *buf, size_t size, char *why, size_t why_size)
{
	ssize_t n;

	if (size > s->left)
		size = (size_t)s->left;
	n = read_file(s, buf, size);
	if (n < 0)
		return n;
	s->left -= (uint64_t)n;
	return (size_t)n < size ? damaged(why, why_size, "it became shorter") : n;
}

static ssize_t inflate_some(struct stream *s, void *buf, size_t size, char *why, size_t why_size)
{
	int status = Z_OK;

	s->z.next_out = buf;
	s->z.avail_out = (uInt)size;
	while (s->z.avail_out > 0 && status == Z_OK) {
		if (s->z.avail_in == 0) {
			ssize_t n = read_member(s, s->input, INPUT_BYTES, why, why_size);

			if (n < 0)
				return n;
			s->z.next_in = s->input;
			s->z.avail_in = (uInt)n;
		}
		status = inflate(&s->z, Z_NO_FLUSH);
	}
	if (status == Z_MEM_ERROR)
		return -ENOMEM;
	if (status != Z_OK && status != Z_STREAM_END) /* Z_BUF_ERROR: it ends within */
		return damaged(why, why_size, "its deflated bytes make no sense");
	return (ssize_t)(size - s->z.avail_out);
}

/* A member has exactly the bytes that the directory tells. */
static ssize_t read_plain(struct stream *s, void *buf, size_t size, char *why, size_t why_size)
{
	uint64_t left = s->member.plain_size - s->plain_off;
	bool at_end = size > left;
	ssize_t n = 0;

	if (at_end)
		size = (size_t)left;
	if (size > 0)
		n = s->inflating ? inflate_some(s, buf, size, why, why_size)
				 : read_member(s, buf, size, why, why_size);
	if (n < 0)
		return n;
	if ((size_t)n < size)
		return damaged(why, why_size, "an array is shorter than it says");
	s->plain_off += (uint64_t)n;
	s->crc = (uint32_t)crc32(s->crc, buf, (uInt)n);
	if (at_end && s->inflating) {
		unsigned char more;

		if (inflate_some(s, &more, 1, why, why_size) != 0)
			return damaged(why, why_size, "an array is longer than it says");
	}
	if (at_end && s->crc != s->member.crc)
		return damaged(why, why_size, "the checksum is not that of the array");
	return n;
}

static int start_member(struct stream *s, const char *member, char *why, size_t why_size)
{
	int rc = zip_find(s->fd, member, &s->member, why, why_size);

	if (rc != 0)
		return rc;
	s->is_member = true;
	s->left = s->member.size;
	s->off = (off_t)s->member.off;
	if (lseek(s->fd, s->off, SEEK_SET) < 0)
		return -errno;
	if (s->member.method == ZIP_STORED)
		return 0;
	s->input = malloc(INPUT_BYTES);
	s->inflating = s->input && inflateInit2(&s->z, -MAX_WBITS) == Z_OK; /* without a header of zlib's */
	return s->inflating ? 0 : -ENOMEM;
}

/* ------------------------------------------------------------------ public */

bool stream_plain_name(const char *name, char *plain, size_t plain_size)
{
	static const char suffix[] = ".zst";
	size_t len = strlen(name), suffix_len = sizeof suffix - 1;
	bool has = len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;

	if (has)
		len -= suffix_len;
	if (len >= plain_size) {
		name += len - plain_size + 1;
		len = plain_size - 1;
	}
	snprintf(plain, plain_size, "%.*s", (int)len, name);
	return has;
}

int stream_open(const char *path, bool is_compressed, struct stream **out)
{
	struct stream *s = calloc(1, sizeof *s);
	struct stat st;
	int rc = 0;

	*out = NULL;
	if (!s)
		return -ENOMEM;
	s->fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
				       : open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		rc = -errno;
	else if (S_ISDIR(st.st_mode))
		rc = -EISDIR;
	else if (is_compressed)
		rc = start_frames(s);
	if (rc != 0) {
		stream_close(s);
		return rc;
	}
	s->is_file = S_ISREG(st.st_mode);
	/* Of a descriptor that somebody else has read from, what is left. */
	s->off = s->is_file ? lseek(s->fd, 0, SEEK_CUR) : 0;
	s->size = s->is_file && s->off < st.st_size ? (uint64_t)(st.st_size - s->off) : 0;
	if (s->is_file)
		posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	*out = s;
	return 0;
}

int stream_open_member(const char *path, bool is_compressed, const char *member, struct stream **out,
		       char *why, size_t why_size)
{
	int rc = stream_open(path, is_compressed, out);

	if (rc == 0 && is_compressed)
		rc = unpack_file(*out, why, why_size);
	if (rc == 0)
		rc = start_member(*out, member, why, why_size);
	if (rc != 0 && *out) {
		stream_close(*out);
		*out = NULL;
	}
	return rc;
}

void stream_close(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->inflating)
		inflateEnd(&s->z);
	end_frames(s);
	free(s);
}

bool stream_size(const struct stream *s, uint64_t *size)
{
	*size = s->is_member ? s->member.plain_size : s->size;
	return s->is_member || (s->is_file && (!s->frames || s->is_measured));
}

int stream_measure(struct stream *s, char *why, size_t why_size)
{
	off_t start = s->off;
	uint64_t size;
	char *buf;
	ssize_t n;

	if (stream_size(s, &size))
		return 0;
	size = 0;
	if (!s->is_file)
		return -ESPIPE;
	buf = malloc(COUNT_BYTES);
	if (!buf)
		return -ENOMEM;
	while ((n = read_frames(s, buf, COUNT_BYTES, false, why, why_size)) > 0)
		size += (uint64_t)n;
	free(buf);
	if (n < 0)
		return (int)n;
	s->size = size;
	s->is_measured = true;
	return start_again(s, start);
}

int stream_count_lines(struct stream *s, uint64_t *lines, char *why, size_t why_size)
{
	char *buf, last = '\n';
	off_t start = s->off;
	ssize_t n;

	*lines = 0;
	if (!s->is_file || s->is_member)
		return -ESPIPE;
	buf = malloc(COUNT_BYTES);
	if (!buf)
		return -ENOMEM;
	while ((n = stream_read(s, buf, COUNT_BYTES, why, why_size)) > 0) {
		for (const char *p = buf; (p = memchr(p, '\n', (size_t)(buf + n - p))); p++)
			++*lines;
		last = buf[n - 1];
	}
	*lines += last != '\n';
	free(buf);
	return n < 0 ? (int)n : start_again(s, start);
}

ssize_t stream_read(struct stream *s, void *buf, size_t size, char *why, size_t why_size)
{
	if (s->frames)
		return read_frames(s, buf, size, false, why, why_size);
	return s->is_member ? read_plain(s, buf, size, why, why_size) : read_file(s, buf, size);
}

ssize_t stream_read_some(struct stream *s, void *buf, size_t size, char *why, size_t why_size)
{
	if (s->is_file)
		return stream_read(s, buf, size, why, why_size);
	return s->frames ? read_frames(s, buf, size, true, why, why_size) : read_once(s, buf, size);
}

int stream_fd(const struct stream *s)
{
	return s->fd;
}
