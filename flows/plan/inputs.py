"""Everything a run is made of: the recipe, and all it points to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from constitution.schema import Constitution
from flows.plan.chat import thinking_of
from flows.plan.hands import UNKNOWN_MODEL, Hand, Hands
from flows.plan.pair_parts import sources
from flows.plan.recipe import Recipe
from flows.plan.steps import DataStep
from flows.plan.unmet import coverage_notes
from storage.errors import InputError
from tasks import models
from tasks.chat.template import Template
from tasks.chat.think import Thinking
from tasks.evaluation.probes import Question, name_of, questions
from tasks.evaluation.rows import HELD_OUT
from tasks.generation.assemble import Exclusion
from tasks.generation.calls import Sampling
from tasks.generation.choose import Chooser, Standards
from tasks.generation.method import Method, Role
from tasks.generation.record import constitution_id
from tasks.generation.snapshots import Assembler, Snapshot, prompt_snapshot
from tasks.hygiene.rows import phrases
from tasks.judging.gold import GoldPair, read_gold
from tasks.judging.judge import Judge
from tasks.judging.people import People, people
from tasks.prompts import Prompt, is_held_out
from tasks.prompts.left_out import rows_in
from tasks.prompts.read import often_left_out
from tasks.prompts.rows import Exclusion as NotRead
from tasks.review.verdicts import Reviews


@dataclass(frozen=True)
class Inputs:
    """The recipe with all it points to. `model.model_id` is None for a hub model not yet here.

    `constitution_path` is None for a constitution that a ref names; `kept_as` as in `Method`.
    `folder`, the model's, and `template` are None where it is not there yet. `prompt_notes`: what
    reading the prompts found odd. `reviews`: what reviewers said in this workspace.
    """

    recipe: Recipe
    constitution: Constitution
    constitution_path: Path | None
    prompts: tuple[Prompt, ...]
    exclusions: tuple[Exclusion, ...]
    model: models.ModelInfo
    kept_as: Mapping[str, str]
    hands: Hands
    folder: Path | None = None
    template: Template | None = None
    prompt_notes: tuple[str, ...] = ()
    reviews: Reviews = field(default_factory=Reviews)

    @property
    def constitution_id(self) -> str:
        return constitution_id(self.constitution)

    @property
    def base_model_id(self) -> str:
        """The model that is trained on: a checkpoint reference's base, else the model itself."""
        return self.model.base_model_id or self.model.model_id or UNKNOWN_MODEL

    @property
    def asked(self) -> tuple[Hand, ...]:
        """The models that a run may ask, each once: that of all other roles first, then those of
        the roles that its sources of pairs and its judge give something to do.
        """
        found: dict[str, Hand] = {}
        for hand in (self.hands.own, *map(self.hands.of, self.roles)):
            found.setdefault(hand.model_id, hand)
        return tuple(found.values())

    @property
    def roles(self) -> list[Role]:
        """The roles that there is something to do for, in the order in which they are asked."""
        shares = self.recipe.pairs.shares
        revised: list[Role] = ["draft", "critique", "revision"] if shares.revision else []
        taught: list[Role] = ["teacher"] if shares.distilled else []
        judged: list[Role] = ["judge"] if self.judge else []
        return [*revised, *taught, *judged]

    @property
    def thinking(self) -> Thinking:
        """How thoughts are told from answers of the model that is trained, and of people's."""
        return thinking_of(self.template, self.recipe.generation.manner)

    @cached_property
    def method(self) -> Method:
        generation, pairs = self.recipe.generation, self.recipe.pairs
        model_id = self.hands.own.model_id
        return Method(
            self.constitution,
            model_id,
            self._sampling,
            rounds=generation.rounds,
            system=generation.system,
            shares=pairs.shares.by_source(),
            samples=pairs.samples,
            student_samples=pairs.student_samples or pairs.samples,
            shown=pairs.principles,
            candidates_of=model_id if pairs.candidates_of == "model" else None,
            kept_as=self.kept_as,
            others=self.hands.others,
        )

    @property
    def _sampling(self) -> dict[str, Sampling]:
        generation, pairs = self.recipe.generation, self.recipe.pairs
        prompt = generation.max_prompt_tokens
        how = generation.temperature, generation.top_p
        revised: tuple[Role, ...] = "draft", "critique", "revision"
        limits = generation.max_new_tokens
        found: dict[str, Sampling] = {
            role: Sampling(
                *how, getattr(limits, role), prompt, thinking=self.hands.of(role).thinking
            )
            for role in revised
        }
        sampling = partial(Sampling, pairs.temperature, 1.0, pairs.max_new_tokens, prompt)
        found["sample"] = sampling(thinking=self.hands.own.thinking)
        found["teacher"] = sampling(thinking=self.hands.of("teacher").thinking)
        return found

    def assembler(self, without: str | None = None) -> Assembler:
        """What turns this run's walks into rows, but for those owed to the principle `without`."""
        recipe = self.recipe
        standards = Standards(
            needs_evidence=recipe.pairs.evidence == "required",
            whole=recipe.pairs.whole,
            examples_each=recipe.pairs.examples,
            final_only=recipe.snapshots.sft_rounds == "last",
        )
        worked = self.constitution.examples
        taught = [answer for p in self.constitution.principles for answer in p.examples]
        shown = phrases(
            [
                *(text for e in worked for text in (e.response, e.critique, e.revision)),
                *(answer.response for answer in taught),
            ]
        )
        said = self.people.verdicts
        chooser = Chooser(self.constitution, standards, shown, without, said, self.reviews)
        return Assembler(chooser, recipe.prompts.held_out_percent, recipe.judge.card_pairs)

    @cached_property
    def prompt_snapshot(self) -> Snapshot:
        return prompt_snapshot(self.prompts, self.recipe.prompts.held_out_percent)

    @cached_property
    def notes(self) -> list[str]:
        """What a person should know before anything is spent, a line each."""
        judged = self.recipe.judge.n_principles * self.recipe.judge.use
        often = [
            note
            for each in self.people.every
            for note in often_left_out(each.left_out, each.own.row_count + rows_in(each.left_out))
        ]
        return [*self.prompt_notes, *often, *coverage_notes(self.method, self.prompts, judged)]

    @property
    def data_steps(self) -> list[DataStep]:
        """The steps before training that sources of pairs and judge ask for, in order."""
        shares = self.recipe.pairs.shares
        revised: list[DataStep] = ["drafts", "critiques", "revisions"] if shares.revision else []
        sampled: list[DataStep] = ["samples"] if shares.distilled or shares.candidates else []
        judged: list[DataStep] = ["comparisons"] if self.judge else []
        return [*revised, *sampled, *judged, "pairs"]

    @cached_property
    def judge(self) -> Judge | None:
        """Who compares what no program can tell apart; None for nobody."""
        settings = self.recipe.judge
        if not settings.use:
            return None
        asked = settings.model_dump(exclude={"use", "card_pairs", "gold", "floor"})
        limit = self.recipe.generation.max_prompt_tokens
        return Judge(self.hands.of("judge").model_id, max_prompt_tokens=limit, **asked)

    @cached_property
    def people(self) -> People:
        """What people brought, by the recipe's sets. InputError for a set that holds nothing."""
        pairs = self.recipe.pairs
        return people(sources(pairs.people), sources(pairs.demonstrations), self.thinking)

    @property
    def left_out(self) -> list[Exclusion]:
        """Every row of the files of prompts and of people's sets that is not used."""
        return [*self.exclusions, *(unused_row(found, "people") for found in self.people.left_out)]

    @cached_property
    def gold(self) -> Sequence[GoldPair]:
        """The recipe's pairs of which the better response is known. InputError where one is bad."""
        path = self.recipe.judge.gold
        return read_gold(Path(path), self.thinking) if path and self.judge else ()

    @property
    def evaluation_prompts(self) -> Sequence[Prompt]:
        """The held-out prompts that are answered: the first by id, as many as the recipe says."""
        percent = self.recipe.prompts.held_out_percent
        held_out = [p for p in self.prompts if is_held_out(p.prompt_id, percent)]
        return sorted(held_out, key=lambda p: p.prompt_id)[: self.recipe.evaluation.prompts]

    @cached_property
    def questions(self) -> Sequence[Question]:
        """What an evaluation asks every policy: the held-out prompts, and the questions of probes.

        Raises InputError where a file of a probe is bad, or two probes have one name.
        """
        settings, probes = self.recipe.evaluation, self.probes
        asked = [questions(probe, settings.probe_questions) for probe in probes.values()]
        own = (question for found in asked for question in found)
        return [*(Question(HELD_OUT, prompt) for prompt in self.evaluation_prompts), *own]

    @cached_property
    def probes(self) -> dict[str, str]:
        """The recipe's probes, or their files, by the name under which they are reported."""
        found: dict[str, str] = {}
        for probe in self.recipe.evaluation.probes:
            if name_of(probe) in found:
                rule = f"another probe is called {name_of(probe)} too"
                raise InputError(probe, rule, "rename the file", "evaluation.probes")
            found[name_of(probe)] = probe
        return found


def unused_row(found: NotRead, step: str) -> Exclusion:
    return Exclusion(f"{found.source}:{found.line}", step, found.reason, found.detail, found.rows)
