/*-------------------------------------------------------------------------
 *
 * ddl_guard.h
 *	  The event triggers that keep DDL from weakening a governed table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_DDL_GUARD_H
#define PETITION_CAS_DDL_GUARD_H

extern void ddl_guard_init(void);
extern bool is_altering_table(void);

#endif							/* PETITION_CAS_DDL_GUARD_H */
