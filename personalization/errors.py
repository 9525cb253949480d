"""What is learnt about taste, and how it ranks: encoder, features, labels, heads, training, policy, rounds.

Sits between ``storage`` (imported only by ``rounds`` and ``evaluate``) and ``bot`` (never imported). Nothing
here ever sees a word that a member wrote, except the relevance score, which the frozen encoder computes at
reply time and forgets.

Errors::

    PersonalizationError
     +-- EncoderError       the encoder cannot be used
     |    +-- EncoderMissing  the one named in config.toml is not there
     |    +-- EncoderDamaged  its files are there, but not what they should be
     |    +-- DeviceMissing   the device named in config.toml is not there
     |    +-- AdapterTrouble  an adapter cannot be made or used
     +-- RankingFailed      no ranking could be made; the reply goes out unranked
     +-- HeadDamaged        the bytes of a head or prior cannot be trusted
     |    +-- HeadOutdated  they are sound, but made for other features
     +-- RoundFailed        a training round broke off; the heads in use stay
"""


class PersonalizationError(Exception):
    """Something about learning or ranking failed; the message says what to do."""


class EncoderError(PersonalizationError):
    """The encoder cannot be used; check section ``[personalization]`` of config.toml."""


class EncoderMissing(EncoderError):
    """The encoder could not be found; check ``[personalization] encoder`` in config.toml."""


class EncoderDamaged(EncoderError):
    """The encoder's files are not what they should be; install them again."""


class DeviceMissing(EncoderError):
    """The device could not be found; check ``[personalization] device`` in config.toml."""


class AdapterTrouble(EncoderError):
    """An adapter of the encoder cannot be made or used; the encoder itself can."""


class RankingFailed(PersonalizationError):
    """No ranking could be made; post the first candidate and mark the impression as a fallback."""


class HeadDamaged(PersonalizationError):
    """The bytes of a head or prior cannot be trusted; the next round makes new ones."""


class HeadOutdated(HeadDamaged):
    """A head or prior was made for other features; the next round makes a new one."""


class RoundFailed(PersonalizationError):
    """A training round broke off; the heads in use stay, and the next round tries again."""
