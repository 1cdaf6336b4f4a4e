/*-------------------------------------------------------------------------
 *
 * ddl_guard.h
 *	  The event triggers: they judge commands (DDL) on governed tables, as the
 *	  guard (guard.c) judges rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_DDL_GUARD_H
#define PETITION_CAS_DDL_GUARD_H

extern void ddl_guard_init(void);

#endif							/* PETITION_CAS_DDL_GUARD_H */
