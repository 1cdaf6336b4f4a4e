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

/*
 * Adds a text to what is hashed.
 */
static void
hash_text(pg_cryptohash_ctx *sha256, const char *text)
{
	if (pg_cryptohash_update(sha256, (const uint8 *) text, strlen(text)) < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(sha256));
}

/*
 * Returns the hash of values, one for each column, in the current memory context.  No
 * more than one of the text forms is held at a time.
 */
static char *
hash_of_values(const Evidence *evidence, const Datum *values, const bool *nulls)
{
	pg_cryptohash_ctx *sha256 = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc(EVIDENCE_HASH_LENGTH + 1);
	int			level = 0;

	if (pg_cryptohash_init(sha256) < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(sha256));
	for (int i = 0; i < evidence->ncolumns; i++)
	{
		EvidenceColumn *column = &evidence->columns[i];

		hash_text(sha256, column->heading);
		if (nulls[i])
			hash_text(sha256, "-\n\n");
		else
		{
			char		length[32];
			char	   *form;
			char	   *utf8;

			/* one level of settings is enough for all columns */
			if (level == 0)
				level = text_form_begin(column->type);
			form = OutputFunctionCall(&column->output, values[i]);
			utf8 = pg_server_to_any(form, strlen(form), PG_UTF8);
			snprintf(length, sizeof(length), "%zu\n", strlen(utf8));
			hash_text(sha256, length);
			hash_text(sha256, utf8);
			hash_text(sha256, "\n");
			if (utf8 != form)
				pfree(utf8);
			pfree(form);
		}
	}
	text_form_end(level);

	if (pg_cryptohash_final(sha256, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(sha256));
	pg_cryptohash_free(sha256);
	hex_encode((char *) digest, sizeof(digest), hex);
	hex[EVIDENCE_HASH_LENGTH] = '\0';
	return hex;
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
	if (strlen(hash) != EVIDENCE_HASH_LENGTH ||
		strspn(hash, "0123456789abcdef") != EVIDENCE_HASH_LENGTH)
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
	for (int i = 0; i < evidence->ncolumns; i++)
	{
		names[i] = evidence->columns[i].name;
		appendStringInfo(query, "%s%s.%s", i > 0 ? ", " : "", alias, quote_identifier(names[i]));
	}
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

/* What is prepared for the calls of one expression */
typedef struct KeptEvidence
{
	Oid			type;			/* of the record */
	int32		typmod;
	Evidence   *evidence;
} KeptEvidence;

/*
 * Returns the evidence of a record of that type.  It is prepared once for all calls of
 * an expression whose names are constant, if the record has always the same type; else
 * each time.
 */
static const Evidence *
prepared_evidence(FmgrInfo *function, TupleDesc desc, ArrayType *names)
{
	KeptEvidence *kept = function->fn_extra;

	if (kept != NULL && kept->type == desc->tdtypeid && kept->typmod == desc->tdtypmod)
		return kept->evidence;
	if (kept != NULL || !get_fn_expr_arg_stable(function, 1))
		return evidence_of_record(desc, names, CurrentMemoryContext);
	kept = MemoryContextAlloc(function->fn_mcxt, sizeof(KeptEvidence));
	kept->type = desc->tdtypeid;
	kept->typmod = desc->tdtypmod;
	kept->evidence = evidence_of_record(desc, names, function->fn_mcxt);
	function->fn_extra = kept;
	return kept->evidence;
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
	evidence = prepared_evidence(fcinfo->flinfo, desc, PG_GETARG_ARRAYTYPE_P(1));
	values = palloc(Max(1, desc->natts) * sizeof(Datum));
	nulls = palloc(Max(1, desc->natts) * sizeof(bool));
	tuple.t_len = HeapTupleHeaderGetDatumLength(record);
	tuple.t_data = record;
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);
	PG_RETURN_TEXT_P(cstring_to_text(hash_of_values(evidence, values, nulls)));
}
