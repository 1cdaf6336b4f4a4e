/*-------------------------------------------------------------------------
 *
 * errors.c
 *	  The JSON objects that petition_cas gives as the DETAIL of its errors.
 *
 * The members are written as text, not through jsonb, because jsonb sorts
 * them and these are also read by people: the row first, then what was asked,
 * then what is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"

#include "errors.h"

/*
 * Starts the name of a member: a comma unless it is the first, the quoted
 * name and a colon.
 */
static void
detail_name(StringInfo detail, const char *name)
{
	if (detail->data[detail->len - 1] != '{')
		appendStringInfoString(detail, ", ");
	escape_json(detail, name);
	appendStringInfoString(detail, ": ");
}

/*
 * Starts a JSON object in a new StringInfo, allocated in the current memory
 * context.
 */
void
detail_begin(StringInfo detail)
{
	initStringInfo(detail);
	appendStringInfoChar(detail, '{');
}

/*
 * Adds a member with a string, or with null where value is NULL.
 */
void
detail_text(StringInfo detail, const char *name, const char *value)
{
	detail_name(detail, name);
	if (value == NULL)
		appendStringInfoString(detail, "null");
	else
		escape_json(detail, value);
}

/*
 * Adds a member with an array of count strings.
 */
void
detail_texts(StringInfo detail, const char *name, const char *const *values, int count)
{
	detail_name(detail, name);
	appendStringInfoChar(detail, '[');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			appendStringInfoString(detail, ", ");
		escape_json(detail, values[i]);
	}
	appendStringInfoChar(detail, ']');
}

/*
 * Adds a member with a whole number.
 */
void
detail_number(StringInfo detail, const char *name, int64 value)
{
	detail_name(detail, name);
	appendStringInfo(detail, INT64_FORMAT, value);
}

/*
 * Adds a member with a moment in ISO 8601, in the session's time zone, as the
 * server's own JSON functions write it.
 */
void
detail_timestamp(StringInfo detail, const char *name, TimestampTz value)
{
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, TimestampTzGetDatum(value), TIMESTAMPTZOID, NULL);
	detail_text(detail, name, text);
}

/*
 * Ends the object; returns its text, which belongs to the StringInfo.
 */
char *
detail_end(StringInfo detail)
{
	appendStringInfoChar(detail, '}');
	return detail->data;
}
