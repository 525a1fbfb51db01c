"""Whatever was edited, run and broken off before: the last rows, their ids and `why` are those of a
workspace made afresh from the last files.

`SOLON_HISTORIES=200` tries so many histories, drawn anew each time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from .history import Breaking, BrokenOff, Kept, empty_ledger, write_prompts, write_rules
from .world import JUDGE

HISTORIES = os.environ.get("SOLON_HISTORIES")
SLUGS = ("be-kind", "be-brief", "be-plain", "be-exact")
QUESTIONS = tuple(f"What is {what}?" for what in ("a map", "the sea", "iron and how is it made"))
# Every field of a principle but its slug, with what it may be changed to; None takes it away.
FIELDS: dict[str, tuple[Any, ...]] = {
    "title": ("A rule", "Another rule"),
    "critique": ("Point out what is unkind.", "Name what is long."),
    "revision": ("Mend it.", "Write it anew."),
    "comparison": ("Which is kinder?", "Which is shorter?"),
    "tags": (["honest"], ["harmless"]),
    "weight": (1, 5),
    "enabled": (True, False),
    "applies_to": (None, ["plain"]),
    "check": (None, {"max_words": 12}, {"max_words": 24}),
    "examples": (None, [{"prompt": "Who is there?", "response": "It is me, and I am well."}]),
}
SETTINGS: dict[str, tuple[Any, ...]] = {
    "generation.rounds": (1, 2),
    "generation.system": ("", "Be brief."),
    "generation.temperature": (1.0, 0.5),
    "generation.max_new_tokens.draft": (48, 12),
    "generation.max_new_tokens.revision": (48, 12),
    "generation.max_prompt_tokens": (7000, 60),
    "pairs.shares.distilled": (0, 1),
    "pairs.shares.candidates": (0, 1),
    "pairs.evidence": ("presumed", "required"),
    "pairs.samples": (2, 3),
    "prompts.held_out_percent": (20, 50),
    "snapshots.sft_rounds": ("last", "all"),
    "judge.use": (False, True),
}


# How a run goes: the settings that are moved before it, and after how many calls it breaks off;
# None: it does not.
How = tuple[list[str], int | None]
HOW = st.tuples(
    st.lists(st.sampled_from(sorted(SETTINGS)), min_size=1, max_size=3, unique=True),
    st.sampled_from([None, None, None, 2, 7]),
)


def following(values: tuple[Any, ...], value: Any) -> Any:
    """The value after this one, the first after the last; the last after one that is none."""
    return values[(values.index(value) + 1) % len(values)] if value in values else values[-1]


def principle(slug: str) -> dict[str, Any]:
    words = {name: FIELDS[name][0] for name in ("critique", "revision", "comparison")}
    return {"slug": slug, **words}


class History(RuleBasedStateMachine):
    """The files now, the settings now, and a workspace that has seen others."""

    empty: ClassVar[Path]

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.principles = [principle(slug) for slug in SLUGS[:2]]
        self.prompts = [self._prompt(text, "plain", False) for text in QUESTIONS[:2]]
        self.chosen = {name: values[0] for name, values in SETTINGS.items()}
        # A draft and a sample that ask the same share an answer, which is told as what asked first.
        self.chosen |= {"pairs.candidates_of": "model", "pairs.temperature": 0.8}
        self._write()
        self.kept = Kept(self.folder / "kept", self.folder, self.empty, {})
        self._run(([], None))

    @rule(
        number=st.integers(0, 3),
        names=st.lists(st.sampled_from(sorted(FIELDS)), min_size=2, max_size=4, unique=True),
        how=HOW,
    )
    def edit(self, number: int, names: list[str], how: How) -> None:
        """Change fields of a principle; the first is always there to be met."""
        own = self.principles[number % len(self.principles)]
        for name in names:
            if own is self.principles[0] and name in ("enabled", "applies_to"):
                continue
            value = following(FIELDS[name], own.pop(name, None))
            own |= {} if value is None else {name: value}
        self._run(how)

    @rule(number=st.integers(0, 3), slug=st.sampled_from(SLUGS), how=HOW)
    def rename(self, number: int, slug: str, how: How) -> None:
        """Give a principle another slug; where there is one of that slug, swap them."""
        own = self.principles[number % len(self.principles)]
        for other in self.principles:
            if other["slug"] == slug:
                other["slug"] = own["slug"]
        own["slug"] = slug
        self._run(how)

    @rule(slug=st.sampled_from(SLUGS), how=HOW)
    def add_or_remove(self, slug: str, how: How) -> None:
        there = [own for own in self.principles[1:] if own["slug"] == slug]
        if there:
            self.principles.remove(there[0])
        elif slug != self.principles[0]["slug"]:
            self.principles.append(principle(slug))
        self._run(how)

    @rule(
        gone=st.integers(0, 3),
        text=st.sampled_from(QUESTIONS),
        category=st.sampled_from(["plain", "odd", ""]),
        has_system=st.booleans(),
        how=HOW,
    )
    def prompt(self, gone: int, text: str, category: str, has_system: bool, how: How) -> None:
        """Add one, or put it in another's place; with a system turn it asks what the recipe may."""
        self.prompts[gone : gone + 1] = [self._prompt(text, category, has_system)]
        self._run(how)

    @rule(gone=st.integers(0, 3), how=HOW)
    def remove_prompt(self, gone: int, how: How) -> None:
        if len(self.prompts) > 1:
            del self.prompts[gone % len(self.prompts)]
        self._run(how)

    def teardown(self) -> None:
        try:
            inputs = self.kept.run(self.chosen, JUDGE)
            assert self.kept.world.plan(inputs).is_empty
            afresh = Kept(self.folder / "afresh", self.folder, self.empty, {})
            afresh.run(self.chosen, JUDGE)
            self._compare(afresh)
        finally:
            shutil.rmtree(self.folder)

    def _compare(self, afresh: Kept) -> None:
        there, wanted = self.kept.facts(), afresh.facts()
        for table, told in wanted.items():
            assert told <= there[table], table
        for table in ("left out", "figures", "rows"):
            assert wanted[table] == there[table]
        (stories, edges), (told_afresh, edges_afresh) = self.kept.whys(), afresh.whys()
        assert stories == told_afresh
        assert edges == edges_afresh

    def _write(self) -> None:
        write_rules(self.folder, self.principles)
        write_prompts(self.folder, self.prompts)

    def _run(self, how: How) -> None:
        moved, broken_off = how
        for name in moved:
            self.chosen[name] = following(SETTINGS[name], self.chosen[name])
        self._write()
        with suppress(BrokenOff):
            engine = JUDGE if broken_off is None else Breaking(broken_off)
            self.kept.run(self.chosen, engine)

    def _prompt(self, text: str, category: str, has_system: bool) -> dict[str, Any]:
        before = [{"role": "system", "content": "Be brief."}] if has_system else []
        said = {"category": category} if category else {}
        return {"messages": [*before, {"role": "user", "content": text}], **said}


def test_history_leaves_no_trace_in_the_last_rows(tmp_path: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    History.empty = empty_ledger(tmp_path / "empty.duckdb")
    how = settings(
        max_examples=int(HISTORIES or 10),
        stateful_step_count=5,
        derandomize=not HISTORIES,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if HISTORIES else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(History, settings=how)
