/*-------------------------------------------------------------------------
 *
 * governed.c
 *	  What governs a table, as a backend knows it, and the statements on it.
 *
 * All that governs a table is in the arguments of its guard trigger: the key
 * column, the state column, the name of the ledger and the lifecycle.  Each
 * backend reads them once a relation, into a Governed, which also keeps the
 * texts of the statements that are prepared for the relation.
 *
 * Memory: a Governed lives in a memory context of its own below
 * CacheMemoryContext.  A relation cache
 * invalidation only marks it; it is replaced at its next use.  Nothing is freed
 * before the transaction ends, so that a trigger or function that runs inside
 * our own statements may alter the table without taking from an outer call what
 * that is working with: no call of ours outlives a transaction.  Then those that
 * were replaced go, and of the others all but the MAX_GOVERNED used last, so
 * that a session that visits thousands of tenants or partitions stays small.
 *
 * Soundness (soundness.c) is remembered here too, until something is
 * invalidated that it rests on: the relation itself, or one of those that the
 * judge has named as watched (the ledger and its indexes, partitions).
 *
 * Names: renaming a schema invalidates no relation in it, and a kept plan that
 * is made anew looks its names up anew.  So a Governed remembers the names
 * that its statements speak of and is replaced when they are no longer those
 * of its relation; statement.c closes the gap that remains.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "columns.h"
#include "errors.h"
#include "governed.h"

#define MAX_GOVERNED 512

typedef struct GovernedEntry
{
	Oid			guard;			/* hash key: the trigger */
	Governed   *governed;
} GovernedEntry;

static HTAB *governed_cache = NULL;
static dlist_head replaced = DLIST_STATIC_INIT(replaced);
static uint64 governed_clock = 0;
static uint64 invalidations = 0;

static int
compare_oids(const void *a, const void *b)
{
	Oid			one = *(const Oid *) a;
	Oid			other = *(const Oid *) b;

	return one < other ? -1 : one > other;
}

/* ----------------------------------------------------------------------
 * The cache
 * ----------------------------------------------------------------------
 */

/*
 * Does what is known of a table rest on another relation?
 */
static bool
rests_on(const Governed *governed, Oid relid)
{
	return list_member_oid(governed->ancestors, relid);
}

/*
 * Relation cache callback: marks what is known of the relation, and of those
 * that it is a part of (of all, for InvalidOid), as stale.  Frees nothing, since
 * an active call may hold it.
 */
static void
invalidate_governed(Datum arg, Oid relid)
{
	GovernedEntry *entry;
	HASH_SEQ_STATUS scan;

	invalidations++;
	hash_seq_init(&scan, governed_cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		Governed   *governed = entry->governed;

		if (!OidIsValid(relid) || relid == governed->relid || rests_on(governed, relid))
			governed->valid = false;
		else if (governed->judged &&
				 bsearch(&relid, governed->watched, governed->nwatched, sizeof(Oid),
						 compare_oids) != NULL)
			governed->judged = false;
	}
}

/*
 * System cache callback on enum labels: a lifecycle may have lost a state.
 */
static void
invalidate_enums(Datum arg, int cache, uint32 hash)
{
	GovernedEntry *entry;
	HASH_SEQ_STATUS scan;

	invalidations++;
	hash_seq_init(&scan, governed_cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->governed->state.is_enum)
			entry->governed->judged = false;
	}
}

/*
 * Begins to judge a table, having forgotten the last time; what is found is to
 * be allocated in its judgement context.  Returns what end_judgement wants.
 */
uint64
begin_judgement(Governed *governed)
{
	governed->judged = false;
	governed->problems = NIL;
	governed->ledger_keys = NIL;
	governed->watched = NULL;
	governed->nwatched = 0;
	MemoryContextReset(governed->judgement);
	return invalidations;
}

/*
 * Notes that a table has been judged, and the relations (OIDs, in its
 * judgement context) that this rests on beside itself.  What came in while we
 * looked may have been about one of them: then it is judged anew next time.
 */
void
end_judgement(Governed *governed, uint64 begun, Oid *watched, int nwatched)
{
	qsort(watched, nwatched, sizeof(Oid), compare_oids);
	governed->watched = watched;
	governed->nwatched = nwatched;
	governed->judged = begun == invalidations;
}

static int
compare_last_used(const void *a, const void *b)
{
	uint64		one = (*(Governed *const *) a)->last_used;
	uint64		other = (*(Governed *const *) b)->last_used;

	return one < other ? -1 : one > other;
}

/*
 * Frees those that are too many, the ones not used for longest.
 */
static void
shrink_cache(void)
{
	int			count = 0;
	Governed  **all;
	GovernedEntry *entry;
	HASH_SEQ_STATUS scan;

	if (hash_get_num_entries(governed_cache) <= MAX_GOVERNED)
		return;
	all = palloc(hash_get_num_entries(governed_cache) * sizeof(Governed *));
	hash_seq_init(&scan, governed_cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
		all[count++] = entry->governed;
	qsort(all, count, sizeof(Governed *), compare_last_used);
	for (int i = 0; i < count - MAX_GOVERNED; i++)
	{
		hash_search(governed_cache, &all[i]->guard, HASH_REMOVE, NULL);
		MemoryContextDelete(all[i]->context);
	}
	pfree(all);
}

/*
 * Transaction callback: frees what nobody can be working with any more.
 */
static void
free_unused(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	while (!dlist_is_empty(&replaced))
		MemoryContextDelete(dlist_container(Governed, node, dlist_pop_head_node(&replaced))->context);
	shrink_cache();
}

/*
 * Sets up the cache; called once, when the module is loaded.
 */
void
governed_init(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(GovernedEntry);
	governed_cache = hash_create("petition_cas governed tables", 64, &control,
								 HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(invalidate_governed, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, invalidate_enums, (Datum) 0);
	RegisterXactCallback(free_unused, NULL);
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
	/* statements on evidence call a function of ours */
	if (governed->evidence.ncolumns > 0 &&
		!namespace_has_name(get_func_namespace(governed->function), governed->functions_schema))
		return false;
	if (governed->root == governed->relid)
		return true;
	return namespace_has_name(get_rel_namespace(governed->root), governed->ledger_schema);
}

/*
 * Returns the table that a relation is a partition of, or InvalidOid.  The
 * server's own functions leave out a partition whose DETACH CONCURRENTLY is
 * pending; it is one still, with all its triggers.
 */
static Oid
partition_parent(Oid relid)
{
	Relation	inherits;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			parent = InvalidOid;

	if (!get_rel_relispartition(relid))
		return InvalidOid;
	inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return parent;
}

/*
 * Returns the OIDs of the tables that a relation is a partition of, the topmost
 * one last, in the current memory context.
 */
List *
partition_ancestors(Oid relid)
{
	List	   *ancestors = NIL;

	while (OidIsValid(relid = partition_parent(relid)))
		ancestors = lappend_oid(ancestors, relid);
	return ancestors;
}

/*
 * Returns the topmost table that a relation is a partition of, or itself.
 */
Oid
topmost_table(Oid relid)
{
	List	   *ancestors = partition_ancestors(relid);

	return ancestors == NIL ? relid : llast_oid(ancestors);
}

/*
 * Reads a Governed from a guard trigger's arguments, in a memory context of
 * its own below the current one; the caller moves that to where it shall live.
 */
static Governed *
read_governed(Relation relation, const GuardTrigger *guard)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "petition_cas governed table",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Governed   *governed = palloc0(sizeof(Governed));
	Datum		graph;

	governed->context = context;
	governed->judgement = AllocSetContextCreate(context, "petition_cas judgement",
												ALLOCSET_SMALL_SIZES);
	governed->relid = RelationGetRelid(relation);
	governed->guard = guard->oid;
	governed->function = guard->function;
	governed->functions_schema = get_namespace_name(get_func_namespace(guard->function));
	governed->ancestors = partition_ancestors(governed->relid);
	governed->root = governed->ancestors == NIL ? governed->relid : llast_oid(governed->ancestors);
	governed->is_partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	governed->relation = pstrdup(RelationGetRelationName(relation));
	governed->relation_schema = get_namespace_name(RelationGetNamespace(relation));
	governed->ledger_schema = get_namespace_name(get_rel_namespace(governed->root));
	governed->ledger = pstrdup(guard->ledger);
	governed->readable = read_key(&governed->key, relation, guard->key_columns);
	governed->ledger_key = governed->key;
	for (int i = 0; i < governed->key.ncolumns; i++)
	{
		governed->ledger_key.columns[i].name = record_key_name(governed->key.columns[i].name);
		governed->ledger_key.columns[i].is_domain = false;
	}
	governed->readable &= read_state_column(&governed->state, relation, guard->state_column);

	governed->graph = pstrdup(guard->graph);
	governed->options_text = pstrdup(guard->options);
	if (!read_options(guard->options, &governed->options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("trigger \"%s\" of relation \"%s\" has options that govern() does not write",
						guard->name, RelationGetRelationName(relation)),
				 errhint("Guard triggers are created by govern().")));
	governed->readable &= read_evidence(&governed->evidence, relation, governed->options.evidence);
	graph = DirectFunctionCall1(jsonb_in, CStringGetDatum(governed->graph));
	governed->lifecycle = lifecycle_parse(DatumGetJsonbP(graph));

	MemoryContextSwitchTo(caller);
	return governed;
}

/*
 * Reads a Governed and puts it into the cache.
 */
static Governed *
add_governed(Relation relation, const GuardTrigger *guard)
{
	uint64		before = invalidations;
	Governed   *governed = read_governed(relation, guard);
	GovernedEntry *entry;

	entry = hash_search(governed_cache, &governed->guard, HASH_ENTER, NULL);
	entry->governed = governed;
	MemoryContextSetParent(governed->context, CacheMemoryContext);

	/* what came in while we read may have been about this relation */
	governed->valid = before == invalidations;
	return governed;
}

/*
 * Returns the cached Governed of a relation, by its guard trigger, if it may still be
 * used; takes it out of the cache if not.
 */
static Governed *
cached_governed(Relation relation, Oid guard)
{
	GovernedEntry *entry = hash_search(governed_cache, &guard, HASH_FIND, NULL);

	if (entry == NULL)
		return NULL;
	if (entry->governed->valid && entry->governed->relid == RelationGetRelid(relation) &&
		names_are_current(entry->governed, relation))
		return entry->governed;
	dlist_push_tail(&replaced, &entry->governed->node);
	hash_search(governed_cache, &guard, HASH_REMOVE, NULL);
	return NULL;
}

/*
 * Returns what governs a relation by that guard trigger, or NULL.
 */
static Governed *
governed_by(Relation relation, Oid trigger)
{
	Governed   *governed = cached_governed(relation, trigger);
	GuardTrigger *guard;

	if (governed == NULL)
	{
		guard = read_guard(relation, trigger);
		if (guard == NULL)
			return NULL;
		governed = add_governed(relation, guard);
	}
	governed->last_used = ++governed_clock;
	return governed;
}

/*
 * Raises 22023 for a guard that has not the arguments of one.
 */
static void
check_guard_arguments(Relation relation)
{
	const Trigger *trigger = find_trigger(relation, GUARD_TRIGGER);

	if (trigger != NULL && !is_guard_nargs(trigger->tgnargs))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("trigger \"%s\" of relation \"%s\" has %d arguments instead of 4 or 5",
						GUARD_TRIGGER, RelationGetRelationName(relation),
						trigger->tgnargs),
				 errhint("Guard triggers are created by govern().")));
}

/*
 * Raises 55000 for a relation that nothing governs.  Only for one that could be governed is
 * that advised.
 */
void
report_not_governed(Relation relation)
{
	char		relkind = relation->rd_rel->relkind;
	bool		may_be;

	may_be = (relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE) &&
		relation->rd_rel->relpersistence != RELPERSISTENCE_TEMP &&
		!relation->rd_rel->relispartition && !IsCatalogRelation(relation) && !is_ledger(relation);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("relation \"%s\" is not governed", RelationGetRelationName(relation)),
			 may_be ? errhint("Call govern(%s, lifecycle) first.",
							  quote_literal_cstr(qualified_name(relation))) : 0,
			 errtable(relation)));
}

/*
 * Returns what governs a relation by a guard trigger that is firing; see get_governed.
 */
Governed *
get_governed_by(Relation relation, Oid trigger)
{
	Governed   *governed = governed_by(relation, trigger);

	if (governed == NULL)
	{
		check_guard_arguments(relation);
		report_not_governed(relation);
	}
	return governed;
}

/*
 * Returns what governs a state column of a relation, which is open and locked, until
 * the transaction ends; or, without a state column, its only lifecycle.  Raises 55000
 * if nothing does, and 22023 if there are several, or none of that column.
 */
Governed *
get_governed(Relation relation, const char *state_column)
{
	Oid			guard = only_guard(relation);
	Governed   *governed = OidIsValid(guard) ? governed_by(relation, guard) : NULL;
	GuardTrigger *chosen;

	/* the way of most tables, without reading what is known */
	if (governed != NULL &&
		(state_column == NULL || strcmp(governed->state.name, state_column) == 0))
		return governed;
	chosen = choose_guard(read_guards(relation), state_column, relation);
	if (chosen == NULL)
	{
		if (has_guard(relation))
			check_guard_arguments(relation);
		report_not_governed(relation);
	}
	return get_governed_by(relation, chosen->oid);
}

/* ----------------------------------------------------------------------
 * Table and ledger
 * ----------------------------------------------------------------------
 */

/*
 * Returns the owner of a relation, which exists.
 */
Oid
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
 * Returns the owner of a ledger or history, under whose name it is written.  Raises
 * 42501 unless that is the governed table's owner: anybody may create a trigger on
 * a table of his own that names somebody else's ledger.  The names are for the
 * error.
 */
Oid
ledger_owner(const RecordKind *kind, Oid record, const char *record_name, Oid relid,
			 const char *relation_name)
{
	Oid			owner = relation_owner(record);

	if (owner != relation_owner(relid))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s \"%s\" belongs to another role than governed relation \"%s\"",
						kind->name, record_name, relation_name),
				 errhint("Give the table and its %s the same owner.", kind->name)));
	return owner;
}

/*
 * Returns a table of records of a governed table: by name, in the schema of the table
 * or of its topmost partitioned table.  If it is not there, returns InvalidOid
 * or raises 42P01.
 */
static Oid
governed_record(const Governed *governed, const RecordKind *kind, const char *name,
				bool missing_ok)
{
	Oid			record = get_relname_relid(name, get_rel_namespace(governed->root));

	if (!OidIsValid(record) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("%s \"%s.%s\" of governed relation \"%s\" does not exist",
						kind->name, governed->ledger_schema, name, governed->relation),
				 errhint("A %s stays beside its table, under the name that govern gave it. If it was renamed or moved, undo that; if it was dropped, call ungovern and govern again.",
						 kind->name)));
	return record;
}

/*
 * Returns the ledger of a governed table, see governed_record.
 */
Oid
governed_ledger(const Governed *governed, bool missing_ok)
{
	return governed_record(governed, &ledger_kind, governed->ledger, missing_ok);
}

/*
 * Returns the history of a governed table, see governed_record; InvalidOid if it is to
 * have none.
 */
Oid
governed_history(const Governed *governed, bool missing_ok)
{
	return governed->options.history == NULL ? InvalidOid :
		governed_record(governed, &history_kind, governed->options.history, missing_ok);
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

/* ----------------------------------------------------------------------
 * Statements
 * ----------------------------------------------------------------------
 */

/* How many statements of a table are known at most; others are written each time */
#define MAX_STATEMENTS 64

/* A statement as it is prepared for a table */
typedef struct KnownStatement
{
	const StatementForm *form;
	Variant		variant;
	Statement	statement;
} KnownStatement;

static const Variant plain_variant = {0};

/*
 * Returns the governed relation as a statement names it.  ONLY, because an
 * ordinary table's inheritance children, if it gets any, are not governed.
 */
const char *
table_sql(const Governed *governed)
{
	const char *name = quote_qualified_identifier(governed->relation_schema, governed->relation);

	return governed->is_partitioned ? name : psprintf("ONLY %s", name);
}

/*
 * Returns the ledger as a statement names it.
 */
const char *
ledger_sql(const Governed *governed)
{
	return quote_qualified_identifier(governed->ledger_schema, governed->ledger);
}

/*
 * Returns the history, which it has, as a statement names it.
 */
const char *
history_sql(const Governed *governed)
{
	return quote_qualified_identifier(governed->ledger_schema, governed->options.history);
}

/*
 * Returns a name for the relation in a statement that is not one of its
 * columns: "RETURNING name" has to mean the whole row.
 */
static const char *
row_alias(const Governed *governed)
{
	const char *alias = "governed_row";

	for (int i = 1; get_attnum(governed->relid, alias) != InvalidAttrNumber; i++)
		alias = psprintf("governed_row_%d", i);
	return alias;
}

/*
 * Appends what stands in braces in the text of a statement.
 */
static void
append_name(StringInfo query, const Governed *governed, const StatementForm *form,
			const Variant *variant, const char *name)
{
	const Key  *key = form->flags & (ON_LEDGER | ON_HISTORY) ? &governed->ledger_key : &governed->key;
	const RecordKind *kind = form->flags & ON_HISTORY ? &history_kind : &ledger_kind;

	if (strcmp(name, "table") == 0)
		appendStringInfoString(query, table_sql(governed));
	else if (strcmp(name, "row") == 0)
		appendStringInfoString(query, row_alias(governed));
	else if (strcmp(name, "ledger") == 0)
		appendStringInfoString(query, ledger_sql(governed));
	else if (strcmp(name, "history") == 0)
		appendStringInfoString(query, history_sql(governed));
	else if (strcmp(name, "columns") == 0)
	{
		for (int i = 0; i < kind->ncolumns; i++)
			appendStringInfo(query, "%s%s", i > 0 ? ", " : "", kind->columns[i].name);
	}
	else if (strcmp(name, "values") == 0)
	{
		for (int i = 0; i < kind->ncolumns; i++)
			appendStringInfo(query, "%s$%d", i > 0 ? ", " : "", key->ncolumns + i + 1);
	}
	else if (strcmp(name, "values of rows") == 0)
	{
		for (int i = 0; i < LEDGER_COLUMNS; i++)
			appendStringInfo(query, i == LEDGER_EVIDENCE_HASH ? "%spg_catalog.unnest($%d)" : "%s$%d",
							 i > 0 ? ", " : "", key->ncolumns + i + 1);
	}
	else if (strcmp(name, "key names") == 0)
		append_key_names(query, key, NULL);
	else if (strcmp(name, "key") == 0)
		append_key(query, key, NULL);
	else if (strcmp(name, "row.key") == 0)
		append_key(query, key, row_alias(governed));
	else if (strcmp(name, "key = $") == 0)
		append_key_equality(query, key, NULL, NULL, NULL);
	else if (strcmp(name, "key = locked") == 0)
		append_key_equality(query, key, row_alias(governed), key, "locked");
	else if (strcmp(name, "key = any $") == 0)
		append_key_in(query, key, row_alias(governed));
	else if (strcmp(name, "keys") == 0)
	{
		for (int i = 1; i <= key->ncolumns; i++)
			appendStringInfo(query, "%s$%d", i > 1 ? ", " : "", i);
	}
	else if (strcmp(name, "unnested keys") == 0)
	{
		for (int i = 1; i <= key->ncolumns; i++)
			appendStringInfo(query, "%spg_catalog.unnest($%d)", i > 1 ? ", " : "", i);
	}
	else if (strcmp(name, "set") == 0)
		appendStringInfoString(query, variant->set != NULL ? variant->set : "");
	else if (strcmp(name, "and seen") == 0)
	{
		if (!variant->seen)
			return;
		appendStringInfoString(query, " AND ");
		append_evidence_hash(query, &governed->evidence, governed->functions_schema,
							 row_alias(governed));
		appendStringInfo(query, " OPERATOR(pg_catalog.=) $%d",
						 key->ncolumns + (int) strlen(form->parameters) + (variant->set != NULL));
	}
	else if (strcmp(name, ", evidence") == 0)
	{
		if (!variant->evidence)
			return;
		appendStringInfoString(query, ", ");
		append_evidence(query, &governed->evidence, row_alias(governed));
	}
	else if (strcmp(name, "state") == 0)
		appendStringInfoString(query, quote_identifier(governed->state.name));
	else if (strcmp(name, "state = $2") == 0)
		append_state_equality(query, &governed->state, key->ncolumns + 1);
	else
		elog(ERROR, "statement has unknown name \"%s\"", name);
}

/*
 * Writes the text of a statement for a table, in the current memory context.
 */
static const char *
write_statement(const Governed *governed, const StatementForm *form, const Variant *variant)
{
	StringInfoData query;

	initStringInfo(&query);
	for (const char *next = form->text; *next != '\0';)
	{
		Size		length = strcspn(next, "{$");

		appendBinaryStringInfo(&query, next, length);
		next += length;
		if (*next == '{')
		{
			length = strcspn(next, "}");
			append_name(&query, governed, form, variant, pnstrdup(next + 1, length - 1));
			next += length + 1;
		}
		else if (*next == '$')
		{
			/* what comes after the key is shifted by its columns */
			appendStringInfo(&query, "$%ld",
							 strtol(next + 1, unconstify(char **, &next), 10) +
							 governed->key.ncolumns - 1);
		}
	}
	return query.data;
}

/*
 * Returns the types of a statement's parameters, in the current memory context.
 */
static Oid *
parameter_types(const Governed *governed, const char *parameters, const Variant *variant, int *count)
{
	Oid		   *types = palloc((strlen(parameters) + MAX_KEY_COLUMNS + LEDGER_COLUMNS + 2) * sizeof(Oid));

	*count = 0;
	for (const char *parameter = parameters; *parameter != '\0'; parameter++)
	{
		switch (*parameter)
		{
			case 'k':
			case 'K':
				for (int i = 0; i < governed->key.ncolumns; i++)
				{
					Oid			type = governed->key.columns[i].type;

					types[(*count)++] = *parameter == 'k' ? type : get_array_type(type);
				}
				break;
			case 'L':
			case 'M':
				for (int i = 0; i < LEDGER_COLUMNS; i++)
					types[(*count)++] = *parameter == 'M' && i == LEDGER_EVIDENCE_HASH ?
						TEXTARRAYOID : ledger_columns[i].type;
				break;
			case 'H':
				for (int i = 0; i < HISTORY_COLUMNS; i++)
					types[(*count)++] = history_columns[i].type;
				break;
			case 's':
				types[(*count)++] = state_parameter(&governed->state);
				break;
			default:
				elog(ERROR, "statement has unknown parameter \"%c\"", *parameter);
		}
	}
	if (variant->set != NULL)
		types[(*count)++] = variant->set_type;
	if (variant->seen)
		types[(*count)++] = TEXTOID;
	return types;
}

/*
 * Completes a statement as it is prepared for a table, in the current memory context.
 */
static void
prepare_statement(Statement *statement, const Governed *governed, const StatementForm *form,
				  const Variant *variant)
{
	memset(statement, 0, sizeof(Statement));
	statement->sql = write_statement(governed, form, variant);
	statement->types = parameter_types(governed, form->parameters, variant, &statement->nparameters);
	statement_hash(statement);
}

/*
 * Returns whether two variants write the same statement.
 */
static bool
is_same_variant(const Variant *a, const Variant *b)
{
	return a->seen == b->seen && a->evidence == b->evidence &&
		(a->set == b->set ||
		 (a->set != NULL && b->set != NULL && a->set_type == b->set_type && strcmp(a->set, b->set) == 0));
}

/*
 * Returns a statement as it is prepared for a table: written at its first use,
 * and right as long as the Governed is.  Where too many are known already, it is written
 * anew, in the current memory context: the columns that are set may be others each time.
 */
static Statement *
known_statement(Governed *governed, const StatementForm *form, const Variant *variant)
{
	MemoryContext caller;
	KnownStatement *known;
	ListCell   *cell;

	foreach(cell, governed->statements)
	{
		known = lfirst(cell);
		if (known->form == form && is_same_variant(&known->variant, variant))
			return &known->statement;
	}
	if (list_length(governed->statements) >= MAX_STATEMENTS && variant->set != NULL)
	{
		Statement  *statement = palloc(sizeof(Statement));

		prepare_statement(statement, governed, form, variant);
		return statement;
	}
	caller = MemoryContextSwitchTo(governed->context);
	known = palloc0(sizeof(KnownStatement));
	known->form = form;
	known->variant = *variant;
	if (variant->set != NULL)
		known->variant.set = pstrdup(variant->set);
	prepare_statement(&known->statement, governed, form, variant);
	governed->statements = lappend(governed->statements, known);
	MemoryContextSwitchTo(caller);
	return &known->statement;
}

/*
 * Executes a statement of that form; see governed_execute.
 */
static uint64
execute_form(Governed *governed, Statement *statement, const StatementForm *form, Oid ledger,
			 Datum *values, const char *nulls, Snapshot snapshot)
{
	Oid			user;
	int			security;
	uint64		count;

	statement->relid = form->flags & (ON_LEDGER | ON_HISTORY) ? ledger : governed->relid;
	GetUserIdAndSecContext(&user, &security);
	if (form->flags & (AS_TABLE_OWNER | AS_LEDGER_OWNER))
		SetUserIdAndSecContext(form->flags & AS_TABLE_OWNER ? relation_owner(governed->relid) :
							   form->flags & ON_HISTORY ?
							   ledger_owner(&history_kind, ledger, governed->options.history,
											governed->root, governed->relation) :
							   ledger_owner(&ledger_kind, ledger, governed->ledger, governed->root,
											governed->relation),
							   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	count = execute_kept(statement, values, nulls, snapshot,
						 (form->flags & FIRES_TRIGGERS) != 0);
	SetUserIdAndSecContext(user, security);
	return count;
}

/*
 * Executes a statement on a governed table, or on its ledger or history, which that
 * is; see execute_kept.
 *
 * What runs as an owner runs as referential integrity does it: the caller needs
 * no rights, and row security hides nothing.  The owner needs the rights that
 * owners have by default.  Triggers that the user put on the ledger fire at the
 * end of the outer statement, up to PostgreSQL 17 not as the owner.  What of the
 * user's code runs within, in defaults, checks and BEFORE triggers, has the
 * caller's search_path, as it has when a row is inserted by hand.  After an error
 * the identity is put back with the (sub)transaction.
 */
uint64
governed_execute(Governed *governed, const StatementForm *form, Oid ledger, Datum *values,
				 const char *nulls, Snapshot snapshot)
{
	return execute_form(governed, known_statement(governed, form, &plain_variant), form, ledger,
						values, nulls, snapshot);
}

/*
 * Executes a variant of a statement on a governed table.
 */
uint64
governed_execute_variant(Governed *governed, const StatementForm *form, const Variant *variant,
						 Datum *values, Snapshot snapshot)
{
	return execute_form(governed, known_statement(governed, form, variant), form, InvalidOid,
						values, NULL, snapshot);
}
