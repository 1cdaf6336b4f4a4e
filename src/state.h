/*-------------------------------------------------------------------------
 *
 * state.h
 *	  The state column of a governed table, and all that depends on its type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_STATE_H
#define PETITION_CAS_STATE_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/rel.h"

#include "lifecycle.h"

typedef struct StateColumn
{
	char	   *name;
	AttrNumber	attno;
	Oid			type;			/* a domain's base type */
	bool		is_domain;
	bool		is_enum;
	bool		is_generated;
	int16		length;
	bool		by_value;
} StateColumn;

extern bool is_state_type(Oid type);
extern bool holds_any_state(Form_pg_attribute column);
extern const char *state_misfit(Form_pg_attribute column, const LifecycleState *state,
								const char **hint);
extern bool read_state_column(StateColumn *column, Relation relation, const char *name);
extern char *state_text(const StateColumn *column, Datum state);
extern Datum state_datum(const StateColumn *column, const char *name);
extern int	find_state(const StateColumn *column, const Lifecycle *lifecycle, Datum state);
extern bool is_same_state(const StateColumn *column, Datum a, Datum b);
extern Oid	state_parameter(const StateColumn *column);
extern const char **states_in_use(const StateColumn *column, const Lifecycle *lifecycle,
								  bool fates, int *count);
extern Datum state_array(const StateColumn *column, const char **names, int count, Oid *type);
extern Datum name_array(const char **names, int count);

extern void append_state(StringInfo query, const StateColumn *column, const char *alias);
extern void append_state_equality(StringInfo query, const StateColumn *column, int parameter);

#endif							/* PETITION_CAS_STATE_H */
