#!/bin/sh
# mpisift convert: what it writes, against values computed here, and what it refuses.
. "$(dirname "$0")/tap.sh"

# 1000 rows: an increasing id, two numbers with fractions, and a label from 0 to 4.
awk 'BEGIN { print "id,\"a \"\"b\"\"\",c,label"
  for (i = 0; i < 1000; i++) print i "," (i * 37 % 101) / 4 "," (-i * 0.5) "," (i * i) % 5 }' >rows.csv
sed 1d rows.csv >plain.csv

if command -v h5dump >/dev/null; then
  have_h5dump=yes
else
  have_h5dump=
fi

# same_values NAME FILE FIELD NUMBERS: the field holds these numbers.
same_values() {
  if [ "$have_h5dump" ]; then
    same "$1" "$(echo "$4" | tr ' ' '\n')" "$(values "$2" "$3")"
  else
    skip "$1" "no h5dump"
  fi
}

describes() {
  "$MPISIFT" info "$2" >out 2>err && grep -q "$3" out
  described=$?
  cat out >>err
  result $described "$1"
}

# --- CSV

works "CSV with a header" "$MPISIFT" convert rows.h5 rows.csv
same "the summary line" "wrote rows.h5: / 1000 rows (x, y), $(size rows.h5) bytes" "$(cat out)"
describes "x is float32 [3]" rows.h5 'x: float32 \[3\], chunked \[1000, 3\], shuffle, deflate 4'
describes "y is uint8" rows.h5 'y: uint8, '
same_values "x holds the columns but the label" rows.h5 /x "$(cut -d, -f1-3 plain.csv | tr , '\n')"
same_values "y holds the label" rows.h5 /y "$(cut -d, -f4 plain.csv)"
same "class counts" "$(awk -F, '{ n[$4]++ } END { for (k in n) print k, n[k] }' plain.csv | sort)" \
  "$("$MPISIFT" info rows.h5 | awk '$4 == "%" { print $1, $2 }' | sort)"
same "no temporary file is left" "" "$(ls | grep tmp)"

sleep 1
works "the same again" "$MPISIFT" convert again.h5 rows.csv
works "equal inputs make equal files" cmp rows.h5 again.h5
works "without header" "$MPISIFT" convert again.h5 plain.csv --force
works "is the same" cmp rows.h5 again.h5
gzip -c rows.csv >rows.csv.gz
works "gzipped" "$MPISIFT" convert again.h5 rows.csv.gz --force
works "is the same" cmp rows.h5 again.h5
{
  printf '\357\273\277'
  sed 's/,/;/g; s/^\([0-9]*\);/"\1"; /; s/$/\r/' rows.csv
  printf '\r\n\n'
} >odd.csv
works "byte order mark, quotes, blanks, semicolons, CRLF, blank lines at the end" \
  "$MPISIFT" convert --delimiter ';' --force again.h5 odd.csv
works "is the same" cmp rows.h5 again.h5
tr , '\t' <rows.csv >rows.tsv
works "tabs" "$MPISIFT" convert --delimiter tab --force again.h5 rows.tsv
works "is the same" cmp rows.h5 again.h5

awk -F, '{ print $4 "," $1 "," $2 "," $3 }' rows.csv >first.csv
works "label by name" "$MPISIFT" convert --label label --force again.h5 first.csv
works "is the same" cmp rows.h5 again.h5
works "label by number" "$MPISIFT" convert --label 1 --force again.h5 first.csv
works "is the same" cmp rows.h5 again.h5
printf '1,2,0\n3,4,1\n' >numbers.csv
works "a header of numbers, on request" "$MPISIFT" convert --header yes numbers.h5 numbers.csv
same_values "is not a row" numbers.h5 /x "3 4"
works "all lines are rows, on request" "$MPISIFT" convert --header no --force numbers.h5 numbers.csv
same_values "is so" numbers.h5 /x "1 2 3 4"
printf '1,-1\n2,70000\n3,2e0\n' >wide.csv
works "labels beyond a byte" "$MPISIFT" convert wide.h5 wide.csv
describes "are int32" wide.h5 'y: int32, '
same_values "are these" wide.h5 /y "-1 70000 2"

# --- Split

works "split" "$MPISIFT" convert --test 150 split.h5 rows.csv
describes "the exact number of rows in /test" split.h5 '^/test: 150 rows'
describes "the others in /train" split.h5 '^/train: 850 rows'
works "the same seed" "$MPISIFT" convert --test 150 --seed 1 again.h5 rows.csv --force
works "is the same" cmp split.h5 again.h5
works "another seed" "$MPISIFT" convert --test 150 --seed 2 other.h5 rows.csv
if [ "$have_h5dump" ]; then
  values split.h5 /test/x | sed -n '1~3p' >test.ids
  values split.h5 /train/x | sed -n '1~3p' >train.ids
  values other.h5 /test/x | sed -n '1~3p' >other.ids
  works "no row is lost or doubled" sh -c 'seq 0 999 >all && sort -n test.ids train.ids | cmp - all'
  works "rows keep their order" sh -c 'sort -nc test.ids && sort -nc train.ids'
  same "another seed chooses other rows" 1 "$(cmp -s test.ids other.ids; echo $?)"
  same "labels stay with their rows" "$(awk '{ print ($1 * $1) % 5 }' test.ids)" "$(values split.h5 /test/y)"
  same "the choice is spread: mean id" yes "$(awk '{ s += $1 } END { m = s / NR; print (m > 430 && m < 570) ? "yes" : m }' test.ids)"
else
  skip "split values" "no h5dump"
fi

works "three groups" "$MPISIFT" convert --test 150 --holdout 200 three.h5 rows.csv
same "the summary line" \
  "wrote three.h5: /train 650 rows (x, y), /test 150 rows (x, y), /holdout 200 rows (x, y), $(size three.h5) bytes" "$(cat out)"
describes "the exact number of rows in /holdout" three.h5 '^/holdout: 200 rows'
works "a holdout alone" "$MPISIFT" convert --holdout 200 --chunk-rows 100 alone.h5 rows.csv
describes "leaves the others in /train" alone.h5 '^/train: 800 rows'
"$MPISIFT" info alone.h5 /test >out 2>err
same "makes no /test" 1 $?
if [ "$have_h5dump" ]; then
  for part in train test holdout; do
    values three.h5 /$part/x | sed -n '1~3p' >$part.ids
  done
  works "no row of three groups is lost or doubled" sh -c 'sort -n test.ids train.ids holdout.ids | cmp - all'
  works "rows of three groups keep their order" sh -c 'sort -nc test.ids && sort -nc train.ids && sort -nc holdout.ids'
  same "labels stay with their rows in /holdout" "$(awk '{ print ($1 * $1) % 5 }' holdout.ids)" "$(values three.h5 /holdout/y)"
  same "the holdout is spread: mean id" yes \
    "$(awk '{ s += $1 } END { m = s / NR; print (m > 430 && m < 570) ? "yes" : m }' holdout.ids)"
else
  skip "values of three groups" "no h5dump"
fi

# --- NumPy

npy ids.npy '<i4' '5,' 00 00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 04 00 00 00
npy bytes.npy '|u1' '5, 2' 00 01 02 03 04 05 06 07 08 ff
works "fields of a group, split together" "$MPISIFT" convert --test 2 arrays.h5 x=bytes.npy id=ids.npy
if [ "$have_h5dump" ]; then
  same "rows stay together" "$(values arrays.h5 /test/id | awk '{ print 2 * $1; print $1 == 4 ? 255 : 2 * $1 + 1 }')" \
    "$(values arrays.h5 /test/x)"
else
  skip "rows stay together" "no h5dump"
fi
# check_npy DESCR HEX NUMBER TYPE
check_npy() {
  # shellcheck disable=SC2086
  npy one.npy "$1" '1,' $2
  works "NumPy $1" "$MPISIFT" convert --force one.h5 deep/er/v=one.npy
  describes "is $4" one.h5 "v: $4, "
  same_values "is $3" one.h5 /deep/er/v "$3"
}
check_npy '|i1' 'fe' -2 int8
check_npy '|u1' 'fe' 254 uint8
check_npy '<i2' 'fe ff' -2 int16
check_npy '>i2' 'ff fe' -2 int16
check_npy '<u2' 'fe ff' 65534 uint16
check_npy '>i4' 'ff ff ff fe' -2 int32
check_npy '<u4' 'fe ff ff ff' 4294967294 uint32
check_npy '>i8' 'ff ff ff ff ff ff ff fe' -2 int64
check_npy '<u8' '02 00 00 00 00 00 00 00' 2 uint64
check_npy '<f2' '00 c1' -2.5 float16
check_npy '>f2' 'c1 00' -2.5 float16
check_npy '<f4' '00 00 20 c0' -2.5 float32
check_npy '>f4' 'c0 20 00 00' -2.5 float32
check_npy '<f8' '00 00 00 00 00 00 04 c0' -2.5 float64
check_npy '>f8' 'c0 04 00 00 00 00 00 00' -2.5 float64
{
  bytes 93
  printf NUMPY
  bytes 02 00 3c 00 00 00
  printf '%-60s' "{'descr':'|u1','fortran_order':False,'shape':(2,1,3)}"
  bytes 01 02 03 04 05 06
} >two.npy
works "NumPy version 2" "$MPISIFT" convert two.h5 v=two.npy
describes "has its shape" two.h5 'v: uint8 \[1, 3\]'
same_values "and its values" two.h5 /v "1 2 3 4 5 6"

# --- IDX

{
  bytes 00 00 08 03 00 00 00 03 00 00 00 02 00 00 00 02
  bytes 00 01 02 03 04 05 06 07 08 09 0a ff
} >images.idx
bytes 00 00 08 01 00 00 00 03 07 02 07 >labels.idx
gzip -c images.idx >images.gz
gzip -c labels.idx >labels.gz
works "IDX, gzipped or not, into groups" \
  "$MPISIFT" convert mnist.h5 train/x=images.gz train/y=labels.gz test/x=images.idx test/y=labels.idx
same "the summary line" "wrote mnist.h5: /train 3 rows (x, y), /test 3 rows (x, y), $(size mnist.h5) bytes" \
  "$(cat out)"
describes "has its shape" mnist.h5 'x: uint8 \[2, 2\]'
same_values "images" mnist.h5 /train/x "0 1 2 3 4 5 6 7 8 9 10 255"
same_values "images of the other group" mnist.h5 /test/x "0 1 2 3 4 5 6 7 8 9 10 255"
same_values "labels" mnist.h5 /train/y "7 2 7"
check_idx() {
  # shellcheck disable=SC2086
  bytes 00 00 $1 01 00 00 00 01 $2 >one.idx
  works "IDX type $1" "$MPISIFT" convert --force one.h5 v=one.idx
  describes "is $4" one.h5 "v: $4, "
  same_values "is $3" one.h5 /v "$3"
}
check_idx 09 'fe' -2 int8
check_idx 0b 'ff fe' -2 int16
check_idx 0c 'ff ff ff fe' -2 int32
check_idx 0d 'c0 20 00 00' -2.5 float32
check_idx 0e 'c0 04 00 00 00 00 00 00' -2.5 float64
works "CSV into groups" "$MPISIFT" convert groups.h5 train/=rows.csv test/=numbers.csv
describes "both are there" groups.h5 '^/test: 2 rows'

# --- Storage

works "chunk rows, no filters, attributes" "$MPISIFT" convert --gzip 0 --chunk-rows 128 --attr 'source=made = here' \
  --attr licence=none stored.h5 rows.csv
describes "chunks of 128 rows without filters" stored.h5 'x: float32 \[3\], chunked \[128, 3\], [0-9]* of 12000 bytes'
describes "attribute" stored.h5 '@source: made = here'
describes "second attribute" stored.h5 '@licence: none'
same_values "the last chunk is whole" stored.h5 /y "$(cut -d, -f4 plain.csv)"
awk 'BEGIN { for (i = 0; i < 3000; i++) { s = i % 7; for (j = 0; j < 100; j++) s = s "," (i + j) % 50; print s } }' >big.csv
works "fields above 1 MiB" "$MPISIFT" convert --label 1 big.h5 big.csv
describes "have chunks of about 1 MiB" big.h5 'x: float32 \[100\], chunked \[2621, 100\]'

# --- What is refused; nothing is left behind

no="$MPISIFT convert no.h5"
refuses 2 "no output file given" "$MPISIFT" convert
refuses 2 "no input given" $no
refuses 2 "unknown option '--nosuch'; try 'mpisift convert --help'" $no rows.csv --nosuch
refuses 2 "option '--test' needs a value" $no rows.csv --test
refuses 2 "test 'many' is not an integer" $no rows.csv --test many
refuses 2 "test '0' is not an integer from 1" $no rows.csv --test 0
refuses 2 "gzip '10' is not an integer from 0 to 9" $no rows.csv --gzip 10
refuses 2 "chunk-rows '0' is not an integer" $no rows.csv --chunk-rows 0
refuses 2 "header 'maybe' is not yes, no or auto" $no rows.csv --header maybe
refuses 2 "delimiter '::' is not one character" $no rows.csv --delimiter ::
refuses 2 "attr 'source' is not NAME=TEXT" $no rows.csv --attr source
refuses 2 "label is for CSV input, but there is none" $no y=labels.idx --label 1
cp rows.h5 kept.h5
refuses 1 "'rows.h5' exists; choose another name, or replace it with --force" "$MPISIFT" convert rows.h5 rows.csv
refuses 1 "line 2 has 1 columns" sh -c 'printf "1,2\\n3\\n" >bad.csv; "$1" convert --force rows.h5 bad.csv' sh "$MPISIFT"
works "the file that was there stays" cmp rows.h5 kept.h5
mkdir folder
refuses 1 "'folder' exists and is not a regular file" "$MPISIFT" convert --force folder rows.csv
refuses 1 "cannot create 'nowhere/no.h5" "$MPISIFT" convert nowhere/no.h5 rows.csv
refuses 1 "cannot open 'missing.csv': No such file" $no missing.csv
refuses 1 "'folder' is a directory" $no folder
mkfifo pipe
refuses 1 "'pipe' is a pipe or device" $no pipe
refuses 1 "'=rows.csv' and 'rows.csv' give the same field" $no =rows.csv rows.csv
refuses 1 "'x=ids.npy' has 5 rows, but 'y=labels.idx' of the same group '/' has 3" $no x=ids.npy y=labels.idx
refuses 1 "is not \[GROUP/\]FIELD" $no a//x=ids.npy
refuses 1 "'ids.npy' holds one field, whose name is needed" $no ids.npy
refuses 1 "'rows.csv' is neither an IDX nor a NumPy file" $no x=rows.csv
refuses 1 "test splits inputs without a group" $no train/x=ids.npy --test 2
refuses 1 "holdout splits inputs without a group" $no train/x=ids.npy --holdout 2
refuses 1 "test 1000 leaves nothing to train on: 'rows.csv' has 1000 rows" $no rows.csv --test 1000
refuses 1 "holdout 1000 leaves nothing to train on" $no rows.csv --holdout 1000
refuses 1 "test 900 and --holdout 100 leave nothing to train on" $no rows.csv --test 900 --holdout 100
refuses 2 "holdout '-1' is not an integer from 1" $no rows.csv --holdout -1
refuses 1 "choose a smaller --chunk-rows" sh -c "bytes='\\000\\000\\010\\002\\000\\000\\010\\001\\000\\010\\000\\000'
  printf \"\$bytes\" >large.idx; \"\$1\" convert no.h5 x=large.idx --chunk-rows 2049" sh "$MPISIFT"

# refuses_csv PATTERN TEXT [OPTION...]
refuses_csv() {
  pattern=$1
  # shellcheck disable=SC2059
  printf "$2" >bad.csv
  shift 2
  refuses 1 "$pattern" $no bad.csv "$@"
}
refuses_csv "'bad.csv' is empty" ''
refuses_csv "'bad.csv' is empty" '\n\n'
refuses_csv "'bad.csv' has a header but no rows" 'a,b\n'
refuses_csv "one column only, .* is ',' its delimiter" 'a;b\n1;2\n'
refuses_csv "line 3 has 2 columns, but line 1 has 3" '1,2,3\n4,5,6\n7,8\n'
refuses_csv "line 2 has 4 columns, but line 1 has 3" '1,2,3\n4,5,6,7\n'
refuses_csv "line 2 is empty, but data follow in line 3" '1,2\n\n3,4\n'
refuses_csv "line 3, column 2 (b): '' is a missing value" 'a,b,y\n1,2,0\n3,,1\n'
refuses_csv "line 2, column 1: 'NaN' is not a number" '1,2,0\nNaN,3,1\n'
refuses_csv "line 2, column 1: 'inf' is not a number" '1,2,0\ninf,3,1\n'
refuses_csv "line 2, column 2: '0x10' is not a number" '1,2,0\n1,0x10,1\n'
refuses_csv "line 2, column 2: '1.2.3' is not a number" '1,2,0\n1,1.2.3,1\n'
refuses_csv "line 2, column 2: '1e39' is outside the range of float32" '1,2,0\n1,1e39,1\n'
refuses_csv "line 2, column 3 (y): '1.5' is not a 32-bit integer" 'a,b,y\n1,2,1.5\n'
refuses_csv "line 1, column 2: '3000000000' is not a 32-bit integer" '1,3000000000\n'
refuses_csv "line 2, column 2 (y): 'cat' is not a number" 'a,y\n1,cat\n'
refuses_csv "line 2, column 2 (y): '' is a missing value" 'a,y\n1,\n'
refuses_csv "line 2, column 2: a quote is not closed" '1,2\n1,"2\n'
refuses_csv "line 1, column 1: a quote is not closed or not at the cell's end" '"1"x,2\n'
refuses_csv "line 2 holds a NUL byte" '1,2\n1\0,2\n'
refuses_csv "has no column 'z' for --label: give a name from its header" 'a,y\n1,2\n' --label z
refuses_csv "has no column '3' for --label: .* from 1 to 2 (it has no header)" '0,1\n1,2\n' --label 3
head -c 3000 rows.csv.gz >short.csv.gz
refuses 1 "cannot read 'short.csv.gz': the compressed data end too early" $no short.csv.gz
{
  head -c 2000 rows.csv.gz
  bytes ff ff ff ff
  tail -c +2005 rows.csv.gz
} >flipped.csv.gz
refuses 1 "'flipped.csv.gz'" $no flipped.csv.gz

# refuses_array PATTERN FILE
refuses_array() {
  refuses 1 "$1" $no "x=$2"
}
head -c 20 images.idx >short.idx
refuses_array "'short.idx' is truncated: its header promises 3 rows, but it ends within row 2" short.idx
head -c 10 images.idx >short.idx
refuses_array "'short.idx' is truncated within its IDX header" short.idx
{
  cat images.idx
  bytes 00
} >long.idx
refuses_array "'long.idx' holds more bytes than the 3 rows" long.idx
bytes 00 00 0a 01 00 00 00 01 01 >type.idx
refuses_array "IDX element type 0x0a is unknown" type.idx
bytes 00 00 08 01 00 00 00 00 >empty.idx
refuses_array "'empty.idx' has no rows" empty.idx
bytes 00 00 08 02 00 00 00 01 00 00 00 00 >empty.idx
refuses_array "a sample has no elements" empty.idx
bytes 00 00 08 04 00 00 00 01 ff ff ff ff ff ff ff ff ff ff ff ff 00 >huge.idx
refuses_array "a sample has more than 1 GiB" huge.idx
npy huge.npy '<f8' '9223372036854775807, 2' 00
refuses_array "cannot create field\|'huge.npy' is truncated" huge.npy
npy huge.npy '<f8' '99999999999999999999,' 00
refuses_array "its NumPy header cannot be understood" huge.npy
npy bad.npy '|b1' '1,' 00
refuses_array "element type '|b1' is not supported" bad.npy
npy bad.npy '<c8' '1,' 00 00 00 00 00 00 00 00
refuses_array "element type '<c8' is not supported" bad.npy
npy bad.npy '<U3' '1,' 00
refuses_array "element type '<U3' is not supported" bad.npy
npy bad.npy '<f4' '' 00 00 00 00
refuses_array "'bad.npy' has 0 dimensions" bad.npy
npy bad.npy '<f4' '1, 1, 1, 1, 1, 1, 1, 1, 1, 1' 00 00 00 00
refuses_array "'bad.npy' has 10 dimensions" bad.npy
npy bad.npy '<f4' '1, x' 00 00 00 00
refuses_array "its NumPy header cannot be understood" bad.npy
npy bad.npy '<f4' '2, 3' 00 00 00 00
refuses_array "'bad.npy' is truncated: its header promises 2 rows, but it ends within row 1" bad.npy
sed 's/False/True /' two.npy >bad.npy
refuses_array "'bad.npy' is stored in Fortran order" bad.npy
head -c 30 two.npy >bad.npy
refuses_array "its NumPy header is truncated" bad.npy
{
  bytes 93
  printf NUMPY
  bytes 03 00 01 00 00 00 20
} >bad.npy
refuses_array "version 3 of the NumPy format is not supported" bad.npy

# A limit on the file's size fails like a full disk.
refuses 1 "cannot \(write\|finish\)" sh -c 'ulimit -f 64; "$1" convert --gzip 0 no.h5 big.csv' sh "$MPISIFT"
same "nothing is left behind" "" "$(ls | grep no.h5)"

# Interrupted while reading.
awk 'BEGIN { for (i = 0; i < 400000; i++) print i ",1,2,3,4,5,6,7,8,9,0" }' >slow.csv
"$MPISIFT" convert no.h5 slow.csv >out 2>err &
pid=$!
tries=0
until ls | grep -q 'no.h5.tmp' || [ $tries -eq 1000 ]; do
  tries=$((tries + 1))
done
kill -TERM $pid
wait $pid 2>/dev/null
same "an interrupted run ends by its signal" 143 $?
same "nothing is left behind" "" "$(ls | grep no.h5)"

finish
