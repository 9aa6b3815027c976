"""The zygote: forks the children that run user code, and runs none itself (docs/worker-protocol.md).

    python3 -I zygote.py [--sdk FOLDER] [--snapshots FOLDER] [--preload name,name]

One thread, one socket (descriptor 3). Everything a run needs is imported before the first fork.
"""

import argparse
import json
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="zygote.py")
    parser.add_argument("--sdk", default=HERE, help="folder that holds the package `bifrost`")
    parser.add_argument("--snapshots", help="folder under which every workspace snapshot lies")
    parser.add_argument("--preload", default="", help="third-party modules to import ahead, separated by commas")
    parser.add_argument("--left-out", default="[]", help="used by the zygote when it starts itself again")
    return parser.parse_args()


def main() -> None:
    """Imports, probes, serves."""
    arguments = _arguments()
    sdk = os.path.realpath(arguments.sdk)
    sys.path.insert(0, sdk)
    # The runner's own folder is on the path only while it is imported: user modules never meet it.
    sys.path.insert(0, HERE)
    from bifrost_runner import ahead, supervisor, walls

    ahead.standard()
    sys.path.remove(HERE)
    if sdk != HERE and os.path.realpath(sys.path[0]) != sdk:
        raise SystemExit("the module path changed while the runner was imported")
    left_out = json.loads(arguments.left_out)
    names = [name for name in arguments.preload.split(",") if name.strip()]
    imported = ahead.by_name(names, left_out)
    if ahead.threads() > 1:
        left_out += [f"{name}: left a thread behind" for name in imported]
        again = [sys.executable, "-I", os.path.realpath(__file__), "--sdk", sdk, "--left-out", json.dumps(left_out)]
        if arguments.snapshots:
            again += ["--snapshots", arguments.snapshots]
        os.execv(sys.executable, again)
    ahead.walk()
    around = walls.Walls(arguments.snapshots, [HERE, sdk])
    supervisor.Supervisor(around, left_out).serve()


if __name__ == "__main__":
    main()
