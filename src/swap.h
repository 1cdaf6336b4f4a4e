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
	INVALID_TRANSITION,
	/* not yet an outcome: */
	STILL_EXPECTED,				/* in the expected state, before and after */
	LOCKED,						/* and locked in it */
	CHANGED						/* concurrent modification, but its state is
								 * still to be read */
} Outcome;

/* How often a row that is in the expected state once more is tried again */
#define MAX_TRIES 10

/*
 * What an SQL function that swaps is.  One that has form_row returns the row or
 * raises an error, another one returns the outcome.  Its UPDATEs return the state,
 * and behind it, where the function returns one, the row.
 */
typedef struct SwapFunction
{
	const char *name;
	bool		is_petition;	/* assigns fates, and speaks of submissions */
	/* makes of the row what is returned, in the current memory context */
	Datum		(*form_row) (Datum row, FunctionCallInfo fcinfo);
	const StatementForm *update;
	const StatementForm *update_with_reason;	/* $4, if that sets a column */
	const StatementForm *update_with_changes;	/* $4 */
	const struct SwapFunction *single;	/* of a set form: what swaps one row */
} SwapFunction;

/* What is read of a row */
typedef struct RowState
{
	bool		exists;			/* is there one that the caller may see? */
	const char *state;			/* NULL if there is none, or if it is null,
								 * which only tampering leaves */
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

	RowState	current;		/* once the swap is over */
	Datum		row;			/* what the UPDATE returned behind the state */
} Swap;

/* The parameters of the statements on rows: a key or arrays of keys, the states,
 * the reason */
typedef Datum SwapParameters[MAX_KEY_COLUMNS + 3];

extern const char *const outcome_names[];

extern const SwapFunction try_subject_function;

extern Relation open_subject(FunctionCallInfo fcinfo, LOCKMODE lockmode);
extern void read_states(Swap *swap, FunctionCallInfo fcinfo, int first);
extern void read_subject_arguments(Swap *swap, FunctionCallInfo fcinfo);
extern Outcome make_swap(Swap *swap);
extern Datum swap_one(Swap *swap, FunctionCallInfo fcinfo);

extern int	begin_reason(const Swap *swap);
extern void end_reason(int level);
extern uint64 execute_update(const Swap *swap, Datum *values);
extern void fill_states(const Swap *swap, Datum *values);
extern void check_stored_where(const Swap *swap, uint64 updated);
extern void check_stored_state(const Swap *swap, HeapTuple row, int column);
extern RowState returned_state(const Swap *swap, HeapTuple row, int column);
extern RowVersion returned_version(HeapTuple row, int first);
extern HeapTuple returned_row(uint64 number);
extern bool is_same_version(RowVersion a, RowVersion b);
extern Outcome find_outcome(const Swap *swap, RowState began, RowState current, bool changed);
extern bool meets_conflict(void (*function) (void *), void *argument, ErrorData **conflict);
pg_noreturn extern void report_suppressed(const Swap *swap, const Datum *key);
pg_noreturn extern void report_not_unique(const Swap *swap, const Datum *key);

#endif							/* PETITION_CAS_SWAP_H */
