"""What the data side needs to know to ask: words, models, sampling; and the calls it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Literal, get_args

from constitution.assign import Assigner
from constitution.checks import applies
from constitution.errors import ConstitutionError
from constitution.render import (
    critique_message,
    few_shot_critique,
    few_shot_revision,
    revision_message,
)
from constitution.schema import Constitution, Principle
from constitution.teacher import teacher_prefix, teacher_turns
from storage.ids import canonical_json
from tasks.generation.calls import (
    Answer,
    Call,
    CallForm,
    Message,
    Sampling,
    Turn,
    category_of,
    principle_id,
)
from tasks.generation.labels import Label
from tasks.generation.sources import Pool, Source, source_of
from tasks.prompts import Prompt

# In which a model may be asked that is another than the one in all the others.
Role = Literal["draft", "critique", "revision", "judge", "teacher"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Method:
    """`sampling`: by step, "draft", "critique", "revision", "sample". `rounds`: of critique and
    revision. `shares`: of the prompts, by source.

    `samples`: answers a prompt, of the teacher and of the model of candidates; `student_samples`:
    of the student. `candidates_of`: that model, None where it is not trained yet. `shown`:
    principles that a teacher is shown and a pair of samples is about. `kept_as`: the id
    under which a principle's rows are kept, by its own id, where that is another: one with the same
    words for critique and revision was there first. `others`: the models of roles that are asked
    of another than `model_id`.
    """

    constitution: Constitution
    model_id: str
    sampling: Mapping[str, Sampling]
    rounds: int = 1
    system: str = ""
    shares: Mapping[Source, float] = field(default_factory=lambda: {"revision": 1.0})
    samples: int = 1
    student_samples: int = 1
    shown: int = 1
    candidates_of: str | None = None
    kept_as: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[Role, str] = field(default_factory=dict)

    def model_of(self, role: Role) -> str:
        """The id of the model that is asked in a role."""
        return self.others.get(role, self.model_id)

    @cached_property
    def principle_ids(self) -> dict[str, str]:
        """The ids of the words that requests show, by slug.

        What a principle is compared by is not among them: changing that makes no row another's.
        """
        own = {p.slug: principle_id(p) for p in self.constitution.principles}
        return {slug: self.kept_as.get(found, found) for slug, found in own.items()}

    def source(self, prompt: Prompt) -> Source:
        return source_of(prompt.prompt_id, self.shares)

    def principles(self, prompt: Prompt, count: int | None = None) -> tuple[Principle, ...]:
        """The principles a prompt meets in every round, or in `count` of them."""
        rounds = self.rounds if count is None else count
        return self.assigner.principles(prompt.prompt_id, rounds, category_of(prompt))

    def shown_to(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principles that a teacher is shown for a prompt, each once, in the order of slugs:
        the first that it meets but for those whose check says nothing of such a prompt.
        """
        asked, every = prompt.messages[-1]["content"], len(self.constitution.enabled)
        try:
            met = {p.slug: p for p in self.principles(prompt, max(self.shown, every))}
        except ConstitutionError:  # a later round's tags leave none for this category
            met = {p.slug: p for p in self.principles(prompt, self.shown)}
        told = [p for p in met.values() if applies(p, asked)] or list(met.values())
        return tuple(sorted(told[: self.shown], key=lambda p: p.slug))

    def draft(self, prompt: Prompt) -> Call:
        return self._as_it_is(self._form("draft", self.model_of("draft")), prompt)

    def critique(self, turn: Turn, round: int) -> Call:
        form = self._form("critique", self.model_of("critique"))
        return self._about(form, turn, round, critique_message)

    def revise(self, turn: Turn, round: int, critique: Answer) -> Call:
        form = self._form("revision", self.model_of("revision"))
        return self._about(form, turn, round, revision_message, critique)

    def sample(self, model_id: str, prompt: Prompt, count: int) -> list[Call]:
        """A model's answers to a prompt as it is."""
        form = self._form("sample", model_id)
        return [self._as_it_is(form, prompt, number) for number in range(count)]

    def teach(self, prompt: Prompt, shown: tuple[Principle, ...]) -> list[Call]:
        """A teacher's answers, after these principles and answers that keep them."""
        form = self._form("teacher", self.model_of("teacher"), shown)
        turns, first = tuple(teacher_turns(prompt.messages)), self.principle_ids[shown[0].slug]
        return [
            form.call(prompt.prompt_id, turns, None, first, number)
            for number in range(self.samples)
        ]

    def shown_ids(self, pools: Iterable[Pool]) -> dict[str, list[str]]:
        """The principles' ids behind the prefix of every teacher's call, by the prefix's id."""
        found: dict[str, list[str]] = {}
        for shown in {pool.principles for pool in pools if pool.source == "distilled"}:
            prefix = str(self._form("teacher", self.model_of("teacher"), shown).few_shot_id)
            found[prefix] = [self.principle_ids[principle.slug] for principle in shown]
        return found

    def named(self, label: Label) -> tuple[str | None, str | None]:
        """The id of the words of a label's principle, and the check that a program held it to.

        A judge was asked the comparison question as it is now, whatever rows are kept under.
        """
        if label.slug not in self.principle_ids:
            return None, None
        principle = self.constitution.principle(label.slug)
        check = canonical_json(dict([principle.check])).decode() if principle.check else None
        if label.by == "judge":
            return principle_id(principle), None
        return self.principle_ids[label.slug], check if label.by == "program" else None

    def _as_it_is(self, form: CallForm, prompt: Prompt, sample_index: int = 0) -> Call:
        """The conversation, after the method's system message unless it has one itself."""
        before: tuple[Message, ...] = ()
        if self.system and prompt.messages[0]["role"] != "system":
            before = ({"role": "system", "content": self.system},)
        messages = (*before, *prompt.messages)
        return form.call(prompt.prompt_id, messages, sample_index=sample_index)

    def _about(
        self,
        form: CallForm,
        turn: Turn,
        round: int,
        message: Callable[..., Message],
        *before: Answer,
    ) -> Call:
        """What is asked about the current response under its principle, `before` it a critique."""
        principle = turn.principles[round]
        texts = (turn.answer.text, *(answer.text for answer in before))
        asked = message(principle, turn.prompt.messages, *texts)
        found = self.principle_ids[principle.slug]
        return form.call(turn.prompt_id, (asked,), round, found)

    @cached_property
    def assigner(self) -> Assigner:
        return Assigner(self.constitution)

    @cached_property
    def _form(self) -> Callable[..., CallForm]:
        return cache(self._new_form)

    def _new_form(self, step: str, model_id: str, shown: tuple[Principle, ...] = ()) -> CallForm:
        """What all calls of a step to a model begin with; a teacher's by what it is shown."""
        before: Sequence[Message] = ()
        if step == "teacher":
            before = teacher_prefix(shown, self.system)
        elif step == "critique":
            before = few_shot_critique(self.constitution)
        elif step == "revision":
            before = few_shot_revision(self.constitution)
        sampling = self.sampling[step]
        return CallForm(step, model_id, sampling, before)
