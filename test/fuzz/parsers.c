/*-------------------------------------------------------------------------
 *
 * parsers.c
 *	  Feeds the parsers of filters and lifecycles to libFuzzer.
 *
 * fuzz(target, options), a function in SQL, hands its backend over to
 * libFuzzer, which calls the target with one input after the other and never
 * returns: in the end, or with a finding, the process exits.  So it is made
 * for a server in single-user mode, which test/fuzz/run starts.
 *
 * The parsers run in the server that they are written for, with its errors,
 * its JSON and its multibyte functions; only their memory is not the
 * server's, see exact.c.  A finding is a byte read or written where there is
 * none, what the undefined behaviour sanitizer stops, an error other than
 * those which the parser promises, and a result that is not what it says: see
 * the check_ functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "exact.h"
#include "filter.h"
#include "lifecycle.h"

PG_MODULE_MAGIC;

/* What libFuzzer gives and takes; it has no header for C. */
extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*callback) (const uint8_t *data, size_t size));
extern void __sanitizer_print_stack_trace(void);

/* A step that may fail, for attempt(). */
typedef void *(*Step) (void *first, void *second);

typedef struct Target
{
	const char *name;
	void		(*run) (const char *input, int length);
} Target;

/* An input, as a step takes it. */
typedef struct Input
{
	const char *data;
	int			length;
} Input;

static const Target *target;
static MemoryContext input_context; /* reset after each input */
static ErrorData *refusal;		/* what attempt() last returned NULL for */

/*
 * Returns a text with nothing behind its last byte, not even a null; a long
 * one has up to three bytes, since its header must be aligned.
 */
static text *
exact_text(const char *data, int length)
{
	text	   *result;

	if (length + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
	{
		result = exact_alloc(length + VARHDRSZ_SHORT, 0);
		SET_VARSIZE_SHORT(result, length + VARHDRSZ_SHORT);
	}
	else
	{
		result = exact_alloc(INTALIGN(length + VARHDRSZ), 0);
		SET_VARSIZE(result, length + VARHDRSZ);
	}
	memcpy(VARDATA_ANY(result), data, length);
	return result;
}

/* --- Findings and errors ------------------------------------------------- */

/*
 * Ends with a finding: libFuzzer shows the input, and how it came here.
 */
pg_noreturn static void
finding(const char *what, const char *value)
{
	fprintf(stderr, "FINDING: %s: %s\n", what, value);
	abort();
}

/*
 * Parses JSON, for attempt(); raises what the server says of it.
 */
static void *
parse_json(void *json, void *unused)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/*
 * Checks that what an error says is text, and that its detail, if it has one,
 * is JSON.
 */
static void
check_refusal(const ErrorData *error)
{
	if (!pg_verifymbstr(error->message, strlen(error->message), true) ||
		(error->hint != NULL && !pg_verifymbstr(error->hint, strlen(error->hint), true)))
		finding("an error that is no text", error->message);
	if (error->detail != NULL)
		parse_json(error->detail, NULL);
}

/*
 * Returns what a step returns, or NULL if it raised an error, which is then
 * left in refusal.  An error that is not among the SQLSTATEs allowed (NULL for
 * any) is a finding.
 */
static void *
attempt(Step step, void *first, void *second, const char *allowed)
{
	MemoryContext context = CurrentMemoryContext;
	void	   *volatile result = NULL;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		result = step(first, second);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();

	refusal = error;
	if (error != NULL && allowed != NULL)
	{
		if (strstr(allowed, unpack_sql_state(error->sqlerrcode)) == NULL)
			finding(unpack_sql_state(error->sqlerrcode), error->message);
		check_refusal(error);
	}
	return result;
}

/* --- Filters ------------------------------------------------------------- */

/*
 * Parses an Input as a filter, for attempt().
 */
static void *
parse_filter(void *input, void *unused)
{
	const Input *source = input;

	return filter_parse(exact_text(source->data, source->length));
}

/*
 * Returns where a character of the input starts, counted from 1, one more
 * than there are being its end; ends with a finding for any other.
 */
static const char *
find_character(const Input *input, int position)
{
	const char *end = input->data + input->length;
	const char *at = input->data;

	if (position < 1)
		finding("position before the input", refusal ? refusal->message : "of a term");
	while (--position > 0)
	{
		if (at == end)
			finding("position behind the input", refusal ? refusal->message : "of a term");
		do
			at++;
		while (at < end && (*at & 0xC0) == 0x80);
	}
	return at;
}

/*
 * Checks that a field or value stands where its position says, with or
 * without quotes.
 */
static void
check_position(const Input *input, int position, const char *text)
{
	const char *at = find_character(input, position);
	Size		rest = input->data + input->length - at;

	if ((rest == 0 || *at != '"') &&
		(rest < strlen(text) || memcmp(at, text, strlen(text)) != 0))
		finding("not at its position", text);
}

/*
 * Writes a field or value in quotes.
 */
static void
append_quoted(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '"');
	for (const char *c = text; *c != '\0'; c++)
	{
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *c);
	}
	appendStringInfoChar(out, '"');
}

/*
 * Writes a filter in its own language.
 */
static Input
write_filter(const Filter *filter)
{
	StringInfoData out;
	Input		written;

	initStringInfo(&out);
	for (int i = 0; i < filter->nterms; i++)
	{
		const FilterTerm *term = &filter->terms[i];
		const char *name = filter_operator_name(term->operator);
		bool		between = term->operator == FILTER_BETWEEN;

		appendStringInfoString(&out, term->negated ? " -" : " ");
		append_quoted(&out, term->field);
		appendStringInfoChar(&out, ':');
		if (term->operator != FILTER_ANY_OF && !between)
			appendStringInfoString(&out, name);
		for (int j = 0; j < term->nvalues; j++)
		{
			if (j > 0)
				appendStringInfoString(&out, between ? name : "|");
			append_quoted(&out, term->values[j].text);
		}
	}
	written.data = out.data;
	written.length = out.len;
	return written;
}

/*
 * Checks that a filter has as many values as its operators take, that they
 * stand in the input in this order, and that the filter is the same when it
 * is written and parsed again.
 */
static void
check_filter(const Input *input, const Filter *filter)
{
	char	   *json = filter_to_json(filter);
	Input		written = write_filter(filter);
	int			last = 0;

	parse_json(json, NULL);
	for (int i = 0; i < filter->nterms; i++)
	{
		const FilterTerm *term = &filter->terms[i];

		if (term->operator == FILTER_PRESENT ? term->nvalues != 0 :
			term->operator == FILTER_BETWEEN ? term->nvalues != 2 :
			term->operator == FILTER_ANY_OF ? term->nvalues < 1 : term->nvalues != 1)
			finding("wrong number of values", json);
		if (term->field[0] == '\0' || term->position <= last)
			finding("no field, or before its time", json);
		check_position(input, term->position, term->field);
		last = term->position;
		for (int j = 0; j < term->nvalues; j++)
		{
			if (term->values[j].position <= last)
				finding("a value before its time", json);
			check_position(input, term->values[j].position, term->values[j].text);
			last = term->values[j].position;
		}
	}
	if (strcmp(json, filter_to_json(parse_filter(&written, NULL))) != 0)
		finding("not the same when parsed again", json);
}

/*
 * The input is a filter.
 */
static void
fuzz_filter(const char *data, int length)
{
	Input		input = {data, length};
	Filter	   *filter = attempt(parse_filter, &input, NULL, "42601 54000");
	int			position;

	if (filter != NULL)
		check_filter(&input, filter);
	else if (refusal->sqlerrcode == ERRCODE_SYNTAX_ERROR)
	{
		if (sscanf(refusal->detail, "{\"position\": %d,", &position) != 1)
			finding("no position", refusal->detail);
		find_character(&input, position);
	}
}

/* --- Lifecycles ---------------------------------------------------------- */

/*
 * Parses JSON as a lifecycle, for attempt().
 */
static void *
parse_lifecycle(void *graph, void *unused)
{
	return lifecycle_parse(graph);
}

/*
 * Extends the lifecycle of a graph, for attempt().
 */
static void *
extend_lifecycle(void *graph, void *transitions)
{
	return lifecycle_extend(graph, transitions);
}

/*
 * Returns the number that one lifecycle has for a state of another.
 */
static int
find_state(const Lifecycle *lifecycle, const LifecycleState *state)
{
	return lifecycle_find(lifecycle, state->name, state->length);
}

/*
 * Checks that the states have names, each of them once, by which they are
 * found, and that the longer and the shorter names next to them are not taken
 * for them.
 */
static void
check_names(const Lifecycle *lifecycle)
{
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		const LifecycleState *state = &lifecycle->states[i];
		char	   *longer = psprintf("%s!", state->name);
		int			found;

		if (state->length == 0 || state->length != strlen(state->name))
			finding("wrong length of a name", state->name);
		if (find_state(lifecycle, state) != i)
			finding("not found by its name", state->name);
		found = lifecycle_find(lifecycle, longer, state->length + 1);
		if (found != NO_STATE && strcmp(lifecycle->states[found].name, longer) != 0)
			finding("found by another name", longer);
		found = lifecycle_find(lifecycle, state->name, state->length - 1);
		if (found != NO_STATE && lifecycle->states[found].length != state->length - 1)
			finding("found by a part of its name", state->name);
	}
}

/*
 * Checks that a lifecycle has the states and transitions of another, and that
 * the fates of that one are fates if they are to be.
 */
static void
check_contains(const Lifecycle *lifecycle, const Lifecycle *other, bool with_fates)
{
	for (int i = 0; i < other->nstates; i++)
	{
		const LifecycleState *state = &other->states[i];
		int			number = find_state(lifecycle, state);

		if (number == NO_STATE)
			finding("a state got lost", state->name);
		if (with_fates && lifecycle_is_fate(other, i) && !lifecycle_is_fate(lifecycle, number))
			finding("no fate any more", state->name);
		for (int j = 0; j < state->ntargets; j++)
		{
			if (!lifecycle_allows(lifecycle, number,
								  find_state(lifecycle, &other->states[state->targets[j]])))
				finding("a transition got lost", state->name);
		}
	}
}

/*
 * Checks that two lifecycles have the same states and transitions.
 */
static void
check_same(const Lifecycle *lifecycle, const Lifecycle *other)
{
	check_contains(lifecycle, other, true);
	check_contains(other, lifecycle, true);
}

/*
 * Checks that a drawing is text with a line for each thing that it has to
 * show, and no quotes but those around the names.
 */
static void
check_drawing(const Lifecycle *lifecycle)
{
	char	   *drawing = lifecycle_draw(lifecycle);
	int			least = 1;
	int			lines = 0;
	int			quotes = 0;

	for (int i = 0; i < lifecycle->nstates; i++)
		least += Max(1, lifecycle->states[i].ntargets);
	for (char *c = drawing; *c != '\0'; c++)
	{
		quotes += *c == '"';
		if (*c != '\n')
			continue;
		if (quotes != 0 && quotes != 2)
			finding("wrong quotes", drawing);
		quotes = 0;
		lines++;
	}
	if (lines < least || lines > least + 2 * lifecycle->nstates ||
		!pg_verifymbstr(drawing, strlen(drawing), true))
		finding("wrong drawing", drawing);
}

/*
 * Checks all that can be said of one lifecycle.
 */
static void
check_lifecycle(const Lifecycle *lifecycle)
{
	char	   *names = lifecycle_state_list(lifecycle);
	int			fates = 0;

	for (int i = 0; i < lifecycle->nstates; i++)
	{
		fates += lifecycle_is_fate(lifecycle, i);
		if (lifecycle_allows(lifecycle, i, i))
			finding("leads to itself", lifecycle->states[i].name);
	}
	if (fates == 0 || !pg_verifymbstr(names, strlen(names), true))
		finding("no fate, or names that are no text", names);
	check_names(lifecycle);
	check_drawing(lifecycle);
	check_same(lifecycle, lifecycle_parse(lifecycle_to_jsonb(lifecycle)));
}

/*
 * Checks the extension of a lifecycle: it has all of the lifecycle and of what
 * was added, and nothing else.  It may be refused for a way out of a fate, or
 * if what was added has another shape, but not if that is a lifecycle.
 */
static void
check_extension(Jsonb *graph, Jsonb *transitions, const Lifecycle *lifecycle)
{
	Lifecycle  *added = attempt(parse_lifecycle, transitions, NULL, "22023");
	Lifecycle  *extended = attempt(extend_lifecycle, graph, transitions, "22023 PF006");

	if (extended == NULL)
	{
		if (added != NULL && refusal->sqlerrcode == ERRCODE_INVALID_PARAMETER_VALUE)
			finding("refused", refusal->message);
		return;
	}
	check_lifecycle(extended);
	check_contains(extended, lifecycle, true);
	if (added == NULL)
		return;
	check_contains(extended, added, false);
	for (int i = 0; i < extended->nstates; i++)
	{
		const LifecycleState *state = &extended->states[i];
		int			before = find_state(lifecycle, state);
		int			beside = find_state(added, state);

		if (before == NO_STATE && beside == NO_STATE)
			finding("a state out of nowhere", state->name);
		for (int j = 0; j < state->ntargets; j++)
		{
			const LifecycleState *to = &extended->states[state->targets[j]];

			if (!lifecycle_allows(lifecycle, before, find_state(lifecycle, to)) &&
				!lifecycle_allows(added, beside, find_state(added, to)))
				finding("a transition out of nowhere", state->name);
		}
	}
}

/*
 * Parses a graph, and transitions to extend it by unless they are NULL, both
 * as JSON.
 */
static void
check_graphs(char *graph_json, char *transitions_json)
{
	Jsonb	   *graph = attempt(parse_json, graph_json, NULL, NULL);
	Jsonb	   *transitions;
	Lifecycle  *lifecycle;

	if (graph == NULL)
		return;
	lifecycle = attempt(parse_lifecycle, graph, NULL, "22023");
	if (lifecycle == NULL)
		return;
	check_lifecycle(lifecycle);
	check_same(lifecycle, lifecycle_extend(graph, graph));

	if (transitions_json == NULL)
		return;
	transitions = attempt(parse_json, transitions_json, NULL, NULL);
	if (transitions != NULL)
		check_extension(graph, transitions, lifecycle);
}

/*
 * The input is JSON; after a newline, which no JSON needs, there may be the
 * JSON of transitions.
 */
static void
fuzz_lifecycle(const char *data, int length)
{
	char	   *graph = pnstrdup(data, length);
	char	   *newline = strchr(graph, '\n');

	if (newline != NULL)
		*newline++ = '\0';
	check_graphs(graph, newline);
}

/*
 * Writes lines as JSON: the words of a line are a state and its targets.
 */
static char *
lines_to_json(char *lines)
{
	StringInfoData json;
	char	   *line;

	initStringInfo(&json);
	while ((line = strsep(&lines, "\n")) != NULL)
	{
		appendStringInfoString(&json, json.len == 0 ? "{" : ", ");
		escape_json(&json, strsep(&line, " "));
		appendStringInfoString(&json, ": [");
		for (int i = 0; line != NULL; i++)
		{
			if (i > 0)
				appendStringInfoString(&json, ", ");
			escape_json(&json, strsep(&line, " "));
		}
		appendStringInfoChar(&json, ']');
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/*
 * The input is a graph in lines, so that nearly every input is a lifecycle;
 * after an empty line there may be transitions.
 */
static void
fuzz_graph(const char *data, int length)
{
	char	   *graph = pnstrdup(data, length);
	char	   *transitions = strstr(graph, "\n\n");

	if (transitions != NULL)
	{
		*transitions = '\0';
		transitions = lines_to_json(transitions + 2);
	}
	check_graphs(lines_to_json(graph), transitions);
}

/* --- libFuzzer ----------------------------------------------------------- */

static const Target targets[] = {
	{"filter", fuzz_filter},
	{"lifecycle", fuzz_lifecycle},
	{"graph", fuzz_graph},
};

/*
 * Prints where we are, for the report of a finding: the addresses of the calls
 * in this module, which test/fuzz/run makes lines of the sources.  libFuzzer
 * looks for a function of this name.
 */
void
__sanitizer_print_stack_trace(void)
{
	void	   *frames[64];
	int			nframes = backtrace(frames, lengthof(frames));
	Dl_info		here;
	Dl_info		there;

	if (dladdr(&targets, &here) == 0)
		return;
	for (int i = 0; i < nframes; i++)
	{
		if (dladdr(frames[i], &there) != 0 && there.dli_fbase == here.dli_fbase)
			fprintf(stderr, "frame: 0x%zx\n", (Size) ((char *) frames[i] - (char *) here.dli_fbase));
	}
}

/*
 * Runs the target on an Input, for attempt().
 */
static void *
run_target(void *input, void *unused)
{
	const Input *given = input;

	target->run(given->data, given->length);
	return input;
}

/*
 * Runs the target on one input.  What is no text in UTF-8 never reaches a
 * parser, and is not to be kept: -1 tells libFuzzer so.
 */
static int
run_input(const uint8_t *data, size_t size)
{
	MemoryContext caller;
	Input		input = {(const char *) data, size};

	if (!pg_verify_mbstr(PG_UTF8, input.data, input.length, true))
		return -1;
	caller = MemoryContextSwitchTo(input_context);
	attempt(run_target, &input, NULL, "");
	MemoryContextSwitchTo(caller);
	MemoryContextReset(input_context);
	exact_reset();
	return 0;
}

/*
 * fuzz(target text, options text[]): hands over to libFuzzer.
 */
PG_FUNCTION_INFO_V1(fuzz);
Datum
fuzz(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum	   *options;
	int			noptions;
	char	  **argv;
	int			argc;

	for (int i = 0; i < lengthof(targets); i++)
	{
		if (strcmp(targets[i].name, name) == 0)
			target = &targets[i];
	}
	if (target == NULL || GetDatabaseEncoding() != PG_UTF8)
		elog(ERROR, "no such target, or a database that is not in UTF-8");

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &options, NULL, &noptions);
	argc = noptions + 1;
	argv = MemoryContextAllocZero(TopMemoryContext, (argc + 1) * sizeof(char *));
	argv[0] = "fuzz";
	for (int i = 0; i < noptions; i++)
		argv[i + 1] = MemoryContextStrdup(TopMemoryContext, TextDatumGetCString(options[i]));

	input_context = AllocSetContextCreate(TopMemoryContext, "fuzz input", ALLOCSET_DEFAULT_SIZES);
	/* libFuzzer takes no signal that somebody else handles */
	pqsignal(SIGALRM, SIG_DFL);
	pqsignal(SIGINT, SIG_DFL);
	pqsignal(SIGTERM, SIG_DFL);
	exit(LLVMFuzzerRunDriver(&argc, &argv, run_input));
}
