#!/bin/sh
# mpisift bench: each benchmark, small, at 1, 2 and 3 ranks: valid JSON with its keys and values that make sense, whatever
# the speed of the machine.
. "$(dirname "$0")/../../scripts/mpi-env.sh"
. "$(dirname "$0")/tap.sh"

# ranks N ARGUMENT...
ranks() {
  n=$1
  shift
  timeout 100 ${MPIEXEC:-mpiexec} -n "$n" "$MPISIFT" bench "$@" </dev/null
}

# refuses_bench STATUS PATTERN ARGUMENT...: on two ranks, with one line of error.
refuses_bench() {
  status=$1 pattern=$2
  shift 2
  ranks 2 "$@" >out 2>err
  got=$?
  [ "$got" -eq "$status" ] && [ "$(grep -c '^mpisift: ' err)" -eq 1 ] && grep -q "^mpisift: .*$pattern" err && [ ! -s out ]
  result $? "refused: $pattern"
}

# value KEY: the number of a key in out.json, which has one member a line.
value() {
  sed -n "s/^  \"$1\": \(-\{0,1\}[0-9.e+-]*\),\{0,1\}\$/\1/p" out.json
}

# holds NAME CONDITION KEY...: the awk condition over $1, $2, ...: the values of the keys, all of which are there.
holds() {
  name=$1 condition=$2
  shift 2
  fields=$#
  for key in "$@"; do value "$key"; done | tr '\n' ' ' >values
  awk -v fields=$fields "{ ok = NF == fields && ($condition) } END { exit !ok }" values
  status=$?
  echo "$condition: $* are $(cat values)" >err
  result $status "$name"
}

# bench N ARGUMENT...: run it with its results in out.json.
bench() {
  rm -f out.json
  ranks "$@" --json out.json >table 2>err
  result $? "bench $2, $1 ranks"
  if command -v python3 >/dev/null; then
    works "its JSON is an object of texts and numbers, no key twice" python3 -c '
import json
def flat(pairs):
    assert len(dict(pairs)) == len(pairs) and all(type(v) in (str, int, float) for k, v in pairs)
    return dict(pairs)
assert len(json.load(open("out.json"), object_pairs_hook=flat)) > 8'
  else
    skip "the JSON is valid" "no python3"
  fi
  grep -q "\"benchmark\": \"$2\"" out.json
  result $? "it names the benchmark"
  holds "it says on what it ran" "\$1 == $1 && \$2 >= 1 && \$2 <= $1 && \$3 >= 1" ranks nodes cores
}

# In each step every row of the batch is compared between the library and the ways without it.
for n in 1 2 3; do
  bench $n exchange --batch 6 --steps 4 --small 100 --large 4004 --skew 1
  holds "the options" '$1 == 6 && $2 == 0.25 && $3 == 1 && $4 == 4 && $5 == 100 && $6 == 4004' \
    batch keep skew steps small large
  for size in small large; do
    holds "$size: times" '$1 > 0 && $2 > 0 && $3 > 0 && $4 > 0' \
      ${size}_exchange_us ${size}_bare_us ${size}_alltoallv_us ${size}_plan_us
    holds "$size: ratios" '$1 > 0 && $2 > 0' ${size}_over_bare ${size}_over_alltoallv
    # The first rank accepts twice as many as the mean, the last one none: (2 - 1) / 2 or (2 - 1) / 3 of a batch move.
    most=$(echo "0 0.75 0.6" | cut -d ' ' -f $n) least=$(echo "0 0.4 0.2" | cut -d ' ' -f $n)
    holds "$size: samples move" "\$1 >= $least && \$1 <= $most" ${size}_moved_share
    holds "$size: in few messages" "\$1 >= ($n > 1) && \$1 < $n + ($n == 1)" ${size}_messages
  done
  holds "bytes" "\$1 == 600 * $n && \$2 == 24024 * $n" small_batch_bytes large_batch_bytes
  # A record is the fields, a tag of 32 bytes, and what aligns it to 8 bytes.
  holds "bytes of records" "\$1 > 0.999 * \$2 * 136 * 6 * $n - 1 && \$1 < 1.001 * \$2 * 136 * 6 * $n + 1" \
    small_moved_bytes small_moved_share

  bench $n indices --samples 5000 --batch 8 --epochs 2
  holds "the options" '$1 == 5000 && $2 == 8 && $3 == 2' samples batch epochs
  holds "times" '$1 > 0 && $2 > 0 && $3 > 0 && $4 > 0 && $5 > 0' step_over_bare plan_ms plan_ns_a_sample step_us bare_us
  bench $n plan --batch 3 --repeats 2
  for virtual in 4 8 16 32 64 128 256 512 1024 2048 4096 8192; do
    holds "$virtual virtual ranks" "\$1 > 0 && \$2 > 0 && \$2 < 1 && \$3 >= 1 && \$3 < $virtual" \
      ranks_${virtual}_plan_us ranks_${virtual}_moved_share ranks_${virtual}_messages
  done

  bench $n decide --candidates 300 --small 20 --history 900 --rounds 7
  for size in "" small_; do
    holds "${size:-large_}rounds: times" '$1 > 0 && $2 > 0 && $3 > 0 && $4 > 0 && $5 > 0' ${size}us_per_round \
      ${size}ns_per_candidate ${size}random_ns ${size}allreduce_us ${size}over_random
    holds "${size:-large_}rounds: one collective" '$1 == 1 && $2 >= 1024 && $2 <= 40000' \
      ${size}collectives_per_round ${size}bytes_per_round
  done
  holds "a candidate's part of a round" '$1 > 299 * $2 / 1000 && $1 < 301 * $2 / 1000' us_per_round ns_per_candidate

  bench $n losses --megabytes 0.5 --repeats 3
  for columns in 10 1000 50257; do
    holds "$columns classes: times" '$1 > 0 && $2 > 0 && $3 > 0 && $4 > 0 && $5 > 0 && $6 > 0' c${columns}_ns \
      c${columns}_gb_s c${columns}_scores_ns c${columns}_read_gb_s c${columns}_bare_ns c${columns}_loop_ns
    holds "$columns classes: the same time as a rate" "\$1 * \$2 > 3.99 * $columns && \$1 * \$2 < 4.01 * $columns" \
      c${columns}_ns c${columns}_gb_s
    holds "$columns classes: ratios" '$1 > 0 && $2 > 0' c${columns}_over_bare c${columns}_over_loop
  done

  bench $n step --features 6 --hidden 5 --layers 1 --batch 4 --history 40 --steps 3 --pipeline-depth $((n % 2))
  holds "parts of a step" '$1 > 0 && $2 > 0 && $3 >= 0 && $4 >= 0 && $5 >= 0 && $6 >= 0 && $7 > 0' \
    step_us train_us decide_us reduce_us exchange_us skew_us bare_us
  holds "parts of an exchange" '$1 >= 0 && $2 >= 0 && $3 > 0 && $4 >= $1 && $4 >= $2 && $4 >= $3 && $5 > 0 && $6 > 0' \
    send_us receive_us fill_us exchange_us rows_us own_us
  bench $n step --features 6 --hidden 5 --layers 1 --batch 4 --history 40 --steps 3 --rows 700 --threads $((n % 2))
  holds "reading a file" '$1 >= 0 && $2 >= 0 && $3 >= 0' read_us copy_us read_wait_us
done

# Ways check that each row is the one asked for.
mkdir folder
for n in 1 2 3; do
  bench $n read --megabytes 1 --rows 100 --batch 7 --lanes 6 --window 3 --repeats 2 --chunks 300 --folder folder
  holds "the options" '$1 == 1 && $2 == 100 && $3 == 7 && $4 == 6 && $5 == 3 && $6 == 2 && $7 == 300' \
    megabytes rows batch lanes window repeats chunks
  works "the folder" grep -q '"folder": "folder"' out.json
  for file in f32_contiguous f32_single f32_chunk64 f32_chunk1024 f32_deflate64 u8_contiguous u8_single u8_chunk64 \
    u8_chunk1024 u8_deflate64 large_contiguous large_single large_chunk64 large_deflate64; do
    holds "$file: rates" '$1 > 0 && $2 > 0 && $3 > 0 && $4 > 0' ${file}_mb_s ${file}_pread_mb_s ${file}_floor_mb_s \
      ${file}_h5dread_mb_s
    holds "$file: ratios" '$1 > 0 && $2 > 0 && $3 > 0' ${file}_over_pread ${file}_over_floor ${file}_over_h5dread
    holds "$file: reading alone" '$1 > 0 && $2 > 0 && $3 > 0' ${file}_source_over_pread ${file}_source_over_floor \
      ${file}_source_over_h5dread
  done
  for file in f32_chunk64 f32_chunk1024 u8_chunk64 u8_chunk1024; do
    holds "$file: at least 16 chunks" '$1 == 6 && $2 > 0' ${file}_chunk_rows ${file}_source_over_floor
  done
  for file in f32 u8 large; do
    holds "$file: compression" '$1 > 0 && $2 > 0 && $3 > 0.05 && $3 < 1 && $4 > 0' ${file}_deflate64_over_uncompress \
      ${file}_deflate64_uncompress_mb_s ${file}_deflate64_stored_share ${file}_deflate64_source_over_uncompress
  done
  holds "what is not read" '$1 > 0.2 && $1 < 0.4 && $2 > 0 && $3 > 0 && $3 < 0.8 && $4 >= 0 && $4 < 0.8 && $5 > 0' kept_share \
    kept_unread_mb kept_unread_chunks kept_bytes_over_full kept_time_over_full
  holds "opening" '$1 > 0 && $2 > $1' open_300_chunks_ms open_300_chunks_row_ms
  same "its files are gone" "" "$(ls folder)"
done

bench 2 history --queries 500 --window 512
for name in lognormal exponential bimodal pareto near_zero zeros ties equal high_cluster low_cluster tight_cluster \
  cluster_and_tail signed drift; do
  holds "$name: places are right within 0.005" '$1 >= 0 && $1 <= 0.005 && $1 <= $3 && $2 >= 256' \
    ${name}_max_rank_error ${name}_bins max_rank_error
done
bench 2 exchange --batch 2 --steps 1 --small 16 --large 24
holds "of one turn, ratios are those of the times" \
  '$1 > 0.999 * $3 / $4 && $1 < 1.001 * $3 / $4 && $2 > 0.999 * $3 / $5 && $2 < 1.001 * $3 / $5' \
  small_over_bare small_over_alltoallv small_exchange_us small_bare_us small_alltoallv_us

bench 1 plan --batch 3 --repeats 2
grep -q '^ranks_8192_plan_us  *[0-9]' table
result $? "the table has a line for a figure"

ranks 2 plan --repeats 1 --json - >out.json 2>err
result $? "JSON on standard output"
holds "and nothing else" '$1 == 2' ranks
same "no table beside it" "{ }" "$(sed -n '1p;$p' out.json | tr '\n' ' ' | sed 's/ $//')"

manual=$data/../../doc/mpisift.1
ranks 2 --help >out 2>err
result $? "--help"
for name in decide exchange history indices losses plan read step; do
  grep -q "^$name: " out
  result $? "help knows $name"
  ranks 1 $name --help >help 2>err
  sed -n 's/^  --\([a-z-]* [A-Z]*\)  *.*(\([^()]*\))$/\1 \2/p' help >defaults
  sed -n "/^\.Cm $name\$/,/^\.El/p" "$manual" >section
  while read -r option placeholder default; do
    grep -qx "\.It Fl -$option Ar $placeholder Pq $default" section
    result $? "the manual knows $name --$option $default"
  done <defaults
  same "$name has options with defaults" 1 "$(($(wc -l <defaults) > 1))"
done

refuses_bench 2 "name of a benchmark"
refuses_bench 2 "no benchmark 'nosuch'" nosuch
refuses_bench 2 "unknown option '--nosuch'" plan --nosuch
refuses_bench 2 "needs a value" plan --batch
refuses_bench 2 "batch" exchange --batch 0
refuses_bench 2 "whole" exchange --batch 2.5
refuses_bench 2 "keep" exchange --keep nan
refuses_bench 2 "skew" exchange --skew 1.5
refuses_bench 2 "one too many" plan exchange
refuses_bench 1 "Alltoallv" exchange --batch 1000000
refuses_bench 1 "nosuch/out.json" plan --json nosuch/out.json
refuses_bench 1 "nosuch: no folder" read --folder nosuch
finish
