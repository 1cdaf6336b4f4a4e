# A schema with governed tables of each kind, for the tests that move it to
# another place: petitions, states of an enum with names to be quoted, partitions,
# a key of two columns with two lifecycles, one of integers and with a history, a table of another role, and
# the ledger of a table that is governed no more.

package Shop;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use Test::More;

our @EXPORT = qw(create_shop describe_shop shop_problems check_shop);

my @governed = ('petition_submissions', '"Mixed Case"', 'cases', 'tickets', 'orders');

# Creates it in a new database.
sub create_shop
{
	my ($node, $database) = @_;

	$node->safe_psql('postgres', "CREATE ROLE clerk LOGIN; CREATE DATABASE $database");
	$node->safe_psql($database, q{
		CREATE EXTENSION petition_cas;
		CREATE SCHEMA shop AUTHORIZATION clerk;
		SET search_path = shop, public;

		SELECT create_petitions();
		INSERT INTO petition_submissions (id, text, state)
		SELECT md5(n::text)::uuid, 'text ' || n, 'DELIBERATING' FROM generate_series(1, 2000) n;
		SET petition_cas.actor = 'somebody';
		SELECT count(*) FROM assign_fates((SELECT array_agg(id) FROM petition_submissions WHERE text ~ '7'), 'DELIBERATING', 'REFERRED');
		RESET petition_cas.actor;
		SELECT extend_lifecycle('petition_submissions', '{"DELIBERATING": ["DEFERRED"]}');

		CREATE TYPE "Order State" AS ENUM ('open', 'on its way', 'it''s "lost"', 'kept');
		CREATE TABLE "Mixed Case" ("Key Column" bigint PRIMARY KEY, "The State" "Order State", note text);
		INSERT INTO "Mixed Case" SELECT n, CASE WHEN n % 3 = 0 THEN 'kept' ELSE 'open' END::"Order State", 'Café ' || n FROM generate_series(1, 300) n;
		SELECT govern('"Mixed Case"', '{"open": ["on its way"], "on its way": ["it''s \"lost\"", "kept"]}', 'Key Column', 'The State', evidence => '{note}');
		UPDATE "Mixed Case" SET "The State" = 'on its way' WHERE "Key Column" % 3 = 1;
		UPDATE "Mixed Case" SET "The State" = 'it''s "lost"' WHERE "Key Column" % 9 = 1;

		CREATE TABLE cases (id int PRIMARY KEY, state text NOT NULL) PARTITION BY RANGE (id);
		CREATE TABLE cases_1 PARTITION OF cases FOR VALUES FROM (1) TO (100);
		CREATE TABLE cases_2 PARTITION OF cases DEFAULT PARTITION BY HASH (id);
		CREATE TABLE cases_2_0 PARTITION OF cases_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE cases_2_1 PARTITION OF cases_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		SELECT govern('cases', '{"new": ["won", "lost"]}');
		INSERT INTO cases SELECT n, 'new' FROM generate_series(1, 300) n;
		UPDATE cases SET state = CASE WHEN id % 2 = 0 THEN 'won' ELSE 'lost' END WHERE id % 5 = 0;

		CREATE TABLE orders (tenant int, number text, state smallint NOT NULL DEFAULT 0, payment varchar(10), PRIMARY KEY (tenant, number));
		SELECT govern('orders', '{"0": ["1", "2"], "1": ["3"]}', initial_states => '{0}', history => true);
		SELECT govern('orders', '{"due": ["paid", "waived"]}', state_column => 'payment', keep_rows => false);
		INSERT INTO orders SELECT n % 4, 'No. ' || n, 0, 'due' FROM generate_series(1, 200) n;
		UPDATE orders SET state = 2, payment = CASE WHEN tenant = 1 THEN 'waived' ELSE 'paid' END WHERE number ~ '5';

		SET ROLE clerk;
		CREATE TABLE tickets (number varchar(20) UNIQUE NOT NULL, state varchar(20) DEFAULT 'open');
		SELECT govern('tickets', '{"open": ["closed"]}', key_column => 'number');
		INSERT INTO tickets SELECT 'T-' || n FROM generate_series(1, 50) n;
		UPDATE tickets SET state = 'closed' WHERE number < 'T-3';

		CREATE TABLE former (id int PRIMARY KEY, state text);
		SELECT govern('former', '{"a": ["b"]}');
		INSERT INTO former VALUES (1, 'a'), (2, 'b');
		SELECT ungovern('former')});
	return;
}

# All there is to know about the tables of a schema, as text: rows, triggers,
# keys and lifecycles, and the event triggers.
sub describe_shop
{
	my ($node, $database, $schema, %but) = @_;
	my @tables = split /\n/, $node->safe_psql($database,
		"SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = '$schema'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname");
	my @rows = $but{rows} ? ()
	  : map { "SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM $schema.$_ t;" } @tables;

	return $node->safe_psql($database, "@rows" . qq{
		SELECT '$governed[0]', lifecycle('$schema.$governed[0]');
		SELECT '$governed[1]', lifecycle('$schema.$governed[1]');
		SELECT '$governed[2]', lifecycle('$schema.$governed[2]');
		SELECT '$governed[3]', lifecycle('$schema.$governed[3]');
		SELECT state_column, key_columns, lifecycle, options, problems FROM governed_tables() WHERE relation = '$schema.$governed[4]'::regclass ORDER BY 1;
		SELECT replace(pg_get_triggerdef(t.oid), '$schema.', 'shop.'), tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
		WHERE relnamespace = '$schema'::regnamespace ORDER BY relname, tgname;
		SELECT relname, relowner::regrole, conname, replace(pg_get_constraintdef(t.oid), '$schema.', 'shop.')
		FROM pg_constraint t JOIN pg_class c ON c.oid = conrelid
		WHERE relnamespace = '$schema'::regnamespace AND contype <> 'n' ORDER BY relname, conname;
		SELECT evtname, evtevent, evtenabled, evtfoid::regproc FROM pg_event_trigger ORDER BY evtname});
}

# Runs statements and returns the SQLSTATE of each, 00000 for none.
sub errors_of
{
	my ($node, $database, @statements) = @_;
	my ($out, $err);

	$node->psql($database, join('', map { "$_;\n\\echo :SQLSTATE\n" } @statements),
		on_error_stop => 0, stdout => \$out, stderr => \$err);
	return split /\n/, $out;
}

sub shop_problems
{
	my ($node, $database, $schema) = @_;
	return $node->safe_psql($database, join ' UNION ALL ', map { "SELECT '$_', v.* FROM verify_fates('$schema.$_') v" } @governed);
}

# Checks that the tables are governed as before: healthy, closed to a second
# fate and to tampering, and open for what the lifecycle allows.
sub check_shop
{
	my ($node, $database, $schema, $mode) = @_;

	is(shop_problems($node, $database, $schema), '', "$mode: verify_fates finds nothing");
	is($node->safe_psql($database, qq{
			SET search_path = $schema, public;
			SELECT DISTINCT outcome FROM assign_fates((SELECT array_agg(id) FROM petition_submissions_fates), 'DELIBERATING', 'ESCALATED');
			SELECT outcome FROM try_compare_and_swap(null::"Mixed Case", '10', 'on its way', 'kept');
			SELECT outcome FROM try_compare_and_swap(null::cases, '10', 'new', 'lost');
			SELECT outcome FROM try_compare_and_swap(null::tickets, 'T-1', 'open', 'closed');
			SELECT outcome FROM try_compare_and_swap(null::orders, '[1, "No. 5"]', '0', '1', state_column => 'state');
			SELECT outcome FROM try_compare_and_swap(null::orders, '[1, "No. 5"]', 'due', 'paid', state_column => 'payment')}),
		join("\n", ('already_fated') x 6), "$mode: a second fate is refused");
	is_deeply([ errors_of($node, $database, "SET search_path = $schema, public",
			q{UPDATE cases SET state = 'lost' WHERE id = 10},
			q{UPDATE "Mixed Case" SET "The State" = 'kept' WHERE "Key Column" = 10},
			q{UPDATE "Mixed Case" SET note = 'another' WHERE "Key Column" = 10},
			q{DELETE FROM tickets WHERE number = 'T-1'},
			q{UPDATE orders SET state = 1 WHERE tenant = 1 AND number = 'No. 5'},
			q{UPDATE orders SET payment = 'paid' WHERE tenant = 1 AND number = 'No. 5'},
			q{DELETE FROM orders WHERE tenant = 1 AND number = 'No. 5'},
			q{INSERT INTO orders VALUES (9, '', 1, 'due')},
			q{DELETE FROM cases_fates},
			q{UPDATE former_fates SET fate = 'a'},
			q{DELETE FROM orders_history},
			q{DROP TABLE orders_history},
			q{TRUNCATE "Mixed Case_fates"},
			q{TRUNCATE petition_submissions},
			q{DROP TRIGGER petition_cas_guard ON tickets},
			q{ALTER TABLE cases DISABLE TRIGGER ALL}) ],
		[ '00000', 'PF002', 'PF002', 'PF006', 'PF006', 'PF002', 'PF002', 'PF006', 'PF003', ('PF006') x 8 ], "$mode: and so is tampering");
	is($node->safe_psql($database, qq{
			SET search_path = $schema, public;
			BEGIN;
			SELECT (assign_fate(id, 'DELIBERATING', 'DEFERRED')).state FROM (SELECT id FROM petition_submissions WHERE state = 'DELIBERATING' LIMIT 1) p;
			SELECT (compare_and_swap(null::"Mixed Case", '2', 'open', 'on its way'))."The State";
			SELECT (compare_and_swap(null::cases, '11', 'new', 'lost')).state;
			SELECT count(*) FROM cases_fates WHERE id = 11 AND fate = 'lost';
			SELECT (compare_and_swap(null::orders, '[1, "No. 1"]', '0', '2', state_column => 'state')).state;
			SELECT count(*) FROM orders_fates WHERE (tenant, number, fate) = (1, 'No. 1', '2');
			SELECT string_agg(concat(from_state, '-', to_state), ' ' ORDER BY moved_at) FROM orders_history WHERE (tenant, number) = (1, 'No. 1');
			ROLLBACK}),
		"DEFERRED\non its way\nlost\n1\n2\n1\n-0 0-2", "$mode: what is allowed goes on");
	return;
}

1;
