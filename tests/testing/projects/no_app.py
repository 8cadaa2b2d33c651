"""Without any app."""


def test_nothing(dtimer): ...
