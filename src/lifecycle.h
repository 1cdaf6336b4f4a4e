/*-------------------------------------------------------------------------
 *
 * lifecycle.h
 *	  The state graph of a governed table: parse it, ask it, draw it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_LIFECYCLE_H
#define PETITION_CAS_LIFECYCLE_H

#include "postgres.h"

#include "utils/jsonb.h"

/* No state of the lifecycle */
#define NO_STATE (-1)

typedef struct LifecycleState
{
	char	   *name;
	int			length;			/* of the name, in bytes */
	int			ntargets;
	int		   *targets;		/* numbers of the states it may go to */
} LifecycleState;

/*
 * States are known by their number, from 0 on, in the order in which the
 * graph names them.  A lifecycle is one parse's memory and is never changed.
 */
typedef struct Lifecycle
{
	int			nstates;
	LifecycleState *states;
	int		   *by_name;		/* the numbers, sorted by name */
} Lifecycle;

extern Lifecycle *lifecycle_parse(Jsonb *graph);
extern Lifecycle *lifecycle_extend(Jsonb *graph, Jsonb *transitions);
extern char *lifecycle_lacks(const Lifecycle *lifecycle, const Lifecycle *other);
extern Jsonb *lifecycle_to_jsonb(const Lifecycle *lifecycle);

extern int	lifecycle_find(const Lifecycle *lifecycle, const char *name, int length);
extern int	lifecycle_find_name(const Lifecycle *lifecycle, const char *name);
extern bool lifecycle_is_fate(const Lifecycle *lifecycle, int state);
extern bool lifecycle_allows(const Lifecycle *lifecycle, int from_state, int to_state);
extern const char **lifecycle_targets(const Lifecycle *lifecycle, int state, int *count);
extern char *lifecycle_state_list(const Lifecycle *lifecycle);
extern char *lifecycle_draw(const Lifecycle *lifecycle);

#endif							/* PETITION_CAS_LIFECYCLE_H */
