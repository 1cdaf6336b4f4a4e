/*-------------------------------------------------------------------------
 *
 * key.h
 *	  The key of a governed table: its columns, and all that depends on their
 *	  types.
 *
 * A value of a key is an array of Datums, one for each column, of the columns'
 * base types.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_KEY_H
#define PETITION_CAS_KEY_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* How many columns a key may have: as many as an index */
#define MAX_KEY_COLUMNS INDEX_MAX_KEYS

typedef struct KeyColumn
{
	char	   *name;
	AttrNumber	attno;
	Oid			type;			/* a domain's base type */
	bool		is_domain;
	Oid			collation;
	TypeCacheEntry *operations; /* of the type */
} KeyColumn;

typedef struct Key
{
	int			ncolumns;
	KeyColumn	columns[MAX_KEY_COLUMNS];
} Key;

extern Oid	key_base_type(Form_pg_attribute key, int32 *typmod);
extern bool read_key(Key *key, Relation relation, List *columns);
extern void key_of_row(const Key *key, Relation relation, TupleTableSlot *row, Datum *values);
extern void key_of_result(const Key *key, HeapTuple row, TupleDesc desc, int first, Datum *values);
extern void parse_key(const Key *key, const char *text, Datum *values);
extern void convert_key(const Key *key, Oid type, Datum value, Datum *values);
extern void key_argument(const Key *key, FunctionCallInfo fcinfo, int argument, Datum *values);
extern Jsonb *read_json(const char *text);
extern char *key_text(const Key *key, const Datum *values);
extern void copy_key(const Key *key, const Datum *from, Datum *to);
extern bool is_same_key(const Key *key, const Datum *a, const Datum *b);
extern int	compare_keys(const Key *key, const Datum *a, const Datum *b);
extern void key_arrays(const Key *key, const Datum *keys, int count, Datum *arrays);

extern void append_key(StringInfo query, const Key *key, const char *alias);
extern void append_key_names(StringInfo query, const Key *key, const char *alias);
extern void append_key_equality(StringInfo query, const Key *key, const char *alias,
								const Key *other_key, const char *other);
extern void append_key_in(StringInfo query, const Key *key, const char *alias);

#endif							/* PETITION_CAS_KEY_H */
