"""Packets: the status decides what may be there; sealed bytes come back the same, and any change is found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical, digest
from mosaic.evidence.packet import (
    STATUSES,
    FailPacket,
    Failure,
    candidate_id,
    check_artifact,
    from_document,
    packet_id,
    parse,
    seal,
    unseal,
)
from tests.evidence import samples

PACKETS = samples.all_packets()


def document_of(name: str) -> dict[str, Any]:
    """A packet as plain JSON values, free to be changed."""
    found: dict[str, Any] = json.loads(canonical(PACKETS[name].document()))
    return found


@pytest.mark.parametrize("name", PACKETS)
def test_round_trip(name: str) -> None:
    packet = PACKETS[name]
    data = seal(packet)
    assert unseal(data) == packet
    assert unseal(data + b"\n", packet_id(packet)) == packet
    assert seal(parse(data)) == data
    assert parse(json.dumps(document_of(name), indent=3)) == packet
    assert json.loads(data)["id"] == packet_id(packet) == digest(canonical(document_of(name)))


def test_every_status_is_here() -> None:
    assert {packet.status for packet in PACKETS.values()} == set(STATUSES)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(PACKETS)), st.integers(0), st.integers(1, 255))
def test_any_changed_byte_is_found(name: str, place: int, flip: int) -> None:
    data = bytearray(seal(PACKETS[name]))
    data[place % len(data)] ^= flip
    with pytest.raises(InputError):
        unseal(bytes(data))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(PACKETS)), st.integers(0), st.binary(max_size=3), st.integers(0, 3))
def test_cut_and_pasted_bytes_are_found(name: str, place: int, pasted: bytes, cut: int) -> None:
    data = seal(PACKETS[name])
    start = place % len(data)
    changed = data[:start] + pasted + data[start + cut :]
    if changed.removesuffix(b"\n") == data:
        return
    with pytest.raises(InputError):
        unseal(changed)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [path]


@pytest.mark.parametrize("name", PACKETS)
def test_the_hash_is_over_every_field(name: str) -> None:
    """Each value of a packet is changed in turn, to one of its kind where that is still a packet."""
    accepted = 0
    places = leaves(document_of(name))
    for path in places:
        changed = document_of(name)
        place: Any = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = other(place[path[-1]])
        try:
            packet = from_document(changed)
        except InputError:
            continue  # a status, a label, a commitment, ...
        accepted += 1
        assert packet_id(packet) == digest(canonical(changed)) != packet_id(PACKETS[name])
    assert accepted > len(places) // 2


def other(value: Any) -> Any:
    match value:
        case bool() | None:
            return not value
        case int() | float():
            return value + 1
        case str():
            return ("1" if value.startswith("0") else "0") * 64 if len(value) == 64 else value + "x"
        case _:
            return ["x"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(samples.texts.filter(bool), samples.values, max_size=4))
def test_unknown_categories_survive_and_count(content: dict[str, Any]) -> None:
    document = {**document_of("pass"), "provenance": content}
    packet = parse(json.dumps(document))
    assert unseal(seal(packet)) == packet
    assert canonical(json.loads(seal(packet))["provenance"]) == canonical(content)
    assert packet_id(packet) != packet_id(PACKETS["pass"])
    assert packet_id(parse(json.dumps({**document, "provenance": {**content, "more": 1}}))) != packet_id(packet) or "more" in content


def without(name: str, *fields: str) -> dict[str, Any]:
    document = document_of(name)
    for field in fields:
        del document[field]
    return document


MALFORMED = [
    (lambda: without("pass", "validation"), "at validation: it is missing"),
    (lambda: without("fail", "failure"), "at failure: it is missing"),
    (lambda: without("error", "error"), "at error: it is missing"),
    (lambda: without("skipped", "reason"), "at reason: it is missing"),
    (lambda: without("pass", "status"), "it has no status"),
    (lambda: {**document_of("pass"), "status": "passed"}, "its status is 'passed', not one of 'pass', 'fail', 'error', 'skipped'"),
    (lambda: {**document_of("fail"), "performance": document_of("pass")["performance"]}, "performance, which a packet of this status"),
    (lambda: {**document_of("skipped"), "validation": document_of("pass")["validation"]}, "validation, which a packet of this status"),
    (lambda: {**document_of("error"), "performance": {}}, "performance, which a packet of this status does not hold"),
    (lambda: {**document_of("unclear"), "performance": document_of("pass")["performance"]}, "has performance, but its validation did not"),
    (lambda: {**document_of("pass"), "validation": document_of("fail")["validation"]}, "at validation.outcome: input should be 'pass'"),
    (lambda: {**document_of("pass"), "reason": "none"}, "at reason: input should be"),
    (lambda: {**document_of("pass"), "perfomance": {}}, "unknown category 'perfomance'; is performance meant?"),
    (lambda: {**document_of("pass"), "security": None}, "it has security as null"),
    (lambda: {**document_of("pass"), "future": 3}, "at future: input should be"),
    (lambda: {**document_of("pass"), "version": 2}, "has version 2; this release reads version 1"),
    (lambda: {**document_of("pass"), "version": True}, "holds a value that is read as another"),
    (lambda: {**document_of("pass"), "format": "graph"}, "not a packet: its format is 'graph'"),
    (lambda: {**document_of("pass"), "id": "0" * 64}, "was changed: its id is 0000"),
    (lambda: {**document_of("pass"), "created": "yesterday"}, "at created"),
    (lambda: {**document_of("fail"), "failure": {"kind": "missmatch", "message": "x"}}, "at failure.kind: string should match"),
    (lambda: [], "is no JSON object"),
]


@pytest.mark.parametrize(("make", "message"), MALFORMED)
def test_malformed_packets_are_refused_in_one_sentence(make: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(json.dumps(make()), "packet.json")
    text = str(caught.value)
    assert text.startswith("packet.json ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("kind", ["cheat.result_cached_by_pointer", "mismatch", "acme.flaky.link"])
def test_failure_classes(kind: str) -> None:
    assert Failure(kind=kind, message="x").kind == kind


def test_values_that_contradict_the_evidence_are_refused() -> None:
    document = document_of("pass")
    document["performance"]["timings"][0]["median"]["value"] = 1e-6
    with pytest.raises(InputError, match=r"malformed at performance.timings\[0\]: it has the median"):
        parse(json.dumps(document))
    document = document_of("pass")
    document["environment"]["seed"]["revealed"] = "another"
    with pytest.raises(InputError, match=r"malformed at environment.seed: it reveals a seed whose SHA-256"):
        parse(json.dumps(document))


def test_what_is_not_sealed() -> None:
    with pytest.raises(InputError, match="is not sealed: it has no id"):
        unseal(canonical(document_of("pass")))
    with pytest.raises(InputError, match="was changed: its bytes are not those of its canonical form"):
        unseal(json.dumps(json.loads(seal(PACKETS["pass"]))).encode())
    with pytest.raises(InputError, match="is another one"):
        unseal(seal(PACKETS["pass"]), packet_id(PACKETS["fail"]))


def test_a_candidate_is_the_same_wherever_it_ran() -> None:
    here, there = samples.passed(), samples.passed(device="NVIDIA H100", minute=9)
    assert candidate_id(here) == candidate_id(there)
    assert packet_id(here) != packet_id(there)
    assert candidate_id(here) != candidate_id(samples.passed("another"))


def test_artifacts_are_checked_by_content() -> None:
    packet = PACKETS["fail"]
    assert isinstance(packet, FailPacket)
    assert packet.artifacts is not None
    check_artifact(packet.artifacts[0], samples.LOG)
    with pytest.raises(InputError, match=r"artifact 'compile.log' is not what its packet names"):
        check_artifact(packet.artifacts[0], samples.LOG.replace(b"0", b"1"))
