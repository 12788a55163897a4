from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mosaic.errors import InputError
from mosaic.harness.published import PublishedTask, seed_of, tagged, untagged
from tests.harness.tasks import PUBLISHED

KEY = "ab" * 32


def task(folder: Path, text: str = PUBLISHED) -> PublishedTask:
    (folder / "net.py").write_text(text)
    return PublishedTask(str(folder), {"reference": ["net.py", "Model"]})


def test_shapes_and_dtypes_are_those_that_the_file_makes(tmp_path: Path) -> None:
    about = task(tmp_path).about()
    assert about == {"inputs": [["input0", "float32", [8, 16]]], "outputs": [["output0", "float32", [8, 4]]], "stateful": True}


def test_the_bound_is_of_the_model_in_float64_with_its_own_parameters(tmp_path: Path) -> None:
    made = task(tmp_path)
    initial = made.initialise(KEY)
    drawn = made.draw({}, "published", KEY, None)
    assert drawn.tensors is not None
    weight, bias = (initial.tensors[f"parameter:linear.{name}"].double() for name in ("weight", "bias"))
    wanted = torch.relu(drawn.tensors["input0"].double() @ weight.T + bias)
    bound = made.bounds({}, drawn)["output0"]
    assert torch.allclose(bound.value, wanted, rtol=1e-12, atol=1e-12)
    assert bound.compare(wanted.float()).passed
    assert not bound.compare(wanted.float() + 1e-2).passed


def test_keys_decide_parameters_and_inputs(tmp_path: Path) -> None:
    made = task(tmp_path)
    weights = [made.initialise(key).tensors["parameter:linear.weight"] for key in (KEY, KEY, "cd" * 32)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    inputs = [made.draw({}, "published", key, None).tensors for key in (KEY, KEY, "cd" * 32)]
    values = [one["input0"] for one in inputs if one is not None]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_what_no_error_rule_covers_is_bounded_by_what_is_seen(tmp_path: Path) -> None:
    text = PUBLISHED.replace("torch.relu(self.linear(x))", "torch.special.bessel_j0(self.linear(x))")
    made = task(tmp_path, text)
    drawn = made.draw({}, "published", KEY, None)
    bound = made.bounds({}, drawn)["output0"]
    assert "times the largest difference" in bound.explanation
    assert bound.compare(bound.value.float()).passed
    assert not bound.compare(bound.value.float() + 1e-2).passed


def test_inputs_that_are_no_tensors_are_handed_over(tmp_path: Path) -> None:
    text = PUBLISHED.replace("def forward(self, x)", "def forward(self, x, scale)").replace("torch.relu(", "scale * torch.relu(")
    made = task(tmp_path, text.replace("torch.randn(8, 16)]", "torch.randn(8, 16), 3.0]"))
    drawn = made.draw({}, "published", KEY, None)
    assert drawn.constants == [[1, 3.0]]
    assert made.bounds({}, drawn)["output0"].value.shape == (8, 4)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("return [torch.randn(8, 16)]", "return torch.randn(8, 16)", "must return a list"),
        ("return [16, 4]", "return 16", "must return a list"),
        ("return torch.relu(self.linear(x))", "return 'text'", "must be tensors"),
        ("import torch\n", "import torch\nraise OSError('gone')\n", "cannot be loaded"),
    ],
)
def test_a_file_that_does_not_keep_to_the_form_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        task(tmp_path, PUBLISHED.replace(old, new)).about()


def test_tags_go_both_ways() -> None:
    value = [1, (2, "a"), [None, 2.5]]
    assert untagged(tagged(value, {})) == value
    with pytest.raises(InputError, match="cannot be handed"):
        tagged(object(), {})
    assert seed_of("ff" * 32) == 0xFFFFFFFFFFFF
    assert seed_of("text") > 0
