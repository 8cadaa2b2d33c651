"""What the shop does with an account."""

from datetime import UTC, datetime, timedelta

from celery_dtimer import TimerResult
from shop import celery_app, state
from shop.accounts.tasks import end_trial, write_statement

TRIAL = timedelta(weeks=6)


def start_trial(account_id: str, ends_at: datetime | None = None) -> TimerResult:
    """Open an account on trial. That its end is weeks away costs a few hundred bytes in Redis, and no worker."""
    state.save("account", account_id, status="trial")
    end = end_trial.post_at(ends_at or datetime.now(UTC) + TRIAL, account_id)
    state.save("account", account_id, trial_end=end.id)
    return end


def extend_trial(account_id: str, ends_at: datetime) -> bool:
    """Let a trial end at another instant. False: it is over."""
    end = TimerResult(state.load("account", account_id)["trial_end"], app=celery_app)
    return bool(end.change_eta(ends_at))


def close_month(account_id: str, at: datetime) -> TimerResult:
    """Have an account's statement written at that instant."""
    return write_statement.post_at(at, account_id)
