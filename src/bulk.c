/*-------------------------------------------------------------------------
 *
 * bulk.c
 *	  The compare-and-swap of many rows in one statement.
 *
 * The rows are locked in the order of their keys before the first of them is
 * updated: overlapping calls meet at their first common key and cannot
 * deadlock.  How an UPDATE that missed a row is told from one that was
 * suppressed, see the head of swap.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "bulk.h"
#include "counters.h"
#include "guard.h"
#include "shard.h"
#include "soundness.h"

PG_FUNCTION_INFO_V1(compare_and_swap_many);

static const StatementForm select_states = {
	"SELECT {state}, {key} FROM {table} AS {row} WHERE {key = any $}",
	"K", ON_TABLE | FIRES_TRIGGERS
};

static const StatementForm select_versions = {
	"SELECT tableoid, ctid, xmin, {key} FROM {table} AS {row} WHERE {key = any $} AND {state = $2}",
	"Ks", ON_TABLE | AS_TABLE_OWNER | FIRES_TRIGGERS
};

static const StatementForm lock_rows = {
	"SELECT {key} FROM {table} AS {row} WHERE {key = any $} AND {state = $2}"
	" ORDER BY {key} FOR NO KEY UPDATE",
	"Ks", ON_TABLE | AS_TABLE_OWNER | FIRES_TRIGGERS
};

static const StatementForm lock_free_rows = {
	"SELECT {key} FROM {table} AS {row} WHERE {key = any $} AND {state = $2}"
	" ORDER BY {key} FOR NO KEY UPDATE SKIP LOCKED",
	"Ks", ON_TABLE | AS_TABLE_OWNER | FIRES_TRIGGERS
};

/* One row of a bulk call */
typedef struct BulkItem
{
	const Datum *key;
	int			input;			/* where it was given */
	Outcome		outcome;
	RowState	began;			/* when the call began */
	RowState	current;		/* now */
} BulkItem;

/* All rows of a bulk call, each once, sorted by key */
typedef struct Bulk
{
	Swap	   *swap;
	int			count;
	BulkItem   *items;
	BulkItem  **given;			/* that of each key, in the order of the input */
	BulkItem   *found;			/* by the last search */
	Outcome		target;			/* which of them are to be updated */
} Bulk;

static int
compare_items(const void *a, const void *b, void *key)
{
	return compare_keys(key, ((const BulkItem *) a)->key, ((const BulkItem *) b)->key);
}

/*
 * Collects that many keys, one behind the other, sorted and each once.
 */
static void
collect_items(Bulk *bulk, const Datum *keys, int count)
{
	Key		   *key = &bulk->swap->governed->key;
	int			distinct = 0;

	bulk->items = palloc_extended(Max(1, count) * sizeof(BulkItem), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	bulk->given = palloc_extended(Max(1, count) * sizeof(BulkItem *), MCXT_ALLOC_HUGE);
	for (int i = 0; i < count; i++)
	{
		bulk->items[i].key = &keys[i * key->ncolumns];
		bulk->items[i].input = i;
		bulk->items[i].outcome = STILL_EXPECTED;
	}
	qsort_arg(bulk->items, count, sizeof(BulkItem), compare_items, key);
	for (int i = 0; i < count; i++)
	{
		int			input = bulk->items[i].input;

		if (i == 0 || compare_items(&bulk->items[i], &bulk->items[distinct - 1], key) != 0)
			bulk->items[distinct++] = bulk->items[i];
		bulk->given[input] = &bulk->items[distinct - 1];
	}
	bulk->count = distinct;
	bulk->found = bulk->items;
	bulk->target = STILL_EXPECTED;
}

/*
 * Returns the item of a key, which is there.  Most statements return their rows in the
 * order of the keys, so that it is the one after the last.
 */
static BulkItem *
find_item(Bulk *bulk, const Datum *key)
{
	BulkItem	wanted = {key};
	BulkItem   *item = bulk->found + 1;

	if (item >= bulk->items + bulk->count ||
		!is_same_key(&bulk->swap->governed->key, item->key, key))
		item = bsearch_arg(&wanted, bulk->items, bulk->count, sizeof(BulkItem),
						   compare_items, &bulk->swap->governed->key);
	if (item == NULL)
		elog(ERROR, "key \"%s\" was not asked for", key_text(&bulk->swap->governed->key, key));
	bulk->found = item;
	return item;
}

/*
 * Returns the item of a row that a statement returned, with its key from that
 * column on.
 */
static BulkItem *
returned_item(Bulk *bulk, HeapTuple row, int column)
{
	Datum		key[MAX_KEY_COLUMNS];

	key_of_result(&bulk->swap->governed->key, row, SPI_tuptable->tupdesc, column, key);
	return find_item(bulk, key);
}

/*
 * Fills in the keys of the items that have that outcome, beginning with the item of
 * that number, as arrays; returns how many there are.
 */
static int
fill_keys(const Bulk *bulk, Outcome outcome, int first, Datum *values)
{
	const Key  *key = &bulk->swap->governed->key;
	Datum	   *keys = palloc_extended(Max(1, bulk->count) * key->ncolumns * sizeof(Datum),
									   MCXT_ALLOC_HUGE);
	int			count = 0;

	for (int i = first; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == outcome)
			memcpy(&keys[count++ * key->ncolumns], bulk->items[i].key,
				   key->ncolumns * sizeof(Datum));
	}
	if (count > 0)
		key_arrays(key, keys, count, values);
	return count;
}

/*
 * Executes a statement on the items that have that outcome, beginning with the
 * item of that number, if there are any.
 */
static uint64
execute_on_items(const Bulk *bulk, const StatementForm *form, Outcome outcome, int first,
				 Snapshot snapshot)
{
	SwapParameters values;

	if (fill_keys(bulk, outcome, first, values) == 0)
		return 0;
	if (form->parameters[1] != '\0')
		fill_states(bulk->swap, values);
	return governed_execute(bulk->swap->governed, form, InvalidOid, values, NULL, snapshot);
}

/*
 * Executes the UPDATE of all rows that are its target and marks those that it
 * updated.
 */
static void
update_items(Bulk *bulk)
{
	Swap	   *swap = bulk->swap;
	SwapParameters values;
	uint64		updated;

	if (fill_keys(bulk, bulk->target, 0, values) == 0)
		return;
	updated = execute_update(swap, values);
	if (updated > 0)
		check_stored_where(swap, updated);
	for (uint64 i = 0; i < updated; i++)
	{
		HeapTuple	row = returned_row(i);
		BulkItem   *item;

		check_stored_state(swap, row, 1);
		item = returned_item(bulk, row, 2);
		if (item->outcome != bulk->target)
			report_not_unique(swap, item->key);
		item->outcome = ASSIGNED;
		item->current.exists = true;
		item->current.state = swap->new_state;
	}
}

/*
 * Swaps all rows that are the target and marks those that it swapped.  Where that is
 * recorded, it is together, if that makes no difference to anybody.
 */
static void
swap_items(Bulk *bulk)
{
	Swap	   *swap = bulk->swap;
	Fates		fates = {NULL, 0, swap->expected_state, swap->new_state};
	int			level = begin_record(swap);
	FateBatch	batch;

	if (!is_recorded(swap->governed, swap->is_fate) ||
		!is_sound(swap->governed, swap->relation) ||
		!begin_batch(&batch, swap->governed, swap->relation, &fates, bulk->count))
	{
		update_items(bulk);
		end_record(level);
		return;
	}
	PG_TRY();
	{
		update_items(bulk);
	}
	PG_FINALLY();
	{
		end_batch(&batch);
	}
	PG_END_TRY();
	if (batch.fates.count > 0)
		record_fates(swap->governed, swap->relation, &batch.fates);
	end_record(level);
}

static void
swap_items_for_subtransaction(void *argument)
{
	swap_items(argument);
}

/*
 * Reads the states of the remaining rows under a snapshot, as began or as
 * current state.
 */
static void
read_item_states(Bulk *bulk, Snapshot snapshot, bool began)
{
	RowState	none = {false, NULL};
	uint64		found;

	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == STILL_EXPECTED)
			*(began ? &bulk->items[i].began : &bulk->items[i].current) = none;
	}
	found = execute_on_items(bulk, &select_states, STILL_EXPECTED, 0, snapshot);
	for (uint64 i = 0; i < found; i++)
	{
		HeapTuple	row = returned_row(i);
		BulkItem   *item = returned_item(bulk, row, 2);

		*(began ? &item->began : &item->current) = returned_state(bulk->swap, row, 1);
	}
}

/*
 * Reads the states that the remaining rows have now.
 */
static void
read_current_states(Bulk *bulk)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

	read_item_states(bulk, latest, false);
	UnregisterSnapshot(latest);
}

/*
 * Finds out why the remaining rows were not swapped; returns whether
 * some of them were in the expected state before and after.
 */
static bool
diagnose_bulk(Bulk *bulk)
{
	bool		some = false;

	read_item_states(bulk, GetActiveSnapshot(), true);
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
 * Raises 55000 if one of the rows has that outcome.
 */
static void
report_suppressed_with(const Bulk *bulk, Outcome outcome)
{
	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == outcome)
			report_suppressed(bulk->swap, bulk->items[i].key);
	}
}

/*
 * Returns which versions of the remaining rows are in the expected state
 * under a snapshot, in the order of the items.
 */
static RowVersion *
read_versions(Bulk *bulk, Snapshot snapshot)
{
	RowVersion *versions = palloc_extended(bulk->count * sizeof(RowVersion),
										   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	uint64		found = execute_on_items(bulk, &select_versions, STILL_EXPECTED, 0, snapshot);

	for (uint64 i = 0; i < found; i++)
	{
		HeapTuple	row = returned_row(i);

		versions[returned_item(bulk, row, 4) - bulk->items] = returned_version(row, 1);
	}
	return versions;
}

/*
 * Returns which versions of the remaining rows are in the expected state
 * now.
 */
static RowVersion *
read_current_versions(Bulk *bulk)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	RowVersion *versions = read_versions(bulk, latest);

	UnregisterSnapshot(latest);
	return versions;
}

/*
 * Raises 55000 if one of the remaining rows, which an UPDATE has missed,
 * is there in the same version as before.
 */
static void
report_unchanged(Bulk *bulk, const RowVersion *before)
{
	RowVersion *current = read_current_versions(bulk);

	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == STILL_EXPECTED && is_same_version(before[i], current[i]))
			report_suppressed(bulk->swap, bulk->items[i].key);
	}
	pfree(current);
}

/*
 * Locks those of the remaining rows, beginning with the item of that
 * number, that are in the expected state, and swaps them.  Raises 55000 if one
 * is locked and yet not updated.
 */
static void
lock_and_swap(Bulk *bulk, const StatementForm *lock, int first)
{
	uint64		locked = execute_on_items(bulk, lock, STILL_EXPECTED, first, InvalidSnapshot);

	if (locked == 0)
		return;
	for (uint64 i = 0; i < locked; i++)
		returned_item(bulk, returned_row(i), 1)->outcome = LOCKED;

	bulk->target = LOCKED;
	swap_items(bulk);
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
 * Swaps the rows that one UPDATE has missed although they were in the
 * expected state before and after; see the head of this file.
 *
 * Others may wait for what this call has locked by now, so it may itself wait
 * only for keys that come after all of those: that is the order of all calls.
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
			swap_items(bulk);
		report_unchanged(bulk, before);
		lock_and_swap(bulk, &lock_free_rows, 0);
		if (try > 0)
			lock_and_swap(bulk, &lock_rows, first_after_assigned(bulk));

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
 * Swaps the remaining rows one by one, in the order of their keys: above
 * READ COMMITTED, a single row that has changed since the snapshot fails
 * the statement for all, and at READ COMMITTED one that has moved to another partition; so does, where fated rows may be deleted, a key whose
 * fate an earlier row has got; of a request that moves rows to a state that leads on,
 * it is asked for each whether it has done so already; and Citus locks no rows of several shards in one.
 */
static void
swap_one_by_one(Bulk *bulk)
{
	Swap		single = *bulk->swap;

	single.function = bulk->swap->function->single;
	for (int i = 0; i < bulk->count; i++)
	{
		BulkItem   *item = &bulk->items[i];

		CHECK_FOR_INTERRUPTS();
		memcpy(single.key, item->key, single.governed->key.ncolumns * sizeof(Datum));
		item->outcome = make_swap(&single);
		item->current = single.current;
	}
}

/* What is called in a subtransaction */

static void
settle_bulk_for_subtransaction(void *argument)
{
	settle_bulk(argument);
}

/*
 * Settles the rows that one UPDATE has missed.  Where one of them moves to another
 * partition meanwhile, none of them is swapped: they have all changed while the call ran,
 * and to try them one by one could deadlock.
 */
static void
settle_or_tell(Bulk *bulk)
{
	Size		size = bulk->count * sizeof(BulkItem);
	BulkItem   *before;
	ErrorData  *conflict;

	if (!may_meet_conflict(bulk->swap))
	{
		settle_bulk(bulk);
		return;
	}
	before = palloc_extended(size, MCXT_ALLOC_HUGE);
	memcpy(before, bulk->items, size);
	if (!meets_conflict(settle_bulk_for_subtransaction, bulk, &conflict))
		return;
	memcpy(bulk->items, before, size);
	bulk->target = STILL_EXPECTED;
	read_current_states(bulk);
	for (int i = 0; i < bulk->count; i++)
	{
		if (bulk->items[i].outcome == STILL_EXPECTED)
			bulk->items[i].outcome = CONCURRENT_MODIFICATION;
	}
}

/*
 * Makes the swaps of a bulk call, or finds out why they cannot be made; connected
 * to SPI.
 */
static void
make_bulk_swap(Bulk *bulk)
{
	ErrorData  *conflict;

	if (is_distributed(bulk->swap->governed->relid) ||
		(bulk->swap->is_fate ? !bulk->swap->governed->options.keep_rows :
		 bulk->swap->request_id != NULL))
	{
		swap_one_by_one(bulk);
		return;
	}
	if (!bulk->swap->is_transition)
		 /* known without an UPDATE */ ;
	else if (!may_meet_conflict(bulk->swap))
		swap_items(bulk);
	else if (meets_conflict(swap_items_for_subtransaction, bulk, &conflict))
	{
		swap_one_by_one(bulk);
		return;
	}
	if (!diagnose_bulk(bulk))
		return;
	if (IsolationUsesXactSnapshot())
		report_suppressed_with(bulk, STILL_EXPECTED);
	settle_or_tell(bulk);
}

/*
 * Marks those of the rows that were not swapped, with that outcome, because the same
 * request has swapped them already.
 */
static void
find_retries(Bulk *bulk, Outcome outcome)
{
	Swap	   *swap = bulk->swap;
	SwapParameters values;
	uint64		found;

	if (fill_keys(bulk, outcome, 0, values) == 0)
		return;
	found = read_ledger_rows(swap->governed, values);
	for (uint64 i = 0; i < found; i++)
	{
		if (is_assignment(returned_row(i), swap->expected_state, swap->new_state, swap->request_id))
			returned_item(bulk, returned_row(i), LEDGER_COLUMNS + 1)->outcome = RETRIED;
	}
	for (int i = 0; i < bulk->count; i++)
	{
		BulkItem   *item = &bulk->items[i];

		if (item->outcome != RETRIED)
			continue;
		memcpy(swap->key, item->key, swap->governed->key.ncolumns * sizeof(Datum));
		item->outcome = item->current.exists || !row_is_hidden(swap) ? ASSIGNED : outcome;
	}
}

/*
 * Makes the swaps of that many keys, one behind the other, of which the swap says
 * all but key and outcome, and returns their outcomes as rows of key, outcome and
 * state, in the order of the input.  A key that is given again finds what its
 * first time left.
 */
void
swap_many(Swap *swap, FunctionCallInfo fcinfo, const Datum *keys, int count)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const Key  *key = &swap->governed->key;
	Bulk		bulk = {swap};

	attach_counters();
	collect_items(&bulk, keys, count);
	SPI_connect();
	PG_TRY();
	{
		make_bulk_swap(&bulk);
	}
	PG_CATCH();
	{
		count_error(geterrcode());
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (swap->request_id != NULL && swap->is_fate)
	{
		find_retries(&bulk, NOT_FOUND);
		find_retries(&bulk, ALREADY_FATED);
		find_retries(&bulk, CONCURRENT_MODIFICATION);
	}
	for (int i = 0; i < count; i++)
	{
		const Datum *given = &keys[i * key->ncolumns];
		BulkItem   *item = bulk.given[i];
		Datum		values[3] = {0};
		bool		nulls[3] = {false, false, item->current.state == NULL};

		values[0] = swap->function->is_petition ? given[0] :
			CStringGetTextDatum(key_text(key, given));
		values[1] = CStringGetTextDatum(outcome_names[item->outcome]);
		if (item->current.state != NULL)
			values[2] = CStringGetTextDatum(item->current.state);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		count_outcome(item->outcome);
		if (item->outcome == ASSIGNED && swap->request_id == NULL)
			item->outcome = swap->is_fate ? ALREADY_FATED : CONCURRENT_MODIFICATION;
	}
	SPI_finish();
}

static const StatementForm swap_rows = {
	"WITH locked AS MATERIALIZED (SELECT {key names} FROM {table} AS {row}"
	" WHERE {key = any $} AND {state = $2} ORDER BY {key} FOR NO KEY UPDATE)"
	" UPDATE {table} AS {row} SET {state} = $3{set}"
	" FROM locked WHERE {key = locked} AND {state = $2} RETURNING {state}, {row.key}",
	"Kss", ON_TABLE | FIRES_TRIGGERS
};

static const SwapFunction many_function = {"compare_and_swap_many()", false, NULL, &swap_rows, NULL, NULL, &try_subject_function};

/*
 * Raises 0A000 for a key with a column of a type that has no array type: keys go to the
 * statement as arrays.
 */
static void
check_key_arrays(const Key *key, Relation relation)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		if (!OidIsValid(get_array_type(key->columns[i].type)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("compare_and_swap_many does not work on relation \"%s\", whose key column \"%s\" is of type %s",
							RelationGetRelationName(relation), key->columns[i].name,
							format_type_be(key->columns[i].type)),
					 errhint("Call try_compare_and_swap for each key, in the order of the keys.")));
	}
}

/*
 * compare_and_swap_many(subject, keys, expected_state, new_state, changes, reason,
 * request_id, state_column) returns an outcome for each key.
 */
Datum
compare_and_swap_many(PG_FUNCTION_ARGS)
{
	Swap		swap = {&many_function};
	ArrayType  *array;
	Datum	   *elements;
	bool	   *nulls;
	Datum	   *keys;
	int			count;
	int16		length;
	bool		by_value;
	char		align;

	PreventCommandIfReadOnly(many_function.name);
	check_not_null(fcinfo, 1, "keys");
	InitMaterializedSRF(fcinfo, 0);
	swap.relation = open_subject(fcinfo, RowExclusiveLock);
	read_subject_arguments(&swap, fcinfo);
	check_key_arrays(&swap.governed->key, swap.relation);
	array = PG_GETARG_ARRAYTYPE_P(1);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &elements, &nulls,
					  &count);
	keys = palloc_extended(Max(1, count) * swap.governed->key.ncolumns * sizeof(Datum),
						   MCXT_ALLOC_HUGE);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"keys\" must not contain nulls")));
		convert_key(&swap.governed->key, ARR_ELEMTYPE(array), elements[i],
					&keys[i * swap.governed->key.ncolumns]);
	}
	swap_many(&swap, fcinfo, keys, count);
	table_close(swap.relation, NoLock);
	return (Datum) 0;
}
