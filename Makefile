# petition_cas: build, install and test with PGXS.
#
#   make                         build against the pg_config on the PATH
#   make PG_CONFIG=/path/to/it   build against another server
#   make install                 install (as somebody who may write there)
#   make installcheck            regression and isolation tests, on a running server
#   make dist                    the archive of the last commit, for PGXN
#
# The same in another folder:
#
#   make -f /path/to/petition_cas/Makefile VPATH=/path/to/petition_cas
#
# COPT, CFLAGS and PG_CFLAGS may be given as well. script/test runs every suite
# on a private server of its own.

EXTENSION = petition_cas
MODULE_big = petition_cas
PGFILEDESC = "petition_cas - compare-and-swap for decisions"

# PGXS sets srcdir: where the sources are, seen from where make runs.
OBJS = $(patsubst $(srcdir)/%.c,%.o,$(sort $(wildcard $(srcdir)/src/*.c)))
DATA = $(patsubst $(srcdir)/%,%,$(wildcard $(srcdir)/sql/*--*.sql))
elsewhere = $(filter-out $(abspath $(srcdir)),$(CURDIR))

# The names of the tests are those of the files, so that none is forgotten.
REGRESS = $(sort $(patsubst $(srcdir)/test/sql/%.sql,%,$(wildcard $(srcdir)/test/sql/*.sql)))
# What they print has letters that only UTF-8 has, whatever the cluster's encoding.
REGRESS_OPTS = --inputdir=$(srcdir)/test --outputdir=. --encoding=UTF8
ISOLATION = $(sort $(patsubst $(srcdir)/test/specs/%.spec,%,$(wildcard $(srcdir)/test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test --outputdir=.
EXTRA_CLEAN = $(if $(elsewhere),expected)

# The command line adds to these, and takes none of them away. From PostgreSQL
# 16 on the server has modules built with hidden symbols itself.
override PG_CFLAGS := -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -fvisibility=hidden $(PG_CFLAGS)
ifeq ($(origin CFLAGS),command line)
override PG_CFLAGS += $(COPT) # which PGXS has then forgotten
endif

# Built in whatever folder, the library is the same to the byte. Where one of
# the two folders is in the other one, the last option counts.
built_here = -ffile-prefix-map=$(CURDIR)=.
override PG_CPPFLAGS += $(built_here) -ffile-prefix-map=$(srcdir:/=)/= \
	$(if $(filter $(srcdir:/=)/%,$(CURDIR)),$(built_here))

# No bitcode: the server's JIT compiler would read it, and inline nothing of it.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
$(if $(PGXS),,$(error '$(PG_CONFIG) --pgxs' names no server to build against))
include $(PGXS)

$(if $(OBJS),,$(error there are no sources in $(srcdir)/src))

# VPATH would also find what was built beside the sources.
srcdir := $(srcdir)
override VPATH =
vpath %.c $(srcdir)
vpath %.control $(srcdir)

$(OBJS): $(wildcard $(srcdir)/src/*.h) | $(CURDIR)/src
$(CURDIR)/src:
	$(MKDIR_P) $@

# pg_regress looks for what it expects in ./expected.
ifneq ($(elsewhere),)
installcheck: $(CURDIR)/expected
$(CURDIR)/expected:
	$(LN_S) $(abspath $(srcdir))/expected $@
endif

# The pages link to one another, so they are installed as they stand here, in a
# folder of their own; PGXS's DOCS would put all extensions' pages into one.
PAGES = $(wildcard $(srcdir)/docs/*.md)
pages = $(DESTDIR)$(docdir)/petition_cas
install: install-pages
uninstall: uninstall-pages
.PHONY: install-pages uninstall-pages dist
install-pages:
	$(MKDIR_P) '$(pages)/docs'
	$(INSTALL_DATA) $(srcdir)/README.md $(srcdir)/CHANGELOG.md '$(pages)/'
	$(INSTALL_DATA) $(PAGES) '$(pages)/docs/'
uninstall-pages:
	rm -rf '$(pages)'

# What is committed, less what .gitattributes leaves out.
dist = petition_cas-$(shell git -C '$(srcdir)' show HEAD:META.json | sed -n 's/^    "version": "\(.*\)",$$/\1/p')
dist:
	git -C '$(srcdir)' archive --format=zip --prefix='$(dist)/' --output='$(CURDIR)/$(dist).zip' HEAD
	@echo '$(dist).zip'
