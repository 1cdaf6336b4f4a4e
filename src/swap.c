/*-------------------------------------------------------------------------
 *
 * swap.c
 *	  The compare-and-swap of one row: one UPDATE, and why it was not made.
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
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "changes.h"
#include "counters.h"
#include "errors.h"
#include "history.h"
#include "identity.h"
#include "ledger.h"
#include "session.h"
#include "shard.h"
#include "soundness.h"
#include "swap.h"

PG_FUNCTION_INFO_V1(compare_and_swap);
PG_FUNCTION_INFO_V1(try_compare_and_swap);
PG_FUNCTION_INFO_V1(try_compare_and_swap_relation);

const char *const outcome_names[] = {
	"assigned", "not_found", "already_fated", "concurrent_modification", "evidence_changed",
	"invalid_transition"
};

/* ----------------------------------------------------------------------
 * Statements
 * ----------------------------------------------------------------------
 */

#define SWAP_ROW(returned) \
	"UPDATE {table} AS {row} SET {state} = $3{set}" \
	" WHERE {key = $} AND {state = $2}{and seen} RETURNING {state}" returned "{, evidence}"

static const StatementForm swap_row = {SWAP_ROW(", {row}"), "kss", ON_TABLE | FIRES_TRIGGERS};
static const StatementForm try_row = {SWAP_ROW(""), "kss", ON_TABLE | FIRES_TRIGGERS};

static const StatementForm select_row = {
	"SELECT {state}, {row} FROM {table} AS {row} WHERE {key = $}",
	"k", ON_TABLE | FIRES_TRIGGERS
};

static const StatementForm select_state = {
	"SELECT {state}{, evidence} FROM {table} AS {row} WHERE {key = $}",
	"k", ON_TABLE | FIRES_TRIGGERS
};

static const StatementForm select_version = {
	"SELECT tableoid, ctid, xmin FROM {table} AS {row} WHERE {key = $} AND {state = $2}{and seen}",
	"ks", ON_TABLE | AS_TABLE_OWNER | FIRES_TRIGGERS
};

/* Finds out whether a row has changed since the snapshot: raises 40001 if so */
static const StatementForm probe_row = {
	"SELECT FROM {table} WHERE {key = $} FOR NO KEY UPDATE NOWAIT",
	"k", ON_TABLE | FIRES_TRIGGERS
};

static const StatementForm hold_row = {
	"SELECT FROM {table} WHERE {key = $} FOR NO KEY UPDATE",
	"k", ON_TABLE | FIRES_TRIGGERS
};

static const StatementForm lock_row = {
	"SELECT FROM {table} AS {row} WHERE {key = $} AND {state = $2}{and seen} FOR NO KEY UPDATE",
	"ks", ON_TABLE | AS_TABLE_OWNER | FIRES_TRIGGERS
};

/* Is the row there at all? */
static const StatementForm find_row = {
	"SELECT FROM {table} WHERE {key = $}",
	"k", ON_TABLE | AS_TABLE_OWNER | FIRES_TRIGGERS
};

static Datum form_subject(Datum row, FunctionCallInfo fcinfo);

static const SwapFunction swap_function = {"compare_and_swap()", false, form_subject, &swap_row, &select_row};
const SwapFunction try_subject_function = {"try_compare_and_swap()", false, NULL, &try_row};

/* ----------------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------------
 */

/*
 * Returns the number of a state that the caller names; raises 22023 for one
 * that the lifecycle does not know.
 */
static int
find_named_state(const Swap *swap, const char *state)
{
	int			number = lifecycle_find_name(swap->governed->lifecycle, state);

	if (number == NO_STATE)
		report_unknown_state(swap->governed->lifecycle,
							 RelationGetRelationName(swap->relation), state);
	return number;
}

/*
 * Takes the states from two arguments, the first of which has that number, and looks
 * them up.
 */
void
read_states(Swap *swap, FunctionCallInfo fcinfo, int first)
{
	int			from;
	int			to;

	swap->expected_state = get_text_argument(fcinfo, first, "expected_state");
	swap->new_state = get_text_argument(fcinfo, first + 1, "new_state");
	from = find_named_state(swap, swap->expected_state);
	to = find_named_state(swap, swap->new_state);
	swap->is_fate = lifecycle_is_fate(swap->governed->lifecycle, to);
	swap->is_transition = lifecycle_allows(swap->governed->lifecycle, from, to) &&
		(!swap->function->is_petition || swap->is_fate);
}

/*
 * Takes the other columns to set from an argument, if that is not null.
 */
static void
read_changes(Swap *swap, FunctionCallInfo fcinfo, int argument)
{
	Jsonb	   *changes;

	if (PG_ARGISNULL(argument))
		return;
	changes = PG_GETARG_JSONB_P(argument);
	swap->changes_sql = changes_sql(swap->governed, swap->relation, changes);
	swap->changes = JsonbPGetDatum(changes);
	if (swap->changes_sql[0] == '\0')
		swap->changes_sql = NULL;
}

/*
 * Takes the hash of the evidence that the caller has seen from an argument, if that is
 * not null.  Raises 22023 for what is no hash, and for a table without evidence.
 */
void
read_seen_hash(Swap *swap, FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		return;
	swap->seen_hash = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	check_seen_hash(swap->seen_hash);
	if (swap->governed->evidence.ncolumns == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"seen_hash\" was given, but decisions on relation \"%s\" rest on no evidence",
						RelationGetRelationName(swap->relation)),
				 errhint("Govern the relation with evidence => '{...}', the columns that a decision rests on."),
				 errtable(swap->relation)));
}

/*
 * Takes the request in which the swap is made from an argument, if that is not null.
 * Raises 22023 for one that cannot be recorded, or would be kept nowhere.
 */
void
read_request_id(Swap *swap, FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		return;
	swap->request_id = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	check_setting("request_id", swap->request_id, REQUEST_ID_LIMIT);
	if (swap->request_id[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"request_id\" must not be empty"),
				 errhint("Give each decision an id of its own, such as a uuid, and the same one when it is sent again.")));
	if (swap->is_transition && !swap->is_fate && swap->governed->options.history == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"request_id\" was given, but \"%s\" is no fate of relation \"%s\", which has no history",
						swap->new_state, RelationGetRelationName(swap->relation)),
				 errhint("It would be kept nowhere. Govern the relation with history => true."),
				 errtable(swap->relation)));
}

/* ----------------------------------------------------------------------
 * The UPDATE
 * ----------------------------------------------------------------------
 */

/*
 * Returns what a swap sets besides the state, as SQL, or NULL.
 */
static const char *
set_sql(const Swap *swap)
{
	return swap->changes_sql != NULL ? swap->changes_sql :
		swap->reason != NULL ? swap->function->set_reason : NULL;
}

/*
 * Fills in the parameters of a statement that follow the key.
 */
void
fill_states(const Swap *swap, Datum *values)
{
	values += swap->governed->key.ncolumns;
	values[0] = state_datum(&swap->governed->state, swap->expected_state);
	values[1] = state_datum(&swap->governed->state, swap->new_state);
	values[2] = swap->changes_sql != NULL ? swap->changes : PointerGetDatum(swap->reason);
}

/*
 * Lets the reason and the request of a swap, if it has them, be what guards record,
 * until end_record is called with what this returns, or the (sub)transaction fails.
 * Raises 22023 for a reason that cannot be recorded.
 */
int
begin_record(const Swap *swap)
{
	int			level;

	if (swap->reason == NULL && swap->request_id == NULL)
		return 0;
	level = NewGUCNestLevel();
	if (swap->reason != NULL)
	{
		char	   *reason = text_to_cstring(swap->reason);

		check_setting("reason", reason, REASON_LIMIT);
		(void) set_config_option("petition_cas.reason", reason,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	if (swap->request_id != NULL)
		(void) set_config_option("petition_cas.request_id", swap->request_id,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
end_record(int level)
{
	if (level > 0)
		AtEOXact_GUC(true, level);
}

/*
 * Executes the UPDATE of a swap, of which values has the key; returns how many rows
 * it updated.
 */
uint64
execute_update(const Swap *swap, Datum *values)
{
	Variant		variant = {set_sql(swap)};

	fill_states(swap, values);
	variant.set_type = swap->changes_sql != NULL ? JSONBOID : TEXTOID;
	if (swap->seen_hash != NULL)
	{
		variant.seen = true;
		variant.evidence = true;
		values[swap->governed->key.ncolumns + 2 + (variant.set != NULL)] =
			CStringGetTextDatum(swap->seen_hash);
	}
	count_fates(swap->governed);
	return governed_execute_variant(swap->governed, swap->function->update, &variant, values,
									InvalidSnapshot);
}

/*
 * Executes a statement on the swap's row.  One that asks for the row in its expected
 * state asks for the evidence that the caller has seen, too.
 */
static uint64
execute_on_row(const Swap *swap, const StatementForm *form, Snapshot snapshot)
{
	int			key_columns = swap->governed->key.ncolumns;
	Variant		variant = {NULL};
	SwapParameters values;

	memcpy(values, swap->key, key_columns * sizeof(Datum));
	if (form->parameters[1] == '\0')
		return governed_execute(swap->governed, form, InvalidOid, values, NULL, snapshot);
	fill_states(swap, values);
	if (swap->seen_hash != NULL)
	{
		variant.seen = true;
		values[key_columns + 1] = CStringGetTextDatum(swap->seen_hash);
	}
	return governed_execute_variant(swap->governed, form, &variant, values, snapshot);
}

/*
 * Raises 55000 if rows, that many, were stored with their fate in a table that
 * is unsound: its guard, which asks that too, may be what is missing.  So may
 * that of a partition: then it has not seen the row.
 */
void
check_stored_where(const Swap *swap, uint64 updated)
{
	if (!is_recorded(swap->governed, swap->is_fate))
		return;
	(void) check_sound(swap->governed, swap->relation);
	if (swap->governed->is_partitioned && counted_fates(swap->governed) < updated)
		check_partitions(swap->governed, swap->relation);
}

/*
 * Returns the state of a row that a statement returned in that column.
 */
RowState
returned_state(const Swap *swap, HeapTuple row, int column)
{
	RowState	result = {true};
	bool		isnull;
	Datum		state = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	if (!isnull)
		result.state = state_text(&swap->governed->state, state);
	return result;
}

/*
 * Raises 55000 if a row that the UPDATE returned, with its state in that column,
 * was stored with another state than it was to have.
 */
void
check_stored_state(const Swap *swap, HeapTuple row, int column)
{
	const char *stored = returned_state(swap, row, column).state;

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
 * Raises 55000 if a row that the UPDATE returned, with its evidence from that column
 * on, was stored with other evidence than the caller has seen.
 */
static void
check_stored_evidence(const Swap *swap, HeapTuple row, int column)
{
	if (strcmp(hash_of_result(&swap->governed->evidence, row, SPI_tuptable->tupdesc, column),
			   swap->seen_hash) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("row of relation \"%s\" was stored with other evidence than was seen",
						RelationGetRelationName(swap->relation)),
				 errhint("A BEFORE trigger, or an expression that generates a column, changes it in the same UPDATE. Nothing was stored."),
				 errtable(swap->relation)));
}

/*
 * Raises 55000 for an update that was suppressed: the row is there in the
 * expected state, and yet is not updated.
 */
void
report_suppressed(const Swap *swap, const Datum *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("update of row \"%s\" of relation \"%s\" was suppressed",
					key_text(&swap->governed->key, key), RelationGetRelationName(swap->relation)),
			 errdetail("The row is in state \"%s\", as expected, but was not updated.",
					   swap->expected_state),
			 errhint("A row security policy that lets you read the row but not update it does that, and so does a BEFORE trigger that returns null, or a rule."),
			 errtable(swap->relation)));
}

/*
 * Raises 55000 for an UPDATE of one key that hit several rows.
 */
void
report_not_unique(const Swap *swap, const Datum *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("key \"%s\" is not unique in governed relation \"%s\"",
					key_text(&swap->governed->key, key), RelationGetRelationName(swap->relation)),
			 errdetail("More than one row has this key, so a fate could be assigned to the wrong one."),
			 errhint("Nothing was changed. Give every row a key of its own. SELECT * FROM verify_fates(%s), as the owner of the relation, tells whether its unique index is missing.",
					 quote_literal_cstr(quote_qualified_identifier(swap->governed->relation_schema,
																   swap->governed->relation))),
			 errtable(swap->relation)));
}

/*
 * Returns a row that the last statement returned, by its number.
 */
HeapTuple
returned_row(uint64 number)
{
	if (SPI_tuptable == NULL || number >= SPI_tuptable->numvals)
		elog(ERROR, "statement did not return row " UINT64_FORMAT, number);
	return SPI_tuptable->vals[number];
}

/*
 * Executes the UPDATE of one row; returns whether it updated it.  The guard's
 * trigger fires within.
 */
static bool
execute_swap(Swap *swap)
{
	SwapParameters values;
	int			level = begin_record(swap);
	bool		returns_row = swap->function->form_row != NULL;
	uint64		updated;
	bool		isnull;

	memcpy(values, swap->key, swap->governed->key.ncolumns * sizeof(Datum));
	updated = execute_update(swap, values);
	end_record(level);
	if (updated == 0)
		return false;
	if (updated > 1)
		report_not_unique(swap, swap->key);

	check_stored_where(swap, updated);
	check_stored_state(swap, returned_row(0), 1);
	if (swap->seen_hash != NULL)
		check_stored_evidence(swap, returned_row(0), returns_row ? 3 : 2);
	if (returns_row)
	{
		swap->row = SPI_getbinval(returned_row(0), SPI_tuptable->tupdesc, 2, &isnull);
		if (isnull)
			elog(ERROR, "updated row of relation \"%s\" is null",
				 RelationGetRelationName(swap->relation));
	}
	swap->current.exists = true;
	swap->current.state = swap->new_state;
	return true;
}

/*
 * Calls a function in a subtransaction; returns whether the server refused
 * there to work on a row that has changed since the snapshot, and that error
 * in *conflict.  Raises other errors.
 */
bool
meets_conflict(void (*function) (void *), void *argument, ErrorData **conflict)
{
	*conflict = call_in_subtransaction(function, argument);
	if (*conflict != NULL && !is_row_conflict(*conflict))
		ReThrowError(*conflict);
	return *conflict != NULL;
}

/* What is called in a subtransaction */

static void
execute_probe(void *argument)
{
	(void) execute_on_row(argument, &probe_row, InvalidSnapshot);
}

static void
execute_swap_for_subtransaction(void *argument)
{
	Swap	   *swap = argument;

	swap->current.exists = execute_swap(swap);
}

static RowVersion read_version(const Swap *swap, Snapshot snapshot);
static RowVersion read_current_version(const Swap *swap);

/*
 * Can the server refuse to update or lock a row because it has changed?  Above READ
 * COMMITTED it does; at READ COMMITTED where a row that was waited for has moved to
 * another partition.
 */
bool
may_meet_conflict(const Swap *swap)
{
	return IsolationUsesXactSnapshot() ||
		swap->relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ||
		swap->relation->rd_rel->relispartition;
}

/*
 * Has the swap's row changed since the transaction's snapshot, or at READ COMMITTED,
 * since the call began?  Above READ COMMITTED, asks the
 * server by locking it.  One that somebody else has locked has not changed
 * yet: that a row has changed is told before any lock is waited for.
 */
static bool
row_has_changed(Swap *swap)
{
	ErrorData  *error;

	if (!IsolationUsesXactSnapshot())
		return !is_same_version(read_version(swap, GetActiveSnapshot()),
								read_current_version(swap));
	error = call_in_subtransaction(execute_probe, swap);
	if (error == NULL || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return false;
	if (!is_row_conflict(error))
		ReThrowError(error);
	return true;
}

/*
 * Executes the UPDATE of one row where may_meet_conflict.  Returns
 * whether the row was updated; *changed is whether it was refused because the
 * row has changed, see row_has_changed.  The same error may come from another
 * row that somebody's trigger works on: then ours has not changed, and the
 * error is passed on as what it is.
 */
static bool
execute_swap_in_snapshot(Swap *swap, bool *changed)
{
	ErrorData  *error;

	*changed = meets_conflict(execute_swap_for_subtransaction, swap, &error);
	if (*changed && !row_has_changed(swap))
		ReThrowError(error);
	return !*changed && swap->current.exists;
}

/* ----------------------------------------------------------------------
 * Diagnosis
 * ----------------------------------------------------------------------
 */

/*
 * Returns the version of a row that a statement returned in three columns.
 */
RowVersion
returned_version(HeapTuple row, int first)
{
	RowVersion	version;
	TupleDesc	desc = SPI_tuptable->tupdesc;
	bool		isnull;

	version.relid = DatumGetObjectId(SPI_getbinval(row, desc, first, &isnull));
	version.place = *(ItemPointer) DatumGetPointer(SPI_getbinval(row, desc, first + 1, &isnull));
	version.writer = DatumGetTransactionId(SPI_getbinval(row, desc, first + 2, &isnull));
	return version;
}

/*
 * Are two versions of a row the same, and is there one?
 */
bool
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
 * Has a row, whose evidence was read, that which the caller has seen?
 */
static bool
is_as_seen(const Swap *swap, RowState row)
{
	return swap->seen_hash == NULL ||
		(row.evidence != NULL && strcmp(row.evidence, swap->seen_hash) == 0);
}

/*
 * Finds out why a swap was not made, from the row as it was when the call began
 * and as it is now.  changed: the server refused the update because the row has
 * changed.  A row that is as it was seen, but was not so in the transaction's snapshot,
 * has changed too.
 */
Outcome
find_outcome(const Swap *swap, RowState began, RowState current, bool changed)
{
	const Lifecycle *lifecycle = swap->governed->lifecycle;
	int			state = lifecycle_find_name(lifecycle, began.state);

	if (!began.exists && !current.exists)
		return NOT_FOUND;
	if (state != NO_STATE && lifecycle_is_fate(lifecycle, state))
		return ALREADY_FATED;
	if (changed || !is_in_state(began, swap->expected_state) ||
		!is_in_state(current, swap->expected_state))
		return CONCURRENT_MODIFICATION;
	if (!is_as_seen(swap, current))
		return EVIDENCE_CHANGED;
	if (!is_as_seen(swap, began) && IsolationUsesXactSnapshot())
		return CONCURRENT_MODIFICATION;
	return swap->is_transition ? STILL_EXPECTED : INVALID_TRANSITION;
}

/*
 * Reads the state of the row under a snapshot, and on demand the hash of its evidence.
 */
static RowState
read_state(const Swap *swap, bool with_evidence, Snapshot snapshot)
{
	RowState	state = {false};
	Variant		variant = {.evidence = with_evidence};
	Datum		values[MAX_KEY_COLUMNS];

	memcpy(values, swap->key, swap->governed->key.ncolumns * sizeof(Datum));
	if (governed_execute_variant(swap->governed, &select_state, &variant, values, snapshot) == 0)
		return state;
	state = returned_state(swap, returned_row(0), 1);
	if (with_evidence)
		state.evidence = hash_of_result(&swap->governed->evidence, returned_row(0),
										SPI_tuptable->tupdesc, 2);
	return state;
}

/*
 * Reads the state that the row has now, and on demand the hash of its evidence.
 */
static void
read_current_state(Swap *swap, bool with_evidence)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

	swap->current = read_state(swap, with_evidence, latest);
	UnregisterSnapshot(latest);
}

/*
 * Reads which version of the row is in the expected state under a snapshot.
 */
static RowVersion
read_version(const Swap *swap, Snapshot snapshot)
{
	RowVersion	none = {InvalidOid};

	if (execute_on_row(swap, &select_version, snapshot) == 0)
		return none;
	return returned_version(returned_row(0), 1);
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
 * Was the fate that stands assigned by the swap's own request, from the same state?  Or,
 * where the new state is no fate, has that request moved the row so at any time, as the
 * history tells?
 */
static bool
was_assigned(const Swap *swap)
{
	if (swap->request_id == NULL)
		return false;
	return (swap->is_fate ? has_assignment : has_move) (swap->governed, swap->key,
														swap->expected_state, swap->new_state,
														swap->request_id);
}

static void
execute_hold(void *argument)
{
	(void) execute_on_row(argument, &hold_row, InvalidSnapshot);
}

/*
 * Has the swap's own request moved the row already, to a state that leads on?  Whatever
 * came after, it is not to be moved again, even if it is in the expected state once more.
 * The row is locked before that is asked, so that an attempt under way is waited for.
 */
static bool
was_moved_before(Swap *swap)
{
	ErrorData  *conflict;

	if (swap->request_id == NULL || swap->is_fate || !swap->is_transition)
		return false;
	/* a row that has changed since the snapshot is one that try_swap tells */
	if (may_meet_conflict(swap))
		(void) meets_conflict(execute_hold, swap, &conflict);
	else
		execute_hold(swap);
	return was_assigned(swap);
}

/*
 * Executes the UPDATE of one row of a table whose fated rows may be deleted, for a
 * function that does not raise, or a request that may be sent again: the ledger may hold
 * a fate of an earlier row with this key, which the guard refuses with PF002.  Returns as
 * execute_swap_in_snapshot does; *fated is whether that happened.
 */
static bool
execute_swap_of_new_row(Swap *swap, bool *changed, bool *fated)
{
	ErrorData  *error = call_in_subtransaction(execute_swap_for_subtransaction, swap);

	if (error == NULL)
		return swap->current.exists;

	/*
	 * the error may be about another table, whose fate a trigger wanted to
	 * change
	 */
	*fated = error->sqlerrcode == ERRCODE_ALREADY_FATED && has_fate(swap->governed, swap->key) &&
		(swap->function->form_row == NULL || was_assigned(swap));
	*changed = may_meet_conflict(swap) && is_row_conflict(error) && row_has_changed(swap);
	if (!*fated && !*changed)
		ReThrowError(error);
	return false;
}

/*
 * Executes the UPDATE of one row in the way that isolation level, table and function
 * ask for.  Returns whether it updated the row.  If not, *changed is whether the server
 * refused that because the row has changed, and *fated whether the guard did because the
 * ledger holds a fate of an earlier row.
 */
static bool
execute_swap_once(Swap *swap, bool *changed, bool *fated)
{
	*changed = false;
	*fated = false;
	if (swap->is_fate && !swap->governed->options.keep_rows &&
		(swap->function->form_row == NULL || swap->request_id != NULL))
		return execute_swap_of_new_row(swap, changed, fated);
	if (may_meet_conflict(swap))
		return execute_swap_in_snapshot(swap, changed);
	return execute_swap(swap);
}

static void
execute_lock(void *argument)
{
	Swap	   *swap = argument;

	swap->current.exists = execute_on_row(swap, &lock_row, InvalidSnapshot) > 0;
}

/*
 * Locks the swap's row, if it is in the expected state; returns whether it is.
 */
static bool
lock_expected_row(Swap *swap)
{
	ErrorData  *conflict;

	if (!may_meet_conflict(swap))
		execute_lock(swap);
	else if (meets_conflict(execute_lock, swap, &conflict))
		return false;
	return swap->current.exists;
}

/*
 * Makes the swap of a row that one UPDATE has missed although it was in the
 * expected state before and after; see the head of this file.
 */
static Outcome
settle_swap(Swap *swap)
{
	RowVersion	before;
	bool		changed;
	bool		fated = false;

	if (IsolationUsesXactSnapshot())
		report_suppressed(swap, swap->key);
	before = read_version(swap, GetActiveSnapshot());
	for (int try = 0; try < MAX_TRIES; try++)
	{
		if (is_same_version(before, read_current_version(swap)))
			report_suppressed(swap, swap->key);
		if (try > 0 && lock_expected_row(swap))
		{
			if (execute_swap_once(swap, &changed, &fated))
				return ASSIGNED;
			if (!fated)
				report_suppressed(swap, swap->key);
			break;
		}
		before = read_current_version(swap);
		if (!OidIsValid(before.relid))
			break;
		if (execute_swap_once(swap, &changed, &fated))
			return ASSIGNED;
		if (fated)
			break;
	}
	read_current_state(swap, swap->seen_hash != NULL);
	if (fated)
		return ALREADY_FATED;
	return is_in_state(swap->current, swap->expected_state) && !is_as_seen(swap, swap->current) ?
		EVIDENCE_CHANGED : CONCURRENT_MODIFICATION;
}

/*
 * Makes the swap, or finds out why it cannot be made; connected to SPI.
 */
static Outcome
try_swap(Swap *swap)
{
	bool		changed = false;
	bool		fated = false;
	Outcome		outcome;
	RowState	began;

	/* one that is off the graph is known without an UPDATE */
	if (swap->is_transition && execute_swap_once(swap, &changed, &fated))
		return ASSIGNED;
	began = read_state(swap, swap->seen_hash != NULL, GetActiveSnapshot());
	read_current_state(swap, swap->seen_hash != NULL);
	if (fated)
		return ALREADY_FATED;
	outcome = find_outcome(swap, began, swap->current, changed);
	return outcome == STILL_EXPECTED ? settle_swap(swap) : outcome;
}

/*
 * Is the swap's row, which the caller does not see, there?  Connected to SPI.
 */
bool
row_is_hidden(const Swap *swap)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	bool		exists = execute_on_row(swap, &find_row, latest) > 0;

	UnregisterSnapshot(latest);
	return exists;
}

/*
 * Reads the row that a swap returns which was made by an earlier call.  It may be gone
 * by now.
 */
static void
read_swapped_row(Swap *swap)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

	swap->no_row = execute_on_row(swap, swap->function->select, latest) == 0;
	UnregisterSnapshot(latest);
	if (!swap->no_row)
		swap->row = SPI_getbinval(returned_row(0), SPI_tuptable->tupdesc, 2, &swap->no_row);
}

/*
 * Raises 0A000 if the guard of a swapped row of a distributed table has not recorded the
 * request: it runs on another node, and has the settings of its session there.
 */
static void
check_request_travelled(const Swap *swap)
{
	if (swap->request_id == NULL || !is_distributed(swap->governed->relid) ||
		was_assigned(swap))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("argument \"request_id\" does not reach the node that has the row of distributed relation \"%s\"",
					RelationGetRelationName(swap->relation)),
			 errhint("Nothing was changed. Before the call, in the same transaction, SET LOCAL citus.propagate_set_commands = 'local', and then SET LOCAL petition_cas.request_id to the same id."),
			 errtable(swap->relation)));
}

/*
 * Makes the swap, or finds out why it cannot be made; connected to SPI.  One that was
 * not made because the same request has made it already counts as made.
 */
Outcome
make_swap(Swap *swap)
{
	Outcome		outcome = NOT_FOUND;

	if (was_moved_before(swap))
		read_current_state(swap, false);
	else
	{
		outcome = try_swap(swap);
		if (outcome == ASSIGNED)
			check_request_travelled(swap);
		if (outcome == ASSIGNED || !was_assigned(swap))
			return outcome;
	}
	if (!swap->current.exists && row_is_hidden(swap))
		return outcome;
	if (swap->function->form_row != NULL)
		read_swapped_row(swap);
	return ASSIGNED;
}

/*
 * May the caller read the columns of the evidence, and ask for their hash?
 */
static bool
may_read_evidence(const Swap *swap)
{
	const Evidence *evidence = &swap->governed->evidence;

	for (int i = 0; i < evidence->ncolumns; i++)
	{
		if (!may_select_column(RelationGetRelid(swap->relation), evidence->columns[i].name))
			return false;
	}
	return may_hash_evidence(swap->governed->functions_schema);
}

/*
 * Adds to a refusal the hash of the row's evidence as it is now, if there is a row, and
 * the caller may read it.  It is read already if he has given the one that he has seen.
 */
static void
add_evidence(Swap *swap, Refusal *refusal)
{
	if (swap->governed->evidence.ncolumns == 0 || !swap->current.exists)
		return;
	if (swap->seen_hash == NULL && may_read_evidence(swap))
		read_current_state(swap, true);
	refusal->evidence_hash = swap->current.evidence;
}

/*
 * Raises the error for an outcome other than ASSIGNED.
 */
pg_noreturn static void
report_outcome(Swap *swap, Outcome outcome)
{
	const Lifecycle *lifecycle = swap->governed->lifecycle;
	int			current = lifecycle_find_name(lifecycle, swap->current.state);
	Refusal		refusal = {0};

	refusal.relation = swap->relation;
	refusal.is_petition = swap->function->is_petition;
	refusal.key = key_text(&swap->governed->key, swap->key);
	refusal.expected_state = swap->expected_state;
	refusal.current_state = swap->current.state;
	refusal.is_missing = !swap->current.exists;
	refusal.new_state = swap->new_state;
	refusal.allowed = lifecycle_targets(lifecycle, current, &refusal.nallowed);
	refusal.is_fated = current != NO_STATE && lifecycle_is_fate(lifecycle, current);
	if (refusal.is_fated || (refusal.is_missing && !row_is_hidden(swap)))
		read_assignment(swap->governed, swap->key, &refusal);
	/* whatever is inserted with this key has that fate */
	if (refusal.ledger_fate != NULL)
		refusal.nallowed = -1;
	add_evidence(swap, &refusal);

	if (outcome == NOT_FOUND)
		report_not_found(&refusal);
	if (outcome == ALREADY_FATED)
		report_already_fated(&refusal);
	if (outcome == CONCURRENT_MODIFICATION)
		report_concurrent_modification(&refusal);
	if (outcome == EVIDENCE_CHANGED)
		report_evidence_changed(&refusal);
	if (lifecycle_allows(lifecycle, current, lifecycle_find_name(lifecycle, swap->new_state)))
		report_not_a_fate(&refusal);
	report_invalid_transition(&refusal);
}

/* ----------------------------------------------------------------------
 * The functions
 * ----------------------------------------------------------------------
 */

/*
 * Counts what a function is about to tell of a row.
 */
void
count_outcome(Outcome outcome)
{
	static const Counter counters[] = {
		[ASSIGNED] = COUNT_ASSIGNED,
		[NOT_FOUND] = COUNT_NOT_FOUND,
		[ALREADY_FATED] = COUNT_ALREADY_FATED,
		[CONCURRENT_MODIFICATION] = COUNT_CONCURRENT_MODIFICATION,
		[EVIDENCE_CHANGED] = COUNT_EVIDENCE_CHANGED,
		[INVALID_TRANSITION] = COUNT_INVALID_TRANSITION
	};

	count_told(counters[outcome]);
}

/*
 * Returns a record of outcome and state, in the current memory context.  All functions
 * that return one have these two output parameters.  So the row type is made once a
 * session: to read it from the catalog for each statement takes 3% of a call.
 */
static Datum
form_outcome(const Swap *swap, Outcome outcome)
{
	static TupleDesc desc = NULL;
	Datum		values[2] = {0};
	bool		nulls[2] = {false, swap->current.state == NULL};

	if (desc == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
		TupleDesc	made = CreateTemplateTupleDesc(2);

		TupleDescInitEntry(made, 1, "outcome", TEXTOID, -1, 0);
		TupleDescInitEntry(made, 2, "current_state", TEXTOID, -1, 0);
		desc = BlessTupleDesc(made);
		MemoryContextSwitchTo(caller);
	}
	values[0] = CStringGetTextDatum(outcome_names[outcome]);
	if (swap->current.state != NULL)
		values[1] = CStringGetTextDatum(swap->current.state);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * Makes the swap of one row, of which all but the outcome is filled in, and closes
 * its relation; the lock stays until the transaction ends, as after any UPDATE.
 * Returns what the function returns, in the current memory context; raises an error
 * for a row that was not swapped if the function does so.
 */
Datum
swap_one(Swap *swap, FunctionCallInfo fcinfo)
{
	MemoryContext caller = CurrentMemoryContext;
	Outcome		outcome;
	Datum		result;

	attach_counters();
	SPI_connect();
	PG_TRY();
	{
		outcome = make_swap(swap);
		if (swap->function->form_row != NULL && outcome != ASSIGNED)
			report_outcome(swap, outcome);
		count_outcome(outcome);
	}
	PG_CATCH();
	{
		count_error(geterrcode());
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	fcinfo->isnull = swap->no_row;
	result = swap->no_row ? (Datum) 0 :
		swap->function->form_row != NULL ? swap->function->form_row(swap->row, fcinfo) :
		form_outcome(swap, outcome);
	SPI_finish();
	relation_close(swap->relation, NoLock);
	return result;
}

/*
 * Opens the table whose row type the function's first argument has, with that lock.
 */
Relation
open_subject(FunctionCallInfo fcinfo, LOCKMODE lockmode)
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
	relation = try_relation_open(relid, lockmode);
	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation of argument \"subject\" does not exist")));
	return relation;
}

/*
 * Raises 22023 for changes of evidence that the caller says to have seen: what is decided
 * would be something else.
 */
static void
check_evidence_unchanged(const Swap *swap)
{
	const Evidence *evidence = &swap->governed->evidence;
	Jsonb	   *changes;

	if (swap->changes_sql == NULL || swap->seen_hash == NULL)
		return;
	changes = DatumGetJsonbP(swap->changes);
	for (int i = 0; i < evidence->ncolumns; i++)
	{
		JsonbValue	name = {.type = jbvString};

		name.val.string.val = evidence->columns[i].name;
		name.val.string.len = strlen(evidence->columns[i].name);
		if (findJsonbValueFromContainer(&changes->root, JB_FOBJECT, &name) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"changes\" must not set evidence column \"%s\" of relation \"%s\" where seen_hash is given",
							evidence->columns[i].name, RelationGetRelationName(swap->relation)),
					 errhint("What is decided is what was seen. Change the column first, and decide on what it is then."),
					 errtable(swap->relation)));
	}
}

/*
 * Prepares the swaps of rows of an open table by the arguments that follow the key: the
 * states, changes, reason, for one row the seen hash, request and state column.
 */
void
read_subject_arguments(Swap *swap, FunctionCallInfo fcinfo)
{
	bool		is_set = swap->function->single != NULL;
	int			next = is_set ? 6 : 7;

	swap->governed = get_governed(swap->relation, get_name_argument(fcinfo, next + 1));
	check_readable(swap->governed, swap->relation);
	if (swap->governed->state.is_generated)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot set generated state column \"%s\" of relation \"%s\"",
						swap->governed->state.name, RelationGetRelationName(swap->relation)),
				 errhint("UPDATE the columns that it is generated from. The guard judges what comes of it."),
				 errtable(swap->relation)));
	read_states(swap, fcinfo, 2);
	read_changes(swap, fcinfo, 4);
	if (!PG_ARGISNULL(5))
		swap->reason = PG_GETARG_TEXT_PP(5);
	if (!is_set)
		read_seen_hash(swap, fcinfo, 6);
	check_evidence_unchanged(swap);
	read_request_id(swap, fcinfo, next);
}

/*
 * Swaps one row of an open table.
 */
static Datum
swap_subject(FunctionCallInfo fcinfo, const SwapFunction *function, Relation relation)
{
	Swap		swap = {function, relation};

	read_subject_arguments(&swap, fcinfo);
	key_argument(&swap.governed->key, fcinfo, 1, swap.key);
	return swap_one(&swap, fcinfo);
}

/*
 * Copies the row that compare_and_swap returns.  Where the caller named the table
 * by a domain over its row type, raises that domain's own 23514 if the row violates
 * it.
 */
static Datum
form_subject(Datum row, FunctionCallInfo fcinfo)
{
	FmgrInfo   *function = fcinfo->flinfo;
	Oid			type = get_fn_expr_argtype(function, 0);

	row = datumCopy(row, false, -1);
	if (get_typtype(type) == TYPTYPE_DOMAIN)
		domain_check(row, false, type, &function->fn_extra, function->fn_mcxt);
	return row;
}

/*
 * compare_and_swap(subject, key, expected_state, new_state, changes, reason, seen_hash,
 * request_id, state_column) returns the row as it is then.
 */
Datum
compare_and_swap(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly(swap_function.name);
	check_not_null(fcinfo, 1, "key");
	PG_RETURN_DATUM(swap_subject(fcinfo, &swap_function, open_subject(fcinfo, RowExclusiveLock)));
}

/*
 * try_compare_and_swap(same arguments) returns outcome and current state.
 */
Datum
try_compare_and_swap(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly(try_subject_function.name);
	check_not_null(fcinfo, 1, "key");
	PG_RETURN_DATUM(swap_subject(fcinfo, &try_subject_function, open_subject(fcinfo, RowExclusiveLock)));
}

/*
 * try_compare_and_swap(relation, same arguments) is the same for a table that is a
 * parameter.
 */
Datum
try_compare_and_swap_relation(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly(try_subject_function.name);
	check_not_null(fcinfo, 0, "relation");
	check_not_null(fcinfo, 1, "key");
	PG_RETURN_DATUM(swap_subject(fcinfo, &try_subject_function,
								 open_relation(PG_GETARG_OID(0), RowExclusiveLock)));
}
