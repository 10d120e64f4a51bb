#include "kernels/cpu/weight_packer.h"

#include <cstdlib>
#include <new>
#include <span>

#include <sys/mman.h>

#include "base/clock.h"
#include "base/mapped_file.h"
#include "base/system_memory.h"
#include "cpu/matmul/registry.h"
#include "kernels/cpu/cpu_model.h"

namespace llamlx {
namespace {

std::size_t nbytes(const WeightView& w) {
  return static_cast<std::size_t>(w.rows) * w.row_bytes();
}

bool can_be_packed(const CpuModel& model, const CpuLinear& linear) {
  const auto& w = linear.weight;
  return PackedBf16::takes(w) &&
         serving_kernels(kPackedBf16, w.cols, model.compute).one_row != nullptr;
}

/// What can be packed of layer `index`, or, past the last, of the head.
std::vector<CpuLinear*> linears_of(CpuModel& model, std::size_t index) {
  std::vector<CpuLinear*> linears{&model.lm_head};
  if (index < model.layers.size()) {
    auto& layer = model.layers[index];
    linears = {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj};
    // A copy of experts would pay after many times as many passes: each reads
    // but a few of them.
    if (!layer.router) {
      for (auto* one : {&layer.gate_proj, &layer.up_proj, &layer.down_proj}) {
        linears.push_back(one);
      }
    }
  }
  std::erase_if(linears, [&](const CpuLinear* linear) {
    return !can_be_packed(model, *linear);
  });
  return linears;
}

void use(CpuModel& model, CpuLinear& linear, const WeightView& packed) {
  linear.packed = packed;
  linear.choose_kernels(model.compute);
  const auto& w = linear.weight;
  release_mapped({static_cast<const std::byte*>(w.data), nbytes(w)});
}

}  // namespace

void WeightPacker::Free::operator()(std::byte* memory) const {
  std::free(memory);
}

WeightPacker::Memory WeightPacker::large_pages(std::size_t bytes) {
  const auto rounded = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  Memory memory(
      static_cast<std::byte*>(std::aligned_alloc(kLargePage, rounded)));
  if (!memory) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  ::madvise(memory.get(), rounded, MADV_HUGEPAGE);
#endif
  return memory;
}

bool WeightPacker::fits(CpuModel& model) const {
  std::size_t needed = 0;
  for (std::size_t i = 0; i <= model.layers.size(); ++i) {
    for (const auto* linear : linears_of(model, i)) {
      needed += PackedBf16::band_bytes(linear->weight) + nbytes(linear->weight);
    }
  }
  return needed > 0 && needed <= system_memory().available_bytes;
}

void WeightPacker::go_on(CpuModel& model, double pass_seconds) {
  constexpr double kShare = 1.0 / 8;
  credit_ += kShare * pass_seconds;
  if (is_done_ || credit_ < price_) return;
  const auto start = Clock::now();
  pack_next(model);
  price_ = seconds_since(start);
  credit_ -= price_;
}

void WeightPacker::finish(CpuModel& model) {
  while (!is_done_) pack_next(model);
}

void WeightPacker::pack_next(CpuModel& model) {
  if (next_ == 0 && !fits(model)) {
    is_done_ = true;
    return;
  }
  const auto linears = linears_of(model, next_);
  is_done_ = next_++ == model.layers.size();
  try {
    pack(model, linears);
  } catch (const std::bad_alloc&) {
    is_done_ = true;  // what is packed stays so
  }
}

void WeightPacker::pack(CpuModel& model,
                        const std::vector<CpuLinear*>& linears) {
  std::size_t bytes = 0;
  for (const auto* linear : linears) {
    bytes += PackedBf16::band_bytes(linear->weight);
  }
  if (bytes == 0) return;
  memory_.push_back(large_pages(bytes));
  auto* to = memory_.back().get();
  for (auto* linear : linears) {
    const auto& w = linear->weight;
    auto packed = PackedBf16::pack(w, *model.pool, to);
    if (packed == nullptr) continue;
    to += PackedBf16::band_bytes(w);
    spared_ += nbytes(w) - packed->nbytes();
    use(model, *linear, packed->view());
    packed_.push_back(std::move(packed));
  }
}

}  // namespace llamlx
