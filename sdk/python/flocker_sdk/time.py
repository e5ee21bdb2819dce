"""Moments and spans, between Python's types and the contract's milliseconds. There is no clock: each question says when it
was asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MOMENT_MAX = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MILLISECOND
_SPAN_MAX = timedelta.max // _MILLISECOND


def moment(millis: int) -> datetime:
    """Milliseconds since 1970 as a moment; what lies beyond the year 9999 is its end."""
    return EPOCH + timedelta(milliseconds=min(millis, _MOMENT_MAX))


def span(millis: int) -> timedelta:
    """Milliseconds as a span of time."""
    return timedelta(milliseconds=min(millis, _SPAN_MAX))


def millis_since_epoch(at: datetime) -> int:
    """A moment as the contract writes it. Without a time zone it would be nobody knows when."""
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone; write datetime(..., tzinfo=UTC)")
    return millis(at - EPOCH)


def millis(of: timedelta) -> int:
    """A span as the contract writes it; one that lies in the past is none."""
    return max(0, of // _MILLISECOND)
