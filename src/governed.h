/*-------------------------------------------------------------------------
 *
 * governed.h
 *	  What governs a table, and the statements kept for it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_GOVERNED_H
#define PETITION_CAS_GOVERNED_H

#include "postgres.h"

#include "executor/spi.h"
#include "lib/ilist.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "compat.h"
#include "lifecycle.h"
#include "own_trigger.h"
#include "statement.h"

/*
 * The statements that are kept for a governed table.  Those that assign have
 * a variant that sets fate_reason too: the next number.
 */
typedef enum KeptStatement
{
	/* guard.c */
	LEDGER_INSERT,
	LEDGER_BATCH,
	LEDGER_IMPORT,
	LEDGER_ROW,
	LEDGER_ROWS,
	LEDGER_ANY,
	/* fate.c */
	PETITION_ASSIGN,
	PETITION_ASSIGN_REASON,
	PETITION_TRY,
	PETITION_TRY_REASON,
	PETITION_BULK,
	PETITION_BULK_REASON,
	ROW_SWAP,
	ROW_TRY,
	ROW_STATE,
	ROW_STATES,
	ROW_VERSION,
	ROW_VERSIONS,
	ROW_PROBE,
	ROW_LOCK,
	ROWS_LOCK,
	ROWS_LOCK_FREE,
	LEDGER_READ
} KeptStatement;

#define KEPT_STATEMENTS (LEDGER_READ + 1)

/*
 * What governs a table, read from the arguments of its guard trigger.  Whoever
 * has got one may use it until the transaction ends; see governed.c.
 */
typedef struct Governed
{
	Oid			relid;
	bool		valid;			/* false: replace it at the next use */
	uint64		last_used;
	MemoryContext context;
	dlist_node	node;			/* in the list of those that are replaced */

	/* the names that the kept statements speak of, with their schemas */
	char	   *relation_schema;
	char	   *relation;
	char	   *ledger_schema;
	char	   *ledger;
	List	   *ancestors;		/* tables that it is a partition of, the
								 * topmost one last */
	Oid			root;			/* the topmost one, else the table */
	bool		is_partitioned;

	char	   *key_column;
	AttrNumber	key_attno;
	Oid			key_type;		/* a domain's base type */
	bool		key_is_domain;
	Oid			key_equality;	/* operator */
	int16		key_length;
	bool		key_by_value;

	char	   *state_column;
	AttrNumber	state_attno;
	Oid			state_type;
	bool		state_is_enum;
	bool		readable;		/* are both columns there, and of types that
								 * can be compared? */

	char	   *graph;			/* the lifecycle as it is written in the
								 * trigger */
	Lifecycle  *lifecycle;

	Statement	statements[KEPT_STATEMENTS];	/* sql is NULL until it is
												 * needed */

	/* what soundness.c found, in a context of its own */
	MemoryContext judgement;
	bool		judged;			/* false: judge it before the next fate */
	List	   *problems;		/* texts of those that stop fates */
	Oid			ledger_oid;		/* which ledger was looked at */
	List	   *ledger_keys;	/* names of its unique indexes on the key */
	bool		before_trigger; /* does one see the ledger's new rows? */
	Oid		   *watched;		/* relations that this rests on, sorted */
	int			nwatched;
} Governed;

/*
 * Writes a kept statement: its text into query, the types of its parameters
 * into types, which has room for eight.  Returns their number.
 */
typedef int (*StatementWriter) (const Governed *governed, KeptStatement statement,
								StringInfo query, Oid *types);

extern void governed_init(void);

extern uint64 begin_judgement(Governed *governed);
extern void end_judgement(Governed *governed, uint64 begun, Oid *watched, int nwatched);
extern List *partition_ancestors(Oid relid);
extern Oid	topmost_table(Oid relid);
extern Oid	relation_owner(Oid relid);
extern Oid	ledger_owner(Oid ledger, const char *ledger_name, Oid relid, const char *relation_name);
pg_noreturn extern void report_not_governed(Relation relation);
extern Governed *get_governed(Relation relation);
extern Oid	governed_ledger(const Governed *governed, bool missing_ok);
extern uint64 governed_execute(Governed *governed, KeptStatement statement, StatementWriter writer,
							   Oid target, Datum *values, const char *nulls, Snapshot snapshot,
							   bool fire_triggers);

extern char *state_text(const Governed *governed, Datum state);
extern char *key_text(const Governed *governed, Datum key);
extern Datum state_datum(const Governed *governed, const char *name);
extern void report_unknown_state(const Lifecycle *lifecycle, const char *relation,
								 const char *state);

extern const char *get_relation_sql(const Governed *governed);
extern void append_qualified(StringInfo query, const char *schema, const char *name);
extern void append_key(StringInfo query, const Governed *governed, const char *alias);
extern const char *state_collation(const Governed *governed);
extern void append_state_equality(StringInfo query, const Governed *governed, const char *operand);

extern bool is_supported_state_type(Oid type);

#endif							/* PETITION_CAS_GOVERNED_H */
