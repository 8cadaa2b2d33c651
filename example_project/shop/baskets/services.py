"""What the shop does with a basket."""

from datetime import timedelta

from celery_dtimer import TimerResult
from shop import celery_app, state
from shop.baskets.tasks import lapse_basket

LAPSE_AFTER = timedelta(minutes=30)
LAPSE_AT_LAST = timedelta(hours=4)


def touch_basket(
    basket_id: str,
    lapse_after: float | timedelta = LAPSE_AFTER,
    lapse_at_last: float | timedelta = LAPSE_AT_LAST,
) -> TimerResult:
    """Keep a basket for another half hour, but for no more than four hours from its first touch: a debounce.

    There is one event a basket, since its id is made of the basket's: the first touch posts it, and each one after
    that postpones it.
    """
    state.save("basket", basket_id, status="open")
    return lapse_basket.post(
        (basket_id,),
        delay=lapse_after,
        task_id=_event_id(basket_id),
        on_conflict="postpone",
        max_wait=lapse_at_last,
    )


def hold_basket(basket_id: str, seconds: float) -> bool:
    """Keep a basket for so many seconds from now, whatever was said before: its customer is paying.

    Returns:
        Whether it is held. False: it has lapsed, or is just about to.
    """
    return bool(TimerResult(_event_id(basket_id), app=celery_app).change_delay(seconds))


def _event_id(basket_id: str) -> str:
    return f"basket-{basket_id}-lapses"
