/*-------------------------------------------------------------------------
 *
 * fate.c
 *	  The swaps: assign_fate, compare_and_swap and their kin.
 *
 * A swap is one UPDATE that names the key and the expected state.  If it
 * updates the row, that was all; the guard trigger has recorded the fate.  If
 * not, the row is read again to tell the caller why, under two snapshots:
 *
 *	- the one that was active when the call began, with the transaction's own
 *	  changes up to now: the row as it was "when the call began, or by this
 *	  very transaction";
 *	- the latest one: what is committed now, also where the isolation level
 *	  gives the transaction an older view.
 *
 * At READ COMMITTED no subtransaction is needed: an UPDATE that waited for
 * another transaction goes on with the row as that left it.  At the levels
 * above, the server refuses to update a row that changed since the snapshot
 * was taken (40001).  There the UPDATE runs in a subtransaction, so that the
 * row can be read again after that error and PF001 be told instead.
 *
 * The row may be in the expected state before and after an UPDATE that missed
 * it.  Above READ COMMITTED that means that row security, a trigger or a rule
 * kept it from being updated: the UPDATE and the reading saw the same snapshot,
 * and a row that has changed since is refused by the server.  At READ COMMITTED
 * the row may also have gone to another state and come back, or have been
 * deleted and inserted anew, any number of times.  What tells the two apart is
 * the row's version, and where that has changed, a lock:
 *
 *	- If the version that was there before the UPDATE is there still, then the
 *	  UPDATE saw it, and something keeps it from being updated (55000).
 *	- Else it is tried once more, from the version that is there now.  If it has
 *	  changed again, it is locked in the expected state.  Then it can no longer
 *	  change, and another UPDATE either updates it or is suppressed (55000).  It is
 *	  not locked at once, lest a caller who may not update it has to wait for
 *	  somebody who does.
 *	- If there was nothing to lock, then the row was not in the expected state at
 *	  that moment.  If it is by now, it is tried like one that has just been
 *	  found so; if that happens again and again, or if it is not, it has changed
 *	  while the call ran (PF001).
 *
 * Version and lock are taken as the table's owner and past row security, so that
 * no policy and no missing right of the caller blurs the answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "errors.h"
#include "governed.h"
#include "guard.h"
#include "soundness.h"
#include "statement.h"
#include "text_form.h"

PG_FUNCTION_INFO_V1(assign_fate);
PG_FUNCTION_INFO_V1(try_assign_fate);
PG_FUNCTION_INFO_V1(assign_fates);
PG_FUNCTION_INFO_V1(compare_and_swap);
PG_FUNCTION_INFO_V1(try_compare_and_swap);

#define PETITION_TABLE "petition_submissions"

typedef enum Outcome
{
	ASSIGNED,
	NOT_FOUND,
	ALREADY_FATED,
	CONCURRENT_MODIFICATION,
	INVALID_TRANSITION,
	/* not yet an outcome: */
	STILL_EXPECTED,				/* in the expected state, before and after */
	LOCKED,						/* and locked in it */
	CHANGED						/* concurrent modification, but its state is
								 * still to be read */
} Outcome;

/* How often a row that is in the expected state once more is tried again */
#define MAX_TRIES 10

static const char *const outcome_names[] = {
	"assigned", "not_found", "already_fated", "concurrent_modification", "invalid_transition"
};

/* What is read of a row */
typedef struct RowState
{
	bool		exists;			/* is there one that the caller may see? */
	const char *state;			/* NULL if there is none, or if it is null,
								 * which only tampering leaves */
} RowState;

/* Which version of a row it is, as the server stores it */
typedef struct RowVersion
{
	Oid			relid;			/* InvalidOid: there is no row, or not in the
								 * expected state */
	ItemPointerData place;
	TransactionId writer;
} RowVersion;

/* One call: what is to be swapped, and what became of it */
typedef struct Swap
{
	FunctionCallInfo fcinfo;
	Relation	relation;
	Governed   *governed;
	bool		is_petition;
	KeptStatement statement;	/* the UPDATE */
	Datum		key;
	const char *expected_state;
	const char *new_state;
	bool		is_fate;		/* is new_state one? */
	bool		is_transition;	/* is that on the graph, and where it has to
								 * be, a fate? */
	text	   *reason;			/* or NULL */

	RowState	current;		/* once the swap is over */
	HeapTuple	row;			/* what the UPDATE returned */
	TupleDesc	row_desc;
	Datum		result;			/* of the function */
} Swap;

/* ----------------------------------------------------------------------
 * Statements
 * ----------------------------------------------------------------------
 */

/* The columns of petition_submission, in its order */
#define PETITION_COLUMNS \
	"id, type, text, submitter_id, state, content_hash, realm, fate_reason, created_at, updated_at"
#define PETITION_STATE_COLUMN 5

/*
 * Does the UPDATE return the columns of petition_submission?
 */
static bool
returns_petition(KeptStatement statement)
{
	return statement == PETITION_ASSIGN || statement == PETITION_ASSIGN_REASON;
}

/*
 * Has a table the columns of petition_submission and no others, in its order?
 * The caller holds a lock on it.
 */
static bool
has_petition_columns(Oid relid)
{
	Relation	relation = table_open(relid, NoLock);
	TupleDesc	desc = RelationGetDescr(relation);
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
						 column->attisdropped ? "" : NameStr(column->attname));
	}
	table_close(relation, NoLock);
	return strcmp(names.data, PETITION_COLUMNS) == 0;
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
 * Appends what an UPDATE sets: the state, $3, and on petitions the time and,
 * in the variant with a reason, that, $4.
 */
static void
append_assignments(StringInfo query, const Governed *governed, bool is_petition, bool has_reason)
{
	appendStringInfo(query, " SET %s = $3", quote_identifier(governed->state_column));
	if (is_petition)
		appendStringInfoString(query, ", updated_at = pg_catalog.now()");
	if (has_reason)
		appendStringInfoString(query, ", fate_reason = $4");
}

/*
 * Writes the UPDATE of one row:
 *
 *	UPDATE table alias SET state = $3, ... WHERE key = $1 AND state = $2
 *	RETURNING state
 *
 * assign_fate returns the columns of petition_submission instead, of which the
 * state is one, and compare_and_swap the whole row behind the state.  Where the
 * table has just those columns, assign_fate too returns the whole row: the
 * server prepares that faster than ten columns.
 */
static int
write_swap(const Governed *governed, KeptStatement statement, StringInfo query, Oid *types)
{
	bool		is_petition = statement < PETITION_BULK;
	bool		has_reason = statement == PETITION_ASSIGN_REASON || statement == PETITION_TRY_REASON;
	const char *alias = row_alias(governed);

	appendStringInfo(query, "UPDATE %s AS %s", get_relation_sql(governed), alias);
	append_assignments(query, governed, is_petition, has_reason);
	appendStringInfoString(query, " WHERE ");
	append_key(query, governed, NULL);
	append_operator(query, governed->key_equality);
	appendStringInfoString(query, "$1 AND ");
	append_state_equality(query, governed, "$2");
	appendStringInfoString(query, " RETURNING ");
	if (returns_petition(statement))
		appendStringInfoString(query, has_petition_columns(governed->relid) ?
							   alias : PETITION_COLUMNS);
	else
		appendStringInfoString(query, quote_identifier(governed->state_column));
	if (statement == ROW_SWAP)
		appendStringInfo(query, ", %s", alias);

	types[0] = governed->key_type;
	types[1] = types[2] = governed->state_is_enum ? governed->state_type : TEXTOID;
	types[3] = TEXTOID;
	return has_reason ? 4 : 3;
}

/*
 * Writes the UPDATE of many petitions:
 *
 *	WITH locked AS MATERIALIZED (
 *		SELECT key AS locked_key FROM table WHERE key = ANY ($1) AND state = $2
 *		ORDER BY key FOR NO KEY UPDATE)
 *	UPDATE table AS t SET ... FROM locked
 *	WHERE t.key = locked.locked_key AND t.state = $2
 *	RETURNING t.key, t.state
 *
 * The rows are locked in the order of their keys before the first of them is
 * updated: overlapping calls meet at their first common key and cannot
 * deadlock.
 */
static int
write_bulk_swap(const Governed *governed, KeptStatement statement, StringInfo query, Oid *types)
{
	const char *relation = get_relation_sql(governed);

	appendStringInfoString(query, "WITH locked AS MATERIALIZED (SELECT ");
	append_key(query, governed, NULL);
	appendStringInfo(query, " AS locked_key FROM %s WHERE ", relation);
	append_key(query, governed, NULL);
	append_operator(query, governed->key_equality);
	appendStringInfoString(query, "ANY ($1) AND ");
	append_state_equality(query, governed, "$2");
	appendStringInfo(query, " ORDER BY locked_key FOR NO KEY UPDATE) UPDATE %s", relation);
	append_assignments(query, governed, true, statement == PETITION_BULK_REASON);
	appendStringInfoString(query, " FROM locked WHERE ");
	append_key(query, governed, NULL);
	append_operator(query, governed->key_equality);
	appendStringInfoString(query, "locked.locked_key AND ");
	append_state_equality(query, governed, "$2");
	appendStringInfoString(query, " RETURNING ");
	append_key(query, governed, NULL);
	appendStringInfo(query, ", %s", quote_identifier(governed->state_column));

	types[0] = get_array_type(governed->key_type);
	types[1] = types[2] = governed->state_is_enum ? governed->state_type : TEXTOID;
	types[3] = TEXTOID;
	return statement == PETITION_BULK_REASON ? 4 : 3;
}

/*
 * Writes the statements that read or lock rows:
 *
 *	ROW_STATE		SELECT state FROM table WHERE key = $1
 *	ROW_STATES		SELECT state, key FROM table WHERE key = ANY ($1)
 *	ROW_VERSION		SELECT tableoid, ctid, xmin FROM table WHERE key = $1 AND
 *					state = $2
 *	ROW_VERSIONS	SELECT tableoid, ctid, xmin, key FROM table WHERE key = ANY ($1)
 *					AND state = $2
 *	ROW_PROBE		SELECT FROM table WHERE key = $1 FOR NO KEY UPDATE NOWAIT
 *	ROW_LOCK		SELECT FROM table WHERE key = $1 AND state = $2
 *					FOR NO KEY UPDATE
 *	ROWS_LOCK		SELECT key AS locked_key FROM table WHERE key = ANY ($1) AND
 *					state = $2 ORDER BY locked_key FOR NO KEY UPDATE
 *	ROWS_LOCK_FREE	the same, SKIP LOCKED
 *
 * The probe finds out whether a row has changed since the transaction's
 * snapshot: it raises 40001 if so.
 */
static int
write_read(const Governed *governed, KeptStatement statement, StringInfo query, Oid *types)
{
	bool		one = (statement == ROW_STATE || statement == ROW_VERSION ||
					   statement == ROW_PROBE || statement == ROW_LOCK);
	bool		locks = (statement == ROW_LOCK || statement == ROWS_LOCK ||
						 statement == ROWS_LOCK_FREE);
	bool		in_state = locks || statement == ROW_VERSION || statement == ROW_VERSIONS;

	appendStringInfoString(query, "SELECT ");
	if (statement == ROW_STATE || statement == ROW_STATES)
		appendStringInfoString(query, quote_identifier(governed->state_column));
	else if (statement == ROW_VERSION || statement == ROW_VERSIONS)
		appendStringInfoString(query, "tableoid, ctid, xmin");
	if (statement == ROW_STATES || statement == ROW_VERSIONS)
		appendStringInfoString(query, ", ");
	if (!one)
		append_key(query, governed, NULL);
	if (locks && !one)
		appendStringInfoString(query, " AS locked_key");

	appendStringInfo(query, " FROM %s WHERE ", get_relation_sql(governed));
	append_key(query, governed, NULL);
	append_operator(query, governed->key_equality);
	appendStringInfoString(query, one ? "$1" : "ANY ($1)");
	types[0] = one ? governed->key_type : get_array_type(governed->key_type);
	if (in_state)
	{
		appendStringInfoString(query, " AND ");
		append_state_equality(query, governed, "$2");
		types[1] = governed->state_is_enum ? governed->state_type : TEXTOID;
	}

	if (locks && !one)
		appendStringInfoString(query, " ORDER BY locked_key");
	if (locks || statement == ROW_PROBE)
		appendStringInfoString(query, " FOR NO KEY UPDATE");
	if (statement == ROW_PROBE)
		appendStringInfoString(query, " NOWAIT");
	if (statement == ROWS_LOCK_FREE)
		appendStringInfoString(query, " SKIP LOCKED");
	return in_state ? 2 : 1;
}

/*
 * Writes the statement that reads who assigned a fate, and when.
 */
static int
write_ledger_read(const Governed *governed, KeptStatement statement, StringInfo query, Oid *types)
{
	types[0] = governed->key_type;
	appendStringInfoString(query, "SELECT assigned_at, assigned_by FROM ");
	append_qualified(query, governed->ledger_schema, governed->ledger);
	appendStringInfoString(query, " WHERE ");
	append_key(query, governed, NULL);
	append_operator(query, governed->key_equality);
	appendStringInfoString(query, "$1");
	return 1;
}

/* ----------------------------------------------------------------------
 * Opening and closing
 * ----------------------------------------------------------------------
 */

/*
 * Finds the caller's petition_submissions along his search_path and opens it.
 */
static Relation
open_petitions(void)
{
	Oid			relid = RangeVarGetRelid(makeRangeVar(NULL, PETITION_TABLE, -1),
										 RowExclusiveLock, true);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s\" does not exist", PETITION_TABLE),
				 errhint("Call create_petitions(), or set the search_path to the schema that has it, on which you need USAGE.")));
	return table_open(relid, NoLock);
}

/*
 * Opens the table whose row type the function's first argument has.
 */
static Relation
open_subject(FunctionCallInfo fcinfo)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	Oid			relid = OidIsValid(type) ? get_typ_typrelid(getBaseType(type)) : InvalidOid;
	Relation	relation;

	if (!OidIsValid(relid) || get_rel_relkind(relid) == RELKIND_COMPOSITE_TYPE)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument \"subject\" does not have the row type of a table"),
				 errhint("Name the table by a null of its row type, such as null::orders.")));

	/* somebody may have dropped it while we waited for the lock */
	relation = try_relation_open(relid, RowExclusiveLock);
	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation of argument \"subject\" does not exist")));
	return relation;
}

/*
 * Returns the number of a state that the caller names; raises 22023 for one
 * that the lifecycle does not know.
 */
static int
find_named_state(const Swap *swap, const char *state)
{
	int			number = lifecycle_find(swap->governed->lifecycle, state, strlen(state));

	if (number == NO_STATE)
		report_unknown_state(swap->governed->lifecycle,
							 RelationGetRelationName(swap->relation), state);
	return number;
}

/*
 * Takes the states, and on petitions the reason, from the arguments that
 * follow the key, and looks the states up.  The relation is governed.
 */
static void
read_arguments(Swap *swap, int first)
{
	FunctionCallInfo fcinfo = swap->fcinfo;
	int			from;
	int			to;

	swap->expected_state = get_text_argument(fcinfo, first, "expected_state");
	swap->new_state = get_text_argument(fcinfo, first + 1, "new_state");
	if (swap->is_petition && !PG_ARGISNULL(first + 2))
	{
		swap->reason = PG_GETARG_TEXT_PP(first + 2);
		swap->statement++;
	}

	from = find_named_state(swap, swap->expected_state);
	to = find_named_state(swap, swap->new_state);
	swap->is_fate = lifecycle_is_fate(swap->governed->lifecycle, to);
	swap->is_transition = lifecycle_allows(swap->governed->lifecycle, from, to) &&
		(!swap->is_petition || swap->is_fate);
}

/*
 * Raises 55000 unless petition_submissions is governed as create_petitions()
 * does it: by id, a uuid, and state.
 */
static void
check_petition_columns(const Swap *swap)
{
	const Governed *governed = swap->governed;

	if (governed->key_type != UUIDOID || strcmp(governed->key_column, "id") != 0 ||
		strcmp(governed->state_column, "state") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" is not governed by a column \"id\" of type uuid and a column \"state\"",
						PETITION_TABLE),
				 errhint("Use compare_and_swap for other tables than the one that create_petitions() creates.")));
}

/*
 * Reads a key that the caller gave as text, by its base type.  Raises 0A000 for
 * a key of a type within which a domain would check it by anybody's code.
 */
static Datum
parse_key(const Governed *governed, const char *key)
{
	Oid			input;
	Oid			parameter;

	check_nested_domains(governed->key_type,
						 "Move the row by an UPDATE of its own, or govern by a key of another type.");
	getTypeInputInfo(governed->key_type, &input, &parameter);
	return OidInputFunctionCall(input, unconstify(char *, key), parameter, -1);
}

/* ----------------------------------------------------------------------
 * The UPDATE
 * ----------------------------------------------------------------------
 */

/*
 * Fills in the parameters of an UPDATE: keys may be one or an array.
 */
static void
fill_parameters(const Swap *swap, Datum keys, Datum *values)
{
	values[0] = keys;
	values[1] = state_datum(swap->governed, swap->expected_state);
	values[2] = state_datum(swap->governed, swap->new_state);
	values[3] = PointerGetDatum(swap->reason);
}

/*
 * Raises 55000 if rows, that many, were stored with their fate in a table that
 * is unsound: its guard, which asks that too, may be what is missing.  So may
 * that of a partition: then it has not seen the row.
 */
static void
check_stored_where(const Swap *swap, uint64 updated)
{
	if (!swap->is_fate)
		return;
	(void) check_sound(swap->governed, swap->relation);
	if (swap->governed->is_partitioned && counted(swap->governed) < updated)
		check_partitions(swap->governed, swap->relation);
}

/*
 * Raises 55000 if a row was stored with another state than it was to have.
 */
static void
check_stored_state(const Swap *swap, Datum state, bool isnull)
{
	const char *stored = isnull ? NULL : state_text(swap->governed, state);

	if (stored != NULL && strcmp(stored, swap->new_state) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 stored == NULL ?
			 errmsg("row of relation \"%s\" was stored without a state instead of with \"%s\"",
					RelationGetRelationName(swap->relation), swap->new_state) :
			 errmsg("row of relation \"%s\" was stored with state \"%s\" instead of \"%s\"",
					RelationGetRelationName(swap->relation), stored, swap->new_state),
			 errhint("A BEFORE trigger of the table changes the state. Nothing was stored."),
			 errtable(swap->relation)));
}

/*
 * Raises 55000 for an update that was suppressed: the row is there in the
 * expected state, and yet is not updated.
 */
pg_noreturn static void
report_suppressed(const Swap *swap, Datum key)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("update of row \"%s\" of relation \"%s\" was suppressed",
					key_text(swap->governed, key), RelationGetRelationName(swap->relation)),
			 errdetail("The row is in state \"%s\", as expected, but was not updated.",
					   swap->expected_state),
			 errhint("A row security policy that lets you read the row but not update it does that, and so does a BEFORE trigger that returns null, or a rule."),
			 errtable(swap->relation)));
}

/*
 * Raises 55000 for an UPDATE of one key that hit several rows.
 */
pg_noreturn static void
report_not_unique(const Swap *swap, Datum key)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("key \"%s\" is not unique in governed relation \"%s\"",
					key_text(swap->governed, key), RelationGetRelationName(swap->relation)),
			 errdetail("More than one row has this key, so a fate could be assigned to the wrong one."),
			 errhint("Nothing was changed. Give every row a key of its own. SELECT * FROM verify_fates(%s), as the owner of the relation, tells whether its unique index is missing.",
					 quote_literal_cstr(quote_qualified_identifier(swap->governed->relation_schema,
																   swap->governed->relation))),
			 errtable(swap->relation)));
}

/*
 * Returns a row that the last statement returned, by its number.
 */
static HeapTuple
returned_row(uint64 number)
{
	if (SPI_tuptable == NULL || number >= SPI_tuptable->numvals)
		elog(ERROR, "statement did not return row " UINT64_FORMAT, number);
	return SPI_tuptable->vals[number];
}

/*
 * Executes a statement on the table as the table's owner and past row security,
 * as referential integrity does it.  What it tells depends on the row alone.
 * The owner needs the rights that owners have by default.
 */
static uint64
execute_as_owner(const Swap *swap, KeptStatement statement, Datum *values, Snapshot snapshot)
{
	Oid			user;
	int			security;
	uint64		count;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(swap->relation->rd_rel->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	count = governed_execute(swap->governed, statement, write_read,
							 RelationGetRelid(swap->relation), values, NULL, snapshot, true);
	SetUserIdAndSecContext(user, security);
	return count;
}

/*
 * Takes the row out of the one column that an UPDATE of the whole row returned.
 */
static void
open_whole_row(Swap *swap)
{
	bool		isnull;
	Datum		column = SPI_getbinval(swap->row, swap->row_desc, 1, &isnull);
	HeapTupleHeader whole;

	if (isnull)
		elog(ERROR, "updated row of relation \"%s\" is null",
			 RelationGetRelationName(swap->relation));
	whole = DatumGetHeapTupleHeader(column);
	swap->row = palloc0(HEAPTUPLESIZE);
	swap->row->t_len = HeapTupleHeaderGetDatumLength(whole);
	swap->row->t_data = whole;
	swap->row_desc = RelationGetDescr(swap->relation);
}

/*
 * Executes the UPDATE of one row; returns whether it updated it, and then
 * leaves what it returned in the swap.  The guard's trigger fires within.
 */
static bool
execute_swap(Swap *swap)
{
	Datum		values[4];
	uint64		updated;
	Datum		state;
	bool		isnull;

	fill_parameters(swap, swap->key, values);
	count_fates(swap->governed);
	updated = governed_execute(swap->governed, swap->statement, write_swap,
							   RelationGetRelid(swap->relation), values, NULL,
							   InvalidSnapshot, true);
	if (updated == 0)
		return false;
	if (updated > 1)
		report_not_unique(swap, swap->key);

	swap->row = returned_row(0);
	swap->row_desc = SPI_tuptable->tupdesc;
	if (returns_petition(swap->statement) && swap->row_desc->natts == 1)
		open_whole_row(swap);
	state = heap_getattr(swap->row,
						 returns_petition(swap->statement) ? PETITION_STATE_COLUMN : 1,
						 swap->row_desc, &isnull);
	check_stored_where(swap, updated);
	check_stored_state(swap, state, isnull);
	swap->current.exists = true;
	swap->current.state = swap->new_state;
	return true;
}

/*
 * Calls a function in a subtransaction; returns whether the server refused
 * there to work on a row that has changed since the snapshot, and that error
 * in *conflict.  Raises other errors.
 */
static bool
meets_conflict(void (*function) (void *), void *argument, ErrorData **conflict)
{
	*conflict = call_in_subtransaction(function, argument);
	if (*conflict != NULL && !is_row_conflict(*conflict))
		ReThrowError(*conflict);
	return *conflict != NULL;
}

static void
execute_probe(void *argument)
{
	Swap	   *swap = argument;

	governed_execute(swap->governed, ROW_PROBE, write_read,
					 RelationGetRelid(swap->relation), &swap->key, NULL,
					 InvalidSnapshot, true);
}

static void
execute_swap_for_subtransaction(void *argument)
{
	execute_swap((Swap *) argument);
}

/*
 * Has the swap's row changed since the transaction's snapshot?  Asks the
 * server by locking it.  One that somebody else has locked has not changed
 * yet: that a row has changed is told before any lock is waited for.
 */
static bool
row_has_changed(Swap *swap)
{
	ErrorData  *error = call_in_subtransaction(execute_probe, swap);

	if (error == NULL || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return false;
	if (!is_row_conflict(error))
		ReThrowError(error);
	return true;
}

/*
 * Executes the UPDATE of one row at REPEATABLE READ or SERIALIZABLE.  Returns
 * whether the row was updated; *changed is whether it was refused because the
 * row has changed since the snapshot.  The same error may come from another
 * row that somebody's trigger works on: then ours has not changed, and the
 * error is passed on as what it is.
 */
static bool
execute_swap_in_snapshot(Swap *swap, bool *changed)
{
	ErrorData  *error;

	swap->row = NULL;
	*changed = meets_conflict(execute_swap_for_subtransaction, swap, &error);
	if (*changed && !row_has_changed(swap))
		ReThrowError(error);
	return !*changed && swap->row != NULL;
}

/* ----------------------------------------------------------------------
 * Diagnosis
 * ----------------------------------------------------------------------
 */

/*
 * Returns the state of a row that a statement returned in its first column.
 */
static RowState
returned_state(const Swap *swap, HeapTuple row)
{
	RowState	result = {true, NULL};
	bool		isnull;
	Datum		state = SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull);

	if (!isnull)
		result.state = state_text(swap->governed, state);
	return result;
}

/*
 * Returns the version of a row that a statement returned in its first three
 * columns.
 */
static RowVersion
returned_version(HeapTuple row)
{
	RowVersion	version;
	TupleDesc	desc = SPI_tuptable->tupdesc;
	bool		isnull;

	version.relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
	version.place = *(ItemPointer) DatumGetPointer(SPI_getbinval(row, desc, 2, &isnull));
	version.writer = DatumGetTransactionId(SPI_getbinval(row, desc, 3, &isnull));
	return version;
}

/*
 * Are two versions of a row the same, and is there one?
 */
static bool
is_same_version(RowVersion a, RowVersion b)
{
	return OidIsValid(a.relid) && a.relid == b.relid && a.writer == b.writer &&
		ItemPointerEquals(&a.place, &b.place);
}

/*
 * Is there such a row, in that state?
 */
static bool
is_in_state(RowState row, const char *state)
{
	return row.state != NULL && strcmp(row.state, state) == 0;
}

/*
 * Finds out why a swap was not made, from the row as it was when the call began
 * and as it is now.  changed: the server refused the update because the row has
 * changed.
 */
static Outcome
find_outcome(const Swap *swap, RowState began, RowState current, bool changed)
{
	const Lifecycle *lifecycle = swap->governed->lifecycle;

	if (!began.exists && !current.exists)
		return NOT_FOUND;
	if (began.state != NULL)
	{
		int			state = lifecycle_find(lifecycle, began.state, strlen(began.state));

		if (state != NO_STATE && lifecycle_is_fate(lifecycle, state))
			return ALREADY_FATED;
	}
	if (changed || !is_in_state(began, swap->expected_state) ||
		!is_in_state(current, swap->expected_state))
		return CONCURRENT_MODIFICATION;
	return swap->is_transition ? STILL_EXPECTED : INVALID_TRANSITION;
}

/*
 * Reads the state of a row under a snapshot.
 */
static RowState
read_state(const Swap *swap, Snapshot snapshot)
{
	Datum		key = swap->key;
	RowState	none = {false, NULL};

	if (governed_execute(swap->governed, ROW_STATE, write_read, RelationGetRelid(swap->relation),
						 &key, NULL, snapshot, true) == 0)
		return none;
	return returned_state(swap, returned_row(0));
}

/*
 * Reads the state that the row has now.
 */
static void
read_current_state(Swap *swap)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

	swap->current = read_state(swap, latest);
	UnregisterSnapshot(latest);
}

/*
 * Reads the row again and finds out why it was not swapped.
 */
static Outcome
diagnose(Swap *swap, bool changed)
{
	RowState	began = read_state(swap, GetActiveSnapshot());

	read_current_state(swap);
	return find_outcome(swap, began, swap->current, changed);
}

/*
 * Reads which version of the row is in the expected state under a snapshot.
 */
static RowVersion
read_version(const Swap *swap, Snapshot snapshot)
{
	RowVersion	none = {InvalidOid};
	Datum		values[4];

	fill_parameters(swap, swap->key, values);
	if (execute_as_owner(swap, ROW_VERSION, values, snapshot) == 0)
		return none;
	return returned_version(returned_row(0));
}

/*
 * Reads which version of the row is in the expected state now.
 */
static RowVersion
read_current_version(const Swap *swap)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	RowVersion	version = read_version(swap, latest);

	UnregisterSnapshot(latest);
	return version;
}

/*
 * Waits for the row and locks it; returns false if it is not in the expected
 * state then.
 */
static bool
lock_row(const Swap *swap)
{
	Datum		values[4];

	fill_parameters(swap, swap->key, values);
	return execute_as_owner(swap, ROW_LOCK, values, InvalidSnapshot) > 0;
}

/*
 * Makes the swap of a row that one UPDATE has missed although it was in the
 * expected state before and after; see the head of this file.
 */
static Outcome
settle_swap(Swap *swap)
{
	RowVersion	before;

	if (IsolationUsesXactSnapshot())
		report_suppressed(swap, swap->key);
	before = read_version(swap, GetActiveSnapshot());
	for (int try = 0; try < MAX_TRIES; try++)
	{
		if (is_same_version(before, read_current_version(swap)))
			report_suppressed(swap, swap->key);
		if (try > 0 && lock_row(swap))
		{
			if (execute_swap(swap))
				return ASSIGNED;
			report_suppressed(swap, swap->key);
		}
		before = read_current_version(swap);
		if (!OidIsValid(before.relid))
			break;
		if (execute_swap(swap))
			return ASSIGNED;
	}
	read_current_state(swap);
	return CONCURRENT_MODIFICATION;
}

/*
 * Makes the swap; connected to SPI.
 */
static Outcome
make_swap(Swap *swap)
{
	bool		changed = false;
	Outcome		outcome;

	if (swap->is_transition &&
		(IsolationUsesXactSnapshot() ?
		 execute_swap_in_snapshot(swap, &changed) : execute_swap(swap)))
		return ASSIGNED;
	outcome = diagnose(swap, changed);
	return outcome == STILL_EXPECTED ? settle_swap(swap) : outcome;
}

/*
 * Adds to a refusal who assigned the fate that stands, and when, if the caller
 * may read the ledger, and if the ledger still has both.
 */
static void
read_assignment(Swap *swap, Refusal *refusal)
{
	Oid			ledger = governed_ledger(swap->governed, true);
	Snapshot	latest;
	bool		isnull;

	if (!OidIsValid(ledger) || pg_class_aclcheck(ledger, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return;
	latest = RegisterSnapshot(GetLatestSnapshot());
	if (governed_execute(swap->governed, LEDGER_READ, write_ledger_read, ledger,
						 &swap->key, NULL, latest, true) > 0)
	{
		HeapTuple	row = returned_row(0);
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Datum		assigned_at = SPI_getbinval(row, desc, 1, &isnull);

		if (!isnull && SPI_gettypeid(desc, 1) == TIMESTAMPTZOID)
		{
			refusal->assigned_at = DatumGetTimestampTz(assigned_at);
			refusal->assigned_by = SPI_getvalue(row, desc, 2);
		}
	}
	UnregisterSnapshot(latest);
}

/*
 * Raises the error for an outcome other than ASSIGNED.
 */
pg_noreturn static void
report_outcome(Swap *swap, Outcome outcome)
{
	const Lifecycle *lifecycle = swap->governed->lifecycle;
	Refusal		refusal = {0};
	int			current = NO_STATE;

	if (swap->current.state != NULL)
		current = lifecycle_find(lifecycle, swap->current.state, strlen(swap->current.state));
	refusal.relation = swap->relation;
	refusal.is_petition = swap->is_petition;
	refusal.key = key_text(swap->governed, swap->key);
	refusal.expected_state = swap->expected_state;
	refusal.current_state = swap->current.state;
	refusal.is_missing = !swap->current.exists;
	refusal.new_state = swap->new_state;
	refusal.allowed = lifecycle_targets(lifecycle, current, &refusal.nallowed);
	refusal.is_fated = current != NO_STATE && lifecycle_is_fate(lifecycle, current);
	if (refusal.is_fated)
		read_assignment(swap, &refusal);

	if (outcome == NOT_FOUND)
		report_not_found(&refusal);
	if (outcome == ALREADY_FATED)
		report_already_fated(&refusal);
	if (outcome == CONCURRENT_MODIFICATION)
		report_concurrent_modification(&refusal);
	if (lifecycle_allows(lifecycle, current,
						 lifecycle_find(lifecycle, swap->new_state, strlen(swap->new_state))))
		report_not_a_fate(&refusal);
	report_invalid_transition(&refusal);
}

/* ----------------------------------------------------------------------
 * One row
 * ----------------------------------------------------------------------
 */

/*
 * Returns the row that the UPDATE of assign_fate returned, as a value of the
 * composite type petition_submission, in the current memory context.  Raises
 * 42804 if table and type no longer have the same columns, of the same types.
 */
static Datum
make_petition(const Swap *swap, Oid type)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	Datum		petition;

	for (int i = 0; i < Max(desc->natts, swap->row_desc->natts); i++)
	{
		Form_pg_attribute wanted;
		Form_pg_attribute found;

		if (i >= Min(desc->natts, swap->row_desc->natts) ||
			TupleDescAttr(desc, i)->attisdropped || TupleDescAttr(swap->row_desc, i)->attisdropped)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("type %s does not have the columns of relation \"%s\"",
							format_type_be(type), RelationGetRelationName(swap->relation)),
					 errhint("The type belongs to the extension. Undo what was done to it.")));

		wanted = TupleDescAttr(desc, i);
		found = TupleDescAttr(swap->row_desc, i);
		if (wanted->atttypid != found->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of relation \"%s\" is of type %s instead of %s",
							NameStr(found->attname), RelationGetRelationName(swap->relation),
							format_type_be(found->atttypid), format_type_be(wanted->atttypid)),
					 errhint("try_assign_fate and compare_and_swap work on tables of any types.")));
	}
	petition = heap_copy_tuple_as_datum(swap->row, desc);
	ReleaseTupleDesc(desc);
	return petition;
}

/*
 * Returns the result of a try_ function, a record of outcome and state, in the
 * current memory context.
 */
static Datum
make_attempt(const Swap *swap, Outcome outcome)
{
	FunctionCallInfo fcinfo = swap->fcinfo;
	TupleDesc	desc = fcinfo->flinfo->fn_extra;
	Datum		values[2] = {0};
	bool		nulls[2] = {false, swap->current.state == NULL};

	if (desc == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		desc = BlessTupleDesc(desc);
		fcinfo->flinfo->fn_extra = desc;
		MemoryContextSwitchTo(caller);
	}
	values[0] = CStringGetTextDatum(outcome_names[outcome]);
	if (swap->current.state != NULL)
		values[1] = CStringGetTextDatum(swap->current.state);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * Returns the row that the UPDATE of compare_and_swap returned, in the current
 * memory context.  Where the caller named the table by a domain over its row
 * type, raises that domain's own 23514 if the row violates it.
 */
static Datum
make_row(const Swap *swap)
{
	FmgrInfo   *function = swap->fcinfo->flinfo;
	Oid			type = get_fn_expr_argtype(function, 0);
	bool		isnull;
	Datum		row = SPI_getbinval(swap->row, swap->row_desc, 2, &isnull);

	if (isnull)
		elog(ERROR, "updated row of relation \"%s\" is null",
			 RelationGetRelationName(swap->relation));
	row = datumCopy(row, false, -1);
	if (get_typtype(type) == TYPTYPE_DOMAIN)
		domain_check(row, false, type, &function->fn_extra, function->fn_mcxt);
	return row;
}

/*
 * Returns what the swap's function returns, in the current memory context.
 */
static Datum
make_result(const Swap *swap, Outcome outcome)
{
	switch (swap->statement)
	{
		case PETITION_ASSIGN:
		case PETITION_ASSIGN_REASON:
			return make_petition(swap, get_func_rettype(swap->fcinfo->flinfo->fn_oid));
		case ROW_SWAP:
			return make_row(swap);
		default:
			return make_attempt(swap, outcome);
	}
}

/*
 * Swaps one row: reads the arguments, makes the swap, and raises an error if
 * the row was not swapped, or returns the outcome where the function does that.
 */
static void
swap_row(Swap *swap)
{
	FunctionCallInfo fcinfo = swap->fcinfo;
	MemoryContext caller = CurrentMemoryContext;
	Outcome		outcome;

	check_readable(swap->governed, swap->relation);
	if (swap->is_petition)
	{
		check_petition_columns(swap);
		swap->key = PG_GETARG_DATUM(0);
		read_arguments(swap, 1);
	}
	else
	{
		swap->key = parse_key(swap->governed, text_to_cstring(PG_GETARG_TEXT_PP(1)));
		read_arguments(swap, 2);
	}

	SPI_connect();
	outcome = make_swap(swap);
	if (outcome != ASSIGNED &&
		(returns_petition(swap->statement) || swap->statement == ROW_SWAP))
		report_outcome(swap, outcome);
	MemoryContextSwitchTo(caller);
	swap->result = make_result(swap, outcome);
	SPI_finish();
}

/*
 * Does the work of a call on its relation, which is open, and closes that; its
 * lock stays until the transaction ends, as after any UPDATE.
 */
static Datum
run_swap(Swap *swap, FunctionCallInfo fcinfo, void (*work) (Swap *))
{
	swap->fcinfo = fcinfo;
	swap->governed = get_governed(swap->relation);
	work(swap);
	relation_close(swap->relation, NoLock);
	return swap->result;
}

/*
 * Swaps one petition.
 */
static Datum
swap_petition(FunctionCallInfo fcinfo, KeptStatement statement, const char *function)
{
	Swap		swap = {0};

	PreventCommandIfReadOnly(function);
	check_not_null(fcinfo, 0, "submission_id");
	swap.is_petition = true;
	swap.statement = statement;
	swap.relation = open_petitions();
	return run_swap(&swap, fcinfo, swap_row);
}

/*
 * Swaps one row of the table that the first argument names.
 */
static Datum
swap_subject(FunctionCallInfo fcinfo, KeptStatement statement, const char *function)
{
	Swap		swap = {0};

	PreventCommandIfReadOnly(function);
	check_not_null(fcinfo, 1, "key");
	swap.statement = statement;
	swap.relation = open_subject(fcinfo);
	return run_swap(&swap, fcinfo, swap_row);
}

/*
 * assign_fate(submission_id, expected_state, new_state, reason) returns the
 * petition as it is with its fate.
 */
Datum
assign_fate(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(swap_petition(fcinfo, PETITION_ASSIGN, "assign_fate()"));
}

/*
 * try_assign_fate(same arguments) returns outcome and current state.
 */
Datum
try_assign_fate(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(swap_petition(fcinfo, PETITION_TRY, "try_assign_fate()"));
}

/*
 * compare_and_swap(subject, key, expected_state, new_state) returns the row as
 * it is then.
 */
Datum
compare_and_swap(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(swap_subject(fcinfo, ROW_SWAP, "compare_and_swap()"));
}

/*
 * try_compare_and_swap(same arguments) returns outcome and current state.
 */
Datum
try_compare_and_swap(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(swap_subject(fcinfo, ROW_TRY, "try_compare_and_swap()"));
}

/* ----------------------------------------------------------------------
 * Many petitions
 * ----------------------------------------------------------------------
 */

/* One petition of a bulk call */
typedef struct BulkItem
{
	pg_uuid_t	id;
	Outcome		outcome;
	RowState	began;			/* when the call began */
	RowState	current;		/* now */
} BulkItem;

/* All petitions of a bulk call, each once, sorted by id */
typedef struct Bulk
{
	Swap	   *swap;
	int			count;
	BulkItem   *items;
	Outcome		target;			/* which of them are to be updated */
} Bulk;

static int
compare_items(const void *a, const void *b)
{
	return memcmp(&((const BulkItem *) a)->id, &((const BulkItem *) b)->id, UUID_LEN);
}

/*
 * Collects the ids of an array, sorted and each once.
 */
static void
collect_items(Bulk *bulk, const Datum *ids, int count)
{
	int			distinct = 0;

	bulk->items = MemoryContextAllocExtended(CurrentMemoryContext,
											 Max(1, count) * sizeof(BulkItem),
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < count; i++)
	{
		bulk->items[i].id = *DatumGetUUIDP(ids[i]);
		bulk->items[i].outcome = STILL_EXPECTED;
	}
	qsort(bulk->items, count, sizeof(BulkItem), compare_items);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || compare_items(&bulk->items[i], &bulk->items[distinct - 1]) != 0)
			bulk->items[distinct++] = bulk->items[i];
	}
	bulk->count = distinct;
	bulk->target = STILL_EXPECTED;
}

/*
 * Returns the item of an id, which is there.
 */
static BulkItem *
find_item(const Bulk *bulk, Datum id)
{
	BulkItem	wanted = {0};
	BulkItem   *item;

	wanted.id = *DatumGetUUIDP(id);
	item = bsearch(&wanted, bulk->items, bulk->count, sizeof(BulkItem), compare_items);
	if (item == NULL)
		elog(ERROR, "id \"%s\" was not asked for", key_text(bulk->swap->governed, id));
	return item;
}

/*
 * Returns the item of a row that a statement returned, by its id in that
 * column.
 */
static BulkItem *
returned_item(const Bulk *bulk, HeapTuple row, int column)
{
	bool		isnull;
	Datum		id = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	if (isnull)
		elog(ERROR, "row of relation \"%s\" has no id",
			 RelationGetRelationName(bulk->swap->relation));
	return find_item(bulk, id);
}

/*
 * Makes an array of the ids that have that outcome, in order, beginning with
 * the item of that number; *count is how many they are.
 */
static Datum
ids_with(const Bulk *bulk, Outcome outcome, int first, int *count)
{
	Datum	   *ids = MemoryContextAllocExtended(CurrentMemoryContext,
												 Max(1, bulk->count) * sizeof(Datum),
												 MCXT_ALLOC_HUGE);

	*count = 0;
	for (int i = first; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == outcome)
			ids[(*count)++] = UUIDPGetDatum(&bulk->items[i].id);
	}
	return PointerGetDatum(construct_array(ids, *count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/*
 * Executes the UPDATE of all petitions that are its target and marks those that
 * it updated.
 */
static void
update_bulk(void *argument)
{
	Bulk	   *bulk = argument;
	Swap	   *swap = bulk->swap;
	int			count;
	Datum		values[4];
	uint64		updated;

	fill_parameters(swap, ids_with(bulk, bulk->target, 0, &count), values);
	if (count == 0)
		return;
	count_fates(swap->governed);
	updated = governed_execute(swap->governed, swap->statement, write_bulk_swap,
							   RelationGetRelid(swap->relation), values, NULL,
							   InvalidSnapshot, true);
	if (updated > 0)
		check_stored_where(swap, updated);
	for (uint64 i = 0; i < updated; i++)
	{
		HeapTuple	row = returned_row(i);
		bool		isnull;
		Datum		state = SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull);
		BulkItem   *item;

		check_stored_state(swap, state, isnull);
		item = returned_item(bulk, row, 1);
		if (item->outcome != bulk->target)
			report_not_unique(swap, UUIDPGetDatum(&item->id));
		item->outcome = ASSIGNED;
		item->current.exists = true;
		item->current.state = swap->new_state;
	}
}

/*
 * Swaps all petitions that are the target and marks those that it swapped;
 * their fates are recorded.
 */
static void
execute_bulk(void *argument)
{
	Bulk	   *bulk = argument;
	Swap	   *swap = bulk->swap;

	record_together(swap->governed, swap->relation, swap->expected_state, swap->new_state,
					bulk->count, update_bulk, bulk);
}

/*
 * Reads the states of the remaining petitions under a snapshot, as began or
 * as current state.
 */
static void
read_states(Bulk *bulk, Snapshot snapshot, bool began)
{
	Swap	   *swap = bulk->swap;
	RowState	none = {false, NULL};
	int			count;
	Datum		ids = ids_with(bulk, STILL_EXPECTED, 0, &count);
	uint64		found;

	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == STILL_EXPECTED)
			*(began ? &bulk->items[i].began : &bulk->items[i].current) = none;
	}
	if (count == 0)
		return;
	found = governed_execute(swap->governed, ROW_STATES, write_read,
							 RelationGetRelid(swap->relation), &ids, NULL, snapshot, true);
	for (uint64 i = 0; i < found; i++)
	{
		HeapTuple	row = returned_row(i);
		BulkItem   *item = returned_item(bulk, row, 2);

		*(began ? &item->began : &item->current) = returned_state(swap, row);
	}
}

/*
 * Reads the states that the remaining petitions have now.
 */
static void
read_current_states(Bulk *bulk)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

	read_states(bulk, latest, false);
	UnregisterSnapshot(latest);
}

/*
 * Finds out why the remaining petitions were not swapped; returns whether
 * some of them were in the expected state before and after.
 */
static bool
diagnose_bulk(Bulk *bulk)
{
	bool		some = false;

	read_states(bulk, GetActiveSnapshot(), true);
	read_current_states(bulk);

	for (int i = 0; i < bulk->count; i++)
	{
		BulkItem   *item = &bulk->items[i];

		if (item->outcome != STILL_EXPECTED)
			continue;
		item->outcome = find_outcome(bulk->swap, item->began, item->current, false);
		some = some || item->outcome == STILL_EXPECTED;
	}
	return some;
}

/*
 * Raises 55000 if one of the petitions has that outcome.
 */
static void
report_suppressed_with(const Bulk *bulk, Outcome outcome)
{
	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == outcome)
			report_suppressed(bulk->swap, UUIDPGetDatum(&bulk->items[i].id));
	}
}

/*
 * Returns which versions of the remaining petitions are in the expected state
 * under a snapshot, in the order of the items.
 */
static RowVersion *
read_versions(const Bulk *bulk, Snapshot snapshot)
{
	RowVersion *versions = MemoryContextAllocExtended(CurrentMemoryContext,
													  bulk->count * sizeof(RowVersion),
													  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	int			count;
	Datum		values[4];
	uint64		found;

	fill_parameters(bulk->swap, ids_with(bulk, STILL_EXPECTED, 0, &count), values);
	found = execute_as_owner(bulk->swap, ROW_VERSIONS, values, snapshot);
	for (uint64 i = 0; i < found; i++)
	{
		HeapTuple	row = returned_row(i);

		versions[returned_item(bulk, row, 4) - bulk->items] = returned_version(row);
	}
	return versions;
}

/*
 * Returns which versions of the remaining petitions are in the expected state
 * now.
 */
static RowVersion *
read_current_versions(const Bulk *bulk)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	RowVersion *versions = read_versions(bulk, latest);

	UnregisterSnapshot(latest);
	return versions;
}

/*
 * Raises 55000 if one of the remaining petitions, which an UPDATE has missed,
 * is there in the same version as before.
 */
static void
report_unchanged(const Bulk *bulk, const RowVersion *before)
{
	RowVersion *current = read_current_versions(bulk);

	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == STILL_EXPECTED && is_same_version(before[i], current[i]))
			report_suppressed(bulk->swap, UUIDPGetDatum(&bulk->items[i].id));
	}
	pfree(current);
}

/*
 * Locks those of the remaining petitions, beginning with the item of that
 * number, that are in the expected state, and swaps them.  Raises 55000 if one
 * is locked and yet not updated.
 */
static void
lock_and_swap(Bulk *bulk, KeptStatement lock, int first)
{
	int			count;
	Datum		values[4];
	uint64		locked;

	fill_parameters(bulk->swap, ids_with(bulk, STILL_EXPECTED, first, &count), values);
	if (count == 0)
		return;
	locked = execute_as_owner(bulk->swap, lock, values, InvalidSnapshot);
	if (locked == 0)
		return;
	for (uint64 i = 0; i < locked; i++)
		returned_item(bulk, returned_row(i), 1)->outcome = LOCKED;

	bulk->target = LOCKED;
	execute_bulk(bulk);
	bulk->target = STILL_EXPECTED;
	report_suppressed_with(bulk, LOCKED);
}

/*
 * Returns the number of the first item behind all that are assigned.
 */
static int
first_after_assigned(const Bulk *bulk)
{
	int			first = bulk->count;

	while (first > 0 && bulk->items[first - 1].outcome != ASSIGNED)
		first--;
	return first;
}

/*
 * Swaps the petitions that one UPDATE has missed although they were in the
 * expected state before and after; see the head of this file.
 *
 * Others may wait for what this call has locked by now, so it may itself wait
 * only for ids that come after all of those: that is the order of all calls.
 * An earlier one that somebody else has locked is not waited for.  It has changed
 * while the call ran, and that is told, although something might keep it from
 * being updated as well.
 */
static void
settle_bulk(Bulk *bulk)
{
	RowVersion *before = read_versions(bulk, GetActiveSnapshot());
	bool		some = true;

	for (int try = 0; try < MAX_TRIES && some; try++)
	{
		int			first;

		if (try > 0)
			execute_bulk(bulk);
		report_unchanged(bulk, before);
		lock_and_swap(bulk, ROWS_LOCK_FREE, 0);
		if (try > 0)
			lock_and_swap(bulk, ROWS_LOCK, first_after_assigned(bulk));

		first = first_after_assigned(bulk);
		before = read_current_versions(bulk);
		some = false;
		for (int i = 0; i < bulk->count; i++)
		{
			if (bulk->items[i].outcome != STILL_EXPECTED)
				continue;
			if (i < first || !OidIsValid(before[i].relid))
				bulk->items[i].outcome = CHANGED;
			else
				some = true;
		}
	}

	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == CHANGED)
			bulk->items[i].outcome = STILL_EXPECTED;
	}
	read_current_states(bulk);
	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == STILL_EXPECTED)
			bulk->items[i].outcome = CONCURRENT_MODIFICATION;
	}
}

/*
 * Swaps the remaining petitions one by one, in the order of their ids: above
 * READ COMMITTED, a single petition that has changed since the snapshot fails
 * the statement for all.
 */
static void
swap_one_by_one(Bulk *bulk)
{
	Swap		single = *bulk->swap;

	single.statement = single.reason != NULL ? PETITION_TRY_REASON : PETITION_TRY;
	for (int i = 0; i < bulk->count; i++)
	{
		BulkItem   *item = &bulk->items[i];

		CHECK_FOR_INTERRUPTS();
		single.key = UUIDPGetDatum(&item->id);
		item->outcome = make_swap(&single);
		item->current = single.current;
	}
}

/*
 * Makes the swaps of a bulk call; connected to SPI.
 */
static void
make_bulk_swap(Bulk *bulk)
{
	ErrorData  *conflict;

	if (!bulk->swap->is_transition)
		 /* known without an UPDATE */ ;
	else if (!IsolationUsesXactSnapshot())
		execute_bulk(bulk);
	else if (meets_conflict(execute_bulk, bulk, &conflict))
	{
		swap_one_by_one(bulk);
		return;
	}
	if (!diagnose_bulk(bulk))
		return;
	if (IsolationUsesXactSnapshot())
		report_suppressed_with(bulk, STILL_EXPECTED);
	settle_bulk(bulk);
}

/*
 * Returns the results in the order of the input.  An id that is given again
 * finds what its first time left.
 */
static void
put_results(ReturnSetInfo *result, const Bulk *bulk, const Datum *ids, int count)
{
	for (int i = 0; i < count; i++)
	{
		BulkItem   *item = find_item(bulk, ids[i]);
		Datum		values[3] = {0};
		bool		nulls[3] = {false, false, item->current.state == NULL};

		values[0] = ids[i];
		values[1] = CStringGetTextDatum(outcome_names[item->outcome]);
		if (item->current.state != NULL)
			values[2] = CStringGetTextDatum(item->current.state);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		if (item->outcome == ASSIGNED)
			item->outcome = ALREADY_FATED;
	}
}

/*
 * Returns the elements of the array of ids; raises 22004 for a null among
 * them.
 */
static Datum *
read_ids(ArrayType *array, int *count)
{
	Datum	   *ids;

	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"submission_ids\" must not contain nulls")));
	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, NULL, count);
	return ids;
}

/*
 * Swaps many petitions: reads the arguments, makes the swaps and returns their
 * outcomes as rows.
 */
static void
swap_petitions(Swap *swap)
{
	FunctionCallInfo fcinfo = swap->fcinfo;
	Bulk		bulk = {0};
	int			count;
	Datum	   *ids = read_ids(PG_GETARG_ARRAYTYPE_P(0), &count);

	check_readable(swap->governed, swap->relation);
	check_petition_columns(swap);
	read_arguments(swap, 1);
	bulk.swap = swap;
	collect_items(&bulk, ids, count);

	SPI_connect();
	make_bulk_swap(&bulk);
	put_results((ReturnSetInfo *) fcinfo->resultinfo, &bulk, ids, count);
	SPI_finish();
}

/*
 * assign_fates(submission_ids, expected_state, new_state, reason) returns an
 * outcome for each id.
 */
Datum
assign_fates(PG_FUNCTION_ARGS)
{
	Swap		swap = {0};

	PreventCommandIfReadOnly("assign_fates()");
	check_not_null(fcinfo, 0, "submission_ids");
	InitMaterializedSRF(fcinfo, 0);
	swap.is_petition = true;
	swap.statement = PETITION_BULK;
	swap.relation = open_petitions();
	return run_swap(&swap, fcinfo, swap_petitions);
}
