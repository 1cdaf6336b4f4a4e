# The concurrent tests of the story "atomic fate assignment (CAS)", each under
# its name there, with real connections. (Its other tests: test/pgtap/story_unit.sql.)

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Race;
use Test::More;

my $node = new_server('story');

# NFR-3.2: concurrent double-fate prevention: two clients, one petition.
fill_petitions($node, 20);
my @attempts = race($node, clients => 2, level => 'read committed', petitions => sub { [ 1 .. 20 ] }, hold => 0.005);
check_race($node, 'NFR-3.2 concurrent double-fate prevention', 20, @attempts);

# High concurrency: 10 concurrent fate attempts.
fill_petitions($node, 25);
@attempts = race($node, clients => 10, level => 'read committed', petitions => sub { [ 1 .. 25 ] }, hold => 0.005);
check_race($node, 'high concurrency (10 concurrent fate attempts)', 25, @attempts);
is(scalar(grep { $_->{outcome} ne 'assigned' } @attempts), 25 * 9, 'high concurrency: of 10, nine lose');

# Stress test: 50 petitions x 3 concurrent fates = 150 attempts. Each client
# goes its own way through the petitions.
for my $level ('read committed', 'repeatable read')
{
	fill_petitions($node, 50);
	@attempts = race($node, clients => 3, level => $level, petitions => sub {
			my ($client) = @_;
			return $client == 3 ? [ reverse 1 .. 50 ] : [ 1 .. 50 ];
		}, hold => 0.002);
	is(scalar(@attempts), 150, "stress test (50 petitions x 3 concurrent fates), $level: 150 attempts");
	check_race($node, "stress test (50 petitions x 3 concurrent fates), $level", 50, @attempts);
}

# Fate distribution fairness: no fate is starved. Which fate a client wants goes
# round with the petitions, so each has a third of the attempts.
fill_petitions($node, 300);
@attempts = race($node, clients => 6, level => 'read committed', petitions => sub { [ 1 .. 300 ] }, hold => 0);
my (undef, $by_fate) = check_race($node, 'fate distribution fairness', 300, @attempts);
for my $fate (qw(ACKNOWLEDGED REFERRED ESCALATED))
{
	cmp_ok($by_fate->{$fate} // 0, '>=', 30, "fate distribution fairness: $fate has its share");
}

# Retry pattern: clients that lose by PF001 try again with the state they were
# told, until the petition has its fate. A replay never gives a second one.
fill_petitions($node, 100);
$node->safe_psql('postgres', q{
	CREATE FUNCTION decide(petition uuid, fate text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE result record; expected text := 'RECEIVED';
	BEGIN
		LOOP
			SELECT * INTO result FROM try_assign_fate(petition, expected, fate);
			EXIT WHEN result.outcome <> 'concurrent_modification' OR is_fate('petition_submissions', result.current_state);
			expected := result.current_state;
		END LOOP;
		RETURN result.outcome;
	END $$});
# pgbench stops a client at the first error that is not to be retried, and
# counts those that are: there must be neither.
my ($stdout, $stderr);
my $script = $node->basedir . '/retry.sql';
append_to_file($script,
	"\\set n random(1, 100)\n\\set f random(1, 3)\n"
	  . "SELECT decide(lpad(:n::text, 32, '0')::uuid, (ARRAY['ACKNOWLEDGED', 'REFERRED', 'ESCALATED'])[:f]);\n");
for my $level ('read committed', 'repeatable read', 'serializable')
{
	fill_petitions($node, 100);
	local $ENV{PGOPTIONS} = "-c default_transaction_isolation=" . ($level =~ s/ /\\ /r);
	IPC::Run::run(
		[ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '200', '-f', $script, '--max-tries=1000', $node->connstr('postgres') ],
		'>', \$stdout, '2>', \$stderr);
	like($stdout, qr{transactions actually processed: 1600/1600}, "retry pattern, $level: no client met an error")
	  or diag($stderr);
	like($stdout, qr{number of failed transactions: 0 }, "retry pattern, $level: no transaction failed");
	# (At SERIALIZABLE, on tables as small as these, the server may raise 40001 because
	# of its own predicate locks, and raise it again as long as the other
	# transaction sleeps: pgbench tries again.)
	like($stdout, qr{number of transactions retried: 0 }, "retry pattern, $level: none had to be replayed")
	  if $level ne 'serializable';
	is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id) FROM petition_submissions_fates'),
		'100|100', "retry pattern, $level: each petition has one fate");
	is($node->safe_psql('postgres', "SELECT count(*) FROM verify_fates('petition_submissions')"), 0, "retry pattern, $level: verify_fates finds nothing");
}

$node->stop;
done_testing();
