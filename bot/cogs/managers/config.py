"""``/config``: the settings of one server, for its managers.

Discord hides the command from others, and the permission is checked at every use. Every change is validated,
stored sealed, and applies from the next message on. Members in access lists are stored as keyed hashes, roles
and channels as ids; no names are stored.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import discord
import emoji as emoji_library
from discord import app_commands
from discord.ext import commands

from bot.cogs.ports import ConfigHost
from bot.generation import name_of_model
from bot.languages import list_of, mark, tr
from bot.messages.posting import SILENT
from bot.servers.server_settings import (
    MOST_CHARACTERS,
    MOST_REACTIONS,
    GuildChange,
    GuildSettings,
    SettingsRefused,
    changed_list,
    limit_change,
    models_offered,
)
from bot.settings import DailyLimit
from bot.ui.managers_only import ManagersOnly
from bot.ui.server_settings_text import HostDefaults, lines_of
from storage.records import Who

Place = (
    discord.TextChannel | discord.VoiceChannel | discord.ForumChannel | discord.StageChannel | discord.Thread
)
Means = Literal["like", "dislike", "nothing"]
Resettable = Literal[
    "persona", "model", "chat channels", "reactions", "emoji", "access", "limits", "everything"
]

DONE = mark("Done. This applies from the next message. `/config show` lists the settings of this server.")
DUE = mark("Done. Reactions with this emoji count with the new meaning from the next training round.")
RESET = mark("Done. This follows the host's default again.")
REFUSED = mark("Nothing was changed:\n{mistakes}")
ONE_MODEL = mark("Only one model runs here, {model}, so there is nothing to choose.")
NO_SUCH_MODEL = mark("I do not have that model. You can choose among: {models}")
CANNOT_READ = mark(
    "That would have no effect, because I can only read messages that mention me. The host of this bot"
    " has to set `message_content = true` first."
)
NOT_AN_EMOJI = mark("I cannot react with that. Please give me up to {most} emoji, or `none`.")
NOT_YOUR_EMOJI = mark(
    "Please choose one of this server's own emoji. I already know or learn what the others mean."
)
NOBODY_NAMED = mark("Please name a member, a role or a channel.")
NO_ROLE = mark("Please name the role that this limit is for.")
BY_ITSELF = mark("A role only applies to a limit per role. Please leave it out.")

_MEANS: dict[Means, float] = {"like": 1.0, "dislike": -1.0, "nothing": 0.0}
_FIELDS: dict[Resettable, tuple[str, ...]] = {
    "persona": ("persona",),
    "model": ("model",),
    "chat channels": ("chat_channels",),
    "reactions": ("seeded_reactions",),
    "emoji": ("emoji",),
    "access": ("allow", "deny"),
    "limits": ("limits",),
}
_CUSTOM = re.compile(r"<(a?):(\w+):(\d+)>")
_HIGHEST = 1_000_000_000


def _named(*names: str) -> list[app_commands.Choice[str]]:
    """Return the choices of an option; their names are translated, their values are not."""
    return [app_commands.Choice(name=name, value=name) for name in names]


@app_commands.default_permissions(manage_guild=True)
@app_commands.guild_only()
class Config(
    ManagersOnly,
    commands.GroupCog,
    group_name="config",
    group_description=mark("For the managers of this server."),
):
    """Shows and changes the settings of a server."""

    def __init__(self, bot: ConfigHost) -> None:
        self._bot = bot
        super().__init__()

    set_ = app_commands.Group(name="set", description=mark("Change the settings of this server."))

    # --- looking -------------------------------------------------------------------------------------------

    @app_commands.command(name="show", description=mark("Show the settings of this server."))
    async def show(self, interaction: discord.Interaction) -> None:
        """Show the settings of this server."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        own = await self._bot.servers.read(_guild(interaction).id)
        host = HostDefaults(
            settings=self._bot.servers.settings,
            chat_channels=self._configured_channels(_guild(interaction)),
            roles=tuple(role.id for role in _guild(interaction).roles),
        )
        lines = lines_of(own, host)
        await _tell(interaction, "\n".join(lines)[:2000])

    # --- who the bot is ------------------------------------------------------------------------------------

    @set_.command(name="persona", description=mark("Describe who I am in this server."))
    @app_commands.describe(text=mark("For example: You are a patient maths teacher."))
    async def persona(
        self, interaction: discord.Interaction, text: app_commands.Range[str, 1, MOST_CHARACTERS]
    ) -> None:
        """Set the first line of every prompt here."""
        await self._change(interaction, lambda own: replace(own, persona=text))

    @set_.command(name="model", description=mark("Choose the model that writes my replies here."))
    @app_commands.describe(name=mark("One of the offered models"))
    async def model(self, interaction: discord.Interaction, name: str) -> None:
        """Choose one of the models that the operator offers."""
        offered = models_offered(self._bot.servers.settings)
        if len(offered) <= 1:
            names = self._bot.servers.settings.generator.models_in_use
            await _tell(interaction, tr(ONE_MODEL, model=list_of(map(name_of_model, names))))
        elif name not in offered:
            await _tell(interaction, tr(NO_SUCH_MODEL, models=list_of(offered)))
        else:
            await self._change(interaction, lambda own: replace(own, model=name))

    @model.autocomplete("name")
    async def offer_models(
        self, interaction: discord.Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        """Autocomplete models for managers."""
        offered = models_offered(self._bot.servers.settings) if interaction.permissions.manage_guild else ()
        found = [name for name in offered if typed.casefold() in name.casefold()]
        return [app_commands.Choice(name=name[:100], value=name[:100]) for name in found[:25]]

    # --- channels and emoji --------------------------------------------------------------------------------

    @set_.command(name="chat-channel", description=mark("Set whether I answer every message in a channel."))
    @app_commands.describe(
        channel=mark("A channel, or a single thread"),
        answer_all=mark("True: every message; False: only messages to me"),
    )
    async def chat_channel(self, interaction: discord.Interaction, channel: Place, answer_all: bool) -> None:
        """Answer every message of a channel and its threads, or only those that are for the bot."""
        if answer_all and not self._bot.settings.message_content:
            await _tell(interaction, tr(CANNOT_READ))
            return
        configured = self._configured_channels(_guild(interaction))

        def change(own: GuildSettings) -> GuildSettings:
            before = configured if own.chat_channels is None else own.chat_channels
            kept = tuple(one for one in before if one != channel.id)
            return replace(own, chat_channels=(*kept, channel.id) if answer_all else kept)

        await self._change(interaction, change)

    @set_.command(name="reactions", description=mark("Choose the emoji that I add under my replies."))
    @app_commands.describe(emoji=mark("Up to five, or `none`"))
    async def reactions(self, interaction: discord.Interaction, emoji: str) -> None:
        """Set the seeded reactions."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        found = emoji_in(emoji)
        nothing = emoji.strip().casefold() == "none"
        right_many = nothing if not found else len(found) <= MOST_REACTIONS
        custom = [int(one[3]) for one in map(_CUSTOM.match, found) if one is not None]
        if not right_many or not all([await _is_own(_guild(interaction), one) for one in custom]):
            await _tell(interaction, tr(NOT_AN_EMOJI, most=MOST_REACTIONS))
        else:
            await self._change(interaction, lambda own: replace(own, seeded_reactions=tuple(found)))

    @set_.command(
        name="emoji", description=mark("Set what one of this server's own emoji means as a reaction.")
    )
    @app_commands.describe(
        emoji=mark("One of this server's own emoji"),
        means=mark("What it means when a member reacts with it to a reply of mine"),
    )
    @app_commands.choices(means=_named(mark("like"), mark("dislike"), mark("nothing")))
    async def emoji(self, interaction: discord.Interaction, emoji: str, means: Means) -> None:
        """Set the meaning of a custom emoji here instead of learning it."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        custom = _CUSTOM.fullmatch(emoji.strip())
        if custom is None or not await _is_own(_guild(interaction), int(custom[3])):
            await _tell(interaction, tr(NOT_YOUR_EMOJI))
            return
        key = f":{custom[3]}"
        await self._change(
            interaction, lambda own: replace(own, emoji=own.emoji | {key: _MEANS[means]}), done=DUE
        )

    # --- access and limits ---------------------------------------------------------------------------------

    @set_.command(name="access", description=mark("Choose whom I answer, and where. Deny overrides allow."))
    @app_commands.describe(
        rule=mark("allow: I answer only those on the list; neither: remove from both lists"),
        member=mark("A member of this server"),
        role=mark("Members with this role"),
        channel=mark("A channel with its threads, or a category with its channels"),
    )
    @app_commands.choices(rule=_named(mark("allow"), mark("deny"), mark("neither")))
    async def access(
        self,
        interaction: discord.Interaction,
        rule: Literal["allow", "deny", "neither"],
        member: discord.Member | None = None,
        role: discord.Role | None = None,
        channel: Place | discord.CategoryChannel | None = None,
    ) -> None:
        """Add members, roles, channels and categories to a list, or remove them from both."""
        entries: dict[str, object] = {}
        if member is not None:
            entries["members"] = self._bot.servers.name_of(Who(_guild(interaction).id, member.id))
        if role is not None:
            entries["roles"] = role.id
        if channel is not None:
            in_category = isinstance(channel, discord.CategoryChannel)
            entries["categories" if in_category else "channels"] = channel.id
        if not entries:
            await _tell(interaction, tr(NOBODY_NAMED))
            return

        def change(own: GuildSettings) -> GuildSettings:
            allow = changed_list(own.allow, entries, listed=rule == "allow")
            return replace(own, allow=allow, deny=changed_list(own.deny, entries, listed=rule == "deny"))

        await self._change(interaction, change)

    @set_.command(name="limit", description=mark("Set how much I answer in a day. 0: no limit."))
    @app_commands.describe(
        per=mark("Each member, the whole server, or each member of a role"),
        messages=mark("Messages a day; 0: no limit"),
        tokens=mark("Tokens a day, estimated; 0: no limit"),
        role=mark("Only with per: role. Its members get this limit if it is higher."),
    )
    @app_commands.choices(per=_named(mark("member"), mark("server"), mark("role")))
    async def limit(
        self,
        interaction: discord.Interaction,
        per: Literal["member", "server", "role"],
        messages: app_commands.Range[int, 0, _HIGHEST],
        tokens: app_commands.Range[int, 0, _HIGHEST] = 0,
        role: discord.Role | None = None,
    ) -> None:
        """Set a daily limit of each member, of all together, or of the members of a role."""
        if (per == "role") != (role is not None):
            await _tell(interaction, tr(NO_ROLE if role is None else BY_ITSELF))
            return
        await self._change(
            interaction, limit_change(per, DailyLimit(messages, tokens), None if role is None else role.id)
        )

    # --- back to the configuration -------------------------------------------------------------------------

    @app_commands.command(name="reset", description=mark("Reset a setting to the host's default."))
    @app_commands.describe(what=mark("The setting to reset"))
    @app_commands.choices(
        what=_named(
            mark("persona"),
            mark("model"),
            mark("chat channels"),
            mark("reactions"),
            mark("emoji"),
            mark("access"),
            mark("limits"),
            mark("everything"),
        )
    )
    async def reset(self, interaction: discord.Interaction, what: Resettable) -> None:
        """Delete settings of the server."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        if what == "everything":
            n_due = await self._bot.servers.clear(_guild(interaction).id)
        else:
            defaults = GuildSettings()
            plain = {name: getattr(defaults, name) for name in _FIELDS[what]}
            n_due = await self._bot.servers.change(_guild(interaction).id, lambda own: replace(own, **plain))
        self._count_due(n_due)
        await _tell(interaction, tr(RESET))

    async def _change(
        self, interaction: discord.Interaction, change: GuildChange, *, done: str = DONE
    ) -> None:
        """Apply a change and confirm it, or show its mistakes."""
        if not interaction.response.is_done():
            await interaction.response.defer(ephemeral=True, thinking=True)
        try:
            self._count_due(await self._bot.servers.change(_guild(interaction).id, change))
        except SettingsRefused as exc:
            await _tell(interaction, tr(REFUSED, mistakes=exc))
        else:
            await _tell(interaction, tr(done))

    def _configured_channels(self, guild: discord.Guild) -> tuple[int, ...]:
        """Return the host's chat channels that are in this server."""
        return tuple(sorted(self._bot.chat_channels & {one.id for one in (*guild.channels, *guild.threads)}))

    def _count_due(self, n_due: int) -> None:
        if n_due:
            self._bot.labels_changed(n_due)


def emoji_in(text: str) -> list[str]:
    """The emoji in a text, in order, each once: Unicode ones, and custom ones as Discord writes them."""
    plain = [(found["match_start"], found["emoji"]) for found in emoji_library.emoji_list(text)]
    custom = [(found.start(), found.group()) for found in _CUSTOM.finditer(text)]
    return list(dict.fromkeys(found for _, found in sorted([*plain, *custom])))


async def _is_own(guild: discord.Guild, emoji_id: int) -> bool:
    """Return whether an emoji belongs to the server; Discord is asked if the cached list lacks it."""
    if guild.get_emoji(emoji_id) is not None:
        return True
    try:
        await guild.fetch_emoji(emoji_id)
    except discord.NotFound:
        return False
    return True


def _guild(interaction: discord.Interaction) -> discord.Guild:
    guild = interaction.guild
    assert guild is not None, "the command is for servers only"
    return guild


async def _tell(interaction: discord.Interaction, text: str) -> None:
    if interaction.response.is_done():
        await interaction.followup.send(text, ephemeral=True, allowed_mentions=SILENT)
    else:
        await interaction.response.send_message(text, ephemeral=True, allowed_mentions=SILENT)


async def setup(bot: ConfigHost) -> None:
    """Load the cog."""
    await bot.add_cog(Config(bot))
