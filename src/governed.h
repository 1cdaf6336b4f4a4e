/*-------------------------------------------------------------------------
 *
 * governed.h
 *	  What governs a table, as a backend knows it: the cache of what the guard
 *	  trigger's arguments say, and the statements on table and ledger.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_GOVERNED_H
#define PETITION_CAS_GOVERNED_H

#include "postgres.h"

#include "lib/ilist.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "compat.h"
#include "evidence.h"
#include "key.h"
#include "lifecycle.h"
#include "options.h"
#include "own_trigger.h"
#include "state.h"
#include "statement.h"

/*
 * About what a statement is, as whom it runs (unless as the caller; see
 * governed_execute), and whether triggers fire within it instead of after the outer
 * statement
 */
#define ON_TABLE		0
#define ON_LEDGER		1
#define AS_TABLE_OWNER	2
#define AS_LEDGER_OWNER	4
#define FIRES_TRIGGERS	8
#define ON_HISTORY		16

/*
 * A statement on a governed table or its ledger, before names are filled in.
 * The text may have these in it:
 *
 *	{table}			the table, as a statement on it names it
 *	{row}			a name for it that is not one of its columns
 *	{ledger}		the ledger
 *	{history}		the history
 *	{columns}		the columns, apart from the key, of that which it is about
 *	{values}		and the parameters that they are set to
 *	{values of rows}	the same, where each row has its own evidence
 *	{key names}		the names of the key's columns
 *	{key}			its columns, as values
 *	{row.key}		the same of {row}
 *	{key = $}		the condition that they are the first parameters
 *	{key = locked}	or, of {row}, the columns of that name of "locked"
 *	{key = any $}	or, of {row}, one of those in the first parameters, which are arrays
 *	{keys}			the first parameters
 *	{unnested keys}	the keys in them
 *	{state}			the state column
 *	{state = $2}	the condition that it is the second parameter
 *	{set}			what else is set,
 *	{and seen}		the condition that the evidence of {row} has the seen hash,
 *	{, evidence}	and behind a comma its columns: nothing, unless asked for; see Variant
 *
 * The parameters are a letter each: k for a key and K for arrays of keys, which
 * come first, s for a state, L for the columns of a ledger, M for the same of many
 * rows, H for those of a history.  The text counts a key as one parameter.
 */
typedef struct StatementForm
{
	const char *text;
	const char *parameters;
	int			flags;			/* those above */
} StatementForm;

/*
 * In which variant a statement is executed: with other columns that are set, and on
 * rows whose evidence was seen.  Both come after the other parameters, in this order.
 */
typedef struct Variant
{
	const char *set;			/* SQL, which has a parameter of its own, or
								 * NULL */
	Oid			set_type;		/* of that parameter */
	bool		seen;			/* the last parameter is a hash */
	bool		evidence;		/* its columns are returned */
} Variant;

/*
 * What governs a table, read from the arguments of its guard trigger.  Whoever
 * has got one may use it until the transaction ends; see governed.c.
 */
typedef struct Governed
{
	Oid			relid;
	Oid			guard;			/* the trigger */
	Oid			function;		/* that it calls */
	char	   *functions_schema;	/* the schema of our functions */
	bool		valid;			/* false: replace it at the next use */
	uint64		last_used;
	MemoryContext context;
	dlist_node	node;			/* in the list of those that are replaced */

	/* the names that its statements speak of, with their schemas */
	char	   *relation_schema;
	char	   *relation;
	char	   *ledger_schema;
	char	   *ledger;
	List	   *ancestors;		/* tables that it is a partition of, the
								 * topmost one last */
	Oid			root;			/* the topmost one, else the table */
	bool		is_partitioned;

	Key			key;
	Key			ledger_key;		/* the same in ledger and history */
	StateColumn state;
	Evidence	evidence;
	bool		readable;		/* are their columns there, and of types that
								 * can be compared? */

	char	   *graph;			/* the lifecycle as it is written in the
								 * trigger */
	Lifecycle  *lifecycle;
	char	   *options_text;
	Options		options;

	List	   *statements;		/* of KnownStatement, private to governed.c */

	/* what soundness.c found, in a context of its own */
	MemoryContext judgement;
	bool		judged;			/* false: judge it before the next fate */
	List	   *problems;		/* texts of those that stop fates */
	Oid			ledger_oid;		/* which ledger was looked at, */
	Oid			history_oid;	/* and which history */
	List	   *ledger_keys;	/* names of its unique indexes on the key */
	bool		before_trigger; /* does one see the ledger's new rows? */
	Oid		   *watched;		/* relations that this rests on, sorted */
	int			nwatched;
} Governed;

extern void governed_init(void);
extern Governed *get_governed(Relation relation, const char *state_column);
extern Governed *get_governed_by(Relation relation, Oid trigger);
pg_noreturn extern void report_not_governed(Relation relation);
pg_noreturn extern void report_unknown_state(const Lifecycle *lifecycle, const char *relation,
											 const char *state);

extern uint64 begin_judgement(Governed *governed);
extern void end_judgement(Governed *governed, uint64 begun, Oid *watched, int nwatched);

extern List *partition_ancestors(Oid relid);
extern Oid	topmost_table(Oid relid);
extern Oid	relation_owner(Oid relid);
extern Oid	ledger_owner(const RecordKind *kind, Oid record, const char *record_name, Oid relid,
						 const char *relation_name);
extern Oid	governed_ledger(const Governed *governed, bool missing_ok);
extern Oid	governed_history(const Governed *governed, bool missing_ok);

extern const char *table_sql(const Governed *governed);
extern const char *ledger_sql(const Governed *governed);
extern const char *history_sql(const Governed *governed);
extern uint64 governed_execute(Governed *governed, const StatementForm *form, Oid ledger,
							   Datum *values, const char *nulls, Snapshot snapshot);
extern uint64 governed_execute_variant(Governed *governed, const StatementForm *form,
									   const Variant *variant, Datum *values, Snapshot snapshot);

#endif							/* PETITION_CAS_GOVERNED_H */
