"""Many events cancelled or moved in few round trips, and the answer about each."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from celery_dtimer.errors import ChangeManyError, TimerFullError, TimerUnavailableError
from celery_dtimer.timer.events import Answer
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.progress import tell
from celery_dtimer.timer.storing.scripts import Call
from celery_dtimer.timer.storing.shard import Store, answer_of

#: Calls in one round trip: each answer of a cancel has a payload.
CHANGES = 100


def change_many(
    shards: Shards,
    ids: Sequence[str],
    call_of: Callable[[Store, str], Call],
    on_answer: Callable[[str, Answer], None] | None = None,
) -> list[Answer]:
    """Make a call for each id, in batches of a shard.

    Args:
        shards: Where the events are.
        ids: Their ids; one that is there twice is asked for once.
        call_of: Makes the call for an id.
        on_answer: Is told of each answer.

    Returns:
        An answer for each id, in order.

    Raises:
        ChangeManyError: Redis did not answer; it has the answers so far.
    """
    answers: dict[str, Answer] = {}
    once = dict.fromkeys(ids)
    for number, store in enumerate(shards):
        here: Iterator[str] = (event_id for event_id in once if shards.number_of(event_id) == number)
        while batch := list(islice(here, CHANGES)):
            replies: dict[str, object] = {}
            failure: Exception | None = None
            try:
                store.ask_each({event_id: call_of(store, event_id) for event_id in batch}, replies)
            except (TimerUnavailableError, TimerFullError) as exc:
                failure = exc
            for event_id, reply in replies.items():
                answers[event_id] = answer_of(reply)
                if on_answer is not None:
                    on_answer(event_id, answers[event_id])
            tell(len(replies))
            if failure is not None:
                asked = not isinstance(failure, TimerUnavailableError) or failure.asked
                unknown = [event_id for event_id in batch if asked and event_id not in replies]
                done = sum(map(bool, answers.values()))
                raise ChangeManyError(
                    f"{done} of {len(once)} events were changed, {len(answers) - done} could not be, and "
                    f"{len(unknown)} may or may not have been: {failure}",
                    answers=answers,
                    unknown=unknown,
                ) from failure
    return [answers[event_id] for event_id in ids]
