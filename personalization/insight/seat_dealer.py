"""Deals the candidates of a member's next reply.

The base shares come from the style portfolio, the labels from the arm book. Called by ``bot.replies`` before
generation. Of storage it imports only record types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from personalization.heads.heads import Head
from personalization.insight.arm_book import ArmBook
from personalization.ranking.dealing import Menu, Writer, deal
from personalization.ranking.style_portfolio import StylePortfolio
from storage.records import MemberId, Seat


@dataclass(frozen=True, slots=True)
class Table:
    """What one member may be dealt, beside styles and writers.

    Attributes:
        wished: Names of the styles that fit the wish they set.
        wishes: Name of each learnt wish -> its base share.
        examples: Base share of candidates with examples.
    """

    wished: Sequence[str] = ()
    wishes: Mapping[str, float] = field(default_factory=dict[str, float])
    examples: float = 0.0


PLAIN_TABLE = Table()


class SeatDealer:
    """Deals candidates.

    Args:
        portfolio: Base shares of the styles.
        book: Counts of what is liked.
        rng: Random generator.
        writers: Returns the language models that answer at present, the plain one first.
    """

    def __init__(
        self,
        portfolio: StylePortfolio,
        book: ArmBook,
        rng: np.random.Generator,
        writers: Callable[[], Sequence[Writer]] = tuple,
    ) -> None:
        self.portfolio, self.book = portfolio, book
        self._rng, self._writers = rng, writers

    async def deal(
        self,
        k: int,
        head: Head,
        *,
        member_id: MemberId | None,
        guild: bytes,
        server: int,
        table: Table = PLAIN_TABLE,
    ) -> list[Seat]:
        """Deal ``k`` candidates.

        Args:
            k: Candidates of the reply, > 0.
            head: The head used for the member.
            member_id: The member; None: by the likes of others alone.
            guild: Pseudonym of the server.
            server: The server, as the portfolio knows it.
            table: What else may be dealt.

        Raises:
            StorageError: The member's own counts cannot be read.
        """
        levels = await self.book.levels(member_id, guild)
        # Nothing is awaited from here on, so styles that are replaced meanwhile are dealt whole.
        base = self.portfolio.base(head, server, wished=table.wished)
        menu = Menu(base, self._writers(), table.wishes, table.examples)
        return deal(k, menu, levels, self._rng)
