"""A program: validate values by a schema that may take any time. Run by path, never imported.

It loads nothing but the validator, reads one JSON object from standard input (``draft``,
``schema``, ``instances``: JSON texts) and writes a list: null for a value that is valid, else path
and message. Whoever runs it ends it after some seconds, which a library called in the process
cannot do.
"""

import json
import resource
import sys

import jsonschema_rs

MEMORY_BYTES = 2 << 30


def _refuse(uri: str) -> None:
    raise ValueError(f"{uri} is not read")


def main() -> None:
    """Answer the question on standard input."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    asked = json.load(sys.stdin)
    try:
        validator = getattr(jsonschema_rs, asked["draft"])(
            asked["schema"], retriever=_refuse, mask="it",
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000),
        )  # fmt: skip
    except ValueError as error:
        json.dump({"refused": str(error).splitlines()[0]}, sys.stdout)
        return
    answers = []
    for text in asked["instances"]:
        first = next(validator.iter_errors(json.loads(text)), None)
        answers.append(first and [list(first.instance_path), first.message])
    json.dump({"answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
