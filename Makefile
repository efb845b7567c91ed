# Penstock. `make help` lists the targets; everything that is made goes to build/.
#
# Needs GNU make 4.3, gcc 12 and, for tidy and the fuzzers, clang 14. On Debian `make deps` installs what is
# missing.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.DEFAULT_GOAL := all

BUILD   = build
VERSION = 0.1.0
PREFIX  = /usr/local
DESTDIR =

ifeq ($(origin CC),default)
CC = gcc
endif

# Compile on all CPUs, unless told otherwise. A sub-make shares the jobs of its parent.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-print-directory

# make V=1 shows the commands.
V     = 0
quiet = $(if $(filter 0,$(V)),@echo "  $(1)	$@";)

# --- Packages (Debian) --------------------------------------------------------------------------------------

DEPS_BUILD = gcc libc6-dev make pkg-config liburing-dev libjemalloc-dev libyaml-dev libcap-dev libseccomp-dev libmicrohttpd-dev libcriterion-dev iproute2 clang bpftool libbpf-dev
DEPS_TEST  = chromium jq prometheus
DEPS_TIDY  = clang clang-format clang-tidy cppcheck shellcheck
DEPS_FUZZ  = clang libclang-rt-14-dev
DEPS_BENCH = haproxy nginx libnginx-mod-stream iproute2

# --- BPF ----------------------------------------------------------------------------------------------------

# The programs are compiled for the kernel's machine and built in as a header. Where a tool is missing, the kernel
# keeps TIME_WAIT: io/time_wait_absent.c instead of io/time_wait.c. make BPF= builds it so.
BPF_CLANG = clang
BPFTOOL  := $(shell PATH="$$PATH:/usr/sbin" command -v bpftool)
BPF      := $(and $(shell command -v $(BPF_CLANG)),$(BPFTOOL),$(shell pkg-config --exists libbpf && echo yes))
BPF_FLAGS = -target bpf -mcpu=v3 -O2 -g -std=gnu11 -ffreestanding -fno-strict-aliasing -Wall -Wextra -Werror \
            -Wno-missing-declarations -I. -isystem /usr/include/$(shell uname -m)-linux-gnu
SKELETONS = $(if $(BPF),$(patsubst %.bpf.c,$(BUILD)/gen/%.skel.h,$(wildcard io/bpf/*.bpf.c tests/e2e/*.bpf.c)))

# --- Flags --------------------------------------------------------------------------------------------------

WARNINGS = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wundef -Wvla
CPPFLAGS = -D_GNU_SOURCE -I. -isystem $(BUILD)/gen
LDLIBS   = -luring -lyaml -lcap -lseccomp -lmicrohttpd -lm -lpthread $(if $(BPF),-lbpf)

# SANITIZE is set by the flavours below. They leave out jemalloc, which replaces malloc.
ifdef SANITIZE
CFLAGS    = -O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZE)
CFLAGS   += $(if $(findstring clang,$(CC)),-Wno-error,\
              -fno-sanitize-recover=all -Wno-maybe-uninitialized -Wno-tsan)
CPPFLAGS += -DPENSTOCK_NO_JEMALLOC
else
CFLAGS    = -O2 -g -fno-omit-frame-pointer -fstack-protector-strong
CPPFLAGS += -D_FORTIFY_SOURCE=2
LDLIBS   += -ljemalloc
endif
# Fault points are built in by the flavour that check-faults runs (shm/fault_point.h).
ifdef FAULT_POINTS
CPPFLAGS += -DPENSTOCK_FAULT_POINTS
endif
COMPILE   = $(CC) -std=gnu11 $(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(EXTRA_CFLAGS)
LINK      = $(CC) $(CFLAGS) $(LDFLAGS)
linked    = $(filter %.o,$^) $(filter %.a,$^)

# --- Sources ------------------------------------------------------------------------------------------------

# A folder and one level of subfolders. BPF programs (*.bpf.c) are not for this machine's compiler.
sources = $(filter-out %.bpf.c,$(wildcard $(1)/*.c $(1)/*/*.c))
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LAYERS       = cmd config io shm core
NOT_BUILT    = cmd/main.c $(if $(BPF),io/time_wait_absent.c,io/time_wait.c io/time_wait_attach.c)
LIB_SRCS    := $(filter-out $(NOT_BUILT),$(foreach d,$(LAYERS),$(call sources,$d)))
BENCH_MAINS := $(wildcard bench/origin.c bench/load.c bench/floor.c bench/connects.c $(if $(BPF),bench/responder.c))
BENCH_SRCS  := $(filter-out $(BENCH_MAINS) bench/responder.c,$(wildcard bench/*.c))
BPF_TESTS   := tests/e2e/test_time_wait% tests/e2e/test_owned% tests/long/test_owned% $(addprefix tests/e2e/harness_,owned.c closes.c waiting.c)
HARNESS     := $(filter-out $(if $(BPF),,$(BPF_TESTS)),$(wildcard tests/e2e/harness*.c))

# Only one module's unit tests: make check-unit UNIT=shm
UNIT         = *
UNIT_SRCS   := $(wildcard tests/unit/*.c tests/unit/$(UNIT)/*.c tests/unit/$(UNIT)/*/*.c)
UNIT_SRCS   += $(if $(filter tests/unit/cmd/%,$(UNIT_SRCS)),tests/e2e/harness_json.c tests/e2e/harness_metrics.c)
UNIT_SRCS   += $(if $(UNIT_SRCS),$(if $(filter thread,$(SANITIZE)),tests/criterion_tsan.c))
E2E_SRCS    := $(filter-out %.bpf.c $(if $(BPF),,$(BPF_TESTS)),$(wildcard tests/e2e/*.c))
FAULTS_SRCS := $(wildcard tests/faults/*.c)
CHAOS_SRCS  := $(wildcard tests/chaos/*.c)
LONG_SRCS   := $(filter-out $(if $(BPF),,$(BPF_TESTS)),$(wildcard tests/long/*.c))
FUZZ_SRCS   := $(wildcard tests/fuzz/fuzz_*.c)
TEST_SRCS   = $(UNIT_SRCS) | $(E2E_SRCS) | $(FAULTS_SRCS) | $(CHAOS_SRCS) | $(LONG_SRCS) | $(SIM_SRCS)

# The simulation: the engine over a fake kernel. These files of io/ are replaced by tests/sim's own, and every
# store of the rest is instrumented: compiled for the thread sanitizer, linked without it, tests/sim defines
# __tsan_*, and SIM_RENAMED of the C library as sim_*. The address sanitizer excludes that; there the simulation runs
# with deaths at system calls only. So are the BPF programs: tests/sim/programs.c.
SIM_REPLACED   = ring sock watch pipe inbox probe clock
SIM_INSTRUMENT = $(if $(findstring address,$(SANITIZE)),,\
                   -fsanitize=thread -Wno-tsan -fno-builtin -U_FORTIFY_SOURCE)
SIM_RENAMED    = memcpy memset calloc free
SIM_PROGRAMS   = tests/sim/programs.c
SIM_SRCS      := $(filter-out $(SIM_PROGRAMS),$(wildcard tests/sim/*.c))
SIM_LIB_SRCS  := $(SIM_PROGRAMS) $(call sources,core) $(call sources,shm) \
                 $(filter-out $(SIM_REPLACED:%=io/%.c) io/time_wait%.c,$(wildcard io/*.c))

# --- What is built ------------------------------------------------------------------------------------------

PROGRAMS = $(if $(wildcard cmd/main.c),$(BUILD)/penstock) $(BENCH_MAINS:%.c=$(BUILD)/%)
SUITES  := $(if $(UNIT_SRCS),unit) $(if $(SIM_SRCS),sim) $(if $(E2E_SRCS),e2e) $(if $(FAULTS_SRCS),faults) $(if $(CHAOS_SRCS),chaos)
PENSTOCK_LIB = $(BUILD)/libpenstock.a
BENCH_LIB    = $(BUILD)/libbench.a

.PHONY: all
all: $(PROGRAMS) $(if $(LIB_SRCS),$(PENSTOCK_LIB)) $(if $(BENCH_SRCS),$(BENCH_LIB))
	@$(if $^,:,echo "all: nothing there yet")
	@$(if $(BPF),:,echo "built without BPF (make deps installs what is missing): the kernel keeps TIME_WAIT")

$(BUILD)/penstock: $(BUILD)/obj/cmd/main.o $(PENSTOCK_LIB)
	$(call quiet,LD)$(LINK) -o $@ $(linked) $(LDLIBS)

# The same with another layout version, for tests of upgrades: one object differs.
OTHER_LAYOUT = $(BUILD)/tests/penstock-other-layout
$(OTHER_LAYOUT): $(BUILD)/obj/cmd/main.o $(BUILD)/other-layout/shm/region.o $(PENSTOCK_LIB)
	@mkdir -p $(@D)
	$(call quiet,LD)$(LINK) -o $@ $(linked) $(LDLIBS)
$(BUILD)/other-layout/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(COMPILE) -DPENSTOCK_LAYOUT_VERSION=999 -MMD -MP -c -o $@ $<

$(BENCH_MAINS:%.c=$(BUILD)/%): $(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(BENCH_LIB)
	@mkdir -p $(@D)
	$(call quiet,LD)$(LINK) -o $@ $(linked) $(LDLIBS)

# One archive for all layers: within it the order does not matter, and a test takes from it what it needs.
$(PENSTOCK_LIB): $(call objects,$(LIB_SRCS))
$(BENCH_LIB): $(call objects,$(BENCH_SRCS))
$(BUILD)/sim/libsim.a: $(patsubst %.c,$(BUILD)/sim/%.o,$(SIM_LIB_SRCS))
$(PENSTOCK_LIB) $(BENCH_LIB) $(BUILD)/sim/libsim.a: $(BUILD)/sources
	@mkdir -p $(@D) && rm -f $@
	$(call quiet,AR)$(AR) qcs $@ $(filter %.o,$^) $(AND_THEN)
$(BUILD)/sim/libsim.a: AND_THEN = && objcopy $(foreach f,$(SIM_RENAMED),--redefine-sym $(f)=sim_$(f)) $@

$(BUILD)/tests/unit: $(call objects,$(UNIT_SRCS))
$(BUILD)/tests/e2e: $(call objects,$(E2E_SRCS))
$(BUILD)/tests/chaos: $(call objects,$(CHAOS_SRCS) $(HARNESS))
ifdef FAULT_POINTS
$(BUILD)/tests/faults: $(call objects,$(FAULTS_SRCS) $(HARNESS)) $(PENSTOCK_LIB) $(BENCH_LIB) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call quiet,LD)$(LINK) -o $@ $(linked) -lcriterion $(LDLIBS)
else
$(BUILD)/tests/faults: FORCE
	@$(MAKE) $(BUILD)/faults/penstock $(BUILD)/faults/tests/faults BUILD=$(BUILD)/faults FAULT_POINTS=1
	@mkdir -p $(@D) && ln -sf ../faults/tests/faults $@
endif
$(BUILD)/tests/long: $(call objects,$(LONG_SRCS) $(HARNESS))
$(BUILD)/tests/unit $(BUILD)/tests/e2e $(BUILD)/tests/chaos $(BUILD)/tests/long: \
        $(PENSTOCK_LIB) $(BENCH_LIB) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call quiet,LD)$(LINK) -o $@ $(linked) -lcriterion $(LDLIBS)

$(BUILD)/tests/sim: $(call objects,$(SIM_SRCS)) $(BUILD)/sim/libsim.a $(BUILD)/sources
	@mkdir -p $(@D)
	$(call quiet,LD)$(LINK) -o $@ $(linked) -lcriterion $(LDLIBS)

# BPF programs are in the program, too. bpftool leaves the debugger's sections out.
$(SKELETONS): $(BUILD)/gen/%.skel.h: %.bpf.c Makefile
	@mkdir -p $(@D)
	$(call quiet,BPF)$(BPF_CLANG) $(BPF_FLAGS) -MMD -MP -MT $@ -MF $(@:.h=.d) -c -o $(@:.skel.h=.o) $< && \
	    $(BPFTOOL) gen object $(@:.skel.h=.linked.o) $(@:.skel.h=.o) && \
	    { echo '/* NOLINTBEGIN */' && $(BPFTOOL) gen skeleton $(@:.skel.h=.linked.o) name $(notdir $*)_bpf && \
	    echo '/* NOLINTEND */'; } > $@.new && mv $@.new $@
$(BUILD)/obj/io/time_wait.o $(call objects,$(wildcard tests/e2e/test_time_wait*.c) tests/e2e/harness_closes.c): $(SKELETONS)

# The dashboard is in the program.
$(BUILD)/obj/cmd/exporter/page.o: $(wildcard cmd/exporter/dashboard.*)

# Defining __tsan_* by hand: their prototypes are the compiler's secret.
$(BUILD)/obj/tests/sim/%.o: OWN_FLAGS = -Wno-builtin-declaration-mismatch

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(COMPILE) $(OWN_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/sim/tests/sim/programs.o: OWN_FLAGS = -Itests/sim/host
$(BUILD)/sim/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call quiet,CC)$(COMPILE) $(OWN_FLAGS) $(SIM_INSTRUMENT) -MMD -MP -c -o $@ $<

# PENSTOCK_VERSION is known to these two objects only; others ask them.
VERSIONED = $(BUILD)/obj/cmd/main.o $(BUILD)/obj/cmd/version.o
$(VERSIONED): OWN_FLAGS = -DPENSTOCK_VERSION='"$(PENSTOCK_VERSION)"'
$(VERSIONED): $(BUILD)/version
DESCRIBED        := $(shell git describe --tags --match 'v*' --dirty 2>/dev/null)
PENSTOCK_VERSION := $(patsubst v%,%,$(or $(DESCRIBED),$(VERSION)))

.PHONY: skeletons
skeletons: $(SKELETONS)

# Files that hold what else an object depends on; written only when that changes.
.PHONY: FORCE
remember = @mkdir -p $(@D); text='$(subst ','\'',$(1))'; \
           [ "$$(cat $@ 2>/dev/null)" = "$$text" ] || echo "$$text" > $@
$(BUILD)/flags: FORCE
	$(call remember,$(COMPILE) | $(SIM_INSTRUMENT))
$(BUILD)/sources: FORCE
	$(call remember,$(LIB_SRCS) | $(BENCH_SRCS) | $(SIM_LIB_SRCS) | $(TEST_SRCS))
$(BUILD)/version: FORCE
	$(call remember,$(PENSTOCK_VERSION))

-include $(shell find $(BUILD)/obj $(BUILD)/sim $(BUILD)/other-layout $(BUILD)/gen -name '*.d' 2>/dev/null)

# --- Tests --------------------------------------------------------------------------------------------------

# tests/run-suites runs the named suites of a build and ends with one line: N passed, N failed[, N skipped].
RUN_SUITES = PENSTOCK=$(abspath $(BUILD)/penstock) PENSTOCK_OTHER_LAYOUT=$(abspath $(OTHER_LAYOUT)) BENCH_DIR=$(abspath $(BUILD)/bench) tests/run-suites $(BUILD)

.PHONY: test check check-unit check-sim check-e2e check-faults check-chaos check-long
test: deps-test
	@$(MAKE) check

# All suites there are, one after the other, and one summary.
check: all $(OTHER_LAYOUT) $(SUITES:%=$(BUILD)/tests/%)
	@$(RUN_SUITES) $(SUITES)

check-unit: $(if $(UNIT_SRCS),$(BUILD)/tests/unit)
	@$(RUN_SUITES) $(if $(UNIT_SRCS),unit)
check-sim: $(if $(SIM_SRCS),$(BUILD)/tests/sim)
	@$(RUN_SUITES) $(if $(SIM_SRCS),sim)
check-e2e: all $(OTHER_LAYOUT) $(if $(E2E_SRCS),$(BUILD)/tests/e2e)
	@$(RUN_SUITES) $(if $(E2E_SRCS),e2e)
check-faults: all $(if $(FAULTS_SRCS),$(BUILD)/tests/faults)
	@$(RUN_SUITES) $(if $(FAULTS_SRCS),faults)
check-chaos: all $(if $(CHAOS_SRCS),$(BUILD)/tests/chaos)
	@$(RUN_SUITES) $(if $(CHAOS_SRCS),chaos)
check-long: all $(if $(LONG_SRCS),$(BUILD)/tests/long)
	@$(RUN_SUITES) $(if $(LONG_SRCS),long)

# The same tests under gcc's sanitizers, each in a build of its own; those for hours: make asan SUITES=long. What the
# second adds to the first is the simulation with a death at every store.
.PHONY: asan ubsan tsan fuzz-smoke fuzzers
asan:
	@$(MAKE) check BUILD=$(BUILD)/asan SANITIZE=address,undefined
ubsan:
	@$(MAKE) check BUILD=$(BUILD)/ubsan SANITIZE=undefined
tsan:
	@$(MAKE) check-unit BUILD=$(BUILD)/tsan SANITIZE=thread UNIT=shm

# Each fuzzer for FUZZ_SECONDS. Seeds: tests/fuzz/corpus/NAME/; what it finds by itself stays in build/.
FUZZ_SECONDS = 20
FUZZERS      = $(FUZZ_SRCS:tests/fuzz/%.c=$(BUILD)/%)
fuzz-smoke: deps-fuzz
	@$(MAKE) fuzzers BUILD=$(BUILD)/fuzz CC=clang SANITIZE=fuzzer-no-link,address
fuzzers: $(FUZZERS)
	@$(if $(FUZZERS),,echo "fuzz-smoke: nothing there yet")
	@bad=; for f in $(FUZZERS); do n=$${f##*/fuzz_}; mkdir -p $(BUILD)/corpus/$$n; s=tests/fuzz/corpus/$$n; \
	    echo "fuzz $$n: $(FUZZ_SECONDS) s"; \
	    $$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 -verbosity=0 \
	        -artifact_prefix=$(BUILD)/$$n- \
	        $(BUILD)/corpus/$$n $$([ ! -d $$s ] || echo $$s) || bad=1; done; [ -z "$$bad" ]
$(BUILD)/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(PENSTOCK_LIB)
	$(call quiet,LD)$(CC) -fsanitize=fuzzer,address -o $@ $(linked) $(LDLIBS)

# --- Checks of the source -----------------------------------------------------------------------------------

.PHONY: tidy fmt doc
tidy: deps-tidy
	@$(MAKE) skeletons
	@TIDY_CFLAGS='-std=gnu11 $(filter-out -Werror,$(WARNINGS)) $(CPPFLAGS) -Itests/sim/host -DPENSTOCK_FAULT_POINTS' tests/tidy/run

fmt: deps-tidy
	@find $(wildcard $(LAYERS) bench tests) -name '*.[ch]' -print0 | xargs -0r clang-format -i

# Documents lie beside what they document; all their relative links must lead somewhere.
doc:
	@tests/tidy/links --list

# --- Running and installing ---------------------------------------------------------------------------------

.PHONY: run bench bench-quick bench-price install clean help
run: deps
	@$(MAKE) all
	@if [ -x bench/demo.sh ]; then bench/demo.sh $(BUILD); else echo "run: nothing there yet (bench/demo.sh)"; fi

# ROUNDS=5 SECONDS_EACH=2 KEEP=DIR: bench/run.sh
bench bench-quick: deps deps-bench
	@$(MAKE) all
	@bench/run.sh $(BUILD) $(if $(filter %-quick,$@),--quick)

bench-price: deps
	@$(MAKE) all
	@bench/price.sh $(BUILD)

# SAMPLES=30 KEEP=DIR: bench/pauses.sh
.PHONY: bench-pauses
bench-pauses: deps
	@$(MAKE) all
	@bench/pauses.sh $(BUILD)

# SESSIONS=100000 KEEP=DIR: bench/scale.sh
.PHONY: bench-scale bench-scrapes
bench-scale bench-scrapes: deps
	@$(MAKE) all
	@bench/scale.sh $(BUILD) $(if $(filter %-scrapes,$@),--scrapes)

# ROUNDS=5 SECONDS_EACH=2 KEEP=DIR: bench/time_wait.sh
.PHONY: bench-time-wait bench-time-wait-quick
bench-time-wait bench-time-wait-quick: deps deps-bench
	@$(MAKE) all
	@bench/time_wait.sh $(BUILD) $(if $(filter %-quick,$@),--quick)

ifeq ($(wildcard cmd/main.c),)
install:
	@echo "install: nothing there yet"
else
install: all
	install -D -m 755 $(BUILD)/penstock $(DESTDIR)$(PREFIX)/sbin/penstock
	@for f in $$(find config/dist -type f 2>/dev/null); do \
	    install -D -m 644 -v "$$f" "$(DESTDIR)$(PREFIX)/share/penstock/$${f#config/dist/}"; done
	@to=$(DESTDIR)$(if $(filter /usr,$(PREFIX)),,$(PREFIX))/etc/penstock/penstock.yaml; \
	    if [ -f config/penstock.yaml ] && [ ! -e "$$to" ]; then \
	        install -D -m 644 -v config/penstock.yaml "$$to"; fi
endif

clean:
	rm -rf $(BUILD)

# Installs what is missing, once: a stamp per list in build/ remembers.
.PHONY: deps deps-test deps-tidy deps-fuzz deps-bench
deps: build/stamp/build
deps-test: build/stamp/test
deps-tidy: build/stamp/tidy
deps-fuzz: build/stamp/fuzz
deps-bench: build/stamp/bench
build/stamp/build: PACKAGES = $(DEPS_BUILD)
build/stamp/test: PACKAGES = $(DEPS_BUILD) $(DEPS_TEST)
build/stamp/tidy: PACKAGES = $(DEPS_BUILD) $(DEPS_TIDY)
build/stamp/fuzz: PACKAGES = $(DEPS_BUILD) $(DEPS_FUZZ)
build/stamp/bench: PACKAGES = $(DEPS_BUILD) $(DEPS_BENCH)
build/stamp/%: Makefile .ci/packages
	@.ci/packages $(PACKAGES)
	@mkdir -p $(@D) && touch $@

help:
	@echo 'make                 build/penstock, build/bench/origin, build/bench/load'
	@echo 'make run             the demo'
	@echo 'make test            all suites, and a summary'
	@echo 'make check-unit      unit tests; UNIT=shm takes those of one module'
	@echo 'make check-sim       the engine over a fake kernel'
	@echo 'make check-e2e       real processes and sockets'
	@echo 'make check-faults    a death at every step of a build with fault points'
	@echo 'make check-chaos     kills and faults, every byte checked'
	@echo 'make check-long      hours'
	@echo 'make asan|ubsan|tsan the suites under a sanitizer (tsan: unit tests of shm); SUITES=long'
	@echo 'make fuzz-smoke      each fuzzer for $(FUZZ_SECONDS) s'
	@echo 'make tidy            layering, layout, format, static analysis'
	@echo 'make fmt             format the source'
	@echo 'make bench           the comparison with HAProxy and nginx, to bench/RESULTS.md; bench-quick: a minute, prints only'
	@echo 'make bench-price     what transactions and the shared descriptor table cost'
	@echo 'make bench-pauses    how long a client waits for kills, reloads, upgrades'
	@echo 'make bench-scale     100,000 sessions at once: memory, CPU, adoption, to bench/SCALING.md'
	@echo 'make bench-scrapes   of that only what scrapes do to traffic; prints only'
	@echo 'make bench-time-wait what owned TIME_WAIT costs and saves, to bench/TIME_WAIT.md; bench-time-wait-quick: shorter, prints only'
	@echo 'make doc             check the links of all documents'
	@echo 'make install         PREFIX=$(PREFIX) DESTDIR='
	@echo 'make deps            install missing packages (also deps-test, deps-tidy, deps-fuzz, deps-bench)'
	@echo 'make clean           remove build/'
	@echo 'Variables: V=1 BUILD CC CFLAGS EXTRA_CFLAGS LDFLAGS; FILTER="suite/test" and JOBS=N for a suite'
