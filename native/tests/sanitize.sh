#!/usr/bin/env bash
# compute-sanitizer over the small cases of every kernel family, all of them at once:
#   sanitize.sh LIBRARY FOLDER [TOOL...]      (racecheck and memcheck unless named; a report a family and tool in FOLDER)
# Prints one line a family and tool; exits 1 when one found something or a case failed. About two minutes with 16 cores.
set -uo pipefail
library=$(realpath "$1") folder=$(realpath -m "$2"); shift 2
here=$(cd "$(dirname "$0")" && pwd); mkdir -p "$folder"
tool=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer | head -n 1)
declare -A family=(
  [sparse_attention]="$here/sparse_attention_gpu.py --small" [token_sparse]="$here/token_sparse_gpu.py --small" [linear]="$here/linear_gpu.py --small"
  [fp8]="$here/fp8_gpu.py --small" [batch_norm]="$here/batch_norm_gpu.py --small" [max_pool]="$here/max_pool_gpu.py --small"
  [folded_convolution]="$here/folded_convolution_gpu.py --small" [others]="$here/../bench/kernels_gpu.py sanitize")
[ $# -gt 0 ] || set -- racecheck memcheck
running=()
for check in "$@"; do for name in "${!family[@]}"; do
  read -r script options <<< "${family[$name]}"
  [ "$check" = racecheck ] && case $name in linear | fp8) options=--own ;; esac  # it cannot follow cuBLASLt
  # Only this repository's kernels: libraries' own are not ours to mend, and slow under the tool.
  ( timeout 600 "$tool" --tool "$check" --kernel-name kns=deepseek --error-exitcode 9 python3 "$script" "$library" $options > "$folder/$check-$name.txt" 2>&1
    status=$?
    echo "$check $name: $(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$folder/$check-$name.txt" | sed 's/=* *//') $(grep -E ' failed$|: done$' "$folder/$check-$name.txt") (exit $status)"
    exit "$status" ) &
  running+=($!)
done; done
bad=0
for job in "${running[@]}"; do wait "$job" || bad=1; done
exit "$bad"
