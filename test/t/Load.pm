# What the tests of faults share: petitions, and orders with a key of two columns and two
# lifecycles, one of integers, in a schema for each round; clients that fight for them
# until their server is gone, the death of a server, and the comparison of what the
# clients were told with what is stored.
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

our @EXPORT = qw(load_conf prepare_clients create_round start_clients wait_for_load finish_clients
  kill_server check_round fingerprint count_of add_figures);

my $clients = 8;
my $rounds = 250;    # for each client; none is to come to the end of its script
my $own = 12;        # petitions that a client has for itself in each round
my $shared = 8;      # and those that all clients fight for
my @fates = qw(ACKNOWLEDGED REFERRED ESCALATED);
my $own_orders = 4;
my $shared_orders = 4;

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

# The text of an order's key, in SQL.
sub order
{
	my ($tenant, $number) = @_;
	return qq{'["$tenant", "$number"]'};
}

# What a client does with orders in one round: one lifecycle alone, by each function, both
# in one UPDATE, and both in one transaction.
sub order_script
{
	my ($client, $round) = @_;
	my @own = map { order($client, $round * $own_orders + $_) } 0 .. $own_orders - 1;
	my @shared = map { order(0, $round * $shared_orders + $_) } 0 .. $shared_orders - 1;
	my $number = $round * $own_orders + 2;
	my ($state, $payment) = (1 + ($client + $round) % 2, ('paid', 'waived')[ ($client + $round) % 2 ]);
	my %swap = (state => [ "'0', '$state'", "state_column => 'state'" ], payment => [ "'due', '$payment'", "state_column => 'payment'" ]);
	my $try = sub {
		my ($what, $column, $order) = @_;
		return "SELECT '$what', '$column ' || $order, current_state FROM try_compare_and_swap(null::orders, $order, $swap{$column}[0], $swap{$column}[1]) WHERE outcome = 'assigned';\n";
	};
	my $many = sub {
		my ($column, @orders) = @_;
		return "SELECT 'fate', '$column ' || key, current_state FROM compare_and_swap_many(null::orders, ARRAY[" . join(', ', @orders) . "], $swap{$column}[0], $swap{$column}[1]) WHERE outcome = 'assigned';\n";
	};

	@shared = reverse @shared if $client % 2;
	return $many->('state', @own[ 0, 1 ], @shared[ 0 .. 2 ])
	  . $many->('payment', @shared[ 1 .. 3 ], $own[0])
	  . "SELECT 'fate', 'state ' || row_key(o), o.state FROM compare_and_swap(null::orders, $shared[3], $swap{state}[0], $swap{state}[1]) o;\n"
	  . "WITH moved AS (UPDATE orders SET state = $state, payment = '$payment' WHERE (tenant, number) = ($client, $number) RETURNING orders AS o)"
	  . " SELECT 'fate', v.* FROM moved, LATERAL (VALUES ('state ' || row_key(o), (o).state::text), ('payment ' || row_key(o), (o).payment)) v;\n"
	  . "BEGIN;\n"
	  . $try->('open', 'state', $own[3]) . $try->('open', 'payment', $own[3]) . $try->('open', 'payment', $shared[0])
	  . "COMMIT;\n\\echo committed\n";
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
		  . "SELECT 'fate', submission_id, current_state FROM assign_fates(" . petitions(@shared[ 3 .. 7 ]) . ", $swap) WHERE outcome = 'assigned';\n"
		  . order_script($client, $round);
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

# Creates the petitions and orders of a round, in a schema of that name.
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
			LATERAL generate_series(0, $rounds * CASE c WHEN 0 THEN $shared ELSE $own END - 1) n;
		CREATE TABLE orders (tenant int, number bigint, state int NOT NULL DEFAULT 0, payment varchar(10) NOT NULL DEFAULT 'due', PRIMARY KEY (tenant, number));
		SELECT govern('orders', '{"0": ["1", "2"]}');
		SELECT govern('orders', '{"due": ["paid", "waived"]}', state_column => 'payment');
		INSERT INTO orders
		SELECT c, n FROM generate_series(0, $clients) c,
			LATERAL generate_series(0, $rounds * CASE c WHEN 0 THEN $shared_orders ELSE $own_orders END - 1) n});
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

# Waits until clients have printed so many fates ("fate", "open", "won") into the files
# given, however slow the disk is, and then up to so many seconds more.
sub wait_for_load
{
	my ($count, $seconds, @files) = @_;

	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if $count <= grep { /^(?:fate|open|won)\|/ } map { split /\n/, slurp_file($_) } grep { -e } @files;
		usleep(10_000);
	}
	usleep(int(rand(1_000_000 * $seconds)));
	return;
}

# Waits for the clients, whose server is gone by now. Returns what they were
# told as a hash with fates (by petition, or lifecycle and key of an order, a list of "fate by whom"), losers (how
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

# Reads what is stored: by petition, or lifecycle and key of an order, state of the row,
# fate and actor of the ledger.
sub read_stored
{
	my ($node, $schema) = @_;
	my %stored;

	for (split /\n/, $node->safe_psql('postgres', qq{
		SELECT id::text, p.state, f.fate, f.assigned_by FROM $schema.petition_submissions p
		FULL JOIN $schema.petition_submissions_fates f USING (id)
		WHERE p.state IS DISTINCT FROM 'DELIBERATING' OR f.fate IS NOT NULL
		UNION ALL
		SELECT 'state ' || jsonb_build_array(tenant::text, number::text)::text, o.state::text, f.fate, f.assigned_by
		FROM $schema.orders o FULL JOIN $schema.orders_fates f USING (tenant, number)
		WHERE o.state IS DISTINCT FROM 0 OR f.fate IS NOT NULL
		UNION ALL
		SELECT 'payment ' || jsonb_build_array(tenant::text, number::text)::text, o.payment, f.fate, f.assigned_by
		FROM $schema.orders o FULL JOIN $schema.orders_payment_fates f USING (tenant, number)
		WHERE o.payment IS DISTINCT FROM 'due' OR f.fate IS NOT NULL}))
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
		SELECT (SELECT count(*) FROM verify_fates('petition_submissions')) + (SELECT count(*) FROM verify_fates('orders')),
			(SELECT count(*) FROM assign_fates((SELECT array_agg(id) FROM petition_submissions_fates), 'DELIBERATING', 'REFERRED')
				WHERE outcome <> 'already_fated')
			+ (SELECT count(*) FROM compare_and_swap_many(null::orders, (SELECT array_agg(row_key(o)) FROM orders o WHERE state <> 0), '0', '1', state_column => 'state')
				WHERE outcome <> 'already_fated')
			+ (SELECT count(*) FROM compare_and_swap_many(null::orders, (SELECT array_agg(row_key(o)) FROM orders o WHERE payment <> 'due'), 'due', 'paid', state_column => 'payment')
				WHERE outcome <> 'already_fated')});
	return \%figures;
}

# What tells all that is stored in a round from anything else.
sub fingerprint
{
	my ($node, $schema) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT md5(coalesce(string_agg(f::text, ' ' ORDER BY f.id), '')) || md5(string_agg(p.id || p.state, ' ' ORDER BY p.id))
		FROM $schema.petition_submissions p LEFT JOIN $schema.petition_submissions_fates f USING (id);
		SELECT md5(coalesce(string_agg(concat(f, g), ' ' ORDER BY tenant, number), '')) || md5(string_agg(o::text, ' ' ORDER BY tenant, number))
		FROM $schema.orders o LEFT JOIN $schema.orders_fates f USING (tenant, number) LEFT JOIN $schema.orders_payment_fates g USING (tenant, number)});
}

sub add_figures
{
	my ($total, $figures) = @_;

	$total->{$_} += $figures->{$_} for keys %$figures;
	return;
}

1;
