# icot - `make help` lists what can be made.

VERSION := 0.1.0
PREFIX  ?= /usr/local
BUILD   ?= build
PYTHON  ?= python3

all: build

# Installs what is missing from the distribution's packages, then says where BLAS and HDF5 are.
$(BUILD)/packages.mk: third_party/install.sh third_party/packages.txt third_party/configure.sh
	third_party/install.sh build
	mkdir -p $(BUILD)
	third_party/configure.sh > $@.partial
	mv $@.partial $@

ifeq ($(filter help clean format,$(MAKECMDGOALS)),)
include $(BUILD)/packages.mk
endif

CC       ?= cc
OPTIMIZE ?= -O3 -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes
CFLAGS   += -std=c11 -D_GNU_SOURCE $(OPTIMIZE) $(WARNINGS) -fopenmp -fPIC -fvisibility=hidden \
            -ffp-contract=fast -fno-math-errno -Icore -DICOT_VERSION='"$(VERSION)"'
LDLIBS   += -lm -lpthread

# ---- The core: one shared library -------------------------------------------------------------

# The CPU kernels are compiled once per instruction set; the best one is chosen at run time.
KERNELS    := $(wildcard core/backend/cpu/kernels/*.c)
SOURCES    := $(filter-out $(KERNELS),$(shell find core -name '*.c'))
MACHINE    := $(shell $(CC) -dumpmachine)
ISAS       := generic $(if $(findstring x86_64,$(MACHINE)),avx2 avx512)
ISA_generic :=
ISA_avx2    := -march=x86-64-v3
ISA_avx512  := -march=x86-64-v4 -mprefer-vector-width=512

OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o) \
           $(foreach isa,$(ISAS),$(KERNELS:%.c=$(BUILD)/obj/%.$(isa).o))
LIBRARY := $(BUILD)/lib/icot/libicot.so
HEADER  := $(BUILD)/share/icot/icot.ffi.h
PROGRAM := $(BUILD)/bin/icot
SHARED  := $(BUILD)/share/icot/lua

build: $(LIBRARY) $(HEADER) $(PROGRAM) $(SHARED)

$(LIBRARY): $(OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -shared -o $@ $^ $(LDFLAGS) $(BLAS_LIBS) $(HDF5_LIBS) $(LDLIBS)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(if $(findstring backend/cpu,$<),$(BLAS_CFLAGS)) $(if $(findstring core/io,$<),$(HDF5_CFLAGS)) -DICOT_ISAS='"$(ISAS)"' -MMD -c -o $@ $<

define kernel_rule
$(BUILD)/obj/%.$(1).o: %.c
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(ISA_$(1)) -DCPU_ISA=$(1) -MMD -c -o $$@ $$<
endef
$(foreach isa,$(ISAS),$(eval $(call kernel_rule,$(isa))))

-include $(OBJECTS:.o=.d)

# The declarations of the public header alone, for LuaJIT's ffi.cdef.
$(HEADER): core/icot.h
	@mkdir -p $(@D)
	$(CC) -E -P -DICOT_FFI $< -o $@

# ---- The program ------------------------------------------------------------------------------

$(PROGRAM): lua/launcher.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LUAJIT_CFLAGS) -o $@ $< $(LDFLAGS) $(LUAJIT_LIBS) $(LDLIBS)

# Inside the build tree the Lua files are used in place, so that an edit needs no make.
$(SHARED):
	@mkdir -p $(@D)
	ln -sfn $(CURDIR)/lua $@
	ln -sfn $(CURDIR)/datasets $(@D)/datasets
	ln -sfn $(CURDIR)/recipes $(@D)/recipes

clean:
	rm -rf $(BUILD)

.PHONY: all build clean
