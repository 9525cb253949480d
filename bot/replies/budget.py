"""Budget of the language model: spends the daily limits where candidates are written.

:class:`bot.replies.candidate_source.CandidateSource` is the only caller of the generator, and asks here
before each call. So no command can write without spending. A role only widens a limit: a caller that leaves
the roles out gets the tighter limit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bot.generation import Candidate, Context
from bot.generators.prompt import estimate_tokens
from bot.servers.daily_limits import Limits
from bot.servers.server_settings import Guilds
from storage.records import Who


class Budget:
    """Spends the daily limits.

    Args:
        limits: Counts what members and servers used of their day.
        servers: Settings of servers, with their limits.
        context_tokens: Longest context that the generator reads, tokens.
    """

    def __init__(self, limits: Limits, servers: Guilds, context_tokens: int) -> None:
        self._limits = limits
        self._servers = servers
        self._context_tokens = context_tokens

    async def take(self, who: Who, roles: Collection[int]) -> None:
        """Spend one message. Check and count are one step, so answers that are asked for at once add up.

        Raises:
            UsedUp: The day of the member or of their server is used up.
        """
        view = await self._servers.of(who.guild_id)
        if (used_up := self._limits.used_up(who, view.limits, roles)) is not None:
            raise used_up
        self._limits.spend(who, messages=1)

    def give_back(self, who: Who) -> None:
        """Give back a message for which the generator wrote nothing."""
        self._limits.spend(who, messages=-1)

    def spend_candidates(
        self, who: Who, context: Context, candidates: Sequence[Candidate], *, n_prompts: int
    ) -> None:
        """Spend the tokens that were read and written, estimated.

        Args:
            who: The member who asked.
            context: Read once for each prompt.
            candidates: The texts that were written.
            n_prompts: Prompts, one for each requested candidate.
        """
        written = sum(estimate_tokens(one.text) for one in candidates)
        self._limits.spend(who, tokens=n_prompts * self._read(context) + written)

    def spend_continuation(self, who: Who, context: Context, begun: str, text: str) -> None:
        """Spend the tokens of a draft that grew from ``begun`` to ``text``, estimated."""
        written = max(0, estimate_tokens(text) - estimate_tokens(begun))
        self._limits.spend(who, tokens=self._read(context) + written)

    def _read(self, context: Context) -> int:
        """Return the tokens of a context, as far as the generator reads it."""
        read = sum(map(estimate_tokens, [context.message, *(turn.text for turn in context.turns)]))
        return min(read, self._context_tokens)
