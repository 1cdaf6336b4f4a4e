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

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "governed.h"
#include "guard.h"
#include "session.h"
#include "soundness.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(guard_fate);
PG_FUNCTION_INFO_V1(guard_truncate);
PG_FUNCTION_INFO_V1(guard_ledger);

/* ----------------------------------------------------------------------
 * The ledger
 * ----------------------------------------------------------------------
 */

/*
 * Writes the statements of this file.
 *
 *	LEDGER_INSERT	INSERT INTO ledger (key, from_state, fate, assigned_at,
 *					assigned_by, transaction_id) VALUES ($1, ..., $6)
 *	LEDGER_BATCH	the same for an array of keys: INSERT INTO ledger (...) SELECT
 *					unnest($1), $2, ..., $6
 *	LEDGER_IMPORT	LEDGER_INSERT ON CONFLICT (key) DO NOTHING: a row that arrives
 *					with its fate may have it in the ledger already.  It costs
 *					a speculative insertion, which a plain assignment is spared.
 *	LEDGER_ROW		SELECT from_state, ..., transaction_id FROM ledger WHERE key = $1
 *	LEDGER_ROWS		the same WHERE key = ANY ($1)
 *	LEDGER_ANY		SELECT FROM ledger LIMIT 1
 */
static int
write_ledger_statement(const Governed *governed, KeptStatement statement,
					   StringInfo query, Oid *types)
{
	const char *key = quote_identifier(governed->key_column);

	types[0] = governed->key_type;
	if (statement == LEDGER_ANY)
	{
		appendStringInfoString(query, "SELECT FROM ");
		append_qualified(query, governed->ledger_schema, governed->ledger);
		appendStringInfoString(query, " LIMIT 1");
		return 0;
	}
	if (statement == LEDGER_ROW || statement == LEDGER_ROWS)
	{
		appendStringInfoString(query, "SELECT from_state, fate, assigned_at, assigned_by,"
							   " transaction_id FROM ");
		append_qualified(query, governed->ledger_schema, governed->ledger);
		appendStringInfo(query, " WHERE %s", key);
		append_operator(query, governed->key_equality);
		appendStringInfoString(query, statement == LEDGER_ROW ? "$1" : "ANY ($1)");
		if (statement == LEDGER_ROWS)
			types[0] = get_array_type(governed->key_type);
		return 1;
	}

	appendStringInfoString(query, "INSERT INTO ");
	append_qualified(query, governed->ledger_schema, governed->ledger);
	appendStringInfo(query,
					 " (%s, from_state, fate, assigned_at, assigned_by, transaction_id) %s", key,
					 statement == LEDGER_BATCH ?
					 "SELECT pg_catalog.unnest($1), $2, $3, $4, $5, $6" :
					 "VALUES ($1, $2, $3, $4, $5, $6)");
	if (statement == LEDGER_IMPORT)
		appendStringInfo(query, " ON CONFLICT (%s) DO NOTHING", key);
	if (statement == LEDGER_BATCH)
		types[0] = get_array_type(governed->key_type);
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
 * inside a security definer function is the function's owner).  Raises 22023
 * for a name that could not be dumped and restored: a setting may come from
 * before the database was known, and roles are shared by databases of different
 * encodings.
 */
const char *
assigning_actor(void)
{
	if (petition_cas_actor[0] != '\0')
	{
		check_setting("petition_cas.actor", petition_cas_actor, ACTOR_LIMIT);
		return petition_cas_actor;
	}
	else
	{
		const char *user = GetUserNameFromId(GetSessionUserId(), false);

		check_setting("session_user", user, NAMEDATALEN);
		return user;
	}
}

/*
 * Is the error a violation of the ledger's own unique index on its key?  One
 * of an index that the user put there is his.
 */
static bool
is_ledger_conflict(const ErrorData *error, const Governed *governed)
{
	ListCell   *cell;

	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION || error->constraint_name == NULL ||
		error->table_name == NULL || strcmp(error->table_name, governed->ledger) != 0 ||
		error->schema_name == NULL || strcmp(error->schema_name, governed->ledger_schema) != 0)
		return false;
	foreach(cell, governed->ledger_keys)
	{
		if (strcmp(lfirst(cell), error->constraint_name) == 0)
			return true;
	}
	return false;
}

/*
 * Executes a statement on the ledger as the ledger's owner, as referential
 * integrity triggers do it: callers need no rights on the ledger, and the
 * owner's own row security does not hide a row from the guard.  Triggers that
 * the user put on the ledger fire at the end of the outer statement, up to
 * PostgreSQL 17 not as the owner.  What of the user's code runs within, in
 * defaults, checks and BEFORE triggers, has the caller's search_path, as it has
 * when a row is inserted by hand.
 */
static uint64
execute_as_ledger_owner(Governed *governed, KeptStatement statement, Oid ledger,
						Datum *values, const char *nulls, Snapshot snapshot)
{
	Oid			owner = ledger_owner(ledger, governed->ledger, governed->root, governed->relation);
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
 * May the caller see key and state of the rows of a relation?
 */
static bool
may_select(const Governed *governed, Oid relid)
{
	Oid			user = GetUserId();
	AttrNumber	key;
	AttrNumber	state;

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	if (pg_class_aclcheck(relid, user, ACL_SELECT) == ACLCHECK_OK)
		return true;
	key = get_attnum(relid, governed->key_column);
	state = get_attnum(relid, governed->state_column);
	return key > InvalidAttrNumber && state > InvalidAttrNumber &&
		pg_attribute_aclcheck(relid, key, user, ACL_SELECT) == ACLCHECK_OK &&
		pg_attribute_aclcheck(relid, state, user, ACL_SELECT) == ACLCHECK_OK;
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
refuse(const Governed *governed, Relation relation, Datum key,
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
		refusal.key = key_text(governed, key);
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
fill_ledger_row(Datum key, const char *from_state, const char *fate,
				Datum *values, char *nulls)
{
	memset(nulls, ' ', 6);
	nulls[6] = '\0';
	values[0] = key;
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

	if (execute_as_ledger_owner(governed, LEDGER_ROW, ledger, &key, NULL, latest) > 0)
		fate = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	UnregisterSnapshot(latest);
	return fate;
}

/*
 * Is the ledger row, as LEDGER_ROW selects it, as it was to be written?
 */
static bool
is_recorded(HeapTuple row, TupleDesc desc, const Datum *values, const char *nulls)
{
	for (int i = 1; i < 6; i++)
	{
		bool		isnull;
		Datum		recorded = SPI_getbinval(row, desc, i, &isnull);
		Form_pg_attribute column = TupleDescAttr(desc, i - 1);

		if (isnull != (nulls[i] == 'n') ||
			(!isnull && !datum_image_eq(recorded, values[i], column->attbyval, column->attlen)))
			return false;
	}
	return true;
}

/*
 * Raises 55000 unless the ledger rows that were just inserted hold what was
 * inserted, in all of our columns.  Only a BEFORE trigger can have changed it.
 * Where there was none when the ledger was judged, and nothing has been
 * invalidated since, as the creation of one does, nothing is read.  Connected
 * to SPI.
 */
static void
check_recorded(Governed *governed, Relation relation, Oid ledger, int count,
			   Datum *values, const char *nulls)
{
	Snapshot	latest;
	uint64		found;

	if (governed->judged && !governed->before_trigger)
		return;
	latest = RegisterSnapshot(GetLatestSnapshot());
	found = execute_as_ledger_owner(governed, count == 1 ? LEDGER_ROW : LEDGER_ROWS, ledger,
									values, NULL, latest);
	UnregisterSnapshot(latest);
	if (found != count)
		report_unrecorded(governed, relation);
	for (uint64 i = 0; i < found; i++)
	{
		if (!is_recorded(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls))
			report_unrecorded(governed, relation);
	}
}

/*
 * Returns an array of keys.
 */
static Datum
make_key_array(const Datum *keys, int count)
{
	return PointerGetDatum(construct_array(unconstify(Datum *, keys), count,
										   UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/*
 * Returns which of the keys violated the ledger's unique index: the one that
 * the error's detail names, which is in some language, but has the key in
 * parentheses.  Returns NULL if it names none.
 */
static const Datum *
conflicting_key(const Governed *governed, const Datum *keys, int count, const ErrorData *error)
{
	for (int i = 0; i < count; i++)
	{
		if (count == 1 ||
			(error->detail != NULL &&
			 strstr(error->detail, psprintf("=(%s)", key_text(governed, keys[i]))) != NULL))
			return &keys[i];
	}
	return NULL;
}

/*
 * Returns the fate that the ledger holds for a key, or NULL, read straight from
 * the table by one of its indexes: the statement that should have written a
 * row there has failed, and with it all that SPI could be asked.
 */
static char *
look_up_fate(const Governed *governed, Oid ledger_oid, const char *index_name, Datum key)
{
	Oid			index = get_relname_relid(index_name, get_rel_namespace(ledger_oid));
	Relation	ledger = table_open(ledger_oid, NoLock);
	AttrNumber	key_attno = get_attnum(ledger_oid, governed->key_column);
	AttrNumber	fate_attno = get_attnum(ledger_oid, "fate");
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	char	   *fate = NULL;
	ScanKeyData scan_key;
	SysScanDesc scan;
	HeapTuple	row;

	if (OidIsValid(index) && key_attno > InvalidAttrNumber && fate_attno > InvalidAttrNumber)
	{
		ScanKeyEntryInitialize(&scan_key, 0, key_attno, BTEqualStrategyNumber, InvalidOid,
							   TupleDescAttr(RelationGetDescr(ledger), key_attno - 1)->attcollation,
							   get_opcode(governed->key_equality), key);
		scan = systable_beginscan(ledger, index, true, latest, 1, &scan_key);
		row = systable_getnext(scan);
		if (HeapTupleIsValid(row))
		{
			bool		isnull;
			Datum		value = heap_getattr(row, fate_attno, RelationGetDescr(ledger), &isnull);

			fate = isnull ? NULL : TextDatumGetCString(value);
		}
		systable_endscan(scan);
	}
	UnregisterSnapshot(latest);
	table_close(ledger, NoLock);
	return fate;
}

/*
 * Raises PF002 for a conflict on the ledger's key, of which the error tells;
 * it is not of the rows any more, since the transaction has failed.
 */
pg_noreturn static void
report_conflict(Governed *governed, Relation relation, Oid ledger, const Datum *keys, int count,
				const char *from_state, const char *fate, const ErrorData *error)
{
	const Datum *key = conflicting_key(governed, keys, count, error);
	Refusal		refusal = refuse(governed, relation, keys[0], from_state, fate);

	if (refusal.key != NULL)
	{
		refusal.key = key == NULL ? NULL : key_text(governed, *key);
		if (key != NULL)
			refusal.ledger_fate = look_up_fate(governed, ledger, error->constraint_name, *key);
	}
	refusal.expected_state = from_state;
	report_ledger_conflict(&refusal, governed->ledger);
}

/*
 * Raises an error again that a ledger row met with.  What the user's own
 * constraints on the ledger refuse is told with the row's values, which the
 * caller gets to read only if he may read the ledger.
 */
pg_noreturn static void
rethrow_for_caller(ErrorData *error, Oid ledger)
{
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION &&
		(pg_class_aclcheck(ledger, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
		 check_enable_rls(ledger, InvalidOid, true) == RLS_ENABLED))
		error->detail = NULL;
	ReThrowError(error);
}

/*
 * Executes an INSERT of count rows into the ledger, for rows that have got
 * their fate from from_state (NULL: arrived with it).  Returns the number of
 * rows inserted.  A ledger that holds a fate for a key from an earlier row
 * refuses it with its primary key, which becomes PF002.  Connected to SPI.
 *
 * What an error shows is judged for the caller: his identity, which was switched
 * when it was raised, is put back first.
 */
static uint64
insert_into_ledger(Governed *governed, Relation relation, KeptStatement statement, Oid ledger,
				   Datum *values, const char *nulls, const Datum *keys, int count,
				   const char *from_state, const char *fate)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile uint64 inserted = 0;
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	PG_TRY();
	{
		inserted = execute_as_ledger_owner(governed, statement, ledger, values, nulls,
										   InvalidSnapshot);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		SetUserIdAndSecContext(user, security);
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		if (is_ledger_conflict(error, governed))
			report_conflict(governed, relation, ledger, keys, count, from_state, fate, error);
		rethrow_for_caller(error, ledger);
	}
	PG_END_TRY();
	return inserted;
}

/*
 * The fates that guards in this backend have seen rows of a table (the topmost
 * one, of a partitioned one) get, since somebody began to count.
 */
static Oid	counted_root = InvalidOid;
static int	counted_depth = 0;	/* of the triggers that are to see them */
static uint64 counted_fates = 0;

/*
 * Returns how many triggers are running, one in the other.
 */
static int
trigger_depth(void)
{
	LOCAL_FCINFO(call, 0);

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	return DatumGetInt32(pg_trigger_depth(call));
}

/*
 * Begins to count the fates that a statement which is to be executed now gives
 * rows of a table; those that a trigger of it gives to others are not counted.
 */
void
count_fates(const Governed *governed)
{
	counted_root = governed->root;
	counted_depth = trigger_depth() + 1;
	counted_fates = 0;
}

/*
 * Returns how many fates of the table have been seen since count_fates, or 0 if
 * somebody else has begun to count another's meanwhile.
 */
uint64
counted(const Governed *governed)
{
	return counted_root == governed->root ? counted_fates : 0;
}

/*
 * Counts a fate that a row has got.
 */
static void
count_fate(const Governed *governed)
{
	if (counted_root == governed->root && trigger_depth() == counted_depth)
		counted_fates++;
}

/*
 * Raises 55006 while this backend rewrites the table or its ledger, as far as a
 * function can be called then: by a default in ALTER TABLE, or by the expression
 * of an index in CLUSTER, which the server runs as a restricted operation.  What
 * is then written into either is lost with the old one, or the other's part of it
 * is.
 */
static void
check_not_altered(const Governed *governed, Relation relation, Oid ledger_oid)
{
	Relation	ledger;
	bool		altered;

	if (!petition_cas_altering_table && !InSecurityRestrictedOperation())
		return;
	ledger = relation_open(ledger_oid, NoLock);
	altered = CheckRelationLockedByMe(ledger, AccessExclusiveLock, false) ||
		CheckRelationLockedByMe(relation, AccessExclusiveLock, false);
	relation_close(ledger, NoLock);
	if (altered)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot assign a fate while relation \"%s\" or its ledger is being altered",
						governed->relation),
				 errhint("Assign it before or after, in a statement of its own."),
				 errtable(relation)));
}

/*
 * Records the fate that rows have got, all from the same state.
 */
static void
record_assignments(Governed *governed, Relation relation, const Datum *keys, int count,
				   const char *from_state, const char *fate)
{
	Oid			ledger = check_sound(governed, relation);
	bool		single = count == 1;
	Datum		values[6];
	char		nulls[7];

	fill_ledger_row(single ? keys[0] : make_key_array(keys, count), from_state, fate, values, nulls);
	check_not_altered(governed, relation, ledger);
	count_fate(governed);
	SPI_connect();
	if (insert_into_ledger(governed, relation, single ? LEDGER_INSERT : LEDGER_BATCH, ledger,
						   values, nulls, keys, count, from_state, fate) != count)
		report_unrecorded(governed, relation);
	check_recorded(governed, relation, ledger, count, values, nulls);
	SPI_finish();
}

/* ----------------------------------------------------------------------
 * Batches
 *
 * assign_fates updates many rows in one statement.  A ledger row for each of
 * them through a statement of its own would cost more than the update itself.
 * So the guard, which fires for each row when that statement ends, only notes
 * the key, and one statement then writes all ledger rows.
 *
 * Nothing may depend on it: where nobody has begun a batch in this backend
 * (a plain UPDATE, a trigger that runs on another node) or where somebody could
 * look at the ledger between the two, the guard records each row on its own.
 * ----------------------------------------------------------------------
 */

/* What the guard notes, instead of recording it, while it is set */
typedef struct FateBatch
{
	Oid			relid;
	SubTransactionId subtransaction;
	int			trigger_depth;	/* of the guards of the statement itself */
	const char *from_state;
	const char *fate;
	int			room;
	int			count;
	Datum	   *keys;
	pg_uuid_t  *values;			/* what the keys point to */
} FateBatch;

static FateBatch *current_batch = NULL;

/*
 * Is there, beside the guard, a trigger that fires after an UPDATE and is not
 * the server's own?  It could look at the ledger.
 */
static bool
has_other_after_trigger(Relation relation)
{
	for (int i = 0; i < relation->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &relation->trigdesc->triggers[i];

		if (TRIGGER_FOR_AFTER(trigger->tgtype) && TRIGGER_FOR_UPDATE(trigger->tgtype) &&
			!trigger->tgisinternal && strcmp(trigger->tgname, GUARD_TRIGGER) != 0)
			return true;
	}
	return false;
}

/*
 * May the ledger rows of one statement on the relation be written together?
 * Only into an ordinary ledger without triggers (its own, against changes,
 * aside) and rules, for whom each row and its moment could matter.
 */
static bool
may_batch(Governed *governed, Relation relation)
{
	Oid			oid = governed_ledger(governed, true);
	Relation	ledger;
	bool		plain;

	if (!OidIsValid(oid) || governed->is_partitioned || governed->key_type != UUIDOID ||
		!is_sound(governed, relation) || relation->trigdesc == NULL || has_other_after_trigger(relation))
		return false;
	ledger = try_relation_open(oid, RowExclusiveLock);
	if (ledger == NULL)
		return false;
	plain = ledger->rd_rel->relkind == RELKIND_RELATION && ledger->rd_rules == NULL &&
		(ledger->trigdesc == NULL ||
		 !(ledger->trigdesc->trig_insert_before_row ||
		   ledger->trigdesc->trig_insert_after_row ||
		   ledger->trigdesc->trig_insert_before_statement ||
		   ledger->trigdesc->trig_insert_after_statement));
	relation_close(ledger, NoLock);
	return plain;
}

/*
 * Notes a row whose fate is to be recorded, if that is for the current batch;
 * returns whether it is.
 */
static bool
add_to_batch(const Governed *governed, const GuardedRow *row,
			 const char *from_state, const char *fate)
{
	FateBatch  *batch = current_batch;

	if (batch == NULL || batch->relid != governed->relid || batch->count == batch->room ||
		!governed->judged || governed->problems != NIL ||
		batch->trigger_depth != trigger_depth() ||
		batch->subtransaction != GetCurrentSubTransactionId() ||
		strcmp(batch->from_state, from_state) != 0 || strcmp(batch->fate, fate) != 0)
		return false;
	batch->values[batch->count] = *DatumGetUUIDP(row->key);
	batch->keys[batch->count] = UUIDPGetDatum(&batch->values[batch->count]);
	batch->count++;
	count_fate(governed);
	return true;
}

/*
 * Calls a function that executes one UPDATE of the relation, which moves up to
 * room rows from a state to a fate, and sees to it that their fates are
 * recorded when it returns: together, if that makes no difference to anybody.
 */
void
record_together(Governed *governed, Relation relation, const char *from_state, const char *fate,
				int room, void (*update) (void *), void *argument)
{
	FateBatch	batch = {0};
	FateBatch  *outer = current_batch;

	if (!may_batch(governed, relation))
	{
		update(argument);
		return;
	}
	batch.relid = governed->relid;
	batch.subtransaction = GetCurrentSubTransactionId();
	batch.trigger_depth = trigger_depth() + 1;
	batch.from_state = from_state;
	batch.fate = fate;
	batch.room = room;
	batch.keys = MemoryContextAllocHuge(CurrentMemoryContext, Max(1, room) * sizeof(Datum));
	batch.values = MemoryContextAllocHuge(CurrentMemoryContext, Max(1, room) * sizeof(pg_uuid_t));
	PG_TRY();
	{
		current_batch = &batch;
		update(argument);
	}
	PG_FINALLY();
	{
		current_batch = outer;
	}
	PG_END_TRY();

	if (batch.count > 0)
		record_assignments(governed, relation, batch.keys, batch.count, from_state, fate);
	pfree(batch.keys);
	pfree(batch.values);
}

/*
 * Records the fate of a row that arrived with it.  If the ledger holds the
 * same fate for its key already, that is fine; another one is PF002.
 */
static void
record_import(Governed *governed, Relation relation, const GuardedRow *row, const char *fate)
{
	Oid			ledger = check_sound(governed, relation);
	Datum		values[6];
	char		nulls[7];

	fill_ledger_row(row->key, NULL, fate, values, nulls);
	check_not_altered(governed, relation, ledger);
	count_fate(governed);
	SPI_connect();
	if (insert_into_ledger(governed, relation, LEDGER_IMPORT, ledger, values, nulls, &row->key, 1,
						   NULL, fate) == 0)
	{
		char	   *recorded = read_ledger_fate(governed, ledger, row->key);

		if (recorded == NULL)
			report_unrecorded(governed, relation);
		else if (strcmp(recorded, fate) != 0)
		{
			Refusal		refusal = refuse(governed, relation, row->key, NULL, fate);

			refusal.ledger_fate = refusal.key == NULL ? NULL : recorded;
			report_ledger_conflict(&refusal, governed->ledger);
		}
	}
	else
		check_recorded(governed, relation, ledger, 1, values, nulls);
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
		Refusal		refusal = refuse(governed, relation, old_row->key,
									 old_row->state_null ? NULL : state_text(governed, old_row->state),
									 new_row->state_null ? NULL : state_text(governed, new_row->state));

		if (is_fated)
			report_already_fated(&refusal);
		else
			report_invalid_transition(&refusal);
	}

	if (lifecycle_is_fate(lifecycle, to) &&
		SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
	{
		const char *from_state = lifecycle->states[from].name;
		const char *fate = lifecycle->states[to].name;

		if (!add_to_batch(governed, new_row, from_state, fate))
			record_assignments(governed, relation, &new_row->key, 1, from_state, fate);
	}
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

	check_readable(governed, call->tg_relation);
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
