/*-------------------------------------------------------------------------
 *
 * petition_cas.c
 *	  The module: its magic block and its settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "governed.h"
#include "petition_cas.h"

PG_MODULE_MAGIC;

char	   *petition_cas_actor = NULL;
bool		petition_cas_allow_unguard = false;
bool		petition_cas_own_ddl = false;

void		_PG_init(void);

/*
 * Defines the settings and sets up the cache of governed tables.
 */
void
_PG_init(void)
{
	DefineCustomStringVariable("petition_cas.actor",
							   "Who is recorded in the ledger as having assigned a fate.",
							   "When empty, the session's user is.",
							   &petition_cas_actor,
							   "",
							   PGC_USERSET,
							   0,
							   NULL, NULL, NULL);

	DefineCustomBoolVariable("petition_cas.allow_unguard",
							 "Lets DDL weaken governed tables.",
							 "For pg_restore --clean and emergencies; verify_fates tells what was weakened.",
							 &petition_cas_allow_unguard,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	MarkGUCPrefixReserved("petition_cas");

	governed_init();
}
