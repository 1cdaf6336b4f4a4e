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

#include "catalog/pg_trigger.h"
#include "executor/spi.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/snapshot.h"

#include "lifecycle.h"

#define GUARD_TRIGGER		"petition_cas_guard"
#define TRUNCATE_TRIGGER	"petition_cas_truncate"
#define LEDGER_TRIGGER		"petition_cas_ledger"
#define LEDGER_TRUNCATE_TRIGGER	"petition_cas_ledger_truncate"

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
	LEDGER_FATE,
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
 * What governs a table, read from the arguments of its guard trigger.  Pinned
 * while in use; see governed.c for who frees it.
 */
typedef struct Governed
{
	Oid			relid;
	bool		valid;			/* false: replace it at the next use */
	bool		detached;		/* no longer in the cache: free it with the
								 * last pin */
	int			pins;
	uint64		last_used;
	MemoryContext context;

	/* the names that the kept statements speak of, with their schemas */
	char	   *relation_schema;
	char	   *relation;
	char	   *ledger_schema;
	char	   *ledger;
	Oid			root;			/* topmost partitioned table, else the table */
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

	char	   *graph;			/* the lifecycle as it is written in the
								 * trigger */
	Lifecycle  *lifecycle;

	SPIPlanPtr	plans[KEPT_STATEMENTS];
} Governed;

/* A guard trigger, as it is written in the catalog */
typedef struct GuardTrigger
{
	Oid			relid;
	Oid			namespace;		/* of the relation, and so of the ledger */
	char	   *key_column;
	char	   *state_column;
	char	   *ledger;
	char	   *graph;
} GuardTrigger;

/* Work that is done with what governs a relation */
typedef void (*GovernedWork) (Governed *governed, void *argument);

/*
 * Writes a kept statement: its text into query, the types of its parameters
 * into types, which has room for eight.  Returns their number.
 */
typedef int (*StatementWriter) (const Governed *governed, KeptStatement statement,
								StringInfo query, Oid *types);

extern void governed_init(void);

extern bool has_guard(Relation relation);
extern void read_guard(Relation relation, GuardTrigger *guard);
extern Oid	relation_owner(Oid relid);
extern Oid	ledger_owner(Oid ledger, const char *ledger_name, Oid relid, const char *relation_name);
extern const char *lost_column(Relation relation);
extern void report_not_governed(Relation relation);
extern void with_governed(Relation relation, GovernedWork work, void *argument);
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

/* tgtype of our triggers */
#define GUARD_TRIGGER_TYPE \
	(TRIGGER_TYPE_ROW | TRIGGER_TYPE_AFTER | \
	 TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)
#define TRUNCATE_TRIGGER_TYPE \
	(TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE)
#define LEDGER_TRIGGER_TYPE \
	(TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)

extern const Trigger *find_trigger(Relation relation, const char *name);
extern const char *trigger_problem(Relation relation, const char *name, const char *function,
								   int16 type);
extern List *find_guards(Oid guard_fate);
extern Oid	own_function(const char *schema, const char *function);
extern char *own_schema(FunctionCallInfo fcinfo);
extern bool is_own_function(Oid function, const char *symbol);
extern bool is_supported_state_type(Oid type);

#endif							/* PETITION_CAS_GOVERNED_H */
