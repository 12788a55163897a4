from __future__ import annotations

import hashlib

import pytest

from mosaic.errors import InputError
from mosaic.harness.seeds import commit


def test_the_commitment_is_of_what_is_revealed() -> None:
    seed = commit()
    revealed = seed.reveal()
    assert revealed.commitment == seed.commitment == hashlib.sha256(revealed.revealed.encode()).hexdigest()


def test_keys_differ_and_can_be_made_again() -> None:
    seed = commit("abc")
    keys = [seed.key("a", 1), seed.key("a", 2), seed.key("b", 1), commit("abd").key("a", 1)]
    assert len(set(keys)) == 4
    assert commit("abc").key("a", 1) == keys[0]
    assert 0 <= seed.number("x") < 2**63


def test_new_seeds_are_secret_and_never_shown() -> None:
    one, other = commit(), commit()
    assert one.text != other.text
    assert len(one.text) == 64
    assert one.text not in repr(one)


def test_a_blank_seed_is_refused() -> None:
    with pytest.raises(InputError, match="blank"):
        commit(" ")
