#!/bin/sh
# mpisift train: a short run on the shipped data over two ranks, the figures it reports, and what it refuses.
. "$(dirname "$0")/../../scripts/mpi-env.sh"
. "$(dirname "$0")/tap.sh"

ranks() {
  n=$1
  shift
  timeout 100 ${MPIEXEC:-mpiexec} -n "$n" "$MPISIFT" train "$@" </dev/null
}

# refuses_train STATUS PATTERN ARGUMENT...: on two ranks, with one line of error.
refuses_train() {
  status=$1 pattern=$2
  shift 2
  ranks 2 "$@" >out 2>err
  got=$?
  [ "$got" -eq "$status" ] && [ "$(grep -c '^mpisift: ' err)" -eq 1 ] && grep -q "^mpisift: .*$pattern" err && [ ! -s out ]
  result $? "refused: $pattern"
}


# key FILE ARM KEY: the number of a key in an arm's object of the JSON.
key() {
  tr -d '\n' <"$1" | awk -v arm="\"name\": *\"$2\"" -v key="\"$3\": *" '{
    match($0, arm); rest = substr($0, RSTART + RLENGTH); match(rest, key)
    rest = substr(rest, RSTART + RLENGTH); match(rest, /^-?[0-9.e+-]+/); print substr(rest, 1, RLENGTH) }'
}

file=$data/shuttle.h5
manual=$data/../../doc/mpisift.1
short="--epochs 1 --sift-epochs 1 --history 1024 --hidden 16 --lr 0.05 --batch 128"

# shellcheck disable=SC2086  # a list of options
ranks 2 "$file" $short --seeds 2 --json out.json >table 2>err
result $? "four arms, two seeds"
for arm in full sifted shortened random; do
  for name in seeds lr cost_mean test_error_mean test_error_sd balanced_error_mean wall_s_mean score_s_mean sift_s_mean \
    exchange_s_mean steps_mean samples_trained_mean saving; do
    key out.json $arm $name | grep -qE '^-?[0-9]'
    status=$?
    [ $status -eq 0 ] || break
  done
  echo "missing: $name" >err
  result $status "JSON of $arm has all keys"
  grep -qE "(^|[[:space:]])$arm" table
  result $? "$arm is in the table"
done
same "full training takes every batch of the epoch" 385 "$(key out.json full steps_mean)"
same "full training costs an epoch" 1 \
  "$(key out.json full cost_mean | awk '{ print ($1 > 0.999 && $1 < 1.001) }')"
same "sifted trains on fewer samples than full" 1 \
  "$(echo "$(key out.json sifted samples_trained_mean) $(key out.json full samples_trained_mean)" | awk '{ print ($1 < 0.6 * $2) }')"
same "sifted costs its scoring and its training" 1 \
  "$(echo "$(key out.json sifted cost_mean) $(key out.json sifted samples_trained_mean)" |
    awk '{ wanted = (49300 + 3 * $2) / 3 / 49300; print ($1 > 0.99 * wanted && $1 < 1.01 * wanted) }')"
for arm in shortened random; do
  same "$arm spends what sifted spends" 1 \
    "$(echo "$(key out.json $arm cost_mean) $(key out.json sifted cost_mean)" | awk '{ print ($1 <= $2 && $1 > 0.98 * $2) }')"
done
same "saving is what full costs more" 1 \
  "$(echo "$(key out.json sifted saving) $(key out.json sifted cost_mean) $(key out.json full cost_mean)" |
    awk '{ d = $1 - (1 - $2 / $3); print (d < 1e-6 && d > -1e-6) }')"
same "all learn something" 4 \
  "$(for arm in full sifted shortened random; do key out.json $arm test_error_mean; done | awk '$1 < 0.1 { n++ } END { print n }')"

# shellcheck disable=SC2086
ranks 1 "$file" $short --arms full,sifted --json - --lr 0.01,0.05 --pipeline-depth 1 >json 2>err
result $? "a choice of learning rates, JSON on standard output"
same "the rate chosen is one of them" 1 "$(key json sifted lr | grep -cE '^0\.0(1|5)')"

# --- Policies and modifiers

cp "$file" referenced.h5
# shellcheck disable=SC2086
ranks 2 referenced.h5 $short --arms full --write-losses /train/reference_loss >out 2>err
result $? "reference losses"
if command -v flock >/dev/null; then
  cp "$file" locked.h5
  # shellcheck disable=SC2086
  flock -x locked.h5 mpiexec -n 1 "$MPISIFT" train locked.h5 $short --arms full --write-losses /train/loss >out 2>err
  same "a file that another program has locked is refused" 1 $?
  # shellcheck disable=SC2086
  flock -x locked.h5 mpiexec -n 1 "$MPISIFT" train locked.h5 $short --arms full --unlocked --write-losses /train/loss >out 2>err
  result $? "and written to with --unlocked"
fi

# trains NAME RANKS LEAST MOST OPTION...: and keeps a share of the candidates between least and most.
trains() {
  name=$1 n=$2 least=$3 most=$4
  shift 4
  # shellcheck disable=SC2086
  ranks "$n" referenced.h5 $short --arms sifted "$@" --json sifted.json >out 2>err
  result $? "$name, ranks: $n"
  kept=$(key sifted.json sifted samples_trained_mean | awk '{ print $1 / 49300 }')
  same "$name keeps its share, ranks: $n" "$kept, from $least to $most" \
    "$(echo "$kept" | awk -v least="$least" -v most="$most" '$1 > least && $1 < most { printf "%s", $1 }'), from $least to $most"
}

for n in 1 2; do
  for policy in relative top reducible reducible_top importance importance_bound uncertainty random; do
    trains $policy $n 0.36 0.42 --policy $policy --beta 1.5 --keep 0.4
  done
  trains absolute $n 0.05 0.4 --policy absolute --threshold 0.2
  trains all $n 0.99 1.001 --policy all
done
trains stale_relative 2 1.38 1.42 --policy stale_relative --beta 1.5 --sift-epochs 2
trains soft_prune 2 1.4 1.7 --policy soft_prune --keep 0.4 --sift-epochs 2
trains hide 2 1.39 1.7 --policy hide --keep 0.4 --sift-epochs 2 --refresh 1
trains "a floor" 2 0.92 0.96 --policy top --keep 0.4 --floor 0.9
trains "coverage" 2 0.67 0.72 --policy top --keep 0.4 --coverage 2
trains "an outlier guard" 2 0.17 0.23 --policy top --keep 0.4 --outliers 0.2
trains "a full tail" 2 0.67 0.72 --policy top --keep 0.4 --full-tail 0.5
trains "a schedule" 2 0.57 0.62 --policy top --keep 0.4 --schedule steps:0.5=0.8
grep -q '; policy top, keep 0.4, schedule steps:0.5=0.8; ' out
result $? "the table names the settings"
trains "without a class floor" 2 0.09 0.13 --policy top --keep 0.1
alone=$kept
trains "a class floor" 2 "$alone" 0.3 --policy top --keep 0.1 --class-floor 0.1
trains "importance sampling of all" 2 0.99 1.001 --policy importance --keep 1
refuses_train 2 "config.class_floor is 0.5 with config.groups 7" "$file" --class-floor 0.5
refuses_train 2 "policy all has neither beta nor keep" "$file" --policy all --schedule linear:0=1,1=2
refuses_train 2 "config.schedule.at\[1\] is 0.3" "$file" --schedule linear:0.5=2,0.3=1
refuses_train 2 "config.schedule.value\[0\]: .*beta is 0" "$file" --schedule cosine:0.5=0
refuses_train 2 "begin with steps:" "$file" --schedule wave:0.5=2
for point in 0.5 0.5= =2 0.5=2x; do
  refuses_train 2 "'$point' is not a point" "$file" --schedule linear:0.1=1,$point
done

# Reference losses of a model that was trained on other data: one label in five is wrong.
awk 'BEGIN { srand(7); for (i = 0; i < 3000; i++) { x = rand(); y = x > 0.4; if (rand() < 0.2) y = 1 - y; print x "," rand() "," y } }' >noisy.csv
"$MPISIFT" convert --test 500 --holdout 1000 noisy.h5 noisy.csv >/dev/null 2>err
noisy="--hidden 8 --lr 0.1 --batch 20 --history 200 --epochs 4 --sift-epochs 4"
# shellcheck disable=SC2086
refuses_train 1 "no field reference_loss; .* --train-group /holdout --arms full --write-losses" noisy.h5 $noisy --policy reducible
refuses_train 2 "'y' (config.reference_field) is not one float32" noisy.h5 --policy reducible_top --reference y
# shellcheck disable=SC2086
ranks 2 noisy.h5 $noisy --arms full --train-group /holdout --write-losses /train/reference_loss >out 2>err
result $? "a model of the holdout"
# shellcheck disable=SC2086
ranks 2 noisy.h5 $noisy --arms sifted --policy reducible --beta 3 --json noisy.json >out 2>err
result $? "which says what is reducible"
same "a quarter of the candidates is kept" 1 \
  "$(key noisy.json sifted samples_trained_mean | awk '{ print ($1 > 0.23 * 6000 && $1 < 0.3 * 6000) }')"

# Where reference losses are 0, the loss is what is reducible.
head -n 1000 noisy.csv >some.csv
npy zeros.npy '<f4' '1000,'
head -c 4000 /dev/zero >>zeros.npy
"$MPISIFT" convert zeros.h5 train/=some.csv train/zero=zeros.npy test/=some.csv >/dev/null 2>err
for policy in reducible relative; do
  # shellcheck disable=SC2086
  ranks 2 zeros.h5 $noisy --arms sifted --policy $policy --reference zero --json $policy.json >out 2>err
  result $? "reference losses of 0, $policy"
done
same "reducible is relative then" "$(key relative.json sifted test_loss_mean)" "$(key reducible.json sifted test_loss_mean)"
npy bad.npy '<f4' '4,' 00 00 00 00 00 00 80 3f 00 00 00 40 00 00 c0 7f
printf '1,0\n2,1\n3,0\n4,1\n' >four.csv
"$MPISIFT" convert bad.h5 train/=four.csv train/reference_loss=bad.npy test/=four.csv >/dev/null 2>err
refuses_train 1 "field reference_loss of /train holds NaN" bad.h5 --batch 2 --lr 0.1 --policy reducible

ranks 2 --help >out 2>err
result $? "--help"
awk '/^  --/ && sub(/\)$/, "") { option = $1; sub(/.*\(/, ""); print option, $0 }' out >defaults
while read -r option default; do
  grep -qxE "\.It Fl ${option#-} Ar [A-Z]+ Pq $default" "$manual"
  result $? "the manual knows $option, $default"
done <defaults
same "options with defaults" 1 "$(($(wc -l <defaults) > 15))"
same "the manual knows every option" "" "$(awk '/^  --/ { print $1 }' out | while read -r option; do
  grep -qE "^\.It Fl ${option#-}( |$)" "$manual" || echo "$option"
done)"
refuses_train 2 "" "$file" --nosuch
refuses_train 2 "batch" "$file" --batch 0
refuses_train 2 "beta" "$file" --beta 0
refuses_train 2 "beta" "$file" --beta nan
refuses_train 2 "keep" "$file" --keep 1.5
refuses_train 2 "threshold" "$file" --threshold -1
refuses_train 2 "epochs" "$file" --epochs -3
refuses_train 2 "seeds" "$file" --seeds x
refuses_train 2 "history" "$file" --history 0
refuses_train 2 "nosuch" "$file" --arms full,nosuch
refuses_train 2 "sifted" "$file" --arms full,shortened
refuses_train 2 "policy" "$file" --policy nosuch
refuses_train 2 "lr" "$file" --lr 0.1,,0.2
refuses_train 2 "hidden" "$file" --hidden 0
refuses_train 1 "nosuch.h5" nosuch.h5
same "no rank is named where all fail alike" 0 "$(grep -c 'rank 0' err)"
refuses_train 1 "no group /nosuch.* --train-group .* 'mpisift convert --test'" "$file" --train-group /nosuch
refuses_train 1 "field z" "$file" --x z
refuses_train 1 "--batch 60000 is more than the 49300 rows of /train; " "$file" --batch 60000 --lr 0.1
refuses_train 1 "--batch 49000 is more than the 44370 rows of /train that are left .* learning rate" "$file" --batch 49000
refuses_train 1 "json" "$file" --json nosuch/out.json
head -c 200000 "$file" >cut.h5
refuses_train 1 "cut.h5" cut.h5
printf 'a,b,y\n1,2,0\n3,4,-1\n5,6,1\n' >negative.csv
"$MPISIFT" convert negative.h5 train/=negative.csv test/=negative.csv >/dev/null 2>err
refuses_train 1 "-1" negative.h5 --batch 2

# --- Several files

awk 'BEGIN { for (i = 0; i < 600; i++) print (i * 37 % 101) / 50 "," (i * 53 % 89) / 40 "," i * 37 % 101 % 3 }' >rows.csv
head -250 rows.csv >a.csv
sed -n '251,500p' rows.csv >b.csv
sed -n '501,$p' rows.csv >t.csv
"$MPISIFT" convert whole.h5 train/=a.csv train/=b.csv test/=t.csv >out 2>err
"$MPISIFT" convert part-a.h5 train/=a.csv >out 2>err
"$MPISIFT" convert part-b.h5 train/=b.csv >out 2>err
"$MPISIFT" convert tests.h5 test/=t.csv >out 2>err
small="--epochs 4 --sift-epochs 4 --history 64 --hidden 8 --lr 0.1 --batch 20 --arms full,sifted"
for way in "whole.h5" "part-a.h5 part-b.h5 --test-data tests.h5" "part-*.h5 --test-data test?.h5"; do
  set -f
  # shellcheck disable=SC2086
  ranks 2 $way $small --json out.json >out 2>err
  result $? "data from $way"
  set +f
  same "give the same errors" "${first:=$(key out.json full test_error_mean) $(key out.json sifted test_error_mean)}" \
    "$(key out.json full test_error_mean) $(key out.json sifted test_error_mean)"
done
refuses_train 1 "part-a.h5: no group /test" part-a.h5 part-b.h5
refuses_train 1 "no group /train" part-a.h5 tests.h5 --test-data tests.h5
refuses_train 2 "write-losses: into which file" part-a.h5 part-b.h5 --test-data tests.h5 --arms full --write-losses /train/loss

# --- What it says besides

# shellcheck disable=SC2086
ranks 2 "$file" $short --arms full --train-group test --test-group /test/ >out 2>err
result $? "one group for training and test"
same "is warned about, once" 1 "$(grep -c '^mpisift: warning: test is the training group and the test group' err)"
# Under MPICH's launcher ranks have no terminal, not even /dev/tty.
if command -v script >/dev/null &&
  script -qec "timeout 60 ${MPIEXEC:-mpiexec} -n 1 sh -c 'test -t 2 || : >/dev/tty'" typescript </dev/null >/dev/null 2>&1; then
  for n in 1 2; do
    script -qec "timeout 100 ${MPIEXEC:-mpiexec} -n $n '$MPISIFT' train '$file' $short --arms full --epochs 25" typescript \
      </dev/null >out 2>err
    tr '\r' '\n' <typescript >lines
    cp lines err
    grep -qE '^full, seed 1/1  epoch [0-9]+/25  loss 0\.[0-9]{4}  keep 100 %  [0-9]+:[0-9]{2} left *$' lines
    result $? "a progress line on a terminal, $n ranks"
    awk '/ left *$/ { shown = 1 } /^ +$/ { shown = 0 } /^test error/ && shown { bad = 1 } END { exit bad }' lines
    result $? "which is gone before the table, $n ranks"
  done
else
  skip "a progress line on a terminal" "no script of util-linux, or ranks without a terminal"
fi

# --- Losses

if ! command -v h5dump >/dev/null; then
  skip "losses written" "no h5dump"
  finish
  exit
fi
one="--arms full $short"

for n in 1 3; do
  cp "$file" of$n.h5
  # shellcheck disable=SC2086
  ranks $n of$n.h5 $one --write-losses /train/reference_loss --json of$n.json >out 2>err
  result $? "losses of the training group, $n ranks"
  values of$n.h5 /train/reference_loss >of$n.txt
done
same "there is one for each row" "49300 49300" "$(wc -l <of1.txt) $(wc -l <of3.txt)"
same "they are float32" 1 "$("$MPISIFT" info of1.h5 /train | grep -c 'reference_loss: float32, ')"
same "they do not depend on the number of ranks" 1 "$(paste of1.txt of3.txt | awk '{
  d = $1 > $2 ? $1 - $2 : $2 - $1; if (d > 1e-3 * (1e-2 + $1)) n++ } END { print n + 0 == 0 && NR == 49300 }')"
# shellcheck disable=SC2086
ranks 2 of1.h5 $one --write-losses test/loss --json again.json >out 2>err
result $? "losses of the test group, into a file that has some"
same "their mean is the loss that evaluation found" 1 \
  "$(values of1.h5 /test/loss | awk -v wanted="$(key again.json full test_loss_mean)" '{ sum += $1 }
    END { d = sum / NR / wanted - 1; print (NR == 8700 && d < 1e-5 && d > -1e-5) }')"
# shellcheck disable=SC2086
ranks 2 "$file" $one --json plain.json >out 2>err
same "training is the same with more fields in the group" "$(key plain.json full test_loss_mean)" \
  "$(key again.json full test_loss_mean)"

# Where the inputs are constant all rows have one distribution: the losses of the classes are its negative logarithms.
awk 'BEGIN { for (i = 0; i < 900; i++) print "7,7," (i % 9 < 5 ? 0 : i % 9 < 8 ? 1 : 2) }' >constant.csv
"$MPISIFT" convert --test 100 --holdout 300 constant.h5 constant.csv >out 2>err
ranks 2 constant.h5 --arms full --batch 10 --hidden 4 --lr 0.05,0.1 --train-group /holdout --write-losses /train/loss >out 2>err
result $? "trained on the holdout, losses of the training group"
values constant.h5 /train/loss >loss.txt
values constant.h5 /train/y | paste - loss.txt >pairs
same "each class has its loss, in the order of the rows" 3 "$(sort -u pairs | wc -l)"
same "which are the logarithms of shares" 1 \
  "$(sort -u pairs | awk '{ sum += exp(-$2) } END { print (sum > 0.9999 && sum < 1.0001) }')"
same "the frequent class has the least loss" "0 1 2" "$(sort -u pairs | sort -k 2 -g | cut -f 1 | tr '\n' ' ' | sed 's/ $//')"

cp constant.h5 kept.h5
small="--arms full --batch 10 --hidden 4 --lr 0.01"
# refuses_losses STATUS PATTERN FIELD OPTION...: and the file stays as it was.
refuses_losses() {
  losses_status=$1 pattern=$2 losses=$3
  shift 3
  # shellcheck disable=SC2086
  refuses_train "$losses_status" "$pattern" constant.h5 $small --write-losses "$losses" "$@"
  cmp constant.h5 kept.h5 >err 2>&1
  result $? "and the file stays as it was"
}
refuses_losses 1 "constant.h5: cannot write field loss of /train: it exists; .* --force" /train/loss
refuses_losses 1 "field x of /train: what has this name does not hold losses" /train/x --x y --force
refuses_losses 1 "field loss of /nosuch: the file has no such group" /nosuch/loss
refuses_losses 2 "field y holds inputs or labels" /test/y --force
refuses_losses 2 "give a group and the name of a field" loss
refuses_losses 2 "give a group and the name of a field" /train/
refuses_losses 2 "of which model" /test/loss --seeds 2
refuses_losses 2 "of which model" /test/loss --arms full,sifted
# shellcheck disable=SC2086
refuses_train 2 "only the field of --write-losses" constant.h5 $small --force
refuses_train 1 "nosuch.h5: cannot write field loss of /train: No such file" nosuch.h5 --arms full --write-losses /train/loss
chmod 444 constant.h5
if [ -w constant.h5 ]; then
  skip "a file that is read-only" "this user may write everything"
else
  refuses_losses 1 "constant.h5: cannot write field loss2 of /train: Permission denied" /train/loss2
fi
chmod 644 constant.h5
if command -v flock >/dev/null; then
  unset HDF5_USE_FILE_LOCKING
  exec 9<constant.h5
  flock -s 9
  refuses_losses 1 "constant.h5: cannot write field loss2 of /train: another program has it open" /train/loss2
  exec 9<&-
else
  skip "a file that is open elsewhere" "no flock"
fi
# shellcheck disable=SC2086
ranks 2 constant.h5 $small --write-losses /train/loss --force >out 2>err
result $? "losses replaced"
same "they are others, as many" "1 500" \
  "$(values constant.h5 /train/loss >other.txt; cmp -s other.txt loss.txt; echo $?) $(wc -l <other.txt)"
same "nothing else is there" "loss x y" \
  "$("$MPISIFT" info constant.h5 /train | sed -n 's/^  \([a-z_]*\): .*/\1/p' | sort | tr '\n' ' ' | sed 's/ $//')"

npy x.npy '<f4' '4, 1' 00 00 00 00 00 00 80 3f 00 00 00 40 00 00 40 40
npy nan.npy '<f4' '4, 1' 00 00 00 00 00 00 80 3f 00 00 00 40 00 00 c0 7f
npy y.npy '|u1' '4,' 00 01 00 01
"$MPISIFT" convert nan.h5 train/x=x.npy train/y=y.npy test/x=x.npy test/y=y.npy odd/x=nan.npy odd/y=y.npy >out 2>err
refuses_train 1 "nan.h5: row 3 of /odd has no finite loss; does its x hold NaN" nan.h5 --arms full --batch 2 --lr 0.1 --write-losses /odd/loss
finish
