#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cpu/cpu_pass.h"
#include "kernels/mlp/choose_experts.h"

namespace llamlx {
namespace {

// At multiples of so many rows preparing may begin.
constexpr int kRowsAtOnce = 16;

int ceil_div(int n, int step) { return (n + step - 1) / step; }

bool same_input(const CpuLinear& a, const CpuLinear& b) {
  return a.kernels == b.kernels && a.weight.format == b.weight.format;
}

/// The weight of expert `expert`; `first` is that of the first.
WeightView weight_of(const WeightView& first, int expert) {
  auto weight = first;
  const auto start = start_of(first, expert * first.rows);
  weight.data = start.data;
  weight.scales = start.scales;
  weight.biases = start.biases;
  return weight;
}

/// One layer's step, as one worker does it. Every worker orders the rows by
/// expert for itself, which costs less than meeting; an expert that rows go to
/// has one product with all of them. Which experts are added to a row first
/// does not depend on who computes them: they come in their own order.
class ExpertStep {
 public:
  ExpertStep(Worker& worker, CpuPass& pass, const CpuLayer& layer)
      : worker_(worker),
        pass_(pass),
        layer_(layer),
        own_(pass.thread(worker)),
        routed_(own_.routed),
        rows_((pass.is_few() ? own_.expert_rows : pass.space.expert_rows)
                  .as<float>()),
        prepared_(pass.is_few() ? own_.expert_prepared
                                : pass.space.expert_prepared) {}

  void run(const CpuLinear& next) {
    route();
    group_rows();
    prepare_normed();
    make_hidden();
    worker_.barrier();
    prepare_hidden();
    add_outputs(next);
    worker_.barrier();
  }

 private:
  /// Chooses every row's experts. The normed rows are left where
  /// prepare_rows() makes them.
  void route() {
    const auto& router = *layer_.router;
    auto* logits = pass_.space.router_logits.as<float>();
    const int experts = router.weight.rows;
    const auto normed =
        prepare_rows(worker_, pass_, {&router}, [&](int i, float* out) {
          norm_row(pass_, layer_.post_attention_layernorm, i, out);
        });
    for_each_task(worker_, pass_, pass_.parts_of(router), [&](int task) {
      const auto run = pass_.part(router, task);
      multiply(worker_, pass_, router, normed[0], run, logits + run.begin,
               experts);
    });
    worker_.barrier();
    const std::ptrdiff_t used = pass_.experts_per_row();
    for (int row; (row = worker_.next_task()) < pass_.rows;) {
      choose_experts({logits + std::ptrdiff_t{row} * experts,
                      static_cast<std::size_t>(experts)},
                     pass_.model.params.experts,
                     pass_.space.experts.as<std::int32_t>() + row * used,
                     pass_.space.shares.as<float>() + row * used);
    }
    worker_.barrier();
  }

  /// Orders the rows by expert, those of one expert in their own order.
  void group_rows() {
    const auto* experts = pass_.space.experts.as<std::int32_t>();
    const auto* shares = pass_.space.shares.as<float>();
    const int used = pass_.experts_per_row();
    const auto count = static_cast<std::size_t>(pass_.rows) * used;
    auto& [rows, ordered_shares, groups, ends] = routed_;
    ends.assign(static_cast<std::size_t>(layer_.router->weight.rows), 0);
    for (std::size_t i = 0; i < count; ++i) ++ends[experts[i]];
    groups.clear();
    int first = 0;
    for (std::size_t e = 0; e < ends.size(); ++e) {
      const int size = std::exchange(ends[e], first);
      if (size > 0) groups.push_back({static_cast<int>(e), first, size});
      first += size;
    }
    rows.resize(count);
    ordered_shares.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(ends[experts[i]]++);
      rows[at] = static_cast<int>(i) / used;
      ordered_shares[at] = shares[i];
    }
  }

  /// Says where each group's rows go that `linear` reads. `alike`: all groups
  /// have the same rows.
  void place(const CpuLinear& linear, std::size_t which, bool alike) {
    std::size_t at = 0;
    for (auto& group : routed_.groups) {
      group.prepared[which] = at;
      if (alike) continue;
      const auto bytes = linear.kernel(group.count)
                             .prepared_bytes(linear.weight.format, group.count,
                                             linear.weight.cols);
      constexpr auto kLine = AlignedBuffer::kAlignment;
      at += (bytes + kLine - 1) / kLine * kLine;
    }
  }

  const std::byte* prepared(const ExpertGroup& group, std::size_t which) const {
    return prepared_[which].data() + group.prepared[which];
  }

  /// Prepares rows [begin, end) of a group; `rows` [rows * k, K].
  void prepare(const CpuLinear& linear, std::size_t which,
               const ExpertGroup& group, const float* rows, int begin,
               int end) {
    const int cols = linear.weight.cols;
    linear.kernel(group.count)
        .prepare(linear.weight.format,
                 rows + static_cast<std::ptrdiff_t>(group.first) * cols, cols,
                 group.count, cols, begin, end,
                 prepared_[which].data() + group.prepared[which]);
  }

  /// Calls work(group, piece) for all pieces of all groups that are this
  /// worker's, `pieces(group)` in each: with many rows those that are dealt to
  /// it. Tasks come to a worker in rising order.
  template <typename Pieces, typename Work>
  void deal(const Pieces& pieces, const Work& work) {
    const auto& groups = routed_.groups;
    std::size_t g = 0;
    int before = 0;
    while (true) {
      const int task = worker_.next_task();
      while (g < groups.size() && task - before >= pieces(groups[g])) {
        before += pieces(groups[g++]);
      }
      if (g == groups.size()) return;
      work(groups[g], task - before);
    }
  }

  /// Calls make(group, begin, end) for all rows of all groups: with few rows
  /// every worker does so for itself, with many they share them and meet.
  template <typename Make>
  void for_all_rows(const Make& make) {
    if (pass_.is_few()) {
      for (const auto& group : routed_.groups) make(group, 0, group.count);
      return;
    }
    const auto pieces = [](const ExpertGroup& group) {
      return ceil_div(group.count, kRowsAtOnce);
    };
    deal(pieces, [&](const ExpertGroup& group, int piece) {
      const int begin = piece * kRowsAtOnce;
      make(group, begin, std::min(begin + kRowsAtOnce, group.count));
    });
    worker_.barrier();
  }

  void prepare_normed() {
    const bool alike = pass_.rows == 1;
    shares_input_ = same_input(layer_.gate_proj, layer_.up_proj);
    place(layer_.gate_proj, 0, alike);
    if (!shares_input_) place(layer_.up_proj, 1, alike);
    const auto* normed =
        (pass_.is_few() ? own_.rows : pass_.space.rows).as<float>();
    const auto size = static_cast<std::ptrdiff_t>(pass_.model.hidden_size());
    for_all_rows([&](const ExpertGroup& group, int begin, int end) {
      if (alike && group.first > 0) return;
      for (int i = group.first + begin; i < group.first + end; ++i) {
        std::memcpy(rows_ + i * size,
                    normed + routed_.rows[static_cast<std::size_t>(i)] * size,
                    static_cast<std::size_t>(size) * sizeof(float));
      }
      prepare(layer_.gate_proj, 0, group, rows_, begin, end);
      if (!shares_input_) {
        prepare(layer_.up_proj, 1, group, rows_, begin, end);
      }
    });
  }

  void prepare_hidden() {
    place(layer_.down_proj, 0, false);
    const auto* hidden = pass_.space.hidden.as<float>();
    for_all_rows([&](const ExpertGroup& group, int begin, int end) {
      prepare(layer_.down_proj, 0, group, hidden, begin, end);
    });
  }

  /// As multiply(), with the rows and the weight of a group.
  void product(const CpuLinear& linear, const ExpertGroup& group,
               std::size_t which, const WeightRun& run, float* y) {
    linear.kernel(group.count)
        .multiply(weight_of(linear.weight, group.expert),
                  prepared(group, which), group.count, run, own_.scratch.data(),
                  y, run.end - run.begin);
  }

  /// Where this worker reads next, if that is known: its part of a group's
  /// weight, or of the first of all where there are no more groups.
  WeightStart start(const CpuLinear& linear, std::size_t group) const {
    if (!pass_.is_few()) return {};
    const auto begin = worker_.index() * pass_.part_size(linear);
    if (begin >= linear.weight.rows) return {};
    const int expert = routed_.groups[group].expert;
    return start_of(weight_of(linear.weight, expert), begin);
  }

  /// hidden[:, part] = silu(gate) * up, of a group.
  void make_hidden(const ExpertGroup& group, int task, const WeightStart& up,
                   const WeightStart& next) {
    auto run = pass_.part(layer_.gate_proj, task, up);
    const int width = run.end - run.begin;
    auto* gates = own_.outputs.as<float>();
    auto* ups = gates + static_cast<std::ptrdiff_t>(group.count) * width;
    product(layer_.gate_proj, group, 0, run, gates);
    run.next = next;
    product(layer_.up_proj, group, shares_input_ ? 0 : 1, run, ups);
    const std::ptrdiff_t inner = layer_.up_proj.weight.rows;
    auto* out =
        pass_.space.hidden.as<float>() + group.first * inner + run.begin;
    for (int i = 0; i < group.count; ++i) {
      pass_.vectors.silu_mul(gates, ups, width, out);
      gates += width;
      ups += width;
      out += inner;
    }
  }

  void make_hidden() {
    const auto& groups = routed_.groups;
    const int parts = pass_.parts_of(layer_.gate_proj);
    if (!pass_.is_few()) {
      return deal([&](const ExpertGroup&) { return parts; },
                  [&](const ExpertGroup& group, int part) {
                    make_hidden(group, part, {}, {});
                  });
    }
    if (worker_.index() >= parts) return;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const auto next = g + 1 < groups.size() ? start(layer_.gate_proj, g + 1)
                                              : start(layer_.down_proj, 0);
      make_hidden(groups[g], worker_.index(), start(layer_.up_proj, g), next);
    }
  }

  void add_outputs(const CpuLinear& next) {
    const auto& down = layer_.down_proj;
    const auto& groups = routed_.groups;
    for_each_task(worker_, pass_, pass_.parts_of(down), [&](int task) {
      for (std::size_t g = 0; g < groups.size(); ++g) {
        const auto after = g + 1 < groups.size() ? start(down, g + 1)
                                                 : pass_.start(worker_, next);
        add_output(groups[g], pass_.part(down, task, after));
      }
    });
  }

  void add_output(const ExpertGroup& group, const WeightRun& run) {
    auto* y = own_.outputs.as<float>();
    const int width = run.end - run.begin;
    product(layer_.down_proj, group, 0, run, y);
    auto at = static_cast<std::size_t>(group.first);
    for (int i = 0; i < group.count; ++i, ++at, y += width) {
      auto* out = pass_.residual +
                  static_cast<std::ptrdiff_t>(routed_.rows[at]) *
                      pass_.model.hidden_size() +
                  run.begin;
      pass_.vectors.scale(y, routed_.shares[at], width);
      pass_.vectors.add(out, y, width, out);
    }
  }

  Worker& worker_;
  CpuPass& pass_;
  const CpuLayer& layer_;
  ThreadSpace& own_;
  ExpertRows& routed_;
  float* rows_;               // [rows * k, D]
  AlignedBuffer* prepared_;   // [2]
  bool shares_input_ = true;  // gate_proj and up_proj
};

}  // namespace

void experts_cpu(Worker& worker, CpuPass& pass, const CpuLayer& layer,
                 const CpuLinear& next) {
  ExpertStep(worker, pass, layer).run(next);
}

}  // namespace llamlx
