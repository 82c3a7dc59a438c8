"""A Wiro service on loopback, for tests, demos and benchmarks.

    with WiroEmulator() as server:
        wiro = AsyncWiro(**server.options())

Needs the extra: `pip install "wiro-async[emulator]"`. Names are imported when first used, so that the pytest
plugin next door costs nothing until a test asks for an emulator.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._chaos import ChaosPlan, Quirks
    from ._emulator import ConnectionOptions, WiroEmulator
    from ._faults import Faults
    from ._http_faults import Cut, Delay, DelayAnswer, HttpFault, ResetAfter, ResetBefore, Respond
    from ._ledger import Ledger
    from ._models import STANDARD
    from ._realtime import Voice, VoiceSession
    from ._records import (
        Call,
        CallbackRecord,
        Json,
        RefusedError,
        SocketRecord,
        Submission,
        TaskSnapshot,
        Upload,
    )
    from ._scripts import (
        FileOutput,
        ModelScript,
        Outputs,
        RawOutput,
        RunInput,
        Script,
        Step,
        evenly,
        progress,
        timeline,
    )
    from ._socket_faults import (
        CloseAfterTask,
        DelayMessages,
        DropAfter,
        DropAfterAudio,
        Duplicate,
        HalfOpen,
        Mute,
        MuteAfter,
        NoWelcome,
        RefuseUpgrade,
        Reorder,
        Rubbish,
        SocketFault,
    )

__all__ = [
    "STANDARD",
    "Call",
    "CallbackRecord",
    "ChaosPlan",
    "CloseAfterTask",
    "ConnectionOptions",
    "Cut",
    "Delay",
    "DelayAnswer",
    "DelayMessages",
    "DropAfter",
    "DropAfterAudio",
    "Duplicate",
    "Faults",
    "FileOutput",
    "HalfOpen",
    "HttpFault",
    "Json",
    "Ledger",
    "ModelScript",
    "Mute",
    "MuteAfter",
    "NoWelcome",
    "Outputs",
    "Quirks",
    "RawOutput",
    "RefuseUpgrade",
    "RefusedError",
    "Reorder",
    "ResetAfter",
    "ResetBefore",
    "Respond",
    "Rubbish",
    "RunInput",
    "Script",
    "SocketFault",
    "SocketRecord",
    "Step",
    "Submission",
    "TaskSnapshot",
    "Upload",
    "Voice",
    "VoiceSession",
    "WiroEmulator",
    "evenly",
    "progress",
    "timeline",
]


_HOMES = (
    "_emulator",
    "_chaos",
    "_faults",
    "_http_faults",
    "_models",
    "_realtime",
    "_records",
    "_scripts",
    "_socket_faults",
)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        modules = [import_module(f".{home}", __name__) for home in _HOMES]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; try: pip install 'wiro-async[emulator]'", name=error.name) from error
    globals().update(
        {public: getattr(module, public) for module in modules for public in __all__ if hasattr(module, public)}
    )
    return globals()[name]
