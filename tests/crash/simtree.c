/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/simtree.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A change of one name (creation: to; removal: from) or of two at once (rename). */
struct simmove {
	uint64_t when;
	struct simnode *node;
	struct simnode *from_dir, *to_dir;
	char from[SIMTREE_NAME_MAX + 1], to[SIMTREE_NAME_MAX + 1];
	bool due; /* scratch: to be applied */
};

/* ------------------------------------------------------------------ the names of one directory */

static struct simname *names_find(const struct simnames *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (!strcmp(names->items[i].name, name))
			return &names->items[i];
	return NULL;
}

static void names_set(struct simnames *names, const char *name, struct simnode *node)
{
	struct simname *item = names_find(names, name);

	if (!item) {
		if (names->count == names->room) {
			names->room = names->room ? names->room * 2 : 8;
			names->items = realloc(names->items, names->room * sizeof *names->items);
			assert(names->items);
		}
		item = &names->items[names->count++];
		strcpy(item->name, name);
	}
	item->node = node;
}

/* The names that programs see are counted. */
static void seen_set(struct simnames *names, const char *name, struct simnode *node)
{
	struct simname *item = names_find(names, name);

	if (item)
		item->node->names--;
	names_set(names, name, node);
	node->names++;
}

static void names_remove(struct simnames *names, const char *name)
{
	struct simname *item = names_find(names, name);

	if (item)
		*item = names->items[--names->count];
}

static void seen_remove(struct simnames *names, const char *name)
{
	struct simname *item = names_find(names, name);

	if (item)
		item->node->names--;
	names_remove(names, name);
}

static void names_copy(struct simnames *to, const struct simnames *from)
{
	to->count = 0;
	for (size_t i = 0; i < from->count; i++)
		names_set(to, from->items[i].name, from->items[i].node);
}

/* ------------------------------------------------------------------ nodes */

static struct simnode *new_node(struct simtree *t, bool directory)
{
	struct simnode *node = t->unused;

	if (node) {
		t->unused = node->next;
	} else {
		node = calloc(1, sizeof *node);
		assert(node);
		simfile_init(&node->file);
	}
	node->directory = directory;
	node->sync_failed = false;
	node->handles = node->names = 0;
	node->lock = -1;
	node->seen.count = node->disk.count = 0;
	node->next = t->nodes;
	t->nodes = node;
	return node;
}

static void free_nodes(struct simnode *node)
{
	while (node) {
		struct simnode *next = node->next;

		simfile_free(&node->file);
		free(node->seen.items);
		free(node->disk.items);
		free(node);
		node = next;
	}
}

static void reach(struct simnode *node)
{
	node->reached = true;
	for (size_t i = 0; i < node->seen.count; i++)
		reach(node->seen.items[i].node);
}

static void drop_unreached(struct simtree *t)
{
	struct simnode *node = t->nodes;

	t->nodes = NULL;
	while (node) {
		struct simnode *next = node->next;
		struct simnode **list = node->reached ? &t->nodes : &t->unused;

		if (!node->reached)
			simfile_clear(&node->file);
		node->reached = false;
		node->next = *list;
		*list = node;
		node = next;
	}
}

void simtree_init(struct simtree *t)
{
	*t = (struct simtree){0};
	t->root = new_node(t, true);
}

void simtree_clear(struct simtree *t)
{
	drop_unreached(t);
	t->move_count = 0;
	t->root = new_node(t, true);
}

void simtree_free(struct simtree *t)
{
	free_nodes(t->nodes);
	free_nodes(t->unused);
	free(t->moves);
}

uint64_t simtree_allocated(const struct simtree *t)
{
	uint64_t pages = 0;

	for (const struct simnode *node = t->nodes; node; node = node->next)
		if (node->names)
			pages += node->file.allocated;
	return pages;
}

int simtree_find(const struct simtree *t, const char *path, struct simplace *out)
{
	struct simnode *at = t->root;

	*out = (struct simplace){.node = at};
	while (*path && strcmp(path, ".") != 0) {
		char part[SIMTREE_NAME_MAX + 1];
		size_t len = strcspn(path, "/");
		struct simname *found;

		if (!at)
			return -ENOENT;
		if (!at->directory)
			return -ENOTDIR;
		if (len > SIMTREE_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(part, path, len);
		part[len] = 0;
		found = names_find(&at->seen, part);
		*out = (struct simplace){.dir = at, .name = path, .node = found ? found->node : NULL};
		at = out->node;
		path += len + (path[len] == '/');
	}
	return 0;
}

/* ------------------------------------------------------------------ changes */

static struct simmove *add_move(struct simtree *t, uint64_t when, struct simnode *node)
{
	if (t->move_count == t->move_room) {
		t->move_room = t->move_room ? t->move_room * 2 : 64;
		t->moves = realloc(t->moves, t->move_room * sizeof *t->moves);
		assert(t->moves);
	}
	t->moves[t->move_count] = (struct simmove){.when = when, .node = node};
	return &t->moves[t->move_count++];
}

static void apply(const struct simmove *m, bool disk)
{
	if (m->from_dir && disk)
		names_remove(&m->from_dir->disk, m->from);
	else if (m->from_dir)
		seen_remove(&m->from_dir->seen, m->from);
	if (m->to_dir && disk)
		names_set(&m->to_dir->disk, m->to, m->node);
	else if (m->to_dir)
		seen_set(&m->to_dir->seen, m->to, m->node);
}

struct simnode *simtree_create(struct simtree *t, uint64_t when, const struct simplace *at, bool directory)
{
	struct simmove *m = add_move(t, when, new_node(t, directory));

	m->to_dir = at->dir;
	strcpy(m->to, at->name);
	apply(m, false);
	return m->node;
}

void simtree_link(struct simtree *t, uint64_t when, const struct simplace *at, const struct simplace *to)
{
	struct simmove *m = add_move(t, when, at->node);

	m->to_dir = to->dir;
	strcpy(m->to, to->name);
	apply(m, false);
}

void simtree_unlink(struct simtree *t, uint64_t when, const struct simplace *at)
{
	struct simmove *m = add_move(t, when, at->node);

	m->from_dir = at->dir;
	strcpy(m->from, at->name);
	apply(m, false);
}

void simtree_rename(struct simtree *t, uint64_t when, const struct simplace *from, const struct simplace *to)
{
	struct simmove *m = add_move(t, when, from->node);

	m->from_dir = from->dir;
	strcpy(m->from, from->name);
	m->to_dir = to->dir;
	strcpy(m->to, to->name);
	apply(m, false);
}

static bool touches(const struct simmove *m, const struct simnode *dir, const char *name)
{
	if (!dir)
		return false;
	return (m->from_dir == dir && !strcmp(m->from, name)) || (m->to_dir == dir && !strcmp(m->to, name));
}

/* Applies to the disk what is due, and first what those need: all earlier changes of the same names. */
static void apply_due(struct simtree *t)
{
	size_t kept = 0;

	for (size_t i = t->move_count; i-- > 0;) {
		const struct simmove *later = &t->moves[i];

		for (size_t j = 0; later->due && j < i; j++)
			if (touches(&t->moves[j], later->from_dir, later->from) ||
			    touches(&t->moves[j], later->to_dir, later->to))
				t->moves[j].due = true;
	}
	for (size_t i = 0; i < t->move_count; i++) {
		if (t->moves[i].due)
			apply(&t->moves[i], true);
		else
			t->moves[kept++] = t->moves[i];
	}
	t->move_count = kept;
}

void simtree_syncdir(struct simtree *t, const struct simnode *dir)
{
	for (size_t i = 0; i < t->move_count; i++)
		t->moves[i].due = t->moves[i].from_dir == dir || t->moves[i].to_dir == dir;
	apply_due(t);
}

static void count_names(struct simtree *t)
{
	for (struct simnode *node = t->nodes; node; node = node->next)
		node->names = 0;
	for (struct simnode *node = t->nodes; node; node = node->next)
		for (size_t i = 0; i < node->seen.count; i++)
			node->seen.items[i].node->names++;
}

void simtree_crash(struct simtree *t, struct simfate *fate)
{
	for (size_t i = 0; i < t->move_count; i++)
		t->moves[i].due = simfate_name(fate, t->moves[i].when);
	apply_due(t);
	t->move_count = 0;
	for (struct simnode *node = t->nodes; node; node = node->next) {
		names_copy(&node->seen, &node->disk);
		node->sync_failed = false;
		if (!node->directory)
			simfile_crash(&node->file, fate);
	}
	reach(t->root);
	drop_unreached(t);
	count_names(t);
}
