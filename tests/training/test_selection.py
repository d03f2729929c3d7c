"""The best validation is chosen by AUC, else by loss, and patience runs out."""

from setvae_cli.training.selection import Selection


def observe(selection, measure, values):
    return [selection.observe(measure, value) for value in values]


def test_a_higher_auc_and_a_lower_loss_are_better():
    assert observe(Selection(5), "auc", [0.7, 0.6, 0.8, 0.8]) == [True, False, True, False]
    assert observe(Selection(5), "loss", [2.0, 2.5, -1.0]) == [True, False, True]


def test_patience_counts_validations_without_a_better_one():
    selection = Selection(2)
    observe(selection, "auc", [0.7, 0.6, 0.71, 0.70])
    assert not selection.exhausted
    selection.observe("auc", 0.71)
    assert selection.exhausted
    assert selection.reason() == "no better val_auc than 0.7100 for 2 validations"


def test_patience_zero_never_stops():
    selection = Selection(0)
    observe(selection, "auc", [0.7] * 50)
    assert not selection.exhausted


def test_any_auc_is_better_than_any_loss():
    selection = Selection(5)
    selection.observe("loss", -100.0)
    assert selection.observe("auc", 0.5)
    assert not selection.observe("loss", -200.0)


def test_a_resumed_selection_goes_on_where_it_was():
    selection = Selection(3)
    observe(selection, "auc", [0.7, 0.6])
    again = Selection.from_state(selection.state())
    assert again == selection
