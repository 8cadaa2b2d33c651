"""Celery's Task and AsyncResult, for type checkers: with the parameters of a task, and what it returns.

Celery ships no types; celery-types has them, and makes both classes generic. Without it they are unknown to mypy, and
pyright reads them in Celery's source. What callers need is declared here, so that it is the same for all of them.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from celery import Task
from celery.result import AsyncResult

if TYPE_CHECKING:
    from celery import Celery, Signature
    from celery.app.task import Context

    from celery_dtimer.extension import DeliveryInfo
    from celery_dtimer.posting.result import TimerResult
    from celery_dtimer.posting.signatures import Eta, MessageOptions

#: The parameters of a task, without the ``self`` of a bound one.
P = ParamSpec("P")

#: What a task returns.
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:

    class TimerContext(Context):  # type: ignore[misc] # Celery ships no types
        """A task's request."""

        id: str | None
        retries: int
        dtimer: DeliveryInfo | None

    class GenericTask(Task[P, R_co], Generic[P, R_co]):  # type: ignore[misc] # Celery ships no types
        """A task with parameters P, that returns R."""

        name: str
        acks_late: bool
        reject_on_worker_lost: bool | None
        max_retries: int | None

        @property
        def app(self) -> Celery:
            """The app."""

        @property
        def request(self) -> TimerContext:
            """The request that runs."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Run the task here and now."""

        def run(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Do what the task is for."""

        def delay(self, *args: P.args, **kwargs: P.kwargs) -> TimerResult[R_co]:
            """Send the task to the broker."""

        def apply_async(
            self,
            args: Iterable[Any] | None = None,
            kwargs: Mapping[str, Any] | None = None,
            task_id: str | None = None,
            *,
            countdown: float | None = None,
            eta: Eta | None = None,
            producer: Any = None,
            publisher: Any = None,
            connection: Any = None,
            **options: Unpack[MessageOptions],
        ) -> TimerResult[R_co]:
            """Send the task to the broker, or to the timer if that takes over."""

        def s(self, *args: Any, **kwargs: Any) -> Signature[R_co]:
            """Make a signature of some of the arguments."""

        def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R_co]:
            """Make a signature that takes no further arguments."""

        def AsyncResult(self, task_id: str, **options: Any) -> TimerResult[R_co]:  # noqa: N802 - Celery's
            """Return the result of a task id."""

    class GenericResult(AsyncResult[R_co], Generic[R_co]):  # type: ignore[misc] # Celery ships no types
        """A result of type R."""

        id: str

        @property
        def state(self) -> str:
            """Its state: celery-types knows no REVOKED."""

        def get(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> R_co:
            """Wait for what the task returns."""


else:

    class GenericTask(Task):
        """Celery's Task. Subscripts are for type checkers only: Celery makes classes of ``base=``, and of no alias."""

        def __class_getitem__(cls, _: object) -> type:
            return cls

    class GenericResult(AsyncResult):
        """Celery's AsyncResult."""

        def __class_getitem__(cls, _: object) -> type:
            return cls
