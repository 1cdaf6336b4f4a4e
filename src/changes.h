/*-------------------------------------------------------------------------
 *
 * changes.h
 *	  The other columns that a swap sets.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_CHANGES_H
#define PETITION_CAS_CHANGES_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "governed.h"

extern char *changes_sql(const Governed *governed, Relation relation, Jsonb *changes);

#endif							/* PETITION_CAS_CHANGES_H */
