/*-------------------------------------------------------------------------
 *
 * history.c
 *	  The history of a governed table: write it, and whether a change of it may be.
 *
 * A history has a row for each insertion of a row of its table, and for each change of
 * its state, in whatever order they happened.  It is written like the ledger: as its
 * owner, in the statement that moved the row, and it only grows.  It is no ledger: a
 * key is in it as often as its row moved, and nothing is refused because of what it
 * holds.
 *
 * One change is made of what ledgers and histories hold: forget_actor (forget.c)
 * replaces the name of who did something.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "history.h"
#include "statement.h"

/* ----------------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------------
 */

/* A row of it begins as one of the ledger, and then ends */
StaticAssertDecl((int) LEDGER_FROM_STATE == HISTORY_FROM_STATE &&
				 (int) LEDGER_FATE == HISTORY_TO_STATE &&
				 (int) LEDGER_ASSIGNED_AT == HISTORY_MOVED_AT &&
				 (int) LEDGER_ASSIGNED_BY == HISTORY_MOVED_BY &&
				 (int) LEDGER_TRANSACTION_ID == HISTORY_TRANSACTION_ID &&
				 (int) LEDGER_REASON == HISTORY_REASON &&
				 (int) LEDGER_REQUEST_ID == HISTORY_REQUEST_ID,
				 "history and ledger rows begin with the same columns");

static const StatementForm insert_move = {
	"INSERT INTO {history} ({key names}, {columns}) VALUES ({keys}, {values})",
	"kH", ON_HISTORY | AS_LEDGER_OWNER
};

static const StatementForm insert_moves = {
	"INSERT INTO {history} ({key names}, {columns}) SELECT {unnested keys}, {values}",
	"KH", ON_HISTORY | AS_LEDGER_OWNER
};

/*
 * Writes moves of rows into the history of a table that is sound.  Raises 55000 if they
 * did not get there, which only a trigger that came meanwhile can do.
 *
 * Their time is the clock's, not the transaction's, which may have begun before another
 * one that has moved the row since: so the history of a row is in the order of its times.
 */
void
write_history(Governed *governed, Relation relation, Oid history, const Fates *moves)
{
	uint64		inserted = 0;
	ErrorData  *error;
	LedgerRow	row;

	fill_row(&row, governed->key.ncolumns, moves);
	row.columns[HISTORY_MOVED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	SPI_connect();
	error = execute_recording(governed, &history_kind,
							  moves->count == 1 ? &insert_move : &insert_moves, history, &row,
							  moves, &inserted);
	if (error != NULL)
		rethrow_for_caller(error, history);
	if (inserted != moves->count)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("change of state of a row of relation \"%s\" was not recorded in history \"%s\"",
						RelationGetRelationName(relation), governed->options.history),
				 errhint("A BEFORE trigger or a rule on the history suppresses its rows. Remove it."),
				 errtable(relation)));
	SPI_finish();
}

static const StatementForm select_moves = {
	"SELECT {columns} FROM {history} WHERE {key = $}",
	"k", ON_HISTORY | AS_LEDGER_OWNER
};

/*
 * Returns whether a request has moved a key so, at any time, seen with the latest
 * snapshot; false without a history.  Connected to SPI.
 */
bool
has_move(Governed *governed, const Datum *key, const char *from_state, const char *to_state,
		 const char *request_id)
{
	Oid			history = governed_history(governed, true);
	Snapshot	latest;
	uint64		found;

	if (!OidIsValid(history))
		return false;
	latest = RegisterSnapshot(GetLatestSnapshot());
	found = governed_execute(governed, &select_moves, history, unconstify(Datum *, key), NULL, latest);
	UnregisterSnapshot(latest);
	for (uint64 i = 0; i < found; i++)
	{
		if (is_assignment(SPI_tuptable->vals[i], from_state, to_state, request_id))
			return true;
	}
	return false;
}

/* ----------------------------------------------------------------------
 * Who did it
 * ----------------------------------------------------------------------
 */

/* What rewrite_actor is at work on; InvalidOid: it is not */
static Oid	rewritten = InvalidOid;
static int	rewritten_depth;	/* of the triggers that are to let it pass */
static const char *rewritten_actor;
static const char *rewritten_pseudonym;

/*
 * Raises 55000 if another trigger than ours sees changes of the rows of a ledger or history
 * before they are stored: one that fires later could make something else of them, and one
 * that fires earlier could keep them from ours, and from being made.
 */
static void
check_fires_alone(Relation record)
{
	const TriggerDesc *triggers = record->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (!is_trigger_name(trigger->tgname, LEDGER_TRIGGER, RelationGetRelationName(record)) &&
			TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_BEFORE(trigger->tgtype) &&
			TRIGGER_FOR_UPDATE(trigger->tgtype) && trigger->tgenabled != TRIGGER_DISABLED)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("trigger \"%s\" could change rows of relation \"%s\"",
							trigger->tgname, RelationGetRelationName(record)),
					 errhint("Only the name of an actor may change there. Drop the trigger, or disable it."),
					 errtable(record)));
	}
}

/*
 * Replaces the name of who did something in all rows of a ledger or history that have
 * it, as they are committed now; connected to SPI, as the owner.  Returns how many.
 * Raises 55000 if a trigger of the user's could keep the name there.
 */
uint64
rewrite_actor(Relation record, const char *actor, const char *pseudonym)
{
	const char *column = record_kind(record)->actor_column;
	char	   *command = psprintf("UPDATE %s SET %s = $2 WHERE %s OPERATOR(pg_catalog.=) $1",
								   quote_qualified_identifier(get_namespace_name(RelationGetNamespace(record)),
															  RelationGetRelationName(record)),
								   column, column);
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(actor), CStringGetTextDatum(pseudonym)};
	volatile uint64 count = 0;

	check_fires_alone(record);
	rewritten_depth = trigger_depth() + 1;
	rewritten_actor = actor;
	rewritten_pseudonym = pseudonym;
	rewritten = RelationGetRelid(record);
	PG_TRY();
	{
		count = execute_latest(command, lengthof(types), types, values, NULL);
	}
	PG_FINALLY();
	{
		rewritten = InvalidOid;
	}
	PG_END_TRY();
	return count;
}

/*
 * Returns the text in a column of a tuple, or NULL.
 */
static char *
text_in(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/*
 * Returns whether the change that a trigger is called for leaves everything in the row as
 * it is but the actor, which *column is then.  What is generated follows the rest, and the
 * server computes it later.
 */
static bool
changes_actor_alone(const TriggerData *call, int *column)
{
	TupleDesc	desc = RelationGetDescr(call->tg_relation);
	const char *actor = record_kind(call->tg_relation)->actor_column;

	*column = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		Datum		before;
		Datum		after;
		bool		before_null;
		bool		after_null;

		if (attribute->attisdropped || attribute->attgenerated != '\0')
			continue;
		if (strcmp(NameStr(attribute->attname), actor) == 0)
		{
			*column = i + 1;
			continue;
		}
		before = heap_getattr(call->tg_trigtuple, i + 1, desc, &before_null);
		after = heap_getattr(call->tg_newtuple, i + 1, desc, &after_null);
		if (before_null != after_null ||
			(!before_null && !datum_image_eq(before, after, attribute->attbyval, attribute->attlen)))
			return false;
	}
	return *column > 0 && TupleDescAttr(desc, *column - 1)->atttypid == TEXTOID;
}

/*
 * Returns whether an UPDATE of a row of a ledger or history, which our trigger is called
 * for, may pass: it changes nothing but the actor; and it is the one that rewrite_actor
 * executes, or arrives from a publisher that has let it pass.  Whatever code of the user
 * runs meanwhile gets no further with it: it could change the same names in the same way.
 */
bool
only_rewrites_actor(const TriggerData *call)
{
	int			depth = trigger_depth();
	bool		is_ours = rewritten_depth == depth && rewritten == RelationGetRelid(call->tg_relation);
	bool		is_replicated = IsLogicalWorker() && depth == 1;
	TupleDesc	desc = RelationGetDescr(call->tg_relation);
	int			column;

	if (!(is_ours || is_replicated) || !changes_actor_alone(call, &column))
		return false;
	if (is_ours)
	{
		const char *before = text_in(call->tg_trigtuple, desc, column);
		const char *after = text_in(call->tg_newtuple, desc, column);

		if (before == NULL || after == NULL || strcmp(before, rewritten_actor) != 0 ||
			strcmp(after, rewritten_pseudonym) != 0)
			return false;
	}
	check_fires_alone(call->tg_relation);
	return true;
}
