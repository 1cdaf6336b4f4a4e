/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  The SQLSTATEs of petition_cas, and the JSON of their DETAILs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_ERRORS_H
#define PETITION_CAS_ERRORS_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"

/*
 * None of these is of class 40: a client that replays its transaction on
 * class 40 must not replay a decision that it has lost.
 */
#define ERRCODE_CONCURRENT_MODIFICATION		MAKE_SQLSTATE('P','F','0','0','1')
#define ERRCODE_ALREADY_FATED				MAKE_SQLSTATE('P','F','0','0','2')
#define ERRCODE_INVALID_STATE_TRANSITION	MAKE_SQLSTATE('P','F','0','0','3')
#define ERRCODE_SUBMISSION_NOT_FOUND		MAKE_SQLSTATE('P','F','0','0','4')
#define ERRCODE_ROSTER_CHANGED				MAKE_SQLSTATE('P','F','0','0','5')
#define ERRCODE_FATE_PROTECTED				MAKE_SQLSTATE('P','F','0','0','6')
#define ERRCODE_EVIDENCE_CHANGED			MAKE_SQLSTATE('P','F','0','0','7')

/*
 * Building a DETAIL: detail_begin, any number of members in the order in
 * which a reader wants them, detail_end.
 */
extern void detail_begin(StringInfo detail);
extern void detail_text(StringInfo detail, const char *name, const char *value);
extern void detail_texts(StringInfo detail, const char *name, const char **values, int count);
extern void detail_number(StringInfo detail, const char *name, int64 value);
extern void detail_timestamp(StringInfo detail, const char *name, TimestampTz value);
extern char *detail_end(StringInfo detail);

/*
 * Why a row may not go to a state, as both the guard and the swaps tell it.
 */
typedef struct Refusal
{
	Relation	relation;
	const char *key;			/* the key's text, or NULL to withhold the
								 * row's values */
	bool		is_petition;	/* the detail speaks of submission_id */
	const char *expected_state;
	const char *current_state;	/* NULL if it is null or there is no row */
	bool		is_missing;		/* there is no row */
	const char *new_state;
	bool		is_fated;		/* current_state is a fate */
	const char **allowed;		/* where current_state leads */
	int			nallowed;		/* -1: which does not matter */
	const char *ledger_fate;	/* the fate that the ledger alone holds, or
								 * NULL if not known */
	const char *assigned_by;	/* of the fate that stands, or NULL if not
								 * known */
	TimestampTz assigned_at;
	const char *reason;			/* and these, NULL where they are null */
	const char *request_id;
	const char *evidence_hash;	/* as it is now, or NULL if there is none to
								 * be told */
} Refusal;

pg_noreturn extern void report_concurrent_modification(const Refusal *refusal);
pg_noreturn extern void report_already_fated(const Refusal *refusal);
pg_noreturn extern void report_evidence_changed(const Refusal *refusal);
pg_noreturn extern void report_invalid_transition(const Refusal *refusal);
pg_noreturn extern void report_not_a_fate(const Refusal *refusal);
pg_noreturn extern void report_not_initial(const Refusal *refusal);
pg_noreturn extern void report_not_found(const Refusal *refusal);
pg_noreturn extern void report_ledger_conflict(const Refusal *refusal, const char *ledger);
extern bool is_row_conflict(const ErrorData *error);
extern void check_not_null(FunctionCallInfo fcinfo, int argument, const char *name);
extern char *get_text_argument(FunctionCallInfo fcinfo, int argument, const char *name);
extern char *get_name_argument(FunctionCallInfo fcinfo, int argument);
extern char *qualified_name(Relation relation);
extern char *relation_detail(Relation relation);
extern char *column_detail(Relation relation, const char *column);
extern char *problems_detail(Relation relation, const List *problems);
pg_noreturn extern void report_unsound(Relation relation, const List *problems);

/*
 * Raises PF006 for tampering with a relation, whose name the message takes;
 * message and hint are literals.
 */
#define report_protected_relation(relation, message, hint) \
	ereport(ERROR, errcode(ERRCODE_FATE_PROTECTED), \
			errmsg(message, RelationGetRelationName(relation)), \
			errdetail_internal("%s", relation_detail(relation)), errhint(hint), \
			errtable(relation))

/*
 * The same for tampering with a column of a relation.
 */
#define report_protected_column(relation, column, message, hint) \
	ereport(ERROR, errcode(ERRCODE_FATE_PROTECTED), \
			errmsg(message, RelationGetRelationName(relation)), \
			errdetail_internal("%s", column_detail(relation, column)), errhint(hint), \
			errtablecolname(relation, column))

#endif							/* PETITION_CAS_ERRORS_H */
