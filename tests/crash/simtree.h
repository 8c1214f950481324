/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simtree - the names of the simulated disk: directories twice, as programs see them and as they are on the
 * disk. The two differ by the pending changes of names, which a sync of their directory makes durable.
 *
 * At a power loss each pending change survives or not on its own, as POSIX allows, with two exceptions: a
 * rename is atomic, and changes that touch the same name keep their order.
 */
#ifndef VECFS_TESTS_CRASH_SIMTREE_H
#define VECFS_TESTS_CRASH_SIMTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/crash/simfate.h"
#include "tests/crash/simfile.h"

#define SIMTREE_NAME_MAX 127

struct simname {
	char name[SIMTREE_NAME_MAX + 1];
	struct simnode *node;
};

struct simnames {
	struct simname *items;
	size_t count, room;
};

struct simnode {
	struct simnode *next; /* in simtree.nodes or simtree.unused */
	bool directory, reached;
	bool sync_failed;
	unsigned handles;
	unsigned names; /* of a file, as programs see it */
	int lock;       /* the descriptor that holds it, or -1 */
	struct simfile file;
	struct simnames seen, disk;
};

struct simmove;

struct simtree {
	struct simnode *root, *nodes, *unused;
	struct simmove *moves; /* pending changes of names, oldest first */
	size_t move_count, move_room;
};

/* A place for a name: the directory and the last part of a path; node is what is there, or NULL. */
struct simplace {
	struct simnode *dir;
	const char *name;
	struct simnode *node;
};

void simtree_init(struct simtree *t);
void simtree_clear(struct simtree *t);
void simtree_free(struct simtree *t);

/* 0 or -ENOENT, -ENOTDIR, -ENAMETOOLONG for the path's directories; a missing last part is no error. "" and
 * "." are the root: then dir is NULL. */
int simtree_find(const struct simtree *t, const char *path, struct simplace *out);

/* The changes, at the moment when. The places must fit: the callers have checked. */
struct simnode *simtree_create(struct simtree *t, uint64_t when, const struct simplace *at, bool directory);
/* Another name for at's file. */
void simtree_link(struct simtree *t, uint64_t when, const struct simplace *at, const struct simplace *to);
void simtree_unlink(struct simtree *t, uint64_t when, const struct simplace *at);
void simtree_rename(struct simtree *t, uint64_t when, const struct simplace *from, const struct simplace *to);

void simtree_syncdir(struct simtree *t, const struct simnode *dir);
/* Power loss, for names and for the files' contents; files without a name are gone. */
void simtree_crash(struct simtree *t, struct simfate *fate);
uint64_t simtree_allocated(const struct simtree *t);

#endif
