# Two servers that replicate a governed table and its ledger to each other, and
# decide both. Fates of different keys reach the other side; for a key that is
# decided on both sides nothing is promised, and this is how it shows: both apply
# workers stop, each side keeps its own fate, and verify_fates, which looks at one
# side, finds nothing. Then an operator lets one side's fate stand. That takes
# origin = none, from PostgreSQL 16 on; without it, the first fate comes back to
# where it was decided, and stops the apply worker there.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %node = map { $_ => PostgreSQL::Test::Cluster->new($_) } qw(north south);
my @sides = sort keys %node;
my %other = (north => 'south', south => 'north');

for my $side (@sides)
{
	$node{$side}->init(allows_streaming => 'logical');
	$node{$side}->append_conf('postgresql.conf', "fsync = off\nlog_error_verbosity = verbose\nwal_retrieve_retry_interval = 100ms\n");
	$node{$side}->start;
	$node{$side}->safe_psql('postgres', q{
		CREATE EXTENSION petition_cas;
		CREATE TABLE cases (id int PRIMARY KEY, state text NOT NULL);
		SELECT govern('cases', '{"open": ["won", "lost"]}');
		INSERT INTO cases SELECT n, 'open' FROM generate_series(1, 100) n;
		CREATE PUBLICATION decisions FOR TABLE cases, cases_fates});
}

my $version = $node{north}->safe_psql('postgres', 'SHOW server_version_num') / 10000;

# Runs SQL on one side, as its clerk.
sub on
{
	my ($side, $sql) = @_;
	return $node{$side}->safe_psql('postgres', "SET petition_cas.actor = 'clerk of the $side'; $sql");
}

# A subscription is named after the side that it gets decisions from.
sub subscribe
{
	my (@options) = @_;

	for my $side (@sides)
	{
		on($side, "CREATE SUBSCRIPTION from_$other{$side} CONNECTION '${\$node{$other{$side}}->connstr} dbname=postgres application_name=from_$other{$side}'
			PUBLICATION decisions WITH (" . join(', ', 'copy_data = false', 'disable_on_error = true', @options) . ')');
	}
	return;
}

# Waits until both sides have what the other one has sent.
sub settle
{
	for (1, 2)
	{
		$node{$_}->wait_for_catchup("from_$_") for @sides;
	}
	return;
}

# Waits until the apply worker of a side has stopped, and returns what the log says
# from an offset on.
sub stopped
{
	my ($side, $offset) = @_;

	$node{$side}->poll_query_until('postgres', 'SELECT NOT subenabled FROM pg_subscription') or die "$side goes on";
	return slurp_file($node{$side}->logfile, $offset);
}

sub fates
{
	my ($side, $where) = @_;
	return on($side, "SELECT id, state, fate, assigned_by FROM cases FULL JOIN cases_fates USING (id) WHERE $where ORDER BY id");
}

sub problems
{
	return join '', map { on($_, "SELECT * FROM verify_fates('cases')") } @sides;
}

my $duplicate = qr/ERROR:  23505: (duplicate key value violates unique constraint "cases_fates_pkey"|conflict detected on relation "public.cases_fates")/;

# --- Without an origin ----------------------------------------------------------

subscribe($version < 16 ? () : 'origin = any');
my $offset = -s $node{north}->logfile;

on('north', "SELECT FROM compare_and_swap(null::cases, '100', 'open', 'won')");
like(stopped('north', $offset), $duplicate, 'what comes back stops the apply worker where it was decided');
is(fates($_, 'id = 100'), '100|won|won|clerk of the north', "and the fate stands in the $_") for @sides;
is(problems(), '', 'verify_fates finds nothing');
on($_, "DROP SUBSCRIPTION from_$other{$_}") for @sides;

if ($version < 16)
{
	my ($out, $err);

	$node{north}->psql('postgres', "\\set VERBOSITY verbose\nCREATE SUBSCRIPTION from_south CONNECTION 'dbname=postgres' PUBLICATION decisions WITH (origin = none)", stderr => \$err);
	like($err, qr/ERROR:  42601: unrecognized subscription parameter: "origin"/, 'PostgreSQL 15 knows no origin');
	diag('skipped: two-way replication takes origin = none, which begins with PostgreSQL 16');
	done_testing();
	exit;
}

# --- Decisions for different keys -------------------------------------------------

subscribe('origin = none');
on('north', "UPDATE cases SET state = 'won' WHERE id BETWEEN 1 AND 20");
on('south', "UPDATE cases SET state = 'lost' WHERE id BETWEEN 21 AND 40");
on('north', "INSERT INTO cases VALUES (101, 'open'), (102, 'won')");
on('south', "INSERT INTO cases VALUES (103, 'open'); SELECT FROM try_compare_and_swap(null::cases, '103', 'open', 'lost')");
settle();
is(fates('north', 'true'), fates('south', 'true'), 'rows and ledgers are the same on both sides');
is(fates('south', 'id IN (1, 21, 102, 103)'), join("\n",
		'1|won|won|clerk of the north', '21|lost|lost|clerk of the south', '102|won|won|clerk of the north', '103|lost|lost|clerk of the south'),
	'each fate with who assigned it');
is(problems(), '', 'verify_fates finds nothing');
is(on($_, "SELECT DISTINCT outcome FROM cases, try_compare_and_swap(null::cases, id::text, 'open', 'lost') WHERE id BETWEEN 1 AND 40"), 'already_fated', "the $_ refuses a second fate") for @sides;

# --- One key, decided on both sides -----------------------------------------------

# Both sides decide before either hears of it; then both hear of it.
sub decide_apart
{
	my (%sql) = @_;
	my (%offset, %log);

	on($_, "ALTER SUBSCRIPTION from_$other{$_} DISABLE") for @sides;
	for (@sides)
	{
		$node{$_}->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_subscription WHERE pid IS NOT NULL') or die 'a worker stays';
		on($_, $sql{$_});
		$offset{$_} = -s $node{$_}->logfile;
	}
	on($_, "ALTER SUBSCRIPTION from_$other{$_} ENABLE") for @sides;
	$log{$_} = stopped($_, $offset{$_}) for @sides;
	return %log;
}

# An operator lets what the north has decided stand. Each command runs with an
# origin of its own, so that it is not sent to the other side.
sub repair
{
	my ($side, $sql) = @_;
	return on($side, "SELECT pg_replication_origin_create('repair') WHERE pg_replication_origin_oid('repair') IS NULL;
		SELECT pg_replication_origin_session_setup('repair'); $sql; SELECT pg_replication_origin_session_reset()");
}

# Undoes fates in the south, by the round of docs/operations.md.
sub undo_in_the_south
{
	my ($ids) = @_;

	repair('south', "
		BEGIN;
		SELECT ungovern('cases');
		ALTER TABLE cases_fates DISABLE TRIGGER petition_cas_ledger;
		DELETE FROM cases_fates WHERE id IN ($ids);
		UPDATE cases SET state = 'open' WHERE id IN ($ids);
		SELECT govern('cases', '{\"open\": [\"won\", \"lost\"]}');
		COMMIT");
	on('south', 'ALTER SUBSCRIPTION from_north ENABLE');
	return;
}

# Skips in the north the transaction at which it has stopped.
sub skip_in_the_north
{
	my ($log) = @_;
	my ($lsn) = $log =~ /finished at ([0-9A-F\/]+)/;

	on('north', "ALTER SUBSCRIPTION from_south SKIP (lsn = '$lsn')");
	on('north', 'ALTER SUBSCRIPTION from_south ENABLE');
	return;
}

my %log = decide_apart(
	north => "UPDATE cases SET state = 'won' WHERE id = 50; UPDATE cases SET state = 'won' WHERE id = 53",
	south => "UPDATE cases SET state = 'lost' WHERE id IN (50, 51); UPDATE cases SET state = 'lost' WHERE id = 52");

like($log{north}, qr/ERROR:  PF002: row "50" of relation "cases" already has the fate "won"/, 'another fate: the north says so and stops');
like($log{south}, qr/ERROR:  PF002: row "50" of relation "cases" already has the fate "lost"/, 'another fate: and so does the south');
is(fates('north', 'id BETWEEN 50 AND 53'), "50|won|won|clerk of the north\n51|open||\n52|open||\n53|won|won|clerk of the north", 'the north has its own');
is(fates('south', 'id BETWEEN 50 AND 53'), "50|lost|lost|clerk of the south\n51|lost|lost|clerk of the south\n52|lost|lost|clerk of the south\n53|open||", 'the south has its own');
is(problems(), '', 'verify_fates, which sees one side, finds nothing');

undo_in_the_south('50');
$node{north}->wait_for_catchup('from_north');
skip_in_the_north($log{north});
settle();
is(fates('south', 'id IN (50, 53)'), fates('north', 'id IN (50, 53)'), 'undone in the south, the fate of the north arrives there');
is(fates('north', 'id IN (51, 52)'), "51|open||\n52|lost|lost|clerk of the south", 'in the north the whole transaction is skipped, those after it arrive');

# What else was in it is brought over by hand.
my $row = on('south', q{SELECT format('INSERT INTO cases_fates VALUES (%L, %L, %L, %L, %L, %L)', id, from_state, fate, assigned_at, assigned_by, transaction_id) FROM cases_fates WHERE id = 51});

repair('north', "BEGIN; SET LOCAL session_replication_role = replica; UPDATE cases SET state = 'lost' WHERE id = 51; $row; COMMIT");
settle();
is(fates('north', 'true'), fates('south', 'true'), 'rows and ledgers are the same again');
is(problems(), '', 'verify_fates finds nothing');

# The guard lets the same fate pass; the ledger's primary key does not.
%log = decide_apart(map { $_ => "UPDATE cases SET state = 'won' WHERE id = 60" } @sides);
like($log{$_}, $duplicate, "the same fate: the primary key of the ledger stops the $_") for @sides;
is(fates($_, 'id = 60'), "60|won|won|clerk of the $_", "the same fate: the $_ has its own") for @sides;
undo_in_the_south('60');
$node{north}->wait_for_catchup('from_north');
skip_in_the_north($log{north});
on('south', "UPDATE cases SET state = 'lost' WHERE id = 61");
on('north', "UPDATE cases SET state = 'won' WHERE id = 62");
settle();
is(fates('north', 'true'), fates('south', 'true'), 'the same fate: mended as well, and replication goes on');
is(fates('south', 'id BETWEEN 60 AND 62'), "60|won|won|clerk of the north\n61|lost|lost|clerk of the south\n62|won|won|clerk of the north", 'in both directions');
is(problems(), '', 'verify_fates finds nothing');

# --- Many keys, decided on both sides -----------------------------------------------

# Each side decides all that is open, from one end and from the other, while the
# workers try again and again.
on($_, "ALTER SUBSCRIPTION from_$other{$_} SET (disable_on_error = false)") for @sides;
on('north', "DO \$\$ BEGIN FOR i IN 1..100 LOOP PERFORM try_compare_and_swap(null::cases, i::text, 'open', 'won'); COMMIT; END LOOP; END \$\$");
on('south', "DO \$\$ BEGIN FOR i IN REVERSE 100..1 LOOP PERFORM try_compare_and_swap(null::cases, i::text, 'open', 'lost'); COMMIT; END LOOP; END \$\$");
is(problems(), '', 'whatever both sides decide, each is in order');
is(on($_, 'SELECT count(*) FROM cases JOIN cases_fates USING (id) WHERE id <= 100 AND state = fate'), 100, "and the $_ has one fate for each key") for @sides;

$node{$_}->stop('immediate') for @sides;
done_testing();
