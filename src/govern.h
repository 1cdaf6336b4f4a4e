/*-------------------------------------------------------------------------
 *
 * govern.h
 *	  Putting tables under a lifecycle: what is done once, when a table is set up.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_GOVERN_H
#define PETITION_CAS_GOVERN_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/rel.h"

#include "options.h"

extern Oid	govern_relation(const char *schema, Oid relid, Jsonb *graph, const char *key_column,
							const char *state_column, const Options *options, bool history);
extern void take_over_partition(Relation partition);

#endif							/* PETITION_CAS_GOVERN_H */
