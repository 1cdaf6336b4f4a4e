/*-------------------------------------------------------------------------
 *
 * petition_cas.h
 *	  The settings of the module.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_H
#define PETITION_CAS_H

/* petition_cas.actor; never NULL once the module is loaded, empty by default */
extern char *petition_cas_actor;

#endif							/* PETITION_CAS_H */
