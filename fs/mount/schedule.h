/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule - how the kernel schedules the threads that answer requests.
 *
 * A daemon in the background is in a scheduling group of its own (an autogroup since setsid(2), or a cgroup
 * of a service manager). There the kernel takes a CPU on which one of these threads runs for busy: the client
 * that it wakes moves to another CPU, and back at the next request, which halves what a client gets done. A
 * CPU on which there is nothing but SCHED_IDLE counts as idle, and the client stays. Within a group of its
 * own that costs nothing, since groups share a CPU by their weights.
 *
 * The trap: where there is no such group (autogroups are switched off, or others are in the cgroup) whoever
 * computes beside such a thread starves it. So
 *
 *   - it is done only while requests are coming in: a mount at rest has threads like any other;
 *   - meanwhile a watch, itself an ordinary thread, looks every few milliseconds whether the threads run.
 * When they wait instead, it takes it back; if they then run, for ten seconds at first, longer each time; if
 * they wait as before, there is just too much to do, and it was not to blame. (The kernel itself takes a
 * second or two, beside hogs, to give such a thread its full share again: to try anew every second was to
 * stay slow.)
 *   - who may not take it back (an ordinary user, without RLIMIT_NICE) has it done only where there is an
 * autogroup of its own for certain, and then for all of his threads, lest they starve each other. A service
 * manager's mark in the environment is no such thing: each shell of a desktop that it started inherits it.
 */
#ifndef VECFS_FS_MOUNT_SCHEDULE_H
#define VECFS_FS_MOUNT_SCHEDULE_H

#include <stdbool.h>

struct schedule;

/* For a daemon whose scheduling group should be its own, when its threads are there; own_session: it leads
 * the session that it is in, so that its autogroup is nobody else's. NULL: everything stays as it is. */
struct schedule *schedule_start(bool own_session);
/* Before these threads end. NULL is allowed. */
void schedule_stop(struct schedule *s);

#endif
