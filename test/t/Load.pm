# What the tests of faults share: petitions in a schema for each round, clients
# that fight for them until their server is gone, the death of a server, and the
# comparison of what the clients were told with what is stored.
#
# A client is a psql that runs a script. What it prints counts as acknowledged:
# the server reports a command as complete after its transaction has been
# committed, and psql prints what it returned after that. The rows of an
# explicit transaction count once its COMMIT has been answered.

package Load;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(load_conf prepare_clients create_round start_clients finish_clients
  kill_server check_round fingerprint count_of add_figures);

my $clients = 8;
my $rounds = 250;    # for each client; none is to come to the end of its script
my $own = 12;        # petitions that a client has for itself in each round
my $shared = 8;      # and those that all clients fight for
my @fates = qw(ACKNOWLEDGED REFERRED ESCALATED);

# What a server under load needs in its configuration: what clients are told is
# not logged a second time, and checkpoints happen under load.
sub load_conf
{
	return "fsync = on\nlog_statement = none\nlog_min_messages = fatal\n"
	  . "shared_buffers = 32MB\nmax_connections = 40\nmax_wal_size = 48MB\nmin_wal_size = 32MB\ncheckpoint_timeout = 30s\n";
}

# A number read from the environment, for how often a fault is to happen.
sub count_of
{
	my ($variable, $default) = @_;
	my $count = $ENV{$variable} || $default;

	die "$variable has to be a number" unless $count =~ /^[1-9][0-9]*$/;
	return $count;
}

sub petition
{
	my ($client, $n) = @_;
	return sprintf("'00000000-0000-0000-%04d-%012d'", $client, $n);
}

sub petitions
{
	return 'ARRAY[' . join(', ', @_) . ']::uuid[]';
}

# The script of a client. Each assigns in all ways there are, to petitions of
# its own and to those that all want, for which each client has another fate.
sub client_script
{
	my ($client) = @_;
	my $script = '';

	for my $round (0 .. $rounds - 1)
	{
		my @own = map { petition($client, $round * $own + $_) } 0 .. $own - 1;
		my @shared = map { petition(0, $round * $shared + $_) } 0 .. $shared - 1;
		my $fate = $fates[ ($client + $round) % 3 ];
		my $swap = "'DELIBERATING', '$fate'";

		@shared = reverse @shared if $client % 2;
		$script .= "SELECT 'fate', submission_id, current_state FROM assign_fates(" . petitions(@own[ 0 .. 7 ]) . ", $swap) WHERE outcome = 'assigned';\n"
		  . "SELECT 'fate', (assign_fate($own[8], $swap, 'because')).id, '$fate';\n"
		  . "SELECT 'fate', $shared[0], current_state FROM try_assign_fate($shared[0], $swap) WHERE outcome = 'assigned';\n"
		  . "UPDATE petition_submissions SET state = '$fate' WHERE id = $own[9] RETURNING 'fate', id, state;\n"
		  . "SELECT 'fate', id, state FROM assign_fate($shared[1], $swap);\n"
		  . "BEGIN;\n"
		  . "SELECT 'open', $own[10], current_state FROM try_assign_fate($own[10], $swap) WHERE outcome = 'assigned';\n"
		  . "SELECT 'open', $shared[2], current_state FROM try_compare_and_swap(null::petition_submissions, $shared[2], $swap) WHERE outcome = 'assigned';\n"
		  . "UPDATE petition_submissions SET state = '$fate' WHERE id = $own[11] RETURNING 'open', id, state;\n"
		  . "COMMIT;\n\\echo committed\n"
		  . "SELECT 'fate', submission_id, current_state FROM assign_fates(" . petitions(@shared[ 3 .. 7 ]) . ", $swap) WHERE outcome = 'assigned';\n";
	}
	return $script;
}

# Writes the scripts into a folder; they serve for each round.
sub prepare_clients
{
	my ($folder) = @_;

	for my $client (1 .. $clients)
	{
		append_to_file("$folder/client_$client.sql", client_script($client));
	}
	return $folder;
}

# Creates the petitions of a round, in a schema of that name.
sub create_round
{
	my ($node, $schema) = @_;
	$node->safe_psql('postgres', qq{
		CREATE SCHEMA $schema;
		SET search_path = $schema, public;
		SELECT create_petitions();
		INSERT INTO petition_submissions (id, text, state)
		SELECT format('00000000-0000-0000-%s-%s', lpad(c::text, 4, '0'), lpad(n::text, 12, '0'))::uuid, 'text', 'DELIBERATING'
		FROM generate_series(0, $clients) c,
			LATERAL generate_series(0, $rounds * CASE c WHEN 0 THEN $shared ELSE $own END - 1) n});
	return;
}

# Starts the clients, and waits until each has been told something.
sub start_clients
{
	my ($node, $folder, $schema) = @_;
	my @running;

	for my $client (1 .. $clients)
	{
		local $ENV{PGOPTIONS} = "-c search_path=$schema,public -c petition_cas.actor=client_$client";
		push @running,
		  IPC::Run::start(
			[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-f', "$folder/client_$client.sql" ],
			'<', '/dev/null', '>', "$folder/$client.out", '2>', "$folder/$client.err",
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	}
	for my $client (1 .. $clients)
	{
		usleep(1000) until -s "$folder/$client.out" || -s "$folder/$client.err" || !$running[ $client - 1 ]->pumpable;
	}
	return \@running;
}

# Waits for the clients, whose server is gone by now. Returns what they were
# told as a hash with fates (by petition, a list of "fate by whom"), losers (how
# many were told that they had lost) and trouble (a list of texts).
sub finish_clients
{
	my ($running, $folder) = @_;
	my %told = (fates => {}, losers => 0, trouble => []);

	for my $client (1 .. $clients)
	{
		my @open;

		$running->[ $client - 1 ]->finish;
		push @{ $told{trouble} }, "client $client came to the end of its script"
		  if $running->[ $client - 1 ]->result == 0;
		for my $line (split /\n/, slurp_file("$folder/$client.out"))
		{
			my ($what, $id, $fate) = split /\|/, $line;

			next if $line eq '';
			if ($what eq 'fate') { push @{ $told{fates}{$id} }, "$fate by client_$client"; }
			elsif ($what eq 'open') { push @open, [ $id, $fate ]; }
			elsif ($what eq 'committed')
			{
				push @{ $told{fates}{ $_->[0] } }, "$_->[1] by client_$client" for @open;
				@open = ();
			}
			else { push @{ $told{trouble} }, "client $client printed: $line"; }
		}
		for my $line (split /\n/, slurp_file("$folder/$client.err"))
		{
			if ($line =~ /ERROR:\s+PF00[12]: /) { $told{losers}++; }
			elsif ($line =~ /(ERROR|PANIC):|ROLLBACK|transaction/) { push @{ $told{trouble} }, "client $client: $line"; }
		}
		unlink "$folder/$client.out", "$folder/$client.err";
	}
	return \%told;
}

# Returns the parent of a process, or 0 if it is gone.
sub parent
{
	my ($pid) = @_;

	open my $stat, '<', "/proc/$pid/stat" or return 0;
	my $line = <$stat> // '';
	close $stat;
	return $line =~ /^\d+ \(.*\) \S (\d+) /s ? $1 : 0;
}

# Kills the postmaster and all its children at the same moment: stopped, it can
# neither start others nor tell them anything. Waits until they are gone.
sub kill_server
{
	my ($node) = @_;
	my $postmaster = $node->{_pid};
	my @children;

	kill 'STOP', $postmaster;
	@children = grep { parent($_) == $postmaster } map { m{/proc/(\d+)} } glob '/proc/[0-9]*';
	kill 'KILL', @children;
	$node->kill9;
	for my $pid ($postmaster, @children)
	{
		usleep(1000) while parent($pid);
	}
	return;
}

# Reads what is stored: by petition, state of the row, fate and actor of the ledger.
sub read_stored
{
	my ($node, $schema) = @_;
	my %stored;

	for (split /\n/, $node->safe_psql('postgres', qq{
		SELECT id, p.state, f.fate, f.assigned_by FROM $schema.petition_submissions p
		FULL JOIN $schema.petition_submissions_fates f USING (id)
		WHERE p.state IS DISTINCT FROM 'DELIBERATING' OR f.fate IS NOT NULL}))
	{
		my ($id, @fields) = split /\|/, $_, -1;

		push @{ $stored{$id} }, \@fields;
	}
	return \%stored;
}

# Compares what the clients of a round were told with what is stored, and tries
# to assign each fate a second time. Returns figures, of which lost, double,
# disagreeing, problems, reassigned and trouble are to be 0.
sub check_round
{
	my ($node, $schema, $told) = @_;
	my $stored = read_stored($node, $schema);
	my %figures = (acknowledged => 0, lost => 0, double => 0, disagreeing => 0);

	for my $id (keys %{ $told->{fates} })
	{
		my ($row) = @{ $stored->{$id} // [ [ '', '', '' ] ] };

		$figures{acknowledged}++;
		$figures{double}++ if @{ $told->{fates}{$id} } > 1;
		$figures{lost}++ unless $told->{fates}{$id}[0] eq "$row->[1] by $row->[2]";
	}
	for my $rows (values %$stored)
	{
		$figures{disagreeing}++ if @$rows > 1 || $rows->[0][0] ne $rows->[0][1];
	}
	$figures{unacknowledged} = grep { !$told->{fates}{$_} } keys %$stored;
	$figures{losers} = $told->{losers};
	$figures{trouble} = @{ $told->{trouble} };
	diag(join "\n", map { "$schema: $_" } @{ $told->{trouble} }) if $figures{trouble};

	@figures{qw(problems reassigned)} = split /\|/, $node->safe_psql('postgres', qq{
		SET search_path = $schema, public;
		SELECT (SELECT count(*) FROM verify_fates('petition_submissions')),
			(SELECT count(*) FROM assign_fates((SELECT array_agg(id) FROM petition_submissions_fates), 'DELIBERATING', 'REFERRED')
				WHERE outcome <> 'already_fated')});
	return \%figures;
}

# What tells all that is stored in a round from anything else.
sub fingerprint
{
	my ($node, $schema) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT md5(coalesce(string_agg(f::text, ' ' ORDER BY f.id), '')) || md5(string_agg(p.id || p.state, ' ' ORDER BY p.id))
		FROM $schema.petition_submissions p LEFT JOIN $schema.petition_submissions_fates f USING (id)});
}

sub add_figures
{
	my ($total, $figures) = @_;

	$total->{$_} += $figures->{$_} for keys %$figures;
	return;
}

1;
