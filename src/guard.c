/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  The triggers that hold a table, and its ledger, to what governs it.
 *
 * The guard fires after each row is stored, whatever other triggers made of
 * it, and compares the row before with the row after.  When a row has got its
 * fate, it writes the ledger row, as the ledger's owner.  Two layers stand
 * behind one fate: the guard keeps the row as it is, and the ledger's primary
 * key admits one fate a key, for ever.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#include "errors.h"
#include "governed.h"
#include "guard.h"
#include "petition_cas.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(guard_fate);
PG_FUNCTION_INFO_V1(guard_truncate);
PG_FUNCTION_INFO_V1(guard_ledger);

/* ----------------------------------------------------------------------
 * The ledger
 * ----------------------------------------------------------------------
 */

/*
 * Returns the owner under whose name the ledger is written.  Raises 42501
 * unless that is the governed table's owner: anybody may create a trigger on
 * a table of his own that names somebody else's ledger.
 */
static Oid
ledger_owner(const Governed *governed, Oid ledger)
{
	Oid			owner = relation_owner(ledger);

	if (owner != relation_owner(governed->root))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("ledger \"%s\" belongs to another role than governed relation \"%s\"",
						governed->ledger, governed->relation),
				 errhint("Give the table and its ledger the same owner.")));
	return owner;
}

/*
 * Writes the statements of this file.
 *
 *	LEDGER_INSERT	INSERT INTO ledger (key, from_state, fate, assigned_at,
 *					assigned_by, transaction_id) VALUES ($1, ..., $6)
 *	LEDGER_IMPORT	the same ON CONFLICT (key) DO NOTHING: a row that arrives
 *					with its fate may have it in the ledger already.  It costs
 *					a speculative insertion, which a plain assignment is spared.
 *	LEDGER_FATE		SELECT fate FROM ledger WHERE key = $1
 *	LEDGER_ANY		SELECT FROM ledger LIMIT 1
 */
static int
write_ledger_statement(const Governed *governed, KeptStatement statement,
					   StringInfo query, Oid *types)
{
	const char *key = quote_identifier(governed->key_column);

	types[0] = governed->key_type;
	if (statement == LEDGER_ANY || statement == LEDGER_FATE)
	{
		appendStringInfo(query, "SELECT %s FROM ", statement == LEDGER_FATE ? "fate" : "");
		append_qualified(query, governed->ledger_schema, governed->ledger);
		if (statement == LEDGER_ANY)
		{
			appendStringInfoString(query, " LIMIT 1");
			return 0;
		}
		appendStringInfo(query, " WHERE %s", key);
		append_operator(query, governed->key_equality);
		appendStringInfoString(query, "$1");
		return 1;
	}

	appendStringInfoString(query, "INSERT INTO ");
	append_qualified(query, governed->ledger_schema, governed->ledger);
	appendStringInfo(query,
					 " (%s, from_state, fate, assigned_at, assigned_by, transaction_id)"
					 " VALUES ($1, $2, $3, $4, $5, $6)", key);
	if (statement == LEDGER_IMPORT)
		appendStringInfo(query, " ON CONFLICT (%s) DO NOTHING", key);
	types[1] = TEXTOID;
	types[2] = TEXTOID;
	types[3] = TIMESTAMPTZOID;
	types[4] = TEXTOID;
	types[5] = XID8OID;
	return 6;
}

/*
 * Returns who is recorded as having assigned a fate: the setting
 * petition_cas.actor, else the session's user (not the current one, which
 * inside a security definer function is the function's owner).
 */
const char *
assigning_actor(void)
{
	if (petition_cas_actor != NULL && petition_cas_actor[0] != '\0')
		return petition_cas_actor;
	return GetUserNameFromId(GetSessionUserId(), false);
}

/*
 * Is the error a violation of the ledger's own unique index?
 */
static bool
is_ledger_conflict(const ErrorData *error, const Governed *governed)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		error->table_name != NULL && strcmp(error->table_name, governed->ledger) == 0 &&
		error->schema_name != NULL && strcmp(error->schema_name, governed->ledger_schema) == 0;
}

/*
 * Executes a statement on the ledger as the ledger's owner, as referential
 * integrity triggers do it: callers need no rights on the ledger, and the
 * owner's own row security does not hide a row from the guard.  Triggers that
 * the user put on the ledger fire at the end of the outer statement, up to
 * PostgreSQL 17 not as the owner.
 */
static uint64
execute_as_ledger_owner(Governed *governed, KeptStatement statement, Oid ledger,
						Datum *values, const char *nulls, Snapshot snapshot)
{
	Oid			owner = ledger_owner(governed, ledger);
	Oid			user;
	int			security;
	uint64		count;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	count = governed_execute(governed, statement, write_ledger_statement, ledger,
							 values, nulls, snapshot, false);
	SetUserIdAndSecContext(user, security);
	return count;
}

/* ----------------------------------------------------------------------
 * Judging a row
 * ----------------------------------------------------------------------
 */

/* A row as the guard sees it */
typedef struct GuardedRow
{
	Datum		key;
	Datum		state;
	bool		state_null;
} GuardedRow;

static void
read_row(const Governed *governed, TupleTableSlot *slot, GuardedRow *row)
{
	bool		key_null;

	row->key = slot_getattr(slot, governed->key_attno, &key_null);
	row->state = slot_getattr(slot, governed->state_attno, &row->state_null);
	if (key_null)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in key column \"%s\" of governed relation \"%s\"",
						governed->key_column, governed->relation)));
}

/*
 * Returns the number of a row's state, or NO_STATE for one that is null or
 * not in the lifecycle.
 */
static int
find_state(const Governed *governed, const GuardedRow *row)
{
	struct varlena *name;

	if (row->state_null)
		return NO_STATE;
	if (governed->state_is_enum)
	{
		char	   *label = state_text(governed, row->state);

		return lifecycle_find(governed->lifecycle, label, strlen(label));
	}
	name = PG_DETOAST_DATUM_PACKED(row->state);
	return lifecycle_find(governed->lifecycle, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/*
 * May the caller see the row that is being judged?  As for referential
 * integrity, no value goes into an error that its reader could not select.
 */
static bool
caller_may_see(const Governed *governed, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	Oid			user = GetUserId();

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	return pg_class_aclcheck(relid, user, ACL_SELECT) == ACLCHECK_OK ||
		(pg_attribute_aclcheck(relid, governed->key_attno, user, ACL_SELECT) == ACLCHECK_OK &&
		 pg_attribute_aclcheck(relid, governed->state_attno, user, ACL_SELECT) == ACLCHECK_OK);
}

/*
 * Starts to tell why a row may not go from one state to another (or, without
 * a from_state, may not arrive in it).
 */
static Refusal
refuse(const Governed *governed, Relation relation, const GuardedRow *row,
	   const char *current_state, const char *new_state)
{
	Refusal		refusal = {0};

	refusal.relation = relation;
	refusal.new_state = new_state;
	if (caller_may_see(governed, relation))
	{
		int			state = NO_STATE;

		if (current_state != NULL)
			state = lifecycle_find(governed->lifecycle, current_state, strlen(current_state));
		refusal.key = key_text(governed, row->key);
		refusal.current_state = current_state;
		refusal.allowed = lifecycle_targets(governed->lifecycle, state, &refusal.nallowed);
	}
	return refusal;
}

/*
 * Raises PF006 for tampering with a row; the format of the message takes the
 * name of the relation.
 */
static void
refuse_tampering(const Governed *governed, Relation relation, const GuardedRow *row,
				 const char *message, const char *hint)
{
	StringInfoData detail;

	detail_begin(&detail);
	detail_text(&detail, "relation",
				quote_qualified_identifier(governed->relation_schema, governed->relation));
	if (caller_may_see(governed, relation))
	{
		detail_text(&detail, "key", key_text(governed, row->key));
		detail_text(&detail, "current_state",
					row->state_null ? NULL : state_text(governed, row->state));
	}
	ereport(ERROR,
			(errcode(ERRCODE_FATE_PROTECTED),
			 errmsg_internal(message, governed->relation),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("%s", hint),
			 errtable(relation)));
}

/*
 * Returns the number of the state that a row is to be stored with; raises
 * 23502 if it is null and 22023 if the lifecycle does not know it.
 */
static int
check_new_state(const Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state = find_state(governed, row);

	if (row->state_null)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in state column \"%s\" of governed relation \"%s\"",
						governed->state_column, RelationGetRelationName(relation)),
				 errhint("The states are: %s.", lifecycle_state_list(governed->lifecycle)),
				 errtablecol(relation, governed->state_attno)));
	if (state == NO_STATE)
		report_unknown_state(governed->lifecycle, RelationGetRelationName(relation),
							 state_text(governed, row->state));
	return state;
}

/*
 * Fills in the values of a ledger row, in the order of LEDGER_INSERT.
 */
static void
fill_ledger_row(const GuardedRow *row, const char *from_state, const char *fate,
				Datum *values, char *nulls)
{
	memset(nulls, ' ', 6);
	nulls[6] = '\0';
	values[0] = row->key;
	values[1] = (Datum) 0;
	if (from_state != NULL)
		values[1] = CStringGetTextDatum(from_state);
	else
		nulls[1] = 'n';
	values[2] = CStringGetTextDatum(fate);
	values[3] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[4] = CStringGetTextDatum(assigning_actor());
	values[5] = FullTransactionIdGetDatum(GetTopFullTransactionId());
}

/*
 * Raises 55000 for a ledger row that did not get into the ledger: a fate that
 * is not recorded must not be assigned.
 */
static void
report_unrecorded(const Governed *governed, Relation relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("fate of a row of relation \"%s\" was not recorded in ledger \"%s\"",
					RelationGetRelationName(relation), governed->ledger),
			 errhint("A BEFORE trigger or a rule on the ledger suppresses or changes its rows. Remove it."),
			 errtable(relation)));
}

/*
 * Returns the fate that the ledger holds for a key, read under the latest
 * snapshot, or NULL.  Connected to SPI.
 */
static char *
read_ledger_fate(Governed *governed, Oid ledger, Datum key)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	char	   *fate = NULL;

	if (execute_as_ledger_owner(governed, LEDGER_FATE, ledger, &key, NULL, latest) > 0)
		fate = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	UnregisterSnapshot(latest);
	return fate;
}

/*
 * Raises 55000 unless the ledger row that was just inserted holds that fate.
 * Only a BEFORE trigger can have changed it; without one, nothing is read.
 * Connected to SPI.
 */
static void
check_recorded(Governed *governed, Relation relation, Oid ledger_oid, Datum key, const char *fate)
{
	Relation	ledger = relation_open(ledger_oid, NoLock);
	bool		has_trigger = ledger->trigdesc != NULL && ledger->trigdesc->trig_insert_before_row;
	const char *recorded;

	relation_close(ledger, NoLock);
	if (!has_trigger)
		return;
	recorded = read_ledger_fate(governed, ledger_oid, key);
	if (recorded == NULL || strcmp(recorded, fate) != 0)
		report_unrecorded(governed, relation);
}

/*
 * Records the fate that a row has got.  A ledger that holds a fate for the key
 * from an earlier row refuses it with its primary key, which becomes PF002.
 */
static void
record_assignment(Governed *governed, Relation relation, const GuardedRow *row,
				  const char *from_state, const char *fate)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			ledger = governed_ledger(governed, false);
	Datum		values[6];
	char		nulls[7];

	fill_ledger_row(row, from_state, fate, values, nulls);
	SPI_connect();
	PG_TRY();
	{
		if (execute_as_ledger_owner(governed, LEDGER_INSERT, ledger, values, nulls,
									InvalidSnapshot) == 0)
			report_unrecorded(governed, relation);
		check_recorded(governed, relation, ledger, row->key, fate);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		Refusal		refusal;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!is_ledger_conflict(error, governed))
			PG_RE_THROW();

		/*
		 * The transaction has failed: nothing can be read any more, so which
		 * fate the ledger holds is not told here; verify_fates tells it.
		 */
		FlushErrorState();
		refusal = refuse(governed, relation, row, from_state, fate);
		refusal.expected_state = from_state;
		report_ledger_conflict(&refusal, governed->ledger);
	}
	PG_END_TRY();
	SPI_finish();
}

/*
 * Records the fate of a row that arrived with it.  If the ledger holds the
 * same fate for its key already, that is fine; another one is PF002.
 */
static void
record_import(Governed *governed, Relation relation, const GuardedRow *row, const char *fate)
{
	Oid			ledger = governed_ledger(governed, false);
	Datum		values[6];
	char		nulls[7];

	fill_ledger_row(row, NULL, fate, values, nulls);
	SPI_connect();
	if (execute_as_ledger_owner(governed, LEDGER_IMPORT, ledger, values, nulls,
								InvalidSnapshot) == 0)
	{
		char	   *recorded = read_ledger_fate(governed, ledger, row->key);

		if (recorded == NULL)
			report_unrecorded(governed, relation);
		else if (strcmp(recorded, fate) != 0)
		{
			Refusal		refusal = refuse(governed, relation, row, recorded, fate);

			report_already_fated(&refusal);
		}
	}
	else
		check_recorded(governed, relation, ledger, row->key, fate);
	SPI_finish();
}

/*
 * Judges a row that was inserted: its state must be one of the lifecycle; if
 * that is a fate, it is recorded.
 */
static void
judge_insert(Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state;

	/* under logical replication, ledger rows arrive as rows of their own */
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return;
	state = check_new_state(governed, relation, row);
	if (lifecycle_is_fate(governed->lifecycle, state))
		record_import(governed, relation, row, governed->lifecycle->states[state].name);
}

/*
 * Judges a change of state: the old one must be no fate, the new one in the
 * lifecycle, and the lifecycle must lead there.  If it is a fate, records it.
 */
static void
judge_transition(Governed *governed, Relation relation,
				 const GuardedRow *old_row, const GuardedRow *new_row)
{
	const Lifecycle *lifecycle = governed->lifecycle;
	int			from = find_state(governed, old_row);
	int			to = NO_STATE;
	bool		is_fated = from != NO_STATE && lifecycle_is_fate(lifecycle, from);

	if (!is_fated)
		to = check_new_state(governed, relation, new_row);
	if (is_fated || !lifecycle_allows(lifecycle, from, to))
	{
		Refusal		refusal = refuse(governed, relation, old_row,
									 old_row->state_null ? NULL : state_text(governed, old_row->state),
									 new_row->state_null ? NULL : state_text(governed, new_row->state));

		if (is_fated)
			report_already_fated(&refusal);
		else
			report_invalid_transition(&refusal);
	}

	if (lifecycle_is_fate(lifecycle, to) &&
		SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		record_assignment(governed, relation, new_row,
						  lifecycle->states[from].name, lifecycle->states[to].name);
}

/*
 * Judges a row that was updated.  Most updates leave key and state as they
 * are, and cost two comparisons.
 */
static void
judge_update(Governed *governed, Relation relation,
			 const GuardedRow *old_row, const GuardedRow *new_row)
{
	if (!datum_image_eq(old_row->key, new_row->key, governed->key_by_value, governed->key_length))
		refuse_tampering(governed, relation, old_row,
						 "cannot change the key of a row of governed relation \"%s\"",
						 "The ledger knows a row by its key. Insert a new row instead.");

	if (old_row->state_null == new_row->state_null &&
		(old_row->state_null ||
		 datum_image_eq(old_row->state, new_row->state,
						governed->state_is_enum, governed->state_is_enum ? sizeof(Oid) : -1)))
		return;
	judge_transition(governed, relation, old_row, new_row);
}

/*
 * Judges a row that was deleted: a fated one stays.
 */
static void
judge_delete(Governed *governed, Relation relation, const GuardedRow *row)
{
	int			state = find_state(governed, row);

	if (state != NO_STATE && lifecycle_is_fate(governed->lifecycle, state))
		refuse_tampering(governed, relation, row,
						 "cannot delete a fated row of relation \"%s\"",
						 relation->rd_rel->relispartition ?
						 "A fate is for ever, and so is its row, in its partition: an UPDATE that moves a row to another partition deletes it here." :
						 "A fate is for ever, and so is its row.");
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
 * Judges the row that the guard trigger was called for.
 */
static void
judge_row(Governed *governed, void *argument)
{
	TriggerData *call = argument;
	GuardedRow	row;
	GuardedRow	new_row;

	read_row(governed, call->tg_trigslot, &row);
	if (TRIGGER_FIRED_BY_INSERT(call->tg_event))
		judge_insert(governed, call->tg_relation, &row);
	else if (TRIGGER_FIRED_BY_DELETE(call->tg_event))
		judge_delete(governed, call->tg_relation, &row);
	else
	{
		read_row(governed, call->tg_newslot, &new_row);
		judge_update(governed, call->tg_relation, &row, &new_row);
	}
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

	/* one guard a table: what it says is known by the relation */
	if (strcmp(call->tg_trigger->tgname, GUARD_TRIGGER) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" of relation \"%s\" calls guard_fate but is not named \"%s\"",
						call->tg_trigger->tgname, RelationGetRelationName(call->tg_relation),
						GUARD_TRIGGER),
				 errhint("Guard triggers are created by govern() and keep their name.")));

	with_governed(call->tg_relation, judge_row, call);
	return PointerGetDatum(NULL);
}

/*
 * Refuses to truncate a table whose ledger has a row, seen with the latest
 * snapshot.  TRUNCATE holds its lock by now, so no assignment is under way.
 */
static void
judge_truncate(Governed *governed, void *argument)
{
	TriggerData *call = argument;
	Oid			ledger = governed_ledger(governed, false);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	bool		has_rows;

	SPI_connect();
	has_rows = execute_as_ledger_owner(governed, LEDGER_ANY, ledger, NULL, NULL, latest) > 0;
	SPI_finish();
	UnregisterSnapshot(latest);

	if (has_rows)
		report_protected_relation(call->tg_relation,
								  "cannot truncate relation \"%s\", because rows of it are fated",
								  "A fate is for ever, and so is its row. Delete the rows that have no fate.");
}

/*
 * guard_truncate(): the trigger that refuses TRUNCATE of a governed table
 * while its ledger has rows.
 */
Datum
guard_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *call = check_trigger_call(fcinfo, "guard_truncate", TRIGGER_EVENT_BEFORE);

	with_governed(call->tg_relation, judge_truncate, call);
	return PointerGetDatum(NULL);
}

/*
 * guard_ledger(): the triggers that refuse any change of a ledger but new
 * rows.
 */
Datum
guard_ledger(PG_FUNCTION_ARGS)
{
	TriggerData *call = (TriggerData *) fcinfo->context;
	TriggerEvent level = TRIGGER_EVENT_ROW;

	if (CALLED_AS_TRIGGER(fcinfo) && TRIGGER_FIRED_BY_TRUNCATE(call->tg_event))
		level = 0;
	call = check_trigger_call(fcinfo, "guard_ledger", TRIGGER_EVENT_BEFORE | level);

	report_protected_relation(call->tg_relation,
							  "cannot change or remove rows of ledger \"%s\"",
							  "A ledger only grows: a fate is for ever.");
	return PointerGetDatum(NULL);
}
