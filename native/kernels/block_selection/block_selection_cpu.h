// Scores of blocks and their selection on the CPU: the parameters as for CUDA, without workspaces.
#pragma once

#include "block_selection/block_selection.h"
#include "common/cpu.h"

namespace deepseek {

DS_CPU_DECLARE(void, block_scores_cpu, (const BlockScoresParams&))
// Takes `shared` in place of bounds.
DS_CPU_DECLARE(void, select_blocks_cpu, (const SelectBlocksParams&))

}  // namespace deepseek
