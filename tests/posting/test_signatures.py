"""What type checkers are told of options and settings is what there is."""

import inspect
from datetime import timedelta
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

import pytest
from celery import Celery, Task

from celery_dtimer.posting import options, signatures
from celery_dtimer.settings import NAMES, Settings
from celery_dtimer.timer.options import OPTIONS

#: Parameters of post itself.
OF_POST = {"args", "kwargs", "delay", "eta"}

#: Attributes of Celery's class of tasks that no task is given as an option.
NO_OPTIONS = {
    *("abstract", "app", "backend", "from_config", "request", "request_stack", "subtask_from_request"),
    *("MaxRetriesExceededError", "OperationalError", "Request", "Strategy"),
}

#: Options of a task for its automatic retries; Celery has them in no signature.
OF_RETRIES = {
    *("autoretry_for", "dont_autoretry_for", "retry_backoff", "retry_backoff_max", "retry_jitter", "retry_kwargs"),
}

#: Options of a task that the oldest Celery does not have.
NEWER = {"acks_on_failure", "acks_on_timeout", "retry_on_worker_lost"}

#: Functions that a task may be given in place of the methods of its class.
HOOKS = {"after_return", "before_start", "on_failure", "on_retry", "on_success", "shadow_name"}


def kinds(hint):
    """The members of a union, but None; those of a Literal are one."""
    return ({*get_args(hint)} if get_origin(hint) in {Union, UnionType} else {hint}) - {type(None)}


def test_the_options_of_a_post_are_those_that_it_knows():
    one, many = get_type_hints(signatures.PostOptions), get_type_hints(signatures.PostManyOptions)
    assert set(one) == {*options.KNOWN, *options.TIMER_OPTIONS} - OF_POST
    assert set(one) - set(many) == {"task_id"}
    assert set(get_type_hints(signatures.TimerOptions)) == {*options.TIMER_OPTIONS}


def test_the_options_of_a_task_are_the_timers_and_those_that_celery_knows():
    parameters = set(inspect.signature(Celery._task_from_fun).parameters) - {"self", "fun", "bind", "options"}
    attributes = {name for name, value in vars(Task).items() if name[0] != "_" and not inspect.isroutine(value)}
    celerys = (parameters | attributes | {name for name, _ in Task.from_config}) - NO_OPTIONS
    assert all(hasattr(Task, name) for name in HOOKS)
    told = set(get_type_hints(signatures.TaskOptions))
    timers = {*options.TIMER_OPTIONS, *options.WORKER_OPTIONS}
    assert told - NEWER == (celerys | timers | OF_RETRIES | HOOKS) - NEWER


def test_the_settings_of_install_are_those_that_there_are():
    assert set(get_type_hints(signatures.InstallOptions)) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_of_install_has_the_type_of_the_setting(name):
    expected = kinds(get_type_hints(Settings)[name])
    if name in OPTIONS and OPTIONS[name].unit == "seconds":
        expected |= {timedelta}
    if name == "misfire":
        expected = {Literal["fire", "drop", "park"]}
    if name == "web_mask":
        expected |= kinds(signatures.Tags)
    assert kinds(get_type_hints(signatures.InstallOptions)[name]) == expected


@pytest.mark.parametrize("name", ["misfire", "eviction_check"])
def test_the_words_of_a_setting_are_right(name):
    [words] = kinds(get_type_hints(signatures.InstallOptions)[name])
    assert [OPTIONS[name].check(word) for word in get_args(words)] == list(get_args(words))
