// Reads an npz file and writes what it holds into another, for other programs
// to be compared with (see oracles/check_npz.py).
//
//     npz_copy SOURCE DESTINATION [ROWS]
//
// With ROWS tensors are written in blocks of so many rows.

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include <mlx/ops.h>

#include "formats/npz_reader.h"
#include "formats/npz_writer.h"

namespace {

namespace mx = mlx::core;

void append_in_blocks(llamlx::TensorWriter& writer, const std::string& name,
                      const mx::array& values, int rows) {
  auto start = mx::Shape(values.ndim(), 0);
  auto stop = values.shape();
  const int end = stop[0];
  for (int begin = 0; begin < end; begin += rows) {
    start[0] = begin;
    stop[0] = std::min(end, begin + rows);
    writer.append_rows(name, mx::slice(values, start, stop));
  }
}

void copy(const char* source, const char* destination, int rows) {
  const llamlx::NpzFile file(source);
  std::vector<llamlx::PlannedTensor> plan;
  for (const auto& tensor : file.tensors()) {
    plan.push_back({tensor.name, *tensor.dtype, tensor.shape});
  }
  llamlx::NpzWriter writer(destination, plan);
  for (const auto& tensor : file.tensors()) {
    const auto values = file.read(tensor);
    if (rows > 0 && !values.shape().empty() && values.shape(0) > 0) {
      append_in_blocks(writer, tensor.name, values, rows);
    } else {
      writer.append(tensor.name, values);
    }
  }
  writer.finish();
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 4) {
    std::cerr << "usage: npz_copy SOURCE DESTINATION [ROWS]\n";
    return 2;
  }
  copy(argv[1], argv[2], argc == 4 ? std::atoi(argv[3]) : 0);
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
