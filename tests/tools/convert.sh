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

# --- Several files of the same fields

head -301 rows.csv >part1.csv
{ head -1 rows.csv && sed -n '302,$p' rows.csv; } >part2.csv
works "two CSV files, one after the other" "$MPISIFT" convert again.h5 part1.csv =part2.csv --force
works "are the whole" cmp rows.h5 again.h5
sed -n '302,$p' rows.csv | gzip -c >part2.csv.gz
works "with a header in one of them, gzipped, split as the whole" \
  "$MPISIFT" convert again.h5 part1.csv part2.csv.gz --test 150 --force
works "are the whole" cmp split.h5 again.h5
printf '5,6\n' >small.csv
works "labels of one byte in some of them" "$MPISIFT" convert again.h5 small.csv wide.csv small.csv --header no --force
describes "are int32 in all" again.h5 'y: int32, '
same_values "and these" again.h5 /y "6 -1 70000 2 6"
same_values "beside these" again.h5 /x "5 1 2 3 5"
works "arrays, with another field between them" \
  "$MPISIFT" convert several.h5 y=ids.npy x=bytes.npy y=ids.npy x=bytes.npy --chunk-rows 3
same_values "one field" several.h5 /y "0 1 2 3 4 0 1 2 3 4"
same_values "the other" several.h5 /x "0 1 2 3 4 5 6 7 8 255 0 1 2 3 4 5 6 7 8 255"
many=
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do
  head -$((i * 50 + 50)) plain.csv | tail -50 >many$i.csv
  many="$many many$i.csv"
done
works "more files than may be open" sh -c 'ulimit -n 16; "$@"' sh "$MPISIFT" convert again.h5 $many --force
works "are the whole" cmp rows.h5 again.h5

# --- What is put in for experiments

ids_of() {
  values "$1" "$2/x" | sed -n '1~3p'
}
labels_of() {
  awk '{ print ($1 * $1) % 5 }' "$1"
}
if [ "$have_h5dump" ]; then
  works "imbalance" "$MPISIFT" convert imbalanced.h5 rows.csv --imbalance 16 --seed 7
  ids_of imbalanced.h5 "" >some.ids
  # Labels i * i % 5 are 200, 400 and 400 of the three classes 0, 1 and 4, which keep 1, 1/4 and 1/16.
  same "keeps the shares" "0 200 1 100 4 25" "$(echo $(labels_of some.ids | sort -n | uniq -c | awk '{ print $2, $1 }'))"
  works "keeps the order" sort -nc some.ids
  same "keeps the labels" "$(labels_of some.ids)" "$(values imbalanced.h5 /y)"
  same "chooses over all rows: mean id" yes \
    "$(labels_of some.ids | paste -d' ' - some.ids | awk '$1 == 1 { s += $2; n++ } END { m = s / n; print (m > 400 && m < 600) ? "yes" : m }')"
  describes "is recorded" imbalanced.h5 '^ *@imbalance: 16$'
  describes "with its seed" imbalanced.h5 '^ *@seed: 7$'

  works "duplicates" "$MPISIFT" convert double.h5 rows.csv --duplicates 0.3 --test 100
  ids_of double.h5 /train >some.ids
  same "as many as asked for" "1170" "$(wc -l <some.ids | tr -d ' ')"
  same "of as many rows" "630 270" "$(echo $(uniq -c some.ids | awk '{ n[$1]++ } END { print n[1], n[2] }'))"
  same "with their labels" "$(labels_of some.ids)" "$(values double.h5 /train/y)"
  ids_of double.h5 /test >test.ids
  same "the rows to test on stay" "$(ids_of double.h5 /test | uniq -d)100" "$(wc -l <test.ids | tr -d ' ')"
  works "none is lost" sh -c 'sort -nu some.ids test.ids | cmp - all'
  describes "are recorded" double.h5 '^ *@duplicates: 0.3$'
  works "many duplicates" "$MPISIFT" convert --force double.h5 rows.csv --duplicates 2.5
  same "are of all rows" "500 500" \
    "$(echo $(ids_of double.h5 "" | uniq -c | awk '{ n[$1]++ } END { print n[3], n[4] }'))"

  works "label noise" "$MPISIFT" convert noisy.h5 rows.csv --label-noise 0.2 --test 100
  ids_of noisy.h5 /train >some.ids
  values noisy.h5 /train/y | paste -d' ' some.ids - >noisy.rows
  same "changes as many labels as asked for" 180 "$(awk '($1 * $1) % 5 != $2' noisy.rows | wc -l | tr -d ' ')"
  same "to those of other classes, evenly" yes "$(awk '($1 * $1) % 5 != $2 { n[($1 * $1) % 5 " " $2]++ }
    END { for (k in n) { c++; ok += n[k] > (k ~ /^0/ ? 8 : 20) } print (c == 6 && ok == 6) ? "yes" : c " " ok }' noisy.rows)"
  same "over all rows: mean id" yes \
    "$(awk '($1 * $1) % 5 != $2 { s += $1; n++ } END { m = s / n; print (m > 430 && m < 570) ? "yes" : m }' noisy.rows)"
  ids_of noisy.h5 /test >test.ids
  same "the labels to test on stay" "$(labels_of test.ids)" "$(values noisy.h5 /test/y)"
  describes "is recorded" noisy.h5 '^ *@label_noise: 0.2$'

  works "all at once" "$MPISIFT" convert both.h5 rows.csv --test 100 --imbalance 4 --duplicates 0.5 --label-noise 0.1
  ids_of both.h5 /train >some.ids
  values both.h5 /train/y | paste -d' ' some.ids - >noisy.rows
  same "copies have the label of their row" "" "$(uniq noisy.rows | cut -d' ' -f1 | uniq -d)"
  same "noise is a share of what is kept" "$(uniq some.ids | wc -l | awk '{ printf "%.0f", $1 / 10 }')" \
    "$(uniq noisy.rows | awk '($1 * $1) % 5 != $2' | wc -l | tr -d ' ')"
else
  skip "what is put in" "no h5dump"
fi
# The same from a file for each field, with labels of another byte order and several files.
# shellcheck disable=SC2059,SC2046  # octal, and a list
printf "$(printf '\\%03o' 0 0 11 1 0 0 3 232 $(awk 'BEGIN { for (i = 0; i < 1000; i++) print 0, (i * i) % 5 }'))" >y.idx
works "inputs of several fields" "$MPISIFT" convert fields.h5 y=y.idx id=y.idx --imbalance 16 --seed 7 --duplicates 1
same_values "stay together" fields.h5 /id "$(echo $(values imbalanced.h5 /y | awk '{ print; print }'))"
works "and with noise" "$MPISIFT" convert --force fields.h5 y=y.idx id=y.idx --seed 7 --label-noise 0.2
works "label noise of the same rows" "$MPISIFT" convert --force again.h5 rows.csv --seed 7 --label-noise 0.2
same_values "is the same" fields.h5 /y "$(echo $(values again.h5 /y))"
same_values "only labels have it" fields.h5 /id "$(echo $(cut -d, -f4 plain.csv))"

refuses 1 "need labels, the field y, but group '/' has none" "$MPISIFT" convert no.h5 x=ids.npy --label-noise 0.1
refuses 1 "labels are one integer a row" "$MPISIFT" convert no.h5 y=bytes.npy --imbalance 2
refuses 1 "needs labels of two classes or more" sh -c 'printf "1,0\n2,0\n" >one.csv; "$1" convert no.h5 one.csv --label-noise 0.1' sh "$MPISIFT"
refuses 1 "no input goes to /train" "$MPISIFT" convert no.h5 test/=rows.csv --duplicates 1
refuses 2 "label-noise '2' is not a number from 0 to 1" "$MPISIFT" convert no.h5 rows.csv --label-noise 2
refuses 2 "imbalance '0.5' is not a number from 1" "$MPISIFT" convert no.h5 rows.csv --imbalance 0.5
refuses 2 "duplicates 'nan' is not a number" "$MPISIFT" convert no.h5 rows.csv --duplicates nan

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

# --- The manual

"$MPISIFT" convert --help >help 2>err
for option in $(grep -oE '^  --[a-z-]+' help | cut -c5-); do
  same "the manual has --$option" 1 "$(sed -n '/^.Ss convert/,/^.Ss info/p' "$data/../../doc/mpisift.1" | grep -cE "^.It Fl -$option( |$)")"
done

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
refuses 1 "'rows.csv' and 'x=ids.npy' give the same field" $no rows.csv x=ids.npy
refuses 1 "'rows.csv' and 'numbers.csv' are rows of the same fields, but their numbers of columns" $no rows.csv numbers.csv
refuses 1 "'rows.csv' and 'first.csv' .* their columns have different names" $no --label label rows.csv first.csv
refuses 1 "'x=ids.npy' and 'x=bytes.npy' .* shapes differ" $no x=ids.npy x=bytes.npy
refuses 1 "'x=ids.npy' and 'x=labels.idx' .* types differ" $no x=ids.npy x=labels.idx
refuses 1 "'x=ids.npy' and what follows it has 10 rows, but 'y=labels.idx'" $no x=ids.npy y=labels.idx x=ids.npy
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
refuses_array "'x=huge.npy': there are too many rows" huge.npy
npy huge.npy '<f8' '1152921504606846975, 2' 00
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

# A limit on the file's size fails like a full disk, wherever it is met.
for blocks in 1 4 64 500; do
  refuses 1 "cannot \(create\|write\|finish\)" sh -c 'ulimit -f $2; "$1" convert --gzip 0 no.h5 big.csv' sh "$MPISIFT" $blocks
done
same "nothing is left behind" "" "$(ls | grep no.h5)"

# Interrupted while reading, and while writing. What cannot be caught leaves no file of the name.
awk 'BEGIN { for (i = 0; i < 400000; i++) print i ",1,2,3,4,5,6,7,8,9,0" }' >slow.csv
# interrupt SIGNAL BYTES STATUS: send the signal when the temporary file has so many bytes.
interrupt() {
  "$MPISIFT" convert --gzip 0 no.h5 slow.csv >out 2>err &
  pid=$!
  limit=$(($(date +%s) + 30))
  until [ "$(date +%s)" -gt $limit ]; do
    [ -e no.h5.tmp-$pid ] && [ "$(wc -c <no.h5.tmp-$pid)" -ge "$2" ] && break
  done
  kill -"$1" $pid
  wait $pid 2>/dev/null
  same "a run interrupted by $1 ends by its signal" "$3" $?
  same "and leaves no file" "" "$(ls | grep 'no.h5$')"
}
interrupt TERM 0 143
if sh -c 'kill -HUP $$'; then
  skip "a run interrupted by HUP" "it is ignored here, as under nohup"
else
  interrupt HUP 1000000 129
fi
same "nothing is left behind" "" "$(ls | grep no.h5)"
interrupt KILL 1000000 137
same "one that is killed leaves its temporary file" 1 "$(ls | grep -c 'no.h5.tmp')"
rm -f no.h5.tmp-*

# Memory does not grow with the file: at most the buffers of the rows at hand, and not a part of the file.
if [ -x "$peak" ]; then
  npy head.npy '|u1' "50000, 1000"
  head -c 50000000 /dev/zero | cat head.npy - >large.npy
  npy head.npy '|u1' "500, 1000"
  head -c 500000 /dev/zero | cat head.npy - >little.npy
  export ASAN_OPTIONS="$ASAN_OPTIONS:quarantine_size_mb=1"
  for gzip in 0 1; do
    little=$("$peak" "$MPISIFT" convert --force --gzip $gzip little.h5 x=little.npy 2>err)
    large=$("$peak" "$MPISIFT" convert --force --gzip $gzip large.h5 x=large.npy 2>err)
    same "the peak of memory with --gzip $gzip, KiB: $little with 0.5 MB, $large with 50 MB" yes \
      "$([ "$little" -gt 0 ] && [ "$large" -lt $((little + 16384)) ] && echo yes)"
  done
else
  skip "the peak of memory" "no tests/tools/peak"
fi

# Progress, on a terminal only.
if command -v script >/dev/null; then
  script -qec "'$MPISIFT' convert no.h5 slow.csv" screen.txt >out 2>err </dev/null
  same "progress is shown on a terminal" 1 "$(grep -c 'reading slow.csv  *[0-9]* %' screen.txt)"
  rm -f no.h5
else
  skip "progress is shown on a terminal" "no script"
fi

finish
