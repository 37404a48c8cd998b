import json
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.events.v1 import dead_letter_pb2 as dead
from servemark.events.v1 import event_lag_pb2 as lag
from tests.support.answering_server import answering_server
from tests.support.command import Run

FIRST, SECOND = "01a2265e-50be-7b07-ac30-8b030fbe54ec", "01a2265e-50be-7b07-ac30-8b030fbe54ed"


def letter(id_: str) -> dead.DeadLetter:
    created = Timestamp()
    created.FromDatetime(datetime(2026, 11, 2, 3, 4, tzinfo=UTC))
    return dead.DeadLetter(
        id=id_, topic="results", reason="ValueError: [no]", delivery_count=5, create_time=created
    )


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_lag_shows_each_group_of_each_topic(run: Run) -> None:
    answer = lag.GetEventLagResponse(
        topics=[
            lag.TopicLag(
                topic="catalog",
                outbox=lag.OutboxLag(event_count=1200, oldest_seconds=2.25),
                groups=[
                    lag.GroupLag(group="archive", undelivered_count=3),
                    lag.GroupLag(group="ranking", undelivered_count=1000, pending_count=12),
                ],
            ),
            lag.TopicLag(topic="results", stream_length=7),
        ]
    )
    with answering_server(GetEventLag=answer) as server:
        done = run("events", "lag", "--target", server.target)
        shown = run("events", "lag", "--json", "--target", server.target)
    assert done.code == 0
    assert lines(done.out)[-4:-1] == [
        "catalog 1,200 2.2 s archive 3 0",
        "catalog 1,200 2.2 s ranking 1,000 12",
        "results ? ? nobody 7",
    ]
    assert json.loads(shown.out)["topics"][0]["groups"][1]["pending_count"] == "12"


def test_without_redis_there_are_no_events(run: Run) -> None:
    with answering_server(GetEventLag=lag.GetEventLagResponse()) as server:
        done = run("events", "lag", "--target", server.target)
    assert done.out == "There are no events: no Redis is set.\n"


def test_dead_events_are_listed_with_the_reason(run: Run) -> None:
    pages = [
        dead.ListDeadLettersResponse(dead_letters=[letter(SECOND)], next_page_token="next"),
        dead.ListDeadLettersResponse(dead_letters=[letter(FIRST)]),
    ]
    with answering_server(ListDeadLetters=pages) as server:
        done = run("events", "dead", "--target", server.target)
        server.answers["ListDeadLetters"] = dead.ListDeadLettersResponse()
        none = run("events", "dead", "--target", server.target)
    assert lines(done.out)[-3:-1] == [
        f"{SECOND} results 2026-11-02 03:04 ValueError: [no]",
        f"{FIRST} results 2026-11-02 03:04 ValueError: [no]",
    ]
    assert none.out == "No event is dead.\n"


def test_a_replay_says_what_is_still_dead_and_ends_with_1(run: Run) -> None:
    answer = dead.ReplayDeadLettersResponse(
        outcomes=[
            dead.ReplayOutcome(id=FIRST),
            dead.ReplayOutcome(id=SECOND, problem="ValueError: [no]"),
        ]
    )
    letters = dead.ListDeadLettersResponse(dead_letters=[letter(FIRST), letter(SECOND)])
    with answering_server(ReplayDeadLetters=answer, ListDeadLetters=letters) as server:
        done = run("events", "replay", "--all", "--target", server.target)
        asked = server.request("ReplayDeadLetters", dead.ReplayDeadLettersRequest)
        server.answers["ReplayDeadLetters"] = dead.ReplayDeadLettersResponse(
            outcomes=answer.outcomes[:1]
        )
        one = run("events", "replay", FIRST, "--target", server.target)
        asked_for_one = server.request("ReplayDeadLetters", dead.ReplayDeadLettersRequest)
    assert list(asked.ids) == [FIRST, SECOND]
    assert done.code == 1
    assert lines(done.out) == [f"{SECOND} STILL DEAD ValueError: [no]", "1 event took effect."]
    assert list(asked_for_one.ids) == [FIRST]
    assert (one.code, one.out) == (0, "1 event took effect.\n")


def test_a_replay_wants_ids_or_all(run: Run) -> None:
    for arguments in ([], [FIRST, "--all"]):
        done = run("events", "replay", *arguments, "--target", "127.0.0.1:1")
        assert done.code == 1
        assert "by their ids, or give --all" in done.err
