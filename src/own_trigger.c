/*-------------------------------------------------------------------------
 *
 * own_trigger.c
 *	  Our triggers, as the catalogs have them.
 *
 * Whoever owns a table may put a trigger on it that calls our functions, under
 * any name and with any arguments.  So nothing here raises an error for what a
 * trigger says: it is read, or it is not one of ours.  And nothing here locks
 * or opens a table that the caller has not opened: what somebody else's guard
 * says is read from its row in pg_trigger.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "own_trigger.h"
#include "shard.h"

/*
 * Returns a text of a function's row in pg_proc, in the current memory
 * context; empty for a null.
 */
static char *
get_function_text(HeapTuple function, AttrNumber attribute)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(PROCOID, function, attribute, &isnull);

	return isnull ? pstrdup("") : TextDatumGetCString(value);
}

/*
 * Returns whether the function is the one that this module offers under that
 * symbol.  Only a superuser can create a function in C, so the symbol and the
 * library's name tell, whatever schema the extension is in.
 */
bool
is_own_function(Oid function, const char *symbol)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		own = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId)
	{
		char	   *source = get_function_text(tuple, Anum_pg_proc_prosrc);
		char	   *library = get_function_text(tuple, Anum_pg_proc_probin);
		char	   *slash = strrchr(library, '/');

		own = strcmp(source, symbol) == 0 &&
			strcmp(slash ? slash + 1 : library, "petition_cas") == 0;
	}
	ReleaseSysCache(tuple);
	return own;
}

/*
 * Returns the trigger of just that name, in the relation cache, or NULL.
 */
static const Trigger *
find_trigger_exactly(Relation relation, const char *name)
{
	if (relation->trigdesc == NULL)
		return NULL;
	for (int i = 0; i < relation->trigdesc->numtriggers; i++)
	{
		if (strcmp(relation->trigdesc->triggers[i].tgname, name) == 0)
			return &relation->trigdesc->triggers[i];
	}
	return NULL;
}

/*
 * Returns the trigger of that name, in the relation cache, or on a shard the one of
 * that name as it is there.  NULL if there is neither.
 */
const Trigger *
find_trigger(Relation relation, const char *name)
{
	const Trigger *trigger = find_trigger_exactly(relation, name);
	const char *suffix = shard_suffix(RelationGetRelationName(relation));

	return trigger != NULL || suffix == NULL ? trigger :
		find_trigger_exactly(relation, shard_name(name, suffix));
}

/*
 * Returns whether a trigger of a relation of that name has a name of ours, or that
 * as it is on a shard.
 */
bool
is_trigger_name(const char *trigger, const char *name, const char *relation)
{
	const char *suffix = shard_suffix(relation);

	return strcmp(trigger, name) == 0 ||
		(suffix != NULL && strcmp(trigger, shard_name(name, suffix)) == 0);
}

/*
 * Returns whether the relation has a trigger of that name that calls that
 * function of ours.
 */
static bool
has_own_trigger(Relation relation, const char *name, const char *function)
{
	const Trigger *trigger = find_trigger(relation, name);

	return trigger != NULL && is_own_function(trigger->tgfoid, function);
}

/*
 * Returns whether the relation has a guard trigger.  It is governed then,
 * whatever that says.
 */
bool
has_guard(Relation relation)
{
	return has_own_trigger(relation, GUARD_TRIGGER, "guard_fate");
}

/*
 * Returns whether the relation is a ledger: the trigger that guards it says so.
 */
bool
is_ledger(Relation relation)
{
	return has_own_trigger(relation, LEDGER_TRIGGER, "guard_ledger");
}

/*
 * Reads what the guard of a relation says, into memory of the current context;
 * returns false if it has none, or one with another number of arguments.  They
 * are copied before anything else is asked: the relation cache entry that they
 * are in may be rebuilt at any catalog access.
 */
bool
read_guard(Relation relation, GuardTrigger *guard)
{
	const Trigger *trigger = find_trigger(relation, GUARD_TRIGGER);
	Oid			function;

	if (trigger == NULL || trigger->tgnargs != GUARD_NARGS)
		return false;
	function = trigger->tgfoid;
	guard->key_column = pstrdup(trigger->tgargs[0]);
	guard->state_column = pstrdup(trigger->tgargs[1]);
	guard->ledger = pstrdup(trigger->tgargs[2]);
	guard->graph = pstrdup(trigger->tgargs[3]);
	return is_own_function(function, "guard_fate");
}

/* ----------------------------------------------------------------------
 * Rows of pg_trigger
 * ----------------------------------------------------------------------
 */

/*
 * Reads the three names that a guard's arguments begin with from its row in
 * pg_trigger, where each has a NUL behind it, into memory of the current
 * context; graph becomes NULL.  Returns false if the row is no guard's, or one
 * of a partition, which only follows its parent's.
 *
 * Of the arguments just a slice is read: a lifecycle may be long, and it may
 * be a stranger's.
 */
static bool
read_trigger_row(HeapTuple row, TupleDesc desc, GuardTrigger *guard)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(row);
	bool		isnull;
	Datum		value = heap_getattr(row, Anum_pg_trigger_tgargs, desc, &isnull);
	struct varlena *slice;
	char	  **names[] = {&guard->key_column, &guard->state_column, &guard->ledger};
	char	   *at;
	char	   *end;

	if (isnull || form->tgnargs != GUARD_NARGS || OidIsValid(form->tgparentid) ||
		!is_own_function(form->tgfoid, "guard_fate"))
		return false;
	slice = PG_DETOAST_DATUM_SLICE(value, 0, lengthof(names) * NAMEDATALEN);
	at = VARDATA_ANY(slice);
	end = at + VARSIZE_ANY_EXHDR(slice);
	for (int i = 0; i < lengthof(names); i++)
	{
		char	   *nul = memchr(at, '\0', end - at);

		if (nul == NULL)
			return false;
		*names[i] = pstrdup(at);
		at = nul + 1;
	}
	guard->graph = NULL;
	return true;
}

/*
 * Reads the names that a guard of that name says; see read_guard_names.
 */
static bool
read_guard_named(Oid relid, const char *name, GuardTrigger *guard)
{
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	row;
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, NULL, 2, keys);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		found = read_trigger_row(row, RelationGetDescr(triggers), guard);
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return found;
}

/*
 * Reads the names that the guard of a relation says from the catalog, without
 * opening the relation, as read_trigger_row does; returns false if there is
 * none.
 */
bool
read_guard_names(Oid relid, GuardTrigger *guard)
{
	const char *relation = get_rel_name(relid);
	const char *suffix = relation == NULL ? NULL : shard_suffix(relation);

	return read_guard_named(relid, GUARD_TRIGGER, guard) ||
		(suffix != NULL && read_guard_named(relid, shard_name(GUARD_TRIGGER, suffix), guard));
}

/*
 * Returns the table of a guard, by its OID, if it is in the namespace and the
 * guard names that ledger, else InvalidOid.  A shard is none: its table is.
 */
static Oid
table_naming_ledger(Relation triggers, Oid trigger, Oid namespace, const char *ledger)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;
	GuardTrigger guard;
	Oid			relid = InvalidOid;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(triggers, TriggerOidIndexId, true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		relid = ((Form_pg_trigger) GETSTRUCT(row))->tgrelid;
		if (get_rel_namespace(relid) != namespace ||
			strcmp(NameStr(((Form_pg_trigger) GETSTRUCT(row))->tgname), GUARD_TRIGGER) != 0 ||
			!read_trigger_row(row, RelationGetDescr(triggers), &guard) ||
			strcmp(guard.ledger, ledger) != 0)
			relid = InvalidOid;
	}
	systable_endscan(scan);
	return relid;
}

/*
 * Returns the OIDs of the tables in a namespace whose guards name a ledger, in
 * the current memory context; guard_fate is the OID of the function, on which
 * every guard depends.  It reads the guards of the whole database, so it is for
 * commands on a ledger alone.
 */
List *
tables_naming_ledger(Oid guard_fate, Oid namespace, const char *ledger)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext row_context = AllocSetContextCreate(caller, "petition_cas guards",
													  ALLOCSET_DEFAULT_SIZES);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *tables = NIL;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(guard_fate));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend dependency = (Form_pg_depend) GETSTRUCT(tuple);
		Oid			relid = InvalidOid;

		MemoryContextSwitchTo(row_context);
		if (dependency->classid == TriggerRelationId)
			relid = table_naming_ledger(triggers, dependency->objid, namespace, ledger);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row_context);
		if (OidIsValid(relid))
			tables = lappend_oid(tables, relid);
	}
	systable_endscan(scan);
	MemoryContextDelete(row_context);
	table_close(triggers, AccessShareLock);
	table_close(depend, AccessShareLock);
	return tables;
}

/*
 * Returns the name of the table that a ledger was created for, in the current
 * memory context, where its own name, being shortened, does not say it: the
 * argument of its trigger then does.  NULL if that says nothing.
 */
const char *
ledger_subject(Relation ledger)
{
	const Trigger *trigger = find_trigger(ledger, LEDGER_TRIGGER);

	return trigger == NULL || trigger->tgnargs != 1 ? NULL : pstrdup(trigger->tgargs[0]);
}

/* ----------------------------------------------------------------------
 * Our functions
 * ----------------------------------------------------------------------
 */

/*
 * Returns the OID of one of our functions without arguments, in the schema
 * that the extension is in.
 */
Oid
own_function(const char *schema, const char *function)
{
	List	   *name = list_make2(makeString(pstrdup(schema)), makeString(pstrdup(function)));

	return LookupFuncName(name, 0, NULL, false);
}

/*
 * Returns the schema that the extension is in: that of the function called.
 */
char *
own_schema(FunctionCallInfo fcinfo)
{
	return get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid));
}
