#!/bin/sh
# Makes shuttle.h5 from a CSV of the Statlog (Shuttle) data; README.md says where they come from.
#
#   make-shuttle.sh shuttle.csv [OUT.h5]
#
# The CSV has a header, nine integer columns, and the class, numbered from 0, in the last. MPISIFT names the program
# (default: mpisift). Equal CSV files make equal HDF5 files.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: make-shuttle.sh shuttle.csv [OUT.h5]" >&2
  exit 2
fi

exec "${MPISIFT:-mpisift}" convert --test 8700 --seed 1 --chunk-rows 4096 --gzip 9 \
  --attr "title=Statlog (Shuttle)" \
  --attr "source=UCI Machine Learning Repository, https://doi.org/10.24432/C5WS31; donated by J. Catlett, University of Sydney; NASA data" \
  --attr "licence=CC BY 4.0" \
  "${2:-shuttle.h5}" "$1"
