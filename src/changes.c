/*-------------------------------------------------------------------------
 *
 * changes.c
 *	  The other columns that a swap sets.
 *
 * They are given as a JSON object, and set in the very UPDATE that sets the state, so
 * that a CHECK which couples the two holds.  Each value is read as jsonb_to_record reads
 * it, with the rights of the caller, as any UPDATE of his would be.  A record of these
 * columns alone: one of the whole row would read NULL into the others, which a domain of
 * theirs may refuse.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "parser/parse_relation.h"
#include "utils/builtins.h"

#include "changes.h"
#include "errors.h"

/*
 * Raises 42703 for a column that the relation does not have, and 22023 for one of the
 * key, or a state column.
 */
static void
check_changed_column(const Governed *governed, Relation relation, List *guards, const char *name)
{
	bool		governs = false;
	ListCell   *cell;

	if (attnameAttNum(relation, name, false) <= InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, RelationGetRelationName(relation)),
				 errhint("The argument \"changes\" is an object with names of columns and their new values."),
				 errtable(relation)));
	for (int i = 0; i < governed->key.ncolumns; i++)
		governs = governs || strcmp(governed->key.columns[i].name, name) == 0;
	foreach(cell, guards)
		governs = governs || strcmp(((GuardTrigger *) lfirst(cell))->state_column, name) == 0;
	if (governs)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"changes\" must not set column \"%s\" of relation \"%s\"",
						name, RelationGetRelationName(relation)),
				 errhint("It is for columns that are neither of the key nor a state column."),
				 errtable(relation)));
}

/*
 * Returns what an UPDATE with these changes, its parameter after the key and the states,
 * sets besides the state, in the current memory context; "" if that is nothing.  Raises
 * 22023 for JSON that is no object.
 */
char *
changes_sql(const Governed *governed, Relation relation, Jsonb *changes)
{
	List	   *guards = read_guards(relation);
	StringInfoData columns;
	StringInfoData values;
	StringInfoData types;
	JsonbIterator *iterator;
	JsonbValue	name;

	if (!JB_ROOT_IS_OBJECT(changes))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"changes\" is no JSON object"),
				 errhint("Give the columns with their new values, such as {\"shipped_at\": \"now\"}.")));
	if (JB_ROOT_COUNT(changes) == 0)
		return pstrdup("");

	initStringInfo(&columns);
	initStringInfo(&values);
	initStringInfo(&types);
	iterator = JsonbIteratorInit(&changes->root);
	(void) JsonbIteratorNext(&iterator, &name, false);
	while (JsonbIteratorNext(&iterator, &name, true) == WJB_KEY)
	{
		char	   *column = pnstrdup(name.val.string.val, name.val.string.len);
		const char *separator = columns.len > 0 ? ", " : "";
		Form_pg_attribute attribute;
		JsonbValue	value;

		check_changed_column(governed, relation, guards, column);
		attribute = TupleDescAttr(RelationGetDescr(relation), attnameAttNum(relation, column, false) - 1);
		appendStringInfo(&columns, "%s%s", separator, quote_identifier(column));
		appendStringInfo(&values, "%schanges.%s", separator, quote_identifier(column));
		appendStringInfo(&types, "%s%s %s", separator, quote_identifier(column),
						 format_type_extended(attribute->atttypid, attribute->atttypmod,
											  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
		(void) JsonbIteratorNext(&iterator, &value, true);
	}
	return psprintf(", (%s) = (SELECT %s FROM pg_catalog.jsonb_to_record($%d) AS changes(%s))",
					columns.data, values.data, governed->key.ncolumns + 3, types.data);
}
