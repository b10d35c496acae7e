"""When the commands of a queue came."""

from random import Random

from wood.exchange.arrivals import Arrivals


def test_the_first_to_come_is_the_first_to_go() -> None:
    arrivals = Arrivals()
    assert arrivals.count == 0
    assert arrivals.look(3, 1.0) == 3
    assert arrivals.look(3, 2.0) == 0
    assert arrivals.look(5, 3.0) == 2
    assert arrivals.take(2) == 1.0
    assert arrivals.take(2) == 1.0
    assert arrivals.oldest == 3.0
    assert arrivals.take(1) == 3.0
    assert arrivals.count == 0
    assert arrivals.take(0) is None


def test_what_is_put_back_is_as_old_as_it_was() -> None:
    arrivals = Arrivals()
    arrivals.look(4, 1.0)
    assert arrivals.take(4) == 1.0
    arrivals.look(2, 5.0)
    arrivals.put_back(3, 1.0)
    arrivals.put_back(0, 0.5)
    assert arrivals.count == 5
    assert arrivals.take(4) == 1.0
    assert arrivals.take(1) == 5.0


def test_what_was_thrown_away_is_forgotten() -> None:
    arrivals = Arrivals()
    arrivals.look(4, 1.0)
    arrivals.look(6, 2.0)
    assert arrivals.look(1, 3.0) == 0
    assert (arrivals.count, arrivals.oldest) == (1, 2.0)
    assert arrivals.look(0, 4.0) == 0
    assert arrivals.oldest is None


def test_it_agrees_with_a_plain_list() -> None:
    """One time for each command, which would be exact and dear."""
    random, arrivals, plain, now = Random(7), Arrivals(), list[float](), 0.0
    for _ in range(2000):
        now += 1
        came = random.randrange(4)
        plain += [now] * came
        assert arrivals.look(len(plain), now) == came
        taken = random.randint(0, len(plain))
        gone, plain = plain[:taken], plain[taken:]
        oldest = (gone + plain)[0] if gone + plain else None
        assert arrivals.take(taken) == oldest
        if gone and random.random() < 0.3:
            back = random.randint(0, taken)
            plain = [gone[0]] * back + plain
            arrivals.put_back(back, gone[0])
        assert arrivals.count == len(plain)
        assert arrivals.oldest == (plain[0] if plain else None)
