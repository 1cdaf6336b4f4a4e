/*-------------------------------------------------------------------------
 *
 * roster.c
 *	  Rosters: the functions on hashes, filters and rosters.
 *
 * Each call on a roster works in a memory context of its own, and copies
 * only its result out of it.  resolve_roster and validate_roster see what the
 * calling statement sees, the active snapshot; claim_roster looks for itself
 * (claim.c).
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

#include "claim.h"
#include "compat.h"
#include "counters.h"
#include "errors.h"
#include "filter.h"
#include "idset.h"
#include "query.h"
#include "text_form.h"

/* What became of a roster since it was seen. */
typedef struct Comparison
{
	/* from the arguments of validate_roster and claim_roster */
	IdSet	   *seen;			/* NULL: judged by the hash alone */
	char	   *seen_hash;		/* of the ids, as they are read; else as given */
	char	   *unproven;		/* seen_hash, if the ids alone do not have it */
	text	   *scope;
	bool		confirmed;

	/* the roster as it is now */
	IdSet	   *ids;
	char	   *hash;
	IdSet	   *added;			/* NULL without ids that were seen */
	IdSet	   *removed;		/* the same */
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
 * Returns the hash of the ids in an array, of whatever type.
 */
static char *
array_hash(ArrayType *array, text *scope)
{
	IdSet	   *ids = idset_create(ARR_ELEMTYPE(array), -1);
	char	   *hash;

	idset_add_array(ids, array);
	idset_finish(ids);
	hash = idset_hash(ids, scope);
	idset_free(ids);
	return hash;
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
	check_not_null(fcinfo, 0, "ids");
	PG_RETURN_TEXT_P(cstring_to_text(array_hash(PG_GETARG_ARRAYTYPE_P(0),
												optional_text(fcinfo, 1))));
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
 * Begins a call's work, in a memory context of its own.  Returns the caller's.
 */
static MemoryContext
begin_work(void)
{
	return MemoryContextSwitchTo(AllocSetContextCreate(CurrentMemoryContext, "petition_cas roster",
													   ALLOCSET_DEFAULT_SIZES));
}

/*
 * Ends it: forms the function's result row from its columns, in the caller's
 * memory context, and frees the work's.  Raises 54000 if the row is larger than
 * one can be.
 */
static Datum
finish_work(FunctionCallInfo fcinfo, Datum *columns, bool *nulls, MemoryContext caller)
{
	MemoryContext work = CurrentMemoryContext;
	TupleDesc	row;
	HeapTuple	tuple;
	Size		size;

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
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
	MemoryContext caller = begin_work();
	RosterQuery *query = query_from_arguments(fcinfo, 2, 4, 5);
	IdSet	   *ids = roster_query_run(query, ROSTER_READ);
	Datum		columns[2];
	bool		nulls[2] = {false};

	columns[0] = idset_array(ids);
	columns[1] = CStringGetTextDatum(idset_hash(ids, optional_text(fcinfo, 3)));
	return finish_work(fcinfo, columns, nulls, caller);
}

/*
 * Raises 22023 if a text is no hash of a roster, whatever the ids.
 */
static void
check_hash_form(const char *hash)
{
	StringInfoData detail;
	char	   *shown;

	if (is_sha256(hash))
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
 * Raises 22023 for ids that do not have the hash that came with them.
 */
pg_noreturn static void
other_hash(const char *hash_of_seen_ids)
{
	StringInfoData detail;

	detail_begin(&detail);
	detail_text(&detail, "hash_of_seen_ids", hash_of_seen_ids);
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
 * knows such: that shows in compare_rosters.  Null ids leave the hash alone,
 * which is then the one that the server gave.  Raises 22004 for other nulls, the
 * key type's own error for an id that does not parse, 22023 for what is no hash
 * and if the ids do not have that hash.
 */
static Comparison
seen_from_arguments(FunctionCallInfo fcinfo, const RosterQuery *query)
{
	Comparison	roster = {0};
	ArrayType  *array;
	char	   *hash;

	check_not_null(fcinfo, 3, "seen_hash");
	check_not_null(fcinfo, 6, "confirmed");
	hash = text_to_cstring(PG_GETARG_TEXT_PP(3));
	roster.scope = optional_text(fcinfo, 5);
	roster.confirmed = PG_GETARG_BOOL(6);
	if (PG_ARGISNULL(2))
	{
		check_hash_form(hash);
		roster.seen_hash = hash;
		return roster;
	}

	array = PG_GETARG_ARRAYTYPE_P(2);
	roster.seen = idset_create(query->key_type, query->key_typmod);
	idset_read_array(roster.seen, array);
	idset_finish(roster.seen);
	check_hash_form(hash);
	roster.seen_hash = idset_hash(roster.seen, roster.scope);
	if (strcmp(hash, roster.seen_hash) != 0 && strcmp(hash, array_hash(array, roster.scope)) != 0)
	{
		if (idset_text_decides(roster.seen, query->key_collation))
			other_hash(roster.seen_hash);
		roster.unproven = hash;
	}
	return roster;
}

/*
 * Compares what was seen with what is: by the key type's equality, or by the
 * hash alone.  Sets that are equal as text have equal hashes, so that of ids that
 * were seen only another set is hashed again.  Raises 22023 if the hash that was
 * seen is not of these ids in any spelling.  Frees the ids that were seen.
 */
static void
compare_rosters(Comparison *roster, const RosterQuery *query, IdSet *ids)
{
	roster->ids = ids;
	if (roster->seen == NULL)
	{
		roster->hash = idset_hash(ids, roster->scope);
		roster->same = strcmp(roster->hash, roster->seen_hash) == 0;
		return;
	}

	roster->hash = roster->seen_hash;
	roster->added = idset_difference(ids, roster->seen);
	roster->removed = idset_difference(roster->seen, ids);
	if (idset_count(roster->added) > 0 || idset_count(roster->removed) > 0)
	{
		roster->hash = idset_hash(ids, roster->scope);
		idset_remove_equal(roster->added, roster->seen, query->key_collation);
		idset_remove_equal(roster->removed, ids, query->key_collation);
	}
	idset_free(roster->seen);
	roster->same = idset_count(roster->added) == 0 && idset_count(roster->removed) == 0;
	if (roster->unproven != NULL && !(roster->same && strcmp(roster->unproven, roster->hash) == 0))
		other_hash(roster->seen_hash);
}

/*
 * Fills the four columns that describe the roster.
 */
static void
fill_columns(Datum *columns, bool *nulls, const Comparison *roster)
{
	columns[0] = idset_array(roster->ids);
	columns[1] = CStringGetTextDatum(roster->hash);
	nulls[2] = nulls[3] = roster->added == NULL;
	if (roster->added == NULL)
		return;
	columns[2] = idset_array(roster->added);
	columns[3] = idset_array(roster->removed);
}

/*
 * validate_roster(source, filter, seen_ids, seen_hash, at, scope, confirmed,
 *				   key_column, period_column)
 */
Datum
validate_roster(PG_FUNCTION_ARGS)
{
	MemoryContext caller = begin_work();
	RosterQuery *query = query_from_arguments(fcinfo, 4, 7, 8);
	Comparison	roster = seen_from_arguments(fcinfo, query);
	Datum		columns[5];
	bool		nulls[5] = {false};

	compare_rosters(&roster, query, roster_query_run(query, ROSTER_READ));
	columns[0] = BoolGetDatum(roster.same || roster.confirmed);
	fill_columns(columns + 1, nulls + 1, &roster);
	return finish_work(fcinfo, columns, nulls, caller);
}

/*
 * Raises PF005 with the difference between what was seen and what is; by the
 * hash alone there is none to tell.
 */
pg_noreturn static void
roster_changed(const RosterQuery *query, const Comparison *roster, const char *hint)
{
	StringInfoData detail;

	detail_begin(&detail);
	if (roster->added != NULL)
	{
		idset_detail(&detail, "added", roster->added);
		idset_detail(&detail, "removed", roster->removed);
		detail_number(&detail, "added_count", idset_count(roster->added));
		detail_number(&detail, "removed_count", idset_count(roster->removed));
	}
	else
	{
		detail_text(&detail, "added", NULL);
		detail_text(&detail, "removed", NULL);
		detail_text(&detail, "added_count", NULL);
		detail_text(&detail, "removed_count", NULL);
	}
	detail_text(&detail, "roster_hash", roster->hash);
	attach_counters();
	count_told(COUNT_ROSTER_CHANGED);
	ereport(ERROR,
			(errcode(ERRCODE_ROSTER_CHANGED),
			 errmsg("roster of \"%s\" has changed since it was seen", query->source_name),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("%s", hint)));
}

/*
 * claim_roster: arguments as validate_roster.  Raises PF005 if the roster has
 * changed and that is not confirmed, and what roster_claim raises.
 */
Datum
claim_roster(PG_FUNCTION_ARGS)
{
	MemoryContext caller = begin_work();
	RosterQuery *query = query_from_arguments(fcinfo, 4, 7, 8);
	Comparison	roster = seen_from_arguments(fcinfo, query);
	IdSet	   *ids = roster_claim(query);
	Datum		columns[4];
	bool		nulls[4] = {false};

	if (ids == NULL)
	{
		/* What is, is then what the latest snapshot sees. */
		PushActiveSnapshot(GetLatestSnapshot());
		compare_rosters(&roster, query, roster_query_run(query, ROSTER_READ));
		PopActiveSnapshot();
		roster_changed(query, &roster,
					   "A member has changed since this transaction began; claim it in a new one.");
	}
	compare_rosters(&roster, query, ids);
	if (!roster.same && !roster.confirmed)
		roster_changed(query, &roster, roster.added != NULL
					   ? "Show the difference, then submit again with the new ids and hash, or with confirmed => true."
					   : "Show the roster as it is now, then submit again with its hash, or with confirmed => true. If you have the ids that were seen, validate_roster tells the difference.");
	fill_columns(columns, nulls, &roster);
	return finish_work(fcinfo, columns, nulls, caller);
}
