/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  Compare a governed table with its ledger: verify_fates, backfill_fates.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "errors.h"
#include "identity.h"
#include "ledger.h"
#include "shard.h"
#include "soundness.h"
#include "verify.h"

PG_FUNCTION_INFO_V1(verify_fates);
PG_FUNCTION_INFO_V1(backfill_fates);

/* ----------------------------------------------------------------------
 * Comparing rows and ledger
 * ----------------------------------------------------------------------
 */

/*
 * Writes the query that finds every row that is not as it should be:
 *
 *	SELECT t.key, t.state, l.key, l.fate
 *	  FROM table t FULL JOIN ledger l ON t.key = l.key
 *	 WHERE (l.key IS NULL AND t.state = ANY ($1)
 *			OR l.fate = $3[array_position($2, t.state)]) IS NOT TRUE
 *		   OR (l.evidence_hash IS NOT NULL AND l.evidence_hash <> hash_evidence(...))
 *
 * The last line is there if decisions rest on evidence.  A fate from before they did has
 * none.
 *
 * $1 are the states that are no fates, $2 the fates, both of the type of the
 * state column, and $3 the fates as text, in the same order: a cast from the
 * enum to text could be code of the table's owner.
 */
static char *
comparison_query(const Governed *governed)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	append_key(&query, &governed->key, "t");
	appendStringInfo(&query, ", t.%s, ", quote_identifier(governed->state.name));
	append_key(&query, &governed->ledger_key, "l");
	appendStringInfo(&query, ", l.fate FROM %s t FULL JOIN %s l ON ", rows_sql(governed),
					 ledger_sql(governed));
	append_key_equality(&query, &governed->key, "t", &governed->ledger_key, "l");
	appendStringInfo(&query, " WHERE (l.%s IS NULL AND ",
					 quote_identifier(governed->ledger_key.columns[0].name));
	append_state(&query, &governed->state, "t");
	appendStringInfoString(&query, " OPERATOR(pg_catalog.=) ANY ($1) OR l.fate OPERATOR(pg_catalog.=)"
						   " $3[pg_catalog.array_position($2, ");
	append_state(&query, &governed->state, "t");
	appendStringInfoString(&query, ")]) IS NOT TRUE");
	if (governed->evidence.ncolumns > 0)
	{
		appendStringInfoString(&query, " OR (l.evidence_hash IS NOT NULL AND l.evidence_hash OPERATOR(pg_catalog.<>) ");
		append_evidence_hash(&query, &governed->evidence, governed->functions_schema, "t");
		appendStringInfoChar(&query, ')');
	}
	return query.data;
}

/*
 * Begins to look for disagreements between rows and ledger.  Connected to SPI, as
 * the owner.  One statement under the latest snapshot, whatever the isolation
 * level, reads both sides, so that an assignment that is going on is seen wholly
 * or not at all.
 */
void
begin_comparison(Comparison *comparison, const Governed *governed)
{
	const Lifecycle *lifecycle = governed->lifecycle;
	Oid			types[3];
	Datum		values[3];
	const char **fates;
	const char **others;
	int			nfates;
	int			nothers;

	fates = states_in_use(&governed->state, lifecycle, true, &nfates);
	others = states_in_use(&governed->state, lifecycle, false, &nothers);
	values[0] = state_array(&governed->state, others, nothers, &types[0]);
	values[1] = state_array(&governed->state, fates, nfates, &types[1]);
	values[2] = name_array(fates, nfates);
	types[2] = TEXTARRAYOID;

	comparison->governed = governed;
	comparison->fetched = 0;
	comparison->next = 0;
	comparison->batch = AllocSetContextCreate(CurrentMemoryContext, "petition_cas disagreements",
											  ALLOCSET_DEFAULT_SIZES);
	PushActiveSnapshot(GetLatestSnapshot());
	comparison->portal = SPI_cursor_open_with_args(NULL, comparison_query(governed), 3, types,
												   values, NULL, true, 0);
	PopActiveSnapshot();
}

/*
 * Reads the key that a row of the query has from a column on, into *text; returns
 * whether there is one.
 */
static bool
read_key_text(const Key *key, HeapTuple row, TupleDesc desc, int first, const char **text)
{
	Datum		values[MAX_KEY_COLUMNS];
	bool		isnull;

	(void) SPI_getbinval(row, desc, first, &isnull);
	if (isnull)
		return false;
	key_of_result(key, row, desc, first, values);
	*text = key_text(key, values);
	return true;
}

/*
 * Returns the next disagreement, which is there until the next one is asked for;
 * false if there is none.
 */
bool
next_disagreement(Comparison *comparison, Disagreement *disagreement)
{
	const Key  *key = &comparison->governed->key;
	MemoryContext caller;
	HeapTuple	row;
	TupleDesc	desc;
	bool		isnull;
	Datum		value;

	if (comparison->next == comparison->fetched)
	{
		if (comparison->fetched > 0)
			SPI_freetuptable(comparison->rows);
		SPI_cursor_fetch(comparison->portal, true, 1000);
		comparison->rows = SPI_tuptable;
		comparison->fetched = SPI_processed;
		comparison->next = 0;
		if (comparison->fetched == 0)
			return false;
	}
	MemoryContextReset(comparison->batch);
	caller = MemoryContextSwitchTo(comparison->batch);
	*disagreement = (Disagreement)
	{
		0
	};
	row = comparison->rows->vals[comparison->next++];
	desc = comparison->rows->tupdesc;
	disagreement->has_row = read_key_text(key, row, desc, 1, &disagreement->key);
	value = SPI_getbinval(row, desc, key->ncolumns + 1, &isnull);
	if (!isnull)
		disagreement->state = state_text(&comparison->governed->state, value);
	disagreement->has_ledger = read_key_text(key, row, desc, key->ncolumns + 2, &disagreement->key);
	value = SPI_getbinval(row, desc, 2 * key->ncolumns + 2, &isnull);
	if (!isnull)
		disagreement->fate = TextDatumGetCString(value);
	MemoryContextSwitchTo(caller);
	return true;
}

/*
 * Ends the search.
 */
void
end_comparison(Comparison *comparison)
{
	SPI_cursor_close(comparison->portal);
	MemoryContextDelete(comparison->batch);
}

/*
 * Describes a disagreement, for people.
 */
char *
describe_disagreement(const Governed *governed, const Disagreement *disagreement)
{
	const char *state = disagreement->state;
	const char *fate = disagreement->fate;
	const Lifecycle *lifecycle = governed->lifecycle;
	int			state_number = lifecycle_find_name(lifecycle, state);
	int			fate_number = lifecycle_find_name(lifecycle, fate);

	if (disagreement->has_ledger && fate == NULL)
		return pstrdup("the ledger holds a row without a fate");
	if (!disagreement->has_row)
		return psprintf("the ledger holds the fate \"%s\", but the row is gone",
						fate);
	if (state == NULL)
		return pstrdup("the row's state is null");
	if (state_number == NO_STATE)
		return psprintf("the row's state \"%s\" is not in the lifecycle", state);
	if (fate != NULL && fate_number == NO_STATE)
		return psprintf("the row's state is \"%s\", but the ledger holds the fate \"%s\", which the lifecycle does not know",
						state, fate);
	if (fate != NULL && !lifecycle_is_fate(lifecycle, fate_number))
		return psprintf("the row's state is \"%s\", but the ledger holds the fate \"%s\", and the lifecycle leads on from that",
						state, fate);
	if (!disagreement->has_ledger)
		return psprintf("the row has the fate \"%s\", but the ledger has no row for it; backfill_fates adds it",
						state);
	if (fate != NULL && strcmp(state, fate) == 0)
		return pstrdup("the row's evidence does not have the hash that the ledger holds");
	if (lifecycle_is_fate(lifecycle, state_number))
		return psprintf("the row has the fate \"%s\", but the ledger holds \"%s\"",
						state, fate);
	return psprintf("the row's state is \"%s\", but the ledger holds the fate \"%s\"",
					state, fate);
}

/* ----------------------------------------------------------------------
 * Which tables
 * ----------------------------------------------------------------------
 */

/*
 * Is an existing relation an ordinary table of a table's owner?  Asked before it is
 * locked, so that nobody can lock what is not his.
 */
bool
is_own_table(Oid existing, Relation relation)
{
	return get_rel_relkind(existing) == RELKIND_RELATION &&
		relation_owner(existing) == relation->rd_rel->relowner;
}

/*
 * Raises 42809 for a shard of a distributed table.
 */
void
check_no_shard(Relation relation)
{
	Oid			whole = table_of_shard(RelationGetRelid(relation));

	if (OidIsValid(whole))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation \"%s\" is a shard", RelationGetRelationName(relation)),
				 errhint("Name the distributed table \"%s\", which it is a part of.",
						 get_rel_name(whole))));
}

/*
 * Raises 42809 for a partition, whose guard is only its parent's, and for a shard.
 */
void
check_whole_table(Relation relation)
{
	if (relation->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation \"%s\" is a partition", RelationGetRelationName(relation)),
				 errhint("Name the partitioned table that it belongs to.")));
	check_no_shard(relation);
}

/*
 * Raises 42809 for a partition or a shard, and 55000 for another relation that has
 * no guard.
 */
void
check_governed_root(Relation relation)
{
	check_whole_table(relation);
	if (!has_guard(relation))
		report_not_governed(relation);
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
	AttrNumber	fate = get_attnum(ledger, "fate");

	if (governed->evidence.ncolumns > 0 &&
		get_atttype(ledger, get_attnum(ledger, "evidence_hash")) != TEXTOID)
		return false;
	for (int i = 0; i < governed->key.ncolumns; i++)
	{
		AttrNumber	key = get_attnum(ledger, governed->ledger_key.columns[i].name);

		if (key <= InvalidAttrNumber ||
			getBaseType(get_atttype(ledger, key)) != governed->key.columns[i].type)
			return false;
	}
	return relation_owner(ledger) == relation_owner(governed->relid) &&
		fate > InvalidAttrNumber && get_atttype(ledger, fate) == TEXTOID;
}

/*
 * Adds the disagreements between a governed table and its ledger, if the two can
 * be compared; they name the state column, unless it is the table's only one.
 */
static void
put_disagreements(ReturnSetInfo *result, const Governed *governed, bool is_only)
{
	const char *column = is_only ? "" : psprintf("column \"%s\": ", governed->state.name);
	Oid			ledger = governed_ledger(governed, true);
	Comparison	comparison;
	Disagreement disagreement;

	if (!governed->readable || !OidIsValid(ledger) || !is_comparable(governed, ledger))
		return;
	SPI_connect();
	begin_comparison(&comparison, governed);
	while (next_disagreement(&comparison, &disagreement))
	{
		/* to drop a partition, or to delete rows, takes no fates away */
		if (disagreement.has_row || (!governed->is_partitioned && governed->options.keep_rows))
			put_problem(result, disagreement.key,
						psprintf("%s%s", column, describe_disagreement(governed, &disagreement)));
	}
	end_comparison(&comparison);
	SPI_finish();
}

/*
 * What a node that holds a shard is asked for: what is wrong with our triggers on it,
 * which are to be as those of the distributed table.  Triggers on TRUNCATE (32) may be
 * missing, see soundness.c.  Citus puts the shard's name where format() would.
 */
static const char *const shard_query =
"SELECT pg_catalog.string_agg(pg_catalog.concat('trigger \"', w.name, '\" ',"
" CASE WHEN t.oid IS NULL THEN 'is missing' WHEN t.tgenabled = 'D' THEN 'is disabled'"
" WHEN t.tgenabled <> 'A' THEN 'is no longer ENABLE ALWAYS'"
" ELSE 'is not the one of the table' END), E'\n' ORDER BY w.name)"
" FROM (VALUES {triggers}) w (name, function, type, arguments)"
" LEFT JOIN (pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid"
" JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid) ON t.tgrelid = %L::pg_catalog.regclass"
" AND t.tgname = pg_catalog.concat(w.name, pg_catalog.substring(c.relname, '_[0-9]+$'))"
" WHERE (t.oid IS NULL AND w.type & 32 = 0) OR t.tgenabled <> 'A' OR t.tgtype <> w.type OR t.tgqual IS NOT NULL"
" OR t.tgattr <> '' OR t.tgdeferrable OR p.prosrc <> w.function"
" OR pg_catalog.right(p.probin, 12) <> 'petition_cas'"
" OR pg_catalog.encode(pg_catalog.sha256(t.tgargs), 'hex') <> w.arguments";

/* Asks them all, one by one; $1 is the table, $2 the query above */
static const char *const all_shards_query =
"SELECT pg_catalog.format('shard %s on %s:%s: %s', r.shardid, r.nodename, r.nodeport, line)"
" FROM (SELECT pg_catalog.string_agg(pg_catalog.format('(%L, %L, %s, %L)', t.tgname, p.prosrc,"
" t.tgtype, pg_catalog.encode(pg_catalog.sha256(t.tgargs), 'hex')), ', ') AS triggers"
" FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
" WHERE t.tgrelid = $1 AND pg_catalog.starts_with(t.tgname, 'petition_cas_')) w,"
" pg_catalog.run_command_on_placements($1, pg_catalog.replace($2, '{triggers}', w.triggers), false) r,"
" pg_catalog.string_to_table(r.result, E'\n') line"
" WHERE line <> '' ORDER BY r.shardid, r.nodename, r.nodeport, line";

/*
 * Adds what is wrong with our triggers on the shards of a distributed table, on all
 * nodes; a node that cannot be asked is a problem too.  Connected to SPI, as the owner.
 */
static void
put_shard_problems(ReturnSetInfo *result, Oid relid)
{
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(relid), CStringGetTextDatum(shard_query)};

	if (SPI_execute_with_args(all_shards_query, 2, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not ask for shards");
	for (uint64 i = 0; i < SPI_processed; i++)
		put_problem(result, NULL, psprintf("relation \"%s\": %s", get_rel_name(relid),
										   SPI_getvalue(SPI_tuptable->vals[i],
														SPI_tuptable->tupdesc, 1)));
}

/* Finds two tables, $1 and $2, that are distributed in the same way */
static const char *const colocated_query =
"SELECT FROM pg_catalog.pg_dist_partition a JOIN pg_catalog.pg_dist_partition b USING (colocationid)"
" WHERE a.logicalrelid = $1 AND b.logicalrelid = $2 AND colocationid > 0";

/*
 * Adds what is wrong with a distributed table and its ledger as such: of rows whose
 * ledger is on another node, no fate can be recorded.  Returns whether rows and ledger
 * can be compared.  Of other tables, adds nothing.
 */
static bool
put_distribution_problems(ReturnSetInfo *result, Relation relation, const char *ledger_name)
{
	Oid			relid = RelationGetRelid(relation);
	Oid			ledger = get_relname_relid(ledger_name, RelationGetNamespace(relation));
	Oid			types[] = {OIDOID, OIDOID};
	Datum		values[] = {ObjectIdGetDatum(relid), ObjectIdGetDatum(ledger)};
	bool		colocated;

	if (!is_distributed(relid))
		return true;
	SPI_connect();
	if (SPI_execute_with_args(colocated_query, 2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not ask for tables that are colocated");
	colocated = SPI_processed > 0;
	if (!colocated)
		put_problem(result, NULL, psprintf("ledger \"%s\" is not colocated with its table", ledger_name));
	put_shard_problems(result, relid);
	if (is_distributed(ledger))
		put_shard_problems(result, ledger);
	SPI_finish();
	return colocated;
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

	if (get_attnum(ledger_oid, "fate") > 0 && !lost && is_own_table(ledger_oid, relation))
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
 * verify_fates(relation, state_column) returns each problem, with the key of the row where
 * it is one of a row.
 */
Datum
verify_fates(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	relation;
	char	   *state_column;
	Identity	caller;
	List	   *guards;
	ListCell   *cell;

	check_not_null(fcinfo, 0, "relation");
	InitMaterializedSRF(fcinfo, 0);
	state_column = get_name_argument(fcinfo, 1);
	relation = open_owned_relation(PG_GETARG_OID(0), AccessShareLock);
	check_whole_table(relation);

	caller = become_owner(relation);
	if (!has_guard(relation))
		verify_unguarded(result, relation);
	else
	{
		bool		is_only;

		guards = read_guards(relation);
		is_only = list_length(guards) == 1;
		if (state_column != NULL)
			guards = list_make1(choose_guard(guards, state_column, relation));
		put_problems(result, governed_problems(relation, state_column));
		put_problems(result, imprudences(relation, state_column, false));
		foreach(cell, guards)
		{
			GuardTrigger *guard = lfirst(cell);

			if (guard != NULL && put_distribution_problems(result, relation, guard->ledger))
				put_disagreements(result, get_governed_by(relation, guard->oid), is_only);
		}
	}
	become_caller_again(caller);
	relation_close(relation, NoLock);
	return (Datum) 0;
}

/*
 * backfill_fates(relation, state_column) returns the number of ledger rows it added for
 * fated rows that lacked one.
 */
Datum
backfill_fates(PG_FUNCTION_ARGS)
{
	char	   *state_column;
	Relation	relation;
	Identity	caller;
	List	   *guards;
	ListCell   *cell;
	uint64		added = 0;

	check_not_null(fcinfo, 0, "relation");
	PreventCommandIfReadOnly("backfill_fates()");
	relation = open_owned_relation(PG_GETARG_OID(0), RowExclusiveLock);
	check_governed_root(relation);

	caller = become_owner(relation);
	state_column = get_name_argument(fcinfo, 1);
	guards = read_guards(relation);
	if (state_column != NULL || guards == NIL)
		guards = list_make1_oid(get_governed(relation, state_column)->guard);
	else
	{
		List	   *oids = NIL;

		foreach(cell, guards)
			oids = lappend_oid(oids, ((GuardTrigger *) lfirst(cell))->oid);
		guards = oids;
	}
	foreach(cell, guards)
	{
		Governed   *governed = get_governed_by(relation, lfirst_oid(cell));

		(void) check_sound(governed, relation);
		SPI_connect();
		added += write_missing_fates(governed);
		SPI_finish();
	}
	become_caller_again(caller);
	relation_close(relation, NoLock);
	PG_RETURN_INT64((int64) added);
}
