/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metric - how far two vectors are apart. Inside quant/ smaller is nearer for each:
 *
 *   l2      the squared Euclidean distance
 *   ip      minus the inner product
 *   cosine  1 - cos = half the squared distance of the normalised vectors; a vector of length 0 has none
 */
#ifndef VECFS_QUANT_METRIC_H
#define VECFS_QUANT_METRIC_H

enum vs_metric { VS_L2, VS_IP, VS_COSINE, VS_METRIC_COUNT };

/* "l2"; "?" for what is no metric. */
const char *vs_metric_name(enum vs_metric metric);
/* The metric of this name, or -1. */
int vs_metric_parse(const char *word);

#endif
