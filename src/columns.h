/*-------------------------------------------------------------------------
 *
 * columns.h
 *	  Ledgers and histories, and their columns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_COLUMNS_H
#define PETITION_CAS_COLUMNS_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/rel.h"

/* A column of a ledger or a history, apart from the key */
typedef struct RecordColumn
{
	const char *name;
	Oid			type;
	bool		not_null;
} RecordColumn;

/* The numbers of those that are written, in the order of the columns */
typedef enum LedgerColumn
{
	LEDGER_FROM_STATE,
	LEDGER_FATE,
	LEDGER_ASSIGNED_AT,
	LEDGER_ASSIGNED_BY,
	LEDGER_TRANSACTION_ID,
	LEDGER_REASON,
	LEDGER_REQUEST_ID,
	LEDGER_EVIDENCE_HASH
} LedgerColumn;

#define LEDGER_COLUMNS (LEDGER_EVIDENCE_HASH + 1)

typedef enum HistoryColumn
{
	HISTORY_FROM_STATE,
	HISTORY_TO_STATE,
	HISTORY_MOVED_AT,
	HISTORY_MOVED_BY,
	HISTORY_TRANSACTION_ID,
	HISTORY_REASON,
	HISTORY_REQUEST_ID
} HistoryColumn;

#define HISTORY_COLUMNS (HISTORY_REQUEST_ID + 1)

extern const RecordColumn ledger_columns[LEDGER_COLUMNS];
extern const RecordColumn history_columns[HISTORY_COLUMNS];

/*
 * What a table of records is: a ledger, which has one row a key, or a history, which has
 * any number.  Both are append-only, belong to one lifecycle of one table, and are called
 * by what they are and by a label at the end of their name.
 */
typedef struct RecordKind
{
	const char *name;
	const char *label;
	const RecordColumn *columns;
	int			ncolumns;
	const char *actor_column;	/* who did it */
} RecordKind;

extern const RecordKind ledger_kind;
extern const RecordKind history_kind;

extern const RecordKind *record_kind(Relation record);
extern bool is_record_column(const RecordKind *kind, const char *column);
extern char *record_key_name(const char *column);
extern List *record_key_names(const List *columns);

#endif							/* PETITION_CAS_COLUMNS_H */
