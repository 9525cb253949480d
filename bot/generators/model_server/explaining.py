"""Says for the host what went wrong with a model server, and what to check.

The messages hold the address and the model, and never quote the server, which may quote the request.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import openai

from bot.generation import GeneratorError, GeneratorUnavailable, ModelMissing
from bot.generators.model_server.answers import Silence
from bot.generators.model_server.refusals import Refusal
from bot.settings import GeneratorSettings

log = logging.getLogger(__name__)


class Explaining:
    """Converts errors, refusals and silences into errors of the project.

    Args:
        address: Address of the server, without a password.
        settings: Timeout and the name of the variable with the key.
    """

    def __init__(self, address: str, settings: GeneratorSettings) -> None:
        self._address = address
        self._timeout_s = settings.timeout_s
        self._key_env = settings.api_key_env

    def in_log(self, failures: Sequence[GeneratorError | None], n_requests: int) -> None:
        """Log why some of the requests for a reply failed; None: it came too late."""
        why = Counter("came too late" if failure is None else str(failure) for failure in failures)
        log.warning(
            "%d of %d requests to the model server failed: %s",
            len(failures),
            n_requests,
            "; ".join(f"{n} x {what}" for what, n in why.items()),
        )

    def of_error(self, exc: openai.APIError, model: str) -> GeneratorError:
        """Convert a client error into one that says what to check."""
        match exc:
            case openai.APIStatusError():
                return self.of_refusal(Refusal.from_status(exc), model)
            case openai.APITimeoutError():
                return self.of_timeout()
            case openai.APIConnectionError():
                return self._unavailable("cannot be reached; check that it is running and base_url is right")
            case _:
                return self.of_silence(Silence.NOT_A_COMPLETION)

    def of_timeout(self) -> GeneratorUnavailable:
        """Say that no answer came in time."""
        return self._unavailable(
            f"did not answer within {self._timeout_s:g} s; it may be overloaded, or "
            "[generator] timeout_s too low"
        )

    def of_refusal(self, refusal: Refusal, model: str) -> GeneratorError:
        """Say what to check. The message never quotes the server, which may quote the request."""
        if refusal.is_missing_model:
            return ModelMissing(
                f'the model server at {self._address} knows no model "{model}" (or has no '
                "chat/completions at this address); check [generator] model and base_url"
            )
        if refusal.status in (401, 403):
            return self._unavailable(f"refused the key; check the environment variable {self._key_env}")
        if refusal.status == 429:
            return self._unavailable("is overloaded or the quota is used up; try again later")
        if refusal.is_too_long:
            return self._unavailable(
                "finds even the message alone too long; shorten [generator] persona, or lower max_new_tokens"
            )
        if refusal.is_filtered:
            return self._unavailable("refused the message because of its content policy")
        return self._unavailable(f"answered with HTTP status {refusal.status}; see the server's log")

    def of_silence(self, silence: Silence) -> GeneratorUnavailable:
        """Say what the server sent instead of a reply."""
        match silence:
            case Silence.NOT_A_COMPLETION | Silence.NO_CHOICES:
                sent = f"sent {silence}: it " if silence is Silence.NO_CHOICES else ""
                return self._unavailable(
                    f"{sent}did not answer with a chat completion; check base_url, which often ends in /v1"
                )
            case _:
                return self._unavailable(f"sent {silence}; see the server's log")

    def _unavailable(self, what: str) -> GeneratorUnavailable:
        return GeneratorUnavailable(f"the model server at {self._address} {what}")
