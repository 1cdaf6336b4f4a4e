/*-------------------------------------------------------------------------
 *
 * options.c
 *	  What govern was told besides key, state column and lifecycle: the last
 *	  argument of a guard.
 *
 * It is a JSON object, of which what has its default value is left out:
 *
 *	{"initial_states": ["draft"], "evidence": ["amount"], "keep_rows": false,
 *	 "history": "orders_history"}
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
 * Appends a member to an object, of which its braces are still to come; value is JSON.
 */
static void
append_option(StringInfo json, const char *name, const char *value)
{
	appendStringInfo(json, "%s\"%s\": %s", json->len > 0 ? ", " : "", name, value);
}

/*
 * Returns a text, as JSON.
 */
static char *
text_as_json(const char *text)
{
	StringInfoData json;

	initStringInfo(&json);
	escape_json(&json, text);
	return json.data;
}

/*
 * Returns an array of texts, as JSON.
 */
static char *
texts_as_json(const List *texts)
{
	StringInfoData json;
	ListCell   *cell;

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	foreach(cell, texts)
	{
		if (json.len > 1)
			appendStringInfoString(&json, ", ");
		escape_json(&json, lfirst(cell));
	}
	appendStringInfoChar(&json, ']');
	return json.data;
}

/*
 * Returns the text of options, in the current memory context.
 */
char *
write_options(const Options *options)
{
	StringInfoData json;

	initStringInfo(&json);
	if (!options->any_initial)
		append_option(&json, "initial_states", texts_as_json(options->initial_states));
	if (options->evidence != NIL)
		append_option(&json, "evidence", texts_as_json(options->evidence));
	if (!options->keep_rows)
		append_option(&json, "keep_rows", "false");
	if (options->history != NULL)
		append_option(&json, "history", text_as_json(options->history));
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
		true, NIL, NIL, true, NULL
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
		else if (strcmp(option, "evidence") == 0)
		{
			if (!read_texts(&value, &options->evidence))
				return false;
		}
		else if (strcmp(option, "keep_rows") == 0 && value.type == jbvBool)
			options->keep_rows = value.val.boolean;
		else if (strcmp(option, "history") == 0 && value.type == jbvString)
			options->history = pnstrdup(value.val.string.val, value.val.string.len);
		else
			return false;
	}
	return true;
}

/*
 * Returns the names of the evidence columns in the text of options; NIL for a text that
 * write_options has not written, or NULL.
 */
List *
evidence_columns(const char *json)
{
	Options		options;

	return json != NULL && read_options(json, &options) ? options.evidence : NIL;
}

/*
 * Returns the name of the history, in the current memory context, that options say, as
 * text; NULL if they say none, or are not options.
 */
char *
history_option(const char *json)
{
	Options		options;

	return json != NULL && strcmp(json, "{}") != 0 && read_options(json, &options) ?
		options.history : NULL;
}
