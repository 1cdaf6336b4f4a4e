/*-------------------------------------------------------------------------
 *
 * errors.h
 *	  The SQLSTATEs of petition_cas, and the JSON of their DETAILs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_ERRORS_H
#define PETITION_CAS_ERRORS_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

/*
 * None of these is of class 40: a client that replays its transaction on
 * class 40 must not replay a decision that it has lost.
 */
#define ERRCODE_CONCURRENT_MODIFICATION		MAKE_SQLSTATE('P','F','0','0','1')
#define ERRCODE_ALREADY_FATED				MAKE_SQLSTATE('P','F','0','0','2')
#define ERRCODE_INVALID_STATE_TRANSITION	MAKE_SQLSTATE('P','F','0','0','3')
#define ERRCODE_SUBMISSION_NOT_FOUND		MAKE_SQLSTATE('P','F','0','0','4')
#define ERRCODE_ROSTER_CHANGED				MAKE_SQLSTATE('P','F','0','0','5')
#define ERRCODE_FATE_PROTECTED				MAKE_SQLSTATE('P','F','0','0','6')

/*
 * Building a DETAIL: detail_begin, any number of members in the order in
 * which a reader wants them, detail_end.
 */
extern void detail_begin(StringInfo detail);
extern void detail_text(StringInfo detail, const char *name, const char *value);
extern void detail_texts(StringInfo detail, const char *name, const char *const *values, int count);
extern void detail_number(StringInfo detail, const char *name, int64 value);
extern void detail_timestamp(StringInfo detail, const char *name, TimestampTz value);
extern char *detail_end(StringInfo detail);

#endif							/* PETITION_CAS_ERRORS_H */
