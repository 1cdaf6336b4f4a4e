# A Citus cluster, where Citus is installed: a coordinator and two workers, later
# three. The recipe of docs/citus.md; a race through all nodes in each of the ways to
# assign a fate; shards that move, a worker that is added and one that is killed (all
# its processes, SIGKILL) while writers fight for petitions. Each fate that a client
# was told is there, none was told twice, rows and ledger agree, and a loser is told
# PF001 or PF002.
#
# PETITION_CAS_CITUS_PETITIONS says for how many petitions each race is,
# PETITION_CAS_CITUS_MOVES how many shards move in each of the two ways, and
# PETITION_CAS_CITUS_KILLS how often a worker is killed.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use IPC::Run;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $share = qx(pg_config --sharedir);
chomp $share;
plan skip_all => 'Citus is not installed' unless -e "$share/extension/citus.control";

my $petitions = count_of('PETITION_CAS_CITUS_PETITIONS', 200);
my $moves = count_of('PETITION_CAS_CITUS_MOVES', 2);
my $kills = count_of('PETITION_CAS_CITUS_KILLS', 1);
my @fates = qw(ACKNOWLEDGED REFERRED ESCALATED);
my $settings = "SET LOCAL citus.propagate_set_commands = 'local';\nSET LOCAL petition_cas.allow_unguard = on;\n"
  . "SET LOCAL citus.enable_unsafe_triggers = on;\n";

# --- The cluster ----------------------------------------------------------------

my @nodes;

# Starts a server that is to be a node.
sub start_node
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', q{
		listen_addresses = '127.0.0.1'
		shared_preload_libraries = 'citus'
		citus.node_conninfo = 'sslmode=disable'
		citus.shard_count = 8
		citus.defer_shard_delete_interval = -1
		wal_level = logical
		max_wal_senders = 20
		max_replication_slots = 20
		max_worker_processes = 24
		max_prepared_transactions = 100
		max_connections = 150
		shared_buffers = 32MB
		fsync = off
		log_statement = none
		log_min_messages = fatal});
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION citus');
	push @nodes, $node;
	return $node;
}

# Runs commands, each of its own; returns what they print, and their errors.
sub run_sql
{
	my ($node, $script) = @_;
	my ($out, $err);

	$node->psql('postgres', $script, stdout => \$out, stderr => \$err, on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	$err =~ s/^psql:\S+ //mg;
	return ($out, $err);
}

sub worker_port
{
	return $nodes[ $_[0] ]->port;
}

my $coordinator = start_node('coordinator');
start_node("worker_$_") for 1 .. 2;
$coordinator->safe_psql('postgres', "SELECT citus_set_coordinator_host('127.0.0.1', " . $coordinator->port . ')');
$coordinator->safe_psql('postgres', "SELECT citus_add_node('127.0.0.1', " . worker_port($_) . ')') for 1 .. 2;

# --- The recipe -----------------------------------------------------------------

$coordinator->safe_psql('postgres', $_)
  for 'CREATE EXTENSION petition_cas', 'SELECT create_petitions()',
  q{SET citus.enable_unsafe_triggers = on; SELECT create_distributed_table('petition_submissions_fates', 'id', colocate_with => 'none')},
  q{SET citus.enable_unsafe_triggers = on; SELECT create_distributed_table('petition_submissions', 'id', colocate_with => 'petition_submissions_fates')};
is($coordinator->safe_psql('postgres', q{SELECT DISTINCT citus_table_type FROM citus_tables}), 'distributed', 'petitions and their ledger are distributed');
$coordinator->safe_psql('postgres', q{INSERT INTO petition_submissions (id, text, state) SELECT lpad(n::text, 32, '0')::uuid, 'text', 'DELIBERATING' FROM generate_series(1, 3) n});
is($coordinator->safe_psql('postgres', q{TRUNCATE petition_submissions; SELECT count(*) FROM petition_submissions}), 0, 'without fates they can be truncated');

my ($out, $err) = run_sql($nodes[1], q{
	INSERT INTO petition_submissions (id, text, state) VALUES (lpad('1', 32, '0')::uuid, 'text', 'DELIBERATING');
	BEGIN;
	SET LOCAL citus.propagate_set_commands = 'local';
	SET LOCAL petition_cas.actor = 'a clerk';
	SELECT state FROM assign_fate(lpad('1', 32, '0')::uuid, 'DELIBERATING', 'REFERRED');
	COMMIT;
	SELECT fate, assigned_by FROM petition_submissions_fates;
	SELECT outcome, current_state FROM try_assign_fate(lpad('1', 32, '0')::uuid, 'DELIBERATING', 'ESCALATED');});
is("$out$err", "REFERRED\nREFERRED|a clerk\nalready_fated|REFERRED", 'a fate is assigned on a worker, and the actor travels with the settings of the transaction');

# --- Evidence and requests --------------------------------------------------------

$coordinator->safe_psql('postgres', $_)
  for 'CREATE TABLE payments (id int PRIMARY KEY, state text, payee text, amount numeric)',
  q{SELECT govern('payments', '{"open": ["paid", "refused"]}', evidence => '{payee,amount}')},
  q{SET citus.enable_unsafe_triggers = on; SELECT create_distributed_table('payments_fates', 'id', colocate_with => 'none')},
  q{SET citus.enable_unsafe_triggers = on; SELECT create_distributed_table('payments', 'id', colocate_with => 'payments_fates')},
  q{INSERT INTO payments SELECT n, 'open', 'Zoë', n FROM generate_series(1, 20) n};
for my $level ('READ COMMITTED', 'REPEATABLE READ')
{
	my $n = $level =~ /^REP/ ? 6 : 1;
	my $swap = "try_compare_and_swap(NULL::payments, $n, 'open', 'paid', seen_hash => '";

	my $seen = $coordinator->safe_psql('postgres', "SELECT evidence_hash(p) FROM payments p WHERE id = $n");
	($out, $err) = run_sql($coordinator, qq{
		UPDATE payments SET amount = 1000 WHERE id = $n;
		BEGIN ISOLATION LEVEL $level;
		SELECT outcome FROM $swap$seen');
		COMMIT;
		SELECT evidence_hash(p) AS seen FROM payments p WHERE id = $n \\gset
		BEGIN ISOLATION LEVEL $level;
		SELECT outcome FROM $swap' || :'seen');
		COMMIT;
		SELECT evidence_hash = :'seen' FROM payments_fates WHERE id = $n;
		UPDATE payments SET amount = 1 WHERE id = $n});
	is("$out " . ($err =~ /ERROR:  (\w+)/)[0], "evidence_changed\nassigned\nt PF006", "$level: what was seen is decided, and recorded, and stays");
}
# A request is a setting of the session on another node; it is refused unless it gets there.
my $settle = "BEGIN; SET LOCAL citus.propagate_set_commands = 'local';";
($out, $err) = run_sql($coordinator, qq{
	SELECT outcome FROM try_compare_and_swap(NULL::payments, 2, 'open', 'paid', request_id => 'r2');
	SELECT compare_and_swap_many(NULL::payments, ARRAY[2, 3], 'open', 'paid', request_id => 'r2');
	SET petition_cas.request_id = 'r2';
	SELECT outcome FROM try_compare_and_swap(NULL::payments, 2, 'open', 'paid', request_id => 'r2');
	RESET petition_cas.request_id;});
is_deeply([ $out, $err =~ /ERROR:  (\w+: argument "request_id" does not reach)/g ], [ '', ('0A000: argument "request_id" does not reach') x 3 ],
	'a request that does not reach the node of the row is refused');
($out, $err) = run_sql($coordinator, qq{
	$settle
	SET LOCAL petition_cas.request_id = 'r3';
	SET LOCAL petition_cas.reason = 'why';
	SELECT outcome FROM try_compare_and_swap(NULL::payments, 3, 'open', 'paid', request_id => 'r3');
	COMMIT;
	SELECT outcome FROM try_compare_and_swap(NULL::payments, 3, 'open', 'paid', request_id => 'r3');
	SELECT outcome FROM try_compare_and_swap(NULL::payments, 3, 'open', 'paid', request_id => 'another');
	SELECT fate, reason, request_id FROM payments_fates WHERE id IN (2, 3);
	$settle
	SET LOCAL petition_cas.request_id = 'r4';
	SELECT outcome FROM compare_and_swap_many(NULL::payments, ARRAY[5, 3, 4], 'open', 'paid', request_id => 'r4');
	COMMIT;
	SELECT outcome FROM compare_and_swap_many(NULL::payments, ARRAY[5, 3, 4], 'open', 'paid', request_id => 'r4');
	SELECT * FROM verify_fates('payments')});
is("$out$err", join("\n", qw(assigned assigned already_fated paid|why|r3 assigned already_fated assigned assigned already_fated assigned)),
	'one that does is recorded, and may be sent again');
($out, $err) = run_sql($coordinator, q{
	UPDATE petition_submissions SET state = 'ESCALATED';
	DELETE FROM petition_submissions;
	TRUNCATE petition_submissions;
	TRUNCATE petition_submissions, petition_submissions_fates;
	UPDATE petition_submissions_fates SET fate = 'ESCALATED';});
is(join(' ', $err =~ /ERROR:  (\w{5}):/g), 'PF002 PF006 PF006 PF006 PF006', 'and stands');
like($err, qr/DETAIL:  \{"relation": "public.petition_submissions", "key"/, 'errors name the table, not the shard');

# The ledger alone holds a fate; names that are hashed on shards.
my $long = 'bestellungen_für_größere_häuser_und_gärten_ohne_zäune';
($out, $err) = run_sql($coordinator, qq{
	CREATE TABLE "$long" (id bigint PRIMARY KEY, state text NOT NULL DEFAULT 'a');
	SELECT govern('"$long"', '{"a": ["b", "c"]}') \\gset
	SET citus.enable_unsafe_triggers = on;
	SELECT create_distributed_table(:'govern', 'id', colocate_with => 'none') \\gset
	SELECT create_distributed_table('"$long"', 'id', colocate_with => :'govern') \\gset
	INSERT INTO "$long" SELECT generate_series(1, 50);
	INSERT INTO :govern (id, fate, assigned_by, assigned_at, transaction_id) SELECT n, 'b', 'x', now(), '1' FROM generate_series(1, 20) n;
	UPDATE "$long" SET state = 'c' WHERE id = 1;
	SELECT compare_and_swap(null::"$long", '2', 'a', 'c');
	UPDATE "$long" SET state = 'c' WHERE id > 40;
	SELECT count(*) FROM verify_fates('"$long"');});
is($out, 20, 'a table whose name is hashed on its shards is governed');
is(scalar(() = $err =~ /ERROR:  PF002: row "[12]" of relation ".*" already has the fate "b" in ledger/g), 2, 'the ledger of a shard is asked for the fate that is in the way');
is(scalar(() = $err =~ /ERROR/g), 2, 'and nothing else happens') or diag($err);

# A history, and names that are to be forgotten.
($out, $err) = run_sql($coordinator, q{
	CREATE TABLE parcels (id bigint PRIMARY KEY, state text NOT NULL DEFAULT 'packed');
	SELECT govern('parcels', '{"packed": ["sent"], "sent": ["packed", "received"]}', history => true) \\gset
	SET citus.enable_unsafe_triggers = on;
	SELECT create_distributed_table('parcels_fates', 'id', colocate_with => 'none') \\gset
	SELECT create_distributed_table('parcels_history', 'id', colocate_with => 'parcels_fates') \\gset
	SELECT create_distributed_table('parcels', 'id', colocate_with => 'parcels_fates') \\gset
	INSERT INTO parcels SELECT generate_series(1, 50);
	UPDATE parcels SET state = 'sent';
	SELECT outcome FROM try_compare_and_swap(null::parcels, 7, 'sent', 'packed');
	SELECT DISTINCT outcome FROM compare_and_swap_many(null::parcels, ARRAY[1, 2, 3, 7], 'sent', 'received') WHERE key <> '7';
	SELECT count(*), count(from_state), count(DISTINCT id) FROM parcels_history;
	SELECT string_agg(concat(from_state, '-', to_state), ' ' ORDER BY moved_at) FROM parcels_history WHERE id = 1;
	SELECT string_agg(concat(from_state, '-', to_state), ' ' ORDER BY moved_at) FROM parcels_history WHERE id = 7;
	SELECT * FROM verify_fates('parcels');});
is("$out$err", "assigned\nassigned\n104|54|50\n-packed packed-sent sent-received\n-packed packed-sent sent-packed", 'a history is distributed with its table');
($out, $err) = run_sql($coordinator, q{
	UPDATE parcels_history SET to_state = 'sent';
	DELETE FROM parcels_history WHERE id = 1;
	TRUNCATE parcels_history;
	DROP TABLE parcels_history;
	SELECT forget_actor('parcels', 'x', 'y');});
is(join(' ', $err =~ /ERROR:  (\w{5}):/g), 'PF006 PF006 PF006 PF006 0A000', 'and guarded there');
my $actor = $coordinator->safe_psql('postgres', 'SELECT DISTINCT moved_by FROM parcels_history');
($out, $err) = run_sql($coordinator, "BEGIN;\n${settings}UPDATE parcels_history SET moved_by = 'x' WHERE moved_by = '$actor';\nCOMMIT;\nSELECT DISTINCT moved_by FROM parcels_history;\n");
is("$out$err", 'x', 'what the hint of forget_actor says replaces a name');
# The same for a table that is distributed already; and one that is not colocated.
($out, $err) = run_sql($coordinator, q{
	CREATE TABLE boxes (id bigint PRIMARY KEY, state text NOT NULL);
	SELECT create_distributed_table('boxes', 'id') \\gset
	CREATE TABLE boxes_fates (id bigint PRIMARY KEY, from_state text, fate text NOT NULL,
		assigned_at timestamptz NOT NULL, assigned_by text NOT NULL, transaction_id xid8 NOT NULL,
		reason text, request_id text, evidence_hash text);
	SELECT create_distributed_table('boxes_fates', 'id', colocate_with => 'boxes') \\gset
	SET citus.enable_unsafe_triggers = on;
	SELECT govern('boxes', '{"packed": ["sent"]}', history => true);
	CREATE TABLE boxes_history (id bigint NOT NULL, from_state text, to_state text NOT NULL,
		moved_at timestamptz NOT NULL, moved_by text NOT NULL, transaction_id xid8 NOT NULL,
		reason text, request_id text);
	CREATE INDEX ON boxes_history (id);
	SELECT create_distributed_table('boxes_history', 'id', colocate_with => 'boxes') \\gset
	SELECT govern('boxes', '{"packed": ["sent"]}', history => true);
	INSERT INTO boxes SELECT n, 'packed' FROM generate_series(1, 20) n;
	UPDATE boxes SET state = 'sent' WHERE id <= 10;
	SELECT count(*) FROM boxes_history;
	SELECT * FROM verify_fates('boxes');});
is($out, "boxes_fates\n30", 'one that is distributed already gets a history');
is(join(' ', $err =~ /ERROR:  (\w{5}):.*?has no distributed (\w+)/g), '55000 history', 'if that is there') or diag($err);

# --- Govern, extend, ungovern -----------------------------------------------------

my $transitions = q{'petition_submissions', '{"RECEIVED": ["LOST"]}'};
($out, $err) = run_sql($coordinator, "SELECT extend_lifecycle($transitions);\nSET citus.enable_unsafe_triggers = on;\nSELECT extend_lifecycle($transitions);\nSELECT ungovern('petition_submissions');\n");
is(join(' ', $err =~ /ERROR:  (\w{5}):/g), 'XX000 PF006 PF006', 'what Citus and the other nodes do not know as ours is refused');
is(scalar(() = $err =~ /HINT:  .*propagate_set_commands = 'local'.*allow_unguard = on.*enable_unsafe_triggers = on/g), 3, 'and the hint says what lets it through');
($out, $err) = run_sql($coordinator, "BEGIN;\n${settings}SELECT extend_lifecycle($transitions) -> 'RECEIVED';\nCOMMIT;\nSELECT count(*) FROM verify_fates('petition_submissions');\n");
is("$out$err", qq(["DELIBERATING", "ACKNOWLEDGED", "LOST"]\n0), 'which it does');
($out, $err) = run_sql($nodes[2], q{
	INSERT INTO petition_submissions (id, text) SELECT lpad(n::text, 32, '0')::uuid, 'text' FROM generate_series(11, 30) n;
	SELECT DISTINCT outcome FROM assign_fates(ARRAY(SELECT lpad(n::text, 32, '0')::uuid FROM generate_series(11, 30) n), 'RECEIVED', 'LOST');});
is("$out$err", 'assigned', 'on all shards');
($out, $err) = run_sql($coordinator, qq{
	CREATE TABLE orders (id bigint PRIMARY KEY, state text NOT NULL DEFAULT 'a');
	SELECT create_distributed_table('orders', 'id') \\gset
	SELECT govern('orders', '{"a": ["b"]}');
	CREATE TABLE orders_fates (id bigint PRIMARY KEY, from_state text, fate text NOT NULL,
		assigned_at timestamptz NOT NULL, assigned_by text NOT NULL, transaction_id xid8 NOT NULL,
		reason text, request_id text, evidence_hash text);
	SELECT create_distributed_table('orders_fates', 'id', colocate_with => 'orders') \\gset
	INSERT INTO orders VALUES (1, 'a'), (2, 'b');
	SET citus.enable_unsafe_triggers = on;
	SELECT govern('orders', '{"a": ["b"]}');
	SELECT outcome FROM try_compare_and_swap(null::orders, '1', 'a', 'b');
	SELECT id, from_state, fate FROM orders_fates ORDER BY id;
	BEGIN;\n${settings}SELECT ungovern('orders');\nCOMMIT;
	UPDATE orders SET state = 'b';
	SELECT govern('orders', '{"a": ["b"]}');
	SELECT count(*) FROM verify_fates('orders');});
is($out, "orders_fates\nassigned\n1|a|b\n2||b\n\norders_fates\n0", 'a distributed table is governed, ungoverned and governed again');
like($err, qr/^ERROR:  55000: distributed relation "orders" has no distributed ledger\nHINT:  .*colocated/, 'with a ledger that is there before');
is(scalar(() = $err =~ /ERROR/g), 1, 'and nothing else happens') or diag($err);
is((run_sql($coordinator, "DROP TABLE orders;\nDROP TABLE orders_fates;\n"))[1], '', 'and dropped: first the table, then the ledger');

# --- verify_fates looks at the shards ----------------------------------------------

my ($shard) = $nodes[1]->safe_psql('postgres', 'SELECT min(shardid) FROM citus_shards WHERE table_name = $$petition_submissions$$::regclass AND nodeport = ' . worker_port(1));
($out, $err) = run_sql($nodes[1], "SELECT verify_fates('petition_submissions_$shard');");
like($err, qr/^ERROR:  42809: relation "petition_submissions_$shard" is a shard\nHINT:  Name the distributed table "petition_submissions"/, 'verify_fates takes no shard');
my $alter = "SET petition_cas.allow_unguard = on;\nSET citus.enable_manual_changes_to_shards = on;\n";
run_sql($nodes[1], "${alter}ALTER TABLE petition_submissions_$shard DISABLE TRIGGER petition_cas_guard_$shard");
my $place = 'shard \d+ on 127.0.0.1:' . worker_port(1);
my $verify = q{SELECT problem FROM verify_fates('petition_submissions')};
like($nodes[$_]->safe_psql('postgres', $verify), qr/^relation "petition_submissions": $place: trigger "petition_cas_guard" is disabled$/, "but tells of a disabled trigger of one, on node $_") for 0 .. 2;
run_sql($nodes[1], "${alter}DROP TRIGGER petition_cas_guard_$shard ON petition_submissions_$shard");
like($coordinator->safe_psql('postgres', $verify), qr/^relation "petition_submissions": $place: trigger "petition_cas_guard" is missing$/, 'of a missing one');
run_sql($nodes[1], "${alter}CREATE TRIGGER petition_cas_guard_$shard AFTER INSERT OR UPDATE OR DELETE ON petition_submissions_$shard FOR EACH ROW"
	  . qq{ EXECUTE FUNCTION guard_fate('id', 'state', 'petition_submissions_fates', '{"RECEIVED": ["OTHER"]}');\nALTER TABLE petition_submissions_$shard ENABLE ALWAYS TRIGGER petition_cas_guard_$shard;});
like($coordinator->safe_psql('postgres', $verify), qr/^relation "petition_submissions": $place: trigger "petition_cas_guard" is not the one of the table$/, 'and of one that says something else');
run_sql($coordinator, "BEGIN;\n${settings}SELECT extend_lifecycle('petition_submissions', '{}');\nCOMMIT;\n");
is($coordinator->safe_psql('postgres', $verify), '', 'which extend_lifecycle with nothing to add repairs');

# --- Rosters ------------------------------------------------------------------------

($out, $err) = run_sql($nodes[1], q{
	INSERT INTO petition_submissions (id, text) SELECT lpad(n::text, 32, '0')::uuid, 'text' FROM generate_series(31, 40) n;
	SELECT cardinality(resolved_ids) FROM resolve_roster('petition_submissions', 'state:RECEIVED');
	SELECT cardinality(resolved_ids) FROM resolve_roster('petition_submissions', '');
	SELECT valid, cardinality(removed) FROM validate_roster('petition_submissions', 'state:RECEIVED',
		(SELECT resolved_ids FROM resolve_roster('petition_submissions', '')), (SELECT roster_hash FROM resolve_roster('petition_submissions', '')));
	SELECT resolved_ids FROM claim_roster('petition_submissions', 'id:00000000-0000-0000-0000-000000000033',
		'{00000000-0000-0000-0000-000000000033}'::uuid[], roster_hash('{00000000-0000-0000-0000-000000000033}'::uuid[]));
	SELECT claim_roster('petition_submissions', 'state:RECEIVED', '{}'::uuid[], roster_hash('{}'::uuid[]));});
is($out, "10\n31\nf|21\n{00000000-0000-0000-0000-000000000033}", 'rosters are resolved and validated over all shards, and claimed in one');
like($err, qr/ERROR:  0A000: .*\nHINT:  Citus locks rows of one shard in a statement/, 'and who claims over several is told what works instead');

# --- Clients ------------------------------------------------------------------------

# The id of a petition of a race; each has a number.
sub petition
{
	my ($race, $n) = @_;
	return sprintf('00000000-0000-0000-%04d-%012d', $race, $n);
}

# How each way assigns a fate to a list of petitions, one if it takes just one. What is
# assigned is printed as "open", to count once it is committed. An UPDATE to the state
# that a row has is none.
my %ways = (
	assign_fate => sub { "SELECT 'open', id, state FROM assign_fate('$_[0][0]', 'DELIBERATING', '$_[1]')" },
	try_assign_fate => sub { "SELECT CASE outcome WHEN 'assigned' THEN 'open' ELSE outcome END, '$_[0][0]', current_state FROM try_assign_fate('$_[0][0]', 'DELIBERATING', '$_[1]')" },
	assign_fates => sub { "SELECT CASE outcome WHEN 'assigned' THEN 'open' ELSE outcome END, submission_id, current_state FROM assign_fates('{" . join(',', @{ $_[0] }) . "}', 'DELIBERATING', '$_[1]')" },
	compare_and_swap => sub { "SELECT 'open', id, state FROM compare_and_swap(null::petition_submissions, '$_[0][0]', 'DELIBERATING', '$_[1]')" },
	update => sub { "UPDATE petition_submissions SET state = '$_[1]' WHERE id = '$_[0][0]' AND state <> '$_[1]' RETURNING 'open', id, state" });

# Starts a client of a node, which tries to give each of the petitions a fate, in ways
# that take turns.
sub start_client
{
	my ($number, $node, $level, $ways, @ids) = @_;
	my $base = $coordinator->basedir . "/client_$number";
	my $script = "SELECT pg_advisory_lock_shared(1) \\gset\nSELECT pg_advisory_unlock_shared(1) \\gset\n";

	for (my $turn = 0; @ids; $turn++)
	{
		my $way = $ways->[ $turn % @$ways ];
		my @some = splice @ids, 0, $way eq 'assign_fates' ? 5 : 1;

		$script .= "BEGIN ISOLATION LEVEL $level;\nSET LOCAL citus.propagate_set_commands = 'local';\nSET LOCAL petition_cas.actor = 'client $number';\n"
		  . $ways{$way}->(\@some, $fates[ ($number + $turn) % 3 ])
		  . ";\nCOMMIT;\n\\if :ERROR\n\\echo undone\n\\else\n\\echo committed\n\\endif\n";
	}
	append_to_file("$base.sql", $script);
	return {
		number => $number,
		base => $base,
		run => IPC::Run::start(
			[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-f', "$base.sql" ],
			'<', '/dev/null', '>', "$base.out", '2>', "$base.err", IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)) };
}

# Reads what clients were told, once they are gone, into a hash with fates (by
# petition, a list of "fate by whom") and losers and trouble (numbers by what they
# were told).
sub read_clients
{
	my (@clients) = @_;
	my %told = (fates => {}, losers => {}, trouble => {});

	for my $client (@clients)
	{
		my @open;

		$client->{run}->finish;
		for my $line (split /\n/, slurp_file("$client->{base}.out"))
		{
			my ($what, $id, $fate) = split /\|/, $line;

			if (!defined $what) { next; }
			elsif ($what eq 'open') { push @open, [ $id, $fate ]; }
			elsif ($what eq 'committed')
			{
				push @{ $told{fates}{ $_->[0] } }, "$_->[1] by client $client->{number}" for @open;
				@open = ();
			}
			elsif ($what eq 'undone') { @open = (); }
			elsif ($what =~ /^(already_fated|concurrent_modification)$/) { $told{losers}{$what}++; }
			else { $told{trouble}{$line}++; }
		}
		for my $line (split /\n/, slurp_file("$client->{base}.err"))
		{
			my ($code, $message) = $line =~ /(?:ERROR|FATAL|PANIC):\s+(\w{5}): (.*)/ or next;

			# the rest of its transaction
			next if $code eq '25P02';
			if ($code =~ /^PF00[12]$/) { $told{losers}{$code}++; }
			else { $told{trouble}{"$code: $message"}++; }
		}
		unlink map { "$client->{base}.$_" } qw(sql out err);
	}
	return \%told;
}

# Compares what clients were told of the petitions of a race with what is stored;
# returns figures.
sub compare
{
	my ($race, $told) = @_;
	my (%stored, %figures);

	for (split /\n/, $coordinator->safe_psql('postgres', qq{
		SELECT p.id, p.state, f.fate, f.assigned_by FROM petition_submissions p LEFT JOIN petition_submissions_fates f USING (id)
		WHERE p.id::text LIKE '00000000-0000-0000-@{[ sprintf '%04d', $race ]}-%'}))
	{
		my ($id, $state, $fate, $by) = split /\|/;
		$stored{$id} = [ $state, $fate, $by ];
	}
	$figures{fated} = grep { $_->[1] ne '' } values %stored;
	$figures{acknowledged} = keys %{ $told->{fates} };
	$figures{double} = grep { @$_ > 1 } values %{ $told->{fates} };
	$figures{lost} = grep { my $s = $stored{$_}; "$s->[0] by $s->[2]" ne $told->{fates}{$_}[0] || $s->[0] ne $s->[1] } keys %{ $told->{fates} };
	$figures{problems} = $coordinator->safe_psql('postgres', q{SELECT count(*) FROM verify_fates('petition_submissions')});
	return \%figures;
}

sub insert_petitions
{
	my ($race, $count) = @_;
	$coordinator->safe_psql('postgres', "INSERT INTO petition_submissions (id, text, state) SELECT format('00000000-0000-0000-%s-%s', lpad('$race', 4, '0'), lpad(n::text, 12, '0'))::uuid, 'text', 'DELIBERATING' FROM generate_series(1, $count) n");
	return;
}

sub told_text
{
	my ($counts) = @_;
	return join(', ', map { "$counts->{$_} $_" } sort keys %$counts) || 'none';
}

# --- The race -------------------------------------------------------------------------

my $race_number = 0;

for (
	[ 'assign_fate', 'READ COMMITTED' ],
	[ 'assign_fate', 'REPEATABLE READ' ],
	[ 'assign_fate', 'SERIALIZABLE' ],
	[ 'try_assign_fate', 'READ COMMITTED' ],
	[ 'try_assign_fate', 'SERIALIZABLE' ],
	[ 'assign_fates', 'READ COMMITTED' ],
	[ 'assign_fates', 'REPEATABLE READ' ],
	[ 'compare_and_swap', 'READ COMMITTED' ],
	[ 'update', 'READ COMMITTED' ])
{
	my ($way, $level) = @$_;
	my $race = ++$race_number;
	my @starters = map { $_->background_psql('postgres') } @nodes;
	my @clients;
	my $begin;

	insert_petitions($race, $petitions);
	$_->query_safe('SELECT pg_advisory_lock(1)') for @starters;
	push @clients, start_client($_, $nodes[ $_ % 3 ], $level, [$way], map { petition($race, $_) } 1 .. $petitions) for 1 .. 8;
	for my $node (0 .. 2)
	{
		my $count = grep { $_ % 3 == $node } 1 .. 8;
		$nodes[$node]->poll_query_until('postgres', "SELECT count(*) = $count FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
		  or die 'the clients did not come to the start';
	}
	$begin = time;
	$_->quit for @starters;
	my $told = read_clients(@clients);
	my $time = time - $begin;
	my $figures = compare($race, $told);

	is_deeply($figures, { fated => $petitions, acknowledged => $petitions, double => 0, lost => 0, problems => 0 }, "$way, $level: each petition has one fate, that of its winner");
	is(told_text($told->{trouble}), 'none', "$way, $level: losers are told that they lost: " . told_text($told->{losers}));
	diag(sprintf 'figures: %s, %s: %d petitions, 8 clients: %d fated, %d double, %d lost in %.1f s; %s', $way, $level, $petitions, @$figures{qw(fated double lost)}, $time, told_text($told->{losers}));
}

# --- Moves, and a new worker, under load ------------------------------------------------

my @all = qw(assign_fate try_assign_fate assign_fates update compare_and_swap);

# Runs four writers, two for each half of a race's petitions, while a function is at
# work; returns what they were told.
sub under_load
{
	my ($race, $count, $nodes, $work) = @_;
	my @clients;

	insert_petitions($race, $count);
	for my $number (1 .. 4)
	{
		my @ids = map { petition($race, $_) } grep { $_ % 2 == $number % 2 } 1 .. $count;
		push @clients, start_client($number, $nodes->[ $number % @$nodes ], 'READ COMMITTED', \@all, @ids);
	}
	for my $client (@clients)
	{
		usleep(1000) until -s "$client->{base}.out" || !$client->{run}->pumpable;
	}
	$work->();
	wait_for_load(100, 0, map { "$_->{base}.out" } @clients);
	# What is in a transaction then is not acknowledged.
	$_->{run}->kill_kill for @clients;
	return read_clients(@clients);
}

my %withdrawn;

sub move
{
	my ($mode, $number) = @_;
	my ($shardid, $from) = split /\|/, $coordinator->safe_psql('postgres', q{SELECT shardid, nodeport FROM citus_shards WHERE table_name = 'petition_submissions'::regclass ORDER BY shardid OFFSET } . $number % 8 . ' LIMIT 1');
	my $to = $from == worker_port(1) ? worker_port(2) : worker_port(1);

	return move_by("SELECT citus_move_shard_placement($shardid, '127.0.0.1', $from, '127.0.0.1', $to, '$mode');");
}

# Moves shards by a statement. One that meets with a deadlock gives way to the writers.
sub move_by
{
	my ($sql) = @_;

	for my $try (1 .. 10)
	{
		my (undef, $err) = run_sql($coordinator, $sql);

		return if $err !~ /ERROR:  (.*)/;
		$withdrawn{$1}++;
	}
	die "in vain: $sql: " . join '; ', keys %withdrawn;
}

sub check_load
{
	my ($name, $race, $told, $before) = @_;
	my $figures = compare($race, $told);

	is_deeply({ map { $_ => $figures->{$_} } qw(double lost problems) }, { map { $_ => 0 } qw(double lost problems) }, "$name: $figures->{acknowledged} fates acknowledged, none lost or assigned twice");
	cmp_ok($figures->{acknowledged}, '>', 50, "$name: there was load");
	diag(sprintf 'figures: %s: %d fates acknowledged, %d double, %d lost; %s; others: %s', $name, @$figures{qw(acknowledged double lost)}, told_text($told->{losers}), told_text($told->{trouble}));
	return;
}

# What writers are told besides that they lost; Citus may choose one of them to end a
# deadlock with a move.
sub other_trouble
{
	my ($told) = @_;
	return { map { $_ => $told->{trouble}{$_} } grep { !/^(40P01|57014)/ } keys %{ $told->{trouble} } };
}

my $many = 20000;
my $begin;
my $took;

for my $mode ('force_logical', 'block_writes')
{
	my $told = under_load(++$race_number, $many, \@nodes, sub {
		$begin = time;
		move($mode, $_) for 1 .. $moves;
		$took = time - $begin;
	});
	is(told_text(other_trouble($told)), 'none', "$mode: writers are told nothing else");
	diag("figures: $mode: moves begun anew: " . told_text(\%withdrawn));
	%withdrawn = ();
	check_load(sprintf("$moves moves by $mode in %.1f s", $took), $race_number, $told);
}

my $told = under_load(++$race_number, $many, \@nodes, sub {
	start_node('worker_3');
	$coordinator->safe_psql('postgres', "SELECT citus_add_node('127.0.0.1', " . worker_port(3) . ')');
	$begin = time;
	move_by(q{SELECT rebalance_table_shards('petition_submissions', shard_transfer_mode => 'block_writes');});
	$took = time - $begin;
});
is(told_text(other_trouble($told)), 'none', 'new worker: writers are told nothing else');
check_load(sprintf('a worker added, and rebalanced in %.1f s', $took), $race_number, $told);
cmp_ok($coordinator->safe_psql('postgres', q{SELECT count(*) FROM citus_shards WHERE table_name = 'petition_submissions'::regclass AND nodeport = } . worker_port(3)), '>', 0, 'the new worker has shards');
is((run_sql($coordinator, 'CALL citus_cleanup_orphaned_resources()'))[1] =~ /ERROR/ ? 'refused' : '', '', 'what the moves left is cleaned up');

# --- A worker is killed -------------------------------------------------------------------

for my $kill (1 .. $kills)
{
	my @others = @nodes[ 0, 1 ];
	my $told = under_load(++$race_number, $many, \@others, sub {
		usleep(500_000);
		kill_server($nodes[2]);
		usleep(500_000);
		$nodes[2]->start;
		usleep(500_000);
	});

	$_->safe_psql('postgres', 'SELECT recover_prepared_transactions()') for @nodes;
	my %unexpected = map { $_ => $told->{trouble}{$_} } grep { !/^(08|57P|XX000: (.*connection|could not commit))/ } keys %{ $told->{trouble} };
	is(told_text(\%unexpected), 'none', 'a worker killed: writers are told that it is gone');
	check_load('a worker killed and restarted', $race_number, $told);
	is($_->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), 0, 'no transaction is left prepared') for @nodes;
}

$_->stop('fast') for reverse @nodes;
done_testing();
