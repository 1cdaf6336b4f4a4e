/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  As whom the functions for owners run, and what the caller may read.
 *
 * Whatever sets up, extends or verifies a table first checks that the caller owns
 * it, and then runs as the owner in a security-restricted operation with a
 * search_path that the caller has no part in, as the server's own maintenance
 * commands do: a superuser who governs or verifies somebody's table does not run
 * that somebody's code with his own rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "identity.h"

/*
 * Opens a relation; raises 42P01 if it does not exist (any more).
 */
Relation
open_relation(Oid relid, LOCKMODE lockmode)
{
	Relation	relation = try_relation_open(relid, lockmode);

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return relation;
}

/*
 * Raises 42501 unless the caller owns the relation.
 */
static void
check_owner(Oid relid)
{
	if (get_rel_name(relid) != NULL &&
		!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

/*
 * Opens a relation that the caller must own; looked at before it is locked
 * too, so that nobody can lock what is not his.
 */
Relation
open_owned_relation(Oid relid, LOCKMODE lockmode)
{
	Relation	relation;

	check_owner(relid);
	relation = open_relation(relid, lockmode);
	check_owner(relid);
	return relation;
}

/*
 * Becomes the owner of a relation; see the head of this file.  An error puts
 * everything back with the (sub)transaction.
 */
Identity
become_owner(Relation relation)
{
	Identity	before;

	GetUserIdAndSecContext(&before.user, &before.security);
	SetUserIdAndSecContext(relation->rd_rel->relowner,
						   before.security | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	before.guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return before;
}

/*
 * Becomes again who we were.
 */
void
become_caller_again(Identity before)
{
	AtEOXact_GUC(false, before.guc_level);
	SetUserIdAndSecContext(before.user, before.security);
}

/*
 * May the caller read a column of a relation?
 */
bool
may_select_column(Oid relid, const char *column)
{
	AttrNumber	attno = get_attnum(relid, column);

	return attno > InvalidAttrNumber &&
		(pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		 pg_attribute_aclcheck(relid, attno, GetUserId(), ACL_SELECT) == ACLCHECK_OK);
}
