# The races of docs/modelling.md: each recipe is taken from the page as it stands
# there, that is, the first block of SQL below its heading, and many clients do at
# once what it has to survive, at each isolation level. What it promises is asked of
# the tables and of what each client was told. Then the race is run without the rule
# that the recipe rests on, until a promise is broken: so it is one that would show it.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 8;
my $node = PostgreSQL::Test::Cluster->new('modelling');
my ($intro, %recipes);

# A recipe: what fills its tables, how many ids there are (from 1 on) and people (3), what
# the clients do to one of the ids (with how much of the weight; %1$s is the id; and at
# which isolation level, if always at the same), what they may be told, what they have to
# be told at least once (as patterns), queries that return what breaks a promise, and
# commands that take its rule away. What a statement returns is told, or its SQLSTATE.
my %races = (
	'Appeals: a state that leads on' => {
		table => 'permits',
		rows => 60,
		fill => q{INSERT INTO permits SELECT n FROM generate_series(1, 60) n;
			UPDATE permits SET state = 'refused', refused_at = clock_timestamp() + id * interval '6 ms'},
		clients => {
			appeal => [ 4, q{SELECT outcome FROM try_compare_and_swap(null::permits, %1$s, 'refused', 'appealed')} ],
			appeal_plainly => [ 4, q{UPDATE permits SET state = 'appealed' WHERE id = %1$s AND state <> 'appealed' RETURNING 'assigned'} ],
			close => [ 1, q{SELECT 'closed ' || close_refusals('0 days')} ] },
		told => [qw(assigned concurrent_modification already_fated PF002), map { "closed $_" } 0 .. 60 ],
		at_least => [qw(assigned already_fated PF002), 'closed [1-9].*'],
		promises => {
			'an appeal goes where its applicant was told' => q{SELECT id FROM permits p WHERE (state = 'appealed') <>
				((SELECT count(*) FROM attempts a WHERE a.id = p.id AND told = 'assigned') = 1)},
			'what was closed is final' => q{SELECT sum(substr(told, 8)::int) FROM attempts WHERE kind = 'close'
				HAVING sum(substr(told, 8)::int) <> (SELECT count(*) FROM permits WHERE state = 'final')} },
		without => [q{SELECT ungovern('permits')}] },

	'Reopening: a second row' => {
		table => 'cases',
		rows => 15,
		fill => q{INSERT INTO cases SELECT generate_series(1, 15)},
		clients => {
			reopen => [ 6, q{SELECT reopen(%1$s)} ],
			insert => [ 2, q{INSERT INTO cases VALUES (%1$s, 1 + floor(random() * 8)) RETURNING instance} ],
			hear => [ 1, q{UPDATE cases SET state = 'heard' WHERE number = %1$s AND state = 'open' RETURNING 'assigned'} ],
			decide => [ 3, q{UPDATE cases SET state = 'dismissed' WHERE number = %1$s AND state IN ('open', 'heard') RETURNING 'assigned'} ] },
		told => [ qw(assigned 23505 23503), 2 .. 60 ],
		at_least => [qw(assigned 23505 2 3)],
		promises => {
			'a case has one open instance at most' => q{SELECT number FROM cases WHERE state IN ('open', 'heard') GROUP BY number HAVING count(*) > 1},
			'instances are without gaps' => q{SELECT number FROM cases GROUP BY number HAVING count(*) <> max(instance)},
			'each was opened by one client' => q{SELECT id, told FROM attempts WHERE told ~ '^\d\d?$' GROUP BY id, told HAVING count(*) > 1} },
		without => [ q{DROP INDEX cases_open}, q{ALTER TABLE cases DROP CONSTRAINT cases_number_previous_fkey} ] },

	'Two machines on a table, or one' => {
		table => 'orders',
		rows => 100,
		fill => q{INSERT INTO orders SELECT generate_series(1, 100); UPDATE orders SET payment = 'paid'},
		clients => {
			ship => [ 1, q{SELECT outcome FROM try_compare_and_swap(null::orders, %1$s, 'packing', 'shipped', state_column => 'state')} ],
			ship_plainly => [ 1, q{UPDATE orders SET state = 'shipped' WHERE id = %1$s AND payment = 'paid' RETURNING 'done'} ],
			refund => [ 1, q{SELECT outcome FROM try_compare_and_swap(null::orders, %1$s, 'paid', 'refunded', state_column => 'payment')} ],
			refund_plainly => [ 1, q{UPDATE orders SET payment = 'refunded' WHERE id = %1$s AND state = 'packing' RETURNING 'done'} ] },
		told => [qw(assigned done concurrent_modification already_fated PF002 23514)],
		at_least => [qw(assigned done 23514)],
		promises => {
			'what is shipped is paid' => q{SELECT id FROM orders WHERE state = 'shipped' AND payment <> 'paid'},
			'one of both was told so' => q{SELECT id FROM orders o WHERE (SELECT count(*) FROM attempts a WHERE a.id = o.id AND told = 'assigned')
				> CASE WHEN state = 'shipped' OR payment = 'refunded' THEN 1 ELSE 0 END} },
		without => [q{ALTER TABLE orders DROP CONSTRAINT shipped_is_paid}] },

	'Integer codes and a lookup table' => {
		table => 'tickets',
		rows => 30,
		fill => q{INSERT INTO tickets SELECT generate_series(1, 60);
			INSERT INTO ticket_states SELECT 100 + n, 'state ' || n FROM generate_series(1, 30) n;
			SELECT extend_lifecycle('tickets', jsonb_build_object('1', jsonb_agg(id::text))) FROM ticket_states WHERE id > 100},
		clients => {
			move => [ 4, q{SELECT outcome FROM try_compare_and_swap(null::tickets, %1$s, '1', (100 + %1$s)::text)} ],
			remove => [ 2, q{DELETE FROM ticket_states WHERE id = 100 + %1$s RETURNING 'removed'} ],
			move_to_new => [ 4, q{SELECT outcome FROM try_compare_and_swap(null::tickets, 30 + %1$s, '1', (200 + %1$s)::text)} ],
			add => [ 2, q{SELECT 'added' FROM add_ticket_state(200 + %1$s, 'new ' || %1$s, 1)} ] },
		told => [qw(assigned concurrent_modification already_fated removed added 22023 23503 23505)],
		at_least => [qw(assigned removed added 22023 23503)],
		promises => {
			'every ticket has its name' => q{SELECT id FROM tickets t WHERE NOT EXISTS (SELECT FROM ticket_states s WHERE s.id = t.state_id)},
			'and every fate' => q{SELECT id FROM tickets_fates WHERE NOT EXISTS (SELECT FROM ticket_states s WHERE s.id = fate::int)},
			'as its mover was told' => q{SELECT id FROM tickets t WHERE (state_id <> 1) <> ((SELECT count(*) FROM attempts
				WHERE told = 'assigned' AND t.id = attempts.id + CASE kind WHEN 'move' THEN 0 ELSE 30 END) = 1)} },
		without => [q{ALTER TABLE tickets DROP CONSTRAINT tickets_state_id_fkey}] },

	'Soft delete' => {
		table => 'notices',
		rows => 60,
		fill => q{CREATE SEQUENCE ids START 1000; INSERT INTO notices SELECT n, 'name ' || n FROM generate_series(1, 60) n},
		clients => {
			hide => [ 2, q{UPDATE notices SET deleted_at = clock_timestamp() WHERE id = %1$s AND deleted_at IS NULL RETURNING state} ],
			decide => [ 1, q{SELECT outcome FROM try_compare_and_swap(null::notices, %1$s, 'draft', 'published')} ],
			decide_plainly => [ 1, q{UPDATE notices SET state = 'rejected' WHERE id = %1$s AND state = 'draft' AND deleted_at IS NULL RETURNING 'assigned'} ],
			again => [ 1, q{INSERT INTO notices VALUES (nextval('ids'), 'name ' || %1$s) RETURNING 'inserted'} ] },
		told => [qw(assigned concurrent_modification already_fated draft published rejected inserted 23505 23514)],
		at_least => [qw(assigned draft published inserted 23505 23514)],
		promises => {
			'what was hidden as a draft stays one' => q{SELECT n.id FROM notices n JOIN attempts a USING (id) WHERE told = 'draft' AND state <> 'draft'},
			'a name has one current notice' => q{SELECT name FROM current_notices GROUP BY name HAVING count(*) > 1},
			'and one client hid it' => q{SELECT id FROM attempts WHERE kind = 'hide' AND told IS NOT NULL GROUP BY id HAVING count(*) > 1} },
		without => [ q{DROP TRIGGER deleted_is_not_decided ON notices}, q{DROP INDEX notices_name} ] },

	'Archive after two years' => {
		table => 'claims',
		rows => 80,
		fill => q{INSERT INTO claims SELECT n, '' FROM generate_series(1, 80) n},
		clients => {
			decide => [ 2, q{SELECT outcome FROM try_compare_and_swap(null::claims, %1$s, 'open', 'paid')} ],
			decide_plainly => [ 1, q{UPDATE claims SET state = 'refused' WHERE id = %1$s AND state = 'open' RETURNING 'assigned'} ],
			edit => [ 3, q{UPDATE claims SET text = text || '+' WHERE id = %1$s RETURNING 'edited'} ],
			again => [ 1, q{INSERT INTO claims VALUES (%1$s, '') RETURNING 'inserted'} ],
			archive => [ 3, q{SELECT archive_claims('0 days', 7)} ] },
		told => [qw(assigned concurrent_modification already_fated not_found edited inserted PF002 23505 0 1 2 3 4 5 6 7)],
		at_least => [qw(assigned edited inserted already_fated 1)],
		# a row that was inserted again under the key of an archived one
		healthy => q{WHERE key NOT IN (SELECT id::text FROM claims_archive)},
		promises => {
			'no claim is lost' => q{SELECT n FROM generate_series(1, 80) n WHERE n NOT IN (SELECT id FROM claims UNION ALL SELECT id FROM claims_archive)},
			'none has two fates' => q{SELECT id FROM claims JOIN claims_archive USING (id) WHERE claims.state <> 'open'},
			'what is archived has the fate in the ledger' => q{SELECT id FROM claims_archive a LEFT JOIN claims_fates f USING (id) WHERE fate IS DISTINCT FROM state},
			'that its one decider was told of' => q{SELECT id FROM claims_archive LEFT JOIN attempts a USING (id)
				GROUP BY id HAVING count(*) FILTER (WHERE told = 'assigned') <> 1},
			'no edit is lost' => q{SELECT id FROM attempts a GROUP BY id HAVING count(*) FILTER (WHERE told = 'edited') <>
				coalesce((SELECT length(text) FROM claims c WHERE c.id = a.id), 0) + coalesce((SELECT length(text) FROM claims_archive c WHERE c.id = a.id), 0)},
			'each is archived once' => q{SELECT sum(told::int) FROM attempts WHERE kind = 'archive'
				HAVING sum(told::int) <> (SELECT count(*) FROM claims_archive)} },
		without => [ q{CREATE OR REPLACE FUNCTION archive_claims(age interval, at_most bigint) RETURNS bigint LANGUAGE sql AS $$
			INSERT INTO claims_archive SELECT c.* FROM claims c JOIN claims_fates f USING (id) WHERE f.fate = c.state LIMIT at_most;
			WITH gone AS (DELETE FROM claims WHERE id IN (SELECT id FROM claims_archive) RETURNING 1) SELECT count(*) FROM gone $$} ] },

	'Drop a tenant' => {
		table => 'parcels',
		rows => 40,
		fill => q{CREATE SEQUENCE ids START 1000; INSERT INTO tenants SELECT n, '' FROM generate_series(1, 40) n;
			INSERT INTO parcels SELECT tenant, id FROM generate_series(1, 40) tenant, generate_series(1, 6) id},
		clients => {
			drop => [ 1, q{DELETE FROM tenants WHERE id = %1$s RETURNING 'dropped'} ],
			insert => [ 4, q{INSERT INTO parcels VALUES (%1$s, nextval('ids')) RETURNING 'inserted'} ],
			decide => [ 3, q{SELECT outcome FROM try_compare_and_swap(null::parcels, jsonb_build_array(%1$s, 1 + floor(random() * 6)), 'open', 'lost')} ],
			decide_plainly => [ 2, q{UPDATE parcels SET state = 'delivered' WHERE tenant = %1$s AND id = (SELECT 1 + floor(random() * 6)) AND state = 'open' RETURNING 'assigned'} ] },
		told => [qw(dropped inserted assigned concurrent_modification already_fated not_found 23503)],
		at_least => [qw(dropped inserted assigned not_found 23503)],
		promises => {
			'nothing is left of a tenant that was dropped' => q{SELECT tenant FROM parcels WHERE tenant NOT IN (SELECT id FROM tenants)},
			'nothing of another is gone' => q{SELECT t.id FROM tenants t WHERE (SELECT count(*) FROM parcels WHERE tenant = t.id)
				<> 6 + (SELECT count(*) FROM attempts a WHERE a.id = t.id AND told = 'inserted')},
			'and every fate is kept' => q{SELECT t FROM generate_series(1, 40) t WHERE (SELECT count(*) FROM parcels_fates WHERE tenant = t)
				<> (SELECT count(*) FROM attempts a WHERE a.id = t AND told = 'assigned')} },
		without => [ q{ALTER TABLE parcels DROP CONSTRAINT parcels_tenant_fkey;
			CREATE FUNCTION drop_parcels() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN DELETE FROM parcels WHERE tenant = OLD.id; RETURN OLD; END $$;
			CREATE FUNCTION has_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				IF NOT EXISTS (SELECT FROM tenants WHERE id = NEW.tenant) THEN
					RAISE foreign_key_violation;
				END IF;
				RETURN NEW;
			END $$;
			CREATE TRIGGER drop_parcels BEFORE DELETE ON tenants FOR EACH ROW EXECUTE FUNCTION drop_parcels();
			CREATE TRIGGER has_tenant BEFORE INSERT ON parcels FOR EACH ROW EXECUTE FUNCTION has_tenant()} ] },

	'A schema for each tenant' => {
		rows => 12,
		# with ledgers that DROP SCHEMA would lock first, since the tables are younger
		fill => q{DO $$ BEGIN
				FOR n IN 1..12 LOOP
					EXECUTE format('DROP SCHEMA IF EXISTS tenant_%s CASCADE', n);
					PERFORM create_tenant('tenant_' || n);
					PERFORM ungovern(format('tenant_%s.parcels', n)::regclass);
					EXECUTE format('DROP TABLE tenant_%s.parcels', n);
					EXECUTE format('CREATE TABLE tenant_%s.parcels (id bigint PRIMARY KEY, state text NOT NULL)', n);
					PERFORM govern(format('tenant_%s.parcels', n)::regclass, '{"open": ["delivered", "lost"]}');
					EXECUTE format('INSERT INTO tenant_%s.parcels SELECT generate_series(1, 10), ''open''', n);
				END LOOP;
			END $$},
		clients => {
			drop => [ 1, q{SELECT 'dropped' FROM drop_tenant('tenant_%1$s')} ],
			decide => [ 8, q{UPDATE tenant_%1$s.parcels SET state = 'delivered' WHERE id = (SELECT 1 + floor(random() * 10)) AND state = 'open' RETURNING 'assigned'} ],
			decide_by_function => [ 8, q{SELECT outcome FROM try_compare_and_swap('tenant_%1$s.parcels'::regclass, (1 + floor(random() * 10)), 'open', 'lost')} ] },
		told => [qw(dropped assigned concurrent_modification already_fated 42P01 3F000)],
		at_least => [qw(dropped assigned already_fated 42P01|3F000)],
		promises => {
			'a tenant is gone once its drop was told' => q{SELECT n FROM generate_series(1, 12) n WHERE (to_regnamespace('tenant_' || n) IS NULL) <>
				((SELECT count(*) FROM attempts WHERE id = n AND told = 'dropped') = 1)},
			'and others keep their fates' => q{SELECT id FROM attempts WHERE told = 'assigned' AND to_regnamespace('tenant_' || id) IS NOT NULL
				GROUP BY id HAVING count(*)::text <> (xpath('//count/text()', query_to_xml('SELECT count(*) FROM tenant_' || id || '.parcels_fates', false, false, '')))[1]::text},
			'nobody meets a deadlock' => q{SELECT id FROM attempts WHERE told = '40P01'},
			'all of them sound' => q{SELECT relation FROM governed_tables() WHERE problems <> '{}'} },
		without => [ q{CREATE OR REPLACE FUNCTION drop_tenant(tenant name) RETURNS void LANGUAGE plpgsql AS $$
			BEGIN EXECUTE format('DROP SCHEMA %I CASCADE', tenant); END $$} ] },

	'Erase a person' => {
		table => 'complaints',
		rows => 40,
		people => 30,
		fill => q{CREATE SEQUENCE ids START 1000; INSERT INTO accounts SELECT 'p' || n FROM generate_series(1, 30) n UNION ALL SELECT 'postgres';
			INSERT INTO complaints SELECT n, 'p' || n, 'I am p' || n FROM generate_series(1, 30) n;
			INSERT INTO complaints SELECT n, 'p' || n - 30, 'I am p' || n - 30 FROM generate_series(31, 40) n},
		clients => {
			insert => [ 3, q{INSERT INTO complaints VALUES (nextval('ids'), actor(), 'I am ' || actor()) RETURNING 'inserted'} ],
			hear => [ 3, q{SELECT outcome FROM try_compare_and_swap(null::complaints, %1$s, 'open', 'heard')} ],
			decide => [ 3, q{SELECT outcome FROM try_compare_and_swap(null::complaints, %1$s, 'heard', 'upheld')} ],
			decide_plainly => [ 3, q{UPDATE complaints SET state = 'dismissed' WHERE id = %1$s AND state = 'heard' RETURNING 'assigned'} ],
			erase => [ 1, q{SELECT 'erased ' || erase_person(actor())}, 'READ COMMITTED' ] },
		told => [ qw(inserted assigned concurrent_modification already_fated 42501), map { "erased $_" } 0 .. 200 ],
		at_least => [ qw(inserted assigned already_fated 42501), 'erased [1-9].*' ],
		promises => {
			'a name is nowhere once its bearer is erased' => q{
				SELECT assigned_by FROM complaints_fates WHERE assigned_by NOT LIKE 'erased %' AND assigned_by NOT IN (SELECT name FROM accounts)
				UNION ALL SELECT moved_by FROM complaints_history WHERE moved_by NOT LIKE 'erased %' AND moved_by NOT IN (SELECT name FROM accounts)
				UNION ALL SELECT text FROM complaints WHERE text <> 'erased' AND substr(text, 6) NOT IN (SELECT name FROM accounts)},
			'and others are as before' => q{SELECT name FROM accounts WHERE name <> 'postgres' AND
				(SELECT count(*) FROM complaints_history WHERE moved_by = name) <> (SELECT count(*) FROM attempts WHERE who = name AND told IN ('assigned', 'inserted'))},
			'no decision is lost' => q{SELECT id FROM attempts WHERE kind LIKE 'decide%' AND told = 'assigned' GROUP BY id
				HAVING count(*) <> (SELECT count(*) FROM complaints_fates f WHERE f.id = attempts.id)},
			'the eraser is told how many rows' => q{SELECT sum(substr(told, 8)::int) FROM attempts WHERE told LIKE 'erased %' HAVING sum(substr(told, 8)::int) <>
				(SELECT count(*) FROM complaints_fates WHERE assigned_by LIKE 'erased %') + (SELECT count(*) FROM complaints_history WHERE moved_by LIKE 'erased %')} },
		without => [ q{DROP TRIGGER has_account ON complaints},
			q{CREATE OR REPLACE FUNCTION has_account() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				IF NOT EXISTS (SELECT FROM accounts WHERE name = actor()) THEN
					RAISE insufficient_privilege;
				END IF;
				RETURN NULL;
			END $$} ] },

	'A deadline' => {
		table => 'applications',
		rows => 80,
		fill => q{INSERT INTO applications SELECT n, 'open', clock_timestamp() + (n - 30) * interval '4 ms' FROM generate_series(1, 80) n},
		clients => {
			decide => [ 20, q{SELECT outcome FROM try_compare_and_swap(null::applications, %1$s, 'open', 'granted')} ],
			decide_plainly => [ 5, q{UPDATE applications SET state = 'refused' WHERE id = %1$s AND due > clock_timestamp() AND state = 'open' RETURNING 'assigned'} ],
			extend => [ 5, q{UPDATE applications SET due = due + interval '40 ms' WHERE id = %1$s AND state = 'open' RETURNING 'extended'} ],
			sweep => [ 1, q{SELECT 'lapsed ' || lapse_applications()} ] },
		told => [qw(assigned concurrent_modification already_fated extended 23514), map { "lapsed $_" } 0 .. 80 ],
		at_least => [qw(assigned already_fated extended 23514), 'lapsed [1-9].*'],
		promises => {
			'what is decided was decided in time' => q{SELECT id FROM applications a JOIN applications_fates f USING (id)
				WHERE state IN ('granted', 'refused') AND NOT decided_at < due},
			'what lapsed had its time' => q{SELECT id FROM applications WHERE state = 'lapsed' AND decided_at < due},
			'a decider was told' => q{SELECT id FROM applications p WHERE (state IN ('granted', 'refused')) <>
				((SELECT count(*) FROM attempts a WHERE a.id = p.id AND told = 'assigned') = 1)},
			'and so was the sweeper' => q{SELECT sum(substr(told, 8)::int) FROM attempts WHERE kind = 'sweep'
				HAVING sum(substr(told, 8)::int) <> (SELECT count(*) FROM applications WHERE state = 'lapsed')} },
		without => [q{ALTER TABLE applications DROP CONSTRAINT decided_in_time}] },

	'Maker is not checker' => {
		table => 'invoices',
		rows => 60,
		fill => q{INSERT INTO invoices SELECT n, 0 FROM generate_series(1, 60) n},
		clients => {
			correct => [ 3, q{UPDATE invoices SET amount = amount + 1 WHERE id = %1$s AND state = 'entered' RETURNING 'corrected'} ],
			correct_late => [ 1, q{UPDATE invoices SET amount = amount + 1, maker = 'nobody' WHERE id = %1$s RETURNING 'corrected'} ],
			disown => [ 1, q{UPDATE invoices SET maker = 'nobody', checker = 'nobody' WHERE id = %1$s RETURNING 'disowned'} ],
			release => [ 2, q{SELECT outcome FROM try_compare_and_swap(null::invoices, %1$s, 'entered', 'released')} ],
			release_plainly => [ 1, q{UPDATE invoices SET state = 'released', checker = 'nobody' WHERE id = %1$s AND state = 'entered' AND maker <> actor() RETURNING 'assigned'} ] },
		told => [qw(corrected disowned assigned concurrent_modification already_fated 23514)],
		at_least => [qw(corrected disowned assigned already_fated 23514)],
		promises => {
			'the maker is not the checker' => q{SELECT id FROM invoices WHERE maker = checker},
			'who released it was told so' => q{SELECT id FROM invoices i WHERE (SELECT array_agg(who) FROM attempts a WHERE a.id = i.id AND told = 'assigned')
				IS DISTINCT FROM CASE state WHEN 'released' THEN ARRAY[checker] END},
			'who made it too' => q{SELECT id FROM invoices i WHERE maker <> 'postgres' AND maker NOT IN (SELECT who FROM attempts a WHERE a.id = i.id AND told = 'corrected')},
			'no correction is lost' => q{SELECT id FROM invoices i WHERE amount <> (SELECT count(*) FROM attempts a WHERE a.id = i.id AND told = 'corrected')},
			'the ledger names the checker' => q{SELECT id FROM invoices JOIN invoices_fates f USING (id) WHERE assigned_by <> checker} },
		without => [q{ALTER TABLE invoices DROP CONSTRAINT maker_is_not_checker}] },

	'Four eyes' => {
		table => 'payments',
		rows => 40,
		fill => q{INSERT INTO payments SELECT n, 100 FROM generate_series(1, 40) n},
		clients => {
			approve => [ 4, q{SELECT approve(id, amount) || ' ' || amount FROM payments WHERE id = %1$s} ],
			approve_plainly => [ 1, q{UPDATE payments SET state = CASE state WHEN 'requested' THEN 'checked' ELSE 'approved' END
				WHERE id = %1$s AND state IN ('requested', 'checked') RETURNING 'assigned ' || amount} ],
			forge => [ 1, q{UPDATE payments SET first_approver = 'x', second_approver = 'y' WHERE id = %1$s RETURNING 'forged'} ],
			forge_all => [ 1, q{UPDATE payments SET state = 'approved', first_approver = 'x', second_approver = 'y' WHERE id = %1$s AND state = 'requested' RETURNING 'forged'} ],
			edit => [ 2, q{UPDATE payments SET amount = amount + 1 WHERE id = %1$s RETURNING 'edited'} ],
			pay => [ 2, q{SELECT outcome FROM try_compare_and_swap(null::payments, %1$s, 'approved', 'paid')} ] },
		told => [qw(assigned concurrent_modification already_fated forged edited PF002 PF003 23514),
			map { my $told = $_; map { "$told $_" } 100 .. 150 } qw(assigned changed invalid_transition already_fated concurrent_modification) ],
		at_least => ['edited', 'forged', '23514', 'assigned 100'],
		promises => {
			'two people approved what is paid' => q{SELECT id FROM payments WHERE state IN ('approved', 'paid')
				AND (first_approver = second_approver OR first_approver IS NULL OR second_approver IS NULL)},
			'they were told so' => q{SELECT id FROM payments p WHERE
				(SELECT coalesce(array_agg(who ORDER BY who), '{}') FROM attempts a WHERE a.id = p.id AND told LIKE 'assigned %')
				<> (SELECT coalesce(array_agg(who ORDER BY who), '{}') FROM unnest(ARRAY[first_approver, second_approver]) who WHERE who IS NOT NULL)},
			'and approved this amount' => q{SELECT id FROM payments p JOIN attempts a USING (id) WHERE told LIKE 'assigned %' AND told <> 'assigned ' || amount},
			'no edit is lost' => q{SELECT id FROM payments p WHERE amount <> 100 + (SELECT count(*) FROM attempts a WHERE a.id = p.id AND told = 'edited')} },
		without => [ q{ALTER TABLE payments DROP CONSTRAINT four_eyes}, q{DROP TRIGGER approved_stands ON payments} ] });

# Reads the recipes of the page: the first block of the page, and of each section.
sub read_recipes
{
	my ($first, @sections) = split /^###? /m, slurp_file("$FindBin::Bin/../../docs/modelling.md");

	($intro) = $first =~ /^```sql\n(.*?)^```/ms;
	for (@sections)
	{
		my ($heading, $sql) = /\A([^\n]+)\n.*?^```sql\n(.*?)^```/ms or next;
		$recipes{$heading} = $sql;
	}
	return;
}

# Begins a race anew, in a schema of its own, without a rule of the recipe if one is given.
sub set_out
{
	my ($recipe, $without) = @_;
	my $race = $races{$recipe};

	$node->safe_psql('postgres', join ";\n",
		'SET client_min_messages = warning; DROP SCHEMA IF EXISTS recipe CASCADE; CREATE SCHEMA recipe; SET search_path = recipe, public',
		'TRUNCATE attempts', $recipes{$recipe}, $without // '', $race->{fill});
	return;
}

# Lets the clients do it: each transaction takes its snapshot before it begins to act,
# and is held open a little after that.
sub run_race
{
	my ($recipe, $level) = @_;
	my $race = $races{$recipe};
	my @scripts;

	for my $kind (sort keys %{ $race->{clients} })
	{
		my ($weight, $statement, $own_level) = @{ $race->{clients}{$kind} };
		my $people = $race->{people} // 3;
		my $file = $node->basedir . "/$kind.sql";

		unlink $file;
		append_to_file($file, "\\set id random(1, $race->{rows})\n\\set who random(1, $people)\n\\set hold random(0, 1000)\n"
			  . 'BEGIN' . ($own_level ? " ISOLATION LEVEL $own_level" : '') . ";\nSELECT FROM pg_class LIMIT 0;\n"
			  . "SELECT attempt('$kind', :id, 'p' || :who, \$\$$statement\$\$);\n"
			  . "\\sleep :hold us\nCOMMIT;\n");
		push @scripts, '-f', "$file\@$weight";
	}
	local $ENV{PGOPTIONS} = '-c search_path=recipe,public -c default_transaction_isolation=' . $level =~ s/ /\\ /r;
	return run_log([ 'pgbench', '-n', '-c', $clients, '-j', 2, '-t', 60, '--max-tries', 1000, @scripts, $node->connstr('postgres') ],
		'>', $node->basedir . '/pgbench.out', '2>', $node->basedir . '/pgbench.err');
}

# Returns what breaks a promise, as a hash from promise to rows.
sub broken_promises
{
	my ($recipe) = @_;
	my $promises = $races{$recipe}{promises};
	my %broken;

	for (keys %$promises)
	{
		my $rows = $node->safe_psql('postgres', "SET search_path = recipe, public; $promises->{$_}");
		$broken{$_} = $rows if $rows ne '';
	}
	return \%broken;
}

# Tests a recipe's promises in a race; if the clients have not met in every way that is
# expected, which is a matter of chance, in another one, up to ten.
sub test_race
{
	my ($recipe, $level) = @_;
	my $race = $races{$recipe};
	my %all_told;
	my @missing;

	for (1 .. 10)
	{
		my %told;

		set_out($recipe);
		ok(run_race($recipe, $level), "$recipe, $level: no client failed") or diag(slurp_file($node->basedir . '/pgbench.err'));
		note $node->safe_psql('postgres', q{SELECT kind, coalesce(told, '-'), count(*) FROM attempts GROUP BY 1, 2 ORDER BY 1, 2});
		%told = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT DISTINCT told FROM attempts WHERE told IS NOT NULL');
		%all_told = (%all_told, %told);
		delete @told{ @{ $race->{told} } };
		is_deeply([ keys %told ], [], "$recipe, $level: nobody was told anything else");
		is_deeply(broken_promises($recipe), {}, "$recipe, $level: " . join(', ', sort keys %{ $race->{promises} }));
		is($node->safe_psql('postgres', "SET search_path = recipe, public; SELECT * FROM verify_fates('$race->{table}') " . ($race->{healthy} // '')),
			'', "$recipe, $level: verify_fates finds nothing") if $race->{table};
		@missing = grep { my $what = $_; !grep { /^$what$/ } keys %all_told } @{ $race->{at_least} };
		last if !@missing;
	}
	is_deeply(\@missing, [], "$recipe, $level: it was a race");
	return;
}

# Runs a race without a rule, at most thirty times: sooner or later a promise is broken.
sub test_without
{
	my ($recipe, $rule) = @_;
	my $broken = {};

	for (1 .. 30)
	{
		set_out($recipe, $rule);
		run_race($recipe, 'read committed');
		$broken = broken_promises($recipe);
		last if %$broken;
	}
	ok(scalar(keys %$broken), "$recipe: broken without its rule: " . ($rule =~ /(.*)/)[0]);
	note join "\n", sort keys %$broken;
	return;
}

read_recipes();
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
$node->safe_psql('postgres', $intro =~ s/^\\.*\n//mgr);
$node->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE attempts (kind text, id bigint, who text, told text);
	CREATE FUNCTION attempt(kind text, id bigint, who text, statement text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		told text;
	BEGIN
		PERFORM set_config('petition_cas.actor', who, true);
		BEGIN
			EXECUTE format(statement, id) INTO told;
		EXCEPTION
			WHEN serialization_failure THEN
				RAISE;    -- pgbench tries again
			WHEN OTHERS THEN
				told := SQLSTATE;
		END;
		INSERT INTO attempts VALUES (kind, id, who, told);
	END $$});

my $only = $ENV{MODELLING} // '';

is_deeply([ grep { !$recipes{$_} } sort keys %races ], [], 'every race has its recipe');
for my $recipe (grep { index($_, $only) >= 0 } sort keys %races)
{
	test_race($recipe, $_) for 'read committed', 'repeatable read', 'serializable';
	test_without($recipe, $_) for @{ $races{$recipe}{without} };
}

$node->stop;
done_testing();
