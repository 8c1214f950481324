/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simfate - decides, from a seed, what a crash leaves of that which was not synced.
 *
 * A crash has one temper for data and one for names, since each kind of bug shows under another: a log
 * that trusts its tail shows when all survives but one sector, a missing directory sync when nothing does.
 */
#ifndef VECFS_TESTS_CRASH_SIMFATE_H
#define VECFS_TESTS_CRASH_SIMFATE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/rng.h"

enum simfate_temper {
	SIMFATE_NOTHING, /* what was not synced is gone */
	SIMFATE_ALL,     /* all of it is there */
	SIMFATE_PREFIX,  /* what came before a moment is there, what came later is not */
	SIMFATE_FILES,   /* each file all or nothing */
	SIMFATE_WRITES,  /* each write all or nothing */
	SIMFATE_SECTORS, /* each sector for itself */
	SIMFATE_GARBLES, /* the same, and some hold noise */
	SIMFATE_TEMPER_COUNT
};

enum simfate_end { SIMFATE_DROPPED, SIMFATE_KEPT, SIMFATE_GARBLED };

struct simfate {
	struct rng rng;
	enum simfate_temper data, names;
	unsigned keep_percent;
	uint64_t cut; /* the moment of SIMFATE_PREFIX */
	bool file_kept, write_kept;
};

/* now: the number of the latest change; all changes are numbered in the order they were made. */
void simfate_init(struct simfate *fate, uint64_t seed, uint64_t now);
/* To be called at each file, and at each of its writes, before their sectors. */
void simfate_file(struct simfate *fate);
void simfate_write(struct simfate *fate, uint64_t when);
enum simfate_end simfate_sector(struct simfate *fate);
/* Whether a change of a file's size, or of a name, survives. */
bool simfate_size(struct simfate *fate);
bool simfate_name(struct simfate *fate, uint64_t when);

#endif
