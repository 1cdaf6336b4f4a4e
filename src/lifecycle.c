/*-------------------------------------------------------------------------
 *
 * lifecycle.c
 *	  The state graph of a governed table: parse it, ask it, draw it.
 *
 * A lifecycle is a JSON object: each state and the states it may go to.  A
 * state that is only ever a target, or that has an empty list of targets, is
 * a fate.  Extending a lifecycle is reading a second graph into it.
 *
 * All that is returned here is allocated in the current memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "compat.h"
#include "errors.h"
#include "lifecycle.h"

/* How many states a lifecycle may have */
#define MAX_STATES 1000

/*
 * Raises 22023 for JSON that is no state graph.
 */
pg_noreturn static void
refuse_shape(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg_internal("%s", message),
			 errhint("A lifecycle is a JSON object of states with arrays of the states they lead to, such as {\"open\": [\"closed\"]}.")));
}

/*
 * Returns an array of count elements, NULL at first, with space for one more.
 */
static void *
extend_array(void *array, int count, Size element_size)
{
	if (array == NULL)
		return palloc(4 * element_size);
	if (count >= 4 && (count & (count - 1)) == 0)
		return repalloc(array, 2 * count * element_size);
	return array;
}

/*
 * Finds the place of a name in by_name, and whether it is there.
 */
static int
search_name(const Lifecycle *lifecycle, const char *name, int length, bool *found)
{
	int			low = 0;
	int			high = lifecycle->nstates;

	*found = false;
	while (low < high && !*found)
	{
		int			middle = low + (high - low) / 2;
		const LifecycleState *state = &lifecycle->states[lifecycle->by_name[middle]];
		int			order = memcmp(name, state->name, Min(length, state->length));

		if (order == 0)
			order = length - state->length;
		*found = order == 0;
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return high;
}

/*
 * Returns the number of the state that a JSON string names, which becomes a new
 * one if it is not known.  Raises 22023 for a value that is no string and for an
 * empty one, 54000 for one state too many.
 */
static int
read_state(Lifecycle *lifecycle, const JsonbValue *value)
{
	int			number = lifecycle->nstates;
	LifecycleState *state;
	bool		found;
	int			place;

	CHECK_FOR_INTERRUPTS();
	if (value->type != jbvString)
		refuse_shape("invalid lifecycle: a state is named by something other than a string");
	if (value->val.string.len == 0)
		refuse_shape("invalid lifecycle: a state has an empty name");

	place = search_name(lifecycle, value->val.string.val, value->val.string.len, &found);
	if (found)
		return lifecycle->by_name[place];
	if (number == MAX_STATES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("invalid lifecycle: it has more than %d states", MAX_STATES)));

	lifecycle->states = extend_array(lifecycle->states, number, sizeof(LifecycleState));
	lifecycle->by_name = extend_array(lifecycle->by_name, number, sizeof(int));
	state = &lifecycle->states[number];
	state->length = value->val.string.len;
	state->name = pnstrdup(value->val.string.val, state->length);
	state->ntargets = 0;
	state->targets = NULL;
	memmove(&lifecycle->by_name[place + 1], &lifecycle->by_name[place],
			(number - place) * sizeof(int));
	lifecycle->by_name[place] = number;
	lifecycle->nstates++;
	return number;
}

/*
 * Adds a target to a state unless it has it already.
 */
static void
add_target(LifecycleState *state, int target)
{
	for (int i = 0; i < state->ntargets; i++)
	{
		if (state->targets[i] == target)
			return;
	}
	state->targets = extend_array(state->targets, state->ntargets, sizeof(int));
	state->targets[state->ntargets++] = target;
}

/*
 * Reads a graph into a lifecycle, which may have states and targets before.
 * Raises 22023 for JSON of another shape and for a state that leads to itself,
 * 54000 for too many states.
 */
static void
read_graph(Lifecycle *lifecycle, Jsonb *graph)
{
	JsonbIterator *iterator = JsonbIteratorInit(&graph->root);
	JsonbValue	value;

	if (JsonbIteratorNext(&iterator, &value, false) != WJB_BEGIN_OBJECT)
		refuse_shape("invalid lifecycle: it is not an object");
	while (JsonbIteratorNext(&iterator, &value, false) == WJB_KEY)
	{
		int			from = read_state(lifecycle, &value);

		if (JsonbIteratorNext(&iterator, &value, false) != WJB_BEGIN_ARRAY)
			refuse_shape(psprintf("invalid lifecycle: what state \"%s\" leads to is not an array",
								  lifecycle->states[from].name));
		while (JsonbIteratorNext(&iterator, &value, true) == WJB_ELEM)
		{
			int			to = read_state(lifecycle, &value);

			if (from == to)
				refuse_shape(psprintf("invalid lifecycle: state \"%s\" leads to itself",
									  lifecycle->states[from].name));
			add_target(&lifecycle->states[from], to);
		}
	}
}

/*
 * Parses a state graph.  Raises 22023 for JSON of another shape, an empty
 * name, a state that leads to itself, and a graph without a fate, 54000 for one
 * with too many states.
 */
Lifecycle *
lifecycle_parse(Jsonb *graph)
{
	Lifecycle  *lifecycle = palloc0(sizeof(Lifecycle));

	read_graph(lifecycle, graph);
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		if (lifecycle_is_fate(lifecycle, i))
			return lifecycle;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid lifecycle: it has no fate"),
			 errhint("A fate is a state that leads nowhere. Name one as a target and give it no targets of its own.")));
}

/*
 * Parses a state graph with further transitions added to it.  Raises what
 * lifecycle_parse does, and PF006 for a way out of one of its fates.
 */
Lifecycle *
lifecycle_extend(Jsonb *graph, Jsonb *transitions)
{
	Lifecycle  *lifecycle = lifecycle_parse(graph);
	int			known = lifecycle->nstates;
	bool	   *was_fate = palloc(known * sizeof(bool));

	for (int i = 0; i < known; i++)
		was_fate[i] = lifecycle_is_fate(lifecycle, i);
	read_graph(lifecycle, transitions);

	for (int i = 0; i < known; i++)
	{
		const LifecycleState *fate = &lifecycle->states[i];
		const char *new_state;
		StringInfoData detail;

		if (!was_fate[i] || lifecycle_is_fate(lifecycle, i))
			continue;
		new_state = lifecycle->states[fate->targets[0]].name;
		detail_begin(&detail);
		detail_text(&detail, "fate", fate->name);
		detail_text(&detail, "new_state", new_state);
		ereport(ERROR,
				(errcode(ERRCODE_FATE_PROTECTED),
				 errmsg("cannot add a way out of the fate \"%s\"", fate->name),
				 errdetail_internal("%s", detail_end(&detail)),
				 errhint("Fates are for ever. Lead to a new fate from a state that is none.")));
	}
	return lifecycle;
}

/*
 * Returns for each state whether another leads to it.
 */
static bool *
find_led_to(const Lifecycle *lifecycle)
{
	bool	   *led_to = palloc0(lifecycle->nstates * sizeof(bool));

	for (int i = 0; i < lifecycle->nstates; i++)
	{
		for (int j = 0; j < lifecycle->states[i].ntargets; j++)
			led_to[lifecycle->states[i].targets[j]] = true;
	}
	return led_to;
}

/*
 * Writes a lifecycle as JSON that lifecycle_parse reads: every state that
 * leads somewhere, with its targets.  Fates are the targets that are no keys;
 * only a fate that nothing leads to needs a key of its own.
 */
Jsonb *
lifecycle_to_jsonb(const Lifecycle *lifecycle)
{
	bool	   *led_to = find_led_to(lifecycle);
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		int			count;
		const char **targets = lifecycle_targets(lifecycle, i, &count);

		if (count == 0 && led_to[i])
			continue;
		if (json.len > 1)
			appendStringInfoChar(&json, ',');
		escape_json(&json, lifecycle->states[i].name);
		appendStringInfoString(&json, ":[");
		for (int j = 0; j < count; j++)
		{
			if (j > 0)
				appendStringInfoChar(&json, ',');
			escape_json(&json, targets[j]);
		}
		appendStringInfoChar(&json, ']');
	}
	appendStringInfoChar(&json, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

/*
 * Returns the number of the state of that name (length in bytes, not
 * necessarily terminated), or NO_STATE.
 */
int
lifecycle_find(const Lifecycle *lifecycle, const char *name, int length)
{
	bool		found;
	int			place = search_name(lifecycle, name, length, &found);

	return found ? lifecycle->by_name[place] : NO_STATE;
}

/*
 * Returns the number of the state of that name, or NO_STATE; also for no name.
 */
int
lifecycle_find_name(const Lifecycle *lifecycle, const char *name)
{
	return name == NULL ? NO_STATE : lifecycle_find(lifecycle, name, strlen(name));
}

/*
 * Returns a state or a transition that another lifecycle has and this one has not, for
 * people, in the current memory context; NULL if it has all of them.
 */
char *
lifecycle_lacks(const Lifecycle *lifecycle, const Lifecycle *other)
{
	for (int i = 0; i < other->nstates; i++)
	{
		const LifecycleState *state = &other->states[i];
		int			from = lifecycle_find_name(lifecycle, state->name);

		if (from == NO_STATE)
			return psprintf("the state \"%s\"", state->name);
		for (int j = 0; j < state->ntargets; j++)
		{
			const char *target = other->states[state->targets[j]].name;
			int			to = lifecycle_find_name(lifecycle, target);

			if (to == NO_STATE || !lifecycle_allows(lifecycle, from, to))
				return psprintf("the transition from \"%s\" to \"%s\"", state->name, target);
		}
	}
	return NULL;
}

/*
 * Is the state one that nothing leads out of?
 */
bool
lifecycle_is_fate(const Lifecycle *lifecycle, int state)
{
	return lifecycle->states[state].ntargets == 0;
}

/*
 * May a row go from one state to the other?  From no state, nothing may.
 */
bool
lifecycle_allows(const Lifecycle *lifecycle, int from_state, int to_state)
{
	if (from_state == NO_STATE)
		return false;
	for (int i = 0; i < lifecycle->states[from_state].ntargets; i++)
	{
		if (lifecycle->states[from_state].targets[i] == to_state)
			return true;
	}
	return false;
}

/*
 * Returns the names of the states that a state (or NO_STATE) leads to, in the
 * order of the graph, and their number in *count.
 */
const char **
lifecycle_targets(const Lifecycle *lifecycle, int state, int *count)
{
	const char **names;

	*count = state == NO_STATE ? 0 : lifecycle->states[state].ntargets;
	names = palloc(Max(1, *count) * sizeof(char *));
	for (int i = 0; i < *count; i++)
		names[i] = lifecycle->states[lifecycle->states[state].targets[i]].name;
	return names;
}

/*
 * Returns the names of all states, quoted and separated by commas, for a hint.
 */
char *
lifecycle_state_list(const Lifecycle *lifecycle)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lifecycle->nstates; i++)
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", lifecycle->states[i].name);
	return list.data;
}

/*
 * Orders the states for a drawing: first those that nothing leads to, then
 * breadth first along the transitions, then what only cycles lead to.
 * Returns the numbers, and in *ninitial how many of the first kind there are.
 */
static int *
drawing_order(const Lifecycle *lifecycle, int *ninitial)
{
	int		   *order = palloc(lifecycle->nstates * sizeof(int));
	bool	   *led_to = find_led_to(lifecycle);
	bool	   *placed = palloc0(lifecycle->nstates * sizeof(bool));
	int			count = 0;
	int			next = 0;

	for (int i = 0; i < lifecycle->nstates; i++)
	{
		if (!led_to[i])
		{
			placed[i] = true;
			order[count++] = i;
		}
	}
	*ninitial = count;

	for (int i = 0; i < lifecycle->nstates; i++)
	{
		for (; next < count; next++)
		{
			const LifecycleState *state = &lifecycle->states[order[next]];

			for (int j = 0; j < state->ntargets; j++)
			{
				if (!placed[state->targets[j]])
				{
					placed[state->targets[j]] = true;
					order[count++] = state->targets[j];
				}
			}
		}
		if (!placed[i])
		{
			placed[i] = true;
			order[count++] = i;
		}
	}
	return order;
}

/*
 * Is the name one that Mermaid takes for a state as it stands?  Some of its keywords are
 * such in lower case alone, so names in lower case get an alias too; and these, of Mermaid
 * 11, in any case.
 */
static bool
is_plain_name(const char *name)
{
	static const char *const keywords[] = {
		"CLASS", "CLASSDEF", "CLICK", "DEFAULT", "HREF", "NOTE", "SCALE", "STATE",
		"STATEDIAGRAM", "STYLE"
	};

	for (int i = 0; i < lengthof(keywords); i++)
	{
		if (strcmp(name, keywords[i]) == 0)
			return false;
	}
	if (*name < 'A' || *name > 'Z')
		return false;
	return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(name);
}

/*
 * Appends a state's name as Mermaid refers to it: itself, or an alias.
 */
static void
append_reference(StringInfo drawing, const Lifecycle *lifecycle, int state)
{
	if (is_plain_name(lifecycle->states[state].name))
		appendStringInfoString(drawing, lifecycle->states[state].name);
	else
		appendStringInfo(drawing, "s%d", state + 1);
}

/*
 * Appends the declaration of a state that is drawn under an alias.  Mermaid's
 * quoted text knows no backslash: what would end it is written as an entity.
 */
static void
append_alias(StringInfo drawing, const LifecycleState *state, int number)
{
	appendStringInfoString(drawing, "    state \"");
	for (const char *c = state->name; *c != '\0'; c++)
	{
		if (strchr("\"#;:<>&\\", *c) != NULL || (unsigned char) *c < ' ')
			appendStringInfo(drawing, "#%d;", (unsigned char) *c);
		else
			appendStringInfoChar(drawing, *c);
	}
	appendStringInfo(drawing, "\" as s%d\n", number + 1);
}

/*
 * Draws the lifecycle as a Mermaid stateDiagram-v2.
 */
char *
lifecycle_draw(const Lifecycle *lifecycle)
{
	StringInfoData drawing;
	int			ninitial;
	int		   *order = drawing_order(lifecycle, &ninitial);

	initStringInfo(&drawing);
	appendStringInfoString(&drawing, "stateDiagram-v2\n");
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		if (!is_plain_name(lifecycle->states[order[i]].name))
			append_alias(&drawing, &lifecycle->states[order[i]], order[i]);
	}
	for (int i = 0; i < ninitial; i++)
	{
		appendStringInfoString(&drawing, "    [*] --> ");
		append_reference(&drawing, lifecycle, order[i]);
		appendStringInfoChar(&drawing, '\n');
	}
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		const LifecycleState *state = &lifecycle->states[order[i]];

		for (int j = 0; j < Max(1, state->ntargets); j++)
		{
			appendStringInfoString(&drawing, "    ");
			append_reference(&drawing, lifecycle, order[i]);
			appendStringInfoString(&drawing, " --> ");
			if (state->ntargets == 0)
				appendStringInfoString(&drawing, "[*]");
			else
				append_reference(&drawing, lifecycle, state->targets[j]);
			appendStringInfoChar(&drawing, '\n');
		}
	}
	return drawing.data;
}
