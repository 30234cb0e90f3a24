"""Validate values by a schema that may take long. Run as a program by path, never imported.

It imports only the validator, reads one JSON object from standard input (``draft``, ``schema``,
``instances``: JSON texts) and writes another: ``answers``, for each instance null or the path and
message of its first error; or ``refused``, why the schema is invalid. The caller kills the process
after a time limit, which is impossible for a call of the library in its own process.
"""

import json
import resource
import sys

import jsonschema_rs

MEMORY_BYTES = 2 << 30


def _refuse(uri: str) -> None:
    raise ValueError(f"{uri} is not read")


def main() -> None:
    """Validate the instances of the request on standard input."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    request = json.load(sys.stdin)
    try:
        validator = getattr(jsonschema_rs, request["draft"])(
            request["schema"], retriever=_refuse, mask="it",
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000),
        )  # fmt: skip
    except ValueError as error:
        json.dump({"refused": str(error).splitlines()[0]}, sys.stdout)
        return
    answers = []
    for text in request["instances"]:
        first = next(validator.iter_errors(json.loads(text)), None)
        answers.append(first and [list(first.instance_path), first.message])
    json.dump({"answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
