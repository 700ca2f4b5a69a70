# `make` alone says what there is. PYTHON chooses the interpreter of the environment in .venv.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
DRIVERS := $(VENV)/.drivers
CONTAINERS := $(VENV)/.containers
BENCH := $(VENV)/.bench
TALLY := $(VENV)/.tally

# tox looks for interpreters on PATH, where pyenv shows only those that are switched on; these are all it has installed.
PYENV_BINS := $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[0-9]*/bin)
SPACE := $(subst ,, )
export PATH := $(PATH)$(if $(PYENV_BINS),:$(subst $(SPACE),:,$(strip $(PYENV_BINS))))

.DEFAULT_GOAL := help
TESTS := test test-mysql test-container test-order matrix mutants django-suite faults faults-mysql campaigns soak
.PHONY: help demo $(TESTS) test-private-mysql test-mysqld lint types format bench clean

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(READY)  ## 30 seconds of work while connections expire, are killed and the server crashes
	@scripts/need-mariadb
	@$(VENV)/bin/python -m workers demo

# $(call run-tox,OPTIONS) ends with what was run and what was left out, environment by environment.
define run-tox
@scripts/need-mariadb
@rm -rf build  # setuptools would put modules into the wheel that the tree no longer has
@: > $(TALLY)
@! scripts/need-mysqlclient $(VENV)/bin/python || export PERSISTCONN_EXTRAS=test,mysqlclient; \
	PERSISTCONN_TALLY=$(CURDIR)/$(TALLY) $(VENV)/bin/tox run $(1); status=$$?; \
	echo "What was run, and what was left out:"; sed 's/^/  /' $(TALLY); exit $$status
endef

test: $(READY)  ## lint, types, and the tests of the built wheel against a private server
	$(call run-tox)
	@echo "  not part of it: make $(filter-out test,$(TESTS))"

# ENVIRONMENTS=lowest,next runs only those of tox.ini.
matrix: $(READY)  ## the tests on each supported Python and Django, with the lowest versions and with the next ones: an hour
	$(call run-tox,$(if $(ENVIRONMENTS),-e $(ENVIRONMENTS),-m matrix))

# SAMPLE=12 runs so many of the files, the same ones each time.
test-order: $(DRIVERS)  ## each test file alone, in any order, twice in a row in the same process
	@scripts/need-mariadb
	@[ -n "$(SAMPLE)" ] || $(VENV)/bin/tox run -qe deploying --notest
	@$(VENV)/bin/python scripts/test-order $(if $(SAMPLE),--sample $(SAMPLE))

# A named image takes precedence over a mysqld.
test-mysql: $(if $(PERSISTCONN_MYSQL_IMAGE),test-container,test-private-mysql)  ## the tests that need MySQL, and faults-mysql; in containers if PERSISTCONN_MYSQL_IMAGE is set
	@$(MAKE) --no-print-directory faults-mysql

test-container: $(CONTAINERS)  ## the tests that need MySQL, and real wait_timeout expiry, against MySQL in a container
	@line=$$(scripts/need-mysql-container) && eval "$$line" && \
		export PERSISTCONN_REQUIRE_MYSQL=1 PERSISTCONN_REQUIRE_CONTAINER=1 && \
		$(VENV)/bin/python -m pytest -n 3 --dist worksteal -k 'not mariadb' --persistconn-server=container \
			tests/contract tests/testing/container tests/testing/test_tools.py tests/testing/test_own_session.py \
			tests/testing/test_paused.py \
			tests/servers/test_django_transactions.py::test_all_of_this_holds_on_mysql_too && \
		cd examples/testing && \
		$(CURDIR)/$(VENV)/bin/python -m pytest -p no:cacheprovider --persistconn-server=container

test-private-mysql: $(DRIVERS)
	@scripts/need-mariadb
	@line=$$(scripts/need-mysql) && eval "$$line" && export PERSISTCONN_REQUIRE_MYSQL=1 && \
		$(VENV)/bin/python -m pytest -n 3 --dist worksteal -k 'not mariadb' \
			tests/contract tests/servers/test_private_mysql.py tests/servers/test_django_transactions.py && \
		$(VENV)/bin/python -m pytest tests/testing/test_tools.py --persistconn-server=mysql

# What a container cannot show. CI runs it beside test-container, in place of test-private-mysql.
test-mysqld: $(DRIVERS)
	@line=$$(scripts/need-mysql) && eval "$$line" && export PERSISTCONN_REQUIRE_MYSQL=1 && \
		$(VENV)/bin/python -m pytest -n 3 --dist worksteal --persistconn-server=mysql \
			-k 'not mariadb and (unix or test_private_mysql or test_tools)' \
			tests/contract/test_driver.py tests/servers/test_private_mysql.py tests/testing/test_tools.py

faults-mysql: $(if $(PERSISTCONN_MYSQL_IMAGE),$(CONTAINERS),$(DRIVERS))  ## a fixed sample of the faults on MySQL
	@line=$$(scripts/need-mysql$(if $(PERSISTCONN_MYSQL_IMAGE),-container)) && eval "$$line" && for c in cuts jobcuts; do \
		$(VENV)/bin/python -m campaigns.$$c --only 'mysql.*' --sample 500 \
		$(if $(PERSISTCONN_MYSQL_IMAGE),,--mysql mysql) || exit 1; done

lint: $(READY)  ## ruff
	@$(VENV)/bin/tox run -e lint

types: $(READY)  ## mypy, strict
	@$(VENV)/bin/tox run -e types

format: $(READY)  ## put the code into ruff's format
	@$(VENV)/bin/tox exec -qe lint -- ruff format

django-suite: $(READY)  ## Django's own tests on our engine and on the stock one
	@scripts/need-mariadb
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/django-suite

faults: $(DRIVERS)  ## break a conversation, and a job, at each packet in each way: tens of thousands of cases
	@scripts/need-mariadb
	@status=0; for c in cuts jobcuts; do $(VENV)/bin/python -m campaigns.$$c || status=1; done; exit $$status

campaigns: $(DRIVERS)  ## exceptions, expiries, storms, comebacks, COMMITs in flight, and the bank for five minutes
	@scripts/need-mariadb
	@status=0; for c in wrong-rows expiry storm comeback in-flight bank; do $(VENV)/bin/python -m campaigns $$c || status=1; done; exit $$status

MINUTES ?= 30
soak: $(DRIVERS)  ## mixed work under random faults for MINUTES=30
	@scripts/need-mariadb
	@$(VENV)/bin/python -m campaigns soak --minutes $(MINUTES)

mutants: $(READY)  ## break one promise at a time and see a test go red
	@scripts/need-mariadb
	@$(VENV)/bin/python scripts/mutants

bench: $(BENCH)  ## what safety costs, beside the usual cures: 15 minutes, into docs/benchmarks.md
	@scripts/need-mariadb
	@$(VENV)/bin/python -m benchmarks $(ARGS)

clean:  ## remove what the other targets have made
	rm -rf $(VENV) .tox .cache .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "make: $(PYTHON) must be Python 3.10 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: $(PYTHON) cannot make an environment; run: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[demo,test]' 'tox>=4.28'
	@touch $@

$(DRIVERS): $(READY)
	@! scripts/need-mysqlclient $(VENV)/bin/python || \
		$(VENV)/bin/python -m pip install -qq --disable-pip-version-check 'mysqlclient>=2.2'
	@touch $@

$(CONTAINERS): $(DRIVERS)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[demo,test,testing]'
	@touch $@

$(BENCH): $(DRIVERS)
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[bench,demo,test]'
	@touch $@
