/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crash/simfate.h"

#define GARBLE_PERCENT 5

void simfate_init(struct simfate *fate, uint64_t seed, uint64_t now)
{
	static const unsigned percents[] = {10, 50, 90, 97};

	*fate = (struct simfate){.rng = rng_of(seed, now)};
	fate->data = (enum simfate_temper)rng_below(&fate->rng, SIMFATE_TEMPER_COUNT);
	fate->names = (enum simfate_temper)rng_below(&fate->rng, SIMFATE_TEMPER_COUNT);
	fate->keep_percent = percents[rng_below(&fate->rng, sizeof percents / sizeof percents[0])];
	/* Most often the moment lies among the last few changes: older ones tend to be synced. */
	fate->cut = now - rng_below(&fate->rng, 1 + (rng_percent(&fate->rng, 75) && now > 32 ? 32 : now));
}

void simfate_file(struct simfate *fate)
{
	fate->file_kept = rng_percent(&fate->rng, fate->keep_percent);
}

void simfate_write(struct simfate *fate, uint64_t when)
{
	switch (fate->data) {
	case SIMFATE_NOTHING:
		fate->write_kept = false;
		break;
	case SIMFATE_PREFIX:
		fate->write_kept = when <= fate->cut;
		break;
	case SIMFATE_FILES:
		fate->write_kept = fate->file_kept;
		break;
	case SIMFATE_WRITES:
		fate->write_kept = rng_percent(&fate->rng, fate->keep_percent);
		break;
	default:
		fate->write_kept = true;
		break;
	}
}

enum simfate_end simfate_sector(struct simfate *fate)
{
	if (fate->data < SIMFATE_SECTORS)
		return fate->write_kept ? SIMFATE_KEPT : SIMFATE_DROPPED;
	if (fate->data == SIMFATE_GARBLES && rng_percent(&fate->rng, GARBLE_PERCENT))
		return SIMFATE_GARBLED;
	return rng_percent(&fate->rng, fate->keep_percent) ? SIMFATE_KEPT : SIMFATE_DROPPED;
}

bool simfate_size(struct simfate *fate)
{
	if (fate->data < SIMFATE_SECTORS)
		return fate->write_kept;
	return rng_percent(&fate->rng, fate->keep_percent);
}

bool simfate_name(struct simfate *fate, uint64_t when)
{
	if (fate->names == SIMFATE_NOTHING || fate->names == SIMFATE_ALL)
		return fate->names == SIMFATE_ALL;
	if (fate->names == SIMFATE_PREFIX)
		return when <= fate->cut;
	return rng_percent(&fate->rng, fate->keep_percent);
}
