/*-------------------------------------------------------------------------
 *
 * lockable.h
 *	  Which tables and views have rows that can be locked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_LOCKABLE_H
#define PETITION_CAS_LOCKABLE_H

#include "postgres.h"

extern void check_lockable(Oid source);

#endif							/* PETITION_CAS_LOCKABLE_H */
