"""Ticks to read, small and large, of transactions that come and go."""

from publishing import write
from servers import Connect

from outbox.tick import Tick
from outbox.ticks import Ticks

FAR_FUTURE_MS = 4_000_000_000_000  # the year 2096


async def make(ticks: Ticks, *, above_ms: int = 0) -> Tick:
    _, tick = await ticks.make(above_ms=above_ms)
    assert tick is not None
    return tick


async def several_ticks(connect: Connect, ticks: Ticks) -> list[Tick]:
    """Small ticks and large ones; transactions of one tick and of several, interleaved."""
    quick, one, two, three = [await connect() for _ in range(4)]
    made = []

    async def tick() -> None:
        made.append(await make(ticks))

    for name in ("a", "b", "c"):
        await write(quick, name)
    await tick()
    transactions = [connection.transaction() for connection in (one, two, three)]
    for transaction in transactions:
        await transaction.start()
    for n in range(4):
        for connection, name in ((one, "one"), (two, "two"), (three, "three")):
            await write(connection, f"{name} {n}", 1 + n % 2)
    await write(quick, "d")
    await tick()
    await write(two, "two again")
    await transactions[0].commit()
    await write(quick, "e", 2)
    await tick()
    await write(three, "three again", 3)
    await write(quick, "f", 2)
    await transactions[2].commit()
    await write(two, "two at last")
    await transactions[1].commit()
    await write(quick, "g", 3)
    await tick()
    for name in ("h", "i"):
        await write(quick, name)
        await tick()
    return made
