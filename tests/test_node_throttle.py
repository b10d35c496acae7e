from wood.node.throttle import Throttle


def test_a_second_at_once_then_the_rate() -> None:
    now = [100.0]
    throttle = Throttle(4, lambda: now[0])
    assert [throttle.allow() for _ in range(6)] == [True] * 4 + [False] * 2
    now[0] += 0.5
    assert [throttle.allow() for _ in range(4)] == [True] * 2 + [False] * 2
    now[0] += 1000
    assert [throttle.allow() for _ in range(6)] == [True] * 4 + [False] * 2
