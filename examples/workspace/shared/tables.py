"""Tables of the workspace. A module without a workflow: the others import it by its path from the workspace's root."""

import csv
import io
import json
from typing import Any

from bifrost import files


def rows(path: str) -> list[dict[str, str]]:
    """The lines of a CSV file, by the names in its first line."""
    return list(csv.DictReader(io.StringIO(files.read(path))))


def document(path: str) -> Any:
    """What a JSON file says."""
    return json.loads(files.read(path))
