"""llamlx generate: prompts, stop strings, few-shot, llama.py's screens."""

import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from command_line import CommandLineTest, llamlx
from screen import Screen
from scripted_model import BOS, EOS, write_scripted_folder

# From the last byte of a prompt to what follows.
ANSWERS = {
    # The word is never complete, and then it is, across and inside tokens.
    b"a": [b"It", b" is [Ins", b"] so.\n", b"[Instruct", b"ion] no", b"more"],
    b"b": [b"Yes.", b"[Instructio", b"n]", b"never"],
    b"e": [b"One", b" two", EOS],
    # An emoji of four tokens.
    b"u": [b"\xf0", b"\x9f", b"\x98", b"\x80", b"!", EOS],
    b"p": [b"Now", b"[Inst", b"yes", b" and on"],
    b"t": [b"Why", b" [Ins", b"truct"],
    BOS: [b"Once"],
    b"z": [b"ab", b"c\n", b"de", EOS],
}
TIMES = re.compile(r"\d+\.\d{3} s")
SEED = ["--compat", "seed"]


def mask(text):
    return TIMES.sub("TIME", text)


class GenerateTest(CommandLineTest):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix="llamlx-cli-")
        cls.addClassCleanup(scratch.cleanup)
        # An answer that repeats itself must not end before Ctrl-C ends it.
        cls.model = write_scripted_folder(
            Path(scratch.name) / "model", ANSWERS, context=1 << 20
        )

    def setUp(self):
        super().setUp()
        self.examples = self.folder / "examples.txt"
        self.examples.write_text(
            " \n[Instruction] Hi?\n[Answer] Yo.\n[Instruction] {}\n\n"
        )

    def generate(self, *arguments, text=None):
        given = {"stdin": None, "input": text} if text is not None else {}
        return llamlx("generate", "--model-path", self.model, *arguments, **given)

    def test_refuses_caches_of_8_bits_on_the_cpu(self):
        where = ["--device", "cpu", "--kv-bits", "8"]
        self.assert_fails_in_one_line(
            self.generate("--prompt", "Hi", *where), "--kv-bits 8: ", "NVIDIA"
        )

    def few_shot(self, *arguments, text=None):
        return self.generate("--few-shot", self.examples, *arguments, text=text)

    def screen(self, *arguments, **files):
        return Screen("generate", "--model-path", self.model, *arguments, **files)


class PromptTest(GenerateTest):
    def test_the_text_alone_is_on_standard_output(self):
        done = self.assert_succeeds(self.generate("--prompt", "e"))
        self.assertEqual(done.stdout, "One two\n")
        self.assertIn("the model ended the text", done.stderr)

    def test_characters_are_written_whole(self):
        done = self.assert_succeeds(self.generate("--prompt", "u"))
        self.assertEqual(done.stdout, "\U0001f600!\n")

    def test_stop_strings_end_the_text_wherever_tokens_begin(self):
        for stop, expected in [("bc", "a"), ("abc", ""), ("\nd", "abc"), ("x", "abc\nde")]:
            done = self.generate("--prompt", "z", "--stop", stop, "--json")
            document = json.loads(self.assert_succeeds(done).stdout)
            self.assertEqual(document["text"], expected)
            self.assertEqual(document["finish_reason"], "stop")
            self.assertEqual(document["stop_text"], "" if stop == "x" else stop)

    def test_the_first_of_several_stop_strings_counts(self):
        stops = ["--stop", "d", "--stop", "c", "--stop", "never"]
        done = self.assert_succeeds(self.generate("--prompt", "z", *stops))
        self.assertEqual(done.stdout, "ab\n")
        self.assertIn('stopped at "c"', done.stderr)

    def test_tokens_of_a_stop_string_are_reported(self):
        done = self.generate("--prompt", "b", "--stop", "[Instruction]", "--json")
        document = json.loads(self.assert_succeeds(done).stdout)
        self.assertEqual(document["text"], "Yes.")
        self.assertEqual(len(document["tokens"]), 3)

    def test_a_model_that_computes_nan_says_so_and_nothing_else(self):
        broken = write_scripted_folder(
            self.folder / "broken", ANSWERS, norm=float("nan")
        )
        for command in [
            ["generate", "--prompt", "e", "--json"],
            ["generate", "--prompt-ids", "1", "--json", "--temp", "1"],
            ["perplexity", "--ids", "1,2,3", "--json"],
        ]:
            done = llamlx(*command, "--model-path", broken)
            name = "model.layers.0.input_layernorm.weight"
            self.assert_fails_in_one_line(done, name, "NaN")
            self.assertEqual(done.stdout, "")

    def test_wrong_usage_is_told_in_a_line(self):
        for arguments in [
            ["--stop", ""],
            ["--question", "x"],
            ["--few-shot", self.examples, "--prompt-ids", "1"],
            ["--few-shot", self.examples, "--stats", "x"],
            ["--compat", "llama.py"],
            [*SEED, "--write-every", "0"],
            [*SEED, "--max-tokens", "x"],
        ]:
            self.assert_wrong_usage(self.generate(*arguments), arguments[-2])
        for flag in ["--json", "--no-wait", "--ignore-eos"]:
            self.assert_wrong_usage(self.generate(*SEED, flag), "--compat", flag)

    def test_a_pipe_is_not_asked_to_press_enter(self):
        done = self.assert_succeeds(self.generate("--prompt", "e", text=""))
        self.assertNotIn("Press enter", done.stderr)


class FewShotTest(GenerateTest):
    def test_questions_from_a_pipe_leave_nothing_but_answers(self):
        done = self.assert_succeeds(self.few_shot(text="is it a\nor b\r\n\nlast e"))
        # The empty question ends as the examples do: with a blank.
        answers = done.stdout.split("\n")
        self.assertEqual(answers[0], "It is [Ins] so.")
        self.assertEqual(answers[1:3], ["", "Yes."])
        self.assertEqual(answers[-2:], ["One two", ""])
        self.assertIn(str(self.examples), done.stderr)
        self.assertNotIn("Ask", done.stdout + done.stderr)

    def test_the_examples_are_stripped_and_filled_once(self):
        self.examples.write_text("\u3000{} and {} \n")
        done = self.few_shot("--question", "{}e", "--json")
        document = json.loads(self.assert_succeeds(done).stdout)
        expected = [256, *b"{}e and {}e"]
        self.assertEqual(document["prompt_ids"], expected)

    def test_questions_of_the_command_line_are_answered_in_turn(self):
        done = self.few_shot("--question", "a", "--question", "e", text="b\n")
        self.assertEqual(self.assert_succeeds(done).stdout, "It is [Ins] so.\n\nOne two\n")

    def test_json_is_a_document_a_line(self):
        done = self.few_shot("--json", text="is it a\nor e\n")
        lines = self.assert_succeeds(done).stdout.splitlines()
        documents = [json.loads(line) for line in lines]
        self.assertEqual([d["question"] for d in documents], ["is it a", "or e"])
        self.assertEqual(
            [d["text"] for d in documents], ["It is [Ins] so.\n", "One two"]
        )
        self.assertEqual([d["stop_text"] for d in documents], ["[Instruction]", ""])
        self.assertEqual(done.stderr, "")

    def test_what_could_become_the_word_is_written_in_the_end(self):
        done = self.few_shot("-m", "3", text="t\n")
        self.assertEqual(self.assert_succeeds(done).stdout, "Why [Instruct\n")

    def test_own_stop_strings_count_too(self):
        done = self.few_shot("--stop", " is", text="a\n")
        self.assertEqual(self.assert_succeeds(done).stdout, "It\n")

    def test_no_questions_are_no_error(self):
        self.assertEqual(self.assert_succeeds(self.few_shot(text="")).stdout, "")

    def test_examples_that_cannot_be_read_are_told_before_the_model(self):
        done = self.generate("--few-shot", self.folder / "none.txt")
        self.assert_fails_in_one_line(done, "none.txt")
        self.examples.write_bytes(b"caf\xe9")
        self.assert_fails_in_one_line(self.few_shot(), self.examples, "UTF-8")

    def test_examples_without_a_place_are_noted(self):
        self.examples.write_text("e")
        done = self.assert_succeeds(self.few_shot(text="x\n"))
        self.assertIn("[NOTE]", done.stderr)
        self.assertEqual(done.stdout, "One two\n")


class TerminalTest(GenerateTest):
    def test_asks_until_ctrl_d(self):
        screen = self.screen("--few-shot", self.examples)
        at = screen.wait_for("Ask a question: ")
        screen.type("a\n")
        at = screen.wait_for("It is [Ins] so.\n", at)
        at = screen.wait_for("Ask a question: ", at)
        screen.type("\x04")
        self.assertEqual(screen.end(), 0)
        self.assertTrue(screen.shown.endswith("Ask a question: \n"), screen.shown)

    def test_ctrl_c_ends_an_answer_and_a_second_one_the_program(self):
        screen = self.screen("--few-shot", self.examples, "-m", "1000000")
        at = screen.wait_for("Ask a question: ")
        screen.type("p\n")
        at = screen.wait_for(" and on and on", at)
        screen.type("\x03")
        at = screen.wait_for("interrupted", at)
        at = screen.wait_for("Ask a question: ", at)
        screen.type("\x03")
        self.assertEqual(screen.end(), -2)

    def test_ctrl_c_ends_a_script(self):
        with open(self.folder / "questions.txt", "w+", encoding="utf-8") as questions:
            questions.write("p\np\n")
            questions.seek(0)
            arguments = ["--few-shot", self.examples, "-m", "1000000"]
            screen = self.screen(*arguments, stdin=questions)
            screen.wait_for(" and on and on")
            screen.type("\x03")
            self.assertEqual(screen.end(), 130)

    def test_waits_for_enter_where_someone_can_press_it(self):
        screen = self.screen("--prompt", "e")
        at = screen.wait_for("Press enter to start generation")
        self.assertNotIn("One", screen.shown)
        screen.type("\n")
        screen.wait_for("One two", at)
        self.assertEqual(screen.end(), 0)

    def test_ctrl_d_at_the_pause_starts_too(self):
        screen = self.screen("--prompt", "e")
        screen.wait_for("Press enter to start generation")
        screen.type("\x04")
        screen.wait_for("One two")
        self.assertEqual(screen.end(), 0)

    def test_asks_on_the_terminal_that_is_left(self):
        screen = self.screen("--few-shot", self.examples, stderr=subprocess.DEVNULL)
        at = screen.wait_for("Ask a question: ")
        screen.type("e\n")
        at = screen.wait_for("One two\nAsk a question: ", at)
        screen.type("\x04")
        self.assertEqual(screen.end(), 0)
        screen = self.screen("--prompt", "e", stderr=subprocess.DEVNULL)
        self.assertEqual(screen.end(), 0)
        self.assertNotIn("Press enter", screen.shown)

    def test_does_not_wait_where_nobody_should(self):
        for arguments in [["--no-wait"], ["--json"]]:
            screen = self.screen("--prompt", "e", *arguments)
            self.assertEqual(screen.end(), 0)
            self.assertIn("One two", screen.shown)
            self.assertNotIn("Press enter", screen.shown)

    def test_a_file_gets_the_text_and_the_screen_the_question(self):
        answers = self.folder / "answers.txt"
        with open(answers, "wb") as file:
            screen = self.screen("--few-shot", self.examples, stdout=file)
            at = screen.wait_for("Ask a question: ")
            screen.type("e\n")
            screen.wait_for("Ask a question: ", at)
            screen.type("\x04")
            self.assertEqual(screen.end(), 0)
        self.assertEqual(answers.read_text(), "One two\n")


class SeedScreenTest(GenerateTest):
    """What llama.py writes, times masked."""

    def loading(self):
        return f"[INFO] Loading model from {self.model}/model.safetensors.\n"

    def seed(self, *arguments, text="\n"):
        return self.generate(*SEED, *arguments, text=text)

    def test_a_prompt(self):
        done = self.assert_succeeds(self.seed("--prompt", "say e", "-m", "2"))
        self.assertEqual(
            mask(done.stdout),
            self.loading() + "Press enter to start generation"
            "------\nsay e\nOne two\n------\n"
            "[INFO] Prompt processing: TIME\n[INFO] Full generation: TIME\n",
        )
        self.assertEqual(done.stderr, "")

    def text_of(self, *arguments):
        done = self.assert_succeeds(self.seed(*arguments))
        return done.stdout.split("------\n")[1].split("\n", 1)[1]

    def test_goes_on_after_the_end_of_the_text(self):
        # EOS is written as nothing, and followed by itself.
        self.assertEqual(self.text_of("--prompt", "e", "-m", "8"), "One two\n")
        text = self.text_of("--prompt", "p", "-m", "6")
        self.assertEqual(text, "Now[Instyes and on and on and on\n")

    def test_writes_one_token_at_least(self):
        self.assertEqual(self.text_of("--prompt", "e", "-m", "0"), "One\n")

    def test_write_every_changes_nothing_in_the_end(self):
        text = self.text_of("--prompt", "u", "-m", "5", "--write-every", "3")
        self.assertEqual(text, "\U0001f600!\n")

    def test_the_prompt_is_taken_as_it_is(self):
        text = self.seed("--prompt", "-", "-m", "1").stdout
        self.assertIn("------\n-\n", text)

    def test_a_bos_comes_first_and_no_other_special_token(self):
        file = self.model / "tokenizer.json"
        original = file.read_text()
        self.addCleanup(file.write_text, original)
        tokenizer = json.loads(original)
        eos = {"SpecialToken": {"id": EOS, "type_id": 0}}
        processor = tokenizer["post_processor"]
        processor["single"].append(eos)
        processor["special_tokens"][EOS] = {"id": EOS, "ids": [257], "tokens": [EOS]}
        file.write_text(json.dumps(tokenizer))
        self.assertEqual(self.text_of("--prompt", "e", "-m", "1"), "One\n")
        file.write_text(json.dumps({**tokenizer, "post_processor": None}))
        self.assertEqual(self.text_of("--prompt", "", "-m", "1"), "Once\n")

    def test_the_end_of_input_at_the_pause_is_an_error(self):
        done = self.seed("--prompt", "e", text="")
        self.assert_fails_in_one_line(done, "standard input")
        pause = "Press enter to start generation"
        self.assertEqual(done.stdout, self.loading() + pause)

    def test_a_trailing_slash_is_not_written(self):
        done = llamlx(
            "generate", *SEED, "--model-path", f"{self.model}/./", stdin=None, input=""
        )
        self.assertTrue(done.stdout.startswith(self.loading()), done.stdout)

    def test_few_shot(self):
        done = self.seed("--few-shot", self.examples, text="b\nlast e\n")
        # Neither a pause nor rules nor times; the end of input is no error.
        self.assertEqual(
            self.assert_succeeds(done).stdout,
            self.loading() + "[INFO] Loading few-shot examples from: "
            f"{self.examples}\n"
            "Ask a question: Yes.\nAsk a question: One two\nAsk a question: ",
        )

    def few_shot_answer(self, *arguments, question):
        done = self.seed("--few-shot", self.examples, *arguments, text=question + "\n")
        return self.assert_succeeds(done).stdout.split("Ask a question: ")[1]

    def test_a_word_that_ends_inside_a_token_is_missed(self):
        answer = self.few_shot_answer("-m", "6", question="a")
        self.assertEqual(answer, "It is [Ins] so.\n[Instruction] nomore\n")

    def test_the_last_token_is_not_looked_at(self):
        answer = self.few_shot_answer("-m", "3", question="b")
        self.assertEqual(answer, "Yes.[Instruction]\n")

    def test_what_is_held_back_is_written_in_the_end(self):
        answer = self.few_shot_answer("-m", "3", question="t")
        self.assertEqual(answer, "Why [Instruct\n")


if __name__ == "__main__":
    unittest.main()
