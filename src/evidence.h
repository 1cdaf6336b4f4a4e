/*-------------------------------------------------------------------------
 *
 * evidence.h
 *	  The columns that a decision rests on, and the hash of what is in them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_EVIDENCE_H
#define PETITION_CAS_EVIDENCE_H

#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"

/* The length of a hash: SHA-256 in hexadecimal */
#define EVIDENCE_HASH_LENGTH 64

typedef struct EvidenceColumn
{
	char	   *name;
	AttrNumber	attno;
	Oid			type;			/* by whose functions values are printed */
	FmgrInfo	output;
	int16		length;
	bool		by_value;
	char	   *heading;		/* what stands before a value, in UTF-8 */
} EvidenceColumn;

typedef struct Evidence
{
	int			ncolumns;		/* 0: decisions rest on none */
	EvidenceColumn *columns;
} Evidence;

extern bool read_evidence(Evidence *evidence, Relation relation, const List *names);
extern char *hash_of_slot(const Evidence *evidence, TupleTableSlot *row);
extern char *hash_of_row(const Evidence *evidence, HeapTupleHeader row);
extern char *hash_of_result(const Evidence *evidence, HeapTuple row, TupleDesc desc, int first);
extern bool is_same_evidence(const Evidence *evidence, TupleTableSlot *a, TupleTableSlot *b);
extern void check_seen_hash(const char *hash);

extern bool may_hash_evidence(const char *schema);
extern void append_evidence(StringInfo query, const Evidence *evidence, const char *alias);
extern void append_evidence_hash(StringInfo query, const Evidence *evidence, const char *schema,
								 const char *alias);

#endif							/* PETITION_CAS_EVIDENCE_H */
