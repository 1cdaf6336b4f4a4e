/*-------------------------------------------------------------------------
 *
 * claim.h
 *	  Locking the members of a roster.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_CLAIM_H
#define PETITION_CAS_CLAIM_H

#include "postgres.h"

#include "query.h"

extern IdSet *roster_claim(RosterQuery *query);

#endif							/* PETITION_CAS_CLAIM_H */
