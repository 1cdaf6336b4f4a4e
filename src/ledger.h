/*-------------------------------------------------------------------------
 *
 * ledger.h
 *	  The ledger of a governed table: its columns; create it, write it as its
 *	  owner, read it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_LEDGER_H
#define PETITION_CAS_LEDGER_H

#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"

#include "columns.h"
#include "errors.h"
#include "governed.h"

/*
 * Fates that rows have got, all from the same state; or, of a table with a history,
 * whatever state they were moved to
 */
typedef struct Fates
{
	const Datum *keys;			/* one behind the other */
	int			count;
	const char *from_state;		/* NULL: a row arrived in its state */
	const char *fate;
	const Datum *hashes;		/* texts, of the evidence of each; NULL if
								 * there is none */
} Fates;

/* The values of a row of the ledger or the history, the key's columns first */
typedef struct LedgerRow
{
	Datum		values[MAX_KEY_COLUMNS + LEDGER_COLUMNS];
	char		nulls[MAX_KEY_COLUMNS + LEDGER_COLUMNS + 1];
	Datum	   *columns;		/* those after the key */
	char	   *column_nulls;
} LedgerRow;

/* A fate that the ledger holds for the key of another one */
typedef struct LedgerConflict
{
	const Datum *key;			/* NULL if the server does not tell which */
	char	   *fate;			/* NULL if it cannot be read */
} LedgerConflict;

/*
 * Fates that the rows of one statement get, which are recorded together when it
 * is over: what the guard notes, while there is a batch, instead of recording it.
 */
typedef struct FateBatch
{
	Fates		fates;
	Oid			guard;			/* the trigger that notes them */
	SubTransactionId subtransaction;
	int			trigger_depth;	/* of the guards of the statement itself */
	int			capacity;
	Datum	   *keys;			/* of fates */
	Datum	   *hashes;
	struct FateBatch *outer;
} FateBatch;

extern void create_record(Relation relation, const GuardTrigger *guard, const RecordKind *kind);

extern bool is_recorded(const Governed *governed, bool is_fate);
extern int	trigger_depth(void);
extern void count_fates(const Governed *governed);
extern uint64 counted_fates(const Governed *governed);
extern void count_fate(const Governed *governed);
extern void fill_row(LedgerRow *row, int key_columns, const Fates *fates);
extern ErrorData *execute_recording(Governed *governed, const RecordKind *kind,
									const StatementForm *form, Oid record, LedgerRow *row,
									const Fates *fates, uint64 *inserted);
pg_noreturn extern void rethrow_for_caller(ErrorData *error, Oid record);
extern bool write_fates(Governed *governed, Relation relation, Oid ledger, const Fates *fates,
						LedgerConflict *conflict);
extern bool begin_batch(FateBatch *batch, Governed *governed, Relation relation,
						const Fates *fates, int capacity);
extern bool add_to_batch(const Governed *governed, const Fates *fate);
extern void end_batch(FateBatch *batch);
extern uint64 write_missing_fates(const Governed *governed);

extern const char *rows_sql(const Governed *governed);
extern bool has_ledger_rows(Governed *governed);
extern bool has_fate(Governed *governed, const Datum *key);
extern bool has_assignment(Governed *governed, const Datum *key, const char *from_state,
						   const char *fate, const char *request_id);
extern uint64 read_ledger_rows(Governed *governed, Datum *key_arrays);
extern bool is_assignment(HeapTuple row, const char *from_state, const char *fate,
						  const char *request_id);
extern void read_assignment(Governed *governed, const Datum *key, Refusal *refusal);

#endif							/* PETITION_CAS_LEDGER_H */
