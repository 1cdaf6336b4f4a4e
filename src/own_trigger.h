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

#define GUARD_TRIGGER		"petition_cas_guard"
#define TRUNCATE_TRIGGER	"petition_cas_truncate"
#define LEDGER_TRIGGER		"petition_cas_ledger"
#define LEDGER_TRUNCATE_TRIGGER	"petition_cas_ledger_truncate"

/* The arguments of guard_fate */
#define GUARD_NARGS	4

/* What a guard trigger says, in the order of its arguments */
typedef struct GuardTrigger
{
	char	   *key_column;
	char	   *state_column;
	char	   *ledger;
	char	   *graph;			/* the lifecycle */
} GuardTrigger;

extern const Trigger *find_trigger(Relation relation, const char *name);
extern bool is_trigger_name(const char *trigger, const char *name, const char *relation);
extern bool is_own_function(Oid function, const char *symbol);
extern bool has_guard(Relation relation);
extern bool is_ledger(Relation relation);
extern bool read_guard(Relation relation, GuardTrigger *guard);
extern bool read_guard_names(Oid relid, GuardTrigger *guard);
extern List *tables_naming_ledger(Oid guard_fate, Oid namespace, const char *ledger);
extern const char *ledger_subject(Relation ledger);
extern Oid	own_function(const char *schema, const char *function);
extern char *own_schema(FunctionCallInfo fcinfo);

#endif							/* PETITION_CAS_OWN_TRIGGER_H */
