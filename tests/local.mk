# Programs in TESTS run under MPI at each rank count of NP (see run-mpi.sh);
# scripts run once and speak TAP themselves. Try:
#   make check NP="1 2 8" MPIEXEC=srun
#   make check TESTS=tests/mpi/test_loader NP=4
#   make check WRAP="valgrind -q --error-exitcode=9"
#   make check-gpu GPU_NP="1 2 8"
NP = 1 2 3 4 8
GPU_NP = 1 2 4
TIMEOUT = 120
AM_TESTS_ENVIRONMENT = . $(top_srcdir)/scripts/mpi-env.sh; \
	MPISIFT_NP='$(NP)' MPISIFT_GPU_NP='$(GPU_NP)' MPISIFT_TIMEOUT='$(TIMEOUT)' MPISIFT_WRAP='$(WRAP)' MPISIFT_YIELD='$(yield)' \
	MPISIFT='$(abs_top_builddir)/mpisift' MPIEXEC='$(MPIEXEC)' LIBTOOL='$(abs_top_builddir)/libtool' \
	CC='$(CC)' NM='$(NM)' MPI_CFLAGS='$(MPI_CFLAGS)' \
	ASAN_OPTIONS="$${ASAN_OPTIONS:-fast_unwind_on_malloc=0}" \
	LSAN_OPTIONS="suppressions=$(abs_top_srcdir)/tests/lsan.supp:print_suppressions=0:leak_check_at_exit=0" \
	VALGRIND_OPTS="--suppressions=$(abs_top_srcdir)/tests/valgrind.supp $$VALGRIND_OPTS"; \
	export MPISIFT_NP MPISIFT_GPU_NP MPISIFT_TIMEOUT MPISIFT_WRAP MPISIFT_YIELD MPISIFT MPIEXEC LIBTOOL CC NM MPI_CFLAGS \
	ASAN_OPTIONS LSAN_OPTIONS VALGRIND_OPTS;
CLEANFILES = tests/gpu/check-gpu.log
# Other MPIs than Open MPI spin where they wait (see yield.c).
if !OPEN_MPI
yield = $(abs_top_builddir)/tests/yield.so
check_DATA = $(yield)
$(yield): tests/yield.c
	$(AM_V_GEN)$(MKDIR_P) tests && $(CC) $(CFLAGS) $(MPI_CFLAGS) -shared -fPIC -o $@ $(srcdir)/tests/yield.c
CLEANFILES += $(yield)
endif
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = $(SHELL)
LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/run-mpi.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh

# A program is built from the file of its name and links the library's inside.
LDADD = libmpisift_core.la $(CUNIT_LIBS) $(HDF5_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS) $(MPI_LIBS) -lm
unit_tests = \
	tests/unit/test_acceptance \
	tests/unit/test_base \
	tests/unit/test_bins \
	tests/unit/test_convert \
	tests/unit/test_history \
	tests/unit/test_losses \
	tests/unit/test_modifiers \
	tests/unit/test_order \
	tests/unit/test_permutation \
	tests/unit/test_picks \
	tests/unit/test_places \
	tests/unit/test_plan \
	tests/unit/test_policy \
	tests/unit/test_scale \
	tests/unit/test_table \
	tests/unit/test_tokens
mpi_tests = \
	tests/mpi/test_batches \
	tests/mpi/test_conversion \
	tests/mpi/test_corruption \
	tests/mpi/test_dataset \
	tests/mpi/test_faults \
	tests/mpi/test_files \
	tests/mpi/test_hostile \
	tests/mpi/test_index_faults \
	tests/mpi/test_index_traffic \
	tests/mpi/test_indices \
	tests/mpi/test_input \
	tests/mpi/test_large \
	tests/mpi/test_metadata \
	tests/mpi/test_outside \
	tests/mpi/test_packed \
	tests/mpi/test_parts \
	tests/mpi/test_planned \
	tests/mpi/test_pool \
	tests/mpi/test_readers \
	tests/mpi/test_reading \
	tests/mpi/test_route \
	tests/mpi/test_rows \
	tests/mpi/test_scores \
	tests/mpi/test_sifter \
	tests/mpi/test_sifter_faults \
	tests/mpi/test_streams \
	tests/mpi/test_team
scale_programs = \
	tests/scale/batches \
	tests/scale/saving
gpu_tests = \
	tests/gpu/test_device \
	tests/gpu/test_device_calls \
	tests/gpu/test_device_decide \
	tests/gpu/test_device_faults \
	tests/gpu/test_device_loader \
	tests/gpu/test_device_losses \
	tests/gpu/test_device_reports \
	tests/gpu/test_device_sifter \
	tests/gpu/test_device_records \
	tests/gpu/test_nccl \
	tests/gpu/test_nccl_loader \
	tests/gpu/test_pinned
# A program for tests/digest.sh.
digest = tests/mpi/digest
# Programs for tests/tools/convert.sh and hostile.sh.
tool_helpers = \
	tests/tools/hostile \
	tests/tools/peak
tool_tests = \
	tests/tools/train.sh \
	tests/tools/bench.sh \
	tests/tools/hostile.sh \
	tests/tools/convert.sh \
	tests/tools/info.sh \
	tests/digest.sh
source_tests = \
	tests/format.sh \
	tests/headers.sh \
	tests/layers.sh \
	tests/messages.sh \
	tests/symbols.sh
test_helpers = \
	tests/gpu/on_device.h \
	tests/gpu/device.h \
	tests/gpu/aware_mpi.h \
	tests/gpu/faulty_nccl.h \
	tests/mpi/h5_files.h \
	tests/mpi/indexing.h \
	tests/mpi/loading.h \
	tests/mpi/part_files.h \
	tests/mpi/pushing.h \
	tests/mpi/row_files.h \
	tests/testing.h \
	tests/tools/tap.sh \
	tests/unit/draw.h \
	tests/unit/exact_losses.h \
	tests/unit/fleet.h \
	tests/unit/sifter.h

# The longest come first, so that none runs alone in the end.
check_PROGRAMS += $(scale_programs) $(tool_helpers) tests/bench/read_loop tests/gpu/bench_device
TESTS += $(tool_tests) $(source_tests) tests/scale/saving
if HAVE_CUNIT
check_PROGRAMS += $(unit_tests) $(mpi_tests) $(gpu_tests) $(digest)
TESTS += $(mpi_tests) $(gpu_tests) $(unit_tests)
endif
EXTRA_DIST += $(tool_tests) $(source_tests) $(test_helpers) tests/scale/cluster.xml tests/scale/smpi.sh tests/run-mpi.sh \
	tests/installcheck.sh tests/lsan.supp tests/valgrind.supp tests/yield.c

# On a machine with GPUs.
EXTRA_DIST += tests/gpu/check.sh
if HAVE_CUNIT
check-gpu: $(gpu_tests) $(gpu_examples)
	@+MAKE='$(MAKE)' NVCC='$(NVCC)' $(SHELL) $(top_srcdir)/tests/gpu/check.sh $(gpu_tests) $(gpu_examples)
else
check-gpu:
	@echo "this build has no tests: install CUnit and configure again" >&2; exit 1
endif
.PHONY: check-gpu

# Reading compared with h5py, which PYTHON must have.
PYTHON = python3
h5py-loop: tests/bench/read_loop
	. $(top_srcdir)/scripts/mpi-env.sh; $(PYTHON) $(top_srcdir)/tests/bench/h5py_loop.py ./tests/bench/read_loop
.PHONY: h5py-loop
EXTRA_DIST += tests/bench/h5py_loop.py

# Fuzzing, in a build with --enable-fuzz: make fuzz FUZZ_SECONDS=3600
FUZZ_SECONDS = 60
fuzz_programs = \
	tests/fuzz/fuzz_convert \
	tests/fuzz/fuzz_dataset \
	tests/fuzz/fuzz_rows
if FUZZ
EXTRA_PROGRAMS = $(fuzz_programs)
fuzz_ldflags = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
fuzz_cppflags = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_fuzz_fuzz_convert_SOURCES = tests/fuzz/fuzz_convert.c src/tools/csv.c src/tools/h5.c src/tools/idx.c \
	src/tools/input.c src/tools/npy.c src/tools/series.c src/tools/stream.c src/tools/tool.c
tests_fuzz_fuzz_convert_CPPFLAGS = $(fuzz_cppflags)
tests_fuzz_fuzz_convert_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_convert_LDADD = $(LDADD) $(ZLIB_LIBS)
tests_fuzz_fuzz_dataset_CPPFLAGS = $(fuzz_cppflags)
tests_fuzz_fuzz_dataset_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_rows_CPPFLAGS = $(fuzz_cppflags)
tests_fuzz_fuzz_rows_LDFLAGS = $(fuzz_ldflags)
fuzz-programs: $(fuzz_programs)
fuzz: $(fuzz_programs)
	. $(top_srcdir)/scripts/mpi-env.sh; $(SHELL) $(top_srcdir)/tests/fuzz/run.sh $(FUZZ_SECONDS) $(fuzz_programs)
else
fuzz:
	@echo "this build has no fuzz targets: configure one with OMPI_CC=clang and --enable-fuzz" >&2; exit 1
endif
.PHONY: fuzz fuzz-programs
EXTRA_DIST += $(fuzz_programs:=.c) tests/fuzz/fuzz.h tests/fuzz/run.sh

installcheck-local:
	CC='$(CC)' MPIEXEC='$(MPIEXEC)' PKG_CONFIG='$(PKG_CONFIG)' \
	PKG_CONFIG_PATH='$(DESTDIR)$(pkgconfigdir)':"$$PKG_CONFIG_PATH" \
	$(SHELL) $(srcdir)/tests/installcheck.sh $(srcdir)/examples/01_train.c
