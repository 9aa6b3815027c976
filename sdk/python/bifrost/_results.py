"""Values that serve both styles: brackets and attributes, awaited or not."""

from __future__ import annotations

from typing import Any, Generator, Iterable, Mapping


class Record(dict):  # type: ignore[type-arg]
    """A mapping whose keys can also be read as attributes: ``x["id"]`` and ``x.id``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key, value in self.items():
            if isinstance(value, (dict, list)):
                super().__setitem__(key, wrap(value))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def copy(self) -> "Record":
        """A shallow copy that is a record again."""
        return Record(self)


def wrap(value: Any) -> Any:
    """Turns every mapping inside ``value`` into a :class:`Record`."""
    if isinstance(value, Record):
        return value
    if isinstance(value, Mapping):
        return Record(value)
    if isinstance(value, list):
        return [wrap(item) for item in value]
    return value


class AwaitableStr(str):
    """Text that may be awaited."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, str]:
        return _itself(self)


class AwaitableBytes(bytes):
    """Bytes that may be awaited."""

    def __await__(self) -> Generator[Any, None, bytes]:
        return _itself(self)


class AwaitableList(list):  # type: ignore[type-arg]
    """A list that may be awaited."""

    __slots__ = ()

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return _itself(self)


class AwaitableBool:
    """A truth value that may be awaited (``bool`` itself cannot be extended)."""

    __slots__ = ("_value",)

    def __init__(self, value: bool) -> None:
        self._value = bool(value)

    def __bool__(self) -> bool:
        return self._value

    def __eq__(self, other: object) -> bool:
        return self._value == (bool(other) if isinstance(other, AwaitableBool) else other)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return repr(self._value)

    def __await__(self) -> Generator[Any, None, bool]:
        return _itself(self._value)


class Done:
    """What a call without a value returns; awaiting it gives ``None``."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "None"

    def __await__(self) -> Generator[Any, None, None]:
        return _itself(None)


def _itself(value: Any) -> Generator[Any, None, Any]:
    return value
    yield  # makes this function a generator, which is what __await__ has to return
