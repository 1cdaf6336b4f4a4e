# Logical replication of governed tables and their ledgers: the initial copy,
# fated rows included, and what follows; a subscriber that has decided otherwise
# stops with our error; promoted, it goes on, and backfill_fates makes up for a
# ledger that was not replicated. One that is published later arrives with its
# history, unless backfill_fates has run before. Histories arrive like ledgers, and names
# that forget_actor replaced are replaced on the subscriber too.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');

$publisher->init(allows_streaming => 'logical');
$publisher->start;
$subscriber->init(allows_streaming => 'logical');
$subscriber->start;

my $schema = q{
	CREATE EXTENSION petition_cas;
	SELECT create_petitions();
	CREATE TYPE outcome AS ENUM ('open', 'won', 'lost');
	CREATE TABLE cases (id int PRIMARY KEY, state outcome NOT NULL) PARTITION BY RANGE (id);
	CREATE TABLE cases_1 PARTITION OF cases FOR VALUES FROM (1) TO (100);
	CREATE TABLE cases_2 PARTITION OF cases DEFAULT;
	SELECT govern('cases', '{"open": ["won", "lost"]}');
	CREATE TABLE tickets (id int PRIMARY KEY, state text);
	SELECT govern('tickets', '{"open": ["closed", "dropped"]}');
	CREATE TABLE boxes (id int PRIMARY KEY, state text);
	SELECT govern('boxes', '{"new": ["full"], "full": ["new", "sent"]}', history => true);
	CREATE TABLE parcels (id int PRIMARY KEY, state text);
	SELECT govern('parcels', '{"sent": ["arrived", "lost"]}');
	CREATE TABLE orders (tenant int, number bigint, state int NOT NULL DEFAULT 0, payment varchar(10) NOT NULL DEFAULT 'due', PRIMARY KEY (tenant, number));
	SELECT govern('orders', '{"0": ["1"], "1": ["2", "3"]}', initial_states => '{0}');
	SELECT govern('orders', '{"due": ["paid", "waived"]}', state_column => 'payment');
	CREATE TABLE refunds (LIKE orders INCLUDING ALL);
	SELECT govern('refunds', '{"0": ["1"], "1": ["2", "3"]}');
	SELECT govern('refunds', '{"due": ["paid", "waived"]}', state_column => 'payment')};

# tickets and refunds are published without their ledgers, parcels at first
my $publications = q{
	CREATE PUBLICATION everything FOR TABLE petition_submissions, petition_submissions_fates, cases, cases_fates, orders, orders_fates, orders_payment_fates, boxes, boxes_fates, boxes_history;
	CREATE PUBLICATION bare FOR TABLE tickets, refunds;
	CREATE PUBLICATION late FOR TABLE parcels};

$publisher->safe_psql('postgres', $schema);
$publisher->safe_psql('postgres', q{
	SET petition_cas.actor = 'the publisher';
	INSERT INTO petition_submissions (id, text, state) SELECT lpad(n::text, 32, '0')::uuid, 'text', 'DELIBERATING' FROM generate_series(1, 200) n;
	SELECT count(*) FROM assign_fates((SELECT array_agg(id) FROM (SELECT id FROM petition_submissions ORDER BY id LIMIT 50) p), 'DELIBERATING', 'REFERRED');
	INSERT INTO cases SELECT n, 'open' FROM generate_series(1, 200) n;
	UPDATE cases SET state = 'won' WHERE id % 10 = 0;
	INSERT INTO tickets SELECT n, 'open' FROM generate_series(1, 20) n;
	UPDATE tickets SET state = 'closed' WHERE id <= 5;
	INSERT INTO boxes SELECT n, 'new' FROM generate_series(1, 20) n;
	UPDATE boxes SET state = 'full' WHERE id <= 10;
	UPDATE boxes SET state = 'sent' WHERE id <= 5;
	INSERT INTO parcels SELECT n, 'sent' FROM generate_series(1, 20) n;
	UPDATE parcels SET state = 'lost' WHERE id <= 3;
	INSERT INTO orders SELECT n % 4, n FROM generate_series(1, 200) n;
	INSERT INTO refunds SELECT n % 4, n FROM generate_series(1, 20) n;
	UPDATE orders SET state = 1, payment = CASE WHEN number % 5 = 0 THEN 'paid' ELSE payment END;
	UPDATE orders SET state = 2 WHERE number % 10 = 0;
	UPDATE refunds SET state = 1, payment = CASE WHEN number <= 3 THEN 'paid' ELSE payment END;
	UPDATE refunds SET state = 2 WHERE number <= 2});
$publisher->safe_psql('postgres', $publications);

$subscriber->safe_psql('postgres', $schema);

my $connection = $publisher->connstr . ' dbname=postgres';

$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '$connection' PUBLICATION everything");
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION bare CONNECTION '$connection' PUBLICATION bare");
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION late CONNECTION '$connection' PUBLICATION late");
$subscriber->wait_for_subscription_sync($publisher, $_) for qw(everything bare late);

my @whole = qw(petition_submissions cases orders boxes);    # with their ledgers
my $contents = join '; ', map { "SELECT '$_', t.* FROM $_ t ORDER BY t::text" } @whole, qw(petition_submissions_fates cases_fates orders_fates orders_payment_fates boxes_fates boxes_history tickets refunds);

sub problems
{
	my ($node, $table) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM verify_fates('$table')");
}

# Tests that everything on the subscriber is as it is on the publisher.
sub check_copy
{
	my ($name) = @_;

	$publisher->wait_for_catchup($_) for qw(everything bare);
	is($subscriber->safe_psql('postgres', $contents), $publisher->safe_psql('postgres', $contents), "$name: rows and ledgers are the same");
	is(problems($subscriber, $_), 0, "$name: verify_fates finds nothing in $_") for @whole;
	return;
}

like($subscriber->safe_psql('postgres', 'SELECT * FROM cases_fates WHERE id = 10'), qr/^10\|open\|won\|.*\|the publisher\|/, 'the ledger rows that arrive are the publisher\'s');
check_copy('initial copy');

# In each way that there is, and rows that arrive with their fate.
$publisher->safe_psql('postgres', q{
	SELECT state FROM assign_fate(lpad('51', 32, '0')::uuid, 'DELIBERATING', 'ACKNOWLEDGED', 'because');
	SELECT * FROM assign_fates((SELECT array_agg(id) FROM petition_submissions WHERE id > lpad('150', 32, '0')::uuid), 'DELIBERATING', 'ESCALATED');
	SELECT * FROM try_compare_and_swap(null::cases, '7', 'open', 'lost');
	UPDATE cases SET state = 'lost' WHERE id BETWEEN 95 AND 105 AND state = 'open';
	DELETE FROM cases WHERE id IN (1, 2);
	INSERT INTO cases VALUES (1, 'won'), (301, 'lost'), (302, 'open');
	INSERT INTO petition_submissions (id, text, state) VALUES (lpad('900', 32, '0')::uuid, 'imported', 'REFERRED');
	BEGIN;
	SAVEPOINT one;
	SELECT * FROM try_compare_and_swap(null::cases, '8', 'open', 'lost');
	ROLLBACK TO one;
	SELECT * FROM try_compare_and_swap(null::cases, '8', 'open', 'won');
	COMMIT;
	SELECT outcome FROM compare_and_swap_many(null::boxes, ARRAY[6, 7, 8, 9], 'full', 'new');
	UPDATE boxes SET state = 'sent' WHERE id = 10;
	UPDATE tickets SET state = 'closed' WHERE id = 6;
	INSERT INTO orders VALUES (9, 1), (9, 2);
	UPDATE orders SET state = 1 WHERE tenant = 9;
	SELECT * FROM compare_and_swap(null::orders, '[1, 1]', '1', '3', state_column => 'state');
	SELECT * FROM compare_and_swap_many(null::orders, ARRAY['[2, 2]', '[1, 1]', '[9, 1]'], 'due', 'waived', state_column => 'payment');
	UPDATE orders SET state = 3, payment = 'paid' WHERE number IN (3, 4) AND tenant = number;
	DELETE FROM orders WHERE (tenant, number) = (9, 2);
	UPDATE refunds SET payment = 'waived' WHERE number = 4});
check_copy('streamed');
is($publisher->safe_psql('postgres', "SELECT forget_actor('boxes', 'the publisher', 'a clerk')"), 40, 'an actor is forgotten on the publisher');
check_copy('forgotten');
is($subscriber->safe_psql('postgres', q{SELECT count(*) FROM boxes_history WHERE moved_by = 'the publisher' UNION ALL SELECT count(*) FROM boxes_fates WHERE assigned_by = 'the publisher'}), "0\n0", 'and on the subscriber');
is($subscriber->safe_psql('postgres', q{
		SELECT outcome FROM try_compare_and_swap(null::cases, '8', 'open', 'lost');
		SELECT DISTINCT outcome FROM assign_fates((SELECT array_agg(id) FROM petition_submissions_fates), 'DELIBERATING', 'REFERRED');
		SELECT DISTINCT outcome FROM compare_and_swap_many(null::orders, (SELECT array_agg(jsonb_build_array(tenant, number)::text) FROM orders_fates), '1', '2', state_column => 'state');
		SELECT DISTINCT outcome FROM compare_and_swap_many(null::orders, (SELECT array_agg(jsonb_build_array(tenant, number)::text) FROM orders_payment_fates), 'due', 'paid', state_column => 'payment')}),
	join("\n", ('already_fated') x 4), 'the subscriber refuses a second fate');

# Divergence: the subscriber gives a row another fate, in its own right; when the
# publisher's arrives, apply stops with our error and changes nothing.
sub check_divergence
{
	my ($name, $local, $remote, $row, $expected) = @_;
	my $offset = -s $subscriber->logfile;
	my ($log, @statement);

	$subscriber->safe_psql('postgres', $local);
	$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION everything SET (disable_on_error = true)');
	$publisher->safe_psql('postgres', $remote);
	$subscriber->poll_query_until('postgres', "SELECT NOT subenabled FROM pg_subscription WHERE subname = 'everything'")
	  or die 'the subscription goes on';
	$log = slurp_file($subscriber->logfile, $offset);
	like($log, $expected->{log}, "$name: the log tells why apply has stopped");
	is($subscriber->safe_psql('postgres', $row), $expected->{stored}, "$name: the subscriber's fate stands");
	is(problems($subscriber, $_), 0, "$name: verify_fates finds nothing in $_") for @whole;

	# as the server's manual has it: skip the transaction, or mend the data
	my ($lsn) = $log =~ /finished at ([0-9A-F\/]+)/;
	$subscriber->safe_psql('postgres', "ALTER SUBSCRIPTION everything SKIP (lsn = '$lsn')");
	$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION everything ENABLE');
	$publisher->safe_psql('postgres', "UPDATE cases SET state = 'won' WHERE id = $expected->{next}");
	$publisher->wait_for_catchup('everything');
	is($subscriber->safe_psql('postgres', "SELECT state FROM cases WHERE id = $expected->{next}"), 'won', "$name: with that transaction skipped, apply goes on");
	return;
}

$subscriber->append_conf('postgresql.conf', "log_error_verbosity = verbose\n");
$subscriber->reload;
check_divergence(
	'another fate',
	"UPDATE cases SET state = 'lost' WHERE id = 21",
	"UPDATE cases SET state = 'won' WHERE id = 21",
	'SELECT state, fate FROM cases JOIN cases_fates USING (id) WHERE id = 21',
	{ log => qr/ERROR:  PF002: .*\n.*DETAIL: .*"current_state": "lost"/, stored => 'lost|lost', next => 22 });
check_divergence(
	'a row deleted by the publisher, fated by the subscriber',
	"UPDATE cases SET state = 'lost' WHERE id = 23",
	'DELETE FROM cases WHERE id = 23',
	'SELECT state, fate FROM cases JOIN cases_fates USING (id) WHERE id = 23',
	{ log => qr/ERROR:  PF006: cannot delete a fated row/, stored => 'lost|lost', next => 24 });
check_divergence(
	'the same fate, decided on both sides',
	"UPDATE cases SET state = 'won' WHERE id = 25",
	"UPDATE cases SET state = 'won' WHERE id = 25",
	'SELECT state, fate FROM cases JOIN cases_fates USING (id) WHERE id = 25',
	{ log => qr/ERROR:  23505: (duplicate key value violates unique constraint "cases_fates_pkey"|conflict detected on relation "public.cases_fates")/, stored => 'won|won', next => 26 });
check_divergence(
	'another fate in the second lifecycle',
	"UPDATE orders SET payment = 'waived' WHERE (tenant, number) = (1, 21)",
	"UPDATE orders SET state = 3, payment = 'paid' WHERE (tenant, number) = (1, 21)",
	'SELECT o.state, payment, p.fate, s.fate FROM orders o JOIN orders_payment_fates p USING (tenant, number) LEFT JOIN orders_fates s USING (tenant, number) WHERE (tenant, number) = (1, 21)',
	{ log => qr/ERROR:  PF002: .*\n.*DETAIL: .*"key": "\[\\"1\\", \\"21\\"\]".*"current_state": "waived"/, stored => '1|waived|waived|', next => 27 });
check_divergence(
	'the same fate in the second lifecycle, decided on both sides',
	"UPDATE orders SET payment = 'waived' WHERE (tenant, number) = (2, 22)",
	"UPDATE orders SET payment = 'waived' WHERE (tenant, number) = (2, 22)",
	'SELECT payment, fate FROM orders JOIN orders_payment_fates USING (tenant, number) WHERE (tenant, number) = (2, 22)',
	{ log => qr/ERROR:  23505: (duplicate key value violates unique constraint "orders_payment_fates_pkey"|conflict detected on relation "public.orders_payment_fates")/, stored => 'waived|waived', next => 28 });

# A ledger that is published later brings its rows along, those of decisions that
# are made meanwhile too; where backfill_fates has written rows of its own, they
# stop the copy.
my $parcels = "SELECT * FROM parcels FULL JOIN parcels_fates USING (id) ORDER BY id";

is(problems($subscriber, 'parcels'), 3, 'without a replicated ledger, verify_fates tells the fates that it lacks');
$publisher->safe_psql('postgres', q{
	SET petition_cas.actor = 'the publisher';
	UPDATE parcels SET state = 'arrived' WHERE id = 4;
	ALTER PUBLICATION late ADD TABLE parcels_fates;
	UPDATE parcels SET state = 'arrived' WHERE id = 5});
$publisher->wait_for_catchup('late');
is($subscriber->safe_psql('postgres', q{
		BEGIN;
		SELECT backfill_fates('parcels');
		ROLLBACK;
		ALTER SUBSCRIPTION late REFRESH PUBLICATION}), 5, 'backfill_fates would add them');
$publisher->safe_psql('postgres', q{UPDATE parcels SET state = 'arrived' WHERE id = 6});
$subscriber->wait_for_subscription_sync($publisher, 'late');
is($subscriber->safe_psql('postgres', $parcels), $publisher->safe_psql('postgres', $parcels), 'a ledger that is published later arrives with its history');
is(problems($subscriber, 'parcels'), 0, 'and verify_fates finds nothing');

my $offset = -s $subscriber->logfile;

is($subscriber->safe_psql('postgres', q{SELECT backfill_fates('tickets')}), 6, 'backfill_fates, while the subscription goes on');
$publisher->safe_psql('postgres', 'ALTER PUBLICATION bare ADD TABLE tickets_fates');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION bare REFRESH PUBLICATION');
$subscriber->wait_for_log(qr/ERROR:  23505: duplicate key value violates unique constraint "tickets_fates_pkey"/, $offset);
$publisher->safe_psql('postgres', q{
	ALTER PUBLICATION bare DROP TABLE tickets_fates;
	UPDATE tickets SET state = 'closed' WHERE id BETWEEN 11 AND 16});
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION bare REFRESH PUBLICATION');
$publisher->wait_for_catchup('bare');

# From here on the ledger of the parcels lags behind.
$publisher->safe_psql('postgres', q{
	ALTER PUBLICATION late DROP TABLE parcels_fates;
	UPDATE parcels SET state = 'lost' WHERE id IN (7, 8)});
$publisher->wait_for_catchup('late');

# Promotion: the subscriptions end. Where no ledger was replicated, verify_fates
# tells which fates it lacks, and backfill_fates adds them.
$publisher->wait_for_catchup('bare');
$publisher->stop('immediate');
for my $subscription (qw(everything bare late))
{
	$subscriber->safe_psql('postgres', "ALTER SUBSCRIPTION $subscription DISABLE");
	$subscriber->safe_psql('postgres', "ALTER SUBSCRIPTION $subscription SET (slot_name = NONE)");
	$subscriber->safe_psql('postgres', "DROP SUBSCRIPTION $subscription");
}
is(problems($subscriber, 'tickets'), 6, 'promoted: without a replicated ledger, verify_fates tells the fates that it lacks');
is(problems($subscriber, 'refunds'), 6, 'promoted: and those of both lifecycles of a table');
is(problems($subscriber, 'parcels'), 2, 'promoted: and those since it was replicated no more');
is($subscriber->safe_psql('postgres', q{SELECT outcome FROM try_compare_and_swap(null::tickets, '1', 'open', 'dropped')}),
	'already_fated', 'such a row refuses a second fate even so');
is($subscriber->safe_psql('postgres', q{
		SET petition_cas.actor = 'the operator';
		SELECT backfill_fates('tickets'), backfill_fates('parcels'), backfill_fates('cases'), backfill_fates('petition_submissions'),
			backfill_fates('orders'), backfill_fates('refunds', 'payment'), backfill_fates('refunds')}), '6|2|0|0|0|4|2', 'backfill_fates adds them');
is($subscriber->safe_psql('postgres', q{SELECT id, from_state, fate, assigned_by FROM parcels_fates WHERE id IN (5, 7, 8) ORDER BY id}),
	"5|sent|arrived|the publisher\n7||lost|the operator\n8||lost|the operator", 'with what the row tells, and its caller\'s name');
is(problems($subscriber, $_), 0, "promoted: verify_fates finds nothing in $_") for @whole, qw(tickets parcels refunds);
is($subscriber->safe_psql('postgres', q{
		SELECT state FROM assign_fate(lpad('60', 32, '0')::uuid, 'DELIBERATING', 'ACKNOWLEDGED');
		SELECT outcome FROM try_compare_and_swap(null::tickets, '1', 'open', 'dropped');
		SELECT outcome FROM try_compare_and_swap(null::tickets, '7', 'open', 'dropped');
		SELECT fate FROM tickets_fates WHERE id IN (1, 7) ORDER BY id;
		SELECT outcome FROM compare_and_swap_many(null::refunds, ARRAY['[1, 1]', '[3, 3]'], '1', '3', state_column => 'state');
		SELECT outcome FROM try_compare_and_swap(null::refunds, '[0, 4]', 'due', 'paid', state_column => 'payment')}),
	"ACKNOWLEDGED\nalready_fated\nassigned\nclosed\ndropped\nalready_fated\nassigned\nalready_fated", 'promoted, it assigns fates, one a row');

$subscriber->stop;
done_testing();
