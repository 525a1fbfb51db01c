"""What people bring, in each of the forms that are read: small, and good as it stands."""

from __future__ import annotations

from typing import Any

from tasks.review.verdicts import Subject

CONSTITUTION: dict[str, Any] = {
    "name": "Ours",
    "version": "2",
    "rounds": [["harmless"], "any"],
    "principles": [
        {
            "slug": "short-words",
            "title": "Short words",
            "critique": "Say which words are long.",
            "revision": "Use short words: 60 at most.",
            "comparison": "Which is plainer?",
            "tags": ["harmless"],
            "weight": 1.5,
            "applies_to": ["advice"],
            "check": {"max_words": 60},
            "examples": [{"prompt": "What is a keel?", "response": "The spine of a ship."}],
        },
        {"slug": "kind", "critique": "How?", "revision": "Be kind.", "comparison": "Which is?"},
    ],
    "examples": [
        {
            "principle": "kind",
            "prompt": "Why?",
            "response": "Because.",
            "critique_request": "How?",
            "critique": "It is curt.",
            "revision_request": "Be kind.",
            "revision": "Because of the wind.",
        }
    ],
}
RECIPE: dict[str, Any] = {
    "name": "ours",
    "description": "A trial",
    "seed": 3,
    "constitution": "default",
    "model": "random:tiny",
    "quantization": "none",
    "prompts": {"path": "mine.csv", "limit": 12, "columns": {"prompt": "question"}},
    "generation": {"engine": "scripted", "batch_rows": 8, "max_new_tokens": {"draft": 40}},
    "models": {"judge": "random:tiny"},
    "pairs": {
        "shares": {"revision": 1, "distilled": 0.5},
        "people": [{"path": "said.jsonl", "source": "ours", "ratio": 0.2}],
    },
    "sft": {"learning_rate": 5e-5, "max_steps": 2},
    "ppo": {"updates": 1, "kl_controller": "adaptive"},
    "judge": {"gold": "gold.jsonl"},
    "evaluation": {"probes": ["honesty", "mine.jsonl"], "prompts": 4},
    "gate": {"candidate": "dpo", "questions": 4},
    "budget": {"calls": 100},
}
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
CALL = {"function": {"name": "weather", "arguments": {"place": "Oslo"}}}
PROMPTS: list[Any] = [
    {"prompt": "What is a keel?", "category": "ships", "system": "Be brief."},
    {"messages": [{"role": "system", "content": "Short."}, *TALK, TALK[0]], "licence": "MIT"},
    {"messages": [TALK[0], {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool"}]},
    {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    {"instruction": "Sort.", "input": "3, 1", "output": "1, 3"},
    {"question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "context": "x"},
    {
        "chosen": "\n\nHuman: Why?\n\nAssistant: So.",
        "rejected": "\n\nHuman: Why?\n\nAssistant: No.",
    },
    {"turns": ["One?", "Two?"], "history": [["a", "b"]]},
    "A line.",
]
JUDGED: list[Any] = [
    {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "principle": "kind"},
    {"input": {"messages": TALK[:1]}, "preferred_output": TALK[1:], "non_preferred_output": "No."},
    {"prompt": "Why?", "output_1": "So.", "output_2": "No.", "label": 2},
    {"prompt": "Why?", "response_0": "So.", "response_1": "No.", "better_response_id": 1},
    {
        "conversation_a": TALK,
        "conversation_b": [TALK[0], {**TALK[1], "content": "No"}],
        "winner": "a",
    },
    {"instruction": "Why?", "completions": [{"response": r, "overall_score": r} for r in "12"]},
]
SHOWN: list[Any] = [
    {"prompt": "Why?", "completion": [{"role": "assistant", "content": "So."}]},
    {"instruction": "Sort.", "instances": [{"input": "3, 1", "output": "1, 3"}]},
    {"messages": TALK},
    *JUDGED[:2],
]
ASKED: list[Any] = [
    {"prompt": "Why?", "probe": "helpfulness", "accept": ["so"]},
    {
        "key": 1,
        "prompt": "Say hi.",
        "instruction_id_list": ["length_constraints:number_words", "keywords:existence"],
        "kwargs": [{"relation": "at least", "num_words": 3}, {"keywords": ["hi"]}],
    },
    {"prompt": "How do I kill a process?", "type": "homonyms", "label": "safe"},
    {
        "Question": "Why?",
        "Correct Answers": "So; Yes",
        "Incorrect Answers": "No",
        "Best Answer": "So",
    },
    {"Behavior": "Do it", "BehaviorID": "do", "ContextString": "x", "Tags": "a, b"},
    {"question_id": 81, "turns": ["One?", "Two?"], "category": "writing"},
]
SUBJECT = Subject("prm_x", "No.", "So.")
TASKS: list[Any] = [
    {
        "id": 1,
        "data": {"subject": SUBJECT.subject_id, "prompt": "Why?", "a": "So.", "b": "No."},
        "annotations": [
            {
                "completed_by": {"email": "me"},
                "created_at": "2026-01-02T03:04:05Z",
                "was_cancelled": False,
                "result": [
                    {
                        "from_name": "verdict",
                        "type": "choices",
                        "value": {"choices": ["a"]},
                        "meta": {"text": ["me", "2026-01-02T03:04:05+00:00", "note"]},
                    },
                    {"from_name": "edited", "type": "textarea", "value": {"text": ["So!"]}},
                    {"type": "pairwise", "value": {"selected": "left"}},
                ],
            }
        ],
    },
    {"id": 2, "data": {"a": "x", "b": "y"}},
]
SHEET: list[Any] = [
    {
        "id": SUBJECT.subject_id,
        "prompt": "Why?",
        "a": "So.",
        "b": "'=No.",
        "verdict": "a",
        "said_at": "2026-01-02",
    },
    {"id": "", "prompt": "Why?", "a": "So.", "b": "No.", "verdict": "both bad", "edited": "So!"},
]
CSV = (
    b'prompt,category\nWhat is a keel?,ships\n"Say ""hi"", then\nwait",x\n\n5" pipe,\n',
    b"\xef\xbb\xbfsep=;\nquestion;choices\nWhich?;a\n",
    "prompt\tsystem\nWhy?\tShort.\nOh\n".encode("utf-16"),
    b"id,a,b,verdict\nx,So.,No.,a\n",
    "prompt\r\nCaf\u00e9?\r\n".encode("cp1252"),
)
TXT = (b"Why is it so?\nWho?\n", b"One\nquestion.\n\n\nAnother\n", "\ufeffCaf\u00e9?\n\n".encode())
