/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/view_recall.h"

const uint32_t view_recall_depths[VIEW_RECALL_DEPTHS] = {0, 20, 50, 100};

void view_recall_print(const struct view_recall *recall, FILE *out)
{
	fprintf(out, "recall_queries=%u\nrecall_rows=%llu\n", recall->queries,
		(unsigned long long)recall->rows);
	for (unsigned i = 0; i < VIEW_RECALL_DEPTHS && recall->queries; i++)
		fprintf(out, "recall_rerank%u=%.4f\n", view_recall_depths[i], recall->recall[i]);
}
