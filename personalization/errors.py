"""Errors of ``personalization``, caught by ``bot``. Imports nothing.

::

    PersonalizationError
     +-- EncoderError       the encoder cannot be used
     |    +-- EncoderMissing  the encoder named in config.toml was not found
     |    +-- EncoderDamaged  the encoder's files are damaged or do not match
     |    +-- DeviceMissing   the device named in config.toml was not found
     |    +-- AdapterTrouble  an adapter cannot be made or used
     +-- RankingFailed      no ranking could be made; the reply is posted unranked
     +-- HeadDamaged        the bytes of a head or prior are invalid
     |    +-- HeadOutdated  the bytes are valid, but made for other features
     +-- RoundFailed        a training round failed; the heads in use stay
     +-- StarterFailed      no starter prior could be fitted; the prior in use stays
     +-- PluginBroken       a plug-in is missing, or does not do what its group asks for
     +-- DatasetBroken      a data folder is not in the format
"""


class PersonalizationError(Exception):
    """Learning or ranking failed; the message says what to do."""


class EncoderError(PersonalizationError):
    """The encoder cannot be used; check section ``[personalization]`` of config.toml."""


class EncoderMissing(EncoderError):
    """The encoder was not found; check ``[personalization] encoder`` in config.toml."""


class EncoderDamaged(EncoderError):
    """The encoder's files are damaged or do not match; install them again."""


class DeviceMissing(EncoderError):
    """The device was not found; check ``[personalization] device`` in config.toml."""


class AdapterTrouble(EncoderError):
    """An adapter of the encoder cannot be made or used; use the encoder without it."""


class RankingFailed(PersonalizationError):
    """No ranking could be made; post the first candidate and mark the impression as a fallback."""


class HeadDamaged(PersonalizationError):
    """The bytes of a head or prior are invalid; the next round makes new ones."""


class HeadOutdated(HeadDamaged):
    """A head or prior was made for other features; the next round makes a new one."""


class DatasetBroken(PersonalizationError):
    """A data folder is not in the format of docs/learning/measurements.md."""


class RoundFailed(PersonalizationError):
    """A training round failed; the heads in use stay, and the next round retries."""


class StarterFailed(PersonalizationError):
    """No starter prior could be fitted for this encoder; the prior in use stays, and a later try follows."""


class PluginBroken(PersonalizationError):
    """A plug-in is missing, cannot be imported, or does not do what its group asks for."""
