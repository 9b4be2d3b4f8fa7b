# libmpisift_core.la holds all code; libmpisift.la exports only ^mpisift_ from
# it. Test programs and the program mpisift link the former, users and examples
# the latter.
noinst_LTLIBRARIES += libmpisift_core.la
libmpisift_core_la_SOURCES = \
	src/api/agree.c \
	src/api/config.c \
	src/api/context.c \
	src/api/context.h \
	src/api/convert.c \
	src/api/dataset.c \
	src/api/deliver.c \
	src/api/device.h \
	src/api/device_batch.c \
	src/api/device_loader.c \
	src/api/device_report.c \
	src/api/device_round.c \
	src/api/device_sifter.c \
	src/api/device_stage.c \
	src/api/epoch.c \
	src/api/hash.h \
	src/api/index_device.c \
	src/api/index_device.h \
	src/api/index_plan.c \
	src/api/index_reports.c \
	src/api/index_spread.c \
	src/api/indices.c \
	src/api/indices.h \
	src/api/judge.c \
	src/api/loader.c \
	src/api/loader.h \
	src/api/losses.c \
	src/api/next.c \
	src/api/pool.c \
	src/api/planned.c \
	src/api/record.c \
	src/api/round.c \
	src/api/rows.c \
	src/api/sifter.c \
	src/api/source.c \
	src/api/source.h \
	src/api/stage.c \
	src/api/stats.c \
	src/api/tokens.c \
	src/backend/backend.c \
	src/backend/backend.h \
	src/backend/device.h \
	src/backend/cpu/cpu.c \
	src/backend/cpu/kernels_list.c \
	src/backend/cpu/losses.c \
	src/backend/cpu/losses.h \
	src/backend/cpu/tokens.c \
	src/base/clock.h \
	src/base/convert.c \
	src/base/convert.h \
	src/base/error.c \
	src/base/error.h \
	src/base/half.h \
	src/base/memory.c \
	src/base/memory.h \
	src/base/ring.c \
	src/base/ring.h \
	src/base/type.c \
	src/comm/aware.c \
	src/comm/aware.h \
	src/comm/exchange.c \
	src/comm/exchange.h \
	src/comm/nccl.h \
	src/comm/reduce.c \
	src/comm/reduce.h \
	src/comm/route.c \
	src/comm/route.h \
	src/comm/team.c \
	src/comm/team.h \
	src/comm/vote.c \
	src/comm/vote.h \
	src/core/bins.c \
	src/core/bins.h \
	src/core/census.c \
	src/core/census.h \
	src/core/counts.c \
	src/core/counts.h \
	src/core/decide.c \
	src/core/decide.h \
	src/core/history.c \
	src/core/history.h \
	src/core/order.c \
	src/core/order.h \
	src/core/permutation.c \
	src/core/permutation.h \
	src/core/picks.c \
	src/core/picks.h \
	src/core/plan.c \
	src/core/plan.h \
	src/core/policy.c \
	src/core/policy.h \
	src/core/pool.h \
	src/core/random.h \
	src/core/rule_absolute.c \
	src/core/rule_all.c \
	src/core/rule_proportional.c \
	src/core/rule_random.c \
	src/core/rule_relative.c \
	src/core/rule_soft.c \
	src/core/rule_top.c \
	src/core/runs.h \
	src/core/schedule.c \
	src/core/schedule.h \
	src/core/table.c \
	src/core/table.h \
	src/core/walk.c \
	src/core/walk.h \
	src/io/cache.c \
	src/io/cache.h \
	src/io/chunks.c \
	src/io/chunks.h \
	src/io/dataset.c \
	src/io/dataset.h \
	src/io/decode.c \
	src/io/decode.h \
	src/io/fetch.c \
	src/io/fetch.h \
	src/io/files.c \
	src/io/files.h \
	src/io/gather.c \
	src/io/h5.c \
	src/io/h5.h \
	src/io/inflate.c \
	src/io/inflate.h \
	src/io/notes.c \
	src/io/notes.h \
	src/io/outside.c \
	src/io/outside.h \
	src/io/readers.c \
	src/io/readers.h \
	src/io/route.c \
	src/io/route.h \
	src/io/rows.c \
	src/io/rows.h \
	src/io/storage.c \
	src/io/storage.h
libmpisift_core_la_CPPFLAGS = $(library_cppflags)
libmpisift_core_la_CFLAGS = $(AM_CFLAGS) $(VECTOR_CFLAGS)
libmpisift_core_la_LIBADD = libmpisift_kernels.la $(HDF5_LIBS) $(ZLIB_LIBS) $(LIBDEFLATE_LIBS) $(LZ4_LIBS) \
	$(ZSTD_LIBS) $(MPI_LIBS) -lm

# The loss kernels, once for each instruction set.
kernel_sources = \
	src/backend/cpu/columns.h \
	src/backend/cpu/finish.h \
	src/backend/cpu/kernels.c \
	src/backend/cpu/kernels.h \
	src/backend/cpu/load.h \
	src/backend/cpu/rows.h \
	src/backend/cpu/simd.h \
	src/backend/cpu/softmax.h \
	src/backend/cpu/target.h
kernel_cflags = $(AM_CFLAGS) -fno-math-errno
noinst_LTLIBRARIES += libmpisift_kernels.la
libmpisift_kernels_la_SOURCES = $(kernel_sources)
libmpisift_kernels_la_CPPFLAGS = $(library_cppflags) -DKERNELS=msift_kernels_base -DKERNELS_NAME='"base"'
libmpisift_kernels_la_CFLAGS = $(kernel_cflags)
libmpisift_kernels_la_LIBADD =
if X86_KERNELS
noinst_LTLIBRARIES += libmpisift_avx2.la libmpisift_avx512.la
libmpisift_avx2_la_SOURCES = $(kernel_sources)
libmpisift_avx2_la_CPPFLAGS = $(library_cppflags) -DKERNELS=msift_kernels_avx2 -DKERNELS_NAME='"AVX2"'
libmpisift_avx2_la_CFLAGS = $(kernel_cflags) $(AVX2_CFLAGS)
libmpisift_avx512_la_SOURCES = $(kernel_sources)
libmpisift_avx512_la_CPPFLAGS = $(library_cppflags) -DKERNELS=msift_kernels_avx512 -DKERNELS_NAME='"AVX-512"'
libmpisift_avx512_la_CFLAGS = $(kernel_cflags) $(AVX512_CFLAGS)
libmpisift_kernels_la_LIBADD += libmpisift_avx2.la libmpisift_avx512.la
endif

cuda_sources = \
	src/backend/cuda/pinned.c
kernel_launchers = \
	src/backend/cuda/compact.cu \
	src/backend/cuda/copy.cuh \
	src/backend/cuda/decide.c \
	src/backend/cuda/decide.cu \
	src/backend/cuda/decide.h \
	src/backend/cuda/device.c \
	src/backend/cuda/device.h \
	src/backend/cuda/kernels.h \
	src/backend/cuda/load.cuh \
	src/backend/cuda/losses.c \
	src/backend/cuda/losses.cu \
	src/backend/cuda/mix.cuh \
	src/backend/cuda/records.c \
	src/backend/cuda/records.cu \
	src/backend/cuda/records.h \
	src/backend/cuda/tally.cuh \
	src/backend/cuda/tokens.cu
if HAVE_CUDA
libmpisift_core_la_SOURCES += $(cuda_sources)
libmpisift_core_la_LIBADD += $(NCCL_LIBS) $(CUDA_LIBS)
else
EXTRA_DIST += $(cuda_sources)
endif
if HAVE_NCCL
libmpisift_core_la_SOURCES += src/comm/nccl.c
EXTRA_DIST += src/comm/without_nccl.c
else
libmpisift_core_la_SOURCES += src/comm/without_nccl.c
EXTRA_DIST += src/comm/nccl.c
endif
if HAVE_NVCC
libmpisift_core_la_SOURCES += $(kernel_launchers)
else
EXTRA_DIST += $(kernel_launchers)
endif

# CUDA sources see only headers of their own folder: no MPI, HDF5 or config.h.
SUFFIXES = .cu
AM_V_NVCC = $(am__v_NVCC_@AM_V@)
am__v_NVCC_ = $(am__v_NVCC_@AM_DEFAULT_V@)
am__v_NVCC_0 = @echo "  NVCC    " $@;
am__v_NVCC_1 =
.cu.lo:
	@$(MKDIR_P) $(@D)
	$(AM_V_NVCC)$(LIBTOOL) $(AM_V_lt) --tag=CC $(LIBTOOLFLAGS) --mode=compile \
	  $(SHELL) $(top_srcdir)/scripts/nvcc-libtool $(NVCC) $(NVCC_GENCODE) $(NVCCFLAGS) $(CPPFLAGS) -I$(top_srcdir)/src -c -o $@ $<
src/backend/cuda/losses.lo src/backend/cuda/tokens.lo: src/backend/cuda/kernels.h src/backend/cuda/load.cuh
src/backend/cuda/compact.lo: src/backend/cuda/decide.h
src/backend/cuda/decide.lo: src/backend/cuda/decide.h src/backend/cuda/kernels.h src/backend/cuda/load.cuh src/backend/cuda/mix.cuh \
	src/backend/cuda/tally.cuh
src/backend/cuda/records.lo: src/backend/cuda/copy.cuh src/backend/cuda/kernels.h src/backend/cuda/load.cuh src/backend/cuda/mix.cuh \
	src/backend/cuda/records.h

lib_LTLIBRARIES += libmpisift.la
libmpisift_la_SOURCES =
libmpisift_la_LIBADD = libmpisift_core.la
libmpisift_la_LDFLAGS = $(AM_LDFLAGS) -version-info $(MPISIFT_SO_VERSION) \
	-export-symbols-regex '^mpisift_' -no-undefined
