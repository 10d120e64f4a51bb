#include "cuda/graph.h"

#include <stdexcept>

#include "cuda/device.h"
#include "cuda/driver.h"

namespace llamlx {
namespace {

/// The node that all others come after, if it is a kernel.
CUgraphNode find_first_kernel(CUgraph graph) {
  std::size_t count = 0;
  check_driver(driver().graph_get_root_nodes(graph, nullptr, &count),
               "look into a graph");
  if (count != 1) return nullptr;
  CUgraphNode node = nullptr;
  check_driver(driver().graph_get_root_nodes(graph, &node, &count),
               "look into a graph");
  CUgraphNodeType type{};
  check_driver(driver().graph_node_get_type(node, &type), "look into a graph");
  return type == CU_GRAPH_NODE_TYPE_KERNEL ? node : nullptr;
}

}  // namespace

void DestroyCudaGraph::operator()(CUgraph_st* graph) const noexcept {
  if (enter_cuda_device()) driver().graph_destroy(graph);
}

void DestroyCudaGraph::operator()(CUgraphExec_st* graph) const noexcept {
  if (enter_cuda_device()) driver().graph_exec_destroy(graph);
}

Graph Graph::capture(Stream& stream, const std::function<void()>& work) {
  cuda_device();
  check_driver(driver().stream_begin_capture(
                   stream.handle(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
               "record a graph");
  Graph graph;
  CUgraph recorded = nullptr;
  try {
    work();
  } catch (...) {
    driver().stream_end_capture(stream.handle(), &recorded);
    graph.graph_.reset(recorded);
    throw;
  }
  const auto result = driver().stream_end_capture(stream.handle(), &recorded);
  graph.graph_.reset(recorded);
  check_driver(result, "record a graph");

  CUgraphExec executable = nullptr;
  check_driver(driver().graph_instantiate_with_flags(&executable, recorded, 0),
               "make a graph");
  graph.executable_.reset(executable);
  graph.first_kernel_ = find_first_kernel(recorded);
  return graph;
}

void Graph::launch(Stream& stream) {
  cuda_device();
  check_driver(driver().graph_launch(executable_.get(), stream.handle()),
               "start a graph");
}

void Graph::set_first_bytes(const void* args, std::size_t args_bytes) {
  if (first_kernel_ == nullptr) {
    throw std::invalid_argument("the graph does not start with one kernel");
  }
  cuda_device();
  CUDA_KERNEL_NODE_PARAMS params{};
  check_driver(driver().graph_kernel_node_get_params(first_kernel_, &params),
               "look into a graph");
  std::size_t offset = 0;
  std::size_t bytes = 0;
  check_driver(driver().func_get_param_info(params.func, 0, &offset, &bytes),
               "ask for the size of a kernel's parameter");
  if (bytes != args_bytes) {
    throw std::invalid_argument("these are not the first kernel's arguments");
  }
  void* parameters[] = {const_cast<void*>(args)};
  params.kernelParams = parameters;
  params.extra = nullptr;
  check_driver(driver().graph_exec_kernel_node_set_params(
                   executable_.get(), first_kernel_, &params),
               "change a graph");
}

}  // namespace llamlx
