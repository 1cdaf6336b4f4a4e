/*-------------------------------------------------------------------------
 *
 * petition_cas.c
 *	  The module: its magic block and its settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "compat.h"
#include "ddl_guard.h"
#include "governed.h"
#include "petition_cas.h"

PG_MODULE_MAGIC;

char	   *petition_cas_actor = NULL;
bool		petition_cas_allow_unguard = false;
bool		petition_cas_own_ddl = false;

/* Is _PG_init at work? */
static bool loading = false;

/*
 * Says why a text must not go into a ledger, or returns NULL: it would not come
 * out of a dump again.
 */
static const char *
setting_problem(const char *value, int limit)
{
	Size		length = strlen(value);

	if (length > limit)
		return psprintf("It has %zu bytes, and may have %d.", length, limit);
	if (!pg_verifymbstr(value, length, true))
		return psprintf("It is no text in the database's encoding, %s.",
						GetDatabaseEncodingName());
	return NULL;
}

/*
 * Raises 22023 for the value of a setting that must not go into a ledger; limit
 * is in bytes.
 */
void
check_setting(const char *name, const char *value, int limit)
{
	const char *problem = setting_problem(value, limit);

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("value of \"%s\" cannot be recorded", name),
				 errdetail_internal("%s", problem),
				 errhint("Set petition_cas.actor to a text of at most %d bytes.", ACTOR_LIMIT)));
}

/*
 * Checks petition_cas.actor when it is set within a session.  What was set
 * before the module was loaded, perhaps before the database was known, is
 * checked when it is to be written: refused here it would be dropped with no
 * more than a warning, and another name be recorded.
 */
static bool
check_actor(char **value, void **extra, GucSource source)
{
	const char *problem;

	if (source < PGC_S_INTERACTIVE || !IsTransactionState() || loading ||
		(problem = setting_problem(*value, ACTOR_LIMIT)) == NULL)
		return true;
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	/* not the server's own message, which repeats the value */
	GUC_check_errmsg("value of \"%s\" cannot be recorded", "petition_cas.actor");
	GUC_check_errdetail("%s", problem);
	GUC_check_errhint("Set petition_cas.actor to a text of at most %d bytes.", ACTOR_LIMIT);
	return false;
}

/*
 * Defines the settings and sets up the callbacks of the caches.
 */
void
_PG_init(void)
{
	loading = true;
	DefineCustomStringVariable("petition_cas.actor",
							   "Who is recorded in the ledger as having assigned a fate.",
							   "When empty, the session's user is.",
							   &petition_cas_actor,
							   "",
							   PGC_USERSET,
							   0,
							   check_actor, NULL, NULL);

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
	ddl_guard_init();
	loading = false;
}
