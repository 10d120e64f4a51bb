#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "formats/safetensors_writer.h"

// Only *_test.cpp files include this.
namespace llamlx::testing {

/// Writes a safetensors file that holds `tensors`.
inline void write_safetensors(const std::filesystem::path& path,
                              const std::map<std::string, mx::array>& tensors) {
  std::vector<PlannedTensor> plan;
  for (const auto& [name, values] : tensors) {
    plan.push_back({name, values.dtype(), values.shape()});
  }
  SafetensorsWriter writer(path, plan);
  for (const auto& [name, values] : tensors) writer.append(name, values);
  writer.finish();
}

}  // namespace llamlx::testing
