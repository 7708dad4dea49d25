"""A failure counts unless a later question was answered."""

from tmppool.questions import Questions


def test_what_a_later_answer_has_overtaken_says_nothing() -> None:
    questions = Questions()
    first, second, third = questions.ask(), questions.ask(), questions.ask()
    assert not questions.is_overtaken(first)
    questions.note_answer(second)
    assert [questions.is_overtaken(each) for each in (first, second, third)] == [True, False, False]
    questions.note_answer(first)  # late, and no news
    assert questions.is_overtaken(first)
    assert not questions.is_overtaken(questions.ask())
