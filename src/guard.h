/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  The row guard: the triggers that judge each row of a governed table, and
 *	  what the set forms record in their place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_GUARD_H
#define PETITION_CAS_GUARD_H

#include "governed.h"
#include "ledger.h"

extern void record_fates(Governed *governed, Relation relation, const Fates *fates);

#endif							/* PETITION_CAS_GUARD_H */
