#!/usr/bin/env bash
# Makes losses.json anew from native/tests/golden_losses.cpp, with the libtorch that CMake finds.
set -euo pipefail
cd "$(dirname "$0")/../../.."
cmake -S native -B artifacts/native-tools -G Ninja -DDS_TOOLS=ON > /dev/null
cmake --build artifacts/native-tools --target golden_losses
artifacts/native-tools/golden_losses > tests/DeepSeek.Engine.Tests/Goldens/losses.json
