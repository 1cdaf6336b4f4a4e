/*-------------------------------------------------------------------------
 *
 * counters.h
 *	  What callers were told, counted by database in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_COUNTERS_H
#define PETITION_CAS_COUNTERS_H

#include "postgres.h"

/* What is counted, in the order of the columns of petition_cas_counters() */
typedef enum Counter
{
	COUNT_ASSIGNED,
	COUNT_NOT_FOUND,
	COUNT_ALREADY_FATED,
	COUNT_CONCURRENT_MODIFICATION,
	COUNT_EVIDENCE_CHANGED,
	COUNT_INVALID_TRANSITION,
	COUNT_ROSTER_CHANGED
} Counter;

#define NCOUNTERS (COUNT_ROSTER_CHANGED + 1)

extern void counters_init(void);

extern void attach_counters(void);
extern void count_told(Counter counter);
extern void count_error(int sqlerrcode);

#endif							/* PETITION_CAS_COUNTERS_H */
