#include "cuda/out_of_memory.h"

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "cuda/device.h"

namespace llamlx {

void fail_for_memory(std::size_t bytes) {
  const auto info = cuda_device_info();
  fail(ErrorCode::out_of_memory, "GPU",
       concat("cannot get ", human_size(bytes), " of memory (",
              human_size(info->free_bytes), " of ",
              human_size(info->memory_bytes), " are free)"),
       "close what else uses the GPU, or take a smaller or quantised model");
}

}  // namespace llamlx
