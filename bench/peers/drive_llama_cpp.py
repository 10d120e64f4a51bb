#!/usr/bin/env python3
"""Measures llama.cpp, through the C interface in llama-cpp-python: what its
llama-bench does, and as fast.

    drive_llama_cpp.py MODEL.gguf [-p 512] [-n 128] [-d 0] [-t 2] [-r 3]

With -d, the positions before are computed once a model and kept beside it.
"""

import ctypes
import random
import sys
import time
from pathlib import Path

import llama_cpp as lib
from driving import SEED, parse_arguments, report, result, test_name, time_of

MICRO_BATCH = 512  # The default of llama.cpp's programs.


@lib.llama_log_callback
def drop_log(_level, _text, _data):
    pass


class Model:
    """A GGUF file that is loaded, and one context of it at a time."""

    def __init__(self, path, threads):
        self._path = Path(path)
        self._threads = threads
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(path.encode(), params)
        if not self._model:
            raise SystemExit(f"{path}: llama.cpp cannot load this")
        vocab = lib.llama_model_get_vocab(self._model)
        self._vocab = lib.llama_vocab_n_tokens(vocab)
        self._context = None
        self._random = random.Random(SEED)

    def open(self, positions):
        """Makes a context with room for so many positions, empty."""
        self.close()
        params = lib.llama_context_default_params()
        params.n_ctx = max(positions, 256)
        params.n_ubatch = params.n_batch = MICRO_BATCH
        params.n_threads = params.n_threads_batch = self._threads
        self._context = lib.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit(f"{self._path}: llama.cpp makes no context of it")

    def close(self):
        if self._context:
            lib.llama_free(self._context)
        self._context = None

    def run(self, tokens, at_once):
        """Feeds random tokens, so many in one call, and waits for logits."""
        for first in range(0, tokens, at_once):
            count = min(at_once, tokens - first)
            ids = [self._random.randrange(self._vocab) for _ in range(count)]
            array = (lib.llama_token * count)(*ids)  # The batch points to it.
            batch = lib.llama_batch_get_one(array, count)
            if lib.llama_decode(self._context, batch) != 0:
                raise SystemExit(f"{self._path}: llama.cpp's decoding failed")
            lib.llama_synchronize(self._context)

    def rewind(self, depth):
        """Leaves the first `depth` positions in the context alone."""
        memory = lib.llama_get_memory(self._context)
        if depth == 0:
            lib.llama_memory_clear(memory, False)
        elif not lib.llama_memory_seq_rm(memory, 0, depth, -1):
            raise SystemExit(f"{self._path}: llama.cpp cannot rewind")

    def fill(self, depth):
        """Fills an empty context to `depth`, from the file of last time."""
        path = self._path.with_suffix(f".d{depth}.state")
        ids = (lib.llama_token * 1)()
        count = ctypes.c_size_t()
        if path.exists() and lib.llama_state_load_file(
            self._context,
            str(path).encode(),
            ids,
            ctypes.c_size_t(0),
            ctypes.byref(count),
        ):
            return
        self.run(depth, MICRO_BATCH)
        lib.llama_state_save_file(
            self._context, str(path).encode(), ids, ctypes.c_size_t(0)
        )


def speeds(model, tokens, at_once, depth, repetitions, on_first):
    """Returns tokens a second of every repetition of a test.

    Before those it warms up, and calls on_first().
    """
    model.open(depth + tokens)
    if depth:
        model.fill(depth)
    model.run(min(at_once, tokens), at_once)
    on_first()
    found = []
    for _ in range(repetitions):
        model.rewind(depth)
        found.append(tokens / time_of(lambda: model.run(tokens, at_once)))
    return found


def main():
    args = parse_arguments(__doc__)
    lib.llama_log_set(drop_log, ctypes.c_void_p(0))
    start = time.perf_counter()
    lib.llama_backend_init()
    model = Model(args.model, args.t)
    seconds_to_logits = []

    def on_first():
        seconds_to_logits.append(time.perf_counter() - start)

    results = []
    tests = (("pp", args.p, MICRO_BATCH), ("tg", args.n, 1))
    for letter, tokens, at_once in tests:
        if tokens:
            found = speeds(
                model, tokens, at_once, args.d, args.r, on_first
            )
            name = test_name(letter, tokens, args.d)
            results.append(result(name, args.t, found))
    report(
        results,
        # From nothing loaded to the first logits of all tests.
        first_token_s=seconds_to_logits[0],
        version=lib.__version__,
        system=lib.llama_print_system_info().decode(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
