# The front door. The work is done by CMake (presets) and by tools/.
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
BUILD = build/release
PRODUCTS = allot allot_static allot_tool
MAKEFLAGS += --no-print-directory

.PHONY: all test demo bench lint install package docs format clean help

all: $(BUILD)/Makefile
	@cmake --build --preset release --parallel $(JOBS) --target $(PRODUCTS)

$(BUILD)/Makefile:
	@tools/install-packages build
	@cmake --preset release -G "Unix Makefiles" --log-level=WARNING > /dev/null

# every preset; PRESETS="release debug" and TESTS=REGEX choose
test:
	@tools/install-packages build test
	@tools/run-tests --jobs $(JOBS) $(PRESETS)

demo: all
	@tools/install-packages demo
	@python3 bench/demo.py

# ROW=REGEX chooses rows, FULL=1 takes the time that published figures need;
# INSTRUCTIONS=1 or SYSCALLS=1 counts instead of measuring time
bench: all
	@tools/install-packages bench $(if $(INSTRUCTIONS)$(SYSCALLS),counts)
ifneq ($(INSTRUCTIONS)$(SYSCALLS),)
	@python3 bench/counts.py $(if $(ROW),--row '$(ROW)') \
		$(if $(INSTRUCTIONS),--instructions,--system-calls)
else
	@python3 bench/run.py $(if $(ROW),--row '$(ROW)') $(if $(FULL),--full)
endif

lint:
	@tools/install-packages build lint
	@tools/lint

install: $(BUILD)/Makefile
	@cmake --preset release -DCMAKE_INSTALL_PREFIX=$(PREFIX) --log-level=WARNING > /dev/null
	@cmake --build --preset release --parallel $(JOBS) --target $(PRODUCTS)
	@cmake --install $(BUILD)

# a .deb and a .tar.gz in build/release
package: all
	@cd $(BUILD) && cpack

# what is generated and committed: src/allot.c, option pages, man pages
docs:
	@tools/check-layers --write
	@tools/gen-options
	@tools/gen-man

format:
	@git ls-files '*.[ch]' '*.cc' | xargs clang-format -i

clean:
	@rm -rf build

help:
	@echo "make            build liballot.so.1, liballot.a, liballot.o and allot in $(BUILD)"
	@echo "make test       build and test every preset; PRESETS='release debug' TESTS=regex"
	@echo "make demo       redis under load on allot and on every other allocator found here"
	@echo "make bench      the benchmark suite; ROW=regex, FULL=1, INSTRUCTIONS=1, SYSCALLS=1"
	@echo "make lint       every check of tools/, clang-format, clang-tidy"
	@echo "make install    PREFIX=$(PREFIX) DESTDIR="
	@echo "make package    .deb and .tar.gz"
	@echo "make format     clang-format over all C"
	@echo "make docs       write the generated files again"
	@echo "make clean      remove build/"
