from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.event import Event
from consumer.handling.lanes import Lane, Lanes


def event(number: int, entity: str) -> Event:
    return Event.of("stream", f"{number}-1", {"entityId": entity})


def ids(lane: Lane) -> list[str]:
    found = []
    while (item := lane.next()) is not None:
        assert isinstance(item, Event)
        found.append(item.id)
    return found


def test_what_waits_for_its_entity_comes_back_in_order_and_in_front() -> None:
    lane = Lane()
    for number, entity in enumerate("abaab", 1):
        lane.add(event(number, entity))
    first = lane.next()
    assert isinstance(first, Event)
    lane.hold(first.raw_entity_id, first)
    assert ids(lane) == ["2-1", "5-1"]
    lane.add(event(6, "b"))
    lane.release(first.raw_entity_id)
    assert ids(lane) == ["1-1", "3-1", "4-1", "6-1"]


def test_an_entity_is_always_in_the_same_lane() -> None:
    lanes = Lanes(8)
    assert {lanes.number_of(b"an entity") for _ in range(10)} == {lanes.number_of(b"an entity")}
    assert len({lanes.number_of(str(number).encode()) for number in range(1000)}) == 8


@settings(max_examples=50)
@given(st.lists(st.sampled_from("abc"), max_size=30), st.data())
def test_whatever_is_held_and_released_each_entity_keeps_its_order(
    entities: list[str], data: st.DataObject
) -> None:
    lane, taken = Lane(), list[Event]()
    held: dict[bytes, Event] = {}
    coming = [event(number, entity) for number, entity in enumerate(entities, 1)]
    while len(taken) < len(entities):
        match data.draw(st.sampled_from(("add", "take", "hold", "release"))):
            case "add" if coming:
                lane.add(coming.pop(0))
            case "hold" if not held and isinstance(one := lane.next(), Event):
                held[one.raw_entity_id] = one
                lane.hold(one.raw_entity_id, one)
            case "release" if held:
                lane.release(held.popitem()[0])
            case _ if isinstance(one := lane.next(), Event):
                taken.append(one)
            case _ if held:
                lane.release(held.popitem()[0])
            case _ if coming:
                lane.add(coming.pop(0))
    for entity in "abc":
        versions = [one.version for one in taken if one.entity_id == entity]
        assert versions == sorted(versions)
    assert {one.id for one in taken} == {f"{n}-1" for n in range(1, len(entities) + 1)}
