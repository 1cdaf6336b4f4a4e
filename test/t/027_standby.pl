# Reading one's own fate on a standby that lags behind, by the recipes of
# docs/operations.md: with the primary's flush position, read after the decision and
# polled for on the standby; with remote_apply; from PostgreSQL 19 on, with WAIT FOR.
# Then the standby becomes a logical subscriber while clients decide: with
# pg_createsubscriber from PostgreSQL 17 on, and by hand on any version.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $primary = PostgreSQL::Test::Cluster->new('primary');

$primary->init(allows_streaming => 'logical');
$primary->append_conf('postgresql.conf', "fsync = off\nwal_keep_size = 256MB\n");
$primary->start;
my $version = $primary->safe_psql('postgres', 'SHOW server_version_num') / 10000;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION petition_cas;
	SELECT create_petitions();
	INSERT INTO petition_submissions (id, text, state) SELECT lpad(n::text, 32, '0')::uuid, 'text', 'DELIBERATING' FROM generate_series(1, 3000) n;
	CREATE TYPE outcome AS ENUM ('open', 'won', 'lost');
	CREATE TABLE cases (id int PRIMARY KEY, state outcome NOT NULL) PARTITION BY RANGE (id);
	CREATE TABLE cases_1 PARTITION OF cases FOR VALUES FROM (1) TO (100);
	CREATE TABLE cases_2 PARTITION OF cases DEFAULT;
	SELECT govern('cases', '{"open": ["won", "lost"]}');
	INSERT INTO cases SELECT n, 'open' FROM generate_series(1, 200) n;
	UPDATE cases SET state = 'won' WHERE id % 10 = 0;
	CREATE TABLE tags (id text NOT NULL UNIQUE, state text);
	SELECT govern('tags', '{"new": ["kept"]}');
	INSERT INTO tags SELECT n, 'new' FROM generate_series(1, 9) n});

# Adds a standby; it applies each commit so many milliseconds late.
sub new_standby
{
	my ($name, $delay) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->backup($name, backup_options => [ '--checkpoint', 'fast' ]);
	$standby->init_from_backup($primary, $name, has_streaming => 1);
	$standby->append_conf('postgresql.conf', "recovery_min_apply_delay = ${delay}ms\n");
	$standby->start;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
	return $standby;
}

sub petition
{
	my ($n) = @_;
	return "lpad('$n', 32, '0')::uuid";
}

my $standby = new_standby('standby', 300);

# What a reader of the standby is shown: state and ledger of a petition
sub shown
{
	my ($n) = @_;
	return $standby->safe_psql('postgres', 'SELECT state, fate FROM petition_submissions LEFT JOIN petition_submissions_fates USING (id) WHERE id = ' . petition($n));
}

# The recipe: asks the standby, in one statement after the other, until it has
# applied what precedes a position. Returns how many seconds that took.
sub wait_for_position
{
	my ($lsn) = @_;
	my $start = time;

	$standby->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'") or die "the standby does not reach $lsn";
	return time - $start;
}

my $position = 'SELECT pg_current_wal_flush_lsn()';
my $other = $primary->background_psql('postgres');

# --- The position, polled for -------------------------------------------------

my @decisions = (
	[ 'assign_fate', "SELECT FROM assign_fate(ID, 'DELIBERATING', 'REFERRED')" ],
	[ 'try_assign_fate', "SELECT FROM try_assign_fate(ID, 'DELIBERATING', 'REFERRED')" ],
	[ 'assign_fates', "SELECT FROM assign_fates(ARRAY[ID], 'DELIBERATING', 'REFERRED')" ],
	[ 'an UPDATE', "UPDATE petition_submissions SET state = 'REFERRED' WHERE id = ID" ],
	[ 'a transaction', "BEGIN; SELECT FROM compare_and_swap(null::petition_submissions, ID::text, 'DELIBERATING', 'REFERRED'); COMMIT" ]);

my $n = 0;
my $longest = 0;

for (@decisions)
{
	my ($name, $sql) = @$_;
	my $id = petition(++$n);

	$sql =~ s/ID/$id/g;
	is($primary->safe_psql('postgres', "$sql; SELECT 'decided'"), 'decided', "$name decides");
	# Another one writes and does not commit: the end of the WAL, which is not
	# sent before somebody flushes it, is not what to wait for.
	$other->query_safe('BEGIN; UPDATE petition_submissions SET text = text WHERE id = ' . petition(2999));
	my $seconds = wait_for_position($primary->safe_psql('postgres', $position));
	is(shown($n), 'REFERRED|REFERRED', "$name: after the wait the standby shows the fate");
	$longest = $seconds if $seconds > $longest;
	cmp_ok($seconds, '<', 5, "$name: which a transaction that stays open does not prolong");
	$other->query_safe('ROLLBACK');
}

diag(sprintf 'figures: behind a standby that lags by 0.3 s, a reader waited at most %.1f s for its fate', $longest);

# Another connection may ask for the position, and so may who lost.
$n++;
$primary->safe_psql('postgres', "SELECT FROM assign_fate(${\petition($n)}, 'DELIBERATING', 'ESCALATED')");
my ($status, $lsn, $err) = $primary->psql('postgres', "\\set VERBOSITY verbose\nSELECT FROM assign_fate(${\petition($n)}, 'DELIBERATING', 'REFERRED');\n$position", on_error_stop => 0);
like($err, qr/ERROR:  PF002: /, 'a loser is told so');
wait_for_position($lsn =~ s/\s//gr);
is(shown($n), 'ESCALATED|ESCALATED', 'and after the wait the standby shows it the fate that stands');

# What is read before COMMIT is too early. A machine that halts for so long as
# the standby lags would hide it, so there is more than one attempt.
my $early = 'REFERRED|REFERRED';

for my $attempt (1 .. 5)
{
	$n++;
	$lsn = $primary->safe_psql('postgres', "BEGIN; SELECT FROM assign_fate(${\petition($n)}, 'DELIBERATING', 'REFERRED'); SELECT pg_current_wal_insert_lsn(); COMMIT");
	wait_for_position($lsn =~ s/\s//gr);
	$early = shown($n);
	last if $early ne 'REFERRED|REFERRED';
}
is($early, 'DELIBERATING|', 'a position read before COMMIT is not enough');

# --- WAIT FOR -------------------------------------------------------------------

SKIP:
{
	skip 'WAIT FOR LSN begins with PostgreSQL 19', 2 if $version < 19;

	$n++;
	$primary->safe_psql('postgres', "SELECT FROM assign_fate(${\petition($n)}, 'DELIBERATING', 'REFERRED')");
	$lsn = $primary->safe_psql('postgres', $position);
	is($standby->safe_psql('postgres', "WAIT FOR LSN '$lsn' WITH (TIMEOUT '60s')"), 'success', 'WAIT FOR LSN waits');
	is(shown($n), 'REFERRED|REFERRED', 'and then the standby shows the fate');
}

# --- remote_apply ---------------------------------------------------------------

$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'\n");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT sync_state = 'sync' FROM pg_stat_replication") or die 'the standby does not become synchronous';

for my $attempt (1 .. 5)
{
	$n++;
	$primary->safe_psql('postgres', "SELECT FROM assign_fate(${\petition($n)}, 'DELIBERATING', 'REFERRED')");
	$early = shown($n);
	last if $early ne 'REFERRED|REFERRED';
}
is($early, 'DELIBERATING|', 'a synchronous standby alone is not enough');
for (@decisions)
{
	my ($name, $sql) = @$_;
	my $id = petition(++$n);

	$sql =~ s/ID/$id/g;
	$primary->safe_psql('postgres', "SET synchronous_commit = remote_apply; $sql");
	is(shown($n), 'REFERRED|REFERRED', "$name, with remote_apply: the standby shows the fate at once");
}

# Until the standby has applied it, nobody is told of it on the primary either: so a
# loser, too, finds it there, and needs no setting for that.
$n++;
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
my $winner = $primary->background_psql('postgres');
my $loser = $primary->background_psql('postgres');

$winner->query_safe('SET synchronous_commit = remote_apply');
$winner->{stdin} .= "SELECT state FROM assign_fate(${\petition($n)}, 'DELIBERATING', 'REFERRED');\n";
$winner->{run}->pump_nb;
$primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") or die 'the winner does not wait';
is($primary->safe_psql('postgres', "SELECT state FROM petition_submissions WHERE id = ${\petition($n)}"), 'DELIBERATING', 'a fate that the standby has not applied is not seen on the primary');
$loser->{stdin} .= "SELECT outcome, current_state FROM try_assign_fate(${\petition($n)}, 'DELIBERATING', 'ESCALATED');\n";
$loser->{run}->pump_nb;
$primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'") or die 'the loser does not wait';
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
like($loser->query_safe('SELECT 1'), qr/^concurrent_modification\|REFERRED$/m, 'a loser waits for it');
is(shown($n), 'REFERRED|REFERRED', 'and then the standby shows it');
like($winner->query_safe('SELECT 1'), qr/^REFERRED$/m, 'as it does to the winner');
$_->quit for $winner, $loser, $other;

$primary->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
$primary->reload;

# --- A standby becomes a logical subscriber -------------------------------------

# All tables are published for it. One without a primary key has to say by which
# index its rows are known, or is not written to any more.
$primary->safe_psql('postgres', 'CREATE PUBLICATION probe FOR ALL TABLES');
$primary->psql('postgres', "\\set VERBOSITY verbose\nSELECT FROM compare_and_swap(null::tags, '1', 'new', 'kept')", stderr => \$err);
like($err, qr/ERROR:  55000: cannot update table "tags" because it does not have a replica identity/, 'a table without a primary key gets no fates while it is published');
$primary->safe_psql('postgres', 'ALTER TABLE tags REPLICA IDENTITY USING INDEX tags_id_key');
is($primary->safe_psql('postgres', "SELECT id, state FROM compare_and_swap(null::tags, '1', 'new', 'kept')"), '1|kept', 'with a replica identity it does');
$primary->safe_psql('postgres', 'DROP PUBLICATION probe');

# Starts two clients that assign fates to petitions, one after the other.
sub start_deciding
{
	my $file = $primary->basedir . '/decide.sql';

	append_to_file($file, "\\set n random(100, 2900)\nSELECT FROM try_assign_fate(lpad(:n::text, 32, '0')::uuid, 'DELIBERATING', (ARRAY['REFERRED', 'ESCALATED'])[1 + :client_id]);\n")
	  if !-e $file;
	return IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-R', 200, '-T', 300, '-f', $file, $primary->connstr('postgres') ], '<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
}

# By hand, as docs/operations.md has it
sub convert_by_hand
{
	my ($node) = @_;

	$node->stop;
	$primary->safe_psql('postgres', 'CREATE PUBLICATION decisions FOR ALL TABLES');
	my $start = $primary->safe_psql('postgres', "SELECT lsn FROM pg_create_logical_replication_slot('decisions', 'pgoutput')");
	$node->append_conf('postgresql.conf', "recovery_target_lsn = '$start'\nrecovery_target_inclusive = off\nrecovery_target_action = promote\n");
	$node->start;
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'the standby was not promoted';
	$node->safe_psql('postgres', 'DROP PUBLICATION decisions');
	$node->safe_psql('postgres', "CREATE SUBSCRIPTION decisions CONNECTION '${\$primary->connstr} dbname=postgres' PUBLICATION decisions WITH (create_slot = false, copy_data = false)");
	return;
}

sub convert_by_program
{
	my ($node) = @_;

	$node->stop;
	command_ok(
		[
			'pg_createsubscriber', '-D', $node->data_dir, '-P', $primary->connstr('postgres'), '-s', $node->host, '-p', $node->port,
			'-d', 'postgres', '--publication', 'decisions', '--subscription', 'decisions', '--replication-slot', 'decisions' ],
		'pg_createsubscriber converts the standby');
	$node->start;
	return;
}

my $contents = join '; ', map { "SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY id)) FROM $_ t" } qw(petition_submissions petition_submissions_fates cases cases_fates tags tags_fates);
my $triggers = "SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger ORDER BY 1, 2; SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY 1; SELECT lifecycle('petition_submissions'), lifecycle('cases')";

# Converts a standby while clients decide, and tests what has become of it; then
# promotes it.
sub check_conversion
{
	my ($name, $node, $convert) = @_;
	my $decided = 'SELECT count(*) FROM petition_submissions_fates';
	my $before = $primary->safe_psql('postgres', $decided);
	my $clients = start_deciding();

	$primary->poll_query_until('postgres', "SELECT count(*) >= $before + 20 FROM petition_submissions_fates") or die 'nobody decides';

	$convert->($node);
	my $converted = $primary->safe_psql('postgres', $decided);

	$primary->poll_query_until('postgres', "SELECT count(*) >= $converted + 50 FROM petition_submissions_fates") or die 'nobody decides';
	$clients->kill_kill;
	$primary->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'") or die 'clients stay';

	$primary->safe_psql('postgres', q{
		UPDATE tags SET state = 'kept' WHERE id = (SELECT id FROM tags WHERE state = 'new' LIMIT 1);
		UPDATE cases SET state = 'lost' WHERE id IN (SELECT id FROM cases WHERE state = 'open' LIMIT 2);
		SELECT FROM try_compare_and_swap(null::cases, (SELECT id FROM cases WHERE state = 'open' LIMIT 1)::text, 'open', 'won')});
	$primary->wait_for_catchup('decisions');
	cmp_ok($converted - $before, '>', 20, "$name: there was load meanwhile");
	is($node->safe_psql('postgres', $contents), $primary->safe_psql('postgres', $contents), "$name: rows and ledgers are the same");
	is($node->safe_psql('postgres', $triggers), $primary->safe_psql('postgres', $triggers), "$name: and so are triggers and lifecycles");
	is($node->safe_psql('postgres', "SELECT * FROM verify_fates('petition_submissions') UNION ALL SELECT * FROM verify_fates('cases') UNION ALL SELECT * FROM verify_fates('tags')"), '', "$name: verify_fates finds nothing");
	is($node->safe_psql('postgres', q{
			SELECT DISTINCT outcome FROM assign_fates((SELECT array_agg(id) FROM petition_submissions_fates), 'DELIBERATING', 'ACKNOWLEDGED');
			SELECT outcome FROM try_compare_and_swap(null::cases, '10', 'open', 'lost')}),
		"already_fated\nalready_fated", "$name: the subscriber refuses a second fate");

	$node->safe_psql('postgres', 'DROP SUBSCRIPTION decisions');
	is($node->safe_psql('postgres', "SELECT backfill_fates('petition_submissions'), backfill_fates('cases')"), '0|0', "$name: promoted, it lacks no fate");
	is($node->safe_psql('postgres', qq{
			SELECT state FROM assign_fate(${\petition(3000)}, 'DELIBERATING', 'ACKNOWLEDGED');
			SELECT fate FROM petition_submissions_fates WHERE id = ${\petition(3000)};
			SELECT count(*) FROM verify_fates('petition_submissions')}),
		"ACKNOWLEDGED\nACKNOWLEDGED\n0", "$name: and assigns fates");
	$primary->safe_psql('postgres', 'DROP PUBLICATION decisions');
	$node->stop;
	return $converted - $before;
}

$standby->stop;
$standby->append_conf('postgresql.conf', "recovery_min_apply_delay = 0\n");
$standby->start;
my $figure = check_conversion('by hand', $standby, \&convert_by_hand);

diag("figures: by hand: $figure fates assigned while the standby became a subscriber, none missing or twice");

SKIP:
{
	skip 'pg_createsubscriber begins with PostgreSQL 17', 1 if $version < 17;

	$figure = check_conversion('pg_createsubscriber', new_standby('second', 0), \&convert_by_program);
	diag("figures: pg_createsubscriber: $figure fates assigned while it ran, none missing or twice");
}

$primary->stop;
done_testing();
