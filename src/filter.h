/*-------------------------------------------------------------------------
 *
 * filter.h
 *	  The filter language of rosters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_FILTER_H
#define PETITION_CAS_FILTER_H

#include "postgres.h"

/* What a term demands of its field. */
typedef enum FilterOperator
{
	FILTER_ANY_OF,				/* equal to one of the values */
	FILTER_LESS,
	FILTER_LESS_EQUAL,
	FILTER_GREATER,
	FILTER_GREATER_EQUAL,
	FILTER_BETWEEN,				/* two values, both inclusive */
	FILTER_PRESENT				/* any value; no values here */
} FilterOperator;

/* A value as it was written, without its quotes. */
typedef struct FilterValue
{
	char	   *text;
	int			position;		/* of its first character, from 1 */
} FilterValue;

typedef struct FilterTerm
{
	char	   *field;
	int			position;		/* of the field's first character, from 1 */
	bool		negated;
	FilterOperator operator;
	int			nvalues;
	FilterValue *values;
} FilterTerm;

typedef struct Filter
{
	int			nterms;
	FilterTerm *terms;
} Filter;

extern Filter *filter_parse(text *source);
extern const char *filter_operator_name(FilterOperator operator);
extern char *filter_to_json(const Filter *filter);

#endif							/* PETITION_CAS_FILTER_H */
