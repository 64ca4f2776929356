"""`python -m benchmarks` runs every benchmark and writes benchmarks/RESULTS.md; `python -m benchmarks NAME` runs one.

What was measured is kept in benchmarks/reports, one file each, and RESULTS.md is written from all of them: with
`--keep` one benchmark that ran alone takes the place of its own older figures. Each benchmark has a process of its
own. `--scale S` shortens (or lengthens) every one of them; figures of a scale below 1 are good for trying the
benchmarks out, and are never written to RESULTS.md.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from commands.cli import libraries_needed

with libraries_needed("-m benchmarks"):
    import msgspec

    from benchmarks.figures import REACHED, ROOT, Report, load_average, machine, others_cores

NAMES = (
    "order_path",
    "exit_path",
    "reconcile",
    "lateness",
    "ingest",
    "full_width",
    "warehouse",
    "stepped",
    "simulated_days",
    "backtest_days",
    "system_day",
    "memory",
    "wire",
    "client_faults",
    "kill_nine",
    "chain",
    "restore",
    "features",
    "dashboard_load",
    "push_rate",
    "first_paint",
    "trace_size",
    "full_day",
)
ELSEWHERE = ("peers",)  # kept by `make bench-peers`, which has an environment of its own
RESULTS = Path(__file__).parent / "RESULTS.md"
REPORTS = Path(__file__).parent / "reports"


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="length of the runs (default 1)")
    parser.add_argument("--without", action="append", default=[], choices=NAMES, help="leave one out of all of them")
    parser.add_argument("--keep", action="store_true", help="write the figures of those named into RESULTS.md, too")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(NAMES))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    if given.into is not None:
        given.into.write_bytes(msgspec.json.encode(_measured(given.names[0], given.scale)))
        return 0
    names = given.names or [name for name in NAMES if name not in given.without]
    reports = [_in_a_child(name, given.scale) for name in names]
    for report in reports:
        if report is not None:
            print(report.markdown())
    if (given.keep or not given.names) and given.scale >= 1.0:
        for report in reports:
            if report is not None:
                keep(report)
        write()
    return 1 if None in reports else 0


def _measured(name: str, scale: float) -> Report:
    before, others, began = load_average(), others_cores(), time.perf_counter()
    report: Report = importlib.import_module(f"benchmarks.{name}").run(scale)
    report.seconds = time.perf_counter() - began
    report.others_cores = others
    report.load = f"{before}, {load_average()}"
    report.at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return report


def _in_a_child(name: str, scale: float) -> Report | None:
    print(f"benchmark {name} ...", file=sys.stderr, flush=True)
    into = Path(f"{RESULTS}.{name}.tmp")
    command = [sys.executable, "-m", "benchmarks", name, "--scale", str(scale), "--into", str(into)]
    try:
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            print(f"benchmark {name} failed; see above.", file=sys.stderr)
            return None
        return msgspec.json.decode(into.read_bytes(), type=Report)
    finally:
        into.unlink(missing_ok=True)


def keep(report: Report) -> None:
    """Keep a report in place of the older one of its benchmark."""
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / f"{report.name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))


def write() -> None:
    """Write RESULTS.md from the reports kept."""
    paths = [REPORTS / f"{name}.json" for name in (*NAMES, *ELSEWHERE)]
    reports = [msgspec.json.decode(path.read_bytes(), type=Report) for path in paths if path.exists()]
    lines = [
        "# Measured",
        "",
        f"`make bench` measures all of it again, `python -m benchmarks NAME --keep` one. {machine()}",
        "",
        "Everything ran on loopback on one machine: generators, gateways and what is measured share its cores. Compare",
        "figures within a table; between runs of a virtual machine they move by a third. Floors stand beside what",
        "they bound, measured in the same run. Each part says when it was measured.",
        "",
        "| benchmark | aim | wanted | measured | reached |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.name} | {a.what} | {a.wanted} | {a.measured} | {REACHED[a.is_reached]} |"
        for r in reports
        for a in r.aims
    ]
    RESULTS.write_text("\n".join(lines) + "\n\n" + "\n".join(r.markdown() for r in reports), encoding="utf-8")
    print(f"written: {RESULTS.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
