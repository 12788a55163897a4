"""What a candidate reaches for while it runs, seen by Python's audit events, and decoys that only a cheat would touch.

    watch = Watch(report, folder="/candidate", scratch="/scratch")
    watch.start()                                   # before anything of the candidate is imported
    outputs = watch.call(entry, inputs, decoys)     # a call with decoys in the caller's frame
    watch.after(outputs)

`report(cheat, message)` is called the moment something is seen, so that what has been told can't be taken back. An audit
hook cannot be removed from Python; native code can get around it, which is why nothing rests on this alone: what it
reports names a cheat, and what stops it is that there is nothing to find.

Only what the candidate itself does counts: the innermost frame outside the standard library must be in its folder, so
that a library's own files, frames and compilers are not held against who imports it. Standard library only, and
PyTorch where decoys are tensors: this runs in the candidate's process.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

Report = Callable[[str, str], None]

WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DECOY_NAMES: Final = ("make_inputs", "get_inputs", "generate_inputs", "reference", "check", "compare")
"""Put into the main module, under which other judges make inputs and compare."""
DECOY_FILES: Final = ("definition.json", "workload.json", "tolerance.json", "harness.py")
"""Laid out in the scratch folder under the names that other judges read."""
CACHE_ENTRY: Final = "compiled-entry.bin"
"""A decoy in each compile cache of the scratch folder."""
CACHES: Final = (
    ".triton",
    ".cache",
    "torchinductor",
    "inductor",
    ".tilelang",
    "tilelang",
    ".nv",
    "torch_extensions",
    "cutlass",
    "compile_cache",
)
SHARED: Final = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/home", "/root")
"""Places that outlive a candidate on most machines."""
REFERENCE: Final = ("reference", "reference_model", "definition", "task", "baseline")
"""Modules in which other judges keep the reference."""
FRAME_FILES: Final = ("inspect.py", "traceback.py", "bdb.py", "pdb.py")
FETCHES: Final = ("pip", "uv", "conda", "apt", "apt-get", "curl", "wget", "git")

_STANDARD: Final = tuple(
    {sysconfig.get_paths()["stdlib"] + os.sep, sysconfig.get_paths()["platstdlib"] + os.sep, os.path.dirname(os.__file__) + os.sep}
)
_PACKAGES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Watch:
    """The audit hook and the decoys of one candidate's process.

    folder: of the candidate's files. scratch: the only folder in which it may write. protected: folders that hold tasks or the judge.
    """

    def __init__(self, report: Report, folder: str, scratch: str, protected: Sequence[str] = ()) -> None:
        self.folder = os.path.realpath(folder) + os.sep
        self.scratch = os.path.realpath(scratch) + os.sep
        self.protected = tuple(os.path.realpath(path) + os.sep for path in protected)
        self._report = report
        self._said: set[str] = set()
        self._inside = threading.local()
        self._decoy_files: dict[Path, str] = {}
        self._decoys: list[tuple[Any, str]] = []
        self._names: dict[str, Any] = {}
        self._source = _sources(Path(folder))
        self._handlers: dict[str, Callable[[tuple[Any, ...], FrameType], None]] = {
            "sys._getframe": self._frame, "sys._current_frames": self._frames, "sys.settrace": self._frames, "sys.setprofile": self._frames,
            "gc.get_objects": self._objects, "gc.get_referrers": self._objects, "gc.get_referents": self._objects,
            "object.__setattr__": self._set, "open": self._open, "os.listdir": self._list, "os.scandir": self._list,
            "os.remove": self._change, "os.rename": self._change, "os.truncate": self._change, "os.chmod": self._change,
            "os.link": self._change, "os.symlink": self._change, "os.mkdir": self._make,
            "subprocess.Popen": self._program, "os.system": self._program, "os.exec": self._program, "os.posix_spawn": self._program,
            "os.fork": self._program, "os.forkpty": self._program, "socket.connect": self._network, "socket.getaddrinfo": self._network,
            "socket.bind": self._network, "urllib.Request": self._network, "import": self._import, "marshal.loads": self._marshal,
            "ctypes.dlsym": self._symbol, "ctypes.string_at": self._peek, "os.putenv": self._variable,
        }  # fmt: skip

    def start(self) -> None:
        """Lay out the decoy files and start to watch. It cannot be stopped."""
        self._lay_out()
        sys.addaudithook(self._hook)

    def tell(self, cheat: str, message: str) -> None:
        """Report once for each cheat."""
        if cheat not in self._said:
            self._said.add(cheat)
            self._report(cheat, message)

    # Decoys

    def _lay_out(self) -> None:
        main = sys.modules.get("__main__")
        for name in DECOY_NAMES if main is not None else ():
            if not hasattr(main, name):
                self._names[name] = _decoy_function(name)
                setattr(main, name, self._names[name])
        caches = [Path(value) for name, value in os.environ.items() if name.endswith("_CACHE_DIR") and self._is_scratch(value)]
        places = [Path(self.scratch) / name for name in DECOY_FILES] + [cache / CACHE_ENTRY for cache in caches]
        for place in places:
            text = hashlib.sha256(os.urandom(16)).hexdigest()
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.exists():
                    place.write_text(f'{{"tolerance": 1e-6, "seed": "{text}"}}\n')
                    self._decoy_files[place] = _digest_file(place)
            except OSError:
                continue  # a decoy less

    def call(self, function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any], expected: Any) -> Any:
        """`function(*arguments, **options)`, with decoys of the outputs in this frame under the name that other judges use."""
        decoys = list(expected) if isinstance(expected, (tuple, list)) else [expected]
        self._decoys = [(decoy, _digest(decoy)) for decoy in decoys]
        result = function(*arguments, **options)
        self.after(result)
        return result

    def after(self, outputs: Any = None) -> None:
        """Whether decoys were changed, or handed over as outputs."""
        for path, digest in self._decoy_files.items():
            if _digest_file(path) != digest:
                cheat = "poisoned_cache" if path.name == CACHE_ENTRY else "edited_harness"
                self.tell(cheat, f"the candidate changed the decoy file {path.name}")
        main = sys.modules.get("__main__")
        for name, function in self._names.items():
            if getattr(main, name, None) is not function:
                self.tell("redefined_globals", f"the candidate gave the main program another {name}")
        given = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        for decoy, digest in self._decoys:
            if _digest(decoy) != digest:
                self.tell("overwritten_expected", "the candidate overwrote a decoy of the expected output that lay in its caller's frame")
            elif any(_same(output, decoy) for output in given):
                self.tell("memory_scan", "the output is a decoy of the expected output, found in the caller's frame or among all objects")
        self._decoys = []

    # Events

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        handler = self._handlers.get(event)
        if handler is None or getattr(self._inside, "hook", False):
            return
        self._inside.hook = True
        try:
            handler(args, sys._getframe(1))
        except Exception:  # a watcher that raises would break what it watches
            return
        finally:
            self._inside.hook = False

    def _is_own(self, frame: FrameType | None) -> bool:
        """Whether the innermost frame outside the standard library is the candidate's."""
        while frame is not None:
            path = frame.f_code.co_filename
            if path.startswith(self.folder) or path in ("<string>", "<candidate>", "<stdin>"):
                return True
            if not path.startswith("<frozen") and (not path.startswith(_STANDARD) or any(part in path for part in _PACKAGES)):
                return False
            frame = frame.f_back
        return False

    def _is_scratch(self, path: str) -> bool:
        return (os.path.realpath(path) + os.sep).startswith(self.scratch)

    def _frame(self, args: tuple[Any, ...], frame: FrameType) -> None:
        direct = frame.f_code.co_filename
        if direct.startswith(self.folder) or (os.path.basename(direct) in FRAME_FILES and self._is_own(frame)):
            self.tell("swapped_code", f"the candidate walks frames ({_place(frame, self.folder)})")

    def _frames(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if self._is_own(frame):
            self.tell("swapped_code", f"the candidate asks for the frames of running code ({_place(frame, self.folder)})")

    def _objects(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if self._is_own(frame):
            self.tell("memory_scan", f"the candidate goes through all objects of the process ({_place(frame, self.folder)})")

    def _set(self, args: tuple[Any, ...], frame: FrameType) -> None:
        target, name, value = args
        if name == "__code__" and isinstance(value, CodeType) and self._is_own(frame):
            old = getattr(target, "__code__", None)
            if isinstance(old, CodeType) and not old.co_filename.startswith(self.folder):
                self.tell("swapped_code", f"the candidate replaced the code of {getattr(target, '__qualname__', target)}")

    def _open(self, args: tuple[Any, ...], frame: FrameType) -> None:
        path, mode, flags = args
        if not isinstance(path, (str, bytes)) or not self._is_own(frame):
            return
        name = os.fsdecode(path)
        if (isinstance(mode, str) and any(letter in mode for letter in "wax+")) or (isinstance(flags, int) and flags & WRITING):
            self._write(name)
        elif name.startswith("/proc/"):
            self._proc(name)
        elif self._is_protected(name):
            self.tell("inherited_reference", f"the candidate reads {os.path.basename(name)} of the task")

    def _is_protected(self, name: str) -> bool:
        path = os.path.realpath(name)
        return path.startswith(self.protected) if self.protected else False

    def _proc(self, name: str) -> None:
        if name.rpartition("/")[2] in ("mem", "maps", "smaps", "pagemap"):
            self.tell("memory_scan", f"the candidate reads {name}")
        elif "/fd" in name:
            self.tell("interposed_pipes", f"the candidate opens {name}")

    def _write(self, name: str) -> None:
        path = os.path.realpath(name)
        if os.path.basename(path) in DECOY_FILES or self._is_protected(name) or f"{os.sep}mosaic{os.sep}harness" in path:
            self.tell("edited_harness", f"the candidate writes to {name}")
        elif os.path.basename(path) == CACHE_ENTRY:
            self.tell("poisoned_cache", f"the candidate writes to {name}, a compiled entry that is not its own")
        elif path.startswith("/proc/"):
            self._proc(path if "/fd" in path else f"{path}/mem")
        elif name.startswith(SHARED) and name in self._source and not name.startswith("/dev/std"):
            cheat = "poisoned_cache" if any(part.startswith(CACHES) for part in Path(path).parts) else "carried_state"
            self.tell(cheat, f"the candidate writes to {name}, a place of its own choice that outlives it on other machines")
        elif self._is_scratch(path) or path in ("/dev/null", "/dev/stdout", "/dev/stderr"):
            return
        elif any(part.startswith(CACHES) for part in Path(path).parts):
            self.tell("poisoned_cache", f"the candidate writes to {name}, a compile cache that others share")
        elif path.startswith(SHARED):
            self.tell("carried_state", f"the candidate writes to {name}, which outlives it")

    def _list(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if args and isinstance(args[0], (str, bytes)) and self._is_own(frame):
            name = os.fsdecode(args[0])
            if name.startswith("/proc/") and name.rstrip("/").endswith(("/fd", "/fdinfo")):
                self.tell("interposed_pipes", f"the candidate lists {name}")

    def _change(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if self._is_own(frame):
            for path in args[:2]:
                if isinstance(path, (str, bytes)):
                    self._write(os.fsdecode(path))

    def _make(self, args: tuple[Any, ...], frame: FrameType) -> None:
        self._change(args[:1], frame)

    def _program(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if not self._is_own(frame):
            return
        words = " ".join(str(part) for part in args[:2])[:120] or "a copy of itself"
        fetch = any(word in FETCHES for word in words.replace("'", " ").replace(",", " ").replace("[", " ").split())
        what = "installs or fetches software while it runs" if fetch else "starts another program"
        self.tell("obfuscated_code", f"the candidate {what}: {words}")

    def _network(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if self._is_own(frame):
            self.tell("obfuscated_code", f"the candidate asks for the network: {str(args[1:] or args)[:120]}")

    def _import(self, args: tuple[Any, ...], frame: FrameType) -> None:
        name = str(args[0])
        if name in REFERENCE and self._is_own(frame) and not (Path(self.folder) / f"{name}.py").exists():
            self.tell("inherited_reference", f"the candidate imports {name}, where other judges keep the reference")

    def _marshal(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if frame.f_code.co_filename.startswith(self.folder) or frame.f_code.co_filename == "<string>":
            self.tell("obfuscated_code", "the candidate runs code from bytes (marshal)")

    def _symbol(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if len(args) > 1 and isinstance(args[1], str) and self._is_own(frame):
            cheat = SYMBOLS.get(args[1])
            if cheat is not None:
                self.tell(cheat, f"the candidate looks up {args[1]} in a library")

    def _peek(self, args: tuple[Any, ...], frame: FrameType) -> None:
        if self._is_own(frame) and len(args) > 1 and isinstance(args[1], int) and args[1] > 65536:
            self.tell("memory_scan", f"the candidate reads {args[1]} bytes of memory at an address")

    def _variable(self, args: tuple[Any, ...], frame: FrameType) -> None:
        name = os.fsdecode(args[0])
        if name in ("LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP") and self._is_own(frame):
            self.tell("shadowed_module", f"the candidate sets {name}")


SYMBOLS: Final = {
    "mprotect": "hooked_elapsed_time", "process_vm_readv": "memory_scan", "process_vm_writev": "overwritten_expected",
    "ptrace": "memory_scan",
    "pthread_create": "native_threads", "cudaEventElapsedTime": "hooked_elapsed_time", "cuEventElapsedTime": "hooked_elapsed_time",
    "cudaDeviceSetLimit": "warm_cache", "cudaStreamSetAttribute": "warm_cache", "cuCtxSetLimit": "warm_cache",
    "cuStreamSetAttribute": "warm_cache",
    "clock_settime": "patched_clock", "settimeofday": "patched_clock",
}  # fmt: skip
"""Functions that no kernel needs to look up by name, and what they are looked up for."""


def _decoy_function(name: str) -> Callable[..., None]:
    def decoy(*arguments: object, **options: object) -> None:
        return None

    decoy.__name__ = decoy.__qualname__ = name
    return decoy


def _place(frame: FrameType | None, folder: str) -> str:
    while frame is not None and not frame.f_code.co_filename.startswith(folder):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame is not None else "in generated code"


def _sources(folder: Path) -> str:
    """The text of the candidate's Python files, up to some size."""
    found = []
    for path in sorted(folder.rglob("*.py"))[:100]:
        try:
            found.append(path.read_text(encoding="utf-8", errors="replace")[:1_000_000])
        except OSError:
            continue
    return "\n".join(found)


def _digest_file(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return type(error).__name__


def _bytes(tensor: Any) -> bytes:
    import torch  # noqa: PLC0415  # the worker has it by then; the file needn't

    return bytes(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _digest(tensor: Any) -> str:
    return hashlib.sha256(_bytes(tensor)).hexdigest() if hasattr(tensor, "detach") else repr(tensor)


def _same(output: Any, decoy: Any) -> bool:
    """Whether an output holds a decoy's values, in whatever memory."""
    if not hasattr(output, "detach") or not hasattr(decoy, "detach"):
        return False
    if tuple(output.shape) != tuple(decoy.shape) or output.dtype != decoy.dtype or not decoy.numel():
        return False
    return output.data_ptr() == decoy.data_ptr() or _bytes(output) == _bytes(decoy)
