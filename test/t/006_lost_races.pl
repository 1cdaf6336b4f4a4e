# Rows that change all the time, under those who swap them: a swap that misses
# such a row has lost a race, and is never told that its update was suppressed
# (55000). And the other way round: an update that row security, a trigger or a
# rule suppresses is 55000 all the same, however the row changes meanwhile.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Race;
use Test::More;

my $node = new_server('lost');
my $seconds = 1.5;

$node->safe_psql('postgres', q{
	CREATE ROLE clerk;
	CREATE TABLE orders (id int PRIMARY KEY, state text NOT NULL, note text);
	SELECT govern('orders', '{"open": ["hold", "closed"], "hold": ["open"]}');
	SELECT extend_lifecycle('petition_submissions', '{"DELIBERATING": ["HEARING"], "HEARING": ["DELIBERATING"]}');
	INSERT INTO orders VALUES (1, 'open');
	INSERT INTO petition_submissions (id, text, state) SELECT lpad(n::text, 32, '0')::uuid, 'text', 'DELIBERATING' FROM generate_series(1, 4) n;
	GRANT SELECT, UPDATE ON petition_submissions TO clerk;

	-- Executes a command again and again, each time in a transaction of its own,
	-- and counts what it was told.
	CREATE PROCEDURE repeat(command text, keep boolean, pause float, seconds float, INOUT told jsonb DEFAULT '{}') LANGUAGE plpgsql AS $$
	DECLARE
		stop timestamptz := clock_timestamp() + make_interval(secs => seconds);
		answer text;
	BEGIN
		WHILE clock_timestamp() < stop LOOP
			BEGIN
				EXECUTE command INTO answer;
				answer := coalesce(answer, 'nothing');
			EXCEPTION WHEN OTHERS THEN
				answer := SQLSTATE;
			END;
			told := told || jsonb_build_object(answer, coalesce((told ->> answer)::int, 0) + 1);
			IF keep THEN
				COMMIT;
			ELSE
				ROLLBACK;
			END IF;
			PERFORM pg_sleep(pause);
		END LOOP;
	END $$;

	CREATE FUNCTION order_anew() RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		DELETE FROM orders WHERE id = 1;
		INSERT INTO orders VALUES (1, 'open');
		RETURN 'anew';
	END $$;
	-- two of these at once may meet in a row that is there for both: 23505
	CREATE FUNCTION petition_anew() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		chosen uuid := lpad((1 + random() * 3)::int::text, 32, '0')::uuid;
	BEGIN
		DELETE FROM petition_submissions WHERE id = chosen;
		INSERT INTO petition_submissions (id, text, state) VALUES (chosen, 'anew', 'DELIBERATING');
		RETURN 'anew';
	END $$;
	GRANT EXECUTE ON PROCEDURE repeat TO clerk;
});

# Commands are named here: what is executed, whether it is kept, and what is
# waited for in between.
my $id = "'00000000-0000-0000-0000-000000000001'";
my $all = "(SELECT array_agg(lpad(n::text, 32, '0')::uuid) FROM generate_series(1, 4) n)";
my %commands = (
	toggle => [ q{SELECT outcome FROM (SELECT * FROM (VALUES ('open', 'hold'), ('hold', 'open')) AS v (f, t) ORDER BY random() LIMIT 1) v, LATERAL try_compare_and_swap(null::orders, '1', f, t)}, 1, 0 ],
	order_anew => [ 'SELECT order_anew()', 1, 0 ],
	try_row => [ q{SELECT outcome FROM try_compare_and_swap(null::orders, '1', 'open', 'hold')}, 0, 0 ],
	raise_row => [ q{SELECT 'assigned' FROM compare_and_swap(null::orders, '1', 'open', 'hold')}, 0, 0 ],
	petition_anew => [ 'SELECT petition_anew()', 1, 0 ],
	set => [ "SELECT string_agg(DISTINCT outcome, ' ') FROM assign_fates($all, 'DELIBERATING', 'REFERRED')", 0, 0 ],
	slowly_anew => [ 'SELECT petition_anew()', 1, 0.002 ],
	slowly_edit => [ "UPDATE petition_submissions SET text = left(text || '.', 20) WHERE id = $id RETURNING 'edited'", 1, 0.002 ],
	slowly_move => [ "UPDATE petition_submissions SET state = CASE state WHEN 'HEARING' THEN 'DELIBERATING' ELSE 'HEARING' END WHERE id = $id RETURNING 'moved'", 1, 0.002 ],
	raise_petition => [ "SELECT state FROM assign_fate($id, 'DELIBERATING', 'REFERRED')", 0, 0 ],
	try_petition => [ "SELECT outcome FROM try_assign_fate($id, 'DELIBERATING', 'REFERRED')", 0, 0 ],
	try_as_row => [ "SELECT outcome FROM try_compare_and_swap(null::petition_submissions, $id, 'DELIBERATING', 'REFERRED')", 0, 0 ],
);

# Runs commands at the same moment, each in a session of its own, after a
# statement that prepares the session. Returns what each kind was told, with how
# often.
sub run_load
{
	my ($name, $prepare, @names) = @_;
	my (@runs, %told);

	for my $command (@names)
	{
		my ($sql, $keep, $pause) = @{ $commands{$command} };
		my %run = (name => $command, out => '', err => '');
		my $begin = $command =~ /petition$|^try_as_row|^set/ ? $prepare : 'SELECT';

		$sql =~ s/'/''/g;
		$run{run} = IPC::Run::start(
			[ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $begin,
				'-c', "CALL repeat('$sql', " . ($keep ? 'true' : 'false') . ", $pause, $seconds)" ],
			'<', \undef, '>', \$run{out}, '2>', \$run{err},
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
		push @runs, \%run;
	}
	for my $run (@runs)
	{
		$run->{run}->finish;
		is($run->{err}, '', "$name: $run->{name} ran") or next;
		my ($json) = $run->{out} =~ /(\{.*\})/;
		my $counts = decode_json($json // '{}');

		$told{ $run->{name} }{$_} += $counts->{$_} for keys %$counts;
	}
	note "$name: ", JSON::PP->new->canonical->encode(\%told);
	return \%told;
}

# Checks that a command was told only what is given, and the first of that at all.
sub told_only
{
	my ($name, $told, $command, @answers) = @_;
	my %known = map { $_ => 1 } @answers;

	is_deeply([ grep { !$known{$_} } sort keys %{ $told->{$command} } ], [], "$name: $command is told nothing but @answers");
	cmp_ok($told->{$command}{ $answers[0] } // 0, '>', 0, "$name: $command is told $answers[0]");
	return;
}

# --- Lost races ----------------------------------------------------------------

my $told = run_load('toggled', 'SELECT', ('toggle') x 4);
told_only('toggled', $told, 'toggle', 'assigned', 'concurrent_modification');

$told = run_load('anew', 'SELECT', qw(order_anew try_row raise_row));
told_only('anew', $told, 'order_anew', 'anew');
told_only('anew', $told, 'try_row', 'assigned', 'concurrent_modification');
told_only('anew', $told, 'raise_row', 'assigned', 'PF001');

# In the set form, no deadlock (40P01) either.
$told = run_load('set', 'SELECT', qw(petition_anew petition_anew set set));
told_only('set', $told, 'set', 'assigned', 'concurrent_modification', 'assigned concurrent_modification');
told_only('set', $told, 'petition_anew', 'anew', '23505');

# --- Suppressed updates ----------------------------------------------------------

my @forms = qw(raise_petition try_petition try_as_row set);

# Runs all forms under loads that leave the row in the expected state, whatever
# they do to it, and if the load itself is not suppressed, under one that does not.
sub check_suppressed
{
	my ($name, $prepare, @loads) = @_;

	for my $load (@loads)
	{
		my $result = run_load("$name, $load", $prepare, $load, @forms);

		for my $form (@forms)
		{
			told_only("$name, $load", $result, $form, '55000', $load eq 'slowly_move' ? ('PF001', 'concurrent_modification') : ());
		}
	}
	return;
}

$seconds = 1;
$node->safe_psql('postgres', q{
	ALTER TABLE petition_submissions ENABLE ROW LEVEL SECURITY;
	CREATE POLICY reads ON petition_submissions FOR SELECT USING (true);
	CREATE POLICY writes ON petition_submissions FOR UPDATE USING (false)});
check_suppressed('policy', 'SET ROLE clerk', qw(slowly_anew slowly_edit slowly_move));
$node->safe_psql('postgres', 'ALTER TABLE petition_submissions DISABLE ROW LEVEL SECURITY');

$node->safe_psql('postgres', q{
	UPDATE petition_submissions SET state = 'DELIBERATING' WHERE state <> 'DELIBERATING';
	CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RETURN CASE WHEN current_setting('test.suppress', true) = 'yes' THEN NULL ELSE new END;
	END $$;
	CREATE TRIGGER suppress BEFORE UPDATE ON petition_submissions FOR EACH ROW EXECUTE FUNCTION suppress()});
check_suppressed('trigger', q{SET test.suppress = 'yes'}, qw(slowly_anew slowly_edit));
$node->safe_psql('postgres', 'DROP TRIGGER suppress ON petition_submissions');

# A rule needs a RETURNING clause, or the server itself refuses the statement.
$node->safe_psql('postgres', q{
	CREATE RULE nothing AS ON UPDATE TO petition_submissions DO INSTEAD
		UPDATE orders SET id = id WHERE false
		RETURNING NULL::uuid, NULL, NULL::varchar, NULL::uuid, NULL, NULL::bytea, NULL, NULL, now(), now()});
check_suppressed('rule', 'SELECT', qw(slowly_anew));
$node->safe_psql('postgres', 'DROP RULE nothing ON petition_submissions');

is($node->safe_psql('postgres', q{
	SELECT count(*) FROM petition_submissions_fates;
	SELECT * FROM verify_fates('petition_submissions');
	SELECT * FROM verify_fates('orders')}), '0', 'nothing of all this is stored');

$node->stop;
done_testing();
