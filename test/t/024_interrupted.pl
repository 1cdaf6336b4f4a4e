# What interrupts an assignment: a crash between PREPARE TRANSACTION and its end,
# timeouts and cancellation while it waits for the winner; and subtransactions by
# the thousand. The state is what it was, the error the server's own.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('interrupted');

$node->init;
$node->append_conf('postgresql.conf', "max_prepared_transactions = 10\nmax_connections = 40\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION petition_cas;
	SELECT create_petitions();
	CREATE FUNCTION petition(n int) RETURNS uuid IMMUTABLE LANGUAGE sql RETURN lpad(n::text, 32, '0')::uuid;
	INSERT INTO petition_submissions (id, text, state) SELECT petition(n), 'text', 'DELIBERATING' FROM generate_series(1, 10000) n});

my $swap = "'DELIBERATING', 'ACKNOWLEDGED'";

# Runs statements, each whether or not the last one failed, and returns what they
# print and the SQLSTATE of each, 00000 for none.
sub run
{
	my (@statements) = @_;
	my ($out, $err);

	$node->psql('postgres', join('', map { "$_;\n\\echo :SQLSTATE\n" } @statements), on_error_stop => 0, stdout => \$out, stderr => \$err);
	return $out;
}

sub is_healthy
{
	my ($name) = @_;
	return is($node->safe_psql('postgres', q{SELECT * FROM verify_fates('petition_submissions')}), '', "$name: verify_fates finds nothing");
}

# The rows in that range and their fates.
sub stored
{
	my ($first, $last) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT p.state, f.fate, f.assigned_by, count(*) FROM petition_submissions p LEFT JOIN petition_submissions_fates f USING (id)
		WHERE id BETWEEN petition($first) AND petition($last) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3});
}

# --- Prepared transactions across a crash -----------------------------------

$node->safe_psql('postgres', qq{
	SET petition_cas.actor = 'the first';
	BEGIN;
	SELECT assign_fate(petition(1), $swap);
	SELECT assign_fates(ARRAY[petition(2), petition(3)], $swap);
	UPDATE petition_submissions SET state = 'ACKNOWLEDGED' WHERE id = petition(4);
	PREPARE TRANSACTION 'first';
	SET petition_cas.actor = 'the second';
	BEGIN;
	SELECT assign_fate(petition(5), $swap);
	PREPARE TRANSACTION 'second'});
for my $crash (1, 2)
{
	kill_server($node);
	$node->start;
	is(stored(1, 5), 'DELIBERATING|||5', "crash $crash: what is prepared is not assigned");
	is(run('SET lock_timeout = 20', map { "SELECT assign_fate(petition($_), 'DELIBERATING', 'REFERRED')" } 1 .. 5),
		join("\n", '00000', ('55P03') x 5), "crash $crash: and still it excludes others");
}
is_healthy('prepared, and crashed');

# Somebody waits for each of the two, and is told how it ended.
my @waiting = map { $node->background_psql('postgres', on_error_stop => 0) } 0, 1;
$waiting[0]->query_until(qr/started/, "\\echo started\nSELECT * FROM try_assign_fate(petition(1), 'DELIBERATING', 'REFERRED');\n\\echo done\n");
$waiting[1]->query_until(qr/started/, "SET petition_cas.actor = 'the third';\n\\echo started\nSELECT * FROM try_assign_fate(petition(5), 'DELIBERATING', 'REFERRED');\n\\echo done\n");
$node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_locks WHERE NOT granted") or die 'nobody waits';
$node->safe_psql('postgres', "COMMIT PREPARED 'first'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'second'");
like($waiting[0]->query_until(qr/^done/m, ''), qr/^concurrent_modification\|ACKNOWLEDGED$/m, 'COMMIT PREPARED: who waited has lost');
like($waiting[1]->query_until(qr/^done/m, ''), qr/^assigned\|REFERRED$/m, 'ROLLBACK PREPARED: who waited has won');
$_->quit for @waiting;

kill_server($node);
$node->start;
is(stored(1, 5), "ACKNOWLEDGED|ACKNOWLEDGED|the first|4\nREFERRED|REFERRED|the third|1", 'the crash after: the fates stand, by whom they were assigned');
is_healthy('committed, and crashed');

# --- Subtransactions by the thousand ----------------------------------------

# 3000 in a row, each third rolled back, one after the other.
$node->safe_psql('postgres', q{
	SET petition_cas.actor = 'row';
	DO $$
	BEGIN
		FOR n IN 101 .. 3100 LOOP
			BEGIN
				PERFORM assign_fate(petition(n), 'DELIBERATING', 'ACKNOWLEDGED');
				IF n % 3 = 0 THEN
					RAISE 'never mind';
				END IF;
			EXCEPTION
				WHEN raise_exception THEN
					NULL;
			END;
		END LOOP;
	END $$});
is(stored(101, 3100), "ACKNOWLEDGED|ACKNOWLEDGED|row|2000\nDELIBERATING|||1000", 'of 3000 subtransactions, those that were rolled back left nothing');
is($node->safe_psql('postgres', q{SELECT outcome, count(*) FROM generate_series(101, 3100) n, try_assign_fate(petition(n), 'DELIBERATING', 'REFERRED') GROUP BY 1 ORDER BY 1}),
	"already_fated|2000\nassigned|1000", 'and their petitions are free');

# 1500 deep, while others look on and wait; 500 of them are rolled back.
my $deep = $node->background_psql('postgres');

$deep->query_safe("SET petition_cas.actor = 'deep'");
$deep->query_safe('BEGIN');
$deep->query_safe(join ";\n", map { ("SAVEPOINT s$_", "SELECT count(*) FROM assign_fate(petition(" . (3200 + $_) . "), $swap)") } 1 .. 1500);
is(stored(3201, 4700), 'DELIBERATING|||1500', 'of 1500 savepoints within each other nobody else sees a thing');
is(run('SET lock_timeout = 20', map { "SELECT assign_fate(petition($_), 'DELIBERATING', 'REFERRED')" } 3201, 4000, 4700),
	"00000\n55P03\n55P03\n55P03", 'and nobody else gets their petitions');
$deep->query_safe('ROLLBACK TO s1001');
is(run('SET lock_timeout = 20', map { "SELECT outcome FROM try_assign_fate(petition($_), 'DELIBERATING', 'REFERRED')" } 3201, 4200, 4201, 4700),
	"00000\n55P03\n55P03\nassigned\n00000\nassigned\n00000", 'those rolled back are free before the rest is committed');
$deep->query_safe('COMMIT');
$deep->quit;
is(stored(3201, 4200), 'ACKNOWLEDGED|ACKNOWLEDGED|deep|1000', 'the rest is committed with its fates');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT transaction_id) FROM petition_submissions_fates WHERE assigned_by IN ('deep', 'row')}), 2, 'each ledger row names the transaction, not the subtransaction');

# The try_ form at REPEATABLE READ, which takes a subtransaction itself: 2000 of
# them, a half already fated.
is($node->safe_psql('postgres', q{
		BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT outcome, count(*) FROM generate_series(3701, 5700) n, try_assign_fate(petition(n), 'DELIBERATING', 'ESCALATED') GROUP BY 1 ORDER BY 1;
		COMMIT}),
	"already_fated|502\nassigned|1498", 'at REPEATABLE READ, 2000 in one transaction');
is_healthy('subtransactions');

# --- Timeouts and cancellation while waiting for the winner -----------------

my $id = 'petition(6001)';
my $other = "'DELIBERATING', 'REFERRED'";
my %calls = (
	assign_fate => "SELECT assign_fate($id, $other)",
	try_assign_fate => "SELECT try_assign_fate($id, $other)",
	assign_fates => "SELECT assign_fates(ARRAY[petition(6000), $id, petition(6002)], $other)",
	compare_and_swap => "SELECT compare_and_swap(null::petition_submissions, $id\::text, $other)",
	try_compare_and_swap => "SELECT try_compare_and_swap(null::petition_submissions, $id\::text, $other)",
	UPDATE => "UPDATE petition_submissions SET state = 'REFERRED' WHERE id = $id",
	DELETE => "DELETE FROM petition_submissions WHERE id = $id");
my %levels = ('READ COMMITTED' => 'BEGIN', 'REPEATABLE READ' => 'BEGIN ISOLATION LEVEL REPEATABLE READ', SERIALIZABLE => 'BEGIN ISOLATION LEVEL SERIALIZABLE');

# Interrupts each call at each level, in each way, and looks at what it has left.
sub interrupt_all
{
	my ($name, $first, @names) = @_;
	my $last = $first + 2;

	for my $level (sort keys %levels)
	{
		for my $call (@names)
		{
			# A savepoint's state is what it was, too.
			is(run(
					$levels{$level}, 'SET LOCAL lock_timeout = 15', 'SAVEPOINT s', $calls{$call}, 'ROLLBACK TO s',
					"SELECT state FROM petition_submissions WHERE id BETWEEN petition($first) AND petition($last)", 'COMMIT',
					$levels{$level}, 'SET LOCAL statement_timeout = 15', $calls{$call}, 'ROLLBACK'),
				join("\n", qw(00000 00000 00000 55P03 00000 DELIBERATING DELIBERATING DELIBERATING 00000 00000), qw(00000 00000 57014 00000)),
				"$name: $call at $level: lock_timeout and statement_timeout are raised");
		}
	}
	for my $signal ([ 'pg_cancel_backend', '57014' ], [ 'pg_terminate_backend', '57P01' ])
	{
		for my $level (sort keys %levels)
		{
			for my $call (@names)
			{
				my ($out, $err) = ('', '');
				my $session = IPC::Run::start([ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres') . ' application_name=waiting',
						'-c', $levels{$level}, '-c', $calls{$call} ],
					'<', '/dev/null', '>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

				$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waiting' AND wait_event_type = 'Lock'")
				  or die 'it does not wait';
				$node->safe_psql('postgres', "SELECT $signal->[0](pid) FROM pg_stat_activity WHERE application_name = 'waiting'");
				$session->finish;
				like($err, qr/(ERROR|FATAL):  $signal->[1]:/, "$name: $call at $level: $signal->[0] is obeyed");
				unlike($out . $err, qr/PF00|XX000/, "$name: $call at $level: and nothing else is said");
			}
		}
	}
	is($node->safe_psql('postgres', "SELECT count(*) FROM petition_submissions WHERE id BETWEEN petition($first) AND petition($last) AND state = 'DELIBERATING'"),
		3, "$name: the state is unchanged");
	return;
}

# The winner has the row.
$node->safe_psql('postgres', "BEGIN; SELECT assign_fate($id, $swap); PREPARE TRANSACTION 'winner'");
interrupt_all('waiting for the row', 6000, sort keys %calls);
$node->safe_psql('postgres', "COMMIT PREPARED 'winner'");
is(stored(6000, 6002), "ACKNOWLEDGED|ACKNOWLEDGED|postgres|1\nDELIBERATING|||2", 'the winner has won');
is_healthy('interrupted while waiting for the row');

# Somebody has written the ledger row, so that the guard waits in its trigger.
$id = 'petition(6011)';
s/petition\(600/petition(601/g for values %calls;
delete $calls{DELETE};    # which writes none
$node->safe_psql('postgres', "BEGIN; INSERT INTO petition_submissions_fates VALUES (petition(6011), NULL, 'ACKNOWLEDGED', now(), 'somebody', pg_current_xact_id()); PREPARE TRANSACTION 'ledger'");
interrupt_all('waiting for the ledger', 6010, sort keys %calls);
$node->safe_psql('postgres', "COMMIT PREPARED 'ledger'");
is(run(map { $calls{$_} } sort keys %calls), join("\n", ('PF002') x keys %calls), 'waiting for the ledger: afterwards its fate is the one');
is(stored(6010, 6012), "DELIBERATING|ACKNOWLEDGED|somebody|1\nDELIBERATING|||2", 'waiting for the ledger: and the rows are unchanged');

$node->stop;
done_testing();
