# The program sees public headers and its own only, but for its benchmarks (bench*.c), which measure the library's
# inside; tests/layers.sh holds it to that. For their sake it links the inside.
bin_PROGRAMS += mpisift
mpisift_SOURCES = \
	src/tools/arm.c \
	src/tools/arm.h \
	src/tools/bench.c \
	src/tools/bench.h \
	src/tools/bench_decide.c \
	src/tools/bench_exchange.c \
	src/tools/bench_files.c \
	src/tools/bench_files.h \
	src/tools/bench_history.c \
	src/tools/bench_losses.c \
	src/tools/bench_indices.c \
	src/tools/bench_kept.c \
	src/tools/bench_plan.c \
	src/tools/bench_read.c \
	src/tools/bench_read.h \
	src/tools/bench_step.c \
	src/tools/bench_ways.c \
	src/tools/choice.c \
	src/tools/choice.h \
	src/tools/convert.c \
	src/tools/csv.c \
	src/tools/csv.h \
	src/tools/data.c \
	src/tools/data.h \
	src/tools/describe.c \
	src/tools/describe.h \
	src/tools/describe_field.c \
	src/tools/describe_field.h \
	src/tools/describe_files.c \
	src/tools/describe_files.h \
	src/tools/h5.c \
	src/tools/h5.h \
	src/tools/idx.c \
	src/tools/idx.h \
	src/tools/info.c \
	src/tools/info_json.c \
	src/tools/info_json.h \
	src/tools/input.c \
	src/tools/input.h \
	src/tools/json.c \
	src/tools/json.h \
	src/tools/losses.c \
	src/tools/losses.h \
	src/tools/main.c \
	src/tools/mlp.c \
	src/tools/mlp.h \
	src/tools/npy.c \
	src/tools/npy.h \
	src/tools/options.c \
	src/tools/options.h \
	src/tools/progress.c \
	src/tools/progress.h \
	src/tools/results.c \
	src/tools/results.h \
	src/tools/series.c \
	src/tools/series.h \
	src/tools/stream.c \
	src/tools/stream.h \
	src/tools/tool.c \
	src/tools/tool.h \
	src/tools/train.c \
	src/tools/transfer.c \
	src/tools/transfer.h \
	src/tools/watch.c \
	src/tools/watch.h \
	src/tools/writer.c \
	src/tools/writer.h
mpisift_CPPFLAGS = $(public_cppflags) -I$(top_srcdir)/src $(HDF5_CFLAGS) $(OPENBLAS_CFLAGS) $(ZLIB_CFLAGS)
mpisift_LDADD = libmpisift_bare.la libmpisift_core.la $(HDF5_LIBS) $(OPENBLAS_LIBS) $(ZLIB_LIBS) $(MPI_LIBS) -lm

# What bench losses compares the kernels with, for each of their instruction sets.
bare_sources = src/tools/bench_bare.c src/tools/bench_bare.h
noinst_LTLIBRARIES += libmpisift_bare.la
libmpisift_bare_la_SOURCES = $(bare_sources)
libmpisift_bare_la_CPPFLAGS = $(library_cppflags) -DBARE=bare_base -DKERNELS_NAME='"base"'
libmpisift_bare_la_CFLAGS = $(kernel_cflags)
libmpisift_bare_la_LIBADD =
if X86_KERNELS
noinst_LTLIBRARIES += libmpisift_bare2.la libmpisift_bare512.la
libmpisift_bare2_la_SOURCES = $(bare_sources)
libmpisift_bare2_la_CPPFLAGS = $(library_cppflags) -DBARE=bare_avx2 -DKERNELS_NAME='"AVX2"'
libmpisift_bare2_la_CFLAGS = $(kernel_cflags) $(AVX2_CFLAGS)
libmpisift_bare512_la_SOURCES = $(bare_sources)
libmpisift_bare512_la_CPPFLAGS = $(library_cppflags) -DBARE=bare_avx512 -DKERNELS_NAME='"AVX-512"'
libmpisift_bare512_la_CFLAGS = $(kernel_cflags) $(AVX512_CFLAGS)
libmpisift_bare_la_LIBADD += libmpisift_bare2.la libmpisift_bare512.la
endif
