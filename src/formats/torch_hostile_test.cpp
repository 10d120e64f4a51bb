#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/torch_reader.h"
#include "formats/torch_testing.h"

// Pickles that would run code in Python, or would fool a reader with an
// allow-list. Each must be refused, by name, and no way in may be open.
namespace llamlx {
namespace {

using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::pickle_call;
using testing::pickle_dict;
using testing::pickle_global;
using testing::pickle_number;
using testing::pickle_numbers;
using testing::pickle_text;
using testing::torch_storage;
using testing::torch_tensor;
using namespace std::string_literals;

struct Hostile {
  std::string code;
  std::string named;  // what the refusal must name
};

std::string stack_global(std::string_view module, std::string_view name) {
  return concat(pickle_text(module), pickle_text(name), "\x93");
}

/// A call of `name` with the text "id", in six spellings.
std::vector<Hostile> spellings(std::string_view module, std::string_view name) {
  const auto full = concat(module, ".", name);
  const auto global = pickle_global(module, name);
  const auto argument = pickle_text("id") + "\x85";
  return {
      {global + argument + "R", full},
      {stack_global(module, name) + argument + "R", full},
      {global + argument + "\x81", full},
      {global + argument + "}\x92", full},
      {concat("(", pickle_text("id"), "i", module, "\n", name, "\n"), full},
      {concat("(", global, pickle_text("id"), "o"), full},
  };
}

std::vector<Hostile> dangerous_names() {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"os", "system"},
      {"os", "popen"},
      {"os", "execv"},
      {"posix", "system"},
      {"nt", "system"},
      {"builtins", "eval"},
      {"builtins", "exec"},
      {"builtins", "compile"},
      {"builtins", "open"},
      {"builtins", "getattr"},
      {"builtins", "__import__"},
      {"__builtin__", "eval"},
      {"__builtin__", "apply"},
      {"subprocess", "Popen"},
      {"subprocess", "check_output"},
      {"commands", "getoutput"},
      {"importlib", "import_module"},
      {"runpy", "_run_code"},
      {"runpy", "run_path"},
      {"webbrowser", "open"},
      {"pty", "spawn"},
      {"socket", "create_connection"},
      {"shutil", "rmtree"},
      {"ctypes", "CDLL"},
      {"code", "interact"},
      {"types", "FunctionType"},
      {"marshal", "loads"},
      {"pickle", "loads"},
      {"_pickle", "loads"},
      {"operator", "attrgetter"},
      {"functools", "partial"},
      {"copyreg", "_reconstructor"},
      {"copy_reg", "_reconstructor"},
      {"numpy.core.multiarray", "scalar"},
      {"numpy", "load"},
      {"torch", "load"},
      {"torch.hub", "load"},
      {"torch.jit", "load"},
      {"torch.storage", "_load_from_bytes"},
      {"torch._utils", "_rebuild_qtensor"},
      {"torch._utils", "_rebuild_sparse_tensor"},
      {"torch.utils.collect_env", "run"},
      {"torch.nn.modules.linear", "Linear"},
      {"collections", "defaultdict"},
      {"argparse", "Namespace"},
      {"__main__", "Config"},
  };
  std::vector<Hostile> all;
  for (const auto& [module, name] : names) {
    for (auto& hostile : spellings(module, name)) {
      all.push_back(std::move(hostile));
    }
  }
  return all;
}

/// Allowed names that are taken apart, put together, or called as what they
/// are not.
std::vector<Hostile> tricks() {
  const auto size = pickle_global("torch", "Size");
  const auto half = pickle_global("torch", "float16");
  const auto made = pickle_call("torch", "device", {pickle_text("cpu")});
  return {
      {stack_global("os", "path.join"), "os.path.join"},
      {stack_global("torch", "_utils._rebuild_tensor"),
       "torch._utils._rebuild_tensor"},
      {stack_global("torch._utils", "_rebuild_tensor.__globals__"),
       "_rebuild_tensor.__globals__"},
      {stack_global("torch", "os.system"), "torch.os.system"},
      {stack_global("", "eval"), ".eval"},
      {pickle_global("torch ", "Size"), "torch .Size"},
      {pickle_global("torch", "Size\r"), "torch.Size?"},
      {stack_global("torch", "Size\0x"s), "torch.Size?x"},
      {pickle_global("os\x1b[2J", "system"), "os?[2J.system"},
      {"K\1" + pickle_text("system") + "\x93", "an integer"},
      {pickle_text("os") + "]\x93", "a list"},
      {size + pickle_text("x") + "\x93", "torch.Size"},
      {pickle_text("os") + "C\6system\x93", "bytes"},
      {"\x82\x07", "extension 7"},
      {"\x83\x01\x02", "extension 513"},
      {"\x84\x01\0\0\x01"s, "extension 16777217"},
      {half + ")R", "torch.float16"},
      {half + ")\x81", "torch.float16"},
      {pickle_global("torch", "FloatStorage") + "K\1\x85R",
       "torch.FloatStorage"},
      {pickle_global("torch", "Tensor") + ")R", "torch.Tensor"},
      {pickle_global("torch.nn.parameter", "Parameter") + ")\x81",
       "torch.nn.parameter.Parameter"},
      {made + ")R", "what torch.device returned"},
      {made + "}X\x08\0\0\0__dict__}sb"s, "what torch.device returned"},
      {size + "}b", "torch.Size"},
      {size + ")R}(" + pickle_text("__setstate__") + half + "ub",
       "what torch.Size returned"},
      {half + "N}" + pickle_text("__class__") + half + "s\x86" + "b",
       "torch.float16"},
      {size + ")}" + pickle_text("x") + "Ns\x92", "torch.Size"},
      {"}Nb", "a dict"},
      {"]}b", "a list"},
      {"}" + pickle_text("x") + "\x85" + "b", "a dict"},
      {pickle_text("os.system") + ")R", "a string"},
      {"})R", "a dict"},
      {"(" + size + "K\1o", "torch.Size"},
      {"(K\1itorch\nSize\n", "torch.Size"},
      {"Pos.system\n", "os.system"},
  };
}

/// Runs a hostile pickle in every place and format it can come in.
void expect_refused(const testing::TemporaryFolder& folder,
                    const Hostile& hostile) {
  const auto tensor = torch_tensor(torch_storage("0", 1), 0, {1}, {1});
  const auto with = [&](const std::string& first) {
    return pickle_dict({pickle_text("a"), first, pickle_text("w"), tensor});
  };
  static int number = 0;
  const std::vector<std::string> objects = {
      hostile.code,
      // Thrown away as soon as it is made.
      hostile.code + "0" + with("N"),
      with(hostile.code),
      with(concat("]", hostile.code, "a")),
      pickle_dict({hostile.code, tensor}),
      with(concat(hostile.code, "Q")),
  };
  for (const auto& object : objects) {
    SCOPED_TRACE(object);
    const testing::TorchBytes storage = {"0", 1, std::string(4, '\0')};
    for (const auto& bytes : {testing::torch_stream(object, {storage}),
                              testing::torch_zip(object, {storage})}) {
      // A new file each time: some disks wait for one that is replaced.
      const auto path = folder.write(concat(number++), bytes);
      EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { TorchFile{path}; }),
                  AllOf(HasSubstr(hostile.named),
                        HasSubstr("code in checkpoints is never run")));
    }
  }
}

TEST(TorchHostileTest, DangerousNamesAreRefusedByName) {
  const testing::TemporaryFolder folder;
  for (const auto& hostile : dangerous_names()) {
    SCOPED_TRACE(hostile.named);
    expect_refused(folder, hostile);
  }
}

TEST(TorchHostileTest, TricksWithAllowedNamesAreRefused) {
  const testing::TemporaryFolder folder;
  for (const auto& hostile : tricks()) {
    SCOPED_TRACE(hostile.named);
    expect_refused(folder, hostile);
  }
}

TEST(TorchHostileTest, NamesAreRefusedInTheStreamsOtherPicklesToo) {
  const testing::TemporaryFolder folder;
  const auto evil =
      testing::pickle_of(pickle_call("os", "system", {pickle_text("id")}));
  const auto header = testing::torch_stream_header();
  const auto object = testing::pickle_of(pickle_dict(
      {pickle_text("w"), torch_tensor(torch_storage("0", 1), 0, {1}, {1})}));
  const auto machine = header.rfind("\x80\x02");
  for (const auto& bytes :
       {evil, header.substr(0, machine) + evil, header + object + evil}) {
    const auto path = folder.write("x.pth", bytes);
    EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { TorchFile{path}; }),
                HasSubstr("os.system"));
  }
}

TEST(TorchHostileTest, TensorsThatHoldThemselvesAreTensors) {
  const testing::TemporaryFolder folder;
  const auto tensor =
      pickle_call("torch._utils", "_rebuild_tensor_v2",
                  {torch_storage("0", 1), "K\0"s, ")", ")", "\x89", "}q\1"});
  const auto object =
      pickle_dict({pickle_text("w"), tensor + "q\2"}) + "h\1h\2h\2s0"s;
  const TorchFile file(
      folder.write("x.pth", testing::torch_stream(object, {{"0", 1, "1234"}})));
  EXPECT_EQ(file.read(*file.find("w")).size(), 1U);
}

}  // namespace
}  // namespace llamlx
