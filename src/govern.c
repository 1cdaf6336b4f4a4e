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
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
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
#include "petition_cas.h"
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
 * Collects the names of the lifecycle's fates, or of its other states.
 */
static const char **
collect_states(const Lifecycle *lifecycle, bool fates, int *count)
{
	const char **names = palloc(lifecycle->nstates * sizeof(char *));

	*count = 0;
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		if (lifecycle_is_fate(lifecycle, i) == fates)
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

static bool
has_enum_label(Oid type, const char *state)
{
	return SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type), CStringGetDatum(state));
}

/*
 * Has an enum a value for every state of a lifecycle, given as its JSON text?
 */
bool
has_all_states(Oid enum_type, const char *graph)
{
	Datum		json = DirectFunctionCall1(jsonb_in, CStringGetDatum(graph));
	Lifecycle  *parsed = lifecycle_parse(DatumGetJsonbP(json));

	for (int i = 0; i < parsed->nstates; i++)
	{
		if (!has_enum_label(enum_type, parsed->states[i].name))
			return false;
	}
	return true;
}

/*
 * Raises 22023 for a state that a column of enum type has no label for.
 */
static void
check_enum_label(Oid type, const char *state)
{
	if (has_enum_label(type, state))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("state \"%s\" of the lifecycle is no value of enum %s",
					state, format_type_be(type)),
			 errhint("Add it with ALTER TYPE ... ADD VALUE first.")));
}

/*
 * Raises 22023 unless the state column can hold every state of the lifecycle.
 */
static void
check_states_fit(Relation relation, AttrNumber state_attno, const Lifecycle *lifecycle)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), state_attno - 1);
	bool		is_enum = get_typtype(attribute->atttypid) == TYPTYPE_ENUM;

	for (int i = 0; i < lifecycle->nstates; i++)
	{
		const LifecycleState *state = &lifecycle->states[i];

		if (is_enum)
			check_enum_label(attribute->atttypid, state->name);
		else if (attribute->atttypmod >= VARHDRSZ &&
				 pg_mbstrlen_with_len(state->name, state->length) > attribute->atttypmod - VARHDRSZ)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("state \"%s\" of the lifecycle is too long for column \"%s\" of relation \"%s\"",
							state->name, NameStr(attribute->attname),
							RelationGetRelationName(relation)),
					 errtablecol(relation, state_attno)));
	}
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
					 key, state, key, get_relation_sql(governed));
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
 * to SPI, as the owner.  One statement with a snapshot of its own reads both
 * sides, so that an assignment that is going on is seen wholly or not at all.
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

	fates = collect_states(governed->lifecycle, true, &nfates);
	others = collect_states(governed->lifecycle, false, &nothers);
	values[0] = state_array(governed, others, nothers, &types[0]);
	values[1] = state_array(governed, fates, nfates, &types[1]);
	values[2] = name_array(fates, nfates);
	types[2] = TEXTARRAYOID;

	portal = SPI_cursor_open_with_args(NULL, disagreement_query(governed), 3, types, values,
									   NULL, false, 0);
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

	if (!disagreement->has_row)
		return psprintf("the ledger holds the fate \"%s\", but the row is gone",
						disagreement->fate);
	if (state == NULL)
		return pstrdup("the row's state is null");
	if (lifecycle_find(governed->lifecycle, state, strlen(state)) == NO_STATE)
		return psprintf("the row's state \"%s\" is not in the lifecycle", state);
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
	int			result;

	fates = collect_states(governed->lifecycle, true, &nfates);
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
					 key, key, state, collate, get_relation_sql(governed), state, collate);
	append_qualified(&query, governed->ledger_schema, governed->ledger);
	appendStringInfoString(&query, " l WHERE ");
	append_key(&query, governed, "l");
	append_operator(&query, governed->key_equality);
	append_key(&query, governed, "t");
	appendStringInfo(&query, ") ON CONFLICT (%s) DO NOTHING", key);

	result = SPI_execute_with_args(query.data, 5, types, values, NULL, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

/* ----------------------------------------------------------------------
 * Can the table be governed?
 * ----------------------------------------------------------------------
 */

/*
 * Is the relation a ledger?  The trigger that guards it says so.
 */
bool
is_ledger(Relation relation)
{
	const Trigger *trigger = find_trigger(relation, LEDGER_TRIGGER);

	return trigger != NULL && is_own_function(trigger->tgfoid, "guard_ledger");
}

/*
 * Raises 42809 for a relation of a kind that cannot be governed, and 42710 for
 * one that is governed already.
 */
static void
check_relation_kind(Relation relation)
{
	const char *name = RelationGetRelationName(relation);
	char		relkind = relation->rd_rel->relkind;

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot govern \"%s\": it is not a table", name),
				 errhint("Govern the table below it.")));
	if (IsSystemRelation(relation))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot govern system catalog \"%s\"", name)));
	if (RelationUsesLocalBuffers(relation))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot govern temporary table \"%s\"", name),
				 errhint("Nobody else can decide on its rows, and nothing of it stays.")));
	if (relation->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot govern \"%s\": it is a partition", name),
				 errhint("Govern the partitioned table that it belongs to.")));
	if (has_superclass(RelationGetRelid(relation)) ||
		(relkind == RELKIND_RELATION &&
		 find_inheritance_children(RelationGetRelid(relation), NoLock) != NIL))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot govern \"%s\": it is an inheritance parent or child", name),
				 errhint("A trigger on one table of an inheritance tree does not see the rows of the others. Use declarative partitioning.")));
	if (is_ledger(relation))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot govern \"%s\": it is a ledger", name)));
	if (find_trigger(relation, GUARD_TRIGGER) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("relation \"%s\" is already governed", name),
				 errhint("Use extend_lifecycle to add states and transitions, or ungovern first.")));
}

/*
 * Returns the number of a column; raises 42703 if there is none.
 */
static AttrNumber
find_column(Relation relation, const char *column)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(relation), column);

	if (attno <= InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						column, RelationGetRelationName(relation)),
				 errhint("Give the columns to govern as key_column and state_column.")));
	return attno;
}

/*
 * Is the index a valid, immediate, total unique index on that column alone,
 * by the column type's own equality?
 */
static bool
is_key_index(Relation index, Form_pg_attribute key)
{
	Form_pg_index form = index->rd_index;
	Oid			equality = lookup_type_cache(getBaseType(key->atttypid), TYPECACHE_EQ_OPR)->eq_opr;

	return form->indisunique && form->indisvalid && form->indimmediate &&
		form->indnkeyatts == 1 && form->indkey.values[0] == key->attnum &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
		index->rd_indcollation[0] == key->attcollation &&
		get_opfamily_member(index->rd_opfamily[0], index->rd_opcintype[0], index->rd_opcintype[0],
							BTEqualStrategyNumber) == equality;
}

/*
 * Has the relation a column of that name that can be a key, having a unique
 * index of its own?
 */
bool
has_key_index(Relation relation, const char *column)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(relation), column);
	Form_pg_attribute key;
	bool		found = false;
	ListCell   *cell;

	if (attno <= 0)
		return false;
	key = TupleDescAttr(RelationGetDescr(relation), attno - 1);
	foreach(cell, RelationGetIndexList(relation))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		found = found || is_key_index(index, key);
		index_close(index, AccessShareLock);
	}
	return found;
}

/*
 * Raises 55000 unless the column can be the key: not null, with a unique index
 * of its own.
 */
static void
check_key_column(Relation relation, AttrNumber attno)
{
	Form_pg_attribute key = TupleDescAttr(RelationGetDescr(relation), attno - 1);

	if (!has_key_index(relation, NameStr(key->attname)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot govern relation \"%s\" by column \"%s\": it has no unique index of its own",
						RelationGetRelationName(relation), NameStr(key->attname)),
				 errhint("The key is one column with a primary key, or another unique index that is valid, not deferrable and not partial. A key of several columns cannot be governed."),
				 errtablecol(relation, attno)));
	if (!key->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot govern relation \"%s\" by column \"%s\": it may be null",
						RelationGetRelationName(relation), NameStr(key->attname)),
				 errhint("ALTER TABLE ... ALTER COLUMN %s SET NOT NULL.", NameStr(key->attname)),
				 errtablecol(relation, attno)));
}

/*
 * Raises 42804 for a state column of another type than text, varchar or an
 * enum, and 42809 for a generated one.
 */
static void
check_state_column(Relation relation, AttrNumber attno)
{
	Form_pg_attribute state = TupleDescAttr(RelationGetDescr(relation), attno - 1);

	if (!is_supported_state_type(state->atttypid))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("cannot govern relation \"%s\": its state column \"%s\" is of type %s",
						RelationGetRelationName(relation), NameStr(state->attname),
						format_type_be(state->atttypid)),
				 errhint("A state column is of type text, varchar or an enum."),
				 errtablecol(relation, attno)));
	if (state->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot govern relation \"%s\": its state column \"%s\" is generated",
						RelationGetRelationName(relation), NameStr(state->attname)),
				 errtablecol(relation, attno)));
}

/* ----------------------------------------------------------------------
 * The ledger
 * ----------------------------------------------------------------------
 */

/* Columns of a ledger after the key */
typedef struct LedgerColumn
{
	const char *name;
	Oid			type;
	bool		not_null;
} LedgerColumn;

static const LedgerColumn ledger_columns[] = {
	{"from_state", TEXTOID, false},
	{"fate", TEXTOID, true},
	{"assigned_at", TIMESTAMPTZOID, true},
	{"assigned_by", TEXTOID, true},
	{"transaction_id", XID8OID, true}
};

/*
 * Is it the name of a column that every ledger has, apart from the key?
 */
bool
is_ledger_column(const char *column)
{
	for (int i = 0; i < lengthof(ledger_columns); i++)
	{
		if (strcmp(ledger_columns[i].name, column) == 0)
			return true;
	}
	return false;
}

/*
 * Raises 42701 if the key column has the name of one of the ledger's own.
 */
static void
check_key_name(const char *key_column)
{
	if (is_ledger_column(key_column))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("key column \"%s\" has the name of a column of the ledger", key_column),
				 errhint("Rename the key column.")));
}

/*
 * Creates a ledger beside a table.
 */
static void
create_ledger(Relation relation, AttrNumber key_attno, const char *ledger)
{
	Form_pg_attribute key = TupleDescAttr(RelationGetDescr(relation), key_attno - 1);
	StringInfoData command;

	initStringInfo(&command);
	appendStringInfoString(&command, "CREATE TABLE ");
	append_qualified(&command, get_namespace_name(RelationGetNamespace(relation)), ledger);
	appendStringInfo(&command, " (%s %s", quote_identifier(NameStr(key->attname)),
					 format_type_extended(key->atttypid, key->atttypmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(key->attcollation))
		appendStringInfo(&command, " COLLATE %s", generate_collation_name(key->attcollation));
	appendStringInfoString(&command, " PRIMARY KEY");
	for (int i = 0; i < lengthof(ledger_columns); i++)
		appendStringInfo(&command, ", %s %s%s", ledger_columns[i].name,
						 format_type_extended(ledger_columns[i].type, -1, FORMAT_TYPE_FORCE_QUALIFY),
						 ledger_columns[i].not_null ? " NOT NULL" : "");
	appendStringInfoChar(&command, ')');
	execute_command(command.data);
}

/*
 * Has the relation the columns of a ledger, apart from the key?
 */
bool
has_ledger_columns(Relation ledger)
{
	for (int i = 0; i < lengthof(ledger_columns); i++)
	{
		AttrNumber	attno = get_attnum(RelationGetRelid(ledger), ledger_columns[i].name);

		if (attno <= 0 ||
			TupleDescAttr(RelationGetDescr(ledger), attno - 1)->atttypid != ledger_columns[i].type)
			return false;
	}
	return true;
}

#define OTHER_KEY_COLUMN "it has another key column"

/*
 * Is a command on another relation or on a type able to change the relation's
 * columns, or do rows of another count as its own?
 */
bool
has_relatives(Relation relation)
{
	Oid			relid = RelationGetRelid(relation);

	return OidIsValid(relation->rd_rel->reloftype) || has_superclass(relid) ||
		find_inheritance_children(relid, NoLock) != NIL;
}

/*
 * Says why a relation cannot be the ledger of a table, or returns NULL.  That
 * its triggers are gone, as they are after DROP EXTENSION CASCADE, does not
 * matter: govern creates them.
 */
static const char *
ledger_misfit(Relation ledger, Relation relation, AttrNumber key_attno)
{
	Form_pg_attribute key = TupleDescAttr(RelationGetDescr(relation), key_attno - 1);
	TupleDesc	desc = RelationGetDescr(ledger);
	AttrNumber	attno = get_attnum(RelationGetRelid(ledger), NameStr(key->attname));

	if (ledger->rd_rel->relkind != RELKIND_RELATION)
		return "it is not an ordinary table";
	if (has_relatives(ledger))
		return "it is a typed table, a partition, or an inheritance parent or child";
	if (ledger->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return "a crash would empty it";
	if (!has_ledger_columns(ledger))
		return "it has not the columns of a ledger";
	if (ledger->rd_rel->relowner != relation->rd_rel->relowner)
		return "it has another owner";
	if (attno <= 0 ||
		TupleDescAttr(desc, attno - 1)->atttypid != key->atttypid ||
		TupleDescAttr(desc, attno - 1)->attcollation != key->attcollation)
		return OTHER_KEY_COLUMN;
	return has_key_index(ledger, NameStr(key->attname)) ?
		NULL : "its key column has no primary key";
}

/*
 * Does the guard of another table write into the ledger of that name in the
 * relation's schema?  The relation itself has no guard yet.
 */
static bool
is_used_by_other(Relation relation, const char *ledger, Oid guard_fate)
{
	ListCell   *cell;

	foreach(cell, find_guards(guard_fate))
	{
		const GuardTrigger *guard = lfirst(cell);

		if (guard->namespace == RelationGetNamespace(relation) &&
			strcmp(guard->ledger, ledger) == 0)
			return true;
	}
	return false;
}

/*
 * Raises 55000 unless an existing relation can be taken over as the ledger.
 */
static void
check_existing_ledger(Oid existing, Relation relation, AttrNumber key_attno, bool used)
{
	Relation	ledger = open_relation(existing, ShareRowExclusiveLock);
	const char *misfit = used ? "another table uses it" : ledger_misfit(ledger, relation, key_attno);

	if (misfit != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" cannot be the ledger of relation \"%s\": %s",
						RelationGetRelationName(ledger), RelationGetRelationName(relation), misfit),
				 strcmp(misfit, OTHER_KEY_COLUMN) == 0 ?
				 errhint("If it is the ledger of this table from before its key column was renamed, rename the column of the ledger too.") :
				 errhint("The ledger has to have this name. Rename the relation that has it now, or the table to govern.")));
	relation_close(ledger, NoLock);
}

/*
 * Returns the name of a table's ledger, <table>_fates, and whether it is there
 * already, to be taken over.  A name that is too long is shortened as the
 * server does it for constraints, with a number where another relation has
 * the shortened name.
 */
static char *
choose_ledger(Relation relation, AttrNumber key_attno, Oid guard_fate, bool *exists)
{
	const char *table = RelationGetRelationName(relation);
	bool		shortened = strlen(table) + strlen("_fates") >= NAMEDATALEN;

	for (int number = 0;; number++)
	{
		const char *label = number == 0 ? "fates" : psprintf("fates%d", number);
		char	   *name = makeObjectName(table, NULL, label);
		Oid			existing = get_relname_relid(name, RelationGetNamespace(relation));
		bool		used;

		*exists = OidIsValid(existing);
		if (!*exists)
			return name;
		used = is_used_by_other(relation, name, guard_fate);
		if (used && shortened)
			continue;
		check_existing_ledger(existing, relation, key_attno, used);
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
create_guard(const char *table, const char *schema, const char *key_column,
			 const char *state_column, const char *ledger, Jsonb *graph)
{
	char	   *json = JsonbToCString(NULL, &graph->root, VARSIZE(graph));

	create_trigger(table, GUARD_TRIGGER, "AFTER INSERT OR UPDATE OR DELETE", "ROW", schema,
				   psprintf("guard_fate(%s, %s, %s, %s)",
							quote_literal_cstr(key_column), quote_literal_cstr(state_column),
							quote_literal_cstr(ledger), quote_literal_cstr(json)));
}

/*
 * Creates or replaces the triggers of a ledger.
 */
static void
create_ledger_guards(const char *ledger, const char *schema)
{
	create_trigger(ledger, LEDGER_TRIGGER, "BEFORE UPDATE OR DELETE", "ROW", schema,
				   "guard_ledger()");
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
 * with.  A fate whose row is gone does not hinder: fates outlive rows when a
 * partition is dropped.
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
 * Records the fates that rows have already, and checks that all rows agree
 * with lifecycle and ledger.
 */
static void
take_over_rows(Governed *governed, void *argument)
{
	record_missing_fates(governed);
	check_rows(governed);
}

/*
 * Does for a partition, which was attached to a governed table, what govern
 * does for the rows of a table; as the topmost table's owner, which the ledger
 * belongs to.
 */
void
take_over_partition(Relation partition)
{
	Relation	root = table_open(llast_oid(get_partition_ancestors(RelationGetRelid(partition))),
								  AccessShareLock);
	Identity	caller = become_owner(root);

	SPI_connect();
	with_governed(partition, take_over_rows, NULL);
	SPI_finish();
	become_caller_again(caller);
	table_close(root, AccessShareLock);
}

/*
 * Governs a table that the caller owns; returns its ledger.  Holds a lock that
 * keeps writers out until the transaction ends.
 */
static Oid
govern_relation(FunctionCallInfo fcinfo, Oid relid, Jsonb *graph,
				const char *key_column, const char *state_column)
{
	char	   *schema = own_schema(fcinfo);
	Oid			guard_fate = own_function(schema, "guard_fate");
	Relation	relation = open_owned_relation(relid, ShareRowExclusiveLock);
	Oid			namespace = RelationGetNamespace(relation);
	Identity	caller = become_owner(relation);
	Lifecycle  *parsed = lifecycle_parse(graph);
	AttrNumber	key_attno;
	AttrNumber	state_attno;
	char	   *ledger;
	char	   *ledger_name;
	char	   *table_name;
	bool		exists;

	check_relation_kind(relation);
	key_attno = find_column(relation, key_column);
	state_attno = find_column(relation, state_column);
	check_key_column(relation, key_attno);
	check_key_name(key_column);
	check_state_column(relation, state_attno);
	check_states_fit(relation, state_attno, parsed);

	ledger = choose_ledger(relation, key_attno, guard_fate, &exists);
	SPI_connect();
	if (!exists)
		create_ledger(relation, key_attno, ledger);
	table_name = quote_qualified_identifier(get_namespace_name(namespace),
											RelationGetRelationName(relation));
	ledger_name = quote_qualified_identifier(get_namespace_name(namespace), ledger);
	/* ALTER TABLE refuses to work on a table that is open */
	relation_close(relation, NoLock);

	create_ledger_guards(ledger_name, schema);
	create_guard(table_name, schema, key_column, state_column, ledger, graph);
	create_trigger(table_name, TRUNCATE_TRIGGER, "BEFORE TRUNCATE", "STATEMENT", schema,
				   "guard_truncate()");
	relation = table_open(relid, NoLock);
	with_governed(relation, take_over_rows, NULL);
	table_close(relation, NoLock);
	SPI_finish();

	become_caller_again(caller);
	return get_relname_relid(ledger, namespace);
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
 * ungovern(relation): drops the table's triggers; the ledger stays, with its
 * own.
 */
Datum
ungovern(PG_FUNCTION_ARGS)
{
	Relation	relation;
	Identity	caller;
	char	   *table;

	check_not_null(fcinfo, 0, "relation");
	PreventCommandIfReadOnly("ungovern()");
	relation = open_owned_relation(PG_GETARG_OID(0), AccessExclusiveLock);
	/* somebody may have dropped the guard and left the other trigger */
	if (find_trigger(relation, TRUNCATE_TRIGGER) == NULL)
		check_governed_root(relation);
	caller = become_owner(relation);
	table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
									   RelationGetRelationName(relation));
	relation_close(relation, NoLock);

	SPI_connect();
	execute_command(psprintf("DROP TRIGGER IF EXISTS %s ON %s", GUARD_TRIGGER, table));
	execute_command(psprintf("DROP TRIGGER IF EXISTS %s ON %s", TRUNCATE_TRIGGER, table));
	SPI_finish();

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
	Lifecycle  *parsed = lifecycle_extend(graph, extension->transitions);

	check_states_fit(extension->relation, governed->state_attno, parsed);
	extension->extended = lifecycle_to_jsonb(parsed);

	/* ALTER TABLE refuses to work on a table that is open */
	relation_close(extension->relation, NoLock);
	SPI_connect();
	create_guard(quote_qualified_identifier(governed->relation_schema, governed->relation),
				 extension->schema, governed->key_column, governed->state_column,
				 governed->ledger, extension->extended);
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
verify_trigger(ReturnSetInfo *result, Relation relation, const char *name, const char *function,
			   int16 type)
{
	const char *problem = trigger_problem(relation, name, function, type);

	if (problem != NULL)
		put_problem(result, NULL, psprintf("trigger \"%s\" of relation \"%s\" %s",
										   name, RelationGetRelationName(relation), problem));
}

/*
 * Verifies the guard of a table and of all its partitions.
 */
static void
verify_guards(ReturnSetInfo *result, Relation relation)
{
	ListCell   *cell;

	verify_trigger(result, relation, TRUNCATE_TRIGGER, "guard_truncate", TRUNCATE_TRIGGER_TYPE);
	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
	{
		verify_trigger(result, relation, GUARD_TRIGGER, "guard_fate", GUARD_TRIGGER_TYPE);
		return;
	}
	foreach(cell, find_all_inheritors(RelationGetRelid(relation), AccessShareLock, NULL))
	{
		Relation	partition = relation_open(lfirst_oid(cell), NoLock);

		verify_trigger(result, partition, GUARD_TRIGGER, "guard_fate", GUARD_TRIGGER_TYPE);
		relation_close(partition, NoLock);
	}
}

/*
 * Verifies the ledger's triggers and its primary key.
 */
static void
verify_ledger(ReturnSetInfo *result, Relation ledger, const char *key_column)
{
	verify_trigger(result, ledger, LEDGER_TRIGGER, "guard_ledger", LEDGER_TRIGGER_TYPE);
	verify_trigger(result, ledger, LEDGER_TRUNCATE_TRIGGER, "guard_ledger", TRUNCATE_TRIGGER_TYPE);
	if (!has_key_index(ledger, key_column))
		put_problem(result, NULL, psprintf("ledger \"%s\" has no primary key on \"%s\"",
										   RelationGetRelationName(ledger), key_column));
}

static bool
put_disagreement(const Governed *governed, const Disagreement *disagreement, void *state)
{
	/* dropping a partition takes rows away, but not their fates */
	if (disagreement->has_row || !governed->is_partitioned)
		put_problem(state, disagreement->key, describe_disagreement(governed, disagreement));
	return true;
}

/* What verify_fates works with */
typedef struct Verification
{
	Relation	relation;
	ReturnSetInfo *result;
} Verification;

/*
 * Verifies a governed table: its triggers, its ledger, and each row.
 */
static void
verify_governed(Governed *governed, void *argument)
{
	Verification *verification = argument;
	ReturnSetInfo *result = verification->result;
	Oid			ledger_oid = governed_ledger(governed, true);
	Relation	ledger;

	verify_guards(result, verification->relation);
	if (!OidIsValid(ledger_oid))
	{
		put_problem(result, NULL, psprintf("ledger \"%s.%s\" is missing",
										   governed->ledger_schema, governed->ledger));
		return;
	}
	ledger = relation_open(ledger_oid, AccessShareLock);
	if (ledger->rd_rel->relowner != verification->relation->rd_rel->relowner)
		put_problem(result, NULL, psprintf("ledger \"%s\" belongs to another role than the table",
										   governed->ledger));
	verify_ledger(result, ledger, governed->key_column);
	relation_close(ledger, NoLock);

	SPI_connect();
	find_disagreements(governed, put_disagreement, result);
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

	if (get_attnum(ledger_oid, "fate") > 0 && !lost)
	{
		Relation	ledger = relation_open(ledger_oid, AccessShareLock);

		lost = !is_ledger(ledger);
		relation_close(ledger, NoLock);
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
	Verification verification;
	Identity	caller;

	check_not_null(fcinfo, 0, "relation");
	InitMaterializedSRF(fcinfo, 0);
	verification.result = (ReturnSetInfo *) fcinfo->resultinfo;
	verification.relation = open_owned_relation(PG_GETARG_OID(0), AccessShareLock);

	check_no_partition(verification.relation);

	caller = become_owner(verification.relation);
	if (!has_guard(verification.relation))
		verify_unguarded(verification.result, verification.relation);
	else if (lost_column(verification.relation) != NULL)
		put_problem(verification.result, NULL,
					psprintf("column \"%s\" is missing; give it its name back, or ungovern and govern again",
							 lost_column(verification.relation)));
	else
		with_governed(verification.relation, verify_governed, &verification);
	become_caller_again(caller);
	relation_close(verification.relation, NoLock);
	return (Datum) 0;
}

/*
 * Adds the ledger rows that are missing; *argument becomes their number.
 */
static void
backfill_governed(Governed *governed, void *argument)
{
	(void) governed_ledger(governed, false);
	SPI_connect();
	*(uint64 *) argument = record_missing_fates(governed);
	SPI_finish();
}

/*
 * backfill_fates(relation) returns the number of ledger rows it added for
 * fated rows that lacked one.
 */
Datum
backfill_fates(PG_FUNCTION_ARGS)
{
	Relation	relation;
	Identity	caller;
	uint64		added = 0;

	check_not_null(fcinfo, 0, "relation");
	PreventCommandIfReadOnly("backfill_fates()");
	relation = open_owned_relation(PG_GETARG_OID(0), RowExclusiveLock);
	check_governed_root(relation);

	caller = become_owner(relation);
	with_governed(relation, backfill_governed, &added);
	become_caller_again(caller);
	relation_close(relation, NoLock);
	PG_RETURN_INT64((int64) added);
}

/* ----------------------------------------------------------------------
 * Questions
 * ----------------------------------------------------------------------
 */

static void
copy_graph(Governed *governed, void *argument)
{
	*(Datum *) argument = DirectFunctionCall1(jsonb_in, CStringGetDatum(governed->graph));
}

/*
 * Returns the lifecycle of a governed relation, as written in its guard, in
 * the current memory context.
 */
static Jsonb *
read_graph(Oid relid)
{
	Relation	relation = open_relation(relid, AccessShareLock);
	Datum		graph = (Datum) 0;

	with_governed(relation, copy_graph, &graph);
	relation_close(relation, AccessShareLock);
	return DatumGetJsonbP(graph);
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
