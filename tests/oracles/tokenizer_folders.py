"""Makes the tokenizers that tokenizer_corpus.py compares: a folder for each, and
the Python object that answers for it. Everything is trained or assembled here,
from the corpus and from a GGUF file's vocabulary when one is given."""

import io
import json
import pathlib

import sentencepiece
import tokenizers

SPACE_MARK = "\u2581"
REPLACEMENT = "\ufffd"

GPT2 = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+"
        r"|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
            r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+")

# Corners of Oniguruma's syntax, each with the behaviours in turn.
PATTERNS = [
    r"\w+", r"\W", r"\d{2}", r"\D+", r"\S+", r"[\s\d]+", r"[^\w\s]", r"\h{2,}",
    r"[\W\d]", r"[a-z&&[^aeiou]]+", r"[^a-m[x-z]]", r"[[:alpha:]_]+",
    r"[[:upper:]][[:lower:]]*", r"(?i)[\u00e9z]t|the", r"(?m:o.n)", r"o.n",
    r"^\S", r"\S$", r"\A.", r"\p{Greek}+|\p{Cyrillic}+|\p{Han}",
    r"\p{^L}+", r"\P{Ll}", r"\p{Alpha}", r"\p{Lowercase}+", r"\p{Nd}{,3}x?",
    r"\b\w", r"\B.", r"a{2}?b", r"(?:ab){1,2}+", r"a{1,2}+", r"x*", r"",
    r"(\w)\1", r"(?<c>\w)\k<c>", r"[\u0430-\u044f]+", r"\x41|\x{42}", r"\R",
    r"(?<=e)[a-z]", r"(?<!\s)\s", r"(?>a+)b", r"a+?b", r"[\]\-x]", r"\{|}",
]

CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_level(add_prefix_space=False, use_regex=True):
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space,
            "trim_offsets": True, "use_regex": use_regex}


def sequence(key, *steps):
    return {"type": "Sequence", key: list(steps)}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior,
            "invert": invert}


def added(index, content, **flags):
    token = {"id": index, "content": content, "single_word": False,
             "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    token.update(flags)
    return token


def document(model, tokens=(), **parts):
    result = {"version": "1.0", "truncation": None, "padding": None,
              "added_tokens": list(tokens), "normalizer": None,
              "pre_tokenizer": None, "post_processor": None, "decoder": None,
              "model": model}
    result.update(parts)
    return result


class HubOracle:
    """The tokenizers package on a tokenizer.json."""

    def __init__(self, path):
        self.tokenizer = tokenizers.Tokenizer.from_file(str(path))

    def encode(self, texts, special):
        batch = self.tokenizer.encode_batch(texts, add_special_tokens=special)
        return [encoding.ids for encoding in batch]

    def decode(self, sequences):
        return self.tokenizer.decode_batch(sequences, skip_special_tokens=True)

    def size(self):
        return self.tokenizer.get_vocab_size()

    def ties(self, ids, others):
        return False


class SentencePieceOracle:
    """The sentencepiece package on a tokenizer.model."""

    def __init__(self, path):
        self.processor = sentencepiece.SentencePieceProcessor(str(path))

    def encode(self, texts, special):
        ids = self.processor.encode(texts)
        bos = self.processor.bos_id()
        return [[bos] + one for one in ids] if special and bos >= 0 else ids

    def decode(self, sequences):
        return [self.processor.decode(one) for one in sequences]

    def size(self):
        return self.processor.get_piece_size()

    def ties(self, ids, others):
        """Whether a unigram model scores both alike. Versions of the library
        then choose differently, by how their float sums happen to be rounded."""
        total, other = (sum(self.processor.get_score(one) for one in each)
                        for each in (ids, others))
        return (abs(total - other) <= 1e-5 * abs(total)
                and self.processor.decode(ids) == self.processor.decode(others))


class Case:
    def __init__(self, name, folder, oracle, texts_of_tokens, weight=1.0,
                 old_tables=False, long_texts=False, reserved=(), others=None,
                 stops=None):
        self.name = name
        self.folder = folder
        self.oracle = oracle
        self.tokens = texts_of_tokens  # to be sprinkled into random texts
        self.weight = weight           # share of the random texts
        self.old_tables = old_tables   # tokenizers asks its oldest tables
        self.long_texts = long_texts   # also compare words of any length
        self.reserved = reserved       # which the oracle does not look for
        self.others = others or {}     # oracles that must agree with `oracle`
        self.stops = stops             # ids that end an answer; None: any


class Maker:
    def __init__(self, root, corpus, gguf_path=None):
        self.root = pathlib.Path(root)
        self.corpus = corpus
        self.gguf_path = gguf_path
        self.cases = []

    def add_json(self, name, content, weight=1.0):
        folder = self.root / name
        folder.mkdir(parents=True)
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(content, ensure_ascii=False))
        tokens = [token["content"] for token in content["added_tokens"]]
        old_tables = (content["normalizer"] is not None
                      or '"Punctuation"' in path.read_text())
        self.cases.append(Case(name, folder, HubOracle(path), tokens, weight,
                               old_tables))

    def byte_level_model(self):
        """SmolLM2's vocabulary, or one trained on the corpus."""
        if self.gguf_path:
            from gguf import GGUFReader
            fields = GGUFReader(self.gguf_path).fields
            words = fields["tokenizer.ggml.tokens"].contents()
            merges = fields["tokenizer.ggml.merges"].contents()
            vocab = {word: index for index, word in enumerate(words)}
        else:
            trainer = tokenizers.trainers.BpeTrainer(
                vocab_size=2000, special_tokens=CHATML, show_progress=False,
                initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
            tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
            tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
                add_prefix_space=False)
            tokenizer.train_from_iterator(self.corpus, trainer)
            trained = json.loads(tokenizer.to_str())["model"]
            vocab, merges = trained["vocab"], trained["merges"]
        model = {"type": "BPE", "dropout": None, "unk_token": None,
                 "continuing_subword_prefix": None, "end_of_word_suffix": None,
                 "fuse_unk": False, "byte_fallback": False,
                 "ignore_merges": False, "vocab": vocab, "merges": merges}
        return model, [added(vocab[token], token) for token in CHATML]

    def make_byte_level(self):
        model, chatml = self.byte_level_model()
        decoder = byte_level(True)
        self.add_json("smollm2-gguf" if self.gguf_path else "smollm", document(
            model, chatml, decoder=decoder, pre_tokenizer=sequence(
                "pretokenizers", {"type": "Digits", "individual_digits": True},
                byte_level())), 6)
        bos = chatml[1]["content"]
        template = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": bos, "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [chatml[1]["id"]],
                                     "tokens": [bos]}}}
        pairs = dict(model, ignore_merges=True, merges=[
            merge.split(" ") if isinstance(merge, str) else merge
            for merge in model["merges"]])
        self.add_json("llama3", document(
            pairs, chatml, decoder=decoder,
            post_processor=sequence("processors", byte_level(), template),
            pre_tokenizer=sequence("pretokenizers", split(LLAMA3),
                                   byte_level(use_regex=False))), 6)
        self.add_json("qwen2", document(
            model, chatml, decoder=decoder, normalizer={"type": "NFC"},
            post_processor=byte_level(), pre_tokenizer=sequence(
                "pretokenizers", split(QWEN2), byte_level(use_regex=False))), 6)
        for name, pattern in (("cl100k", CL100K), ("o200k", O200K),
                              ("kimi", KIMI), ("deepseek", DEEPSEEK)):
            self.add_json(name, document(
                model, chatml, decoder=decoder, pre_tokenizer=sequence(
                    "pretokenizers", split(pattern),
                    byte_level(use_regex=False))), 2)
        self.make_components(model, chatml, decoder)

    def make_components(self, model, chatml, decoder):
        size = max(model["vocab"].values()) + 1
        odd = chatml + [
            added(size, "<left>", lstrip=True),
            added(size + 1, "<right>", rstrip=True, special=False),
            added(size + 2, "qworde", single_word=True, special=False),
            added(size + 3, "\u00c9t\u00e9", normalized=True, special=False),
            added(size + 4, " _ ", special=False),
            added(size + 5, "<right", special=False),
            added(size + 6, "<both>", lstrip=True, rstrip=True,
                  normalized=True)]
        normalizers = [
            {"type": "NFD"}, {"type": "NFKC"}, {"type": "NFKD"},
            {"type": "Lowercase"}, {"type": "Prepend", "prepend": "_"},
            sequence("normalizers", {"type": "NFD"}, {"type": "StripAccents"},
                     {"type": "Lowercase"}),
            {"type": "Strip", "strip_left": True, "strip_right": False},
            {"type": "Strip", "strip_left": True, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": r"\s{2,}"}, "content": " "},
            {"type": "Replace", "pattern": {"String": "e"}, "content": "3\u0301"}]
        for index, normalizer in enumerate(normalizers):
            self.add_json(f"normalizer{index}-{normalizer['type']}", document(
                model, odd, decoder=decoder, normalizer=normalizer,
                pre_tokenizer=byte_level()), 0.5)
        behaviors = ["Removed", "Isolated", "MergedWithPrevious",
                     "MergedWithNext", "Contiguous"]
        steps = [
            {"type": "Digits", "individual_digits": False},
            {"type": "Whitespace"}, {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "_", "split": True,
             "prepend_scheme": "always"},
            {"type": "Metaspace", "replacement": SPACE_MARK, "split": False,
             "prepend_scheme": "first"}]
        for behavior in behaviors:
            steps.append({"type": "Punctuation", "behavior": behavior})
            steps.append(split(r"\s+|e", behavior))
            steps.append(split(" ", behavior, kind="String"))
            steps.append(split(r"\w+", behavior, invert=True))
        for index, pattern in enumerate(PATTERNS):
            steps.append(split(pattern, behaviors[index % len(behaviors)]))
        for index, step in enumerate(steps):
            self.add_json(f"step{index}-{step['type']}", document(
                model, odd, decoder=decoder, pre_tokenizer=sequence(
                    "pretokenizers", step, byte_level(use_regex=False))), 0.2)
        self.add_json("prefix-space", document(
            model, odd, decoder=decoder, pre_tokenizer=byte_level(True)), 1)
        self.add_json("no-decoder", document(
            model, odd, pre_tokenizer=byte_level()), 1)

    def train_sentencepiece(self, name, **options):
        stream = io.BytesIO()
        sentences = [line for text in self.corpus for line in text.split("\n")
                     if line.strip() and "\0" not in line]
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences * 3), model_writer=stream,
            minloglevel=2, **options)
        folder = self.root / name
        folder.mkdir(parents=True)
        path = folder / "tokenizer.model"
        path.write_bytes(stream.getvalue())
        return path

    def make_sentencepiece(self):
        llama = dict(vocab_size=1500, model_type="bpe", byte_fallback=True,
                     normalization_rule_name="identity",
                     remove_extra_whitespaces=False,
                     split_digits=True, character_coverage=0.98)
        variants = {
            "sp-llama": llama,
            "sp-unigram": dict(vocab_size=1200, model_type="unigram",
                               hard_vocab_limit=False),
            "sp-unigram-bytes": dict(vocab_size=1300, model_type="unigram",
                                     byte_fallback=True, hard_vocab_limit=False,
                                     normalization_rule_name="nfkc"),
            "sp-bpe-plain": dict(vocab_size=1200, model_type="bpe",
                                 add_dummy_prefix=False, bos_id=-1, eos_id=-1,
                                 unk_surface="[?]", character_coverage=0.98),
        }
        for name, options in variants.items():
            path = self.train_sentencepiece(name, **options)
            self.cases.append(Case(name, path.parent,
                                   SentencePieceOracle(path), [], 4))
        return self.root / "sp-llama" / "tokenizer.model"

    def make_llama2(self, model_path):
        """Llama 2's tokenizer.json in its forms, over sp-llama's pieces."""
        from transformers.convert_slow_tokenizer import SentencePieceExtractor
        extracted = SentencePieceExtractor(str(model_path)).extract(
            tokenizers.models.BPE)
        vocab, merges = extracted["vocab"], extracted["merges"]
        if not isinstance(vocab, dict):
            vocab = {piece[0]: index for index, piece in enumerate(vocab)}
        model = {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                 "continuing_subword_prefix": None, "end_of_word_suffix": None,
                 "fuse_unk": True, "byte_fallback": True,
                 "ignore_merges": False, "vocab": vocab,
                 "merges": [list(merge) for merge in merges]}
        tokens = [added(vocab[one], one) for one in ("<unk>", "<s>", "</s>")]
        mark = {"type": "Replace", "pattern": {"String": " "},
                "content": SPACE_MARK}
        unmark = {"type": "Replace", "pattern": {"String": SPACE_MARK},
                  "content": " "}
        strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        base = [unmark, {"type": "ByteFallback"}, {"type": "Fuse"}]
        prepend = {"type": "Prepend", "prepend": SPACE_MARK}
        self.add_json("llama2", document(
            model, tokens, normalizer=sequence("normalizers", prepend, mark),
            decoder=sequence("decoders", *base, strip)), 6)
        for scheme in ("first", "always", "never"):
            self.add_json(f"metaspace-{scheme}", document(
                model, tokens, pre_tokenizer={
                    "type": "Metaspace", "replacement": SPACE_MARK,
                    "prepend_scheme": scheme, "split": scheme == "always"},
                decoder={"type": "Metaspace", "replacement": SPACE_MARK,
                         "prepend_scheme": scheme, "split": True}), 2)
        self.add_json("gemma", document(
            dict(model, unk_token=None), tokens, normalizer=mark,
            pre_tokenizer=split(" ", "MergedWithPrevious", kind="String"),
            decoder=sequence("decoders", *base)), 2)
        no_bytes = {piece: index for piece, index in vocab.items()
                    if not piece.startswith("<0x")}
        for fuse in (False, True):
            self.add_json(f"unknown-{fuse}", document(
                dict(model, vocab=no_bytes, byte_fallback=True, fuse_unk=fuse),
                tokens, normalizer=mark, decoder=sequence(
                    "decoders", dict(strip, content="e", start=2), unmark,
                    {"type": "Fuse"}, dict(strip, start=3))), 2)

    def make_all(self):
        self.make_byte_level()
        self.make_llama2(self.make_sentencepiece())
        return self.cases
