"""Archives: the same packet and contents make the same bytes, and what was changed is found."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pytest

from mosaic.errors import InputError
from mosaic.evidence import archive
from mosaic.evidence.canonical import digest
from mosaic.evidence.packet import seal, unseal
from tests.evidence.samples import LOG, failed, passed


def test_there_and_back(tmp_path: Path) -> None:
    packet = failed()
    data = archive.pack(packet, [LOG])
    assert data == archive.pack(packet, [LOG, LOG])
    assert archive.unpack(data) == (packet, {digest(LOG): LOG})
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.namelist() == ["packet.json", f"artifacts/{digest(LOG)}"]
        assert file.read("packet.json") == seal(packet)


def test_a_suffix_says_which(tmp_path: Path) -> None:
    archive.write(tmp_path / "a.zip", failed(), [LOG])
    archive.write(tmp_path / "a.json", failed(), [LOG])
    assert archive.unpack((tmp_path / "a.zip").read_bytes())[1] == {digest(LOG): LOG}
    assert unseal((tmp_path / "a.json").read_bytes()) == failed()


def test_contents_that_are_missing_or_of_others() -> None:
    assert archive.unpack(archive.pack(failed(), [])) == (failed(), {})
    with pytest.raises(InputError, match="does not name"):
        archive.pack(passed(), [LOG])


def test_any_cut_and_any_flip_of_what_is_read_is_found() -> None:
    data = archive.pack(failed(), [LOG])
    for length in range(0, len(data), 37):
        with pytest.raises(InputError, match=r"^the archive"):
            archive.unpack(data[:length])
    generator = random.Random(4)
    for _ in range(150):
        place = generator.randrange(len(data))
        changed = bytearray(data)
        changed[place] ^= 1 << generator.randrange(8)
        try:
            found = archive.unpack(bytes(changed))
        except InputError:
            continue
        assert found == (failed(), {digest(LOG): LOG}), place  # a date or a flag of the container, which nobody reads


def made_of(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return made.getvalue()


def test_foreign_archives() -> None:
    sealed = seal(failed())
    with pytest.raises(InputError, match=r"0 files called packet\.json"):
        archive.unpack(made_of(other=b""))
    with pytest.raises(InputError, match="does not name once"):
        archive.unpack(made_of(**{"packet.json": sealed, "..__evil": b"x"}))
    with pytest.raises(InputError, match="larger than the"):
        archive.unpack(made_of(**{"packet.json": sealed, f"artifacts__{digest(LOG)}": bytes(10**7)}))
    with pytest.raises(InputError, match="is not what its packet names"):
        archive.unpack(made_of(**{"packet.json": sealed, f"artifacts__{digest(LOG)}": LOG[:-1]}))
    with pytest.raises(InputError, match="no archive"):
        archive.unpack(b"PK\x03\x04 but no more")
