/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vecfs search - the nearest vectors to queries. They are searched for here: of a store that is not mounted,
 * which is opened for reading; and of a mount where the user may read the store's files (row_lender.h).
 * Where that cannot be done, whatever the reason, the daemon is asked, in a session (search_session.h): what
 * is wrong with a search it says, too.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/control/answer.h"
#include "fs/cli/command.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/keyfile.h"
#include "fs/request/message.h"
#include "fs/cli/output.h"
#include "fs/cli/progress.h"
#include "fs/cli/reason.h"
#include "fs/cli/row_lender.h"
#include "fs/cli/store_path.h"
#include "fs/cli/transfer.h"
#include "fs/control/filter_table.h"
#include "fs/control/query_array.h"
#include "store/base/clock.h"
#include "store/base/idlist.h"

#define WHY_BYTES 512
#define READ_BYTES (1u << 20)
#define THREADS_MAX 256u
#define LOOK_MS 100

static const char help[] =
	"usage: vecfs search COLLECTION QUERY [OPTION...]\n"
	"       vecfs search COLLECTION --queries FILE [OPTION...]\n\n"
	"Finds the vectors of COLLECTION that are nearest to a query: a directory of a mount, or\n"
	"STORE/NAME of a store that is not mounted; or of a snapshot, COLLECTION/.vecfs/snap/NAME. QUERY\n"
	"is a file of one vector, such as another one of the collection, or - for standard input.\n\n"
	"Prints rank, distance and id, with tabs between. The distance is Euclidean for l2, 1 - cos for\n"
	"cosine; for ip it is the inner product, where larger is nearer.\n\n"
	"  -k, --k N          how many (default 10)\n"
	"  --queries FILE     many queries: .npy, .fvecs, .bvecs, .fbin, .u8bin, .i8bin or raw\n"
	"  --filter GLOB      only ids that match\n"
	"  --ids-from FILE    only the ids in FILE, a line each; !FILE: only those that are not\n"
	"  --radius R         only what is not farther; for ip: not smaller\n"
	"  --view V           candidates from the codes of the view V. Without it the result is exact; the\n"
	"                     view sq8, if there is one, finds the same in less time\n"
	"  --rerank N|auto    how many candidates are verified with their vectors (0: none)\n"
	"  --recall R         as many as find the share R of the nearest, measured on stored vectors\n"
	"  --threads N        how many search, in this process (default: one a CPU for --queries; a single\n"
	"                     query of a mount is the daemon's)\n"
	"  --json             one JSON object\n"
	"  --out FILE         the rows found as a .npy of int64, queries x k, -1 for none\n"
	"  --distances FILE   their distances as a .npy of f32\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_search = {"search", "nearest vectors to a query", help, run};

struct bytes {
	char *data;
	size_t size;
};

struct request {
	const char *collection, *query, *out, *distances;
	bool json, is_batch, threads_told;
	char params[2048]; /* key=value lines */
	struct search_params parsed;
	struct bytes queries, ids; /* ids.data NULL: no list */
	char queries_name[64];
};

/* What is found: the files of a session. */
struct result {
	struct bytes names, rows, distances, json;
};

static int fail(const char *what, const char *why)
{
	message(VS_ERROR, "%s: %s", what, why);
	return COMMAND_FAILED;
}

/* The same of what a search was refused for: the queries are called as the user's file. */
static int fail_search(const struct request *r, const char *why)
{
	size_t n = strlen(r->queries_name);

	if (strncmp(why, r->queries_name, n) != 0)
		return fail(r->collection, why);
	message(VS_ERROR, "%s: %s%s", r->collection, strcmp(r->query, "-") ? r->query : "standard input",
		why + n);
	return COMMAND_FAILED;
}

/* ------------------------------------------------------------------ files */

/* Reads all of a file; "-" is standard input. -errno. */
static int load(const char *path, struct bytes *out)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO,
	    rc = fd < 0 ? -errno : 0;
	ssize_t got = 1;

	*out = (struct bytes){.size = 0};
	while (!rc && got > 0) {
		char *more = realloc(out->data, out->size + READ_BYTES);

		if (!more) {
			rc = -ENOMEM;
			break;
		}
		out->data = more;
		got = read(fd, out->data + out->size, READ_BYTES);
		if (got < 0)
			rc = -errno;
		else
			out->size += (size_t)got;
	}
	if (fd > STDIN_FILENO)
		close(fd);
	if (rc) {
		free(out->data);
		out->data = NULL;
	}
	return rc;
}

static int write_output(const char *path, const struct bytes *bytes)
{
	struct output out;
	int rc = output_open(path, &out);

	if (rc)
		return rc;
	rc = transfer_write(out.fd, bytes->data, bytes->size);
	if (rc)
		output_drop(&out);
	else
		rc = output_finish(&out);
	return rc;
}

/* ------------------------------------------------------------------ a mount */

static int put(const char *dir, const char *name, const struct bytes *bytes)
{
	char path[PATH_MAX];

	return (size_t)snprintf(path, sizeof path, "%s/%s", dir, name) < sizeof path
		       ? transfer_write_path(path, bytes->data, bytes->size)
		       : -ENAMETOOLONG;
}

static int get(const char *dir, const char *name, struct bytes *out)
{
	char path[PATH_MAX];

	if (interrupt_came()) /* while the queries were written */
		return -EINTR;
	return (size_t)snprintf(path, sizeof path, "%s/%s", dir, name) < sizeof path ? load(path, out)
										     : -ENAMETOOLONG;
}

static int ask(const struct request *r, const char *dir, struct result *out)
{
	struct bytes params = {(char *)(uintptr_t)r->params, strlen(r->params)};
	int rc = put(dir, "params", &params);

	if (!rc && r->ids.data)
		rc = put(dir, "list", &r->ids);
	if (!rc)
		rc = put(dir, r->queries_name, &r->queries);
	if (!rc)
		rc = get(dir, "names", &out->names);
	if (!rc)
		rc = get(dir, "rows.npy", &out->rows);
	if (!rc)
		rc = get(dir, "distances.npy", &out->distances);
	if (!rc)
		rc = get(dir, "result.json", &out->json);
	return rc;
}

/* A thread that draws how far the daemon is with a batch, by the session's file. */
struct look {
	pthread_t thread, asker;
	pthread_mutex_t lock;
	pthread_cond_t end;
	bool is_started, is_over;
	int fd;
	struct progress progress;
};

static void look_once(struct look *look)
{
	static struct keyfile text;
	const char *done, *rows;
	ssize_t n = pread(look->fd, text.text, sizeof text.text - 1, 0);
	uint64_t bytes;

	if (n <= 0)
		return;
	text.text[n] = '\0';
	keyfile_parse(text.text, &text);
	done = keyfile_get(&text, "rows_done");
	rows = keyfile_get(&text, "rows");
	if (!done || !rows)
		return;
	look->progress.total_bytes = strtoull(rows, NULL, 10) * look->progress.row_bytes;
	bytes = strtoull(done, NULL, 10) * look->progress.row_bytes;
	if (bytes > look->progress.done_bytes)
		progress_add(&look->progress, bytes - look->progress.done_bytes);
}

static void *look_always(void *arg)
{
	struct look *look = arg;

	pthread_mutex_lock(&look->lock);
	while (!look->is_over) {
		pthread_mutex_unlock(&look->lock);
		look_once(look);
		interrupt_pass_on(look->asker);
		pthread_mutex_lock(&look->lock);
		if (!look->is_over)
			clock_wait(&look->end, &look->lock, clock_ms() + LOOK_MS);
	}
	pthread_mutex_unlock(&look->lock);
	return NULL;
}

static void look_begin(struct look *look, const struct request *r, const char *session)
{
	static struct keyfile stats;
	char path[PATH_MAX];
	const char *bytes;

	*look = (struct look){.asker = pthread_self(),
			      .lock = PTHREAD_MUTEX_INITIALIZER,
			      .end = PTHREAD_COND_INITIALIZER,
			      .fd = -1};
	if (!r->is_batch)
		return;
	snprintf(path, sizeof path, "%s/.vecfs", r->collection);
	bytes = keyfile_load(path, "stats", &stats) ? NULL : keyfile_get(&stats, "row_bytes");
	if ((size_t)snprintf(path, sizeof path, "%s/progress", session) < sizeof path)
		look->fd = open(path, O_RDONLY | O_CLOEXEC);
	progress_start(&look->progress, "search", 0, bytes ? strtoull(bytes, NULL, 10) : 0,
		       !bytes || look->fd < 0);
	look->is_started = bytes && look->fd >= 0 && !pthread_create(&look->thread, NULL, look_always, look);
}

static void look_end(struct look *look)
{
	if (look->is_started) {
		pthread_mutex_lock(&look->lock);
		look->is_over = true;
		pthread_cond_signal(&look->end);
		pthread_mutex_unlock(&look->lock);
		pthread_join(look->thread, NULL);
		progress_end(&look->progress, false);
	}
	if (look->fd >= 0)
		close(look->fd);
}

static int ask_daemon(struct request *r, struct result *out)
{
	char dir[PATH_MAX], why[WHY_BYTES] = "", name[32];
	struct look look;
	uint64_t number;
	int rc;

	if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
		return fail(r->collection, strerror(errno));
	snprintf(name, sizeof name, "cli-%016llx", (unsigned long long)number);
	if ((size_t)snprintf(dir, sizeof dir, "%s/.vecfs/search/%s", r->collection, name) >= sizeof dir)
		return fail(r->collection, strerror(ENAMETOOLONG));
	if (mkdir(dir, 0700) != 0)
		return fail(r->collection, strerror(errno));
	interrupt_catch();
	look_begin(&look, r, dir);
	rc = ask(r, dir, out);
	look_end(&look);
	if (rc)
		reason_find(r->collection, name, why, sizeof why);
	rmdir(dir);
	return rc ? fail_search(r, *why ? why : rc == -EINTR ? "interrupted" : strerror(-rc)) : 0;
}

/* ------------------------------------------------------------------ in this process */

/* The threads of a search tell how far they are. */
struct watch {
	pthread_mutex_t lock;
	struct progress progress;
};

static bool is_over(void *arg, uint64_t rows)
{
	struct watch *watch = arg;

	pthread_mutex_lock(&watch->lock);
	progress_add(&watch->progress, rows * watch->progress.row_bytes);
	pthread_mutex_unlock(&watch->lock);
	return interrupt_came();
}

static int add_ids(const struct request *r, struct vs_filter *list, char *why)
{
	struct idlist ids;
	char *copy = malloc(r->ids.size + 1);
	int rc;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, r->ids.data, r->ids.size);
	rc = idlist_parse(copy, r->ids.size, IDLIST_LINES, NULL, &ids, why, WHY_BYTES);
	for (uint64_t i = 0; !rc && i < ids.count; i++)
		rc = vs_filter_add(list, ids.id[i], strlen(ids.id[i]));
	vs_filter_deny(list, r->parsed.deny);
	if (!rc)
		idlist_free(&ids);
	return rc;
}

static int take_results(const struct answer *a, uint32_t k, struct result *out)
{
	int rc = answer_names(a, &out->names.data, &out->names.size);

	if (!rc)
		rc = answer_rows(a, k, &out->rows.data, &out->rows.size);
	if (!rc)
		rc = answer_distances(a, k, &out->distances.data, &out->distances.size);
	if (!rc)
		rc = answer_print(a, true, &out->json.data, &out->json.size);
	return rc;
}

/* ask tells where, and of what schema; the rest is filled in. */
static int search_here(struct answer_ask *ask, uint64_t rows, struct request *r, struct result *out,
		       char *why)
{
	size_t row_bytes = vs_row_bytes(ask->schema);
	struct vs_filter *list = r->ids.data ? vs_filter_new() : NULL;
	struct watch watch = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct query_array q = {.count = 0};
	struct answer a;
	int rc = query_array_of(r->queries_name, r->queries.data, r->queries.size, ask->schema, &q, why,
				WHY_BYTES);

	if (!rc && r->ids.data)
		rc = list ? add_ids(r, list, why) : -ENOMEM;
	interrupt_catch();
	progress_start(&watch.progress, "search", rows * row_bytes, row_bytes, !r->is_batch);
	ask->vectors = q.vectors;
	ask->count = q.count;
	ask->params = &r->parsed;
	ask->list = list;
	ask->is_cancelled = is_over;
	ask->arg = &watch;
	if (!rc)
		rc = answer_make(ask, &a, why, WHY_BYTES);
	else if (ask->borrowed)
		vs_snapshot_close(ask->borrowed);
	progress_end(&watch.progress, false);
	if (!rc) {
		rc = take_results(&a, r->parsed.k, out);
		answer_free(&a);
	}
	query_array_free(&q);
	vs_filter_free(list);
	return rc;
}

static int search_store(const struct store_path *path, struct request *r, struct result *out)
{
	struct vs_options options = {.read_only = true};
	struct vs_collection_info info;
	struct vs_store *store;
	char why[WHY_BYTES] = "";
	int rc = vs_open(path->store, &options, &store, why, sizeof why);

	if (rc)
		return fail(path->store, *why ? why : strerror(-rc));
	rc = store_path_find(store, path, &info);
	if (rc == -ENOENT)
		snprintf(why, sizeof why, "there is no such %s in the store",
			 path->snapshot ? "snapshot" : "collection");
	if (!rc && !strcmp(r->queries_name, "queries.raw"))
		snprintf(r->queries_name, sizeof r->queries_name, "queries.%s",
			 vs_dtype_name(info.schema.dtype));
	if (!rc)
		rc = search_here(
			&(struct answer_ask){.store = store, .collection = info.id, .schema = &info.schema},
			info.count, r, out, why);
	vs_close(store);
	return rc ? fail_search(r, *why ? why : rc == -EINTR ? "interrupted" : strerror(-rc)) : 0;
}

/* -errno: the daemon has to. */
static int search_lent(struct request *r, struct result *out)
{
	struct answer_ask ask = {.filters = filter_table_new()};
	struct vs_snapshot_info info;
	struct row_lender *lender;
	char why[WHY_BYTES];
	int rc = ask.filters ? row_lender_open(r->collection, r->parsed.view, &lender, &ask.borrowed)
			     : -ENOMEM;

	if (!rc) {
		vs_snapshot_info(ask.borrowed, &info);
		ask.schema = &info.schema;
		rc = search_here(&ask, info.rows, r, out, why);
		row_lender_close(lender);
	}
	filter_table_free(ask.filters);
	return rc;
}

/* One query is the daemon's unless threads are wanted: it has at hand what another process reads first, 56
 * bytes a row. Of a million rows of 32 dims that takes four times as long as the search. */
static int search_mount(struct request *r, struct result *out)
{
	int rc = r->is_batch || r->threads_told ? search_lent(r, out) : -ENOTSUP;

	if (rc == -EINTR)
		return fail(r->collection, "interrupted");
	return rc ? ask_daemon(r, out) : 0;
}

/* ------------------------------------------------------------------ printing */

/* As a line of near/ has it: there a tab of its own ends nothing, here it is written with a '/' before it. */
static void print_id(const char *id, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (i + 3 <= size && !memcmp(id + i, "/\\t", 3)) {
			putchar('\t');
			i += 2;
		} else {
			putchar(id[i]);
		}
	putchar('\n');
}

/* Each query's ids with their distances. */
static void print_text(const struct result *result, uint32_t k)
{
	const char *p = result->names.data, *end = p + result->names.size;
	const char *distances = result->distances.data + NPY_NUMPY_HEADER_BYTES;

	for (uint32_t rank = 0; p < end; p++) {
		size_t n = strcspn(p, "\t\n");
		float distance;

		if (n) {
			memcpy(&distance, distances + rank * sizeof distance, sizeof distance);
			printf("%u\t%.9g\t", ++rank, (double)distance);
			print_id(p, n);
		}
		p += n;
		if (*p == '\n') {
			rank = 0;
			distances += k * sizeof distance;
		}
	}
}

static int print(const struct request *r, const struct result *result)
{
	const char *ip = "{\"metric\":\"ip\"";
	int rc = 0;

	if (r->json)
		fwrite(result->json.data, 1, result->json.size, stdout);
	else if (!r->out && !r->distances) {
		if (!strncmp(result->json.data, ip, strlen(ip)))
			printf("# inner product: larger is nearer\n");
		print_text(result, r->parsed.k);
	}
	if (r->out)
		rc = write_output(r->out, &result->rows);
	if (rc)
		return fail(r->out, strerror(-rc));
	if (r->distances)
		rc = write_output(r->distances, &result->distances);
	if (rc)
		return fail(r->distances, strerror(-rc));
	return fflush(stdout) ? fail("standard output", strerror(errno)) : COMMAND_OK;
}

/* ------------------------------------------------------------------ arguments */

static int add_param(struct request *r, const char *key, const char *value)
{
	char word[1024], why[WHY_BYTES];
	size_t used = strlen(r->params);

	if (strchr(value, '\n') || (size_t)snprintf(word, sizeof word, "%s=%s", key, value) >= sizeof word)
		return command_misused(&command_search, "%s: what is that?", key);
	if (search_params_set(&r->parsed, word, strlen(word), why, sizeof why))
		return command_misused(&command_search, "%s", why);
	if ((size_t)snprintf(r->params + used, sizeof r->params - used, "%s\n", word) >=
	    sizeof r->params - used)
		return command_misused(&command_search, "that is too much");
	return 0;
}

static int add_list(struct request *r, const char *file)
{
	int rc = load(file + (*file == '!'), &r->ids);

	if (rc)
		return fail(file, strerror(-rc));
	return add_param(r, "ids", *file == '!' ? "!list" : "list");
}

static int take_threads(struct request *r, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n < 1 || n > THREADS_MAX)
		return command_misused(&command_search, "--threads %s: want a number from 1 to %u", value,
				       THREADS_MAX);
	r->parsed.threads = (unsigned)n;
	r->threads_told = true;
	return 0;
}

static int take_option(struct request *r, int answer, const char *value)
{
	static const char *const keys[] = {['k'] = "k",    ['f'] = "filter", ['r'] = "radius",
					   ['v'] = "view", ['R'] = "rerank", ['c'] = "recall"};

	switch (answer) {
	case 'q':
		r->query = value;
		r->is_batch = true;
		snprintf(r->queries_name, sizeof r->queries_name, "queries%s",
			 strrchr(value, '.') ? strrchr(value, '.') : ".raw");
		return 0;
	case 't':
		return take_threads(r, value);
	case 'i':
		return add_list(r, value);
	case 'j':
		r->json = true;
		return 0;
	case 'o':
		r->out = value;
		return 0;
	case 'd':
		r->distances = value;
		return 0;
	default:
		return add_param(r, keys[answer], value);
	}
}

static int take_arguments(struct request *r, int argc, char **argv)
{
	static const struct option longs[] = {
		{"k", required_argument, NULL, 'k'},       {"queries", required_argument, NULL, 'q'},
		{"filter", required_argument, NULL, 'f'},  {"ids-from", required_argument, NULL, 'i'},
		{"radius", required_argument, NULL, 'r'},  {"view", required_argument, NULL, 'v'},
		{"rerank", required_argument, NULL, 'R'},  {"recall", required_argument, NULL, 'c'},
		{"threads", required_argument, NULL, 't'}, {"json", no_argument, NULL, 'j'},
		{"out", required_argument, NULL, 'o'},     {"distances", required_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},          {0},
	};
	int answer, rc = 0;

	while (!rc && (answer = getopt_long(argc, argv, ":hk:", longs, NULL)) != -1) {
		if (answer == 'h') {
			command_help(&command_search);
			return -1;
		}
		if (answer == '?' || answer == ':')
			return command_bad_option(&command_search, answer, argv);
		rc = take_option(r, answer, optarg);
	}
	if (rc)
		return rc;
	if (argc - optind != (r->query ? 1 : 2))
		return command_misused(&command_search, "want COLLECTION and one QUERY, or --queries");
	if (r->out && r->distances && strcmp(r->out, r->distances) == 0)
		return command_misused(&command_search, "--out and --distances want two files");
	r->collection = argv[optind];
	if (!r->query) {
		r->query = argv[optind + 1];
		strcpy(r->queries_name, "queries.raw");
	}
	return 0;
}

/* A file of one vector has no suffix that tells its dtype: it is the collection's. */
static int name_raw_queries(struct request *r)
{
	static struct keyfile schema;
	char dir[PATH_MAX];
	const char *dtype;
	int rc;

	if (strcmp(r->queries_name, "queries.raw") != 0)
		return 0;
	snprintf(dir, sizeof dir, "%s/.vecfs", r->collection);
	rc = keyfile_load(dir, "schema", &schema);
	dtype = rc ? NULL : keyfile_get(&schema, "dtype");
	if (!dtype)
		return rc ? rc : -EINVAL;
	snprintf(r->queries_name, sizeof r->queries_name, "queries.%s", dtype);
	return 0;
}

static bool is_in_mount(const char *collection)
{
	char path[PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof path, "%s/.vecfs/search", collection);
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Cuts a path into its folder, "." if it has none, and its last part. */
static void cut(const char *path, char folder[PATH_MAX], const char **last)
{
	const char *slash = strrchr(path, '/');

	*last = slash ? slash + 1 : path;
	snprintf(folder, PATH_MAX, "%.*s", slash && slash > path ? (int)(slash - path) : 1,
		 slash ? path : ".");
}

static int fail_collection(const char *path)
{
	char folder[PATH_MAX], why[PATH_MAX + 64];
	struct stat st;
	const char *id;
	int rc = stat(path, &st) ? errno : 0;

	cut(path, folder, &id);
	if (rc == ENOENT && !is_in_mount(folder))
		return fail(path, "there is no such collection");
	if (!is_in_mount(folder))
		return fail(path, rc ? strerror(rc) : "want a directory of a mount, or STORE/NAME");
	snprintf(why, sizeof why, "want a collection; that is %s vector of the collection %s",
		 rc ? "no" : "a", folder);
	return fail(path, why);
}

/* A file that cannot be read: perhaps it was to be a stored vector. */
static int fail_query(const struct request *r, int rc)
{
	char folder[PATH_MAX], path[PATH_MAX], why[2 * PATH_MAX];
	struct stat st;
	const char *id;

	if (rc != -ENOENT)
		return fail(r->query, strerror(-rc));
	cut(r->query, folder, &id);
	if (is_in_mount(folder)) {
		snprintf(why, sizeof why, "there is no vector %s in the collection %s", id, folder);
		return fail(r->query, why);
	}
	if (is_in_mount(r->collection) &&
	    (size_t)snprintf(path, sizeof path, "%s/%s", r->collection, r->query) < sizeof path &&
	    stat(path, &st) == 0) {
		snprintf(why, sizeof why, "%s; the stored vector is %s", strerror(-rc), path);
		return fail(r->query, why);
	}
	return fail(r->query, strerror(-rc));
}

static int find(struct request *r, struct result *result)
{
	char text[PATH_MAX], lock[PATH_MAX + 8];
	struct store_path path;
	struct stat st;
	int rc;

	if (is_in_mount(r->collection)) {
		rc = name_raw_queries(r);
		return rc ? fail(r->collection, strerror(-rc)) : search_mount(r, result);
	}
	if ((size_t)snprintf(text, sizeof text, "%s", r->collection) >= sizeof text)
		return fail(r->collection, strerror(ENAMETOOLONG));
	rc = store_path_split(text, &path);
	snprintf(lock, sizeof lock, "%s/lock", path.store);
	if (rc || stat(lock, &st) != 0)
		return fail_collection(r->collection);
	return search_store(&path, r, result);
}

/* The CPUs that this process may use. */
static unsigned cpus(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);

	return n < (int)THREADS_MAX ? (unsigned)n : THREADS_MAX;
}

static int run(int argc, char **argv)
{
	struct request r = {.query = NULL};
	struct result result = {.rows = {NULL, 0}};
	int rc;

	search_params_init(&r.parsed);
	r.parsed.threads = cpus();
	rc = take_arguments(&r, argc, argv);
	if (rc)
		return rc < 0 ? COMMAND_OK : rc;
	rc = load(r.query, &r.queries);
	if (rc)
		return fail_query(&r, rc);
	rc = r.queries.size ? find(&r, &result) : fail(r.query, "it is empty");
	if (!rc)
		rc = print(&r, &result);
	free(r.queries.data);
	free(r.ids.data);
	free(result.names.data);
	free(result.rows.data);
	free(result.distances.data);
	free(result.json.data);
	return rc;
}
