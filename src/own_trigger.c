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
#include "commands/defrem.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "key.h"
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
 * Returns whether a trigger has the name of a guard of some lifecycle.
 */
bool
has_guard_name(const char *trigger)
{
	return strncmp(trigger, GUARD_TRIGGER, strlen(GUARD_TRIGGER)) == 0;
}

/*
 * Returns the name of the guard of a table's second or later lifecycle, by its state
 * column.
 */
char *
guard_name(const char *state_column)
{
	return makeObjectName(GUARD_TRIGGER, state_column, NULL);
}

/*
 * Returns whether a guard, by its name, is the one of a lifecycle of a relation of
 * that name; the first has no other name than GUARD_TRIGGER.
 */
bool
is_guard_of(const char *trigger, const char *state_column, const char *relation)
{
	return is_trigger_name(trigger, GUARD_TRIGGER, relation) ||
		is_trigger_name(trigger, guard_name(state_column), relation);
}

/*
 * Returns the OID of the only trigger of a relation that has the name of a guard;
 * InvalidOid if there is none, or several.
 */
Oid
only_guard(Relation relation)
{
	Oid			found = InvalidOid;

	for (int i = 0; relation->trigdesc != NULL && i < relation->trigdesc->numtriggers; i++)
	{
		if (!has_guard_name(relation->trigdesc->triggers[i].tgname))
			continue;
		if (OidIsValid(found))
			return InvalidOid;
		found = relation->trigdesc->triggers[i].tgoid;
	}
	return found;
}

/*
 * Returns the OIDs of the functions of triggers that have the name of a guard.
 */
static List *
guard_functions(Relation relation)
{
	List	   *functions = NIL;

	for (int i = 0; relation->trigdesc != NULL && i < relation->trigdesc->numtriggers; i++)
	{
		if (has_guard_name(relation->trigdesc->triggers[i].tgname))
			functions = lappend_oid(functions, relation->trigdesc->triggers[i].tgfoid);
	}
	return functions;
}

/*
 * Returns whether the relation has a guard trigger.  It is governed then,
 * whatever that says.
 */
bool
has_guard(Relation relation)
{
	ListCell   *cell;

	foreach(cell, guard_functions(relation))
	{
		if (is_own_function(lfirst_oid(cell), "guard_fate"))
			return true;
	}
	return false;
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
 * Reads the names of a list, as name_list writes it; returns false if it is none, or
 * has more than a key may have.  The text is changed.
 */
static bool
read_names(char *text, List **names)
{
	return SplitIdentifierString(text, ',', names) && *names != NIL &&
		list_length(*names) <= MAX_KEY_COLUMNS;
}

/*
 * Returns names as a list of identifiers, which people can read.
 */
char *
name_list(const List *names)
{
	StringInfoData text;
	ListCell   *cell;

	initStringInfo(&text);
	foreach(cell, names)
		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", quote_identifier(lfirst(cell)));
	return text.data;
}

/*
 * Returns whether a name is among others.
 */
bool
has_name(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/*
 * Copies what a trigger says, into memory of the current context, without asking any
 * catalog.  Returns NULL for one with another number of arguments than a guard has.
 */
static GuardTrigger *
copy_guard(const Trigger *trigger)
{
	GuardTrigger *guard;

	if (!has_guard_name(trigger->tgname) || !is_guard_nargs(trigger->tgnargs))
		return NULL;
	guard = palloc0(sizeof(GuardTrigger));
	guard->oid = trigger->tgoid;
	guard->function = trigger->tgfoid;
	guard->name = pstrdup(trigger->tgname);
	guard->key_list = pstrdup(trigger->tgargs[0]);
	guard->state_column = pstrdup(trigger->tgargs[1]);
	guard->ledger = pstrdup(trigger->tgargs[2]);
	guard->graph = pstrdup(trigger->tgargs[3]);
	guard->options = pstrdup(trigger->tgnargs == 5 ? trigger->tgargs[4] : "{}");
	return guard;
}

/*
 * Returns what the guards of a relation say, a GuardTrigger each, the first lifecycle
 * first, in memory of the current context; those that have other arguments than a
 * guard, or another name, are left out.  They are copied before anything else is
 * asked: the relation cache entry that they are in may be rebuilt at any catalog
 * access.
 */
List *
read_guards(Relation relation)
{
	List	   *copies = NIL;
	List	   *guards = NIL;
	ListCell   *cell;

	for (int i = 0; relation->trigdesc != NULL && i < relation->trigdesc->numtriggers; i++)
	{
		GuardTrigger *copy = copy_guard(&relation->trigdesc->triggers[i]);

		if (copy != NULL)
			copies = lappend(copies, copy);
	}
	foreach(cell, copies)
	{
		GuardTrigger *guard = lfirst(cell);

		if (is_own_function(guard->function, "guard_fate") &&
			is_guard_of(guard->name, guard->state_column, RelationGetRelationName(relation)) &&
			read_names(pstrdup(guard->key_list), &guard->key_columns))
			guards = lappend(guards, guard);
	}
	return guards;
}

/*
 * Returns what the guard says that is the trigger of that OID, or NULL; see
 * read_guards.
 */
GuardTrigger *
read_guard(Relation relation, Oid trigger)
{
	ListCell   *cell;

	foreach(cell, read_guards(relation))
	{
		if (((GuardTrigger *) lfirst(cell))->oid == trigger)
			return lfirst(cell);
	}
	return NULL;
}

/*
 * Returns the guard among others that a state column belongs to, or NULL.  Without
 * a state column, the only one; raises 22023 if there are several.
 */
GuardTrigger *
choose_guard(List *guards, const char *state_column, Relation relation)
{
	List	   *columns = NIL;
	ListCell   *cell;

	foreach(cell, guards)
	{
		GuardTrigger *guard = lfirst(cell);

		columns = lappend(columns, guard->state_column);
		if (state_column != NULL && strcmp(guard->state_column, state_column) == 0)
			return guard;
	}
	if (guards == NIL || (state_column == NULL && list_length(guards) == 1))
		return guards == NIL ? NULL : linitial(guards);
	if (state_column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("relation \"%s\" has several lifecycles", RelationGetRelationName(relation)),
				 errhint("Name one by state_column, which is one of: %s.", name_list(columns)),
				 errtable(relation)));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("column \"%s\" of relation \"%s\" is not governed",
					state_column, RelationGetRelationName(relation)),
			 errhint("The state columns that are governed: %s.", name_list(columns)),
			 errtable(relation)));
}

/* ----------------------------------------------------------------------
 * Rows of pg_trigger
 * ----------------------------------------------------------------------
 */

/*
 * Reads the three names that a guard's arguments begin with from its row in
 * pg_trigger, where each has a NUL behind it, into memory of the current
 * context; on demand, the others too, else graph and options become NULL.  Returns false
 * if the row is no guard's, or one of a partition, which only follows its parent's.
 *
 * Else just a slice of the arguments is read: a lifecycle may be long, and it may
 * be a stranger's.
 */
static bool
read_trigger_row(HeapTuple row, TupleDesc desc, GuardTrigger *guard, bool whole)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(row);
	bool		isnull;
	Datum		value = heap_getattr(row, Anum_pg_trigger_tgargs, desc, &isnull);
	struct varlena *slice;
	char	   *arguments[5] = {NULL};
	int			wanted = whole ? form->tgnargs : 3;
	char	   *at;
	char	   *end;

	if (isnull || !is_guard_nargs(form->tgnargs) || OidIsValid(form->tgparentid) ||
		!has_guard_name(NameStr(form->tgname)) ||
		!is_own_function(form->tgfoid, "guard_fate"))
		return false;
	slice = whole ? PG_DETOAST_DATUM_PACKED(value) :
		PG_DETOAST_DATUM_SLICE(value, 0, (MAX_KEY_COLUMNS + 3) * 2 * (NAMEDATALEN + 1));
	at = VARDATA_ANY(slice);
	end = at + VARSIZE_ANY_EXHDR(slice);
	for (int i = 0; i < wanted; i++)
	{
		char	   *nul = memchr(at, '\0', end - at);

		if (nul == NULL)
			return false;
		arguments[i] = pstrdup(at);
		at = nul + 1;
	}
	guard->oid = form->oid;
	guard->function = form->tgfoid;
	guard->name = pstrdup(NameStr(form->tgname));
	guard->key_list = arguments[0];
	guard->state_column = arguments[1];
	guard->ledger = arguments[2];
	guard->graph = arguments[3];
	guard->options = arguments[4];
	return read_names(pstrdup(guard->key_list), &guard->key_columns);
}

/*
 * Returns what the guards of a relation say, a GuardTrigger each, read from the catalog,
 * without opening the relation; options are NULL for none.
 */
List *
read_guard_names(Oid relid)
{
	const char *relation = get_rel_name(relid);
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	List	   *guards = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (relation != NULL && HeapTupleIsValid(row = systable_getnext(scan)))
	{
		GuardTrigger *guard = palloc0(sizeof(GuardTrigger));

		if (read_trigger_row(row, RelationGetDescr(triggers), guard, true) &&
			is_guard_of(guard->name, guard->state_column, relation))
			guards = lappend(guards, guard);
	}
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return guards;
}

/*
 * Returns the table of a guard, by its OID, if it is in the namespace and the
 * guard names that ledger (NULL: any, wherever), else InvalidOid.  A shard is none: its table is.
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
		if (!read_trigger_row(row, RelationGetDescr(triggers), &guard, false) ||
			(ledger != NULL &&
			 (get_rel_namespace(relid) != namespace || strcmp(guard.ledger, ledger) != 0)) ||
			!(strcmp(guard.name, GUARD_TRIGGER) == 0 ||
			  strcmp(guard.name, guard_name(guard.state_column)) == 0))
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
			tables = list_append_unique_oid(tables, relid);
	}
	systable_endscan(scan);
	MemoryContextDelete(row_context);
	table_close(triggers, AccessShareLock);
	table_close(depend, AccessShareLock);
	return tables;
}

/*
 * Returns the OIDs of all tables with guards, in the current memory context; see
 * tables_naming_ledger.
 */
List *
tables_with_guards(Oid guard_fate)
{
	return tables_naming_ledger(guard_fate, InvalidOid, NULL);
}

/*
 * Returns the name of the table that a ledger was created for, in the current
 * memory context, where its own name does not say it: the arguments of its trigger then
 * do.  NULL if they say nothing.  *state_column is that of a lifecycle that is not the
 * table's first, else NULL.
 */
char *
ledger_subject(Relation ledger, char **state_column)
{
	const Trigger *trigger = find_trigger(ledger, LEDGER_TRIGGER);

	*state_column = NULL;
	if (trigger == NULL || trigger->tgnargs < 1 || trigger->tgnargs > 2)
		return NULL;
	if (trigger->tgnargs == 2)
		*state_column = pstrdup(trigger->tgargs[1]);
	return pstrdup(trigger->tgargs[0]);
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
