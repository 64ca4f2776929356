"""Other unmodified clients, in an environment of their own (ib_async's event package overwrites ib_insync's).

`ZEROHOUR_CLIENTS_PYTHON` names its interpreter; without it these tests have no client to run and skip.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from gateway_world import world

PYTHON = os.environ.get("ZEROHOUR_CLIENTS_PYTHON")
HERE = Path(__file__).parent


@pytest.mark.skipif(not PYTHON, reason="ZEROHOUR_CLIENTS_PYTHON names no interpreter with the clients")
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
