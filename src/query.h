/*-------------------------------------------------------------------------
 *
 * query.h
 *	  The query that a filter on a source makes, and running it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_QUERY_H
#define PETITION_CAS_QUERY_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "idset.h"

typedef struct RosterQuery
{
	Oid			source;
	char	   *source_name;	/* for messages */
	Oid			key_type;		/* no domain */
	int32		key_typmod;
	Oid			key_collation;
	char	   *sql;			/* the SELECT */
	char	   *order;			/* its ORDER BY; NULL if the key type has none */

	int			nparams;
	int			capacity;
	Oid		   *types;
	Datum	   *values;
	int			now_param;		/* set to the clock for each run; or -1 */

	bool		row_security;	/* did the latest run depend on it? */
	uint64		rows;			/* that the latest run found */
} RosterQuery;

/* What a run does with the rows that it finds. */
typedef enum RosterRun
{
	ROSTER_READ,				/* nothing; under the active snapshot */
	ROSTER_LOCK,				/* lock them in key order, waiting if need be */
	ROSTER_LOCK_NOWAIT			/* lock them, 55P03 where that would wait */
} RosterRun;

extern RosterQuery *roster_query_build(Oid source, text *filter,
									   const char *key_column,
									   const char *period_column,
									   const TimestampTz *at);
extern IdSet *roster_query_run(RosterQuery *query, RosterRun how);

#endif							/* PETITION_CAS_QUERY_H */
