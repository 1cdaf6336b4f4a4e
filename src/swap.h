/*-------------------------------------------------------------------------
 *
 * swap.h
 *	  The compare-and-swap of one row: one UPDATE, and why it was not made.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_SWAP_H
#define PETITION_CAS_SWAP_H

#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "storage/itemptr.h"

#include "governed.h"

typedef enum Outcome
{
	ASSIGNED,
	NOT_FOUND,
	ALREADY_FATED,
	CONCURRENT_MODIFICATION,
	EVIDENCE_CHANGED,
	INVALID_TRANSITION,
	/* not yet an outcome: */
	STILL_EXPECTED,				/* in the expected state, before and after */
	LOCKED,						/* and locked in it */
	CHANGED,					/* concurrent modification, but its state is
								 * still to be read */
	RETRIED						/* swapped by an earlier call, if its row may
								 * be told of */
} Outcome;

/* How often a row that is in the expected state once more is tried again */
#define MAX_TRIES 10

/*
 * What an SQL function that swaps is.  One that has form_row returns the row or
 * raises an error, another one returns the outcome.  Its UPDATEs return the state,
 * behind it, where the function returns one, the row, and behind that, where the
 * caller has seen it, the columns of its evidence.  select returns state and row.
 */
typedef struct SwapFunction
{
	const char *name;
	bool		is_petition;	/* assigns fates, and speaks of submissions */
	/* makes of the row what is returned, in the current memory context */
	Datum		(*form_row) (Datum row, FunctionCallInfo fcinfo);
	const StatementForm *update;
	const StatementForm *select;
	const char *set_reason;		/* SQL, if a reason sets a column, or NULL */
	const struct SwapFunction *single;	/* of a set form: what swaps one row */
} SwapFunction;

/* What is read of a row */
typedef struct RowState
{
	bool		exists;			/* is there one that the caller may see? */
	const char *state;			/* NULL if there is none, or if it is null,
								 * which only tampering leaves */
	const char *evidence;		/* its hash, if it was asked for */
} RowState;

/* Which version of a row it is, as the server stores it */
typedef struct RowVersion
{
	Oid			relid;			/* InvalidOid: there is no row, or not in the
								 * expected state */
	ItemPointerData place;
	TransactionId writer;
} RowVersion;

/* One call: what is to be swapped, and what became of it */
typedef struct Swap
{
	const SwapFunction *function;
	Relation	relation;
	Governed   *governed;
	Datum		key[MAX_KEY_COLUMNS];
	const char *expected_state;
	const char *new_state;
	bool		is_fate;		/* is new_state one? */
	bool		is_transition;	/* is that on the graph, and where it has to
								 * be, a fate? */
	text	   *reason;			/* or NULL */
	Datum		changes;		/* jsonb: other columns to set, */
	char	   *changes_sql;	/* and how, or NULL */
	const char *seen_hash;		/* of the row's evidence, or NULL */
	const char *request_id;		/* or NULL */

	RowState	current;		/* once the swap is over */
	Datum		row;			/* what the UPDATE returned behind the state */
	bool		no_row;			/* a retry, whose row is gone: there is none */
} Swap;

/* The parameters of the statements on rows: a key or arrays of keys, the states,
 * what else is set, the seen hash */
typedef Datum SwapParameters[MAX_KEY_COLUMNS + 4];

extern const char *const outcome_names[];

extern const SwapFunction try_subject_function;

extern Relation open_subject(FunctionCallInfo fcinfo, LOCKMODE lockmode);
extern void read_states(Swap *swap, FunctionCallInfo fcinfo, int first);
extern void read_seen_hash(Swap *swap, FunctionCallInfo fcinfo, int argument);
extern void read_request_id(Swap *swap, FunctionCallInfo fcinfo, int argument);
extern void read_subject_arguments(Swap *swap, FunctionCallInfo fcinfo);
extern Outcome make_swap(Swap *swap);
extern void count_outcome(Outcome outcome);
extern Datum swap_one(Swap *swap, FunctionCallInfo fcinfo);

extern int	begin_record(const Swap *swap);
extern void end_record(int level);
extern uint64 execute_update(const Swap *swap, Datum *values);
extern void fill_states(const Swap *swap, Datum *values);
extern void check_stored_where(const Swap *swap, uint64 updated);
extern void check_stored_state(const Swap *swap, HeapTuple row, int column);
extern RowState returned_state(const Swap *swap, HeapTuple row, int column);
extern RowVersion returned_version(HeapTuple row, int first);
extern HeapTuple returned_row(uint64 number);
extern bool is_same_version(RowVersion a, RowVersion b);
extern bool row_is_hidden(const Swap *swap);
extern Outcome find_outcome(const Swap *swap, RowState began, RowState current, bool changed);
extern bool may_meet_conflict(const Swap *swap);
extern bool meets_conflict(void (*function) (void *), void *argument, ErrorData **conflict);
pg_noreturn extern void report_suppressed(const Swap *swap, const Datum *key);
pg_noreturn extern void report_not_unique(const Swap *swap, const Datum *key);

#endif							/* PETITION_CAS_SWAP_H */
