"""The Python side of the worker protocol (docs/worker-protocol.md). No user code is imported by these modules' import."""
