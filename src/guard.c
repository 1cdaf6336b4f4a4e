/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  The triggers that hold a table, and its ledger, to what governs it.
 *
 * The guard fires after each row is stored, whatever other triggers made of
 * it, and compares the row before with the row after.  When a row has got its
 * fate, it records that in the ledger.  Two layers stand behind one fate: the
 * guard keeps the row as it is, and the ledger's primary key admits one fate a
 * key, for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "compat.h"
#include "errors.h"
#include "guard.h"
#include "history.h"
#include "identity.h"
#include "session.h"
#include "soundness.h"

PG_FUNCTION_INFO_V1(guard_fate);
PG_FUNCTION_INFO_V1(guard_truncate);
PG_FUNCTION_INFO_V1(guard_ledger);

/* ----------------------------------------------------------------------
 * Refusing
 * ----------------------------------------------------------------------
 */

/* A row as the guard sees it */
typedef struct GuardedRow
{
	Datum		key[MAX_KEY_COLUMNS];
	Datum		state;
	bool		state_null;
	TupleTableSlot *slot;
} GuardedRow;

static void
read_row(const Governed *governed, Relation relation, TupleTableSlot *slot, GuardedRow *row)
{
	key_of_row(&governed->key, relation, slot, row->key);
	row->state = slot_getattr(slot, governed->state.attno, &row->state_null);
	row->slot = slot;
}

/*
 * Returns the number of a row's state, or NO_STATE for one that is null or
 * not in the lifecycle.
 */
static int
find_row_state(const Governed *governed, const GuardedRow *row)
{
	return row->state_null ? NO_STATE :
		find_state(&governed->state, governed->lifecycle, row->state);
}

/*
 * Returns the text of a row's state, or NULL for null.
 */
static char *
row_state_text(const Governed *governed, const GuardedRow *row)
{
	return row->state_null ? NULL : state_text(&governed->state, row->state);
}

/*
 * May the caller see key and state of the rows of a relation?
 */
static bool
may_select(const Governed *governed, Oid relid)
{
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	for (int i = 0; i < governed->key.ncolumns; i++)
	{
		if (!may_select_column(relid, governed->key.columns[i].name))
			return false;
	}
	return may_select_column(relid, governed->state.name);
}

/*
 * May the caller see the row that is being judged?  As for referential
 * integrity, no value goes into an error that its reader could not select.  The
 * row of a partition can be selected through the tables above it, whose rights
 * are then the ones that count.
 */
static bool
caller_may_see(const Governed *governed, Relation relation)
{
	ListCell   *cell;

	if (may_select(governed, RelationGetRelid(relation)))
		return true;
	foreach(cell, governed->ancestors)
	{
		if (may_select(governed, lfirst_oid(cell)))
			return true;
	}
	return false;
}

/*
 * Starts to tell why a row may not go from one state to another (or, without
 * a from_state, may not arrive in it).
 */
static Refusal
make_refusal(const Governed *governed, Relation relation, const Datum *key,
			 const char *current_state, const char *new_state)
{
	Refusal		refusal = {0};

	refusal.relation = relation;
	refusal.new_state = new_state;
	if (caller_may_see(governed, relation))
	{
		int			state = lifecycle_find_name(governed->lifecycle, current_state);

		refusal.key = key_text(&governed->key, key);
		refusal.current_state = current_state;
		refusal.allowed = lifecycle_targets(governed->lifecycle, state, &refusal.nallowed);
	}
	return refusal;
}

/*
 * Returns the DETAIL of PF006 for tampering with a row.
 */
static char *
tampering_detail(const Governed *governed, Relation relation, const GuardedRow *row)
{
	StringInfoData detail;

	detail_begin(&detail);
	detail_text(&detail, "relation",
				quote_qualified_identifier(governed->relation_schema, governed->relation));
	if (caller_may_see(governed, relation))
	{
		detail_text(&detail, "key", key_text(&governed->key, row->key));
		detail_text(&detail, "current_state", row_state_text(governed, row));
	}
	return detail_end(&detail);
}

/* ----------------------------------------------------------------------
 * Recording
 * ----------------------------------------------------------------------
 */

/*
 * Is this backend altering a relation, on which it holds some lock (InvalidOid: none)?
 */
static bool
is_altered(Oid relid)
{
	Relation	relation;
	bool		altered;

	if (!OidIsValid(relid))
		return false;
	relation = relation_open(relid, NoLock);
	altered = CheckRelationLockedByMe(relation, AccessExclusiveLock, false);
	relation_close(relation, NoLock);
	return altered;
}

/*
 * Raises 55006 while this backend rewrites the table, its ledger or its history, as far
 * as a function can be called then: by a default in ALTER TABLE, or by the expression
 * of an index in CLUSTER, which the server runs as a restricted operation.  What
 * is then written into one of them is lost with the old one, or the others' part of it
 * is.
 */
static void
check_not_altered(const Governed *governed, Relation relation, Oid ledger)
{
	if (!petition_cas_altering_table && !InSecurityRestrictedOperation())
		return;
	if (is_altered(RelationGetRelid(relation)) || is_altered(ledger) ||
		is_altered(governed->history_oid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot assign a fate while relation \"%s\" or its ledger is being altered",
						governed->relation),
				 errhint("Assign it before or after, in a statement of its own."),
				 errtable(relation)));
}

/*
 * Records fates that rows have got, or the one of a row that arrived with it:
 * if the ledger holds that for its key already, that is fine; and of a table with a
 * history, whatever moved.  Raises 55000 where a record could be lost, PF002 if the
 * ledger holds another fate for a key.
 */
void
record_fates(Governed *governed, Relation relation, const Fates *fates)
{
	int			state = lifecycle_find_name(governed->lifecycle, fates->fate);
	Oid			ledger = check_sound(governed, relation);
	Oid			history = governed->history_oid;
	LedgerConflict conflict;
	Refusal		refusal;
	bool		written = true;

	check_not_altered(governed, relation, ledger);
	if (lifecycle_is_fate(governed->lifecycle, state))
		written = write_fates(governed, relation, ledger, fates, &conflict);
	else
		count_fate(governed);
	if (written && OidIsValid(history))
		write_history(governed, relation, history, fates);
	if (written)
		return;
	refusal = make_refusal(governed, relation, fates->keys, fates->from_state, fates->fate);
	if (refusal.key != NULL)
	{
		refusal.key = conflict.key == NULL ? NULL : key_text(&governed->key, conflict.key);
		refusal.ledger_fate = conflict.fate;
	}
	refusal.expected_state = fates->from_state;
	report_ledger_conflict(&refusal, governed->ledger);
}

/*
 * Records the state that a row has got, or notes it for the current batch.
 */
static void
record_state(Governed *governed, Relation relation, const GuardedRow *row, const char *from_state,
			 int state)
{
	Fates		fates = {row->key, 1, from_state, governed->lifecycle->states[state].name};
	Datum		hash;

	if (governed->evidence.ncolumns > 0 && lifecycle_is_fate(governed->lifecycle, state))
	{
		hash = CStringGetTextDatum(hash_of_slot(&governed->evidence, row->slot));
		fates.hashes = &hash;
	}
	if (from_state == NULL || !add_to_batch(governed, &fates))
		record_fates(governed, relation, &fates);
}

/* ----------------------------------------------------------------------
 * Judging
 * ----------------------------------------------------------------------
 */

/*
 * Returns the number of the state that a row is to be stored with; raises
 * 23502 if it is null and 22023 if the lifecycle does not know it.
 */
static int
check_new_state(const Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state = find_row_state(governed, row);

	if (row->state_null)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in state column \"%s\" of governed relation \"%s\"",
						governed->state.name, RelationGetRelationName(relation)),
				 errhint("The states are: %s.", lifecycle_state_list(governed->lifecycle)),
				 errtablecol(relation, governed->state.attno)));
	if (state == NO_STATE)
		report_unknown_state(governed->lifecycle, RelationGetRelationName(relation),
							 state_text(&governed->state, row->state));
	return state;
}

/*
 * Raises PF003 for a row that is inserted in a state that is not an initial one.
 */
pg_noreturn static void
refuse_insert(const Governed *governed, Relation relation, const GuardedRow *row,
			  const char *state)
{
	Refusal		refusal = make_refusal(governed, relation, row->key, NULL, state);
	ListCell   *cell;

	refusal.is_missing = true;
	refusal.nallowed = 0;
	refusal.allowed = palloc(list_length(governed->options.initial_states) * sizeof(char *));
	foreach(cell, governed->options.initial_states)
		refusal.allowed[refusal.nallowed++] = lfirst(cell);
	report_not_initial(&refusal);
}

/*
 * Judges a row that was inserted: its state must be one of the lifecycle; if
 * that is a fate, or the table has a history, it is recorded.
 */
static void
judge_insert(Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state;

	/* under logical replication, ledger rows arrive as rows of their own */
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return;
	state = check_new_state(governed, relation, row);
	if (!governed->options.any_initial &&
		!has_name(governed->options.initial_states, governed->lifecycle->states[state].name))
		refuse_insert(governed, relation, row, governed->lifecycle->states[state].name);
	if (is_recorded(governed, lifecycle_is_fate(governed->lifecycle, state)))
		record_state(governed, relation, row, NULL, state);
}

/*
 * Judges a change of state: the old one must be no fate, the new one in the
 * lifecycle, and the lifecycle must lead there.  If it is a fate, or the table has a
 * history, records it.
 */
static void
judge_transition(Governed *governed, Relation relation,
				 const GuardedRow *old_row, const GuardedRow *new_row)
{
	const Lifecycle *lifecycle = governed->lifecycle;
	int			from = find_row_state(governed, old_row);
	int			to = NO_STATE;
	bool		is_fated = from != NO_STATE && lifecycle_is_fate(lifecycle, from);

	if (!is_fated)
		to = check_new_state(governed, relation, new_row);
	if (is_fated || !lifecycle_allows(lifecycle, from, to))
	{
		Refusal		refusal = make_refusal(governed, relation, old_row->key,
										   row_state_text(governed, old_row),
										   row_state_text(governed, new_row));

		if (is_fated)
			report_already_fated(&refusal);
		else
			report_invalid_transition(&refusal);
	}

	if (is_recorded(governed, lifecycle_is_fate(lifecycle, to)) &&
		SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		record_state(governed, relation, new_row, lifecycle->states[from].name, to);
}

/*
 * Raises PF006 for a row that has its fate and other evidence than before: the fate was
 * given to what was there.
 */
static void
check_evidence_kept(const Governed *governed, Relation relation, const GuardedRow *old_row,
					const GuardedRow *new_row)
{
	int			state;

	if (governed->evidence.ncolumns == 0)
		return;
	state = find_row_state(governed, old_row);
	if (state != NO_STATE && lifecycle_is_fate(governed->lifecycle, state) &&
		!is_same_evidence(&governed->evidence, old_row->slot, new_row->slot))
		ereport(ERROR,
				(errcode(ERRCODE_FATE_PROTECTED),
				 errmsg("cannot change the evidence of a fated row of relation \"%s\"",
						governed->relation),
				 errdetail_internal("%s", tampering_detail(governed, relation, old_row)),
				 errhint("The fate was given to what these columns held: %s.",
						 name_list(governed->options.evidence)),
				 errtable(relation)));
}

/*
 * Judges a row that was updated.  Most updates leave key and state as they
 * are, and cost two comparisons.
 */
static void
judge_update(Governed *governed, Relation relation,
			 const GuardedRow *old_row, const GuardedRow *new_row)
{
	if (!is_same_key(&governed->key, old_row->key, new_row->key))
		ereport(ERROR,
				(errcode(ERRCODE_FATE_PROTECTED),
				 errmsg("cannot change the key of a row of governed relation \"%s\"",
						governed->relation),
				 errdetail_internal("%s", tampering_detail(governed, relation, old_row)),
				 errhint("The ledger knows a row by its key. Insert a new row instead."),
				 errtable(relation)));

	if (old_row->state_null == new_row->state_null &&
		(old_row->state_null ||
		 is_same_state(&governed->state, old_row->state, new_row->state)))
	{
		check_evidence_kept(governed, relation, old_row, new_row);
		return;
	}
	judge_transition(governed, relation, old_row, new_row);
}

/*
 * Judges a row that was deleted: a fated one stays.
 */
static void
judge_delete(Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state = find_row_state(governed, row);

	if (governed->options.keep_rows && state != NO_STATE &&
		lifecycle_is_fate(governed->lifecycle, state))
		ereport(ERROR,
				(errcode(ERRCODE_FATE_PROTECTED),
				 errmsg("cannot delete a fated row of relation \"%s\"", governed->relation),
				 errdetail_internal("%s", tampering_detail(governed, relation, row)),
				 relation->rd_rel->relispartition ?
				 errhint("A fate is for ever, and so is its row, in its partition: an UPDATE that moves a row to another partition deletes it here.") :
				 errhint("A fate is for ever, and so is its row."),
				 errtable(relation)));
}

/* ----------------------------------------------------------------------
 * The triggers
 * ----------------------------------------------------------------------
 */

/*
 * Checks that a trigger function is called by a trigger of the given timing
 * (bits of tg_event, for each row or statement, before or after) and returns
 * what it is called with.  Raises 39P01.
 */
static TriggerData *
check_trigger_call(FunctionCallInfo fcinfo, const char *function, TriggerEvent timing)
{
	TriggerData *call = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		(call->tg_event & (TRIGGER_EVENT_ROW | TRIGGER_EVENT_TIMINGMASK)) != timing)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by a trigger that govern created",
						function)));
	return call;
}

/*
 * Returns whether a trigger that calls guard_fate is the guard of its lifecycle: it has
 * the name of one, and the table's first guard is not for the same state column.
 */
static bool
is_guard_of_lifecycle(const Trigger *trigger, Relation relation)
{
	const char *state_column = trigger->tgnargs > 1 ? trigger->tgargs[1] : "";
	const Trigger *first;

	if (strcmp(trigger->tgname, GUARD_TRIGGER) == 0)
		return true;
	first = find_trigger(relation, GUARD_TRIGGER);
	if (first != NULL && first->tgoid != trigger->tgoid && first->tgnargs > 1 &&
		strcmp(first->tgargs[1], state_column) == 0)
		return false;
	return is_guard_of(trigger->tgname, state_column, RelationGetRelationName(relation));
}

/*
 * guard_fate(key column, state column, ledger, lifecycle): the row trigger of
 * a governed table.  It fires after the row is stored, so that it judges what
 * the other triggers made of it.
 */
Datum
guard_fate(PG_FUNCTION_ARGS)
{
	TriggerData *call = check_trigger_call(fcinfo, "guard_fate",
										   TRIGGER_EVENT_ROW | TRIGGER_EVENT_AFTER);
	Relation	relation = call->tg_relation;
	const Trigger *trigger = call->tg_trigger;
	Governed   *governed;
	GuardedRow	row;
	GuardedRow	new_row;

	/* one guard a lifecycle, which is known by its name */
	if (!is_guard_of_lifecycle(trigger, relation))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" of relation \"%s\" calls guard_fate but is not named \"%s\"",
						trigger->tgname, RelationGetRelationName(relation),
						GUARD_TRIGGER),
				 errhint("Guard triggers are created by govern() and keep their name.")));

	governed = get_governed_by(relation, trigger->tgoid);
	check_readable(governed, relation);
	read_row(governed, relation, call->tg_trigslot, &row);
	if (TRIGGER_FIRED_BY_INSERT(call->tg_event))
		judge_insert(governed, relation, &row);
	else if (TRIGGER_FIRED_BY_DELETE(call->tg_event))
		judge_delete(governed, relation, &row);
	else
	{
		read_row(governed, relation, call->tg_newslot, &new_row);
		judge_update(governed, relation, &row, &new_row);
	}
	return PointerGetDatum(NULL);
}

/*
 * guard_truncate(): the trigger that judges TRUNCATE of a governed table when it is
 * done: the table may be emptied together with its ledgers, or while those are empty, or
 * if its rows need not be kept.  TRUNCATE holds its lock by now, so no assignment is
 * under way.
 */
Datum
guard_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *call = check_trigger_call(fcinfo, "guard_truncate", TRIGGER_EVENT_AFTER);
	ListCell   *cell;

	if (petition_cas_allow_unguard)
		return PointerGetDatum(NULL);
	foreach(cell, read_guards(call->tg_relation))
	{
		GuardTrigger *guard = lfirst(cell);
		Governed   *governed = get_governed_by(call->tg_relation, guard->oid);

		if (governed->options.keep_rows && has_ledger_rows(governed))
			report_protected_relation(call->tg_relation,
									  "cannot truncate relation \"%s\", because rows of it are fated",
									  "A fate is for ever, and so is its row. Delete the rows that have no fate; or, to begin anew, truncate the table together with its ledgers, as their owner.");
	}
	return PointerGetDatum(NULL);
}

/*
 * Returns the OIDs of a table and all of its partitions, locked; those included whose
 * DETACH CONCURRENTLY has not come to its end, which find_all_inheritors leaves out.
 */
static List *
whole_table(Oid relid)
{
	List	   *relids = list_make1_oid(relid);
	ListCell   *cell;

	/* which grows meanwhile */
	foreach(cell, relids)
		relids = list_concat(relids, find_inheritance_children_extended(lfirst_oid(cell), false,
																		AccessShareLock, NULL, NULL));
	return relids;
}

/*
 * Returns whether a table, all of its partitions included, has been emptied by this
 * transaction, as TRUNCATE does it, or been created by it.
 */
static bool
is_emptied(Oid relid)
{
	ListCell   *cell;

	foreach(cell, whole_table(relid))
	{
		Relation	relation = table_open(lfirst_oid(cell), AccessShareLock);
		bool		has_storage = RELKIND_HAS_STORAGE(relation->rd_rel->relkind);
		bool		created = relation->rd_createSubid != InvalidSubTransactionId;
		bool		rewritten = relation->rd_newRelfilelocatorSubid != InvalidSubTransactionId;
		bool		emptied;

		emptied = !has_storage ||
			((created || rewritten) && RelationGetNumberOfBlocks(relation) == 0);
		table_close(relation, NoLock);
		if (!emptied)
			return false;
	}
	return true;
}

/*
 * Returns whether a ledger or history, which was truncated, may be: by its owner,
 * together with the table that uses it.
 */
static bool
may_empty_ledger(Relation ledger, Oid guard_fate)
{
	List	   *users = tables_naming_record(guard_fate, RelationGetNamespace(ledger),
											 RelationGetRelationName(ledger));
	bool		used = false;
	ListCell   *cell;

	if (!object_ownercheck(RelationRelationId, RelationGetRelid(ledger), GetUserId()))
		return false;
	foreach(cell, users)
	{
		/* somebody else's guard may name anything */
		if (relation_owner(lfirst_oid(cell)) != ledger->rd_rel->relowner)
			continue;
		used = true;
		if (!is_emptied(lfirst_oid(cell)))
			return false;
	}
	return used;
}

/*
 * guard_ledger(): the triggers that refuse any change of a ledger or history but new
 * rows; but for TRUNCATE together with the table, judged when it is done, for what
 * forget_actor changes, and for what a superuser does with petition_cas.allow_unguard.
 */
Datum
guard_ledger(PG_FUNCTION_ARGS)
{
	TriggerData *call = (TriggerData *) fcinfo->context;
	bool		truncates = CALLED_AS_TRIGGER(fcinfo) && TRIGGER_FIRED_BY_TRUNCATE(call->tg_event);
	bool		may;

	call = check_trigger_call(fcinfo, "guard_ledger", truncates ? TRIGGER_EVENT_AFTER :
							  TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW);
	if (truncates)
		may = petition_cas_allow_unguard ||
			may_empty_ledger(call->tg_relation, own_function(own_schema(fcinfo), "guard_fate"));
	else
		may = petition_cas_allow_unguard ||
			(TRIGGER_FIRED_BY_UPDATE(call->tg_event) && only_rewrites_actor(call));
	if (!may && record_kind(call->tg_relation) == &history_kind)
		report_protected_relation(call->tg_relation,
								  "cannot change or remove rows of history \"%s\"",
								  "A history only grows: what has happened stays so.");
	if (!may)
		report_protected_relation(call->tg_relation,
								  "cannot change or remove rows of ledger \"%s\"",
								  "A ledger only grows: a fate is for ever.");
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(call->tg_event) ? call->tg_newtuple :
						   call->tg_trigtuple);
}
