/*-------------------------------------------------------------------------
 *
 * text_form.h
 *	  The text forms of values: which type's functions read and print them,
 *	  and under which settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_TEXT_FORM_H
#define PETITION_CAS_TEXT_FORM_H

#include "postgres.h"

extern Oid	text_form_type(Oid type, int32 *typmod);

/* The hint of check_nested_domains for the fields and keys of a roster */
#define ROSTER_DOMAIN_HINT \
	"Use a view as source that has the columns of the value one by one, or selects by them. On a field of any type, field:* selects the rows that have a value."

extern bool is_sha256(const char *text);
extern void check_nested_domains(Oid type, const char *hint);
extern int	text_form_begin(Oid type);
extern void text_form_end(int level);

#endif							/* PETITION_CAS_TEXT_FORM_H */
