# petition_cas: build, install and test with PGXS.
#
#   make                         build against the pg_config on the PATH
#   make PG_CONFIG=/path/to/it   build against another server
#   make install                 install (as somebody who may write there)
#   make installcheck            regression and isolation tests, on a running server
#
# script/test runs every suite on a private server of its own.

EXTENSION = petition_cas
MODULE_big = petition_cas
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = $(wildcard sql/*--*.sql)
SRC_HEADERS = $(wildcard src/*.h)
PGFILEDESC = "petition_cas - compare-and-swap for decisions"

# From PostgreSQL 16 on the server has modules built with hidden symbols itself.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -fvisibility=hidden

# The names of the tests are those of the files, so that none is forgotten.
REGRESS = $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --outputdir=.
ISOLATION = $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(SRC_HEADERS)
