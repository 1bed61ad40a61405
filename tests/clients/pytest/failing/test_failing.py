"""Tests that fail, for what is said then."""

import fal_client
import pytest


def test_that_fails(fal):
    fal_client.run("fal-ai/flux/dev", arguments={"prompt": "a cat"})
    fal_client.submit("acme/app", arguments={}).get()
    assert fal.counters()["runs"] == 2


def test_that_fails_before_it_calls(fal):
    raise RuntimeError("on purpose")


def test_that_passes(fal):
    assert fal.jobs() == []


@pytest.mark.fal(scenario="accepted-then-cut")
def test_that_pays_twice(fal):
    fal_client.subscribe("fal-ai/flux/dev", arguments={"prompt": "a cat"})
