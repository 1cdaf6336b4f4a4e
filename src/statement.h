/*-------------------------------------------------------------------------
 *
 * statement.h
 *	  Statements that we prepare: operators that no search_path chooses, plans
 *	  that are kept, and work in subtransactions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_STATEMENT_H
#define PETITION_CAS_STATEMENT_H

#include "postgres.h"

#include "executor/spi.h"

/* A statement as it is prepared */
typedef struct Statement
{
	Oid			relid;			/* the relation that it is about */
	const char *sql;
	int			nparameters;
	const Oid  *types;			/* of the parameters */
	int			options;		/* CURSOR_OPT_ of the plan */
	uint64		hash;			/* set by statement_hash */

	/* private to statement.c: the plan as it was found last, and when */
	struct KeptPlan *plan;
	uint64		found;
} Statement;

typedef struct KeptPlan KeptPlan;

extern void statement_init(void);

extern void append_operator(StringInfo query, Oid operator);
extern void check_plan_relation(SPIPlanPtr plan, Oid relid);
extern void statement_hash(Statement *statement);
extern KeptPlan *acquire_plan(Statement *statement);
extern SPIPlanPtr plan_of(const KeptPlan *plan);
extern void release_plan(KeptPlan *plan);
extern uint64 execute_kept(Statement *statement, Datum *values, const char *nulls,
						   Snapshot snapshot, bool fire_triggers);

extern uint64 execute_latest(const char *sql, int nargs, Oid *types, Datum *values,
							 const char *nulls);
extern void execute_own_ddl(const char *command);

extern ErrorData *call_in_subtransaction(void (*function) (void *), void *argument);

#endif							/* PETITION_CAS_STATEMENT_H */
