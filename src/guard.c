/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  What governs a table, and the triggers that hold it to that.
 *
 * All that governs a table is in the arguments of its guard trigger: the key
 * column, the state column, the name of the ledger and the lifecycle.  Each
 * backend reads them once a relation, into a Governed, which also keeps the
 * statements that are prepared for the relation.
 *
 * Memory: a Governed lives in a memory context of its own below
 * CacheMemoryContext, its kept statements in SPI's.  A relation cache
 * invalidation only marks it; it is replaced at its next use.  Whoever uses
 * one holds a pin, so that a trigger or function that runs inside our own
 * statements may alter the table, or use so many other tables that ours is
 * evicted, without freeing what an outer call is working with: a Governed
 * that is no longer in the cache is freed with its last pin.  At most
 * MAX_GOVERNED are kept, so that a session that visits thousands of tenants
 * or partitions stays small.
 *
 * Names: renaming a schema invalidates no relation in it, and a kept plan that
 * is made anew looks its names up anew.  So a Governed remembers the names
 * that its statements speak of and is replaced when they are no longer those
 * of its relation; and after each execution the plan must have used the
 * relation that was meant, which closes the gap between the two.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/xid8.h"

#include "errors.h"
#include "guard.h"
#include "petition_cas.h"

#define MAX_GOVERNED 512

/* The arguments of guard_fate */
#define GUARD_NARGS	4
enum
{
	ARG_KEY_COLUMN,
	ARG_STATE_COLUMN,
	ARG_LEDGER,
	ARG_LIFECYCLE
};

typedef struct GovernedEntry
{
	Oid			relid;			/* hash key */
	Governed   *governed;
} GovernedEntry;

static HTAB *governed_cache = NULL;
static uint64 governed_clock = 0;
static uint64 invalidations = 0;

PG_FUNCTION_INFO_V1(guard_fate);
PG_FUNCTION_INFO_V1(guard_truncate);
PG_FUNCTION_INFO_V1(guard_ledger);

/* ----------------------------------------------------------------------
 * The cache
 * ----------------------------------------------------------------------
 */

/*
 * Relation cache callback: marks what is known of the relation (of all, for
 * InvalidOid) as stale.  Frees nothing, since an active call may hold it.
 */
static void
invalidate_governed(Datum arg, Oid relid)
{
	GovernedEntry *entry;
	HASH_SEQ_STATUS scan;

	invalidations++;
	if (OidIsValid(relid))
	{
		entry = hash_search(governed_cache, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			entry->governed->valid = false;
		return;
	}
	hash_seq_init(&scan, governed_cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->governed->valid = false;
}

/*
 * Sets up the cache; called once, when the module is loaded.
 */
void
guard_init(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(GovernedEntry);
	governed_cache = hash_create("petition_cas governed tables", 64, &control,
								 HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(invalidate_governed, (Datum) 0);
}

static void
free_governed(Governed *governed)
{
	for (int i = 0; i < KEPT_STATEMENTS; i++)
	{
		if (governed->plans[i] != NULL)
			SPI_freeplan(governed->plans[i]);
	}
	MemoryContextDelete(governed->context);
}

/*
 * Takes a Governed out of the cache; frees it now, or with its last pin.
 */
static void
detach_governed(Governed *governed)
{
	hash_search(governed_cache, &governed->relid, HASH_REMOVE, NULL);
	governed->detached = true;
	if (governed->pins == 0)
		free_governed(governed);
}

/*
 * Makes room in a full cache: evicts the unpinned entry that was used longest
 * ago, if there is one.
 */
static void
evict_governed(void)
{
	GovernedEntry *entry;
	Governed   *oldest = NULL;
	HASH_SEQ_STATUS scan;

	if (hash_get_num_entries(governed_cache) < MAX_GOVERNED)
		return;
	hash_seq_init(&scan, governed_cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->governed->pins == 0 &&
			(oldest == NULL || entry->governed->last_used < oldest->last_used))
			oldest = entry->governed;
	}
	if (oldest != NULL)
		detach_governed(oldest);
}

static bool
namespace_has_name(Oid namespace, const char *name)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(namespace));
	bool		same;

	if (!HeapTupleIsValid(tuple))
		return false;
	same = strcmp(NameStr(((Form_pg_namespace) GETSTRUCT(tuple))->nspname), name) == 0;
	ReleaseSysCache(tuple);
	return same;
}

/*
 * Are the names that the kept statements speak of still those of the relation?
 * A rename of the relation or a move to another schema invalidates it; what
 * remains to look at is the names of the schemas, and a partition's root.
 */
static bool
names_are_current(const Governed *governed, Relation relation)
{
	if (!namespace_has_name(RelationGetNamespace(relation), governed->relation_schema))
		return false;
	if (governed->root == governed->relid)
		return true;
	return namespace_has_name(get_rel_namespace(governed->root), governed->ledger_schema);
}

/*
 * Is the function the one that this module offers under that symbol?  Only a
 * superuser can create a function in C, so the symbol and the library's name
 * tell, whatever schema the extension is in.
 */
bool
is_own_function(Oid function, const char *symbol)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Datum		source;
	Datum		library;
	bool		source_null;
	bool		library_null;
	bool		own = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	source = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &source_null);
	library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &library_null);
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId &&
		!source_null && !library_null &&
		strcmp(TextDatumGetCString(source), symbol) == 0)
	{
		char	   *path = TextDatumGetCString(library);
		char	   *slash = strrchr(path, '/');

		own = strcmp(slash ? slash + 1 : path, "petition_cas") == 0;
	}
	ReleaseSysCache(tuple);
	return own;
}

/*
 * Returns the trigger of that name, in the relation cache, or NULL.
 */
const Trigger *
find_trigger(Relation relation, const char *name)
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
 * Copies the arguments of the relation's guard trigger into the current memory
 * context; returns false if it has no such trigger.  They are copied before
 * anything else is asked: the relation cache entry that they are in may be
 * rebuilt at any catalog access.
 */
static bool
find_arguments(Relation relation, char **arguments)
{
	const Trigger *guard = find_trigger(relation, GUARD_TRIGGER);
	Oid			function;
	int			count;

	if (guard == NULL)
		return false;
	function = guard->tgfoid;
	count = guard->tgnargs;
	for (int i = 0; i < Min(count, GUARD_NARGS); i++)
		arguments[i] = pstrdup(guard->tgargs[i]);

	if (!is_own_function(function, "guard_fate"))
		return false;
	if (count != GUARD_NARGS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("trigger \"%s\" of relation \"%s\" has %d arguments instead of %d",
						GUARD_TRIGGER, RelationGetRelationName(relation), count, GUARD_NARGS),
				 errhint("Guard triggers are created by govern().")));
	return true;
}

/*
 * Returns the number of a column that the guard's arguments name; raises 55000
 * if it is not there any more.
 */
static AttrNumber
find_column(Relation relation, const char *column)
{
	for (int i = 0; i < RelationGetDescr(relation)->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), column) == 0)
			return attribute->attnum;
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of governed relation \"%s\" does not exist",
					column, RelationGetRelationName(relation)),
			 errhint("Give the column its name back; or call ungovern, and govern with the column's new name, having renamed it in the ledger too if it is the key."),
			 errtable(relation)));
	return InvalidAttrNumber;	/* keep compilers quiet */
}

/*
 * May a state column be of that type?
 */
bool
is_supported_state_type(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || get_typtype(type) == TYPTYPE_ENUM;
}

/*
 * Reads what the relation's columns are into the Governed; raises 55000 if
 * they are no longer of a kind that can be governed.
 */
static void
read_columns(Governed *governed, Relation relation)
{
	Form_pg_attribute key;
	Form_pg_attribute state;

	governed->key_attno = find_column(relation, governed->key_column);
	governed->state_attno = find_column(relation, governed->state_column);
	key = TupleDescAttr(RelationGetDescr(relation), governed->key_attno - 1);
	state = TupleDescAttr(RelationGetDescr(relation), governed->state_attno - 1);

	governed->key_length = key->attlen;
	governed->key_by_value = key->attbyval;
	governed->key_type = getBaseType(key->atttypid);
	governed->key_equality = lookup_type_cache(governed->key_type, TYPECACHE_EQ_OPR)->eq_opr;
	governed->state_type = state->atttypid;
	governed->state_is_enum = get_typtype(state->atttypid) == TYPTYPE_ENUM;

	if (!OidIsValid(governed->key_equality) || !is_supported_state_type(governed->state_type))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the key or state column of governed relation \"%s\" has a type that cannot be governed",
						RelationGetRelationName(relation)),
				 errhint("A key needs a type with an equality operator, a state text, varchar or an enum."),
				 errtable(relation)));
}

/*
 * Reads a Governed from a guard trigger's arguments, in a memory context of
 * its own below the current one; the caller moves that to where it shall live.
 */
static Governed *
read_governed(Relation relation, char **arguments)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "petition_cas governed table",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Governed   *governed = palloc0(sizeof(Governed));
	Datum		graph;

	governed->context = context;
	governed->relid = RelationGetRelid(relation);
	governed->root = governed->relid;
	if (relation->rd_rel->relispartition)
		governed->root = llast_oid(get_partition_ancestors(governed->relid));
	governed->is_partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	governed->relation = pstrdup(RelationGetRelationName(relation));
	governed->relation_schema = get_namespace_name(RelationGetNamespace(relation));
	governed->ledger_schema = get_namespace_name(get_rel_namespace(governed->root));
	governed->ledger = pstrdup(arguments[ARG_LEDGER]);
	governed->key_column = pstrdup(arguments[ARG_KEY_COLUMN]);
	governed->state_column = pstrdup(arguments[ARG_STATE_COLUMN]);
	read_columns(governed, relation);

	governed->graph = pstrdup(arguments[ARG_LIFECYCLE]);
	graph = DirectFunctionCall1(jsonb_in, CStringGetDatum(governed->graph));
	governed->lifecycle = lifecycle_parse(DatumGetJsonbP(graph));

	MemoryContextSwitchTo(caller);
	return governed;
}

/*
 * Reads a Governed and puts it into the cache.
 */
static Governed *
add_governed(Relation relation, char **arguments)
{
	uint64		before = invalidations;
	Governed   *governed = read_governed(relation, arguments);
	GovernedEntry *entry;

	evict_governed();
	entry = hash_search(governed_cache, &governed->relid, HASH_ENTER, NULL);
	entry->governed = governed;
	MemoryContextSetParent(governed->context, CacheMemoryContext);

	/* what came in while we read may have been about this relation */
	governed->valid = before == invalidations;
	return governed;
}

/*
 * Returns the cached Governed of a relation if it may still be used; takes it
 * out of the cache if not.
 */
static Governed *
cached_governed(Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	GovernedEntry *entry = hash_search(governed_cache, &relid, HASH_FIND, NULL);

	if (entry == NULL)
		return NULL;
	if (entry->governed->valid && names_are_current(entry->governed, relation))
		return entry->governed;
	detach_governed(entry->governed);
	return NULL;
}

static Governed *
pin(Governed *governed)
{
	governed->pins++;
	governed->last_used = ++governed_clock;
	return governed;
}

/*
 * Returns what governs a relation, pinned; the caller gives it back with
 * governed_unpin, also when an error is raised.  If nothing governs it,
 * returns NULL, or raises 55000.  The relation is open and locked.
 */
Governed *
governed_pin(Relation relation, bool missing_ok)
{
	Governed   *governed = cached_governed(relation);
	char	   *arguments[GUARD_NARGS];

	if (governed != NULL)
		return pin(governed);
	if (find_arguments(relation, arguments))
		return pin(add_governed(relation, arguments));
	if (!missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" is not governed", RelationGetRelationName(relation)),
				 errhint("Call govern('%s', lifecycle) first.", RelationGetRelationName(relation)),
				 errtable(relation)));
	return NULL;
}

/*
 * Gives a pin back.
 */
void
governed_unpin(Governed *governed)
{
	if (--governed->pins == 0 && governed->detached)
		free_governed(governed);
}

/* ----------------------------------------------------------------------
 * Kept statements
 * ----------------------------------------------------------------------
 */

/*
 * Appends schema.name, quoted.
 */
void
append_qualified(StringInfo query, const char *schema, const char *name)
{
	appendStringInfoString(query, quote_qualified_identifier(schema, name));
}

/*
 * Appends an operator so that no search_path decides which it is.
 */
void
append_operator(StringInfo query, Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	appendStringInfo(query, " OPERATOR(%s.%s) ",
					 quote_identifier(get_namespace_name(form->oprnamespace)),
					 NameStr(form->oprname));
	ReleaseSysCache(tuple);
}

/*
 * Appends "state column = operand".  Text is compared under the C collation:
 * under a nondeterministic one two different states could be equal.
 */
void
append_state_equality(StringInfo query, const Governed *governed, const char *operand)
{
	appendStringInfo(query, "%s OPERATOR(pg_catalog.=) %s",
					 quote_identifier(governed->state_column), operand);
	if (!governed->state_is_enum)
		appendStringInfoString(query, " COLLATE pg_catalog.\"C\"");
}

/*
 * Returns the governed relation as a statement names it.  ONLY, because an
 * ordinary table's inheritance children, if it gets any, are not governed.
 */
const char *
get_relation_sql(const Governed *governed)
{
	const char *name = quote_qualified_identifier(governed->relation_schema, governed->relation);

	return governed->is_partitioned ? name : psprintf("ONLY %s", name);
}

/*
 * Returns the kept plan of a statement, made at its first use.  SPI keeps it
 * current; its text stays right as long as the Governed does.
 */
static SPIPlanPtr
kept_plan(Governed *governed, KeptStatement statement, StatementWriter writer)
{
	StringInfoData query;
	Oid			types[8];
	int			ntypes;
	SPIPlanPtr	plan;

	if (governed->plans[statement] != NULL)
		return governed->plans[statement];

	initStringInfo(&query);
	ntypes = writer(governed, statement, &query, types);
	plan = SPI_prepare(query.data, ntypes, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\": %s",
			 query.data, SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed for \"%s\"", query.data);
	governed->plans[statement] = plan;
	return plan;
}

/*
 * Raises 55000 unless the plan, as it was just executed, used the relation
 * that was meant.  The names in its text were right before, but somebody may
 * have renamed schemas or relations since.
 */
static void
check_plan_target(SPIPlanPtr plan, Oid target)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

	if (!list_member_oid(source->relationOids, target))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation %u was renamed while a statement on it was prepared", target),
				 errhint("Nothing was changed. Try again.")));
}

/*
 * Executes a kept statement; the caller is connected to SPI and holds a pin.
 * target is the relation that the statement must be about.  Without a
 * snapshot it sees what is committed now, or the transaction's snapshot; with
 * one, that and the transaction's own changes so far.  Returns the number of
 * rows, which are in SPI_tuptable if it returns any.
 */
uint64
governed_execute(Governed *governed, KeptStatement statement, StatementWriter writer,
				 Oid target, Datum *values, const char *nulls, Snapshot snapshot,
				 bool fire_triggers)
{
	SPIPlanPtr	plan = kept_plan(governed, statement, writer);
	int			result = SPI_execute_snapshot(plan, values, nulls, snapshot, InvalidSnapshot,
											  false, fire_triggers, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
	check_plan_target(plan, target);

	/* a rule that does something else instead has no rows to show */
	return result == SPI_OK_REWRITTEN ? 0 : SPI_processed;
}

/*
 * Says what is wrong with one of our triggers, or returns NULL: it must be
 * there, call our function, fire always, for the given events (bits of tgtype)
 * and whatever the row or the columns are.
 */
const char *
trigger_problem(Relation relation, const char *name, const char *function, int16 type)
{
	const Trigger *trigger = find_trigger(relation, name);

	if (trigger == NULL)
		return "is missing";
	if (trigger->tgenabled == TRIGGER_DISABLED)
		return "is disabled";
	if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS)
		return "is no longer ENABLE ALWAYS";
	if (trigger->tgtype != type || trigger->tgqual != NULL || trigger->tgnattr > 0 ||
		trigger->tgdeferrable || !is_own_function(trigger->tgfoid, function))
		return "is not the one that govern creates";
	return NULL;
}

/* ----------------------------------------------------------------------
 * The ledger
 * ----------------------------------------------------------------------
 */

/*
 * Returns the ledger of a governed table: by name, in the schema of the table
 * or of its topmost partitioned table.  If it is not there, returns InvalidOid
 * or raises 42P01.
 */
Oid
governed_ledger(const Governed *governed, bool missing_ok)
{
	Oid			ledger = get_relname_relid(governed->ledger, get_rel_namespace(governed->root));

	if (!OidIsValid(ledger) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("ledger \"%s.%s\" of governed relation \"%s\" does not exist",
						governed->ledger_schema, governed->ledger, governed->relation),
				 errhint("A ledger stays beside its table, under the name that govern gave it. If it was renamed or moved, undo that; if it was dropped, call ungovern and govern again.")));
	return ledger;
}

static Oid
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Returns the owner under whose name the ledger is written.  Raises 42501
 * unless that is the governed table's owner: anybody may create a trigger on
 * a table of his own that names somebody else's ledger.
 */
static Oid
ledger_owner(const Governed *governed, Oid ledger)
{
	Oid			owner = relation_owner(ledger);

	if (owner != relation_owner(governed->root))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("ledger \"%s\" belongs to another role than governed relation \"%s\"",
						governed->ledger, governed->relation),
				 errhint("Give the table and its ledger the same owner.")));
	return owner;
}

/*
 * Writes the statements of this file.
 *
 *	LEDGER_INSERT	INSERT INTO ledger (key, from_state, fate, assigned_at,
 *					assigned_by, transaction_id) VALUES ($1, ..., $6)
 *	LEDGER_IMPORT	the same ON CONFLICT (key) DO NOTHING: a row that arrives
 *					with its fate may have it in the ledger already.  It costs
 *					a speculative insertion, which a plain assignment is spared.
 *	LEDGER_FATE		SELECT fate FROM ledger WHERE key = $1
 *	LEDGER_ANY		SELECT FROM ledger LIMIT 1
 */
static int
write_ledger_statement(const Governed *governed, KeptStatement statement,
					   StringInfo query, Oid *types)
{
	const char *key = quote_identifier(governed->key_column);

	types[0] = governed->key_type;
	if (statement == LEDGER_ANY || statement == LEDGER_FATE)
	{
		appendStringInfo(query, "SELECT %s FROM ", statement == LEDGER_FATE ? "fate" : "");
		append_qualified(query, governed->ledger_schema, governed->ledger);
		if (statement == LEDGER_ANY)
		{
			appendStringInfoString(query, " LIMIT 1");
			return 0;
		}
		appendStringInfo(query, " WHERE %s", key);
		append_operator(query, governed->key_equality);
		appendStringInfoString(query, "$1");
		return 1;
	}

	appendStringInfoString(query, "INSERT INTO ");
	append_qualified(query, governed->ledger_schema, governed->ledger);
	appendStringInfo(query,
					 " (%s, from_state, fate, assigned_at, assigned_by, transaction_id)"
					 " VALUES ($1, $2, $3, $4, $5, $6)", key);
	if (statement == LEDGER_IMPORT)
		appendStringInfo(query, " ON CONFLICT (%s) DO NOTHING", key);
	types[1] = TEXTOID;
	types[2] = TEXTOID;
	types[3] = TIMESTAMPTZOID;
	types[4] = TEXTOID;
	types[5] = XID8OID;
	return 6;
}

/*
 * Returns who is recorded as having assigned a fate: the setting
 * petition_cas.actor, else the session's user (not the current one, which
 * inside a security definer function is the function's owner).
 */
const char *
assigning_actor(void)
{
	if (petition_cas_actor != NULL && petition_cas_actor[0] != '\0')
		return petition_cas_actor;
	return GetUserNameFromId(GetSessionUserId(), false);
}

/*
 * Is the error a violation of the ledger's own unique index?
 */
static bool
is_ledger_conflict(const ErrorData *error, const Governed *governed)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		error->table_name != NULL && strcmp(error->table_name, governed->ledger) == 0 &&
		error->schema_name != NULL && strcmp(error->schema_name, governed->ledger_schema) == 0;
}

/*
 * Executes a statement on the ledger as the ledger's owner, as referential
 * integrity triggers do it: callers need no rights on the ledger, and the
 * owner's own row security does not hide a row from the guard.  Triggers that
 * the user put on the ledger fire at the end of the outer statement and not
 * as the owner.
 */
static uint64
execute_as_ledger_owner(Governed *governed, KeptStatement statement, Oid ledger,
						Datum *values, const char *nulls, Snapshot snapshot)
{
	Oid			owner = ledger_owner(governed, ledger);
	Oid			user;
	int			security;
	uint64		count;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	count = governed_execute(governed, statement, write_ledger_statement, ledger,
							 values, nulls, snapshot, false);
	SetUserIdAndSecContext(user, security);
	return count;
}

/* ----------------------------------------------------------------------
 * Judging a row
 * ----------------------------------------------------------------------
 */

/* A row as the guard sees it */
typedef struct GuardedRow
{
	Datum		key;
	Datum		state;
	bool		state_null;
} GuardedRow;

static void
read_row(const Governed *governed, TupleTableSlot *slot, GuardedRow *row)
{
	bool		key_null;

	row->key = slot_getattr(slot, governed->key_attno, &key_null);
	row->state = slot_getattr(slot, governed->state_attno, &row->state_null);
	if (key_null)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in key column \"%s\" of governed relation \"%s\"",
						governed->key_column, governed->relation)));
}

/*
 * Returns the text of a state, in the current memory context.  Enum labels
 * are read from the catalog each time: they can be renamed.
 */
char *
state_text(const Governed *governed, Datum state)
{
	HeapTuple	tuple;
	char	   *label;

	if (!governed->state_is_enum)
		return TextDatumGetCString(state);
	tuple = SearchSysCache1(ENUMOID, state);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for enum label %u", DatumGetObjectId(state));
	label = pstrdup(NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel));
	ReleaseSysCache(tuple);
	return label;
}

/*
 * Returns a state, whose name the lifecycle knows, as a value for the state
 * column; for an enum without such a label raises the type's own error.
 */
Datum
state_datum(const Governed *governed, const char *name)
{
	Oid			input;
	Oid			parameter;

	if (!governed->state_is_enum)
		return CStringGetTextDatum(name);
	getTypeInputInfo(governed->state_type, &input, &parameter);
	return OidInputFunctionCall(input, unconstify(char *, name), parameter, -1);
}

/*
 * Returns the text of a key by its type's output function.
 */
char *
key_text(const Governed *governed, Datum key)
{
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(governed->key_type, &output, &is_varlena);
	return OidOutputFunctionCall(output, key);
}

/*
 * Returns the number of a row's state, or NO_STATE for one that is null or
 * not in the lifecycle.
 */
static int
find_state(const Governed *governed, const GuardedRow *row)
{
	struct varlena *text;

	if (row->state_null)
		return NO_STATE;
	if (governed->state_is_enum)
	{
		char	   *label = state_text(governed, row->state);

		return lifecycle_find(governed->lifecycle, label, strlen(label));
	}
	text = PG_DETOAST_DATUM_PACKED(row->state);
	return lifecycle_find(governed->lifecycle, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
}

/*
 * May the caller see the row that is being judged?  As for referential
 * integrity, no value goes into an error that its reader could not select.
 */
static bool
caller_may_see(const Governed *governed, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	Oid			user = GetUserId();

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	return pg_class_aclcheck(relid, user, ACL_SELECT) == ACLCHECK_OK ||
		(pg_attribute_aclcheck(relid, governed->key_attno, user, ACL_SELECT) == ACLCHECK_OK &&
		 pg_attribute_aclcheck(relid, governed->state_attno, user, ACL_SELECT) == ACLCHECK_OK);
}

/*
 * Starts to tell why a row may not go from one state to another (or, without
 * a from_state, may not arrive in it).
 */
static Refusal
refuse(const Governed *governed, Relation relation, const GuardedRow *row,
	   const char *current_state, const char *new_state)
{
	Refusal		refusal = {0};

	refusal.relation = relation;
	refusal.new_state = new_state;
	if (caller_may_see(governed, relation))
	{
		int			state = NO_STATE;

		if (current_state != NULL)
			state = lifecycle_find(governed->lifecycle, current_state, strlen(current_state));
		refusal.key = key_text(governed, row->key);
		refusal.current_state = current_state;
		refusal.allowed = lifecycle_targets(governed->lifecycle, state, &refusal.nallowed);
	}
	return refusal;
}

/*
 * Raises PF006 for tampering with a row; the format of the message takes the
 * name of the relation.
 */
static void
refuse_tampering(const Governed *governed, Relation relation, const GuardedRow *row,
				 const char *message, const char *hint)
{
	StringInfoData detail;

	detail_begin(&detail);
	detail_text(&detail, "relation",
				quote_qualified_identifier(governed->relation_schema, governed->relation));
	if (caller_may_see(governed, relation))
	{
		detail_text(&detail, "key", key_text(governed, row->key));
		detail_text(&detail, "current_state",
					row->state_null ? NULL : state_text(governed, row->state));
	}
	ereport(ERROR,
			(errcode(ERRCODE_FATE_PROTECTED),
			 errmsg_internal(message, governed->relation),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("%s", hint),
			 errtable(relation)));
}

/*
 * Raises 22023 for a state that the lifecycle does not know.
 */
void
report_unknown_state(const Lifecycle *lifecycle, const char *relation, const char *state)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("state \"%s\" is not in the lifecycle of relation \"%s\"",
					state, relation),
			 errhint("The states are: %s.", lifecycle_state_list(lifecycle))));
}

/*
 * Returns the number of the state that a row is to be stored with; raises
 * 23502 if it is null and 22023 if the lifecycle does not know it.
 */
static int
check_new_state(const Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state = find_state(governed, row);

	if (row->state_null)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in state column \"%s\" of governed relation \"%s\"",
						governed->state_column, RelationGetRelationName(relation)),
				 errhint("The states are: %s.", lifecycle_state_list(governed->lifecycle)),
				 errtablecol(relation, governed->state_attno)));
	if (state == NO_STATE)
		report_unknown_state(governed->lifecycle, RelationGetRelationName(relation),
							 state_text(governed, row->state));
	return state;
}

/*
 * Fills in the values of a ledger row, in the order of LEDGER_INSERT.
 */
static void
fill_ledger_row(const GuardedRow *row, const char *from_state, const char *fate,
				Datum *values, char *nulls)
{
	memset(nulls, ' ', 6);
	nulls[6] = '\0';
	values[0] = row->key;
	values[1] = (Datum) 0;
	if (from_state != NULL)
		values[1] = CStringGetTextDatum(from_state);
	else
		nulls[1] = 'n';
	values[2] = CStringGetTextDatum(fate);
	values[3] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[4] = CStringGetTextDatum(assigning_actor());
	values[5] = FullTransactionIdGetDatum(GetTopFullTransactionId());
}

/*
 * Records the fate that a row has got.  A ledger that holds a fate for the key
 * from an earlier row refuses it with its primary key, which becomes PF002.
 */
static void
record_assignment(Governed *governed, Relation relation, const GuardedRow *row,
				  const char *from_state, const char *fate)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			ledger = governed_ledger(governed, false);
	Datum		values[6];
	char		nulls[7];

	fill_ledger_row(row, from_state, fate, values, nulls);
	SPI_connect();
	PG_TRY();
	{
		execute_as_ledger_owner(governed, LEDGER_INSERT, ledger, values, nulls, InvalidSnapshot);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		Refusal		refusal;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!is_ledger_conflict(error, governed))
			PG_RE_THROW();

		/*
		 * The transaction has failed: nothing can be read any more, so which
		 * fate the ledger holds is not told here; verify_fates tells it.
		 */
		FlushErrorState();
		refusal = refuse(governed, relation, row, from_state, fate);
		report_ledger_conflict(&refusal, governed->ledger);
	}
	PG_END_TRY();
	SPI_finish();
}

/*
 * Returns the fate that the ledger holds for a key, read under the latest
 * snapshot, or NULL.  Connected to SPI.
 */
static char *
read_ledger_fate(Governed *governed, Oid ledger, Datum key)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	char	   *fate = NULL;

	if (execute_as_ledger_owner(governed, LEDGER_FATE, ledger, &key, NULL, latest) > 0)
		fate = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	UnregisterSnapshot(latest);
	return fate;
}

/*
 * Records the fate of a row that arrived with it.  If the ledger holds the
 * same fate for its key already, that is fine; another one is PF002.
 */
static void
record_import(Governed *governed, Relation relation, const GuardedRow *row, const char *fate)
{
	Oid			ledger = governed_ledger(governed, false);
	Datum		values[6];
	char		nulls[7];

	fill_ledger_row(row, NULL, fate, values, nulls);
	SPI_connect();
	if (execute_as_ledger_owner(governed, LEDGER_IMPORT, ledger, values, nulls,
								InvalidSnapshot) == 0)
	{
		char	   *recorded = read_ledger_fate(governed, ledger, row->key);

		if (recorded == NULL || strcmp(recorded, fate) != 0)
		{
			Refusal		refusal = refuse(governed, relation, row, recorded, fate);

			report_already_fated(&refusal);
		}
	}
	SPI_finish();
}

/*
 * Judges a row that was inserted: its state must be one of the lifecycle; if
 * that is a fate, it is recorded.
 */
static void
judge_insert(Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state;

	/* under logical replication, ledger rows arrive as rows of their own */
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return;
	state = check_new_state(governed, relation, row);
	if (lifecycle_is_fate(governed->lifecycle, state))
		record_import(governed, relation, row, governed->lifecycle->states[state].name);
}

/*
 * Judges a change of state: the old one must be no fate, the new one in the
 * lifecycle, and the lifecycle must lead there.  If it is a fate, records it.
 */
static void
judge_transition(Governed *governed, Relation relation,
				 const GuardedRow *old_row, const GuardedRow *new_row)
{
	const Lifecycle *lifecycle = governed->lifecycle;
	int			from = find_state(governed, old_row);
	int			to = NO_STATE;
	bool		is_fated = from != NO_STATE && lifecycle_is_fate(lifecycle, from);

	if (!is_fated)
		to = check_new_state(governed, relation, new_row);
	if (is_fated || !lifecycle_allows(lifecycle, from, to))
	{
		Refusal		refusal = refuse(governed, relation, old_row,
									 old_row->state_null ? NULL : state_text(governed, old_row->state),
									 new_row->state_null ? NULL : state_text(governed, new_row->state));

		if (is_fated)
			report_already_fated(&refusal);
		else
			report_invalid_transition(&refusal);
	}

	if (lifecycle_is_fate(lifecycle, to) &&
		SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		record_assignment(governed, relation, new_row,
						  lifecycle->states[from].name, lifecycle->states[to].name);
}

/*
 * Judges a row that was updated.  Most updates leave key and state as they
 * are, and cost two comparisons.
 */
static void
judge_update(Governed *governed, Relation relation,
			 const GuardedRow *old_row, const GuardedRow *new_row)
{
	if (!datum_image_eq(old_row->key, new_row->key, governed->key_by_value, governed->key_length))
		refuse_tampering(governed, relation, old_row,
						 "cannot change the key of a row of governed relation \"%s\"",
						 "The ledger knows a row by its key. Insert a new row instead.");

	if (old_row->state_null == new_row->state_null &&
		(old_row->state_null ||
		 datum_image_eq(old_row->state, new_row->state,
						governed->state_is_enum, governed->state_is_enum ? sizeof(Oid) : -1)))
		return;
	judge_transition(governed, relation, old_row, new_row);
}

/*
 * Judges a row that was deleted: a fated one stays.
 */
static void
judge_delete(Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state = find_state(governed, row);

	if (state != NO_STATE && lifecycle_is_fate(governed->lifecycle, state))
		refuse_tampering(governed, relation, row,
						 "cannot delete a fated row of relation \"%s\"",
						 "A fate is for ever, and so is its row.");
}

/* ----------------------------------------------------------------------
 * The triggers
 * ----------------------------------------------------------------------
 */

/*
 * Checks that a trigger function is called by a trigger of the given timing
 * (bits of tg_event, for each row or statement, before or after) and returns
 * what it is called with.  Raises 39P01.
 */
static TriggerData *
check_trigger_call(FunctionCallInfo fcinfo, const char *function, TriggerEvent timing)
{
	TriggerData *call = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		(call->tg_event & (TRIGGER_EVENT_ROW | TRIGGER_EVENT_TIMINGMASK)) != timing)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by a trigger that govern created",
						function)));
	return call;
}

/*
 * guard_fate(key column, state column, ledger, lifecycle): the row trigger of
 * a governed table.  It fires after the row is stored, so that it judges what
 * the other triggers made of it.
 */
Datum
guard_fate(PG_FUNCTION_ARGS)
{
	TriggerData *call = check_trigger_call(fcinfo, "guard_fate",
										   TRIGGER_EVENT_ROW | TRIGGER_EVENT_AFTER);
	Relation	relation = call->tg_relation;
	Governed   *governed;

	/* one guard a table: what it says is known by the relation */
	if (strcmp(call->tg_trigger->tgname, GUARD_TRIGGER) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" of relation \"%s\" calls guard_fate but is not named \"%s\"",
						call->tg_trigger->tgname, RelationGetRelationName(relation),
						GUARD_TRIGGER),
				 errhint("Guard triggers are created by govern() and keep their name.")));

	governed = governed_pin(relation, false);
	PG_TRY();
	{
		GuardedRow	row;
		GuardedRow	new_row;

		read_row(governed, call->tg_trigslot, &row);
		if (TRIGGER_FIRED_BY_INSERT(call->tg_event))
			judge_insert(governed, relation, &row);
		else if (TRIGGER_FIRED_BY_DELETE(call->tg_event))
			judge_delete(governed, relation, &row);
		else
		{
			read_row(governed, call->tg_newslot, &new_row);
			judge_update(governed, relation, &row, &new_row);
		}
	}
	PG_FINALLY();
	{
		governed_unpin(governed);
	}
	PG_END_TRY();

	return PointerGetDatum(NULL);
}

/*
 * Has the ledger a row, seen with the latest snapshot?  TRUNCATE holds its
 * lock by now, so no assignment is under way.
 */
static bool
ledger_has_rows(Governed *governed)
{
	Oid			ledger = governed_ledger(governed, false);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	bool		has_rows;

	SPI_connect();
	has_rows = execute_as_ledger_owner(governed, LEDGER_ANY, ledger, NULL, NULL, latest) > 0;
	SPI_finish();
	UnregisterSnapshot(latest);
	return has_rows;
}

/*
 * guard_truncate(): the trigger that refuses TRUNCATE of a governed table
 * while its ledger has rows.
 */
Datum
guard_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *call = check_trigger_call(fcinfo, "guard_truncate", TRIGGER_EVENT_BEFORE);
	Governed   *governed = governed_pin(call->tg_relation, false);
	bool		refused = true;

	PG_TRY();
	{
		refused = ledger_has_rows(governed);
	}
	PG_FINALLY();
	{
		governed_unpin(governed);
	}
	PG_END_TRY();

	if (refused)
		report_protected_relation(call->tg_relation,
								  "cannot truncate relation \"%s\", because rows of it are fated",
								  "A fate is for ever, and so is its row. Delete the rows that have no fate.");
	return PointerGetDatum(NULL);
}

/*
 * guard_ledger(): the triggers that refuse any change of a ledger but new
 * rows.
 */
Datum
guard_ledger(PG_FUNCTION_ARGS)
{
	TriggerData *call = (TriggerData *) fcinfo->context;
	TriggerEvent level = TRIGGER_EVENT_ROW;

	if (CALLED_AS_TRIGGER(fcinfo) && TRIGGER_FIRED_BY_TRUNCATE(call->tg_event))
		level = 0;
	call = check_trigger_call(fcinfo, "guard_ledger", TRIGGER_EVENT_BEFORE | level);

	report_protected_relation(call->tg_relation,
							  "cannot change or remove rows of ledger \"%s\"",
							  "A ledger only grows: a fate is for ever.");
	return PointerGetDatum(NULL);
}
