"""Conversations with LLMs."""

from wiro_async._api.conversation.chat import Conversation
from wiro_async._api.conversation.chat_settings import ChatSettings
from wiro_async._api.conversation.turn_result import TurnResult
from wiro_async._api.conversation.turn_stream import TurnStream

__all__ = ["ChatSettings", "Conversation", "TurnResult", "TurnStream"]
