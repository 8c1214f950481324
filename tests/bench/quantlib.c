/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantlib - quant/ as a shared library for scripts that measure it: threads for the functions that want some
 * lent, and entry points that take care of the scratch.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "quant/gemm.h"
#include "quant/level.h"
#include "quant/opq.h"
#include "quant/pq.h"
#include "quant/scratch.h"

#define WORKERS_MAX 64

/* ------------------------------------------------------------------ threads */

struct job {
	parallel_fn *fn;
	void *arg;
	size_t parts;
	atomic_size_t next;
};

struct seat {
	struct job *job;
	unsigned worker;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct seat *seat = arg;
	size_t part;

	while ((part = atomic_fetch_add(&seat->job->next, 1)) < seat->job->parts)
		seat->job->fn(seat->job->arg, part, seat->worker);
	return NULL;
}

static void run(void *pool, size_t parts, parallel_fn *fn, void *arg)
{
	unsigned workers = *(unsigned *)pool;
	struct job job = {.fn = fn, .arg = arg, .parts = parts};
	struct seat seats[WORKERS_MAX];

	for (unsigned w = 0; w < workers; w++) {
		seats[w] = (struct seat){.job = &job, .worker = w};
		if (w && pthread_create(&seats[w].thread, NULL, work, &seats[w]) != 0)
			abort();
	}
	work(&seats[0]);
	for (unsigned w = 1; w < workers; w++)
		pthread_join(seats[w].thread, NULL);
}

static unsigned workers = 1;
static struct parallel pool = {.workers = 1, .run = run, .pool = &workers};

void ql_threads(unsigned n)
{
	assert(n >= 1 && n <= WORKERS_MAX);
	workers = pool.workers = n;
}

static void *lend(size_t bytes)
{
	void *memory = aligned_alloc(SCRATCH_ALIGN, (bytes + SCRATCH_ALIGN) / SCRATCH_ALIGN * SCRATCH_ALIGN);

	if (!memory)
		abort();
	return memory;
}

/* ------------------------------------------------------------------ levels */

int ql_level(const char *name)
{
	return level_choose(name);
}

const char *ql_level_name(void)
{
	return level_name(level_get());
}

/* ------------------------------------------------------------------ products */

void ql_gemm(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
	void *scratch = lend(GEMM_SCRATCH_BYTES);

	gemm_nt(m, n, k, a, k, b, k, c, n, scratch);
	free(scratch);
}

/* ------------------------------------------------------------------ pq */

size_t ql_pq_codebook_floats(uint32_t dim, uint32_t subs, unsigned bits)
{
	return pq_codebook_floats(&(struct pq_shape){dim, subs, bits});
}

double ql_pq_train(uint32_t dim, uint32_t subs, unsigned bits, size_t rows, const float *x, uint64_t seed,
                   float *codebook)
{
	struct pq_shape shape = {dim, subs, bits};
	void *scratch = lend(pq_train_scratch_bytes(&shape, rows, workers));
	double error = pq_train(&shape, rows, x, seed, &pool, codebook, scratch);

	free(scratch);
	return error;
}

struct encoding {
	const struct pq *pq;
	size_t rows;
	const float *x;
	uint8_t *codes;
	char *scratch;
};

#define PART_ROWS 1024

static void encode_part(void *arg, size_t part, unsigned worker)
{
	const struct encoding *e = arg;
	size_t first = part * PART_ROWS, rows = e->rows - first < PART_ROWS ? e->rows - first : PART_ROWS;

	pq_encode(e->pq, rows, e->x + first * e->pq->shape.dim, e->codes + first * pq_code_bytes(&e->pq->shape),
	          e->scratch + worker * pq_encode_scratch_bytes(&e->pq->shape));
}

static float *bind(struct pq *pq, const struct pq_shape *shape, const float *codebook)
{
	float *memory = lend(pq_bound_floats(shape) * sizeof *memory);

	pq_bind(pq, shape, codebook, memory);
	return memory;
}

void ql_pq_encode(uint32_t dim, uint32_t subs, unsigned bits, const float *codebook, size_t rows, const float *x,
                  uint8_t *codes)
{
	struct pq_shape shape = {dim, subs, bits};
	struct pq pq;
	float *memory = bind(&pq, &shape, codebook);
	struct encoding e = {&pq, rows, x, codes, lend(workers * pq_encode_scratch_bytes(&shape))};

	parallel_for(&pool, (rows + PART_ROWS - 1) / PART_ROWS, encode_part, &e);
	free(e.scratch);
	free(memory);
}

void ql_pq_decode(uint32_t dim, uint32_t subs, unsigned bits, const float *codebook, size_t rows, const uint8_t *codes,
                  float *out)
{
	struct pq_shape shape = {dim, subs, bits};
	struct pq pq;
	float *memory = bind(&pq, &shape, codebook);

	pq_decode(&pq, rows, codes, out);
	free(memory);
}

/* ------------------------------------------------------------------ opq */

int ql_opq_train(uint32_t dim, uint32_t subs, unsigned bits, size_t rows, const float *x, uint64_t seed,
                 float *rotation, float *codebook, double *error)
{
	struct pq_shape shape = {dim, subs, bits};
	void *scratch = lend(opq_train_scratch_bytes(&shape, rows, workers));
	int rc = opq_train(&shape, rows, x, seed, &pool, rotation, codebook, error, scratch);

	free(scratch);
	return rc;
}
