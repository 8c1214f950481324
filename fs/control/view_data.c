/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_data - a view's codes, what they stand for, and its model, as arrays and a file a vector.
 *
 * What the number of such a file names never changes (view_table.h), so its pages stay good. An array of rows
 * is of one version of the collection, paired with `ids` as vectors.* are (array_pairing.h); the others are
 * made when they are opened. If the vector, or the model, is another one by then than it was at the lookup,
 * what is newer is read past the pages.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/array_pairing.h"
#include "fs/control/control.h"
#include "fs/control/view_dir.h"
#include "fs/inode/open_files.h"
#include "store/array/npy.h"
#include "store/base/checksum.h"

#define HEADER_BYTES NPY_NUMPY_HEADER_BYTES
#define TRIES 8 /* to find a vector in a snapshot while it is being changed */

struct view_file {
	struct open_file open_file;
	struct view_data data;
	/* An array of rows: */
	struct pairing *pairing;
	struct vs_view *view;
	pthread_mutex_t lock; /* of the view, which one thread may read at a time */
	process_t process;
	atomic_bool left; /* by the process, for pairing_leave */
	/* All else: */
	char *bytes;
};

static bool is_of_rows(enum view_data_kind kind)
{
	return kind == VIEW_CODES || kind == VIEW_DECODED;
}

bool view_data_has(const struct vs_view_info *info, enum view_data_kind kind)
{
	enum codec_kind codec = info->plan.name.kind;

	if (kind == VIEW_CODEBOOK)
		return codec == CODEC_PQ || codec == CODEC_OPQ;
	return kind != VIEW_ROTATION || codec == CODEC_OPQ;
}

uint64_t view_data_ino(uint32_t collection, const char *view, enum view_data_kind kind, uint64_t entry)
{
	struct {
		uint64_t entry;
		uint32_t collection, kind;
		char view[VS_VIEW_NAME_MAX + 1];
	} key = {.entry = entry, .collection = collection, .kind = kind};

	strcpy(key.view, view);
	return XXH3_64bits(&key, sizeof key) | 1; /* of odd ones none is a directory's */
}

/* ------------------------------------------------------------------ shapes */

/* Bytes of a row of an array, or of a vector's file. */
static size_t row_bytes_of(const struct vs_view_info *info, enum view_data_kind kind)
{
	if (kind == VIEW_CODES || kind == VIEW_CODE)
		return view_code_bytes(info);
	return info->plan.dim * sizeof(float);
}

static size_t model_floats(const struct codec_plan *plan, enum view_data_kind kind)
{
	const struct pq_shape shape = {plan->dim, plan->name.subs, plan->name.bits};

	return kind == VIEW_ROTATION ? (size_t)plan->dim * plan->dim : pq_codebook_floats(&shape);
}

/* What numpy.load() makes of an array. Codes of f16 and bf16 are the numbers themselves. */
static struct npy_shape shape_of(const struct codec_plan *plan, enum view_data_kind kind, uint64_t rows,
				 size_t row_bytes)
{
	const struct pq_shape shape = {plan->dim, plan->name.subs, plan->name.bits};
	enum codec_kind codec = plan->name.kind;

	if (kind == VIEW_CODEBOOK)
		return (struct npy_shape){.dtype = VS_F32,
					  .rows = shape.subs,
					  .dim = (uint32_t)pq_centroids(&shape),
					  .inner = (uint32_t)pq_sub_dim(&shape)};
	if (kind == VIEW_ROTATION)
		return (struct npy_shape){.dtype = VS_F32, .rows = plan->dim, .dim = plan->dim};
	if (kind == VIEW_DECODED)
		return (struct npy_shape){.dtype = VS_F32, .rows = rows, .dim = plan->dim};
	if (codec == CODEC_F16 || codec == CODEC_BF16)
		return (struct npy_shape){
			.dtype = codec == CODEC_F16 ? VS_F16 : VS_BF16, .rows = rows, .dim = plan->dim};
	return (struct npy_shape){.dtype = VS_U8, .rows = rows, .dim = (uint32_t)row_bytes};
}

/* ------------------------------------------------------------------ names */

static int data_stat(const struct node *node, const char *view, const struct view_data *data, struct stat *st)
{
	uint64_t entry = view_data_is_vector(data) ? data->which : 0;

	node_stat(view_data_ino(node->collection, view, data->kind, entry), S_IFREG | 0444, &data->perm,
		  data->mtime, view_data_is_vector(data) ? data->ctime : data->mtime, data->size, st);
	return 0;
}

static int data_entry(struct mount *s, const struct node *dir, const char *view, const struct view_data *data,
		      struct fuse_entry_param *e)
{
	struct node node = {.kind = NODE_VIEW_DATA, .collection = dir->collection};

	node.entry = view_table_remember(s->views, data);
	e->ino = node_ino(&node);
	e->entry_timeout = 0;
	e->attr_timeout = ops_timeout_s(s);
	return data_stat(&node, view, data, &e->attr);
}

int view_data_lookup_vector(fuse_req_t req, const struct node *dir, const struct vs_view_info *info,
			    enum view_data_kind kind, const char *name, struct fuse_entry_param *e)
{
	struct view_data data = {.view = dir->entry, .kind = kind, .model = info->model};
	struct mount *s = ops_serve(req);
	struct vs_attr attr;
	int rc = vs_name_check(name, strlen(name));

	if (!rc)
		rc = vs_lookup(s->store, dir->collection, name, &attr);
	if (rc)
		return rc;
	data.which = attr.entry;
	data.ctime = attr.ctime;
	data.mtime = attr.mtime;
	data.perm = attr.perm;
	data.size = row_bytes_of(info, kind);
	return data_entry(s, dir, info->name, &data, e);
}

int view_data_lookup_array(fuse_req_t req, const struct node *dir, const struct vs_view_info *info,
			   enum view_data_kind kind, struct fuse_entry_param *e)
{
	struct view_data data = {
		.view = dir->entry, .kind = kind, .model = info->model, .size = HEADER_BYTES};
	struct mount *s = ops_serve(req);
	struct vs_collection_info collection;
	struct vs_snapshot_info snapshot;
	enum node_array array = kind == VIEW_CODES ? NODE_ARRAY_CODES : NODE_ARRAY_DECODED;
	int rc = vs_collection_get(s->store, dir->collection, &collection);

	if (!rc && is_of_rows(kind))
		rc = pairing_choose(req, dir->collection, array, &snapshot);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	if (is_of_rows(kind)) {
		data.which = snapshot.version;
		data.size += snapshot.rows * row_bytes_of(info, kind);
	} else {
		data.size += model_floats(&info->plan, kind) * sizeof(float);
	}
	data.mtime = collection.mtime;
	data.perm = collection.perm;
	return data_entry(s, dir, info->name, &data, e);
}

static int data_attr(struct mount *s, const struct node *node, struct stat *st, double *timeout_s)
{
	char view[VS_VIEW_NAME_MAX + 1];
	struct view_data data;
	int rc = view_table_data(s->views, node->entry, &data);

	if (!rc)
		rc = view_table_name(s->views, data.view, view);
	*timeout_s = ops_timeout_s(s);
	return rc ? rc : data_stat(node, view, &data, st);
}

/* ------------------------------------------------------------------ what is made at once */

struct row_call {
	uint64_t entry;
};

static void take_entry(void *arg, uint64_t row, uint64_t entry, const char *name, size_t len)
{
	struct row_call *call = arg;

	(void)row;
	(void)name;
	(void)len;
	call->entry = entry;
}

/* The row that a vector has in a snapshot. -ESTALE: it was not in it by this id, and a newer one may tell. */
static int find_row(struct mount *s, const struct node *node, struct vs_snapshot *m, uint64_t entry,
		    uint64_t *row)
{
	char name[VS_NAME_MAX + 1];
	struct row_call call = {0};
	int rc = vs_name_get(s->store, node->collection, entry, name);

	if (rc)
		return rc;
	rc = vs_snapshot_find(m, name, row);
	if (!rc)
		rc = vs_snapshot_rows(m, *row, 1, NULL, take_entry, &call);
	return rc == -ENOENT || (!rc && call.entry != entry) ? -ESTALE : rc;
}

static int read_rows(struct vs_view *view, enum view_data_kind kind, uint64_t first, uint64_t count,
		     void *out)
{
	if (kind == VIEW_CODES || kind == VIEW_CODE)
		return vs_view_codes(view, first, count, out);
	return vs_view_decoded(view, first, count, out);
}

static void copy_model(struct vs_view *view, const struct view_data *data, char *bytes)
{
	const struct codec *codec = vs_view_codec(view);
	const float *from = data->kind == VIEW_ROTATION ? codec->model.rotation : codec->model.codebook;
	struct npy_shape shape = shape_of(&codec->plan, data->kind, 0, 0);

	npy_header_build(&shape, (unsigned char *)bytes, HEADER_BYTES);
	memcpy(bytes + HEADER_BYTES, from, data->size - HEADER_BYTES);
}

/* Whether the view's files still have the size that was told. */
static bool is_as_long(struct vs_view *view, const struct view_data *data)
{
	const struct codec_plan *plan = &vs_view_codec(view)->plan;

	if (data->kind == VIEW_CODE)
		return vs_view_code_bytes(view) == data->size;
	if (data->kind == VIEW_DECODED_VECTOR)
		return plan->dim * sizeof(float) == data->size;
	return HEADER_BYTES + model_floats(plan, data->kind) * sizeof(float) == data->size;
}

/* Of the newest snapshot. *is_other: not of the model that data is of. */
static int make_once(struct mount *s, const struct node *node, const char *name, const struct view_data *data,
		     char *bytes, bool *is_other)
{
	struct vs_snapshot *m;
	struct vs_view *view;
	uint64_t row;
	int rc = vs_snapshot_open(s->store, node->collection, &m);

	if (rc)
		return rc;
	rc = vs_view_open(m, name, &view);
	if (!rc) {
		*is_other = vs_view_model(view) != data->model;
		if (!is_as_long(view, data))
			rc = -ESTALE;
		else if (!view_data_is_vector(data))
			copy_model(view, data, bytes);
		else
			rc = find_row(s, node, m, data->which, &row);
		if (!rc && view_data_is_vector(data))
			rc = read_rows(view, data->kind, row, 1, bytes);
		vs_view_close(view);
	}
	vs_snapshot_close(m);
	return rc;
}

/* All of a file that is no array of rows. *is_other: not what the number stands for, but what is there now.
 */
static int make(struct mount *s, const struct node *node, const struct view_data *data, char **bytes,
		bool *is_other)
{
	char name[VS_VIEW_NAME_MAX + 1];
	struct vs_attr attr;
	int rc = view_table_name(s->views, data->view, name);

	*bytes = rc ? NULL : malloc(data->size);
	if (!*bytes)
		return rc ? rc : -ENOMEM;
	rc = -ESTALE;
	for (int i = 0; i < TRIES && rc == -ESTALE; i++)
		rc = make_once(s, node, name, data, *bytes, is_other);
	if (!rc && view_data_is_vector(data))
		*is_other |= vs_attr_get(s->store, node->collection, data->which, &attr) ||
			     attr.ctime != data->ctime;
	if (rc)
		free(*bytes);
	return rc == -ENOENT ? -ESTALE : rc;
}

/* ------------------------------------------------------------------ arrays of rows */

/* The node that the pairing knows a version by. */
static struct node moment_of(const struct node *node, const struct view_data *data)
{
	return (struct node){.kind = NODE_MOMENT,
			     .collection = node->collection,
			     .entry = data->which,
			     .which = data->kind == VIEW_CODES ? NODE_ARRAY_CODES : NODE_ARRAY_DECODED};
}

/* The view as it was at that version; -ESTALE: its model is another one. */
static int open_view(struct mount *s, const struct view_data *data, struct vs_snapshot *m,
		     struct vs_view **out)
{
	char name[VS_VIEW_NAME_MAX + 1];
	int rc = view_table_name(s->views, data->view, name);

	if (!rc)
		rc = vs_view_open(m, name, out);
	if (!rc && vs_view_model(*out) != data->model) {
		vs_view_close(*out);
		rc = -ESTALE;
	}
	return rc == -ENOENT ? -ESTALE : rc;
}

static int open_rows(struct mount *s, const struct node *node, struct view_file *f)
{
	struct node moment = moment_of(node, &f->data);
	int rc = pairing_open(s, &moment, f->process, &f->pairing);

	if (rc)
		return rc;
	rc = open_view(s, &f->data, pairing_of(f->pairing), &f->view);
	if (rc) {
		pairing_leave(s, &moment, f->process, f->pairing);
		pairing_close(s, f->pairing);
	}
	return rc;
}

/* Bytes [off, off + size) of the rows laid end to end. What does not begin and end with a row goes through a
 * copy. */
static ssize_t read_part(struct vs_view *view, enum view_data_kind kind, size_t row_bytes, char *buf,
			 size_t size, uint64_t off)
{
	uint64_t first = off / row_bytes, end = (off + size + row_bytes - 1) / row_bytes;
	bool is_whole = off % row_bytes == 0 && size % row_bytes == 0 && (uintptr_t)buf % sizeof(float) == 0;
	char *rows = is_whole ? buf : malloc((size_t)(end - first) * row_bytes);
	int rc = rows ? read_rows(view, kind, first, end - first, rows) : -ENOMEM;

	if (!is_whole) {
		if (!rc)
			memcpy(buf, rows + off % row_bytes, size);
		free(rows);
	}
	return rc ? rc : (ssize_t)size;
}

static ssize_t read_array(struct vs_view *view, const struct view_data *data, char *buf, size_t size,
			  uint64_t off)
{
	const struct codec_plan *plan = &vs_view_codec(view)->plan;
	size_t row_bytes = data->kind == VIEW_CODES ? vs_view_code_bytes(view) : plan->dim * sizeof(float);
	unsigned char header[HEADER_BYTES];
	struct npy_shape shape;
	size_t from_header = 0;
	ssize_t got;

	if (off >= data->size)
		return 0;
	if (size > data->size - off)
		size = (size_t)(data->size - off);
	if (off < HEADER_BYTES) {
		shape = shape_of(plan, data->kind, (data->size - HEADER_BYTES) / row_bytes, row_bytes);
		npy_header_build(&shape, header, HEADER_BYTES);
		from_header = (size_t)ops_copy_part((char *)header, HEADER_BYTES, buf, size, (off_t)off);
		off = HEADER_BYTES;
	}
	if (from_header == size)
		return (ssize_t)size;
	got = read_part(view, data->kind, row_bytes, buf + from_header, size - from_header,
			off - HEADER_BYTES);
	return got < 0 ? got : got + (ssize_t)from_header;
}

/* ------------------------------------------------------------------ as files */

static struct view_file *file_of(const struct fuse_file_info *fi)
{
	return (struct view_file *)(uintptr_t)fi->fh;
}

static int data_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct view_file *f;
	bool is_other = false;
	int rc;

	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		return -EACCES; /* the mode says so, but not to root */
	f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->process = process_of(fuse_req_ctx(req)->pid);
	rc = view_table_data(s->views, node->entry, &f->data);
	if (!rc)
		rc = is_of_rows(f->data.kind) ? open_rows(s, node, f)
					      : make(s, node, &f->data, &f->bytes, &is_other);
	if (rc) {
		free(f);
		return rc;
	}
	pthread_mutex_init(&f->lock, NULL);
	fi->fh = (uintptr_t)f;
	fi->direct_io = is_other;
	fi->keep_cache = !is_other;
	return 0;
}

static void leave(struct mount *s, const struct node *node, struct view_file *f)
{
	struct node moment = moment_of(node, &f->data);

	if (f->pairing && !atomic_exchange(&f->left, true))
		pairing_leave(s, &moment, f->process, f->pairing);
}

/* Unlike RELEASE it comes before close(2) returns, and also when a mapping is left. */
static int data_flush(fuse_req_t req, const struct node *node, const struct fuse_file_info *fi, bool *changed)
{
	struct view_file *f = file_of(fi);

	(void)changed;
	if (process_of(fuse_req_ctx(req)->pid) == f->process) /* not a child with an inherited descriptor */
		leave(ops_serve(req), node, f);
	return 0;
}

static void data_release(struct mount *s, const struct node *node, const struct fuse_file_info *fi)
{
	struct view_file *f = file_of(fi);

	leave(s, node, f);
	if (f->view)
		vs_view_close(f->view);
	if (f->pairing)
		pairing_close(s, f->pairing);
	pthread_mutex_destroy(&f->lock);
	free(f->bytes);
	free(f);
}

/* On a stateless mount, where nothing is opened and nothing changes. */
static ssize_t read_unopened(struct mount *s, const struct node *node, char *buf, size_t size, off_t off)
{
	struct pairing *pairing;
	struct view_data data;
	struct vs_view *view;
	struct node moment;
	bool is_other;
	char *bytes;
	ssize_t got;
	int rc = view_table_data(s->views, node->entry, &data);

	if (!rc && !is_of_rows(data.kind)) {
		rc = make(s, node, &data, &bytes, &is_other);
		if (rc)
			return rc;
		got = ops_copy_part(bytes, data.size, buf, size, off);
		free(bytes);
		return got;
	}
	moment = moment_of(node, &data);
	if (!rc)
		rc = pairing_pin(s, &moment, &pairing);
	if (!rc)
		rc = open_view(s, &data, pairing_of(pairing), &view);
	if (rc)
		return rc;
	got = read_array(view, &data, buf, size, (uint64_t)off);
	vs_view_close(view);
	return got;
}

static ssize_t data_read(struct mount *s, const struct node *node, void *buf, size_t size, off_t off,
			 const struct fuse_file_info *fi)
{
	struct view_file *f = file_of(fi);
	ssize_t got;

	if (!f)
		return read_unopened(s, node, buf, size, off);
	if (f->view) {
		pthread_mutex_lock(&f->lock);
		got = read_array(f->view, &f->data, buf, size, (uint64_t)off);
		pthread_mutex_unlock(&f->lock);
		return got;
	}
	return ops_copy_part(f->bytes, f->data.size, buf, size, off);
}

const struct node_ops view_data_ops = {
	.attr = data_attr,
	.open = data_open,
	.read = data_read,
	.flush = data_flush,
	.release = data_release,
};
