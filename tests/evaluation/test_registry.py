import pytest

from recsys.evaluation.registry import NDCG, RMSE, Metric, minimized_validation, monitor_of
from recsys.training.callbacks import EpochRecord


def test_what_chose_a_run_is_found_in_its_figures() -> None:
    assert monitor_of({"val/rmse": 0.9, "ranking/ndcg@10": 0.1}) == RMSE  # a rating model that was asked for rankings
    assert monitor_of({"val/ndcg@10": 0.1, "ranking/ndcg@10": 0.2}) == NDCG
    assert monitor_of({}) == RMSE
    assert (minimized_validation({"val/rmse": 0.9}), minimized_validation({"val/ndcg@10": 0.1})) == (0.9, -0.1)
    assert (RMSE.label, NDCG.label) == ("RMSE", "NDCG@10")


@pytest.mark.parametrize(("monitor", "best"), [(RMSE, 1), (NDCG, 2)])
def test_the_best_epoch_is_the_lowest_error_or_the_highest_ndcg(monitor: Metric, best: int) -> None:
    record = EpochRecord(monitor)
    record.epochs = [{"learning_rate": 0.1, monitor.validation_key: value} for value in (0.5, 0.2, 0.7, 0.7)]
    assert record.best == best
    assert len(record.path) == best + 1
    record.epochs = [{"learning_rate": 0.1}, {"learning_rate": 0.1}]
    assert record.best == 1
