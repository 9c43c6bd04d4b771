"""A fault of the viewer's own."""

from typing import NoReturn

from structlog.testing import capture_logs
from viewing import viewing

from viewer.keys import PageName


class Faulty:
    """Tables that nobody can read, for a reason that nobody has thought of."""

    async def find(self, name: PageName) -> NoReturn:
        raise ZeroDivisionError(name.key)


async def test_it_is_told_without_its_reason_and_counted_with_the_other_answers(
    database: str, redis_url: str
) -> None:
    async with viewing(database, redis_url, wrapped=lambda _: Faulty()) as viewer:
        with capture_logs() as logs:
            found = await viewer.episode("frogs")
        assert (found.status, found.page["code"]) == (500, "INTERNAL")
        assert "Zero" not in str(found.page)
        assert [line["event"] for line in logs] == ["request.failed"]
        assert viewer.counted("viewer_requests_total", kind="episode", code="500") == 1
