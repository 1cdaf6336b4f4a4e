/*-------------------------------------------------------------------------
 *
 * filter_chars.c
 *	  The characters of the filter language.
 *
 * What is white space and what is a letter is Unicode's to say, not the
 * locale's: a filter must mean the same in every database.  The tables are
 * in filter_ranges.h.  A character that this Unicode does not know yet is
 * neither, so that a filter with it is refused until it is quoted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "filter_chars.h"
#include "filter_ranges.h"

/*
 * Tells whether a code point is in a table of ranges, which is sorted.
 */
static bool
in_ranges(uint32 code_point, const CharacterRange *ranges, int count)
{
	int			low = 0;
	int			high = count;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (code_point > ranges[middle].last)
			low = middle + 1;
		else if (code_point < ranges[middle].first)
			high = middle;
		else
			return true;
	}
	return false;
}

/*
 * Tells whether Unicode calls a code point white space.
 */
bool
filter_is_space(uint32 code_point)
{
	if (code_point < 0x80)
		return code_point == ' ' || (code_point >= '\t' && code_point <= '\r');
	return in_ranges(code_point, space_ranges, lengthof(space_ranges));
}

/*
 * Tells whether a code point is a letter, a mark or a digit, of any script,
 * and can be seen.
 */
bool
filter_is_word(uint32 code_point)
{
	if (code_point < 0x80)
		return (code_point >= 'a' && code_point <= 'z') ||
			(code_point >= 'A' && code_point <= 'Z') ||
			(code_point >= '0' && code_point <= '9');
	return in_ranges(code_point, word_ranges, lengthof(word_ranges));
}

/*
 * Returns the code point of a character in an encoding other than UTF-8, or
 * NO_CODE_POINT: SQL_ASCII does not say what its bytes mean.
 */
static uint32
converted_code_point(const char *at, int length)
{
	char	   *converted;
	uint32		result = NO_CODE_POINT;

	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return NO_CODE_POINT;
	converted = pg_server_to_any(at, length, PG_UTF8);
	if (converted == at)
		return NO_CODE_POINT;
	if (strlen(converted) == pg_utf_mblen((unsigned char *) converted))
		result = utf8_to_unicode((unsigned char *) converted);
	pfree(converted);
	return result;
}

/*
 * Returns the code point of the character at an address, which is before the
 * end, and sets its length in bytes.  Returns NO_CODE_POINT if the server's
 * encoding does not tell which one it is.
 */
uint32
filter_code_point(const char *at, const char *end, int *length)
{
	unsigned char first = *at;

	*length = 1;
	if (!IS_HIGHBIT_SET(first))
		return first;

	*length = pg_encoding_mblen(GetDatabaseEncoding(), at);
	if (*length > end - at)
	{
		*length = end - at;
		return NO_CODE_POINT;
	}
	if (GetDatabaseEncoding() == PG_UTF8)
		return utf8_to_unicode((const unsigned char *) at);
	return converted_code_point(at, *length);
}
