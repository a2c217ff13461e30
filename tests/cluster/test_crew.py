"""Work is shared out, and done again where an actor is lost."""

from __future__ import annotations

import pytest

from baselines_compat.errors import NonFiniteError
from baselines_compat.vec_env.faults import EnvironmentFailure, WorkerError
from tests.cluster.fake_engine import FakeEngine, losing
from wng_tf.cluster.crew import Crew
from wng_tf.cluster.engine import MOST_LOSSES
from wng_tf.errors import UserError


class Squares:
    """What an actor of these tests holds."""

    def ready(self):
        pass

    def square(self, x):
        if x == 13:
            raise NonFiniteError("thirteen")
        if x == 14:
            raise KeyError("fourteen")
        return x * x

    def close(self):
        pass


class Broken(Squares):
    def close(self):
        raise EnvironmentFailure("the door is stuck")


def refuse():
    raise UserError("Nothing of that name here.")


def pieces(*numbers):
    return [(x,) for x in numbers]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "losses",
    [
        (),
        (("square", 0, "before"),),
        (("square", 1, "after"), ("square", 2, "before"), ("square", 4, "after")),
        (("ready", 0, "before"), ("square", 3, "after"), ("ready", 2, "after")),
    ],
)
def test_results_do_not_depend_on_actors_and_losses(size, seed, losses):
    engine = FakeEngine(losing(*losses), seed)
    crew = Crew(engine, Squares, size)
    for numbers in ((3, 1, 4, 1, 5), (9, 2), (6,), ()):
        assert crew.map("square", pieces(*numbers)) == [x * x for x in numbers]
    assert len(engine.started) <= size + len(losses)
    remarks = crew.remarks()
    assert len(remarks) == len(engine.started) - size
    assert all("done again, to the same numbers" in line for line in remarks)
    assert crew.remarks() == []
    crew.close()
    assert engine._ended == set(range(len(engine.started)))


def test_a_lost_piece_is_given_to_whoever_is_free():
    engine = FakeEngine(losing(("square", 0, "before")))
    crew = Crew(engine, Squares, 2)
    assert crew.map("square", pieces(7, 8)) == [49, 64]
    assert [method for _, method in engine.called].count("square") == 3
    assert engine.started == [1, 1, 1]


def test_every_actor_lost_in_every_generation():
    """As long as each piece gets through, losses in any number do no harm."""
    engine = FakeEngine(lambda actor, method, call: "after" if method == "square" and call % 2 == 0 else None)
    crew = Crew(engine, Squares, 3)
    for start in range(20):
        numbers = range(100 + start, 103 + start)
        assert crew.map("square", pieces(*numbers)) == [x * x for x in numbers]
    assert len(engine.started) > 20


def test_a_piece_that_ends_every_actor_is_given_up():
    engine = FakeEngine(lambda actor, method, call: "before" if method == "square" else None)
    with pytest.raises(WorkerError, match=rf"Part 0 of 1 lost its Ray actor {MOST_LOSSES} times.* died.*--resume"):
        Crew(engine, Squares, 1).map("square", pieces(1))


def test_actors_that_die_at_their_start():
    engine = FakeEngine(lambda actor, method, call: "before")
    with pytest.raises(UserError, match=r"Ray actors do not start, 5 in turn died first: actor \d died"):
        Crew(engine, Squares, 2).map("square", pieces(1, 2))
    later = FakeEngine(lambda actor, method, call: "before" if actor or method == "square" else None)
    with pytest.raises(WorkerError, match="do not start"):  # it did start before: not the user's input
        Crew(later, Squares, 1).map("square", pieces(1))


def test_actors_that_never_start():
    engine = FakeEngine(lambda actor, method, call: "never")
    with pytest.raises(UserError, match=r"No Ray actor has started within 0 s: the cluster has 1 CPUs, 1 of them free"):
        Crew(engine, Squares, 2, patience=0.0).map("square", pieces(1))


def test_one_actor_is_enough():
    engine = FakeEngine(lambda actor, method, call: "never" if actor else None)
    crew = Crew(engine, Squares, 3, patience=0.0)
    while crew._starting.keys() - engine._hanging:  # no call of these tests ends by itself
        for ticket in engine.wait(list(crew._starting), 0.0):
            crew._started(ticket)
    assert crew.map("square", pieces(1, 2, 3)) == [1, 4, 9]


def test_what_an_actor_raises_comes_through():
    crew = Crew(FakeEngine(), Squares, 2)
    with pytest.raises(NonFiniteError, match="thirteen"):
        crew.map("square", pieces(1, 13, 2, 3))
    with pytest.raises(WorkerError, match="(?s)Ray actor failed.*KeyError: 'fourteen'"):
        crew.map("square", pieces(14, 1))
    assert crew.map("square", pieces(5, 6, 7)) == [25, 36, 49]  # what was under way is waited for, and not mixed up
    with pytest.raises(UserError, match="A Ray actor on .* cannot do its part: Nothing of that name here"):
        Crew(FakeEngine(), refuse, 1).map("square", pieces(1))


def test_closing_says_what_environments_say():
    crew = Crew(FakeEngine(), Broken, 2)
    crew.map("square", pieces(1))
    with pytest.raises(EnvironmentFailure, match="the door is stuck"):
        crew.close()


def test_something_is_done_meanwhile():
    done = []
    assert Crew(FakeEngine(), Squares, 1).map("square", pieces(2), meanwhile=lambda: done.append(1)) == [4]
    assert done == [1]
