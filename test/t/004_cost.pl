# What a call costs: on success one UPDATE, and one INSERT if the ledger is not just
# what govern made, and no other query; and the memory of a session that makes many
# calls is flat.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Race;
use Test::More;

my $library = `pg_config --pkglibdir`;
chomp $library;
plan skip_all => 'pg_stat_statements is not installed' unless -e "$library/pg_stat_statements.so";

my $node = new_server('cost', "shared_preload_libraries = 'pg_stat_statements'",
	'pg_stat_statements.track = all', 'pg_stat_statements.track_planning = on', 'pg_stat_statements.track_utility = off');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, state text, note text);
	SELECT govern('orders', '{"open": ["packed", "void"], "packed": ["shipped"]}');
	CREATE TABLE parcels (id int PRIMARY KEY, state text, note text);
	SELECT govern('parcels', '{"open": ["packed", "void"], "packed": ["shipped"]}', history => true);
	INSERT INTO parcels SELECT n, 'open' FROM generate_series(1, 100) n;
	INSERT INTO orders SELECT n, 'open' FROM generate_series(1, 100) n});
fill_petitions($node, 200);

# Returns the statements that a command executes itself (not the command), each
# with its number of executions. The session has called everything before, so
# that what is read to find out what governs the table is no part of it.
sub statements
{
	my ($command, $level) = @_;
	my $told = $node->safe_psql('postgres', qq{
		SET default_transaction_isolation = '$level';
		SELECT count(*) FROM petition_submissions;
		SELECT FROM try_assign_fate('00000000-0000-0000-0000-000000000999', 'DELIBERATING', 'REFERRED');
		BEGIN; UPDATE parcels SET state = 'void' WHERE id = 100; ROLLBACK;
		SELECT pg_stat_statements_reset() IS NOT NULL;
		$command;
		SELECT '=' || calls || ' ' || regexp_replace(query, '\\s.*', '') || ' ' || substring(query FROM 'petition_submissions_fates|petition_submissions|orders_fates|orders|parcels_history|parcels_fates|parcels')
		FROM pg_stat_statements WHERE NOT toplevel ORDER BY query COLLATE "C"});
	return join("\n", map { /^=(.*)/ ? $1 : () } split /\n/, $told);
}

my $petition = '1 UPDATE petition_submissions';
my $n = 1;
for my $level ('read committed', 'repeatable read', 'serializable')
{
	is(statements("SELECT assign_fate('" . petition_id($n++) . "', 'DELIBERATING', 'REFERRED')", $level),
		$petition, "assign_fate, $level: one UPDATE");
	is(statements("SELECT assign_fate('" . petition_id($n++) . "', 'DELIBERATING', 'REFERRED', 'reason')", $level),
		$petition, "assign_fate with a reason, $level");
	is(statements("SELECT try_assign_fate('" . petition_id($n++) . "', 'DELIBERATING', 'REFERRED')", $level),
		$petition, "try_assign_fate, $level");
	is(statements("UPDATE petition_submissions SET state = 'REFERRED' WHERE id = '" . petition_id($n++) . "'", $level),
		'', "direct UPDATE, $level: nothing else");
	is(statements("SELECT compare_and_swap(NULL::orders, '" . $n++ . "', 'open', 'packed')", $level),
		'1 UPDATE orders', "compare_and_swap to a state that is no fate, $level: one UPDATE");
	is(statements("SELECT compare_and_swap(NULL::orders, '" . $n++ . "', 'open', 'void')", $level),
		'1 UPDATE orders', "compare_and_swap to a fate, $level");
}
is(statements("SELECT compare_and_swap(NULL::parcels, 1, 'open', 'packed')", 'read committed'),
	'1 UPDATE parcels', 'with a history that is as govern creates it, a transition costs no statement more');
is(statements("SELECT compare_and_swap(NULL::parcels, 2, 'open', 'void')", 'read committed'),
	'1 UPDATE parcels', 'nor does a fate');
is(statements("SELECT count(*) FROM compare_and_swap_many(NULL::parcels, ARRAY(SELECT generate_series(11, 50)), 'open', 'packed')", 'read committed'),
	'1 WITH parcels', 'nor the set form');
$node->safe_psql('postgres', 'ALTER TABLE parcels_history ADD note text');
is(statements("SELECT compare_and_swap(NULL::parcels, 3, 'open', 'packed')", 'read committed'),
	"1 INSERT parcels_history\n1 UPDATE parcels", 'with another history, a transition costs one INSERT more');
is(statements("SELECT count(*) FROM compare_and_swap_many(NULL::parcels, ARRAY(SELECT generate_series(51, 90)), 'open', 'packed')", 'read committed'),
	"1 INSERT parcels_history\n1 WITH parcels", 'and so does the set form, for all its rows');
is(statements("UPDATE parcels SET note = 'x'", 'read committed'), '', 'an update of other columns costs no query there either');
is(statements("UPDATE orders SET note = 'x'", 'read committed'), '', 'an update of other columns costs no query');
is(statements("INSERT INTO orders SELECT n, 'open' FROM generate_series(1001, 1100) n", 'read committed'), '', 'nor an insert of rows without a fate');
is(statements("SELECT count(*) FROM assign_fates(ARRAY(SELECT lpad(n::text, 32, '0')::uuid FROM generate_series(101, 125) n), 'DELIBERATING', 'REFERRED')", 'read committed'),
	'1 WITH petition_submissions', 'assign_fates is one statement');
is(statements("SELECT outcome FROM try_assign_fate('" . petition_id(1) . "', 'DELIBERATING', 'REFERRED')", 'read committed'),
	"2 SELECT petition_submissions\n1 UPDATE petition_submissions", 'a loser costs the UPDATE and the two looks that tell it why');

# Plans are kept, whatever is done to other tables: after the first five calls,
# for which the server makes plans of their own, one plan will do.
my $plans = $node->safe_psql('postgres', q{
	SELECT pg_stat_statements_reset() IS NOT NULL;
	DO $$
	BEGIN
		FOR n IN 1 .. 30 LOOP
			PERFORM outcome FROM try_assign_fate('00000000-0000-0000-0000-000000000001', 'DELIBERATING', 'REFERRED');
			EXECUTE format('CREATE TEMPORARY TABLE other_%s (n int)', n);
		END LOOP;
	END $$;
	SELECT calls, plans < 10 FROM pg_stat_statements WHERE query ~ '^UPDATE ONLY public.petition_submissions'});
is($plans, "t\n30|t", 'plans are kept');

# Memory: after the first 2,000 calls of every form the next 20,000 leave the
# session as it is.
my $memory = $node->safe_psql('postgres', q{
	CREATE FUNCTION work(calls int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE n int; id uuid;
	BEGIN
		FOR n IN 1 .. calls / 10 LOOP
			id := gen_random_uuid();
			INSERT INTO petition_submissions (id, text, state) VALUES (id, 'text', 'DELIBERATING');
			PERFORM try_assign_fate(id, 'RECEIVED', 'ACKNOWLEDGED');
			PERFORM try_assign_fate(gen_random_uuid(), 'RECEIVED', 'ACKNOWLEDGED');
			PERFORM outcome FROM assign_fates(ARRAY[id, gen_random_uuid()], 'RECEIVED', 'ACKNOWLEDGED');
			PERFORM try_compare_and_swap(NULL::petition_submissions, id::text, 'RECEIVED', 'ACKNOWLEDGED');
			PERFORM assign_fate(id, 'DELIBERATING', 'REFERRED', 'reason');
			PERFORM try_assign_fate(id, 'DELIBERATING', 'ESCALATED', 'reason');
			BEGIN
				PERFORM assign_fate(id, 'DELIBERATING', 'ESCALATED');
			EXCEPTION WHEN SQLSTATE 'PF002' THEN
				NULL;
			END;
			BEGIN
				PERFORM compare_and_swap(NULL::petition_submissions, gen_random_uuid()::text, 'DELIBERATING', 'ESCALATED');
			EXCEPTION WHEN SQLSTATE 'PF004' THEN
				NULL;
			END;
			PERFORM is_fate('petition_submissions', 'REFERRED');
			PERFORM allowed_transitions('petition_submissions', 'DELIBERATING');
		END LOOP;
	END $$;
	CREATE FUNCTION used() RETURNS bigint LANGUAGE sql AS 'SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts';
	SELECT work(2000);
	SELECT used();
	SELECT work(20000);
	SELECT used();
	SET default_transaction_isolation = 'repeatable read';
	SELECT work(2000);
	SELECT used();
	SELECT work(20000);
	SELECT used();
	SELECT count(*) FROM verify_fates('petition_submissions')});
my (undef, $before, undef, $after, undef, $before_rr, undef, $after_rr, $problems) = split /\n/, $memory;
note "bytes in use: $before, after 20,000 calls $after; at repeatable read $before_rr, then $after_rr";
cmp_ok($after, '<=', $before + 16384, 'the memory of a session is flat over 20,000 calls');
cmp_ok($after_rr, '<=', $before_rr + 16384, 'and so at repeatable read');
is($problems, 0, 'and all that was right');

# A ledger with a column of the user's takes its rows by an INSERT.
$node->safe_psql('postgres', "ALTER TABLE petition_submissions_fates ADD note text DEFAULT 'noted'");
is(statements("SELECT try_assign_fate('" . petition_id($n++) . "', 'DELIBERATING', 'REFERRED')", 'read committed'),
	"1 INSERT petition_submissions_fates\n$petition", 'one UPDATE and one INSERT');
is(statements("UPDATE petition_submissions SET state = 'REFERRED' WHERE id = '" . petition_id($n++) . "'", 'read committed'),
	'1 INSERT petition_submissions_fates', 'direct UPDATE: one INSERT');
is(statements("SELECT count(*) FROM assign_fates(ARRAY(SELECT lpad(n::text, 32, '0')::uuid FROM generate_series(126, 150) n), 'DELIBERATING', 'REFERRED')", 'read committed'),
	"1 INSERT petition_submissions_fates\n1 WITH petition_submissions", 'assign_fates: one INSERT for all petitions');

$node->stop;
done_testing();
