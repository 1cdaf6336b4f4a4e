# What extensions that look into queries see of those that rosters make: as
# from the server itself, parameters or NULL, and no list without any. There are
# extensions that crash on one.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = PostgreSQL::Test::Utils::tempdir();
append_to_file("$folder/hook.c", <<'C');
#include "postgres.h"

#include "executor/executor.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

static ExecutorStart_hook_type next_hook;

static void
look(QueryDesc *query, int flags)
{
	if (query->params != NULL && query->params->numParams == 0)
		elog(ERROR, "a list of no parameters");
	if (next_hook)
		next_hook(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

void		_PG_init(void);

void
_PG_init(void)
{
	next_hook = ExecutorStart_hook;
	ExecutorStart_hook = look;
}
C
chomp(my $include = qx{pg_config --includedir-server});
system_or_bail('gcc', '-shared', '-fPIC', '-o', "$folder/hook.so", "-I$include", "$folder/hook.c");

my $node = PostgreSQL::Test::Cluster->new('hooks');
$node->init;
$node->start;
is( $node->safe_psql('postgres', <<"SQL"), "{1}|{1}|{1}\n{1}\n{1}", 'filters with and without values');
CREATE EXTENSION petition_cas;
CREATE TABLE t AS SELECT 1 AS id;
LOAD '$folder/hook.so';
SELECT a.resolved_ids, b.resolved_ids, c.resolved_ids FROM resolve_roster('t', '') AS a, resolve_roster('t', 'id:1') AS b, resolve_roster('t', 'id:*') AS c;
SELECT resolved_ids FROM validate_roster('t', '', '{1}', roster_hash('{1}'::int[]));
SELECT resolved_ids FROM claim_roster('t', '', '{1}', roster_hash('{1}'::int[]));
SQL

$node->stop;
done_testing();
