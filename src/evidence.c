/*-------------------------------------------------------------------------
 *
 * evidence.c
 *	  The columns that a decision rests on, and the hash of what is in them.
 *
 * The hash is lower-case hexadecimal SHA-256 over UTF-8 text, for each column in the
 * order that govern was given:
 *
 *	its name and a newline,
 *	the length in bytes of the text form of its value, or "-" for null, and a newline,
 *	the text form (nothing for null) and a newline.
 *
 * The length keeps one value from being read as another and the next column.  The
 * text form is that of the base type, under the settings that text_form.c fixes, so
 * that the hash depends on the value alone, and any language can compute it.
 *
 * In a statement the hash is asked for by a function of ours over ROW(...) of the
 * columns, not over the whole row: the caller need not be able to read the other
 * columns.  Its argument types are record and text[], just those, so that nobody's
 * overloaded function can be a better match.
 *
 * One swap hashes the same evidence three times: when the UPDATE looks for the row,
 * when the guard records the fate, and when what was stored is compared with what was
 * seen.  So the text that was hashed last is kept, with its hash; and what the
 * function prepares for a record is kept beyond the statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "parser/parse_relation.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "evidence.h"
#include "state.h"
#include "text_form.h"

/* Texts up to that length are kept */
#define KEPT_TEXT	2048

/* Records for which hash_evidence keeps what it has prepared */
#define KEPT_RECORDS	16

PG_FUNCTION_INFO_V1(hash_evidence);

/*
 * Prepares a column of that name and type, in a memory context.
 */
static void
prepare_column(EvidenceColumn *column, const char *name, Oid type, int32 typmod,
			   MemoryContext context)
{
	char	   *heading = psprintf("%s\n", name);
	Oid			output;
	bool		is_varlena;

	column->name = MemoryContextStrdup(context, name);
	column->heading = MemoryContextStrdup(context, pg_server_to_any(heading, strlen(heading), PG_UTF8));
	column->type = text_form_type(type, &typmod);
	getTypeOutputInfo(column->type, &output, &is_varlena);
	fmgr_info_cxt(output, &column->output, context);
	get_typlenbyval(column->type, &column->length, &column->by_value);
}

/*
 * Reads the evidence of a relation, which are the columns of those names, into the
 * current memory context.  Returns false if a column is gone, or is in no row that is
 * stored.
 */
bool
read_evidence(Evidence *evidence, Relation relation, const List *names)
{
	bool		readable = true;
	ListCell   *cell;

	evidence->ncolumns = 0;
	evidence->columns = palloc0(Max(1, list_length(names)) * sizeof(EvidenceColumn));
	foreach(cell, names)
	{
		EvidenceColumn *column = &evidence->columns[evidence->ncolumns++];
		Form_pg_attribute attribute;

		column->name = pstrdup(lfirst(cell));
		column->attno = attnameAttNum(relation, column->name, false);
		if (column->attno <= InvalidAttrNumber)
		{
			readable = false;
			continue;
		}
		attribute = TupleDescAttr(RelationGetDescr(relation), column->attno - 1);
		readable = readable && attribute->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL;
		prepare_column(column, column->name, attribute->atttypid, attribute->atttypmod,
					   CurrentMemoryContext);
	}
	return readable;
}

/* ----------------------------------------------------------------------
 * Hashing
 * ----------------------------------------------------------------------
 */

/* What is being hashed, which is kept as a text as long as that is short */
typedef struct Hashing
{
	pg_cryptohash_ctx *sha256;	/* once it is longer, else NULL */
	int			length;			/* of the text */
	char		bytes[KEPT_TEXT];
} Hashing;

/*
 * Raises an error if a step of SHA-256 did not go well.
 */
static void
check_hashing(const Hashing *hashing, int result)
{
	if (result < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hashing->sha256));
}

/*
 * Begins to compute the hash of what is being hashed, of which there is the text so far.
 */
static void
begin_sha256(Hashing *hashing)
{
	hashing->sha256 = pg_cryptohash_create(PG_SHA256);
	check_hashing(hashing, pg_cryptohash_init(hashing->sha256));
	check_hashing(hashing, pg_cryptohash_update(hashing->sha256, (const uint8 *) hashing->bytes,
												hashing->length));
}

/*
 * Adds a text to what is hashed.
 */
static void
hash_text(Hashing *hashing, const char *text, Size length)
{
	if (hashing->sha256 == NULL && length <= KEPT_TEXT - hashing->length)
	{
		memcpy(hashing->bytes + hashing->length, text, length);
		hashing->length += length;
		return;
	}
	if (hashing->sha256 == NULL)
		begin_sha256(hashing);
	check_hashing(hashing, pg_cryptohash_update(hashing->sha256, (const uint8 *) text, length));
}

/*
 * Returns the hash of what has been hashed, in the current memory context.  The last short
 * text is kept with its hash: a swap asks for that of one row several times.
 */
static char *
end_hashing(Hashing *hashing)
{
	static char kept[KEPT_TEXT];
	static char hash[EVIDENCE_HASH_LENGTH + 1];
	static int	kept_length = -1;
	bool		is_short = hashing->sha256 == NULL;
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	if (is_short && kept_length >= 0 && hashing->length == kept_length &&
		memcmp(hashing->bytes, kept, kept_length) == 0)
		return pstrdup(hash);
	if (is_short)
		begin_sha256(hashing);
	check_hashing(hashing, pg_cryptohash_final(hashing->sha256, digest, sizeof(digest)));
	pg_cryptohash_free(hashing->sha256);
	kept_length = -1;
	hex_encode((char *) digest, sizeof(digest), hash);
	if (is_short)
	{
		memcpy(kept, hashing->bytes, hashing->length);
		kept_length = hashing->length;
	}
	return pstrdup(hash);
}

/*
 * Returns the hash of values, one for each column, in the current memory context.  No
 * more than one of the text forms is held at a time.
 */
static char *
hash_of_values(const Evidence *evidence, const Datum *values, const bool *nulls)
{
	Hashing    *hashing = palloc(sizeof(Hashing));
	char	   *hash;
	int			level = 0;

	hashing->sha256 = NULL;
	hashing->length = 0;
	for (int i = 0; i < evidence->ncolumns; i++)
	{
		EvidenceColumn *column = &evidence->columns[i];

		hash_text(hashing, column->heading, strlen(column->heading));
		if (nulls[i])
			hash_text(hashing, "-\n\n", 3);
		else
		{
			char	   *form;
			char	   *utf8;
			Size		utf8_length;
			char		length[MAXINT8LEN + 1];

			/* one level of settings is enough for all columns */
			if (level == 0)
				level = text_form_begin(column->type);
			form = OutputFunctionCall(&column->output, values[i]);
			utf8 = pg_server_to_any(form, strlen(form), PG_UTF8);
			utf8_length = strlen(utf8);
			pg_lltoa(utf8_length, length);
			hash_text(hashing, length, strlen(length));
			hash_text(hashing, "\n", 1);
			hash_text(hashing, utf8, utf8_length);
			hash_text(hashing, "\n", 1);
			if (utf8 != form)
				pfree(utf8);
			pfree(form);
		}
	}
	text_form_end(level);
	hash = end_hashing(hashing);
	pfree(hashing);
	return hash;
}

/*
 * Returns the hash of a stored row, in the current memory context.
 */
char *
hash_of_slot(const Evidence *evidence, TupleTableSlot *row)
{
	Datum	   *values = palloc(evidence->ncolumns * sizeof(Datum));
	bool	   *nulls = palloc(evidence->ncolumns * sizeof(bool));

	for (int i = 0; i < evidence->ncolumns; i++)
		values[i] = slot_getattr(row, evidence->columns[i].attno, &nulls[i]);
	return hash_of_values(evidence, values, nulls);
}

/*
 * Returns the hash of a row that is a value of the relation's row type, in the current
 * memory context.
 */
char *
hash_of_row(const Evidence *evidence, HeapTupleHeader row)
{
	Datum	   *values = palloc(evidence->ncolumns * sizeof(Datum));
	bool	   *nulls = palloc(evidence->ncolumns * sizeof(bool));

	for (int i = 0; i < evidence->ncolumns; i++)
		values[i] = GetAttributeByNum(row, evidence->columns[i].attno, &nulls[i]);
	return hash_of_values(evidence, values, nulls);
}

/*
 * Returns the hash of a row of a statement's result, which has the columns that
 * append_evidence named from that one on, in the current memory context.
 */
char *
hash_of_result(const Evidence *evidence, HeapTuple row, TupleDesc desc, int first)
{
	Datum	   *values = palloc(evidence->ncolumns * sizeof(Datum));
	bool	   *nulls = palloc(evidence->ncolumns * sizeof(bool));

	for (int i = 0; i < evidence->ncolumns; i++)
		values[i] = heap_getattr(row, first + i, desc, &nulls[i]);
	return hash_of_values(evidence, values, nulls);
}

/*
 * Returns whether two versions of a row have the same evidence: values that are the
 * same bit by bit, or at least have the same text form.
 */
bool
is_same_evidence(const Evidence *evidence, TupleTableSlot *a, TupleTableSlot *b)
{
	for (int i = 0; i < evidence->ncolumns; i++)
	{
		const EvidenceColumn *column = &evidence->columns[i];
		bool		a_null;
		bool		b_null;
		Datum		a_value = slot_getattr(a, column->attno, &a_null);
		Datum		b_value = slot_getattr(b, column->attno, &b_null);

		if (a_null != b_null ||
			(!a_null && !datum_image_eq(a_value, b_value, column->by_value, column->length)))
			return strcmp(hash_of_slot(evidence, a), hash_of_slot(evidence, b)) == 0;
	}
	return true;
}

/*
 * Raises 22023 for a text that is no hash, whatever the row.
 */
void
check_seen_hash(const char *hash)
{
	if (!is_sha256(hash))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("seen_hash is no SHA-256 in lower-case hexadecimal"),
				 errhint("Give the hash as evidence_hash returned it for the row that was seen.")));
}

/* ----------------------------------------------------------------------
 * In statements
 * ----------------------------------------------------------------------
 */

/*
 * May the caller execute statements with what append_evidence_hash appends?  schema is
 * the one that our functions are in.
 */
bool
may_hash_evidence(const char *schema)
{
	static const Oid types[] = {RECORDOID, TEXTARRAYOID};
	Oid			namespace = get_namespace_oid(schema, true);
	Oid			function;

	if (!OidIsValid(namespace) ||
		object_aclcheck(NamespaceRelationId, namespace, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		return false;
	function = LookupFuncName(list_make2(makeString(pstrdup(schema)), makeString("hash_evidence")),
							  lengthof(types), types, true);
	return OidIsValid(function) &&
		object_aclcheck(ProcedureRelationId, function, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK;
}

/*
 * Appends the columns of the row of a relation that is known by alias, each behind a
 * comma if it is not the first.
 */
void
append_evidence(StringInfo query, const Evidence *evidence, const char *alias)
{
	for (int i = 0; i < evidence->ncolumns; i++)
		appendStringInfo(query, "%s%s.%s", i > 0 ? ", " : "", alias,
						 quote_identifier(evidence->columns[i].name));
}

/*
 * Appends the hash of the row of a relation that is known by alias; schema is the one
 * that our functions are in.
 */
void
append_evidence_hash(StringInfo query, const Evidence *evidence, const char *schema,
					 const char *alias)
{
	const char **names = palloc(evidence->ncolumns * sizeof(char *));
	Datum		array;

	appendStringInfo(query, "%s.hash_evidence(ROW(", quote_identifier(schema));
	append_evidence(query, evidence, alias);
	for (int i = 0; i < evidence->ncolumns; i++)
		names[i] = evidence->columns[i].name;
	array = name_array(names, evidence->ncolumns);
	appendStringInfo(query, "), %s::pg_catalog.text[])",
					 quote_literal_cstr(OidOutputFunctionCall(F_ARRAY_OUT, array)));
}

/*
 * Prepares the evidence of a record's columns, which are to have those names, in a
 * memory context.
 */
static Evidence *
evidence_of_record(TupleDesc desc, ArrayType *names, MemoryContext context)
{
	Evidence   *evidence = MemoryContextAllocZero(context, sizeof(Evidence));
	Datum	   *elements;
	int			count;

	if (array_contains_nulls(names))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"names\" must not contain nulls")));
	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("record is a row of a table that has lost a column"),
					 errhint("Give ROW(...) of the columns.")));
	}
	if (count != desc->natts)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("record has %d columns, and there are %d names", desc->natts, count)));
	evidence->ncolumns = count;
	evidence->columns = MemoryContextAllocZero(context, Max(1, count) * sizeof(EvidenceColumn));
	for (int i = 0; i < count; i++)
		prepare_column(&evidence->columns[i], TextDatumGetCString(elements[i]),
					   TupleDescAttr(desc, i)->atttypid, TupleDescAttr(desc, i)->atttypmod, context);
	return evidence;
}

/* What is prepared for records of one type, whose columns have certain names */
typedef struct KeptEvidence
{
	MemoryContext context;		/* of all of it, NULL if there is none */
	int32		typmod;			/* of the record */
	ArrayType  *names;
	Evidence   *evidence;
} KeptEvidence;

/*
 * Returns the evidence of a record whose columns have those names, valid until the next
 * call.  Types of records do not change while a session lasts, unless somebody alters a
 * named one: of these nothing is kept.
 */
static const Evidence *
prepared_evidence(TupleDesc desc, ArrayType *names)
{
	static KeptEvidence kept[KEPT_RECORDS];
	static int	next = 0;
	KeptEvidence *entry;
	MemoryContext context;
	Evidence   *evidence;

	if (desc->tdtypeid != RECORDOID)
		return evidence_of_record(desc, names, CurrentMemoryContext);
	for (int i = 0; i < KEPT_RECORDS && kept[i].context != NULL; i++)
	{
		if (kept[i].typmod == desc->tdtypmod && VARSIZE(kept[i].names) == VARSIZE(names) &&
			memcmp(kept[i].names, names, VARSIZE(names)) == 0)
			return kept[i].evidence;
	}
	context = AllocSetContextCreate(CurrentMemoryContext, "petition_cas evidence", ALLOCSET_SMALL_SIZES);
	evidence = evidence_of_record(desc, names, context);
	entry = &kept[next];
	next = (next + 1) % KEPT_RECORDS;
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	entry->typmod = desc->tdtypmod;
	entry->names = MemoryContextAlloc(context, VARSIZE(names));
	memcpy(entry->names, names, VARSIZE(names));
	entry->evidence = evidence;
	entry->context = context;
	MemoryContextSetParent(context, TopMemoryContext);
	return evidence;
}

/*
 * hash_evidence(columns, names) returns the hash of a record, whose columns have those
 * names.
 */
Datum
hash_evidence(PG_FUNCTION_ARGS)
{
	HeapTupleHeader record;
	TupleDesc	desc;
	const Evidence *evidence;
	HeapTupleData tuple = {0};
	Datum	   *values;
	bool	   *nulls;

	check_not_null(fcinfo, 0, "columns");
	check_not_null(fcinfo, 1, "names");
	record = PG_GETARG_HEAPTUPLEHEADER(0);
	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(record),
								  HeapTupleHeaderGetTypMod(record));
	evidence = prepared_evidence(desc, PG_GETARG_ARRAYTYPE_P(1));
	values = palloc(Max(1, desc->natts) * sizeof(Datum));
	nulls = palloc(Max(1, desc->natts) * sizeof(bool));
	tuple.t_len = HeapTupleHeaderGetDatumLength(record);
	tuple.t_data = record;
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);
	PG_RETURN_TEXT_P(cstring_to_text(hash_of_values(evidence, values, nulls)));
}
