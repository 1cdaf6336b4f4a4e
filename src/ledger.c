/*-------------------------------------------------------------------------
 *
 * ledger.c
 *	  The ledger of a governed table: create it, write it as its owner, read it.
 *
 * A ledger has a row for each key that has got its fate, and only grows.  Its
 * primary key admits one fate a key, for ever.  It is written as its owner, in the
 * statement that gave the row its fate.
 *
 * That takes an INSERT through SPI wherever the server, or somebody, could make
 * something else of it than a row of that table.  A ledger that is as govern creates
 * it takes its rows without one: to start the executor for an INSERT costs more than
 * the row does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#include "compat.h"
#include "ledger.h"
#include "session.h"
#include "shard.h"

/* ----------------------------------------------------------------------
 * A row of it
 * ----------------------------------------------------------------------
 */

/* How many rows are stored together */
#define ROWS_AT_ONCE 100

/*
 * Returns who is recorded as having assigned a fate: the setting
 * petition_cas.actor, else the session's user (not the current one, which
 * inside a security definer function is the function's owner).  Raises 22023
 * for a name that could not be dumped and restored: a setting may come from
 * before the database was known, and roles are shared by databases of different
 * encodings.
 */
static const char *
assigning_actor(void)
{
	const char *user;

	if (petition_cas_actor[0] != '\0')
	{
		check_setting("petition_cas.actor", petition_cas_actor, ACTOR_LIMIT);
		return petition_cas_actor;
	}
	user = GetUserNameFromId(GetSessionUserId(), false);
	check_setting("session_user", user, NAMEDATALEN);
	return user;
}

static void
set_column(LedgerRow *row, LedgerColumn column, Datum value)
{
	row->columns[column] = value;
	row->column_nulls[column] = ' ';
}

/*
 * Fills in a column with the value of a setting, unless that is empty; raises 22023 for
 * one that must not be recorded, as for the actor.
 */
static void
set_column_to_setting(LedgerRow *row, LedgerColumn column, const char *name, const char *value,
					  int limit)
{
	if (value[0] == '\0')
		return;
	check_setting(name, value, limit);
	set_column(row, column, CStringGetTextDatum(value));
}

/*
 * Returns an array of texts.
 */
static Datum
text_array(const Datum *texts, int count)
{
	return PointerGetDatum(construct_array(unconstify(Datum *, texts), count, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/*
 * Fills in the row that is written for fates, except for what differs from one of them to
 * the next.
 */
void
fill_row(LedgerRow *row, int key_columns, const Fates *fates)
{
	memset(row->nulls, ' ', key_columns);
	memset(row->nulls + key_columns, 'n', LEDGER_COLUMNS);
	row->nulls[key_columns + LEDGER_COLUMNS] = '\0';
	row->columns = row->values + key_columns;
	row->column_nulls = row->nulls + key_columns;
	if (fates->from_state != NULL)
		set_column(row, LEDGER_FROM_STATE, CStringGetTextDatum(fates->from_state));
	set_column(row, LEDGER_FATE, CStringGetTextDatum(fates->fate));
	set_column(row, LEDGER_ASSIGNED_AT,
			   TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	set_column(row, LEDGER_ASSIGNED_BY, CStringGetTextDatum(assigning_actor()));
	set_column(row, LEDGER_TRANSACTION_ID,
			   FullTransactionIdGetDatum(GetTopFullTransactionId()));
	set_column_to_setting(row, LEDGER_REASON, "petition_cas.reason", petition_cas_reason,
						  REASON_LIMIT);
	set_column_to_setting(row, LEDGER_REQUEST_ID, "petition_cas.request_id",
						  petition_cas_request_id, REQUEST_ID_LIMIT);
	if (fates->hashes != NULL)
		set_column(row, LEDGER_EVIDENCE_HASH, fates->hashes[0]);
}

/*
 * Fills in the rest of that row, as a statement wants it: of one fate the key, of several
 * arrays of their keys and of their evidence.
 */
static void
fill_row_keys(LedgerRow *row, const Key *key, const Fates *fates)
{
	if (fates->count == 1)
	{
		memcpy(row->values, fates->keys, key->ncolumns * sizeof(Datum));
		return;
	}
	key_arrays(key, fates->keys, fates->count, row->values);
	if (fates->hashes != NULL)
		set_column(row, LEDGER_EVIDENCE_HASH, text_array(fates->hashes, fates->count));
}

/*
 * Returns whether it is recorded that a row gets into a state, which is a fate or not.
 */
bool
is_recorded(const Governed *governed, bool is_fate)
{
	return is_fate || governed->options.history != NULL;
}

/* ----------------------------------------------------------------------
 * Statements
 * ----------------------------------------------------------------------
 */

static const StatementForm insert_row = {
	"INSERT INTO {ledger} ({key names}, {columns}) VALUES ({keys}, {values})",
	"kL", ON_LEDGER | AS_LEDGER_OWNER
};

static const StatementForm insert_rows = {
	"INSERT INTO {ledger} ({key names}, {columns}) SELECT {unnested keys}, {values}",
	"KL", ON_LEDGER | AS_LEDGER_OWNER
};

static const StatementForm insert_rows_with_evidence = {
	"INSERT INTO {ledger} ({key names}, {columns}) SELECT {unnested keys}, {values of rows}",
	"KM", ON_LEDGER | AS_LEDGER_OWNER
};

/*
 * A row that arrives with its fate may have it in the ledger already.  This costs
 * a speculative insertion, which a plain assignment is spared.
 */
static const StatementForm import_row = {
	"INSERT INTO {ledger} ({key names}, {columns}) VALUES ({keys}, {values})"
	" ON CONFLICT ({key names}) DO NOTHING",
	"kL", ON_LEDGER | AS_LEDGER_OWNER
};

static const StatementForm select_row = {
	"SELECT {columns} FROM {ledger} WHERE {key = $}",
	"k", ON_LEDGER | AS_LEDGER_OWNER
};

static const StatementForm select_rows = {
	"SELECT {columns}, {key} FROM {ledger} AS {row} WHERE {key = any $}",
	"K", ON_LEDGER | AS_LEDGER_OWNER
};

static const StatementForm select_any = {
	"SELECT FROM {ledger} LIMIT 1",
	"", ON_LEDGER | AS_LEDGER_OWNER
};

static const StatementForm select_assignment = {
	"SELECT assigned_at, assigned_by, reason, request_id, fate FROM {ledger} WHERE {key = $}",
	"k", ON_LEDGER | FIRES_TRIGGERS
};

/* ----------------------------------------------------------------------
 * Creating
 * ----------------------------------------------------------------------
 */

/*
 * Takes from a new ledger or history all rights that default privileges have given to
 * others than its owner, except to read it; connected to SPI.
 */
static void
revoke_default_rights(Oid ledger, const char *name)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(ledger));
	bool		isnull;
	Datum		value;
	Acl		   *acl;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", ledger);
	value = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	acl = isnull ? NULL : DatumGetAclPCopy(value);
	ReleaseSysCache(tuple);

	for (int i = 0; acl != NULL && i < ACL_NUM(acl); i++)
	{
		const AclItem *item = &ACL_DAT(acl)[i];
		const char *grantee = "PUBLIC";

		if (item->ai_grantee == relation_owner(ledger))
			continue;
		if (item->ai_grantee != ACL_ID_PUBLIC)
			grantee = quote_identifier(GetUserNameFromId(item->ai_grantee, false));
		execute_own_ddl(psprintf("REVOKE ALL PRIVILEGES ON TABLE %s FROM %s CASCADE", name, grantee));
		if (ACLITEM_GET_PRIVS(*item) & ACL_SELECT)
			execute_own_ddl(psprintf("GRANT SELECT ON TABLE %s TO %s", name, grantee));
	}
}

/*
 * Creates the ledger of a table as the guard says, or its history, beside it; connected
 * to SPI, as the owner.  Its key is of the base types of domains: what a domain checks
 * may be anybody's code, and the ledger is written as its owner.
 *
 * A history has no key of its own, so its replica identity is the whole row: without one,
 * forget_actor could not update it where it is published.
 */
void
create_record(Relation relation, const GuardTrigger *guard, const RecordKind *kind)
{
	const char *record = record_of_guard(guard, kind);
	const char *name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
												  record);
	const char *keys = name_list(record_key_names(guard->key_columns));
	const char *separator = "";
	StringInfoData command;
	ListCell   *cell;

	initStringInfo(&command);
	appendStringInfo(&command, "CREATE TABLE %s (", name);
	foreach(cell, guard->key_columns)
	{
		AttrNumber	attno = get_attnum(RelationGetRelid(relation), lfirst(cell));
		Form_pg_attribute key = TupleDescAttr(RelationGetDescr(relation), attno - 1);
		int32		typmod;
		Oid			type = key_base_type(key, &typmod);

		appendStringInfo(&command, "%s%s %s", separator, quote_identifier(record_key_name(lfirst(cell))),
						 format_type_extended(type, typmod,
											  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
		if (OidIsValid(key->attcollation))
			appendStringInfo(&command, " COLLATE %s", generate_collation_name(key->attcollation));
		if (kind == &history_kind)
			appendStringInfoString(&command, " NOT NULL");
		separator = ", ";
	}
	for (int i = 0; i < kind->ncolumns; i++)
		appendStringInfo(&command, ", %s %s%s", kind->columns[i].name,
						 format_type_extended(kind->columns[i].type, -1, FORMAT_TYPE_FORCE_QUALIFY),
						 kind->columns[i].not_null ? " NOT NULL" : "");
	if (kind == &ledger_kind)
		appendStringInfo(&command, ", PRIMARY KEY (%s)", keys);
	appendStringInfoChar(&command, ')');
	execute_own_ddl(command.data);
	if (kind == &history_kind)
	{
		execute_own_ddl(psprintf("CREATE INDEX ON %s (%s)", name, keys));
		execute_own_ddl(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", name));
	}
	revoke_default_rights(get_relname_relid(record, RelationGetNamespace(relation)), name);
}

/* ----------------------------------------------------------------------
 * Counting
 *
 * Fates that guards in this backend have seen rows of a table (the topmost one,
 * of a partitioned one) get, since somebody began to count.
 * ----------------------------------------------------------------------
 */

static Oid	counted_root = InvalidOid;
static char counted_state[NAMEDATALEN] = "";	/* the state column */
static int	counted_depth = 0;	/* of the triggers that are to see them */
static uint64 seen_fates = 0;

/*
 * Returns how many triggers are running, one in the other.
 */
int
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
	strlcpy(counted_state, governed->state.name, NAMEDATALEN);
	counted_depth = trigger_depth() + 1;
	seen_fates = 0;
}

static bool
is_counted(const Governed *governed)
{
	return counted_root == governed->root && strcmp(counted_state, governed->state.name) == 0;
}

/*
 * Returns how many fates of the table have been seen since count_fates, or 0 if
 * somebody else has begun to count another's meanwhile.
 */
uint64
counted_fates(const Governed *governed)
{
	return is_counted(governed) ? seen_fates : 0;
}

/*
 * Counts a fate that a row has got.
 */
void
count_fate(const Governed *governed)
{
	if (is_counted(governed) && trigger_depth() == counted_depth)
		seen_fates++;
}

/* ----------------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------------
 */

/*
 * Raises 55000 for a fate that did not get into the ledger: one that is not
 * recorded must not be assigned.
 */
pg_noreturn static void
report_unrecorded(const Governed *governed, Relation relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("fate of a row of relation \"%s\" was not recorded in ledger \"%s\"",
					RelationGetRelationName(relation), governed->ledger),
			 errhint("A BEFORE trigger or a rule on the ledger suppresses or changes its rows. Remove it."),
			 errtable(relation)));
}

/* A key, and the evidence that was inserted for it */
typedef struct KeyedHash
{
	const Datum *key;
	Datum		hash;
} KeyedHash;

static int
compare_keyed_hashes(const void *a, const void *b, void *key)
{
	return compare_keys(key, ((const KeyedHash *) a)->key, ((const KeyedHash *) b)->key);
}

/*
 * Returns the keys of fates with their evidence, sorted by key; NULL for a single fate,
 * and for fates without evidence.
 */
static KeyedHash *
sorted_hashes(Governed *governed, const Fates *fates)
{
	KeyedHash  *hashes;

	if (fates->hashes == NULL || fates->count == 1)
		return NULL;
	hashes = palloc_extended(fates->count * sizeof(KeyedHash), MCXT_ALLOC_HUGE);
	for (int i = 0; i < fates->count; i++)
	{
		hashes[i].key = &fates->keys[i * governed->key.ncolumns];
		hashes[i].hash = fates->hashes[i];
	}
	qsort_arg(hashes, fates->count, sizeof(KeyedHash), compare_keyed_hashes, &governed->key);
	return hashes;
}

/*
 * Returns the evidence that was inserted for the key of a row of the ledger which was
 * read, among what sorted_hashes has returned; (Datum) 0 if that is none of the keys.
 */
static Datum
inserted_hash(Governed *governed, const Fates *fates, const KeyedHash *hashes, HeapTuple row)
{
	Datum		found[MAX_KEY_COLUMNS];
	KeyedHash	wanted = {found};
	KeyedHash  *inserted;

	if (hashes == NULL)
		return fates->hashes == NULL ? (Datum) 0 : fates->hashes[0];
	key_of_result(&governed->key, row, SPI_tuptable->tupdesc, LEDGER_COLUMNS + 1, found);
	inserted = bsearch_arg(&wanted, hashes, fates->count, sizeof(KeyedHash),
						   compare_keyed_hashes, &governed->key);
	return inserted == NULL ? (Datum) 0 : inserted->hash;
}

/*
 * Returns whether a column of a row that was read has a value, (Datum) 0 for null.
 */
static bool
holds_value(HeapTuple row, int column, Datum value)
{
	Form_pg_attribute attribute = TupleDescAttr(SPI_tuptable->tupdesc, column - 1);
	bool		isnull;
	Datum		found = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	if (isnull || value == (Datum) 0)
		return isnull && value == (Datum) 0;
	return datum_image_eq(found, value, attribute->attbyval, attribute->attlen);
}

/*
 * Raises 55000 unless the ledger rows that were just inserted hold what was
 * inserted, in all of our columns.  Only a BEFORE trigger can have changed it.
 * Where there was none when the ledger was judged, and nothing has been
 * invalidated since, as the creation of one does, nothing is read.  Connected
 * to SPI.
 */
static void
check_recorded(Governed *governed, Relation relation, Oid ledger, const Fates *fates, LedgerRow *row)
{
	Snapshot	latest;
	uint64		found;
	KeyedHash  *hashes;

	if (governed->judged && !governed->before_trigger)
		return;
	fill_row_keys(row, &governed->key, fates);
	hashes = sorted_hashes(governed, fates);
	latest = RegisterSnapshot(GetLatestSnapshot());
	found = governed_execute(governed, fates->count == 1 ? &select_row : &select_rows, ledger,
							 row->values, NULL, latest);
	UnregisterSnapshot(latest);
	if (found != fates->count)
		report_unrecorded(governed, relation);
	for (uint64 number = 0; number < found; number++)
	{
		HeapTuple	recorded = SPI_tuptable->vals[number];

		for (int i = 0; i < LEDGER_COLUMNS; i++)
		{
			Datum		value = row->column_nulls[i] == 'n' ? (Datum) 0 : row->columns[i];

			if (i == LEDGER_EVIDENCE_HASH)
				value = inserted_hash(governed, fates, hashes, recorded);
			if (!holds_value(recorded, i + 1, value))
				report_unrecorded(governed, relation);
		}
	}
}

/*
 * Is the error a violation of the ledger's own unique index on its key?  One
 * of an index that the user put there is his.  On a shard the index has a name of
 * its own; and if the ledger's shard is on another node, Citus passes on no more
 * than the message, which names the index.
 */
static bool
is_ledger_conflict(const ErrorData *error, const Governed *governed)
{
	const char *index = error->constraint_name;
	const char *table = error->table_name;
	const char *schema = error->schema_name;
	bool		is_remote = index == NULL && table == NULL && has_citus();
	ListCell   *cell;

	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
		return false;
	if (!is_remote &&
		(index == NULL || table == NULL || !is_name_or_on_shard(table, governed->ledger) ||
		 schema == NULL || strcmp(schema, governed->ledger_schema) != 0))
		return false;
	foreach(cell, governed->ledger_keys)
	{
		if (is_remote ? strstr(error->message, psprintf("%s_", (char *) lfirst(cell))) != NULL :
			is_name_or_on_shard(index, lfirst(cell)))
			return true;
	}
	return false;
}

/*
 * Returns which of the keys violated the ledger's unique index: the one that
 * the error's detail names, which is in some language, but has the key in
 * parentheses.  Returns NULL if it names none.
 */
static const Datum *
conflicting_key(const Governed *governed, const Fates *fates, const ErrorData *error)
{
	for (int i = 0; i < fates->count; i++)
	{
		const Datum *key = &fates->keys[i * governed->key.ncolumns];

		if (fates->count == 1 ||
			(error->detail != NULL &&
			 strstr(error->detail, psprintf("=(%s)", key_text(&governed->key, key))) != NULL))
			return key;
	}
	return NULL;
}

/*
 * Returns the fate that the ledger holds for a key, or NULL, read straight from
 * the table by one of its indexes, which may be the one of a shard: the statement
 * that should have written a row there has failed, and with it all that SPI could
 * be asked.
 */
static char *
look_up_fate(const Governed *governed, Oid namespace, const char *index_name, const Datum *key)
{
	Oid			index = index_name == NULL ? InvalidOid : get_relname_relid(index_name, namespace);
	Oid			ledger_oid = OidIsValid(index) ? IndexGetRelation(index, true) : InvalidOid;
	Relation	ledger = OidIsValid(ledger_oid) ? try_relation_open(ledger_oid, AccessShareLock) : NULL;
	TupleDesc	desc;
	AttrNumber	fate_attno;
	bool		found;
	ScanKeyData scan_keys[MAX_KEY_COLUMNS];
	char	   *fate = NULL;

	if (ledger == NULL)
		return NULL;
	desc = RelationGetDescr(ledger);
	fate_attno = get_attnum(ledger_oid, "fate");
	found = fate_attno > InvalidAttrNumber;
	for (int i = 0; i < governed->key.ncolumns; i++)
	{
		const KeyColumn *column = &governed->key.columns[i];
		AttrNumber	attno = get_attnum(ledger_oid, governed->ledger_key.columns[i].name);

		found = found && attno > InvalidAttrNumber;
		if (found)
			ScanKeyEntryInitialize(&scan_keys[i], 0, attno, BTEqualStrategyNumber, InvalidOid,
								   TupleDescAttr(desc, attno - 1)->attcollation,
								   get_opcode(column->operations->eq_opr), key[i]);
	}
	if (found)
	{
		Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
		SysScanDesc scan = systable_beginscan(ledger, index, true, latest,
											  governed->key.ncolumns, scan_keys);
		HeapTuple	row = systable_getnext(scan);

		if (HeapTupleIsValid(row))
		{
			bool		isnull;
			Datum		value = heap_getattr(row, fate_attno, desc, &isnull);

			fate = isnull ? NULL : TextDatumGetCString(value);
		}
		systable_endscan(scan);
		UnregisterSnapshot(latest);
	}
	table_close(ledger, AccessShareLock);
	return fate;
}

/*
 * Raises an error again that a row of a ledger or history met with.  What the user's own
 * constraints on that refuse is told with the row's values, which the
 * caller gets to read only if he may read the table.
 */
void
rethrow_for_caller(ErrorData *error, Oid record)
{
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION &&
		(pg_class_aclcheck(record, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
		 check_enable_rls(record, InvalidOid, true) == RLS_ENABLED))
		error->detail = NULL;
	ReThrowError(error);
}

/*
 * Is it an ordinary table without triggers on INSERT and without rules, for
 * whom each row of a ledger or history and its moment could matter?
 */
static bool
is_plain_record(Relation record)
{
	return record->rd_rel->relkind == RELKIND_RELATION && record->rd_rules == NULL &&
		(record->trigdesc == NULL ||
		 !(record->trigdesc->trig_insert_before_row ||
		   record->trigdesc->trig_insert_after_row ||
		   record->trigdesc->trig_insert_before_statement ||
		   record->trigdesc->trig_insert_after_statement));
}

/*
 * Returns whether a ledger or history is as govern creates it, so that its rows need no INSERT: an
 * ordinary table, no partition, with the columns of one, in their order, and no others;
 * without rules, and without triggers on INSERT, which deferrable indexes have too; whose
 * owner may write it.  Nor may anybody watch who writes what, as pgaudit does, or make
 * distributed tables of ordinary ones.
 */
static bool
takes_rows(const Governed *governed, const RecordKind *kind, Relation record, Oid owner)
{
	TupleDesc	desc = RelationGetDescr(record);
	int			key_columns = governed->key.ncolumns;

	if (!is_plain_record(record) || record->rd_rel->relispartition ||
		desc->natts != key_columns + kind->ncolumns)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		const KeyColumn *key = &governed->ledger_key.columns[i];
		const RecordColumn *other = &kind->columns[i - key_columns];

		if (column->attisdropped || column->attgenerated != '\0' ||
			column->atttypid != (i < key_columns ? key->type : other->type) ||
			strcmp(NameStr(column->attname), i < key_columns ? key->name : other->name) != 0)
			return false;
	}
	return ExecutorCheckPerms_hook == NULL && !has_citus() &&
		pg_class_aclcheck(RelationGetRelid(record), owner, ACL_INSERT) == ACLCHECK_OK;
}

/*
 * Stores rows in a relation, and in its indexes, as COPY does: all of them at once, if
 * they are several.
 */
static void
store_rows(ResultRelInfo *target, EState *estate, TupleTableSlot **rows, int count)
{
	Relation	relation = target->ri_RelationDesc;
	MemoryContext caller;

	if (count == 1)
	{
		ExecSimpleRelationInsert(target, estate, rows[0]);
		return;
	}
	for (int i = 0; i < count && RelationGetDescr(relation)->constr != NULL; i++)
		ExecConstraints(target, rows[i], estate);
	caller = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	table_multi_insert(relation, rows, count, GetCurrentCommandId(true), 0, NULL);
	MemoryContextSwitchTo(caller);
	for (int i = 0; i < count; i++)
		(void) insert_index_tuples(target, rows[i], estate);
}

/*
 * Puts rows for fates into a ledger or history that takes them so, as that owner: what the executor
 * does for an INSERT, with all constraints and indexes.  The command counter is what it
 * would be after one.
 */
static void
put_rows(const Governed *governed, const RecordKind *kind, Relation record, Oid owner,
		 const LedgerRow *row, const Fates *fates)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);
	TupleTableSlot *rows[ROWS_AT_ONCE];
	int			nrows = Min(fates->count, ROWS_AT_ONCE);
	int			key_columns = governed->key.ncolumns;
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	InitResultRelInfo(target, record, 0, NULL, 0);
	ExecOpenIndices(target, false);
	for (int i = 0; i < nrows; i++)
	{
		rows[i] = MakeSingleTupleTableSlot(RelationGetDescr(record), &TTSOpsVirtual);
		for (int column = 0; column < key_columns + kind->ncolumns; column++)
			rows[i]->tts_isnull[column] = row->nulls[column] == 'n';
	}
	for (int first = 0; first < fates->count; first += nrows)
	{
		int			count = Min(nrows, fates->count - first);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < count; i++)
		{
			ExecClearTuple(rows[i]);
			memcpy(rows[i]->tts_values, &fates->keys[(first + i) * key_columns],
				   key_columns * sizeof(Datum));

			/* what was stored from the slot before was freed with it */
			memcpy(&rows[i]->tts_values[key_columns], row->columns, kind->ncolumns * sizeof(Datum));
			if (fates->hashes != NULL && kind == &ledger_kind)
				rows[i]->tts_values[key_columns + LEDGER_EVIDENCE_HASH] = fates->hashes[first + i];
			ExecStoreVirtualTuple(rows[i]);
		}
		store_rows(target, estate, rows, count);
		ResetPerTupleExprContext(estate);
	}
	ExecCloseIndices(target);
	for (int i = 0; i < nrows; i++)
		ExecDropSingleTupleTableSlot(rows[i]);
	FreeExecutorState(estate);
	SetUserIdAndSecContext(user, security);
	CommandCounterIncrement();
}

/*
 * Writes rows for fates into their ledger or history, which takes them without the INSERT
 * of that form or by it; returns how many.
 */
static uint64
insert_rows_of(Governed *governed, const RecordKind *kind, const StatementForm *form,
			   Oid record_oid, LedgerRow *row, const Fates *fates)
{
	const char *name = kind == &ledger_kind ? governed->ledger : governed->options.history;
	Oid			owner;
	Relation	record;
	bool		done;

	if (form != &import_row)
	{
		owner = ledger_owner(kind, record_oid, name, governed->root, governed->relation);
		record = relation_open(record_oid, NoLock);
		done = takes_rows(governed, kind, record, owner);
		if (done)
			put_rows(governed, kind, record, owner, row, fates);
		relation_close(record, NoLock);
		if (done)
			return fates->count;
	}
	fill_row_keys(row, &governed->key, fates);
	return governed_execute(governed, form, record_oid, row->values, row->nulls, InvalidSnapshot);
}

/*
 * Executes the INSERT of rows into a ledger or history; connected to SPI.  Returns NULL,
 * and how many there were, or an error, which the caller must raise, or another one: its
 * statement has failed.
 *
 * What an error shows is judged for the caller: his identity, which was switched
 * when it was raised, is put back first.
 */
ErrorData *
execute_recording(Governed *governed, const RecordKind *kind, const StatementForm *form, Oid record,
				  LedgerRow *row, const Fates *fates, uint64 *inserted)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	PG_TRY();
	{
		*inserted = insert_rows_of(governed, kind, form, record, row, fates);
	}
	PG_CATCH();
	{
		SetUserIdAndSecContext(user, security);
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	return error;
}

/*
 * Executes the INSERT of a ledger row for fates; connected to SPI.  Returns
 * whether it went well; *inserted is then the number of rows.  If not, a fate
 * that the ledger holds is in the way, and the caller must raise an error.
 */
static bool
insert_fates(Governed *governed, const StatementForm *form, Oid ledger, LedgerRow *row,
			 const Fates *fates, uint64 *inserted, LedgerConflict *conflict)
{
	ErrorData  *error = execute_recording(governed, &ledger_kind, form, ledger, row, fates, inserted);

	if (error == NULL)
		return true;
	if (!is_ledger_conflict(error, governed))
		rethrow_for_caller(error, ledger);
	conflict->key = conflicting_key(governed, fates, error);
	if (conflict->key != NULL)
		conflict->fate = look_up_fate(governed, get_rel_namespace(ledger),
									  error->constraint_name, conflict->key);
	return false;
}

/*
 * Returns the fate that the ledger holds for the key of a row, read under the
 * latest snapshot, or NULL.  The row of the ledger that was read is the first of the
 * result.  Connected to SPI.
 */
static char *
read_fate(Governed *governed, Oid ledger, LedgerRow *row)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	char	   *fate = NULL;

	if (governed_execute(governed, &select_row, ledger, row->values, NULL, latest) > 0)
		fate = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, LEDGER_FATE + 1);
	UnregisterSnapshot(latest);
	return fate;
}

/*
 * Returns whether the row of the ledger that was read has the evidence of the one
 * fate, or none.
 */
static bool
has_recorded_evidence(const Fates *fate)
{
	return fate->hashes == NULL ||
		holds_value(SPI_tuptable->vals[0], LEDGER_EVIDENCE_HASH + 1, (Datum) 0) ||
		holds_value(SPI_tuptable->vals[0], LEDGER_EVIDENCE_HASH + 1, fate->hashes[0]);
}

/*
 * Writes fates into the ledger of a table that is sound.  One row that arrives
 * with its fate, where from_state is NULL, may have it in the ledger already, if it has
 * the evidence that is recorded there.
 * Returns false if the ledger holds another fate for a key; the caller must
 * raise an error then.  Raises 55000 if what was written is not what is there.
 */
bool
write_fates(Governed *governed, Relation relation, Oid ledger, const Fates *fates,
			LedgerConflict *conflict)
{
	bool		imports = fates->from_state == NULL;
	bool		one = fates->count == 1;
	const StatementForm *form;
	uint64		inserted = 0;
	char	   *fate = NULL;
	bool		done;
	LedgerRow	row;

	*conflict = (LedgerConflict)
	{
		NULL, NULL
	};
	fill_row(&row, governed->key.ncolumns, fates);

	count_fate(governed);
	SPI_connect();
	if (imports)
		form = &import_row;
	else if (one)
		form = &insert_row;
	else
		form = fates->hashes == NULL ? &insert_rows : &insert_rows_with_evidence;

	/*
	 * one that is newer than the transaction's snapshot would be 40001 for
	 * the server
	 */
	if (imports && IsolationUsesXactSnapshot())
	{
		fill_row_keys(&row, &governed->key, fates);
		fate = read_fate(governed, ledger, &row);
	}
	done = fate != NULL ||
		insert_fates(governed, form, ledger, &row, fates, &inserted, conflict);
	if (done && imports && inserted == 0)
	{
		if (fate == NULL)
			fate = read_fate(governed, ledger, &row);
		if (fate == NULL)
			report_unrecorded(governed, relation);

		/*
		 * of a row that is gone, even the same fate is another's, and it was
		 * given to what that row held
		 */
		done = governed->options.keep_rows && strcmp(fate, fates->fate) == 0 &&
			has_recorded_evidence(fates);
		conflict->key = fates->keys;
		conflict->fate = fate;
	}
	else if (done)
	{
		if (inserted != fates->count)
			report_unrecorded(governed, relation);
		check_recorded(governed, relation, ledger, fates, &row);
	}
	if (done)
		SPI_finish();
	return done;
}

/* ----------------------------------------------------------------------
 * Batches
 *
 * A set form updates many rows in one statement.  A ledger row for each of them
 * through a statement of its own would cost more than the update itself.  So the
 * guard, which fires for each row when that statement ends, only notes the key,
 * and one statement then writes all ledger rows.
 *
 * Nothing may depend on it: where nobody has begun a batch in this backend
 * (a plain UPDATE, a trigger that runs on another node) or where somebody could
 * look at the ledger between the two, the guard records each row on its own.
 * ----------------------------------------------------------------------
 */

static FateBatch *current_batch = NULL;

/*
 * Is there, besides guards, a trigger that fires after an UPDATE and is not
 * the server's own?  It could look at the ledger.
 */
static bool
has_other_after_trigger(Relation relation)
{
	/* a copy: the relation cache may rebuild its own at any catalog access */
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);

	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_AFTER(trigger->tgtype) && TRIGGER_FOR_UPDATE(trigger->tgtype) &&
			!trigger->tgisinternal && !is_own_function(trigger->tgfoid, "guard_fate"))
			return true;
	}
	return false;
}

/*
 * Is there a ledger or history of that OID, and is it plain?
 */
static bool
has_plain_record(Oid oid)
{
	Relation	record = OidIsValid(oid) ? try_relation_open(oid, RowExclusiveLock) : NULL;
	bool		plain;

	if (record == NULL)
		return false;
	plain = is_plain_record(record);
	relation_close(record, NoLock);
	return plain;
}

/*
 * Begins a batch for one statement that gives up to that many rows of a sound
 * table the fate of fates; returns whether their rows in ledger and history may be written
 * together.  If so, the caller ends it, after an error too.
 */
bool
begin_batch(FateBatch *batch, Governed *governed, Relation relation, const Fates *fates,
			int capacity)
{
	bool		is_fate;

	if (governed->is_partitioned || relation->trigdesc == NULL ||
		has_other_after_trigger(relation) || !has_plain_record(governed_ledger(governed, true)) ||
		(governed->options.history != NULL &&
		 !has_plain_record(governed_history(governed, true))))
		return false;
	batch->fates = *fates;
	batch->guard = governed->guard;
	batch->subtransaction = GetCurrentSubTransactionId();
	batch->trigger_depth = trigger_depth() + 1;
	batch->capacity = capacity;
	batch->keys = palloc_extended(Max(1, capacity) * governed->key.ncolumns * sizeof(Datum),
								  MCXT_ALLOC_HUGE);
	is_fate = lifecycle_is_fate(governed->lifecycle,
								lifecycle_find_name(governed->lifecycle, fates->fate));
	batch->hashes = !is_fate || governed->evidence.ncolumns == 0 ? NULL :
		palloc_extended(Max(1, capacity) * sizeof(Datum), MCXT_ALLOC_HUGE);
	batch->fates.keys = batch->keys;
	batch->fates.hashes = batch->hashes;
	batch->fates.count = 0;
	batch->outer = current_batch;
	current_batch = batch;
	return true;
}

/*
 * Notes the one row whose fate is to be recorded, if that is for the current batch;
 * returns whether it is.
 */
bool
add_to_batch(const Governed *governed, const Fates *fate)
{
	FateBatch  *batch = current_batch;
	MemoryContext caller;

	if (batch == NULL || batch->guard != governed->guard ||
		batch->fates.count == batch->capacity || !governed->judged || governed->problems != NIL ||
		(batch->hashes == NULL) != (fate->hashes == NULL) ||
		batch->trigger_depth != trigger_depth() ||
		batch->subtransaction != GetCurrentSubTransactionId() ||
		strcmp(batch->fates.from_state, fate->from_state) != 0 ||
		strcmp(batch->fates.fate, fate->fate) != 0)
		return false;
	caller = MemoryContextSwitchTo(GetMemoryChunkContext(batch->keys));
	copy_key(&governed->key, fate->keys, &batch->keys[batch->fates.count * governed->key.ncolumns]);
	if (batch->hashes != NULL)
		batch->hashes[batch->fates.count] = datumCopy(fate->hashes[0], false, -1);
	MemoryContextSwitchTo(caller);
	batch->fates.count++;
	count_fate(governed);
	return true;
}

/*
 * Ends the current batch.
 */
void
end_batch(FateBatch *batch)
{
	current_batch = batch->outer;
}

/* ----------------------------------------------------------------------
 * Table and ledger together
 * ----------------------------------------------------------------------
 */

/*
 * Returns what stands for the rows of a governed relation in a FROM clause.  A
 * partition that belongs to another role than the topmost table is read through
 * that: its own row security, and the owner's missing rights on it, are not to
 * hide a row.
 */
const char *
rows_sql(const Governed *governed)
{
	StringInfoData sql;
	ListCell   *cell;
	const char *separator = "";

	if (governed->root == governed->relid ||
		relation_owner(governed->root) == relation_owner(governed->relid))
		return table_sql(governed);

	initStringInfo(&sql);
	appendStringInfo(&sql, "(SELECT * FROM %s WHERE tableoid OPERATOR(pg_catalog.=) ANY ('{",
					 quote_qualified_identifier(governed->ledger_schema,
												get_rel_name(governed->root)));
	foreach(cell, find_all_inheritors(governed->relid, AccessShareLock, NULL))
	{
		appendStringInfo(&sql, "%s%u", separator, lfirst_oid(cell));
		separator = ",";
	}
	appendStringInfoString(&sql, "}'::pg_catalog.oid[]))");
	return sql.data;
}

/*
 * Adds a ledger row for each fated row that lacks one; connected to SPI, as
 * the owner.  Returns how many.  The rows that are there are left out before
 * ON CONFLICT sees them, which is then there for assignments that go on.
 *
 *	INSERT INTO ledger (key, ...)
 *	SELECT t.key, NULL, $2[array_position($1, t.state)], ... FROM table t
 *	 WHERE t.state = ANY ($1) AND NOT EXISTS (SELECT FROM ledger l WHERE l.key = t.key)
 *	ON CONFLICT (key) DO NOTHING
 *
 * $1 are the fates, of the type of the state column, and $2 the same as text.
 */
uint64
write_missing_fates(const Governed *governed)
{
	StringInfoData query;
	Oid			types[LEDGER_COLUMNS] = {InvalidOid, TEXTARRAYOID};
	Fates		none = {NULL, 0, NULL, ""};
	LedgerRow	row;
	const char **fates;
	int			nfates;

	fates = states_in_use(&governed->state, governed->lifecycle, true, &nfates);
	fill_row(&row, 0, &none);
	row.values[0] = state_array(&governed->state, fates, nfates, &types[0]);
	row.nulls[0] = ' ';
	row.values[1] = name_array(fates, nfates);
	for (int i = 2; i < LEDGER_COLUMNS; i++)
		types[i] = ledger_columns[i].type;

	initStringInfo(&query);
	appendStringInfo(&query, "INSERT INTO %s (", ledger_sql(governed));
	append_key_names(&query, &governed->ledger_key, NULL);
	for (int i = 0; i < LEDGER_COLUMNS; i++)
		appendStringInfo(&query, ", %s", ledger_columns[i].name);
	appendStringInfoString(&query, ") SELECT ");
	append_key_names(&query, &governed->key, "t");
	appendStringInfoString(&query, ", NULL, $2[pg_catalog.array_position($1, ");
	append_state(&query, &governed->state, "t");
	appendStringInfoString(&query, ")]");
	for (int i = 2; i < LEDGER_COLUMNS; i++)
	{
		appendStringInfoString(&query, ", ");
		if (i == LEDGER_EVIDENCE_HASH && governed->evidence.ncolumns > 0)
			append_evidence_hash(&query, &governed->evidence, governed->functions_schema, "t");
		else
			appendStringInfo(&query, "$%d", i + 1);
	}
	appendStringInfo(&query, " FROM %s t WHERE ", rows_sql(governed));
	append_state(&query, &governed->state, "t");
	appendStringInfo(&query, " OPERATOR(pg_catalog.=) ANY ($1) AND NOT EXISTS (SELECT FROM %s l WHERE ",
					 ledger_sql(governed));
	append_key_equality(&query, &governed->ledger_key, "l", &governed->key, "t");
	appendStringInfoString(&query, ") ON CONFLICT (");
	append_key_names(&query, &governed->ledger_key, NULL);
	appendStringInfoString(&query, ") DO NOTHING");
	return execute_latest(query.data, LEDGER_COLUMNS, types, row.values, row.nulls);
}

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

/*
 * Has the shard of the ledger that lies beside a shard any row?  Read straight from
 * it: Citus lets a trigger on a shard ask for no more than a part of a table.  The
 * whole ledger is asked where the distributed table is truncated.
 */
static bool
has_rows_beside(Oid shard, Oid ledger, Snapshot snapshot)
{
	Oid			relid = shard_beside(shard, ledger);
	Relation	relation = OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;
	TableScanDesc scan;
	TupleTableSlot *slot;
	bool		found;

	if (relation == NULL)
		return false;
	scan = table_beginscan(relation, snapshot, 0, NULL);
	slot = table_slot_create(relation, NULL);
	found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	relation_close(relation, AccessShareLock);
	return found;
}

/*
 * Has the ledger any row, seen with the latest snapshot?  Of a shard, the part of
 * the ledger beside it is asked.  Raises 42P01 if there is no ledger.
 */
bool
has_ledger_rows(Governed *governed)
{
	Oid			ledger = governed_ledger(governed, false);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	bool		found;

	SPI_connect();
	found = is_shard(governed->relid) ? has_rows_beside(governed->relid, ledger, latest) :
		governed_execute(governed, &select_any, ledger, NULL, NULL, latest) > 0;
	SPI_finish();
	UnregisterSnapshot(latest);
	return found;
}

/*
 * Does the ledger hold a fate for a key, seen with the latest snapshot?  Connected to
 * SPI.
 */
bool
has_fate(Governed *governed, const Datum *key)
{
	Oid			ledger = governed_ledger(governed, true);
	LedgerRow	row;

	memcpy(row.values, key, governed->key.ncolumns * sizeof(Datum));
	return OidIsValid(ledger) && read_fate(governed, ledger, &row) != NULL;
}

/*
 * Returns whether a column of the row has that text.
 */
static bool
holds_text(HeapTuple row, LedgerColumn column, const char *text)
{
	const char *found = SPI_getvalue(row, SPI_tuptable->tupdesc, column + 1);

	return found != NULL && strcmp(found, text) == 0;
}

/*
 * Returns whether a row of the ledger, or of the history, whose columns begin alike, says
 * that a request has assigned that fate, or state, from that state.
 */
bool
is_assignment(HeapTuple row, const char *from_state, const char *fate, const char *request_id)
{
	return holds_text(row, LEDGER_REQUEST_ID, request_id) &&
		holds_text(row, LEDGER_FROM_STATE, from_state) && holds_text(row, LEDGER_FATE, fate);
}

/*
 * Returns whether a request has assigned a key that fate from that state, seen with the
 * latest snapshot.  Connected to SPI.
 */
bool
has_assignment(Governed *governed, const Datum *key, const char *from_state, const char *fate,
			   const char *request_id)
{
	return has_fate(governed, key) &&
		is_assignment(SPI_tuptable->vals[0], from_state, fate, request_id);
}

/*
 * Reads the rows of the ledger for keys, given as arrays, with the latest snapshot: they
 * are the result, with the key behind our columns.  Returns how many.  Connected to SPI.
 */
uint64
read_ledger_rows(Governed *governed, Datum *key_arrays)
{
	Oid			ledger = governed_ledger(governed, true);
	Snapshot	latest;
	uint64		found;

	if (!OidIsValid(ledger))
		return 0;
	latest = RegisterSnapshot(GetLatestSnapshot());
	found = governed_execute(governed, &select_rows, ledger, key_arrays, NULL, latest);
	UnregisterSnapshot(latest);
	return found;
}

/*
 * Adds to a refusal who assigned the fate that stands, when, why and by which
 * request, if the caller may read the ledger, and if the ledger still has that.
 * Connected to SPI.
 */
void
read_assignment(Governed *governed, const Datum *key, Refusal *refusal)
{
	Oid			ledger = governed_ledger(governed, true);
	Snapshot	latest;
	bool		isnull;

	if (!OidIsValid(ledger) || pg_class_aclcheck(ledger, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return;
	latest = RegisterSnapshot(GetLatestSnapshot());
	if (governed_execute(governed, &select_assignment, ledger, unconstify(Datum *, key), NULL,
						 latest) > 0)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Datum		assigned_at = SPI_getbinval(row, desc, 1, &isnull);

		if (!isnull && SPI_gettypeid(desc, 1) == TIMESTAMPTZOID)
		{
			refusal->assigned_at = DatumGetTimestampTz(assigned_at);
			refusal->assigned_by = SPI_getvalue(row, desc, 2);
			refusal->reason = SPI_getvalue(row, desc, 3);
			refusal->request_id = SPI_getvalue(row, desc, 4);
		}
		/* of a row that is gone, nothing else tells it */
		if (refusal->is_missing)
			refusal->ledger_fate = SPI_getvalue(row, desc, 5);
	}
	UnregisterSnapshot(latest);
}
