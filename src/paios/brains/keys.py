"""The keys to model vendors in an environment: what a command that a model runs has no business with.

A command runs as the person and can find what the person can; this only keeps keys from being handed to it. Keys of
other services stay: `git push` and `aws s3 ls` are why a person lets commands run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_VENDORS = """ANTHROPIC CLAUDE OPENAI AZURE_OPENAI CODEX GEMINI VERTEX OPENROUTER MISTRAL CODESTRAL DEEPSEEK GROQ XAI GROK
TOGETHER TOGETHERAI FIREWORKS COHERE CO CEREBRAS PERPLEXITY PERPLEXITYAI PPLX NVIDIA NIM REPLICATE HF HUGGINGFACE HUGGINGFACEHUB
HUGGING_FACE_HUB OLLAMA LITELLM MOONSHOT KIMI DASHSCOPE QWEN ZAI ZHIPUAI MINIMAX SAMBANOVA NEBIUS AI_GATEWAY VOYAGE JINA"""
_KEY = re.compile(
    rf"({'|'.join(_VENDORS.split())})(_\w+)?_(API_?KEYS?|ADMIN_KEY|(API_|AUTH_|OAUTH_)?TOKEN)"
    r"|GOOGLE(_AI|_GENAI|_GENERATIVE_AI)?_API_KEY"  # others of Google's are for maps and clouds
    r"|AWS_BEARER_TOKEN_BEDROCK",
    re.IGNORECASE,
)


def without_keys(env: Mapping[str, str], *, values: Collection[str] = (), keep: str = "") -> dict[str, str]:
    """
    *env* without the variables that hold a model vendor's key.

    *values* are keys known otherwise: a variable that holds one goes, whatever it is called. Variables whose whole name
    matches the regular expression *keep* stay.
    """
    known = {value for value in values if value}
    spared = re.compile(keep)
    return {k: v for k, v in env.items() if spared.fullmatch(k) or not (_KEY.fullmatch(k) or v in known)}
