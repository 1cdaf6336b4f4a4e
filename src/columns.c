/*-------------------------------------------------------------------------
 *
 * columns.c
 *	  Ledgers and histories, and their columns.
 *
 * They are named here alone.  Before them stand the columns of the key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "parser/parse_relation.h"

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

const RecordKind ledger_kind = {
	"ledger", "fates", ledger_columns, LEDGER_COLUMNS, "assigned_by"
};

const RecordKind history_kind = {
	"history", "history", history_columns, HISTORY_COLUMNS, "moved_by"
};

/*
 * Returns what a table with the triggers of a ledger is: both have them, and only a
 * history says where a row has gone.
 */
const RecordKind *
record_kind(Relation record)
{
	return attnameAttNum(record, history_columns[HISTORY_TO_STATE].name, false) > InvalidAttrNumber &&
		attnameAttNum(record, ledger_columns[LEDGER_FATE].name, false) <= InvalidAttrNumber ?
		&history_kind : &ledger_kind;
}

/*
 * Returns whether every table of that kind has a column of that name, apart from the key.
 */
bool
is_record_column(const RecordKind *kind, const char *column)
{
	for (int i = 0; i < kind->ncolumns; i++)
	{
		if (strcmp(kind->columns[i].name, column) == 0)
			return true;
	}
	return false;
}

/*
 * Returns how a key column is called in a ledger, and in a history: by another name
 * if one of them has a column of that name itself.
 */
char *
record_key_name(const char *column)
{
	return is_record_column(&ledger_kind, column) || is_record_column(&history_kind, column) ?
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
