/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row_time - the two times of a row in 64 + 39 bits. mtime is always exact, and ctime:
 *
 *   mtime a whole second     A vs_time leaves the highest values of its 64 bits unused: there stand mtime in
 * seconds (34 bits) and the upper 25 bits of ctime, whose lower 39 have their own field. Exact. 0 <= ctime -
 * mtime       The difference, in nanoseconds. Exact: that is every vector that was written, and was < 2^38 ns
 * (274 s)    not given another mtime since. else                     The highest bit is set, and 38 bits
 * count steps of 2^23 ns (8.4 ms) since 2020, until 2093. Rounded up: whoever compares it with a snapshot of
 * his own never takes a change for older.
 *
 * Whatever the bits are they mean some time in range, so that a forged row can do no harm.
 */
#ifndef VECFS_STORE_BASE_ROW_TIME_H
#define VECFS_STORE_BASE_ROW_TIME_H

#include "store/base/format.h"
#include "store/store.h"

#define ROW_CTIME_BITS 39
#define ROW_CTIME_MASK ((UINT64_C(1) << ROW_CTIME_BITS) - 1)
#define ROW_CTIME_STEPS                                                                                      \
	(UINT64_C(1) << (ROW_CTIME_BITS - 1)) /* the flag, and what the other bits are below */
#define ROW_CTIME_UPPER_BITS (64 - ROW_CTIME_BITS)
#define ROW_STEP_NS (UINT64_C(1) << 23)
#define ROW_STEPS_ORIGIN ((uint64_t)(1577836800 - VS_TIME_FIRST_S) * VS_TIME_NS_PER_S) /* 2020-01-01 */

static_assert(((uint64_t)VS_TIME_SECONDS << ROW_CTIME_UPPER_BITS) <= UINT64_MAX - VS_TIME_END,
	      "whole seconds fit");

static inline void row_set_times(struct row *row, vs_time mtime, vs_time ctime)
{
	uint64_t steps =
		ctime < ROW_STEPS_ORIGIN ? 0 : (ctime - ROW_STEPS_ORIGIN + ROW_STEP_NS - 1) / ROW_STEP_NS;

	assert(mtime < VS_TIME_END && ctime < VS_TIME_END);
	row->mtime = mtime;
	if (mtime % VS_TIME_NS_PER_S == 0) {
		row->mtime = VS_TIME_END +
			     (mtime / VS_TIME_NS_PER_S << ROW_CTIME_UPPER_BITS | ctime >> ROW_CTIME_BITS);
		row->ctime = ctime & ROW_CTIME_MASK;
	} else if (ctime >= mtime && ctime - mtime < ROW_CTIME_STEPS) {
		row->ctime = (ctime - mtime) & ROW_CTIME_MASK;
	} else {
		row->ctime = (ROW_CTIME_STEPS | (steps < ROW_CTIME_STEPS ? steps : ROW_CTIME_STEPS - 1)) &
			     ROW_CTIME_MASK;
	}
}

static inline vs_time row_mtime(const struct row *row)
{
	uint64_t seconds;

	if (row->mtime < VS_TIME_END)
		return row->mtime;
	seconds = (row->mtime - VS_TIME_END) >> ROW_CTIME_UPPER_BITS;
	return seconds < (uint64_t)VS_TIME_SECONDS ? seconds * VS_TIME_NS_PER_S
						   : VS_TIME_END - VS_TIME_NS_PER_S;
}

static inline vs_time row_ctime(const struct row *row)
{
	uint64_t t;

	if (row->mtime >= VS_TIME_END)
		t = (row->mtime - VS_TIME_END) << ROW_CTIME_BITS | row->ctime;
	else if (row->ctime & ROW_CTIME_STEPS)
		t = ROW_STEPS_ORIGIN + (row->ctime ^ ROW_CTIME_STEPS) * ROW_STEP_NS;
	else
		t = row->mtime + row->ctime;
	return t < VS_TIME_END ? t : VS_TIME_END - 1;
}

#endif
