"""`serval drift --live` and `--watch`: the rows that a server has predicted lately."""

import sys
from argparse import Namespace
from pathlib import Path

from serval_client.cli import command, connection, output
from serval_client.cli.told import told
from serval_client.drift import DriftReport, LiveDrift, share_told
from serval_client.report.page import page

# Home, and clear what is below: a table that is drawn over the last one does not flicker.
_REDRAW = "\x1b[H\x1b[J"


def look(args: Namespace) -> DriftReport:
    """Print one window, and write its page where that was asked for."""
    with connection.connect(args) as client:
        live = client.live_drift(
            args.model,
            args.window,
            alpha=args.alpha,
            tolerance=args.tolerance,
            compatibility=args.like or "",
            distributions=args.html is not None or args.json,
        )
    _write_page(args, live)
    if args.json:
        output.print_json(live)
    else:
        print(live_text(live))
    return live.report


def watch(args: Namespace) -> int:
    """Print a window again and again: on a terminal over the last one, as lines of JSON with --format json."""
    with connection.connect(args) as client:
        windows = client.watch_drift(
            args.model,
            args.window,
            interval=args.every,
            alpha=args.alpha,
            tolerance=args.tolerance,
            compatibility=args.like or "",
            distributions=args.html is not None,
        )
        for live in windows:
            _write_page(args, live)
            if args.json:
                output.print_json_line(live)
            else:
                print((_REDRAW if sys.stdout.isatty() else "") + live_text(live), flush=True)
    return command.OK


def acknowledge(args: Namespace) -> int:
    """Acknowledge the alarms of a version, or begin its life anew, and print what is left."""
    with connection.connect(args) as client:
        life = client.acknowledge_alarms(args.model, note=args.acknowledge or "", begin_anew=args.begin_anew)
    if args.json:
        output.print_json(life)
    else:
        print("\n".join(map(output.visible, life.told())))
    return command.OK


def live_text(live: LiveDrift) -> str:
    """Return a window as text."""
    end = f"{live.end:%H:%M:%S}" if live.end.date() == live.start.date() else f"{live.end:%Y-%m-%d %H:%M:%S}"
    lines = [f"window {live.start:%Y-%m-%d %H:%M:%S} to {end} UTC: {live.rows} rows"]
    if live.unobserved:
        lines.append(
            f"not looked at, as the observer could not keep up: {live.unobserved} rows, "
            f"{share_told(live.unobserved_share)} of all; what is said is of the others"
        )
    if live.other_rows:
        lines.append(f"left out, as they came before this baseline was set: {live.other_rows} rows")
    if live.life is not None:
        lines += [*map(output.visible, live.life.told()), ""]
    return "\n".join([*lines, told(live.report)])


def _write_page(args: Namespace, live: LiveDrift) -> None:
    if args.html is not None:
        Path(args.html).write_text(page(live), encoding="utf-8")
