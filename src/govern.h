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

extern bool is_ledger(Relation relation);
extern bool has_relatives(Relation relation);
extern bool is_ledger_column(const char *column);
extern bool has_ledger_columns(Relation ledger);
extern bool has_key_index(Relation relation, const char *column);
extern bool has_all_states(Oid enum_type, const char *graph);
extern void take_over_partition(Relation partition);

#endif							/* PETITION_CAS_GOVERN_H */
