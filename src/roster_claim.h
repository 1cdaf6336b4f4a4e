/*-------------------------------------------------------------------------
 *
 * roster_claim.h
 *	  Locking the members of a roster.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_ROSTER_CLAIM_H
#define PETITION_CAS_ROSTER_CLAIM_H

#include "postgres.h"

#include "roster_query.h"

extern IdSet *roster_claim(RosterQuery *query);

#endif							/* PETITION_CAS_ROSTER_CLAIM_H */
