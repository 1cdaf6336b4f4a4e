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
#include "utils/lsyscache.h"

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
 * Reads the key of a relation, which is the column of that name; the name is
 * copied into the current memory context.  Returns false if the column is gone,
 * or of a type without equality.
 */
bool
read_key(Key *key, Relation relation, const char *column)
{
	KeyColumn  *part = &key->columns[0];
	Form_pg_attribute attribute;

	key->ncolumns = 1;
	part->name = pstrdup(column);
	part->attno = attnameAttNum(relation, column, false);
	if (part->attno <= InvalidAttrNumber)
		return false;
	attribute = TupleDescAttr(RelationGetDescr(relation), part->attno - 1);
	part->type = getBaseType(attribute->atttypid);
	part->is_domain = part->type != attribute->atttypid;
	part->collation = attribute->attcollation;
	part->operations = lookup_type_cache(part->type, TYPECACHE_EQ_OPR | TYPECACHE_CMP_PROC_FINFO);
	return OidIsValid(part->operations->eq_opr);
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
 * Reads a key that the caller gave as text, by its base type.  Raises 0A000 for
 * a key of a type within which a domain would check it by anybody's code.
 */
void
parse_key(const Key *key, const char *text, Datum *values)
{
	Oid			type = key->columns[0].type;
	Oid			input;
	Oid			parameter;

	check_nested_domains(type,
						 "Move the row by an UPDATE of its own, or govern by a key of another type.");
	getTypeInputInfo(type, &input, &parameter);
	values[0] = OidInputFunctionCall(input, unconstify(char *, text), parameter, -1);
}

/*
 * Returns the text of a key by its type's output function, in the current
 * memory context.
 */
char *
key_text(const Key *key, const Datum *values)
{
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(key->columns[0].type, &output, &is_varlena);
	return OidOutputFunctionCall(output, values[0]);
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
 * Appends the columns of a relation's key, as values; alias is how the statement
 * knows the relation, or NULL.
 */
void
append_key(StringInfo query, const Key *key, const char *alias)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		const KeyColumn *column = &key->columns[i];

		appendStringInfo(query, "%s%s%s%s", i > 0 ? ", " : "", alias != NULL ? alias : "",
						 alias != NULL ? "." : "", quote_identifier(column->name));
		if (column->is_domain)
			appendStringInfo(query, "::%s", format_type_be_qualified(column->type));
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
 * Appends the condition that the key of one relation, known by alias, is that of
 * another one; or, where other is NULL, that it is the statement's first
 * parameters.
 */
void
append_key_equality(StringInfo query, const Key *key, const char *alias, const char *other)
{
	for (int i = 0; i < key->ncolumns; i++)
	{
		Key			part = {1, {key->columns[i]}};

		if (i > 0)
			appendStringInfoString(query, " AND ");
		append_key(query, &part, alias);
		append_operator(query, part.columns[0].operations->eq_opr);
		if (other != NULL)
			append_key(query, &part, other);
		else
			appendStringInfo(query, "$%d", i + 1);
	}
}
