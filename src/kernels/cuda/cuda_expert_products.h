#pragma once

#include "cuda/experts/experts.h"
#include "kernels/cuda/cuda_expert_plan.h"
#include "kernels/cuda/cuda_operands.h"

namespace llamlx {

/// Rows that go through the experts together, while their kernels are put into
/// the stream.
struct ExpertStep {
  CudaModel& model;
  const CudaExperts& experts;
  cuda::Grouping grouping;
  bool is_many;
  ProductRows x;

  CudaExpertSpace& space() const { return model.space.experts; }
  cuda::ExpertGroups groups() const {
    return {space().groups.as<const cuda::ExpertGroup>(),
            space().num_groups.as<const int>()};
  }
  int most_groups() const { return grouping.most_groups(); }
  int group_rows() const {
    return grouping.has_all_rows() ? kRowsOfAllGroups : grouping.group_rows;
  }
};

/// What a product reads: the rows, or what was made of each for its experts.
struct GroupRows {
  ProductRows rows;
  bool are_of_places;
};

/// How experts_some reads groups of so many rows.
cuda::OperandStage group_stage(const CudaModel& model, const CudaMatrix& matrix,
                               int rows);

/// Puts the products of every group and the matrix of its expert into the
/// model's stream, to their places. Returns whether it made operands for the
/// next product, which reads those places, and wrote nothing else.
bool multiply(const ExpertStep& step, const CudaMatrix& matrix,
              const GroupRows& x, const ProductTarget& target);

}  // namespace llamlx
