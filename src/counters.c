/*-------------------------------------------------------------------------
 *
 * counters.c
 *	  What callers were told, counted by database in shared memory.
 *
 * The memory is found by name, for which nothing has to be preloaded, from
 * PostgreSQL 17 on.  It has room for a fixed number of databases.  A backend
 * looks for the place of its own one at its first call; if there is none, it takes one
 * that is free, or that of a database which was dropped.
 *
 * Nothing here may hinder a decision.  Where there is no memory, nothing is
 * counted.  What a swap has assigned is counted when its transaction commits, without
 * those of subtransactions that were rolled back; a loss is counted at
 * once, since its transaction is likely to be rolled back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "counters.h"
#include "errors.h"
#include "statement.h"

PG_FUNCTION_INFO_V1(petition_cas_counters);

#ifdef HAS_NAMED_MEMORY

#define MAX_DATABASES 1024

/* The place of a database */
typedef struct DatabaseCounters
{
	pg_atomic_uint32 database;	/* its OID, or 0 */
	pg_atomic_uint64 since;		/* when it was taken, a TimestampTz */
	pg_atomic_uint64 counts[NCOUNTERS];
} DatabaseCounters;

/* What was assigned in a (sub)transaction that has not yet ended */
typedef struct Pending
{
	struct Pending *outer;
	int			nest_level;
	uint64		assigned;
} Pending;

/* In the top transaction's memory context */
static Pending *pending = NULL;

/* The place of this database; NULL as long as it is not known, or if there is none */
static DatabaseCounters *mine = NULL;

/* ----------------------------------------------------------------------
 * Shared memory
 * ----------------------------------------------------------------------
 */

/*
 * Sets up the places; called once for a server.
 */
static void
init_places(void *memory)
{
	DatabaseCounters *places = memory;

	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseCounters *counters = &places[i];

		pg_atomic_init_u32(&counters->database, InvalidOid);
		pg_atomic_init_u64(&counters->since, 0);
		for (int j = 0; j < NCOUNTERS; j++)
			pg_atomic_init_u64(&counters->counts[j], 0);
	}
}

/*
 * Returns the places, MAX_DATABASES of them.  Raises an error where no memory can be had.
 */
static DatabaseCounters *
get_places(void)
{
	bool		found;

	return GetNamedDSMSegment("petition_cas", sizeof(DatabaseCounters) * MAX_DATABASES, init_places, &found);
}

/*
 * Returns the place that this database has, or NULL.
 */
static DatabaseCounters *
find_place(DatabaseCounters *places)
{
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		if (pg_atomic_read_u32(&places[i].database) == MyDatabaseId)
			return &places[i];
	}
	return NULL;
}

/*
 * Takes a place that is free, or that of a database which is gone, for this one, if it
 * is so still.  Returns the place that this database has then, which another
 * backend may have taken, or NULL.
 */
static DatabaseCounters *
take_place(DatabaseCounters *places, DatabaseCounters *counters, uint32 former)
{
	DatabaseCounters *taken;

	/* the server's own for such a thing, held for no longer than this */
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	taken = find_place(places);
	if (taken == NULL && pg_atomic_read_u32(&counters->database) == former)
	{
		/* whoever reads it meanwhile leaves out a database that is gone */
		pg_atomic_write_u64(&counters->since, (uint64) GetCurrentTimestamp());
		for (int i = 0; i < NCOUNTERS; i++)
			pg_atomic_write_u64(&counters->counts[i], 0);
		pg_write_barrier();
		pg_atomic_write_u32(&counters->database, MyDatabaseId);
		taken = counters;
	}
	LWLockRelease(AddinShmemInitLock);
	return taken;
}

/*
 * Sets the place of this database, taking one if it has none.  Raises 54000 if there are
 * more databases than places.
 */
static void
set_mine(void *unused)
{
	DatabaseCounters *places = get_places();

	mine = find_place(places);
	for (int i = 0; i < MAX_DATABASES && mine == NULL; i++)
	{
		if (pg_atomic_read_u32(&places[i].database) == InvalidOid)
			mine = take_place(places, &places[i], InvalidOid);
	}
	/* to look for databases may wait for a lock, so only if it has to be */
	for (int i = 0; i < MAX_DATABASES && mine == NULL; i++)
	{
		uint32		former = pg_atomic_read_u32(&places[i].database);

		if (!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(former)))
			mine = take_place(places, &places[i], former);
	}
	if (mine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("petition_cas counts in at most %d databases", MAX_DATABASES)));
}

/*
 * Returns, as a set, what was counted in each database that there is.
 */
static void
return_counts(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	DatabaseCounters *places = get_places();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		DatabaseCounters *counters = &places[i];
		uint32		database = pg_atomic_read_u32(&counters->database);
		char	   *name = OidIsValid(database) ? get_database_name(database) : NULL;
		Datum		values[NCOUNTERS + 2];
		bool		nulls[NCOUNTERS + 2] = {false};
		NameData	datname;

		if (name == NULL)
			continue;
		namestrcpy(&datname, name);
		values[0] = NameGetDatum(&datname);
		values[1] = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(&counters->since));
		for (int j = 0; j < NCOUNTERS; j++)
			values[j + 2] = Int64GetDatum((int64) pg_atomic_read_u64(&counters->counts[j]));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/*
 * Finds the place of this database, at the first call in a session; to be called before
 * anything is counted.  Where there is none, the server's log says so.  Raises the error
 * of a cancel or a timeout, which is meant for the statement that calls.
 */
void
attach_counters(void)
{
	static bool attached = false;
	ErrorData  *error;

	if (likely(attached))
		return;
	attached = true;
	/* what was taken until the error is let go of by rolling back */
	error = call_in_subtransaction(set_mine, NULL);
	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
	{
		attached = false;
		ReThrowError(error);
	}
	if (error != NULL)
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("petition_cas does not count in this session: %s", error->message)));
}

/* ----------------------------------------------------------------------
 * Counting
 * ----------------------------------------------------------------------
 */

/*
 * Adds what was assigned to the transaction, or the subtransaction, that is running.
 */
static void
note_assigned(void)
{
	int			level = GetCurrentTransactionNestLevel();

	if (pending == NULL || pending->nest_level < level)
	{
		Pending    *added = MemoryContextAllocZero(TopTransactionContext, sizeof(Pending));

		added->outer = pending;
		added->nest_level = level;
		pending = added;
	}
	pending->assigned++;
}

/*
 * Counts what a call has told of a row, or of a roster.
 */
void
count_told(Counter counter)
{
	if (mine == NULL)
		return;
	if (counter == COUNT_ASSIGNED)
		note_assigned();
	else
		pg_atomic_fetch_add_u64(&mine->counts[counter], 1);
}

/*
 * Counts an error that a call raises, if it is one that tells of a row.
 */
void
count_error(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_SUBMISSION_NOT_FOUND:
			count_told(COUNT_NOT_FOUND);
			break;
		case ERRCODE_ALREADY_FATED:
			count_told(COUNT_ALREADY_FATED);
			break;
		case ERRCODE_CONCURRENT_MODIFICATION:
			count_told(COUNT_CONCURRENT_MODIFICATION);
			break;
		case ERRCODE_EVIDENCE_CHANGED:
			count_told(COUNT_EVIDENCE_CHANGED);
			break;
		case ERRCODE_INVALID_STATE_TRANSITION:
			count_told(COUNT_INVALID_TRANSITION);
			break;
	}
}

/*
 * Counts what a transaction has assigned that is committed, or prepared, and forgets
 * it with any other.
 */
static void
end_transaction(XactEvent event, void *arg)
{
	if (pending == NULL || event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT ||
		event == XACT_EVENT_PRE_PREPARE)
		return;
	for (; pending != NULL; pending = pending->outer)
	{
		if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
			pg_atomic_fetch_add_u64(&mine->counts[COUNT_ASSIGNED], pending->assigned);
	}
}

/*
 * Hands what a subtransaction has assigned to the outer one, or forgets it if it is rolled
 * back.
 */
static void
end_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (pending == NULL || pending->nest_level < level)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		pending = pending->outer;
	else if (event == SUBXACT_EVENT_COMMIT_SUB &&
			 pending->outer != NULL && pending->outer->nest_level == level - 1)
	{
		pending->outer->assigned += pending->assigned;
		pending = pending->outer;
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		pending->nest_level = level - 1;
}

/*
 * Sets up what counting needs; called once, when the module is loaded.
 */
void
counters_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

#else							/* no memory is found by name */

void
counters_init(void)
{
}

void
attach_counters(void)
{
}

void
count_told(Counter counter)
{
}

void
count_error(int sqlerrcode)
{
}

static void
return_counts(FunctionCallInfo fcinfo)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("petition_cas counts only on PostgreSQL 17 and later"),
			 errhint("Count the rows of ledgers, and the SQLSTATEs in the server's log.")));
}

#endif

/*
 * petition_cas_counters() returns what was counted in each database, since when, and
 * what; raises 0A000 on a server that finds no memory by name.
 */
Datum
petition_cas_counters(PG_FUNCTION_ARGS)
{
	return_counts(fcinfo);
	return (Datum) 0;
}
