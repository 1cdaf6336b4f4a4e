-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION petition_cas" to load this file. \quit

--
-- Lifecycles
--

CREATE FUNCTION petition_lifecycle() RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '{"RECEIVED": ["DELIBERATING", "ACKNOWLEDGED"], "DELIBERATING": ["ACKNOWLEDGED", "REFERRED", "ESCALATED"]}'::jsonb;

COMMENT ON FUNCTION petition_lifecycle() IS
'The lifecycle of petitions: each state that leads to others, with the states it leads to. The states that lead nowhere are the fates.';

CREATE FUNCTION lifecycle(relation regclass, state_column name DEFAULT NULL) RETURNS jsonb
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION lifecycle(regclass, name) IS
'The lifecycle of a governed relation, by state_column if it has several. Errors: 55000 if it is not governed, 22023 for a state_column that is not governed, or none where there are several lifecycles, 22004 for null.';

CREATE FUNCTION allowed_transitions(relation regclass, from_state text, state_column name DEFAULT NULL) RETURNS text[]
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION allowed_transitions(regclass, text, name) IS
'The states that from_state leads to in the lifecycle of a governed relation, by state_column if it has several; none for a fate. Errors: 22023 for a state that is not in it, and for a state_column that is not governed, or none where there are several lifecycles, 55000 if the relation is not governed, 22004 for null.';

CREATE FUNCTION is_fate(relation regclass, state text, state_column name DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION is_fate(regclass, text, name) IS
'Whether a state is a fate, that is, leads to no other in the lifecycle of a governed relation, by state_column if it has several. Errors: 22023 for a state that is not in it, and for a state_column that is not governed, or none where there are several lifecycles, 55000 if the relation is not governed, 22004 for null.';

CREATE FUNCTION extend_lifecycle(relation regclass, transitions jsonb, state_column name DEFAULT NULL) RETURNS jsonb
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION extend_lifecycle(regclass, jsonb, name) IS
'Adds states and transitions, written as a lifecycle, to that of a governed relation, by state_column if it has several; returns the whole lifecycle. Waits for transactions that have written to the relation. Only for its owner. Errors: PF006 for a transition out of a fate, 22023 for JSON of another form, states that the column cannot hold, a lifecycle without a fate, or a state_column that is not governed, or none where there are several lifecycles, 54000 for more than 1000 states, 55000 if the relation is not governed or a governed column is gone, 42809 for a partition, 55006 if trigger events of it are pending, 42501 if the caller does not own it, 22004 for null.';

CREATE FUNCTION lifecycle_diagram(relation regclass, state_column name DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION lifecycle_diagram(regclass, name) IS
'The lifecycle of a governed relation, by state_column if it has several, as a Mermaid stateDiagram-v2. Errors: 55000 if it is not governed, 22023 for a state_column that is not governed, or none where there are several lifecycles, 22004 for null.';

--
-- Governed tables and the ledger
--

CREATE FUNCTION guard_fate() RETURNS trigger
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION guard_fate() IS
'The row trigger of a lifecycle of a governed table, which govern creates: petition_cas_guard, and petition_cas_guard_<state column> for each lifecycle after the first. Its arguments are key columns, state column, ledger, lifecycle and, if they are not the default, options. Records fates in the ledger. Errors: PF002 for a change of a fate, or if the ledger holds another one, PF003 for a transition that is not in the lifecycle, or an insertion in a state that is not an initial one, PF006 for a changed key, changed evidence of a fated row or, unless keep_rows is false, the DELETE of a fated row, 22023 for an unknown state or an actor, reason or request_id that cannot be recorded, 23502 for a null state, 55000 for a fate if the table or its ledger is unsound, and for any change if a governed column is gone, 55006 for a fate while the table is rewritten, 42P01 if the ledger is gone, 42501 if it has another owner, 39P01 if called otherwise.';

CREATE FUNCTION guard_truncate() RETURNS trigger
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION guard_truncate() IS
'The statement trigger petition_cas_truncate of a governed table, which govern creates. Errors: PF006 for a TRUNCATE after which a ledger of the table still has rows, unless keep_rows is false, 42P01 if a ledger is gone, 42501 if it has another owner.';

CREATE FUNCTION guard_ledger() RETURNS trigger
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION guard_ledger() IS
'The triggers petition_cas_ledger and petition_cas_ledger_truncate of a ledger, which govern creates; if the ledger''s name does not say whose it is, the arguments are its table and, for a lifecycle after the first, its state column. Errors: PF006 for UPDATE, DELETE and TRUNCATE, unless the ledger''s owner truncates its table too.';

CREATE FUNCTION govern(relation regclass, lifecycle jsonb,
                       key_column name DEFAULT NULL, state_column name DEFAULT 'state',
                       initial_states text[] DEFAULT NULL, evidence name[] DEFAULT NULL,
                       keep_rows boolean DEFAULT true, history boolean DEFAULT false)
    RETURNS regclass
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION govern(regclass, jsonb, name, name, text[], name[], boolean, boolean) IS
'Puts a state column of a table under a lifecycle, beside others that it may have: creates its triggers and its ledger, <table>_fates or, after the first, <table>_<state column>_fates (or takes over one that is sound, agrees with every row, and has no fates without rows, unless keep_rows is false), records the fates that rows have, and returns the ledger. The key is the primary key, or key_column. initial_states are those in which rows may be inserted, null any; evidence are the columns that a decision rests on, whose hash the ledger records; keep_rows, whether fated rows can be deleted no more. Judges what is committed when it is called. Called again, it changes nothing, or extends the lifecycle if the new one does that. Only for the owner. Errors: 42809 if it is not an ordinary or partitioned table, or is a partition, an inheritance parent or child, temporary or a ledger, 42710 if the column is governed already in another way, or another trigger has the name of the guard, 42703 for a column it does not have, 42701 for two key columns that would have the same name in the ledger, or evidence that is named twice, 42804 for a state column of a type that holds no states, 54000 for more than 1000 states, 55000 for a key that is nullable or has no unique index on it alone, for a relation in the ledger''s place that cannot be taken over, or for rows at odds with an earlier ledger or missing from the table, 55006 if trigger events of the table are pending, 22023 for an invalid lifecycle, states that the column cannot hold, rows in states that are not in it, initial_states that are empty or not in it, evidence that is empty, or the key or the state, or another key than that of the table''s other lifecycles, 42501 if the caller does not own the table, 22004 for null.';

CREATE FUNCTION govern_ddl(relation regclass, state_column name DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE;

COMMENT ON FUNCTION govern_ddl(regclass, name) IS
'The calls of govern that make a relation governed as it is, for a migration: a line for each of its lifecycles, or the one of state_column, the first lifecycle first. Errors: 55000 if the relation is not governed, or its key has several columns and the primary key is another one by now, 22023 for a state_column that is not governed, 42809 for a partition, 22004 for null.';

CREATE FUNCTION ungovern(relation regclass, state_column name DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION ungovern(regclass, name) IS
'Drops the triggers of a governed table, or of one of its lifecycles, by state_column; the ledger stays, with its own triggers. Only for the owner. Errors: 55000 if the table is not governed, 22023 for a state_column that is not governed, or none where there are several lifecycles, 42809 for a partition, 55006 if trigger events of it are pending, 42501 if the caller does not own it, 22004 for null.';

CREATE FUNCTION verify_fates(relation regclass, state_column name DEFAULT NULL, OUT key text, OUT problem text) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION verify_fates(regclass, name) IS
'Compares a governed table with its ledgers both ways, or with that of state_column alone, as they are committed when it is called, and checks whether table, triggers and ledgers are sound; returns each problem, with the key if it is one of a row, and nothing if all is well. A problem without a key keeps the table from assigning fates, unless its text begins with imprudent. Only for the owner. Errors: 55000 if the relation is not governed, 22023 for a state_column that is not governed, 42809 for a partition, 42501 if the caller does not own it, 22004 for null.';

CREATE FUNCTION backfill_fates(relation regclass, state_column name DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION backfill_fates(regclass, name) IS
'Adds a ledger row for each fated row that lacks one, as after an import under the replica role, in all lifecycles of the table or in that of state_column; returns how many. Only for the owner. Errors: 55000 if the relation is not governed or is unsound, 22023 for a state_column that is not governed, and for a setting that cannot be recorded, 42809 for a partition, 42P01 if the ledger is gone, 42501 if the caller does not own the table or the ledger has another owner, 22004 for null.';

CREATE FUNCTION fates_since(relation regclass, token text DEFAULT NULL, at_most bigint DEFAULT NULL,
                            state_column name DEFAULT NULL,
                            OUT key text, OUT from_state text, OUT fate text, OUT assigned_at timestamptz,
                            OUT assigned_by text, OUT transaction_id xid8, OUT reason text,
                            OUT request_id text, OUT evidence_hash text, OUT next_token text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE;

COMMENT ON FUNCTION fates_since(regclass, text, bigint, name) IS
'The fates of a governed table that come after a token, which is the next_token of the last row that was read before; null begins with the first. It ends before the oldest transaction that is running: so nothing is skipped and nothing returned twice, in whatever order transactions commit. at_most: how many. Errors: 22023 for an invalid token, one of another cluster, one of a transaction that a primary has not had, a negative at_most, or a state_column that is not governed, or none where there are several lifecycles, 55000 if the relation is not governed, or its ledger has fates of another cluster''s transactions, 0A000 for a distributed table and for a ledger that a subscription writes, 42501 without SELECT on the ledger, 42809 for a partition, 42P01 if the ledger is gone, 22004 for null.';

CREATE FUNCTION forget_actor(relation regclass, actor text, pseudonym text, state_column name DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION forget_actor(regclass, text, text, name) IS
'Replaces the name of an actor in the ledgers and histories of a table, or in those of state_column, as they are committed when it is called: assigned_by and moved_by, and nothing else; returns in how many rows. Only for the owner. Errors: 55000 if the relation is not governed or is unsound, or a BEFORE UPDATE trigger could change more, 22023 for names that are empty or cannot be recorded, and for a state_column that is not governed, 42809 for a partition, 42P01 if the ledger or history is gone, 42501 if the caller does not own the table or one of them has another owner, 0A000 if it is distributed, 22004 for null.';

CREATE FUNCTION row_key(subject anyelement) RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION row_key(anyelement) IS
'The text of the key of a row of a governed table, as compare_and_swap takes it: of one column its text form, of several a JSON array of theirs; null for no row. Errors: 55000 if the table is not governed, 42804 if the argument does not have the row type of a table.';

CREATE FUNCTION evidence_hash(subject anyelement, state_column name DEFAULT NULL) RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION evidence_hash(anyelement, name) IS
'The hash of the columns of a row of a governed table that a decision on it rests on, of the lifecycle of state_column if there are several; null for no row. A swap takes it as seen_hash. It is lower-case hexadecimal SHA-256 over, for each column in the order of govern, its name, a newline, the length in bytes of its text form or - for null, a newline, the text form and a newline, all in UTF-8. Errors: 55000 if the table is not governed, or without evidence, 22023 for a state_column that is not governed, or none where there are several lifecycles, 42804 if the argument does not have the row type of a table.';

CREATE FUNCTION hash_evidence(columns record, names text[]) RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION hash_evidence(record, text[]) IS
'The same hash of a record whose columns have those names, which the statements of swaps ask for. Errors: 22023 unless there are as many names as columns, or for a row of a table that has lost a column, 22004 for null, or a null among the names.';

CREATE FUNCTION governed_tables(OUT relation regclass, OUT state_column name, OUT key_columns name[], OUT ledger regclass,
                                OUT history regclass, OUT lifecycle jsonb, OUT options jsonb, OUT problems text[])
    RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE;

COMMENT ON FUNCTION governed_tables() IS
'Each lifecycle of the database, of tables on which the caller has any right, with the problems that verify_fates tells without reading rows; none: {}. It reads catalogs alone and waits for nobody.';

CREATE FUNCTION petition_cas_version() RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION petition_cas_version() IS
'The version of the library that is loaded.';

CREATE FUNCTION petition_cas_counters(
    OUT database name, OUT since timestamptz, OUT assigned bigint, OUT not_found bigint, OUT already_fated bigint,
    OUT concurrent_modification bigint, OUT evidence_changed bigint, OUT invalid_transition bigint,
    OUT roster_changed bigint) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE ROWS 10;

COMMENT ON FUNCTION petition_cas_counters() IS
'What the functions that swap have told their callers, row by row, and how many claims were refused, in each database of the server, since it was started or, where that is later, since they were first used there. What was assigned is counted when its transaction commits. Needs PostgreSQL 17 or later. Errors: 0A000 before that.';

--
-- Fates
--

CREATE TYPE petition_submission AS (
    id uuid,
    type text,
    text text,
    submitter_id uuid,
    state text,
    content_hash bytea,
    realm text,
    fate_reason text,
    created_at timestamptz,
    updated_at timestamptz
);

COMMENT ON TYPE petition_submission IS
'A petition, as returned by assign_fate: the columns of the table that create_petitions creates.';

CREATE FUNCTION create_petitions() RETURNS regclass
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION create_petitions() IS
'Creates the table petition_submissions in the current schema, governed by petition_lifecycle(); returns it. Errors: 42P07 if such a table exists, 3F000 if no schema is selected, and those of govern.';

CREATE FUNCTION assign_fate(submission_id uuid, expected_state text, new_state text,
                            reason text DEFAULT NULL, seen_hash text DEFAULT NULL,
                            request_id text DEFAULT NULL)
    RETURNS petition_submission
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION assign_fate(uuid, text, text, text, text, text) IS
'Gives a petition its fate if it is in expected_state; returns the petition. The reason is recorded in the petition and in the ledger. seen_hash is the evidence_hash of the petition as it was seen; a request_id makes a retry of the call safe. Errors: PF004 if there is no such petition, PF002 if it was fated when the call began, PF001 if it is in another state or changed while the call ran, PF007 if its evidence does not have seen_hash, PF003 if the lifecycle has no such transition or new_state is not a fate, 22023 for an unknown state, a reason or request_id that cannot be recorded, a seen_hash that is no hash, or for a table without evidence, 55000 if the update was suppressed or altered, several rows have the id, or the table is unsound or not governed, 42P01 if there is no petition_submissions on the search_path, 22004 for null.';

CREATE FUNCTION try_assign_fate(submission_id uuid, expected_state text, new_state text,
                                reason text DEFAULT NULL, seen_hash text DEFAULT NULL,
                                request_id text DEFAULT NULL,
                                OUT outcome text, OUT current_state text)
    RETURNS record
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION try_assign_fate(uuid, text, text, text, text, text) IS
'Like assign_fate, but returns the outcome (assigned, not_found, already_fated, concurrent_modification, evidence_changed, invalid_transition) and the petition''s present state (null if there is none) instead of raising PF001 to PF004 and PF007. Other errors are raised, and also PF002 if the ledger holds a fate that the row does not have.';

CREATE FUNCTION assign_fates(submission_ids uuid[], expected_state text, new_state text,
                             reason text DEFAULT NULL, request_id text DEFAULT NULL)
    RETURNS TABLE (submission_id uuid, outcome text, current_state text)
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION assign_fates(uuid[], text, text, text, text) IS
'Like try_assign_fate for many petitions in one statement, which locks them in the order of their ids; returns an outcome for each, in the order given. An id that is given again repeats the outcome of the first time, except that already_fated follows assigned, unless there is a request_id. Errors: those of try_assign_fate, 22004 for a null id, and 0A000 on a table with an ON UPDATE DO ALSO rule.';

CREATE FUNCTION compare_and_swap(subject anyelement, key anycompatible, expected_state text, new_state text,
                                 changes jsonb DEFAULT NULL, reason text DEFAULT NULL,
                                 seen_hash text DEFAULT NULL, request_id text DEFAULT NULL,
                                 state_column name DEFAULT NULL)
    RETURNS anyelement
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION compare_and_swap(anyelement, anycompatible, text, text, jsonb, text, text, text, name) IS
'Moves a row of a governed table from expected_state to new_state, by any transition of its lifecycle; returns the row. The table is named by the type of subject, such as null::orders. The key may be of any type, and its text form is read by the key''s own; one of several columns is a JSON array of their values, or an object. changes are other columns to set in the same UPDATE, a JSON object; the reason is recorded in the ledger; seen_hash is the evidence_hash of the row as it was seen; a request_id makes a retry of the call safe; state_column names the lifecycle if there are several. Errors: those of assign_fate, and 42804 if subject does not have the row type of a table, 23514 if it is of a domain that the row would violate, 22023 also for a key of another form, changes that are no object or set the key, a state column or evidence that was seen, a request_id for a transition that is no fate of a table without a history, and a state_column that is not governed, or none where there are several lifecycles, 42703 for changes of a column that there is not, 0A000 for a generated state column.';

CREATE FUNCTION try_compare_and_swap(subject anyelement, key anycompatible, expected_state text, new_state text,
                                     changes jsonb DEFAULT NULL, reason text DEFAULT NULL,
                                     seen_hash text DEFAULT NULL, request_id text DEFAULT NULL,
                                     state_column name DEFAULT NULL,
                                     OUT outcome text, OUT current_state text)
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION try_compare_and_swap(anyelement, anycompatible, text, text, jsonb, text, text, text, name) IS
'Like compare_and_swap, but returns the outcome and the row''s present state, as try_assign_fate does. On a table with keep_rows false, a fate that the ledger holds for the key is already_fated.';

CREATE FUNCTION try_compare_and_swap(relation regclass, key anycompatible, expected_state text, new_state text,
                                     changes jsonb DEFAULT NULL, reason text DEFAULT NULL,
                                     seen_hash text DEFAULT NULL, request_id text DEFAULT NULL,
                                     state_column name DEFAULT NULL,
                                     OUT outcome text, OUT current_state text)
    AS 'MODULE_PATHNAME', 'try_compare_and_swap_relation' LANGUAGE C;

COMMENT ON FUNCTION try_compare_and_swap(regclass, anycompatible, text, text, jsonb, text, text, text, name) IS
'The same for a table that is a value, such as a parameter: $1::regclass. Errors: as for the other form, 42P01 if there is no such relation, 22004 for null.';

CREATE FUNCTION compare_and_swap_many(subject anyelement, keys anycompatiblearray, expected_state text, new_state text,
                                      changes jsonb DEFAULT NULL, reason text DEFAULT NULL,
                                      request_id text DEFAULT NULL, state_column name DEFAULT NULL,
                                      OUT key text, OUT outcome text, OUT current_state text) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION compare_and_swap_many(anyelement, anycompatiblearray, text, text, jsonb, text, text, name) IS
'Like try_compare_and_swap for many rows in one statement, which locks them in the order of their keys; returns an outcome for each key, in the order given. A key that is given again repeats the outcome of the first time, except that assigned is followed, without a request_id, by already_fated after a fate, and by concurrent_modification after another transition. Errors: those of try_compare_and_swap, 22004 for a null key, and 0A000 on a table with an ON UPDATE DO ALSO rule, or with a key column that is an array.';

--
-- Storage guard against DDL
--

CREATE FUNCTION guard_start() RETURNS event_trigger
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION guard_start() IS
'Looks, before a DDL command begins, at the governed tables that it names, and refuses a command that would commit midway and leave a table or its ledger without a key. Errors: PF006, unless petition_cas.allow_unguard is on.';

CREATE FUNCTION guard_ddl() RETURNS event_trigger
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION guard_ddl() IS
'Refuses DDL after which a governed table that the command touched has a problem that it did not have before, and DDL that alters the type of its key or states. Gives the ledger to the new owner of its table. Errors: PF006, unless petition_cas.allow_unguard is on.';

CREATE FUNCTION guard_drop() RETURNS event_trigger
    AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION guard_drop() IS
'Refuses the drop of a part of a governed table or its ledger: a trigger, a column, the ledger. Errors: PF006, unless petition_cas.allow_unguard is on.';

CREATE EVENT TRIGGER petition_cas_start ON ddl_command_start EXECUTE FUNCTION guard_start();
ALTER EVENT TRIGGER petition_cas_start ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER petition_cas_start IS
'Looks, before a DDL command begins, at the governed tables that it names.';

CREATE EVENT TRIGGER petition_cas_ddl ON ddl_command_end EXECUTE FUNCTION guard_ddl();
ALTER EVENT TRIGGER petition_cas_ddl ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER petition_cas_ddl IS
'Refuses DDL after which a governed table is unsound.';

CREATE EVENT TRIGGER petition_cas_drop ON sql_drop EXECUTE FUNCTION guard_drop();
ALTER EVENT TRIGGER petition_cas_drop ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER petition_cas_drop IS
'Refuses the drop of a part of a governed table or its ledger.';

--
-- Rosters
--

CREATE FUNCTION roster_hash(ids anyarray, scope text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION roster_hash(anyarray, text) IS
'The hash of a set of ids: lower-case hexadecimal SHA-256 over the scope and a newline, then each id''s text form and a newline, sorted bytewise, without duplicates. Errors: 22004 for a null id, 22023 for a newline in an id or the scope.';

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
'A filter as a JSON array with an object for each term: field, negated, operator (=, <, <=, >, >=, .. or *) and values. Errors: 42601, with the position, for a syntax error or a character that must be quoted, 54000 for a filter that is too large.';

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
'The ids that a filter selects from a table or view, as text, sorted, and their hash. With period_column, those at the moment at, or now. Errors: those of parse_filter, 42703 for an unknown field or column, 42883 for an operator that a type does not have, the type''s own for a value, 0A000 for a type whose values are not read, 22023 for an unknown state of a governed table and for at without period_column, 42804 for a period_column that is not a tstzrange.';

CREATE FUNCTION validate_roster(
	source regclass,
	filter text,
	seen_ids anycompatiblearray,
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

COMMENT ON FUNCTION validate_roster(regclass, text, anycompatiblearray, text, timestamptz, text, boolean, name, name) IS
'Whether a roster is still the one that was seen, or the change is confirmed; also the roster as it is now, its hash and the difference. With seen_ids null the hash alone decides, and the difference is null. Errors: those of resolve_roster, 22023 if seen_hash is not a hash, or not that of seen_ids.';

CREATE FUNCTION claim_roster(
	source regclass,
	filter text,
	seen_ids anycompatiblearray,
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

COMMENT ON FUNCTION claim_roster(regclass, text, anycompatiblearray, text, timestamptz, text, boolean, name, name) IS
'Validates a roster and locks its members until the transaction ends. Errors: those of validate_roster, PF005 (roster_changed) with the difference if it has changed and that is not confirmed, 0A000 for a source whose rows cannot be locked, 42501 for members that the caller may not lock.';
