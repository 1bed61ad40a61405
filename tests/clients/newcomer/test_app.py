import pytest

from app import poster


def test_a_poster_is_made(fal):
    assert poster("a trip to the moon").startswith("https://")
    assert [job["state"] for job in fal.jobs()] == ["succeeded"]


@pytest.mark.fal(queue_time="1h")
def test_an_hour_in_the_queue_is_no_trouble(fal):
    assert poster("a trip to the moon")


@pytest.mark.fal(scenario="accepted-then-cut")
def test_a_lost_answer_is_not_paid_twice(fal):
    poster("a trip to the moon")
