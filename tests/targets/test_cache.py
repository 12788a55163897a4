"""The cache on disk: whole entries or none, whoever else writes, whatever is damaged."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mosaic
from mosaic.errors import InputError
from mosaic.targets.cache import Cache, default_root, key_of


def test_what_was_put_is_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    key = key_of("program", b"target")
    assert cache.get(key) is None
    stored = cache.put(key, {"a.txt": b"alpha", "b.bin": b"\x00\x01"})
    found = Cache(tmp_path).get(key)
    assert found == stored
    assert found is not None
    assert dict(found.files) == {"a.txt": b"alpha", "b.bin": b"\x00\x01"}
    assert found.file("a.txt").read_bytes() == b"alpha"


def test_keys_keep_their_parts_apart() -> None:
    assert key_of("ab", "c") != key_of("a", "bc") != key_of("abc")
    assert key_of("a", "") != key_of("a")
    assert key_of("a") == key_of(b"a")
    assert len(key_of()) == 64


def test_the_root_is_the_variable_else_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOSAIC_CACHE", str(tmp_path / "here"))
    assert default_root() == tmp_path / "here" == Cache().root
    monkeypatch.delenv("MOSAIC_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / ".cache" / "mosaic"


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "index", "index is no object", "no index"])
def test_a_damaged_entry_is_a_miss_and_is_built_anew(tmp_path: Path, damage: str) -> None:
    cache = Cache(tmp_path)
    key = key_of("x")
    entry = cache.put(key, {"code": b"0123456789", "other": b"x"})
    code, index = entry.file("code"), entry.path / "entry.json"
    match damage:
        case "flip":
            code.write_bytes(b"0123456_89")
        case "truncate":
            code.write_bytes(b"01234")
        case "remove":
            code.unlink()
        case "index":
            index.write_text('{"sha256": {"code"')
        case "index is no object":
            index.write_text("[1, 2]")
        case "no index":
            index.unlink()
    assert cache.get(key) is None
    assert not entry.path.exists()
    cache.put(key, {"code": b"0123456789"})
    found = cache.get(key)
    assert found is not None
    assert found.files["code"] == b"0123456789"


def test_of_two_writers_the_first_wins(tmp_path: Path) -> None:
    first, second = Cache(tmp_path), Cache(tmp_path)
    key = key_of("x")
    first.put(key, {"code": b"first"})
    second.put(key, {"code": b"second"})
    found = first.get(key)
    assert found is not None
    assert found.files["code"] == b"first"
    assert list((tmp_path / "tmp").iterdir()) == []


WRITER = """
import sys
from mosaic.targets.cache import Cache, key_of
cache = Cache(sys.argv[1], limit=60_000)
for turn in range(60):
    for number in range(6):
        key = key_of("entry", str(number))
        entry = cache.get(key)
        wanted = bytes([number]) * (1000 * (number + 1))
        if entry is None:
            cache.put(key, {"a": wanted, "b": wanted[::-1]})
        else:
            assert dict(entry.files) == {"a": wanted, "b": wanted}, (number, len(entry.files["a"]))
    if turn % 7 == int(sys.argv[2]):
        cache.clear()
"""


def test_several_processes_never_see_half_an_entry(tmp_path: Path) -> None:
    # Not all of sys.path: other tests load users' files, whose folders come first in it.
    source = str(Path(mosaic.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(number)], stderr=subprocess.PIPE, text=True, env=environment)
        for number in range(3)
    ]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], errors


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=3500)
    keys = [key_of(str(number)) for number in range(4)]
    for number, key in enumerate(keys[:3]):
        cache.put(key, {"x": bytes(1000)})
        os.utime(cache.put(key, {"x": bytes(1000)}).path, (1000 + number, 1000 + number))
    assert cache.get(keys[0]) is not None  # used: now the youngest
    cache.put(keys[3], {"x": bytes(1000)})
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]
    assert cache.size() <= 3500


def test_an_entry_larger_than_the_bound_still_serves_its_writer(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=100)
    entry = cache.put(key_of("x"), {"x": bytes(1000)})
    assert entry.file("x").is_file()


def test_what_a_dead_process_left_is_swept_up(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    left, fresh = tmp_path / "tmp" / "left", tmp_path / "tmp" / "fresh"
    for folder in (left, fresh):
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(b"x")
    os.utime(left, (time.time() - 7200,) * 2)
    cache.put(key_of("x"), {"x": b""})
    assert not left.exists()
    assert fresh.exists()


def test_cleared(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(key_of("x"), {"x": b"12345"})
    assert cache.size() > 5
    cache.clear()
    assert cache.size() == 0
    assert cache.get(key_of("x")) is None


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write the cache folder .*file .*; set MOSAIC_CACHE to a folder that can be written"):
        Cache(blocked).put(key_of("x"), {"x": b""})


def test_a_cache_that_may_only_be_read_still_serves(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    entry = cache.put(key_of("x"), {"x": b"1"})
    entry.path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert cache.get(key_of("x")) is not None
    finally:
        entry.path.chmod(stat.S_IRWXU)


def test_the_index_names_every_file(tmp_path: Path) -> None:
    entry = Cache(tmp_path).put(key_of("x"), {"a": b"1", "b": b"2"})
    index = json.loads((entry.path / "entry.json").read_text())
    assert set(index["sha256"]) == {"a", "b"}
    assert index["bytes"] == 2
