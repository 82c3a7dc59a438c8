"""A Wiro service on loopback, for tests, demos and benchmarks.

    with WiroEmulator() as server:
        wiro = AsyncWiro(**server.options())

Needs the extra: `pip install "wiro-async[emulator]"`. Names are imported at first use, so that the pytest plugin in
this package costs nothing until a test asks for an emulator.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wiro_async.testing._catalogue.standard import STANDARD
    from wiro_async.testing._catalogue.voices import tone
    from wiro_async.testing._emulator import ConnectionOptions, WiroEmulator
    from wiro_async.testing._faults.chaos import ChaosPlan, Quirks
    from wiro_async.testing._faults.http_faults import (
        Cut,
        Delay,
        DelayAnswer,
        Exchange,
        HttpFault,
        ResetAfter,
        ResetBefore,
        Respond,
    )
    from wiro_async.testing._faults.socket_faults import (
        CloseAfterTask,
        Connection,
        DelayMessages,
        DropAfter,
        DropAfterAudio,
        Duplicate,
        Forward,
        HalfOpen,
        Mute,
        MuteAfter,
        NoWelcome,
        Outgoing,
        RefuseUpgrade,
        Reorder,
        Rubbish,
        SocketFault,
    )
    from wiro_async.testing._faults.switches import Faults
    from wiro_async.testing._json import Json
    from wiro_async.testing._records import (
        Call,
        CallbackRecord,
        RefusedError,
        SocketRecord,
        Submission,
        TaskSnapshot,
        Upload,
    )
    from wiro_async.testing._scripts import (
        CLOSING,
        OPENING,
        EarlierRun,
        FileOutput,
        ModelScript,
        Outputs,
        RawOutput,
        RunInput,
        Script,
        Step,
        Voice,
        VoiceSession,
        evenly,
        progress,
        timeline,
    )
    from wiro_async.testing._service.ledger import Ledger

__all__ = [
    "CLOSING",
    "OPENING",
    "STANDARD",
    "Call",
    "CallbackRecord",
    "ChaosPlan",
    "CloseAfterTask",
    "Connection",
    "ConnectionOptions",
    "Cut",
    "Delay",
    "DelayAnswer",
    "DelayMessages",
    "DropAfter",
    "DropAfterAudio",
    "Duplicate",
    "EarlierRun",
    "Exchange",
    "Faults",
    "FileOutput",
    "Forward",
    "HalfOpen",
    "HttpFault",
    "Json",
    "Ledger",
    "ModelScript",
    "Mute",
    "MuteAfter",
    "NoWelcome",
    "Outgoing",
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
    "tone",
]


_HOMES = (
    "_emulator",
    "_catalogue.standard",
    "_catalogue.voices",
    "_faults.chaos",
    "_faults.http_faults",
    "_faults.socket_faults",
    "_faults.switches",
    "_json",
    "_records",
    "_scripts",
    "_service.ledger",
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
