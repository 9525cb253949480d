"""The command tree: commands in the language of the member, declined where the bot may not talk.

Also syncs the commands with Discord, only when they changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any, Protocol

import discord
from discord import app_commands

from bot.identity import who_clicked
from bot.languages import Tongues, mark, tr
from bot.servers.access import ALWAYS, may_talk, speaker_of_click
from bot.servers.server_settings import Guilds
from storage.database.notes import Notes
from storage.wording import counted

log = logging.getLogger(__name__)

NOT_HERE = mark(
    "I am not allowed to answer you here. The managers of this server or the host of this bot decided"
    " that. `/privacy`, `/my-data` and `/forget-me` still work."
)

_TREE_HASH = "command_tree"


class Host(Protocol):
    """The part of the client that every command, button and form needs."""

    @property
    def tongues(self) -> Tongues:
        """Languages of members."""
        ...

    async def may_use(self, interaction: discord.Interaction[Any]) -> bool:
        """Return whether the bot may talk to the member, and there; sends a note if not."""
        ...


class SimpaticoTree(app_commands.CommandTree[Any]):
    """The commands of a :class:`Host`."""

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """Allow members' rights and managers' tools everywhere, other commands where the bot may talk."""
        host: Host = self.client
        host.tongues.hear(interaction)
        if interaction.type is not discord.InteractionType.application_command:
            return True
        return (interaction.data or {}).get("name") in ALWAYS or await host.may_use(interaction)


async def may_talk_here(servers: Guilds, interaction: discord.Interaction[Any]) -> bool:
    """Return whether the bot may talk to the member who used this, and there; sends a note if not.

    Args:
        servers: Settings of servers.
        interaction: A command or a button; answered when the bot may not talk.
    """
    who = who_clicked(interaction)
    view = await servers.of(who.guild_id)
    speaker = speaker_of_click(interaction, servers.name_of(who))
    if all(may_talk(speaker, allow, deny) for allow, deny in view.access):
        return True
    await interaction.response.send_message(tr(NOT_HERE), ephemeral=True)
    return False


async def sync_commands(
    tree: app_commands.CommandTree[Any], notes: Notes, *, application_id: int | None, always: bool
) -> None:
    """Send the commands to Discord unless it has them already: syncing is rate-limited.

    Args:
        tree: The commands, with a translator.
        notes: Where the hash of the latest synced commands is stored.
        application_id: Discord id of the bot's application.
        always: Sync even when nothing changed.

    Raises:
        StorageError: The notes cannot be read or written.
        discord.HTTPException: Discord refused.
    """
    translator = tree.translator
    assert translator is not None
    payload = [await command.get_translated_payload(tree, translator) for command in tree.get_commands()]
    digest = hashlib.sha256(
        json.dumps([application_id, payload], sort_keys=True, default=str).encode()
    ).hexdigest()
    if not always and await notes.of(_TREE_HASH) == digest:
        return
    synced = await tree.sync()
    await notes.put(_TREE_HASH, digest)
    log.info("%s synced", counted(len(synced), "command"))
