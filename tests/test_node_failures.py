from wood.node.failures import FORGOTTEN, KEPT, LONGEST, SHORTEST, WAITING, Failures


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def test_each_failure_waits_twice_as_long_up_to_a_bound() -> None:
    failures = Failures(Clock())
    delays = [failures.delay("here") for _ in range(2000)]
    assert delays[:6] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
    assert set(delays[6:]) == {LONGEST}


def test_addresses_do_not_wait_for_each_other() -> None:
    failures = Failures(Clock())
    assert [failures.delay(address) for address in "aaba"] == [0.25, 0.5, 0.25, 1.0]


def test_what_was_long_ago_is_forgotten() -> None:
    clock = Clock()
    failures = Failures(clock)
    failures.delay("here")
    clock.now += FORGOTTEN
    assert failures.delay("here") == 2 * SHORTEST
    clock.now += FORGOTTEN + 1
    assert failures.delay("here") == SHORTEST


def test_so_many_are_remembered() -> None:
    failures = Failures(Clock())
    for number in range(KEPT):
        failures.delay(str(number))
    assert failures.delay("0") == 2 * SHORTEST
    failures.delay("one more")
    assert failures.delay("1") == SHORTEST, "the oldest failure is forgotten first"
    assert failures.delay("0") == 4 * SHORTEST


def test_so_many_answers_wait_for_an_address() -> None:
    failures = Failures(Clock())
    assert all(failures.wait("here") for _ in range(WAITING))
    assert not failures.wait("here")
    assert failures.wait("there")
    failures.answered("here")
    assert failures.wait("here")
    assert not failures.wait("here")
    for _ in range(WAITING):
        failures.answered("here")
    failures.answered("there")
    assert not failures._waiting
