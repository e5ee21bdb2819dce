"""The world that a policy runs in: the clock stands at the moment of the question, randomness follows its seed, what is
printed or logged leads to the node's log, and there are no files. Answers to the same question are then the same, whenever
and wherever it is asked. Importing this changes the standard library's own modules; only components do so.

The component asks the host for nothing of WASI, not even for a clock, so what would ask for it has to end here: it would end
the whole instance otherwise."""

from __future__ import annotations

# Imported by the standard library only when it needs them, which would be too late.
import _strptime  # type: ignore[import-not-found]  # noqa: F401
import builtins
import datetime
import linecache
import logging
import os
import random
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

from wit_world.imports import log as host_log

#: What is told of where an error came from. A node keeps twenty lines of a call.
_FRAMES_MAX = 8

_now_ms = 0
#: While the component is built there is no host, and nobody who would read a line.
_is_asked = False


@contextmanager
def question(now_ms: int, seed: int) -> Iterator[None]:
    """The world of one question."""
    global _now_ms, _is_asked
    _now_ms, _is_asked = now_ms, True
    random.seed(seed)
    try:
        yield
    finally:
        _is_asked = False


def failed(error: BaseException) -> str:
    """What is answered in place of an answer, on one line. How it came to that is in the log."""
    # Python's own form of it parses the source, and that looks for files.
    frames = [
        (f"{frame.filename.rsplit('/', 1)[-1]}, line {frame.lineno}, in {frame.name}", frame.line)
        for frame in traceback.extract_tb(error.__traceback__, limit=-_FRAMES_MAX)
    ]
    message = f"{type(error).__name__}: {error}"
    said = [f"{where}: {line}" for where, line in frames]
    _write(host_log.Level.ERROR, "\n".join([message, *reversed(said)]))
    return f"{message} ({frames[-1][0]})"


def seal() -> None:
    """Ends what is possible only while the component is built."""
    for module in list(sys.modules.values()):
        # Lines of source are part of a traceback.
        if file := getattr(module, "__file__", None):
            linecache.getlines(file)
    # Underlining a part of a line parses it, and a parser that fails looks for the file.
    traceback._extract_caret_anchors_from_line_segment = lambda *_: None  # type: ignore[attr-defined]
    traceback.StackSummary._should_show_carets = lambda *_: False  # type: ignore[attr-defined]
    linecache.checkcache = lambda *_, **__: None
    linecache.updatecache = lambda *_, **__: []
    sys.meta_path = [_NothingMore()]
    builtins.open = _no_files


def _write(level: host_log.Level, text: str) -> None:
    if _is_asked:
        host_log.write(level, text.rstrip("\n"), [])


class _Lines:
    """A text stream that leads to the log, line by line."""

    encoding = "utf-8"

    def __init__(self, level: host_log.Level) -> None:
        self._level, self._begun = level, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            _write(self._level, line)
        return len(text)

    def flush(self) -> None:
        """A line is written when it ends."""

    def isatty(self) -> bool:
        return False


class _Handler(logging.Handler):
    """Python's `logging` leads to the node's log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = host_log.Level.DEBUG
        for least, at in (
            (logging.INFO, host_log.Level.INFO),
            (logging.WARNING, host_log.Level.WARN),
            (logging.ERROR, host_log.Level.ERROR),
        ):
            level = at if record.levelno >= least else level
        _write(level, self.format(record))


class _NothingMore:
    """Finds no module. What is not in the component is nowhere."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        message = f"{name} was not imported while the component was built; import it at the top of a module"
        raise ModuleNotFoundError(message, name=name)


class _FrozenType(type):
    """Moments that others made are moments too."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _REAL_DATETIME)


_REAL_DATETIME = datetime.datetime


class _Datetime(datetime.datetime, metaclass=_FrozenType):
    """`datetime.datetime`, whose present is that of the question."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _Datetime:
        return cls.fromtimestamp(_now_ms / 1000, tz)

    @classmethod
    def utcnow(cls) -> _Datetime:
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> _Datetime:
        return cls.now()


def _no_files(file: Any, *_: Any, **__: Any) -> NoReturn:
    raise PermissionError(f"{file}: a policy has no files")


def _freeze_time() -> None:
    def seconds() -> float:
        return _now_ms / 1000

    def nanos() -> int:
        return _now_ms * 1_000_000

    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, seconds)
        setattr(time, f"{name}_ns", nanos)
    for name in ("gmtime", "localtime"):
        real = getattr(time, name)
        setattr(time, name, lambda at=None, real=real: real(seconds() if at is None else at))
    strftime = time.strftime
    time.strftime = lambda form, at=None: strftime(form, time.localtime() if at is None else at)
    time.sleep = lambda _: None
    _Datetime.__name__ = _Datetime.__qualname__ = "datetime"
    _Datetime.__module__ = "datetime"
    datetime.datetime = _Datetime  # type: ignore[misc]


def _seed_noise() -> None:
    os.urandom = random.randbytes
    # It kept the one from before, for `secrets` and `uuid`.
    random._urandom = random.randbytes  # type: ignore[attr-defined]


_freeze_time()
_seed_noise()
sys.stdout = _Lines(host_log.Level.INFO)
sys.stderr = _Lines(host_log.Level.ERROR)
logging.root.handlers = [_Handler()]
logging.root.setLevel(logging.INFO)
