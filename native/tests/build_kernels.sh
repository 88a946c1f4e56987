#!/usr/bin/env bash
# Builds operators into one library that PyTorch loads, for the GPU tests and benchmarks:
#   build_kernels.sh OUTPUT.so OPERATOR...
# Needs python3 with PyTorch for CUDA, nvcc and g++. An object is made again only when a source is newer.
set -euo pipefail
output=$(realpath -m "$1"); shift
cd "$(dirname "$0")/../kernels"
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
cuda=$(cd "$(dirname "$nvcc")/.." && pwd)
torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')
abi=$(python3 -c 'import torch; print(int(torch._C._GLIBCXX_USE_CXX11_ABI))')
objects=$(dirname "$output")/objects
mkdir -p "$objects"
built=()
jobs=()
declare -A isa=([portable]="" [avx2]="-mavx2 -mfma -mf16c" [avx512]="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c")
for operator in "$@" common; do
  for source in "$operator"/*_cpu.cpp; do
    [ -e "$source" ] || continue
    for set in "${!isa[@]}"; do
      object=$objects/${source//\//_}.$set.o
      built+=("$object")
      [ -e "$object" ] && [ -z "$(find "$operator" common -newer "$object" -print -quit)" ] && continue
      # shellcheck disable=SC2086
      g++ -std=c++20 -O3 -ffp-contract=fast -fno-trapping-math -Wno-psabi -fPIC ${isa[$set]} -DDS_ISA="$set" -I. -c "$source" -o "$object" &
      jobs+=($!)
    done
  done
  for source in "$operator"/*.cpp "$operator"/*.cu; do
    case $source in *_cpu.cpp) continue ;; esac
    [ -e "$source" ] || continue
    object=$objects/${source//\//_}.o
    built+=("$object")
    [ -e "$object" ] && [ -z "$(find "$operator" common -newer "$object" -print -quit)" ] && continue
    if [[ $source == *.cu ]]; then
      "$nvcc" -std=c++17 -O3 --expt-relaxed-constexpr -DDEEPSEEK_CUDA -lineinfo -gencode=arch=compute_90a,code=sm_90a -Xcompiler=-fPIC -I. -c "$source" -o "$object" &
    else
      g++ -std=c++20 -O2 -fPIC -DDEEPSEEK_CUDA -D_GLIBCXX_USE_CXX11_ABI="$abi" -I. -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" -isystem "$cuda/include" \
        -c "$source" -o "$object" &
    fi
    jobs+=($!)
  done
done
for job in "${jobs[@]:-}"; do [ -z "$job" ] || wait "$job"; done
g++ -shared -o "$output" "${built[@]}" -L"$torch/lib" -ltorch -ltorch_cpu -lc10 -ltorch_cuda -lc10_cuda -L"$cuda/lib64" -lcudart
