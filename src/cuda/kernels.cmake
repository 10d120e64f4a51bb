# The files of kernels, which nvcc compiles for GPUs, and the C++ compiler for
# the emulator. probe comes first: by it a GPU is asked whether it runs ours.
set(LLAMLX_CUDA_KERNELS
  probe/probe.cu
  attention/few_rows.cu
  attention/many_rows.cu
  attention/many_rows_hopper.cu
  attention/turn.cu
  decode/decode.cu
  experts/route.cu
  limits/multiply.cu
  limits/read.cu
  matmul/expand.cu
  matmul/few_rows.cu
  matmul/gates.cu
  matmul/many_rows.cu
  matmul/many_rows_hopper.cu
  matmul/operands.cu
  matmul/pack.cu
  matmul/some_rows.cu
  matmul/some_rows_bf16.cu
  matmul/some_rows_hopper.cu
  matmul/stages.cu
  token/argmax.cu
  token/begin.cu)
