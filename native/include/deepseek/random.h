// Random numbers of the default generators.
#pragma once

#include "core.h"

// Seeds the generators of all devices.
DS_API ds_status ds_random_seed(uint64_t seed) DS_NOEXCEPT;
// State of the CPU generator: with a null buffer only *bytes is set; else `capacity` must suffice.
DS_API ds_status ds_random_get_state(void* buffer, int64_t capacity, int64_t* bytes) DS_NOEXCEPT;
DS_API ds_status ds_random_set_state(const void* buffer, int64_t bytes) DS_NOEXCEPT;
// The same of one device's generator (type 0: CPU, 1: CUDA). Not while a CUDA graph is recorded.
DS_API ds_status ds_random_get_device_state(int32_t device_type, int32_t device_index, void* buffer, int64_t capacity, int64_t* bytes) DS_NOEXCEPT;
DS_API ds_status ds_random_set_device_state(int32_t device_type, int32_t device_index, const void* buffer, int64_t bytes) DS_NOEXCEPT;
