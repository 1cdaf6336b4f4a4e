/*-------------------------------------------------------------------------
 *
 * options.h
 *	  What govern was told besides key, state column and lifecycle: the last
 *	  argument of a guard.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_OPTIONS_H
#define PETITION_CAS_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

typedef struct Options
{
	bool		any_initial;	/* a row may be inserted in any state, */
	List	   *initial_states; /* or in these: names */
	List	   *evidence;		/* names of the columns that a decision rests
								 * on */
	bool		keep_rows;		/* a fated row cannot be deleted */
	char	   *history;		/* name of the table that every change of
								 * state is recorded in, or NULL */
} Options;

extern char *write_options(const Options *options);
extern bool read_options(const char *text, Options *options);
extern List *evidence_columns(const char *json);
extern char *history_option(const char *json);

#endif							/* PETITION_CAS_OPTIONS_H */
