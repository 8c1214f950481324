/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ino - inode numbers. A number says by itself what it names, so that nothing is kept per inode and the
 * kernel's FORGET means nothing:
 *
 *   1                                     the root
 *   collection << 40                      a collection, or an open batch
 *   collection << 40 | kind               its control nodes; those of the mount have collection 0
 *   1 << 39 | position                    the mount's log from a position in it on (message.h), which only
 *                                         grows
 *   collection << 40 | kind | which       the arrays of a collection and the files of a batch
 *   collection << 40 | 1 << 39 | n        the link to its segment n
 *   collection << 40 | 3 << 38 | n        refusal n of a vector that an open batch does not have
 *   collection << 40 | entry              a vector (entries start at VS_ENTRY_FIRST)
 *   1 << 63 | collection << 40 | version << 4 | which
 *                                         an array as it was at one version of the collection: what such a
 *                                         number names never changes, so its pages can stay in the cache
 *   1 << 63 | collection << 40 | number << 4 | 10 to 15
 *                                         what a mount remembers by a number of its own (view_table.h,
 *                                         near.h, search_session.h)
 */
#ifndef VECFS_FS_REQUEST_INO_H
#define VECFS_FS_REQUEST_INO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "store/array/array_format.h"
#include "store/store.h"

struct mount;

enum node_kind {
	NODE_NONE,
	NODE_ROOT,
	NODE_COLLECTION,
	NODE_VECTOR,
	NODE_SEGMENT,
	NODE_MOMENT,    /* an array at one version */
	NODE_REFUSED,   /* a refused vector, which a batch does not have: its refusal's number */
	NODE_NEAR_AT,   /* near@OPTIONS/, by a number that this mount remembers (near.h) */
	NODE_NEAR_FILE, /* near/ID, the same */
	NODE_SESSION,   /* search/S/, by its number (search_session.h) */
	NODE_SESSION_FILE,
	NODE_VIEW,         /* views/V/, by a number that this mount remembers (view_table.h) */
	NODE_VIEW_CONTROL, /* views/V/.vecfs/, by the view's number; so for the next three */
	NODE_VIEW_DECODED, /* decoded/ in it */
	NODE_VIEW_TEXT,    /* info, state, params */
	NODE_VIEW_RECALL,  /* recall */
	NODE_VIEW_DATA,    /* codes, decoded vectors, models: by a number of view_table.h */
	/* From here on a kind is also the number of its node. */
	NODE_CONTROL, /* .vecfs of the mount, of a collection, of a batch */
	NODE_LOG,
	NODE_METRICS,
	NODE_VERSION,
	NODE_SCHEMA,
	NODE_STATS,
	NODE_SEGMENTS,
	NODE_TX,
	NODE_COMMIT,
	NODE_RESULT,          /* of a batch's commit */
	NODE_NEAR,            /* near/ */
	NODE_SEARCH,          /* search/ */
	NODE_QUERY,           /* search/query */
	NODE_VIEWS,           /* views/ */
	NODE_SNAP,            /* snap/ */
	NODE_CLONE,           /* snap/S/.vecfs/clone */
	NODE_ROLLBACK,        /* snap/S/.vecfs/rollback */
	NODE_SEARCHED,        /* what searches in other processes have counted (searched.h) */
	NODE_ARRAY = 64,      /* | enum node_array */
	NODE_UPLOAD = 96,     /* | enum node_array: a batch's vectors.* */
	NODE_TEXT = 128,      /* | enum vs_batch_text: a batch's ids, delete, and their NUL-separated twins */
	NODE_TEMPORARY = 160, /* | its number: what is to be renamed to one of a batch's files */
	NODE_FILE = 192,      /* | enum vs_batch_text: a batch's attributes, received */
	NODE_KIND_COUNT = 224,
};
#define NODE_WHICH_MASK 15u

/* The arrays that a collection can be read as: its ids, and its vectors in each enum array_format. */
enum node_array {
	NODE_ARRAY_IDS,
	NODE_ARRAY_VECTORS,
	NODE_ARRAY_IDS0 = NODE_ARRAY_VECTORS + ARRAY_RAW + 1, /* NUL-separated */
	NODE_ARRAY_ROWS,                                      /* struct vs_row_meta */
	NODE_ARRAY_COUNT,
	/* Of views, which have other numbers (view_table.h): these are for array_pairing.h only. */
	NODE_ARRAY_CODES = NODE_ARRAY_COUNT,
	NODE_ARRAY_DECODED,
};

/* The texts in a view's control directory. */
enum node_view_text { NODE_VIEW_INFO, NODE_VIEW_STATE, NODE_VIEW_PARAMS, NODE_VIEW_TEXT_COUNT };

struct node {
	enum node_kind kind;
	uint32_t collection; /* 0: the mount's own control nodes */
	/* A vector's number, a segment's, a refusal's, a collection's version, one of view_table.h, near.h or
	 * search_session.h, or where a NODE_LOG begins. */
	uint64_t entry;
	unsigned
		which; /* of NODE_ARRAY, NODE_UPLOAD, NODE_MOMENT (enum node_array), NODE_TEXT, NODE_TEMPORARY
			*/
};

/* Whether a NODE_ARRAY or NODE_MOMENT is the ids, not the vectors. */
static inline bool node_is_ids(const struct node *node)
{
	return node->which == NODE_ARRAY_IDS || node->which == NODE_ARRAY_IDS0;
}
struct node node_of(uint64_t ino);
uint64_t node_ino(const struct node *node);
uint64_t node_vector_ino(uint32_t collection, uint64_t entry);
uint64_t node_collection_ino(uint32_t collection);
/* The directory entry's type: S_IFREG, S_IFDIR or S_IFLNK. */
mode_t node_type(enum node_kind kind);
/* Whether the mount of such a version is still what a NODE_MOMENT's number means. */
bool node_is_version(const struct node *node, uint64_t version);

/* The name of a control node in its directory (for arrays by the dtype); NULL if it has none. */
const char *node_name(enum node_kind kind, unsigned which, enum vs_dtype dtype, char buffer[32]);

/* Attributes of anything of this type and size that goes with a collection's (or the root's) permissions. */
void node_stat(uint64_t ino, mode_t type_and_limit, const struct vs_perm *perm, vs_time mtime, vs_time ctime,
	       uint64_t size, struct stat *st);

#endif
