"""llamlx info and llamlx doctor."""

import json
import os
import platform
import re
import unittest
from pathlib import Path

from command_line import CommandLineTest, llamlx
from tiny_models import config, count, shapes, write_folder, write_gguf

TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"


class InfoTest(CommandLineTest):
    def test_tells_a_folder_apart(self):
        model = write_folder(self.folder / "model")
        done = self.assert_succeeds(llamlx("info", model, "--json"))
        facts = json.loads(done.stdout)
        parameters = sum(count(shape) for shape in shapes(config()).values())
        expected = {
            "format": "safetensors",
            "model_type": "llama",
            "parameters": parameters,
            "weight_bytes": 4 * parameters,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "context_length": 128,
            "quantization": "float32",
            "tokenizer": "none",
            "notices": [],
        }
        for key, value in expected.items():
            self.assertEqual(facts[key], value, key)
        size = sum(file.stat().st_size for file in model.iterdir())
        self.assertEqual(facts["disk_bytes"], size)

    def test_reads_gguf(self):
        model = write_gguf(self.folder / "model.gguf")
        facts = json.loads(llamlx("info", model, "--json").stdout)
        self.assertEqual(facts["format"], "gguf")
        self.assertEqual(facts["disk_bytes"], model.stat().st_size)

    def test_tells_kinds_of_quantisation(self):
        source = write_folder(self.folder / "source")
        model = self.folder / "model"
        options = ["-q", "--q-group-size", "32", "--q-bits", "3"]
        self.assert_succeeds(llamlx("convert", source, model, *options))
        facts = json.loads(llamlx("info", model, "--json").stdout)
        main = facts["storage"][0]
        self.assertEqual((main["bits"], main["group_size"]), (3, 32))
        self.assertIn("linear layers", main["modules"])
        self.assertEqual(facts["storage"][1]["modules"], ["norms"])
        # A scale and a bias for each group of 32.
        self.assertAlmostEqual(facts["bits_per_weight"], 3 + 2, delta=0.2)

    def test_tells_of_experts(self):
        model = TINY / "qwen3_moe_mlp_only_layers"
        facts = json.loads(llamlx("info", model, "--json").stdout)
        keys = ["num_experts", "num_experts_per_tok", "moe_intermediate_size"]
        self.assertEqual([facts[key] for key in keys], [4, 2, 24])
        # Two of four experts of one layer, three matrices each, are left out.
        left_out = facts["parameters"] - facts["active_parameters"]
        self.assertEqual(left_out, 2 * 3 * 32 * 24)
        text = self.assert_succeeds(llamlx("info", model)).stdout
        self.assertRegex(
            text,
            r"(?m)^experts +4 of width 24 in 1 of 3 layers, a token goes to 2$",
        )

    def test_prints_a_table_for_people(self):
        model = write_folder(self.folder / "model")
        lines = self.assert_succeeds(llamlx("info", model)).stdout.splitlines()
        labels = [line[:14].strip() for line in lines]
        for label in ["format", "parameters", "on disk", "heads", "runs here"]:
            self.assertIn(label, labels)

    def test_names_the_kernels_that_multiply(self):
        source = write_folder(self.folder / "source")
        model = self.folder / "model"
        self.assert_succeeds(llamlx("convert", source, model, "-q"))
        env = {"LLAMLX_FORCE_ISA": "scalar"}
        facts = json.loads(llamlx("info", model, "--json", env=env).stdout)
        if facts["device"] != "cpu":
            self.names_the_kernels_of_a_gpu(facts, model)
            return
        self.assertIsNone(facts["device_name"])
        self.assertEqual(facts["few_rows_kernel"], "qmv_scalar")
        self.assertEqual(facts["many_rows_kernel"], "qmm_scalar")
        text = self.assert_succeeds(llamlx("info", model, env=env)).stdout
        self.assertRegex(
            text, r"(?m)^products +qmv_scalar for few rows, qmm_scalar for many$"
        )


    def names_the_kernels_of_a_gpu(self, facts, model):
        if facts["device_name"] is None:  # MLX's own
            self.assertIsNone(facts["few_rows_kernel"])
            return
        self.assertEqual(facts["few_rows_kernel"], "some_rows")
        text = self.assert_succeeds(llamlx("info", model)).stdout
        self.assertRegex(text, rf"(?m)^device +{re.escape(facts['device_name'])}, ")
        self.assertRegex(text, r"(?m)^products +\w+ for one row, some_rows for few, \w+ for many: ")
        checks = json.loads(llamlx("doctor", "--json").stdout)["checks"]
        self.assertIn("gpu kernels", [check["name"] for check in checks])


class DoctorTest(CommandLineTest):
    def checks(self, *arguments, code=0):
        done = llamlx("doctor", "--json", *arguments)
        self.assertEqual(done.returncode, code, done.stdout)
        report = json.loads(done.stdout)
        by_name = {check["name"]: check for check in report["checks"]}
        for check in report["checks"]:
            self.assertIn(check["status"], ["ok", "warning", "problem"])
            if check["status"] != "ok" and check["name"] != "model":
                self.assertNotEqual(check["remedy"], "", check)
        return by_name

    def test_knows_the_machine(self):
        checks = self.checks()
        self.assertIn(platform.release(), checks["system"]["finding"])
        machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
        self.assertIn(machine, checks["program"]["finding"])
        self.assertEqual(checks["mlx"]["status"], "ok")
        for name in ["processor", "instructions", "cores", "memory", "disk"]:
            self.assertNotEqual(checks[name]["finding"], "")

    @unittest.skipUnless(hasattr(os, "sched_setaffinity"), "needs affinity")
    def test_counts_the_processors_it_may_use(self):
        one = min(os.sched_getaffinity(0))
        done = llamlx(
            "doctor", "--json", preexec_fn=lambda: os.sched_setaffinity(0, {one})
        )
        checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
        self.assertTrue(checks["cores"]["finding"].startswith("1 of "))

    def test_warns_of_a_terminal_without_utf8(self):
        done = llamlx("doctor", "--json", env={"LC_ALL": "C"})
        checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
        self.assertEqual(checks["terminal"]["status"], "warning")

    def test_names_the_kernels_of_every_format(self):
        kernels = json.loads(llamlx("doctor", "--json").stdout)["kernels"]
        self.assertIn(kernels["active"], kernels["supported"])
        self.assertEqual(kernels["supported"][0], "scalar")
        served = {(f["compute"], f["bits"]) for f in kernels["formats"]}
        for compute in ["bfloat16", "float16", "float32"]:
            for bits in [None, 2, 3, 4, 5, 6, 8]:
                self.assertIn((compute, bits), served)
        for served in kernels["formats"]:
            self.assertTrue(served["few_rows"].startswith("qmv_"), served)
            self.assertTrue(served["many_rows"].startswith("qmm_"), served)
            self.assertEqual(served["wrong"], [])
        text = self.assert_succeeds(llamlx("doctor")).stdout
        active = kernels["active"]
        if kernels["forced"]:
            active += ", as LLAMLX_FORCE_ISA says"
        self.assertRegex(text, rf"kernels +{active}; found scalar")
        self.assertRegex(text, r"products +in bfloat16, .*4-bit.*: qmv_\w+ for few")

    def test_tells_of_an_instruction_set_that_is_forced(self):
        def look(name, code):
            done = llamlx("doctor", "--json", env={"LLAMLX_FORCE_ISA": name})
            self.assertEqual(done.returncode, code, done.stdout)
            report = json.loads(done.stdout)
            checks = {check["name"]: check for check in report["checks"]}
            return checks["kernels"], report["kernels"]

        check, kernels = look("scalar", 0)
        self.assertTrue(kernels["forced"])
        self.assertEqual(kernels["active"], "scalar")
        self.assertIn("as LLAMLX_FORCE_ISA says", check["finding"])
        if len(kernels["supported"]) > 1:
            self.assertEqual(check["status"], "warning")
        for served in kernels["formats"]:
            self.assertEqual(served["few_rows"], "qmv_scalar")
        check, kernels = look("abacus", 1)
        self.assertEqual(check["status"], "problem")
        self.assertIn("abacus", check["finding"])
        self.assertIn("scalar", check["remedy"])
        self.assertIsNone(kernels)

    def test_a_small_model_fits(self):
        model = write_folder(self.folder / "model")
        checks = self.checks(model)
        self.assertEqual(checks["fit"]["status"], "ok")
        self.assertEqual(checks["tokenizer"]["status"], "warning")

    def test_a_damaged_model_is_a_problem(self):
        model = write_folder(self.folder / "model")
        (model / "config.json").write_text("{")
        checks = self.checks(model, code=1)
        self.assertEqual(checks["model"]["status"], "problem")
        self.assertIn("config.json", checks["model"]["finding"])
        self.assertNotEqual(checks["model"]["remedy"], "")

    def test_prints_a_line_a_check_and_a_sum(self):
        done = self.assert_succeeds(llamlx("doctor"))
        self.assertRegex(done.stdout, r"(?m)^ok +system +\S")
        self.assertRegex(done.stdout, r"(?m)^\d+ problems?, \d+ warnings?\.$")


if __name__ == "__main__":
    unittest.main()
