"""Check the arguments of public methods against their annotations.

In: the arguments of a call. Out: the arguments, or ``UsageError``. The methods are called from
notebooks, where no type checker runs. Without this check a list in place of one UID would fail deep
inside with an unhelpful ``TypeError``, a string in place of a list of strings would be iterated by
character, and ``delete="no"`` would count as true. The annotations are the only specification.
NumPy integers and booleans are converted to Python's, because JSON and some engines reject them.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from warehouse.errors import UsageError
from warehouse.errors.root import near

_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")
_Owner = TypeVar("_Owner")

_APART = re.compile(r" \| (?![^\[]*\])")
_FINDS_ITS_CALLER = frozenset({"sql"})
"""Methods that inspect the variables of their caller, and so must not be wrapped; they check their
arguments themselves."""

_WORDS = {
    "str": "text", "PathLike": "a path", "int": "a whole number", "float": "a number",
    "bool": "True or False", "None": "None", "Iterable": "a list", "Sequence": "a list",
    "Mapping": "a mapping", "dict": "a mapping", "Callable": "a function", "tuple": "a tuple",
}  # fmt: skip


def checks_arguments(owner: type[_Owner]) -> type[_Owner]:
    """Make the public methods of a class check their arguments against the annotations."""
    for name, method in list(vars(owner).items()):
        is_public = inspect.isfunction(method) and not name.startswith("_")
        if is_public and name not in _FINDS_ITS_CALLER:
            setattr(owner, name, checked(method))
    return owner


def checked(function: Callable[_Asked, _Answer]) -> Callable[_Asked, _Answer]:
    """Make a function check its arguments against its annotations."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            _refuse_unknown(f"{function.__name__}()", signature, kwargs)
            raise UsageError(f"{function.__name__}(): {error}") from None
        for name, value in bound.arguments.items():
            bound.arguments[name] = _checked_value(
                function.__name__, signature.parameters[name], value
            )
        return function(*bound.args, **bound.kwargs)

    return call


def options_of(what: str, function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a caller's keyword arguments, checked against the signature of a function.

    Raises
    ------
    UsageError
        The function has no such keyword, or the value has the wrong type. The message begins with
        ``what``.
    """
    signature = inspect.signature(function)
    _refuse_unknown(what, signature, given)
    return {
        name: _checked_value(what, signature.parameters[name], value)
        for name, value in given.items()
    }


def plain(value: Any) -> Any:
    """Convert numbers, arrays and columns of NumPy, pandas and Polars to Python objects."""
    if not hasattr(value, "dtype"):
        return value
    # NumPy converts nanosecond times to integers, and microsecond times to Python's types.
    unit = {"M": "datetime64[us]", "m": "timedelta64[us]"}.get(getattr(value.dtype, "kind", ""))
    if unit and type(value).__module__ == "numpy":
        value = value.astype(unit)
    return value.tolist() if hasattr(value, "tolist") else value.to_list()


def _refuse_unknown(what: str, signature: inspect.Signature, given: Mapping[str, Any]) -> None:
    """Raise for keywords that a function does not have, suggesting similar ones."""
    parameters = signature.parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    known = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    for name in given:
        if name not in signature.parameters:
            raise UsageError(f"{what} takes no {name!r}; {near(name, known)}")


def _checked_value(what: str, parameter: inspect.Parameter, value: Any) -> Any:
    """Check the argument of a parameter and return it, with NumPy numbers converted to Python's."""
    if not isinstance(parameter.annotation, str) or parameter.kind is parameter.VAR_KEYWORD:
        return value
    kinds = _APART.split(parameter.annotation)
    if parameter.kind is parameter.VAR_POSITIONAL:
        value = tuple(_at_home(each, kinds) for each in value)
        for each in value:
            if not any(_is(each, kind) for kind in kinds):
                raise UsageError(
                    f"{what}(): each of {parameter.name} is {_words(kinds)}, not "
                    f"{_kind(each)}; pass several separately, as {what}(*{parameter.name})"
                )
            _require_whole(what, parameter.name, each, kinds)
        return value
    if not any(_is(value, kind) for kind in kinds):
        raise UsageError(
            f"{what}(): {parameter.name} is {_words(kinds)}, not {_kind(value)}"
            f"{_advice(parameter.name, kinds, value)}"
        )
    value = _at_home(value, kinds)
    _require_whole(what, parameter.name, value, kinds)
    if isinstance(value, Integral) and not isinstance(value, bool) and "int" in kinds:
        return int(value)
    return bool(value) if "bool" in kinds and _is(value, "bool") else value


def _at_home(value: Any, kinds: Sequence[str]) -> Any:
    """Expand ``~`` in a path to the user's home folder, as shells, Polars and pandas do.

    No shell expands a path in a notebook, and without this a folder named ``~`` would be created.
    """
    is_path = isinstance(value, str | os.PathLike) and any("PathLike" in kind for kind in kinds)
    is_home = is_path and os.fspath(value) in {"~", b"~"}
    if is_home or (is_path and str(os.fspath(value)).startswith("~/")):
        return os.path.expanduser(value)
    return value


def _advice(name: str, kinds: Sequence[str], value: Any) -> str:
    """Return advice for the error message; empty if there is none."""
    if isinstance(value, str) and any(kind.startswith(("Iterable", "Sequence")) for kind in kinds):
        return f"; for one write [{name}]"
    is_several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    if "str" in kinds and is_several:
        return "; for several call it once for each"
    return ""


def _require_whole(what: str, name: str, value: Any, kinds: Sequence[str]) -> None:
    """Raise for invalid text: empty paths, paths with a null byte, text with lone surrogates."""
    is_path = any("PathLike" in kind for kind in kinds)
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    several = text.values() if isinstance(text, Mapping) else text if _is_known(text) else ()
    if not all(_is_unicode(each) for each in several if isinstance(each, str)):
        raise UsageError(f"{what}(): {name} has a character that UTF-8 does not have")
    if not isinstance(text, str):
        return
    if is_path and not text:
        raise UsageError(f"a path is empty ({name} of {what}()); name one, . for this folder")
    if is_path and "\0" in text:
        raise UsageError(f"{what}(): {name} has a zero byte, which is invalid in a path")
    if not is_path and not _is_unicode(text):
        raise UsageError(f"{what}(): {name} has a character that UTF-8 does not have")


def _is_known(value: Any) -> bool:
    """Return whether a value is a collection, which can be iterated more than once."""
    return isinstance(value, list | tuple | set | frozenset)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is(value: Any, kind: str) -> bool:
    """Return whether a value matches one member of an annotation, given as text."""
    name, _, inside = kind.removesuffix("]").partition("[")
    is_several = not isinstance(value, str | bytes | Mapping)
    match name.rpartition(".")[2]:
        case "Any" | "object" | "Opened":
            return True
        case "None":
            return value is None
        case "int":
            return isinstance(value, Integral) and not isinstance(value, bool)
        case "float":
            return isinstance(value, Real) and not isinstance(value, bool)
        case "PathLike":
            return isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)
        case "Callable":
            return callable(value)
        case "Mapping" | "dict":
            kinds = _APART.split(inside.rpartition(", ")[2])
            return isinstance(value, Mapping) and all(
                any(_is(each, kind) for kind in kinds) for each in value.values()
            )
        case "Iterable":
            is_known = isinstance(value, Collection) and is_several
            return (isinstance(value, Iterable) and is_several) and not (
                is_known and inside and not all(_is(each, inside) for each in value)
            )
        case "Sequence":
            return (isinstance(value, Collection) and is_several) and all(
                _is(each, inside or "Any") for each in value
            )
        case "tuple":
            return isinstance(value, Collection) and is_several
        case "Progress":
            return hasattr(value, "listed")
        case other:
            return other in {each.__name__ for each in type(value).__mro__}


def _kind(value: Any) -> str:
    if _is_known(value) and value:
        kinds = sorted({type(each).__name__ for each in value})
        return f"{type(value).__name__} of {', '.join(kinds)}"
    return "None" if value is None else type(value).__name__


def _words(kinds: Sequence[str]) -> str:
    words = []
    for kind in kinds:
        name, _, inside = kind.removesuffix("]").partition("[")
        name = name.rpartition(".")[2]
        is_list = name in {"Iterable", "Sequence"} and inside not in {"", "Any"}
        of = "texts" if inside == "str" else inside
        words.append(f"a list of {of}" if is_list else _WORDS.get(name, name))
    return " or ".join(words)
