/*-------------------------------------------------------------------------
 *
 * filter_chars.h
 *	  The characters of the filter language.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_FILTER_CHARS_H
#define PETITION_CAS_FILTER_CHARS_H

#include "postgres.h"

/* What has no code point: is neither white space nor of a word. */
#define NO_CODE_POINT	0xffffffff

extern uint32 filter_code_point(const char *at, const char *end, int *length);
extern bool filter_is_space(uint32 code_point);
extern bool filter_is_word(uint32 code_point);

#endif							/* PETITION_CAS_FILTER_CHARS_H */
