"""What the doctor finds: one pass over a workspace, and each thing that is wrong in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.ledger import Ledger
from storage.readable import ledger_at
from storage.workspace import Workspace
from tasks.compute import Compute, cpu_compute_type
from tasks.machine import gpus, machine_name


@dataclass(frozen=True)
class Finding:
    """What is wrong, with what, and what was (where `mended`) or would be done about it."""

    kind: str
    subject: str
    detail: str
    action: str
    mended: bool = False

    @property
    def done(self) -> str:
        return self.action if self.mended else f"to do: {self.action}"


@dataclass
class Examination:
    """One pass over a workspace. `skipped`: what could not be looked at, and why.

    `compute`: the number type that models are computed in on this machine's processor.
    """

    workspace: Workspace
    fix: bool = False
    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    machine: str = field(default_factory=machine_name)
    compute: Compute = field(default_factory=cpu_compute_type)
    has_gpu: bool = field(default_factory=lambda: bool(gpus()))

    @property
    def ledger(self) -> Ledger:
        return ledger_at(self.workspace.ledger, holder="solon doctor")

    def found(self, kind: str, subject: str, detail: str, action: str, mends: bool = True) -> bool:
        """Note a finding; whether the caller shall mend it now."""
        mended = self.fix and mends
        self.findings.append(Finding(kind, subject, detail, action, mended))
        return mended
