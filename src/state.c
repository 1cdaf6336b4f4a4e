/*-------------------------------------------------------------------------
 *
 * state.c
 *	  The state column of a governed table, and all that depends on its type.
 *
 * A lifecycle names states by their text.  In a statement a state of text or
 * varchar is text under the C collation: under a nondeterministic one two
 * different states could be equal.  The labels of an enum are read from the
 * catalog each time, since they can be renamed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "parser/parse_relation.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "state.h"

/*
 * May a state column be of that type?
 */
bool
is_state_type(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || get_typtype(type) == TYPTYPE_ENUM;
}

/*
 * Does an enum have a value of that name?
 */
static bool
has_label(Oid type, const char *name)
{
	return SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type), CStringGetDatum(name));
}

/*
 * Can a column, of a type that a state column may have, hold any state?
 */
bool
holds_any_state(Form_pg_attribute column)
{
	return column->atttypmod < VARHDRSZ && get_typtype(column->atttypid) != TYPTYPE_ENUM;
}

/*
 * Returns why a column, of a type that a state column may have, cannot hold a
 * state, and what would help; NULL if it can.
 */
const char *
state_misfit(Form_pg_attribute column, const LifecycleState *state, const char **hint)
{
	if (get_typtype(column->atttypid) == TYPTYPE_ENUM)
	{
		if (has_label(column->atttypid, state->name))
			return NULL;
		*hint = "Add it with ALTER TYPE ... ADD VALUE first.";
		return psprintf("state \"%s\" of the lifecycle is no value of enum %s",
						state->name, format_type_be(column->atttypid));
	}
	if (column->atttypmod < VARHDRSZ ||
		pg_mbstrlen_with_len(state->name, state->length) <= column->atttypmod - VARHDRSZ)
		return NULL;
	*hint = "Make the column longer, or the names of the states shorter.";
	return psprintf("state \"%s\" of the lifecycle is too long for state column \"%s\"",
					state->name, NameStr(column->attname));
}

/*
 * Reads the state column of a relation, by its name, which is copied into the
 * current memory context.  Returns false if it is gone or of another type.
 */
bool
read_state_column(StateColumn *column, Relation relation, const char *name)
{
	column->name = pstrdup(name);
	column->attno = attnameAttNum(relation, name, false);
	if (column->attno <= InvalidAttrNumber)
		return false;
	column->type = TupleDescAttr(RelationGetDescr(relation), column->attno - 1)->atttypid;
	column->is_enum = get_typtype(column->type) == TYPTYPE_ENUM;
	return is_state_type(column->type);
}

/*
 * Returns the text of a state, in the current memory context.
 */
char *
state_text(const StateColumn *column, Datum state)
{
	HeapTuple	tuple;
	char	   *label;

	if (!column->is_enum)
		return TextDatumGetCString(state);
	tuple = SearchSysCache1(ENUMOID, state);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for enum label %u", DatumGetObjectId(state));
	label = pstrdup(NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel));
	ReleaseSysCache(tuple);
	return label;
}

/*
 * Returns a state, whose name the lifecycle knows, as a value of the type that
 * state_parameter tells; for an enum without such a label raises the type's own
 * error.
 */
Datum
state_datum(const StateColumn *column, const char *name)
{
	Oid			input;
	Oid			parameter;

	if (!column->is_enum)
		return CStringGetTextDatum(name);
	getTypeInputInfo(column->type, &input, &parameter);
	return OidInputFunctionCall(input, unconstify(char *, name), parameter, -1);
}

/*
 * Returns the number of a state, or NO_STATE for one that is not in the
 * lifecycle.
 */
int
find_state(const StateColumn *column, const Lifecycle *lifecycle, Datum state)
{
	struct varlena *name;

	if (column->is_enum)
		return lifecycle_find_name(lifecycle, state_text(column, state));
	name = PG_DETOAST_DATUM_PACKED(state);
	return lifecycle_find(lifecycle, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/*
 * Are two states the same?
 */
bool
is_same_state(const StateColumn *column, Datum a, Datum b)
{
	return datum_image_eq(a, b, column->is_enum, column->is_enum ? sizeof(Oid) : -1);
}

/*
 * Returns the type of a statement's parameter that is a state.
 */
Oid
state_parameter(const StateColumn *column)
{
	return column->is_enum ? column->type : TEXTOID;
}

/*
 * Returns the names of the lifecycle's fates, or of its other states; not those
 * that an enum has no label for (any more), in which no row can be.
 */
const char **
states_in_use(const StateColumn *column, const Lifecycle *lifecycle, bool fates, int *count)
{
	const char **names = palloc(lifecycle->nstates * sizeof(char *));

	*count = 0;
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		if (lifecycle_is_fate(lifecycle, i) == fates &&
			(!column->is_enum || has_label(column->type, lifecycle->states[i].name)))
			names[(*count)++] = lifecycle->states[i].name;
	}
	return names;
}

/*
 * Makes an array of states that a statement compares with; *type is its type.
 */
Datum
state_array(const StateColumn *column, const char **names, int count, Oid *type)
{
	Datum	   *values = palloc(Max(1, count) * sizeof(Datum));
	Oid			element = state_parameter(column);

	for (int i = 0; i < count; i++)
		values[i] = state_datum(column, names[i]);
	*type = get_array_type(element);
	return PointerGetDatum(construct_array(values, count, element,
										   column->is_enum ? sizeof(Oid) : -1, column->is_enum,
										   TYPALIGN_INT));
}

/*
 * Makes an array of state names, as texts.
 */
Datum
name_array(const char **names, int count)
{
	static const StateColumn text = {.type = TEXTOID};
	Oid			type;

	return state_array(&text, names, count, &type);
}

/*
 * Returns what stands behind a state in a comparison.
 */
static const char *
state_collation(const StateColumn *column)
{
	return column->is_enum ? "" : " COLLATE pg_catalog.\"C\"";
}

/*
 * Appends the state of a relation's row, which the statement knows by that alias, as
 * a value to compare with others.
 */
void
append_state(StringInfo query, const StateColumn *column, const char *alias)
{
	appendStringInfo(query, "%s.%s%s", alias, quote_identifier(column->name),
					 state_collation(column));
}

/*
 * Appends the condition that the state is the parameter of that number.
 */
void
append_state_equality(StringInfo query, const StateColumn *column, int parameter)
{
	appendStringInfo(query, "%s OPERATOR(pg_catalog.=) $%d%s", quote_identifier(column->name),
					 parameter, state_collation(column));
}
