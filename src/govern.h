/*-------------------------------------------------------------------------
 *
 * govern.h
 *	  What the DDL guard asks of those who set tables up.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_GOVERN_H
#define PETITION_CAS_GOVERN_H

#include "postgres.h"

#include "utils/rel.h"

extern void take_over_partition(Relation partition);

#endif							/* PETITION_CAS_GOVERN_H */
