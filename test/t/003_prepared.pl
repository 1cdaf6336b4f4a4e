# Prepared transactions: a fate that is prepared holds its petition until it is
# committed or rolled back, also through a restart, and is recorded in the
# ledger with it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Race;
use Test::More;

my $node = new_server('prepared', 'max_prepared_transactions = 10');

fill_petitions($node, 9);
my %id = map { $_ => petition_id($_) } 1 .. 9;
my $assign = sub {
	my ($n, $fate) = @_;
	return "SELECT outcome, current_state FROM try_assign_fate('$id{$n}', 'DELIBERATING', '$fate')";
};
my $state = sub {
	my ($n) = @_;
	return $node->safe_psql('postgres', "SELECT state, from_state, fate, assigned_by FROM petition_submissions LEFT JOIN petition_submissions_fates USING (id) WHERE id = '$id{$n}'");
};

# Prepared with each form, at each level.
$node->safe_psql('postgres', qq{
	SET petition_cas.actor = 'preparer';
	BEGIN; } . $assign->(1, 'REFERRED') . qq{; PREPARE TRANSACTION 'commit me';
	BEGIN ISOLATION LEVEL REPEATABLE READ; } . $assign->(2, 'REFERRED') . qq{; PREPARE TRANSACTION 'roll me back';
	BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT * FROM assign_fates(ARRAY['$id{3}', '$id{4}']::uuid[], 'DELIBERATING', 'ESCALATED');
	SAVEPOINT s; } . $assign->(5, 'REFERRED') . qq{; ROLLBACK TO s; PREPARE TRANSACTION 'after a savepoint'});
is($state->(1), 'DELIBERATING|||', 'a prepared fate is not to be seen yet');

# Others wait for it. (The lock timeout stands for their patience.)
my ($code, $out, $err) = $node->psql('postgres', "SET lock_timeout = '100ms'; " . $assign->(1, 'ESCALATED'));
like($err, qr/canceling statement due to lock timeout/, 'a contender waits for a prepared fate');
($code, $out, $err) = $node->psql('postgres', "SET lock_timeout = '100ms'; UPDATE petition_submissions SET state = 'ESCALATED' WHERE id = '$id{1}'");
like($err, qr/canceling statement due to lock timeout/, 'so does a direct UPDATE');
($code, $out, $err) = $node->psql('postgres', "SET lock_timeout = '100ms'; SELECT extend_lifecycle('petition_submissions', '{\"DELIBERATING\": [\"DEFERRED\"]}')");
like($err, qr/canceling statement due to lock timeout/, 'and extend_lifecycle');
is($node->safe_psql('postgres', $assign->(5, 'ACKNOWLEDGED')), 'assigned|ACKNOWLEDGED', 'what was rolled back to a savepoint is free');

# It outlives a crash.
$node->stop('immediate');
$node->start;
is($state->(1), 'DELIBERATING|||', 'after a crash it is still prepared');
my $waiting = $node->background_psql('postgres');
$waiting->query_until(qr/waiting/, "\\echo waiting\n" . $assign->(1, 'ESCALATED') . ";\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'") or die 'nobody waits';
$node->safe_psql('postgres', "COMMIT PREPARED 'commit me'");
like($waiting->query_safe('SELECT 1'), qr/concurrent_modification\|REFERRED/, 'committed, it has won; who waited is told PF001');
$waiting->quit;
is($state->(1), 'REFERRED|DELIBERATING|REFERRED|preparer', 'it is in the ledger as the one who prepared it');
is($node->safe_psql('postgres', $assign->(1, 'ESCALATED')), 'already_fated|REFERRED', 'who comes later is told PF002');

$node->safe_psql('postgres', "ROLLBACK PREPARED 'roll me back'");
is($node->safe_psql('postgres', $assign->(2, 'ESCALATED')), 'assigned|ESCALATED', 'rolled back, the petition is free');
$node->safe_psql('postgres', "COMMIT PREPARED 'after a savepoint'");
is($state->(3), 'ESCALATED|DELIBERATING|ESCALATED|preparer', 'a prepared bulk call, first petition');
is($state->(4), 'ESCALATED|DELIBERATING|ESCALATED|preparer', 'a prepared bulk call, second petition');
is($state->(5) =~ /^ACKNOWLEDGED\|/, 1, 'the petition of the savepoint has the other fate');
is($node->safe_psql('postgres', "SELECT count(*) FROM verify_fates('petition_submissions')"), 0, 'verify_fates finds nothing');

$node->stop;
done_testing();
