"""Post a run's summary, read from standard input, to the chat webhook that SALESOPS_WEBHOOK names.

The body is {"text": "..."}, which Slack, Mattermost and Google Chat take. Ends with 1 and one line
where the variable is not set or the webhook does not answer.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

MOST_REPORTS = 10
SECONDS = 20


def text_of(summary: dict) -> str:
    """The summary in a few lines."""
    counts = ", ".join(f"{count} {status}" for status, count in summary["counts"].items())
    lines = [f"{summary['plan']}: {summary['status']}" + (f" ({counts})" if counts else "")]
    for item in summary["failed"][:MOST_REPORTS]:
        lines.append(f"{item['report']} / {item['scope']} / {item['quarter']}: {item['message']}")
    if summary["message"]:
        lines.append(summary["message"])
    return "\n".join(lines)


def main() -> None:
    """Post it."""
    address = os.environ.get("SALESOPS_WEBHOOK", "")
    if not address.startswith(("https://", "http://localhost:", "http://127.0.0.1:")):
        sys.exit("SALESOPS_WEBHOOK is no https address")
    body = json.dumps({"text": text_of(json.load(sys.stdin))}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310
            pass
    # The address is a secret, and an error's text may repeat it.
    except OSError as error:
        sys.exit(f"the webhook did not take it: {type(error).__name__}")


if __name__ == "__main__":
    main()
