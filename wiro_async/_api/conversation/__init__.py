"""Conversations with LLMs."""

from wiro_async._api.conversation.chat import Conversation
from wiro_async._api.conversation.options import ChatSettings
from wiro_async._api.conversation.results import TurnResult
from wiro_async._api.conversation.stream import TurnStream

__all__ = ["ChatSettings", "Conversation", "TurnResult", "TurnStream"]
