"""Where in a YAML file the value under some keys stands."""

from __future__ import annotations

from collections.abc import Sequence

import yaml


def line_of(text: str, keys: Sequence[int | str]) -> int | None:
    """The line, from 1, of the key that leads deepest towards these; None where the first is not
    there. The text is YAML.
    """
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for key in keys:
        found = _below(node, key)
        if found is None:
            break
        marked, node = found
        line = marked.start_mark.line + 1
    return line


def _below(node: yaml.Node | None, key: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """What marks the place of a key, and its value."""
    if isinstance(node, yaml.MappingNode):
        return next(((name, value) for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key]
    return None
