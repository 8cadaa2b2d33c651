"""A console in the browser: look at delayed tasks and steer them. ``pip install celery-dtimer[web]``."""

try:
    from celery_dtimer.web.console import console
except ModuleNotFoundError as exc:
    if exc.name not in {"starlette", "jinja2", "anyio"}:
        raise
    raise ModuleNotFoundError(
        f"the console needs {exc.name}, which is not installed: pip install 'celery-dtimer[web]'", name=exc.name
    ) from exc

__all__ = ("console",)
