#!/usr/bin/env bash
# What proves the GPU kernels, in four commands of less than ten minutes each:
#
#     OUT=results bash benchmarks/gpu_acceptance.sh check     numbers, memory, repeatability, synchronizations
#     OUT=results bash benchmarks/gpu_acceptance.sh speed     operators and layers beside bounds and rivals
#     OUT=results bash benchmarks/gpu_acceptance.sh scale     ogbn-products' size, batches, optimizers
#     OUT=results bash benchmarks/gpu_acceptance.sh tune      the tile table
#
# No part stops the next one; a part that takes too long is ended and its rows are kept. Results, test reports and one
# line per part are in $OUT; what the parts printed is in $OUT/<stage>-logs.tgz. The exit status is 1 if a part failed.
#
# It runs from a source tree; lcat need not be installed. What the tests need beside torch, PyG, Triton, pytest and
# pytest-xdist is installed from .whl/ if that folder exists, without a network. To fill it, where there is one:
#
#     python -m pip download --no-deps --only-binary=:all: --python-version 3.12 -d .whl \
#         pogo-torch==1.0.2 geoopt==0.5.1 captum==0.9.0 tabulate==0.10.0
#
# DRY=1 runs every part on tiny graphs without a GPU (kernels in Triton's interpreter), to see that the script works.
set -uo pipefail
cd "$(dirname "$0")/.."
: "${OUT:?OUT must name the folder for results}"
stage=${1:?expected one of check, speed, scale, tune}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
logs=$(mktemp -d)
started=$SECONDS
python=${PYTHON:-python3}
workers=${WORKERS:-$(($(nproc) > 3 ? $(nproc) - 2 : 1))}
dry=()
[[ -n ${DRY:-} ]] && dry=(--dry-run)

shopt -s nullglob
wheels=(.whl/*.whl)
cache=${HOME:-/tmp}/.lcat-gpu
site=$cache/site
if ((${#wheels[@]})); then
    "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" "${wheels[@]}"
fi
export PYTHONPATH=$PWD:$site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
export CUBLAS_WORKSPACE_CONFIG=:4096:8 # matrix products repeat bit for bit
export TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-$cache/triton}

keep_logs() { tar czf "$OUT/$stage-logs.tgz" -C "$logs" . 2>/dev/null; }
trap keep_logs EXIT
trap 'keep_logs; exit 143' TERM

part() { # name, seconds, command
    local name=$1 limit=$2 from=$SECONDS code
    shift 2
    timeout -k 5 "$limit" "$@" >"$logs/$name.log" 2>&1
    code=$?
    printf '%-12s rc %-3s %4s s  %s\n' "$name" "$code" $((SECONDS - from)) \
        "$(tail -n 1 "$logs/$name.log" | cut -c1-110)" | tee -a "$OUT/$stage.txt"
}
measure() { # part of gpu.py, seconds
    part "$1" "$2" "$python" benchmarks/gpu.py --part "$1" --budget $(($2 - 10)) --output "$OUT/$1.json" "${dry[@]}"
}
tests() { # name, seconds, arguments of pytest
    local name=$1 limit=$2
    shift 2
    part "$name" "$limit" "$python" -m pytest -q -p no:benchmark -n "$workers" --junitxml="$OUT/$name.xml" "$@"
}
sanitize() { # tool of compute-sanitizer
    local command=(compute-sanitizer --tool "$1" --launch-timeout 0 --error-exitcode 9)
    [[ -n ${DRY:-} ]] && command=()
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 part "$1" 170 "${command[@]}" "$python" benchmarks/gpu_sanitize.py "${dry[@]}"
}

races() { # those of racecheck's report that are more than copies of one number, written by lanes of one instruction
    # (Triton exchanges layouts through shared memory so; that results repeat bit for bit is tested)
    part races 5 awk '/Race reported between/ { first = $6 " " $9 }
        /^=========     and / { if (first !~ /^Write/ || first != $3 " " $6) others++ }
        END { print others + 0, "races between different accesses"; exit others > 0 }' "$logs/racecheck.log"
}

: >"$OUT/$stage.txt"
case $stage in
check)
    measure facts 30
    part warm 100 "$python" benchmarks/gpu_warm.py --processes "$workers" "${dry[@]}"
    {
        if [[ -n ${DRY:-} ]]; then # the interpreter takes minutes for all of them
            tests kernels 400 tests/ops/test_triton_schedule.py tests/ops/test_triton_launch.py tests/nn/test_on_gpu.py
        else
            tests kernels 200 tests/ops/test_triton_*.py tests/nn/test_on_gpu.py
        fi
    } &
    {
        sanitize memcheck &
        sanitize racecheck
        races
        sanitize initcheck
        wait
    } &
    wait
    if [[ -n ${DRY:-} ]]; then
        tests through 260 -p tests.support.through_gpu tests/nn/test_lcat_formula.py -k limits
    else
        tests through 260 -p tests.support.through_gpu tests/ops/test_operators.py tests/ops/test_feature_dropout.py tests/nn
    fi
    ;;
speed)
    measure operators 120
    measure layers 120
    measure compiled 150
    measure rivals 100
    if [[ -z ${DRY:-} ]]; then
        part counters 70 ncu --clock-control none --csv --section MemoryWorkloadAnalysis --section Occupancy \
            --section WarpStateStats -k 'regex:forward_kernel|target_kernel|source_kernel' -c 8 \
            "$python" benchmarks/gpu.py --part one
    fi
    ;;
scale)
    measure products 100
    measure batches 90
    if [[ -z ${DRY:-} ]]; then
        part pogo 200 "$python" benchmarks/optim.py --scale paper --device cuda --seconds 3 --skip problems kept \
            --only "POGO, vadam" Landing "RiemannianSGD, qr" --output "$OUT/pogo.json"
    fi
    ;;
tune)
    part warm 150 "$python" benchmarks/gpu_warm.py --processes "$workers" --tiles "${dry[@]}"
    measure tiles 300
    ;;
*)
    echo "unknown stage '$stage': expected check, speed, scale or tune" >&2
    exit 2
    ;;
esac
echo "stage $stage: $((SECONDS - started)) s"
cat "$OUT/$stage.txt"
! grep -qv ' rc 0 ' "$OUT/$stage.txt"
