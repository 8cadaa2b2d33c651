"""What happens to an account later."""

import logging
import time

from celery_dtimer import dtimer_task
from shop import config, state

logger = logging.getLogger(__name__)


@dtimer_task
def end_trial(account_id: str) -> None:
    """Close an account whose trial is over."""
    state.save("account", account_id, status="ended")
    logger.info("account %s: its trial is over", account_id)


@dtimer_task
def write_statement(account_id: str) -> None:
    """Write an account's statement, which takes a while.

    If its worker dies meanwhile, the event is redelivered and another worker begins anew: ``@dtimer_task`` acks a
    task after its run.
    """
    time.sleep(config.STATEMENT_TAKES)
    state.save("account", account_id, statement="written")
    logger.info("account %s: its statement is written", account_id)
