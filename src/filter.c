/*-------------------------------------------------------------------------
 *
 * filter.c
 *	  The filter language of rosters.
 *
 *	  filter:	terms separated by white space
 *	  term:		[ - ] field : condition
 *	  condition:	* | comparison value | value .. value | value { | value }
 *	  comparison:	> | >= | < | <=
 *	  field, value:	bare text or "quoted text", with \" and \\ inside
 *
 * Bare text has letters, marks and digits of any script and the punctuation
 * below; it ends where the language goes on, a value at two dots too.  Any
 * other character is refused, not taken for part of a value: a comma, a single
 * quote or a blank that nobody sees was meant to mean something, and with a -
 * before the term a value that no row has would select all rows.
 *
 * The parser works on bytes, since all that it looks for by itself is ASCII,
 * and in a server's encoding no part of another character looks like ASCII;
 * positions in errors count characters.
 *
 * What is white space and what is a letter is Unicode's to say, not the
 * locale's: a filter must mean the same in every database.  The tables are in
 * filter_ranges.h.  A character that this Unicode does not know yet is neither,
 * so that a filter with it is refused until it is quoted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/json.h"

#include "compat.h"
#include "errors.h"
#include "filter.h"
#include "filter_ranges.h"

/*
 * What one filter may have.  Without limits it could keep the planner busy
 * for longer than anybody wants to wait.
 */
#define FILTER_MAX_LENGTH	(1024 * 1024)
#define FILTER_MAX_TERMS	100
#define FILTER_MAX_VALUES	10000

/* What bare text may have besides letters, marks and digits. */
#define FIELD_PUNCTUATION	"_-./@+#$"
#define VALUE_PUNCTUATION	"_-./:@+#$"

/* What has no code point: is neither white space nor of a word. */
#define NO_CODE_POINT	0xffffffff

/* A parse in progress. */
typedef struct FilterParser
{
	const char *at;				/* the next character */
	const char *end;
	const char *counted;		/* up to here, characters are counted */
	int			characters;
} FilterParser;

/*
 * Returns the code point of the next character, of which there must be one, and
 * sets its length in bytes.  Returns NO_CODE_POINT if the server's encoding
 * does not tell which one it is: SQL_ASCII does not say what its bytes mean.
 */
static uint32
next_code_point(const FilterParser *parser, int *length)
{
	int			encoding = GetDatabaseEncoding();
	char	   *converted;
	uint32		result = NO_CODE_POINT;

	*length = 1;
	if (!IS_HIGHBIT_SET(*parser->at))
		return *parser->at;

	*length = pg_encoding_mblen(encoding, parser->at);
	if (*length > parser->end - parser->at)
	{
		*length = parser->end - parser->at;
		return NO_CODE_POINT;
	}
	if (encoding == PG_SQL_ASCII)
		return NO_CODE_POINT;
	if (encoding == PG_UTF8)
		return utf8_to_unicode((const unsigned char *) parser->at);

	converted = pg_server_to_any(parser->at, *length, PG_UTF8);
	if (strlen(converted) == pg_utf_mblen((unsigned char *) converted))
		result = utf8_to_unicode((unsigned char *) converted);
	pfree(converted);
	return result;
}

/*
 * Tells whether a code point is in a class of filter_ranges.h.
 */
static bool
in_class(uint32 code_point, const uint16 *runs, int count)
{
	uint32		end = 0;

	for (int i = 0; i < count; i++)
	{
		end += runs[i];
		if (code_point < end)
			return i % 2 == 1;
	}
	return false;
}

/*
 * Tells whether Unicode calls a code point white space.
 */
static bool
is_space(uint32 code_point)
{
	if (code_point < 0x80)
		return code_point == ' ' || (code_point >= '\t' && code_point <= '\r');
	return in_class(code_point, space_ranges, lengthof(space_ranges));
}

/*
 * Tells whether a code point is a letter, a mark or a digit, of any script,
 * and can be seen.
 */
static bool
is_word(uint32 code_point)
{
	if (code_point < 0x80)
		return (code_point >= 'a' && code_point <= 'z') ||
			(code_point >= 'A' && code_point <= 'Z') ||
			(code_point >= '0' && code_point <= '9');
	return in_class(code_point, word_ranges, lengthof(word_ranges));
}

/*
 * Tells whether the input goes on with this text.
 */
static bool
looking_at(FilterParser *parser, const char *text)
{
	Size		length = strlen(text);

	return parser->end - parser->at >= length && memcmp(parser->at, text, length) == 0;
}

/*
 * Tells whether a term may end here.
 */
static bool
at_term_end(FilterParser *parser)
{
	int			length;

	return parser->at == parser->end || is_space(next_code_point(parser, &length));
}

/*
 * Steps over a text if the input goes on with it; tells whether it does.
 */
static bool
accept_text(FilterParser *parser, const char *text)
{
	if (!looking_at(parser, text))
		return false;
	parser->at += strlen(text);
	return true;
}

/*
 * Returns the position of the next character, counted from 1.  Calls must
 * come in the order of the input, which makes counting cheap.
 */
static int
next_position(FilterParser *parser)
{
	parser->characters += pg_mbstrlen_with_len(parser->counted, parser->at - parser->counted);
	parser->counted = parser->at;
	return parser->characters + 1;
}

/*
 * Raises 42601, saying what was expected in place of the next character.
 */
pg_noreturn static void
syntax_error(FilterParser *parser, const char *expected)
{
	StringInfoData detail;
	int			where = next_position(parser);

	detail_begin(&detail);
	detail_number(&detail, "position", where);
	detail_text(&detail, "expected", expected);
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("syntax error in filter at character %d: expected %s", where, expected),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("A term is field:value, field:\"quoted value\", field:a|b, field:>=a, field:a..b or field:*, with - before it for not.")));
}

/*
 * Raises 42601 for the next character, which must not stand in bare text.
 * What cannot be seen is named by its code point.
 */
pg_noreturn static void
must_be_quoted(FilterParser *parser)
{
	StringInfoData detail;
	int			where = next_position(parser);
	int			length;
	uint32		code_point = next_code_point(parser, &length);
	char	   *name;

	if (code_point == NO_CODE_POINT)
		name = psprintf("byte 0x%02X", (unsigned char) *parser->at);
	else if (code_point > ' ' && code_point < 0x7f)
		name = psprintf("%c", (char) code_point);
	else
		name = psprintf("U+%04X", code_point);

	detail_begin(&detail);
	detail_number(&detail, "position", where);
	detail_text(&detail, "expected", "letters, digits and " VALUE_PUNCTUATION ", or text in double quotes");
	detail_text(&detail, "character", name);
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("syntax error in filter at character %d: text with %s must be in double quotes",
					where, name),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("Write a field or a value with such characters in double quotes, as in field:\"a value\"; a double quote in there is written as \\\", a backslash as \\\\.")));
}

/*
 * Raises 54000 if there is more of something than a filter may have.
 */
static void
check_limit(const char *what, Size count, Size limit)
{
	StringInfoData detail;

	if (count <= limit)
		return;
	detail_begin(&detail);
	detail_text(&detail, "limit_on", what);
	detail_number(&detail, "limit", limit);
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("filter is too large: it may have at most %zu %s", limit, what),
			 errdetail_internal("%s", detail_end(&detail))));
}

/*
 * Reads text in quotes, the opening one being next; returns it without them.
 */
static char *
read_quoted(FilterParser *parser)
{
	const char *close = parser->at + 1;
	char	   *result;
	char	   *out;

	while (close < parser->end && *close != '"')
		close += *close == '\\' ? 2 : 1;
	out = result = palloc(close - parser->at);

	parser->at++;
	while (!accept_text(parser, "\""))
	{
		if (parser->at == parser->end)
			syntax_error(parser, "a closing quote");
		if (accept_text(parser, "\\") && !looking_at(parser, "\"") && !looking_at(parser, "\\"))
			syntax_error(parser, "a quote or a backslash after the backslash");
		*out++ = *parser->at++;
	}
	*out = '\0';
	return result;
}

/*
 * Reads bare text, which may be empty: letters, marks, digits and the given
 * punctuation.  Two dots end it.  What comes after it must be the end of the
 * term, two dots or the separator.
 */
static char *
read_bare(FilterParser *parser, const char *punctuation, const char *separator)
{
	const char *start = parser->at;

	while (parser->at < parser->end && !looking_at(parser, ".."))
	{
		int			length;
		uint32		code_point = next_code_point(parser, &length);

		if (!is_word(code_point) &&
			(length > 1 || *parser->at == '\0' || strchr(punctuation, *parser->at) == NULL))
			break;
		parser->at += length;
	}
	if (!at_term_end(parser) && !looking_at(parser, separator) && !looking_at(parser, ".."))
		must_be_quoted(parser);
	return pnstrdup(start, parser->at - start);
}

/*
 * Reads the name of a field and the colon after it.
 */
static char *
read_field(FilterParser *parser)
{
	char	   *name;

	if (looking_at(parser, "\""))
		name = read_quoted(parser);
	else if (looking_at(parser, "-"))
		syntax_error(parser, "the name of a field (one that begins with - must be quoted)");
	else
		name = read_bare(parser, FIELD_PUNCTUATION, ":");
	if (name[0] == '\0')
		syntax_error(parser, "the name of a field");
	if (!accept_text(parser, ":"))
		syntax_error(parser, "a colon after the name of the field");
	return name;
}

/*
 * Reads a value and adds it to a term; capacity is that of its array.
 */
static void
read_value(FilterParser *parser, FilterTerm *term, int *capacity)
{
	const char *start = parser->at;
	FilterValue *value;

	check_limit("alternatives in a term", term->nvalues + 1, FILTER_MAX_VALUES);
	if (term->nvalues == *capacity)
	{
		*capacity *= 2;
		term->values = repalloc(term->values, *capacity * sizeof(FilterValue));
	}
	value = &term->values[term->nvalues++];
	value->position = next_position(parser);
	if (looking_at(parser, "\""))
		value->text = read_quoted(parser);
	else
		value->text = read_bare(parser, VALUE_PUNCTUATION, "|");
	if (parser->at == start)
		syntax_error(parser, "a value");
}

/*
 * Reads what a term demands, all that comes after the colon.
 */
static void
read_condition(FilterParser *parser, FilterTerm *term)
{
	int			capacity = 2;

	term->nvalues = 0;
	term->values = palloc(capacity * sizeof(FilterValue));
	if (accept_text(parser, "*"))
	{
		term->operator = FILTER_PRESENT;
		if (at_term_end(parser))
			return;
		parser->at--;
	}

	if (accept_text(parser, ">="))
		term->operator = FILTER_GREATER_EQUAL;
	else if (accept_text(parser, "<="))
		term->operator = FILTER_LESS_EQUAL;
	else if (accept_text(parser, ">"))
		term->operator = FILTER_GREATER;
	else if (accept_text(parser, "<"))
		term->operator = FILTER_LESS;
	else
		term->operator = FILTER_ANY_OF;

	read_value(parser, term, &capacity);
	if (term->operator == FILTER_ANY_OF)
	{
		if (accept_text(parser, ".."))
		{
			term->operator = FILTER_BETWEEN;
			/* 1...5 could be 1 to .5 as well as 1. to 5 */
			if (looking_at(parser, "."))
				syntax_error(parser, "a value (one that begins with a dot must be quoted here)");
			read_value(parser, term, &capacity);
		}
		else
		{
			while (accept_text(parser, "|"))
				read_value(parser, term, &capacity);
		}
	}
	if (!at_term_end(parser))
		syntax_error(parser, "white space or the end of the filter");
}

/*
 * Parses a filter, in the current memory context.  Raises 42601 for what is
 * not of the language, 54000 for more than it allows.
 */
Filter *
filter_parse(text *source)
{
	Filter	   *filter = palloc(sizeof(Filter));
	Size		length = VARSIZE_ANY_EXHDR(source);
	int			capacity = 4;
	FilterParser parser = {0};

	check_limit("bytes", length, FILTER_MAX_LENGTH);
	parser.at = parser.counted = VARDATA_ANY(source);
	parser.end = parser.at + length;
	filter->nterms = 0;
	filter->terms = palloc(capacity * sizeof(FilterTerm));
	for (;;)
	{
		FilterTerm *term;
		int			space;

		CHECK_FOR_INTERRUPTS();
		while (parser.at < parser.end && is_space(next_code_point(&parser, &space)))
			parser.at += space;
		if (parser.at == parser.end)
			return filter;

		check_limit("terms", filter->nterms + 1, FILTER_MAX_TERMS);
		if (filter->nterms == capacity)
		{
			capacity *= 2;
			filter->terms = repalloc(filter->terms, capacity * sizeof(FilterTerm));
		}
		term = &filter->terms[filter->nterms++];
		term->negated = accept_text(&parser, "-");
		term->position = next_position(&parser);
		term->field = read_field(&parser);
		read_condition(&parser, term);
	}
}

/*
 * Returns how an operator is written, = standing for FILTER_ANY_OF.
 */
const char *
filter_operator_name(FilterOperator operator)
{
	/* in the order of FilterOperator */
	static const char *const names[] = {"=", "<", "<=", ">", ">=", "..", "*"};

	return names[operator];
}

/*
 * Returns a filter as the text of a JSON array with an object for each term,
 * in the current memory context.
 */
char *
filter_to_json(const Filter *filter)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	for (int i = 0; i < filter->nterms; i++)
	{
		const FilterTerm *term = &filter->terms[i];

		appendStringInfoString(&json, i > 0 ? ", {\"field\": " : "{\"field\": ");
		escape_json(&json, term->field);
		appendStringInfo(&json, ", \"negated\": %s, \"operator\": \"%s\", \"values\": [",
						 term->negated ? "true" : "false",
						 filter_operator_name(term->operator));
		for (int j = 0; j < term->nvalues; j++)
		{
			if (j > 0)
				appendStringInfoString(&json, ", ");
			escape_json(&json, term->values[j].text);
		}
		appendStringInfoString(&json, "]}");
	}
	appendStringInfoChar(&json, ']');
	return json.data;
}
