/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs train - a view is made, as by mkdir, and waited for. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/keyfile.h"
#include "fs/cli/progress.h"
#include "fs/cli/reason.h"
#include "fs/cli/transfer.h"
#include "fs/request/message.h"

#define WHY_BYTES 512
#define LOOK_US 50000
#define PARAMS_BYTES 512

static const char help[] =
	"usage: vecfs train [--seed N] [--train N] [--retrain auto|off] COLLECTION VIEW\n\n"
	"Makes a compressed view of COLLECTION, a directory of a mount, and returns when it is ready. VIEW\n"
	"is its codec: opq96 (96 bytes a vector; of the trained ones take this), pq96, opq192x4, pq192x4,\n"
	"or, not trained, f16, bf16, sq8, rabitq1 to rabitq8, bit. `mkdir COLLECTION/.vecfs/views/VIEW`\n"
	"does the same without waiting, rmdir drops the view.\n\n"
	"  --seed N           what training draws its samples with (default: the view's own)\n"
	"  --train N          train with so many vectors (default: as many as the codec wants)\n"
	"  --retrain WORD     auto: train anew when what is written drifts away from the model; or off\n"
	"  -q, --quiet        no progress, and nothing but errors\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_train = {"train", "a compressed view of a collection", help, run};

struct request {
	const char *collection, *view;
	char dir[PATH_MAX];     /* COLLECTION/.vecfs/views/VIEW */
	char control[PATH_MAX]; /* its .vecfs */
	char params[PARAMS_BYTES];
	bool quiet;
};

static int fail(const struct request *r, const char *why)
{
	message(VS_ERROR, "%s: %s: %s", r->collection, r->view, why);
	return COMMAND_FAILED;
}

/* The reason that the mount has logged, or else the error's. */
static int refused(const struct request *r, const char *what, int error)
{
	char why[WHY_BYTES];

	snprintf(why, sizeof why, "%s", strerror(error));
	reason_find(r->collection, what, why, sizeof why);
	return fail(r, why);
}

static uint64_t number_of(const struct keyfile *k, const char *key)
{
	const char *value = keyfile_get(k, key);

	return value ? strtoull(value, NULL, 10) : 0;
}

/* ------------------------------------------------------------------ making it */

static int write_params(const struct request *r)
{
	char path[PATH_MAX + 8], what[PATH_MAX];
	int fd, rc;

	if (!*r->params)
		return COMMAND_OK;
	snprintf(path, sizeof path, "%s/params", r->control);
	snprintf(what, sizeof what, "views/%s/.vecfs/params: ", r->view);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	rc = fd < 0 ? -errno : transfer_write(fd, r->params, strlen(r->params));
	if (fd >= 0 && close(fd) != 0 && rc == 0)
		rc = -errno;
	return rc ? refused(r, what, -rc) : COMMAND_OK;
}

/* A view that is there already is waited for all the same. */
static int make(const struct request *r)
{
	char what[PATH_MAX];

	if (mkdir(r->dir, 0777) != 0 && errno != EEXIST) {
		snprintf(what, sizeof what, "views/%s: ", r->view);
		return errno == ENOENT ? fail(r, "want a directory of a mount") : refused(r, what, errno);
	}
	return write_params(r);
}

/* ------------------------------------------------------------------ waiting */

static void show(struct progress *p, const struct keyfile *info)
{
	static int shown = -1;
	const char *progress = keyfile_get(info, "progress");
	uint64_t done = number_of(info, "rows_encoded") * p->row_bytes;
	int percent = progress ? (int)(100 * atof(progress)) : 0;
	char note[64];

	if (strcmp(keyfile_get(info, "state"), "encoding") == 0) {
		if (done > p->done_bytes)
			progress_add(p, done - p->done_bytes);
		return;
	}
	snprintf(note, sizeof note, "training, %d %%", percent);
	if (percent != shown)
		progress_note(p, note);
	shown = percent;
}

/* Looks at the view until it is ready, or will not be. */
static int wait_for(const struct request *r, struct keyfile *info, struct progress *p)
{
	for (;;) {
		int rc = keyfile_load(r->control, "info", info);
		const char *state = rc ? NULL : keyfile_get(info, "state");

		if (interrupt_came())
			return -EINTR;
		if (!state)
			return rc ? rc : -EPROTO;
		if (strcmp(state, "ready") == 0)
			return 0;
		if (strcmp(state, "failed") == 0 || strcmp(state, "lagging") == 0)
			return -EIO;
		show(p, info);
		usleep(LOOK_US);
	}
}

static int say_how_it_ended(const struct request *r, int rc, const struct keyfile *info)
{
	const char *why = keyfile_get(info, "why");
	char text[PATH_MAX + 64];

	if (rc == -EINTR) {
		snprintf(text, sizeof text, "interrupted; it goes on in the background: see %s/state",
			 r->control);
		return fail(r, text);
	}
	if (rc == -ENOENT || rc == -ESTALE)
		return fail(r, "somebody has dropped it");
	return fail(r, rc == -EIO && why ? why : strerror(-rc));
}

/* ------------------------------------------------------------------ what has come of it */

static void say_recall(const struct keyfile *recall)
{
	const char *at[] = {keyfile_get(recall, "recall_rerank0"), keyfile_get(recall, "recall_rerank20"),
			    keyfile_get(recall, "recall_rerank100")};

	if (at[0] && at[1] && at[2])
		printf("; recall@10 %s by the codes alone, %s with 20 verified, %s with 100", at[0], at[1],
		       at[2]);
}

static void say_what_it_is(const struct request *r, const struct keyfile *info, const struct keyfile *recall)
{
	const char *bytes = keyfile_get(info, "code_bytes"), *ratio = keyfile_get(info, "ratio");

	printf("%s: %s bytes a vector, %s times smaller", r->view, bytes ? bytes : "?", ratio ? ratio : "?");
	say_recall(recall);
	putchar('\n');
	for (size_t i = 0; i < info->count; i++)
		if (strcmp(info->lines[i].key, "warning") == 0)
			printf("%s: %s\n", r->view, info->lines[i].value);
}

static int train(const struct request *r)
{
	static struct keyfile info, recall, stats;
	struct progress progress;
	char dir[PATH_MAX], what[PATH_MAX];
	int rc;

	interrupt_catch(); /* from the moment that there is a view */
	rc = make(r);
	if (rc)
		return rc;
	snprintf(dir, sizeof dir, "%s/.vecfs", r->collection);
	snprintf(what, sizeof what, "train %s", r->view);
	if (keyfile_load(dir, "stats", &stats) != 0)
		return fail(r, strerror(errno));
	progress_start(&progress, what, number_of(&stats, "vectors") * number_of(&stats, "row_bytes"),
		       number_of(&stats, "row_bytes"), r->quiet);
	rc = wait_for(r, &info, &progress);
	if (!rc && !r->quiet) {
		progress_note(&progress, "measuring recall");
		keyfile_load(r->control, "recall", &recall);
		rc = interrupt_came() ? 0 : keyfile_load(r->control, "info", &info); /* with its warnings */
	}
	progress_end(&progress, false);
	if (rc)
		return say_how_it_ended(r, rc, &info);
	if (!r->quiet)
		say_what_it_is(r, &info, &recall);
	return COMMAND_OK;
}

/* ------------------------------------------------------------------ arguments */

static void add_param(struct request *r, const char *key, const char *value)
{
	size_t used = strlen(r->params);

	snprintf(r->params + used, sizeof r->params - used, "%s=%s\n", key, value);
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"seed", required_argument, NULL, 's'},    {"train", required_argument, NULL, 't'},
		{"retrain", required_argument, NULL, 'r'}, {"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},          {0},
	};
	struct request r = {.quiet = false};
	int answer;

	while ((answer = getopt_long(argc, argv, ":qh", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_train);
		if (answer == 's' || answer == 't' || answer == 'r')
			add_param(&r, answer == 's' ? "seed" : answer == 't' ? "train" : "retrain", optarg);
		else if (answer == 'q')
			r.quiet = true;
		else
			return command_bad_option(&command_train, answer, argv);
	}
	if (argc - optind != 2)
		return command_misused(&command_train, "want COLLECTION and VIEW");
	r.collection = argv[optind];
	r.view = argv[optind + 1];
	if (!*r.view || strchr(r.view, '/'))
		return command_misused(&command_train, "%s: want the name of a codec", r.view);
	if ((size_t)snprintf(r.dir, sizeof r.dir, "%s/.vecfs/views/%s", r.collection, r.view) >=
		    sizeof r.dir ||
	    (size_t)snprintf(r.control, sizeof r.control, "%s/.vecfs", r.dir) >= sizeof r.control)
		return fail(&r, strerror(ENAMETOOLONG));
	return train(&r);
}
