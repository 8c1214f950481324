/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/ino.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define ROOT_INO 1
#define SEGMENT_BIT (UINT64_C(1) << (VS_ENTRY_BITS - 1))
/* Free beside that one: no collection has so many segments. */
#define REFUSED_BIT (UINT64_C(1) << (VS_ENTRY_BITS - 2))
#define MOMENT_BIT (UINT64_C(1) << 63)
#define ENTRY_MASK ((UINT64_C(1) << VS_ENTRY_BITS) - 1)
#define WHICH_BITS 4
#define VERSION_MASK (ENTRY_MASK >> WHICH_BITS)

/* What a mount remembers: these in the place of which. */
static const enum node_kind remembered[] = {
	[10] = NODE_VIEW,         [11] = NODE_VIEW_DATA, [12] = NODE_SESSION,
	[13] = NODE_SESSION_FILE, [14] = NODE_NEAR_FILE, [15] = NODE_NEAR_AT};
#define REMEMBERED_FIRST 10u
/* A view and what is of it share its number: these in the lowest bits. */
static const struct {
	enum node_kind kind;
	unsigned which;
} of_view[] = {{NODE_VIEW, 0},
	       {NODE_VIEW_CONTROL, 0},
	       {NODE_VIEW_DECODED, 0},
	       {NODE_VIEW_RECALL, 0},
	       {NODE_VIEW_TEXT, NODE_VIEW_INFO},
	       {NODE_VIEW_TEXT, NODE_VIEW_STATE},
	       {NODE_VIEW_TEXT, NODE_VIEW_PARAMS}};
#define OF_VIEW (sizeof of_view / sizeof *of_view)
#define OF_VIEW_BITS 3u
#define BLOCK_BYTES 512
#define IO_BYTES 4096

_Static_assert(NODE_KIND_COUNT <= VS_ENTRY_FIRST, "control nodes and vectors have numbers of their own");
_Static_assert((unsigned)NODE_ARRAY_COUNT <= NODE_WHICH_MASK + 1, "which fits beside the kind");
_Static_assert((unsigned)NODE_ARRAY_COUNT <= REMEMBERED_FIRST, "which fits beside the version");
_Static_assert(((uint64_t)VS_COLLECTION_MAX << VS_ENTRY_BITS) < MOMENT_BIT, "the top bit is free");

/* Completes a node of the number that a view and what is of it share; none if the number is nobody's. */
static void split_view(struct node *node)
{
	uint64_t part = node->entry & ((1u << OF_VIEW_BITS) - 1);

	node->entry >>= OF_VIEW_BITS;
	node->kind = part < OF_VIEW ? of_view[part].kind : NODE_NONE;
	node->which = part < OF_VIEW ? of_view[part].which : 0;
}

static uint64_t join_view(const struct node *node)
{
	uint64_t part = 0;

	while (of_view[part].kind != node->kind || of_view[part].which != node->which)
		part++;
	return node->entry << OF_VIEW_BITS | part;
}

static struct node control_node(uint32_t collection, unsigned number)
{
	struct node node = {.kind = (enum node_kind)number, .collection = collection};

	if (number >= NODE_KIND_COUNT) {
		node.kind = NODE_NONE;
	} else if (number >= NODE_ARRAY) {
		node.kind = (enum node_kind)(number & ~31u);
		node.which = number & NODE_WHICH_MASK;
	}
	return node;
}

struct node node_of(uint64_t ino)
{
	uint64_t low = ino & ENTRY_MASK;
	struct node node = {.collection = (uint32_t)((ino & ~MOMENT_BIT) >> VS_ENTRY_BITS)};

	if (ino == ROOT_INO) {
		node.kind = NODE_ROOT;
	} else if (ino & MOMENT_BIT) {
		node.entry = low >> WHICH_BITS;
		node.which = (unsigned)low & NODE_WHICH_MASK;
		node.kind = NODE_MOMENT;
		if (node.which >= REMEMBERED_FIRST) {
			node.kind = remembered[node.which];
			node.which = 0;
		}
		if (node.kind == NODE_VIEW)
			split_view(&node);
	} else if (low == 0) {
		node.kind = NODE_COLLECTION;
	} else if (low & SEGMENT_BIT) {
		node.kind = !node.collection ? NODE_LOG : low & REFUSED_BIT ? NODE_REFUSED : NODE_SEGMENT;
		node.entry = low & ~(node.collection ? SEGMENT_BIT | REFUSED_BIT : SEGMENT_BIT);
	} else if (low >= VS_ENTRY_FIRST) {
		node.kind = NODE_VECTOR;
		node.entry = low;
	} else {
		node = control_node(node.collection, (unsigned)low);
	}
	return node;
}

static unsigned which_of(enum node_kind kind)
{
	unsigned which = REMEMBERED_FIRST;

	while (remembered[which] != kind)
		which++;
	return which;
}

uint64_t node_ino(const struct node *node)
{
	uint64_t base = node_collection_ino(node->collection);

	switch (node->kind) {
	case NODE_ROOT:
		return ROOT_INO;
	case NODE_COLLECTION:
		return base;
	case NODE_VECTOR:
		return node_vector_ino(node->collection, node->entry);
	case NODE_SEGMENT:
		return base | SEGMENT_BIT | node->entry;
	case NODE_LOG:
		return SEGMENT_BIT | (node->entry & ~SEGMENT_BIT);
	case NODE_REFUSED:
		return base | SEGMENT_BIT | REFUSED_BIT | (node->entry & (REFUSED_BIT - 1));
	case NODE_MOMENT:
		return MOMENT_BIT | base | (node->entry & VERSION_MASK) << WHICH_BITS | node->which;
	case NODE_VIEW:
	case NODE_VIEW_CONTROL:
	case NODE_VIEW_DECODED:
	case NODE_VIEW_RECALL:
	case NODE_VIEW_TEXT:
		return MOMENT_BIT | base | (join_view(node) & VERSION_MASK) << WHICH_BITS |
		       which_of(NODE_VIEW);
	case NODE_VIEW_DATA:
	case NODE_NEAR_AT:
	case NODE_NEAR_FILE:
	case NODE_SESSION:
	case NODE_SESSION_FILE:
		return MOMENT_BIT | base | (node->entry & VERSION_MASK) << WHICH_BITS | which_of(node->kind);
	default:
		assert(node->kind != NODE_NONE);
		return base | (uint64_t)node->kind | node->which;
	}
}

uint64_t node_vector_ino(uint32_t collection, uint64_t entry)
{
	assert(entry >= VS_ENTRY_FIRST && entry < SEGMENT_BIT);
	return node_collection_ino(collection) | entry;
}

uint64_t node_collection_ino(uint32_t collection)
{
	return (uint64_t)collection << VS_ENTRY_BITS;
}

bool node_is_version(const struct node *node, uint64_t version)
{
	return node->entry == (version & VERSION_MASK);
}

mode_t node_type(enum node_kind kind)
{
	switch (kind) {
	case NODE_ROOT:
	case NODE_COLLECTION:
	case NODE_CONTROL:
	case NODE_SEGMENTS:
	case NODE_SNAP:
	case NODE_TX:
	case NODE_COMMIT:
	case NODE_NEAR:
	case NODE_NEAR_AT:
	case NODE_SEARCH:
	case NODE_SESSION:
	case NODE_VIEWS:
	case NODE_VIEW:
	case NODE_VIEW_CONTROL:
	case NODE_VIEW_DECODED:
		return S_IFDIR;
	case NODE_SEGMENT:
		return S_IFLNK;
	default:
		return S_IFREG;
	}
}

/* "vectors." and the suffix of the array's format, if that can hold the dtype. */
static const char *array_name(unsigned which, enum vs_dtype dtype, char buffer[32])
{
	enum array_format format = (enum array_format)(which - NODE_ARRAY_VECTORS);
	const char *suffix = format == ARRAY_RAW ? vs_dtype_name(dtype) : array_format_name(format);

	if (!array_format_fits(format, dtype))
		return NULL;
	snprintf(buffer, 32, "vectors.%s", suffix);
	return buffer;
}

const char *node_name(enum node_kind kind, unsigned which, enum vs_dtype dtype, char buffer[32])
{
	static const char *const names[NODE_KIND_COUNT] = {
		[NODE_LOG] = "log",       [NODE_METRICS] = "metrics",  [NODE_VERSION] = "version",
		[NODE_SCHEMA] = "schema", [NODE_STATS] = "stats",      [NODE_SEGMENTS] = "segments",
		[NODE_SNAP] = "snap",     [NODE_CLONE] = "clone",      [NODE_ROLLBACK] = "rollback",
		[NODE_TX] = "tx",         [NODE_COMMIT] = "commit",    [NODE_RESULT] = "result",
		[NODE_NEAR] = "near",     [NODE_SEARCH] = "search",    [NODE_QUERY] = "query",
		[NODE_VIEWS] = "views",   [NODE_SEARCHED] = "searched"};
	static const char *const texts[] = {[VS_BATCH_IDS] = "ids",
					    [VS_BATCH_DELETE] = "delete",
					    [VS_BATCH_IDS0] = "ids0",
					    [VS_BATCH_DELETE0] = "delete0"};

	switch (kind) {
	case NODE_ARRAY:
		if (which == NODE_ARRAY_IDS || which == NODE_ARRAY_IDS0)
			return which == NODE_ARRAY_IDS ? "ids" : "ids0";
		if (which == NODE_ARRAY_ROWS)
			return "rows";
		return array_name(which, dtype, buffer);
	case NODE_UPLOAD:
		return array_name(which, dtype, buffer);
	case NODE_TEXT:
		return which < sizeof texts / sizeof *texts ? texts[which] : NULL;
	case NODE_FILE:
		return which == VS_BATCH_ATTRIBUTES ? "attributes"
		       : which == VS_BATCH_RECEIVED ? "received"
						    : NULL;
	default:
		return kind < NODE_KIND_COUNT ? names[kind] : NULL;
	}
}

void node_stat(uint64_t ino, mode_t type_and_limit, const struct vs_perm *perm, vs_time mtime, vs_time ctime,
	       uint64_t size, struct stat *st)
{
	memset(st, 0, sizeof *st);
	st->st_ino = ino;
	st->st_mode = (type_and_limit & S_IFMT) | (perm->mode & type_and_limit & 07777);
	st->st_nlink = S_ISDIR(type_and_limit) ? 2 : 1;
	st->st_uid = perm->uid;
	st->st_gid = perm->gid;
	st->st_size = (off_t)size;
	st->st_blksize = IO_BYTES;
	st->st_blocks = (blkcnt_t)((size + BLOCK_BYTES - 1) / BLOCK_BYTES);
	vs_time_split(mtime, &st->st_mtim);
	vs_time_split(ctime, &st->st_ctim);
	st->st_atim = st->st_mtim;
}
