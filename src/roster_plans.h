/*-------------------------------------------------------------------------
 *
 * roster_plans.h
 *	  Kept plans for the queries of rosters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_ROSTER_PLANS_H
#define PETITION_CAS_ROSTER_PLANS_H

#include "postgres.h"

#include "executor/spi.h"

typedef struct RosterPlan RosterPlan;

extern RosterPlan *roster_plan_acquire(Oid source, const char *sql,
									   int nargs, Oid *argtypes, int options);
extern SPIPlanPtr roster_plan_spi(RosterPlan *plan);
extern void roster_plan_release(RosterPlan *plan);

#endif							/* PETITION_CAS_ROSTER_PLANS_H */
