"""What pydantic-ai and the vendors behind it mean to the house: their adapters, errors, waits and prices.

Everything here is called when pydantic-ai is loaded already, which `gateway` sees to, off the event loop.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

import anyio

from paios.base.errors import BrainError, BrainRefused, BrainUnavailable
from paios.base.types import Usage
from paios.brains.gateway.endpoint import VENDORS, Endpoint
from paios.observability.usage import price

if TYPE_CHECKING:
    import httpx2
    from pydantic_ai.exceptions import ModelAPIError
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model

log = logging.getLogger(__name__)

NAME = "gateway"
RETRIES = 2
_BACK_OFF_S = (0.25, 1.0)
_WORTH_WAITING_S = 2.0  # a longer `retry-after` is passed on: another brain may answer sooner


def adapter(endpoint: Endpoint, model: str, http: httpx2.AsyncClient) -> Model:
    """The vendor's own adapter. Raises BrainRefused for a name it cannot take."""
    from pydantic_ai.exceptions import UserError  # noqa: PLC0415

    try:
        return _adapter(endpoint, model, http)
    except UserError as error:
        raise BrainRefused(NAME, f"{endpoint.name}/{model}: {error}") from error


def _adapter(endpoint: Endpoint, model: str, http: httpx2.AsyncClient) -> Model:
    """Every address and key is given, so that none is taken from the process's environment."""
    key = endpoint.key or "none-needed"  # the OpenAI SDK insists on one
    match endpoint.kind:
        case "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel  # noqa: PLC0415
            from pydantic_ai.providers.anthropic import AnthropicProvider  # noqa: PLC0415

            # The SDK adds /v1 itself.
            url = endpoint.url.removesuffix("/v1")
            return AnthropicModel(model, provider=AnthropicProvider(api_key=key, base_url=url, http_client=http))
        case "google":
            from pydantic_ai.models.google import GoogleModel  # noqa: PLC0415
            from pydantic_ai.providers.google import GoogleProvider  # noqa: PLC0415

            return GoogleModel(model, provider=GoogleProvider(api_key=key, base_url=endpoint.url, http_client=http))
        case "openai":
            from pydantic_ai.models.openai import OpenAIResponsesModel  # noqa: PLC0415
            from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415

            return OpenAIResponsesModel(model, provider=OpenAIProvider(endpoint.url, key, http_client=http))
        case "openrouter":
            from openai import AsyncOpenAI  # noqa: PLC0415
            from pydantic_ai.models.openrouter import OpenRouterModel  # noqa: PLC0415
            from pydantic_ai.providers.openrouter import OpenRouterProvider  # noqa: PLC0415

            client = AsyncOpenAI(base_url=endpoint.url, api_key=key, http_client=http)
            return OpenRouterModel(model, provider=OpenRouterProvider(openai_client=client))
        case "ollama":
            from pydantic_ai.models.ollama import OllamaModel  # noqa: PLC0415
            from pydantic_ai.providers.ollama import OllamaProvider  # noqa: PLC0415

            return OllamaModel(model, provider=OllamaProvider(f"{endpoint.url}/v1", key, http_client=http))
        case "openai-compatible":
            from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
            from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

            return OpenAIChatModel(
                model, provider=OpenAICompatibleProvider(endpoint.name, base_url=endpoint.url, api_key=key, http_client=http)
            )


async def whole(_context: object, *, request_context: object, response: ModelResponse) -> ModelResponse:
    """pydantic-ai hands over each finished answer here; one that only stopped coming was cut off.

    Anthropic's SDK passes over an event it cannot read, and takes the end of the stream for the end of the answer.
    """
    from pydantic_ai.exceptions import UnexpectedModelBehavior  # noqa: PLC0415

    # pydantic-ai leaves out a reason it does not know, but keeps the vendor's word for it.
    if response.finish_reason is None and not (response.provider_details or {}).get("finish_reason"):
        raise UnexpectedModelBehavior("the answer stopped without an end")
    return response


async def again(_context: object, *, request_context: object, error: Exception) -> NoReturn:
    """pydantic-ai asks this when a request failed before its answer began: another attempt, or the error.

    An answer that broke off is never asked for again: part of it has been said.
    """
    from pydantic_ai.exceptions import ModelAPIError, RetryModelRequest  # noqa: PLC0415
    from pydantic_ai.models import ModelRequestContext  # noqa: PLC0415

    assert isinstance(request_context, ModelRequestContext)
    wait_s = _wait(error, request_context.attempt) if isinstance(error, ModelAPIError) else None
    if wait_s is None:
        raise error
    log.info("attempt %d failed (%s): again in %.2f s", request_context.attempt, error, wait_s)
    await anyio.sleep(wait_s)
    raise RetryModelRequest from error


def _wait(error: ModelAPIError, attempt: int) -> float | None:
    """Seconds until the next attempt is worth making; None: it is not."""
    from pydantic_ai.exceptions import (  # noqa: PLC0415
        ModelConnectionError,
        ModelRateLimitError,
        ModelServerError,
        ModelTimeoutError,
        ModelUnavailableError,
    )

    if attempt > RETRIES or isinstance(error, ModelTimeoutError):
        return None
    if error.retry_after is not None and error.retry_after > _WORTH_WAITING_S:
        return None
    if isinstance(error, ModelRateLimitError):
        return error.retry_after  # without a word on when, at once is too soon
    passing = isinstance(error, (ModelServerError, ModelUnavailableError, ModelConnectionError))
    return max(error.retry_after or 0.0, _BACK_OFF_S[attempt - 1]) if passing else None


def is_forwarded(model: str) -> bool:
    """Ollama passes such a model on to its own cloud, which bills."""
    return model.endswith(("-cloud", ":cloud"))


def cost(endpoint: Endpoint, model: str, usage: Usage) -> Decimal | None:
    """The cost by the list of whoever serves it; a server whose list nobody has costs what nobody knows."""
    provider: str = endpoint.kind
    if endpoint.kind not in VENDORS:
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  (0.3 s of CPU)

        try:
            provider = get_snapshot().find_provider(None, None, endpoint.url).id
        except LookupError:
            return None
    paid = price(model, usage, provider=provider)
    # A list may know a model without its price; only OpenRouter has models that say themselves that they are free.
    return None if paid == 0 and not model.endswith(":free") else paid


def status_of(error: ModelAPIError) -> int:
    """The HTTP status, also of an error the vendor reported inside a stream; 0 if it named none."""
    from pydantic_ai.exceptions import (  # noqa: PLC0415
        ModelAuthenticationError,
        ModelHTTPError,
        ModelQuotaExceededError,
        ModelRateLimitError,
        ModelRequestRejectedError,
        ModelServerError,
        ModelUnavailableError,
    )

    if isinstance(error, ModelQuotaExceededError):
        return 402  # OpenAI says 429, Anthropic 400
    if isinstance(error, ModelHTTPError):
        return error.status_code
    kinds: tuple[tuple[type[Exception], int], ...] = (
        (ModelRateLimitError, 429),
        (ModelUnavailableError, 503),
        (ModelServerError, 500),
        (ModelAuthenticationError, 401),
        (ModelRequestRejectedError, 400),
    )
    return next((status for kind, status in kinds if isinstance(error, kind)), 0)


def words_of(error: ModelAPIError) -> str:
    """The vendor's own sentence, which is what a person can act on."""
    body: object = error.body
    for key in ("error", "message"):
        if isinstance(body, dict) and key in body:
            body = body[key]
    return body if isinstance(body, str) and body else error.message


def failure(endpoint: Endpoint, status: int, words: str, retry_after_s: float | None, hint: str | None) -> BrainError:
    """What an HTTP status means to the house."""
    if status in (401, 403):
        return BrainUnavailable(NAME, words, reason="logged_out", remedy=key_remedy(endpoint))
    if status == 402:
        return BrainUnavailable(NAME, words, reason="limited", remedy=f"look at the credit of your {endpoint.name} account")
    if status == 429:
        return BrainUnavailable(NAME, words, reason="limited", retry_after_s=retry_after_s)
    if status >= 500:
        return BrainUnavailable(NAME, words, reason="overloaded", retry_after_s=retry_after_s)
    if status in (0, 408):
        return BrainUnavailable(NAME, words, reason="cut")
    return BrainRefused(NAME, words, remedy=hint or "")


def key_remedy(endpoint: Endpoint) -> str:
    if endpoint.key_from:
        return f"check the key in {endpoint.key_from}"
    return f"check the key of {endpoint.name}" if endpoint.key else f"set a key for {endpoint.name}"
