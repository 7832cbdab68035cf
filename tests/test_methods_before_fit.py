"""Methods raise NotFittedError before fit."""

import pytest
from sklearn.exceptions import NotFittedError
from small_estimators import small_transformer as small


@pytest.mark.parametrize(
    "method", ["transform", "inverse_transform", "score_samples", "score", "get_feature_names_out"]
)
def test_method_before_fit(iris, method):
    arguments = [] if method == "get_feature_names_out" else [iris]
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(small(), method)(*arguments)


def test_sample_before_fit():
    with pytest.raises(NotFittedError, match="VAETransformer instance is not fitted yet"):
        small().sample()
