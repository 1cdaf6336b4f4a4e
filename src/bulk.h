/*-------------------------------------------------------------------------
 *
 * bulk.h
 *	  The compare-and-swap of many rows in one statement.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_BULK_H
#define PETITION_CAS_BULK_H

#include "swap.h"

extern void swap_many(Swap *swap, FunctionCallInfo fcinfo, const Datum *keys, int count);

#endif							/* PETITION_CAS_BULK_H */
