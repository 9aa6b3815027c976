"""What may be written at a decorator, and the bounds of each value."""

from __future__ import annotations

from typing import Any

ENDPOINT_DEFAULTS: dict[str, Any] = {
    "id": None,
    "name": None,
    "description": None,
    "category": "General",
    "tags": [],
    "execution_mode": None,
    "timeout_seconds": 1800,
    "retry_policy": None,
    "schedule": None,
    "endpoint_enabled": False,
    "allowed_methods": ["POST"],
    "disable_global_key": False,
    "public_endpoint": False,
    "is_tool": False,
    "tool_description": None,
    "time_saved": 0,
    "value": 0.0,
    "cache_ttl_seconds": None,
    "isolation": None,
}
PARAM_TYPES: dict[str, Any] = dict.fromkeys(
    ("name", "type", "label", "required", "validation", "data_provider", "default_value", "help_text", "description", "options")
)  # fmt: skip
ORDERS = {
    "workflow": ("name", "description", "category"),
    "tool": ("name", "description", "category"),
    "data_provider": ("name", "description", "category", "cache_ttl_seconds"),
    "param": ("name", "type", "label", "required", "validation", "data_provider", "default_value", "help_text"),
}
# A value of these that cannot be read changes what people see, not what runs.
PLAIN_TEXT = frozenset(
    ("description", "category", "tags", "tool_description", "time_saved", "value", "label", "help_text")
)
_PROVIDER = ("id", "name", "description", "category", "tags", "cache_ttl_seconds", "timeout_seconds", "isolation")
_TYPES = ("string", "int", "bool", "float", "json", "list", "email", "datetime")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
_TEXTS = ("description", "category", "tool_description", "schedule", "label", "help_text", "data_provider", "id")
_FLAGS = ("endpoint_enabled", "disable_global_key", "public_endpoint", "is_tool", "required")
_RETRY = ("max_attempts", "backoff", "initial_delay_seconds", "max_delay_seconds", "retry_on")
_RULES = ("pattern", "min", "max", "message")
LONGEST_NAME = 200
LONGEST_TEXT = 10_000
LONGEST_RULE = 1000
LONGEST_PATH = 1024


def allowed_options(kind: str) -> dict[str, Any]:
    """The keywords that a decorator takes."""
    if kind == "data_provider":
        return {name: ENDPOINT_DEFAULTS[name] for name in _PROVIDER}
    return {name: value for name, value in ENDPOINT_DEFAULTS.items() if name != "cache_ttl_seconds"}


def check_name(name: Any) -> str | None:
    """What is wrong with a workflow's name."""
    if not isinstance(name, str) or not name.strip():
        return "a name has to be a text that is not empty"
    if len(name) > LONGEST_NAME:
        return f"a name may have {LONGEST_NAME} characters, this one has {len(name)}"
    if name != name.strip() or not name.isprintable() or any(c in "/\\?#%" for c in name):
        return f"the name {name!r} is not valid: no `/ \\ ? # %`, no control characters, no space at its ends"
    return None


def check_option(kind: str, name: str, value: Any) -> tuple[str | None, bool]:
    """What is wrong with an option's value, and whether it can be used all the same."""
    if value is None:
        return None, False
    if name == "name" and kind == "param":
        valid = isinstance(value, str) and value.isidentifier() and len(value) <= LONGEST_NAME
        return (None if valid else f"`{value}` is not a parameter name of at most {LONGEST_NAME} characters"), False
    longest = LONGEST_NAME if name == "id" else LONGEST_TEXT
    if name in _TEXTS and not (isinstance(value, str) and len(value) <= longest):
        return f"`{name}` has to be a text of at most {longest} characters", False
    if name in _FLAGS and not isinstance(value, bool):
        return f"`{name}` has to be True or False", False
    check = _CHECKS.get((kind if name in ("type",) else "", name))
    return check(value) if check is not None else (None, False)


def _timeout(value: Any) -> tuple[str | None, bool]:
    good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 86_400
    return (None if good else f"`timeout_seconds` has to be a whole number from 1 to 86400, not {value!r}"), False


def _ttl(value: Any) -> tuple[str | None, bool]:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 86_400
    return (None if good else f"`cache_ttl_seconds` has to be a whole number from 0 to 86400, not {value!r}"), False


def _mode(value: Any) -> tuple[str | None, bool]:
    return (None if value in ("sync", "async") else f"`execution_mode` is `sync` or `async`, not {value!r}"), False


def _isolation(value: Any) -> tuple[str | None, bool]:
    return (None if value in ("fork", "reuse") else f"`isolation` is `fork` or `reuse`, not {value!r}"), False


def _type(value: Any) -> tuple[str | None, bool]:
    return (None if value in _TYPES else f"`{value}` is not one of the types {', '.join(_TYPES)}"), False


def _tags(value: Any) -> tuple[str | None, bool]:
    good = isinstance(value, list) and len(value) <= 100 and all(isinstance(x, str) and len(x) <= 100 for x in value)
    return (None if good else "`tags` has to be a list of at most 100 short texts"), False


def _methods(value: Any) -> tuple[str | None, bool]:
    good = isinstance(value, list) and value and all(isinstance(x, str) and x.upper() in _METHODS for x in value)
    return (None if good else f"`allowed_methods` has to be a list of {', '.join(_METHODS)}"), False


def _amount(name: str) -> Any:
    def check(value: Any) -> tuple[str | None, bool]:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        return (None if good else f"`{name}` has to be a number that is not negative"), False

    return check


def _validation(value: Any) -> tuple[str | None, bool]:
    if not isinstance(value, dict):
        return "`validation` has to be a dict", False
    for name in ("min", "max"):
        bound = value.get(name)
        if bound is not None and (not isinstance(bound, (int, float)) or isinstance(bound, bool)):
            return f"`validation`: `{name}` has to be a number, not {bound!r}", False
    for name in ("pattern", "message"):
        text = value.get(name)
        if text is not None and not (isinstance(text, str) and len(text) <= LONGEST_RULE):
            return f"`validation`: `{name}` has to be a text of at most {LONGEST_RULE} characters", False
    unknown = [key for key in value if key not in _RULES]
    return (f"`validation` does not know {', '.join(map(str, unknown))}" if unknown else None), True


def _options(value: Any) -> tuple[str | None, bool]:
    return (None if isinstance(value, list) and len(value) <= 1000 else "`options` has to be a list"), False


def _retry(value: Any) -> tuple[str | None, bool]:
    if not isinstance(value, dict):
        return "`retry_policy` has to be a dict", False
    unknown = [key for key in value if key not in _RETRY]
    attempts = value.get("max_attempts", 1)
    if not isinstance(attempts, int) or isinstance(attempts, bool) or not 1 <= attempts <= 100:
        return f"`retry_policy`: `max_attempts` has to be a whole number from 1 to 100, not {attempts!r}", False
    if value.get("backoff", "fixed") not in ("fixed", "exponential"):
        return f"`retry_policy`: `backoff` is `fixed` or `exponential`, not {value['backoff']!r}", False
    for name in ("initial_delay_seconds", "max_delay_seconds"):
        delay = value.get(name, 0)
        if not isinstance(delay, (int, float)) or isinstance(delay, bool) or not 0 <= delay <= 86_400:
            return f"`retry_policy`: `{name}` has to be a number from 0 to 86400, not {delay!r}", False
    only = value.get("retry_on")
    if only is not None and not (isinstance(only, list) and all(isinstance(item, str) for item in only)):
        return "`retry_policy`: `retry_on` has to be a list of error type names", False
    return (f"`retry_policy` does not know {', '.join(map(str, unknown))}" if unknown else None), True


_CHECKS: dict[tuple[str, str], Any] = {
    ("", "timeout_seconds"): _timeout,
    ("", "cache_ttl_seconds"): _ttl,
    ("", "execution_mode"): _mode,
    ("", "isolation"): _isolation,
    ("param", "type"): _type,
    ("", "tags"): _tags,
    ("", "allowed_methods"): _methods,
    ("", "time_saved"): _amount("time_saved"),
    ("", "value"): _amount("value"),
    ("", "validation"): _validation,
    ("", "options"): _options,
    ("", "retry_policy"): _retry,
}
