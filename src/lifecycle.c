/*-------------------------------------------------------------------------
 *
 * lifecycle.c
 *	  The state graph of a governed table: parse it, ask it, draw it.
 *
 * A lifecycle is a JSON object: each state and the states it may go to.  A
 * state that is only ever a target, or that has an empty list of targets, is
 * a fate.  The graph is read as a list of edges, from which the lifecycle is
 * built; extending a lifecycle is building it from the edges of two graphs.
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
#include "utils/memutils.h"

#include "errors.h"
#include "lifecycle.h"

/* How many states a lifecycle may have */
#define MAX_STATES 1000

/* An edge of the graph; without a target, only the mention of a state. */
typedef struct Edge
{
	char	   *from;
	char	   *to;
} Edge;

typedef struct EdgeList
{
	int			count;
	int			capacity;
	Edge	   *edges;
} EdgeList;

#define SHAPE_HINT \
	"A lifecycle is a JSON object of states with arrays of the states they lead to, such as {\"open\": [\"closed\"]}."

/*
 * Raises 22023 for JSON that is no state graph; the format of the message
 * takes the name of a state, if there is one to tell.
 */
static void
refuse_shape(const char *message, const char *state)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg_internal(message, state),
			 errhint(SHAPE_HINT)));
}

/*
 * Returns the name of a state from a JSON string; raises 22023 for a value
 * that is no string and for an empty one.
 */
static char *
state_name(const JsonbValue *value)
{
	if (value->type != jbvString)
		refuse_shape("invalid lifecycle: a state is named by something other than a string", "");
	if (value->val.string.len == 0)
		refuse_shape("invalid lifecycle: a state has an empty name", "");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static void
add_edge(EdgeList *list, char *from, char *to)
{
	if (list->count == list->capacity)
	{
		list->capacity = Max(16, list->capacity * 2);
		if (list->edges == NULL)
			list->edges = palloc(list->capacity * sizeof(Edge));
		else
			list->edges = repalloc_huge(list->edges, list->capacity * sizeof(Edge));
	}
	list->edges[list->count].from = from;
	list->edges[list->count].to = to;
	list->count++;
}

/*
 * Reads the targets of one state up to the end of their array and adds their
 * edges.
 */
static void
read_targets(JsonbIterator **iterator, char *from, EdgeList *list)
{
	JsonbValue	value;

	if (JsonbIteratorNext(iterator, &value, false) != WJB_BEGIN_ARRAY)
		refuse_shape("invalid lifecycle: what state \"%s\" leads to is not an array", from);
	while (JsonbIteratorNext(iterator, &value, true) == WJB_ELEM)
	{
		char	   *to = state_name(&value);

		if (strcmp(from, to) == 0)
			refuse_shape("invalid lifecycle: state \"%s\" leads to itself", from);
		add_edge(list, from, to);
	}
}

/*
 * Adds the edges of a graph to the list; raises 22023 for JSON of another
 * shape.
 */
static void
read_edges(Jsonb *graph, EdgeList *list)
{
	JsonbIterator *iterator = JsonbIteratorInit(&graph->root);
	JsonbValue	value;

	if (JsonbIteratorNext(&iterator, &value, false) != WJB_BEGIN_OBJECT)
		refuse_shape("invalid lifecycle: it is not an object", "");
	while (JsonbIteratorNext(&iterator, &value, false) == WJB_KEY)
	{
		char	   *from = state_name(&value);

		CHECK_FOR_INTERRUPTS();
		add_edge(list, from, NULL);
		read_targets(&iterator, from, list);
	}
}

static int
compare_names(const void *a, const void *b, void *states)
{
	const LifecycleState *array = states;

	return strcmp(array[*(const int *) a].name, array[*(const int *) b].name);
}

/*
 * Numbers the distinct states of the edges in the order in which they are
 * first named, and sorts them for lifecycle_find.
 */
static void
number_states(Lifecycle *lifecycle, const EdgeList *list)
{
	int			mentions = 0;
	int			distinct = 0;
	int		   *sorted;

	lifecycle->states = MemoryContextAllocExtended(CurrentMemoryContext,
												   Max(1, list->count) * sizeof(LifecycleState),
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	sorted = MemoryContextAllocExtended(CurrentMemoryContext,
										Max(1, list->count) * sizeof(int), MCXT_ALLOC_HUGE);

	/* each edge adds at most one state: the source is mentioned on its own */
	for (int i = 0; i < list->count; i++)
	{
		LifecycleState *state = &lifecycle->states[mentions];

		state->name = list->edges[i].to ? list->edges[i].to : list->edges[i].from;
		state->length = strlen(state->name);
		sorted[mentions] = mentions;
		mentions++;
	}
	qsort_arg(sorted, mentions, sizeof(int), compare_names, lifecycle->states);

	/* of equal names the one named first stays: mark the others */
	for (int i = 0; i < mentions;)
	{
		int			first = sorted[i];
		int			next = i + 1;

		for (; next < mentions &&
			 strcmp(lifecycle->states[sorted[next]].name, lifecycle->states[first].name) == 0;
			 next++)
			first = Min(first, sorted[next]);
		for (; i < next; i++)
		{
			if (sorted[i] != first)
				lifecycle->states[sorted[i]].name = NULL;
		}
	}
	for (int i = 0; i < mentions; i++)
	{
		if (lifecycle->states[i].name != NULL)
			lifecycle->states[distinct++] = lifecycle->states[i];
	}

	for (int i = 0; i < distinct; i++)
		sorted[i] = i;
	qsort_arg(sorted, distinct, sizeof(int), compare_names, lifecycle->states);
	lifecycle->nstates = distinct;
	lifecycle->by_name = sorted;
}

/*
 * Adds a target to a state unless it has it already.
 */
static void
add_target(Lifecycle *lifecycle, LifecycleState *state, int target)
{
	for (int i = 0; i < state->ntargets; i++)
	{
		if (state->targets[i] == target)
			return;
	}
	if (state->targets == NULL)
		state->targets = palloc(4 * sizeof(int));
	else if (state->ntargets >= 4 && (state->ntargets & (state->ntargets - 1)) == 0)
		state->targets = repalloc(state->targets, state->ntargets * 2 * sizeof(int));
	state->targets[state->ntargets++] = target;
}

/*
 * Builds a lifecycle from edges; raises 22023 for one without a fate, and 54000
 * for one with more states than there may be.
 */
static Lifecycle *
build(const EdgeList *list)
{
	Lifecycle  *lifecycle = palloc0(sizeof(Lifecycle));
	int			fates = 0;

	number_states(lifecycle, list);
	if (lifecycle->nstates > MAX_STATES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("invalid lifecycle: it has %d states, and may have %d",
						lifecycle->nstates, MAX_STATES)));
	for (int i = 0; i < list->count; i++)
	{
		const Edge *edge = &list->edges[i];
		int			from;

		CHECK_FOR_INTERRUPTS();
		if (edge->to == NULL)
			continue;
		from = lifecycle_find(lifecycle, edge->from, strlen(edge->from));
		add_target(lifecycle, &lifecycle->states[from],
				   lifecycle_find(lifecycle, edge->to, strlen(edge->to)));
	}

	for (int i = 0; i < lifecycle->nstates; i++)
		fates += lifecycle_is_fate(lifecycle, i);
	if (fates == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid lifecycle: it has no fate"),
				 errhint("A fate is a state that leads nowhere. Name one as a target and give it no targets of its own.")));
	return lifecycle;
}

/*
 * Parses a state graph.  Raises 22023 for JSON of another shape, an empty
 * name, a state that leads to itself, and a graph without a fate, 54000 for one
 * with too many states.
 */
Lifecycle *
lifecycle_parse(Jsonb *graph)
{
	EdgeList	list = {0};

	read_edges(graph, &list);
	return build(&list);
}

/*
 * Parses a state graph with further transitions added to it.  Raises what
 * lifecycle_parse does, and PF006 for a way out of one of its fates.
 */
Lifecycle *
lifecycle_extend(Jsonb *graph, Jsonb *transitions)
{
	EdgeList	list = {0};
	Lifecycle  *old = lifecycle_parse(graph);
	int			known;

	read_edges(graph, &list);
	known = list.count;
	read_edges(transitions, &list);

	for (int i = known; i < list.count; i++)
	{
		const Edge *edge = &list.edges[i];
		int			from = lifecycle_find(old, edge->from, strlen(edge->from));
		StringInfoData detail;

		if (edge->to == NULL || from == NO_STATE || !lifecycle_is_fate(old, from))
			continue;

		detail_begin(&detail);
		detail_text(&detail, "fate", edge->from);
		detail_text(&detail, "new_state", edge->to);
		ereport(ERROR,
				(errcode(ERRCODE_FATE_PROTECTED),
				 errmsg("cannot add a way out of the fate \"%s\"", edge->from),
				 errdetail_internal("%s", detail_end(&detail)),
				 errhint("Fates are for ever. Lead to a new fate from a state that is none.")));
	}
	return build(&list);
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
	int			low = 0;
	int			high = lifecycle->nstates;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			number = lifecycle->by_name[middle];
		const LifecycleState *state = &lifecycle->states[number];
		int			order = memcmp(name, state->name, Min(length, state->length));

		if (order == 0)
			order = length - state->length;
		if (order == 0)
			return number;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NO_STATE;
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
 * Is the name one that Mermaid takes for a state as it stands?  Its keywords
 * are all lower case, so names in lower case get an alias too.
 */
static bool
is_plain_name(const char *name)
{
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
