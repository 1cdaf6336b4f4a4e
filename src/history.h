/*-------------------------------------------------------------------------
 *
 * history.h
 *	  The history of a governed table: write it, and whether a change of it may be.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_HISTORY_H
#define PETITION_CAS_HISTORY_H

#include "postgres.h"

#include "commands/trigger.h"

#include "ledger.h"

extern void write_history(Governed *governed, Relation relation, Oid history, const Fates *moves);

extern bool has_move(Governed *governed, const Datum *key, const char *from_state,
					 const char *to_state, const char *request_id);

extern uint64 rewrite_actor(Relation record, const char *actor, const char *pseudonym);
extern bool only_rewrites_actor(const TriggerData *call);

#endif							/* PETITION_CAS_HISTORY_H */
