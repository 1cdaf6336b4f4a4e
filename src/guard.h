/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  What the guard shares with those who write the ledger in its place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_GUARD_H
#define PETITION_CAS_GUARD_H

#include "governed.h"

extern const char *assigning_actor(void);
extern void count_fates(const Governed *governed);
extern uint64 counted(const Governed *governed);
extern void record_together(Governed *governed, Relation relation, const char *from_state,
							const char *fate, int room, void (*update) (void *), void *argument);

#endif							/* PETITION_CAS_GUARD_H */
