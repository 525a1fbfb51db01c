"""The judge examined before anything is trained on its word: its report card, and its floors."""

from __future__ import annotations

from functools import partial

from flows.plan.cases import gold_of
from flows.plan.steps import Step, at_most
from flows.run import progress
from flows.run.ask import Asker
from flows.run.publish import described, publish_markdown, publish_picture
from flows.run.results import timed
from flows.run.session import Session
from storage.errors import SolonError
from storage.ledger import insert
from tasks.generation.record import record_prompts
from tasks.generation.snapshots import Assembler
from tasks.judging.card import Card, report_card, row_of, shortfalls
from tasks.judging.card_plot import plot_reliability
from tasks.judging.card_text import markdown


def examine(session: Session, assembler: Assembler, until: Step | None) -> None:
    """Ask the judge about pairs of which the better response is known, and keep how it did.

    Raises SolonError where it falls short of the recipe's floors, or nothing can be said of it, and
    the run goes on to train.
    """
    judge, settings = session.inputs.judge, session.recipe.judge
    gold = gold_of(session.inputs, assembler)
    floors = settings.floor.model_dump(exclude_none=True)
    if judge is None or not (gold or floors):
        return
    record_prompts(session.ledger, [own.pair.prompt for own in gold])
    asker = judging_asker(session)
    with timed(session.results.of("comparisons")):
        asked = [question for own in gold for question in own.questions]
        judged = asker.compare("report card of the judge", asked)
    session.workers.release()
    rows = [row_of(own.pair, q, judged[q.comparison_id]) for own in gold for q in own.questions]
    card = report_card(rows, judge.limits, judge.abstain)
    _keep(session, card)
    short = shortfalls(card, floors)
    for line in short:
        progress.current().say(line)
    if short and at_most("sft", until):
        raise SolonError(f"nothing is trained: {' '.join(short)}")


def judging_asker(session: Session) -> Asker:
    """Has the judge's model compare."""
    model_id = session.inputs.hands.of("judge").model_id
    return Asker(session, "comparisons", partial(session.workers.generator, model_id))


def _keep(session: Session, card: Card) -> None:
    """The card in the ledger, as metrics of the run, and in the UI."""
    measures = {n: found for n, found in card.items() if isinstance(found, dict) and "n" in found}
    named = {f"judge/{name}": found for name, found in measures.items()} | _reliability(card)
    values = [
        {
            "subject_id": session.run_id,
            "name": name,
            "step": -1,
            "value": found["value"],
            "low": found["low"],
            "high": found["high"],
            "sample_count": found["n"],
        }
        for name, found in named.items()
        if found["value"] is not None
    ]
    with session.ledger.transaction() as con:
        insert(con, "metrics", values, replace=True)
    picture = session.workspace.reports / session.run_id / "reliability.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    plot_reliability(picture, card["reliability"])
    of_run = session.recipe.name, session.run_id
    said = described("Share right over the judge's confidence", *of_run)
    publish_picture(picture, progress.key_of(session.recipe.name, "reliability"), said)
    shows = "How far the judge's word can be trusted"
    publish_markdown("judge", markdown(card), shows, *of_run)


def _reliability(card: Card) -> Card:
    """Confidence and share right of every bin that has a pair."""
    return {
        f"reliability/{own['low']:.2f}/{name}": {
            "value": own[name],
            "low": None,
            "high": None,
            "n": own["n"],
        }
        for own in card["reliability"]
        for name in ("confidence", "accuracy")
    }
