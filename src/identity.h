/*-------------------------------------------------------------------------
 *
 * identity.h
 *	  As whom the functions for owners run, and what the caller may read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_IDENTITY_H
#define PETITION_CAS_IDENTITY_H

#include "postgres.h"

#include "storage/lockdefs.h"
#include "utils/rel.h"

/* Who we were before we became a table's owner */
typedef struct Identity
{
	Oid			user;
	int			security;
	int			guc_level;
} Identity;

extern Relation open_relation(Oid relid, LOCKMODE lockmode);
extern Relation open_owned_relation(Oid relid, LOCKMODE lockmode);
extern Identity become_owner(Relation relation);
extern void become_caller_again(Identity before);
extern bool may_select_column(Oid relid, const char *column);

#endif							/* PETITION_CAS_IDENTITY_H */
