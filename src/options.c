/*-------------------------------------------------------------------------
 *
 * options.c
 *	  What govern was told besides key, state column and lifecycle: the last
 *	  argument of a guard.
 *
 * It is a JSON object, of which what has its default value is left out:
 *
 *	{"initial_states": ["draft"], "keep_rows": false}
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "key.h"
#include "options.h"

/*
 * Returns the text of options, in the current memory context.
 */
char *
write_options(const Options *options)
{
	StringInfoData json;
	ListCell   *cell;

	initStringInfo(&json);
	if (!options->any_initial)
	{
		const char *separator = "";

		appendStringInfoString(&json, "\"initial_states\": [");
		foreach(cell, options->initial_states)
		{
			appendStringInfoString(&json, separator);
			escape_json(&json, lfirst(cell));
			separator = ", ";
		}
		appendStringInfoChar(&json, ']');
	}
	if (!options->keep_rows)
		appendStringInfo(&json, "%s\"keep_rows\": false", json.len > 0 ? ", " : "");
	return psprintf("{%s}", json.data);
}

/*
 * Reads an array of texts; returns false if it is none.
 */
static bool
read_texts(const JsonbValue *array, List **texts)
{
	if (array->type != jbvBinary || !JsonContainerIsArray(array->val.binary.data))
		return false;
	*texts = NIL;
	for (int i = 0; i < JsonContainerSize(array->val.binary.data); i++)
	{
		JsonbValue *text = getIthJsonbValueFromContainer(array->val.binary.data, i);

		if (text->type != jbvString)
			return false;
		*texts = lappend(*texts, pnstrdup(text->val.string.val, text->val.string.len));
	}
	return true;
}

/*
 * Reads options from their text, which must be JSON, into memory of the current
 * context; returns false for what write_options has not written.
 */
bool
read_options(const char *text, Options *options)
{
	Jsonb	   *json = read_json(text);
	JsonbIterator *iterator;
	JsonbValue	name;
	JsonbValue	value;

	*options = (Options)
	{
		true, NIL, true
	};
	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
		return false;
	iterator = JsonbIteratorInit(&json->root);
	(void) JsonbIteratorNext(&iterator, &name, false);
	while (JsonbIteratorNext(&iterator, &name, true) == WJB_KEY)
	{
		const char *option = pnstrdup(name.val.string.val, name.val.string.len);

		(void) JsonbIteratorNext(&iterator, &value, true);
		if (strcmp(option, "initial_states") == 0)
		{
			options->any_initial = false;
			if (!read_texts(&value, &options->initial_states))
				return false;
		}
		else if (strcmp(option, "keep_rows") == 0 && value.type == jbvBool)
			options->keep_rows = value.val.boolean;
		else
			return false;
	}
	return true;
}
