/* SPDX-License-Identifier: Apache-2.0 */
/*
 * early - codes of an upload's rows, made while they come in: by the time its batch is committed most of what
 * a large import brings is encoded.
 *
 * They are in files of their own in the collection's directory (code_file.h), for each part of the upload.
 * Once the part is a segment they get the names of its codes, and are then verified as all that is found: by
 * their tags, against the rows that it has now. So nothing depends on what has become of the upload
 * meanwhile. Whatever fails here is no error: the rows are encoded later.
 *
 * The builder's alone.
 */
#ifndef VECFS_STORE_VIEW_EARLY_H
#define VECFS_STORE_VIEW_EARLY_H

#include "store/view/code_file.h"
#include "store/view/views.h"

struct early;

/* Looks which batches of the view's collection are being uploaded to, and which have gone. To be called
 * before the view's segments are looked at. */
void early_look(struct vs_store *s, struct view *v);
/* Encodes some of what has been uploaded. false: there was nothing to do. */
bool early_encode(struct vs_store *s, struct view *v);
/* Gives the files of a part to the segment that was made of it, as stem. false: there are none. */
bool early_claim(struct vs_store *s, const struct view *v, const struct segment *seg, const char *stem);
/* Forgets the batches that had gone, once their segments have been looked at. */
void early_forget_gone(struct view *v);
/* Forgets all of them: their files are nobody's. */
void early_forget_all(struct view *v);
/* Whether a file is of an upload that goes on. */
bool early_is_wanted(const struct view *v, const struct code_file_name *file);

#endif
