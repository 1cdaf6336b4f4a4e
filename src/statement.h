/*-------------------------------------------------------------------------
 *
 * statement.h
 *	  What every statement that we prepare needs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_STATEMENT_H
#define PETITION_CAS_STATEMENT_H

#include "postgres.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"

extern void append_operator(StringInfo query, Oid operator);
extern void check_plan_relation(SPIPlanPtr plan, Oid relid);

#endif							/* PETITION_CAS_STATEMENT_H */
