/* Calls before MPI_Init and after MPI_Finalize: an error, not a crash. This program needs a main of its own. */
#include <mpisift/mpisift.h>
#include <stdio.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                  \
      failures++;                                                                                                      \
    }                                                                                                                  \
  } while (0)

static void check_refused(void)
{
  mpisift_team team = {MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  char message[200] = "";
  mpisift_ctx *ctx = NULL;

  CHECK(mpisift_open(&team, NULL, message, sizeof message, &ctx) == MPISIFT_ERR_STATE);
  CHECK(strstr(message, "MPI is not running") != NULL);
  CHECK(ctx == NULL);
}

int main(int argc, char **argv)
{
  mpisift_team team;
  mpisift_ctx *ctx = NULL;

  check_refused();
  MPI_Init(&argc, &argv);
  team = (mpisift_team){MPI_COMM_WORLD, MPI_COMM_NULL, 0};
  CHECK(mpisift_open(&team, NULL, NULL, 0, &ctx) == MPISIFT_OK);
  MPI_Finalize();
  CHECK(mpisift_close(&ctx) == MPISIFT_OK && ctx == NULL);
  check_refused();
  return failures > 0;
}
