/*-------------------------------------------------------------------------
 *
 * roster.c
 *	  Rosters: the functions on hashes, filters and rosters.
 *
 * Each call on a roster works in a memory context of its own, and copies
 * only its result out of it.  resolve_roster and validate_roster see what the
 * calling statement sees, the active snapshot; claim_roster looks for itself
 * (roster_claim.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "filter.h"
#include "idset.h"
#include "roster_claim.h"
#include "roster_query.h"

/* The arguments of validate_roster and claim_roster that are not the query's. */
typedef struct Seen
{
	IdSet	   *ids;
	char	   *hash;			/* of ids, as they are read */
	char	   *unproven;		/* seen_hash, if the ids alone do not have it */
	text	   *scope;
	bool		confirmed;
} Seen;

/* What became of a roster since it was seen. */
typedef struct Comparison
{
	IdSet	   *ids;			/* as it is now */
	char	   *hash;
	IdSet	   *added;
	IdSet	   *removed;
	bool		same;
} Comparison;

PG_FUNCTION_INFO_V1(roster_hash);
PG_FUNCTION_INFO_V1(roster_hash_agg_transition);
PG_FUNCTION_INFO_V1(roster_hash_agg_final);
PG_FUNCTION_INFO_V1(parse_filter);
PG_FUNCTION_INFO_V1(resolve_roster);
PG_FUNCTION_INFO_V1(validate_roster);
PG_FUNCTION_INFO_V1(claim_roster);

/*
 * Returns a text argument, or NULL for a null.
 */
static text *
optional_text(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_TEXT_PP(number);
}

/*
 * roster_hash(ids anyarray, scope text) returns text
 *
 * Raises 22004 for a null array or id, 22023 for a newline in an id or in
 * the scope.
 */
Datum
roster_hash(PG_FUNCTION_ARGS)
{
	ArrayType  *array;
	IdSet	   *ids;
	char	   *hash;

	check_not_null(fcinfo, 0, "ids");
	array = PG_GETARG_ARRAYTYPE_P(0);
	ids = idset_create(ARR_ELEMTYPE(array), -1);
	idset_add_array(ids, array);
	idset_finish(ids);
	hash = idset_hash(ids, optional_text(fcinfo, 1));
	idset_free(ids);
	PG_RETURN_TEXT_P(cstring_to_text(hash));
}

/*
 * roster_hash_agg's transition: adds an id to the set, which lives in the
 * aggregate's memory context.  Raises 22004 for a null id, 22023 for a
 * newline in one.
 */
Datum
roster_hash_agg_transition(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate;
	IdSet	   *ids;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		elog(ERROR, "roster_hash_agg_transition called outside of an aggregate");

	if (PG_ARGISNULL(0))
	{
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 1);
		MemoryContext caller = MemoryContextSwitchTo(aggregate);

		if (!OidIsValid(type))
			elog(ERROR, "could not determine the type of the ids");
		ids = idset_create(type, -1);
		MemoryContextSwitchTo(caller);
	}
	else
		ids = (IdSet *) PG_GETARG_POINTER(0);

	idset_add(ids, PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1), PG_ARGISNULL(1));
	PG_RETURN_POINTER(ids);
}

/*
 * roster_hash_agg's end: the hash of the set.  It sorts the set in place,
 * which does not change what set it is; so it may be called again after more
 * ids, as window functions do.
 */
Datum
roster_hash_agg_final(PG_FUNCTION_ARGS)
{
	IdSet	   *ids;

	if (PG_ARGISNULL(0))
		ids = idset_create(TEXTOID, -1);
	else
		ids = (IdSet *) PG_GETARG_POINTER(0);
	idset_finish(ids);
	PG_RETURN_TEXT_P(cstring_to_text(idset_hash(ids, NULL)));
}

/*
 * parse_filter(filter text) returns jsonb; strict.
 */
Datum
parse_filter(PG_FUNCTION_ARGS)
{
	Filter	   *filter = filter_parse(PG_GETARG_TEXT_PP(0));

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(filter_to_json(filter)));
}

/*
 * Builds the query of a call from its arguments: source and filter come
 * first, at, key_column and period_column where the numbers say.
 */
static RosterQuery *
query_from_arguments(FunctionCallInfo fcinfo, int at, int key_column, int period_column)
{
	TimestampTz moment = 0;

	check_not_null(fcinfo, 0, "source");
	check_not_null(fcinfo, 1, "filter");
	check_not_null(fcinfo, key_column, "key_column");
	if (!PG_ARGISNULL(at))
		moment = PG_GETARG_TIMESTAMPTZ(at);
	return roster_query_build(PG_GETARG_OID(0), PG_GETARG_TEXT_PP(1),
							  NameStr(*PG_GETARG_NAME(key_column)),
							  PG_ARGISNULL(period_column) ? NULL : NameStr(*PG_GETARG_NAME(period_column)),
							  PG_ARGISNULL(at) ? NULL : &moment);
}

/*
 * Creates the memory context for a call's work, below the current one.
 */
static MemoryContext
create_work_context(void)
{
	return AllocSetContextCreate(CurrentMemoryContext, "petition_cas roster",
								 ALLOCSET_DEFAULT_SIZES);
}

/*
 * Forms the function's result row from its columns, in the given memory
 * context, then frees the work's.  Raises 54000 if it is larger than a row can
 * be.
 */
static Datum
finish_work(FunctionCallInfo fcinfo, Datum *columns, MemoryContext caller, MemoryContext work)
{
	bool		nulls[5] = {false};
	TupleDesc	row;
	HeapTuple	tuple;
	Size		size;

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	Assert(row->natts <= lengthof(nulls));
	size = heap_compute_data_size(row, columns, nulls);
	if (!AllocSizeIsValid(size + MAXALIGN(SizeofHeapTupleHeader) + HEAPTUPLESIZE))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("roster is too large for a row")));

	MemoryContextSwitchTo(caller);
	tuple = heap_form_tuple(BlessTupleDesc(row), columns, nulls);
	MemoryContextDelete(work);
	return HeapTupleGetDatum(tuple);
}

/*
 * resolve_roster(source, filter, at, scope, key_column, period_column)
 */
Datum
resolve_roster(PG_FUNCTION_ARGS)
{
	MemoryContext work = create_work_context();
	MemoryContext caller = MemoryContextSwitchTo(work);
	RosterQuery *query = query_from_arguments(fcinfo, 2, 4, 5);
	IdSet	   *ids = roster_query_run(query, ROSTER_READ);
	Datum		columns[2];

	columns[0] = idset_array(ids);
	columns[1] = CStringGetTextDatum(idset_hash(ids, optional_text(fcinfo, 3)));
	return finish_work(fcinfo, columns, caller, work);
}

/*
 * Raises 22023 if a text is no hash of a roster, whatever the ids.
 */
static void
check_hash_form(const char *hash)
{
	StringInfoData detail;
	char	   *shown;

	if (strlen(hash) == ROSTER_HASH_LENGTH &&
		strspn(hash, "0123456789abcdef") == ROSTER_HASH_LENGTH)
		return;

	shown = pnstrdup(hash, pg_mbcliplen(hash, strlen(hash), 2 * ROSTER_HASH_LENGTH));
	detail_begin(&detail);
	detail_text(&detail, "seen_hash", shown);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("seen_hash is no SHA-256 in lower-case hexadecimal"),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("Give the hash as roster_hash, resolve_roster or validate_roster returned it.")));
}

/*
 * Returns the hash of ids as a client has written them, whatever their type.
 */
static char *
written_hash(ArrayType *array, text *scope)
{
	IdSet	   *written = idset_create(ARR_ELEMTYPE(array), -1);
	char	   *hash;

	idset_add_array(written, array);
	idset_finish(written);
	hash = idset_hash(written, scope);
	idset_free(written);
	return hash;
}

/*
 * Raises 22023 for ids that do not have the hash that came with them.
 */
pg_noreturn static void
other_hash(const Seen *seen)
{
	StringInfoData detail;

	detail_begin(&detail);
	detail_text(&detail, "hash_of_seen_ids", seen->hash);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("seen_ids do not have the hash seen_hash"),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("Give the ids and the hash as one call returned them, and the scope of that call.")));
}

/*
 * Takes the ids and the hash that a client has seen.  The hash may be that of
 * the ids as they are read or as they are written.  If it is neither, the ids
 * may still be another spelling of those that the server gave, where the type
 * knows such: that shows in compare.  Raises 22004 for nulls, the key type's
 * own error for an id that does not parse, 22023 for what is no hash and if the
 * ids do not have that hash.
 */
static Seen
seen_from_arguments(FunctionCallInfo fcinfo, const RosterQuery *query)
{
	Seen		seen;
	ArrayType  *array;
	char	   *hash;

	check_not_null(fcinfo, 2, "seen_ids");
	check_not_null(fcinfo, 3, "seen_hash");
	check_not_null(fcinfo, 6, "confirmed");
	array = PG_GETARG_ARRAYTYPE_P(2);
	seen.scope = optional_text(fcinfo, 5);
	seen.confirmed = PG_GETARG_BOOL(6);
	seen.ids = idset_create(query->key_type, query->key_typmod);
	idset_read_array(seen.ids, array);
	idset_finish(seen.ids);

	hash = text_to_cstring(PG_GETARG_TEXT_PP(3));
	check_hash_form(hash);
	seen.hash = idset_hash(seen.ids, seen.scope);
	seen.unproven = NULL;
	if (strcmp(hash, seen.hash) != 0 && strcmp(hash, written_hash(array, seen.scope)) != 0)
	{
		seen.unproven = hash;
		if (idset_text_decides(seen.ids, query->key_collation))
			other_hash(&seen);
	}
	return seen;
}

/*
 * Compares what was seen with what is, by the key type's equality.  Sets that
 * are equal as text have equal hashes, so that only another set is hashed
 * again.  Raises 22023 if the hash that was seen is not of these ids in any
 * spelling.  Frees the ids that were seen.
 */
static Comparison
compare(const RosterQuery *query, Seen *seen, IdSet *ids)
{
	Comparison	now;

	now.ids = ids;
	now.added = idset_difference(ids, seen->ids);
	now.removed = idset_difference(seen->ids, ids);
	if (idset_count(now.added) == 0 && idset_count(now.removed) == 0)
		now.hash = seen->hash;
	else
	{
		now.hash = idset_hash(ids, seen->scope);
		idset_remove_equal(now.added, seen->ids, query->key_collation);
		idset_remove_equal(now.removed, ids, query->key_collation);
	}
	idset_free(seen->ids);
	now.same = idset_count(now.added) == 0 && idset_count(now.removed) == 0;
	if (seen->unproven != NULL && !(now.same && strcmp(seen->unproven, now.hash) == 0))
		other_hash(seen);
	return now;
}

/*
 * Fills the four columns that describe the roster.
 */
static void
fill_columns(Datum *columns, const Comparison *now)
{
	columns[0] = idset_array(now->ids);
	columns[1] = CStringGetTextDatum(now->hash);
	columns[2] = idset_array(now->added);
	columns[3] = idset_array(now->removed);
}

/*
 * validate_roster(source, filter, seen_ids, seen_hash, at, scope, confirmed,
 *				   key_column, period_column)
 */
Datum
validate_roster(PG_FUNCTION_ARGS)
{
	MemoryContext work = create_work_context();
	MemoryContext caller = MemoryContextSwitchTo(work);
	RosterQuery *query = query_from_arguments(fcinfo, 4, 7, 8);
	Seen		seen = seen_from_arguments(fcinfo, query);
	Comparison	now = compare(query, &seen, roster_query_run(query, ROSTER_READ));
	Datum		columns[5];

	columns[0] = BoolGetDatum(now.same || seen.confirmed);
	fill_columns(columns + 1, &now);
	return finish_work(fcinfo, columns, caller, work);
}

/*
 * Raises PF005 with the difference between what was seen and what is.
 */
pg_noreturn static void
roster_changed(const RosterQuery *query, const Comparison *now, const char *hint)
{
	StringInfoData detail;

	detail_begin(&detail);
	idset_detail(&detail, "added", now->added);
	idset_detail(&detail, "removed", now->removed);
	detail_number(&detail, "added_count", idset_count(now->added));
	detail_number(&detail, "removed_count", idset_count(now->removed));
	detail_text(&detail, "roster_hash", now->hash);
	ereport(ERROR,
			(errcode(ERRCODE_ROSTER_CHANGED),
			 errmsg("roster of \"%s\" has changed since it was seen", query->source_name),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("%s", hint)));
}

/*
 * Raises PF005 for a member that changed after the transaction's snapshot:
 * what is, is then what the latest snapshot sees.
 */
pg_noreturn static void
member_changed(RosterQuery *query, Seen *seen)
{
	Comparison	now;

	PushActiveSnapshot(GetLatestSnapshot());
	now = compare(query, seen, roster_query_run(query, ROSTER_READ));
	PopActiveSnapshot();
	roster_changed(query, &now,
				   "A member has changed since this transaction began; claim it in a new one.");
}

/*
 * claim_roster: arguments as validate_roster.  Raises PF005 if the roster has
 * changed and that is not confirmed, and what roster_claim raises.
 */
Datum
claim_roster(PG_FUNCTION_ARGS)
{
	MemoryContext work = create_work_context();
	MemoryContext caller = MemoryContextSwitchTo(work);
	RosterQuery *query = query_from_arguments(fcinfo, 4, 7, 8);
	Seen		seen = seen_from_arguments(fcinfo, query);
	IdSet	   *ids = roster_claim(query);
	Comparison	now;
	Datum		columns[4];

	if (ids == NULL)
		member_changed(query, &seen);
	now = compare(query, &seen, ids);
	if (!now.same && !seen.confirmed)
		roster_changed(query, &now,
					   "Show the difference, then submit again with the new ids and hash, or with confirmed => true.");
	fill_columns(columns, &now);
	return finish_work(fcinfo, columns, caller, work);
}
