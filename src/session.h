/*-------------------------------------------------------------------------
 *
 * session.h
 *	  The settings of a session, and which DDL is running in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_SESSION_H
#define PETITION_CAS_SESSION_H

/* The version of the library; petition_cas.control has that of the extension */
#define PETITION_CAS_VERSION "1.0"

/* How many bytes the settings that are recorded may have */
#define ACTOR_LIMIT			1000
#define REASON_LIMIT		10000
#define REQUEST_ID_LIMIT	255

/* Never NULL once the module is loaded, empty by default */
extern char *petition_cas_actor;
extern char *petition_cas_reason;
extern char *petition_cas_request_id;

/* petition_cas.allow_unguard */
extern bool petition_cas_allow_unguard;

/* The DDL that is being executed is ours.  Set around it by govern.c alone. */
extern bool petition_cas_own_ddl;

/* An ALTER TABLE is running, and this in its midst.  Set by ddl_guard.c alone. */
extern bool petition_cas_altering_table;

extern void session_init(void);
extern void check_setting(const char *name, const char *value, int limit);

#endif							/* PETITION_CAS_SESSION_H */
