/*-------------------------------------------------------------------------
 *
 * petition.c
 *	  Petitions: the table petition_submissions, and the functions that assign
 *	  its rows their fates.
 *
 * All that is particular to petitions is in this file: the ten columns, and that
 * an assignment sets updated_at, and fate_reason where a reason is given.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "bulk.h"
#include "errors.h"
#include "govern.h"
#include "soundness.h"

PG_FUNCTION_INFO_V1(create_petitions);
PG_FUNCTION_INFO_V1(assign_fate);
PG_FUNCTION_INFO_V1(try_assign_fate);
PG_FUNCTION_INFO_V1(assign_fates);

#define PETITION_TABLE "petition_submissions"

/*
 * The columns of petition_submissions, and of the type petition_submission: what
 * stands before it in a list, name, type, and what is declared of it in the table.
 * The text is as long as its type allows, which the server checks when it is set; a
 * CHECK it reads and prepares anew for every UPDATE of the table.
 */
#define PETITION_COLUMNS(COLUMN) \
	COLUMN("", id, "uuid", "PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid()") \
	COLUMN(", ", type, "text", "NOT NULL DEFAULT 'GENERAL'") \
	COLUMN(", ", text, "varchar(10000)", "NOT NULL") \
	COLUMN(", ", submitter_id, "uuid", "") \
	COLUMN(", ", state, "text", "NOT NULL DEFAULT 'RECEIVED'") \
	COLUMN(", ", content_hash, "bytea", \
		   "CHECK (pg_catalog.octet_length(content_hash) OPERATOR(pg_catalog.=) 32)") \
	COLUMN(", ", realm, "text", "NOT NULL DEFAULT 'default'") \
	COLUMN(", ", fate_reason, "text", "") \
	COLUMN(", ", created_at, "timestamptz", "NOT NULL DEFAULT pg_catalog.now()") \
	COLUMN(", ", updated_at, "timestamptz", "NOT NULL DEFAULT pg_catalog.now()")

#define COLUMN_IN_LIST(separator, name, type, declared) separator #name
#define COLUMN_IN_TABLE(separator, name, type, declared) \
	separator #name " pg_catalog." type " " declared
#define COLUMN_NAME(separator, name, type, declared) #name,

static const char *const petition_columns[] = {PETITION_COLUMNS(COLUMN_NAME)};

/* ----------------------------------------------------------------------
 * Statements
 * ----------------------------------------------------------------------
 */

#define ASSIGN "UPDATE {table} AS {row} SET {state} = $3, updated_at = pg_catalog.now(){set}"
#define ASSIGN_ROW(returned) \
	ASSIGN " WHERE {key = $} AND {state = $2}{and seen} RETURNING {state}" returned "{, evidence}"
#define SELECT_ROW(returned) "SELECT {state}" returned " FROM {table} AS {row} WHERE {key = $}"
#define WHOLE_ROW ", {row}"
#define ROW_OF_COLUMNS ", ROW(" PETITION_COLUMNS(COLUMN_IN_LIST) ")"

static const StatementForm assign_row = {ASSIGN_ROW(WHOLE_ROW), "kss", ON_TABLE | FIRES_TRIGGERS};
static const StatementForm select_row = {SELECT_ROW(WHOLE_ROW), "k", ON_TABLE | FIRES_TRIGGERS};
static const StatementForm assign_columns = {ASSIGN_ROW(ROW_OF_COLUMNS), "kss", ON_TABLE | FIRES_TRIGGERS};
static const StatementForm select_columns = {SELECT_ROW(ROW_OF_COLUMNS), "k", ON_TABLE | FIRES_TRIGGERS};
static const StatementForm try_row = {ASSIGN_ROW(""), "kss", ON_TABLE | FIRES_TRIGGERS};

/* The rows are locked in the order of their keys before the first is updated. */
static const StatementForm assign_rows = {
	"WITH locked AS MATERIALIZED (SELECT {key names} FROM {table} AS {row}"
	" WHERE {key = any $} AND {state = $2} ORDER BY {key} FOR NO KEY UPDATE) "
	ASSIGN " FROM locked WHERE {key = locked} AND {state = $2} RETURNING {state}, {row.key}",
	"Kss", ON_TABLE | FIRES_TRIGGERS
};

/* What a reason sets, after the key, which is one column, and the states */
static const char set_reason[] = ", fate_reason = $4";

static Datum form_petition(Datum record, FunctionCallInfo fcinfo);

/* On a table that has just the columns of petition_submission, in its order */
static const SwapFunction assign_whole = {"assign_fate()", true, form_petition, &assign_row, &select_row, set_reason};

/* On another one */
static const SwapFunction assign_some = {"assign_fate()", true, form_petition, &assign_columns, &select_columns, set_reason};

static const SwapFunction try_function = {"try_assign_fate()", true, NULL, &try_row, NULL, set_reason};
static const SwapFunction many_function = {"assign_fates()", true, NULL, &assign_rows, NULL, set_reason, &try_function};

/* ----------------------------------------------------------------------
 * The table
 * ----------------------------------------------------------------------
 */

/*
 * create_petitions() returns the table petition_submissions, which it creates
 * in the current schema, as the caller, and governs.
 *
 * Rows go through two or three states: with some space left in each page these
 * updates stay in it and touch no index.
 */
Datum
create_petitions(PG_FUNCTION_ARGS)
{
	List	   *path = fetch_search_path(false);
	char	   *table;
	Options		options = {.any_initial = true,.keep_rows = true};
	Oid			relid;
	Datum		graph;

	if (path == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("no schema has been selected to create in")));
	table = quote_qualified_identifier(get_namespace_name(linitial_oid(path)), PETITION_TABLE);
	graph = OidFunctionCall0(own_function(own_schema(fcinfo), "petition_lifecycle"));

	SPI_connect();
	execute_own_ddl(psprintf("CREATE TABLE %s (%s) WITH (fillfactor = 90)", table,
							 PETITION_COLUMNS(COLUMN_IN_TABLE)));
	SPI_finish();

	relid = get_relname_relid(PETITION_TABLE, linitial_oid(path));
	govern_relation(own_schema(fcinfo), relid, DatumGetJsonbP(graph), "id", "state", &options, false);
	PG_RETURN_OID(relid);
}

/*
 * Finds the caller's petition_submissions along his search_path, opens it, and
 * reads what governs it.  Raises 55000 unless that is as create_petitions() does
 * it: by id, a uuid, and state.
 */
static void
open_petitions(Swap *swap)
{
	Oid			relid = RangeVarGetRelid(makeRangeVar(NULL, PETITION_TABLE, -1),
										 RowExclusiveLock, true);
	const KeyColumn *key;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s\" does not exist", PETITION_TABLE),
				 errhint("Call create_petitions(), or set the search_path to the schema that has it, on which you need USAGE.")));
	swap->relation = table_open(relid, NoLock);
	swap->governed = get_governed(swap->relation,
								  OidIsValid(only_guard(swap->relation)) ? NULL : "state");
	check_readable(swap->governed, swap->relation);
	key = &swap->governed->key.columns[0];
	if (swap->governed->key.ncolumns != 1 || key->type != UUIDOID || strcmp(key->name, "id") != 0 ||
		strcmp(swap->governed->state.name, "state") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" is not governed by a column \"id\" of type uuid and a column \"state\"",
						PETITION_TABLE),
				 errhint("Use compare_and_swap for other tables than the one that create_petitions() creates.")));
}

/*
 * Has a table the columns of petition_submission and no others, in its order?
 * The server prepares the return of a whole row faster than that of ten columns.
 */
static bool
has_petition_columns(Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	if (desc->natts != lengthof(petition_columns))
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped ||
			strcmp(NameStr(TupleDescAttr(desc, i)->attname), petition_columns[i]) != 0)
			return false;
	}
	return true;
}

/* ----------------------------------------------------------------------
 * The functions
 * ----------------------------------------------------------------------
 */

/*
 * Returns a row of petition_submissions, or a record of its columns, as a value of
 * the composite type petition_submission, in the current memory context.  Raises
 * 42804 if table and type no longer have the same columns, of the same types, where
 * varchar will do for text: its values are stored alike.
 */
static Datum
form_petition(Datum record, FunctionCallInfo fcinfo)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(record);
	Oid			type = get_func_rettype(fcinfo->flinfo->fn_oid);
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	TupleDesc	row_desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row),
												  HeapTupleHeaderGetTypMod(row));
	HeapTupleData tuple = {0};
	Datum		values[lengthof(petition_columns)];
	bool		nulls[lengthof(petition_columns)];
	HeapTuple	petition;

	for (int i = 0; i < Max(desc->natts, row_desc->natts); i++)
	{
		Form_pg_attribute wanted;
		Form_pg_attribute found;

		if (i >= Min(desc->natts, row_desc->natts) || i >= lengthof(petition_columns) ||
			TupleDescAttr(desc, i)->attisdropped)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("type %s does not have the columns of relation \"%s\"",
							format_type_be(type), PETITION_TABLE),
					 errhint("The type belongs to the extension. Undo what was done to it.")));

		wanted = TupleDescAttr(desc, i);
		found = TupleDescAttr(row_desc, i);
		if (wanted->atttypid != found->atttypid &&
			!(wanted->atttypid == TEXTOID && found->atttypid == VARCHAROID))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of relation \"%s\" is of type %s instead of %s",
							petition_columns[i], PETITION_TABLE,
							format_type_be(found->atttypid), format_type_be(wanted->atttypid)),
					 errhint("try_assign_fate and compare_and_swap work on tables of any types.")));
	}
	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	tuple.t_data = row;
	heap_deform_tuple(&tuple, row_desc, values, nulls);
	petition = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(row_desc);
	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(petition);
}

/*
 * Swaps one petition.
 */
static Datum
swap_petition(FunctionCallInfo fcinfo, const SwapFunction *function)
{
	Swap		swap = {function};

	PreventCommandIfReadOnly(function->name);
	check_not_null(fcinfo, 0, "submission_id");
	open_petitions(&swap);
	if (function->form_row != NULL && !has_petition_columns(swap.relation))
		swap.function = &assign_some;
	swap.key[0] = PG_GETARG_DATUM(0);
	read_states(&swap, fcinfo, 1);
	if (!PG_ARGISNULL(3))
		swap.reason = PG_GETARG_TEXT_PP(3);
	read_seen_hash(&swap, fcinfo, 4);
	read_request_id(&swap, fcinfo, 5);
	return swap_one(&swap, fcinfo);
}

/*
 * assign_fate(submission_id, expected_state, new_state, reason, seen_hash, request_id)
 * returns the petition as it is with its fate.
 */
Datum
assign_fate(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(swap_petition(fcinfo, &assign_whole));
}

/*
 * try_assign_fate(same arguments) returns outcome and current state.
 */
Datum
try_assign_fate(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(swap_petition(fcinfo, &try_function));
}

/*
 * assign_fates(submission_ids, expected_state, new_state, reason, request_id) returns an
 * outcome for each id.
 */
Datum
assign_fates(PG_FUNCTION_ARGS)
{
	Swap		swap = {&many_function};
	ArrayType  *array;
	Datum	   *ids;
	int			count;

	PreventCommandIfReadOnly(swap.function->name);
	check_not_null(fcinfo, 0, "submission_ids");
	InitMaterializedSRF(fcinfo, 0);
	open_petitions(&swap);
	array = PG_GETARG_ARRAYTYPE_P(0);
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"submission_ids\" must not contain nulls")));
	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, NULL, &count);
	read_states(&swap, fcinfo, 1);
	if (!PG_ARGISNULL(3))
		swap.reason = PG_GETARG_TEXT_PP(3);
	read_request_id(&swap, fcinfo, 4);
	swap_many(&swap, fcinfo, ids, count);
	table_close(swap.relation, NoLock);
	return (Datum) 0;
}
