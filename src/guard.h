/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  What the guard shares with those who write the ledger in its place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_GUARD_H
#define PETITION_CAS_GUARD_H

extern const char *assigning_actor(void);

#endif							/* PETITION_CAS_GUARD_H */
