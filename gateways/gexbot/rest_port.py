"""The hub of a source that is the vendor's REST alone: every ticker and category is polled once a bucket."""

from __future__ import annotations

import asyncio

from domain.options.profile import IngestMode, Profile
from domain.ports import Capability
from gateways.bucket_port import BucketPort, End, PortSetup
from gateways.gexbot.codec import Refused
from gateways.gexbot.rest import NoAnswer, RestClient, RestPoller
from messages import market


class RestPort(BucketPort):
    """The port of `hub:rest`.

    Args:
        setup: as every port's.
        client: what asks.
    """

    mode = IngestMode.REST
    capabilities = frozenset({Capability.STREAM, Capability.HISTORY})

    def __init__(self, setup: PortSetup, client: RestClient) -> None:
        super().__init__(setup)
        self._client = client

    async def hold(self, dial: market.DialHub) -> End:
        """Poll until the port ends; the hub is up from the first profile on, and down when the key is refused."""
        refused: asyncio.Future[str] = self.loop.create_future()
        is_up = False

        def take(answer: Profile | Refused | NoAnswer) -> None:
            nonlocal is_up
            if isinstance(answer, NoAnswer):
                self.folder.count_refused(answer.code)
                if answer.code == "rest_401" and not refused.done():
                    refused.set_result("the vendor does not know the key (401)")
                return
            if isinstance(answer, Refused):
                self.folder.count_refused(f"rest_{answer.code}")
                return
            if not is_up:
                is_up = True
                self.note_up(dial)
            self.keep(answer)

        poller = RestPoller(self._client, self.setup.now_utc, take)
        poller.want(self.setup.expected)
        polling = self.loop.create_task(poller.run())
        try:
            return End(await refused, has_delivered=is_up)
        finally:
            polling.cancel()

    def close(self, timeout_s: float = 5.0) -> None:
        """End the polling, then the thread."""
        super().close(timeout_s)
        self._client.close()
