"""Workflows that do what they should not."""

import os

from bifrost import workflow


@workflow
def flood(lines: int):
    """Prints more than anybody reads."""
    for number in range(lines):
        print(f"flood {number}")
    return lines


@workflow(execution_mode="sync")
def long_line(size: int):
    """Prints one line."""
    print("x" * size)
    print("after")
    return size


@workflow(execution_mode="sync")
def returns(what: str):
    """Returns something that JSON does not have."""
    if what == "nan":
        return {"values": [float("nan"), float("inf"), 1.5]}
    if what == "nul":
        return {"text": "a\0b", "half": "\ud800"}
    if what == "object":
        return object()
    if what == "circle":
        circle = []
        circle.append(circle)
        return circle
    return what


@workflow(execution_mode="sync")
def leaves():
    """Ends its process under the platform's feet."""
    print("the last words")
    os._exit(3)


@workflow(execution_mode="sync")
def imports():
    """Imports what is not there."""
    print("before")
    import a_module_that_is_not_installed

    return a_module_that_is_not_installed


@workflow(execution_mode="sync")
def large(size: int):
    """Returns more than a row holds."""
    return {"text": "x" * size}


@workflow
def returns_text(size: int):
    """Returns a text of that many bytes."""
    return "x" * size
