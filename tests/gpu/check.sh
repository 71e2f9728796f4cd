#!/usr/bin/env bash
# check.sh [FOLDER] - checks icot on a card of NVIDIA's, measures it, and prints one table.
#
# FOLDER is a build (build/, with `make build tests-built`) or what tests/gpu/pack.sh has made of one for a machine
# where nothing of icot's is installed. Without a card all is skipped. Needs python3 (or ICOT_PYTHON) with h5py; PyTorch,
# if it is there, tells the rate of matrix products. PARTS=operators,speed takes some of the parts below only; KEEP=DIR
# keeps what the runs wrote. ACCURACY_SECONDS (600) is what the training of the last part may take.
set -uo pipefail
all_parts=operators,training,resume,memory,sanitizer,speed,peers,accuracy
parts=${PARTS:-$all_parts}
cd "$(dirname "$0")/../.." || exit
folder=$(realpath "${1:-build}")
icot=$folder/bin/icot
here=tests/gpu
python=${ICOT_PYTHON:-python3}
work=${KEEP:-$(mktemp -d)}
mkdir -p "$work"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
: > "$work/table"

# ---- The table ---------------------------------------------------------------------------------

# row RESULT NAME VALUE - RESULT: passed, failed, skipped or measured.
row() {
    printf '%-9s %-52s %s\n' "$1" "$2" "$3" | tee -a "$work/table"
}

count() {
    grep -c "^$1" "$work/table"
}

finish() {
    echo
    echo "$(count passed) passed, $(count failed) failed, $(count skipped) skipped"
    [ "$(count failed)" -eq 0 ]
    exit
}

# judge NAME VALUE LIMIT - passed if a number is at most the limit.
judge() {
    if awk -v value="$2" -v limit="$3" 'BEGIN { exit !(value ~ /^[0-9]/ && value + 0 <= limit + 0) }'; then
        row passed "$1" "$2 (at most $3)"
    else
        row failed "$1" "${2:-no result} (at most $3)"
    fi
}

read_runs() {
    $python $here/runs.py "$@" 2> "$work/problem" || { tail -n 1 "$work/problem" >&2; return 1; }
}

# ---- The card ----------------------------------------------------------------------------------

if [ ! -e /dev/nvidia0 ] && [ ! -e /dev/dxg ] && ! nvidia-smi -L > /dev/null 2>&1; then
    row skipped "the card" "this machine has none"
    finish
fi
if ! card=$("$icot" --version --device cuda 2>&1); then
    row failed "the card" "$(tail -n 1 <<< "$card")"
    finish
fi
row passed "the card" "$(sed -n 's/^cuda *//p' <<< "$card")"
if [ -e "$folder/sources" ] && [ "$(cat "$folder/sources")" != "$(tests/gpu/sources)" ]; then
    row failed "the sources" "$folder was made of others than those that are here; make gpu makes it anew"
fi
$python -c 'import h5py, numpy' 2> /dev/null || { row failed "h5py" "$python has none"; finish; }

# ---- Operators ---------------------------------------------------------------------------------

# suite NAME [CHECKER] - one C test on the card; under a checker of compute-sanitizer, which takes its time.
suite() {
    local name=$1 checker=${2:-} log=$work/$1.log tool=() limit=240
    [ -z "$checker" ] || tool=(compute-sanitizer --tool "$checker" --error-exitcode 9) limit=900
    ICOT_TEST_DEVICE=cuda CMOCKA_MESSAGE_OUTPUT=TAP LD_LIBRARY_PATH=$folder/lib/icot:${LD_LIBRARY_PATH:-} \
        timeout $limit "${tool[@]}" "$folder/tests/test_$name" > "$log" 2>&1
    local status=$? good bad what="${checker:+$checker: }test_$name"
    good=$(grep "^ok " "$log" | grep -vc "# SKIP") bad=$(grep "^not ok " "$log" | grep -vc "# SKIP")
    if [ $status -eq 0 ] && [ "$bad" -eq 0 ] && [ "$good" -gt 0 ]; then
        row passed "$what" "$good tests"
    else
        row failed "$what" "$bad failed, exit status $status"
        grep -vE '^(ok |1\.\.)' "$log" | head -n 20
    fi
}

check_operators() {
    for name in $(cat $here/suites); do suite "$name"; done
}

# Memory, races and barriers. A virtual machine may keep the tool from the card.
check_sanitizer() {
    local tool=compute-sanitizer
    command -v $tool > /dev/null || { row skipped $tool "not there"; return; }
    if $tool "$icot" --version --device cuda 2>&1 | grep -q "Device not supported"; then
        row skipped $tool "it does not support this device"
        return
    fi
    for name in decoding autograd layers backends; do suite $name memcheck; done
    for name in layers backends; do suite $name racecheck; suite $name synccheck; done
}

# ---- A training, against the CPU's -------------------------------------------------------------

# train NAME ARGUMENTS... - the run $work/NAME.h5
train() {
    local name=$1
    shift
    "$icot" $here/removal.lua --quiet --out "$work/$name.h5" "$@" > "$work/$name.log" 2>&1 && return
    row failed "the run $name" "$(tail -n 1 "$work/$name.log")"
    return 1
}

# The runs that others are compared with, made once
train_once() {
    [ -e "$work/$1.h5" ] || train "$@"
}

# losses_apart NAME A B LIMIT
losses_apart() {
    judge "$1: losses off by" "$(read_runs apart "$work/$2.h5" "$work/$3.h5")" "$4"
}

# equal NAME A B - the same rows and the same model, to the bit.
equal() {
    local rows
    if ! rows=$(read_runs same "$work/$2.h5" "$work/$3.h5" 2>&1); then
        row failed "$1" "$rows"
    elif ! cmp -s "$work/$2/model.safetensors" "$work/$3/model.safetensors"; then
        row failed "$1" "the parameters differ"
    else
        row passed "$1" "$rows and the parameters"
    fi
}

check_training() {
    train_once cpu
    train_once card --device cuda
    train again --device cuda
    train bf16 --device cuda --set precision=bf16
    train bf16_again --device cuda --set precision=bf16
    local thoughts=(--set method=coconut --set removal.unit=step --set removal.thoughts=2)
    train thoughts_on_cpu "${thoughts[@]}"
    train thoughts --device cuda "${thoughts[@]}"
    losses_apart "300 updates with removal, float32" cpu card 1e-3
    losses_apart "300 updates with removal, bf16" cpu bf16 0.02
    losses_apart "300 updates in continuous thoughts" thoughts_on_cpu thoughts 1e-3
    equal "the same bits twice, float32" card again
    equal "the same bits twice, bf16" bf16 bf16_again
}

# interrupt NAME - a run on the card that Ctrl-C ends after its checkpoint of step 100.
interrupt() {
    "$icot" $here/removal.lua --quiet --device cuda --out "$work/$1.h5" > "$work/$1.log" 2>&1 &
    local run=$!
    while kill -0 $run 2> /dev/null && [ ! -e "$work/$1/checkpoints/step-000000100" ]; do sleep 0.02; done
    kill -INT $run 2> /dev/null
    wait $run
    [ $? -eq 130 ] && return
    row failed "Ctrl-C on the card" "the run was over before, or did not end: $(tail -n 1 "$work/$1.log")"
    return 1
}

check_resume() {
    train_once cpu
    train_once card --device cuda
    if interrupt resumed && train resumed --device cuda --resume; then
        equal "resumed on the card" card resumed
    fi
    if interrupt moved && train moved --device cpu --resume; then
        losses_apart "begun on the card, ended on the CPU" cpu moved 1e-3
    fi
}

# 2.3 million tokens, 140 GB and more a layer
check_memory() {
    if "$icot" $here/removal.lua --quiet --device cuda --out "$work/full.h5" --set dataset.digits=9 \
        --set dataset.train=8000 --set train.batch=8000 --set model.width=1024 --set model.heads=16 \
        --set model.layers=8 > "$work/full.log" 2>&1; then
        row failed "more than the card holds" "it was trained on"
    elif grep -q "^icot: training: out of memory on the card: " "$work/full.log"; then
        row passed "more than the card holds" "$(tail -n 1 "$work/full.log" | cut -c 1-90)"
    else
        row failed "more than the card holds" "$(tail -n 1 "$work/full.log")"
    fi
}

# ---- Speed: GPT-2 Small on 9 x 9 digits --------------------------------------------------------

# step NAME BATCH PRECISION SETTINGS... - how fast a training step is, with all CoT.
step() {
    "$icot" recipes/mult_9x9.lua --quiet --device cuda --out "$work/$1.h5" --set "precision=$3" \
        --set "train.batch=$2" --set train.steps=48 --set train.log_every=4 --set train.evaluate_every=48 \
        --set evaluate.examples=1000 --set evaluate.batch=1000 --set dataset.train=20000 \
        --set schedule.tokens_per_epoch=0.001 "${@:4}" > "$work/$1.log" 2>&1
    local speed
    if speed=$(read_runs speed "$work/$1.h5"); then
        row measured "GPT-2 Small, $1" "${speed% *} tokens/s, ${speed#* } TFLOP/s"
    else
        row failed "GPT-2 Small, $1" "$(tail -n 1 "$work/$1.log")"
    fi
}

# stages - the paper's batch as the CoT is removed, and what all of recipes/mult_9x9.lua would take.
stages() {
    "$icot" recipes/mult_9x9.lua --quiet --device cuda --out "$work/stages.h5" --set precision=bf16 \
        --set dataset.train=20000 --set train.steps=750 --set train.log_every=6 --set train.evaluate_every=750 \
        --set evaluate.examples=1000 --set evaluate.batch=1000 --set schedule.tokens_per_epoch=216 \
        --set optimizer.reset=keep --set checkpoint.keep.stages=0 --set checkpoint.keep.best=false \
        > "$work/stages.log" 2>&1
    local told
    if told=$(read_runs stages "$work/stages.h5"); then
        row measured "9 x 9 digits, none, half, all CoT removed" "$told"
        row measured "decoding 1,000 examples without CoT, bf16" "$(read_runs decoded "$work/stages.h5") examples/s"
    else
        row failed "9 x 9 digits, none, half, all CoT removed" "$(tail -n 1 "$work/stages.log")"
    fi
}

check_speed() {
    product=$(read_runs product 2> /dev/null) && row measured "PyTorch's bfloat16 product of 8192" "$product TFLOP/s"
    step large_bf16 114 bf16 # 32,768 tokens
    step large_bf16_no_dropout 114 bf16 --set model.dropout=0
    step paper_bf16 32 bf16
    step large_float32 114 float32
    step paper_float32 32 float32
    stages
    row measured "decoding 1,000 examples with all CoT, bf16" "$(read_runs decoded "$work/paper_bf16.h5") examples/s"
}

# compare ARGUMENTS... - tests/bench beside PyTorch, on this card.
compare() {
    PATH=$folder/bin:$PATH ICOT_LIBRARY=$folder/lib/icot/libicot.so ICOT_HEADER=$folder/share/icot/icot.ffi.h \
        LUA_PATH='lua/?.lua;lua/?/init.lua;?.lua;;' LUA_CPATH="$folder/lib/icot/lua/?.so;;" \
        $python tests/bench/bench.py --python "$python" --device cuda --shapes 12x768 --digits 9 "$@" \
        > "$work/compared" 2> "$work/problem" || { row failed "beside PyTorch" "$(tail -n 1 "$work/problem")"; return; }
    row measured "beside PyTorch" "$*"
    echo && cat "$work/compared" && echo
}

check_peers() {
    if ! $python -c 'import torch, transformers' 2> /dev/null; then
        row skipped "beside PyTorch" "$python has no PyTorch and transformers"
        return
    fi
    compare --batch 114 --stages all --only train --rounds 3 # 32,768 tokens
    compare --batch 32 --eager --rounds 3                    # the paper's
}

# ---- Accuracy ----------------------------------------------------------------------------------

# 4 x 4 digits from scratch
check_accuracy() {
    local name="GPT-2 Small on 4 x 4 digits, all CoT removed" begin=$SECONDS accuracy told result=failed
    timeout --signal=INT "${ACCURACY_SECONDS:-600}" "$icot" $here/mult_4x4.lua --quiet --device cuda --out "$work/mult_4x4.h5" \
        > "$work/mult_4x4.log" 2>&1
    if accuracy=$(read_runs internalized "$work/mult_4x4.h5" 46); then
        told="$accuracy of 1,000 unseen problems (at least 0.99), $((SECONDS - begin)) s"
        awk -v accuracy="$accuracy" 'BEGIN { exit !(accuracy >= 0.99) }' && result=passed
    else
        told=$(tail -n 1 "$work/mult_4x4.log")
    fi
    row $result "$name" "$told"
}

# ---- All of it ---------------------------------------------------------------------------------

for part in ${parts//,/ }; do
    [[ ",$all_parts," == *",$part,"* ]] || { row failed "PARTS" "$part is none of $all_parts"; finish; }
done

wants() {
    [[ ",$parts," == *",$1,"* ]] || { row skipped "$1" "left out"; return 1; }
}

wants operators && check_operators
wants training && check_training
wants resume && check_resume
wants memory && check_memory
wants sanitizer && check_sanitizer
wants speed && check_speed
wants peers && check_peers
wants accuracy && check_accuracy
finish
