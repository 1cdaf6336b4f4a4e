/*-------------------------------------------------------------------------
 *
 * idset.h
 *	  Sets of ids: collected, sorted by text form, hashed and compared.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_IDSET_H
#define PETITION_CAS_IDSET_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/array.h"

/* The length of a roster hash: SHA-256 in hexadecimal. */
#define ROSTER_HASH_LENGTH	64

typedef struct IdSet IdSet;

/*
 * A set is created empty, filled with ids of one type, and finished; the
 * functions below the line are for finished sets.
 */
extern IdSet *idset_create(Oid type, int32 typmod);
extern void idset_free(IdSet *set);
extern void idset_add(IdSet *set, Datum id, bool isnull);
extern void idset_add_array(IdSet *set, ArrayType *ids);
extern void idset_read_array(IdSet *set, ArrayType *ids);
extern void idset_finish(IdSet *set);

extern Size idset_count(const IdSet *set);
extern void idset_detail(StringInfo detail, const char *name, const IdSet *set);
extern char *idset_hash(const IdSet *set, text *scope);
extern Datum idset_array(IdSet *set);
extern IdSet *idset_difference(const IdSet *set, const IdSet *other);
extern bool idset_text_decides(const IdSet *set, Oid collation);
extern void idset_remove_equal(IdSet *difference, const IdSet *other, Oid collation);

#endif							/* PETITION_CAS_IDSET_H */
