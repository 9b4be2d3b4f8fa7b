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

for policy in top absolute random; do
  # shellcheck disable=SC2086
  ranks 2 "$file" $short --arms full,sifted --policy $policy --keep 0.4 --threshold 0.2 --json $policy.json >out 2>err
  result $? "policy $policy"
done
same "top and random keep their share" 2 \
  "$(for policy in top random; do key $policy.json sifted samples_trained_mean; done |
    awk '$1 > 0.3 * 49300 && $1 < 0.5 * 49300 { n++ } END { print n }')"

ranks 2 --help >out 2>err
result $? "--help"
awk '/^  --/ && sub(/\)$/, "") { option = $1; sub(/.*\(/, ""); print option, $0 }' out >defaults
while read -r option default; do
  grep -qxE "\.It Fl ${option#-} Ar [A-Z]+ Pq $default" "$manual"
  result $? "the manual knows $option, $default"
done <defaults
same "options with defaults" 1 "$(($(wc -l <defaults) > 15))"
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
refuses_train 1 "/nosuch" "$file" --train-group /nosuch
refuses_train 1 "field z" "$file" --x z
refuses_train 1 "fewer than one global batch" "$file" --batch 60000
refuses_train 1 "json" "$file" --json nosuch/out.json
head -c 200000 "$file" >cut.h5
refuses_train 1 "cut.h5" cut.h5
printf 'a,b,y\n1,2,0\n3,4,-1\n5,6,1\n' >negative.csv
"$MPISIFT" convert negative.h5 train/=negative.csv test/=negative.csv >/dev/null 2>err
refuses_train 1 "-1" negative.h5 --batch 2
finish
