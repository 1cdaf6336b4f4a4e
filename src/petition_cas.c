/*-------------------------------------------------------------------------
 *
 * petition_cas.c
 *	  The module: its magic block, and the start of whoever needs one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "counters.h"
#include "ddl_guard.h"
#include "governed.h"
#include "session.h"
#include "statement.h"

PG_MODULE_MAGIC;

void
_PG_init(void)
{
	session_init();
	statement_init();
	counters_init();
	governed_init();
	ddl_guard_init();
}
