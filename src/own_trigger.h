/*-------------------------------------------------------------------------
 *
 * own_trigger.h
 *	  Our triggers, as the catalogs have them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_OWN_TRIGGER_H
#define PETITION_CAS_OWN_TRIGGER_H

#include "postgres.h"

#include "catalog/pg_trigger.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

#include "columns.h"

#define GUARD_TRIGGER		"petition_cas_guard"
#define TRUNCATE_TRIGGER	"petition_cas_truncate"
#define LEDGER_TRIGGER		"petition_cas_ledger"
#define LEDGER_TRUNCATE_TRIGGER	"petition_cas_ledger_truncate"

/* How many arguments guard_fate may have: the last one is left out if it is {} */
#define is_guard_nargs(nargs) ((nargs) == 4 || (nargs) == 5)

/* What a guard trigger says, in the order of its arguments */
typedef struct GuardTrigger
{
	Oid			oid;			/* of the trigger */
	Oid			function;
	char	   *name;			/* of the trigger */
	char	   *key_list;		/* the argument, */
	List	   *key_columns;	/* and the names in it */
	char	   *state_column;
	char	   *ledger;
	char	   *graph;			/* the lifecycle */
	char	   *options;		/* JSON; see options.h */
	char	   *history;		/* which they name, or NULL */
} GuardTrigger;

extern const Trigger *find_trigger(Relation relation, const char *name);
extern bool is_trigger_name(const char *trigger, const char *name, const char *relation);
extern bool is_own_function(Oid function, const char *symbol);
extern bool has_guard(Relation relation);
extern bool is_ledger(Relation relation);
extern char *name_list(const List *names);
extern bool has_name(const List *names, const char *name);
extern bool has_guard_name(const char *trigger);
extern char *guard_name(const char *state_column);
extern bool is_guard_of(const char *trigger, const char *state_column, const char *relation);
extern Oid	only_guard(Relation relation);
extern List *read_guards(Relation relation);
extern GuardTrigger *read_guard(Relation relation, Oid trigger);
extern GuardTrigger *choose_guard(List *guards, const char *state_column, Relation relation);
extern List *read_guard_names(Oid relid);
extern List *tables_with_guards(Oid guard_fate);
extern List *tables_naming_record(Oid guard_fate, Oid namespace, const char *record);
extern const char *record_of_guard(const GuardTrigger *guard, const RecordKind *kind);
extern const RecordKind *kind_for_guard(const GuardTrigger *guard, const char *record);
extern char *ledger_subject(Relation ledger, char **state_column);
extern Oid	own_function(const char *schema, const char *function);
extern char *own_schema(FunctionCallInfo fcinfo);

#endif							/* PETITION_CAS_OWN_TRIGGER_H */
