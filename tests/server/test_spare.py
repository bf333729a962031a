"""What is offered is done by and by, by whoever has time, and harms nobody."""

from serval_server.spare import SpareTime


def test_a_step_is_done_until_there_is_no_more_and_then_the_next():
    spare, done = SpareTime(), []
    left = iter((True, True, False))

    def counts():
        done.append("counts")
        return next(left)

    def once():
        done.append("once")
        return False

    spare.offer(counts)
    spare.offer(once)
    while spare:
        spare.take()
    assert done == ["counts", "counts", "counts", "once"]


def test_a_step_that_fails_is_logged_and_not_done_again(caplog):
    spare, done = SpareTime(), []

    def fails():
        raise RuntimeError("no such thing")

    spare.offer(fails)
    spare.offer(lambda: bool(done.append("next")))
    spare.take()
    spare.take()
    assert not spare
    assert done == ["next"]
    assert "no such thing" in caplog.text
