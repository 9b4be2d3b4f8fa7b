#!/usr/bin/env python3
"""Compares a loader of mpisift with h5py's usual shuffled loops, on the same files, one process each.

usage: h5py_loop.py READ_LOOP [MEGABYTES]

READ_LOOP is the program tests/bench/read_loop of a build. Files have rows of 3072 bytes (a picture of 32 x 32 in three
colours) in chunks of about 1 MiB, plain and with shuffle and deflate at level 1. h5py reads a shuffled epoch row by row,
as a Dataset of PyTorch does, or batch by batch with sorted indices; both for a few seconds, of which the rate counts.
All is read from the page cache. The ways take turns; rates are medians, and ratios are of the same turn.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import h5py
    import numpy
except ImportError as missing:
    print(f"SKIPPED: the comparison with h5py: {missing}; install python3-h5py", file=sys.stderr)
    sys.exit(77)

ROW, BATCH, TURNS, SECONDS = 3072, 64, 5, 2.0


def make(path, rows, level):
    random = numpy.random.default_rng(1)
    chunk = (2**20 // ROW, ROW)
    options = {"shuffle": True, "compression": "gzip", "compression_opts": level} if level else {}
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (rows, ROW), "uint8", chunks=chunk, **options)
        for first in range(0, rows, 4096):
            n = min(4096, rows - first)
            data[first:first + n] = random.integers(0, 16, (n, ROW), dtype="uint8")


def rows_of(data, order):
    for i in order:
        data[i]
        yield 1


def batches_of(data, order):
    for first in range(0, len(order), BATCH):
        indices = numpy.sort(order[first:first + BATCH])
        data[indices]
        yield len(indices)


def rate_of_h5py(path, way, turn):
    with h5py.File(path) as file:
        data = file["x"]
        order = numpy.random.default_rng(turn).permutation(len(data))
        read, start = 0, time.perf_counter()
        for n in way(data, order):
            read += n
            if time.perf_counter() - start > SECONDS:
                break
        return read / (time.perf_counter() - start)


def rate_of_mpisift(program, path):
    lines = subprocess.run([program, path, str(BATCH), "4"], check=True, capture_output=True, text=True).stdout.split()
    return statistics.median(map(float, lines))


def compare(program, path, what):
    ways = {"h5py row by row": rows_of, "h5py by sorted batches": batches_of}
    rates = {name: [] for name in ["mpisift", *ways]}
    for turn in range(TURNS):
        rates["mpisift"].append(rate_of_mpisift(program, path))
        for name, way in ways.items():
            rates[name].append(rate_of_h5py(path, way, turn))
    for name, own in rates.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(rates["mpisift"], own))
        print(f"{what:9} {name:23} {statistics.median(own):10.0f} rows/s {statistics.median(own) * ROW / 1e6:9.1f} MB/s"
              + ("" if name == "mpisift" else f"   mpisift is {ratio:.1f} times as fast"))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    rows = int(float(sys.argv[2] if len(sys.argv) == 3 else 256) * 1e6 / ROW)
    print(f"{os.cpu_count()} cores; {rows} rows of {ROW} bytes, batches of {BATCH}, medians of {TURNS}; "
          f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}")
    with tempfile.TemporaryDirectory() as folder:
        for level, what in ((0, "plain"), (1, "deflated")):
            path = os.path.join(folder, what + ".h5")
            make(path, rows, level)
            compare(sys.argv[1], path, what)
            os.unlink(path)


main()
