/* What every test program shares: a table of CUnit tests, run by all ranks.
 *
 *   static void adds(void) { CU_ASSERT_EQUAL(1 + 1, 2); }
 *   TEST_MAIN("arithmetic", {"adds", adds})
 *
 * All ranks exit with the same status: not 0 if an assertion failed on any of them, if a test made none, or if memory
 * leaked under the address sanitizer. */
#ifndef MPISIFT_TESTING_H
#define MPISIFT_TESTING_H

#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>
#include <mpi.h>
#include <stdio.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() ((void)0)
#define __lsan_enable() ((void)0)
#define __lsan_do_recoverable_leak_check() 0
#endif

typedef struct test_case {
  const char *name;
  void (*run)(void);
} test_case;

static int test_rank; /* in MPI_COMM_WORLD */
static int test_size;

/* MPI keeps memory for the life of the process, partly from plugins that are unloaded again and that no suppression
 * can name: do not count it. */
static inline void test_init(int *argc, char ***argv)
{
  __lsan_disable();
  MPI_Init(argc, argv);
  __lsan_enable();
  MPI_Comm_rank(MPI_COMM_WORLD, &test_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &test_size);
}

/* Look for leaks while the rest of MPI's memory is still reachable, and agree. */
static inline int test_finalize(int failed)
{
  failed |= __lsan_do_recoverable_leak_check();
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_LOR, MPI_COMM_WORLD);
  MPI_Finalize();
  return failed;
}

static inline void test_print_failures(void)
{
  for (const CU_FailureRecord *f = CU_get_failure_list(); f; f = f->pNext)
    fprintf(stderr, "rank %d of %d: %s:%u: %s: %s\n", test_rank, test_size, f->strFileName ? f->strFileName : "",
            f->uiLineNumber, f->pTest ? f->pTest->pName : "", f->strCondition ? f->strCondition : "");
}

static inline int test_run_case(CU_pSuite suite, const test_case *t)
{
  CU_pTest test = CU_add_test(suite, t->name, t->run);

  if (!test || CU_run_test(suite, test) != CUE_SUCCESS) {
    fprintf(stderr, "rank %d of %d: %s: %s\n", test_rank, test_size, t->name, CU_get_error_msg());
    return 1;
  }
  test_print_failures();
  if (CU_get_number_of_asserts() == 0)
    fprintf(stderr, "rank %d of %d: %s: no assertion ran\n", test_rank, test_size, t->name);
  return CU_get_number_of_failures() > 0 || CU_get_number_of_asserts() == 0;
}

static inline int test_main(int argc, char **argv, const char *name, const test_case *cases, size_t n)
{
  CU_pSuite suite = NULL;
  int failed;

  test_init(&argc, &argv);
  failed = CU_initialize_registry() != CUE_SUCCESS || !(suite = CU_add_suite(name, NULL, NULL));
  for (size_t i = 0; suite && i < n; i++)
    failed |= test_run_case(suite, &cases[i]);
  CU_cleanup_registry();
  return test_finalize(failed);
}

#define TEST_MAIN(suite, ...)                                                                                          \
  int main(int argc, char **argv)                                                                                      \
  {                                                                                                                    \
    static const test_case cases[] = {__VA_ARGS__};                                                                    \
                                                                                                                       \
    return test_main(argc, argv, suite, cases, sizeof cases / sizeof cases[0]);                                        \
  }

#endif
