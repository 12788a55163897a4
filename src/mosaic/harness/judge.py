"""The judge: any candidate for any task, from files to a packet.

    packet = judge("tasks/rms_norm", "mine.py")
    packet.status, packet.failure

    load -> filters on the task itself -> source -> sandbox -> correctness on fresh data -> timed runs, verified too -> packet

What a candidate does, whatever it is, ends in a packet; the next candidate is judged normally. Only a task, workload or argument that
makes no sense raises InputError.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch

from mosaic.errors import InputError, MosaicError
from mosaic.evidence.canonical import digest
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.packet import Packet
from mosaic.evidence.record import derived, measured
from mosaic.harness import assemble, bundle, naming, oracle
from mosaic.harness.account import Account
from mosaic.harness.assemble import Record
from mosaic.harness.candidate import Candidate, load_candidate
from mosaic.harness.cheats import CHEATS
from mosaic.harness.correctness import Suite, check, check_task
from mosaic.harness.definition import Definition, load_definition
from mosaic.harness.environment import conditions
from mosaic.harness.oracle import Oracle
from mosaic.harness.player import Player
from mosaic.harness.sandbox import Broken, Limits, nursery
from mosaic.harness.seeds import commit
from mosaic.harness.signatures import Signature, scan
from mosaic.harness.timing_stage import Companions, baseline_of, time_candidate
from mosaic.harness.workload import Workload, hidden_cases, load_workload

REPLAY: Final = ("mosaic", "replay", "packet.json")


def judge(
    definition: str | Path | Definition,
    candidate: str | Path | Candidate,
    workload: str | Path | Workload | None = None,
    *,
    baseline: str | Path | Candidate | None = None,
    device: str = "auto",
    seed: str | None = None,
    limits: Limits | None = None,
    timing: bool = True,
    ledger: Ledger | None = None,
) -> Packet:
    """Judge a candidate. Each of the first three is a path or what was loaded from one.

    baseline: None for the task's own reference in PyTorch in its dtypes, "compiled" for that under torch.compile, "none", or another
    candidate. device: "cpu", "cuda" (or "cuda:1"), "auto" for a GPU if there is one. seed: the secret's text, to make a run again; a
    new one if None. ledger: gets the packet and its artifacts.
    """
    return judge_with_artifacts(
        definition, candidate, workload, baseline=baseline, device=device, seed=seed, limits=limits, timing=timing, ledger=ledger
    )[0]


def judge_with_artifacts(
    definition: str | Path | Definition,
    candidate: str | Path | Candidate,
    workload: str | Path | Workload | None = None,
    *,
    baseline: str | Path | Candidate | None = None,
    device: str = "auto",
    seed: str | None = None,
    limits: Limits | None = None,
    timing: bool = True,
    ledger: Ledger | None = None,
) -> tuple[Packet, dict[str, bytes]]:
    """The packet, and its artifacts' contents by SHA-256. Arguments as of `judge`."""
    where = device_of(device)
    task, mine = load_definition(definition), load_candidate(candidate)
    suite = load_workload(workload, task)
    against = baseline_of(baseline, task)
    record = Record(task, mine, where, commit(seed), REPLAY)
    record.bundle = bundle.pack(task, mine, suite, against, where, timing)
    _keep_files(record)
    run = _Run(record, suite, against, limits or Limits(), timing)
    run.all()
    packet, artifacts = assemble.packet(record), {sha256: data for sha256, (_, _, data) in record.artifacts.items()}
    if ledger is not None:
        ledger.append(packet, artifacts.values())
    return packet, artifacts


def device_of(name: str) -> str:
    """The device's name for PyTorch. Raises InputError if there is none such here."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not name.startswith("cuda"):
        raise InputError(f"there is no device {name!r}; name cpu, cuda or auto")
    if name != "cpu" and not torch.cuda.is_available():
        raise InputError(f"the device {name!r} was asked for, but PyTorch finds no GPU here; use cpu, or auto")
    return name


class _Run:
    """One candidate's way through the judge; each step is entered in the record."""

    def __init__(self, record: Record, workload: Workload, baseline: Candidate | str, limits: Limits, timing: bool) -> None:
        self.record: Final = record
        self.workload: Final = workload
        self.baseline: Final = baseline
        self.limits: Final = limits
        self.timing: Final = timing
        self.account: Final = Account()
        self.waited = 0.0
        self.signatures: tuple[Signature, ...] = ()

    def all(self) -> None:
        """All steps until one speaks against the candidate."""
        start = time.perf_counter()
        self._warm()
        with self.account.of("conditions"):
            self.record.before = conditions(self.record.device)
        try:
            with self.account.of("task"):
                asked = Oracle(self.record.definition)
            with asked:
                self._judge(asked)
        except Broken as error:
            self.record.failure = (error.kind, error.message)
        except InputError:
            raise
        except MosaicError as error:
            self.record.error = ("sandbox", str(error))
        with self.account.of("conditions"):
            self.record.after = conditions(self.record.device)
        self._name()
        self._overhead(time.perf_counter() - start)

    def _warm(self) -> None:
        """Start the clean processes that everything is forked from, all at once, while files are read and the task is filtered."""
        oracle.prepare()
        if self.record.candidate.needs_torch(self.record.device) or (self.timing and self.baseline != "none"):
            nursery(("torch",))
        if not self.record.candidate.needs_torch(self.record.device):
            nursery(())

    def _judge(self, asked: Oracle) -> None:
        record, workload = self.record, self.workload
        cases = (*workload.cases, *hidden_cases(record.definition, workload, record.seed.key("hidden")))
        record.cases = [(case, asked.inputs(case.symbols), asked.outputs(case.symbols)) for case in cases]
        with self.account.of("filters"):
            degenerate = check_task(asked, workload, cases, record.seed)
        if degenerate is not None:
            record.failure = ("degenerate_task", f"the task tells nothing of a candidate: {degenerate}")
            return
        self.signatures = scan(record.candidate, record.definition)
        if certain := [one for one in self.signatures if one.certain]:
            record.failure = (f"cheat.{certain[0].cheat}", certain[0].message)
            return
        with self.account.of("build"):
            player = Player(record.candidate, record.definition, asked, record.device, self.limits)
        with player:
            record.boundaries = player.session.boundaries
            try:
                self._play(player, asked, cases)
            finally:
                record.printed += player.session.streams.printed
                self.waited += player.session.waited
                self._keep_output(player)

    def _play(self, player: Player, asked: Oracle, cases: Any) -> None:
        record = self.record
        stateful = bool(asked.fixed.get("stateful"))
        with ExitStack() as stack:
            with self.account.of("build"):
                player.order(stateful=stateful)
                beside = Companions(record, player, asked, self.baseline, self.limits, stateful=stateful) if self.timing else None
                if beside is not None:
                    stack.callback(beside.close)
                record.built = player.build(stateful=stateful)
            self._keep_built()
            self._examine(player, beside, asked, cases)

    def _examine(self, player: Player, beside: Companions | None, asked: Oracle, cases: Any) -> None:
        record, stateful = self.record, bool(asked.fixed.get("stateful"))
        if (seen := player.session.observations) and seen[0][0] in CHEATS:
            record.failure = (f"cheat.{seen[0][0]}", seen[0][1])
            return
        with self.account.of("correctness"):
            started = None if beside is None else beside.warm
            record.suite = check(player, asked, self.workload, cases, record.seed, stateful=stateful, account=self.account, started=started)
            with self.account.of("correctness: probe"):
                wrong = self._beside_the_suite(player, asked, cases, stateful)
        if wrong is not None:
            with self.account.of("interrogation"):
                record.failure = self._named(wrong, player, asked, cases, stateful)
            return
        if beside is not None and record.suite.conclusive:
            with self.account.of("timing"):
                time_candidate(record, player, beside, asked, self.workload, self.account)
            if record.failure is not None:
                with self.account.of("interrogation"):
                    record.failure = self._named(record.failure, player, asked, cases, stateful)

    def _beside_the_suite(self, player: Player, asked: Oracle, cases: Any, stateful: bool) -> tuple[str, str] | None:
        """What the suite found wrong, or else probes and the calls that were made."""
        suite = self.record.suite
        if suite is None or suite.kind is not None:
            return None if suite is None or suite.kind is None else (suite.kind, suite.message)
        return (
            naming.probe(player, asked, cases)
            or naming.forbidden_call(player)
            or naming.slow_start(player, self._again(asked, stateful), asked, cases)
        )

    def _named(self, failure: tuple[str, str], player: Player, asked: Oracle, cases: Any, stateful: bool) -> tuple[str, str]:
        suite = self.record.suite or Suite()
        return naming.named(failure, self._again(asked, stateful), asked, cases, suite, player.session.observations, self.signatures)

    def _again(self, asked: Oracle, stateful: bool) -> Callable[[], Player]:
        """Makes the candidate anew, in a process of its own."""

        def make() -> Player:
            record = self.record
            made = Player(record.candidate, record.definition, asked, record.device, self.limits)
            made.build(stateful=stateful)
            if asked.definition.published:
                made.initialise(asked.initialise(record.seed.key("interrogation")))
            return made

        return make

    def _name(self) -> None:
        """What the source hints at is kept as suspicion: alone it proves nothing."""
        record = self.record
        hints = [one for one in self.signatures if not one.certain]
        record.suspicions += [(hint.cheat, hint.message) for hint in hints]
        if record.failure is not None:
            self._keep("error.txt", "error-text", record.failure[1].encode())

    def _overhead(self, total: float) -> None:
        own = min(self.waited, total)
        how = "wall-clock seconds of the whole judgement, less those in which the judge waited for the candidate's process"
        self.record.capacity = {
            "total": measured(total, "s", how="the judge's clock").document(),
            "candidate": measured(own, "s", how="waiting for answers of the candidate's process").document(),
            "overhead": derived(total - own, "s", how).document(),
            "phases": {name: measured(seconds, "s").document() for name, seconds in self.account.seconds.items()},
        }

    def _keep_built(self) -> None:
        built = self.record.built
        if built is None:
            return
        if built.log.strip():
            self._keep("compile.log", "compile-log", built.log.encode())
        for name, data in built.binaries:
            self._keep(f"build/{name}", "binary", data)

    def _keep_output(self, player: Player) -> None:
        for name, data in player.session.streams.text.items():
            if data:
                self._keep(f"std{name}.txt", "other", data)

    def _keep(self, name: str, kind: str, data: bytes) -> None:
        self.record.artifacts.setdefault(digest(data), (name, kind, data))


def _keep_files(record: Record) -> None:
    parts: Mapping[str, tuple[str, Mapping[str, bytes]]] = {
        "definition": ("task", record.definition.files),
        "candidate": ("source", record.candidate.files),
    }
    for folder, (kind, files) in parts.items():
        for path, data in files.items():
            record.artifacts.setdefault(digest(data), (f"{folder}/{path}"[:200], kind, data))
