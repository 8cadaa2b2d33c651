"""Tags of tasks: an option of a post, of all posts of a post_many, and of the task itself."""

import pytest

from celery_dtimer import InvalidEventError, TaskPost, dtimer_task, get_timer


def test_a_post_has_tags_and_goes_before_those_of_the_task(app, timer):
    @dtimer_task(tags=["mail"])
    def remind(order): ...

    task = app.tasks[remind.name]
    assert task.post_in(60, 1).peek().tags == ("mail",)
    result = task.post((1,), delay=60, tags=["order:1"])
    assert result.peek().tags == ("order:1",)
    assert [each.id for each in timer.upcoming(tag="order:1")] == [result.id]
    assert get_timer(app).upcoming(tag="order:1")[0].task == task.name


def test_each_post_of_many_may_have_tags_of_its_own(add):
    results = add.post_many([(1, 2), TaskPost((3,), options={"tags": ["b"]})], delay=60, tags=["a"])
    assert [result.peek().tags for result in results] == [("a",), ("b",)]
    assert [bool(each) for each in get_timer(add.app).cancel_many(tag="a", task=add.name)] == [True]
    assert get_timer(add.app).cancel_many(tag="b", task="another") == []


def test_wrong_tags_of_a_post_are_refused(add, timer):
    with pytest.raises(InvalidEventError, match="tags must be a list of at most 8 tags"):
        add.post((1, 2), delay=60, tags="order:42")
    assert timer.count().pending == 0
