"""Tasks of the tests' site. Imported by tests, once Django is set up."""

try:
    from django.tasks import task
except ModuleNotFoundError:
    from django_tasks import task


@task
def add(x, y=0):
    return x + y


@task
def fail():
    raise LookupError("no such order")


@task(backend="ranked", priority=50)
def ranked():
    pass


@task(backend="immediate")
def elsewhere():
    pass
