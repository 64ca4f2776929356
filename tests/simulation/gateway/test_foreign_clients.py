"""Other unmodified clients, in an environment of their own (ib_async's event package overwrites ib_insync's).

`make test` builds that environment from requirements-clients.lock; `ZEROHOUR_CLIENTS_PYTHON` names another one.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.testkit.gateway_world import world

HERE = Path(__file__).parent
BUILT = HERE.parents[2] / ".venv-clients" / "bin" / "python"
PYTHON = os.environ.get("ZEROHOUR_CLIENTS_PYTHON") or (str(BUILT) if BUILT.exists() else None)


@pytest.mark.skipif(not PYTHON, reason="no environment with the clients; `make test` builds it")
@pytest.mark.parametrize("script", ["foreign_ib_async.py", "foreign_ibapi.py"])
def test_unmodified_client_trades_and_reconnects(script: str) -> None:
    async def scenario() -> None:
        async with world() as it:
            client = await asyncio.create_subprocess_exec(
                str(PYTHON),
                str(HERE / script),
                str(it.port),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await asyncio.wait_for(client.communicate(), 60)
            assert client.returncode == 0, said.decode()

    asyncio.run(scenario())
