"""The corpus of the audit: ways to cheat, honest controls, honest mistakes, and the tasks that they are tried on.

Each entry is a Markdown file: a title, lines `- key: value`, what it does in words, and its files in code blocks whose
info string is the language and the file's name. So the corpus can be read as it is, and travels with the package.

    for entry in entries("cheats"):
        candidate, task = entry.write(folder), entry.task.write(folder)

Keys: `name` (of the cheat), `task`, `needs` (cpu, cuda, triton, tilelang), `kinds` (the failure classes that count as
caught and named; `cheat.` and the name by default), `timed` (if only timed runs can show it), `naive` (what a judge of the
usual sort makes of it, for its tests), `faster` (a
control: how many times faster than the baseline it is at least).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from mosaic.errors import InputError

ROOT: Final = Path(__file__).parent
VERSION: Final = 1
Group = Literal["cheats", "controls", "mistakes"]
GROUPS: Final[tuple[Group, ...]] = ("cheats", "controls", "mistakes")
NEEDS: Final = ("cpu", "cuda", "triton", "tilelang")

_FENCE: Final = re.compile(r"^```(\w+) ([\w./-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KEY: Final = re.compile(r"^- (\w+): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """A task: `files` by name."""

    name: str
    title: str
    files: dict[str, str]

    def write(self, folder: Path) -> Path:
        """Write its files into a new folder below `folder`; what to load: that folder, or its only file."""
        place = _write(folder / f"task-{self.name}", self.files)
        return place if len(self.files) > 1 else place / next(iter(self.files))


@dataclass(frozen=True)
class Entry:
    """One entry. `number` is that of the way to cheat, 0 if it is none. `path` is its file's name without suffix, unique in the corpus."""

    group: Group
    path: str
    number: int
    title: str
    text: str
    name: str
    task: Task
    needs: str
    kinds: tuple[str, ...]
    naive: tuple[str, ...]
    faster: float | None
    timed: bool
    files: dict[str, str]

    @property
    def sha256(self) -> str:
        """Of its files and its task's: by this a result says what was tried."""
        parts = [*sorted(self.files.items()), *sorted(self.task.files.items())]
        return hashlib.sha256("".join(f"{name}\n{len(text)}\n{text}" for name, text in parts).encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write the candidate's files into a new folder below `folder`. Returns what to load: that folder, or its only file."""
        place = _write(folder / self.path, self.files)
        return place if len(self.files) > 1 else place / next(iter(self.files))


def _write(place: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content, encoding="utf-8")
    return place


def entries(*groups: Group) -> tuple[Entry, ...]:
    """The entries of these groups, or of all, in order. Raises InputError for a file that is not an entry."""
    return tuple(entry for group in groups or GROUPS for entry in _group(group))


def find(path: str) -> Entry:
    """The entry of that path. Raises InputError if there is none."""
    for entry in entries():
        if entry.path == path:
            return entry
    raise InputError(f"the corpus has no entry {path!r}; `mosaic audit --list` shows them")


def digest() -> str:
    """SHA-256 over every file of the corpus, by which a table says what it was made from."""
    total = hashlib.sha256()
    for path in sorted(ROOT.glob("*/*.md")):
        content = path.read_bytes()
        total.update(f"{path.relative_to(ROOT).as_posix()}\n{len(content)}\n".encode() + content)
    return total.hexdigest()


@lru_cache
def _group(group: Group) -> tuple[Entry, ...]:
    return tuple(_entry(group, path) for path in sorted((ROOT / group).glob("*.md")))


@lru_cache
def task(name: str) -> Task:
    """A task by its name. Raises InputError if there is none."""
    path = ROOT / "tasks" / f"{name}.md"
    if not path.is_file():
        raise InputError(f"the corpus has no task {name!r}")
    title, _, files = _parts(path)
    return Task(name, title, files)


def _parts(path: Path) -> tuple[str, str, dict[str, str]]:
    """Title, text before the first code block, files."""
    content = path.read_text(encoding="utf-8")
    files = {name: body for _, name, body in _FENCE.findall(content)}
    title, _, rest = content.partition("\n")
    if not title.startswith("# ") or not files:
        raise InputError(f"{path.name} is no entry of the corpus: it needs a title and a code block with a file's name")
    return title[2:].strip(), rest.partition("\n```")[0], files


def _entry(group: Group, path: Path) -> Entry:
    title, head, files = _parts(path)
    keys: dict[str, str] = dict(_KEY.findall(head))
    unknown = set(keys) - {"name", "task", "needs", "kinds", "naive", "faster", "timed"}
    if unknown or "task" not in keys or keys.get("needs", "cpu") not in NEEDS:
        raise InputError(f"{path.name} is no entry of the corpus: it lacks a task, or has the keys {', '.join(unknown) or 'needs'} wrong")
    name = keys.get("name", path.stem)
    default = {"cheats": (f"cheat.{name}",), "controls": ()}.get(group, ())
    return Entry(
        group=group, path=path.stem, number=int(path.stem.split("_")[0]) if group == "cheats" else 0, title=title,
        text=_KEY.sub("", head).strip(), name=name, task=task(keys["task"]), needs=keys.get("needs", "cpu"),
        kinds=tuple(keys["kinds"].split()) if "kinds" in keys else default, naive=tuple(keys.get("naive", "").split()),
        faster=float(keys["faster"]) if "faster" in keys else None, timed="timed" in keys, files=files,
    )  # fmt: skip


def cheat_names() -> dict[int, str]:
    """The name of each way to cheat by its number."""
    return {entry.number: entry.name for entry in entries("cheats")}


def catalogue() -> Iterator[dict[str, Any]]:
    """A line for each entry: group, number, name, path, title, needs, kinds."""
    for entry in entries():
        yield {
            "group": entry.group, "number": entry.number, "name": entry.name, "path": entry.path, "title": entry.title,
            "needs": entry.needs, "kinds": list(entry.kinds),
        }  # fmt: skip
