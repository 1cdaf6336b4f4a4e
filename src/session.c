/*-------------------------------------------------------------------------
 *
 * session.c
 *	  The settings of a session, and which DDL is running in it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "session.h"

char	   *petition_cas_actor = NULL;
char	   *petition_cas_reason = NULL;
char	   *petition_cas_request_id = NULL;
bool		petition_cas_allow_unguard = false;
bool		petition_cas_own_ddl = false;
bool		petition_cas_altering_table = false;

/* session_init is at work */
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
				 errhint("Set %s to a text of at most %d bytes.", name, limit)));
}

/*
 * Checks a setting that is recorded when it is set within a session.  What was set
 * before the module was loaded, perhaps before the database was known, is
 * checked when it is to be written: refused here it would be dropped with no
 * more than a warning, and something else be recorded.
 */
static bool
check_recorded_setting(const char *name, const char *value, int limit, GucSource source)
{
	const char *problem;

	if (source < PGC_S_INTERACTIVE || !IsTransactionState() || loading ||
		(problem = setting_problem(value, limit)) == NULL)
		return true;
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	/* not the server's own message, which repeats the value */
	GUC_check_errmsg("value of \"%s\" cannot be recorded", name);
	GUC_check_errdetail("%s", problem);
	GUC_check_errhint("Set %s to a text of at most %d bytes.", name, limit);
	return false;
}

static bool
check_actor(char **value, void **extra, GucSource source)
{
	return check_recorded_setting("petition_cas.actor", *value, ACTOR_LIMIT, source);
}

static bool
check_reason(char **value, void **extra, GucSource source)
{
	return check_recorded_setting("petition_cas.reason", *value, REASON_LIMIT, source);
}

static bool
check_request_id(char **value, void **extra, GucSource source)
{
	return check_recorded_setting("petition_cas.request_id", *value, REQUEST_ID_LIMIT, source);
}

/*
 * Defines the settings; called once, when the module is loaded.
 */
void
session_init(void)
{
	loading = true;
	DefineCustomStringVariable("petition_cas.actor",
							   "Who is recorded in the ledger as having assigned a fate.",
							   "When empty, the session's user is.",
							   &petition_cas_actor, "", PGC_USERSET, 0, check_actor, NULL, NULL);

	DefineCustomStringVariable("petition_cas.reason",
							   "Why fates are assigned, as it is recorded in ledger and history.",
							   NULL,
							   &petition_cas_reason, "", PGC_USERSET, 0, check_reason, NULL, NULL);

	DefineCustomStringVariable("petition_cas.request_id",
							   "The request in which fates are assigned, as it is recorded in ledger and history.",
							   NULL,
							   &petition_cas_request_id, "", PGC_USERSET, 0, check_request_id, NULL, NULL);

	DefineCustomBoolVariable("petition_cas.allow_unguard",
							 "Lets DDL weaken governed tables.",
							 "For pg_restore --clean and emergencies; verify_fates tells what was weakened.",
							 &petition_cas_allow_unguard, false, PGC_SUSET, 0, NULL, NULL, NULL);

	MarkGUCPrefixReserved("petition_cas");
	loading = false;
}
