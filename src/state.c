/*-------------------------------------------------------------------------
 *
 * state.c
 *	  The state column of a governed table, and all that depends on its type.
 *
 * A lifecycle names states by their text form: that of the base type's output
 * function, but true and false for boolean, and for char(n) without its padding.
 *
 * In a statement a state is a value of the base type, for the reason that key.c
 * gives, with that type's own equality.  States of the string types are text under
 * the C collation instead: under a nondeterministic one two different states could
 * be equal.  The labels of an enum are read from the catalog each time, since they
 * can be renamed.
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
#include "utils/uuid.h"

#include "compat.h"
#include "state.h"

/*
 * Returns whether states of a base type are compared as text.
 */
static bool
is_string(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

/*
 * Returns whether a state column may be of a type, which may be a domain.
 */
bool
is_state_type(Oid type)
{
	Oid			base = getBaseType(type);

	return is_string(base) || base == INT2OID || base == INT4OID || base == INT8OID ||
		base == BOOLOID || base == UUIDOID || get_typtype(base) == TYPTYPE_ENUM;
}

/*
 * Returns the length that a state may have in a string column, in characters, or
 * -1: any.
 */
static int
state_length(Form_pg_attribute column)
{
	int32		typmod = column->atttypmod;
	Oid			base = getBaseTypeAndTypmod(column->atttypid, &typmod);

	return is_string(base) && typmod >= VARHDRSZ ? typmod - VARHDRSZ : -1;
}

/*
 * Returns whether a column, of a type that a state column may have, can hold any
 * state.
 */
bool
holds_any_state(Form_pg_attribute column)
{
	Oid			base = getBaseType(column->atttypid);

	return base != BPCHAROID && is_string(base) && state_length(column) < 0;
}

/*
 * Returns whether a name is the text form of a state of an integer type, boolean or
 * uuid.
 */
static bool
is_text_form(Oid type, const LifecycleState *state)
{
	char	   *end;
	int64		number;
	pg_uuid_t	uuid;

	if (type == BOOLOID)
		return strcmp(state->name, "true") == 0 || strcmp(state->name, "false") == 0;
	if (type == UUIDOID)
	{
		static const char form[] = "00000000-0000-0000-0000-000000000000";

		if (state->length != sizeof(form) - 1)
			return false;
		for (int i = 0; i < sizeof(uuid) * 2 + 4; i++)
		{
			if (form[i] == '-' ? state->name[i] != '-' :
				strchr("0123456789abcdef", state->name[i]) == NULL)
				return false;
		}
		return true;
	}
	errno = 0;
	number = strtoll(state->name, &end, 10);
	return errno == 0 && *end == '\0' && strcmp(psprintf(INT64_FORMAT, number), state->name) == 0 &&
		(type == INT8OID ||
		 (type == INT4OID && number >= PG_INT32_MIN && number <= PG_INT32_MAX) ||
		 (type == INT2OID && number >= PG_INT16_MIN && number <= PG_INT16_MAX));
}

/*
 * Returns whether an enum has a value of that name.
 */
static bool
has_label(Oid type, const char *name)
{
	return SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type), CStringGetDatum(name));
}

/*
 * Returns why a column, of a type that a state column may have, cannot hold a
 * state, and what would help; NULL if it can.
 */
const char *
state_misfit(Form_pg_attribute column, const LifecycleState *state, const char **hint)
{
	Oid			base = getBaseType(column->atttypid);
	int			length = state_length(column);

	if (get_typtype(base) == TYPTYPE_ENUM)
	{
		if (has_label(base, state->name))
			return NULL;
		*hint = "Add it with ALTER TYPE ... ADD VALUE first.";
		return psprintf("state \"%s\" of the lifecycle is no value of enum %s",
						state->name, format_type_be(base));
	}
	if (!is_string(base))
	{
		if (is_text_form(base, state))
			return NULL;
		*hint = base == BOOLOID ? "The states of a boolean column are true and false." :
			"A lifecycle names states by their text form, as the type prints them.";
		return psprintf("state \"%s\" of the lifecycle is not the text form of a value of type %s",
						state->name, format_type_be(base));
	}
	if (base == BPCHAROID && state->name[state->length - 1] == ' ')
	{
		*hint = "A lifecycle names the states of a char(n) column without their padding.";
		return psprintf("state \"%s\" of the lifecycle ends with a space, which state column \"%s\" does not tell from padding",
						state->name, NameStr(column->attname));
	}
	if (length < 0 || pg_mbstrlen_with_len(state->name, state->length) <= length)
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
	Form_pg_attribute attribute;

	column->name = pstrdup(name);
	column->attno = attnameAttNum(relation, name, false);
	if (column->attno <= InvalidAttrNumber)
		return false;
	attribute = TupleDescAttr(RelationGetDescr(relation), column->attno - 1);
	column->type = getBaseType(attribute->atttypid);
	column->is_domain = column->type != attribute->atttypid;
	column->is_enum = get_typtype(column->type) == TYPTYPE_ENUM;
	column->is_generated = attribute->attgenerated != '\0';
	get_typlenbyval(column->type, &column->length, &column->by_value);
	return is_state_type(column->type);
}

/*
 * Returns the length of a state of a string type without padding.
 */
static int
unpadded_length(const StateColumn *column, const struct varlena *state)
{
	int			length = VARSIZE_ANY_EXHDR(state);

	while (column->type == BPCHAROID && length > 0 && VARDATA_ANY(state)[length - 1] == ' ')
		length--;
	return length;
}

/*
 * Returns the text form of a state, in the current memory context.
 */
char *
state_text(const StateColumn *column, Datum state)
{
	struct varlena *string;
	HeapTuple	tuple;
	char	   *label;
	Oid			output;
	bool		is_varlena;

	if (is_string(column->type))
	{
		string = PG_DETOAST_DATUM_PACKED(state);
		return pnstrdup(VARDATA_ANY(string), unpadded_length(column, string));
	}
	if (column->type == BOOLOID)
		return pstrdup(DatumGetBool(state) ? "true" : "false");
	if (!column->is_enum)
	{
		getTypeOutputInfo(column->type, &output, &is_varlena);
		return OidOutputFunctionCall(output, state);
	}
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

	LifecycleState state = {unconstify(char *, name), strlen(name)};

	if (is_string(column->type))
		return CStringGetTextDatum(name);
	if (!column->is_enum && !is_text_form(column->type, &state))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("state \"%s\" of the lifecycle is not the text form of a value of type %s",
						name, format_type_be(column->type)),
				 errhint("The state column \"%s\" has got another type since it was governed. Undo that.",
						 column->name)));
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

	if (!is_string(column->type))
		return lifecycle_find_name(lifecycle, state_text(column, state));
	name = PG_DETOAST_DATUM_PACKED(state);
	return lifecycle_find(lifecycle, VARDATA_ANY(name), unpadded_length(column, name));
}

/*
 * Returns whether two states are the same.
 */
bool
is_same_state(const StateColumn *column, Datum a, Datum b)
{
	return datum_image_eq(a, b, column->by_value, column->length);
}

/*
 * Returns the type of a statement's parameter that is a state.
 */
Oid
state_parameter(const StateColumn *column)
{
	return is_string(column->type) ? TEXTOID : column->type;
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
	int16		length;
	bool		by_value;
	char		align;

	for (int i = 0; i < count; i++)
		values[i] = state_datum(column, names[i]);
	get_typlenbyvalalign(element, &length, &by_value, &align);
	*type = get_array_type(element);
	return PointerGetDatum(construct_array(values, count, element, length, by_value, align));
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
 * Appends the state of a relation's row as a value to compare; alias is how the
 * statement knows the relation, or NULL.
 */
static void
append_value(StringInfo query, const StateColumn *column, const char *alias)
{
	appendStringInfo(query, "%s%s%s", alias != NULL ? alias : "", alias != NULL ? "." : "",
					 quote_identifier(column->name));
	if (column->type == BPCHAROID || (column->is_domain && is_string(column->type)))
		appendStringInfoString(query, "::pg_catalog.text");
	else if (column->is_domain)
		appendStringInfo(query, "::%s", format_type_be_qualified(column->type));
}

/*
 * Returns what stands behind a state in a comparison.
 */
static const char *
state_collation(const StateColumn *column)
{
	return is_string(column->type) ? " COLLATE pg_catalog.\"C\"" : "";
}

/*
 * Appends the state of a relation's row, which the statement knows by that alias, as
 * a value to compare with others.
 */
void
append_state(StringInfo query, const StateColumn *column, const char *alias)
{
	append_value(query, column, alias);
	appendStringInfoString(query, state_collation(column));
}

/*
 * Appends the condition that the state is the parameter of that number.
 */
void
append_state_equality(StringInfo query, const StateColumn *column, int parameter)
{
	append_value(query, column, NULL);
	appendStringInfo(query, " OPERATOR(pg_catalog.=) $%d%s", parameter, state_collation(column));
}
