# examples/approvals in a browser: a server with approvals.sql, desk.py in front of it,
# and a headless Chromium with the windows of two people, who race with each other and
# with agents. What each window says is compared with what the ledger has.
#
# To write the screenshots of the example's README.md into a folder:
#
#	PETITION_CAS_SCREENSHOTS=/tmp/shots prove test/t/070_approvals.pl

use strict;
use utf8;
use warnings;

use FindBin;
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run;
use JSON::PP;
use MIME::Base64;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $python = '/usr/bin/python3';    # the one for which Debian has psycopg
my $seconds = $PostgreSQL::Test::Utils::timeout_default;

for my $program (qw(chromium chromedriver))
{
	plan skip_all => "no $program here" if system("command -v $program >/dev/null");
}
plan skip_all => 'no psycopg here' if system("$python -c 'import psycopg' 2>/dev/null");

my $example = "$FindBin::Bin/../../examples/approvals";
my $node = PostgreSQL::Test::Cluster->new('approvals');
my $folder = PostgreSQL::Test::Utils::tempdir();
my $http = HTTP::Tiny->new(timeout => $seconds);
my @children;
my $browsing;

END
{
	my $status = $?;

	eval { browser('DELETE', '') } if $browsing;    # or Chromium stays
	$_->kill_kill for @children;
	$? = $status;
}

# --- The server and the desk --------------------------------------------------

$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION petition_cas');
$node->command_ok([ 'psql', '-qX', '-d', $node->connstr('postgres'), '-f', "$example/approvals.sql" ], 'the SQL is loaded');

# Starts a program that stays until the end; its output goes to a file.
sub start
{
	my ($name, @command) = @_;

	push @children, IPC::Run::start(\@command, '<', '/dev/null', '>&', "$folder/$name.log");
	return;
}

# Waits until the log of a program has what a pattern matches, so many times; returns
# all matches.
sub logged
{
	my ($name, $pattern, $count) = @_;
	my @found;

	for (1 .. $seconds * 50)
	{
		@found = slurp_file("$folder/$name.log") =~ /$pattern/g;
		return @found if @found >= ($count // 1);
		usleep(20_000);
	}
	die "$name does not say $pattern:\n" . slurp_file("$folder/$name.log");
}

{
	local @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER)} = ($node->host, $node->port, 'postgres', 'desk');
	start('desk', $python, "$example/desk.py");
}
my ($desk) = logged('desk', qr{(http://\S+)/});

# A value from the database, as the owner of all sees it
sub value
{
	my ($query) = @_;

	return $node->safe_psql('postgres', "SET search_path = approvals, public; $query");
}

# What the ledger has of a request
sub ledger
{
	my ($id) = @_;

	return value("SELECT fate, assigned_by, reason FROM requests_fates WHERE id = $id");
}

# What an agent does: sends JSON to the desk. Returns the status and the body.
sub post
{
	my ($path, $body, %headers) = @_;
	my $answer = $http->post("$desk$path",
		{ content => encode_json($body), headers => { 'Content-Type' => 'application/json', %headers } });

	return ($answer->{status}, eval { decode_json($answer->{content}) });
}

# Files a request and returns its id.
sub file_request
{
	my ($tool, $arguments, $amount, $note) = @_;
	my ($status, $body) = post('/requests',
		{ agent => 'support', tool => $tool, arguments => $arguments, amount => $amount, note => $note // '' });

	is($status, 200, "a request for $tool is filed");
	return $body->{id};
}

sub revise
{
	my ($id, $arguments, $amount, $note) = @_;

	return post("/requests/$id/revision", { arguments => $arguments, amount => $amount, note => $note });
}

# Locks a request, does something, and lets the request go as soon as so many sessions
# of the desk wait for it; or ends these sessions before.
sub while_locked
{
	my ($id, $waiting, $do, $end) = @_;
	my $those = "FROM pg_stat_activity WHERE usename = 'desk' AND wait_event_type = 'Lock'";
	my $holder = $node->background_psql('postgres');

	$holder->query_safe("BEGIN; SELECT FROM approvals.requests WHERE id = $id FOR UPDATE");
	$do->();
	$node->poll_query_until('postgres', "SELECT count(*) = $waiting $those") or die 'nobody waits for the request';
	value("SELECT pg_terminate_backend(pid) $those") if $end;
	$holder->query_safe('COMMIT');
	$holder->quit;
	return;
}

# --- A connection that loses what it is told to lose --------------------------

# Stands between a browser and the desk. If the file "lose" says so, a decision does not
# come through (request), or is made and its answer does not come back (answer).
sub pass_on
{
	my ($browser) = @_;
	my $lose = -e "$folder/lose" ? slurp_file("$folder/lose") : '';
	my $request = '';
	my $length = 0;

	while ($request !~ /\r\n\r\n/ || length($request) < $+[0] + $length)
	{
		sysread($browser, $request, 65536, length $request) or return;
		$length = $1 if $request =~ /^Content-Length: (\d+)/mi;
	}
	$lose = '' if $request !~ /^POST/;
	unlink "$folder/lose" if $lose;
	return if $lose eq 'request';

	my $server = IO::Socket::INET->new(PeerAddr => $desk =~ s{http://}{}r) or return;
	print $server $request;
	$server->flush;
	my $answer = do { local $/; <$server> };
	print $browser $answer unless $lose eq 'answer';
	$browser->flush;
	return;
}

sub lose
{
	my ($what) = @_;

	append_to_file("$folder/lose", $what);
	return;
}

my $listener = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1') or die $!;
my $lossy_desk = 'http://127.0.0.1:' . $listener->sockport;

push @children, IPC::Run::start(sub {
	local $SIG{CHLD} = 'IGNORE';
	while (my $browser = $listener->accept)
	{
		next if fork;
		pass_on($browser);
		POSIX::_exit(0);
	}
});

# --- The browser --------------------------------------------------------------

{
	local $ENV{HOME} = $folder;    # Chromium writes there, besides its data
	start('chromedriver', 'chromedriver', '--port=0');
}
my ($port) = logged('chromedriver', qr/on port ([1-9]\d*)/);
my $session = "http://127.0.0.1:$port/session";
my %window;

# Sends a command to the browser and returns the value; dies of an error.
sub browser
{
	my ($method, $path, $body) = @_;
	my $answer = $http->request($method, "$session$path",
		$body ? { content => encode_json($body), headers => { 'Content-Type' => 'application/json' } } : {});

	die "$method $path: $answer->{content}" if !$answer->{success};
	return decode_json($answer->{content})->{value};
}

$session .= '/' . browser('POST', '', { capabilities => { alwaysMatch => { 'goog:chromeOptions' => { args => [
	'--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', "--user-data-dir=$folder/chromium" ] } } } })->{sessionId};
$browsing = 1;
browser('POST', '/timeouts', { implicit => 20_000 });    # whatever is looked for is waited for

sub look_at
{
	my ($person) = @_;

	browser('POST', '/window', { handle => $window{$person} });
	return;
}

# Opens a window for a person.
sub open_window
{
	my ($person, $url) = @_;

	$window{$person} = browser('POST', '/window/new', { type => 'window' })->{handle};
	look_at($person);
	browser('POST', '/window/rect', { width => 1280, height => 800 });
	browser('POST', '/url', { url => "$url/?as=$person" });
	return;
}

# Finds what an XPath says, and waits for it.
sub find
{
	my ($xpath) = @_;

	return (values %{ browser('POST', '/element', { using => 'xpath', value => $xpath }) })[0];
}

# Does something to what an XPath says; once more if the page has replaced it meanwhile.
sub act
{
	my ($xpath, @actions) = @_;

	for my $try (1 .. 5)
	{
		my $element = find($xpath);

		return if eval { browser('POST', "/element/$element/$_->[0]", $_->[1]) for @actions; 1 };
		die $@ if $@ !~ /stale element reference/ || $try == 5;
	}
}

sub click
{
	my ($xpath, $times) = @_;

	act($xpath, ([ 'click', {} ]) x ($times // 1));
	return;
}

sub type
{
	my ($xpath, $text) = @_;

	act($xpath, [ 'clear', {} ], [ 'value', { text => $text } ]);
	return;
}

# The value of an expression in the page
sub script
{
	my ($expression) = @_;

	return browser('POST', '/execute/sync', { script => "return $expression", args => [] });
}

# The texts of all that a CSS selector finds
sub text_of
{
	my ($selector) = @_;

	return script("[...document.querySelectorAll('$selector')].map((element) => element.innerText).join('|')");
}

# Waits until a notice says something, and returns all of it.
sub told
{
	my ($place, $title) = @_;

	find("//*[\@id='$place']//strong[contains(., '$title')]");
	return text_of("#$place");
}

# Opens a request and writes a reason.
sub open_request
{
	my ($id, $reason) = @_;

	click("//tr[\@data-id='$id']");
	find("//h2[contains(., '#$id ')]");
	type("//*[\@id='reason']", $reason);
	return;
}

# Shows the list of a filter, so many pending requests, and writes a reason.
sub show_list
{
	my ($filter, $count, $reason) = @_;

	type("//*[\@id='filter']", $filter);
	click("//button[.='Show']");
	find("//h2[\@data-filter='$filter'][starts-with(., '$count ')]");
	type("//*[\@id='reason-all']", $reason);
	return;
}

sub screenshot
{
	my ($name) = @_;
	my $png = decode_base64(browser('GET', '/screenshot'));

	cmp_ok(length $png, '<', 150_000, "the screenshot $name is small");
	if (my $into = $ENV{PETITION_CAS_SCREENSHOTS})
	{
		open my $file, '>:raw', "$into/$name.png" or die "$into/$name.png: $!";
		print $file $png;
		close $file or die $!;
	}
	return;
}

my $approve = "//button[\@id='approve']";
my $approve_all = "//button[\@id='approve-all']";

open_window('ben', $desk);
open_window('ann', $desk);

# --- Changed since you looked -------------------------------------------------

find("//tr[\@data-id='7']");
is(text_of('#list h2'), '7 requests', 'the list is shown');
open_request(1, 'a small amount');
is((revise(1, '{"to": "Zoë Lindqvist", "iban": "LT12 1000 0111 0100 1000"}', '9950', 'Travel, March'))[0], 200, 'an agent revises a request');
click($approve);
like(told('notice', 'Changed since you looked.'), qr/Nothing was decided/, 'who approves another content is told so');
find("//table[\@class='comparison']");
is(text_of('.differs th'), 'arguments|amount', 'what differs is marked');
like(text_of('.differs .was'), qr/SE35.*\|99\.50$/s, 'what was seen is shown');
like(text_of('.differs .now'), qr/LT12.*\|9950$/s, 'and what the request holds now');
is(ledger(1), '', 'nothing was decided');
screenshot('changed');
ok(script("document.getElementById('approve').disabled"), 'the second half of a double click approves nothing');
click("//*[\@id='looked']");
type("//*[\@id='reason']", 'agreed by telephone');
click($approve);
told('notice', 'Approved.');
is(ledger(1), 'approved|ann|agreed by telephone', 'what was looked at is approved');
is(value('SELECT l.evidence_hash = evidence_hash(r) FROM requests r JOIN requests_fates l USING (id) WHERE id = 1'), 't', 'as it was looked at');
my ($status, $body) = revise(1, '{}', '1', '');
is("$status $body->{sqlstate}", '409 PF006', 'what was approved is not revised');

# --- Already decided ------------------------------------------------------------

for my $person (qw(ann ben))
{
	look_at($person);
	open_request(2, "$person has the invoice");
}
while_locked(2, 2, sub { for my $person (qw(ann ben)) { look_at($person); click($approve) } });
look_at('ann');
find("//*[\@id='notice']//strong");
look_at('ben');
find("//*[\@id='notice']//strong");
my ($winner, $loser) = ledger(2) =~ /\|ann\|/ ? qw(ann ben) : qw(ben ann);
is(ledger(2), "approved|$winner|$winner has the invoice", 'of two who approve at once, one does');
look_at($winner);
told('notice', 'Approved.');
look_at($loser);
like(told('notice', 'Already approved'), qr/by $winner at \d.*because: $winner has the invoice/, 'the other is told by whom, when and why');
screenshot('already');

look_at('ann');
open_request(3, 'the rate is wrong');
look_at('ben');
open_request(3, 'looks good');
look_at('ann');
click("//button[\@id='reject']");
told('notice', 'Rejected.');
look_at('ben');
click($approve);
like(told('notice', 'Already rejected'), qr/by ann at \d.*because: the rate is wrong/, 'so is one who comes later');
find("//*[\@class='decided']");
like(text_of('.decided'), qr/^Rejected by ann/, 'and is shown what stands');

# --- The list has changed -------------------------------------------------------

look_at('ann');
show_list('state:pending tool:refund', 2, 'all small');
my $joined = file_request('refund', '{"order": 90200, "to": "card"}', '890.00');
revise(4, '{"order": 90071, "to": "card"}', '420.00', 'Arrived broken');
look_at('ben');
open_request(5, 'not a voucher');
click("//button[\@id='reject']");
told('notice', 'Rejected.');
look_at('ann');
click($approve_all);
my $told = told('list-notice', 'The list has changed');
like($told, qr/joined #$joined refund: 890\.00/, 'a list that has changed: who joined');
like($told, qr/changed #4 refund: amount 42\.00 → 420\.00\n/, 'whose content changed');
like($told, qr/left #5 refund: rejected by ben, because: not a voucher/, 'and who left, and why');
is(value("SELECT count(*) FROM requests_fates WHERE reason = 'all small'"), 0, 'nothing was decided');
find("//*[\@id='looked-all']");
screenshot('list');
ok(script("document.getElementById('approve-all').disabled"), 'the new list is to be looked at first');
click("//*[\@id='looked-all']");
type("//*[\@id='reason-all']", 'looked at them');
click($approve_all);
told('list-notice', 'Approved: 2.');
is(value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM requests_fates WHERE reason = 'looked at them'"), "4 $joined", 'then the new list is approved');

my @backups = map { file_request('backup', qq({"day": $_}), '') } 1 .. 3;
show_list('state:pending tool:backup', 3, 'the same three');
revise($backups[1], '{"day": 31}', '', '');
click($approve_all);
is(told('list-notice', 'The list has changed') =~ s/.*\n//r, qq(changed #$backups[1] backup: arguments { "day": 2 } → { "day": 31 }), 'a list of the same requests is another one if one was revised');
is(value("SELECT count(*) FROM requests_fates WHERE reason = 'the same three'"), 0, 'so nothing was decided');

show_list('tool:refund', 3, 'once more');
click($approve_all);
like(told('list-notice', 'Nothing was decided'), qr/decided already/, 'a list with decided requests is refused');

# --- A double click -------------------------------------------------------------

show_list('state:pending', 5, ' ');
open_request(6, 'tested');
while_locked(6, 2, sub { click($approve, 2) });
told('notice', 'Approved.');
is_deeply([ logged('desk', qr{POST /requests/6/decision HTTP/1.1" (\d+)}, 2) ], [ 200, 200 ], 'both clicks are told that they won');
is(ledger(6), 'approved|ann|tested', 'and it was decided once');
unlike(text_of('#notice'), qr/Already/, 'nobody is told otherwise');

my $before = () = logged('desk', qr{POST /decisions});
show_list('state:pending tool:backup', 3, 'every night');
while_locked($backups[1], 2, sub { click($approve_all, 2) });
told('list-notice', 'Approved: 3.');
is_deeply([ (logged('desk', qr{POST /decisions HTTP/1.1" (\d+)}, $before + 2))[ $before, $before + 1 ] ], [ 200, 200 ], 'so are both of a list');
is(value("SELECT count(*), count(DISTINCT request_id) FROM requests_fates WHERE reason = 'every night'"), '3|1', 'which was decided once');

# --- A lost answer --------------------------------------------------------------

open_window('cleo', $lossy_desk);
open_request(7, 'not needed');
lose('answer');
click($approve);
like(told('notice', 'No answer came.'), qr/safe to ask again/, 'a lost answer');
is(ledger(7), 'approved|cleo|not needed', 'it was decided');
screenshot('lost');
click("//button[.='Ask again']");
told('notice', 'Approved.');
is(value('SELECT count(*) FROM requests_fates WHERE id = 7'), 1, 'who asks again is told so, and it was decided once');

my $unsent = file_request('mail', '{"to": "ann"}', '');
my $spared = file_request('mail', '{"to": "ben"}', '', '<img src=x onerror="document.body.remove()">');
show_list('state:pending tool:mail', 2, 'short');
open_request($unsent, 'polite');
lose('request');
click($approve);
told('notice', 'No answer came.');
is(ledger($unsent), '', 'a decision that did not arrive');
click("//button[.='Ask again']");
told('notice', 'Approved.');
is(ledger($unsent), 'approved|cleo|polite', 'is made when it is sent again');

file_request('mail', '{"to": "cleo"}', '');
show_list('state:pending tool:mail', 2, 'short');
lose('answer');
click($approve_all);
told('list-notice', 'No answer came.');
is(value("SELECT count(*) FROM requests_fates WHERE reason = 'short'"), 2, 'the lost answer of a list');
click("//button[.='Ask again']");
told('list-notice', 'Approved: 2.');

my $ended = file_request('mail', '{"to": "dora"}', '');
show_list('state:pending tool:mail', 1, ' ');
open_request($ended, 'kind');
while_locked($ended, 1, sub { click($approve) }, 'end the session');
told('notice', 'Approved.');
is(ledger($ended), 'approved|cleo|kind', 'the desk goes on when its session ends');

# --- What is sent by others -----------------------------------------------------

show_list('tool:mail', 4, ' ');
click("//tr[\@data-id='$spared']");
find("//pre[contains(., '<img src=x')]");
is(script('document.images.length'), 0, 'what an agent writes is shown as text');

my $open = file_request('mail', '{}', '');
my %decision = (actor => 'ann', fate => 'approved', reason => 'x', request_id => 'r1',
	seen_hash => value("SELECT evidence_hash(r) FROM requests r WHERE id = $open"));
my %list = (%decision, filter => "id:$open", hash => 'no hash', ids => ["$open $decision{seen_hash}"]);
my @refused = (
	[ 415, '', "/requests/$open/decision", \%decision, 'Content-Type' => 'text/plain' ],
	[ 422, '', "/requests/$open/decision", { %decision, seen_hash => undef } ],
	[ 422, '', "/requests/$open/decision", { %decision, request_id => '' } ],
	[ 422, '', "/requests/$open/decision", { %decision, actor => "a\0" } ],
	[ 422, '22023', "/requests/$open/decision", { %decision, fate => 'granted' } ],
	[ 422, '22023', "/requests/$open/decision", { %decision, seen_hash => 'seen' } ],
	[ 422, 'PF003', "/requests/$open/decision", { %decision, fate => 'pending' } ],
	[ 404, 'PF004', '/requests/99/decision', \%decision ],
	[ 404, '', '/requests/99/revision', { arguments => '{}', amount => '', note => '' } ],
	[ 404, '', '/requests/x/decision', \%decision ],
	[ 422, '22P02', '/requests', { agent => 'a', tool => 't', arguments => '{', amount => '', note => '' } ],
	[ 422, '23514', '/requests', { agent => 'a', tool => 't', arguments => '[]', amount => '', note => '' } ],
	[ 422, '22023', '/decisions', \%list ],
	[ 422, '', '/decisions', { %list, ids => undef } ],
	[ 422, '42703', '/decisions', { %list, filter => 'place:north' } ],
	[ 422, '22P02', '/decisions', { %list, filter => 'state:pendng' } ],
	[ 400, '', '/decisions', [] ]);

for my $refused (@refused)
{
	my ($expected, $sqlstate, @request) = @$refused;
	($status, $body) = post(@request);
	is("$status " . ($body->{sqlstate} // ''), "$expected $sqlstate", "$request[0] " . encode_json($request[1]) . " is $expected");
}

# HTTP::Tiny does not let its user set the Host.
my $socket = IO::Socket::INET->new(PeerAddr => $desk =~ s{http://}{}r);
print $socket "GET /requests HTTP/1.0\r\nHost: desk.example\r\n\r\n";
$socket->flush;
like(<$socket>, qr/ 403 /, 'another name for this machine is refused');
is($http->get("$desk/requests/99")->{status}, 404, 'a request that is not there');
is($http->get("$desk/requests?filter=tool:")->{status}, 422, 'a filter that is not understood');
is(ledger($open), '', 'nothing of it decided anything');

# --- The role, and the books ----------------------------------------------------

for my $statement ('DELETE FROM requests', "UPDATE requests SET agent = 'x'", "UPDATE requests_as_seen SET seen = 'x'",
	'DELETE FROM requests_fates', "UPDATE requests_fates SET assigned_by = 'x'", 'TRUNCATE requests')
{
	my (undef, undef, $error) = $node->psql('postgres', $statement, extra_params => [ '-U', 'desk' ]);
	like($error, qr/permission denied|cannot update/, "the desk may not $statement");
}
is(value("SELECT * FROM verify_fates('requests')"), '', 'the ledger is in order');
is(value('SELECT count(*) FROM requests_fates WHERE request_id IS NULL OR reason IS NULL OR evidence_hash IS NULL'), 0, 'and whole');

done_testing();
