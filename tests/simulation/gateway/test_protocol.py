"""The table of requests says what the server does with each of them."""

from __future__ import annotations

import asyncio

from simulation.gateway.protocol import REQUESTS, START_API, Treatment
from tests.simulation.gateway.raw_client import RawClient
from tests.testkit.gateway_world import world

REQUEST_ID = 4_711


def test_a_request_is_called_answered_where_the_server_has_a_handler_and_nowhere_else() -> None:
    async def scenario() -> None:
        async with world() as it:
            answered = {n for n, request in REQUESTS.items() if request.treatment is Treatment.ANSWERED}
            assert answered == it.server.handled() | {START_API}

    asyncio.run(scenario())


def test_what_is_refused_gets_its_error_on_its_own_id_and_what_is_ignored_gets_nothing() -> None:
    async def scenario() -> None:
        async with world() as it:
            client = await RawClient.connect(it.port)
            for number, request in REQUESTS.items():
                if request.treatment is Treatment.ANSWERED:
                    continue
                fields: list[object] = [number, *[1] * 12]
                if request.id_place is not None:
                    fields[request.id_place] = REQUEST_ID
                heard = [row[:5] for row in await client.ask(*fields)]
                expected_id = -1 if request.id_place is None else REQUEST_ID
                refusal = ["4", "2", str(expected_id), str(request.code), request.text]
                assert heard == ([refusal] if request.treatment is Treatment.REFUSED else []), request.name
            client.close()

    asyncio.run(scenario())


def test_a_number_that_is_no_request_gets_505() -> None:
    async def scenario() -> None:
        async with world() as it:
            client = await RawClient.connect(it.port)
            for number in (0, 60, 105, START_API):
                ((_, _, request_id, code, *_),) = await client.ask(number, 1, 1)
                assert (request_id, code) == ("-1", "505")
            client.close()

    asyncio.run(scenario())
