"""The static check of cogs covers every cog that the client loads."""

from __future__ import annotations

import ast
from pathlib import Path

from bot.client import COGS

CHECK = Path(__file__).parents[2] / "bot" / "app" / "cogs_check.py"


def test_every_cog_is_checked_against_the_client():
    checked = {
        node.value.id
        for node in ast.walk(ast.parse(CHECK.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "setup" and isinstance(node.value, ast.Name)
    }

    assert checked == {cog.rpartition(".")[2] for cog in COGS}
