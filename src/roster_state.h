/*-------------------------------------------------------------------------
 *
 * roster_state.h
 *	  What a roster knows of lifecycles: which states a column may have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_ROSTER_STATE_H
#define PETITION_CAS_ROSTER_STATE_H

#include "postgres.h"

#include "utils/rel.h"

#include "lifecycle.h"

extern Lifecycle *lifecycle_of_column(Relation source, const char *column);
extern bool lifecycle_has_value(const Lifecycle *lifecycle, Oid type, Datum value);

#endif							/* PETITION_CAS_ROSTER_STATE_H */
