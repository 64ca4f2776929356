"""Jobs on a Ray cluster: the program's code goes along, a job is a task of one core, answers come as they are made."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

LOCAL: Final = "local"  # no cluster: one of this machine alone, for as long as the call
_ROOT: Final = Path(__file__).parents[2]
_SHIPPED: Final = (
    "actors", "commands", "config", "domain", "gateways", "messages", "simulation", "storage", "supervision", "web",
    "main.py",
)  # fmt: skip
_LOCAL_TRIES: Final = 3  # it has 30 s to start, which a busy machine may not give it
_STORE_BYTES: Final = 100_000_000  # jobs and answers are small
_AHEAD: Final = 4  # jobs a core that are handed out before one of them has answered
J = TypeVar("J")
A = TypeVar("A")


class ClusterError(Exception):
    """A cluster cannot be used or lost a job; one sentence with the remedy."""


def run_on_cluster(address: str, cores: int, jobs: Sequence[J], act: Callable[[J], A]) -> Iterator[tuple[J, A]]:
    """Return (job, answer) as they come, in no order; the nodes run this process's code.

    Args:
        address: of a cluster as Ray takes it (`HOST:6379`, `ray://HOST:10001`, `auto`), or `local`.
        cores: of a local one; a cluster has its own.
        jobs: what is asked for; plain values.
        act: a function of a module. A job whose node died is run again, so it must give the same answer twice.

    Raises:
        ClusterError: Ray is not installed, nothing answers at the address, or a job failed on its node.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would tell its makers about this machine
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise ClusterError(
            "Ray is not installed in this environment; run `make ray` and call .venv-ray/bin/python main.py."
        ) from None
    _connect(ray, address, cores)
    try:
        yield from _answers(ray, jobs, act)
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str, cores: int) -> None:
    kept_here = [f"/{path.name}" for path in _ROOT.iterdir() if path.name not in _SHIPPED]
    code = {"working_dir": str(_ROOT), "excludes": [*kept_here, "__pycache__"]}
    options: dict[str, Any] = {"runtime_env": code, "log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {
            "num_cpus": cores, "include_dashboard": False, "_node_ip_address": "127.0.0.1",
            "object_store_memory": _STORE_BYTES,
        }  # fmt: skip
    for left in reversed(range(_LOCAL_TRIES if address == LOCAL else 1)):
        try:
            ray.init(address=address, **options)
            return
        except Exception as error:  # whatever kept it from connecting, the remedy is one
            ray.shutdown()
            if not left:
                raise ClusterError(
                    f"No Ray cluster can be used at {address} ({_first_line(error)}); start one with `ray start"
                    " --head`, with the Python and Ray of this environment, or leave --address out."
                ) from None


def _answers(ray: Any, jobs: Sequence[J], act: Callable[[J], A]) -> Iterator[tuple[J, A]]:
    def on_a_node(job: J) -> A:  # a plain function: that is all that can be handed out
        return act(job)

    task = ray.remote(num_cpus=1)(on_a_node)
    ahead = max(1, int(ray.cluster_resources().get("CPU", 1))) * _AHEAD
    waiting: dict[Any, J] = {}
    left = iter(jobs)
    while True:
        while len(waiting) < ahead and (job := next(left, None)) is not None:
            waiting[task.remote(job)] = job
        if not waiting:
            return
        (answered,), _ = ray.wait(list(waiting), num_returns=1)
        try:
            answer = ray.get(answered)
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"A job failed on the cluster ({_first_line(error)}); what was finished is kept, run the same command"
                " to go on."
            ) from None
        yield waiting.pop(answered), answer


def _first_line(error: Exception) -> str:
    """Return what an error of Ray says last: before it stands the way that it came."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
