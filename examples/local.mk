# Examples are programs that users copy, so every check builds and runs them.
example_programs = \
	examples/01_train \
	examples/02_wrap_a_stream \
	examples/03_errors \
	examples/04_replicas \
	examples/05_sifter \
	examples/06_tokens \
	examples/07_index_plan
EXTRA_DIST += examples/data

example_cppflags = $(public_cppflags)
example_libs = libmpisift.la $(MPI_LIBS) -lm
examples_01_train_CPPFLAGS = $(example_cppflags)
examples_01_train_LDADD = $(example_libs)
examples_02_wrap_a_stream_CPPFLAGS = $(example_cppflags)
examples_02_wrap_a_stream_LDADD = $(example_libs)
examples_03_errors_CPPFLAGS = $(example_cppflags)
examples_03_errors_LDADD = $(example_libs)
examples_04_replicas_CPPFLAGS = $(example_cppflags)
examples_04_replicas_LDADD = $(example_libs)
examples_05_sifter_CPPFLAGS = $(example_cppflags)
examples_05_sifter_LDADD = $(example_libs)
examples_06_tokens_CPPFLAGS = $(example_cppflags)
examples_06_tokens_LDADD = $(example_libs)
examples_07_index_plan_CPPFLAGS = $(example_cppflags)
examples_07_index_plan_LDADD = $(example_libs)
# One that trains on GPUs.
gpu_examples =
if HAVE_CUBLAS
gpu_examples += examples/08_gpu_train
check_LTLIBRARIES = libmpisift_example.la
libmpisift_example_la_SOURCES = examples/08_gpu_kernels.cu examples/08_gpu_kernels.h
libmpisift_example_la_LIBADD = $(CUDA_LIBS)
examples_08_gpu_train_CPPFLAGS = $(example_cppflags) $(NCCL_CPPFLAGS) $(CUDA_CPPFLAGS) \
	-DSHUTTLE='"$(abs_top_srcdir)/examples/data/shuttle.h5"'
examples_08_gpu_train_LDADD = libmpisift_example.la $(example_libs) $(CUBLAS_LIBS) $(NCCL_LIBS) $(CUDA_LIBS)
endif
EXTRA_DIST += examples/08_gpu_train.c examples/08_gpu_kernels.cu examples/08_gpu_kernels.h
check_PROGRAMS += $(example_programs) $(gpu_examples)
TESTS += $(example_programs) $(gpu_examples)
