/* Files for tests of what the program makes of bad ones.
 *   hostile make        writes files into the current folder
 *   hostile flip SEED N FROM TO    copies FROM to TO with N bytes changed, by the seed */
#include <Random123/philox.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static hid_t begin(const char *path)
{
  hsize_t rows = 50, chunk = 8;
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate_simple(1, &rows, NULL);
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE), data;
  int labels[50];

  for (int i = 0; i < 50; i++)
    labels[i] = i % 3;
  H5Pset_chunk(properties, 1, &chunk);
  H5Pset_deflate(properties, 1);
  data = H5Dcreate2(file, "y", H5T_STD_U8LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  H5Dwrite(data, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels);
  H5Dclose(data);
  H5Pclose(properties);
  H5Sclose(space);
  return file;
}

static void make_links(void)
{
  hid_t file = begin("circle.h5"), group = H5Gcreate2(file, "a", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

  H5Lcreate_hard(file, "/", group, "root", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file, "/a", group, "self", H5P_DEFAULT, H5P_DEFAULT);
  H5Gclose(group);
  H5Fclose(file);
  file = begin("dangling.h5");
  H5Lcreate_soft("/nowhere", file, "nowhere", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  file = begin("pipe.h5");
  H5Lcreate_external("pipe", "/x", file, "x", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  mkfifo("pipe", 0600);
}

static void make_claims(void)
{
  hsize_t rows = (hsize_t)1 << 60, chunk = 1 << 20, none = 0;
  hid_t file = begin("huge.h5"), space = H5Screate_simple(1, &rows, NULL);
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE), text = H5Tcopy(H5T_C_S1);

  H5Pset_chunk(properties, 1, &chunk);
  H5Dclose(H5Dcreate2(file, "huge", H5T_STD_U8LE, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Pclose(properties);
  H5Sclose(space);
  space = H5Screate_simple(1, &none, NULL);
  H5Dclose(H5Dcreate2(file, "empty", H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Tset_size(text, H5T_VARIABLE);
  H5Dclose(H5Dcreate2(file, "text", text, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Tclose(text);
  H5Sclose(space);
  H5Fclose(file);
}

static int flip(uint32_t seed, unsigned n, const char *from, const char *to)
{
  static unsigned char bytes[1 << 24];
  FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
  size_t size = in ? fread(bytes, 1, sizeof bytes, in) : 0;

  for (unsigned i = 0; i < n && size > 0; i++) {
    philox4x32_ctr_t r = philox4x32((philox4x32_ctr_t){{i}}, (philox4x32_key_t){{seed}});
    bytes[r.v[0] % size] = (unsigned char)(r.v[1] % 3 == 0 ? 0xff : r.v[2]);
  }
  return size > 0 && out && fwrite(bytes, 1, size, out) == size && fclose(out) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
  if (argc == 2 && strcmp(argv[1], "make") == 0) {
    make_links();
    make_claims();
    return 0;
  }
  if (argc == 6 && strcmp(argv[1], "flip") == 0)
    return flip((uint32_t)atoi(argv[2]), (unsigned)atoi(argv[3]), argv[4], argv[5]);
  return 2;
}
