/*-------------------------------------------------------------------------
 *
 * verify.h
 *	  Compare a governed table with its ledger.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_VERIFY_H
#define PETITION_CAS_VERIFY_H

#include "postgres.h"

#include "utils/portal.h"

#include "governed.h"

/* A row, or a row of the ledger, that is not as it should be */
typedef struct Disagreement
{
	const char *key;
	bool		has_row;
	const char *state;			/* NULL: null, or no row */
	bool		has_ledger;
	const char *fate;			/* by the ledger */
} Disagreement;

/* A search for such rows */
typedef struct Comparison
{
	const Governed *governed;
	Portal		portal;
	MemoryContext batch;		/* for the disagreement that was returned last */
	struct SPITupleTable *rows; /* as fetched */
	uint64		fetched;		/* how many */
	uint64		next;			/* of them */
} Comparison;

extern void begin_comparison(Comparison *comparison, const Governed *governed);
extern bool next_disagreement(Comparison *comparison, Disagreement *disagreement);
extern void end_comparison(Comparison *comparison);
extern char *describe_disagreement(const Governed *governed, const Disagreement *disagreement);
extern List *guards_of_lifecycles(Relation relation, const char *state_column);
extern bool is_own_table(Oid existing, Relation relation);
extern void check_no_shard(Relation relation);
extern void check_whole_table(Relation relation);
extern void check_governed_root(Relation relation);

#endif							/* PETITION_CAS_VERIFY_H */
