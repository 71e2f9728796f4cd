# icot - `make help` lists what can be made.

VERSION := 0.1.0
PREFIX  ?= /usr/local
BUILD   ?= build
RECIPE  ?= recipes/quickstart.lua
CFLAGS  ?= -O3 -g
CUDA_ARCHS ?= 80 90 # compute capabilities to compile for, the oldest first; newer cards take the last one's PTX
Q       := $(if $(V),,@) # make V=1 shows the commands

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0) # as many jobs as cores, unless the caller says otherwise
MAKEFLAGS += -j$(shell nproc)
endif

build: # the library and the program, under build/ (this is what plain `make` does)

help: # this list
	@sed -n 's/^\([a-z-]*\):.*# \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

# Installs what is missing from the distribution's packages, then finds out where the libraries are.
$(BUILD)/packages.mk: third_party/install.sh third_party/packages.txt third_party/configure.sh
	@third_party/install.sh build
	@third_party/install.sh optional
	@mkdir -p $(BUILD)
	@third_party/configure.sh > $@.partial && mv $@.partial $@

ifneq ($(filter-out help clean format,$(or $(MAKECMDGOALS),build)),)
include $(BUILD)/packages.mk
endif

packages-%:
	@third_party/install.sh $*

# One after the other: apt-get takes no second caller.
packages-lint: packages-test

# ---- Compiling ---------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes
NUMBERS  := -ffp-contract=fast -fno-math-errno -fno-trapping-math -Wno-psabi
COMPILE   = $(CC) -std=c11 -D_GNU_SOURCE -Icore $(WARNINGS) $(NUMBERS) -fPIC -fvisibility=hidden \
            $(CPPFLAGS) $(CFLAGS) -MMD -MP
LIBS      = $(LDFLAGS) $(BLAS_RPATH) $(BLAS_LIBS) $(HDF5_LIBS) -lm -ldl

# Holds the flags of the last build; a change of them makes everything anew.
$(BUILD)/flags: always
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LIBS) $(VERSION)' | cmp -s - $@ || echo '$(COMPILE) $(LIBS) $(VERSION)' > $@

# ---- The core: one shared library --------------------------------------------------------------

# The CPU kernels are compiled once per instruction set; the best one is chosen at run time.
KERNELS     := $(sort $(wildcard core/backend/cpu/kernels/*.c))
BF16        := attention attention_shared factor_table factors make_tiles strip sum_rows tile_product # once more, for AVX512_BF16
NOT_GENERIC := $(addprefix core/backend/cpu/kernels/,make_tiles.c tile_product.c) # OpenBLAS is quicker there
ONEDNN      := core/backend/cpu/onednn/onednn.c
SOURCES     := $(filter-out $(KERNELS) $(ONEDNN),$(sort $(shell find core -name '*.c')))
ISAS        := generic $(if $(findstring x86_64,$(shell $(CC) -dumpmachine 2> /dev/null)),avx2 avx512)
ISA_avx2    := -march=x86-64-v3
ISA_avx512  := -march=x86-64-v4 -mprefer-vector-width=512
ISA_bf16    := $(ISA_avx512) -mavx512bf16

OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o) \
           $(filter-out $(NOT_GENERIC:%.c=$(BUILD)/obj/%.generic.o), \
                        $(foreach isa,$(ISAS),$(KERNELS:%.c=$(BUILD)/obj/%.$(isa).o))) \
           $(if $(filter avx512,$(ISAS)),$(BF16:%=$(BUILD)/obj/core/backend/cpu/kernels/%.bf16.o))
LIBRARY := $(BUILD)/lib/icot/libicot.so
PLUGINS := $(if $(DNNL_LIBS),$(BUILD)/lib/icot/libicot_onednn.so) $(if $(NVCC),$(BUILD)/lib/icot/libicot_cuda.so)
HEADER  := $(BUILD)/share/icot/icot.ffi.h
PROGRAM := $(BUILD)/bin/icot
SHARED  := $(addprefix $(BUILD)/share/icot/,lua datasets recipes)

build: $(LIBRARY) $(PLUGINS) $(HEADER) $(PROGRAM) $(SHARED)

# nodelete: LuaJIT unloads a library before it frees what lies in it, and OpenMP's threads live in it.
$(LIBRARY): $(OBJECTS)
	@mkdir -p $(@D)
	@echo "link     $@"
	$(Q)$(CC) $(CFLAGS) -fopenmp -shared -Wl,-z,nodelete -o $@ $(filter %.o,$^) $(LIBS)

# A library of its own, loaded when it is needed: oneDNN is large, and need not be there.
$(BUILD)/lib/icot/libicot_onednn.so: $(ONEDNN) $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "link     $@"
	$(Q)$(COMPILE) -MT $@ -MF $(BUILD)/onednn.d -shared -Wl,-z,nodelete -o $@ $< $(LDFLAGS) $(DNNL_LIBS)

# Another, for cards of NVIDIA's. nvcc brings its own runtime along; of the driver nothing is needed to build it.
CUDA_SOURCES := $(sort $(wildcard core/backend/cuda/*.cu))
CUDA_OBJECTS := $(CUDA_SOURCES:%=$(BUILD)/obj/%.o)
CUDA_TARGETS := $(foreach arch,$(CUDA_ARCHS),-gencode arch=compute_$(arch),code=sm_$(arch)) \
                -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
CUDA_COMPILE  = $(NVCC) -std=c++17 --extended-lambda -O3 -Icore $(CUDA_TARGETS) $(CUDA_FLAGS) \
                -DICOT_CUDA_OLDEST=$(firstword $(CUDA_ARCHS)) -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra

cuda: $(BUILD)/lib/icot/libicot_cuda.so # the library for NVIDIA's cards alone (CUDA_ARCHS='80 90')

$(BUILD)/lib/icot/libicot_cuda.so: $(CUDA_OBJECTS)
	@mkdir -p $(@D)
	@echo "link     $@"
	$(Q)$(NVCC) $(CUDA_TARGETS) -shared -Xlinker -z,nodelete $(CUDA_RPATH) -o $@ $^ -lcublasLt

$(BUILD)/cuda-flags: always
	@mkdir -p $(@D)
	@echo '$(CUDA_COMPILE)' | cmp -s - $@ || echo '$(CUDA_COMPILE)' > $@

$(BUILD)/obj/%.cu.o: %.cu $(BUILD)/cuda-flags
	@mkdir -p $(@D)
	@echo "compile  $<"
	$(Q)$(CUDA_COMPILE) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "compile  $<"
	$(Q)$(COMPILE) -fopenmp $(BLAS_CFLAGS) $(HDF5_CFLAGS) -DICOT_VERSION='"$(VERSION)"' \
	    -DICOT_ISAS='"$(ISAS)"' -c -o $@ $<

define kernel_rule
$(BUILD)/obj/%.$(1).o: %.c $(BUILD)/flags
	@mkdir -p $$(@D)
	@echo "compile  $$< ($(1))"
	$$(Q)$$(COMPILE) -fopenmp $$(ISA_$(1)) -DCPU_ISA=$(1) -c -o $$@ $$<
endef
$(foreach isa,$(ISAS) bf16,$(eval $(call kernel_rule,$(isa))))

# The declarations of the public header alone, for LuaJIT's ffi.cdef.
$(HEADER): core/icot.h core/icot_text.h $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "extract  $@"
	$(Q)$(CC) -E -P -DICOT_FFI -o $@ $<

# ---- The program -------------------------------------------------------------------------------

# It must not pull in OpenMP: it sets OpenMP's environment before the library is loaded.
$(PROGRAM): lua/launcher.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "link     $@"
	$(Q)$(COMPILE) $(LUAJIT_CFLAGS) -MT $@ -MF $(BUILD)/launcher.d -o $@ $< $(LDFLAGS) $(LUAJIT_LIBS)

# Inside the build tree the Lua files are used in place, so that an edit needs no make.
$(SHARED):
	@mkdir -p $(@D)
	@ln -sfn $(CURDIR)/$(@F) $@

install: build # copies everything to PREFIX (/usr/local), below DESTDIR if that is set
	install -D -m 755 $(PROGRAM) '$(DESTDIR)$(PREFIX)/bin/icot'
	install -D -m 755 -t '$(DESTDIR)$(PREFIX)/lib/icot' $(LIBRARY) $(PLUGINS)
	install -D -m 644 $(HEADER) '$(DESTDIR)$(PREFIX)/share/icot/icot.ffi.h'
	find lua datasets recipes \( -name '*.lua' -o -name '*.ipynb' -o -name '*.md' \) \
	    -exec install -D -m 644 {} '$(DESTDIR)$(PREFIX)/share/icot/{}' \;

BUNDLE = $(BUILD)/icot-$(VERSION)-linux-$(shell uname -m)

bundle: build packages-bundle # a folder and a tarball, under build/, that need no packages, only glibc
	@rm -rf $(BUNDLE) $(BUNDLE).tar.gz
	@$(MAKE) --silent install PREFIX= DESTDIR=$(BUNDLE)
	@CC='$(CC)' third_party/bundle/bundle.sh $(BUNDLE)

# The quick start may be run again and again; what any other recipe has left is not overwritten.
AGAIN = $(if $(filter recipes/quickstart.lua,$(RECIPE)),$(if $(findstring --resume,$(ARGS)),,--force))

run: build # builds, then runs RECIPE (recipes/quickstart.lua, whose results it overwrites) with ARGS
	$(PROGRAM) $(RECIPE) $(AGAIN) $(ARGS)

# ---- Tests and checks --------------------------------------------------------------------------

# Each tests/c/test_NAME.c is a program; the other files there are what they share.
C_TESTS   := $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/c/test_*.c)))
C_SUPPORT := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out tests/c/test_%,$(sort $(wildcard tests/c/*.c))))
$(C_SUPPORT): | packages-test

# Linked against the objects, not the library, so that a test reaches what the library hides.
$(BUILD)/tests/%: tests/c/%.c $(C_SUPPORT) $(OBJECTS) $(BUILD)/flags | packages-test
	@mkdir -p $(@D)
	@echo "link     $@"
	$(Q)$(COMPILE) -fopenmp -Itests/c $(BLAS_CFLAGS) $(HDF5_CFLAGS) -MT $@ -MF $@.d \
	    -o $@ $(filter %.c %.o,$^) $(LIBS) -lcmocka

test: build $(C_TESTS) packages-test # builds, then runs all tests
	@tests/run $(BUILD)

test-reference: build # compares with PyTorch, which it installs under build/ (ARGS=--tiny: without GPT-2 Small)
	@tests/reference/run $(BUILD) $(ARGS)

PYTHON := $(or $(ICOT_PYTHON),/usr/bin/python3)

bundle-check: bundle packages-test # makes the bundle twice, compares, and runs it where there is nothing but glibc
	@$(MAKE) --silent BUILD=$(BUILD)/again bundle > /dev/null
	@ICOT_BUNDLE=$(BUNDLE).tar.gz ICOT_BUNDLE_AGAIN=$(BUILD)/again/$(notdir $(BUNDLE)).tar.gz tests/run $(BUILD) bundle

gpu: bundle tests-built # a bundle with the C tests for a card, under build/gpu, for tests/gpu/check.sh elsewhere
	@tests/gpu/pack.sh $(BUILD) $(BUNDLE)

gpu-check: build tests-built # checks icot on a card of NVIDIA's against the CPU, and measures it (PARTS=)
	@ICOT_PYTHON=$(PYTHON) tests/gpu/check.sh $(BUILD)

gpu-emulated: build tests-built packages-emulator # the card's kernels, compiled for the CPU: slow, but without a card (TESTS=)
	@ICOT_PYTHON=$(PYTHON) tests/gpu/emulator/run $(BUILD) $(TESTS)

torture: build packages-test # kills a training KILLS (200) times, resumes it each time, and compares the bits
	@$(PYTHON) tests/torture/torture.py $(PROGRAM) $(or $(KILLS),200)

follow: build packages-test # reads the run file of a training for SECONDS (300) while it is written
	@$(PYTHON) tests/torture/follow.py $(PROGRAM) $(or $(SECONDS),300)

count: build packages-count # counts the instructions of a small training under valgrind (RECORD=1 keeps the number)
	@CC='$(CC)' tests/bench/count $(BUILD) $(if $(RECORD),record)

bench: build # measures speed and memory beside PyTorch, which it installs (OURS=1: without; QUICK=1; SHAPES= ROUNDS= ARGS=)
	@ICOT_PYTHON=$(PYTHON) tests/bench/run $(BUILD) $(if $(OURS),--ours) $(if $(QUICK),--quick) \
	    $(if $(SHAPES),--shapes '$(SHAPES)') $(if $(ROUNDS),--rounds '$(ROUNDS)') $(ARGS)

SANITIZE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

sanitize: # all tests with the address and undefined-behaviour sanitizers, in build/sanitize
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/sanitize NVCC= CFLAGS='$(SANITIZE)' test

FUZZ := $(SANITIZE) -fsanitize=fuzzer-no-link -Wno-pass-failed # as slow as they are, kernels needn't be quick

fuzz: packages-fuzz # feeds made-up inputs to every parser, or TARGET, for SECONDS (60) or up to INPUTS each
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz NVCC= CC=clang CFLAGS='$(FUZZ)' fuzz-built
	@tests/fuzz/run $(BUILD)/fuzz '$(SECONDS)' '$(INPUTS)' $(TARGET)

FUZZER := $(BUILD)/bin/fuzzer

$(FUZZER): tests/fuzz/fuzzer.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "link     $@"
	$(Q)$(COMPILE) -fsanitize=fuzzer $(LUAJIT_CFLAGS) -MF $@.d -o $@ $< $(LDFLAGS) $(LUAJIT_LIBS)

fuzz-built: $(LIBRARY) $(HEADER) $(FUZZER)

lint: packages-lint packages-test # warnings as errors, luacheck, layout of the C code
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/lint CFLAGS='-O2 -Werror' CUDA_ARCHS=80 \
	    CUDA_FLAGS='-Werror all-warnings' build tests-built
	luacheck --quiet lua datasets recipes tests third_party
	clang-format --dry-run -Werror $(C_FILES)

format: packages-lint # lays out the C code
	clang-format -i $(C_FILES)

C_FILES = $(sort $(shell find core lua tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cpp'))

tests-built: $(C_TESTS)

clean: # removes everything that was built
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d) $(CUDA_OBJECTS:.o=.d) $(C_SUPPORT:.o=.d) $(C_TESTS:=.d) $(BUILD)/launcher.d $(BUILD)/onednn.d

.PHONY: build cuda help install bundle run test test-reference bundle-check gpu gpu-check gpu-emulated torture \
        follow count bench sanitize fuzz fuzz-built lint format tests-built clean always
.DELETE_ON_ERROR:
