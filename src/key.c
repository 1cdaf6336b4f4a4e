/*-------------------------------------------------------------------------
 *
 * key.c
 *	  The key of a governed table: its columns, and all that depends on their
 *	  types.
 *
 * In a statement each column stands as a value of its base type.  A domain is
 * cast to that: anybody may create operators for a domain, and the parser would
 * prefer those to the ones of the base type.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "parser/parse_relation.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "compat.h"
#include "key.h"
#include "statement.h"
#include "text_form.h"

/*
 * Returns the type, a domain's base type, by whose values a key is known, and
 * its type modifier.
 */
Oid
key_base_type(Form_pg_attribute key, int32 *typmod)
{
	*typmod = key->atttypmod;
	return getBaseTypeAndTypmod(key->atttypid, typmod);
}

/*
 * Reads the key of a relation, which are the columns of those names; they are copied
 * into the current memory context.  Returns false if a column is gone, or of a type
 * without equality.
 */
bool
read_key(Key *key, Relation relation, List *columns)
{
	bool		readable = true;
	ListCell   *cell;

	key->ncolumns = 0;
	foreach(cell, columns)
	{
		KeyColumn  *column = &key->columns[key->ncolumns++];
		Form_pg_attribute attribute;

		column->name = pstrdup(lfirst(cell));
		column->attno = attnameAttNum(relation, column->name, false);
		column->type = InvalidOid;
		if (column->attno <= InvalidAttrNumber)
		{
			readable = false;
			continue;
		}
		attribute = TupleDescAttr(RelationGetDescr(relation), column->attno - 1);
		column->type = getBaseType(attribute->atttypid);
		column->is_domain = column->type != attribute->atttypid;
		column->collation = attribute->attcollation;
		column->operations = lookup_type_cache(column->type,
											   TYPECACHE_EQ_OPR | TYPECACHE_CMP_PROC_FINFO);
		readable = readable && OidIsValid(column->operations->eq_opr);
	}
	return readable;
}

/*
 * Reads the key of a stored row; raises 23502 if it is null.
 */
void
key_of_row(const Key *key, Relation relation, TupleTableSlot *row, Datum *values)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		bool		isnull;

		values[i] = slot_getattr(row, key->columns[i].attno, &isnull);
		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("null value in key column \"%s\" of governed relation \"%s\"",
							key->columns[i].name, RelationGetRelationName(relation))));
	}
}

/*
 * Reads the key that a statement returned, from the column of that number on.
 */
void
key_of_result(const Key *key, HeapTuple row, TupleDesc desc, int first, Datum *values)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		bool		isnull;

		values[i] = SPI_getbinval(row, desc, first + i, &isnull);
		if (isnull)
			elog(ERROR, "statement returned a row without a key");
	}
}

/*
 * Reads the value of a column from its text form, by its base type.  Raises 0A000
 * for a type within which a domain would check it by anybody's code.
 */
static Datum
parse_column(const KeyColumn *column, const char *text)
{
	Oid			input;
	Oid			parameter;
	int			level;
	Datum		value;

	check_nested_domains(column->type,
						 "Move the row by an UPDATE of its own, or govern by a key of another type.");
	getTypeInputInfo(column->type, &input, &parameter);
	level = text_form_begin(column->type);
	value = OidInputFunctionCall(input, unconstify(char *, text), parameter, -1);
	text_form_end(level);
	return value;
}

/*
 * Returns the text form of the value of a column, in the current memory context.
 */
static char *
column_text(const KeyColumn *column, Datum value)
{
	Oid			output;
	bool		is_varlena;
	int			level = text_form_begin(column->type);
	char	   *text;

	getTypeOutputInfo(column->type, &output, &is_varlena);
	text = OidOutputFunctionCall(output, value);

	text_form_end(level);
	return text;
}

/*
 * Raises 22023 for a text that is no key of several columns.
 */
pg_noreturn static void
refuse_key(const Key *key, const char *text)
{
	StringInfoData names;

	initStringInfo(&names);
	append_key_names(&names, key, NULL);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid key: \"%s\"", text),
			 errhint("The key has the columns %s: give a JSON array of their values in this order, or an object with their names.",
					 names.data)));
}

/*
 * Returns the text of a JSON value that stands for a column's, or NULL.
 */
static char *
json_text(const JsonbValue *value)
{
	if (value->type == jbvString)
		return pnstrdup(value->val.string.val, value->val.string.len);
	if (value->type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value->val.numeric)));
	return NULL;
}

/*
 * Reads JSON; returns NULL for a text that is none, or too deep.  What is caught is an
 * error of parsing, which leaves nothing to clean up.
 */
Jsonb *
read_json(const char *text)
{
	MemoryContext caller = CurrentMemoryContext;
	Jsonb	   *volatile json = NULL;

	PG_TRY();
	{
		json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION &&
			geterrcode() != ERRCODE_STATEMENT_TOO_COMPLEX)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();
	return json;
}

/*
 * Reads a key from its text: the text form of the one column; of several, a JSON array
 * of theirs in the key's order, or an object.  Raises 22023 for anything else.
 */
void
parse_key(const Key *key, const char *text, Datum *values)
{
	Jsonb	   *json;
	bool		is_array;

	if (key->ncolumns == 1)
	{
		values[0] = parse_column(&key->columns[0], text);
		return;
	}
	json = read_json(text);
	if (json == NULL || JB_ROOT_IS_SCALAR(json) || JB_ROOT_COUNT(json) != key->ncolumns)
		refuse_key(key, text);
	is_array = JB_ROOT_IS_ARRAY(json);
	for (int i = 0; i < key->ncolumns; i++)
	{
		const KeyColumn *column = &key->columns[i];
		JsonbValue	name = {.type = jbvString};
		JsonbValue *value;
		char	   *column_value;

		name.val.string.val = column->name;
		name.val.string.len = strlen(column->name);
		value = is_array ? getIthJsonbValueFromContainer(&json->root, i) :
			findJsonbValueFromContainer(&json->root, JB_FOBJECT, &name);
		column_value = value == NULL ? NULL : json_text(value);
		if (column_value == NULL)
			refuse_key(key, text);
		values[i] = parse_column(column, column_value);
	}
}

/*
 * Makes a key of a value of any type: one of the key's own type is it, another is read
 * by the text form that it has.
 */
void
convert_key(const Key *key, Oid type, Datum value, Datum *values)
{
	KeyColumn	given = {.type = getBaseType(type)};

	if (given.type == TEXTOID)
		parse_key(key, TextDatumGetCString(value), values);
	else if (key->ncolumns == 1 && given.type == key->columns[0].type)
		values[0] = value;
	else
		parse_key(key, column_text(&given, value), values);
}

/*
 * Reads a key that the caller gave as an argument of any type.
 */
void
key_argument(const Key *key, FunctionCallInfo fcinfo, int argument, Datum *values)
{
	convert_key(key, get_fn_expr_argtype(fcinfo->flinfo, argument), PG_GETARG_DATUM(argument),
				values);
}

/*
 * Returns the text of a key, in the current memory context; see parse_key.
 */
char *
key_text(const Key *key, const Datum *values)
{
	StringInfoData text;

	if (key->ncolumns == 1)
		return column_text(&key->columns[0], values[0]);
	initStringInfo(&text);
	for (int i = 0; i < key->ncolumns; i++)
	{
		appendStringInfoString(&text, i == 0 ? "[" : ", ");
		escape_json(&text, column_text(&key->columns[i], values[i]));
	}
	appendStringInfoChar(&text, ']');
	return text.data;
}

/*
 * Copies a key into the current memory context.
 */
void
copy_key(const Key *key, const Datum *from, Datum *to)
{
	for (int i = 0; i < key->ncolumns; i++)
		to[i] = datumCopy(from[i], key->columns[i].operations->typbyval,
						  key->columns[i].operations->typlen);
}

/*
 * Are two keys the same, bit by bit?
 */
bool
is_same_key(const Key *key, const Datum *a, const Datum *b)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		if (!datum_image_eq(a[i], b[i], key->columns[i].operations->typbyval,
							key->columns[i].operations->typlen))
			return false;
	}
	return true;
}

/*
 * Compares two keys by the order of their types, as ORDER BY does.
 */
int
compare_keys(const Key *key, const Datum *a, const Datum *b)
{
	int			order = 0;

	for (int i = 0; i < key->ncolumns && order == 0; i++)
		order = DatumGetInt32(FunctionCall2Coll(&key->columns[i].operations->cmp_proc_finfo,
												key->columns[i].collation, a[i], b[i]));
	return order;
}

/*
 * Makes an array for each column from that many keys, one behind the other.
 */
void
key_arrays(const Key *key, const Datum *keys, int count, Datum *arrays)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		const TypeCacheEntry *type = key->columns[i].operations;
		Datum	   *elements = unconstify(Datum *, keys);

		if (key->ncolumns > 1)
		{
			elements = palloc_extended(count * sizeof(Datum), MCXT_ALLOC_HUGE);
			for (int number = 0; number < count; number++)
				elements[number] = keys[number * key->ncolumns + i];
		}
		arrays[i] = PointerGetDatum(construct_array(elements, count, type->type_id, type->typlen,
													type->typbyval, type->typalign));
	}
}

/*
 * Appends a column of a key, as a value; alias is how the statement knows the
 * relation, or NULL.
 */
static void
append_key_column(StringInfo query, const KeyColumn *column, const char *alias)
{
	appendStringInfo(query, "%s%s%s", alias != NULL ? alias : "", alias != NULL ? "." : "",
					 quote_identifier(column->name));
	if (column->is_domain)
		appendStringInfo(query, "::%s", format_type_be_qualified(column->type));
}

/*
 * Appends the columns of a relation's key, as values; alias as above.
 */
void
append_key(StringInfo query, const Key *key, const char *alias)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoString(query, ", ");
		append_key_column(query, &key->columns[i], alias);
	}
}

/*
 * Appends the names of the key's columns; alias as for append_key.
 */
void
append_key_names(StringInfo query, const Key *key, const char *alias)
{
	for (int i = 0; i < key->ncolumns; i++)
		appendStringInfo(query, "%s%s%s%s", i > 0 ? ", " : "", alias != NULL ? alias : "",
						 alias != NULL ? "." : "", quote_identifier(key->columns[i].name));
}

/*
 * Appends the condition that the key of one relation, known by alias, is another key,
 * known by other; or, where that is NULL, that it is the statement's first
 * parameters.
 */
void
append_key_equality(StringInfo query, const Key *key, const char *alias, const Key *other_key,
					const char *other)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoString(query, " AND ");
		append_key_column(query, &key->columns[i], alias);
		append_operator(query, key->columns[i].operations->eq_opr);
		if (other_key == NULL)
			appendStringInfo(query, "$%d", i + 1);
		else
			append_key_column(query, &other_key->columns[i], other);
	}
}

/*
 * Appends the condition that the key of the relation that is known by alias is one of
 * those in the statement's first parameters, which are arrays.
 */
void
append_key_in(StringInfo query, const Key *key, const char *alias)
{
	if (key->ncolumns == 1)
	{
		append_key(query, key, alias);
		append_operator(query, key->columns[0].operations->eq_opr);
		appendStringInfoString(query, "ANY ($1)");
		return;
	}
	appendStringInfoString(query, "EXISTS (SELECT FROM ROWS FROM (");
	for (int i = 0; i < key->ncolumns; i++)
		appendStringInfo(query, "%spg_catalog.unnest($%d)", i > 0 ? ", " : "", i + 1);
	appendStringInfoString(query, ") AS wanted_keys (");
	for (int i = 0; i < key->ncolumns; i++)
		appendStringInfo(query, "%swanted_%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoString(query, ") WHERE ");
	for (int i = 0; i < key->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoString(query, " AND ");
		append_key_column(query, &key->columns[i], alias);
		append_operator(query, key->columns[i].operations->eq_opr);
		appendStringInfo(query, "wanted_keys.wanted_%d", i + 1);
	}
	appendStringInfoChar(query, ')');
}
