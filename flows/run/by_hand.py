"""Asking models by hand: an engine for the models a person names, and what is asked of them.

Nothing here is a run. What is asked is not kept in the ledger, and no slot is taken: a person does
not wait for a training to end. Draws follow from what is asked alone, so the same question has the
same answer; they are those of an evaluation with the same settings, and models that are compared
draw the same random numbers.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from flows.plan.subjects import Base, Subject
from storage.errors import InputError
from storage.ids import seed_of
from storage.workspace import Workspace
from tasks import models
from tasks.chat.folder import read_template
from tasks.chat.think import Thinking
from tasks.chat.trial import try_out
from tasks.engines.child import WorkerEngine
from tasks.engines.engine import Completion, Engine, Message, Request
from tasks.generation.calls import CallForm, Sampling
from tasks.model_look import look_at
from tasks.process import WorkerError

NO_LIMIT = 1 << 30  # of a prompt: the model's context is the limit
OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class Manner:
    """How answers are sampled. temperature 0 is greedy."""

    temperature: float = 0.7
    max_new_tokens: int = 256

    def request(
        self, messages: Sequence[Mapping[str, str]], sample: int, adapter: str | None
    ) -> Request:
        """Sample number `sample` of the answer to messages."""
        sampling = Sampling(self.temperature, 1.0, self.max_new_tokens, NO_LIMIT)
        form = CallForm("answer", "", sampling)  # of any model
        call = form.call("", tuple(dict(message) for message in messages), sample_index=sample)
        return Request(
            messages=messages,
            text=None,
            temperature=self.temperature,
            top_p=1.0,
            stop=(),
            max_new_tokens=self.max_new_tokens,
            max_prompt_tokens=NO_LIMIT,
            seed=seed_of(call.completion_id),
            adapter=adapter,
        )


@contextmanager
def engine_of(
    base: Base, subjects: Sequence[Subject], workspace: Workspace, say: Callable[[str], None]
) -> Iterator[Engine]:
    """An engine with a base and the adapters of these subjects; its process ends with the block.

    say: told where the model must be downloaded or converted first, which may take a while.
    """
    model = models.prepare(base.reference, workspace, lambda event: say("preparing the model"))
    try_out(model.path, workspace, base.manner)
    look_at(model.path, read_template(model.path, base.manner))
    logs = workspace.tmp / f"by-hand-{uuid.uuid4().hex}"
    adapters = {s.checkpoint_id: s.adapter for s in subjects if s.checkpoint_id and s.adapter}
    engine = WorkerEngine(
        model.path,
        logs / "generate.log",
        adapters=adapters,
        quantization=base.quantization,
        dtype=base.compute,
        threads=base.threads,
        chat=asdict(base.manner),
    )
    is_broken = False
    try:
        yield engine
    except WorkerError:
        is_broken = True  # it names its log
        raise
    finally:
        engine.close()
        if not is_broken:
            shutil.rmtree(logs, ignore_errors=True)


def ask(
    engine: Engine, requests: Sequence[Request], on_progress: OnProgress = lambda done: None
) -> list[Completion]:
    """The answers in the order of the requests."""
    found: dict[int, Completion] = {}
    for batch in engine.generate(requests):
        found |= {item.index: item for item in batch.items}
        on_progress(len(found))
    return [found[index] for index in range(len(requests))]


class Conversation:
    """Turns with one model. A question that does not fit the context leaves no trace."""

    def __init__(self, engine: Engine, subject: Subject, manner: Manner, system: str = "") -> None:
        self._engine, self._subject, self._manner = engine, subject, manner
        self._opening = [{"role": "system", "content": system}] if system else []
        self.messages: list[Message] = [*self._opening]

    def begin_again(self) -> None:
        """Forget all turns; the system message stays."""
        self.messages = [*self._opening]

    def say(self, text: str) -> Completion:
        """The model's answer to what a person says next. Raises InputError where it is too long."""
        asked = [*self.messages, {"role": "user", "content": text}]
        request = self._manner.request(asked, 0, self._subject.checkpoint_id)
        (answer,) = ask(self._engine, [request])
        if answer.finish_reason == "too_long":
            rule = f"{answer.prompt_tokens} tokens and an answer do not fit the model's context"
            raise InputError("the conversation", rule, "say less, or begin again with /new")
        heard = Thinking(self._subject.base.manner.think_tags).answer(answer.text)
        said = answer.text if heard is None else heard
        self.messages = [*asked, {"role": "assistant", "content": said}]
        return answer


def side_by_side(
    sides: Sequence[Subject],
    questions: Sequence[Sequence[Message]],
    samples: int,
    manner: Manner,
    workspace: Workspace,
    say: Callable[[str], None],
    on_progress: OnProgress = lambda done: None,
) -> list[list[list[Completion]]]:
    """Answers [side][question][sample]. Sides on one base share one process, one after another."""
    found: dict[int, list[list[Completion]]] = {}
    done = 0
    for base in dict.fromkeys(side.base for side in sides):
        own = [index for index, side in enumerate(sides) if side.base == base]
        requests = [
            manner.request(question, sample, sides[index].checkpoint_id)
            for index in own
            for question in questions
            for sample in range(samples)
        ]
        with engine_of(base, [sides[index] for index in own], workspace, say) as engine:
            before = done
            answers = iter(ask(engine, requests, lambda n, b=before: on_progress(b + n)))  # type: ignore[misc]
        done += len(requests)
        for index in own:
            found[index] = [[next(answers) for _ in range(samples)] for _ in questions]
    return [found[index] for index in range(len(sides))]
