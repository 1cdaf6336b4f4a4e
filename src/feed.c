/*-------------------------------------------------------------------------
 *
 * feed.c
 *	  The fates of a table as a feed, which skips nothing.
 *
 * A ledger doubles as an outbox: its row is there with the transaction that assigned the
 * fate.  But transactions commit in another order than they begin in, so that whoever
 * asks for what is newer than the last row that he has seen, by time or by transaction
 * id, misses those that were still running then.  The feed ends where the oldest running
 * transaction begins, at the xmin of the snapshot: of all transactions before it, what
 * they have written is there, and nothing is added any more.  So a position in the order
 * of transaction ids, and within one in that of the keys, stays right for ever.
 *
 * A token is such a position: the identifier of the cluster, whose transaction ids are
 * meant, the id of a transaction, and how many of its fates have been read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "governed.h"
#include "identity.h"
#include "ledger.h"
#include "shard.h"
#include "soundness.h"
#include "verify.h"

PG_FUNCTION_INFO_V1(fates_since);

/* How many rows are fetched at once */
#define FETCHED_ROWS 1000

/* A position in the feed */
typedef struct Position
{
	uint64		transaction;
	uint64		read;			/* how many of its fates */
} Position;

/*
 * Reads a token; raises 22023 for one that fates_since has not returned, or which is of
 * another cluster or of a transaction that a primary has not had.  A standby may be
 * behind the server that the token is from.
 */
static Position
parse_token(const char *token)
{
	Position	position = {0};
	uint64		cluster = 0;
	int			length = 0;

	if (strspn(token, "0123456789/") != strlen(token) ||
		sscanf(token, UINT64_FORMAT "/" UINT64_FORMAT "/" UINT64_FORMAT "%n", &cluster,
			   &position.transaction, &position.read, &length) != 3 || token[length] != '\0' ||
		position.read > PG_INT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid token: \"%s\"", token),
				 errhint("Give the token of the last row that fates_since returned and you have dealt with; null begins with the first.")));
	if (cluster != GetSystemIdentifier())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("token \"%s\" is of another cluster", token),
				 errdetail("The system identifier of this cluster is " UINT64_FORMAT ".",
						   GetSystemIdentifier()),
				 errhint("Transaction ids are those of a cluster. After pg_upgrade, which keeps them, put this cluster's identifier into the token; after a restore of a dump, docs/operations.md tells how to go on.")));
	if (!RecoveryInProgress() &&
		position.transaction >= U64FromFullTransactionId(ReadNextFullTransactionId()))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("token \"%s\" is of a transaction that this cluster has not had", token),
				 errhint("After a recovery to an earlier time, or a failover that lost commits, fates that you have dealt with are gone; docs/operations.md tells how to go on.")));
	return position;
}

/*
 * Writes the query that reads a ledger from a position on, in the order of the feed.  Its
 * parameters are the transaction, how many of its rows are skipped, where it ends, and
 * how many rows it returns at most.
 *
 *	SELECT key, from_state, ..., evidence_hash FROM ledger
 *	 WHERE transaction_id >= $1 AND transaction_id < $3
 *	 ORDER BY transaction_id, key OFFSET $2 LIMIT $4
 */
static char *
feed_query(const Governed *governed)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	append_key(&query, &governed->ledger_key, NULL);
	for (int i = 0; i < LEDGER_COLUMNS; i++)
		appendStringInfo(&query, ", %s", ledger_columns[i].name);
	appendStringInfo(&query, " FROM %s WHERE transaction_id OPERATOR(pg_catalog.>=) $1"
					 " AND transaction_id OPERATOR(pg_catalog.<) $3 ORDER BY transaction_id, ",
					 ledger_sql(governed));
	append_key(&query, &governed->ledger_key, NULL);
	appendStringInfoString(&query, " OFFSET $2 LIMIT $4");
	return query.data;
}

/*
 * Puts a row of the ledger into the result, with the position behind it.
 */
static void
put_fate(ReturnSetInfo *result, const Governed *governed, HeapTuple row, Position *position)
{
	const Key  *key = &governed->key;
	TupleDesc	desc = SPI_tuptable->tupdesc;
	Datum		values[LEDGER_COLUMNS + 2] = {0};
	bool		nulls[LEDGER_COLUMNS + 2] = {false};
	Datum		key_values[MAX_KEY_COLUMNS];
	uint64		transaction;

	key_of_result(key, row, desc, 1, key_values);
	values[0] = CStringGetTextDatum(key_text(key, key_values));
	for (int i = 0; i < LEDGER_COLUMNS; i++)
		values[i + 1] = SPI_getbinval(row, desc, key->ncolumns + i + 1, &nulls[i + 1]);
	transaction = U64FromFullTransactionId(DatumGetFullTransactionId(values[LEDGER_TRANSACTION_ID + 1]));
	position->read = transaction == position->transaction ? position->read + 1 : 1;
	position->transaction = transaction;
	values[LEDGER_COLUMNS + 1] = CStringGetTextDatum(psprintf(UINT64_FORMAT "/" UINT64_FORMAT "/" UINT64_FORMAT,
															  GetSystemIdentifier(),
															  position->transaction, position->read));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * Returns whether a query with one parameter returns a row; connected to SPI.
 */
static bool
finds_row(const char *query, Oid type, Datum value)
{
	if (SPI_execute_with_args(query, 1, &type, &value, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed for \"%s\"", query);
	return SPI_processed > 0;
}

/*
 * Raises an error if the transactions that the ledger names are, or may be, not of this
 * cluster, with those of which they would be in no order: 0A000 for a distributed table,
 * and for one that a subscription writes into, and 55000 if it has rows of transactions
 * that are still to come here.
 */
static void
check_own_transactions(const Governed *governed, Oid ledger)
{
	if (is_distributed(governed->relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("relation \"%s\" is distributed, and its fates have transaction ids of several nodes",
						governed->relation),
				 errhint("Read the ledger by assigned_at, beginning some time before the last row.")));
	if (finds_row("SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid OPERATOR(pg_catalog.=) $1",
				  OIDOID, ObjectIdGetDatum(ledger)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("ledger \"%s\" is written by a subscription, with the publisher's transaction ids",
						governed->ledger),
				 errhint("Read the feed at the publisher, or on one of its standbys.")));
	if (finds_row(psprintf("SELECT FROM %s WHERE transaction_id OPERATOR(pg_catalog.>=) $1 LIMIT 1",
						   ledger_sql(governed)),
				  XID8OID, FullTransactionIdGetDatum(ReadNextFullTransactionId())))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("ledger \"%s\" has fates of another cluster's transactions", governed->ledger),
				 errhint("They came with a dump or by replication, and are in no order with those of this cluster; docs/operations.md tells how to go on after a restore.")));
}

/*
 * Returns the snapshot that is active, as a value.
 */
static Datum
current_snapshot(void)
{
	LOCAL_FCINFO(call, 0);

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	return pg_current_snapshot(call);
}

/*
 * fates_since(relation, token, at_most, state_column) returns the fates of a table that
 * come after a token, in an order in which none is ever added before the last.  As the
 * caller: he needs SELECT on the ledger.
 */
Datum
fates_since(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Position	position = {0};
	Oid			types[] = {XID8OID, INT8OID, XID8OID, INT8OID};
	Datum		values[4] = {0};
	char		nulls[] = "    ";
	Relation	relation;
	Governed   *governed;
	Oid			ledger;
	Datum		snapshot;
	Portal		portal;
	uint64		fetched;

	check_not_null(fcinfo, 0, "relation");
	if (!PG_ARGISNULL(1))
		position = parse_token(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (!PG_ARGISNULL(2) && PG_GETARG_INT64(2) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"at_most\" must not be negative")));
	InitMaterializedSRF(fcinfo, 0);
	relation = open_relation(PG_GETARG_OID(0), AccessShareLock);
	governed = get_governed(relation, get_name_argument(fcinfo, 3));
	check_whole_table(relation);
	check_readable(governed, relation);
	ledger = governed_ledger(governed, false);
	relation_close(relation, NoLock);

	SPI_connect();
	/* where the feed ends, and what is read, are of one snapshot */
	snapshot = current_snapshot();
	check_own_transactions(governed, ledger);
	values[0] = FullTransactionIdGetDatum(FullTransactionIdFromU64(position.transaction));
	values[1] = Int64GetDatum((int64) position.read);
	values[2] = DirectFunctionCall1(pg_snapshot_xmin, snapshot);
	if (PG_ARGISNULL(2))
		nulls[3] = 'n';
	else
		values[3] = PG_GETARG_DATUM(2);
	portal = SPI_cursor_open_with_args(NULL, feed_query(governed), 4, types, values, nulls, true, 0);
	do
	{
		SPI_cursor_fetch(portal, true, FETCHED_ROWS);
		fetched = SPI_processed;
		for (uint64 i = 0; i < fetched; i++)
			put_fate(result, governed, SPI_tuptable->vals[i], &position);
		SPI_freetuptable(SPI_tuptable);
	}
	while (fetched > 0);
	SPI_cursor_close(portal);
	SPI_finish();
	return (Datum) 0;
}
