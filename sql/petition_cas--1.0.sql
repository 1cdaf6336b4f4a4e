-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION petition_cas" to load this file. \quit


-- Rosters

CREATE FUNCTION roster_hash(ids anyarray, scope text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION roster_hash(anyarray, text) IS
'The hash of a set of ids: lower-case hexadecimal SHA-256 over the scope and a newline, then each id''s text form and a newline, sorted bytewise, without doubles. Errors: 22004 for a null id, 22023 for a newline in an id or the scope.';

CREATE FUNCTION roster_hash_agg_transition(internal, anynonarray)
RETURNS internal
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION roster_hash_agg_transition(internal, anynonarray) IS
'Part of the aggregate roster_hash_agg.';

CREATE FUNCTION roster_hash_agg_final(internal)
RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION roster_hash_agg_final(internal) IS
'Part of the aggregate roster_hash_agg.';

CREATE AGGREGATE roster_hash_agg(id anynonarray) (
	SFUNC = roster_hash_agg_transition,
	STYPE = internal,
	FINALFUNC = roster_hash_agg_final,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE roster_hash_agg(anynonarray) IS
'The roster hash of the ids of all rows, without scope. Errors: 22004 for a null id, 22023 for a newline in one.';

CREATE FUNCTION parse_filter(filter text)
RETURNS jsonb
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION parse_filter(text) IS
'A filter as a JSON array with an object for each term: field, negated, operator (=, <, <=, >, >=, .. or *) and values. Errors: 42601 with the position of what is no filter, 54000 for one that is too large.';

CREATE FUNCTION resolve_roster(
	source regclass,
	filter text,
	at timestamptz DEFAULT NULL,
	scope text DEFAULT NULL,
	key_column name DEFAULT 'id',
	period_column name DEFAULT NULL,
	OUT resolved_ids text[],
	OUT roster_hash text)
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION resolve_roster(regclass, text, timestamptz, text, name, name) IS
'The ids that a filter selects from a table or view, as text, sorted, and their hash. With period_column, as of the moment at, or of now. Errors: those of parse_filter, 42703 for an unknown field or column, 42883 for an operator that a type does not have, the type''s own for a value, 22023 for at without period_column, 42804 for a period that is no tstzrange.';

CREATE FUNCTION validate_roster(
	source regclass,
	filter text,
	seen_ids text[],
	seen_hash text,
	at timestamptz DEFAULT NULL,
	scope text DEFAULT NULL,
	confirmed boolean DEFAULT false,
	key_column name DEFAULT 'id',
	period_column name DEFAULT NULL,
	OUT valid boolean,
	OUT resolved_ids text[],
	OUT roster_hash text,
	OUT added text[],
	OUT removed text[])
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION validate_roster(regclass, text, text[], text, timestamptz, text, boolean, name, name) IS
'Whether a roster is still the one that was seen, or the change is confirmed; with the roster as it is now, its hash and the difference. Errors: those of resolve_roster, 22023 if seen_ids do not have the hash seen_hash.';

CREATE FUNCTION claim_roster(
	source regclass,
	filter text,
	seen_ids text[],
	seen_hash text,
	at timestamptz DEFAULT NULL,
	scope text DEFAULT NULL,
	confirmed boolean DEFAULT false,
	key_column name DEFAULT 'id',
	period_column name DEFAULT NULL,
	OUT resolved_ids text[],
	OUT roster_hash text,
	OUT added text[],
	OUT removed text[])
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION claim_roster(regclass, text, text[], text, timestamptz, text, boolean, name, name) IS
'Validates a roster and locks its members until the transaction ends. Errors: those of validate_roster, PF005 (roster_changed) with the difference if it has changed and that is not confirmed, 0A000 for a source whose rows cannot be locked, 42501 for members that the caller may not lock.';
