/*-------------------------------------------------------------------------
 *
 * govern.c
 *	  Govern a table, take that back, extend its lifecycle, compare it with
 *	  its ledger, and answer questions about it.
 *
 * Whatever touches a table here first checks that the caller owns it, and then
 * runs as the owner in a security-restricted operation with a search_path
 * that the caller has no part in, as the server's own maintenance commands
 * do: a superuser who governs or verifies somebody's table does not run that
 * somebody's code with his own rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "govern.h"
#include "governed.h"
#include "guard.h"
#include "session.h"
#include "soundness.h"
#include "statement.h"

/* How many rows are named where many are wrong */
#define NAMED_ROWS 5

PG_FUNCTION_INFO_V1(govern);
PG_FUNCTION_INFO_V1(ungovern);
PG_FUNCTION_INFO_V1(extend_lifecycle);
PG_FUNCTION_INFO_V1(create_petitions);
PG_FUNCTION_INFO_V1(verify_fates);
PG_FUNCTION_INFO_V1(backfill_fates);
PG_FUNCTION_INFO_V1(lifecycle);
PG_FUNCTION_INFO_V1(allowed_transitions);
PG_FUNCTION_INFO_V1(is_fate);
PG_FUNCTION_INFO_V1(lifecycle_diagram);

/* ----------------------------------------------------------------------
 * Relations and identities
 * ----------------------------------------------------------------------
 */

/*
 * Opens a relation; raises 42P01 if it does not exist (any more).
 */
static Relation
open_relation(Oid relid, LOCKMODE lockmode)
{
	Relation	relation = try_relation_open(relid, lockmode);

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return relation;
}

/*
 * Raises 42501 unless the caller owns the relation.
 */
static void
check_owner(Oid relid)
{
	if (get_rel_name(relid) != NULL &&
		!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

/*
 * Opens a relation that the caller must own; looked at before it is locked
 * too, so that nobody can lock what is not his.
 */
static Relation
open_owned_relation(Oid relid, LOCKMODE lockmode)
{
	Relation	relation;

	check_owner(relid);
	relation = open_relation(relid, lockmode);
	check_owner(relid);
	return relation;
}

/* Who we were before we became a table's owner */
typedef struct Identity
{
	Oid			user;
	int			security;
	int			guc_level;
} Identity;

/*
 * Becomes the owner of a relation; see the head of this file.  An error puts
 * everything back with the (sub)transaction.
 */
static Identity
become_owner(Relation relation)
{
	Identity	before;

	GetUserIdAndSecContext(&before.user, &before.security);
	SetUserIdAndSecContext(relation->rd_rel->relowner,
						   before.security | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	before.guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return before;
}

static void
become_caller_again(Identity before)
{
	AtEOXact_GUC(false, before.guc_level);
	SetUserIdAndSecContext(before.user, before.security);
}

/*
 * Executes a command that returns no rows, which the DDL guard lets pass as
 * our own; connected to SPI.
 */
static void
execute_command(const char *command)
{
	volatile int result = 0;

	petition_cas_own_ddl = true;
	PG_TRY();
	{
		result = SPI_execute(command, false, 0);
	}
	PG_FINALLY();
	{
		petition_cas_own_ddl = false;
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "SPI_execute failed for \"%s\": %s", command, SPI_result_code_string(result));
}

/*
 * Executes a statement under the latest snapshot, whatever the isolation level;
 * connected to SPI.  Returns the number of rows, which are in SPI_tuptable if it
 * returns any.
 */
static uint64
execute_latest(const char *sql, int nargs, Oid *types, Datum *values)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);
	Snapshot	latest;
	int			result;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	latest = RegisterSnapshot(GetLatestSnapshot());
	result = SPI_execute_snapshot(plan, values, NULL, latest, InvalidSnapshot, false, true, 0);
	UnregisterSnapshot(latest);
	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

/* ----------------------------------------------------------------------
 * States as values of a state column
 * ----------------------------------------------------------------------
 */

/*
 * Makes an array of state names, as texts.
 */
static Datum
name_array(const char **names, int count)
{
	Datum	   *values = palloc(Max(1, count) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		values[i] = CStringGetTextDatum(names[i]);
	return PointerGetDatum(construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Collects the names of the lifecycle's fates, or of its other states; not
 * those that an enum has no label for (any more), in which no row can be.
 */
static const char **
collect_states(const Governed *governed, bool fates, int *count)
{
	const Lifecycle *lifecycle = governed->lifecycle;
	const char **names = palloc(lifecycle->nstates * sizeof(char *));

	*count = 0;
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		if (lifecycle_is_fate(lifecycle, i) == fates &&
			(!governed->state_is_enum ||
			 SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(governed->state_type),
								   CStringGetDatum(lifecycle->states[i].name))))
			names[(*count)++] = lifecycle->states[i].name;
	}
	return names;
}

/*
 * Makes an array of states of the type of the state column, or of text where
 * that is varchar.  *type is the type of the array.
 */
static Datum
state_array(const Governed *governed, const char **names, int count, Oid *type)
{
	Datum	   *values;

	if (!governed->state_is_enum)
	{
		*type = TEXTARRAYOID;
		return name_array(names, count);
	}
	*type = get_array_type(governed->state_type);
	values = palloc(Max(1, count) * sizeof(Datum));
	for (int i = 0; i < count; i++)
		values[i] = state_datum(governed, names[i]);
	return PointerGetDatum(construct_array(values, count, governed->state_type,
										   sizeof(Oid), true, TYPALIGN_INT));
}

/* ----------------------------------------------------------------------
 * Comparing rows and ledger
 * ----------------------------------------------------------------------
 */

/* A row, or a row of the ledger, that is not as it should be */
typedef struct Disagreement
{
	const char *key;
	bool		has_row;
	const char *state;			/* NULL: null, or no row */
	bool		has_ledger;
	const char *fate;			/* by the ledger */
} Disagreement;

/*
 * Returns what stands for the rows of a governed relation in a FROM clause.  A
 * partition that belongs to another role than the topmost table is read through
 * that: its own row security, and the owner's missing rights on it, are not to
 * hide a row.
 */
static const char *
rows_sql(const Governed *governed)
{
	StringInfoData sql;
	ListCell   *cell;
	const char *separator = "";

	if (governed->root == governed->relid ||
		relation_owner(governed->root) == relation_owner(governed->relid))
		return get_relation_sql(governed);

	initStringInfo(&sql);
	appendStringInfo(&sql, "(SELECT * FROM %s WHERE tableoid OPERATOR(pg_catalog.=) ANY ('{",
					 quote_qualified_identifier(governed->ledger_schema,
												get_rel_name(governed->root)));
	foreach(cell, find_all_inheritors(governed->relid, AccessShareLock, NULL))
	{
		appendStringInfo(&sql, "%s%u", separator, lfirst_oid(cell));
		separator = ",";
	}
	appendStringInfoString(&sql, "}'::pg_catalog.oid[]))");
	return sql.data;
}

/*
 * Writes the query that finds every row that is not as it should be:
 *
 *	SELECT t.key, t.state, l.key, l.fate
 *	  FROM table t FULL JOIN ledger l ON t.key = l.key
 *	 WHERE (l.key IS NULL AND t.state = ANY ($1)
 *			OR l.fate = $3[array_position($2, t.state)]) IS NOT TRUE
 *
 * $1 are the states that are no fates, $2 the fates, both of the type of the
 * state column, and $3 the fates as text, in the same order: a cast from the
 * enum to text could be code of the table's owner.
 */
static char *
disagreement_query(const Governed *governed)
{
	const char *key = quote_identifier(governed->key_column);
	const char *state = quote_identifier(governed->state_column);
	const char *collate = state_collation(governed);
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfo(&query, "SELECT t.%s, t.%s, l.%s, l.fate FROM %s t FULL JOIN ",
					 key, state, key, rows_sql(governed));
	append_qualified(&query, governed->ledger_schema, governed->ledger);
	appendStringInfoString(&query, " l ON ");
	append_key(&query, governed, "t");
	append_operator(&query, governed->key_equality);
	append_key(&query, governed, "l");
	appendStringInfo(&query,
					 " WHERE (l.%s IS NULL AND t.%s%s OPERATOR(pg_catalog.=) ANY ($1)"
					 " OR l.fate OPERATOR(pg_catalog.=)"
					 " $3[pg_catalog.array_position($2, t.%s%s)]) IS NOT TRUE",
					 key, state, collate, state, collate);
	return query.data;
}

/*
 * Reads a row of disagreement_query.
 */
static Disagreement
read_disagreement(const Governed *governed, HeapTuple tuple, TupleDesc desc)
{
	Disagreement disagreement = {0};
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, 1, &isnull);

	disagreement.has_row = !isnull;
	if (disagreement.has_row)
		disagreement.key = key_text(governed, value);
	value = SPI_getbinval(tuple, desc, 2, &isnull);
	if (!isnull)
		disagreement.state = state_text(governed, value);

	value = SPI_getbinval(tuple, desc, 3, &isnull);
	disagreement.has_ledger = !isnull;
	if (disagreement.has_ledger)
		disagreement.key = key_text(governed, value);
	value = SPI_getbinval(tuple, desc, 4, &isnull);
	if (!isnull)
		disagreement.fate = TextDatumGetCString(value);
	return disagreement;
}

/*
 * Called for each disagreement; returns false to end the search.
 */
typedef bool (*DisagreementHandler) (const Governed *governed,
									 const Disagreement *disagreement, void *state);

/*
 * Hands every disagreement between rows and ledger to the handler.  Connected
 * to SPI, as the owner.  One statement under the latest snapshot, whatever the
 * isolation level, reads both sides, so that an assignment that is going on is
 * seen wholly or not at all.
 */
static void
find_disagreements(const Governed *governed, DisagreementHandler handler, void *state)
{
	Oid			types[3];
	Datum		values[3];
	const char **fates;
	const char **others;
	int			nfates;
	int			nothers;
	Portal		portal;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext batch = AllocSetContextCreate(caller, "petition_cas disagreements",
												ALLOCSET_DEFAULT_SIZES);
	bool		go_on = true;

	fates = collect_states(governed, true, &nfates);
	others = collect_states(governed, false, &nothers);
	values[0] = state_array(governed, others, nothers, &types[0]);
	values[1] = state_array(governed, fates, nfates, &types[1]);
	values[2] = name_array(fates, nfates);
	types[2] = TEXTARRAYOID;

	PushActiveSnapshot(GetLatestSnapshot());
	portal = SPI_cursor_open_with_args(NULL, disagreement_query(governed), 3, types, values,
									   NULL, true, 0);
	PopActiveSnapshot();
	while (go_on)
	{
		SPI_cursor_fetch(portal, true, 1000);
		if (SPI_processed == 0)
			break;
		MemoryContextSwitchTo(batch);
		for (uint64 i = 0; i < SPI_processed && go_on; i++)
		{
			Disagreement disagreement = read_disagreement(governed, SPI_tuptable->vals[i],
														  SPI_tuptable->tupdesc);

			go_on = handler(governed, &disagreement, state);
		}
		MemoryContextSwitchTo(caller);
		MemoryContextReset(batch);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	MemoryContextDelete(batch);
}

/*
 * Describes a disagreement, for people.
 */
static char *
describe_disagreement(const Governed *governed, const Disagreement *disagreement)
{
	const char *state = disagreement->state;
	const char *fate = disagreement->fate;
	int			fate_number = NO_STATE;

	if (fate != NULL)
		fate_number = lifecycle_find(governed->lifecycle, fate, strlen(fate));
	if (disagreement->has_ledger && fate == NULL)
		return pstrdup("the ledger holds a row without a fate");
	if (!disagreement->has_row)
		return psprintf("the ledger holds the fate \"%s\", but the row is gone",
						disagreement->fate);
	if (state == NULL)
		return pstrdup("the row's state is null");
	if (lifecycle_find(governed->lifecycle, state, strlen(state)) == NO_STATE)
		return psprintf("the row's state \"%s\" is not in the lifecycle", state);
	if (fate != NULL && fate_number == NO_STATE)
		return psprintf("the row's state is \"%s\", but the ledger holds the fate \"%s\", which the lifecycle does not know",
						state, fate);
	if (fate != NULL && !lifecycle_is_fate(governed->lifecycle, fate_number))
		return psprintf("the row's state is \"%s\", but the ledger holds the fate \"%s\", and the lifecycle leads on from that",
						state, fate);
	if (!disagreement->has_ledger)
		return psprintf("the row has the fate \"%s\", but the ledger has no row for it; backfill_fates adds it",
						state);
	if (lifecycle_is_fate(governed->lifecycle,
						  lifecycle_find(governed->lifecycle, state, strlen(state))))
		return psprintf("the row has the fate \"%s\", but the ledger holds \"%s\"",
						state, disagreement->fate);
	return psprintf("the row's state is \"%s\", but the ledger holds the fate \"%s\"",
					state, disagreement->fate);
}

/*
 * Adds a ledger row for each fated row that lacks one; connected to SPI, as
 * the owner.  Returns how many.  The rows that are there are left out before
 * ON CONFLICT sees them, which is then there for assignments that go on.
 */
static uint64
record_missing_fates(const Governed *governed)
{
	const char *key = quote_identifier(governed->key_column);
	const char *state = quote_identifier(governed->state_column);
	const char *collate = state_collation(governed);
	StringInfoData query;
	Oid			types[5] = {InvalidOid, TEXTARRAYOID, TIMESTAMPTZOID, TEXTOID, XID8OID};
	Datum		values[5];
	const char **fates;
	int			nfates;

	fates = collect_states(governed, true, &nfates);
	values[0] = state_array(governed, fates, nfates, &types[0]);
	values[1] = name_array(fates, nfates);
	values[2] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[3] = CStringGetTextDatum(assigning_actor());
	values[4] = FullTransactionIdGetDatum(GetTopFullTransactionId());

	initStringInfo(&query);
	appendStringInfoString(&query, "INSERT INTO ");
	append_qualified(&query, governed->ledger_schema, governed->ledger);
	appendStringInfo(&query,
					 " (%s, from_state, fate, assigned_at, assigned_by, transaction_id)"
					 " SELECT t.%s, NULL, $2[pg_catalog.array_position($1, t.%s%s)], $3, $4, $5"
					 " FROM %s t WHERE t.%s%s OPERATOR(pg_catalog.=) ANY ($1)"
					 " AND NOT EXISTS (SELECT FROM ",
					 key, key, state, collate, rows_sql(governed), state, collate);
	append_qualified(&query, governed->ledger_schema, governed->ledger);
	appendStringInfoString(&query, " l WHERE ");
	append_key(&query, governed, "l");
	append_operator(&query, governed->key_equality);
	append_key(&query, governed, "t");
	appendStringInfo(&query, ") ON CONFLICT (%s) DO NOTHING", key);

	return execute_latest(query.data, 5, types, values);
}

/* ----------------------------------------------------------------------
 * Can the table be governed?
 * ----------------------------------------------------------------------
 */

/*
 * Raises the first of the problems that keep a table from being governed, if
 * there is one.
 */
static void
refuse_problems(const List *problems, Relation relation)
{
	const Problem *problem;

	if (problems == NIL)
		return;
	problem = linitial(problems);
	ereport(ERROR,
			(errcode(problem->sqlerrcode),
			 errmsg("cannot govern relation \"%s\": %s",
					RelationGetRelationName(relation), problem->text),
			 problem->hint != NULL ? errhint("%s", problem->hint) : 0,
			 errtable(relation)));
}

/*
 * Raises 42710 for a relation that is governed already.
 */
static void
check_not_governed(Relation relation)
{
	if (find_trigger(relation, GUARD_TRIGGER) != NULL && !relation->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("relation \"%s\" is already governed", RelationGetRelationName(relation)),
				 errhint("Use extend_lifecycle to add states and transitions, or ungovern first.")));
}

/*
 * Raises 55006 for a relation with trigger events that wait for the end of the
 * transaction: the server lets nobody alter it then, and does not say what to
 * do.
 */
static void
check_no_events(Relation relation)
{
	if (AfterTriggerPendingOnRel(RelationGetRelid(relation)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("relation \"%s\" has pending trigger events",
						RelationGetRelationName(relation)),
				 errhint("SET CONSTRAINTS ALL IMMEDIATE lets them happen; or commit first."),
				 errtable(relation)));
}

/*
 * Keeps the definition of a type, and of the types that it is made of, as it is
 * until the transaction ends: renaming a label or changing an attribute of it
 * is refused once the table is governed, which nobody else can see before.
 */
static void
hold_type(Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element = get_element_type(base);
	Oid			composite = get_typ_typrelid(base);
	Oid			subtype = get_range_subtype(base);

	check_stack_depth();
	if (get_typtype(base) == TYPTYPE_ENUM)
		LockDatabaseObject(TypeRelationId, base, 0, RowShareLock);
	if (OidIsValid(element))
		hold_type(element);
	if (OidIsValid(subtype))
		hold_type(subtype);
	if (OidIsValid(composite))
	{
		TupleDesc	desc;

		LockRelationOid(composite, AccessShareLock);
		desc = lookup_rowtype_tupdesc(base, -1);
		for (int i = 0; i < desc->natts; i++)
		{
			if (!TupleDescAttr(desc, i)->attisdropped)
				hold_type(TupleDescAttr(desc, i)->atttypid);
		}
		ReleaseTupleDesc(desc);
	}
}

/*
 * Keeps the type of a column, if it is there, as it is.
 */
static void
hold_column_type(Relation relation, const char *column)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(relation), column);

	if (attno > InvalidAttrNumber)
		hold_type(TupleDescAttr(RelationGetDescr(relation), attno - 1)->atttypid);
}

/* ----------------------------------------------------------------------
 * The ledger
 * ----------------------------------------------------------------------
 */

/*
 * Takes from a new ledger all rights that default privileges have given to
 * others than its owner, except to read it; connected to SPI.
 */
static void
revoke_default_rights(Oid ledger, const char *name)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(ledger));
	bool		isnull;
	Datum		value;
	Acl		   *acl;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", ledger);
	value = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	acl = isnull ? NULL : DatumGetAclPCopy(value);
	ReleaseSysCache(tuple);

	for (int i = 0; acl != NULL && i < ACL_NUM(acl); i++)
	{
		const AclItem *item = &ACL_DAT(acl)[i];
		const char *grantee = "PUBLIC";

		if (item->ai_grantee == relation_owner(ledger))
			continue;
		if (item->ai_grantee != ACL_ID_PUBLIC)
			grantee = quote_identifier(GetUserNameFromId(item->ai_grantee, false));
		execute_command(psprintf("REVOKE ALL PRIVILEGES ON TABLE %s FROM %s CASCADE", name, grantee));
		if (ACLITEM_GET_PRIVS(*item) & ACL_SELECT)
			execute_command(psprintf("GRANT SELECT ON TABLE %s TO %s", name, grantee));
	}
}

/*
 * Creates a ledger beside a table; connected to SPI.  Its key is of the base
 * type of a domain: what a domain checks may be anybody's code, and the ledger
 * is written as its owner.
 */
static void
create_ledger(Relation relation, const char *key_column, const char *ledger)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(relation), key_column);
	Form_pg_attribute key = TupleDescAttr(RelationGetDescr(relation), attno - 1);
	const char *name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
												  ledger);
	int32		typmod;
	Oid			type = key_base_type(key, &typmod);
	StringInfoData command;

	initStringInfo(&command);
	appendStringInfo(&command, "CREATE TABLE %s (%s %s", name, quote_identifier(key_column),
					 format_type_extended(type, typmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(key->attcollation))
		appendStringInfo(&command, " COLLATE %s", generate_collation_name(key->attcollation));
	appendStringInfoString(&command, " PRIMARY KEY");
	for (int i = 0; i < LEDGER_COLUMNS; i++)
		appendStringInfo(&command, ", %s %s%s", ledger_columns[i].name,
						 format_type_extended(ledger_columns[i].type, -1, FORMAT_TYPE_FORCE_QUALIFY),
						 ledger_columns[i].not_null ? " NOT NULL" : "");
	appendStringInfoChar(&command, ')');
	execute_command(command.data);
	revoke_default_rights(get_relname_relid(ledger, RelationGetNamespace(relation)), name);
}

/*
 * Does the guard of another table write into the ledger of that name in the
 * relation's schema?  That of another owner does not count: it could not.
 */
static bool
is_used_by_other(Relation relation, const char *ledger, Oid guard_fate)
{
	ListCell   *cell;

	foreach(cell, tables_naming_ledger(guard_fate, RelationGetNamespace(relation), ledger))
	{
		if (lfirst_oid(cell) != RelationGetRelid(relation) &&
			relation_owner(lfirst_oid(cell)) == relation->rd_rel->relowner)
			return true;
	}
	return false;
}

/*
 * Raises 55000 for an existing relation that cannot be the ledger of a table.
 */
pg_noreturn static void
refuse_ledger(const char *ledger, Relation relation, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("relation \"%s\" cannot be the ledger of relation \"%s\": %s",
					ledger, RelationGetRelationName(relation), why),
			 errhint("%s", hint)));
}

#define TAKEN_HINT \
	"The ledger has to have this name. Rename the relation that has it now, or the table to govern."

/*
 * Is an existing relation somebody else's, or none that could be a ledger?
 * Asked before it is locked, so that nobody can lock what is not his.
 */
static bool
is_foreign(Oid existing, Relation relation)
{
	return get_rel_relkind(existing) != RELKIND_RELATION ||
		relation_owner(existing) != relation->rd_rel->relowner;
}

/*
 * Raises 55000 unless an existing relation can be taken over as the ledger of a
 * table whose name says that it is.  That its triggers are gone, as they are
 * after DROP EXTENSION CASCADE, does not matter: govern creates them.
 */
static void
check_existing_ledger(Oid existing, const char *name, Relation relation, const char *key_column,
					  Oid guard_fate)
{
	Relation	ledger;
	List	   *problems;

	if (get_rel_relkind(existing) != RELKIND_RELATION)
		refuse_ledger(name, relation,
					  psprintf("ledger \"%s\" is not an ordinary table", name), TAKEN_HINT);
	if (is_foreign(existing, relation))
		refuse_ledger(name, relation,
					  psprintf("ledger \"%s\" belongs to another role than the table", name),
					  TAKEN_HINT);
	ledger = open_relation(existing, ShareRowExclusiveLock);
	if (is_used_by_other(relation, name, guard_fate))
		refuse_ledger(name, relation, "another table uses it",
					  "Rename the table that is to be governed, or ungovern the other one.");
	problems = ledger_problems(ledger, relation, key_column);
	if (problems != NIL)
	{
		const Problem *problem = linitial(problems);

		refuse_ledger(name, relation, problem->text,
					  problem->hint != NULL ? problem->hint :
					  is_ledger(ledger) ? "Repair it; or rename it, if it is not this table's, and a new one is begun." :
					  TAKEN_HINT);
	}
	check_no_events(ledger);
	relation_close(ledger, NoLock);
}

/*
 * Is an existing relation a ledger that was created for a table of that name?
 */
static bool
is_ledger_of(Oid existing, Relation relation)
{
	const char *table = RelationGetRelationName(relation);
	const char *subject;
	Relation	ledger;

	if (is_foreign(existing, relation))
		return false;
	ledger = open_relation(existing, AccessShareLock);
	subject = is_ledger(ledger) ? ledger_subject(ledger) : NULL;
	relation_close(ledger, AccessShareLock);
	return subject != NULL && strcmp(subject, table) == 0;
}

/*
 * Returns the name of a table's ledger, <table>_fates, and whether it is there
 * already, to be taken over.  A name that is too long is shortened as the
 * server does it for constraints, with a number where another relation has
 * the shortened name; then the ledger's trigger says whose it is (*shortened),
 * and one that does not say so is another's.
 */
static char *
choose_ledger(Relation relation, const char *key_column, Oid guard_fate, bool *exists,
			  bool *shortened)
{
	const char *table = RelationGetRelationName(relation);

	*shortened = strlen(table) + strlen("_fates") >= NAMEDATALEN;
	for (int number = 0;; number++)
	{
		const char *label = number == 0 ? "fates" : psprintf("fates%d", number);
		char	   *name = makeObjectName(table, NULL, label);
		Oid			existing = get_relname_relid(name, RelationGetNamespace(relation));

		CHECK_FOR_INTERRUPTS();
		*exists = OidIsValid(existing);
		if (!*exists)
			return name;
		if (*shortened &&
			(!is_ledger_of(existing, relation) || is_used_by_other(relation, name, guard_fate)))
			continue;
		check_existing_ledger(existing, name, relation, key_column, guard_fate);
		return name;
	}
}

/* ----------------------------------------------------------------------
 * The triggers
 * ----------------------------------------------------------------------
 */

/*
 * Creates or replaces one of our triggers and lets it fire always; connected
 * to SPI.  events is what stands between the trigger's name and ON, level what
 * stands before EXECUTE, call the function with its arguments.
 */
static void
create_trigger(const char *table, const char *name, const char *events, const char *level,
			   const char *schema, const char *call)
{
	execute_command(psprintf("CREATE OR REPLACE TRIGGER %s %s ON %s FOR EACH %s EXECUTE FUNCTION %s.%s",
							 name, events, table, level, quote_identifier(schema), call));
	execute_command(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, name));
}

/*
 * Creates or replaces the guard of a table.
 */
static void
create_guard(const char *table, const char *schema, const GuardTrigger *guard)
{
	create_trigger(table, GUARD_TRIGGER, "AFTER INSERT OR UPDATE OR DELETE", "ROW", schema,
				   psprintf("guard_fate(%s, %s, %s, %s)",
							quote_literal_cstr(guard->key_column),
							quote_literal_cstr(guard->state_column),
							quote_literal_cstr(guard->ledger),
							quote_literal_cstr(guard->graph)));
}

/*
 * Creates or replaces the triggers of a ledger; subject is the name of the table
 * where the ledger's does not say it, else NULL.
 */
static void
create_ledger_guards(const char *ledger, const char *schema, const char *subject)
{
	create_trigger(ledger, LEDGER_TRIGGER, "BEFORE UPDATE OR DELETE", "ROW", schema,
				   subject == NULL ? "guard_ledger()" :
				   psprintf("guard_ledger(%s)", quote_literal_cstr(subject)));
	create_trigger(ledger, LEDGER_TRUNCATE_TRIGGER, "BEFORE TRUNCATE", "STATEMENT", schema,
				   "guard_ledger()");
}

/* ----------------------------------------------------------------------
 * govern and ungovern
 * ----------------------------------------------------------------------
 */

/* The rows that keep a table from being governed */
typedef struct BadRows
{
	int			count;
	bool		unknown_state;	/* else: at odds with the ledger */
	StringInfoData list;
} BadRows;

/*
 * Collects the first few rows that the lifecycle or the ledger is at odds
 * with.  Fates whose row is gone are for check_leftover to judge.
 */
static bool
collect_bad_row(const Governed *governed, const Disagreement *disagreement, void *state)
{
	BadRows    *bad = state;

	if (!disagreement->has_row)
		return true;
	if (bad->count == 0)
		bad->unknown_state = disagreement->state == NULL ||
			lifecycle_find(governed->lifecycle, disagreement->state,
						   strlen(disagreement->state)) == NO_STATE;
	appendStringInfo(&bad->list, "%sRow \"%s\": %s.", bad->count > 0 ? "\n" : "",
					 disagreement->key, describe_disagreement(governed, disagreement));
	return ++bad->count < NAMED_ROWS;
}

/*
 * Raises 22023 if rows have states that the lifecycle does not know, and
 * 55000 if they are at odds with a ledger from an earlier time; names some.
 */
static void
check_rows(const Governed *governed)
{
	BadRows		bad = {0};

	initStringInfo(&bad.list);
	find_disagreements(governed, collect_bad_row, &bad);
	if (bad.count == 0)
		return;
	if (bad.unknown_state)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows of relation \"%s\" are in states that its lifecycle does not know",
						governed->relation),
				 errdetail_internal("%s", bad.list.data),
				 errhint("The states are: %s. Correct the rows, or the lifecycle.",
						 lifecycle_state_list(governed->lifecycle))));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rows of relation \"%s\" are at odds with its ledger \"%s\"",
					governed->relation, governed->ledger),
			 errdetail_internal("%s", bad.list.data),
			 errhint("The ledger is from an earlier govern of this table. Correct the rows; or rename the ledger to begin a new one.")));
}

/*
 * Selects keys of the ledger that have, or have not, their row in the table, at
 * most limit; connected to SPI, as the owner.  Returns how many.
 */
static uint64
select_ledger_keys(const Governed *governed, bool with_row, int limit)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfo(&query, "SELECT l.%s FROM ", quote_identifier(governed->key_column));
	append_qualified(&query, governed->ledger_schema, governed->ledger);
	appendStringInfo(&query, " l WHERE %sEXISTS (SELECT FROM %s t WHERE ",
					 with_row ? "" : "NOT ", rows_sql(governed));
	append_key(&query, governed, "t");
	append_operator(&query, governed->key_equality);
	appendStringInfo(&query, "l.%s) LIMIT %d", quote_identifier(governed->key_column), limit);
	return execute_latest(query.data, 0, NULL, NULL);
}

/*
 * Raises 55000 for a ledger that holds fates of rows that the table does not
 * have: it may have been the ledger of a dropped table of that name, and the
 * rows to come would be refused fates that they never had.  Of a partitioned
 * table fates outlive the rows of dropped partitions: there one fate that has
 * its row tells that the ledger is the table's.
 */
static void
check_leftover(const Governed *governed)
{
	StringInfoData list;
	uint64		found;

	if (governed->is_partitioned && select_ledger_keys(governed, true, 1) > 0)
		return;
	found = select_ledger_keys(governed, false, NAMED_ROWS);
	if (found == 0)
		return;
	initStringInfo(&list);
	for (uint64 i = 0; i < found; i++)
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "",
						 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("ledger \"%s\" holds fates of rows that relation \"%s\" does not have",
					governed->ledger, governed->relation),
			 errdetail("Keys without a row: %s%s", list.data, found == NAMED_ROWS ? ", ..." : "."),
			 errhint("It may be the ledger of another table that had this name. Rename it to begin a new one; or, if the fates are this table's, give it back its rows.")));
}

/*
 * Records the fates that rows have already, and checks that all rows agree
 * with lifecycle and ledger.
 */
static void
take_over_rows(Governed *governed, void *argument)
{
	(void) check_sound(governed, argument);
	record_missing_fates(governed);
	check_rows(governed);
}

/*
 * As take_over_rows, with a ledger that is taken over.
 */
static void
take_over_ledger(Governed *governed, void *argument)
{
	(void) check_sound(governed, argument);
	check_leftover(governed);
	take_over_rows(governed, argument);
}

/*
 * Does for a partition, which was attached to a governed table, what govern
 * does for the rows of a table; as the topmost table's owner, which the ledger
 * belongs to.
 */
void
take_over_partition(Relation partition)
{
	Relation	root = open_relation(topmost_table(RelationGetRelid(partition)), AccessShareLock);
	Identity	caller = become_owner(root);

	SPI_connect();
	with_governed(partition, take_over_rows, partition);
	SPI_finish();
	become_caller_again(caller);
	relation_close(root, AccessShareLock);
}

/*
 * Governs a table that the caller owns; returns its ledger.  Holds a lock that
 * keeps writers out until the transaction ends.
 */
static Oid
govern_relation(FunctionCallInfo fcinfo, Oid relid, Jsonb *graph,
				char *key_column, char *state_column)
{
	char	   *schema = own_schema(fcinfo);
	Relation	relation = open_owned_relation(relid, ShareRowExclusiveLock);
	Oid			namespace = RelationGetNamespace(relation);
	Identity	caller = become_owner(relation);
	GuardTrigger wanted = {key_column, state_column};
	char	   *ledger_name;
	char	   *table_name;
	const char *subject = NULL;
	bool		exists;
	bool		shortened;

	(void) lifecycle_parse(graph);
	wanted.graph = JsonbToCString(NULL, &graph->root, VARSIZE(graph));
	check_not_governed(relation);
	hold_column_type(relation, key_column);
	hold_column_type(relation, state_column);
	refuse_problems(table_problems(relation, &wanted), relation);
	check_no_events(relation);

	wanted.ledger = choose_ledger(relation, key_column, own_function(schema, "guard_fate"),
								  &exists, &shortened);
	SPI_connect();
	if (!exists)
		create_ledger(relation, key_column, wanted.ledger);
	table_name = quote_qualified_identifier(get_namespace_name(namespace),
											RelationGetRelationName(relation));
	ledger_name = quote_qualified_identifier(get_namespace_name(namespace), wanted.ledger);
	if (shortened)
		subject = pstrdup(RelationGetRelationName(relation));
	/* ALTER TABLE refuses to work on a table that is open */
	relation_close(relation, NoLock);

	create_ledger_guards(ledger_name, schema, subject);
	create_guard(table_name, schema, &wanted);
	create_trigger(table_name, TRUNCATE_TRIGGER, "BEFORE TRUNCATE", "STATEMENT", schema,
				   "guard_truncate()");
	relation = table_open(relid, NoLock);
	with_governed(relation, exists ? take_over_ledger : take_over_rows, relation);
	table_close(relation, NoLock);
	SPI_finish();

	become_caller_again(caller);
	return get_relname_relid(wanted.ledger, namespace);
}

/*
 * govern(relation, lifecycle, key_column, state_column) returns the ledger.
 */
Datum
govern(PG_FUNCTION_ARGS)
{
	check_not_null(fcinfo, 0, "relation");
	check_not_null(fcinfo, 1, "lifecycle");
	check_not_null(fcinfo, 2, "key_column");
	check_not_null(fcinfo, 3, "state_column");
	PreventCommandIfReadOnly("govern()");

	PG_RETURN_OID(govern_relation(fcinfo, PG_GETARG_OID(0), PG_GETARG_JSONB_P(1),
								  NameStr(*PG_GETARG_NAME(2)), NameStr(*PG_GETARG_NAME(3))));
}

/*
 * Raises 42809 for a partition, whose guard is only its parent's.
 */
static void
check_no_partition(Relation relation)
{
	if (relation->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation \"%s\" is a partition", RelationGetRelationName(relation)),
				 errhint("Name the partitioned table that it belongs to.")));
}

/*
 * Raises 42809 for a partition, and 55000 for another relation that has no
 * guard.
 */
static void
check_governed_root(Relation relation)
{
	check_no_partition(relation);
	if (!has_guard(relation))
		report_not_governed(relation);
}

/*
 * Tells whoever ungoverns a table that was renamed that its ledger has not the
 * name by which govern would find it: a new one would be begun.
 */
static void
notice_other_name(Oid relid, const char *ledger)
{
	Relation	relation = table_open(relid, NoLock);
	char	   *name = makeObjectName(RelationGetRelationName(relation), NULL, "fates");
	Oid			existing = get_relname_relid(ledger, RelationGetNamespace(relation));
	bool		found;

	found = strcmp(ledger, name) == 0 || !OidIsValid(existing) || is_ledger_of(existing, relation);
	table_close(relation, NoLock);
	if (!found)
		ereport(NOTICE,
				(errmsg("ledger \"%s\" keeps its name, although relation \"%s\" has another one by now",
						ledger, get_rel_name(relid)),
				 errhint("To govern the relation again with this ledger, rename it to \"%s\" first.",
						 name)));
}

/*
 * ungovern(relation): drops the table's triggers; the ledger stays, with its
 * own.
 */
Datum
ungovern(PG_FUNCTION_ARGS)
{
	Relation	relation;
	Identity	caller;
	char	   *table;
	GuardTrigger guard;
	bool		known;

	check_not_null(fcinfo, 0, "relation");
	PreventCommandIfReadOnly("ungovern()");
	relation = open_owned_relation(PG_GETARG_OID(0), AccessExclusiveLock);
	/* somebody may have dropped the guard and left the other trigger */
	if (find_trigger(relation, TRUNCATE_TRIGGER) == NULL)
		check_governed_root(relation);
	check_no_events(relation);
	caller = become_owner(relation);
	known = read_guard(relation, &guard);
	table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
									   RelationGetRelationName(relation));
	relation_close(relation, NoLock);

	SPI_connect();
	execute_command(psprintf("DROP TRIGGER IF EXISTS %s ON %s", GUARD_TRIGGER, table));
	execute_command(psprintf("DROP TRIGGER IF EXISTS %s ON %s", TRUNCATE_TRIGGER, table));
	SPI_finish();
	if (known)
		notice_other_name(PG_GETARG_OID(0), guard.ledger);

	become_caller_again(caller);
	PG_RETURN_VOID();
}

/* What extend_lifecycle works with */
typedef struct Extension
{
	Relation	relation;
	Jsonb	   *transitions;
	char	   *schema;			/* of our functions */
	Jsonb	   *extended;		/* the result */
} Extension;

/*
 * Extends the lifecycle of a table by replacing its guard; closes the table.
 */
static void
extend_governed(Governed *governed, void *argument)
{
	Extension  *extension = argument;
	Jsonb	   *graph = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														   CStringGetDatum(governed->graph)));
	GuardTrigger wanted = {governed->key_column, governed->state_column, governed->ledger};

	check_readable(governed, extension->relation);
	hold_column_type(extension->relation, governed->state_column);
	extension->extended = lifecycle_to_jsonb(lifecycle_extend(graph, extension->transitions));
	wanted.graph = JsonbToCString(NULL, &extension->extended->root, VARSIZE(extension->extended));
	refuse_problems(table_problems(extension->relation, &wanted), extension->relation);
	check_no_events(extension->relation);

	/* ALTER TABLE refuses to work on a table that is open */
	relation_close(extension->relation, NoLock);
	SPI_connect();
	create_guard(quote_qualified_identifier(governed->relation_schema, governed->relation),
				 extension->schema, &wanted);
	SPI_finish();
}

/*
 * extend_lifecycle(relation, transitions) returns the whole lifecycle as it is
 * then.  The lock waits for running assignments and keeps others out until
 * the transaction ends.
 */
Datum
extend_lifecycle(PG_FUNCTION_ARGS)
{
	Extension	extension = {0};
	Identity	caller;

	check_not_null(fcinfo, 0, "relation");
	check_not_null(fcinfo, 1, "transitions");
	PreventCommandIfReadOnly("extend_lifecycle()");
	extension.relation = open_owned_relation(PG_GETARG_OID(0), ShareRowExclusiveLock);
	extension.transitions = PG_GETARG_JSONB_P(1);
	extension.schema = own_schema(fcinfo);
	check_governed_root(extension.relation);

	caller = become_owner(extension.relation);
	with_governed(extension.relation, extend_governed, &extension);
	become_caller_again(caller);
	PG_RETURN_JSONB_P(extension.extended);
}

/*
 * create_petitions() returns the table petition_submissions, which it creates
 * in the current schema, as the caller, and governs.
 *
 * Rows go through two or three states: with some room left in each page these
 * updates stay in it and touch no index.
 */
Datum
create_petitions(PG_FUNCTION_ARGS)
{
	List	   *path = fetch_search_path(false);
	char	   *table;
	Oid			relid;
	Datum		graph;

	if (path == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("no schema has been selected to create in")));
	table = quote_qualified_identifier(get_namespace_name(linitial_oid(path)), "petition_submissions");
	graph = OidFunctionCall0(own_function(own_schema(fcinfo), "petition_lifecycle"));

	SPI_connect();
	execute_command(psprintf("CREATE TABLE %s ("
							 "id pg_catalog.uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),"
							 " type pg_catalog.text NOT NULL DEFAULT 'GENERAL',"
							 " text pg_catalog.text NOT NULL"
							 " CHECK (pg_catalog.char_length(text) OPERATOR(pg_catalog.<=) 10000),"
							 " submitter_id pg_catalog.uuid,"
							 " state pg_catalog.text NOT NULL DEFAULT 'RECEIVED',"
							 " content_hash pg_catalog.bytea"
							 " CHECK (pg_catalog.octet_length(content_hash) OPERATOR(pg_catalog.=) 32),"
							 " realm pg_catalog.text NOT NULL DEFAULT 'default',"
							 " fate_reason pg_catalog.text,"
							 " created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),"
							 " updated_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()"
							 ") WITH (fillfactor = 90)", table));
	SPI_finish();

	relid = get_relname_relid("petition_submissions", linitial_oid(path));
	govern_relation(fcinfo, relid, DatumGetJsonbP(graph), "id", "state");
	PG_RETURN_OID(relid);
}

/* ----------------------------------------------------------------------
 * verify_fates and backfill_fates
 * ----------------------------------------------------------------------
 */

/*
 * Adds a row to the result of verify_fates; without a key the problem is one
 * of the table.
 */
static void
put_problem(ReturnSetInfo *result, const char *key, const char *problem)
{
	Datum		values[2] = {0};
	bool		nulls[2] = {key == NULL, false};

	if (key != NULL)
		values[0] = CStringGetTextDatum(key);
	values[1] = CStringGetTextDatum(problem);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
put_problems(ReturnSetInfo *result, const List *problems)
{
	ListCell   *cell;

	foreach(cell, problems)
		put_problem(result, NULL, ((Problem *) lfirst(cell))->text);
}

/*
 * Has a governed table's ledger, which exists, the owner who compares, and the
 * columns that rows are compared by?
 */
static bool
is_comparable(const Governed *governed, Oid ledger)
{
	AttrNumber	key = get_attnum(ledger, governed->key_column);
	AttrNumber	fate = get_attnum(ledger, "fate");

	return relation_owner(ledger) == relation_owner(governed->relid) &&
		key > InvalidAttrNumber && getBaseType(get_atttype(ledger, key)) == governed->key_type &&
		fate > InvalidAttrNumber && get_atttype(ledger, fate) == TEXTOID;
}

static bool
put_disagreement(const Governed *governed, const Disagreement *disagreement, void *state)
{
	/* dropping a partition takes rows away, but not their fates */
	if (disagreement->has_row || !governed->is_partitioned)
		put_problem(state, disagreement->key, describe_disagreement(governed, disagreement));
	return true;
}

/*
 * Compares a governed table with its ledger, if they can be.
 */
static void
verify_rows(Governed *governed, void *argument)
{
	Oid			ledger = governed_ledger(governed, true);

	if (!governed->readable || !OidIsValid(ledger) || !is_comparable(governed, ledger))
		return;
	SPI_connect();
	find_disagreements(governed, put_disagreement, argument);
	SPI_finish();
}

/*
 * Verifies a table without a guard.  If there is nothing of us on it, it is
 * not governed (55000); if its ledger or its truncate trigger is there but
 * incomplete, somebody took its guard away.
 */
static void
verify_unguarded(ReturnSetInfo *result, Relation relation)
{
	char	   *name = makeObjectName(RelationGetRelationName(relation), NULL, "fates");
	Oid			ledger_oid = get_relname_relid(name, RelationGetNamespace(relation));
	bool		lost = find_trigger(relation, TRUNCATE_TRIGGER) != NULL;

	if (get_attnum(ledger_oid, "fate") > 0 && !lost && !is_foreign(ledger_oid, relation))
	{
		Relation	ledger = open_relation(ledger_oid, AccessShareLock);

		lost = !is_ledger(ledger);
		relation_close(ledger, AccessShareLock);
	}
	if (!lost)
		report_not_governed(relation);
	put_problem(result, NULL, psprintf("trigger \"%s\" of relation \"%s\" is missing; govern the relation again",
									   GUARD_TRIGGER, RelationGetRelationName(relation)));
}

/*
 * verify_fates(relation) returns each problem, with the key of the row where
 * it is one of a row.
 */
Datum
verify_fates(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	relation;
	Identity	caller;
	GuardTrigger guard;

	check_not_null(fcinfo, 0, "relation");
	InitMaterializedSRF(fcinfo, 0);
	relation = open_owned_relation(PG_GETARG_OID(0), AccessShareLock);
	check_no_partition(relation);

	caller = become_owner(relation);
	if (!has_guard(relation))
		verify_unguarded(result, relation);
	else
	{
		put_problems(result, governed_problems(relation));
		put_problems(result, imprudences(relation));
		if (read_guard(relation, &guard))
			with_governed(relation, verify_rows, result);
	}
	become_caller_again(caller);
	relation_close(relation, NoLock);
	return (Datum) 0;
}

/* What backfill_fates works with */
typedef struct Backfill
{
	Relation	relation;
	uint64		added;
} Backfill;

/*
 * Adds the ledger rows that are missing, and counts them.
 */
static void
backfill_governed(Governed *governed, void *argument)
{
	Backfill   *backfill = argument;

	(void) check_sound(governed, backfill->relation);
	SPI_connect();
	backfill->added = record_missing_fates(governed);
	SPI_finish();
}

/*
 * backfill_fates(relation) returns the number of ledger rows it added for
 * fated rows that lacked one.
 */
Datum
backfill_fates(PG_FUNCTION_ARGS)
{
	Backfill	backfill = {0};
	Identity	caller;

	check_not_null(fcinfo, 0, "relation");
	PreventCommandIfReadOnly("backfill_fates()");
	backfill.relation = open_owned_relation(PG_GETARG_OID(0), RowExclusiveLock);
	check_governed_root(backfill.relation);

	caller = become_owner(backfill.relation);
	with_governed(backfill.relation, backfill_governed, &backfill);
	become_caller_again(caller);
	relation_close(backfill.relation, NoLock);
	PG_RETURN_INT64((int64) backfill.added);
}

/* ----------------------------------------------------------------------
 * Questions
 * ----------------------------------------------------------------------
 */

/*
 * Returns the lifecycle of a governed relation, as written in its guard, in
 * the current memory context; raises 55000 if it has none.
 */
static Jsonb *
read_graph(Oid relid)
{
	Relation	relation = open_relation(relid, AccessShareLock);
	GuardTrigger guard;

	if (!read_guard(relation, &guard))
		report_not_governed(relation);
	relation_close(relation, AccessShareLock);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(guard.graph)));
}

/*
 * lifecycle(relation) returns the state graph of a governed relation.
 */
Datum
lifecycle(PG_FUNCTION_ARGS)
{
	check_not_null(fcinfo, 0, "relation");
	PG_RETURN_JSONB_P(read_graph(PG_GETARG_OID(0)));
}

/*
 * Finds the state that the second argument names in the lifecycle of the
 * relation that the first one names; raises 22023 for one that it does not
 * know.  The lifecycle is returned too.
 */
static int
find_state_argument(FunctionCallInfo fcinfo, const char *name, Lifecycle **parsed)
{
	char	   *state;
	int			number;

	check_not_null(fcinfo, 0, "relation");
	check_not_null(fcinfo, 1, name);
	state = text_to_cstring(PG_GETARG_TEXT_PP(1));
	*parsed = lifecycle_parse(read_graph(PG_GETARG_OID(0)));
	number = lifecycle_find(*parsed, state, strlen(state));
	if (number == NO_STATE)
		report_unknown_state(*parsed, get_rel_name(PG_GETARG_OID(0)), state);
	return number;
}

/*
 * allowed_transitions(relation, from_state) returns the states it leads to.
 */
Datum
allowed_transitions(PG_FUNCTION_ARGS)
{
	Lifecycle  *parsed;
	int			state = find_state_argument(fcinfo, "from_state", &parsed);
	int			count;
	const char **targets = lifecycle_targets(parsed, state, &count);

	PG_RETURN_DATUM(name_array(targets, count));
}

/*
 * is_fate(relation, state): does nothing lead out of the state?
 */
Datum
is_fate(PG_FUNCTION_ARGS)
{
	Lifecycle  *parsed;
	int			state = find_state_argument(fcinfo, "state", &parsed);

	PG_RETURN_BOOL(lifecycle_is_fate(parsed, state));
}

/*
 * lifecycle_diagram(relation) returns a Mermaid stateDiagram-v2.
 */
Datum
lifecycle_diagram(PG_FUNCTION_ARGS)
{
	check_not_null(fcinfo, 0, "relation");
	PG_RETURN_TEXT_P(cstring_to_text(lifecycle_draw(lifecycle_parse(read_graph(PG_GETARG_OID(0))))));
}
