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
extern void check_nested_domains(Oid type);
extern int	text_form_begin(Oid type);
extern void text_form_end(int level);

#endif							/* PETITION_CAS_TEXT_FORM_H */
