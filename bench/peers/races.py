"""What is measured, and what llamlx promises of it: tables, and no code that
runs anything.

A race is one test of one model; everyone runs it in turn. Every rival of a race
becomes a row of the report.
"""

from dataclasses import dataclass

LLAMLX = "llamlx"
LLAMA_CPP = "llama.cpp"
LLAMA_CPP_NO_AMX = "llama.cpp without AMX"
MLX_LM = "mlx_lm"
OPENVINO = "OpenVINO"

# The one that takes minutes for what others take seconds for gets as little:
# tokens of a prompt, tokens after it, and one round.
MLX_LM_SIZES = {"smol": (32, 8), "tiny": (8, 3)}
# Of the formats, those it reads.
OPENVINO_TYPES = {"smol": ("Q4_0", "Q8_0", "F16"), "tiny": ("Q4_0", "Q8_0")}
NAMES = {"smol": "SmolLM2 135M", "tiny": "1.1B", "l7b": "7B"}
KINDS = {"q4": "4-bit", "q8": "8-bit", "bf16": "bf16"}


@dataclass(frozen=True)
class Rival:
    """Who else runs: a peer, and the files of which its best counts."""

    peer: str
    files: tuple
    promise: float | None = None  # llamlx is this many times as fast.


@dataclass(frozen=True)
class Race:
    """One test of one model of llamlx. Either `prompt` or `tokens` is 0."""

    model: str  # smol, tiny, l7b
    kind: str  # q4, q8, bf16
    rivals: tuple
    prompt: int = 0
    tokens: int = 0
    threads: int = 2
    repetitions: int = 3
    quick: bool = False
    isa: str | None = None  # The last instruction set llamlx may use.

    @property
    def name(self):
        """Also what --only looks into."""
        decode = f"decode {self.tokens}"
        what = f"prefill {self.prompt}" if self.prompt else decode
        words = [NAMES[self.model], KINDS[self.kind], what]
        plural = "" if self.threads == 1 else "s"
        words.append(f"{self.threads} thread{plural}")
        if self.isa:
            words.append("without AMX")
        return " ".join(words)

    @property
    def folder(self):
        return f"mlx/{self.model}-{self.kind}"


def gguf(model, *kinds):
    return tuple(f"gguf/{model}-{kind.lower()}.gguf" for kind in kinds)


def mlx_lm(model, kind):
    return Rival(MLX_LM, (f"mlx/{model}-{kind}",), 50)


def decode_races():
    """Decoding: a token at a time, what memory allows."""
    return [
        Race(
            "smol",
            "q4",
            (
                Rival(LLAMA_CPP, gguf("smol", "Q4_0"), 2.0),
                Rival(OPENVINO, gguf("smol", "Q4_0")),
                mlx_lm("smol", "q4"),
            ),
            tokens=128,
            quick=True,
        ),
        Race(
            "smol",
            "q4",
            (Rival(LLAMA_CPP, gguf("smol", "Q4_0"), 1.6),),
            tokens=128,
            threads=1,
        ),
        Race(
            "smol",
            "bf16",
            (
                Rival(LLAMA_CPP, gguf("smol", "BF16"), 1.6),
                mlx_lm("smol", "bf16"),
            ),
            tokens=128,
        ),
        Race(
            "tiny",
            "q4",
            (
                Rival(LLAMA_CPP, gguf("tiny", "Q4_0"), 1.2),
                Rival(LLAMA_CPP, gguf("tiny", "Q4_K_M"), 1.7),
                Rival(OPENVINO, gguf("tiny", "Q4_0")),
                mlx_lm("tiny", "q4"),
            ),
            tokens=128,
            quick=True,
        ),
        Race(
            "tiny",
            "bf16",
            (
                Rival(LLAMA_CPP, gguf("tiny", "BF16"), 1.4),
                mlx_lm("tiny", "bf16"),
            ),
            tokens=128,
        ),
        Race(
            "tiny",
            "q8",
            (
                Rival(LLAMA_CPP, gguf("tiny", "Q8_0"), 1.12),
                mlx_lm("tiny", "q8"),
            ),
            tokens=128,
        ),
        Race(
            "l7b",
            "q4",
            # mlx_lm has not made three tokens of it in a quarter of an hour.
            (Rival(LLAMA_CPP, gguf("l7b", "Q4_0"), 1.0),),
            tokens=32,
            repetitions=1,
        ),
    ]


def prefill_races(amx):
    """Prefill: 512 tokens at once, what arithmetic allows. llama.cpp takes the
    format of its choice."""

    def race(model, kind, llama_cpp, openvino, quick):
        return Race(
            model,
            kind,
            (
                Rival(LLAMA_CPP, files[model], llama_cpp if amx else 1.5),
                Rival(
                    OPENVINO,
                    gguf(model, *OPENVINO_TYPES[model]),
                    openvino if amx else None,
                ),
                mlx_lm(model, kind),
            ),
            prompt=512,
            quick=quick,
        )

    files = {
        "smol": gguf("smol", "Q4_0", "Q8_0", "F16", "BF16"),
        "tiny": gguf("tiny", "Q4_0", "Q4_K_M", "Q8_0", "BF16"),
    }
    return [
        race("smol", "q4", 4.0, 1.4, True),
        race("smol", "bf16", 4.0, 1.4, False),
        race("tiny", "q4", 5.0, 2.0, True),
    ]


def races_without_amx():
    """On a machine with AMX: how everyone is without."""
    smol, tiny = gguf("smol", "Q4_0", "Q8_0"), gguf("tiny", "Q4_0", "Q8_0")
    return [
        Race(
            model,
            "q4",
            (Rival(LLAMA_CPP_NO_AMX, files, promise),),
            prompt=prompt,
            tokens=tokens,
            isa="avx512_bf16",
        )
        for model, files in (("smol", smol), ("tiny", tiny))
        for prompt, tokens, promise in ((512, 0, 1.5), (0, 128, None))
    ]


def all_races(amx):
    """Returns all races, for a machine with or without AMX."""
    races = decode_races() + prefill_races(amx)
    return races + (races_without_amx() if amx else [])
