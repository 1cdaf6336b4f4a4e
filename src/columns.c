/*-------------------------------------------------------------------------
 *
 * columns.c
 *	  The columns of ledgers and histories.
 *
 * They are named here alone.  Before them stand the columns of the key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/defrem.h"

#include "columns.h"

const RecordColumn ledger_columns[LEDGER_COLUMNS] = {
	{"from_state", TEXTOID, false},
	{"fate", TEXTOID, true},
	{"assigned_at", TIMESTAMPTZOID, true},
	{"assigned_by", TEXTOID, true},
	{"transaction_id", XID8OID, true},
	{"reason", TEXTOID, false},
	{"request_id", TEXTOID, false},
	{"evidence_hash", TEXTOID, false}
};

const RecordColumn history_columns[HISTORY_COLUMNS] = {
	{"from_state", TEXTOID, false},
	{"to_state", TEXTOID, true},
	{"moved_at", TIMESTAMPTZOID, true},
	{"moved_by", TEXTOID, true},
	{"transaction_id", XID8OID, true},
	{"reason", TEXTOID, false},
	{"request_id", TEXTOID, false}
};

static bool
is_among(const RecordColumn *columns, int count, const char *name)
{
	for (int i = 0; i < count; i++)
	{
		if (strcmp(columns[i].name, name) == 0)
			return true;
	}
	return false;
}

/*
 * Returns whether every ledger has a column of that name, apart from the key.
 */
bool
is_ledger_column(const char *column)
{
	return is_among(ledger_columns, LEDGER_COLUMNS, column);
}

/*
 * Returns how a key column is called in a ledger, and in a history: by another name
 * if one of them has a column of that name itself.
 */
char *
record_key_name(const char *column)
{
	return is_ledger_column(column) || is_among(history_columns, HISTORY_COLUMNS, column) ?
		makeObjectName(column, NULL, "key") : pstrdup(column);
}

/*
 * Returns how the columns of a key are called there.
 */
List *
record_key_names(const List *columns)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, columns)
		names = lappend(names, record_key_name(lfirst(cell)));
	return names;
}
