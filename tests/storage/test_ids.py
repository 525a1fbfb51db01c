from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ids import canonical_json, content_id, dataset_id, kind_of, seed_of, short, shortened

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_an_id_is_the_same_in_every_version_of_solon() -> None:
    """Changing how ids are made would make every ledger forget everything it knows."""
    assert content_id("prompt", [{"role": "user", "content": "Grüß Gott"}]) == (
        "prm_f5244357ae9b7b33f7efedf869a97ef0"
    )


def test_an_id_does_not_depend_on_the_process() -> None:
    code = "from storage.ids import content_id; print(content_id('pair', {'b': 1, 'a': [2]}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {content_id("pair", {"a": [2], "b": 1}) + "\n"}


@given(st.dictionaries(st.text(), JSON))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(list(value.items()))))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        content_id("pair", value)


def test_a_dataset_is_a_set() -> None:
    assert dataset_id("sft", ["b", "a", "a"]) == dataset_id("sft", ["a", "b"])
    assert dataset_id("sft", ["a"]) != dataset_id("preferences", ["a"])
    assert dataset_id("sft", ["a", "b"]) != dataset_id("sft", ["a"], ["b"])  # another split


def test_a_seed_is_the_first_64_bits_of_the_id() -> None:
    assert seed_of("cmp_ffffffffffffffff0000000000000000") == 2**64 - 1
    assert kind_of("cmp_00") == "completion"
    assert kind_of("nonsense") is None


def test_people_see_eight_digits_of_an_id() -> None:
    whole = "ckp_0123456789abcdef0123456789abcdef"
    assert short(whole) == "ckp_01234567"
    for text in ("ckp_01234567", whole + "0", f"{whole}\n", "mdl_1", "latest/ppo", ""):
        assert short(text) == text
    assert shortened(f"{whole}, and ({whole}) of x") == "ckp_01234567, and (ckp_01234567) of x"
    for text in (whole + "0", "x" + whole, whole[:-1]):
        assert shortened(text) == text
